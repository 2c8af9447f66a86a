//! One shard over a simulated disk, driven at random, and its reference.

use crate::crashes;
use crate::model::{Act, Life, ModelLog, Sent};
use bytes::Bytes;
use millstream_storage::batch::{BatchBuilder, BatchHead, BatchHeader, Stamp};
use millstream_storage::commit::CommitConfig;
use millstream_storage::disk::DiskOp;
use millstream_storage::format::parse_log_dir;
use millstream_storage::ids::{
    LogNumber, MetadataIndex, NodeId, Now, Offset, PartitionIndex, ShardIndex, Tick, TopicId,
    WallMs,
};
use millstream_storage::sim::{Fault, OpKind, SimDisk, SimRng};
use millstream_storage::store::{
    Acknowledge, LogConfig, OpenLog, Read, Store, StoreConfig, StoreEffect,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::OnceLock;

pub const NODE: NodeId = NodeId(1);
const SHARD: ShardIndex = ShardIndex(0);
/// Some logs keep what is younger.
const HOUR_MS: u64 = 3_600_000;

pub struct World {
    pub crash_points: u64,
    pub seed: u64,
    pub steps: u64,
    pub rng: SimRng,
    pub disk: SimDisk,
    pub store: Store,
    pub logs: BTreeMap<LogNumber, ModelLog>,
    /// Logs that are gone for good: none of them may come back.
    pub gone: BTreeSet<LogNumber>,
    pub now: Now,
    pub reads: BTreeMap<u64, LogNumber>,
    pub next_record: u64,
    /// So many steps nothing is asked of the shard.
    calm: u64,
    /// An operation failed, and the store said that the process must end.
    pub doomed: bool,
}

/// Some seeds go by the journal mostly, some by extents, many of which begin in the middle of a block.
pub fn store_config(seed: u64) -> StoreConfig {
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
        shared_sync_files_min: 2 + seed as usize % 2 * 15,
        commit: CommitConfig {
            fast_extent_bytes: large_bytes / 3,
            pace_bytes: [40 << 10, 200 << 10, 1 << 30][seed as usize / 9 % 3],
            trickle_bytes: [5 << 10, 30 << 10, 512 << 10][seed as usize / 3 % 3],
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

pub fn log_config(log: LogNumber) -> LogConfig {
    LogConfig {
        segment_bytes: [40 << 10, 400 << 10, 90 << 10][log.0 as usize % 3],
        index_interval_bytes: 2048,
        acknowledge: match is_cached(log) {
            true => Acknowledge::Memory,
            false => Acknowledge::Durable,
        },
        retention_bytes: expires(log).then_some(50 << 10),
        retention_ms: (log.0 % 8 == 7).then_some(HOUR_MS),
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
pub fn producers_of(log: LogNumber, offset: Offset) -> Vec<u8> {
    let bytes = (log.0 * 977 + offset.0 as u64 * 131) % 9000;
    vec![(log.0 + offset.0 as u64) as u8; bytes as usize]
}

/// `CRASH_TRACE=1` prints every operation and event.
pub fn tracing() -> bool {
    static TRACING: OnceLock<bool> = OnceLock::new();
    *TRACING.get_or_init(|| std::env::var_os("CRASH_TRACE").is_some())
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
        let store = Store::new(store_config(seed), crashes::recovered(&disk), now);
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
            calm: 0,
            doomed: false,
        };
        for _ in 0..3 {
            world.open();
        }
        world
    }

    pub fn fail(&self, what: &str) -> ! {
        panic!("CRASH_SEED={} step {}: {what}", self.seed, self.steps);
    }

    pub fn step(&mut self) {
        self.steps += 1;
        let chosen = match self.calm {
            0 => self.rng.below(100),
            // Nothing is asked of the shard, and what it does by itself goes on.
            _ => self.rng.range(40, 100),
        };
        self.calm = self.calm.saturating_sub(1);
        match chosen {
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
            0..4 => self.pass_time(),
            4..6 => {
                let more = self.rng.below(200 << 10);
                let capacity = self.disk.used_bytes() + more;
                self.disk.limit_capacity(Some(capacity));
            }
            6..9 => self.disk.limit_capacity(None),
            _ => {
                use OpKind::{Open, Read, Remove, Reserve, Sync, Write};
                let fault = Fault {
                    kind: [Open, Read, Remove, Reserve, Sync, Write][self.rng.index(6)],
                    after: self.rng.below(20),
                    errno: [libc::EIO, libc::ENOSPC][self.rng.index(2)],
                };
                self.disk.inject(fault);
            }
        }
    }

    /// An hour goes by, in which everything came to be replicated; the next few steps are calm.
    fn pass_time(&mut self) {
        // A sync of the file system that is under way takes too long: from then on files are synced one by one.
        self.now.tick.0 += 1_100_000_000;
        self.now.wall.0 += HOUR_MS as i64;
        self.calm = self.rng.below(100);
        for log in self.logs.values_mut().filter(|log| log.expires) {
            if let Some(durable) = self.store.durable(log.number) {
                log.log_start_asked = log.log_start_asked.max(durable);
                self.store.set_high_watermark(log.number, durable);
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
            Read::Damaged if self.disk.has_failed() => {}
            other => self.fail(&format!("log {number} from {from}: {other:?}")),
        }
    }

    /// Whole batches, each as it was sent.
    fn shown(&self, number: LogNumber, from: Option<Offset>, data: &[Bytes], end: Offset) {
        let Some(log) = self.logs.get(&number) else {
            return;
        };
        let sent = log.batches();
        let found = crashes::heads(&data.concat());
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
                        Read::Damaged if self.disk.has_failed() => {}
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

    /// Behind a start the directories of dropped logs go, and those of no others.
    fn tidy_up(&mut self) {
        self.pump();
        while self.disk.pending() > 0 {
            self.complete_one();
            self.pump();
        }
        for path in self.disk.directories() {
            let name = path
                .file_name()
                .and_then(|name| parse_log_dir(Path::new(name)));
            if let Some((_, number)) = name
                && !self.logs.contains_key(&number)
            {
                self.fail(&format!("{} is left over", path.display()));
            }
        }
    }

    /// Without crashes everything becomes durable and the shard comes to rest; then nothing is lost at all.
    pub fn settle(&mut self) {
        self.disk.limit_capacity(None);
        self.tidy_up();
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
