//! One segment as its log knows it: where it begins and ends, and how old it is.

use super::index::SegmentIndex;
use crate::batch::BatchHead;
use crate::ids::{Offset, WallMs};

/// A file of batches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// The offset its name states; no batch in it has a lower one.
    pub base: Offset,
    /// The offset behind its last batch; the base where there is none.
    pub end: Offset,
    /// Bytes of its batches.
    pub bytes: u64,
    /// The newest timestamp of its first batch, milliseconds; -1 where there is none. It rolls by this.
    pub first_timestamp: i64,
    /// At least the newest timestamp in it, milliseconds (exact until a truncation); -1 where there is none.
    pub max_timestamp: i64,
    /// When it was begun.
    pub created: WallMs,
    /// When the last batch came: its age where batches carry no timestamps.
    pub appended: WallMs,
    /// Its indexes, where they are in memory.
    pub index: Option<SegmentIndex>,
}

impl Segment {
    /// An empty segment.
    pub fn new(base: Offset, now: WallMs) -> Segment {
        Segment {
            base,
            end: base,
            bytes: 0,
            first_timestamp: -1,
            max_timestamp: -1,
            created: now,
            appended: now,
            index: Some(SegmentIndex::new()),
        }
    }

    /// Whether an offset of a batch can be stated relative to the base.
    pub fn reaches(&self, offset: Offset) -> bool {
        offset
            .0
            .checked_sub(self.base.0)
            .is_some_and(|delta| u32::try_from(delta).is_ok())
    }

    /// Whether it has no batch.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Notes a batch at its end.
    pub(super) fn append(&mut self, head: &BatchHead, now: WallMs, interval_bytes: u64) {
        assert!(self.end <= head.base_offset, "offsets of a log rise");
        if self.is_empty() {
            self.first_timestamp = head.max_timestamp;
        }
        if let Some(index) = &mut self.index {
            let delta = u32::try_from(head.base_offset.0 - self.base.0)
                .expect("the log rolls before deltas overflow");
            index.note(delta, self.bytes, head.max_timestamp, interval_bytes);
        }
        self.max_timestamp = self.max_timestamp.max(head.max_timestamp);
        self.bytes += head.bytes as u64;
        self.end = head.end_offset();
        self.appended = now;
    }

    /// The time that retention goes by, milliseconds.
    pub(super) fn newest_ms(&self) -> i64 {
        if self.max_timestamp >= 0 {
            self.max_timestamp
        } else {
            self.appended.0
        }
    }
}
