//! One log as the store sees it: its place, its index, its files and what is to be done with them.

use super::types::LogConfig;
use crate::disk::{FileSlot, WriteSync};
use crate::format::{
    DamagedRange, LogPath, Place, SegmentFile as Kind, segment_file, spare_file, successor_file,
};
use crate::ids::{LogNumber, MetadataIndex, Offset};
use crate::log::Layout;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

/// A segment's file on disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct SegmentFile {
    /// Open, or being opened, in this slot.
    pub(super) open: Option<FileSlot>,
    /// Its `Open` has completed.
    pub(super) usable: bool,
    /// Reserved so far; a multiple of the block.
    pub(super) reserved: u64,
    /// Bytes of a former life of the file may lie below this position; 0 in a new one.
    pub(super) stale: u64,
}

/// Something to do with a log's files; one at a time, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Task {
    /// Make the file writable from a place on, up to so many bytes, and some more ahead.
    Prepare {
        place: Place,
        bytes: u64,
        ahead: u64,
        round: u32,
    },
    /// Remove segments that a truncation cut off; they are gone for good before anything else is done.
    Cut(Vec<Offset>),
    /// Remove segments below the log start.
    Unlink(Vec<Offset>),
    /// Remove the indexes of segments that go.
    Unindex(Vec<Offset>),
    /// Make a segment below the log start the successor.
    Reuse(Offset),
    /// Let a successor go that was such a segment.
    Release,
    /// Give back the space behind the last batch of a full segment.
    Seal(Offset),
    /// Open a segment for reading.
    Open(Offset),
    /// Make the file of the next segment, reserved so far, before anybody waits for it.
    Successor(u64),
    /// Remove what there is of a successor for which there was no space.
    NoSuccessor,
    /// Remove everything.
    Remove,
}

/// A block that waits to be written.
#[derive(Debug)]
pub(super) struct FirstBlock {
    pub(super) segment: Offset,
    /// Where it begins.
    pub(super) position: u64,
    pub(super) data: Vec<Bytes>,
}

#[derive(Debug)]
pub(super) struct LogState {
    pub(super) number: LogNumber,
    pub(super) path: LogPath,
    pub(super) metadata_index: MetadataIndex,
    pub(super) config: LogConfig,
    pub(super) directory: PathBuf,
    /// Whether the directory exists and its name is durable.
    pub(super) directory_durable: bool,
    pub(super) layout: Layout,
    /// Where it began when this life of it did.
    pub(super) start: Offset,
    /// Where the next batch goes.
    pub(super) end: Place,
    /// The log start that is durable.
    pub(super) log_start_told: Offset,
    pub(super) high_watermark: Offset,
    pub(super) purged: Offset,
    /// The end last told as durable.
    pub(super) durable_told: Offset,
    /// Flushed up to here: below it bytes can be read from their segment.
    pub(super) flushed: Place,
    /// The segment up to which a restart knows that the log is flushed.
    pub(super) marked: Offset,
    pub(super) replaces: Option<LogNumber>,
    pub(super) files: BTreeMap<Offset, SegmentFile>,
    /// Segments that may have files of an index.
    pub(super) indexed: BTreeSet<Offset>,
    /// The segment whose index is being written, and in which slot.
    pub(super) indexing: Option<(Offset, FileSlot)>,
    /// The file of the next segment; it has no offset in its name yet.
    pub(super) successor: Option<SegmentFile>,
    /// The segment that the successor was.
    pub(super) reused: Option<Offset>,
    /// The segment whose successor was asked for last.
    pub(super) succeeded: Option<Offset>,
    /// The segment that must be cut before the log writes again: stale bytes may lie behind its end.
    pub(super) shorten: Option<Offset>,
    /// The segment that the task being done cuts.
    pub(super) shortening: Option<Offset>,
    /// Nothing was appended since a restart or a cut.
    pub(super) fresh_end: bool,
    /// The active segment is past its time: the next batch begins another.
    pub(super) roll_next: bool,
    pub(super) tasks: VecDeque<Task>,
    pub(super) busy: bool,
    /// How each write of the extent in flight is synced.
    pub(super) extent_sync: WriteSync,
    /// Writes of the extent in flight that have not ended.
    pub(super) extent_writes: u32,
    /// The first block of the extent in flight, as it will be written once its synced bytes are in a synced window.
    pub(super) first_block: Option<FirstBlock>,
    /// A truncation whose place is still looked for on disk; appends wait.
    pub(super) cutting: Option<Offset>,
    /// How many of its files are on their way out, piece by piece.
    pub(super) discards: u32,
    pub(super) dropped: bool,
    pub(super) suspect: bool,
    pub(super) damage: Vec<DamagedRange>,
}

impl LogState {
    /// Whether a task makes a file where there was none.
    pub(super) fn makes_file(&self, task: &Task) -> bool {
        let Task::Prepare { place, .. } = task else {
            return false;
        };
        !self.files.contains_key(&place.segment) && self.successor.is_none()
    }

    /// Whether a task removes what is being written of an index.
    pub(super) fn waits_for_index(&self, task: &Task) -> bool {
        self.indexing.is_some_and(|(segment, _)| match task {
            Task::Unindex(segments) => segments.contains(&segment),
            Task::Remove => true,
            _ => false,
        })
    }

    /// The path of a segment.
    pub(super) fn segment_path(&self, segment: Offset) -> PathBuf {
        self.companion_path(segment, Kind::Log)
    }

    /// The path of a file of a segment.
    pub(super) fn companion_path(&self, segment: Offset, kind: Kind) -> PathBuf {
        self.directory.join(segment_file(segment, kind))
    }

    /// The path of a file that waited for that before a restart.
    pub(super) fn spare_path(&self) -> PathBuf {
        self.directory.join(spare_file())
    }

    /// The path of the file that waits to be the next segment.
    pub(super) fn successor_path(&self) -> PathBuf {
        self.directory.join(successor_file())
    }
}
