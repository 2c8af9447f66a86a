//! The connections of a shard as its core sees them: the order of answers, bounds, and idleness.
//!
//! Always: (1) answers leave in the order of the requests, whatever the order in which they are given (rule C6); (2) a
//! connection above one of its bounds takes no more requests until it is well below all of them; (3) behind a `Close`
//! nothing is sent on that connection; (4) a connection that is gone swallows its answers.
//! Leaves to others: framing and sockets (`io`), what requests mean (the core).

use super::ids::ConnId;
use bytes::Bytes;
use std::collections::VecDeque;

/// While answers pile up at the shard, a peer may so long take nothing of its own.
const STALLED_READER_MS: u64 = 5_000;

/// What one connection may have under way, and all of them together.
#[derive(Clone, Copy, Debug)]
pub struct ConnLimits {
    /// Requests that are not answered yet, or whose answer waits for one before it.
    pub requests_max: usize,
    /// Bytes of those requests; one request alone may exceed it.
    pub request_bytes_max: usize,
    /// Bytes of answers that the socket has not taken. A reader that is slower than its requests is no longer listened to
    /// above this; the answers of the requests already taken still add up behind it.
    pub outgoing_bytes_max: usize,
    /// Bytes of answers that the sockets of all connections have not taken. Above this no answer is to be made that holds much, and
    /// readers that take nothing for `STALLED_READER_MS` are closed.
    pub shard_outgoing_bytes_max: usize,
    /// A connection on which nothing moved for so long is closed (`connections.max.idle.ms`).
    pub idle_ms: u64,
}

impl Default for ConnLimits {
    fn default() -> ConnLimits {
        ConnLimits {
            requests_max: 256,
            request_bytes_max: 16 * 1024 * 1024,
            outgoing_bytes_max: 4 * 1024 * 1024,
            shard_outgoing_bytes_max: 256 * 1024 * 1024,
            idle_ms: 600_000,
        }
    }
}

/// The place of one request in the order of its connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestSlot {
    /// The connection.
    pub conn: ConnId,
    /// The number of the request on it, from 0.
    pub number: u64,
}

/// What must be done with a socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConnEffect {
    /// Send behind everything sent before.
    Send {
        /// The connection.
        conn: ConnId,
        /// One behind the other.
        parts: Vec<Bytes>,
    },
    /// Close once everything is sent.
    Close {
        /// The connection.
        conn: ConnId,
    },
    /// Stop receiving.
    Pause {
        /// The connection.
        conn: ConnId,
    },
    /// Receive again.
    Resume {
        /// The connection.
        conn: ConnId,
    },
}

#[derive(Debug)]
enum Answer {
    Open,
    Parts(Vec<Bytes>),
    Silent,
    Close,
}

#[derive(Debug)]
struct Waiting {
    request_bytes: usize,
    answer: Answer,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reading {
    On,
    Paused,
    Closing,
}

#[derive(Debug)]
struct Connection {
    generation: u32,
    waiting: VecDeque<Waiting>,
    first_number: u64,
    request_bytes: usize,
    outgoing_bytes: usize,
    reading: Reading,
    moved_ms: u64,
    /// Since when it was seen to take nothing of its answers.
    stalled_since_ms: Option<u64>,
}

/// All connections of a shard.
#[derive(Debug)]
pub struct Connections {
    limits: ConnLimits,
    table: Vec<Option<Connection>>,
    count: usize,
    outgoing_bytes: usize,
    sweep_ms: Option<u64>,
}

impl Connections {
    /// No connections yet.
    pub fn new(limits: ConnLimits) -> Connections {
        Connections {
            limits,
            table: Vec::new(),
            count: 0,
            outgoing_bytes: 0,
            sweep_ms: None,
        }
    }

    /// A connection began.
    pub fn opened(&mut self, now_ms: u64, conn: ConnId) {
        let at = conn.slot as usize;
        if self.table.len() <= at {
            self.table.resize_with(at + 1, || None);
        }
        assert!(
            self.table[at].is_none(),
            "a slot is used again only after its connection closed"
        );
        self.table[at] = Some(Connection {
            generation: conn.generation,
            waiting: VecDeque::new(),
            first_number: 0,
            request_bytes: 0,
            outgoing_bytes: 0,
            reading: Reading::On,
            moved_ms: now_ms,
            stalled_since_ms: None,
        });
        self.count += 1;
        self.sweep_ms
            .get_or_insert(now_ms.saturating_add(self.limits.idle_ms));
    }

    /// A connection is gone.
    pub fn closed(&mut self, conn: ConnId) {
        if let Some(connection) = self.connection(conn) {
            let outgoing_bytes = connection.outgoing_bytes;
            self.outgoing_bytes -= outgoing_bytes;
            self.table[conn.slot as usize] = None;
            self.count -= 1;
        }
        if self.count == 0 {
            self.sweep_ms = None;
        }
    }

    /// A request arrived: gives it its place, or `None` where the connection is closing and takes no more.
    pub fn request(
        &mut self,
        now_ms: u64,
        conn: ConnId,
        request_bytes: usize,
        effects: &mut Vec<ConnEffect>,
    ) -> Option<RequestSlot> {
        let limits = self.limits;
        let connection = self.connection(conn)?;
        if connection.reading == Reading::Closing {
            return None;
        }
        let number = connection.first_number + connection.waiting.len() as u64;
        connection.waiting.push_back(Waiting {
            request_bytes,
            answer: Answer::Open,
        });
        connection.request_bytes += request_bytes;
        connection.moved_ms = now_ms;
        connection.bound(conn, &limits, effects);
        Some(RequestSlot { conn, number })
    }

    /// A request takes more memory than it arrived with; that much it weighs until it is answered.
    pub fn charge(&mut self, slot: RequestSlot, bytes: usize, effects: &mut Vec<ConnEffect>) {
        let limits = self.limits;
        let Some(connection) = self.connection(slot.conn).filter(|_| bytes > 0) else {
            return;
        };
        let index = slot.number.wrapping_sub(connection.first_number);
        if let Some(waiting) = connection.waiting.get_mut(index as usize) {
            waiting.request_bytes += bytes;
            connection.request_bytes += bytes;
            connection.bound(slot.conn, &limits, effects);
        }
    }

    /// The answer of a request; it leaves when all before it have left.
    pub fn answer(&mut self, slot: RequestSlot, parts: Vec<Bytes>, effects: &mut Vec<ConnEffect>) {
        self.settle(slot, Answer::Parts(parts), effects);
    }

    /// The request has no answer (acks=0).
    pub fn no_answer(&mut self, slot: RequestSlot, effects: &mut Vec<ConnEffect>) {
        self.settle(slot, Answer::Silent, effects);
    }

    /// The connection ends in place of this answer: those before it still leave (rule C5).
    pub fn close_at(&mut self, slot: RequestSlot, effects: &mut Vec<ConnEffect>) {
        self.settle(slot, Answer::Close, effects);
    }

    /// The socket took bytes.
    pub fn sent(&mut self, now_ms: u64, conn: ConnId, bytes: usize, effects: &mut Vec<ConnEffect>) {
        let limits = self.limits;
        if let Some(connection) = self.connection(conn) {
            assert!(
                bytes <= connection.outgoing_bytes,
                "more was sent than was given"
            );
            connection.outgoing_bytes -= bytes;
            connection.moved_ms = now_ms;
            connection.stalled_since_ms = None;
            connection.bound(conn, &limits, effects);
            self.outgoing_bytes -= bytes;
        }
    }

    /// Closes what was idle too long; to be called when `deadline_ms` has passed.
    pub fn sweep(&mut self, now_ms: u64, effects: &mut Vec<ConnEffect>) {
        let crowded = self.is_crowded();
        if crowded {
            let soon = now_ms + 1000;
            self.sweep_ms = self.sweep_ms.map(|at| at.min(soon));
        }
        if self.sweep_ms.is_none_or(|at| now_ms < at) {
            return;
        }
        let mut next_ms = now_ms.saturating_add(self.limits.idle_ms);
        for (slot, entry) in self.table.iter_mut().enumerate() {
            let Some(connection) = entry else { continue };
            let due_ms = connection.moved_ms.saturating_add(self.limits.idle_ms);
            let stalled = crowded && connection.has_stalled(now_ms);
            if due_ms > now_ms && !stalled {
                next_ms = next_ms.min(due_ms);
            } else if connection.is_stuck() && connection.reading != Reading::Closing {
                connection.reading = Reading::Closing;
                connection.waiting.clear();
                effects.push(ConnEffect::Close {
                    conn: ConnId {
                        slot: slot as u32,
                        generation: connection.generation,
                    },
                });
            }
        }
        // BOUND: one walk over all connections per second at the most.
        self.sweep_ms = (self.count > 0).then_some(next_ms.max(now_ms + 1000));
    }

    /// Whether peers have left so much untaken that no large answer is to be made now.
    pub fn is_crowded(&self) -> bool {
        self.outgoing_bytes >= self.limits.shard_outgoing_bytes_max
    }

    /// Bytes of answers of one connection that its socket has not taken.
    pub fn outgoing_bytes(&self, conn: ConnId) -> usize {
        let connection = self.table.get(conn.slot as usize).and_then(Option::as_ref);
        let connection = connection.filter(|one| one.generation == conn.generation);
        connection.map_or(0, |one| one.outgoing_bytes)
    }

    /// When `sweep` is due.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.sweep_ms
    }

    /// How many connections there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How many requests of all connections are not answered.
    pub fn requests_in_flight(&self) -> usize {
        self.table
            .iter()
            .flatten()
            .map(|connection| connection.waiting.len())
            .sum()
    }

    /// Whether a connection is there and not closing.
    pub fn is_open(&self, conn: ConnId) -> bool {
        matches!(
            self.table.get(conn.slot as usize),
            Some(Some(connection))
                if connection.generation == conn.generation
                    && connection.reading != Reading::Closing
        )
    }

    /// Closes every connection that has nothing under way, and the others once they have: for a node that stops.
    pub fn close_all(&mut self, effects: &mut Vec<ConnEffect>) {
        for (slot, entry) in self.table.iter_mut().enumerate() {
            let Some(connection) = entry else { continue };
            let conn = ConnId {
                slot: slot as u32,
                generation: connection.generation,
            };
            if connection.reading == Reading::Closing {
                continue;
            }
            connection.waiting.push_back(Waiting {
                request_bytes: 0,
                answer: Answer::Close,
            });
            connection.reading = Reading::Closing;
            connection.drain(conn, effects);
        }
    }

    fn settle(&mut self, slot: RequestSlot, answer: Answer, effects: &mut Vec<ConnEffect>) {
        let limits = self.limits;
        let Some(connection) = self.connection(slot.conn) else {
            return;
        };
        let index = slot.number.wrapping_sub(connection.first_number);
        let Some(waiting) = connection.waiting.get_mut(index as usize) else {
            assert!(
                connection.reading == Reading::Closing,
                "a request that arrived is answered once"
            );
            return;
        };
        assert!(
            matches!(waiting.answer, Answer::Open),
            "a request is answered once"
        );
        let mut bytes = 0;
        if let Answer::Parts(parts) = &answer {
            bytes = parts.iter().map(Bytes::len).sum::<usize>();
            connection.outgoing_bytes += bytes;
        }
        waiting.answer = answer;
        if index == 0 {
            connection.drain(slot.conn, effects);
        }
        connection.bound(slot.conn, &limits, effects);
        self.outgoing_bytes += bytes;
    }

    fn connection(&mut self, conn: ConnId) -> Option<&mut Connection> {
        self.table
            .get_mut(conn.slot as usize)?
            .as_mut()
            .filter(|connection| connection.generation == conn.generation)
    }
}

impl Connection {
    /// Sends the answers that have none before them.
    fn drain(&mut self, conn: ConnId, effects: &mut Vec<ConnEffect>) {
        let mut out: Vec<Bytes> = Vec::new();
        let mut ends = false;
        while let Some(front) = self.waiting.front_mut() {
            match std::mem::replace(&mut front.answer, Answer::Open) {
                Answer::Open => break,
                Answer::Parts(parts) if out.is_empty() => out = parts,
                Answer::Parts(parts) => out.extend(parts),
                Answer::Silent => {}
                Answer::Close => ends = true,
            }
            self.request_bytes -= front.request_bytes;
            self.first_number += 1;
            self.waiting.pop_front();
            if ends {
                break;
            }
        }
        if !out.is_empty() {
            effects.push(ConnEffect::Send { conn, parts: out });
        }
        if ends {
            self.reading = Reading::Closing;
            self.waiting.clear();
            effects.push(ConnEffect::Close { conn });
        }
    }

    /// Stops or resumes reading by the bounds; resumes only below three quarters of them, so that it does not flutter.
    fn bound(&mut self, conn: ConnId, limits: &ConnLimits, effects: &mut Vec<ConnEffect>) {
        let above = |share: usize, whole: usize| {
            let part = |max: usize| max / whole * share + max % whole * share / whole;
            self.waiting.len() >= part(limits.requests_max).max(1)
                || self.request_bytes >= part(limits.request_bytes_max).max(1)
                || self.outgoing_bytes >= part(limits.outgoing_bytes_max).max(1)
        };
        match self.reading {
            Reading::On if above(1, 1) => {
                self.reading = Reading::Paused;
                effects.push(ConnEffect::Pause { conn });
            }
            Reading::Paused if !above(3, 4) => {
                self.reading = Reading::On;
                effects.push(ConnEffect::Resume { conn });
            }
            _ => {}
        }
    }

    /// Whether it has taken nothing of its answers since it was first asked.
    fn has_stalled(&mut self, now_ms: u64) -> bool {
        if self.outgoing_bytes == 0 {
            return false;
        }
        let since_ms = *self.stalled_since_ms.get_or_insert(now_ms);
        now_ms >= since_ms + STALLED_READER_MS
    }

    /// Whether it is the peer that moves nothing: no request is under way, or the peer does not take its answers.
    fn is_stuck(&self) -> bool {
        self.waiting.is_empty() || self.outgoing_bytes > 0
    }
}
