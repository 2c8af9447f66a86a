//! What readers are told: how far they may read, offsets by name, ends of epochs.

use super::types::Role;
use super::{Partition, PartitionConfig};
use millstream_storage::ids::{LeaderEpoch, Offset};

/// What a reader wants to see.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Isolation {
    /// Everything committed.
    #[default]
    ReadUncommitted,
    /// Nothing of open transactions.
    ReadCommitted,
}

/// What a fetch says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reader {
    /// The leader epoch it knows; -1 where it does not say.
    pub leader_epoch: LeaderEpoch,
    /// The first offset wanted.
    pub from: Offset,
    /// The epoch of the last record it has; -1 where it does not say.
    pub last_epoch: LeaderEpoch,
    /// What it wants to see.
    pub isolation: Isolation,
}

/// What a fetch may see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Readable {
    /// Everything below this offset; where it begins there or above, there is nothing to see yet.
    Below(Offset),
    /// Nothing: its log leaves ours. This epoch is the largest of ours that is not above its last one, and where it ends.
    Diverging {
        /// The epoch.
        epoch: LeaderEpoch,
        /// The offset behind its last record.
        end: Offset,
    },
}

/// Why a read is not served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadRefusal {
    /// [6] This replica does not lead.
    NotLeader,
    /// [74] The reader knows an older leader epoch.
    FencedLeaderEpoch,
    /// [75] The reader knows a newer leader epoch.
    UnknownLeaderEpoch,
    /// [1] Outside of the log.
    OffsetOutOfRange,
    /// [78] (before ListOffsets v5: [5]) Elected, but the high watermark has not reached the start of its epoch.
    OffsetNotAvailable,
}

impl Partition {
    /// Judges a request of a reader that knows this leader epoch (-1: does not say), rule F8.
    pub fn judge_reader(&self, epoch: LeaderEpoch) -> Result<(), ReadRefusal> {
        if !matches!(self.role, Role::Leader(_)) {
            return Err(ReadRefusal::NotLeader);
        }
        match epoch {
            LeaderEpoch(-1) => Ok(()),
            _ if epoch < self.leader_epoch => Err(ReadRefusal::FencedLeaderEpoch),
            _ if epoch > self.leader_epoch => Err(ReadRefusal::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }

    /// Judges a fetch (rules F4, F5, F8, F9). `stored` is that of [`Partition::epoch_end`].
    pub fn readable(
        &self,
        reader: &Reader,
        stored: impl FnOnce(LeaderEpoch) -> Option<(LeaderEpoch, Offset)>,
    ) -> Result<Readable, ReadRefusal> {
        self.judge_reader(reader.leader_epoch)?;
        if reader.from < self.log_start {
            return Err(ReadRefusal::OffsetOutOfRange);
        }
        if reader.last_epoch >= LeaderEpoch(0) {
            let end = self.epoch_end(reader.last_epoch, stored);
            let (epoch, end) = end.ok_or(ReadRefusal::OffsetOutOfRange)?;
            if epoch < reader.last_epoch || end < reader.from {
                return Ok(Readable::Diverging { epoch, end });
            }
        }
        if reader.from > self.log_end {
            return Err(ReadRefusal::OffsetOutOfRange);
        }
        Ok(Readable::Below(self.visible(reader.isolation)))
    }

    /// The "latest" offset (rules O1, O3).
    pub fn latest(&self, epoch: LeaderEpoch, isolation: Isolation) -> Result<Offset, ReadRefusal> {
        self.judge_reader(epoch)?;
        if self.high_watermark < self.epoch_start {
            return Err(ReadRefusal::OffsetNotAvailable);
        }
        Ok(self.visible(isolation))
    }

    /// Where an epoch ends (rule O4): the largest epoch at or below the one asked for, and the start of the next one; an epoch
    /// older than the log ends where the log starts. `None` for one that is not known here.
    /// `stored` asks the store's list, which has an epoch only once something was appended under it.
    pub fn epoch_end(
        &self,
        asked: LeaderEpoch,
        stored: impl FnOnce(LeaderEpoch) -> Option<(LeaderEpoch, Offset)>,
    ) -> Option<(LeaderEpoch, Offset)> {
        if asked == self.leader_epoch && matches!(self.role, Role::Leader(_)) {
            return Some((asked, self.log_end));
        }
        if asked > self.leader_epoch || asked < LeaderEpoch(0) {
            return None;
        }
        Some(stored(asked).unwrap_or((asked, self.log_start)))
    }

    /// The bound of a reader's sight.
    pub fn visible(&self, isolation: Isolation) -> Offset {
        match isolation {
            Isolation::ReadUncommitted => self.high_watermark,
            Isolation::ReadCommitted => self.last_stable_offset(),
        }
    }

    /// Everything below is committed.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Everything below is decided: the first offset of the oldest open transaction, or the high watermark.
    pub fn last_stable_offset(&self) -> Offset {
        let open = self.producers.first_open();
        open.map_or(self.high_watermark, |first| first.min(self.high_watermark))
    }

    /// The first offset that may be read.
    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// The offset of the next append.
    pub fn log_end(&self) -> Offset {
        self.log_end
    }

    /// The newest epoch this replica has had a role in.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// What this replica is.
    pub fn current_role(&self) -> &Role {
        &self.role
    }

    /// What it acts on.
    pub fn config(&self) -> PartitionConfig {
        self.config
    }

    /// The settled producers as bytes, appended to `into`, and the offset they stand for: what a checkpoint keeps.
    pub fn encode_producers(&self, into: &mut Vec<u8>) -> Offset {
        self.producers.encode(into)
    }
}
