//! A log that grows writes its next segment over one that retention took from it: blocks that are written already need no
//! reservation, and their sync no change of the file system's tables.
//!
//! Always: (1) only a segment below a durable log start, which nobody reads any more, and only in its own log; (2) its first block is
//! zero, and that durable, before it has the name of a segment again; (3) behind the last batch of every extent in it lie enough
//! zeros to be told from a batch, or the file ends: what else is left of its former life holds lower offsets.

use super::log_state::{LogState, SegmentFile, Task};
use super::shard_store::Store;
use super::tasks::shared;
use crate::batch::HEADER_BYTES;
use crate::commit::LogSlot;
use crate::disk::{BLOCK_BYTES, Caching, DiskOp, OpenMode, WriteSync};
use crate::ids::{Offset, WallMs};
use bytes::Bytes;
use std::collections::VecDeque;

const BLOCK: u64 = BLOCK_BYTES as u64;
/// A log that got nothing for so long does not keep a file for its next segment.
const GROWS_MS: i64 = 600_000;

impl LogState {
    /// Whether the log grew lately.
    fn grows(&self, now: WallMs) -> bool {
        let active = self.layout.active();
        !active.is_empty() && now.0.saturating_sub(active.appended.0) < GROWS_MS
    }

    /// Whether a segment is to become the successor, and is not yet.
    fn waits_for_reuse(&self) -> bool {
        let mut tasks = self.tasks.iter();
        tasks.any(|task| matches!(task, Task::Reuse(_)))
    }
}

impl Store {
    /// The segment of those that go which becomes the next one.
    pub(super) fn reusable(&self, slot: LogSlot, gone: &[Offset]) -> Option<Offset> {
        let log = self.log(slot);
        let has_one = log.reused.is_some() || log.successor.is_some() || log.waits_for_reuse();
        let wanted = !has_one && log.grows(self.now.wall);
        let large = |segment: &&Offset| {
            let file = log.files.get(segment);
            file.is_some_and(|file| {
                let surplus = file.reserved.saturating_sub(log.config.segment_bytes);
                self.discards.takes(file.reserved)
                    && !self.discards.takes(surplus)
                    && file.reserved * 2 >= log.config.segment_bytes
            })
        };
        gone.iter().rfind(large).copied().filter(|_| wanted)
    }

    /// Makes a segment that is not part of its log any more the successor.
    pub(super) fn reuse_steps(&mut self, slot: LogSlot, segment: Offset) -> VecDeque<DiskOp> {
        self.reuses_wait -= 1;
        let log = self.log(slot);
        let Some(file) = log.files.get(&segment).copied() else {
            return VecDeque::new();
        };
        let read = file.open.is_some_and(|open| !self.files.is_idle(open));
        let unwanted = log.successor.is_some() || log.tasks.contains(&Task::Release);
        if read || log.dropped || unwanted || self.discards.is_hurried() {
            return self.discard_segments(slot, &[segment]);
        }
        let bytes = file.reserved.min(log.config.segment_bytes / BLOCK * BLOCK);
        self.log_mut(slot).files.remove(&segment);
        self.release_file(file);
        let open = self.files.take();
        let log = self.log_mut(slot);
        log.successor = Some(SegmentFile {
            open: Some(open),
            usable: false,
            reserved: bytes,
            stale: bytes,
        });
        log.reused = Some(segment);
        // The name is removed with the log.
        log.succeeded.get_or_insert(segment);
        let (from, to) = (log.segment_path(segment), log.successor_path());
        self.reused += 1;
        VecDeque::from([
            DiskOp::Rename {
                from: shared(&from),
                to: shared(&to),
            },
            DiskOp::Open {
                slot: open,
                path: shared(&to),
                mode: OpenMode::ReadWrite,
                caching: Caching::Direct,
            },
            DiskOp::SetLength { slot: open, bytes },
            // Where the file was shorter than it is taken to be.
            self.reserve(open, 0, bytes),
            DiskOp::Write {
                slot: open,
                position: 0,
                data: vec![self.zero_block.clone()],
                sync: WriteSync::None,
            },
            DiskOp::SyncData { slot: open },
        ])
    }

    /// The successor has become a segment, or is none any more.
    pub(super) fn reuse_ended(&mut self, slot: LogSlot) -> Option<Offset> {
        let reused = self.log_mut(slot).reused.take();
        self.reused -= usize::from(reused.is_some());
        reused
    }

    /// The file could not be made ready: it gets its former name, where it does not have it, and goes.
    pub(super) fn reuse_failed(&mut self, slot: LogSlot) {
        let log = self.log_mut(slot);
        log.busy = false;
        log.tasks.pop_front();
        log.tasks.push_front(Task::Release);
    }

    /// The file that waits to be used again gets its former name, and goes.
    pub(super) fn release_steps(&self, slot: LogSlot) -> VecDeque<DiskOp> {
        let log = self.log(slot);
        let renamed = log.reused.map(|segment| DiskOp::Rename {
            from: shared(&log.successor_path()),
            to: shared(&log.segment_path(segment)),
        });
        renamed.into_iter().collect()
    }

    /// It has its former name, or never lost it.
    pub(super) fn released(&mut self, slot: LogSlot) {
        let bytes = self.log(slot).successor.map_or(0, |file| file.reserved);
        if let Some(segment) = self.reuse_ended(slot) {
            self.give_up_successor(slot);
            self.discard(slot, segment, bytes);
        }
    }

    /// A log that does not grow any more does not keep a file for it.
    pub(super) fn release_unwanted(&mut self, slot: LogSlot) {
        let log = self.log(slot);
        if log.reused.is_some() && !log.grows(self.now.wall) {
            self.release(slot);
        }
    }

    /// Lets go of the file that waits to be used again.
    pub(super) fn release(&mut self, slot: LogSlot) {
        let log = self.log(slot);
        let kept = log.reused.is_some() || log.waits_for_reuse();
        if kept && !log.tasks.contains(&Task::Release) {
            self.task(slot, Task::Release);
        }
    }

    /// Space is short: no log keeps a file for later.
    pub(super) fn release_all(&mut self) {
        if self.reused + self.reuses_wait == 0 {
            return;
        }
        for slot in 0..self.logs.len() as u32 {
            if self.logs[slot as usize].is_some() {
                self.release(LogSlot(slot));
            }
        }
    }

    /// What is to be written behind an extent that ends here, so that stale bytes are told from what follows.
    pub(super) fn guard(&self, slot: LogSlot, segment: Offset, end: u64) -> Option<Bytes> {
        let stale = self.log(slot).files[&segment].stale;
        let block_end = end.next_multiple_of(BLOCK);
        let told = block_end - end >= HEADER_BYTES as u64;
        (!told && block_end + BLOCK <= stale).then(|| self.zero_block.clone())
    }
}
