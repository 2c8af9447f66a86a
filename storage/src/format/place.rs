//! Places: in a log and in a journal.

use crate::ids::{LeaderEpoch, Offset};

/// A border between two batches of a log, or its start or end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Place {
    /// The segment, named by the offset of its first record.
    pub segment: Offset,
    /// The byte in the segment file.
    pub position: u64,
    /// The offset behind the batch before it (the start of the log where there is none).
    pub offset: Offset,
    /// The epoch of the batch before it; -1 where there is none.
    pub epoch: LeaderEpoch,
}

impl Place {
    /// Where a log without batches stands: its start.
    pub fn at_start(start: Offset) -> Place {
        Place {
            segment: start,
            position: 0,
            offset: start,
            epoch: LeaderEpoch(-1),
        }
    }
}

/// An epoch of a log and the first offset that was, or will be, appended under it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Its first offset.
    pub start: Offset,
}

/// Where a window lies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct WindowAt {
    /// The number of the journal file.
    pub file: u32,
    /// The byte in it; block-aligned.
    pub position: u64,
    /// The number of the window.
    pub sequence: u64,
}
