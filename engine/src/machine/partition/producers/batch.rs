//! The header of a batch as far as producers and transactions are concerned.

use millstream_storage::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// What a batch is to the transaction of its producer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum BatchKind {
    /// Plain records.
    #[default]
    Plain,
    /// Records of a transaction.
    Transactional,
    /// A marker that ends a transaction.
    Marker {
        /// How it ends.
        outcome: Outcome,
        /// The epoch of the coordinator that wrote it.
        coordinator_epoch: i32,
    },
}

/// How a transaction ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Its records count.
    Commit,
    /// They do not.
    Abort,
}

/// The header of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHead {
    /// Offset of its first record (once stamped).
    pub base_offset: Offset,
    /// Offset of its last record, relative to the first; offsets may have gaps.
    pub last_offset_delta: i32,
    /// The epoch it was appended under (once stamped).
    pub leader_epoch: LeaderEpoch,
    /// The largest timestamp in it, in ms.
    pub max_timestamp: i64,
    /// Its producer; -1 for none.
    pub producer: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: ProducerEpoch,
    /// The sequence of its first record; -1 for none.
    pub base_sequence: i32,
    /// Its part in a transaction.
    pub kind: BatchKind,
}

impl BatchHead {
    /// The offset behind its last record.
    pub fn end(&self) -> Offset {
        Offset(self.base_offset.0 + i64::from(self.last_offset_delta) + 1)
    }

    /// Whether it carries a producer id.
    pub fn has_producer(&self) -> bool {
        self.producer.0 >= 0
    }

    /// The sequence of its last record: sequences wrap from 2147483647 to 0.
    pub fn last_sequence(&self) -> i32 {
        let sum = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        (sum & i64::from(i32::MAX)) as i32
    }
}
