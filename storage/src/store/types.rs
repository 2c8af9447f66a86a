//! What goes into and comes out of a `Store`.

use super::search::Look;
use crate::commit::CommitConfig;
use crate::disk::{DiskOp, OpId, Reservation};
use crate::ids::{
    LeaderEpoch, LogNumber, MetadataIndex, NodeId, Offset, PartitionIndex, ShardIndex, TopicId,
};
use crate::log::{RetentionLimits, RollLimits};
use bytes::Bytes;

/// Limits of one shard's store.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The node: windows carry it.
    pub node: NodeId,
    /// The shard.
    pub shard: ShardIndex,
    /// Size of one journal file.
    pub journal_file_bytes: u64,
    /// Journal files at first.
    pub journal_files_min: usize,
    /// Journal files at most; one of them is kept for control entries.
    pub journal_files_max: usize,
    /// So many pending bytes of a log leave as an extent.
    pub large_bytes: u64,
    /// Unflushed bytes in memory at which appends are refused.
    pub unflushed_bytes_max: u64,
    /// Clean bytes in memory (cache).
    pub clean_bytes_max: u64,
    /// Segment bytes that were read back and are kept for other readers.
    pub cold_bytes_max: u64,
    /// Indexes of full segments in memory, as far as they are in files too.
    pub index_bytes_max: u64,
    /// A segment that goes is shortened by so many bytes at a time, or more where many wait; smaller ones go at once.
    pub discard_bytes: u64,
    /// Open segment files at most.
    pub open_files_max: usize,
    /// Fewer files are synced each by itself: a sync of the file system writes out whatever anybody left in the kernel's cache.
    pub shared_sync_files_min: usize,
    /// How segments and journal files are reserved.
    pub reservation: Reservation,
    /// What the commit machine goes by; `journal_*` and `large_bytes` above win.
    pub commit: CommitConfig,
}

impl StoreConfig {
    /// The defaults for a shard.
    pub fn new(node: NodeId, shard: ShardIndex) -> Self {
        Self {
            node,
            shard,
            journal_file_bytes: 64 << 20,
            journal_files_min: 2,
            journal_files_max: 8,
            large_bytes: 128 << 10,
            unflushed_bytes_max: 256 << 20,
            clean_bytes_max: 256 << 20,
            cold_bytes_max: 32 << 20,
            index_bytes_max: 16 << 20,
            discard_bytes: 16 << 20,
            open_files_max: 4096,
            shared_sync_files_min: 17,
            reservation: Reservation::Unwritten,
            commit: CommitConfig::default(),
        }
    }
}

/// When the durable offset of a log moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Acknowledge {
    /// When the bytes survive a power cut.
    #[default]
    Durable,
    /// When they are in memory (`write.caching=true`); the journal follows.
    Memory,
}

/// Limits of one log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogConfig {
    /// A segment is rolled before it exceeds this.
    pub segment_bytes: u64,
    /// A segment is rolled when its first record is this old.
    pub segment_ms: u64,
    /// Segments whose newest record is older are deleted.
    pub retention_ms: Option<u64>,
    /// Oldest segments are deleted while the log is larger.
    pub retention_bytes: Option<u64>,
    /// When `Durable` is told.
    pub acknowledge: Acknowledge,
    /// Bytes between two entries of the offset index.
    pub index_interval_bytes: u64,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3600 * 1000,
            retention_ms: None,
            retention_bytes: None,
            acknowledge: Acknowledge::Durable,
            index_interval_bytes: 4096,
        }
    }
}

impl LogConfig {
    /// When a segment is full.
    pub fn roll(&self) -> RollLimits {
        RollLimits {
            segment_bytes: self.segment_bytes,
            segment_ms: self.segment_ms,
        }
    }

    /// How much is kept.
    pub fn retention(&self) -> RetentionLimits {
        RetentionLimits {
            ms: self.retention_ms,
            bytes: self.retention_bytes,
        }
    }
}

/// A new log.
#[derive(Clone, Debug)]
pub struct OpenLog {
    /// Its number, never used before on this node.
    pub log: LogNumber,
    /// Its topic.
    pub topic: TopicId,
    /// Its partition.
    pub partition: PartitionIndex,
    /// The metadata entry that asked for it.
    pub metadata_index: MetadataIndex,
    /// Where it starts.
    pub start: Offset,
    /// The log it takes the place of; dropped when this one is durable.
    pub replaces: Option<LogNumber>,
    /// Its limits.
    pub config: LogConfig,
}

/// Why a log was not opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenRefused {
    /// The journal is full.
    NoSpace,
    /// The number was used before.
    Exists,
}

/// Why an append was not taken. Nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendRefused {
    /// Journal or memory is full; it heals when flushes end.
    NoSpace,
    /// The log is not open.
    NoLog,
}

/// Names a read that waits for the disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReadTicket(pub u64);

/// What a read gave.
#[derive(Clone, Debug)]
pub enum Read {
    /// Whole batches, in slices that may end anywhere; and the offset behind the last one (`from` where there is none).
    Ready {
        /// The bytes.
        data: Vec<Bytes>,
        /// Where to go on.
        end: Offset,
    },
    /// `ReadReady` follows with the ticket.
    Wait(ReadTicket),
    /// The bytes on disk do not check.
    Damaged,
    /// Below the log start or above the end, or no such log.
    OutOfRange,
}

/// Which record a search is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sought {
    /// The first one at or behind this timestamp (ms).
    Since(i64),
    /// The first one with the largest timestamp of all.
    Newest,
}

/// For whom a search is made: they take turns where batches take long to look through.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Asker(pub u64);

/// What a search gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// The record's offset and timestamp (ms).
    At {
        /// Offset of the record.
        offset: Offset,
        /// Its timestamp.
        timestamp: i64,
        /// The epoch of its batch.
        epoch: LeaderEpoch,
    },
    /// No such record.
    None,
    /// `FindReady` follows with the ticket, when the disk or whoever does `StoreEffect::Look` has answered.
    Wait(ReadTicket),
    /// The bytes on disk do not check.
    Damaged,
}

/// What the store wants done or known.
#[derive(Clone, Debug)]
pub enum StoreEffect {
    /// To execute; `Store::done` takes the outcome.
    Op(OpId, DiskOp),
    /// Everything below `end` survives a power cut (or is in memory, where the log acknowledges memory).
    Durable {
        /// The log.
        log: LogNumber,
        /// Exclusive end.
        end: Offset,
    },
    /// A read that waited.
    ReadReady {
        /// Its ticket.
        ticket: ReadTicket,
        /// Never `Wait`.
        read: Read,
    },
    /// A search that waited.
    FindReady {
        /// Its ticket.
        ticket: ReadTicket,
        /// Never `Wait`.
        found: Found,
    },
    /// A batch to look through for a search, on a thread that may take its time: `Store::looked` takes the answer. One at a time.
    Look {
        /// The search.
        ticket: ReadTicket,
        /// The batch, and what to look for.
        look: Look,
    },
    /// The log start has moved (retention or `set_log_start`) and is durable.
    StartMoved {
        /// The log.
        log: LogNumber,
        /// The first offset that may be read.
        log_start: Offset,
    },
    /// A write or sync failed: the process must end with this reason.
    Fatal {
        /// For the log.
        reason: String,
    },
}
