//! Names for open files, and which of them can be closed when there are too many.
//!
//! Always: a slot is given out once until its `Close` completes; a file with operations in flight is not closed.

use crate::commit::LogSlot;
use crate::disk::FileSlot;
use crate::ids::Offset;
use std::collections::VecDeque;

#[derive(Clone, Copy, Debug, Default)]
struct SlotState {
    ops: u32,
    doomed: bool,
    stamp: u64,
}

/// The file slots of a shard.
#[derive(Debug)]
pub(super) struct FileSlots {
    slots: Vec<SlotState>,
    free: Vec<FileSlot>,
    open_max: usize,
    segments_open: usize,
    next_stamp: u64,
    /// Open segments, roughly the longest unused first; an entry with another stamp is stale.
    order: VecDeque<(LogSlot, Offset, FileSlot, u64)>,
}

impl FileSlots {
    pub(super) fn new(open_max: usize) -> FileSlots {
        FileSlots {
            slots: Vec::new(),
            free: Vec::new(),
            open_max,
            segments_open: 0,
            next_stamp: 0,
            order: VecDeque::new(),
        }
    }

    /// A slot for a file that stays open.
    pub(super) fn take(&mut self) -> FileSlot {
        if let Some(slot) = self.free.pop() {
            self.slots[slot.0 as usize] = SlotState::default();
            return slot;
        }
        self.slots.push(SlotState::default());
        FileSlot(self.slots.len() as u32 - 1)
    }

    /// A slot for a segment.
    pub(super) fn take_segment(&mut self, log: LogSlot, segment: Offset) -> FileSlot {
        let slot = self.take();
        self.segments_open += 1;
        self.touch(log, segment, slot);
        slot
    }

    /// The segment is used now.
    pub(super) fn touch(&mut self, log: LogSlot, segment: Offset, slot: FileSlot) {
        // BOUND: the order holds at most one entry for each open file and each of the last `open_max` uses.
        let stamp = self.slots[slot.0 as usize].stamp;
        // An entry of another file that had this slot is stale.
        let last = self.order.back().map(|(_, _, slot, stamp)| (*slot, *stamp));
        if last == Some((slot, stamp)) {
            return;
        }
        self.next_stamp += 1;
        self.slots[slot.0 as usize].stamp = self.next_stamp;
        self.order.push_back((log, segment, slot, self.next_stamp));
        if self.order.len() > 2 * self.open_max.max(64) {
            let slots = &self.slots;
            self.order
                .retain(|(_, _, slot, stamp)| slots[slot.0 as usize].stamp == *stamp);
        }
    }

    /// A segment to close, if too many are open: the longest unused one without operations.
    pub(super) fn surplus(&mut self) -> Option<(LogSlot, Offset)> {
        let mut left = self.order.len();
        while self.segments_open > self.open_max && left > 0 {
            left -= 1;
            let entry = self.order.pop_front()?;
            let state = self.slots[entry.2.0 as usize];
            if state.stamp != entry.3 || state.doomed {
                continue;
            }
            if state.ops > 0 {
                self.order.push_back(entry);
                continue;
            }
            return Some((entry.0, entry.1));
        }
        None
    }

    pub(super) fn open_segments(&self) -> usize {
        self.segments_open
    }

    pub(super) fn begin(&mut self, slot: FileSlot) {
        self.slots[slot.0 as usize].ops += 1;
    }

    /// An operation ended; true if the file can be closed now and is waiting for it.
    pub(super) fn end(&mut self, slot: FileSlot) -> bool {
        let state = &mut self.slots[slot.0 as usize];
        state.ops -= 1;
        state.doomed && state.ops == 0
    }

    /// Whether nothing is in flight on the file.
    pub(super) fn is_idle(&self, slot: FileSlot) -> bool {
        self.slots[slot.0 as usize].ops == 0
    }

    /// The segment is given up; true if it can be closed at once.
    pub(super) fn doom(&mut self, slot: FileSlot) -> bool {
        let state = &mut self.slots[slot.0 as usize];
        assert!(!state.doomed, "a file is given up once");
        state.doomed = true;
        state.stamp = 0;
        self.segments_open -= 1;
        state.ops == 0
    }

    /// `Close` has completed.
    pub(super) fn closed(&mut self, slot: FileSlot) {
        self.free.push(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_the_slot_of_one_that_was_closed_is_closed_when_there_are_too_many() {
        let mut files = FileSlots::new(1);
        let first = files.take_segment(LogSlot(0), Offset(0));
        assert!(files.doom(first));
        files.closed(first);
        let again = files.take_segment(LogSlot(0), Offset(1));
        assert_eq!(first, again);
        files.take_segment(LogSlot(0), Offset(2));
        assert_eq!(files.surplus(), Some((LogSlot(0), Offset(1))));
    }
}
