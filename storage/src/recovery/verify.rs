//! Verifies a data directory offline: what recovery would say, and every batch of every segment besides. Changes nothing.
//!
//! Always: only what lies below a log's synced end can be damage; behind it a crash explains what does not check.

use super::dump::{Item, identities};
use super::node::directories;
use super::replay::Replayed;
use super::segments::{Found, Segments, behind};
use super::shard::{ReplayedShard, newest_checkpoint};
use super::types::{Finding, RecoveryError, Report, Severity};
use crate::batch::BatchHead;
use crate::disk::BlockingDisk;
use crate::format::{CHECKPOINT_A, LogPath, Malformed, NodeMeta, Place, log_dir, shard_dir};
use crate::ids::{LogNumber, Offset, ShardIndex};
use std::collections::BTreeSet;
use std::path::Path;

/// What a verification found.
#[derive(Clone, Debug, Default)]
pub struct Verification {
    /// Damage, and what a crash left, in the order in which it was found.
    pub findings: Vec<Finding>,
    /// Logs that live.
    pub logs: u64,
    /// Windows of the chains.
    pub windows: u64,
    /// Bytes of batches that are in the journal only.
    pub journaled_bytes: u64,
    /// Batches in segments that check.
    pub batches: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Verification {
    /// Whether nothing that was durable is gone, as far as this version of the program can tell.
    pub fn is_sound(&self) -> bool {
        self.worst() < Some(Severity::Foreign)
    }

    /// The worst severity, if anything was found.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    fn bad(&mut self, path: &Path, malformed: Malformed) {
        self.findings.push(Finding {
            severity: match malformed.versions {
                Some(_) => Severity::Foreign,
                None => Severity::Damage,
            },
            path: path.to_path_buf(),
            position: malformed.position as u64,
            log: None,
            message: match malformed.versions {
                Some(_) => malformed.to_string(),
                None => malformed.reason.into(),
            },
        });
    }

    fn damage(&mut self, path: &Path, position: u64, log: Option<LogNumber>, message: String) {
        self.findings.push(Finding {
            severity: Severity::Damage,
            path: path.to_path_buf(),
            position,
            log,
            message,
        });
    }
}

/// Reads everything there is. The lock is held, or the directory is a copy.
pub fn verify(disk: &dyn BlockingDisk) -> Result<Verification, RecoveryError> {
    let mut found = Verification::default();
    let mut bad = Vec::new();
    let node = identities(disk, &mut |item| {
        if let Item::Bad(path, malformed) = item {
            bad.push((path, malformed));
        }
    })?;
    for (path, malformed) in bad {
        found.bad(&path, malformed);
    }
    let Some(node) = node.filter(|node| node.layout > 0) else {
        return Ok(found);
    };
    let there = directories(disk)?;
    for shard in (0..node.shards).map(ShardIndex) {
        if let Err(error) = verify_shard(disk, &node, shard, &there, &mut found) {
            refused(error, &mut found)?;
        }
    }
    Ok(found)
}

/// What recovery would refuse to start on is a finding here; other errors of the operating system are errors.
fn refused(error: RecoveryError, found: &mut Verification) -> Result<(), RecoveryError> {
    match error {
        RecoveryError::Io { .. } => return Err(error),
        RecoveryError::Unreadable { path, malformed } => found.bad(&path, malformed),
        RecoveryError::Damaged {
            path,
            position,
            message,
        } => found.damage(&path, position, None, message),
    }
    Ok(())
}

fn verify_shard(
    disk: &dyn BlockingDisk,
    node: &NodeMeta,
    shard: ShardIndex,
    there: &BTreeSet<LogPath>,
    found: &mut Verification,
) -> Result<(), RecoveryError> {
    let mut report = Report::default();
    let checkpoint = newest_checkpoint(disk, node, shard, &mut report)?;
    let Some(checkpoint) = checkpoint else {
        let path = shard_dir(shard).join(CHECKPOINT_A);
        let message = "node.meta knows this shard, and neither of its checkpoints is there";
        found.damage(&path, 0, None, message.into());
        return Ok(());
    };
    let replayed = ReplayedShard::replay(disk, checkpoint, &mut report)?;
    found.windows += report.windows;
    found.findings.append(&mut report.findings);
    for (_, log) in replayed.logs {
        found.logs += 1;
        let path = log.state.path();
        let segments = match there.contains(&path) {
            true => Segments::open(disk, log_dir(&path))?,
            false => Segments::none(disk, log_dir(&path)),
        };
        verify_log(&log, segments, found)?;
    }
    Ok(())
}

fn verify_log(
    log: &Replayed,
    mut segments: Segments<'_>,
    found: &mut Verification,
) -> Result<(), RecoveryError> {
    let state = &log.state;
    let number = Some(state.log);
    let synced = state.synced_end;
    for piece in log.pieces.behind(&synced) {
        found.journaled_bytes += piece.bytes.len() as u64;
    }
    for range in &state.damage {
        let message = format!(
            "offsets {} to {} are known to be damaged",
            range.from.offset, range.to.offset
        );
        let path = segments.path(range.from.segment);
        found.damage(&path, range.from.position, number, message);
    }
    let ends = state.segments.iter().skip(1).map(|next| next.base);
    let ends = ends.chain([log.known.offset]);
    for (listed, end) in state.segments.iter().zip(ends) {
        if segments.length(listed.base).is_none() && end > state.log_start {
            let path = segments.path(listed.base);
            found.damage(&path, 0, number, "the segment is missing".into());
        }
    }
    // What lies wholly below the log start may be cut, or zeroed, anywhere.
    let first = segments.bases().rfind(|base| *base <= state.log_start);
    let first = first.or_else(|| segments.bases().next());
    let Some(first) = first.filter(|first| *first <= synced.segment) else {
        if synced.position > 0 && state.segments.is_empty() {
            let path = segments.path(synced.segment);
            found.damage(&path, 0, number, "the segment is missing".into());
        }
        return Ok(());
    };
    let mut at = Place {
        segment: first,
        position: 0,
        offset: first,
        epoch: log.epoch_at(Offset(first.0.saturating_sub(1))),
    };
    while (at.segment, at.position) < (synced.segment, synced.position) {
        at = verify_step(log, &mut segments, at, found)?;
    }
    Ok(())
}

/// One batch, or the step to the next segment.
fn verify_step(
    log: &Replayed,
    segments: &mut Segments<'_>,
    at: Place,
    found: &mut Verification,
) -> Result<Place, RecoveryError> {
    let synced = log.state.synced_end;
    let (batch, _) = segments.batch(at.segment, at.position)?;
    if let Found::Batch(head) = batch
        && head.base_offset >= at.offset
        && fits_epoch(log, &head)
    {
        found.batches += 1;
        found.bytes += head.bytes as u64;
        return Ok(behind(&at, &head));
    }
    let next = segments
        .after(at.segment)
        .filter(|base| *base <= synced.segment);
    let onward = match next {
        Some(segment) => Place {
            segment,
            position: 0,
            offset: segment.max(at.offset),
            ..at
        },
        None => synced,
    };
    let sealed = |base: Offset| {
        let listed = log.state.segments.iter();
        let mut listed = listed.filter(|segment| segment.base == base);
        listed.any(|segment| segment.bytes == at.position)
    };
    let rolls =
        batch == Found::Nothing && next.is_some_and(|base| base == at.offset || sealed(at.segment));
    if !rolls {
        let message = match batch {
            Found::Nothing => "the segment ends before its synced end".to_owned(),
            Found::Other => "no batch that checks".to_owned(),
            Found::Batch(head) => format!(
                "a batch of offset {} and epoch {} that does not belong here",
                head.base_offset, head.leader_epoch
            ),
        };
        let known = log
            .state
            .damage
            .iter()
            .any(|range| range.from.offset <= at.offset && at.offset < range.to.offset);
        if !known {
            let path = segments.path(at.segment);
            let message = format!("{message} (from offset {})", at.offset);
            found.damage(&path, at.position, Some(log.state.log), message);
        }
    }
    Ok(onward)
}

/// Epochs below the log start may be forgotten.
fn fits_epoch(log: &Replayed, head: &BatchHead) -> bool {
    head.base_offset < log.state.log_start || head.leader_epoch == log.epoch_at(head.base_offset)
}
