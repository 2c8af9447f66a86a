//! What recovery hands to the store of one shard, and what it tells the operator.

use crate::batch::BatchHead;
use crate::disk::BLOCK_BYTES;
use crate::format::{
    CheckpointSlot, DamagedRange, EpochStart, JournalFileState, LogPath, Malformed, NodeMeta,
    Place, SegmentState, WindowAt,
};
use crate::ids::{LogNumber, MetadataIndex, NodeId, Offset, PartitionIndex, ShardIndex, TopicId};
use bytes::Bytes;
use std::fmt;
use std::path::PathBuf;

/// What recovery is told about the node.
#[derive(Clone, Debug)]
pub struct RecoveryConfig {
    /// How many shards there are to be; another number than before moves logs to other shards.
    pub shards: u16,
    /// The size of journal files that are made.
    pub journal_file_bytes: u64,
    /// How many journal files a shard begins with; at least 2.
    pub journal_files_min: u32,
}

impl RecoveryConfig {
    /// The defaults.
    pub fn new(shards: u16) -> RecoveryConfig {
        RecoveryConfig {
            shards,
            journal_file_bytes: 64 << 20,
            journal_files_min: 2,
        }
    }
}

/// A recovered node.
#[derive(Clone, Debug)]
pub struct RecoveredNode {
    /// `node.meta` as it is now: the layout may have changed.
    pub meta: NodeMeta,
    /// Its shards, by index.
    pub shards: Vec<Recovered>,
    /// The next number for a log: every number any shard ever saw is smaller.
    pub next_log: LogNumber,
    /// What was found on the way, for the log and `doctor`.
    pub report: Report,
}

/// A recovered shard: what its store begins with.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The shard.
    pub shard: ShardIndex,
    /// The node.
    pub node: NodeId,
    /// The shard layout that checkpoints carry.
    pub layout: u32,
    /// The new run.
    pub run: u64,
    /// The next number for a log, the same for all shards of the node.
    pub next_log: LogNumber,
    /// The newest checkpoint; the next one goes to the other slot, with a higher sequence.
    pub checkpoint: RecoveredCheckpoint,
    /// The journal behind the first windows of the new run.
    pub journal: RecoveredJournal,
    /// Every living log, by number.
    pub logs: Vec<RecoveredLog>,
    /// Dropped logs whose directories are still there: to be removed in the background, and kept in the checkpoint as dropped
    /// until they are gone.
    pub dropped: Vec<DroppedLog>,
}

impl Recovered {
    /// A shard without logs, whose journal files are zeros but for an empty window of that CRC at the beginning of the first.
    pub fn blank(
        node: NodeId,
        shard: ShardIndex,
        files: Vec<JournalFileState>,
        last_crc: u32,
    ) -> Recovered {
        let last = WindowAt {
            file: files[0].file,
            position: 0,
            sequence: 1,
        };
        Recovered {
            shard,
            node,
            layout: 1,
            run: 1,
            next_log: LogNumber(1),
            checkpoint: RecoveredCheckpoint {
                sequence: 1,
                slot: CheckpointSlot::A,
            },
            journal: RecoveredJournal {
                in_use: vec![last],
                free: files[1..].iter().map(|state| state.file).collect(),
                files,
                last,
                position: BLOCK_BYTES as u64,
                last_crc,
            },
            logs: Vec::new(),
            dropped: Vec::new(),
        }
    }
}

/// A dropped log of which only the directory is left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DroppedLog {
    /// What names its directory.
    pub path: LogPath,
    /// The names of the files in it.
    pub files: Vec<PathBuf>,
}

/// The newest checkpoint of a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecoveredCheckpoint {
    /// Its number.
    pub sequence: u64,
    /// Where it is.
    pub slot: CheckpointSlot,
}

/// The journal of a shard. Everything in it is synced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecoveredJournal {
    /// Every file and its size, by number.
    pub files: Vec<JournalFileState>,
    /// The first window in each file that holds one from R on, oldest first; the last file is being filled. Never empty.
    pub in_use: Vec<WindowAt>,
    /// The other files, in the order in which they are to be used.
    pub free: Vec<u32>,
    /// The last window. The next one has the next number and lies behind it, at `position`.
    pub last: WindowAt,
    /// Where in the file of `last` the next window goes.
    pub position: u64,
    /// The CRC of the last window.
    pub last_crc: u32,
}

/// A recovered log. Everything below its end is durable.
#[derive(Clone, Debug)]
pub struct RecoveredLog {
    /// Its number.
    pub log: LogNumber,
    /// Its topic.
    pub topic: TopicId,
    /// Its partition.
    pub partition: PartitionIndex,
    /// The shard whose directory holds its files.
    pub home: ShardIndex,
    /// The metadata entry that asked for it.
    pub metadata_index: MetadataIndex,
    /// The first offset that may be read.
    pub log_start: Offset,
    /// The newest high watermark the checkpoint knew, at most the end.
    pub high_watermark: Offset,
    /// The offset below which tombstones or markers were removed.
    pub purged: Offset,
    /// Complete and synced in its segments up to here. The first extent is preceded by cutting the segment to it.
    pub synced_end: Place,
    /// Its end; between the synced end and here everything is in `unflushed`.
    pub end: Place,
    /// Epochs, ascending.
    pub epochs: Vec<EpochStart>,
    /// Segments that have a file, ascending; `bytes` of the last one reaches the synced end. A segment that begins above the
    /// synced end is not listed.
    pub segments: Vec<SegmentState>,
    /// Those of them that have files of an index, which may be of another time.
    pub indexed: Vec<Offset>,
    /// The length of a file that goes, and that was to become a segment before; 0 where there is none.
    pub spare_bytes: u64,
    /// The block that the synced end lies in, up to the synced end; empty where it lies between two blocks, or where the
    /// block cannot be read.
    pub tail: Bytes,
    /// What lies between the synced end and the end, in order: journaled and synced.
    pub unflushed: Vec<Unflushed>,
    /// Offsets below the end that cannot be read.
    pub damage: Vec<DamagedRange>,
    /// Whether it may have lost an end that nothing tells of.
    pub suspect: bool,
    /// The settled producers, and the offset below which batches are in them; `None`: to be built from `heads` alone, which
    /// then begin at the log start.
    pub producers: Option<(Offset, Bytes)>,
    /// The heads of all batches from the producers' offset, or an earlier one, to the end.
    pub heads: Vec<PlacedHead>,
}

impl RecoveredLog {
    /// What names its directory.
    pub fn path(&self) -> LogPath {
        LogPath {
            home: self.home,
            topic: self.topic,
            partition: self.partition,
            log: self.log,
        }
    }
}

/// Batches that are in the journal and not yet in their segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unflushed {
    /// The place in front of them.
    pub start: Place,
    /// The place behind them; in the same segment.
    pub end: Place,
    /// The offset of their first record.
    pub base: Offset,
    /// Whole batches.
    pub bytes: Bytes,
    /// The window that holds them.
    pub window: WindowAt,
}

/// The head of a batch and where it lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlacedHead {
    /// The segment.
    pub segment: Offset,
    /// Where in it.
    pub position: u64,
    /// The header of the batch.
    pub head: BatchHead,
}

/// What recovery found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// In the order in which it was found.
    pub findings: Vec<Finding>,
    /// Windows that were accepted.
    pub windows: u64,
    /// Bytes of batches that were taken from windows.
    pub journaled_bytes: u64,
    /// Offsets that were taken from segments though neither a mark nor a window vouched for them.
    pub walked_offsets: u64,
}

/// One thing that was found, with its file and place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What it means.
    pub severity: Severity,
    /// The file or directory, relative to the data directory.
    pub path: PathBuf,
    /// The byte in it.
    pub position: u64,
    /// The log it belongs to.
    pub log: Option<LogNumber>,
    /// In a sentence.
    pub message: String,
}

/// What a finding means.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// What a crash leaves behind: nothing acknowledged is gone.
    Torn,
    /// Something that was put in order.
    Repaired,
    /// Something that another version of the program wrote: whether it is sound cannot be told.
    Foreign,
    /// Something that was durable cannot be read, or may be gone.
    Damage,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Torn => "torn",
            Severity::Repaired => "repaired",
            Severity::Foreign => "of another version",
            Severity::Damage => "DAMAGE",
        };
        let path = self.path.display();
        write!(f, "{severity}: {path} at byte {}", self.position)?;
        if let Some(log) = self.log {
            write!(f, " (log {log})")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Why a node cannot start on these files. Nothing was deleted.
#[derive(Debug)]
pub enum RecoveryError {
    /// The operating system said no.
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        error: std::io::Error,
    },
    /// A file that the rest cannot be understood without does not decode.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Where and why.
        malformed: Malformed,
    },
    /// A file that must be there is missing or says something impossible.
    Damaged {
        /// The file.
        path: PathBuf,
        /// The byte in it.
        position: u64,
        /// In a sentence.
        message: String,
    },
}

impl fmt::Display for RecoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecoveryError::Io { path, error } => write!(f, "{}: {error}", path.display()),
            RecoveryError::Unreadable { path, malformed } => {
                write!(f, "{}: {malformed}", path.display())
            }
            RecoveryError::Damaged {
                path,
                position,
                message,
            } => write!(f, "{} at byte {position}: {message}", path.display()),
        }
    }
}

impl std::error::Error for RecoveryError {}
