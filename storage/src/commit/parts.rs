//! The parts of `Commit` that belong together: windows, marks that are owed, flushes under pressure, shared syncs, checkpoints.
//!
//! Leaves to others: everything that decides (`machine`, `gather`, `flush`, `pace`).

use super::ring::UseId;
use super::types::{LogSlot, Planned};
use crate::format::WindowAt;
use crate::ids::Tick;
use std::collections::VecDeque;

/// A window between planning and the moment its effects are due.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) sequence: u64,
    pub(super) done: bool,
    /// The logs' rounds when it was planned ride along: a truncation since then makes an append's effect void.
    pub(super) entries: Vec<(LogSlot, u32, Planned)>,
}

/// How far a checkpoint is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CheckpointStage {
    Idle,
    /// Due: no window leaves until those in flight are synced.
    Draining,
    Writing {
        sequence: u64,
        from: WindowAt,
    },
}

/// Windows on their way, and when the next one is due.
#[derive(Debug)]
pub(super) struct Windows {
    pub(super) in_flight: VecDeque<InFlight>,
    pub(super) known_synced: u64,
    /// The last window holds more than vouching for the one before.
    pub(super) vouch_owed: bool,
    pub(super) last_at: Tick,
    /// The oldest bytes that wait for a window came then.
    pub(super) dirty_since: Option<Tick>,
    /// A window is due and cannot leave before something completes.
    pub(super) waits: bool,
}

/// Logs whose synced end the journal does not know.
#[derive(Debug, Default)]
pub(super) struct Unmarked {
    pub(super) logs: VecDeque<LogSlot>,
    pub(super) bytes: u64,
    pub(super) since: Option<Tick>,
}

/// Flushes that something waits for: a journal file, memory, a stop.
#[derive(Debug)]
pub(super) struct Pressure {
    /// Those that come next.
    pub(super) logs: VecDeque<LogSlot>,
    /// Up to this journal file logs are chosen.
    pub(super) until: Option<UseId>,
    /// Extents of bytes that are in the journal too.
    pub(super) flights: usize,
    /// When logs may be chosen again.
    pub(super) at: Tick,
    pub(super) memory_short: bool,
}

/// Extents that are synced together.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) written: Vec<LogSlot>,
    /// When the first of them was written.
    pub(super) since: Tick,
    pub(super) syncing: Vec<LogSlot>,
}

/// The checkpoint that is taken, and what makes the next one due.
#[derive(Debug)]
pub(super) struct Checkpoints {
    pub(super) stage: CheckpointStage,
    pub(super) newest: u64,
    /// No restart reads windows below this: R of the newest checkpoint taken.
    pub(super) read_from: u64,
    /// When the last one was taken.
    pub(super) at: Tick,
    /// None before this: the last one found no space.
    pub(super) retry_at: Tick,
    /// Something is different from what the newest says.
    pub(super) changed: bool,
    /// What was flushed since.
    pub(super) synced_bytes: u64,
}
