//! One log as the commit machine sees it: how far it is taken by windows and extents, written, synced, durable.
//!
//! Always, by (segment, position): synced end <= written end <= end, and written end, taken end <= end;
//! (1) at most one extent is in flight; (2) while it carries bytes that were in no window, or while a truncation waits, no
//! window takes bytes of the log; (3) nothing in `queue` was taken by a window or an extent.

use super::ring::UseId;
use super::types::{LogSeed, Run};
use crate::format::{EpochStart, Place};
use crate::ids::{LeaderEpoch, LogNumber, Offset, Tick};
use std::collections::VecDeque;

/// How long a rate is measured.
const RATE_MS: u64 = 100;

/// Whether a log lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Life {
    /// It takes bytes.
    Open,
    /// Its `drop` is in no window yet.
    Dropping,
    /// Its `drop` is in a window.
    Dropped,
    /// Its directory is gone.
    Forgotten,
}

/// An extent between submission and the moment it counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) from: Place,
    pub(super) to: Place,
    /// Whether it holds bytes that were in no window.
    pub(super) carries_pending: bool,
    pub(super) stage: Stage,
    pub(super) first: First,
    /// The journal file that holds the synced bytes of the first block.
    pub(super) hold: Option<UseId>,
    /// The image of the block that it ends in is to come, and in no window yet.
    pub(super) tail_due: bool,
}

/// The block that an extent begins in the middle of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum First {
    /// It is written, or may be.
    Free,
    /// Its `image` is in no window yet.
    Due,
    /// The window that holds its synced bytes is to be synced.
    Waits(u64),
}

/// Bytes of one segment, up to where windows took the log, that the windows of one journal file hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cover {
    pub(super) segment: Offset,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) file: UseId,
    /// The first of these windows.
    pub(super) first: u64,
    /// The last one.
    pub(super) last: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    Writing,
    /// Written; its own sync, or a shared one, is to come or in flight.
    Syncing,
    /// Synced; a window with its epoch is not.
    Landed,
}

#[derive(Debug)]
pub(super) struct Log {
    pub(super) number: LogNumber,
    pub(super) life: Life,
    /// Its `open` is in no window yet.
    pub(super) open_due: bool,
    pub(super) end: Place,
    /// Behind what windows and extents have taken.
    pub(super) taken_end: Place,
    /// Behind what extents have taken.
    pub(super) written_end: Place,
    /// Complete and synced in the segments.
    pub(super) synced_end: Place,
    pub(super) durable_end: Place,
    /// Ends of segments behind the written end that took a successor.
    pub(super) rolled: VecDeque<Place>,
    pub(super) queue: VecDeque<Run>,
    pub(super) pending_bytes: u64,
    /// Appended, in no extent yet.
    pub(super) unflushed_bytes: u64,
    pub(super) flight: Option<Flight>,
    pub(super) cover: Option<Cover>,
    /// The end of a synced extent that the journal does not know of.
    pub(super) mark: Option<Place>,
    /// The beginning of the empty segment that the log went on in, in no window yet.
    pub(super) step: Option<Place>,
    /// Cut, in no window yet.
    pub(super) truncate: Option<Place>,
    /// Log start, in no window yet.
    pub(super) start: Option<Offset>,
    /// Epochs that an extent took and no window yet.
    pub(super) epochs_due: VecDeque<EpochStart>,
    /// The epoch a window or `epochs_due` holds since the last truncation.
    pub(super) announced: Option<LeaderEpoch>,
    /// Cut or restarted, and no epoch announced since; as of the newest window.
    pub(super) barred: bool,
    /// The newest window with an `open`, `epoch` or `truncate` of this log.
    pub(super) control_sequence: u64,
    /// As of the newest window.
    pub(super) log_start: Offset,
    /// As of the newest window.
    pub(super) epochs: Vec<EpochStart>,
    /// Files with unflushed bytes of this log, oldest first, and how far each goes.
    pub(super) journaled: VecDeque<(UseId, Place)>,
    /// The segment and how much of it may be written.
    pub(super) ready: Option<(Offset, u64)>,
    /// What `Prepare` was last asked for and is not answered.
    pub(super) preparing: Option<(Offset, u64)>,
    /// Raised by every truncation that reaches taken bytes.
    pub(super) round: u32,
    /// The sequence of the `truncate` that must be synced before files are touched.
    pub(super) truncate_sequence: Option<u64>,
    pub(super) in_dirty: bool,
    pub(super) in_stalled: bool,
    pub(super) in_flush: bool,
    pub(super) in_pace: bool,
    /// Pressure wants everything journaled flushed.
    pub(super) pressed: bool,
    /// Everything journaled up to here is to be flushed, though nothing presses.
    pub(super) awaited: Option<Place>,
    rate_since: Tick,
    rate_bytes: u64,
    pub(super) fast: bool,
}

/// Order of places within one log.
pub(super) fn spot(place: &Place) -> (Offset, u64) {
    (place.segment, place.position)
}

impl Log {
    pub(super) fn new(number: LogNumber, start: Place) -> Log {
        Log {
            number,
            life: Life::Open,
            open_due: true,
            end: start,
            taken_end: start,
            written_end: start,
            synced_end: start,
            durable_end: start,
            rolled: VecDeque::new(),
            queue: VecDeque::new(),
            pending_bytes: 0,
            unflushed_bytes: 0,
            flight: None,
            cover: None,
            mark: None,
            step: None,
            truncate: None,
            start: None,
            epochs_due: VecDeque::new(),
            announced: None,
            barred: false,
            control_sequence: 0,
            log_start: start.offset,
            epochs: Vec::new(),
            journaled: VecDeque::new(),
            ready: None,
            preparing: None,
            round: 0,
            truncate_sequence: None,
            in_dirty: false,
            in_stalled: false,
            in_flush: false,
            in_pace: false,
            pressed: false,
            awaited: None,
            rate_since: Tick(0),
            rate_bytes: 0,
            fast: false,
        }
    }

    /// A log that recovery found; its journal files are told separately.
    pub(super) fn seeded(seed: &LogSeed) -> Log {
        let mut log = Log::new(seed.number, seed.end);
        log.open_due = false;
        log.written_end = seed.synced_end;
        log.synced_end = seed.synced_end;
        log.rolled = seed.rolled.iter().copied().collect();
        log.log_start = seed.log_start;
        log.epochs = seed.epochs.clone();
        log.barred = true;
        log.unflushed_bytes = log.span_to_end(log.written_end);
        log.step_over_roll();
        log
    }

    /// Adds a run to the queue. `run_bytes_max` bounds how far it joins the one before it.
    pub(super) fn append(&mut self, run: Run, run_bytes_max: u64) {
        assert!(run.base >= self.end.offset && run.end > run.base && run.epoch >= self.end.epoch);
        if run.segment == self.end.segment {
            assert_eq!(
                run.position, self.end.position,
                "nothing lies between two batches"
            );
        } else {
            assert!(run.segment > self.end.segment && run.position == 0);
            self.rolled.push_back(self.end);
        }
        self.end = run.end_place();
        self.pending_bytes += run.bytes;
        self.unflushed_bytes += run.bytes;
        self.step_over_roll();
        if let Some(last) = self.queue.back_mut()
            && last.segment == run.segment
            && last.epoch == run.epoch
            && last.end == run.base
            && last.bytes + run.bytes <= run_bytes_max
        {
            last.bytes += run.bytes;
            last.end = run.end;
            return;
        }
        self.queue.push_back(run);
    }

    /// When everything of a rolled segment is written, writing goes on at the start of the next one.
    pub(super) fn step_over_roll(&mut self) {
        while self
            .rolled
            .front()
            .is_some_and(|end| spot(end) <= spot(&self.written_end))
        {
            self.rolled.pop_front();
            let segment = self
                .rolled
                .front()
                .map_or(self.end.segment, |next| next.segment);
            self.written_end = Place {
                segment,
                position: 0,
                ..self.written_end
            };
        }
    }

    /// Bytes from a place at or behind the written end to the end.
    fn span_to_end(&self, from: Place) -> u64 {
        let within = |end: &Place| {
            end.position
                - if end.segment == from.segment {
                    from.position
                } else {
                    0
                }
        };
        let rolled = self.rolled.iter().filter(|end| end.segment >= from.segment);
        rolled.map(within).sum::<u64>() + within(&self.end)
    }

    /// Cuts what no window and no extent took; tells whether more than that has to go.
    pub(super) fn cut(&mut self, place: Place) -> bool {
        assert!(
            spot(&place) <= spot(&self.end),
            "a truncation never raises the end"
        );
        while let Some(run) = self.queue.back_mut() {
            if (run.segment, run.position) < spot(&place) {
                if spot(&run.end_place()) > spot(&place) {
                    run.bytes = place.position - run.position;
                    run.end = place.offset;
                }
                break;
            }
            self.queue.pop_back();
        }
        self.pending_bytes = self.queue.iter().map(|run| run.bytes).sum();
        let deep = spot(&place) < spot(&self.taken_end);
        self.end = place;
        while self
            .rolled
            .back()
            .is_some_and(|end| spot(end) >= spot(&place))
        {
            self.rolled.pop_back();
        }
        for lowered in [
            &mut self.taken_end,
            &mut self.written_end,
            &mut self.synced_end,
        ] {
            if spot(lowered) > spot(&place) {
                *lowered = place;
            }
        }
        if self.durable_end.offset > place.offset {
            self.durable_end = place;
        }
        self.unflushed_bytes = self.span_to_end(self.written_end);
        self.announced = None;
        self.step.take_if(|step| spot(step) > spot(&place));
        if deep {
            self.round += 1;
            self.cover = None;
            self.truncate = Some(place);
            self.ready = None;
            self.preparing = None;
            self.epochs_due.retain(|due| due.start < place.offset);
            for (_, end) in self
                .journaled
                .iter_mut()
                .filter(|(_, end)| spot(end) > spot(&place))
            {
                *end = place;
            }
        }
        deep
    }

    /// What an extent submitted now would end at: the end of the segment that writing is in; with `journaled_only` not
    /// beyond what windows took.
    pub(super) fn extent_end(&self, journaled_only: bool) -> Place {
        let limit = if journaled_only {
            self.taken_end
        } else {
            self.end
        };
        match self.rolled.front() {
            Some(end) if spot(end) < spot(&limit) => *end,
            _ => limit,
        }
    }

    /// The epoch entry that a run needs before it, if its epoch is not in the journal.
    pub(super) fn announcement(&self, run: &Run) -> Option<EpochStart> {
        if self.announced == Some(run.epoch) {
            return None;
        }
        let known = self.epochs_due.back().or(self.epochs.last());
        let start = match known {
            Some(last) if last.epoch == run.epoch => last.start,
            // From the end of what was before, not from its first batch: where the offsets jump, bytes that a truncation cut
            // may still lie in between, and only their epoch tells them apart.
            _ => run.previous_end,
        };
        Some(EpochStart {
            epoch: run.epoch,
            start,
        })
    }

    /// The epochs as of a window that now holds this one.
    pub(super) fn epoch_gathered(&mut self, epoch: EpochStart) {
        self.barred = false;
        if self
            .epochs
            .last()
            .is_none_or(|last| last.epoch < epoch.epoch)
        {
            self.epochs.retain(|known| known.start < epoch.start);
            self.epochs.push(epoch);
        }
    }

    /// Whether a window may take bytes of this log now.
    pub(super) fn windows_open(&self) -> bool {
        self.truncate.is_none() && !self.flight.is_some_and(|flight| flight.carries_pending)
    }

    /// Whether an extent that has landed waits for a window that is still to be gathered.
    pub(super) fn landing_waits(&self) -> bool {
        self.open_due || self.step.is_some() || !self.epochs_due.is_empty()
    }

    /// Whether the log may go on at the beginning of another segment without a flush: all of it is synced where it is.
    pub(super) fn may_step(&self) -> bool {
        spot(&self.synced_end) == spot(&self.end)
            && !self.open_due
            && !self.dropped()
            && self.flight.is_none()
    }

    /// Whether nothing is about to be done with the segments, besides.
    pub(super) fn rests(&self) -> bool {
        self.may_step()
            && self.truncate.is_none()
            && self.truncate_sequence.is_none()
            && self.preparing.is_none()
    }

    /// Goes on at the beginning of another segment.
    pub(super) fn step_over(&mut self, place: Place) {
        assert!(self.may_step() && place.segment > self.end.segment && place.position == 0);
        assert_eq!(
            (place.offset, place.epoch),
            (self.end.offset, self.end.epoch)
        );
        for end in [
            &mut self.end,
            &mut self.taken_end,
            &mut self.written_end,
            &mut self.synced_end,
            &mut self.durable_end,
        ] {
            *end = place;
        }
        self.cover = None;
        self.ready = None;
        self.step = Some(place);
    }

    /// Takes a journal file off the front whose bytes are all flushed.
    pub(super) fn release(&mut self) -> Option<UseId> {
        let (id, end) = self.journaled.front()?;
        if spot(end) > spot(&self.synced_end) && self.life != Life::Dropped {
            return None;
        }
        let id = *id;
        self.journaled.pop_front();
        Some(id)
    }

    /// Whether the file may be written up to this place.
    pub(super) fn is_ready(&self, to: &Place) -> bool {
        self.ready.is_some_and(|(segment, bytes)| {
            segment == self.written_end.segment && to.position <= bytes
        })
    }

    /// The oldest journal file with unflushed bytes of this log.
    pub(super) fn oldest_file(&self) -> Option<UseId> {
        self.journaled.front().map(|(id, _)| *id)
    }

    pub(super) fn dropped(&self) -> bool {
        self.life != Life::Open
    }

    /// Notes bytes for the rate; the route follows it.
    pub(super) fn note_rate(&mut self, now: Tick, bytes: u64, fast_rate_bytes: u64) {
        if now.ms_since(self.rate_since) >= RATE_MS {
            let stale = now.ms_since(self.rate_since) >= 2 * RATE_MS;
            self.fast = self.fast && !stale && self.rate_bytes > fast_rate_bytes / 2;
            self.rate_since = now;
            self.rate_bytes = 0;
        }
        self.rate_bytes += bytes;
        self.fast |= self.rate_bytes > fast_rate_bytes;
    }

    pub(super) fn check(&self) {
        assert!(spot(&self.taken_end) <= spot(&self.end));
        assert!(spot(&self.written_end) <= spot(&self.end));
        assert!(spot(&self.synced_end) <= spot(&self.written_end));
        assert!(self.synced_end.offset <= self.durable_end.offset);
        assert!(self.durable_end.offset <= self.end.offset);
        assert_eq!(
            self.pending_bytes,
            self.queue.iter().map(|run| run.bytes).sum::<u64>()
        );
        assert_eq!(self.unflushed_bytes, self.span_to_end(self.written_end));
        let mut at = self.taken_end;
        for run in &self.queue {
            assert!(
                run.segment > at.segment || run.position == at.position,
                "the queue has no hole"
            );
            assert_eq!(
                (run.previous_end, run.previous_epoch),
                (at.offset, at.epoch)
            );
            at = run.end_place();
        }
        assert_eq!((at.offset, at.epoch), (self.end.offset, self.end.epoch));
        assert!(self.truncate.is_none() || self.flight.is_some() || self.in_dirty);
        assert!(self.journaled.iter().is_sorted_by(|a, b| a.0 < b.0));
    }
}
