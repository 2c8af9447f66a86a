//! The shards of one process over a simulated disk, driven at random, and their reference.

use crate::config::{Breaks, SHARDS_MAX, breaks, log_counts, producers_of};
use crate::counts::Counts;
use crate::crashes::{self, Lock};
use crate::model::{Act, Life, ModelLog};
use bytes::Bytes;
use millstream_storage::disk::{DiskDone, DiskOp, OpId, OpenMode};
use millstream_storage::format::parse_log_dir;
use millstream_storage::ids::{LogNumber, Now, Offset, Tick, WallMs};
use millstream_storage::recovery::RecoveredNode;
use millstream_storage::sim::{SimDisk, SimRng};
use millstream_storage::store::{Read, Store, StoreEffect};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::OnceLock;

pub struct World {
    pub counts: Counts,
    pub seed: u64,
    pub steps: u64,
    pub rng: SimRng,
    pub disk: SimDisk,
    /// One for each shard.
    pub shards: Vec<Store>,
    pub logs: BTreeMap<LogNumber, ModelLog>,
    /// Logs that are gone for good: none of them may come back.
    pub gone: BTreeSet<LogNumber>,
    pub now: Now,
    /// Reads under way, by shard and ticket.
    pub reads: BTreeMap<(usize, u64), LogNumber>,
    pub next_record: u64,
    /// So many steps nothing is asked of the shards.
    pub calm: u64,
    breaks: Breaks,
    /// The step in which an operation was made to fail last.
    struck_at: u64,
    /// An operation failed, and a shard said that the process must end.
    pub doomed: bool,
    /// Whether processes wait for the lock.
    pub lock: Lock,
}

/// What the model finds begins with this; other panics are faults of their own.
pub const FINDING: &str = "found: ";
/// And this is said where a shard gives up though nothing failed that was made to fail.
pub const GIVEN_UP: &str = "given up: ";

/// `CRASH_TRACE=1` prints every operation and event.
pub fn tracing() -> bool {
    static TRACING: OnceLock<bool> = OnceLock::new();
    *TRACING.get_or_init(|| std::env::var_os("CRASH_TRACE").is_some())
}

impl World {
    pub fn new(seed: u64) -> World {
        World::over(seed, SimDisk::new(), Lock::Awaited)
    }

    /// A world over an empty disk that may not be what it should.
    pub fn over(seed: u64, mut disk: SimDisk, lock: Lock) -> World {
        disk.rot_in_flight(match seed % 4 {
            0 => 0,
            1 => 100,
            _ => 30,
        });
        let shards = 1 + seed % SHARDS_MAX;
        let left = crashes::recovered(&disk, shards as u16);
        let mut world = World {
            counts: Counts::default(),
            seed,
            steps: 0,
            rng: SimRng::new(seed),
            disk,
            shards: Vec::new(),
            logs: BTreeMap::new(),
            gone: BTreeSet::new(),
            now: Now {
                tick: Tick(1_000_000_000),
                wall: WallMs(1_700_000_000_000),
            },
            reads: BTreeMap::new(),
            next_record: 0,
            calm: 0,
            breaks: breaks(seed),
            struck_at: u64::MAX,
            doomed: false,
            lock,
        };
        world.begin(left);
        for _ in 0..log_counts(seed).0 {
            world.open();
        }
        world
    }

    /// The same world, going on by itself with what a crash left.
    pub fn branch(&self, disk: &SimDisk, left: RecoveredNode, rng: SimRng) -> World {
        let mut world = World {
            counts: Counts::default(),
            rng,
            disk: disk.clone(),
            shards: Vec::new(),
            logs: self.logs.clone(),
            gone: self.gone.clone(),
            reads: BTreeMap::new(),
            ..*self
        };
        let there = |number: &LogNumber| {
            let mut logs = left.shards.iter().flat_map(|shard| &shard.logs);
            logs.any(|log| log.log == *number)
        };
        let all: Vec<LogNumber> = world.logs.keys().copied().collect();
        for number in all.into_iter().filter(|number| !there(number)) {
            world.gone.insert(number);
            world.logs.remove(&number);
        }
        world.begin(left);
        world
    }

    pub fn fail(&self, what: &str) -> ! {
        panic!("{FINDING}seed {} step {}: {what}", self.seed, self.steps);
    }

    pub fn step(&mut self) {
        self.steps += 1;
        let chosen = match self.calm {
            0 => self.rng.below(100),
            // Nothing is asked of the shards, and what they do by themselves goes on.
            _ => self.rng.range(40, 100),
        };
        self.calm = self.calm.saturating_sub(1);
        match chosen {
            0..30 => self.append(),
            30..36 if self.breaks == Breaks::WhatIsSeldom => self.append(),
            30..33 => self.truncate(),
            33..34 => self.open(),
            34..35 => self.drop_one(),
            35..36 => self.replace(),
            36..38 => self.move_start(),
            38..40 => self.read(),
            40..41 => self.trouble(),
            41..43 if self.breaks == Breaks::Anything => self.break_something(),
            41..43 if self.breaks == Breaks::WhatIsSeldom => self.break_what_is_seldom(),
            41..46 => self.now.tick.0 += self.rng.below(40_000_000),
            46..64 => {
                let shard = self.rng.index(self.shards.len());
                self.turn(shard);
            }
            _ => self.complete_one(),
        }
        self.pump();
        if self.doomed {
            self.crash();
            return;
        }
        self.shards.iter().for_each(Store::check);
    }

    // ---- the shard of a log

    pub fn store(&self, log: LogNumber) -> &Store {
        &self.shards[self.logs[&log].shard]
    }

    /// The end of a log that its shard has.
    pub fn log_end(&self, log: LogNumber) -> Option<Offset> {
        self.store(log).log_end(log)
    }

    pub fn drop_log(&mut self, number: LogNumber) {
        let log = self.logs.get_mut(&number).expect("a known log");
        log.life = Life::Dropping;
        self.shards[log.shard].drop_log(self.now, number);
    }

    /// Whether the operation that ended in this step was made to fail: what a shard survives is no reason to end later.
    fn has_just_failed(&self) -> bool {
        self.struck_at == self.steps
    }

    // ---- what the shards do by themselves

    fn turn(&mut self, shard: usize) {
        let logs = &self.logs;
        self.shards[shard].turn(self.now, &mut |number, into| {
            let offset = logs.get(&number)?.settled_end();
            into.extend(producers_of(number, offset));
            Some(offset)
        });
    }

    fn complete_one(&mut self) {
        self.now.tick.0 += self.rng.below(60_000);
        // Where nobody waited for the lock, what a dead process had in flight lands whenever it likes.
        if self.disk.is_locked() && self.rng.percent(20) {
            self.disk.end_late(&mut self.rng);
        }
        let struck = self.disk.faults_struck();
        if let Some(done) = self.disk.complete_any(&mut self.rng) {
            if self.disk.faults_struck() != struck {
                self.struck_at = self.steps;
            }
            if tracing() {
                eprintln!("{} done {:?}", self.steps, done.op);
            }
            let (op, shard) = (done.op.0 / SHARDS_MAX, done.op.0 % SHARDS_MAX);
            let done = DiskDone {
                op: OpId(op),
                ..done
            };
            self.shards[shard as usize].done(self.now, done);
        }
    }

    /// Shards name their operations and files each for itself; the disk has one name for each.
    fn submit(&mut self, shard: usize, op: OpId, mut what: DiskOp) {
        if let DiskOp::Rename { from, .. } = &what {
            let segment = from.extension().is_some_and(|kind| kind == "log");
            self.counts.reused += u64::from(segment);
        }
        if let DiskOp::Open {
            path,
            mode: OpenMode::Read,
            ..
        } = &what
        {
            let index = path.extension().is_some_and(|kind| kind == "index");
            self.counts.indexes_read += u64::from(index);
        }
        if let Some(slot) = what.slot_mut() {
            slot.0 = slot.0 * SHARDS_MAX as u32 + shard as u32;
        }
        let op = OpId(op.0 * SHARDS_MAX + shard as u64);
        self.disk.submit(op, what);
    }

    fn pump(&mut self) {
        for shard in 0..self.shards.len() {
            self.carry_out(shard);
        }
        // A log that acknowledges from memory has only promised what is durable all the same.
        for log in self.logs.values_mut().filter(|log| log.cached) {
            let Some(end) = self.shards[log.shard].durable(log.number) else {
                continue;
            };
            // A cut lowers it at once; what raises it is synced.
            if end > std::mem::replace(&mut log.durable_seen, end) {
                log.durable(end);
            }
        }
        self.drop_replaced_elsewhere();
    }

    /// A log whose successor on another shard is told to be durable goes too.
    fn drop_replaced_elsewhere(&mut self) {
        let lives = |number: &LogNumber| {
            let log = self.logs.get(number);
            log.is_some_and(|log| log.life != Life::Dropping)
        };
        let successors = self.logs.values().filter(|log| log.life == Life::Live);
        let replaced = successors.filter_map(|log| log.replaces).filter(lives);
        let replaced: Vec<LogNumber> = replaced.collect();
        for number in replaced {
            self.drop_log(number);
            self.carry_out(self.logs[&number].shard);
        }
    }

    fn carry_out(&mut self, shard: usize) {
        let mut effects = Vec::new();
        self.shards[shard].drain(&mut effects);
        for effect in effects {
            if tracing() {
                eprintln!("{} {shard}: {}", self.steps, brief(&effect));
            }
            match effect {
                StoreEffect::Op(id, op) => self.submit(shard, id, op),
                StoreEffect::Durable { log, end } => {
                    if let Some(known) = self.logs.get_mut(&log).filter(|log| !log.cached) {
                        known.durable(end);
                    }
                }
                StoreEffect::ReadReady { ticket, read } => {
                    let number = self
                        .reads
                        .remove(&(shard, ticket.0))
                        .expect("a ticket is answered once");
                    match read {
                        Read::Ready { data, end } => self.shown(number, None, &data, end),
                        Read::OutOfRange => {}
                        Read::Damaged if self.disk.has_failed() => {}
                        other => self.fail(&format!("log {number}: {other:?}")),
                    }
                }
                StoreEffect::FindReady { .. } => {}
                StoreEffect::Look { .. } => {}
                StoreEffect::StartMoved { log, log_start } => {
                    if let Some(known) = self.logs.get_mut(&log) {
                        known.log_start_told = log_start;
                    }
                }
                StoreEffect::Fatal { reason } if self.has_just_failed() => {
                    if tracing() {
                        eprintln!("{} fatal: {reason}", self.steps);
                    }
                    self.doomed = true;
                    return;
                }
                StoreEffect::Fatal { reason } => {
                    panic!("{GIVEN_UP}seed {} step {}: {reason}", self.seed, self.steps)
                }
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

    /// Without crashes everything becomes durable and the shards come to rest; then nothing is lost at all.
    pub fn settle(&mut self) {
        self.disk.limit_capacity(None);
        self.tidy_up();
        for shard in &mut self.shards {
            shard.stop(self.now);
        }
        for _ in 0..200_000 {
            self.now.tick.0 += 1_000_000;
            (0..self.shards.len()).for_each(|shard| self.turn(shard));
            self.pump();
            self.complete_one();
            self.pump();
            if self.disk.pending() == 0 && self.shards.iter().all(Store::idle) {
                break;
            }
        }
        if !self.shards.iter().all(Store::idle) {
            self.fail("shards that stop come to rest");
        }
        for log in self
            .logs
            .values_mut()
            .filter(|log| log.life != Life::Dropping)
        {
            if !log.acts.iter().all(|act| matches!(act, Act::Truncate(_))) {
                let number = log.number;
                panic!(
                    "{FINDING}seed {} log {number} is not durable: {:?}",
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
