//! One shard's logs on one disk, as the engine sees them: appends in, durable offsets out, reads from memory or disk.
//!
//! Pure: disk operations go out as effects (`StoreEffect::Op`) and come back through `done`; time is an argument. View:
//! shard.
//!
//! Always: (1) `Durable` is told only for bytes that survive a power cut; (2) every operation is told exactly once and
//! waits for its completion; (3) a read never shows what `read` was not asked for (`up_to`).
//! Leaves to others: what a partition may append or show (the engine), executing operations (`io`, `sim`).

mod types;

pub use types::{
    Acknowledge, AppendRefused, Found, LogConfig, OpenLog, OpenRefused, Read, ReadTicket,
    Recovered, RecoveredLog, Stamp, StoreConfig, StoreEffect,
};

use crate::disk::DiskDone;
use crate::ids::{LeaderEpoch, LogNumber, Now, Offset, Tick};
use bytes::Bytes;

/// All logs of one shard.
pub struct Store {
    effects: Vec<StoreEffect>,
}

/// The settled producers of a log, asked for when a checkpoint is taken: writes their encoding and returns the offset
/// they are settled up to (the high watermark), or `None` where the log has none.
pub type SettledProducers<'a> = dyn FnMut(LogNumber, &mut Vec<u8>) -> Option<Offset> + 'a;

impl Store {
    /// A shard's logs as recovery left them.
    pub fn new(_config: StoreConfig, _recovered: Recovered, _now: Now) -> Self {
        Self {
            effects: Vec::new(),
        }
    }

    /// Begins the life of a log; it takes appends at once and has no file before its first flush.
    pub fn open_log(&mut self, _now: Now, _open: OpenLog) -> Result<(), OpenRefused> {
        Err(OpenRefused::NoSpace)
    }

    /// Ends the life of a log: no append, read or effect of it follows; its directory goes in the background.
    pub fn drop_log(&mut self, _now: Now, _log: LogNumber) {}

    /// Gives a log other limits.
    pub fn configure(&mut self, _log: LogNumber, _config: LogConfig) {}

    /// Whether `append` of so many bytes would be taken now. Asked before the partition assigns offsets.
    pub fn admits(&self, _log: LogNumber, _bytes: usize) -> bool {
        false
    }

    /// Appends one batch: copies it into the log's chunk and stamps it there. Offsets must be at or above the log's end,
    /// epochs never fall.
    pub fn append(
        &mut self,
        _now: Now,
        _log: LogNumber,
        _batch: &Bytes,
        _stamp: Stamp,
    ) -> Result<(), AppendRefused> {
        Err(AppendRefused::NoSpace)
    }

    /// Cuts a log to the batch boundary at or below `to`; appends may follow at once.
    pub fn truncate(&mut self, _now: Now, _log: LogNumber, _to: Offset) {}

    /// Moves the log start up; `StartMoved` follows when it is durable.
    pub fn set_log_start(&mut self, _now: Now, _log: LogNumber, _log_start: Offset) {}

    /// What the checkpoint keeps as high watermark, and below which retention may delete.
    pub fn set_high_watermark(&mut self, _log: LogNumber, _high_watermark: Offset) {}

    /// Reads whole batches from the one that holds `from`, none that begins at or above `up_to`, at most `max_bytes` (one
    /// batch at least with `min_one`).
    pub fn read(
        &mut self,
        _now: Now,
        _log: LogNumber,
        _from: Offset,
        _max_bytes: usize,
        _up_to: Offset,
        _min_one: bool,
    ) -> Read {
        Read::OutOfRange
    }

    /// The first record at or behind a timestamp (ms), below `up_to`.
    pub fn find_timestamp(
        &mut self,
        _now: Now,
        _log: LogNumber,
        _timestamp: i64,
        _up_to: Offset,
    ) -> Found {
        Found::None
    }

    /// Where an epoch ends: the start of the next larger one the log has, or the log end; with the largest epoch at or
    /// below the one asked for (KIP-101). `None` where the log has no epoch at or below it.
    pub fn epoch_end(&self, _log: LogNumber, _epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        None
    }

    /// The first offset that may be read; `None` for a log that is not open.
    pub fn log_start(&self, _log: LogNumber) -> Option<Offset> {
        None
    }

    /// The offset of the next append.
    pub fn log_end(&self, _log: LogNumber) -> Option<Offset> {
        None
    }

    /// The end of what survives a power cut.
    pub fn durable(&self, _log: LogNumber) -> Option<Offset> {
        None
    }

    /// Bytes of all segments of a log.
    pub fn log_bytes(&self, _log: LogNumber) -> Option<u64> {
        None
    }

    /// An operation has ended.
    pub fn done(&mut self, _now: Now, _done: DiskDone) {}

    /// The end of a ring turn: gathers windows, picks flushes, takes a due checkpoint.
    pub fn turn(&mut self, _now: Now, _settled: &mut SettledProducers<'_>) {}

    /// Flushes and checkpoints everything; `idle` tells when that is done. No append may follow.
    pub fn stop(&mut self, _now: Now) {}

    /// Whether nothing is in flight and nothing waits to be written.
    pub fn idle(&self) -> bool {
        true
    }

    /// When `turn` next wants to be called though nothing happens.
    pub fn deadline(&self) -> Option<Tick> {
        None
    }

    /// Moves the effects so far to the end of `into`, in order.
    pub fn drain(&mut self, into: &mut Vec<StoreEffect>) {
        into.append(&mut self.effects);
    }
}
