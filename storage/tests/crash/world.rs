//! One shard over a simulated disk, driven at random, and its reference.

use crate::model::{Act, Life, ModelLog, Sent};
use bytes::Bytes;
use millstream_storage::batch::{BatchBuilder, BatchHead, BatchHeader, Stamp};
use millstream_storage::commit::CommitConfig;
use millstream_storage::disk::{BlockingDisk, DiskOp};
use millstream_storage::format::{NODE_META, NodeMeta};
use millstream_storage::ids::{
    LogNumber, MetadataIndex, NodeId, Now, Offset, PartitionIndex, ShardIndex, Tick, TopicId,
    WallMs,
};
use millstream_storage::recovery::{self, Recovered, RecoveredNode, RecoveryConfig, RecoveryError};
use millstream_storage::sim::{Fault, OpKind, SimDisk, SimRng};
use millstream_storage::store::{
    Acknowledge, LogConfig, OpenLog, Read, Store, StoreConfig, StoreEffect,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::OnceLock;

const NODE: NodeId = NodeId(1);
const SHARD: ShardIndex = ShardIndex(0);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Crash {
    Kill,
    PowerCut,
}

pub struct World {
    pub crash_points: u64,
    seed: u64,
    steps: u64,
    rng: SimRng,
    disk: SimDisk,
    store: Store,
    logs: BTreeMap<LogNumber, ModelLog>,
    /// Logs that are gone for good: none of them may come back.
    gone: BTreeSet<LogNumber>,
    now: Now,
    reads: BTreeMap<u64, LogNumber>,
    next_record: u64,
    /// An operation failed, and the store said that the process must end.
    doomed: bool,
}

fn recovery_config() -> RecoveryConfig {
    RecoveryConfig {
        journal_file_bytes: 128 << 10,
        journal_files_min: 2,
        ..RecoveryConfig::new(1)
    }
}

/// Some seeds go by the journal mostly, some by extents, many of which begin in the middle of a block.
fn store_config(seed: u64) -> StoreConfig {
    let large_bytes = [12 << 10, 6 << 10, 2 << 10][seed as usize % 3];
    StoreConfig {
        journal_file_bytes: 128 << 10,
        journal_files_min: 2,
        journal_files_max: 4,
        large_bytes,
        unflushed_bytes_max: 1 << 20,
        clean_bytes_max: 64 << 10,
        cold_bytes_max: 1 << 20,
        open_files_max: 4,
        commit: CommitConfig {
            fast_extent_bytes: large_bytes / 3,
            fast_rate_bytes: 64 << 10,
            window_bytes: 24 << 10,
            run_bytes: 8 << 10,
            windows_in_flight: 3,
            pressure_flights: 4,
            unmarked_bytes: 64 << 10,
            checkpoint_bytes: 512 << 10,
            checkpoint_ms: 200,
            ..CommitConfig::default()
        },
        ..StoreConfig::new(NODE, SHARD)
    }
}

fn log_config(log: LogNumber) -> LogConfig {
    LogConfig {
        segment_bytes: [40 << 10, 400 << 10, 90 << 10][log.0 as usize % 3],
        index_interval_bytes: 2048,
        acknowledge: match is_cached(log) {
            true => Acknowledge::Memory,
            false => Acknowledge::Durable,
        },
        retention_bytes: expires(log).then_some(50 << 10),
        ..LogConfig::default()
    }
}

fn is_cached(log: LogNumber) -> bool {
    log.0 % 5 == 4
}

fn expires(log: LogNumber) -> bool {
    log.0 % 4 == 3
}

/// What stands for the settled producers of a log as of an offset.
fn producers_of(log: LogNumber, offset: Offset) -> Vec<u8> {
    let bytes = (log.0 * 977 + offset.0 as u64 * 131) % 9000;
    vec![(log.0 + offset.0 as u64) as u8; bytes as usize]
}

fn recovered(disk: &SimDisk) -> Recovered {
    let mut node = recover(disk, 1).expect("recovery starts a node after any crash");
    if tracing() {
        node.report
            .findings
            .iter()
            .for_each(|finding| eprintln!("    {finding}"));
    }
    node.shards.remove(0)
}

/// `CRASH_TRACE=1` prints every operation and event.
fn tracing() -> bool {
    static TRACING: OnceLock<bool> = OnceLock::new();
    *TRACING.get_or_init(|| std::env::var_os("CRASH_TRACE").is_some())
}

fn recover(disk: &SimDisk, shards: u16) -> Result<RecoveredNode, RecoveryError> {
    let meta = match disk.contents(Path::new(NODE_META)) {
        Some(bytes) => NodeMeta::decode(&bytes).expect("node.meta is whole"),
        None => NodeMeta {
            cluster_id: "crash-model".into(),
            node: NODE,
            layout: 0,
            shards: 1,
            directories: Vec::new(),
        },
    };
    let config = RecoveryConfig {
        shards,
        ..recovery_config()
    };
    recovery::recover(disk, &config, meta)
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut disk = SimDisk::new();
        disk.rot_in_flight(match seed % 4 {
            0 => 0,
            1 => 100,
            _ => 30,
        });
        let now = Now {
            tick: Tick(1_000_000_000),
            wall: WallMs(1_700_000_000_000),
        };
        let store = Store::new(store_config(seed), recovered(&disk), now);
        let mut world = World {
            crash_points: 0,
            seed,
            steps: 0,
            rng: SimRng::new(seed),
            disk,
            store,
            logs: BTreeMap::new(),
            gone: BTreeSet::new(),
            now,
            reads: BTreeMap::new(),
            next_record: 0,
            doomed: false,
        };
        for _ in 0..3 {
            world.open();
        }
        world
    }

    fn fail(&self, what: &str) -> ! {
        panic!("CRASH_SEED={} step {}: {what}", self.seed, self.steps);
    }

    pub fn step(&mut self) {
        self.steps += 1;
        match self.rng.below(100) {
            0..30 => self.append(),
            30..33 => self.truncate(),
            33..34 => self.open(),
            34..35 => self.drop_one(),
            35..36 => self.replace(),
            36..38 => self.move_start(),
            38..40 => self.read(),
            40..41 => self.trouble(),
            41..46 => self.now.tick.0 += self.rng.below(40_000_000),
            46..64 => self.turn(),
            _ => self.complete_one(),
        }
        self.pump();
        if self.doomed {
            self.crash();
            return;
        }
        self.store.check();
    }

    /// Time for retention, a disk that is full for a while, an operation that fails.
    fn trouble(&mut self) {
        match self.rng.below(10) {
            0..4 => self.now.tick.0 += 1_000_000_000,
            4..6 => {
                let more = self.rng.below(200 << 10);
                let capacity = self.disk.used_bytes() + more;
                self.disk.limit_capacity(Some(capacity));
            }
            6..9 => self.disk.limit_capacity(None),
            _ => {
                use OpKind::{Open, Remove, Reserve, Sync, Write};
                let fault = Fault {
                    kind: [Open, Remove, Reserve, Sync, Write][self.rng.index(5)],
                    after: self.rng.below(20),
                    errno: [libc::EIO, libc::ENOSPC][self.rng.index(2)],
                };
                self.disk.inject(fault);
            }
        }
    }

    // ---- work

    fn pick(&mut self) -> Option<LogNumber> {
        for log in self
            .logs
            .values_mut()
            .filter(|log| self.store.log_end(log.number).is_none())
        {
            log.life = Life::Dropping;
        }
        let live: Vec<LogNumber> = self
            .logs
            .values()
            .filter(|log| log.life != Life::Dropping)
            .map(|log| log.number)
            .collect();
        (!live.is_empty()).then(|| live[self.rng.index(live.len())])
    }

    fn batch(&mut self) -> Bytes {
        let mut builder = BatchBuilder::new(BatchHeader::default());
        let bytes = match self.rng.below(10) {
            0..6 => self.rng.range(1, 300),
            6..9 => self.rng.range(300, 6000),
            _ => self.rng.range(6000, 24_000),
        };
        for _ in 0..self.rng.range(1, 4) {
            self.next_record += 1;
            let mut value = vec![self.next_record as u8; bytes as usize];
            value.extend(self.next_record.to_le_bytes());
            builder.push(
                self.now.wall.0 + self.next_record as i64,
                None,
                Some(&value),
                &[],
            );
        }
        builder.finish()
    }

    fn append(&mut self) {
        let Some(number) = self.pick() else {
            return;
        };
        let batch = self.batch();
        if !self.store.admits(number, batch.len()) {
            return;
        }
        let raise = self.rng.percent(5);
        let log = self.logs.get_mut(&number).expect("picked");
        if raise {
            log.epoch.0 += 1;
        }
        let jump = if self.rng.percent(4) {
            self.rng.below(5) as i64
        } else {
            0
        };
        let stamp = Stamp {
            base_offset: Offset(log.end().0 + jump),
            leader_epoch: log.epoch,
            log_append_time: None,
        };
        let head = BatchHead::parse(&batch).expect("just built");
        let sent = Sent {
            base: stamp.base_offset,
            end: Offset(stamp.base_offset.0 + i64::from(head.last_offset_delta) + 1),
            epoch: log.epoch,
            crc: head.crc,
        };
        if tracing() {
            eprintln!("{} append {number} {sent:?}", self.steps);
        }
        log.acts.push(Act::Append(sent));
        log.ever.push(sent);
        let taken = self.store.append(self.now, number, &batch, stamp);
        taken.expect("it was admitted");
    }

    fn truncate(&mut self) {
        let Some(number) = self.pick() else {
            return;
        };
        let back = self.rng.index(4);
        let log = self.logs.get_mut(&number).expect("picked");
        let batches = log.batches();
        let keep = batches.len().saturating_sub(back);
        let to = match keep {
            0 => log.start,
            _ => batches[keep - 1].end,
        };
        if to < log.log_start_asked || to >= log.end() {
            return;
        }
        if tracing() {
            eprintln!("{} truncate {number} to {to}", self.steps);
        }
        log.acts.push(Act::Truncate(to));
        log.epoch.0 += 1;
        self.store.truncate(self.now, number, to);
    }

    fn open_with(&mut self, replaces: Option<LogNumber>) {
        let number = self.store.next_log();
        if tracing() {
            eprintln!("{} open {number} replaces {replaces:?}", self.steps);
        }
        let start = Offset(self.rng.below(3) as i64 * 100);
        let mut log = ModelLog::new(
            number,
            TopicId(7),
            PartitionIndex(number.0 as i32 % 3),
            start,
        );
        log.replaces = replaces;
        log.cached = is_cached(number);
        log.expires = expires(number);
        let open = OpenLog {
            log: number,
            topic: log.topic,
            partition: log.partition,
            metadata_index: MetadataIndex(number.0),
            start,
            replaces,
            config: log_config(number),
        };
        self.store.open_log(self.now, open).expect("a new number");
        // A number whose log left no trace at all is given out again.
        self.gone.remove(&number);
        self.logs.insert(number, log);
    }

    fn open(&mut self) {
        if self.logs.len() < 8 {
            self.open_with(None);
        }
    }

    fn drop_one(&mut self) {
        if self.logs.len() < 3 {
            return;
        }
        let Some(number) = self.pick() else {
            return;
        };
        if tracing() {
            eprintln!("{} drop {number}", self.steps);
        }
        self.logs.get_mut(&number).expect("picked").life = Life::Dropping;
        self.store.drop_log(self.now, number);
    }

    fn replace(&mut self) {
        let Some(number) = self.pick() else {
            return;
        };
        let replaced = self.logs.values().any(|log| log.replaces == Some(number));
        if !replaced && self.logs.len() < 8 {
            self.open_with(Some(number));
        }
    }

    fn move_start(&mut self) {
        let Some(number) = self.pick() else {
            return;
        };
        let durable = self.store.durable(number).expect("it lives");
        let log = self.logs.get_mut(&number).expect("picked");
        let below: Vec<Offset> = log
            .batches()
            .iter()
            .map(|sent| sent.end)
            .filter(|end| *end <= durable)
            .collect();
        let chosen = below.get(self.rng.index(below.len().max(1))).copied();
        if log.expires {
            log.log_start_asked = log.log_start_asked.max(durable);
            self.store.set_high_watermark(number, durable);
            return;
        }
        if let Some(to) = chosen.filter(|to| *to > log.log_start_asked) {
            log.log_start_asked = to;
            self.store.set_high_watermark(number, durable);
            self.store.set_log_start(self.now, number, to);
        }
    }

    fn read(&mut self) {
        let Some(number) = self.pick() else {
            return;
        };
        let log = &self.logs[&number];
        let batches: Vec<Sent> = log
            .batches()
            .into_iter()
            .filter(|sent| sent.base >= log.log_start_asked)
            .collect();
        if batches.is_empty() {
            return;
        }
        let from = batches[self.rng.index(batches.len())].base;
        let max = self.rng.range(100, 60_000) as usize;
        let read = self
            .store
            .read(self.now, number, from, max, Offset(i64::MAX), true);
        match read {
            Read::Ready { data, end } => self.shown(number, Some(from), &data, end),
            Read::Wait(ticket) => {
                self.reads.insert(ticket.0, number);
            }
            Read::OutOfRange if self.store.log_end(number).is_none() => {}
            other => self.fail(&format!("log {number} from {from}: {other:?}")),
        }
    }

    /// Whole batches, each as it was sent.
    fn shown(&self, number: LogNumber, from: Option<Offset>, data: &[Bytes], end: Offset) {
        let Some(log) = self.logs.get(&number) else {
            return;
        };
        let sent = log.batches();
        let found = heads(&data.concat());
        if let Some(from) = from
            && found.first().is_some_and(|first| first.base != from)
        {
            self.fail(&format!("log {number}: asked for {from}, got {found:?}"));
        }
        for batch in &found {
            if !sent.contains(batch) {
                self.fail(&format!(
                    "log {number}: shows {batch:?}, which was not sent"
                ));
            }
        }
        if let Some(last) = found.last()
            && last.end != end
        {
            self.fail(&format!(
                "log {number}: says it ends at {end}, ends at {}",
                last.end
            ));
        }
    }

    fn turn(&mut self) {
        let logs = &self.logs;
        self.store.turn(self.now, &mut |number, into| {
            let offset = logs.get(&number)?.settled_end();
            into.extend(producers_of(number, offset));
            Some(offset)
        });
    }

    fn complete_one(&mut self) {
        self.now.tick.0 += self.rng.below(60_000);
        if let Some(done) = self.disk.complete_any(&mut self.rng) {
            if tracing() {
                eprintln!("{} done {:?}", self.steps, done.op);
            }
            self.store.done(self.now, done);
        }
    }

    fn pump(&mut self) {
        self.carry_out();
        // A log that acknowledges from memory has only promised what is durable all the same.
        for log in self.logs.values_mut().filter(|log| log.cached) {
            let Some(end) = self.store.durable(log.number) else {
                continue;
            };
            // A cut lowers it at once; what raises it is synced.
            if end > std::mem::replace(&mut log.durable_seen, end) {
                log.durable(end);
            }
        }
    }

    fn carry_out(&mut self) {
        let mut effects = Vec::new();
        self.store.drain(&mut effects);
        for effect in effects {
            if tracing() {
                eprintln!("{} {}", self.steps, brief(&effect));
            }
            match effect {
                StoreEffect::Op(id, op) => self.disk.submit(id, op),
                StoreEffect::Durable { log, end } => {
                    if let Some(known) = self.logs.get_mut(&log).filter(|log| !log.cached) {
                        known.durable(end);
                    }
                }
                StoreEffect::ReadReady { ticket, read } => {
                    let number = self
                        .reads
                        .remove(&ticket.0)
                        .expect("a ticket is answered once");
                    match read {
                        Read::Ready { data, end } => self.shown(number, None, &data, end),
                        Read::OutOfRange => {}
                        other => self.fail(&format!("log {number}: {other:?}")),
                    }
                }
                StoreEffect::FindReady { .. } => {}
                StoreEffect::StartMoved { log, log_start } => {
                    if let Some(known) = self.logs.get_mut(&log) {
                        known.log_start_told = log_start;
                    }
                }
                StoreEffect::Fatal { reason } if self.disk.has_failed() => {
                    if tracing() {
                        eprintln!("{} fatal: {reason}", self.steps);
                    }
                    self.doomed = true;
                    return;
                }
                StoreEffect::Fatal { reason } => self.fail(&format!("fatal: {reason}")),
            }
        }
    }

    // ---- crashes

    /// Looks at what a crash here would leave, on a copy, now and then.
    pub fn maybe_look_at_a_crash(&mut self) {
        if !self.rng.percent(60) {
            return;
        }
        let mut disk = self.disk.clone();
        let mut rng = self.rng.fork();
        let crash = if rng.percent(50) {
            Crash::Kill
        } else {
            Crash::PowerCut
        };
        let logs = self.logs.clone();
        if tracing() {
            eprintln!("{} look at a {crash:?}", self.steps);
        }
        let (first, _) = self.fall(&mut disk, crash, &mut rng);
        let found = self.verify(&disk, &first);
        // Again, behind another crash: the same logs.
        if rng.percent(30) {
            let crash = if rng.percent(50) {
                Crash::Kill
            } else {
                Crash::PowerCut
            };
            let (second, relaid) = self.fall(&mut disk, crash, &mut rng);
            let again = self.verify(&disk, &second);
            // A new layout begins with a checkpoint, which does not know what was cut: it may come back, as `survives` allows.
            if found != again && !relaid {
                self.fail(&format!(
                    "recovery is not idempotent: {found:?}, then {again:?}"
                ));
            }
        }
        self.logs = logs;
        self.crash_points += 1;
    }

    /// Lets the process or the power fail and recovers; tells whether logs were dealt to another number of shards.
    fn fall(&self, disk: &mut SimDisk, crash: Crash, rng: &mut SimRng) -> (Recovered, bool) {
        match crash {
            Crash::Kill => disk.kill(rng),
            Crash::PowerCut => disk.power_cut(rng),
        }
        if rng.percent(10) {
            // The process dies in the middle of recovery.
            disk.limit_blocking_calls(Some(rng.below(200)));
            let died = recover(disk, 1);
            disk.limit_blocking_calls(None);
            if tracing() {
                eprintln!("    recovery died: {:?}", died.err());
            }
            match rng.percent(50) {
                true => disk.kill(rng),
                false => disk.power_cut(rng),
            }
        }
        let relaid = rng.percent(5);
        if relaid {
            // Another number of shards, and back; the process may die on the way.
            let calls = rng.percent(70).then(|| rng.below(400));
            disk.limit_blocking_calls(calls);
            let changed = recover(disk, 2 + rng.below(2) as u16);
            disk.limit_blocking_calls(None);
            if tracing() {
                eprintln!("    another number of shards: {:?}", changed.err());
            }
            match rng.percent(50) {
                true => disk.kill(rng),
                false => disk.power_cut(rng),
            }
        }
        (recovered(disk), relaid)
    }

    /// Compares what was recovered with the reference, which takes it as its new beginning.
    fn verify(
        &mut self,
        disk: &SimDisk,
        recovered: &Recovered,
    ) -> BTreeMap<LogNumber, (Offset, Vec<Sent>)> {
        let mut found = BTreeMap::new();
        let mut absent: Vec<LogNumber> = self.logs.keys().copied().collect();
        for log in &recovered.logs {
            if self.gone.contains(&log.log) {
                self.fail(&format!("log {} came back", log.log));
            }
            if !log.damage.is_empty() || log.suspect {
                self.fail(&format!(
                    "log {}: damage {:?}, suspect {}",
                    log.log, log.damage, log.suspect
                ));
            }
            absent.retain(|number| *number != log.log);
            let batches = contents(disk, log).unwrap_or_else(|why| self.fail(&why));
            if let Err(why) = knows_producers(log, &batches) {
                self.fail(&why);
            }
            let Some(known) = self.logs.get_mut(&log.log) else {
                self.fail(&format!("log {} was never opened", log.log));
            };
            let survived = known.survives(&batches, log.log_start, log.end.offset);
            if let Err(why) = survived {
                self.fail(&why);
            }
            found.insert(log.log, (log.log_start, batches));
        }
        for number in absent {
            let replaced =
                self.may_be_replaced(number, &found) || self.store.log_end(number).is_none();
            if self.logs[&number].life == Life::Live && !replaced {
                self.fail(&format!("log {number} is lost"));
            }
        }
        found
    }

    /// Whether a log whose opening may have survived takes the place of this one.
    fn may_be_replaced(
        &self,
        number: LogNumber,
        found: &BTreeMap<LogNumber, (Offset, Vec<Sent>)>,
    ) -> bool {
        let mut by = self
            .logs
            .values()
            .filter(|other| other.replaces == Some(number));
        by.any(|other| {
            let number = other.number;
            found.contains_key(&number)
                || other.life == Life::Dropping
                || self.may_be_replaced(number, found)
        })
    }

    /// A real crash: work goes on with what is left.
    pub fn crash(&mut self) {
        let crash = if self.rng.percent(50) {
            Crash::Kill
        } else {
            Crash::PowerCut
        };
        let mut disk = std::mem::take(&mut self.disk);
        let mut rng = self.rng.fork();
        disk.limit_capacity(None);
        let (left, _) = self.fall(&mut disk, crash, &mut rng);
        let found = self.verify(&disk, &left);
        let all: Vec<LogNumber> = self.logs.keys().copied().collect();
        for number in all {
            if !found.contains_key(&number) {
                self.gone.insert(number);
                self.logs.remove(&number);
            }
        }
        for log in &left.logs {
            let known = self.logs.get_mut(&log.log).expect("verified");
            known.life = Life::Live;
            known.durable_seen = log.end.offset;
            known.log_start_told = log.log_start;
            known.log_start_asked = match known.expires {
                true => log.log_start.max(log.high_watermark),
                false => log.log_start,
            };
            // A process of the same node never appends under an epoch that another one led.
            known.epoch.0 += 1;
            known.replaces = None;
        }
        self.disk = disk;
        self.now.tick = Tick(1_000_000_000);
        self.reads.clear();
        self.store = Store::new(store_config(self.seed), left, self.now);
        for number in self.logs.keys() {
            self.store.configure(*number, log_config(*number));
        }
        self.doomed = false;
        self.crash_points += 1;
    }

    /// Without crashes everything becomes durable and the shard comes to rest; then nothing is lost at all.
    pub fn settle(&mut self) {
        self.disk.limit_capacity(None);
        self.store.stop(self.now);
        for _ in 0..200_000 {
            self.now.tick.0 += 1_000_000;
            self.turn();
            self.pump();
            self.complete_one();
            self.pump();
            if self.disk.pending() == 0 && self.store.idle() {
                break;
            }
        }
        if !self.store.idle() {
            self.fail("a shard that stops comes to rest");
        }
        for log in self
            .logs
            .values_mut()
            .filter(|log| log.life != Life::Dropping)
        {
            if !log.acts.iter().all(|act| matches!(act, Act::Truncate(_))) {
                let number = log.number;
                panic!(
                    "CRASH_SEED={} log {number} is not durable: {:?}",
                    self.seed, log.acts
                );
            }
        }
        self.crash();
    }
}

/// An effect in a line.
fn brief(effect: &StoreEffect) -> String {
    match effect {
        StoreEffect::Op(
            id,
            DiskOp::Write {
                slot,
                position,
                data,
                sync,
            },
        ) => {
            let bytes: usize = data.iter().map(Bytes::len).sum();
            format!("{id:?} Write {slot:?} {position}+{bytes} {sync:?}")
        }
        other => format!("{other:?}").chars().take(300).collect(),
    }
}

/// The heads of whole, valid batches.
fn heads(mut data: &[u8]) -> Vec<Sent> {
    let mut found = Vec::new();
    while !data.is_empty() {
        let head = millstream_storage::batch::check(data).expect("whole, valid batches");
        found.push(Sent {
            base: head.base_offset,
            end: head.end_offset(),
            epoch: head.leader_epoch,
            crc: head.crc,
        });
        data = &data[head.bytes..];
    }
    found
}

/// The settled producers are those of their offset, and the heads reach from there to the end.
fn knows_producers(log: &recovery::RecoveredLog, batches: &[Sent]) -> Result<(), String> {
    let from = match &log.producers {
        None => log.log_start,
        Some((offset, state))
            if *offset <= log.end.offset && *state == producers_of(log.log, *offset) =>
        {
            *offset
        }
        Some((offset, _)) => {
            return Err(format!(
                "log {}: its producers are not those of {offset}",
                log.log
            ));
        }
    };
    let heads: Vec<Offset> = log
        .heads
        .iter()
        .map(|placed| placed.head.base_offset)
        .collect();
    let missing = batches
        .iter()
        .find(|sent| sent.end > from && heads.binary_search(&sent.base).is_err());
    match missing {
        Some(sent) => Err(format!(
            "log {}: producers as of {from}, and no head of {sent:?}",
            log.log
        )),
        None => Ok(()),
    }
}

/// The batches of a recovered log from its log start on: from its segments up to the synced end, then what is not flushed.
fn contents(disk: &SimDisk, log: &recovery::RecoveredLog) -> Result<Vec<Sent>, String> {
    use millstream_storage::format::{SegmentFile, log_dir, segment_file};
    let directory = log_dir(&log.path());
    let mut found = Vec::new();
    for segment in &log.segments {
        let path = directory.join(segment_file(segment.base, SegmentFile::Log));
        let mut bytes = vec![0; segment.bytes as usize];
        let read = disk.read(&path, 0, &mut bytes);
        if read.as_ref().is_ok_and(|read| *read == bytes.len()) {
            found.extend(heads(&bytes));
            continue;
        }
        return Err(format!(
            "{}: {read:?} of {} bytes can be read",
            path.display(),
            bytes.len()
        ));
    }
    for piece in &log.unflushed {
        found.extend(heads(&piece.bytes));
    }
    found.retain(|sent| sent.end > log.log_start);
    for sent in &found {
        let epoch = log
            .epochs
            .iter()
            .rev()
            .find(|epoch| epoch.start <= sent.base);
        if epoch.is_none_or(|epoch| epoch.epoch != sent.epoch) {
            return Err(format!(
                "log {}: {sent:?} is not of its epochs {:?}",
                log.log, log.epochs
            ));
        }
    }
    Ok(found)
}
