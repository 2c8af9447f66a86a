//! What a connection is for.

use crate::load::link::Link;
use crate::load::producer::Producer;
use crate::load::reader::Reader;
use crate::load::transaction::Transaction;

/// A link and its part in the load.
pub(super) struct Connection {
    pub link: Link,
    pub role: Role,
}

pub(super) enum Role {
    Produces(Producing),
    Reads(Reading),
    Attends(Attending),
    Transacts(Transacting),
}

/// Carries streams of batches to one broker.
pub(super) struct Producing {
    pub producer: Producer,
    /// Its streams, as indices into those of the thread.
    pub streams: Vec<u32>,
    /// Their cumulated weights.
    pub weights: Vec<f64>,
    pub turn: usize,
    pub transaction: Option<Transaction>,
    /// Nothing is sent before this: the broker said that it cannot take it now.
    pub hold_until_ns: u64,
}

/// Reads partitions from one broker.
pub(super) struct Reading {
    pub reader: Reader,
    /// The reader of all partitions that it is part of.
    pub of: usize,
    pub timed: bool,
    /// Whether a member of a group says what it reads.
    pub of_member: bool,
    /// Bytes of a request that are to be sent.
    pub request: Vec<u8>,
    /// Nothing is asked before this.
    pub hold_until_ns: u64,
}

/// Speaks for a member with the coordinator of its group.
pub(super) struct Attending {
    pub group: usize,
    pub seat: usize,
    /// Bytes of a request that are to be sent.
    pub request: Vec<u8>,
}

/// Asks the coordinator of a lane's transactions.
pub(super) struct Transacting {
    /// The connection that carries the batches.
    pub lane: usize,
    /// Bytes of a request that are to be sent.
    pub request: Vec<u8>,
}

impl Connection {
    /// Whether it has anything to do: one that has not is not opened again.
    pub fn is_needed(&self) -> bool {
        match &self.role {
            Role::Produces(producing) => {
                !producing.streams.is_empty() || producing.producer.in_flight() > 0
            }
            Role::Reads(reading) => reading.reader.has_places(),
            Role::Attends(_) | Role::Transacts(_) => true,
        }
    }

    pub fn producing(&mut self) -> Option<&mut Producing> {
        match &mut self.role {
            Role::Produces(producing) => Some(producing),
            _ => None,
        }
    }
}
