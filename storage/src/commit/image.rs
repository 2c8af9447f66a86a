//! The block that an extent begins in the middle of: its synced bytes are in a synced window before it is written again.
//!
//! Always: while such a block is written, a synced window that a restart reads holds its synced bytes, as appends or as an `image`, and the
//! file of that window is needed.

use super::log::{Cover, First, Flight};
use super::machine::Commit;
use super::ring::UseId;
use super::types::{BlockImage, Effect, FirstBlock, LogSlot, Planned, Run, WindowPlan};
use crate::disk::BLOCK_BYTES;
use crate::format::Place;

/// Where the block of a position begins.
pub(super) fn block_start(position: u64) -> u64 {
    position - position % BLOCK_BYTES as u64
}

impl Commit {
    /// What the first block of an extent from a place on waits for, and the journal file that holds its bytes already.
    pub(super) fn first_of(&mut self, slot: LogSlot, from: &Place) -> (First, Option<UseId>) {
        let block = block_start(from.position);
        if block == from.position {
            return (First::Free, None);
        }
        let cover = self.log(slot).cover.filter(|cover| {
            cover.segment == from.segment
                && cover.from <= block
                && from.position <= cover.to
                && cover.first >= self.checkpoints.read_from
        });
        let Some(cover) = cover else {
            return (First::Due, None);
        };
        let Some(use_) = self.ring.by_id_mut(cover.file) else {
            return (First::Due, None);
        };
        use_.needed += 1;
        let first = match cover.last > self.windows.known_synced {
            true => First::Waits(cover.last),
            false => First::Free,
        };
        (first, Some(cover.file))
    }

    /// What the store is told of the first block.
    pub(super) fn first_block(flight: &Flight) -> FirstBlock {
        match flight.first {
            First::Free => FirstBlock::Along,
            First::Due | First::Waits(_) => FirstBlock::Held,
        }
    }

    /// Takes the image that an extent in flight waits for; `None` where it does not fit.
    pub(super) fn gather_image(
        &mut self,
        slot: LogSlot,
        plan: &mut WindowPlan,
        bytes: &mut u64,
        room: u64,
    ) -> Option<()> {
        let flight = self.log(slot).flight;
        let Some(flight) = flight.filter(|flight| flight.first == First::Due) else {
            return Some(());
        };
        // BOUND: the last file of a full ring is not filled with images, or marks and drops would find no room in it.
        if self.ring.cramped() {
            self.free_first(slot);
            return Some(());
        }
        let image = BlockImage::up_to(&flight.from);
        let block = image.position;
        let (file, sequence) = self.push_image(slot, Planned::Image(image), plan, bytes, room)?;
        let use_ = self.ring.current_mut().expect("a window is being filled");
        use_.needed += 1;
        let log = self.log_mut(slot);
        let flight = log.flight.as_mut().expect("it was just seen");
        flight.first = First::Waits(sequence);
        flight.hold = Some(file);
        let (segment, to) = (flight.from.segment, flight.from.position);
        log.cover = match log.cover {
            // Appends behind the place are in the same file: together they go back to the beginning of the block.
            Some(cover) if cover.segment == segment && cover.from == to && cover.file == file => {
                Some(Cover {
                    from: block,
                    last: sequence,
                    ..cover
                })
            }
            Some(cover) if (cover.segment, cover.to) > (segment, to) => Some(cover),
            _ => Some(Cover {
                segment,
                from: block,
                to,
                file,
                first: sequence,
                last: sequence,
            }),
        };
        Some(())
    }

    /// Whether an extent holds the beginning of the block it ends in the middle of.
    pub(super) fn ends_in_own_block(from: &Place, to: &Place) -> bool {
        let block = block_start(to.position);
        block < to.position && block >= from.position
    }

    /// Takes the image of the block that an extent in flight ends in, so that the next extent, which begins in it, waits for no
    /// window; `None` where it does not fit.
    ///
    /// ORDER: a restart that knows a mark of before this extent comes by batches to that block, and this image brings it back.
    pub(super) fn gather_tail(
        &mut self,
        slot: LogSlot,
        plan: &mut WindowPlan,
        bytes: &mut u64,
        room: u64,
    ) -> Option<()> {
        let log = self.log(slot);
        let (cut, flight) = (log.truncate.is_some() || log.dropped(), log.flight);
        let Some(flight) = flight.filter(|flight| flight.tail_due) else {
            return Some(());
        };
        // What was cut may be in memory no more; and a full ring has better uses for its room.
        if !cut && !self.ring.control_only() {
            let tail = BlockImage::up_to(&flight.to);
            let (file, sequence) = self.push_image(slot, Planned::Tail(tail), plan, bytes, room)?;
            self.log_mut(slot).cover = Some(Cover {
                segment: tail.segment,
                from: tail.position,
                to: flight.to.position,
                file,
                first: sequence,
                last: sequence,
            });
        }
        let flight = self.log_mut(slot).flight.as_mut();
        flight.expect("it was just seen").tail_due = false;
        Some(())
    }

    /// Puts an image into the window, unless that is full; gives the file and the number of the window.
    fn push_image(
        &mut self,
        slot: LogSlot,
        image: Planned,
        plan: &mut WindowPlan,
        bytes: &mut u64,
        room: u64,
    ) -> Option<(UseId, u64)> {
        let over = *bytes + image.encoded_bytes() > self.config.window_bytes;
        if (over && !plan.entries.is_empty()) || !self.push(slot, image, plan, bytes, room) {
            return None;
        }
        let file = self.ring.current().expect("a window is being filled").id;
        Some((file, self.ring.last().sequence + 1))
    }

    /// A window took a run: the journal holds the bytes that the log now ends with.
    pub(super) fn cover_run(&mut self, slot: LogSlot, run: &Run, file: UseId) {
        let sequence = self.ring.last().sequence + 1;
        let log = self.log_mut(slot);
        let to = run.position + run.bytes;
        log.cover = match log.cover {
            Some(cover)
                if cover.segment == run.segment
                    && cover.to == run.position
                    && cover.file == file =>
            {
                Some(Cover {
                    to,
                    last: sequence,
                    ..cover
                })
            }
            _ => Some(Cover {
                segment: run.segment,
                from: run.position,
                to,
                file,
                first: sequence,
                last: sequence,
            }),
        };
    }

    /// A window with something of the log is synced: the first block may be written if that is what it waited for.
    pub(super) fn first_synced(&mut self, slot: LogSlot) {
        let known_synced = self.windows.known_synced;
        let flight = self.log(slot).flight;
        if let Some(First::Waits(sequence)) = flight.map(|flight| flight.first)
            && sequence <= known_synced
        {
            self.free_first(slot);
        }
    }

    fn free_first(&mut self, slot: LogSlot) {
        let flight = self.log_mut(slot).flight.as_mut();
        flight.expect("an extent is in flight").first = First::Free;
        self.effects.push_back(Effect::FirstBlock { slot });
    }

    /// The extent is over: nobody needs what its first block held before.
    pub(super) fn release_hold(&mut self, flight: &Flight) {
        if let Some(file) = flight.hold {
            let use_ = self.ring.by_id_mut(file);
            use_.expect("a file that is needed is in use").needed -= 1;
        }
    }
}
