//! Which logs are flushed now: those with much pending, those that hold a journal file, those that hold memory.

use super::log::{First, Flight, Stage, spot};
use super::machine::Commit;
use super::parts::CheckpointStage;
use super::types::{Effect, LogSlot};
use crate::format::Place;
use crate::ids::Tick;

/// The logs to flush under pressure are chosen at most so often: it looks at all of them.
const PRESSURE_MS: u64 = 5;

/// More of a segment is asked for when less than this is left, or half of what there is.
const PREPARE_AHEAD_BYTES: u64 = 16 << 20;

/// Pressure flushes that nobody is in a hurry for are synced together when there are so many.
const SHARED_FILES: usize = 32;

/// Or when the first of them has waited so long.
const SHARED_MS: u64 = 20;

/// So much more is asked for at once for a fast log: a reservation waits for the writes under way in the file and holds up the next.
const PREPARE_FAST_BYTES: u64 = 64 << 20;

impl Commit {
    /// The end of a ring turn: all completions and appends of it are told.
    pub fn turn(&mut self, now: Tick) {
        self.now = now;
        self.grow_ring();
        self.flush_evenly();
        self.flush_pending();
        self.relieve_pressure();
        self.sync_shared();
        self.take_checkpoint();
        self.gather();
    }

    /// When `turn` next has something to do though nothing happens.
    pub fn deadline(&self) -> Option<Tick> {
        let checkpoint = (self.checkpoints.changed
            && self.checkpoints.stage == CheckpointStage::Idle)
            .then(|| self.checkpoints.at.after_ms(self.config.checkpoint_ms))
            .map(|at| at.max(self.checkpoints.retry_at));
        let again = (self.now < self.checkpoints.retry_at).then_some(self.checkpoints.retry_at);
        let retry = self.ring.stunted().then_some(self.retry_at);
        let pressure = (self.pressing() && self.pressure.flights == 0).then_some(self.pressure.at);
        let shared = (!self.shared.written.is_empty() && self.shared.syncing.is_empty())
            .then(|| self.shared.since.after_ms(SHARED_MS));
        self.gather_deadline()
            .into_iter()
            .chain(shared)
            .chain(checkpoint)
            .chain(retry)
            .chain(again)
            .chain(pressure)
            .min()
    }

    fn grow_ring(&mut self) {
        if self.ring.stunted() && self.now >= self.retry_at {
            self.ring.retry();
        }
        if let Some(file) = self.ring.grow() {
            self.effects.push_back(Effect::CreateFile { file });
        }
    }

    /// Extents for logs whose pending bytes are worth one.
    fn flush_pending(&mut self) {
        for _ in 0..self.flush.len() {
            let slot = self.flush.pop_front().expect("counted");
            self.log_mut(slot).in_flush = false;
            let log = self.log(slot);
            if log.dropped() {
                continue;
            }
            if log.pending_bytes >= self.extent_bytes(slot).max(1) {
                self.start_extent(slot, false);
            } else if let Some(until) = log.awaited {
                // What stands in its way brings it back, and so does the end of each extent.
                self.start_extent(slot, true);
                let log = self.log_mut(slot);
                let until = spot(&until).min(spot(&log.taken_end));
                log.awaited.take_if(|_| spot(&log.written_end) >= until);
            } else if self.log(slot).pressed {
                self.log_mut(slot).pressed = false;
                self.pressure.logs.push_front(slot);
            } else if self.trickles(slot) {
                self.start_extent(slot, true);
            }
        }
    }

    /// Whether so much of a log is only in the journal that it leaves though nothing presses: all of it at once, when a journal
    /// file is wanted, would stand in the way of windows.
    pub(super) fn trickles(&self, slot: LogSlot) -> bool {
        let log = self.log(slot);
        log.unflushed_bytes.saturating_sub(log.pending_bytes) >= self.config.trickle_bytes
    }

    /// Submits an extent if nothing stands in its way; whatever does brings the log back when it ends.
    fn start_extent(&mut self, slot: LogSlot, journaled_only: bool) -> bool {
        let log = self.log(slot);
        if log.flight.is_some()
            || log.truncate.is_some()
            || log.truncate_sequence.is_some()
            || log.dropped()
        {
            return false;
        }
        let to = log.extent_end(journaled_only);
        if spot(&to) <= spot(&log.written_end) {
            return false;
        }
        if !log.is_ready(&to) {
            self.prepare(slot, to.position, 0);
            return false;
        }
        self.submit(slot, to);
        true
    }

    fn prepare(&mut self, slot: LogSlot, bytes: u64, ahead: u64) {
        let log = self.log_mut(slot);
        let wanted = (log.written_end.segment, bytes);
        if log.preparing.is_some_and(|asked| asked.0 == wanted.0) {
            return;
        }
        log.preparing = Some(wanted);
        let effect = Effect::Prepare {
            slot,
            place: log.written_end,
            bytes,
            ahead,
            round: log.round,
        };
        self.effects.push_back(effect);
    }

    fn submit(&mut self, slot: LogSlot, to: Place) {
        let from = self.log(slot).written_end;
        let (first, hold) = self.first_of(slot, &from);
        let log = self.log_mut(slot);
        let mut taken = 0;
        while log
            .queue
            .front()
            .is_some_and(|run| spot(&run.start_place()) < spot(&to))
        {
            let run = log.queue.pop_front().expect("just seen");
            if let Some(epoch) = log.announcement(&run) {
                log.announced = Some(epoch.epoch);
                log.epochs_due.push_back(epoch);
            }
            taken += run.bytes;
        }
        let carries_pending = taken > 0;
        let tail_due = carries_pending && log.fast && Commit::ends_in_own_block(&from, &to);
        log.pending_bytes -= taken;
        log.unflushed_bytes -= to.position - from.position;
        let flight = Flight {
            from,
            to,
            carries_pending,
            stage: Stage::Writing,
            first,
            hold,
            tail_due,
        };
        log.flight = Some(flight);
        log.written_end = to;
        if carries_pending {
            log.taken_end = to;
            log.cover = None;
        }
        log.step_over_roll();
        let epochs_due = !log.epochs_due.is_empty();
        self.pending_bytes -= taken;
        if epochs_due || tail_due || first == First::Due {
            self.windows.dirty_since.get_or_insert(self.now);
            self.mark_dirty(slot);
        }
        if !carries_pending {
            self.pressure.flights += 1;
        }
        self.prepare_ahead(slot, to);
        self.effects.push_back(Effect::Extent {
            slot,
            segment: to.segment,
            from: from.position,
            to: to.position,
            first: Commit::first_block(&flight),
            urgent: carries_pending,
        });
    }

    /// Whether appends will soon want a journal file that is not there.
    pub fn wants_file(&self) -> bool {
        self.stopping || self.ring.lacks_file()
    }

    /// Whether somebody waits for what flushes give back.
    pub fn pressing(&self) -> bool {
        self.pressure.memory_short
            || (self.stopping && !self.settled())
            || (self.ring.pressed() && !self.ring.recyclable())
    }

    /// Asks for more of the segment before it is needed, so that a fast log need not go by the journal in between.
    fn prepare_ahead(&mut self, slot: LogSlot, to: Place) {
        let log = self.log(slot);
        let Some((segment, bytes)) = log.ready else {
            return;
        };
        let ahead = (bytes / 2).min(PREPARE_AHEAD_BYTES);
        if segment == log.written_end.segment && to.position + ahead > bytes {
            let more = match log.fast {
                true => PREPARE_FAST_BYTES,
                false => 1,
            };
            self.prepare(slot, bytes, more);
        }
    }

    /// Flushes what holds the oldest journal files, or memory, or everything at a stop.
    fn relieve_pressure(&mut self) {
        let all = self.pressure.memory_short || self.stopping;
        if !all && !self.ring.pressed() {
            return;
        }
        if self.pressure.logs.is_empty()
            && self.pressure.flights == 0
            && self.now >= self.pressure.at
        {
            self.pressure.at = self.now.after_ms(PRESSURE_MS);
            self.choose_pressed(all);
        }
        let mut looked_at = self.pressure.logs.len();
        while self.pressure.flights < self.config.pressure_flights && looked_at > 0 {
            looked_at -= 1;
            let Some(slot) = self.pressure.logs.pop_front() else {
                break;
            };
            let Some(log) = self.logs[slot.0 as usize].as_ref() else {
                continue;
            };
            if log.dropped()
                || (!self.stopping
                    && log
                        .oldest_file()
                        .is_none_or(|id| Some(id) > self.pressure.until))
            {
                continue;
            }
            // The end of the extent, or of what stands in its way, brings the log back through `flush`.
            self.start_extent(slot, true);
            self.log_mut(slot).pressed = true;
        }
    }

    /// The logs to flush, those with most unflushed bytes first.
    fn choose_pressed(&mut self, all: bool) {
        let oldest = self.ring.in_use().next().map(|use_| use_.id);
        self.pressure.until = match all {
            true => self.ring.current().map(|use_| use_.id),
            false => oldest,
        };
        let until = self.pressure.until;
        let mut chosen: Vec<LogSlot> = match self.stopping {
            true => (0..self.logs.len() as u32).map(LogSlot).collect(),
            false => self
                .ring
                .in_use()
                .filter(|use_| Some(use_.id) <= until)
                .flat_map(|use_| use_.logs.iter().copied())
                .collect(),
        };
        chosen.sort_unstable();
        chosen.dedup();
        let unflushed = |slot: &LogSlot| {
            self.logs[slot.0 as usize]
                .as_ref()
                .map_or(0, |log| log.unflushed_bytes)
        };
        chosen.retain(|slot| unflushed(slot) > 0);
        chosen.sort_by_key(|slot| std::cmp::Reverse(unflushed(slot)));
        self.pressure.logs.extend(chosen);
    }

    /// One sync for all pressure flushes written by now; a lone one is synced by itself.
    fn sync_shared(&mut self) {
        if self.shared.written.is_empty() || !self.shared.syncing.is_empty() {
            return;
        }
        let young = self.now.ms_since(self.shared.since) < SHARED_MS;
        if young && self.shared.written.len() < SHARED_FILES && !self.pressing() {
            return;
        }
        if self.shared.written.len() == 1 {
            let slot = self.shared.written.pop().expect("counted");
            let flight = self.log(slot).flight.expect("its extent is in flight");
            let segment = flight.to.segment;
            self.effects.push_back(Effect::SyncExtent { slot, segment });
            return;
        }
        self.shared.syncing = std::mem::take(&mut self.shared.written);
        self.effects.push_back(Effect::SyncShared);
    }

    fn take_checkpoint(&mut self) {
        if self.checkpoints.stage == CheckpointStage::Idle && self.checkpoint_due() {
            self.checkpoints.stage = CheckpointStage::Draining;
        }
        if self.checkpoints.stage != CheckpointStage::Draining || !self.windows.in_flight.is_empty()
        {
            return;
        }
        let at = self.ring.last();
        let from = self.ring.oldest_needed();
        let sequence = self.checkpoints.newest + 1;
        self.checkpoints.stage = CheckpointStage::Writing { sequence, from };
        self.checkpoints.read_from = from.sequence;
        self.checkpoints.at = self.now;
        self.checkpoints.changed = false;
        self.checkpoints.synced_bytes = 0;
        self.effects
            .push_back(Effect::Checkpoint { sequence, at, from });
    }

    fn checkpoint_due(&self) -> bool {
        if self.ring.last().sequence == 0
            || self.ring.current().is_none()
            || self.truncates_waiting > 0
            || self.now < self.checkpoints.retry_at
        {
            return false;
        }
        let aged = self.checkpoints.changed
            && self.now.ms_since(self.checkpoints.at) >= self.config.checkpoint_ms;
        let stopped = self.stopping && self.checkpoints.changed && self.settled();
        let much = self.checkpoints.synced_bytes >= self.config.checkpoint_bytes;
        self.ring.recyclable() || aged || stopped || much
    }

    /// Whether everything is flushed and its marks are gathered.
    fn settled(&self) -> bool {
        let flushed = |log: &super::log::Log| {
            log.dropped() || (log.unflushed_bytes == 0 && log.flight.is_none())
        };
        self.dirty.is_empty()
            && self.unmarked.logs.is_empty()
            && self.logs.iter().flatten().all(flushed)
    }
}
