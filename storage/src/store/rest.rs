//! What happens when nothing happens: an idle shard flushes what is only in its journal and gives its memory back. And how many
//! files are synced at once.
//!
//! Always: a shard at rest wants nothing more until it is used again.

use super::log_state::SegmentFile;
use super::ops::Purpose;
use super::shard_store::Store;
use crate::disk::DiskOp;
use crate::ids::Tick;

/// A shard is idle when nothing was appended or read for so long.
const IDLE_MS: u64 = 10_000;
/// A sync of the whole file system that takes longer also syncs what others wrote: from then on each file is synced by itself.
const SHARED_SYNC_MS: u64 = 1_000;

/// How far a shard is on its way to rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rest {
    /// It was used then.
    Used(Tick),
    /// What is unflushed is being flushed, since then.
    Flushing(Tick),
    /// Memory was given back.
    Rested,
}

impl Rest {
    pub(super) fn new(now: Tick) -> Rest {
        Rest::Used(now)
    }

    /// When the next step is due.
    pub(super) fn deadline(self) -> Option<Tick> {
        match self {
            Rest::Used(since) | Rest::Flushing(since) => Some(since.after_ms(IDLE_MS)),
            Rest::Rested => None,
        }
    }
}

/// How extents that were flushed together are synced.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SharedSync {
    /// When the sync of the file system began.
    began: Tick,
    /// It was too slow once: files are synced one by one.
    by_file: bool,
    /// Files that are still being synced.
    left: usize,
}

impl Store {
    /// Takes the next step to rest, if it is due. Whether what is unflushed is to be flushed.
    pub(super) fn go_to_rest(&mut self) -> bool {
        let now = self.now.tick;
        if self.rest.deadline().is_some_and(|at| at <= now) {
            self.rest = match self.rest {
                Rest::Used(_) => Rest::Flushing(now),
                Rest::Flushing(_) | Rest::Rested => {
                    self.cache.trim();
                    self.blocks.trim();
                    Rest::Rested
                }
            };
        }
        // BOUND: for one period; on a full disk it would go on for ever.
        matches!(self.rest, Rest::Flushing(_))
    }

    /// Syncs the extents that were flushed together.
    pub(super) fn sync_shared(&mut self) {
        let segments: Vec<_> = self.commit.shared_segments().collect();
        if self.syncs_together(segments.len()) {
            self.shared_sync.began = self.now.tick;
            let slot = self.journal.any_slot();
            let sync = DiskOp::SyncFs { slot };
            return self.ops.tell(Purpose::SharedSync, sync, &mut self.effects);
        }
        self.shared_sync.left = segments.len();
        for (slot, segment) in segments {
            let SegmentFile { open, .. } = self.log(slot).files[&segment];
            let file = open.expect("a segment that was written is open");
            self.files.begin(file);
            let sync = DiskOp::SyncData { slot: file };
            self.ops
                .tell(Purpose::SharedFile(file), sync, &mut self.effects);
        }
    }

    /// Whether so many files are synced by one sync of the file system.
    pub(super) fn syncs_together(&self, files: usize) -> bool {
        !self.shared_sync.by_file && files >= self.config.shared_sync_files_min
    }

    /// A sync of the file system that began then has ended.
    pub(super) fn note_shared_sync(&mut self, began: Tick) {
        let took_ms = self.now.tick.ms_since(began);
        self.shared_sync.by_file |= took_ms > SHARED_SYNC_MS;
    }

    /// The file system is synced.
    pub(super) fn file_system_synced(&mut self) {
        self.note_shared_sync(self.shared_sync.began);
        self.commit.shared_synced();
    }

    /// One of the files is synced.
    pub(super) fn file_synced(&mut self) {
        self.shared_sync.left -= 1;
        if self.shared_sync.left == 0 {
            self.commit.shared_synced();
        }
    }
}
