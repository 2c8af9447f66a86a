//! Taking a checkpoint: the state of every log as of the last window, into the slot that is not the newest.
//!
//! ORDER: it is taken while no window is in flight, and its slot is emptied, written and synced while the other one still holds the
//! checkpoint before it.

use super::ops::{Job, JobEnd};
use super::shard_store::{SettledProducers, Store};
use super::tasks::shared;
use crate::commit::{LogSlot, LogView};
use crate::disk::{Caching, DiskOp, FileSlot, OpenMode, WriteSync};
use crate::format::{
    Checkpoint, Life, LogPath, LogState, Place, Producers, SegmentState, WindowAt, checkpoint_path,
    shard_dir,
};
use crate::ids::{LeaderEpoch, Offset};
use crate::recovery::RecoveredCheckpoint;
use bytes::Bytes;
use std::collections::VecDeque;

impl Store {
    /// Takes the checkpoint and starts to write it.
    pub(super) fn take_checkpoint(
        &mut self,
        sequence: u64,
        from: WindowAt,
        at: WindowAt,
        settled: &mut SettledProducers<'_>,
    ) {
        let slot = self.journal.checkpoint.slot.other();
        let checkpoint = Checkpoint {
            node: self.node,
            shard: self.journal.shard,
            layout: self.journal.layout,
            run: self.journal.run,
            sequence,
            from,
            at,
            at_crc: self.journal.last_crc,
            next_log: self.next_log,
            journal: self.journal.files.clone(),
            logs: self.log_states(settled),
        };
        let before = self.journal.checkpoint;
        self.journal.checkpoint = RecoveredCheckpoint { sequence, slot };
        let path = checkpoint_path(self.journal.shard, slot);
        let file = self.files.take();
        let bytes = Bytes::from(checkpoint.encode());
        let steps = VecDeque::from([
            DiskOp::Open {
                slot: file,
                path: shared(&path),
                mode: OpenMode::Create,
                caching: Caching::Buffered,
            },
            DiskOp::Write {
                slot: file,
                position: 0,
                data: vec![bytes],
                sync: WriteSync::None,
            },
            DiskOp::SyncData { slot: file },
            DiskOp::SyncDir {
                path: shared(&shard_dir(self.journal.shard)),
            },
            DiskOp::Close { slot: file },
        ]);
        let end = JobEnd::Checkpoint(file, before);
        self.ops.start(Job { steps, end }, &mut self.effects);
    }

    fn log_states(&self, settled: &mut SettledProducers<'_>) -> Vec<LogState> {
        let slots = (0..self.logs.len() as u32).map(LogSlot);
        let mut states: Vec<LogState> = slots
            .filter_map(|slot| self.log_state(slot, settled))
            .collect();
        states.extend(self.leftovers.paths().map(gone));
        states.sort_unstable_by_key(|state| state.log);
        states
    }

    fn log_state(&self, slot: LogSlot, settled: &mut SettledProducers<'_>) -> Option<LogState> {
        let log = self.logs[slot.0 as usize].as_ref()?;
        let view = self.commit.view(slot)?;
        let mut state = Vec::new();
        let producers = match view.dropped {
            true => None,
            false => settled(log.number, &mut state),
        };
        Some(LogState {
            life: if view.dropped {
                Life::Dropped
            } else {
                Life::Live
            },
            suspect: log.suspect,
            barred: view.barred,
            metadata_index: log.metadata_index,
            log_start: view.log_start,
            high_watermark: log.high_watermark.min(view.durable_end.offset),
            purged: log.purged,
            synced_end: view.synced_end,
            durable_end: view.durable_end,
            epochs: view.epochs.to_vec(),
            segments: self.segment_states(slot, &view),
            damage: log.damage.clone(),
            producers: match producers {
                Some(offset) if offset <= view.durable_end.offset => Producers::Inline {
                    offset,
                    from: self.batch_before(slot, &view, offset),
                    state: state.into(),
                },
                _ => Producers::Unknown,
            },
            ..gone(&log.path)
        })
    }

    /// Where a batch at or below an offset begins, as far as the index knows.
    fn batch_before(&self, slot: LogSlot, view: &LogView<'_>, offset: Offset) -> Place {
        for end in [view.durable_end, view.synced_end] {
            if offset >= end.offset {
                return end;
            }
        }
        let segments = self.log(slot).layout.segments();
        let below = segments.rev().find(|segment| segment.base <= offset);
        let Some(segment) = below else {
            return self.log(slot).end;
        };
        let index = segment.index.as_ref();
        Place {
            segment: segment.base,
            position: index.map_or(0, |index| index.floor(segment.base, offset)),
            offset: segment.base,
            epoch: LeaderEpoch(-1),
        }
    }

    /// Segments that have a file and bytes that are flushed, or were to be.
    fn segment_states(&self, slot: LogSlot, view: &LogView<'_>) -> Vec<SegmentState> {
        let log = self.log(slot);
        let synced = view.synced_end;
        let reached =
            |base: Offset| base < synced.segment || (base == synced.segment && synced.position > 0);
        let held = log
            .layout
            .segments()
            .filter(|segment| reached(segment.base));
        let filed = held.filter(|segment| log.files.contains_key(&segment.base));
        let states = filed.map(|segment| SegmentState {
            base: segment.base,
            bytes: if segment.base == synced.segment {
                synced.position
            } else {
                segment.bytes
            },
            first_timestamp: segment.first_timestamp,
            max_timestamp: segment.max_timestamp,
        });
        states.collect()
    }

    /// The checkpoint is durable and its file closed.
    pub(super) fn checkpoint_written(&mut self) {
        self.commit.checkpoint_done();
    }

    /// There was no space for the file: the next one goes to the same slot, `before` stays the newest.
    pub(super) fn checkpoint_failed(&mut self, file: FileSlot, before: RecoveredCheckpoint) {
        self.journal.checkpoint = before;
        self.close(file);
        self.commit.checkpoint_failed();
    }
}

/// A dropped log of which only the directory is left.
fn gone(path: &LogPath) -> LogState {
    LogState {
        log: path.log,
        topic: path.topic,
        partition: path.partition,
        home: path.home,
        life: Life::Dropped,
        suspect: false,
        barred: false,
        metadata_index: Default::default(),
        log_start: Offset(0),
        high_watermark: Offset(0),
        purged: Offset(0),
        synced_end: Place::at_start(Offset(0)),
        durable_end: Place::at_start(Offset(0)),
        epochs: Vec::new(),
        segments: Vec::new(),
        damage: Vec::new(),
        producers: Producers::Unknown,
    }
}
