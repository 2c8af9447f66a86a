//! What goes into the next window, and when it leaves.
//!
//! Always, within one log: `open`, the mark of what is synced, `image`, the image of a tail, `truncate`, the mark of an empty segment, `start`, `epoch`, batches, `drop`.

use super::log::{Life, spot};
use super::machine::Commit;
use super::parts::{CheckpointStage, InFlight};
use super::types::{Effect, LogSlot, Planned, WindowPlan};
use crate::format::{WINDOW_HEADER_BYTES, append_entry_bytes, padded};
use crate::ids::Tick;

/// Under load a window waits so long for more, in nanoseconds.
const GATHER_NS: u64 = 100_000;
/// So many waiting bytes wait no longer.
const GATHER_BYTES: u64 = 64 << 10;
/// A shard vouches for its last window and marks its last extents after so long.
const VOUCH_MS: u64 = 100;

/// A window's logs are brought near the processor so many ahead.
const WARM_AHEAD: usize = 4;

/// What came of gathering one log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Gathered {
    /// Nothing of it waits for this window.
    Done,
    /// Something did not fit.
    Full,
    /// Its bytes wait for a journal file that may take them.
    Stalled,
}

impl Commit {
    /// Sends the windows that should leave now.
    pub(super) fn gather(&mut self) {
        if self.checkpoints.stage == CheckpointStage::Draining {
            return;
        }
        self.windows.waits = false;
        while self.window_due() {
            if !self.send_window() {
                // Whatever stands in the way ends with a completion, and that with another turn.
                self.windows.waits = true;
                break;
            }
        }
        if self.dirty.is_empty() {
            self.windows.dirty_since = None;
        }
    }

    /// When waiting bytes have waited long enough, or the last window wants vouching for.
    pub(super) fn gather_deadline(&self) -> Option<Tick> {
        if self.windows.waits || self.checkpoints.stage == CheckpointStage::Draining {
            return None;
        }
        let waiting = match self.windows.in_flight.len() < self.config.windows_in_flight {
            true => self
                .windows
                .dirty_since
                .map(|since| Tick(since.0 + GATHER_NS)),
            false => None,
        };
        let owed = self.windows.vouch_owed || self.unmarked.since.is_some();
        let vouch = owed.then(|| self.windows.last_at.after_ms(VOUCH_MS));
        waiting.into_iter().chain(vouch).min()
    }

    fn window_due(&self) -> bool {
        let in_flight = self.windows.in_flight.len();
        if in_flight >= self.config.windows_in_flight {
            return false;
        }
        if self.dirty.is_empty() {
            let quiet = self.now.ms_since(self.windows.last_at) >= VOUCH_MS && in_flight == 0;
            let unmarked = !self.unmarked.logs.is_empty();
            return (quiet && (self.windows.vouch_owed || unmarked))
                || self.unmarked.bytes >= self.config.unmarked_bytes
                || (self.stopping && unmarked);
        }
        let waited = self
            .windows
            .dirty_since
            .is_none_or(|since| self.now.0.saturating_sub(since.0) >= GATHER_NS);
        in_flight == 0 || waited || self.pending_bytes >= GATHER_BYTES || self.stopping
    }

    /// Plans one window and sends it; false where nothing could go.
    fn send_window(&mut self) -> bool {
        let mut plan = WindowPlan::default();
        let mut bytes = WINDOW_HEADER_BYTES as u64;
        let vouching = self.dirty.is_empty();
        loop {
            let room = self.ring.room();
            let begins = room > bytes;
            if begins {
                self.fill(&mut plan, &mut bytes, room);
            }
            // What was taken is counted in this file, which it may fill to its last byte.
            if !plan.entries.is_empty() {
                break;
            }
            let full = !begins || !self.dirty.is_empty();
            if full && self.ring.next_file() {
                continue;
            }
            if !begins || !vouching {
                return false;
            }
            break;
        }
        self.close(plan, bytes, vouching);
        true
    }

    fn close(&mut self, mut plan: WindowPlan, bytes: u64, vouching: bool) {
        let vouch_only = vouching && plan.entries.is_empty();
        plan.bytes = padded(bytes);
        let at = self.ring.place(plan.bytes);
        plan.sequence = at.sequence;
        plan.file = at.file;
        plan.position = at.position;
        plan.known_synced = self.windows.known_synced;
        plan.checkpoint = self.checkpoints.newest;
        let entries = plan.entries.iter();
        let entries = entries
            .map(|(slot, planned)| (*slot, self.log(*slot).round, planned.clone()))
            .collect();
        self.windows.in_flight.push_back(InFlight {
            sequence: plan.sequence,
            done: false,
            entries,
        });
        self.pace_credit += plan.bytes;
        self.windows.vouch_owed = !vouch_only;
        self.checkpoints.changed |= !vouch_only;
        self.windows.last_at = self.now;
        if self.dirty.is_empty() {
            self.windows.dirty_since = None;
        }
        if self.unmarked.logs.is_empty() {
            self.unmarked.since = None;
            self.unmarked.bytes = 0;
        }
        self.effects.push_back(Effect::Window(plan));
    }

    /// Takes from the dirty logs, then from the unmarked ones, what fits.
    fn fill(&mut self, plan: &mut WindowPlan, bytes: &mut u64, room: u64) {
        // Every log that is looked at leaves the list or comes to its end, so one turn of the list is enough.
        for _ in 0..self.dirty.len() {
            let Some(slot) = self.dirty.pop_front() else {
                break;
            };
            if let Some(soon) = self.dirty.get(WARM_AHEAD) {
                self.warm(*soon);
            }
            match self.gather_log(slot, plan, bytes, room) {
                Gathered::Done => self.log_mut(slot).in_dirty = false,
                Gathered::Stalled => self.stall(slot),
                Gathered::Full => {
                    self.dirty.push_front(slot);
                    break;
                }
            }
        }
        while let Some(slot) = self.unmarked.logs.front().copied() {
            let mark = self.logs[slot.0 as usize].as_ref().and_then(|log| log.mark);
            if let Some(place) = mark {
                if !self.push(slot, Planned::Mark(place), plan, bytes, room) {
                    break;
                }
                self.log_mut(slot).mark = None;
            }
            self.unmarked.logs.pop_front();
        }
    }

    fn stall(&mut self, slot: LogSlot) {
        let log = self.log_mut(slot);
        log.in_dirty = false;
        if !std::mem::replace(&mut log.in_stalled, true) {
            self.stalled.push(slot);
        }
    }

    fn gather_log(
        &mut self,
        slot: LogSlot,
        plan: &mut WindowPlan,
        bytes: &mut u64,
        room: u64,
    ) -> Gathered {
        if self.gather_parts(slot, plan, bytes, room).is_none() {
            return Gathered::Full;
        }
        match self.ring.control_only() && !self.log(slot).queue.is_empty() {
            true => Gathered::Stalled,
            false => Gathered::Done,
        }
    }

    /// `None` as soon as something does not fit.
    fn gather_parts(
        &mut self,
        slot: LogSlot,
        plan: &mut WindowPlan,
        bytes: &mut u64,
        room: u64,
    ) -> Option<()> {
        self.sync_if_held_up(slot);
        if self.log(slot).open_due {
            self.control(slot, Planned::Open, plan, bytes, room)?;
            self.log_mut(slot).open_due = false;
        }
        if let Some(place) = self.log(slot).mark {
            self.push(slot, Planned::Mark(place), plan, bytes, room)
                .then_some(())?;
            self.log_mut(slot).mark = None;
        }
        self.gather_image(slot, plan, bytes, room)?;
        self.gather_tail(slot, plan, bytes, room)?;
        if let Some(place) = self.log(slot).truncate
            && self.log(slot).flight.is_none()
        {
            self.control(slot, Planned::Truncate(place), plan, bytes, room)?;
            self.truncated(slot);
        }
        if let Some(place) = self.log(slot).step {
            self.control(slot, Planned::Mark(place), plan, bytes, room)?;
            self.log_mut(slot).step = None;
        }
        if let Some(log_start) = self.log(slot).start {
            self.push(slot, Planned::Start(log_start), plan, bytes, room)
                .then_some(())?;
            let log = self.log_mut(slot);
            log.start = None;
            log.log_start = log.log_start.max(log_start);
        }
        while let Some(due) = self.log(slot).epochs_due.front().copied() {
            self.control(slot, Planned::Epoch(due), plan, bytes, room)?;
            let log = self.log_mut(slot);
            log.epochs_due.pop_front();
            log.epoch_gathered(due);
        }
        self.gather_runs(slot, plan, bytes, room)?;
        if self.log(slot).life == Life::Dropping {
            self.control(slot, Planned::Drop, plan, bytes, room)?;
            self.log_mut(slot).life = Life::Dropped;
            self.release(slot);
        }
        Some(())
    }

    fn truncated(&mut self, slot: LogSlot) {
        let log = self.log_mut(slot);
        let place = log.truncate.take().expect("just gathered");
        log.truncate_sequence = Some(log.control_sequence);
        log.barred = true;
        log.epochs.retain(|epoch| epoch.start < place.offset);
        self.truncates_waiting -= 1;
        self.release(slot);
    }

    fn gather_runs(
        &mut self,
        slot: LogSlot,
        plan: &mut WindowPlan,
        bytes: &mut u64,
        room: u64,
    ) -> Option<()> {
        if !self.log(slot).windows_open() || self.ring.control_only() || self.extent_follows(slot) {
            return Some(());
        }
        while let Some(run) = self.log(slot).queue.front().copied() {
            let announcement = self.log(slot).announcement(&run);
            let with = announcement.map_or(0, |epoch| Planned::Epoch(epoch).encoded_bytes());
            let needs = append_entry_bytes(run.bytes) + with;
            let over = *bytes + needs > self.config.window_bytes && !plan.entries.is_empty();
            if over || *bytes + needs > room {
                return None;
            }
            if let Some(epoch) = announcement {
                self.control(slot, Planned::Epoch(epoch), plan, bytes, room)?;
                let log = self.log_mut(slot);
                log.announced = Some(epoch.epoch);
                log.epoch_gathered(epoch);
            }
            *bytes += append_entry_bytes(run.bytes);
            plan.entries.push((slot, Planned::Append(run)));
            self.run_taken(slot);
        }
        Some(())
    }

    /// The first run of the queue is in a window.
    fn run_taken(&mut self, slot: LogSlot) {
        let use_ = self.ring.current_mut().expect("a window is being filled");
        let id = use_.id;
        let log = self.logs[slot.0 as usize].as_mut().expect("being gathered");
        let run = log.queue.pop_front().expect("just seen");
        let end = run.end_place();
        assert!(spot(&run.start_place()) >= spot(&log.taken_end) || run.position == 0);
        log.taken_end = end;
        log.pending_bytes -= run.bytes;
        self.pending_bytes -= run.bytes;
        match log.journaled.back_mut() {
            Some((last, place)) if *last == id => *place = end,
            _ => {
                log.journaled.push_back((id, end));
                use_.needed += 1;
                use_.logs.push(slot);
            }
        }
        self.join_pace(slot);
        self.cover_run(slot, &run, id);
        if self.trickles(slot) {
            self.mark_flush(slot);
        }
    }

    /// Whether what is pending will leave as an extent as soon as the one in flight has ended.
    pub(super) fn extent_follows(&self, slot: LogSlot) -> bool {
        let log = self.log(slot);
        log.flight.is_some() && log.pending_bytes >= self.extent_bytes(slot)
    }

    /// Adds an entry that an extent may have to wait for.
    fn control(
        &mut self,
        slot: LogSlot,
        planned: Planned,
        plan: &mut WindowPlan,
        bytes: &mut u64,
        room: u64,
    ) -> Option<()> {
        self.push(slot, planned, plan, bytes, room).then(|| {
            self.log_mut(slot).control_sequence = self.ring.last().sequence + 1;
        })
    }

    pub(super) fn push(
        &mut self,
        slot: LogSlot,
        planned: Planned,
        plan: &mut WindowPlan,
        bytes: &mut u64,
        room: u64,
    ) -> bool {
        let needs = planned.encoded_bytes();
        if *bytes + needs > room {
            return false;
        }
        *bytes += needs;
        plan.entries.push((slot, planned));
        true
    }
}
