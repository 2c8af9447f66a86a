//! Crashes of a world: how the process or the power fails, recovery, and going on with what is left.

use crate::config::{NODE, SHARDS_MAX, log_config, recovery_config, store_config};
use crate::counts::Counts;
use crate::model::Life;
use crate::trouble::any_fault;
use crate::world::{FINDING, World, tracing};
use millstream_storage::format::{NODE_META, NodeMeta};
use millstream_storage::ids::{LogNumber, Tick};
use millstream_storage::recovery::{RecoveredNode, RecoveryError, recover};
use millstream_storage::sim::{OpKind, SimDisk, SimRng};
use millstream_storage::store::Store;
use std::collections::BTreeSet;
use std::path::Path;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Crash {
    Kill,
    PowerCut,
}

impl Crash {
    fn any(rng: &mut SimRng) -> Crash {
        match rng.percent(50) {
            true => Crash::Kill,
            false => Crash::PowerCut,
        }
    }
}

/// Whether the next process waits for the lock of the data directory, as it must.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lock {
    Awaited,
    Ignored,
}

/// A crash and the recoveries behind it.
struct Fall<'a> {
    disk: &'a mut SimDisk,
    rng: &'a mut SimRng,
    counts: &'a mut Counts,
    lock: Lock,
}

/// Recovers for so many shards, which always succeeds.
pub fn recovered(disk: &SimDisk, shards: u16) -> RecoveredNode {
    let node = attempt(disk, shards).unwrap_or_else(|error| {
        panic!("{FINDING}recovery starts no node after a crash: {error:?}")
    });
    if tracing() {
        let findings = node.report.findings.iter();
        findings.for_each(|finding| eprintln!("    {finding}"));
    }
    node
}

fn attempt(disk: &SimDisk, shards: u16) -> Result<RecoveredNode, RecoveryError> {
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
    recover(disk, &recovery_config(shards), meta)
}

impl Fall<'_> {
    /// The process or the power fails, recovery perhaps too, and at last it succeeds.
    fn recover(&mut self, crash: Crash, shards: u16) -> RecoveredNode {
        self.end(crash);
        if self.rng.percent(10) {
            let calls = self.rng.below(200);
            self.end_within(shards, calls);
        }
        if self.rng.percent(10) {
            self.fail_once(shards);
        }
        if self.rng.percent(5) {
            // Another number of shards, and back; the process may die on the way.
            let calls = match self.rng.percent(70) {
                true => self.rng.below(400),
                false => u64::MAX,
            };
            let other = 1 + self.rng.below(SHARDS_MAX) as u16;
            self.end_within(other, calls);
        }
        recovered(self.disk, shards)
    }

    /// The process dies after so many calls of its recovery, or behind it.
    fn end_within(&mut self, shards: u16, calls: u64) {
        self.disk.limit_blocking_calls(Some(calls));
        let died = attempt(self.disk, shards);
        self.disk.limit_blocking_calls(None);
        self.told("recovery died", &died);
        self.counts.recoveries_ended += u64::from(died.is_err());
        let crash = Crash::any(self.rng);
        self.end(crash);
    }

    /// One call of recovery fails, whichever: the node refuses to start, or went on without.
    fn fail_once(&mut self, shards: u16) {
        let shards = match self.rng.percent(20) {
            true => 1 + self.rng.below(SHARDS_MAX) as u16,
            false => shards,
        };
        let fault = any_fault(self.rng, &OpKind::RECOVERY);
        let before = self.disk.blocking_faults_struck();
        self.disk.fail_blocking_call(Some(fault));
        let refused = attempt(self.disk, shards);
        if self.disk.blocking_faults_struck() != before {
            *self.counts.recovery_faults.entry(fault.kind).or_default() += 1;
        }
        self.disk.fail_blocking_call(None);
        self.told("recovery failed", &refused);
        self.counts.recoveries_failed += u64::from(refused.is_err());
        let crash = Crash::any(self.rng);
        self.end(crash);
    }

    fn told(&self, what: &str, outcome: &Result<RecoveredNode, RecoveryError>) {
        if tracing() {
            eprintln!("    {what}: {:?}", outcome.as_ref().err());
        }
    }

    fn end(&mut self, crash: Crash) {
        match crash {
            Crash::PowerCut => {
                self.counts.power_cuts += 1;
                self.disk.power_cut(self.rng);
            }
            Crash::Kill => {
                self.counts.kills += 1;
                self.disk.die();
                if self.lock == Lock::Awaited {
                    self.wait_for_lock();
                }
            }
        }
    }

    /// The next process is there already: what the dead one had in flight lands under its eyes, and the power may fail meanwhile.
    fn wait_for_lock(&mut self) {
        while self.disk.is_locked() {
            if self.rng.percent(2) {
                self.counts.power_cuts += 1;
                return self.disk.power_cut(self.rng);
            }
            self.disk.end_late(self.rng);
            self.counts.late_requests += 1;
        }
    }
}

impl World {
    /// Looks at what a crash here would leave, on a copy, now and then.
    pub fn maybe_look_at_a_crash(&mut self) {
        if !self.rng.percent(60) {
            return;
        }
        let mut disk = self.disk.clone();
        let mut rng = self.rng.fork();
        let mut counts = Counts::default();
        let crash = Crash::any(&mut rng);
        let logs = self.logs.clone();
        if tracing() {
            eprintln!("{} look at a {crash:?}", self.steps);
        }
        let shards = self.shards.len() as u16;
        let mut fall = Fall {
            disk: &mut disk,
            rng: &mut rng,
            counts: &mut counts,
            lock: Lock::Awaited,
        };
        let first = fall.recover(crash, shards);
        let found = self.verify(&disk, &first);
        // Again, behind another crash: the same logs.
        if rng.percent(30) {
            let crash = Crash::any(&mut rng);
            let mut fall = Fall {
                disk: &mut disk,
                rng: &mut rng,
                counts: &mut counts,
                lock: Lock::Awaited,
            };
            let second = fall.recover(crash, shards);
            let again = self.verify(&disk, &second);
            if found != again {
                self.fail(&format!(
                    "recovery is not idempotent: {found:?}, then {again:?}"
                ));
            }
        } else if rng.percent(8) {
            let again = match crash {
                Crash::Kill => Crash::PowerCut,
                _ => Crash::any(&mut rng),
            };
            counts += self.go_on_to_a_crash(&disk, first, again, rng.fork());
        }
        self.logs = logs;
        self.counts += counts;
        self.counts.points += 1;
    }

    /// The next process appends to what was left, and ends as well: what was unsynced at a kill may still be lost then, and what was lost before
    /// must not come back in place of what came instead.
    fn go_on_to_a_crash(
        &self,
        disk: &SimDisk,
        left: RecoveredNode,
        crash: Crash,
        rng: SimRng,
    ) -> Counts {
        let mut world = self.branch(disk, left, rng);
        for _ in 0..world.rng.range(5, 60) {
            world.step();
        }
        world.crash_by(crash);
        world.counts.crash_after_crash += 1;
        world.counts
    }

    /// A real crash: work goes on with what is left.
    pub fn crash(&mut self) {
        let crash = Crash::any(&mut self.rng);
        self.crash_by(crash);
    }

    fn crash_by(&mut self, crash: Crash) {
        let mut disk = std::mem::take(&mut self.disk);
        let mut rng = self.rng.fork();
        if tracing() {
            eprintln!("{} {crash:?}", self.steps);
        }
        self.counts.ends_by_fault += u64::from(self.doomed);
        disk.limit_capacity(None);
        let before = self.shards.len() as u16;
        let shards = match rng.percent(40) {
            true => 1 + rng.below(SHARDS_MAX) as u16,
            false => before,
        };
        self.counts.layouts_changed += u64::from(shards != before);
        let mut fall = Fall {
            disk: &mut disk,
            rng: &mut rng,
            counts: &mut self.counts,
            lock: self.lock,
        };
        let left = fall.recover(crash, shards);
        let found = self.verify(&disk, &left);
        let there: BTreeSet<LogNumber> = found.into_keys().collect();
        let all: Vec<LogNumber> = self.logs.keys().copied().collect();
        for number in all.into_iter().filter(|number| !there.contains(number)) {
            self.gone.insert(number);
            self.logs.remove(&number);
        }
        self.disk = disk;
        self.begin(left);
        self.counts.points += 1;
    }

    /// The next process begins with what was recovered, which is verified.
    pub fn begin(&mut self, left: RecoveredNode) {
        for (shard, logs) in left.shards.iter().map(|shard| &shard.logs).enumerate() {
            for log in logs {
                let known = self.logs.get_mut(&log.log).expect("verified");
                known.shard = shard;
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
        }
        self.now.tick = Tick(1_000_000_000);
        self.reads.clear();
        let (seed, now) = (self.seed, self.now);
        let shards = left.shards.into_iter();
        let shards = shards.map(|shard| Store::new(store_config(seed, shard.shard), shard, now));
        self.shards = shards.collect();
        for log in self.logs.values() {
            self.shards[log.shard].configure(log.number, log_config(seed, log.number));
        }
        self.doomed = false;
    }
}
