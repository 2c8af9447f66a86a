//! The segments and epochs of one replica.
//!
//! Always: (1) there is at least one segment, and the last is the one that grows; (2) the log start lies at or before the end, and no
//! segment but the last ends at or before it once `drop_below` was called.

use super::epochs::Epochs;
use super::index::SegmentIndex;
use super::index_file::Covered;
use super::segment::Segment;
use crate::batch::BatchHead;
use crate::ids::{LeaderEpoch, Offset, WallMs};
use crate::prefetch;
use std::collections::VecDeque;

/// Where to look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Located {
    /// Walk this segment's batches from this position on; it ends at `bytes`. What is looked for may also begin the next segment.
    At {
        /// The base offset of the segment.
        segment: Offset,
        /// The position of a batch.
        position: u64,
        /// The end of the segment's batches.
        bytes: u64,
    },
    /// The index of this segment is not in memory: `install` it first.
    NeedsIndex {
        /// The base offset of the segment.
        segment: Offset,
    },
    /// The log has no such place.
    Nowhere,
}

/// The layout of one log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    segments: VecDeque<Segment>,
    epochs: Epochs,
    log_start: Offset,
    interval_bytes: u64,
}

impl Layout {
    /// A new log; one of its batches in `interval_bytes` (`index.interval.bytes`) is indexed.
    pub fn new(start: Offset, now: WallMs, interval_bytes: u64) -> Layout {
        let segments = vec![Segment::new(start, now)];
        Layout::restored(start, segments, Epochs::default(), interval_bytes)
    }

    /// A log as recovery found it; segments ascending.
    pub fn restored(
        log_start: Offset,
        segments: Vec<Segment>,
        epochs: Epochs,
        interval_bytes: u64,
    ) -> Layout {
        assert!(!segments.is_empty(), "a log has a segment");
        let layout = Layout {
            segments: segments.into(),
            epochs,
            log_start,
            interval_bytes,
        };
        layout.check();
        layout
    }

    /// Brings near the processor what the next `append` touches.
    pub fn warm(&self) {
        self.segments.back().map(prefetch::value);
    }

    /// Notes a batch at the end, with its final offset and epoch.
    pub fn append(&mut self, head: &BatchHead, now: WallMs) {
        self.epochs.note(head.leader_epoch, head.base_offset);
        let interval_bytes = self.interval_bytes;
        self.active_mut().append(head, now, interval_bytes);
    }

    /// Notes a batch of the active segment that recovery walked over: it is in the epochs already.
    pub fn reindex(&mut self, segment: Offset, position: u64, head: &BatchHead) {
        let interval_bytes = self.interval_bytes;
        if let Some(found) = self.segment_mut(segment)
            && let Some(index) = &mut found.index
        {
            let delta =
                u32::try_from(head.base_offset.0 - segment.0).expect("deltas in a segment fit");
            index.note(delta, position, head.max_timestamp, interval_bytes);
        }
    }

    /// Notes a batch that a reader walked over, where nobody has indexed it; whether all of the segment is indexed by that.
    pub fn walked(&mut self, segment: Offset, position: u64, head: &BatchHead) -> bool {
        let interval_bytes = self.interval_bytes;
        if let Some(found) = self.segment_mut(segment)
            && let Some(index) = &mut found.index
            && let Ok(delta) = u32::try_from(head.base_offset.0 - segment.0)
        {
            let bytes = head.bytes as u64;
            return index.walked(delta, position, bytes, head.max_timestamp, interval_bytes);
        }
        false
    }

    /// Begins the next segment; its base is the log's end.
    pub fn roll(&mut self, now: WallMs) -> Offset {
        let end = self.end();
        let active = self.active_mut();
        assert!(!active.is_empty(), "an empty segment does not roll");
        if let Some(index) = &mut active.index {
            index.shrink();
        }
        self.segments.push_back(Segment::new(end, now));
        end
    }

    /// Cuts the log to a batch boundary: `end` is the offset behind the last batch that stays, which ends at `position` of `segment`.
    /// Returns the bases of the segments that go.
    pub fn truncate(&mut self, segment: Offset, position: u64, end: Offset) -> Vec<Offset> {
        let kept = self.segments.partition_point(|held| held.base <= segment);
        let gone = self.segments.drain(kept..).map(|held| held.base).collect();
        let active = self.active_mut();
        assert_eq!(active.base, segment, "a log is cut in one of its segments");
        assert!(
            position <= active.bytes && end <= active.end,
            "a truncation lowers the end"
        );
        active.bytes = position;
        active.end = end;
        if position == 0 {
            *active = Segment {
                created: active.created,
                ..Segment::new(segment, active.appended)
            };
            active.end = end.max(segment);
        } else {
            let unknown = || SegmentIndex::behind(position, active.max_timestamp);
            active.index.get_or_insert_with(unknown).truncate(position);
        }
        self.epochs.truncate(end);
        self.log_start = self.log_start.min(end);
        gone
    }

    /// Bytes of a segment and of all behind it.
    pub fn bytes_from(&self, segment: Offset) -> u64 {
        let behind = self.segments.iter().rev();
        let behind = behind.take_while(|held| held.base >= segment);
        behind.map(|held| held.bytes).sum()
    }

    /// Moves the log start up. Segments stay until `drop_below`.
    pub fn set_log_start(&mut self, log_start: Offset) {
        self.log_start = self.log_start.max(log_start.min(self.end()));
        self.epochs.start_at(self.log_start);
    }

    /// Forgets the segments that lie wholly below the log start, and before the segment `up_to`, and returns their bases. Never
    /// the last one.
    pub fn drop_below(&mut self, up_to: Offset) -> Vec<Offset> {
        let below = self.log_start.min(up_to);
        let mut gone = Vec::new();
        while self.segments.len() > 1 && self.segments[1].base <= below {
            gone.extend(self.segments.pop_front().map(|held| held.base));
        }
        gone
    }

    /// Puts the index of a segment into memory.
    pub fn install(&mut self, segment: Offset, index: SegmentIndex) {
        if let Some(found) = self.segment_mut(segment) {
            found.index = Some(index);
        }
    }

    /// Keeps only some of the entries of a segment that does not grow.
    pub fn thin(&mut self, segment: Offset, entries_max: usize) {
        if let Some(found) = self.segment_mut(segment)
            && let Some(index) = &mut found.index
        {
            index.thin(entries_max);
        }
    }

    /// Takes the index of a segment that does not grow out of memory.
    pub fn unload(&mut self, segment: Offset) {
        if segment != self.active().base
            && let Some(found) = self.segment_mut(segment)
        {
            found.index = None;
        }
    }

    /// Where the batch that holds `offset` lies: the first one whose end is above it, at or behind the place returned.
    pub fn locate(&self, offset: Offset) -> Located {
        if offset < self.log_start || offset >= self.end() {
            return Located::Nowhere;
        }
        let behind = self.segments.partition_point(|held| held.base <= offset);
        let mut at = behind.saturating_sub(1);
        // Offsets jump where compaction or a follower's start left a hole: what is looked for begins the next segment.
        while self.segments[at].end <= offset {
            at += 1;
        }
        let segment = &self.segments[at];
        match &segment.index {
            Some(index) => segment.located(index.floor(segment.base, offset)),
            None => Located::NeedsIndex {
                segment: segment.base,
            },
        }
    }

    /// Where the first record at or behind a time (ms) lies: at or behind the place returned, and above the log start.
    pub fn locate_time(&self, timestamp: i64) -> Located {
        let holds = |held: &&Segment| {
            !held.is_empty() && held.max_timestamp >= timestamp && held.end > self.log_start
        };
        let Some(segment) = self.segments.iter().find(holds) else {
            return Located::Nowhere;
        };
        match &segment.index {
            Some(index) => {
                let by_start = index.floor(segment.base, self.log_start);
                segment.located(index.floor_time(segment.base, timestamp).max(by_start))
            }
            None => Located::NeedsIndex {
                segment: segment.base,
            },
        }
    }

    /// The segment behind one, where a walk that found nothing goes on.
    pub fn next_segment(&self, segment: Offset) -> Option<&Segment> {
        self.segments
            .get(self.segments.partition_point(|held| held.base <= segment))
    }

    /// Whether the log still has the batch that an index file ends in.
    pub fn has(&self, segment: Offset, covered: &Covered) -> bool {
        let Some(held) = self.segment(segment) else {
            return false;
        };
        if covered.bytes == 0 {
            return true;
        }
        let last = Offset(covered.end.0.saturating_sub(1));
        let same_epoch = last < self.log_start || self.epochs.at(last) == Some(covered.epoch);
        covered.bytes <= held.bytes && covered.end <= held.end && same_epoch
    }

    /// What the index of a segment covers now.
    pub fn covered(&self, segment: Offset) -> Option<Covered> {
        let held = self.segment(segment)?;
        let last = Offset(held.end.0.saturating_sub(1));
        Some(Covered {
            bytes: held.bytes,
            end: held.end,
            epoch: self.epochs.at(last).unwrap_or(LeaderEpoch(-1)),
        })
    }

    /// The segment that grows.
    pub fn active(&self) -> &Segment {
        self.segments.back().expect("a log has a segment")
    }

    /// A segment by its base offset.
    pub fn segment(&self, base: Offset) -> Option<&Segment> {
        let at = self
            .segments
            .binary_search_by_key(&base, |held| held.base)
            .ok()?;
        self.segments.get(at)
    }

    /// All segments, ascending.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &Segment> + ExactSizeIterator {
        self.segments.iter()
    }

    /// Its epochs.
    pub fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// The first offset that may be read.
    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// The offset behind the last batch.
    pub fn end(&self) -> Offset {
        self.active().end
    }

    /// Bytes of all batches.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|held| held.bytes).sum()
    }

    /// At least the newest timestamp in the log, milliseconds; -1 where there is none.
    pub fn max_timestamp(&self) -> i64 {
        self.segments
            .iter()
            .map(|held| held.max_timestamp)
            .max()
            .unwrap_or(-1)
    }

    /// Memory of the indexes.
    pub fn index_bytes(&self) -> usize {
        let indexes = self.segments.iter().filter_map(|held| held.index.as_ref());
        indexes.map(SegmentIndex::bytes).sum()
    }

    /// Asserts what always holds.
    pub fn check(&self) {
        for (held, next) in self.segments.iter().zip(self.segments.iter().skip(1)) {
            assert!(
                held.base < next.base && held.end <= next.base,
                "segments lie in order"
            );
        }
        assert!(
            self.segments.iter().all(|held| held.base <= held.end),
            "a segment ends behind its base"
        );
        assert!(self.log_start <= self.end(), "a log starts before its end");
    }

    fn active_mut(&mut self) -> &mut Segment {
        self.segments.back_mut().expect("a log has a segment")
    }

    fn segment_mut(&mut self, base: Offset) -> Option<&mut Segment> {
        let at = self
            .segments
            .binary_search_by_key(&base, |held| held.base)
            .ok()?;
        self.segments.get_mut(at)
    }
}

impl Segment {
    fn located(&self, position: u64) -> Located {
        Located::At {
            segment: self.base,
            position,
            bytes: self.bytes,
        }
    }
}
