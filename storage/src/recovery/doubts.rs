//! Which logs the newest checkpoints know to be damaged, or in doubt at their end. Changes nothing, and needs no lock: a checkpoint that
//! is being written is in the slot that is not the newest.

use super::dump::identities;
use super::shard::newest_checkpoint;
use super::types::{RecoveryError, Report};
use crate::disk::BlockingDisk;
use crate::format::{DamagedRange, Life, LogPath};
use crate::ids::ShardIndex;

/// A log that is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Doubt {
    /// The log.
    pub path: LogPath,
    /// Whether its end is in doubt.
    pub suspect: bool,
    /// What of it cannot be read.
    pub damage: Vec<DamagedRange>,
}

/// Logs, and those of them that are in doubt.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Doubts {
    /// Logs that live.
    pub logs: u64,
    /// Those that are not as they should be.
    pub found: Vec<Doubt>,
}

/// Reads the newest checkpoint of every shard; `None` where no node has started.
pub fn doubts(disk: &dyn BlockingDisk) -> Result<Option<Doubts>, RecoveryError> {
    let node = identities(disk, &mut |_| {})?;
    let Some(node) = node.filter(|node| node.layout > 0) else {
        return Ok(None);
    };
    let mut doubts = Doubts::default();
    for shard in (0..node.shards).map(ShardIndex) {
        let newest = newest_checkpoint(disk, &node, shard, &mut Report::default())?;
        let logs = newest.map_or_else(Vec::new, |(_, checkpoint)| checkpoint.logs);
        for log in logs.into_iter().filter(|log| log.life == Life::Live) {
            doubts.logs += 1;
            if log.suspect || !log.damage.is_empty() {
                doubts.found.push(Doubt {
                    path: log.path(),
                    suspect: log.suspect,
                    damage: log.damage,
                });
            }
        }
    }
    Ok(Some(doubts))
}
