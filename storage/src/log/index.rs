//! The sparse indexes of one segment: offset to position, and time to offset.
//!
//! Always: (1) entries rise in every column; (2) an offset entry names the first offset and the position of one batch; (3) a time entry
//! says: nothing in front of this offset is newer than this time; (4) what lies in front of the entries is indexed too, or known to be
//! unknown, and then it grows with every walk that goes on where the last one stopped.

use crate::ids::Offset;

/// The indexes of one segment, in memory. Numbers are relative to the segment's base offset.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SegmentIndex {
    pub(super) offsets: Vec<OffsetEntry>,
    pub(super) times: Vec<TimeEntry>,
    /// Position of the last offset entry, or the segment's start.
    indexed_position: u64,
    /// The newest timestamp in front of what is noted next.
    newest: i64,
    /// The beginning of the segment, where recovery did not look at its batches.
    front: Option<Box<Front>>,
}

/// The part of a segment that nobody has indexed yet.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Front {
    /// What walks have found of it.
    found: SegmentIndex,
    /// How far they came.
    walked: u64,
    /// Where it ends.
    until: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct OffsetEntry {
    pub(super) offset_delta: u32,
    pub(super) position: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TimeEntry {
    pub(super) timestamp: i64,
    pub(super) offset_delta: u32,
}

impl SegmentIndex {
    /// The index of a segment without batches.
    pub fn new() -> SegmentIndex {
        SegmentIndex {
            newest: -1,
            ..SegmentIndex::default()
        }
    }

    /// The index of a segment whose batches in front of a position are not known yet; none of them is newer than `newest`
    /// (ms).
    pub fn behind(position: u64, newest: i64) -> SegmentIndex {
        let front = (position > 0).then(|| {
            Box::new(Front {
                found: SegmentIndex::new(),
                walked: 0,
                until: position,
            })
        });
        SegmentIndex {
            newest,
            front,
            ..SegmentIndex::default()
        }
    }

    pub(super) fn from_entries(
        offsets: Vec<OffsetEntry>,
        times: Vec<TimeEntry>,
        newest: i64,
    ) -> SegmentIndex {
        SegmentIndex {
            indexed_position: offsets.last().map_or(0, |entry| u64::from(entry.position)),
            offsets,
            times,
            newest,
            front: None,
        }
    }

    /// Notes the next batch of the segment: its place relative to the base, its position, and its newest timestamp (ms). One batch in
    /// `interval_bytes` gets entries.
    pub fn note(
        &mut self,
        offset_delta: u32,
        position: u64,
        max_timestamp: i64,
        interval_bytes: u64,
    ) {
        if position - self.indexed_position >= interval_bytes.max(1) {
            self.indexed_position = position;
            self.offsets.push(OffsetEntry {
                offset_delta,
                position: u32::try_from(position).expect("a segment is smaller than 4 GiB"),
            });
            let time = TimeEntry {
                timestamp: self.newest,
                offset_delta,
            };
            match self.times.last_mut() {
                Some(last) if last.timestamp == time.timestamp => *last = time,
                _ => self.times.push(time),
            }
        }
        self.newest = self.newest.max(max_timestamp);
    }

    /// A reader walked over a batch of so many bytes: where it is the next one of the part that is not known, that part becomes
    /// smaller, so that nobody walks over it again. Whether all of the segment is indexed by that.
    pub fn walked(
        &mut self,
        offset_delta: u32,
        position: u64,
        bytes: u64,
        max_timestamp: i64,
        interval_bytes: u64,
    ) -> bool {
        let Some(front) = self.front.as_mut().filter(|front| front.walked == position) else {
            return false;
        };
        front
            .found
            .note(offset_delta, position, max_timestamp, interval_bytes);
        front.walked += bytes;
        self.join_front();
        self.is_whole()
    }

    /// Whether there is nothing in the segment that nobody has indexed.
    pub fn is_whole(&self) -> bool {
        self.front.is_none()
    }

    /// Once all of the front is known it is part of the index.
    fn join_front(&mut self) {
        let Some(front) = self.front.take_if(|front| front.walked >= front.until) else {
            return;
        };
        let SegmentIndex {
            mut offsets,
            mut times,
            indexed_position,
            newest,
            ..
        } = front.found;
        // What the entries behind it say of all that lies in front of them says more.
        if let Some(first) = self.times.first() {
            let older = times.partition_point(|entry| entry.timestamp < first.timestamp);
            times.truncate(older);
        }
        offsets.append(&mut self.offsets);
        times.append(&mut self.times);
        self.indexed_position = self.indexed_position.max(indexed_position);
        self.newest = self.newest.max(newest);
        (self.offsets, self.times) = (offsets, times);
    }

    /// The position from which on to look for an offset.
    pub fn floor(&self, base: Offset, offset: Offset) -> u64 {
        let delta = offset.0.saturating_sub(base.0);
        let behind = self
            .offsets
            .partition_point(|entry| i64::from(entry.offset_delta) <= delta);
        match (self.offsets[..behind].last(), &self.front) {
            (Some(entry), _) => u64::from(entry.position),
            (None, Some(front)) => front.found.floor(base, offset),
            (None, None) => 0,
        }
    }

    /// The position from which on to look for the first record at or behind a time (ms).
    pub fn floor_time(&self, base: Offset, timestamp: i64) -> u64 {
        let behind = self
            .times
            .partition_point(|entry| entry.timestamp < timestamp);
        match (self.times[..behind].last(), &self.front) {
            (Some(entry), _) => self.floor(base, Offset(base.0 + i64::from(entry.offset_delta))),
            (None, Some(front)) => front.found.floor_time(base, timestamp),
            (None, None) => 0,
        }
    }

    /// Forgets what lies at `position` or behind it. The newest timestamp stays as an upper bound.
    pub fn truncate(&mut self, position: u64) {
        if let Some(front) = self.front.as_mut().filter(|front| front.until > position) {
            front.until = position;
            front.walked = front.walked.min(position);
            front.found.truncate(position);
            self.join_front();
        }
        let kept = self
            .offsets
            .partition_point(|entry| u64::from(entry.position) < position);
        let Some(first_gone) = self.offsets.get(kept).map(|entry| entry.offset_delta) else {
            return;
        };
        self.offsets.truncate(kept);
        self.times.truncate(
            self.times
                .partition_point(|entry| entry.offset_delta < first_gone),
        );
        self.indexed_position = self
            .offsets
            .last()
            .map_or(0, |entry| u64::from(entry.position));
    }

    /// The newest timestamp noted, milliseconds; -1 where there is none.
    pub fn newest(&self) -> i64 {
        self.newest
    }

    /// How much memory it takes.
    pub fn bytes(&self) -> usize {
        self.offsets.capacity() * size_of::<OffsetEntry>()
            + self.times.capacity() * size_of::<TimeEntry>()
            + self.front.as_ref().map_or(0, |front| front.found.bytes())
    }

    /// Keeps at most so many entries of each kind, evenly chosen: any choice of them is an index too.
    pub fn thin(&mut self, entries_max: usize) {
        thin(&mut self.offsets, entries_max);
        thin(&mut self.times, entries_max);
        self.shrink();
    }

    /// Gives back memory that a full index does not need.
    pub fn shrink(&mut self) {
        self.offsets.shrink_to_fit();
        self.times.shrink_to_fit();
    }
}

fn thin<T>(entries: &mut Vec<T>, entries_max: usize) {
    let step = entries.len().div_ceil(entries_max).max(1);
    let mut at = 0;
    entries.retain(|_| {
        at += 1;
        (at - 1usize).is_multiple_of(step)
    });
}
