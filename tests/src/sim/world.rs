//! One run of the simulator: a node, its clients, and whatever happens between them, drawn from a seed.
//!
//! Always: (1) equal seeds give equal runs, told by the trace; (2) after every run the world heals: clients are told everything
//! they asked, and what was acknowledged is read back from the start, twice, with a clean stop and a new start between.

use super::broker::EPOCH_MS;
use super::churner::Churner;
use super::clients::{Admin, Consumer, Producer};
use super::model::{Model, Place};
use super::node::{Node, NodeConfig};
use super::session_reader::SessionReader;
use millstream_storage::ids::{Now, Tick, WallMs};
use millstream_storage::sim::{Fault, OpKind, SimDisk, SimRng};

/// Steps of a run before it heals.
const STEPS: usize = 2_500;
/// BOUND: what healing may take.
const HEALING_STEPS: usize = 200_000;

/// What a run did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// A digest of everything that happened, in order.
    pub trace: u64,
    /// Records acknowledged.
    pub acknowledged_count: u64,
    /// Records shown to consumers.
    pub shown_count: u64,
    /// Processes that were killed, lost power or met a failing disk.
    pub crash_count: u64,
    /// Answers of fetch sessions, behind the first of each.
    pub session_answer_count: u64,
}

struct World {
    rng: SimRng,
    config: NodeConfig,
    node: Option<Node>,
    starts: u64,
    crash_count: u64,
    admin: Admin,
    churner: Churner,
    producers: Vec<Producer>,
    consumers: Vec<Consumer>,
    session_readers: Vec<SessionReader>,
    places: Vec<Place>,
    model: Model,
    trace: u64,
}

/// Runs a seed.
///
/// Panics where something is not as it must be.
pub fn run(seed: u64) -> Outcome {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    world.heal();
    world.read_everything();
    world.come_to_rest();
    world.read_everything();
    Outcome {
        trace: world.trace,
        acknowledged_count: world.model.acknowledged_count,
        shown_count: world.model.shown_count,
        crash_count: world.crash_count,
        session_answer_count: world
            .session_readers
            .iter()
            .map(SessionReader::answers)
            .sum(),
    }
}

impl World {
    fn new(seed: u64) -> World {
        let mut rng = SimRng::new(seed);
        let config = NodeConfig {
            shards: rng.range(1, 3) as u16,
            journal_file_bytes: 1 << 20,
            ..NodeConfig::default()
        };
        let topics = vec![
            ("one".to_owned(), 1),
            ("some".to_owned(), rng.range(1, 4) as i32),
        ];
        let of_topic = |(name, count): &(String, i32)| {
            let name = name.clone();
            (0..*count).map(move |partition| (name.clone(), partition))
        };
        let places: Vec<Place> = topics.iter().flat_map(of_topic).collect();
        let producers = (0..rng.range(1, 3)).map(|name| {
            let acks = if name % 3 == 2 { 1 } else { -1 };
            Producer::new(name, &places, acks)
        });
        let producers = producers.collect();
        let consumers = (0..2).map(|_| Consumer::new(&places)).collect();
        let session_readers = (0..2).map(|_| SessionReader::new(&places)).collect();
        let mut world = World {
            rng,
            config,
            node: None,
            starts: 0,
            crash_count: 0,
            admin: Admin::new(topics),
            churner: Churner::default(),
            producers,
            consumers,
            session_readers,
            places,
            model: Model::default(),
            trace: seed,
        };
        let now = Now {
            tick: Tick(1_000_000_000),
            wall: WallMs(EPOCH_MS),
        };
        world.start(SimDisk::new(), now);
        world
    }

    /// Starts a process, now and then one that ends within recovery.
    fn start(&mut self, mut disk: SimDisk, now: Now) {
        loop {
            self.starts += 1;
            // Recovery may need space.
            disk.limit_capacity(None);
            let ends_early = self.starts > 1 && self.rng.percent(20);
            disk.limit_blocking_calls(ends_early.then(|| self.rng.below(60)));
            let seed = self.rng.bits();
            match Node::try_start(&self.config, disk, self.starts, now, seed) {
                Ok(mut node) => {
                    node.disk_mut().limit_blocking_calls(None);
                    self.node = Some(node);
                    return;
                }
                Err(refused) => {
                    let (back, reason) = *refused;
                    assert!(ends_early, "recovery takes what a crash leaves: {reason}");
                    disk = back;
                    disk.limit_blocking_calls(None);
                    self.crash_count += 1;
                    match self.rng.percent(50) {
                        true => disk.kill(&mut self.rng),
                        false => disk.power_cut(&mut self.rng),
                    }
                }
            }
        }
    }

    /// One thing happens.
    fn step(&mut self) {
        let what = self.rng.below(1000);
        self.note(what);
        match what {
            0..600 => self.inside(),
            600..985 => self.client(true),
            985..994 => {
                let ms = [1, 5, 50, 400][self.rng.index(4)];
                self.node_mut().pass_ms(ms);
            }
            994..996 => self.crash(),
            996 => self.break_disk(),
            997 => self.fill_disk(),
            _ => self.hang_up(),
        }
        if self.node_mut().fatal().is_some() {
            self.crash();
        }
    }

    fn node_mut(&mut self) -> &mut Node {
        self.node.as_mut().expect("a node runs")
    }

    fn note(&mut self, bits: u64) {
        self.trace = (self.trace ^ bits)
            .wrapping_mul(0x0000_0100_0000_01b3)
            .rotate_left(17);
    }

    /// Something inside of the node: a letter arrives, an operation of the disk ends, a shard takes its turn.
    fn inside(&mut self) {
        let (node, rng) = (self.node.as_mut().expect("a node runs"), &mut self.rng);
        let routes = node.mail_routes();
        let pending = node.disk_pending();
        let mut seen = pending as u64;
        match rng.below(3) {
            0 if !routes.is_empty() => {
                let (from, to) = routes[rng.index(routes.len())];
                node.deliver(from, to);
                // The workshop has no turns.
                if to.0 < node.shard_count() {
                    node.turn(to);
                }
                seen ^= u64::from(from.0) << 32 | u64::from(to.0);
            }
            1 if pending > 0 => node.complete(rng.index(pending)),
            _ => {
                let shard = rng.index(usize::from(node.shard_count())) as u16;
                node.turn(millstream_storage::ids::ShardIndex(shard));
            }
        }
        self.note(seen);
    }

    fn client(&mut self, more: bool) {
        let (node, rng) = (self.node.as_mut().expect("a node runs"), &mut self.rng);
        if !self.admin.is_done() {
            return self.admin.act(node, rng);
        }
        if rng.percent(10) {
            return self.churner.act(node, rng);
        }
        if rng.percent(25) {
            let at = rng.index(self.session_readers.len());
            return self.session_readers[at].act(node, rng, &mut self.model);
        }
        let count = self.producers.len() + self.consumers.len();
        let at = rng.index(count);
        match self.producers.get_mut(at) {
            Some(producer) => producer.act(node, rng, &mut self.model, more),
            None => {
                let at = at - self.producers.len();
                self.consumers[at].act(node, rng, &mut self.model);
            }
        }
        let seen = self.model.acknowledged_count << 32 ^ self.model.shown_count;
        self.note(seen);
    }

    /// The process ends, and another one starts on what it leaves.
    fn crash(&mut self) {
        self.crash_count += 1;
        let node = self.node.take().expect("a node runs");
        let now = node.now();
        let disk = match self.rng.percent(50) {
            true => node.kill(&mut self.rng),
            false => node.power_cut(&mut self.rng),
        };
        self.admin.lost();
        self.churner.lost();
        self.producers.iter_mut().for_each(Producer::lost);
        self.consumers.iter_mut().for_each(Consumer::lost);
        let readers = self.session_readers.iter_mut();
        readers.for_each(SessionReader::lost);
        self.start(disk, now);
    }

    /// A later operation of the disk will fail, and end the process.
    fn break_disk(&mut self) {
        let kinds = [OpKind::SyncedWrite, OpKind::SyncData, OpKind::Write];
        let kind = kinds[self.rng.index(kinds.len())];
        let after = self.rng.below(20);
        let fault = Fault {
            kind,
            after,
            errno: 5,
        };
        self.node_mut().disk_mut().inject(fault);
    }

    /// The disk has little space left, or has got more.
    fn fill_disk(&mut self) {
        let more = self.rng.below(1 << 20);
        let lifted = self.rng.percent(60);
        let node = self.node_mut();
        let limit = (!lifted).then(|| node.disk_bytes() + more);
        node.disk_mut().limit_capacity(limit);
    }

    fn hang_up(&mut self) {
        let (node, rng) = (self.node.as_mut().expect("a node runs"), &mut self.rng);
        match rng.below(3) {
            0 => {
                let at = rng.index(self.producers.len());
                self.producers[at].leave(node);
            }
            1 => {
                let at = rng.index(self.consumers.len());
                self.consumers[at].leave(node);
            }
            _ => {
                let at = rng.index(self.session_readers.len());
                self.session_readers[at].leave(node);
            }
        }
    }

    /// No more accidents: everything asked is answered.
    fn heal(&mut self) {
        self.node_mut().disk_mut().limit_capacity(None);
        for step in 0..HEALING_STEPS {
            let done = self.admin.is_done() && self.producers.iter().all(Producer::is_done);
            if done {
                return;
            }
            self.client(false);
            self.inside();
            if step % 50 == 0 {
                let node = self.node_mut();
                node.settle();
                node.pass_ms(20);
            }
            if self.node_mut().fatal().is_some() {
                self.crash();
            }
        }
        panic!("what producers sent is not acknowledged");
    }

    /// A consumer that has seen nothing reads everything.
    fn read_everything(&mut self) {
        let mut reader = Consumer::new(&self.places);
        for _ in 0..HEALING_STEPS {
            let (node, rng) = (self.node.as_mut().expect("a node runs"), &mut self.rng);
            reader.act(node, rng, &mut self.model);
            node.settle();
            node.pass_ms(1);
            if reader.is_at_end() {
                reader.leave(node);
                for (place, end) in reader.offsets() {
                    self.model.read_through(place, end);
                }
                let ends = reader.offsets().map(|(place, end)| (place.clone(), end));
                return self.sessions_come_to(&ends.collect::<Vec<_>>());
            }
            if node.fatal().is_some() {
                self.crash();
                reader = Consumer::new(&self.places);
            }
        }
        panic!("a reader does not come to the end: {}", reader.describe());
    }

    /// Sessions keep nothing from their readers.
    fn sessions_come_to(&mut self, ends: &[(Place, i64)]) {
        for at in 0..self.session_readers.len() {
            let mut steps = 0;
            loop {
                let (node, rng) = (self.node.as_mut().expect("a node runs"), &mut self.rng);
                let reader = &mut self.session_readers[at];
                if ends.iter().all(|(place, end)| reader.offset(place) >= *end) {
                    break;
                }
                reader.want_all();
                reader.act(node, rng, &mut self.model);
                node.settle();
                node.pass_ms(1);
                if node.fatal().is_some() {
                    self.crash();
                }
                steps += 1;
                let reader = &self.session_readers[at];
                assert!(
                    steps < HEALING_STEPS,
                    "a session hides something of {ends:?}: {}",
                    reader.describe()
                );
            }
        }
    }

    /// Clients leave, nothing is left under way, the node stops cleanly, and another one starts.
    fn come_to_rest(&mut self) {
        let node = self.node.as_mut().expect("a node runs");
        self.admin.leave(node);
        self.churner.leave(node);
        self.producers.iter_mut().for_each(|one| one.leave(node));
        self.consumers.iter_mut().for_each(|one| one.leave(node));
        let readers = self.session_readers.iter_mut();
        readers.for_each(|one| one.leave(node));
        node.run_ms(2_000);
        for shard in node.shards() {
            assert_eq!(node.core(shard).in_flight(), 0, "{shard:?} keeps something");
        }
        node.stop();
        node.run_ms(5_000);
        assert!(
            node.fatal().is_some() || node.is_stopped(),
            "the node does not stop"
        );
        let node = self.node.take().expect("a node runs");
        let now = node.now();
        let disk = node.power_cut(&mut self.rng);
        self.start(disk, now);
    }
}
