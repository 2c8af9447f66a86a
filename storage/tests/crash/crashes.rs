//! Crashes of a world: the fall, recovery, and the comparison of what is left with the reference.

use crate::model::{Life, Sent};
use crate::world::{NODE, World, log_config, producers_of, store_config, tracing};
use millstream_storage::disk::BlockingDisk;
use millstream_storage::format::{NODE_META, NodeMeta, SegmentFile, log_dir, segment_file};
use millstream_storage::ids::{LogNumber, Offset, Tick};
use millstream_storage::recovery::{self, Recovered, RecoveredNode, RecoveryConfig, RecoveryError};
use millstream_storage::sim::{SimDisk, SimRng};
use millstream_storage::store::Store;
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Crash {
    Kill,
    PowerCut,
}

fn recovery_config() -> RecoveryConfig {
    RecoveryConfig {
        journal_file_bytes: 128 << 10,
        journal_files_min: 2,
        ..RecoveryConfig::new(1)
    }
}

/// Recovers for one shard, which always succeeds.
pub fn recovered(disk: &SimDisk) -> Recovered {
    let mut node = recover(disk, 1).expect("recovery starts a node after any crash");
    if tracing() {
        node.report
            .findings
            .iter()
            .for_each(|finding| eprintln!("    {finding}"));
    }
    node.shards.remove(0)
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
        let first = self.fall(&mut disk, crash, &mut rng);
        let found = self.verify(&disk, &first);
        // Again, behind another crash: the same logs.
        if rng.percent(30) {
            let crash = if rng.percent(50) {
                Crash::Kill
            } else {
                Crash::PowerCut
            };
            let second = self.fall(&mut disk, crash, &mut rng);
            let again = self.verify(&disk, &second);
            if found != again {
                self.fail(&format!(
                    "recovery is not idempotent: {found:?}, then {again:?}"
                ));
            }
        }
        self.logs = logs;
        self.crash_points += 1;
    }

    /// Lets the process or the power fail and recovers.
    fn fall(&self, disk: &mut SimDisk, crash: Crash, rng: &mut SimRng) -> Recovered {
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
        if rng.percent(5) {
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
        recovered(disk)
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
        let left = self.fall(&mut disk, crash, &mut rng);
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
}

/// The heads of whole, valid batches.
pub fn heads(mut data: &[u8]) -> Vec<Sent> {
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
                "log {}: {sent:?} is not of its epochs {:?}; segments {:?} up to {:?}",
                log.log, log.epochs, log.segments, log.synced_end
            ));
        }
    }
    Ok(found)
}
