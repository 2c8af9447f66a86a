//! What is done with a log's files, one task at a time: making, reserving, cutting, sealing, removing.
//!
//! ORDER: a new file is created, reserved and synced, and every new directory up to the first old one is synced, before its log
//! may write an extent into it. Segments behind a truncation are unlinked and the directory is synced before the segment is
//! shortened and reserved anew; only then the log writes again.

use super::log_state::{SegmentFile, Task};
use super::ops::{Job, JobEnd, Purpose};
use super::shard_store::Store;
use super::types::StoreEffect;
use crate::commit::LogSlot;
use crate::disk::{BLOCK_BYTES, Caching, DiskError, DiskOp, FileSlot, OpenMode};
use crate::format::Place;
use crate::ids::Offset;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

/// The first reservation of a segment.
const RESERVE_BYTES_MIN: u64 = 64 << 10;
/// A full segment keeps so small a part of its bytes behind its end: the next life of the file needs it.
const KEPT_SHARE: u64 = 128;
/// Reservations double up to this step.
const RESERVE_STEP_BYTES_MAX: u64 = 16 << 20;

pub(super) fn shared(path: &Path) -> Arc<Path> {
    Arc::from(path)
}

fn made(path: &Path) -> DiskOp {
    DiskOp::MakeDir { path: shared(path) }
}

pub(super) fn synced(path: &Path) -> DiskOp {
    DiskOp::SyncDir { path: shared(path) }
}

/// How much is reserved once `bytes` are needed and `ahead` more are wished for; nothing ahead of a segment's end.
fn reservation(reserved: u64, bytes: u64, ahead: u64, segment_bytes: u64) -> u64 {
    let mut next = reserved.max(RESERVE_BYTES_MIN / 2);
    while next < bytes + ahead {
        next += next.min(RESERVE_STEP_BYTES_MAX);
    }
    let next = next.min(segment_bytes.max(bytes));
    block_end(next).max(reserved)
}

/// The end of the block that a position lies in, or the position itself between two blocks.
fn block_end(position: u64) -> u64 {
    position.next_multiple_of(BLOCK_BYTES as u64)
}

/// No space, no quota: what goes is to go at once.
pub(super) fn is_full(error: DiskError) -> bool {
    matches!(error.errno, libc::ENOSPC | libc::EDQUOT)
}

/// Too many files are open.
pub(super) fn lacks_descriptors(error: DiskError) -> bool {
    matches!(error.errno, libc::EMFILE | libc::ENFILE)
}

/// No space, no quota, no descriptors: it may pass.
pub(super) fn is_shortage(error: DiskError) -> bool {
    is_full(error) || lacks_descriptors(error)
}

impl Store {
    /// Queues a task of a log.
    pub(super) fn task(&mut self, slot: LogSlot, task: Task) {
        self.log_mut(slot).tasks.push_back(task);
        self.next_task(slot);
    }

    /// Starts the next task, skipping those that have nothing to do.
    pub(super) fn next_task(&mut self, slot: LogSlot) {
        while let Some(log) = self.logs[slot.0 as usize].as_ref() {
            if log.busy {
                return;
            }
            let Some(task) = log.tasks.front().cloned() else {
                return;
            };
            let makes_file = log.makes_file(&task);
            let waits_for_index = log.waits_for_index(&task);
            if waits_for_index || (task == Task::Remove && self.discards_segments(slot)) {
                return;
            }
            let steps = self.steps(slot, &task);
            if steps.is_empty() {
                self.task_ended(slot);
                continue;
            }
            self.log_mut(slot).busy = true;
            let end = match makes_file {
                true => JobEnd::Made(slot),
                false => JobEnd::Task(slot),
            };
            self.ops.start(Job { steps, end }, &mut self.effects);
            return;
        }
    }

    fn steps(&mut self, slot: LogSlot, task: &Task) -> VecDeque<DiskOp> {
        match task {
            Task::Prepare {
                place,
                bytes,
                ahead,
                ..
            } => self.prepare_steps(slot, *place, *bytes, *ahead),
            Task::Cut(segments) => {
                let mut steps = self.unlink_steps(slot, segments);
                if !steps.is_empty() {
                    steps.push_back(synced(&self.log(slot).directory));
                }
                steps
            }
            Task::Unlink(segments) => self.discard_segments(slot, segments),
            Task::Unindex(segments) => self.index_unlinks(slot, segments).into(),
            Task::Reuse(segment) => self.reuse_steps(slot, *segment),
            Task::Release => self.release_steps(slot),
            Task::Seal(segment) => self.seal_steps(slot, *segment),
            Task::Open(segment) => {
                let mut steps = VecDeque::new();
                if self.log(slot).files.contains_key(segment) {
                    self.open_steps(slot, *segment, &mut steps);
                }
                steps
            }
            Task::Successor(bytes) => self.successor_steps(slot, *bytes),
            Task::NoSuccessor => VecDeque::from([self.successor_unlinked(slot)]),
            Task::Remove => self.remove_steps(slot),
        }
    }

    fn prepare_steps(
        &mut self,
        slot: LogSlot,
        place: Place,
        bytes: u64,
        ahead: u64,
    ) -> VecDeque<DiskOp> {
        let mut steps = VecDeque::new();
        let log = self.log_mut(slot);
        log.shortening = log.shorten.take();
        if let Some(segment) = log.shortening {
            self.shorten_steps(slot, segment, place, &mut steps);
        }
        let Some(reserved) = self
            .log(slot)
            .files
            .get(&place.segment)
            .map(|file| file.reserved)
        else {
            self.create_steps(slot, place.segment, bytes, &mut steps);
            return steps;
        };
        let file_slot = self.open_steps(slot, place.segment, &mut steps);
        let limit = self.log(slot).config.segment_bytes;
        let wanted = reservation(reserved, bytes, ahead, limit);
        if wanted > reserved {
            steps.push_back(self.reserve(file_slot, reserved, wanted - reserved));
            self.reserved(slot, place.segment, wanted);
        } else if ahead > 0 && reserved >= limit {
            self.ask_for_successor(slot, place.segment, ahead);
        }
        steps
    }

    /// The segment is reserved to its end: the next one is made ready, once.
    fn ask_for_successor(&mut self, slot: LogSlot, segment: Offset, ahead: u64) {
        let log = self.log_mut(slot);
        let active = log.layout.active().base == segment;
        if active && log.successor.is_none() && log.succeeded != Some(segment) {
            log.succeeded = Some(segment);
            log.tasks.push_back(Task::Successor(ahead));
        }
    }

    fn successor_steps(&mut self, slot: LogSlot, bytes: u64) -> VecDeque<DiskOp> {
        if self.log(slot).successor.is_some() {
            return VecDeque::new();
        }
        let file_slot = self.files.take();
        let log = self.log_mut(slot);
        let reserved = reservation(0, bytes, 0, log.config.segment_bytes);
        log.successor = Some(SegmentFile {
            open: Some(file_slot),
            usable: false,
            reserved,
            stale: 0,
        });
        let open = DiskOp::Open {
            slot: file_slot,
            path: shared(&log.successor_path()),
            mode: OpenMode::Create,
            caching: Caching::Direct,
        };
        let reserve = self.reserve(file_slot, 0, reserved);
        VecDeque::from([open, reserve, DiskOp::SyncData { slot: file_slot }])
    }

    fn successor_unlinked(&self, slot: LogSlot) -> DiskOp {
        let path = shared(&self.log(slot).successor_path());
        DiskOp::Unlink { path }
    }

    /// Closes the successor, which is none any more.
    pub(super) fn give_up_successor(&mut self, slot: LogSlot) {
        let successor = self.log_mut(slot).successor.take();
        if let Some(open) = successor.and_then(|successor| successor.open) {
            self.close(open);
        }
    }

    /// The successor is ready. It is closed until it is needed: each log may have one, and the process has only so many descriptors.
    fn successor_made(&mut self, slot: LogSlot) {
        let Some(successor) = &mut self.log_mut(slot).successor else {
            return;
        };
        if let Some(open) = successor.open.take() {
            self.close(open);
        }
    }

    /// Gives the successor its name, and reserves what it lacks.
    fn succeed_steps(
        &mut self,
        slot: LogSlot,
        segment: Offset,
        bytes: u64,
        successor: SegmentFile,
    ) -> VecDeque<DiskOp> {
        assert!(
            successor.open.is_none(),
            "a successor that is ready is closed"
        );
        let file_slot = self.files.take_segment(slot, segment);
        self.reuse_ended(slot);
        let log = self.log_mut(slot);
        let held = successor.reserved;
        let reserved = reservation(held, bytes, 0, log.config.segment_bytes);
        let file = SegmentFile {
            open: Some(file_slot),
            reserved,
            ..successor
        };
        log.files.insert(segment, file);
        let path = shared(&log.segment_path(segment));
        let mut steps = VecDeque::from([
            DiskOp::Rename {
                from: shared(&log.successor_path()),
                to: Arc::clone(&path),
            },
            DiskOp::Open {
                slot: file_slot,
                path,
                mode: OpenMode::ReadWrite,
                caching: Caching::Direct,
            },
        ]);
        let directory = synced(&log.directory);
        if reserved > held {
            steps.push_back(self.reserve(file_slot, held, reserved - held));
        }
        steps.push_back(directory);
        steps
    }

    /// Cuts the segment that stale bytes may lie in: to where writing goes on, or to its end where that is in a later one.
    fn shorten_steps(
        &mut self,
        slot: LogSlot,
        segment: Offset,
        place: Place,
        steps: &mut VecDeque<DiskOp>,
    ) {
        let log = self.log(slot);
        let bytes = match segment == place.segment {
            true => Some(place.position),
            false => log.layout.segment(segment).map(|held| held.bytes),
        };
        let Some(bytes) = bytes.filter(|_| log.files.contains_key(&segment)) else {
            return;
        };
        // ORDER: not within a block: that would write it again, and it holds synced bytes.
        let bytes = block_end(bytes);
        let file_slot = self.open_steps(slot, segment, steps);
        steps.extend([
            DiskOp::SetLength {
                slot: file_slot,
                bytes,
            },
            DiskOp::SyncData { slot: file_slot },
        ]);
        self.reserved(slot, segment, bytes);
        let file = self.log_mut(slot).files.get_mut(&segment);
        file.expect("it was just opened").stale = 0;
    }

    fn reserved(&mut self, slot: LogSlot, segment: Offset, bytes: u64) {
        let file = self.log_mut(slot).files.get_mut(&segment);
        file.expect("a task is of a known file").reserved = bytes;
    }

    fn create_steps(
        &mut self,
        slot: LogSlot,
        segment: Offset,
        bytes: u64,
        steps: &mut VecDeque<DiskOp>,
    ) {
        if let Some(successor) = self.log_mut(slot).successor.take() {
            steps.extend(self.succeed_steps(slot, segment, bytes, successor));
            return;
        }
        let file_slot = self.files.take_segment(slot, segment);
        let log = self.log(slot);
        let topic = log
            .directory
            .parent()
            .expect("a log lies in its topic")
            .to_path_buf();
        let (directory, new) = (log.directory.clone(), !log.directory_durable);
        if new {
            steps.extend([made(&topic), made(&directory)]);
        }
        steps.push_back(DiskOp::Open {
            slot: file_slot,
            path: shared(&log.segment_path(segment)),
            mode: OpenMode::Create,
            caching: Caching::Direct,
        });
        let reserved = reservation(0, bytes, 0, self.log(slot).config.segment_bytes);
        steps.push_back(self.reserve(file_slot, 0, reserved));
        let file = SegmentFile {
            open: Some(file_slot),
            usable: false,
            reserved,
            stale: 0,
        };
        self.log_mut(slot).files.insert(segment, file);
    }

    pub(super) fn reserve(&self, slot: FileSlot, position: u64, bytes: u64) -> DiskOp {
        DiskOp::Reserve {
            slot,
            position,
            bytes,
            reservation: self.config.reservation,
        }
    }

    /// Opens the segment if it is not.
    fn open_steps(
        &mut self,
        slot: LogSlot,
        segment: Offset,
        steps: &mut VecDeque<DiskOp>,
    ) -> FileSlot {
        let log = self.logs[slot.0 as usize]
            .as_mut()
            .expect("a task is of a known log");
        let path = log.segment_path(segment);
        let file = log
            .files
            .get_mut(&segment)
            .expect("only a known file is opened");
        if let Some(open) = file.open {
            self.files.touch(slot, segment, open);
            return open;
        }
        let file_slot = self.files.take_segment(slot, segment);
        file.open = Some(file_slot);
        steps.push_back(DiskOp::Open {
            slot: file_slot,
            path: shared(&path),
            mode: OpenMode::ReadWrite,
            caching: Caching::Direct,
        });
        file_slot
    }

    /// Hands over what goes piece by piece; whether any of it is left. Then the log's directory stays for now.
    fn discards_segments(&mut self, slot: LogSlot) -> bool {
        let files = self.log(slot).files.iter();
        let large = files.filter(|(_, file)| self.discards.takes(file.reserved));
        let large: Vec<Offset> = large.map(|(segment, _)| *segment).collect();
        self.discard_segments(slot, &large);
        self.log(slot).discards > 0
    }

    /// Segments that no restart needs: large ones go piece by piece, the steps are those for the others.
    pub(super) fn discard_segments(
        &mut self,
        slot: LogSlot,
        segments: &[Offset],
    ) -> VecDeque<DiskOp> {
        let mut small = Vec::new();
        for segment in segments {
            let file = self.log(slot).files.get(segment).copied();
            match file.filter(|file| self.discards.takes(file.reserved)) {
                Some(file) => {
                    self.log_mut(slot).files.remove(segment);
                    self.release_file(file);
                    self.discard(slot, *segment, file.reserved);
                }
                None => small.push(*segment),
            }
        }
        self.unlink_steps(slot, &small)
    }

    fn unlink_steps(&mut self, slot: LogSlot, segments: &[Offset]) -> VecDeque<DiskOp> {
        let mut steps = VecDeque::new();
        for segment in segments {
            let Some(file) = self.log_mut(slot).files.remove(segment) else {
                continue;
            };
            self.release_file(file);
            let path = self.log(slot).segment_path(*segment);
            steps.push_back(DiskOp::Unlink {
                path: shared(&path),
            });
        }
        steps
    }

    fn seal_steps(&mut self, slot: LogSlot, segment: Offset) -> VecDeque<DiskOp> {
        let mut steps = VecDeque::new();
        let log = self.log(slot);
        // ORDER: not within a block, as above.
        let sealed = log
            .layout
            .segment(segment)
            .filter(|_| segment != log.layout.active().base);
        let Some(bytes) = sealed.map(|sealed| block_end(sealed.bytes)) else {
            return steps;
        };
        if !log.files.contains_key(&segment) || log.shorten == Some(segment) {
            return steps;
        }
        let reserved = log.files[&segment].reserved;
        if reserved.saturating_sub(bytes) <= bytes / KEPT_SHARE {
            return steps;
        }
        let file_slot = self.open_steps(slot, segment, &mut steps);
        steps.push_back(DiskOp::SetLength {
            slot: file_slot,
            bytes,
        });
        self.reserved(slot, segment, bytes);
        steps
    }

    fn remove_steps(&mut self, slot: LogSlot) -> VecDeque<DiskOp> {
        let segments: Vec<Offset> = self.log(slot).files.keys().copied().collect();
        let mut steps = self.unlink_steps(slot, &segments);
        let indexed: Vec<Offset> = self.log(slot).indexed.iter().copied().collect();
        steps.extend(self.index_unlinks(slot, &indexed));
        self.give_up_successor(slot);
        if self.log(slot).succeeded.is_some() {
            steps.push_back(self.successor_unlinked(slot));
        }
        let log = self.log(slot);
        if log.directory_durable || !steps.is_empty() {
            let gone = |path: &Path| DiskOp::RemoveDir { path: shared(path) };
            steps.push_back(gone(&log.directory));
            if !self.is_lived_in(&log.path) {
                let topic = log.directory.parent();
                steps.push_back(gone(topic.expect("a log lies in its topic")));
            }
        }
        steps
    }

    /// The steps of the task at the head are done.
    pub(super) fn task_ended(&mut self, slot: LogSlot) {
        let log = self.log_mut(slot);
        log.busy = false;
        let task = log.tasks.pop_front().expect("a task was at the head");
        match task {
            Task::Prepare { place, round, .. } => {
                log.directory_durable = true;
                if let Some(shortened) = log.shortening.take() {
                    self.opened(slot, shortened);
                }
                let reserved = self.opened(slot, place.segment);
                self.commit.ready(slot, place.segment, reserved, round);
            }
            Task::Remove => {
                let number = self.log(slot).number;
                self.logs[slot.0 as usize] = None;
                self.by_number.remove(&number);
                self.commit.forget(slot);
            }
            Task::Seal(segment) | Task::Open(segment) => {
                self.opened(slot, segment);
            }
            Task::Successor(_) | Task::Reuse(_) => self.successor_made(slot),
            Task::Release => self.released(slot),
            Task::Cut(_) | Task::Unlink(_) | Task::Unindex(_) | Task::NoSuccessor => {}
        }
    }

    /// The segment's file may be used now; tells how much of it is reserved.
    pub(super) fn opened(&mut self, slot: LogSlot, segment: Offset) -> u64 {
        let Some(file) = self.log_mut(slot).files.get_mut(&segment) else {
            return 0;
        };
        file.usable = file.open.is_some();
        let reserved = file.reserved;
        self.blocks_opened(slot, segment);
        reserved
    }

    /// A step of the task at the head failed. Only a lack of space or of descriptors is survived.
    pub(super) fn task_failed(&mut self, slot: LogSlot, error: DiskError) {
        let log = self.log_mut(slot);
        let task = log.tasks.front().cloned().expect("a task was at the head");
        let (shortening, durable) = (log.shortening.is_some(), log.directory_durable);
        match task {
            // Space that was asked for ahead is refused: what was reserved before stays in use, an extent may be on its way. (A
            // truncation since then takes back that it is ready, and has it reserved anew.)
            Task::Prepare { place, round, .. }
                if is_shortage(error)
                    && !shortening
                    && (self.commit.ready_bytes(slot, place.segment).is_some()
                        || self.commit.extent_in(slot, place.segment)) =>
            {
                let whole = place.position / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
                let reserved = self.commit.ready_bytes(slot, place.segment);
                let log = self.log_mut(slot);
                log.busy = false;
                log.tasks.pop_front();
                self.reserved(slot, place.segment, reserved.unwrap_or(whole));
                self.commit.not_ready(slot, round);
            }
            // The removal of another log may have taken the topic's directory away in between: it is made again.
            Task::Prepare { place, round, .. }
                if is_shortage(error) || (error.errno == libc::ENOENT && !durable) =>
            {
                let log = self.log_mut(slot);
                log.busy = false;
                log.tasks.pop_front();
                let file = log
                    .files
                    .remove(&place.segment)
                    .expect("it was being prepared");
                // A file that holds bytes stays known, closed, with nothing reserved.
                // ORDER: one that holds none is made again, with the names above it synced: whether those of this attempt
                // are is not known, and a power cut would take what is acknowledged in it.
                let shortening = log.shortening.take();
                log.shorten = shortening.into_iter().chain(log.shorten).min();
                if place.position > 0 {
                    let unreserved = SegmentFile {
                        open: None,
                        usable: false,
                        reserved: place.position / BLOCK_BYTES as u64 * BLOCK_BYTES as u64,
                        stale: file.stale,
                    };
                    log.files.insert(place.segment, unreserved);
                }
                self.release_file(file);
                if let Some(segment) = shortening {
                    self.not_opened(slot, segment);
                }
                self.commit.not_ready(slot, round);
            }
            // The log goes on without: its next segment is made when it is needed.
            Task::Reuse(_) => self.reuse_failed(slot),
            Task::Successor(_) if is_shortage(error) => self.no_successor(slot),
            Task::Seal(segment) => {
                self.not_opened(slot, segment);
                self.task_ended(slot);
            }
            Task::Remove
            | Task::Unlink(_)
            | Task::Unindex(_)
            | Task::NoSuccessor
            | Task::Release => self.task_ended(slot),
            // Readers are refused: a segment that is gone, or that the disk does not give, is no reason to end.
            Task::Open(segment) => {
                let log = self.log_mut(slot);
                log.busy = false;
                log.tasks.pop_front();
                self.not_opened(slot, segment);
                self.unopened(slot, segment);
            }
            Task::Prepare { .. } | Task::Cut(_) | Task::Successor(_) => {
                self.fatal(format!(
                    "a file of {:?} cannot be made ready: {error:?}",
                    self.log(slot).path
                ));
            }
        }
    }

    /// What the task at the head made of a successor goes.
    fn no_successor(&mut self, slot: LogSlot) {
        self.give_up_successor(slot);
        let log = self.log_mut(slot);
        log.busy = false;
        log.tasks.pop_front();
        log.tasks.push_front(Task::NoSuccessor);
    }

    /// A step of a task that may have had to open the segment failed: unless it was open before, it is not.
    fn not_opened(&mut self, slot: LogSlot, segment: Offset) {
        let file = self.log_mut(slot).files.get_mut(&segment);
        let Some(file) = file.filter(|file| !file.usable) else {
            return;
        };
        let closed = SegmentFile {
            open: file.open.take(),
            ..*file
        };
        self.release_file(closed);
    }

    /// Closes a file as soon as nothing is in flight on it.
    pub(super) fn release_file(&mut self, file: SegmentFile) {
        if let Some(open) = file.open
            && self.files.doom(open)
        {
            self.close(open);
        }
    }

    pub(super) fn close(&mut self, slot: FileSlot) {
        self.ops.tell(
            Purpose::Close(slot),
            DiskOp::Close { slot },
            &mut self.effects,
        );
    }

    /// Closes what is too much, except where an extent or a task needs it.
    pub(super) fn close_surplus(&mut self) {
        let mut left = self.files.open_segments();
        while left > 0
            && let Some((slot, segment)) = self.files.surplus()
        {
            left -= 1;
            let Some(log) = self.logs[slot.0 as usize].as_mut() else {
                continue;
            };
            let Some(file) = log.files.get_mut(&segment) else {
                continue;
            };
            if log.busy || !file.usable || self.commit.extent_in_flight(slot) {
                let open = file.open.expect("a file that is in the order is open");
                self.files.touch(slot, segment, open);
                continue;
            }
            let closed = SegmentFile {
                open: file.open.take(),
                usable: std::mem::take(&mut file.usable),
                ..*file
            };
            self.release_file(closed);
            self.commit.unready(slot, segment);
        }
    }

    pub(super) fn fatal(&mut self, reason: String) {
        self.effects.push(StoreEffect::Fatal { reason });
    }
}
