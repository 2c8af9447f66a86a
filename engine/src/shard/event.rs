//! The border between a shard's core and its shell: events in, effects out.
//!
//! Always: (1) the shell runs effects in the order in which they were given; (2) a completion is a later event, never an
//! answer of the call that asked for it; (3) after `Closed` no event names that connection again; (4) effects that name a
//! connection that is gone are ignored; (5) an operation on the disk completes exactly once.
//! The simulator runs the same core behind the same border.

use super::mail::Mail;
use bytes::Bytes;
use millstream_net::conn::{CloseReason, ConnId, ListenerIndex};
use millstream_storage::disk::{DiskDone, DiskOp, OpId};
use millstream_storage::ids::{Now, ShardIndex, Tick};
use std::net::SocketAddr;

/// What happened to a shard.
#[derive(Debug)]
pub enum ShardEvent {
    /// A connection was accepted.
    Opened {
        /// Its name.
        conn: ConnId,
        /// Where it came in: answers with an address take this listener's.
        listener: ListenerIndex,
        /// The other end.
        peer: SocketAddr,
    },
    /// A whole frame arrived: the bytes behind its length prefix.
    Frame {
        /// The connection.
        conn: ConnId,
        /// The request, in transport memory: it is charged to the shard until the last handle on it is dropped.
        bytes: Bytes,
    },
    /// Bytes were taken by the socket.
    Sent {
        /// The connection.
        conn: ConnId,
        /// How many since the last such event.
        bytes: usize,
    },
    /// A connection is gone, and the kernel holds none of its buffers.
    Closed {
        /// The connection.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
    /// A letter from another shard.
    Mail {
        /// The sender.
        from: ShardIndex,
        /// The letter.
        mail: Mail,
    },
    /// An operation on the disk ended.
    Disk(DiskDone),
    /// The node stops: listeners are closed already. The core answers what is in flight, makes its log clean and then
    /// gives `Stopped`.
    Stop,
}

/// What a core wants done.
#[derive(Debug)]
pub enum ShardEffect {
    /// Send the parts one behind the other, behind everything sent before. The length prefix is the core's.
    Send {
        /// The connection.
        conn: ConnId,
        /// The bytes.
        parts: Vec<Bytes>,
    },
    /// Send what was given before, then close. `Closed` follows.
    Close {
        /// The connection.
        conn: ConnId,
    },
    /// Take no more frames from a connection; frames on their way already may still arrive.
    Pause {
        /// The connection.
        conn: ConnId,
    },
    /// Take frames from it again.
    Resume {
        /// The connection.
        conn: ConnId,
    },
    /// Send a letter to another shard.
    Mail {
        /// The receiver.
        to: ShardIndex,
        /// The letter.
        mail: Mail,
    },
    /// Start an operation on the disk; `Disk` follows.
    Disk {
        /// The core's name for it.
        op: OpId,
        /// The operation.
        disk: DiskOp,
    },
    /// Something its operator should know.
    Note(String),
    /// The process must end: going on would break a promise.
    Fatal {
        /// Why.
        reason: FatalReason,
    },
    /// Everything asked by `Stop` is done; nothing is in flight.
    Stopped,
}

/// A dead end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FatalReason {
    /// A write or sync of the log failed; it is never retried.
    Disk(String),
    /// The metadata log cannot go on.
    Quorum(String),
    /// The shell cannot go on (its ring broke).
    Runtime(String),
}

/// Exit codes of a process that comes to a dead end, in the spirit of sysexits.h.
pub mod code {
    /// The kernel lacks something, or the runtime broke.
    pub const SYSTEM: u8 = 71;
    /// The disk failed.
    pub const DISK: u8 = 74;
    /// The metadata log failed.
    pub const QUORUM: u8 = 75;
}

impl FatalReason {
    /// The exit code that names the reason.
    pub fn exit_code(&self) -> u8 {
        match self {
            FatalReason::Disk(_) => code::DISK,
            FatalReason::Quorum(_) => code::QUORUM,
            FatalReason::Runtime(_) => code::SYSTEM,
        }
    }
}

impl std::fmt::Display for FatalReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FatalReason::Disk(what) => write!(f, "the disk failed: {what}"),
            FatalReason::Quorum(what) => write!(f, "the metadata log failed: {what}"),
            FatalReason::Runtime(what) => write!(f, "the shard's runtime failed: {what}"),
        }
    }
}

/// What the shell drives: one shard's decisions, without clock, socket or file.
pub trait ShardCore {
    /// Takes one event.
    fn step(&mut self, now: Now, event: ShardEvent, effects: &mut Vec<ShardEffect>);
    /// Called once behind the events of one turn of the ring, and when `deadline` has passed: what batches (windows,
    /// gathered answers, due timers) acts here.
    fn turn(&mut self, now: Now, effects: &mut Vec<ShardEffect>);
    /// When `turn` must be called next even if nothing happens.
    fn deadline(&self) -> Option<Tick>;
}
