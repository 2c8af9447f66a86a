//! The segment files of one log, read batch by batch.
//!
//! Always: a batch counts only with its magic, size, CRC, an offset at or behind the one before it, and exactly the epoch that
//! the log has for that offset.

use super::reader::{Absent, FileReader, Pattern, io_at, read_small};
use super::types::RecoveryError;
use crate::batch::{BatchHead, HEADER_BYTES, check};
use crate::disk::{BLOCK_BYTES, BlockingDisk, EntryKind};
use crate::format::{Place, SegmentFile, parse_segment, segment_file};
use crate::ids::Offset;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What lies at a place of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// A batch.
    Batch(BatchHead),
    /// The end of the file, or bytes that were never written.
    Nothing,
    /// Something else; the disk may not even be able to read it.
    Other,
}

/// The files of one log.
pub(super) struct Segments<'a> {
    disk: &'a dyn BlockingDisk,
    dir: PathBuf,
    /// Every segment's length.
    lengths: BTreeMap<Offset, u64>,
    /// Segments, or former ones, with a file of an index.
    pub(super) indexed: BTreeSet<Offset>,
    /// Names that are no segment's and no known companion's.
    pub(super) strangers: Vec<PathBuf>,
    open: Option<(Offset, FileReader<'a>)>,
}

impl<'a> Segments<'a> {
    /// Lists the files; a log without a directory has none.
    pub(super) fn open(
        disk: &'a dyn BlockingDisk,
        dir: PathBuf,
    ) -> Result<Segments<'a>, RecoveryError> {
        let names = disk.list(&dir).map_err(|error| io_at(&dir, error))?;
        let mut segments = Segments {
            disk,
            dir,
            lengths: BTreeMap::new(),
            indexed: BTreeSet::new(),
            strangers: Vec::new(),
            open: None,
        };
        for entry in names {
            match parse_segment(&entry.name) {
                Some((base, SegmentFile::Log)) if entry.kind == EntryKind::File => {
                    let path = segments.path(base);
                    let length = disk.length(&path).map_err(|error| io_at(&path, error))?;
                    segments.lengths.insert(base, length.unwrap_or(0));
                }
                Some((base, SegmentFile::Index | SegmentFile::Time))
                    if entry.kind == EntryKind::File =>
                {
                    segments.indexed.insert(base);
                }
                Some(_) => {}
                None => segments.strangers.push(entry.name),
            }
        }
        Ok(segments)
    }

    /// No files: for a log whose directory does not exist.
    pub(super) fn none(disk: &'a dyn BlockingDisk, dir: PathBuf) -> Segments<'a> {
        Segments {
            disk,
            dir,
            lengths: BTreeMap::new(),
            indexed: BTreeSet::new(),
            strangers: Vec::new(),
            open: None,
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn path(&self, base: Offset) -> PathBuf {
        self.dir.join(segment_file(base, SegmentFile::Log))
    }

    /// The length of a segment's file; `None` where there is none.
    pub(super) fn length(&self, base: Offset) -> Option<u64> {
        self.lengths.get(&base).copied()
    }

    /// The length of another file of the log; 0 where it is none.
    pub(super) fn length_of(&self, path: &Path) -> Result<u64, RecoveryError> {
        let length = self.disk.length(path).map_err(|error| io_at(path, error))?;
        Ok(length.unwrap_or(0))
    }

    /// All segments that have a file, ascending.
    pub(super) fn bases(&self) -> impl DoubleEndedIterator<Item = Offset> {
        self.lengths.keys().copied()
    }

    /// The next segment behind one.
    pub(super) fn after(&self, base: Offset) -> Option<Offset> {
        let mut later = self.lengths.range(Offset(base.0.saturating_add(1))..);
        later.next().map(|(base, _)| *base)
    }

    fn reader(&mut self, base: Offset) -> Result<Option<&mut FileReader<'a>>, RecoveryError> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != base) {
            self.open = None;
            if self.lengths.contains_key(&base) {
                let reader = FileReader::open(self.disk, &self.path(base), Pattern::Parts)?;
                self.open = reader.map(|reader| (base, reader));
            }
        }
        Ok(self.open.as_mut().map(|(_, reader)| reader))
    }

    /// What lies at a place, by its header alone.
    pub(super) fn head(&mut self, segment: Offset, position: u64) -> Result<Found, RecoveryError> {
        let Some(reader) = self.reader(segment)? else {
            return Ok(Found::Nothing);
        };
        let left = reader.length().saturating_sub(position);
        let bytes = left.min(HEADER_BYTES as u64) as usize;
        Ok(match reader.get(position, bytes)? {
            Ok(bytes) if bytes.iter().all(|byte| *byte == 0) => Found::Nothing,
            Ok(bytes) => match BatchHead::parse(bytes) {
                Ok(head) if head.bytes as u64 <= left && lawful(&head) => Found::Batch(head),
                _ => Found::Other,
            },
            Err(Absent::End) => Found::Nothing,
            Err(Absent::Unreadable) => Found::Other,
        })
    }

    /// What lies at a place, verified, and its bytes.
    pub(super) fn batch(
        &mut self,
        segment: Offset,
        position: u64,
    ) -> Result<(Found, &[u8]), RecoveryError> {
        let found = self.head(segment, position)?;
        let Found::Batch(head) = found else {
            return Ok((found, &[]));
        };
        let reader = self.reader(segment)?.expect("it was just read");
        Ok(match reader.get(position, head.bytes)? {
            Ok(bytes) if check(bytes).is_ok() => (found, bytes),
            _ => (Found::Other, &[]),
        })
    }

    /// Raw bytes of a segment; `None` where they are not there or cannot be read.
    pub(super) fn bytes(
        &mut self,
        segment: Offset,
        position: u64,
        bytes: usize,
    ) -> Result<Option<&[u8]>, RecoveryError> {
        match self.reader(segment)? {
            Some(reader) => Ok(reader.get(position, bytes)?.ok()),
            None => Ok(None),
        }
    }

    /// A whole file of the log that is no segment; `None` where it is absent, too large, or cannot be read.
    pub(super) fn small_file(
        &self,
        path: &Path,
        bytes_max: u64,
    ) -> Result<Option<Vec<u8>>, RecoveryError> {
        read_small(self.disk, path, bytes_max)
    }

    /// Writes into a segment, which is made if need be. Not synced.
    pub(super) fn write(
        &mut self,
        segment: Offset,
        position: u64,
        bytes: &[u8],
    ) -> Result<(), RecoveryError> {
        self.open = None;
        let path = self.path(segment);
        let dir = self.disk.make_dirs(&self.dir);
        dir.map_err(|error| io_at(&self.dir, error))?;
        let written = self.disk.write(&path, position, bytes);
        written.map_err(|error| io_at(&path, error))?;
        let length = self.lengths.entry(segment).or_insert(0);
        *length = (*length).max(position + bytes.len() as u64);
        Ok(())
    }

    /// Makes an empty file for a segment that has none, durably.
    pub(super) fn make(&mut self, segment: Offset) -> Result<(), RecoveryError> {
        let path = self.path(segment);
        let made = self.disk.make_dirs(&self.dir);
        // ORDER: what is flushed into it is synced alone, without the names above it.
        let made = made
            .and_then(|()| self.disk.set_length(&path, 0))
            .and_then(|()| self.disk.sync_fs());
        made.map_err(|error| io_at(&path, error))?;
        self.lengths.insert(segment, 0);
        Ok(())
    }

    /// Writes zeros behind a batch where the file goes on: what is left there of former batches is told from what follows. A batch
    /// that does follow is written over them.
    pub(super) fn end_at(&mut self, segment: Offset, position: u64) -> Result<(), RecoveryError> {
        let length = self.length(segment).unwrap_or(0);
        // Whole blocks: a part of one that cannot be read cannot be written either.
        let told = (position + HEADER_BYTES as u64).next_multiple_of(BLOCK_BYTES as u64);
        let bytes = told.min(length).saturating_sub(position);
        match bytes {
            0 => Ok(()),
            _ => self.write(segment, position, &vec![0; bytes as usize]),
        }
    }
}

fn lawful(head: &BatchHead) -> bool {
    let in_range = head.base_offset.0 >= 0 && head.base_offset.0 < i64::MAX - (1 << 32);
    in_range && head.last_offset_delta >= 0 && head.record_count >= 0
}

/// The place behind a batch.
pub(super) fn behind(at: &Place, head: &BatchHead) -> Place {
    Place {
        segment: at.segment,
        position: at.position + head.bytes as u64,
        offset: head.end_offset(),
        epoch: head.leader_epoch,
    }
}
