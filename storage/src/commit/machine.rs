//! `Commit`: inputs that change logs, and what completions mean for them.
//!
//! Always: effects of windows (durable offsets, permission to touch files) follow their sequence; an extent counts when it is
//! synced and the window with the epoch of its bytes is synced too.

use super::log::{First, Flight, Life, Log, Stage, spot};
use super::parts::{CheckpointStage, Checkpoints, Pressure, Shared, Unmarked, Windows};
use super::ring::Ring;
use super::types::{CommitConfig, Effect, JournalSeed, LogSeed, LogSlot, LogView, Planned, Run};
use crate::format::Place;
use crate::ids::{LeaderEpoch, LogNumber, Offset, Tick};
use crate::pieces::Pieces;
use crate::prefetch;
use std::collections::VecDeque;

/// The slots of logs that are gone are freed together, when they are this part of all.
const FORGOTTEN_SHARE: usize = 8;

/// The commit machine of one shard.
#[derive(Debug)]
pub struct Commit {
    pub(super) config: CommitConfig,
    pub(super) ring: Ring,
    pub(super) logs: Pieces<Option<Log>>,
    free_slots: Vec<LogSlot>,
    /// Logs that are gone; their slots are not free yet.
    forgotten: Vec<LogSlot>,
    /// Logs with something for a window, in the order they came.
    pub(super) dirty: VecDeque<LogSlot>,
    /// Dirty logs whose bytes wait for a recycled journal file.
    pub(super) stalled: Vec<LogSlot>,
    /// Logs that may want an extent.
    pub(super) flush: VecDeque<LogSlot>,
    pub(super) windows: Windows,
    pub(super) unmarked: Unmarked,
    pub(super) pending_bytes: u64,
    pub(super) truncates_waiting: usize,
    /// Logs with journaled bytes, the next to be flushed first.
    pub(super) pace: VecDeque<LogSlot>,
    /// Bytes of windows that no flush has answered to yet.
    pub(super) pace_credit: u64,
    pub(super) pressure: Pressure,
    pub(super) shared: Shared,
    pub(super) checkpoints: Checkpoints,
    pub(super) stopping: bool,
    pub(super) now: Tick,
    pub(super) retry_at: Tick,
    pub(super) effects: VecDeque<Effect>,
}

impl Commit {
    /// A machine that goes on where recovery left the journal and the logs; the logs get the slots 0, 1, 2, ...
    pub fn new(config: CommitConfig, journal: &JournalSeed, logs: &[LogSeed], now: Tick) -> Commit {
        let ring = Ring::new(
            config.file_bytes,
            config.files_min,
            config.files_max,
            journal,
        );
        let mut commit = Commit {
            ring,
            logs: Pieces::default(),
            free_slots: Vec::new(),
            forgotten: Vec::new(),
            dirty: VecDeque::new(),
            stalled: Vec::new(),
            flush: VecDeque::new(),
            windows: Windows {
                in_flight: VecDeque::new(),
                known_synced: journal.sequence,
                vouch_owed: false,
                last_at: now,
                dirty_since: None,
                waits: false,
            },
            unmarked: Unmarked::default(),
            pending_bytes: 0,
            truncates_waiting: 0,
            pace: VecDeque::new(),
            pace_credit: 0,
            pressure: Pressure {
                logs: VecDeque::new(),
                until: None,
                flights: 0,
                at: now,
                memory_short: false,
            },
            shared: Shared {
                written: Vec::new(),
                since: now,
                syncing: Vec::new(),
            },
            checkpoints: Checkpoints {
                stage: CheckpointStage::Idle,
                newest: journal.checkpoint,
                read_from: 0,
                at: now,
                retry_at: now,
                changed: false,
                synced_bytes: 0,
            },
            stopping: false,
            now,
            retry_at: now,
            effects: VecDeque::new(),
            config,
        };
        for seed in logs {
            commit.adopt(seed);
        }
        commit
    }

    fn adopt(&mut self, seed: &LogSeed) {
        let slot = LogSlot(self.logs.len() as u32);
        let mut log = Log::seeded(seed);
        for (file, place) in &seed.journaled {
            let id = self
                .ring
                .id_of(*file)
                .expect("recovered bytes lie in a file in use");
            log.journaled.push_back((id, *place));
            let use_ = self.ring.by_id_mut(id).expect("just found");
            use_.logs.push(slot);
            use_.needed += 1;
        }
        self.logs.push(Some(log));
        self.join_pace(slot);
    }

    // ---- inputs of the log's owner

    /// A new log, empty at `start`.
    pub fn open(&mut self, number: LogNumber, start: Place) -> LogSlot {
        let log = Log::new(number, start);
        let slot = match self.free_slots.pop() {
            Some(slot) => {
                self.logs[slot.0 as usize] = Some(log);
                slot
            }
            None => {
                self.logs.push(Some(log));
                LogSlot(self.logs.len() as u32 - 1)
            }
        };
        self.mark_dirty(slot);
        slot
    }

    /// Whether so many more bytes can be journaled, should they have to be.
    pub fn admits(&self, bytes: u64) -> bool {
        let overhead = self.config.run_bytes.min(self.config.file_bytes / 8);
        bytes + overhead <= self.config.file_bytes
            && self.pending_bytes + bytes + overhead <= self.ring.append_space()
    }

    /// Brings near the processor what is known of a log.
    pub fn warm(&self, slot: LogSlot) {
        if let Some(log) = &self.logs[slot.0 as usize] {
            prefetch::value(log);
        }
    }

    /// The logs that a window holds something of.
    pub fn logs_of(&self, sequence: u64) -> impl Iterator<Item = LogSlot> {
        let window = self
            .windows
            .in_flight
            .iter()
            .find(move |window| window.sequence == sequence);
        window
            .into_iter()
            .flat_map(|window| window.entries.iter().map(|entry| entry.0))
    }

    /// Batches are in the chunk.
    pub fn append(&mut self, slot: LogSlot, run: Run, now: Tick) {
        let (run_bytes, fast_rate) = (self.config.run_bytes, self.config.fast_rate_bytes);
        let log = self.log_mut(slot);
        assert!(!log.dropped(), "nothing is appended to a dropped log");
        log.append(run, run_bytes);
        log.note_rate(now, run.bytes, fast_rate);
        let wants = log.pending_bytes >= self.extent_bytes(slot);
        self.pending_bytes += run.bytes;
        self.windows.dirty_since.get_or_insert(now);
        self.mark_dirty(slot);
        if wants {
            self.mark_flush(slot);
        }
    }

    /// Cuts a log to a batch boundary.
    pub fn truncate(&mut self, slot: LogSlot, place: Place) {
        let log = self.log_mut(slot);
        let (pending, waited) = (log.pending_bytes, log.truncate.is_some());
        let deep = log.cut(place);
        let freed = pending - log.pending_bytes;
        self.pending_bytes -= freed;
        if deep && !waited {
            self.truncates_waiting += 1;
        }
        if self.checkpoints.stage == CheckpointStage::Draining && self.truncates_waiting > 0 {
            self.checkpoints.stage = CheckpointStage::Idle;
        }
        self.mark_dirty(slot);
    }

    /// Everything journaled of the log is flushed, though nothing presses.
    pub fn flush(&mut self, slot: LogSlot) {
        let log = self.log_mut(slot);
        log.awaited = Some(log.taken_end);
        self.mark_flush(slot);
    }

    /// Whether a truncation waits for an extent in flight: what it cut may yet be written.
    pub fn cut_waits(&self, slot: LogSlot) -> bool {
        let log = self.log(slot);
        log.truncate.is_some() && log.flight.is_some()
    }

    /// Whether everything of the log is synced in its segment.
    pub fn may_step(&self, slot: LogSlot) -> bool {
        self.log(slot).may_step()
    }

    /// Whether nothing is about to be done with its segments, besides.
    pub fn rests(&self, slot: LogSlot) -> bool {
        self.log(slot).rests()
    }

    /// A log that is synced goes on at the beginning of an empty segment; `Marked` follows.
    ///
    /// ORDER: an extent in it counts when the window with this mark is synced: a restart that looks for the end of the segment
    /// before may meet stale bytes there, and never come to the new one.
    pub fn step_over(&mut self, slot: LogSlot, place: Place) {
        self.log_mut(slot).step_over(place);
        self.windows.dirty_since.get_or_insert(self.now);
        self.mark_dirty(slot);
    }

    /// Moves the log start; `Started` follows.
    pub fn set_start(&mut self, slot: LogSlot, log_start: Offset) {
        self.log_mut(slot).start = Some(log_start);
        self.mark_dirty(slot);
    }

    /// Ends a log; `Dropped` follows, then `forget` is expected.
    pub fn drop_log(&mut self, slot: LogSlot) {
        let log = self.log_mut(slot);
        let pending = std::mem::take(&mut log.pending_bytes);
        let truncating = log.truncate.take().is_some();
        log.queue.clear();
        log.epochs_due.clear();
        log.start = None;
        log.taken_end = log.end;
        log.mark = None;
        log.step = None;
        log.life = Life::Dropping;
        log.round += 1;
        self.pending_bytes -= pending;
        self.truncates_waiting -= usize::from(truncating);
        self.mark_dirty(slot);
    }

    /// The directory of a dropped log is gone; the slot is used again by and by.
    pub fn forget(&mut self, slot: LogSlot) {
        let log = self.log_mut(slot);
        assert!(log.life == Life::Dropped && log.flight.is_none());
        log.life = Life::Forgotten;
        self.forgotten.push(slot);
        self.checkpoints.changed = true;
        // Many at once: looking through all queues for each of them would take the square of their number.
        if self.forgotten.len() * FORGOTTEN_SHARE >= self.logs.len() {
            self.free_forgotten();
        }
    }

    /// No queue names the logs that are gone any more, and their slots are free.
    fn free_forgotten(&mut self) {
        let logs = &self.logs;
        let stays = |slot: &LogSlot| {
            let log = logs[slot.0 as usize].as_ref();
            log.is_none_or(|log| log.life != Life::Forgotten)
        };
        self.dirty.retain(stays);
        self.flush.retain(stays);
        self.pressure.logs.retain(stays);
        self.pace.retain(stays);
        self.unmarked.logs.retain(stays);
        self.stalled.retain(stays);
        for slot in self.forgotten.drain(..) {
            self.logs[slot.0 as usize] = None;
            self.free_slots.push(slot);
        }
    }

    /// Something that a checkpoint says, and that no window tells, is different now.
    pub fn note_change(&mut self) {
        self.checkpoints.changed = true;
    }

    /// Memory for unflushed chunks is short: everything that is journaled should be flushed.
    pub fn press_memory(&mut self, short: bool) {
        self.pressure.memory_short = short;
    }

    /// Everything is to be flushed and checkpointed; nothing is appended any more.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    // ---- completions

    /// A journal file is zeroed and durable.
    pub fn file_ready(&mut self, file: u32) {
        self.ring.file_ready(file);
        self.resume_stalled();
    }

    /// A journal file could not be made: no space.
    pub fn file_failed(&mut self, file: u32) {
        self.ring.file_failed(file);
        self.retry_at = self.now.after_ms(1000);
    }

    /// The file of a segment exists, is durable, and may be written up to `bytes`. A void `round` is ignored.
    pub fn ready(&mut self, slot: LogSlot, segment: Offset, bytes: u64, round: u32) {
        let Some(log) = self.logs[slot.0 as usize].as_mut() else {
            return;
        };
        if log.round != round || log.dropped() {
            return;
        }
        log.preparing = None;
        log.ready = Some((segment, bytes));
        self.mark_flush(slot);
        self.mark_dirty(slot);
    }

    /// Up to where a segment may be written, if its file is ready.
    pub fn ready_bytes(&self, slot: LogSlot, segment: Offset) -> Option<u64> {
        let (ready, bytes) = self.log(slot).ready?;
        (ready == segment).then_some(bytes)
    }

    /// The file of a segment was closed; it is asked for again before it is written.
    pub fn unready(&mut self, slot: LogSlot, segment: Offset) {
        if let Some(log) = self.logs[slot.0 as usize].as_mut()
            && log.ready.is_some_and(|(ready, _)| ready == segment)
        {
            log.ready = None;
        }
    }

    /// The file of a segment could not be made or reserved: no space. It is asked for again when more is to be flushed.
    pub fn not_ready(&mut self, slot: LogSlot, round: u32) {
        if let Some(log) = self.logs[slot.0 as usize].as_mut()
            && log.round == round
        {
            log.preparing = None;
        }
    }

    /// A window is durable.
    pub fn window_done(&mut self, sequence: u64) {
        let window = self
            .windows
            .in_flight
            .iter_mut()
            .find(|window| window.sequence == sequence);
        window.expect("a window completes once").done = true;
        while self
            .windows
            .in_flight
            .front()
            .is_some_and(|window| window.done)
        {
            let window = self.windows.in_flight.pop_front().expect("just seen");
            self.windows.known_synced = window.sequence;
            for (slot, round, entry) in window.entries {
                self.synced(slot, round, entry);
            }
        }
    }

    /// One entry of a synced window.
    fn synced(&mut self, slot: LogSlot, round: u32, entry: Planned) {
        let current = self.log_mut(slot).round == round;
        self.first_synced(slot);
        match entry {
            Planned::Image(_) | Planned::Tail(_) => {}
            Planned::Append(run) if current => self.raise_durable(slot, run.end_place()),
            Planned::Append(_) => {}
            Planned::Mark(place) => self.effects.push_back(Effect::Marked { slot, place }),
            Planned::Open => {
                self.effects.push_back(Effect::Opened { slot });
                self.land(slot);
            }
            Planned::Epoch(_) => self.land(slot),
            Planned::Truncate(place) => {
                if current {
                    let log = self.log_mut(slot);
                    log.truncate_sequence = None;
                    self.effects.push_back(Effect::Truncated { slot, place });
                    self.raise_durable(slot, place);
                    self.mark_flush(slot);
                }
            }
            Planned::Start(log_start) => {
                self.effects.push_back(Effect::Started { slot, log_start })
            }
            Planned::Drop => {
                if self.log_mut(slot).flight.is_none() {
                    self.effects.push_back(Effect::Dropped { slot });
                }
            }
        }
    }

    /// All writes of the log's extent have ended, but for a first block that waits.
    pub fn extent_written(&mut self, slot: LogSlot) {
        let log = self.log_mut(slot);
        let flight = log.flight.as_mut().expect("an extent was in flight");
        if flight.first != First::Free {
            return;
        }
        assert_eq!(flight.stage, Stage::Writing);
        flight.stage = Stage::Syncing;
        let segment = flight.to.segment;
        if flight.carries_pending || self.held_up(slot) {
            self.effects.push_back(Effect::SyncExtent { slot, segment });
        } else {
            if self.shared.written.is_empty() {
                self.shared.since = self.now;
            }
            self.shared.written.push(slot);
        }
    }

    /// What holds up its log is not for a shared sync to wait for.
    pub(super) fn sync_if_held_up(&mut self, slot: LogSlot) {
        if self.log(slot).flight.is_none() || !self.held_up(slot) {
            return;
        }
        let mut written = self.shared.written.iter();
        if let Some(index) = written.position(|other| *other == slot) {
            self.shared.written.swap_remove(index);
            let flight = self.log(slot).flight.expect("just seen");
            let segment = flight.to.segment;
            self.effects.push_back(Effect::SyncExtent { slot, segment });
        }
    }

    /// Whether something of the log waits for its extent in flight.
    fn held_up(&self, slot: LogSlot) -> bool {
        let log = self.log(slot);
        log.truncate.is_some() || log.dropped() || self.extent_follows(slot)
    }

    /// The log's extent is synced.
    pub fn extent_synced(&mut self, slot: LogSlot) {
        let flight = self
            .log_mut(slot)
            .flight
            .as_mut()
            .expect("an extent was in flight");
        assert_eq!(flight.stage, Stage::Syncing);
        flight.stage = Stage::Landed;
        if !flight.carries_pending {
            self.pressure.flights -= 1;
        }
        self.land(slot);
    }

    /// The segments that the shared sync is for.
    pub fn shared_segments(&self) -> impl Iterator<Item = (LogSlot, Offset)> {
        let flight = |slot: LogSlot| self.log(slot).flight.expect("it is being synced");
        let syncing = self.shared.syncing.iter();
        syncing.map(move |slot| (*slot, flight(*slot).to.segment))
    }

    /// The shared sync has ended.
    pub fn shared_synced(&mut self) {
        for slot in std::mem::take(&mut self.shared.syncing) {
            self.extent_synced(slot);
        }
    }

    /// The checkpoint is durable.
    pub fn checkpoint_done(&mut self) {
        let CheckpointStage::Writing { sequence, from } = self.checkpoints.stage else {
            panic!("a checkpoint was being written");
        };
        self.checkpoints.stage = CheckpointStage::Idle;
        self.checkpoints.newest = sequence;
        self.ring.recycle(from);
        self.resume_stalled();
    }

    /// The checkpoint found no space. The one before it stays the newest; another is taken when space may have returned, but
    /// a stop does not wait for it.
    pub fn checkpoint_failed(&mut self) {
        self.checkpoints.stage = CheckpointStage::Idle;
        self.checkpoints.changed = !self.stopping;
        self.checkpoints.retry_at = self.now.after_ms(1000);
    }

    fn resume_stalled(&mut self) {
        for slot in std::mem::take(&mut self.stalled).into_iter().rev() {
            let log = self.log_mut(slot);
            log.in_stalled = false;
            if !std::mem::replace(&mut log.in_dirty, true) {
                self.dirty.push_front(slot);
            }
        }
    }

    /// Counts a synced extent, unless a window with its epoch is still to be synced.
    fn land(&mut self, slot: LogSlot) {
        let synced = self.windows.known_synced;
        let log = self.log_mut(slot);
        let Some(flight) = log.flight else {
            return;
        };
        let dropped = log.dropped();
        if flight.stage != Stage::Landed
            || (!dropped && (log.landing_waits() || log.control_sequence > synced))
        {
            return;
        }
        log.flight = None;
        let gone = log.life == Life::Dropped && log.control_sequence <= synced;
        self.release_hold(&flight);
        if dropped {
            if gone {
                self.effects.push_back(Effect::Dropped { slot });
            }
            return;
        }
        self.count(slot, flight);
    }

    fn count(&mut self, slot: LogSlot, flight: Flight) {
        let log = self.log_mut(slot);
        let to = match log.truncate {
            Some(place) if spot(&place) < spot(&flight.to) => place,
            _ => flight.to,
        };
        // ORDER: a truncation that waited for the extent comes behind the extent's mark, with the extent's own end, or it would
        // reach beyond the end that the journal knows.
        log.mark = Some(flight.to);
        log.synced_end = to;
        self.release(slot);
        self.join_pace(slot);
        let bytes =
            flight
                .to
                .position
                .saturating_sub(match flight.from.segment == flight.to.segment {
                    true => flight.from.position,
                    false => 0,
                });
        self.unmarked.bytes += bytes;
        self.checkpoints.synced_bytes += bytes;
        self.unmarked.since.get_or_insert(self.now);
        self.unmarked.logs.push_back(slot);
        self.checkpoints.changed = true;
        self.effects.push_back(Effect::Flushed { slot, place: to });
        self.raise_durable(slot, to);
        self.mark_dirty(slot);
        self.mark_flush(slot);
    }

    /// Gives up journal files that hold nothing unflushed of the log any more.
    pub(super) fn release(&mut self, slot: LogSlot) {
        while let Some(id) = self.log_mut(slot).release() {
            let use_ = self
                .ring
                .by_id_mut(id)
                .expect("a file that is needed is in use");
            use_.needed -= 1;
        }
    }

    fn raise_durable(&mut self, slot: LogSlot, place: Place) {
        let log = self.log_mut(slot);
        if log.dropped() || place.offset <= log.durable_end.offset {
            return;
        }
        assert!(
            place.offset <= log.end.offset,
            "durable bytes are bytes of the log"
        );
        log.durable_end = place;
        let end = place.offset;
        self.effects.push_back(Effect::Durable { slot, end });
    }

    // ---- queries

    /// Whether a log goes by extents for its rate.
    pub fn is_fast(&self, slot: LogSlot) -> bool {
        self.log(slot).fast
    }

    /// What a checkpoint says of a log; `None` for one whose `open` is in no window yet.
    pub fn view(&self, slot: LogSlot) -> Option<LogView<'_>> {
        let log = self.logs[slot.0 as usize].as_ref()?;
        (!log.open_due && log.life != Life::Forgotten).then(|| LogView {
            number: log.number,
            synced_end: log.synced_end,
            durable_end: log.durable_end,
            log_start: log.log_start,
            epochs: &log.epochs,
            barred: log.barred,
            dropped: log.life == Life::Dropped,
        })
    }

    /// The end of what survives a power cut.
    pub fn durable(&self, slot: LogSlot) -> Offset {
        self.log(slot).durable_end.offset
    }

    /// Whether an extent of the log is written or synced now.
    pub fn extent_in_flight(&self, slot: LogSlot) -> bool {
        self.log(slot)
            .flight
            .is_some_and(|flight| flight.stage != Stage::Landed)
    }

    /// Whether an extent of the log is written or synced now, in this segment.
    pub fn extent_in(&self, slot: LogSlot, segment: Offset) -> bool {
        let flight = self.log(slot).flight;
        flight.is_some_and(|flight| flight.stage != Stage::Landed && flight.to.segment == segment)
    }

    /// The epoch of the batch that ends at an offset and that a window or an extent has taken; -1 where there was none.
    pub fn epoch_before(&self, slot: LogSlot, end: Offset) -> LeaderEpoch {
        let log = self.log(slot);
        let mut epochs = log.epochs.iter().chain(&log.epochs_due);
        let before = epochs.rfind(|epoch| epoch.start < end);
        before.map_or(LeaderEpoch(-1), |epoch| epoch.epoch)
    }

    /// The next effect.
    pub fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Whether everything is flushed, marked and checkpointed and nothing is in flight.
    pub fn idle(&self) -> bool {
        self.windows.in_flight.is_empty()
            && self.dirty.is_empty()
            && self.stalled.is_empty()
            && self.checkpoints.stage == CheckpointStage::Idle
            && self.effects.is_empty()
            && !self.checkpoints.changed
            && self
                .live()
                .all(|log| log.flight.is_none() && log.unflushed_bytes == 0)
    }

    fn live(&self) -> impl Iterator<Item = &Log> {
        self.logs.iter().flatten().filter(|log| !log.dropped())
    }

    /// Asserts every invariant; walks all logs.
    pub fn check(&self) {
        self.ring.check();
        self.live().for_each(Log::check);
        let pending: u64 = self.live().map(|log| log.pending_bytes).sum();
        assert_eq!(self.pending_bytes, pending);
        let waiting = self.live().filter(|log| log.truncate.is_some()).count();
        assert_eq!(self.truncates_waiting, waiting);
        for use_ in self.ring.in_use() {
            let holds = |log: &Log| log.journaled.iter().any(|(id, _)| *id == use_.id);
            let held = |log: &&Log| log.flight.and_then(|flight| flight.hold) == Some(use_.id);
            let logs = || self.logs.iter().flatten();
            let needed = logs().filter(|log| holds(log)).count() + logs().filter(held).count();
            assert_eq!(
                use_.needed, needed,
                "a file knows how many logs and extents need it"
            );
        }
        assert!(
            self.windows
                .in_flight
                .iter()
                .is_sorted_by(|a, b| a.sequence + 1 == b.sequence)
        );
    }

    // ---- for the parts of the machine

    pub(super) fn log(&self, slot: LogSlot) -> &Log {
        self.logs[slot.0 as usize]
            .as_ref()
            .expect("a slot names a log until it is forgotten")
    }

    pub(super) fn log_mut(&mut self, slot: LogSlot) -> &mut Log {
        self.logs[slot.0 as usize]
            .as_mut()
            .expect("a slot names a log until it is forgotten")
    }

    pub(super) fn extent_bytes(&self, slot: LogSlot) -> u64 {
        match self.log(slot).fast {
            true => self.config.fast_extent_bytes,
            false => self.config.slow_extent_bytes,
        }
    }

    pub(super) fn mark_dirty(&mut self, slot: LogSlot) {
        let log = self.log_mut(slot);
        if !log.in_dirty {
            log.in_dirty = true;
            self.dirty.push_back(slot);
        }
    }

    pub(super) fn mark_flush(&mut self, slot: LogSlot) {
        let log = self.log_mut(slot);
        if !log.in_flush && !log.dropped() {
            log.in_flush = true;
            self.flush.push_back(slot);
        }
    }
}
