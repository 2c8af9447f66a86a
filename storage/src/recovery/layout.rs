//! Which logs belong to which shard: the first layout of a node, and the change to another number of shards.
//!
//! Always: checkpoints carry the number of the layout they belong to, and `node.meta` says which one counts; replacing it is the one step that
//! changes the layout. Logs keep their directories: a log's `home` is the shard that opened it.

use super::node::sub_directories;
use super::reader::{io_at, read_small};
use super::settle::note_segment;
use super::types::{
    Finding, Recovered, RecoveredLog, RecoveryConfig, RecoveryError, Report, Severity,
};
use super::verdict::write_zeros;
use crate::disk::{BLOCK_BYTES, BlockingDisk};
use crate::format::{
    Checkpoint, CheckpointSlot, JournalFileState, Life, LogState, NODE_META, NodeMeta, Place,
    Producers, ProducersFile, SegmentFile, WindowAt, WindowBuilder, WindowHeader, checkpoint_path,
    journal_path, log_dir, parse_journal, parse_shard_dir, segment_file, shard_dir,
};
use crate::ids::{LeaderEpoch, LogNumber, ShardIndex};
use bytes::Bytes;
use std::path::{Path, PathBuf};

/// Larger states of producers go to a file of their own.
const INLINE_BYTES_MAX: usize = 4096;

/// The directories of shards, of this layout and of others.
pub(super) fn shard_dirs(
    disk: &dyn BlockingDisk,
) -> Result<Vec<(ShardIndex, PathBuf)>, RecoveryError> {
    let names = sub_directories(disk, Path::new(""))?;
    let shard = |name: PathBuf| parse_shard_dir(&name).map(|shard| (shard, name));
    Ok(names.into_iter().filter_map(shard).collect())
}

/// Makes the shards of a node that has none; what an interrupted attempt left is made again.
pub(super) fn first(
    disk: &dyn BlockingDisk,
    config: &RecoveryConfig,
    meta: NodeMeta,
) -> Result<NodeMeta, RecoveryError> {
    let layout = Layout { disk, config };
    let meta = NodeMeta {
        layout: 1,
        shards: config.shards,
        ..meta
    };
    for shard in (0..config.shards).map(ShardIndex) {
        layout.make_shard(&meta, shard, Vec::new(), LogNumber(1))?;
    }
    layout.commit(&meta)?;
    Ok(meta)
}

/// Removes journals and checkpoints of shards that are not part of the layout. Their directories hold logs and stay.
pub(super) fn remove_foreign(
    disk: &dyn BlockingDisk,
    meta: &NodeMeta,
    report: &mut Report,
) -> Result<(), RecoveryError> {
    for (shard, dir) in shard_dirs(disk)? {
        if shard.0 < meta.shards {
            continue;
        }
        let names = disk.list(&dir).map_err(|error| io_at(&dir, error))?;
        let journals = names
            .iter()
            .filter_map(|entry| parse_journal(&entry.name).map(|_| &entry.name));
        let mut gone: Vec<PathBuf> = journals.map(|name| dir.join(name)).collect();
        let slots = CheckpointSlot::ALL.map(|slot| checkpoint_path(shard, slot));
        gone.extend(slots.into_iter().filter(|path| {
            names
                .iter()
                .any(|entry| path.file_name() == Some(entry.name.as_os_str()))
        }));
        if gone.is_empty() {
            continue;
        }
        for path in &gone {
            disk.unlink(path).map_err(|error| io_at(path, error))?;
        }
        disk.sync_dir(&dir).map_err(|error| io_at(&dir, error))?;
        report.findings.push(Finding {
            severity: Severity::Repaired,
            path: dir,
            position: 0,
            log: None,
            message: format!(
                "journal and checkpoints of a shard beyond the {} there are now are removed",
                meta.shards
            ),
        });
    }
    Ok(())
}

/// Lays out a node.
pub(super) struct Layout<'a> {
    pub(super) disk: &'a dyn BlockingDisk,
    pub(super) config: &'a RecoveryConfig,
}

impl Layout<'_> {
    /// Deals the logs of a recovered node to another number of shards. The node is to be recovered again afterwards.
    pub(super) fn change(
        &self,
        meta: NodeMeta,
        mut shards: Vec<Recovered>,
    ) -> Result<NodeMeta, RecoveryError> {
        let meta = NodeMeta {
            layout: meta.layout + 1,
            shards: self.config.shards,
            ..meta
        };
        let next_log = shards.iter().map(|shard| shard.next_log).max();
        let next_log = next_log.unwrap_or_default();
        let logs = shards
            .iter_mut()
            .flat_map(|shard| std::mem::take(&mut shard.logs));
        let mut logs: Vec<RecoveredLog> = logs.collect();
        for log in &mut logs {
            self.flush(log)?;
            self.keep_producers(log)?;
        }
        // ORDER: the logs are complete in their segments, and their producers in files, before a checkpoint says so.
        self.disk
            .sync_fs()
            .map_err(|error| io_at(Path::new(""), error))?;
        for (index, logs) in deal(logs, self.config.shards).into_iter().enumerate() {
            let shard = ShardIndex(index as u16);
            let states = logs.iter().map(state_of).collect();
            match shards.iter().find(|old| old.shard == shard) {
                Some(old) => self.keep_shard(&meta, old, states, next_log)?,
                None => self.make_shard(&meta, shard, states, next_log)?,
            }
        }
        self.commit(&meta)?;
        Ok(meta)
    }

    /// Writes what is unflushed into the segments and cuts away what lies behind, which the next recovery would stumble over where the
    /// log goes on in another segment. Not synced.
    fn flush(&self, log: &mut RecoveredLog) -> Result<(), RecoveryError> {
        let dir = log_dir(&log.path());
        let synced = log.synced_end;
        let path_of = |segment| dir.join(segment_file(segment, SegmentFile::Log));
        if log.segments.iter().any(|held| held.base == synced.segment) {
            let path = path_of(synced.segment);
            let cut = self.disk.set_length(&path, block_end(synced.position));
            cut.map_err(|error| io_at(&path, error))?;
        }
        // Whole blocks: where the disk cannot read one, a part of it cannot be written.
        let mut before = std::mem::take(&mut log.tail);
        if !before.is_empty() && !log.unflushed.is_empty() {
            // The verdict holds an `image` of it: what is stale behind the synced end goes.
            let path = path_of(synced.segment);
            let mut block = before.to_vec();
            block.resize(BLOCK_BYTES, 0);
            let position = synced.position - before.len() as u64;
            let written = self.disk.write(&path, position, &block);
            written.map_err(|error| io_at(&path, error))?;
        }
        for piece in std::mem::take(&mut log.unflushed) {
            let path = path_of(piece.start.segment);
            let begins = piece.start.position == 0;
            if begins {
                before = Bytes::new();
            }
            let position = piece.start.position - before.len() as u64;
            let mut bytes = [before, piece.bytes].concat();
            let end = bytes.len();
            bytes.resize(block_end(end as u64) as usize, 0);
            let write = || {
                self.disk.make_dirs(&dir)?;
                if begins {
                    // Only journaled bytes are in it, and perhaps those of a former life.
                    self.disk.set_length(&path, 0)?;
                }
                self.disk.write(&path, position, &bytes)
            };
            write().map_err(|error| io_at(&path, error))?;
            before = Bytes::copy_from_slice(&bytes[end - end % BLOCK_BYTES..end]);
        }
        for placed in &log.heads {
            note_segment(&mut log.segments, placed);
        }
        log.synced_end = log.end;
        Ok(())
    }

    /// Writes the producers that are too large for a checkpoint, of a log that may have no directory yet. Not synced; a file that is
    /// there already is left alone, a checkpoint may name it.
    fn keep_producers(&self, log: &RecoveredLog) -> Result<(), RecoveryError> {
        let Some((offset, state)) = log.producers.as_ref().filter(|(_, state)| is_large(state))
        else {
            return Ok(());
        };
        let file = ProducersFile {
            log: log.log,
            offset: *offset,
            state,
        };
        let dir = log_dir(&log.path());
        let path = dir.join(segment_file(file.offset, SegmentFile::Producers));
        let bytes = file.encode();
        let known = read_small(self.disk, &path, bytes.len() as u64)?;
        if known.is_some_and(|known| known == bytes) {
            return Ok(());
        }
        let write = || {
            self.disk.make_dirs(&dir)?;
            self.disk.set_length(&path, 0)?;
            self.disk.write(&path, 0, &bytes)
        };
        write().map_err(|error| io_at(&path, error))
    }

    /// A shard that goes on: its journal stays, nothing in it is needed any more.
    fn keep_shard(
        &self,
        meta: &NodeMeta,
        old: &Recovered,
        logs: Vec<LogState>,
        next_log: LogNumber,
    ) -> Result<(), RecoveryError> {
        let last = old.journal.last;
        let checkpoint = Checkpoint {
            node: meta.node,
            shard: old.shard,
            layout: meta.layout,
            run: old.run,
            sequence: old.checkpoint.sequence + 1,
            from: last,
            at: last,
            at_crc: old.journal.last_crc,
            next_log,
            journal: old.journal.files.clone(),
            logs,
        };
        let slot = old.checkpoint.slot.other();
        self.write_slot(old.shard, slot, &checkpoint)
    }

    /// A shard that begins: an empty journal and a checkpoint.
    fn make_shard(
        &self,
        meta: &NodeMeta,
        shard: ShardIndex,
        logs: Vec<LogState>,
        next_log: LogNumber,
    ) -> Result<(), RecoveryError> {
        let dir = shard_dir(shard);
        self.disk
            .make_dirs(&dir)
            .map_err(|error| io_at(&dir, error))?;
        let second = checkpoint_path(shard, CheckpointSlot::B);
        let gone = self.disk.unlink(&second);
        gone.map_err(|error| io_at(&second, error))?;
        let bytes = self
            .config
            .journal_file_bytes
            .next_multiple_of(BLOCK_BYTES as u64);
        let files = 0..self.config.journal_files_min.max(2);
        for file in files.clone() {
            write_zeros(self.disk, shard, file, 0, bytes)?;
        }
        let (first, first_crc) = self.first_window(meta, shard)?;
        let checkpoint = Checkpoint {
            node: meta.node,
            shard,
            layout: meta.layout,
            run: 0,
            sequence: 1,
            from: first,
            at: first,
            at_crc: first_crc,
            next_log,
            journal: files.map(|file| JournalFileState { file, bytes }).collect(),
            logs,
        };
        self.write_slot(shard, CheckpointSlot::A, &checkpoint)?;
        let root = Path::new("");
        self.disk.sync_dir(root).map_err(|error| io_at(root, error))
    }

    /// The window that the first checkpoint is taken at: without it, a journal that was wiped would look like a new one.
    fn first_window(
        &self,
        meta: &NodeMeta,
        shard: ShardIndex,
    ) -> Result<(WindowAt, u32), RecoveryError> {
        let mut buffer = vec![0; BLOCK_BYTES];
        let sealed = WindowBuilder::new(&mut buffer).finish(&WindowHeader {
            node: meta.node,
            shard,
            run: 0,
            sequence: 1,
            known_synced: 0,
            checkpoint: 0,
            previous_crc: 0,
        });
        let path = journal_path(shard, 0);
        let write = || {
            self.disk.write(&path, 0, &buffer)?;
            self.disk.sync_data(&path)
        };
        write().map_err(|error| io_at(&path, error))?;
        let first = WindowAt {
            file: 0,
            position: 0,
            sequence: 1,
        };
        Ok((first, sealed.crc))
    }

    fn write_slot(
        &self,
        shard: ShardIndex,
        slot: CheckpointSlot,
        checkpoint: &Checkpoint,
    ) -> Result<(), RecoveryError> {
        let path = checkpoint_path(shard, slot);
        let write = || {
            // What an older, longer one left may be unreadable.
            self.disk.set_length(&path, 0)?;
            self.disk.write(&path, 0, &checkpoint.encode())?;
            self.disk.sync_data(&path)?;
            self.disk.sync_dir(&shard_dir(shard))
        };
        write().map_err(|error| io_at(&path, error))
    }

    fn commit(&self, meta: &NodeMeta) -> Result<(), RecoveryError> {
        let path = Path::new(NODE_META);
        let replaced = self.disk.replace(path, &meta.encode());
        replaced.map_err(|failed| io_at(&failed.path, failed.error))
    }
}

/// Whether a state of producers goes to a file of its own.
fn is_large(state: &[u8]) -> bool {
    state.len() > INLINE_BYTES_MAX
}

/// What the checkpoint of the new layout says of a log that is flushed.
fn state_of(log: &RecoveredLog) -> LogState {
    let first = log.heads.iter().find(|placed| {
        let settled = log.producers.as_ref().map(|(offset, _)| *offset);
        settled.is_some_and(|offset| placed.head.end_offset() > offset)
    });
    let from = first.map_or(log.end, |placed| Place {
        segment: placed.segment,
        position: placed.position,
        offset: placed.segment,
        epoch: LeaderEpoch(-1),
    });
    let producers = match &log.producers {
        None => Producers::Unknown,
        Some((offset, state)) if is_large(state) => Producers::File {
            offset: *offset,
            from,
        },
        Some((offset, state)) => Producers::Inline {
            offset: *offset,
            from,
            state: state.clone(),
        },
    };
    LogState {
        log: log.log,
        topic: log.topic,
        partition: log.partition,
        home: log.home,
        life: Life::Live,
        suspect: log.suspect,
        // What lies behind the end in its last block was cut away, and stays there.
        barred: true,
        metadata_index: log.metadata_index,
        log_start: log.log_start,
        high_watermark: log.high_watermark,
        purged: log.purged,
        synced_end: log.end,
        durable_end: log.end,
        epochs: log.epochs.clone(),
        segments: log.segments.clone(),
        damage: log.damage.clone(),
        producers,
    }
}

/// Where the block of a position ends.
fn block_end(position: u64) -> u64 {
    position.next_multiple_of(BLOCK_BYTES as u64)
}

/// Every log goes to the shard that has the fewest of its topic, and of these to the one that has the fewest at all.
fn deal(mut logs: Vec<RecoveredLog>, shards: u16) -> Vec<Vec<RecoveredLog>> {
    logs.sort_by_key(|log| (log.topic, log.partition, log.log));
    let mut dealt: Vec<Vec<RecoveredLog>> = (0..shards).map(|_| Vec::new()).collect();
    let mut topic = None;
    let mut of_topic = vec![0; usize::from(shards)];
    for log in logs {
        if topic != Some(log.topic) {
            topic = Some(log.topic);
            of_topic.fill(0);
        }
        let fewest = (0..dealt.len()).min_by_key(|shard| (of_topic[*shard], dealt[*shard].len()));
        let fewest = fewest.expect("a node has a shard");
        of_topic[fewest] += 1;
        dealt[fewest].push(log);
    }
    for logs in &mut dealt {
        logs.sort_by_key(|log| log.log);
    }
    dealt
}
