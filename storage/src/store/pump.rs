//! From the commit machine's effects to operations, and from completions to its inputs.

use super::indexes::Written;
use super::log_state::{FirstBlock as HeldBlock, Task};
use super::ops::{JobEnd, JobId, Purpose};
use super::shard_store::{SettledProducers, Store};
use super::tasks::{is_full, is_shortage};
use super::types::{Acknowledge, StoreEffect};
use crate::commit::{Effect, FirstBlock, LogSlot};
use crate::disk::{BLOCK_BYTES, DiskDone, DiskError, DiskOp, DiskResult, FileSlot, WriteSync};
use crate::format::Place;
use crate::ids::Offset;
use crate::prefetch;
use bytes::Bytes;
use std::ops::Range;

/// An extent is written in parts of so many bytes, in parallel.
const PART_BYTES: usize = 1 << 20;
/// One write takes at most so many slices.
const PART_SLICES: usize = 256;

impl Store {
    /// Carries out what the commit machine wants, outside of a turn.
    pub(super) fn pump(&mut self) {
        self.pump_with(&mut |_, _| None);
    }

    pub(super) fn pump_with(&mut self, settled: &mut SettledProducers<'_>) {
        while let Some(effect) = self.commit.next_effect() {
            self.carry_out(effect, settled);
        }
    }

    fn carry_out(&mut self, effect: Effect, settled: &mut SettledProducers<'_>) {
        match effect {
            Effect::Window(plan) => self.write_window(plan),
            Effect::Extent {
                slot,
                segment,
                from,
                to,
                first,
                urgent,
            } => {
                // One write that is synced by itself saves the way back through the ring; several had better share one sync.
                let whole = to - from <= PART_BYTES as u64;
                self.log_mut(slot).extent_sync = match urgent && whole {
                    true => WriteSync::Data,
                    false => WriteSync::None,
                };
                self.write_extent(slot, segment, from..to, first);
            }
            Effect::FirstBlock { slot } => self.write_first_block(slot),
            Effect::SyncExtent { slot, segment } => self.sync_extent(slot, segment),
            Effect::SyncShared => self.sync_shared(),
            Effect::Prepare {
                slot,
                place,
                bytes,
                ahead,
                round,
            } => self.task(
                slot,
                Task::Prepare {
                    place,
                    bytes,
                    ahead,
                    round,
                },
            ),
            Effect::Flushed { slot, place } => self.flushed(slot, place),
            Effect::Marked { slot, place } => self.marked(slot, place),
            Effect::Durable { slot, end } => self.durable_moved(slot, end),
            Effect::Opened { slot } => self.opening_durable(slot),
            Effect::Truncated { slot, place } => self.truncation_durable(slot, place),
            Effect::Started { slot, log_start } => self.start_durable(slot, log_start),
            Effect::Dropped { slot } => {
                self.drop_waiting_tasks(slot);
                self.task(slot, Task::Release);
                self.task(slot, Task::Remove);
            }
            Effect::CreateFile { file } => self.create_journal_file(file),
            Effect::Checkpoint { sequence, at, from } => {
                self.take_checkpoint(sequence, from, at, settled)
            }
        }
    }

    /// Only the task that is being done stays.
    fn drop_waiting_tasks(&mut self, slot: LogSlot) {
        let log = self.log_mut(slot);
        let dropped = log.tasks.split_off(usize::from(log.busy));
        let reuses = dropped.iter().filter(|task| matches!(task, Task::Reuse(_)));
        self.reuses_wait -= reuses.count();
    }

    fn staged(&self, slot: LogSlot, segment: Offset, range: Range<u64>) -> Vec<Bytes> {
        let mut slices = Vec::new();
        let number = self.log(slot).number;
        let staged = self.cache.staged(number, segment, range, &mut slices);
        staged.expect("what is not flushed is in memory");
        slices
    }

    fn write_extent(
        &mut self,
        slot: LogSlot,
        segment: Offset,
        mut range: Range<u64>,
        first: FirstBlock,
    ) {
        let block = range.start / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
        if first == FirstBlock::Held {
            // It is taken now: a truncation may take its bytes from memory before it is let go.
            let end = range.end.min(block + BLOCK_BYTES as u64);
            let mut data = self.staged(slot, segment, range.start..end);
            if end == range.end {
                data.extend(self.guard(slot, segment, end));
            }
            self.log_mut(slot).first_block = Some(HeldBlock {
                segment,
                position: block,
                data,
            });
            range.start = end;
            if range.is_empty() {
                return;
            }
        }
        let mut slices = self.staged(slot, segment, range.clone());
        slices.extend(self.guard(slot, segment, range.end));
        let file = self.log(slot).files[&segment].open;
        let file = file.expect("a segment that is ready is open");
        self.files.touch(slot, segment, file);
        let mut position = range.start / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
        let mut part: Vec<Bytes> = Vec::new();
        let mut bytes = 0;
        let mut writes = 0;
        for slice in slices {
            if !part.is_empty() && (bytes + slice.len() > PART_BYTES || part.len() == PART_SLICES) {
                self.write_part(slot, file, position, std::mem::take(&mut part));
                position += bytes as u64;
                bytes = 0;
                writes += 1;
            }
            bytes += slice.len();
            part.push(slice);
        }
        self.write_part(slot, file, position, part);
        self.log_mut(slot).extent_writes = writes + 1;
    }

    fn write_first_block(&mut self, slot: LogSlot) {
        let log = self.log_mut(slot);
        let held = log.first_block.take().expect("it was kept for this");
        log.extent_writes += 1;
        let file = log.files[&held.segment].open;
        let file = file.expect("a segment that is being written is open");
        self.write_part(slot, file, held.position, held.data);
    }

    fn write_part(&mut self, slot: LogSlot, file: FileSlot, position: u64, data: Vec<Bytes>) {
        self.files.begin(file);
        let write = DiskOp::Write {
            slot: file,
            position,
            data,
            sync: self.log(slot).extent_sync,
        };
        self.ops
            .tell(Purpose::ExtentWrite(slot, file), write, &mut self.effects);
    }

    fn sync_extent(&mut self, slot: LogSlot, segment: Offset) {
        if self.log(slot).extent_sync == WriteSync::Data {
            return self.commit.extent_synced(slot);
        }
        let file = self.log(slot).files[&segment]
            .open
            .expect("a segment that was written is open");
        self.files.begin(file);
        let purpose = Purpose::ExtentSync(slot, file);
        self.ops
            .tell(purpose, DiskOp::SyncData { slot: file }, &mut self.effects);
    }

    fn flushed(&mut self, slot: LogSlot, place: Place) {
        let log = self.log_mut(slot);
        let before = std::mem::replace(&mut log.flushed, place);
        let number = log.number;
        self.block_grew(
            slot,
            Store::block_key(number, before.segment, before.position),
        );
        let log = self.log(slot);
        let full = log.layout.segment(place.segment);
        let full = full.is_some_and(|segment| {
            segment.base != log.end.segment && segment.bytes == place.position
        });
        self.cache.clean(number, place.segment, place.position);
        if full {
            self.segment_full(slot, place.segment);
        }
    }

    /// The log is flushed behind a segment that does not grow any more.
    pub(super) fn segment_full(&mut self, slot: LogSlot, segment: Offset) {
        self.task(slot, Task::Seal(segment));
        self.keep_index(slot, segment);
    }

    fn durable_moved(&mut self, slot: LogSlot, end: Offset) {
        let log = self.log_mut(slot);
        log.durable_told = end;
        if log.config.acknowledge == Acknowledge::Durable && !log.dropped {
            let log = log.number;
            self.effects.push(StoreEffect::Durable { log, end });
        }
    }

    fn opening_durable(&mut self, slot: LogSlot) {
        if let Some(replaced) = self.log_mut(slot).replaces.take() {
            self.drop_log(self.now, replaced);
        }
    }

    fn truncation_durable(&mut self, slot: LogSlot, place: Place) {
        let log = self.log_mut(slot);
        log.shorten = Some(
            log.shorten
                .map_or(place.segment, |known| known.min(place.segment)),
        );
        let gone = log.files.range((
            std::ops::Bound::Excluded(place.segment),
            std::ops::Bound::Unbounded,
        ));
        let gone: Vec<Offset> = gone.map(|(segment, _)| *segment).collect();
        if !gone.is_empty() {
            self.task(slot, Task::Cut(gone.clone()));
            self.task(slot, Task::Unindex(gone));
        }
    }

    fn start_durable(&mut self, slot: LogSlot, log_start: Offset) {
        let log = self.log_mut(slot);
        if log.dropped || log_start <= log.log_start_told {
            return;
        }
        log.log_start_told = log_start;
        let log = log.number;
        self.effects
            .push(StoreEffect::StartMoved { log, log_start });
        self.unlink_expired(slot);
    }

    /// Lets segments below the log start go.
    ///
    /// ORDER: only a durable log start lets them go, and only when a restart looks for the end of what is flushed behind them.
    pub(super) fn unlink_expired(&mut self, slot: LogSlot) {
        let log = self.log_mut(slot);
        let log_start = log.log_start_told;
        if log.dropped || log.layout.log_start() != log_start {
            return;
        }
        let mut gone = log.layout.drop_below(log.marked);
        if gone.is_empty() {
            return;
        }
        self.forget_segments(slot, &gone);
        // ORDER: before the file may have another name, and before a segment may have this one again.
        self.task(slot, Task::Unindex(gone.clone()));
        if let Some(next) = self.reusable(slot, &gone) {
            gone.retain(|segment| *segment != next);
            self.reuses_wait += 1;
            self.task(slot, Task::Reuse(next));
        }
        self.task(slot, Task::Unlink(gone));
    }

    fn marked(&mut self, slot: LogSlot, place: Place) {
        let log = self.log_mut(slot);
        if place.segment > log.marked && place.segment <= log.end.segment {
            log.marked = place.segment;
            self.unlink_expired(slot);
        }
    }

    /// Carries a completion to whom it is for.
    pub(super) fn completed(&mut self, done: DiskDone) {
        let purpose = self.ops.completed(done.op);
        let outcome = match done.result {
            DiskResult::Done => Ok(None),
            DiskResult::Bytes(bytes) => Ok(Some(bytes)),
            DiskResult::Failed(error) => Err(error),
        };
        if outcome.as_ref().is_err_and(|error| is_full(*error)) {
            self.discards.hurry();
            self.release_all();
        }
        match (purpose, outcome) {
            (Purpose::Step(job), Ok(_)) => self.job_steps_on(job),
            (Purpose::Step(job), Err(error)) => self.job_failed(job, error),
            (Purpose::OpenJournal, Ok(_)) => self.journal.opening -= 1,
            (Purpose::Window(sequence), Ok(_)) => self.window_done(sequence),
            (Purpose::ExtentWrite(slot, file), Ok(_)) => self.part_written(slot, file),
            (Purpose::ExtentSync(slot, file), Ok(_)) => {
                self.file_op_ended(file);
                self.commit.extent_synced(slot);
            }
            (Purpose::SharedSync, Ok(_)) => self.file_system_synced(),
            (Purpose::Names, outcome) => self.names_synced(outcome.map(|_| ())),
            (Purpose::SharedFile(file), Ok(_)) => {
                self.file_op_ended(file);
                self.file_synced();
            }
            (Purpose::Close(slot), _) => self.files.closed(slot),
            (Purpose::Index(id), outcome) => self.index_read(id, outcome),
            (Purpose::Discard, outcome) => self.discarded(outcome.map(|_| ())),
            (Purpose::Block(key, file, serial), outcome) => {
                self.file_op_ended(file);
                self.block_read(key, serial, outcome.ok().flatten());
            }
            (purpose, Err(error)) => {
                self.fatal(format!("{purpose:?} failed with errno {}", error.errno))
            }
        }
    }

    fn window_done(&mut self, sequence: u64) {
        for slot in self.commit.logs_of(sequence) {
            self.commit.warm(slot);
            if let Some(log) = &self.logs[slot.0 as usize] {
                prefetch::value(log);
            }
        }
        self.commit.window_done(sequence);
    }

    fn part_written(&mut self, slot: LogSlot, file: FileSlot) {
        self.file_op_ended(file);
        let log = self.log_mut(slot);
        log.extent_writes -= 1;
        if log.extent_writes == 0 {
            self.commit.extent_written(slot);
        }
    }

    fn file_op_ended(&mut self, file: FileSlot) {
        if self.files.end(file) {
            self.close(file);
        }
    }

    pub(super) fn job_goes_on(&mut self, job: JobId) {
        match self.ops.step(job, &mut self.effects) {
            None => {}
            Some(JobEnd::Task(slot)) => {
                self.task_ended(slot);
                self.next_task(slot);
            }
            Some(JobEnd::Made(slot)) => self.file_made(slot),
            Some(JobEnd::Index(slot)) => self.index_ended(slot, Written::Whole),
            Some(JobEnd::JournalFile(file)) => self.journal_file_made(file),
            Some(JobEnd::JournalFileUnmade(file, slot)) => {
                self.files.closed(slot);
                self.commit.file_failed(file);
            }
            Some(JobEnd::Checkpoint(slot, _)) => {
                self.files.closed(slot);
                self.checkpoint_written();
            }
            Some(JobEnd::LeftoverRemoved(log)) => self.leftover_removed(log),
            Some(JobEnd::TopicRemoved) => self.remove_leftover(),
        }
    }

    fn job_failed(&mut self, job: JobId, error: DiskError) {
        match self.ops.abandon(job) {
            Some(JobEnd::Task(slot) | JobEnd::Made(slot)) => {
                self.task_failed(slot, error);
                self.next_task(slot);
            }
            Some(JobEnd::Index(slot)) => self.index_ended(slot, Written::Not),
            // It stays in the checkpoint as dropped: the next start tries again.
            Some(JobEnd::LeftoverRemoved(_) | JobEnd::TopicRemoved) => self.remove_leftover(),
            Some(JobEnd::JournalFile(file)) if is_shortage(error) => self.journal_file_failed(file),
            Some(JobEnd::Checkpoint(file, before)) if error.errno == libc::ENOSPC => {
                self.checkpoint_failed(file, before);
            }
            other => self.fatal(format!("{other:?} failed with errno {}", error.errno)),
        }
    }
}
