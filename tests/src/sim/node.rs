//! One simulated process: the cores of its shards, the mail between them, one disk.
//!
//! Always: (1) cores see what the real shell would show them, in an order the real one could give; (2) mail between two
//! shards keeps its order, operations of the disk do not; (3) equal calls give equal nodes.

use bytes::{Bytes, BytesMut};
use millstream_engine::api::settings::Settings;
use millstream_engine::machine::controller::ControllerConfig;
use millstream_engine::machine::image::{Directory, Endpoint, Member, Registration};
use millstream_engine::machine::quorum::{self, SingleNode};
use millstream_engine::shard::core::routes::Route;
use millstream_engine::shard::core::{ControlSeed, Core, CoreSeed};
use millstream_engine::shard::event::{ShardCore, ShardEffect, ShardEvent};
use millstream_engine::shard::mail::Mail;
use millstream_engine::shard::workshop::Work;
use millstream_net::conn::{CloseReason, ConnId, ConnLimits, ListenerIndex};
use millstream_storage::disk::{BlockingDisk, DiskDone, DiskOp, FileSlot, OpId};
use millstream_storage::format::{NODE_META, NodeMeta};
use millstream_storage::ids::{DirectoryId, NodeId, Now, ShardIndex, Tick, WallMs};
use millstream_storage::recovery::{RecoveredNode, RecoveryConfig, recover};
use millstream_storage::sim::{SimDisk, SimRng};
use millstream_storage::store::StoreConfig;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

/// How a simulated node is configured.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Shards.
    pub shards: u16,
    /// The size of a journal file; small, so that the ring turns over.
    pub journal_file_bytes: u64,
    /// What handlers are told.
    pub settings: Settings,
    /// What the controller is told.
    pub controller: ControllerConfig,
}

impl Default for NodeConfig {
    fn default() -> NodeConfig {
        NodeConfig {
            shards: 2,
            journal_file_bytes: 1 << 20,
            settings: Settings {
                node: NodeId(1),
                listeners: vec!["PLAINTEXT".to_owned()],
                fetch_max_bytes: 55 << 20,
                fetch_sessions_max: 1000,
                described_partitions_max: 2000,
                auto_create_topics: true,
                producer_expiration_ms: 86_400_000,
                broker_values: BTreeMap::new(),
                broker_keys: Vec::new(),
                groups: Default::default(),
            },
            controller: ControllerConfig::default(),
        }
    }
}

/// A connection of the simulated network, from the node's side.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Conn {
    /// The shard that accepted it.
    pub shard: ShardIndex,
    /// Its name there.
    pub id: ConnId,
}

/// The state of a connection's socket.
#[derive(Debug, Default)]
struct Socket {
    /// What the node sent and nobody took yet.
    outgoing: BytesMut,
    /// Whether the node asked for its end.
    closing: bool,
    /// Whether the node takes no more requests.
    paused: bool,
}

/// One process.
pub struct Node {
    cores: Vec<Core>,
    now: Now,
    mail: BTreeMap<(ShardIndex, ShardIndex), VecDeque<Mail>>,
    sockets: BTreeMap<Conn, Socket>,
    next_slot: u32,
    disk: SimDisk,
    /// Whose operation an operation of the disk is.
    ops: BTreeMap<OpId, (ShardIndex, OpId)>,
    next_op: u64,
    slots: BTreeMap<(ShardIndex, FileSlot), FileSlot>,
    stopped: BTreeSet<ShardIndex>,
    fatal: Option<String>,
    /// What its operator was told.
    notes: Vec<String>,
    effects: Vec<ShardEffect>,
}

impl Node {
    /// Starts a process on a disk, `start` being the number of this start. `seed` decides random ids.
    ///
    /// Panics where recovery refuses the disk.
    pub fn start(config: &NodeConfig, disk: SimDisk, start: u64, now: Now, seed: u64) -> Node {
        match Node::try_start(config, disk, start, now, seed) {
            Ok(node) => node,
            Err(refused) => panic!("recovery takes what a crash leaves: {}", refused.1),
        }
    }

    /// The same; gives the disk back where recovery refuses it, or was ended by the disk's limit of calls.
    pub fn try_start(
        config: &NodeConfig,
        disk: SimDisk,
        start: u64,
        now: Now,
        seed: u64,
    ) -> Result<Node, Box<(SimDisk, String)>> {
        match Recovered::of(config, &disk) {
            Ok(recovered) => Ok(Node::from(config, disk, recovered, start, now, seed)),
            Err(reason) => Err(Box::new((disk, reason))),
        }
    }

    fn from(
        config: &NodeConfig,
        disk: SimDisk,
        recovered: Recovered,
        start: u64,
        now: Now,
        seed: u64,
    ) -> Node {
        let node = config.settings.node;
        let Recovered {
            node: recovered,
            quorum,
        } = recovered;
        let found = recovered.shards.iter().flat_map(|shard| {
            shard.logs.iter().map(|log| {
                let route = Route {
                    shard: shard.shard,
                    log: log.log,
                };
                (log.topic, log.partition, route)
            })
        });
        let mut rng = SimRng::new(seed);
        let control = ControlSeed {
            quorum: Box::new(quorum),
            controller: config.controller.clone(),
            registration: registration(node, start),
            cluster_id: "simulated-cluster-0001".to_owned(),
            found: found.collect(),
            first_log: recovered.next_log,
            random: Box::new(move || u128::from(rng.bits()) << 64 | u128::from(rng.bits())),
        };
        let mut control = Some(control);
        let shard_count = config.shards;
        let cores = recovered.shards.into_iter().map(|recovered| {
            let shard = recovered.shard;
            let seed = CoreSeed {
                shard,
                shard_count,
                settings: Arc::new(config.settings.clone()),
                conn_limits: ConnLimits::default(),
                store: store_config(config, shard),
                recovered,
                random: seed.wrapping_add(u64::from(shard.0)),
                control: control.take_if(|_| shard == ShardIndex(0)),
            };
            Core::new(seed, now)
        });
        Node {
            cores: cores.collect(),
            now,
            mail: BTreeMap::new(),
            sockets: BTreeMap::new(),
            next_slot: 0,
            disk,
            ops: BTreeMap::new(),
            next_op: 0,
            slots: BTreeMap::new(),
            stopped: BTreeSet::new(),
            fatal: None,
            notes: Vec::new(),
            effects: Vec::new(),
        }
    }

    /// The time.
    pub fn now(&self) -> Now {
        self.now
    }

    /// Lets time pass; cores notice at their next turn.
    pub fn pass_ms(&mut self, ms: u64) {
        self.now.tick = self.now.tick.after_ms(ms);
        self.now.wall = WallMs(self.now.wall.0 + ms as i64);
    }

    /// How many shards it has.
    pub fn shard_count(&self) -> u16 {
        self.cores.len() as u16
    }

    /// A client connects to a shard, on the first listener.
    pub fn connect(&mut self, shard: ShardIndex) -> Conn {
        self.connect_on(shard, ListenerIndex(0))
    }

    /// A client connects to a shard, on a listener.
    pub fn connect_on(&mut self, shard: ShardIndex, listener: ListenerIndex) -> Conn {
        let id = ConnId {
            slot: self.next_slot,
            generation: 1,
        };
        self.next_slot += 1;
        let conn = Conn { shard, id };
        self.sockets.insert(conn, Socket::default());
        let event = ShardEvent::Opened {
            conn: id,
            listener,
            peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        };
        self.step(shard, event);
        conn
    }

    /// A whole request arrives, without its length prefix. Whatever comes behind an end of the connection is lost.
    pub fn request(&mut self, conn: Conn, bytes: Bytes) {
        if self
            .sockets
            .get(&conn)
            .is_some_and(|socket| !socket.closing)
        {
            let event = ShardEvent::Frame {
                conn: conn.id,
                bytes,
            };
            self.step(conn.shard, event);
        }
    }

    /// Whether the node takes requests of a connection.
    pub fn is_listening(&self, conn: Conn) -> bool {
        let socket = self.sockets.get(&conn);
        socket.is_some_and(|socket| !socket.paused && !socket.closing)
    }

    /// Whether a connection is there; it is not once the node has closed it and everything sent was taken.
    pub fn is_open(&self, conn: Conn) -> bool {
        self.sockets.contains_key(&conn)
    }

    /// Takes what the node has sent on a connection.
    pub fn receive(&mut self, conn: Conn) -> BytesMut {
        let Some(socket) = self.sockets.get_mut(&conn) else {
            return BytesMut::new();
        };
        let taken = std::mem::take(&mut socket.outgoing);
        let closing = socket.closing;
        if !taken.is_empty() {
            let event = ShardEvent::Sent {
                conn: conn.id,
                bytes: taken.len(),
            };
            self.step(conn.shard, event);
        }
        if closing {
            self.close(conn, CloseReason::Asked);
        }
        taken
    }

    /// Bytes that the node sent on a connection and its client has not taken.
    pub fn untaken_bytes(&self, conn: Conn) -> usize {
        let socket = self.sockets.get(&conn);
        socket.map_or(0, |socket| socket.outgoing.len())
    }

    /// The client ends a connection.
    pub fn disconnect(&mut self, conn: Conn) {
        if self.sockets.contains_key(&conn) {
            self.close(conn, CloseReason::Peer);
        }
    }

    fn close(&mut self, conn: Conn, reason: CloseReason) {
        self.sockets.remove(&conn);
        let event = ShardEvent::Closed {
            conn: conn.id,
            reason,
        };
        self.step(conn.shard, event);
    }

    /// Tells every shard to stop.
    pub fn stop(&mut self) {
        for shard in self.shards() {
            self.step(shard, ShardEvent::Stop);
        }
    }

    /// Whether every shard has stopped.
    pub fn is_stopped(&self) -> bool {
        self.stopped.len() == self.cores.len()
    }

    /// What its operator was told, in order.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Why the process ended, if it did.
    pub fn fatal(&self) -> Option<&str> {
        self.fatal.as_deref()
    }

    /// The shards.
    pub fn shards(&self) -> impl Iterator<Item = ShardIndex> + use<> {
        (0..self.cores.len() as u16).map(ShardIndex)
    }

    /// A core, to look into.
    pub fn core(&self, shard: ShardIndex) -> &Core {
        &self.cores[usize::from(shard.0)]
    }

    /// Pairs of shards with mail under way.
    pub fn mail_routes(&self) -> Vec<(ShardIndex, ShardIndex)> {
        let busy = self.mail.iter().filter(|(_, letters)| !letters.is_empty());
        busy.map(|(route, _)| *route).collect()
    }

    /// Delivers the oldest letter from one shard to another.
    pub fn deliver(&mut self, from: ShardIndex, to: ShardIndex) {
        let letter = self.mail.get_mut(&(from, to)).and_then(VecDeque::pop_front);
        match letter.map(Work::of) {
            Some(Ok(work)) => self.work(from, to, work),
            Some(Err(mail)) => self.step(to, ShardEvent::Mail { from, mail }),
            None => {}
        }
    }

    /// The workshop takes the next batch.
    fn work(&mut self, from: ShardIndex, workshop: ShardIndex, work: Work) {
        if let Some((answer, left)) = work.take() {
            let answers = self.mail.entry((workshop, from)).or_default();
            answers.push_back(answer);
            let letters = self.mail.entry((from, workshop)).or_default();
            letters.extend(left.map(Mail::from));
        }
    }

    /// Delivers the oldest letter from one shard to another to a third one, as if the sender had an old table. Whether there was one.
    pub fn misdeliver(&mut self, from: ShardIndex, to: ShardIndex, third: ShardIndex) -> bool {
        let letter = self.mail.get_mut(&(from, to)).and_then(VecDeque::pop_front);
        let Some(mail) = letter else {
            return false;
        };
        self.step(third, ShardEvent::Mail { from, mail });
        true
    }

    /// Operations of the disk in flight.
    pub fn disk_pending(&self) -> usize {
        self.disk.pending()
    }

    /// Completes one of the operations in flight.
    pub fn complete(&mut self, index: usize) {
        let done = self.disk.complete(index);
        let (shard, op) = self.ops.remove(&done.op).expect("it was submitted");
        self.step(shard, ShardEvent::Disk(DiskDone { op, ..done }));
    }

    /// The end of a ring turn of a shard.
    pub fn turn(&mut self, shard: ShardIndex) {
        let mut effects = std::mem::take(&mut self.effects);
        self.cores[usize::from(shard.0)].turn(self.now, &mut effects);
        self.run(shard, &mut effects);
        self.effects = effects;
    }

    /// When the next core wants a turn though nothing happens.
    pub fn deadline(&self) -> Option<Tick> {
        self.cores.iter().filter_map(Core::deadline).min()
    }

    fn deadlines(&self) -> Vec<(ShardIndex, Option<Tick>, usize)> {
        let of = |shard: ShardIndex| {
            let core = self.core(shard);
            (shard, core.deadline(), core.in_flight())
        };
        self.shards().map(of).collect()
    }

    /// Lets everything happen that can without time going on, unless the process ends.
    ///
    /// Panics where that does not end.
    pub fn settle(&mut self) {
        for _ in 0..100_000 {
            for shard in self.shards() {
                self.turn(shard);
            }
            let mut quiet = true;
            for (from, to) in self.mail_routes() {
                self.deliver(from, to);
                quiet = false;
            }
            while self.disk_pending() > 0 {
                self.complete(0);
                quiet = false;
            }
            let due = self.deadline().is_some_and(|tick| tick <= self.now.tick);
            if (quiet && !due) || self.fatal.is_some() {
                return;
            }
        }
        panic!("the node does not come to rest: {:?}", self.deadlines());
    }

    /// Lets time pass in steps in which everything happens that can.
    pub fn run_ms(&mut self, ms: u64) {
        let end = self.now.tick.after_ms(ms);
        loop {
            self.settle();
            let next = self.deadline().filter(|next| *next < end).unwrap_or(end);
            if self.now.tick >= end {
                return;
            }
            let step = next.0.saturating_sub(self.now.tick.0).div_ceil(1_000_000);
            self.pass_ms(step.max(1));
        }
    }

    /// Ends the process as `kill -9` does: its disk, with what was in flight landed in any part.
    pub fn kill(mut self, rng: &mut SimRng) -> SimDisk {
        self.disk.kill(rng);
        self.disk
    }

    /// Ends the process by a power cut: its disk, without what was not synced.
    pub fn power_cut(mut self, rng: &mut SimRng) -> SimDisk {
        self.disk.power_cut(rng);
        self.disk
    }

    /// Bytes of all files on the disk.
    pub fn disk_bytes(&self) -> u64 {
        let paths = self.disk.paths().into_iter();
        let bytes =
            |path: std::path::PathBuf| self.disk.contents(&path).map_or(0, |bytes| bytes.len());
        paths.map(bytes).sum::<usize>() as u64
    }

    /// The disk, to inject faults.
    pub fn disk_mut(&mut self) -> &mut SimDisk {
        &mut self.disk
    }

    fn step(&mut self, shard: ShardIndex, event: ShardEvent) {
        let mut effects = std::mem::take(&mut self.effects);
        self.cores[usize::from(shard.0)].step(self.now, event, &mut effects);
        self.run(shard, &mut effects);
        self.effects = effects;
    }

    fn run(&mut self, shard: ShardIndex, effects: &mut Vec<ShardEffect>) {
        for effect in effects.drain(..) {
            match effect {
                ShardEffect::Send { conn, parts } => {
                    if let Some(socket) = self.sockets.get_mut(&Conn { shard, id: conn }) {
                        assert!(!socket.closing, "nothing is sent behind a close");
                        for part in parts {
                            socket.outgoing.extend_from_slice(&part);
                        }
                    }
                }
                ShardEffect::Close { conn } => {
                    if let Some(socket) = self.sockets.get_mut(&Conn { shard, id: conn }) {
                        socket.closing = true;
                    }
                }
                ShardEffect::Pause { conn } => self.pause(Conn { shard, id: conn }, true),
                ShardEffect::Resume { conn } => self.pause(Conn { shard, id: conn }, false),
                ShardEffect::Mail { to, mail } => {
                    assert_ne!(to, shard, "nobody mails himself");
                    self.mail.entry((shard, to)).or_default().push_back(mail);
                }
                ShardEffect::Disk { op, disk } => self.submit(shard, op, disk),
                ShardEffect::Note(text) => self.notes.push(text),
                ShardEffect::Fatal { reason } => {
                    self.fatal.get_or_insert(reason.to_string());
                }
                ShardEffect::Stopped => {
                    self.stopped.insert(shard);
                }
            }
        }
    }

    fn pause(&mut self, conn: Conn, paused: bool) {
        if let Some(socket) = self.sockets.get_mut(&conn) {
            socket.paused = paused;
        }
    }

    /// Shards name their operations and files each for itself; the disk knows them under names of its own.
    fn submit(&mut self, shard: ShardIndex, op: OpId, mut disk: DiskOp) {
        if let Some(slot) = disk.slot_mut() {
            let next = FileSlot(self.slots.len() as u32);
            *slot = *self.slots.entry((shard, *slot)).or_insert(next);
        }
        let own = OpId(self.next_op);
        self.next_op += 1;
        self.ops.insert(own, (shard, op));
        self.disk.submit(own, disk);
    }
}

fn endpoint(listener: &str, host: &str, port: u16) -> Endpoint {
    Endpoint {
        listener: listener.to_owned(),
        host: host.to_owned(),
        port,
        protocol: 0,
    }
}

fn registration(node: NodeId, start: u64) -> Registration {
    Registration {
        node,
        directories: vec![Directory {
            id: DirectoryId(1),
            start,
        }],
        endpoints: vec![
            endpoint("PLAINTEXT", "node-1", 9092),
            endpoint("LAN", "node-1.lan", 9093),
        ],
        rack: None,
        suspects: Vec::new(),
        former: Vec::new(),
        epoch: None,
    }
}

/// What recovery makes of a disk.
struct Recovered {
    node: RecoveredNode,
    quorum: SingleNode,
}

impl Recovered {
    fn of(config: &NodeConfig, disk: &SimDisk) -> Result<Recovered, String> {
        let node = config.settings.node;
        let mut recovery = RecoveryConfig::new(config.shards);
        recovery.journal_file_bytes = config.journal_file_bytes;
        let meta = node_meta(disk, node)?;
        let recovered = recover(disk, &recovery, meta).map_err(|error| error.to_string())?;
        // Small, so that snapshots happen.
        let limits = quorum::Limits {
            room_bytes: 64 << 10,
            snapshot_after_bytes: 16 << 10,
        };
        let me = Member {
            id: 1,
            node,
            voter: true,
        };
        let quorum = quorum::recover(disk, Path::new("quorum"), me, limits);
        let (quorum, _) = quorum.map_err(|error| error.to_string())?;
        Ok(Recovered {
            node: recovered,
            quorum,
        })
    }
}

/// What `node.meta` says; a layout of 0 where there is none yet.
fn node_meta(disk: &SimDisk, node: NodeId) -> Result<NodeMeta, String> {
    let path = Path::new(NODE_META);
    let length = disk.length(path).map_err(|error| error.to_string())?;
    let Some(length) = length else {
        return Ok(NodeMeta {
            cluster_id: "simulated-cluster-0001".to_owned(),
            node,
            layout: 0,
            shards: 1,
            directories: vec![DirectoryId(1)],
        });
    };
    let mut bytes = vec![0; length as usize];
    let read = disk.read(path, 0, &mut bytes);
    read.map_err(|error| error.to_string())?;
    NodeMeta::decode(&bytes).map_err(|error| format!("{error:?}"))
}

fn store_config(config: &NodeConfig, shard: ShardIndex) -> StoreConfig {
    let mut store = StoreConfig::new(config.settings.node, shard);
    store.journal_file_bytes = config.journal_file_bytes;
    store
}
