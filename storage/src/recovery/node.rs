//! Recovery of a whole node: shards are replayed, logs settled, the verdict made durable; another number of shards is laid out.
//!
//! ORDER: what is accepted is synced -> first windows of the new run -> files removed -> (another layout: everything flushed and
//! synced -> its checkpoints written and synced -> `node.meta` replaced, which is the commit point -> old files removed).

use super::layout::{self, Layout};
use super::reader::io_at;
use super::segments::Segments;
use super::settle::{Next, Settled, Settling, Tidy};
use super::shard::{ReplayedShard, newest_checkpoint};
use super::types::{
    DroppedLog, Finding, Recovered, RecoveredCheckpoint, RecoveredLog, RecoveredNode,
    RecoveryConfig, RecoveryError, Report, Severity,
};
use super::verdict::{RunHeader, Said, VerdictWriter};
use crate::disk::{BlockingDisk, EntryKind};
use crate::format::{
    CHECKPOINT_A, Entry, LogPath, NodeMeta, log_dir, parse_log_dir, parse_topic_dir, shard_dir,
    topic_dir,
};
use crate::ids::{LogNumber, ShardIndex};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Brings a node's files to where its shards can start. `meta` is what `node.meta` says; a layout of 0 means that no shard was
/// made yet. The lock of the data directory is held.
pub fn recover(
    disk: &dyn BlockingDisk,
    config: &RecoveryConfig,
    meta: NodeMeta,
) -> Result<RecoveredNode, RecoveryError> {
    assert!(config.shards > 0, "a node has a shard");
    let mut report = Report::default();
    let mut meta = meta;
    if meta.layout == 0 {
        meta = layout::first(disk, config, meta)?;
    }
    layout::remove_foreign(disk, &meta, &mut report)?;
    let mut shards = Replay::run(disk, config, &meta, &mut report)?.settle(&mut report)?;
    if meta.shards != config.shards {
        meta = Layout { disk, config }.change(meta, shards)?;
        layout::remove_foreign(disk, &meta, &mut report)?;
        shards = Replay::run(disk, config, &meta, &mut report)?.settle(&mut report)?;
    }
    let next_log = shards.iter().map(|shard| shard.next_log).max();
    Ok(RecoveredNode {
        next_log: next_log.expect("a node has a shard"),
        meta,
        shards,
        report,
    })
}

/// All shards of a node, replayed.
struct Replay<'a> {
    disk: &'a dyn BlockingDisk,
    config: &'a RecoveryConfig,
    meta: &'a NodeMeta,
    shards: Vec<ReplayedShard<'a>>,
    /// Every directory of a log.
    directories: BTreeSet<LogPath>,
}

impl<'a> Replay<'a> {
    fn run(
        disk: &'a dyn BlockingDisk,
        config: &'a RecoveryConfig,
        meta: &'a NodeMeta,
        report: &mut Report,
    ) -> Result<Replay<'a>, RecoveryError> {
        let mut shards = Vec::new();
        for shard in (0..meta.shards).map(ShardIndex) {
            let checkpoint = newest_checkpoint(disk, meta, shard, report)?;
            let checkpoint = checkpoint.ok_or_else(|| RecoveryError::Damaged {
                path: shard_dir(shard).join(CHECKPOINT_A),
                position: 0,
                message: "node.meta knows this shard, and neither of its checkpoints is there"
                    .into(),
            })?;
            shards.push(ReplayedShard::replay(disk, checkpoint, report)?);
        }
        let mut node = Replay {
            disk,
            config,
            meta,
            shards,
            directories: directories(disk)?,
        };
        node.drop_replaced();
        Ok(node)
    }

    /// A log that is replaced on another shard is dropped.
    fn drop_replaced(&mut self) {
        let replaced: Vec<LogNumber> = self
            .shards
            .iter()
            .flat_map(|shard| shard.replaced.iter().copied())
            .collect();
        for shard in &mut self.shards {
            for number in &replaced {
                if let Some(log) = shard.logs.get_mut(number) {
                    log.drop_due = true;
                }
            }
        }
    }

    fn settle(&mut self, report: &mut Report) -> Result<Vec<Recovered>, RecoveryError> {
        let next_log = self.next_log();
        let run = 1 + self
            .shards
            .iter()
            .map(ReplayedShard::run)
            .max()
            .unwrap_or(0);
        let mut settled: Vec<Vec<Settled>> = Vec::new();
        let mut verdicts: Vec<Vec<Said>> = Vec::new();
        for index in 0..self.shards.len() {
            let (logs, verdict) = self.settle_shard(index, report)?;
            settled.push(logs);
            verdicts.push(verdict);
        }
        // ORDER: everything that was accepted, in files of segments and of the journal, outlives what is now said about it.
        let synced = self.disk.sync_fs();
        synced.map_err(|error| io_at(Path::new(""), error))?;
        let known = self.known_directories(&settled);
        let mut recovered = Vec::new();
        let mut tidy = Vec::new();
        for (index, logs) in settled.into_iter().enumerate() {
            let shard = &self.shards[index];
            let entries = std::mem::take(&mut verdicts[index]);
            let header = RunHeader {
                node: self.meta.node,
                run,
                checkpoint: shard.checkpoint.sequence,
            };
            let sizes = (
                self.config.journal_files_min.max(2),
                self.config.journal_file_bytes,
            );
            let mut writer = VerdictWriter::new(self.disk, shard, header, sizes)?;
            writer.write(entries)?;
            let (logs, files): (Vec<RecoveredLog>, Vec<Vec<Tidy>>) = logs
                .into_iter()
                .map(|settled| (settled.log, settled.tidy))
                .unzip();
            tidy.extend(files.into_iter().flatten());
            recovered.push(Recovered {
                shard: shard.shard,
                node: self.meta.node,
                layout: self.meta.layout,
                run,
                next_log,
                checkpoint: RecoveredCheckpoint {
                    sequence: shard.checkpoint.sequence,
                    slot: shard.slot,
                },
                journal: writer.finish(),
                logs,
                dropped: self.dropped(index, &known, report)?,
            });
        }
        self.tidy(tidy)?;
        Ok(recovered)
    }

    fn next_log(&self) -> LogNumber {
        let seen = self
            .directories
            .iter()
            .map(|path| LogNumber(path.log.0.saturating_add(1)));
        let known = self.shards.iter().map(|shard| shard.next_log);
        seen.chain(known).max().unwrap_or_default()
    }

    fn settle_shard(
        &mut self,
        index: usize,
        report: &mut Report,
    ) -> Result<(Vec<Settled>, Vec<Said>), RecoveryError> {
        let next = match self.meta.shards == self.config.shards {
            true => Next::Start,
            false => Next::Flush,
        };
        let logs = std::mem::take(&mut self.shards[index].logs);
        let mut settled = Vec::with_capacity(logs.len());
        let mut verdict = Vec::new();
        for (number, log) in logs {
            let path = log.state.path();
            if log.drop_due {
                verdict.push((Entry::Drop { log: number }, Bytes::new()));
                self.shards[index].dropped.insert(number, path);
                continue;
            }
            let dir = log_dir(&path);
            let segments = match self.directories.contains(&path) {
                true => Segments::open(self.disk, dir)?,
                false => Segments::none(self.disk, dir),
            };
            let mut log = Settling::new(log, segments, report).settle(next)?;
            verdict.append(&mut log.verdict);
            settled.push(log);
        }
        Ok((settled, verdict))
    }

    fn known_directories(&self, settled: &[Vec<Settled>]) -> BTreeSet<LogPath> {
        let live = settled.iter().flatten().map(|settled| settled.log.path());
        let dropped = self
            .shards
            .iter()
            .flat_map(|shard| shard.dropped.values().copied());
        live.chain(dropped).collect()
    }

    /// Directories of a shard's dropped logs, and of logs whose opening never became durable.
    fn dropped(
        &self,
        index: usize,
        known: &BTreeSet<LogPath>,
        report: &mut Report,
    ) -> Result<Vec<DroppedLog>, RecoveryError> {
        let shard = &self.shards[index];
        let gapped = self.shards.iter().any(|shard| shard.gapped);
        let there = |path: &&LogPath| self.directories.contains(*path);
        let mut dropped: Vec<LogPath> = shard.dropped.values().filter(there).copied().collect();
        let home = |path: &LogPath| path.home.0.min(self.meta.shards - 1) == shard.shard.0;
        let unknown = self
            .directories
            .iter()
            .filter(|path| home(path) && !known.contains(path));
        for path in unknown {
            if !gapped {
                dropped.push(*path);
                continue;
            }
            report.findings.push(Finding {
                severity: Severity::Damage,
                path: log_dir(path),
                position: 0,
                log: Some(path.log),
                message:
                    "no window tells of this log, and windows are missing: it is left as it is"
                        .into(),
            });
        }
        let dropped = dropped.into_iter().map(|path| self.dropped_log(path));
        dropped.collect()
    }

    fn dropped_log(&self, path: LogPath) -> Result<DroppedLog, RecoveryError> {
        let dir = log_dir(&path);
        let entries = self.disk.list(&dir).map_err(|error| io_at(&dir, error))?;
        let files = entries.into_iter().map(|entry| entry.name).collect();
        Ok(DroppedLog { path, files })
    }

    /// Removes and renames files, and makes that durable.
    fn tidy(&self, tidy: Vec<Tidy>) -> Result<(), RecoveryError> {
        let mut directories: BTreeSet<PathBuf> = BTreeSet::new();
        for act in tidy {
            let (path, done) = match &act {
                Tidy::Unlink(path) => (path, self.disk.unlink(path)),
                Tidy::Aside(path, aside) => (path, self.disk.rename(path, aside)),
            };
            done.map_err(|error| io_at(path, error))?;
            directories.extend(path.parent().map(Path::to_path_buf));
        }
        for directory in directories {
            let synced = self.disk.sync_dir(&directory);
            synced.map_err(|error| io_at(&directory, error))?;
        }
        Ok(())
    }
}

/// Every directory of a log, in all shards there ever were.
pub(super) fn directories(disk: &dyn BlockingDisk) -> Result<BTreeSet<LogPath>, RecoveryError> {
    let mut found = BTreeSet::new();
    for (home, dir) in layout::shard_dirs(disk)? {
        for topic in sub_directories(disk, &dir)? {
            let Some(topic) = parse_topic_dir(&topic) else {
                continue;
            };
            for name in sub_directories(disk, &topic_dir(home, topic))? {
                let Some((partition, log)) = parse_log_dir(&name) else {
                    continue;
                };
                found.insert(LogPath {
                    home,
                    topic,
                    partition,
                    log,
                });
            }
        }
    }
    Ok(found)
}

/// The names of the directories in one.
pub(super) fn sub_directories(
    disk: &dyn BlockingDisk,
    path: &Path,
) -> Result<Vec<PathBuf>, RecoveryError> {
    let entries = disk.list(path).map_err(|error| io_at(path, error))?;
    let directory = entries
        .into_iter()
        .filter(|entry| entry.kind == EntryKind::Directory);
    Ok(directory.map(|entry| entry.name).collect())
}
