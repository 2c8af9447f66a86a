//! One shard: its checkpoint, then its windows from R on, giving every log as the journal has it.
//!
//! Always: windows up to C only give bytes, those behind C act, in order.

use super::journal::{Accepted, Cursor, Journal};
use super::reader::{FileReader, Pattern};
use super::replay::{Before, Linked, Replayed};
use super::types::{Finding, RecoveryError, Report, Severity};
use crate::disk::BlockingDisk;
use crate::format::{
    Checkpoint, CheckpointSlot, Entry, Life, LogPath, Malformed, NodeMeta, WindowAt,
    checkpoint_path, journal_path, padded,
};
use crate::ids::{LogNumber, ShardIndex};
use bytes::Bytes;
use std::collections::BTreeMap;

/// A shard after replay.
pub(super) struct ReplayedShard<'a> {
    pub(super) shard: ShardIndex,
    pub(super) checkpoint: Checkpoint,
    pub(super) slot: CheckpointSlot,
    pub(super) journal: Journal<'a>,
    pub(super) logs: BTreeMap<LogNumber, Replayed>,
    pub(super) dropped: BTreeMap<LogNumber, LogPath>,
    /// Logs that were replaced by one of this shard and are not of this shard.
    pub(super) replaced: Vec<LogNumber>,
    /// The first window of each file from R on, in order.
    pub(super) in_use: Vec<WindowAt>,
    /// Behind the last window that was accepted.
    pub(super) tail: Cursor,
    /// That window.
    pub(super) last: WindowAt,
    pub(super) next_log: LogNumber,
    before: BTreeMap<LogNumber, Before>,
    attached: bool,
    /// Windows are missing that were synced.
    pub(super) gapped: bool,
    /// The newest checkpoint that any window names.
    named: u64,
}

/// The newest checkpoint of a shard that belongs to the layout; `None` where no slot has a file.
pub(super) fn newest_checkpoint(
    disk: &dyn BlockingDisk,
    meta: &NodeMeta,
    shard: ShardIndex,
    report: &mut Report,
) -> Result<Option<(CheckpointSlot, Checkpoint)>, RecoveryError> {
    let mut newest: Option<(CheckpointSlot, Checkpoint)> = None;
    let mut bad: Option<(CheckpointSlot, Malformed)> = None;
    for slot in CheckpointSlot::ALL {
        match read_slot(disk, meta, shard, slot)? {
            None => {}
            Some(Err(malformed)) => bad = Some((slot, malformed)),
            Some(Ok(found)) => {
                let newer = newest
                    .as_ref()
                    .is_none_or(|(_, known)| known.sequence < found.sequence);
                newest = match newer && found.layout == meta.layout {
                    true => Some((slot, found)),
                    false => newest,
                };
            }
        }
    }
    match (newest, bad) {
        // The program that wrote it went on from there: what the other slot says is not the newest.
        (_, Some((slot, malformed))) if malformed.versions.is_some() => {
            Err(RecoveryError::Unreadable {
                path: checkpoint_path(shard, slot),
                malformed,
            })
        }
        (None, Some((slot, malformed))) => Err(RecoveryError::Unreadable {
            path: checkpoint_path(shard, slot),
            malformed,
        }),
        (newest, Some((slot, malformed))) => {
            // What a crash in the middle of a checkpoint leaves; were it the newest one, the windows would name it.
            report.findings.push(Finding {
                severity: Severity::Torn,
                path: checkpoint_path(shard, slot),
                position: malformed.position as u64,
                log: None,
                message: format!("{}: the other slot is used", malformed.reason),
            });
            Ok(newest)
        }
        (newest, None) => Ok(newest),
    }
}

type Slot = Option<Result<Checkpoint, Malformed>>;

fn read_slot(
    disk: &dyn BlockingDisk,
    meta: &NodeMeta,
    shard: ShardIndex,
    slot: CheckpointSlot,
) -> Result<Slot, RecoveryError> {
    let path = checkpoint_path(shard, slot);
    let Some(mut reader) = FileReader::open(disk, &path, Pattern::Whole)? else {
        return Ok(None);
    };
    let length = reader.length() as usize;
    let decoded = match reader.get(0, length)? {
        Ok(bytes) => Checkpoint::decode(bytes),
        Err(_) => Err(Malformed::new(0, "the disk cannot read it")),
    };
    if let Ok(found) = &decoded
        && (found.node != meta.node || found.shard != shard)
    {
        return Err(RecoveryError::Damaged {
            path,
            position: 0,
            message: format!(
                "it was written by shard {} of node {}, this is shard {shard} of node {}",
                found.shard, found.node, meta.node
            ),
        });
    }
    Ok(Some(decoded))
}

impl<'a> ReplayedShard<'a> {
    /// Reads the journal from R of the checkpoint on.
    pub(super) fn replay(
        disk: &'a dyn BlockingDisk,
        (slot, checkpoint): (CheckpointSlot, Checkpoint),
        report: &mut Report,
    ) -> Result<ReplayedShard<'a>, RecoveryError> {
        let from = checkpoint.from;
        let at_once = from.sequence > checkpoint.at.sequence;
        let mut shard = ReplayedShard {
            shard: checkpoint.shard,
            journal: Journal::open(disk, checkpoint.node, checkpoint.shard)?,
            logs: BTreeMap::new(),
            dropped: BTreeMap::new(),
            replaced: Vec::new(),
            in_use: Vec::new(),
            tail: Cursor {
                file: from.file,
                position: from.position,
                sequence: from.sequence,
                previous_crc: at_once.then_some(checkpoint.at_crc),
                run: if at_once { checkpoint.run } else { 0 },
            },
            last: checkpoint.at,
            next_log: checkpoint.next_log,
            before: BTreeMap::new(),
            attached: false,
            gapped: false,
            named: 0,
            checkpoint,
            slot,
        };
        shard.check_files(report);
        if at_once {
            shard.attach();
        }
        while let Some(window) = shard.journal.next(&shard.tail)? {
            shard.accept(window, report);
        }
        shard.finish(report)?;
        Ok(shard)
    }

    /// Journal files never change their size and never go.
    fn check_files(&mut self, report: &mut Report) {
        let sizes = self.journal.sizes();
        for listed in &self.checkpoint.journal {
            let found = sizes.iter().find(|found| found.file == listed.file);
            let bytes = found.map_or(0, |found| found.bytes);
            if bytes < listed.bytes {
                report.findings.push(Finding {
                    severity: Severity::Damage,
                    path: journal_path(self.shard, listed.file),
                    position: bytes,
                    log: None,
                    message: format!("the file ends here, it had {} bytes", listed.bytes),
                });
            }
        }
    }

    fn accept(&mut self, window: Accepted, report: &mut Report) {
        let header = &window.front.header;
        if window.after_gap {
            self.tell_gap(&window, report);
        }
        if !self.attached && header.sequence > self.checkpoint.at.sequence {
            self.attach();
        }
        if self
            .in_use
            .last()
            .is_none_or(|first| first.file != window.at.file)
        {
            self.in_use.push(window.at);
        }
        report.windows += 1;
        self.named = self.named.max(header.checkpoint);
        self.last = window.at;
        self.tail = Cursor {
            file: window.at.file,
            position: window.at.position + padded(window.front.bytes as u64),
            sequence: header.sequence + 1,
            previous_crc: Some(window.front.crc),
            run: header.run,
        };
        let entries = window
            .front
            .verify(&window.bytes)
            .expect("it was verified when it was read");
        for entry in entries {
            match entry {
                Ok(entry) => {
                    let payload = window.bytes.slice_ref(entry.payload);
                    self.act(entry.entry, payload, window.at, report);
                }
                Err(malformed) => {
                    self.gapped = true;
                    report.findings.push(Finding {
                        severity: Severity::Damage,
                        path: journal_path(self.shard, window.at.file),
                        position: window.at.position + malformed.position as u64,
                        log: None,
                        message: format!("an entry of a valid window: {}", malformed.reason),
                    });
                }
            }
        }
        if !self.attached && self.last.sequence == self.checkpoint.at.sequence {
            self.attach();
        }
    }

    fn tell_gap(&mut self, window: &Accepted, report: &mut Report) {
        self.gapped = true;
        report.findings.push(Finding {
            severity: Severity::Damage,
            path: journal_path(self.shard, self.tail.file),
            position: self.tail.position,
            log: None,
            message: format!(
                "windows {} to {} were synced and cannot be read",
                self.tail.sequence,
                window.at.sequence - 1
            ),
        });
    }

    /// C is reached: the logs are those of the checkpoint, with the bytes found so far.
    fn attach(&mut self) {
        self.attached = true;
        let mut before = std::mem::take(&mut self.before);
        for state in std::mem::take(&mut self.checkpoint.logs) {
            let held = before.remove(&state.log).unwrap_or_default();
            match state.life {
                Life::Dropped => {
                    self.dropped.insert(state.log, state.path());
                }
                Life::Live => {
                    let log = Replayed::from_checkpoint(state, held);
                    self.logs.insert(log.state.log, log);
                }
            }
        }
    }

    fn tell_unlinked(&self, log: LogNumber, report: &mut Report) {
        report.findings.push(Finding {
            severity: Severity::Damage,
            path: journal_path(self.shard, self.last.file),
            position: self.last.position,
            log: Some(log),
            message: "what the journal holds of this log does not link to what came before".into(),
        });
    }

    fn act(&mut self, entry: Entry, payload: Bytes, at: WindowAt, report: &mut Report) {
        match self.attached {
            true => self.act_behind(entry, payload, at, report),
            false => self.gather(entry, payload, at),
        }
    }

    /// From R to C: bytes only.
    fn gather(&mut self, entry: Entry, payload: Bytes, at: WindowAt) {
        let held = self.before.entry(entry.log()).or_default();
        match entry {
            Entry::Append(append) => held.pieces.push(&append, payload, at),
            Entry::Image(image) => held.images.push(image, payload),
            Entry::Truncate { place, .. } => held.truncate(&place),
            _ => {}
        }
    }

    /// Behind C.
    fn act_behind(&mut self, entry: Entry, payload: Bytes, at: WindowAt, report: &mut Report) {
        let number = entry.log();
        if let Entry::Open(open) = entry {
            self.open(open, report);
            return;
        }
        if let Entry::Drop { .. } = entry {
            self.drop_log(number);
            return;
        }
        let Some(log) = self.logs.get_mut(&number) else {
            if !self.dropped.contains_key(&number) {
                self.gapped = true;
                self.tell_unlinked(number, report);
            }
            return;
        };
        match entry {
            Entry::Append(append) => {
                report.journaled_bytes += payload.len() as u64;
                self.gapped |= log.append(&append, payload, at) == Linked::No;
            }
            Entry::Truncate { place, .. } => log.truncate(place),
            Entry::Epoch { epoch, .. } => log.epoch(epoch),
            Entry::Start { log_start, .. } => log.start(log_start),
            Entry::Mark { place, .. } => log.mark(place),
            Entry::Image(image) => log.images.push(image, payload),
            Entry::Open(_) | Entry::Drop { .. } => unreachable!("handled above"),
        }
    }

    fn open(&mut self, open: crate::format::Open, report: &mut Report) {
        let number = open.log;
        self.next_log = self.next_log.max(LogNumber(number.0.saturating_add(1)));
        if self.logs.contains_key(&number) || self.dropped.contains_key(&number) {
            self.tell_unlinked(number, report);
            return;
        }
        if let Some(replaced) = open.replaces {
            self.replaced.push(replaced);
            self.drop_log(replaced);
        }
        self.logs.insert(number, Replayed::opened(open, self.shard));
    }

    fn drop_log(&mut self, number: LogNumber) {
        if let Some(log) = self.logs.remove(&number) {
            self.dropped.insert(number, log.state.path());
        }
    }

    /// The chain has ended: was all of it there that must be?
    fn finish(&mut self, report: &mut Report) -> Result<(), RecoveryError> {
        let named = self.named.max(self.journal.checkpoint_named());
        if named > self.checkpoint.sequence && self.in_use.is_empty() {
            return Err(RecoveryError::Damaged {
                path: checkpoint_path(self.shard, self.slot.other()),
                position: 0,
                message: format!(
                    "checkpoint {named} cannot be read, and the journal does not reach back to checkpoint {}",
                    self.checkpoint.sequence
                ),
            });
        }
        if named > self.checkpoint.sequence {
            report.findings.push(Finding {
                severity: Severity::Repaired,
                path: checkpoint_path(self.shard, self.slot.other()),
                position: 0,
                log: None,
                message: format!("checkpoint {named} cannot be read; the one before it is used"),
            });
        }
        if self.last.sequence < self.checkpoint.at.sequence || !self.attached {
            self.lost_checkpoint_window(report);
        }
        self.gapped |= self.ends_in_a_cut_file();
        // Of logs that were dropped since nothing is missed.
        let unlinked = self.logs.values().filter(|log| log.unlinked);
        let unlinked: Vec<LogNumber> = unlinked.map(|log| log.state.log).collect();
        for log in unlinked {
            self.gapped = true;
            self.tell_unlinked(log, report);
        }
        Ok(())
    }

    /// The chain does not even reach C: what was journaled behind it is gone, and nothing tells of which logs.
    fn lost_checkpoint_window(&mut self, report: &mut Report) {
        if !self.attached {
            self.attach();
        }
        self.gapped = true;
        report.findings.push(Finding {
            severity: Severity::Damage,
            path: journal_path(self.shard, self.tail.file),
            position: self.tail.position,
            log: None,
            message: format!(
                "the journal must reach window {} and ends before {}",
                self.checkpoint.at.sequence, self.tail.sequence
            ),
        });
        for log in self.logs.values_mut() {
            log.state.suspect = true;
        }
        self.last = self.checkpoint.at;
        self.tail = Cursor {
            file: u32::MAX,
            position: 0,
            sequence: self.checkpoint.at.sequence + 1,
            previous_crc: Some(self.checkpoint.at_crc),
            run: self.tail.run.max(self.checkpoint.run),
        };
    }

    /// Whether the last file of the chain was cut: windows may have been in what is missing.
    fn ends_in_a_cut_file(&mut self) -> bool {
        let listed = self.checkpoint.journal.iter();
        let listed = listed.clone().find(|listed| listed.file == self.tail.file);
        let sizes = self.journal.sizes();
        let found = sizes.iter().find(|found| found.file == self.tail.file);
        let cut = match (listed, found) {
            (Some(listed), Some(found)) => found.bytes < listed.bytes,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if cut {
            for log in self.logs.values_mut() {
                log.state.suspect = true;
            }
        }
        cut
    }

    /// The highest run that any accepted window or the checkpoint has.
    pub(super) fn run(&self) -> u64 {
        self.tail.run.max(self.checkpoint.run)
    }
}
