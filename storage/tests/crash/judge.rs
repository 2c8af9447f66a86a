//! The comparison of what a crash left with the reference.

use crate::config::producers_of;
use crate::model::{Life, Sent};
use crate::world::World;
use millstream_storage::disk::BlockingDisk;
use millstream_storage::format::{SegmentFile, log_dir, segment_file};
use millstream_storage::ids::{LogNumber, Offset};
use millstream_storage::recovery::{RecoveredLog, RecoveredNode};
use millstream_storage::sim::SimDisk;
use std::collections::BTreeMap;

/// Every log that is there: its start and its batches.
pub type Found = BTreeMap<LogNumber, (Offset, Vec<Sent>)>;

impl World {
    /// Compares what was recovered with the reference, which takes it as its new beginning.
    pub fn verify(&mut self, disk: &SimDisk, recovered: &RecoveredNode) -> Found {
        let mut found = BTreeMap::new();
        let mut absent: Vec<LogNumber> = self.logs.keys().copied().collect();
        for log in recovered.shards.iter().flat_map(|shard| &shard.logs) {
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
            let replaced = self.may_be_replaced(number, &found) || self.log_end(number).is_none();
            if self.logs[&number].life == Life::Live && !replaced {
                self.fail(&format!("log {number} is lost"));
            }
        }
        found
    }

    /// Whether a log whose opening may have survived takes the place of this one.
    fn may_be_replaced(&self, number: LogNumber, found: &Found) -> bool {
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
fn knows_producers(log: &RecoveredLog, batches: &[Sent]) -> Result<(), String> {
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
fn contents(disk: &SimDisk, log: &RecoveredLog) -> Result<Vec<Sent>, String> {
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
