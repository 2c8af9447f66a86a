//! The sockets of one shard on its ring: listeners, connections, and the buffers the kernel holds of them.
//!
//! Lives on one shard's core; its view is the shard. It makes submissions and takes completions, and never touches the
//! ring itself.
//!
//! Always: (1) memory is bounded: connections by `SocketLimits::connections_max`, received bytes by the transport budget
//! and one frame above it, what is sent by the core (`conn::Connections`); (2) when the budget is full only frames under
//! way go on, few at a time, and those that come slowly are closed, so that the budget always empties; (3) every connection that was `Opened` is
//! `Closed` exactly once, after its last completion.
//! Leaves to others: which connection may send what (`conn`), the ring (`engine::shard`).

use super::listen::BACKLOG;
use super::pool::Pool;
use super::socket::{Life, Receive, Socket};
use super::tag::{Kind, SLOTS_MAX, decode, encode};
use crate::conn::{CloseReason, ConnId, Framer, ListenerIndex, Traffic, Transport};
use bytes::Bytes;
use io_uring::{Submitter, cqueue, opcode, squeue, types};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A frame that began and does not go on for so long ends its connection.
const STALLED_FRAME_MS: u64 = 30_000;
/// Bytes that frames under way may still need to go on side by side while the budget is full; one alone may need more.
const FAVOURED_BYTES_MAX: usize = 1 << 20;
/// A connection that is to close may take so long to send what is left.
const FLUSH_MS: u64 = 5_000;
/// How often frames under way are looked at.
const SWEEP_MS: u64 = 1_000;
/// How soon a full budget is looked at again; what empties it may happen on another shard.
const STARVED_MS: u64 = 2;
/// How long accepting rests after it failed (no descriptors left, for instance).
const ACCEPT_REST_MS: u64 = 100;
/// With room for no more than so many connections they are accepted one by one: the kernel may accept a whole backlog at once
/// for one request, and every connection has a descriptor from then on.
const ACCEPT_MANY_ROOM: usize = 2 * BACKLOG as usize;

/// The bounds of a shard's sockets.
#[derive(Clone, Copy, Debug)]
pub struct SocketLimits {
    /// Connections at a time; one more is accepted and closed at once.
    pub connections_max: usize,
    /// The largest frame (`socket.request.max.bytes`).
    pub frame_bytes_max: usize,
}

impl Default for SocketLimits {
    fn default() -> SocketLimits {
        SocketLimits {
            connections_max: 16 * 1024,
            frame_bytes_max: 104_857_600,
        }
    }
}

/// What happened on the sockets.
#[derive(Debug)]
pub enum SocketEvent {
    /// A connection above the bound was accepted and closed at once.
    Refused,
    /// A connection was accepted.
    Opened {
        /// Its name.
        conn: ConnId,
        /// Where.
        listener: ListenerIndex,
        /// The other end.
        peer: SocketAddr,
    },
    /// A whole frame, without its prefix.
    Frame {
        /// The connection.
        conn: ConnId,
        /// The frame.
        bytes: Bytes,
    },
    /// The socket took bytes.
    Sent {
        /// The connection.
        conn: ConnId,
        /// How many.
        bytes: usize,
    },
    /// The connection is gone.
    Closed {
        /// The connection.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
}

struct Listener {
    socket: OwnedFd,
    index: ListenerIndex,
    accepting: bool,
}

/// A place in the table of connections.
#[derive(Default)]
struct Slot {
    generation: u32,
    socket: Option<Box<Socket>>,
}

/// The sockets of one shard.
pub struct Sockets {
    limits: SocketLimits,
    transport: Transport,
    listeners: Vec<Listener>,
    stopping: bool,
    accept_at_ms: Option<u64>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    count: usize,
    listed: Vec<u32>,
    submissions: Vec<squeue::Entry>,
    frames: Vec<Bytes>,
    starved: bool,
    /// The connections that may go on although the budget is full.
    favoured: Vec<u32>,
    sweep_at_ms: Option<u64>,
    pool: Pool,
}

impl Sockets {
    /// Takes listening sockets, and registers the shared receive buffers with the ring. The ring must be closed, or
    /// everything in flight on it must have ended, before this is dropped.
    pub fn new(
        submitter: &Submitter<'_>,
        limits: SocketLimits,
        transport: Transport,
        listeners: Vec<(ListenerIndex, OwnedFd)>,
    ) -> io::Result<Sockets> {
        assert!(limits.connections_max <= SLOTS_MAX);
        let listener = |(index, socket)| Listener {
            socket,
            index,
            accepting: false,
        };
        Ok(Sockets {
            limits,
            transport,
            listeners: listeners.into_iter().map(listener).collect(),
            stopping: false,
            accept_at_ms: Some(0),
            slots: Vec::new(),
            free: Vec::new(),
            count: 0,
            listed: Vec::new(),
            submissions: Vec::new(),
            frames: Vec::new(),
            starved: false,
            favoured: Vec::new(),
            sweep_at_ms: None,
            pool: Pool::new(submitter)?,
        })
    }

    /// Sends the parts behind everything sent before.
    pub fn send(&mut self, conn: ConnId, parts: Vec<Bytes>) {
        if let Some(socket) = self.socket(conn)
            && socket.life == Life::Open
        {
            socket.outgoing.push(parts);
            self.list(conn.slot);
        }
    }

    /// Closes once everything given before is sent, or after `FLUSH_MS`.
    pub fn close(&mut self, now_ms: u64, conn: ConnId) {
        if let Some(socket) = self.socket(conn)
            && socket.life == Life::Open
        {
            socket.life = Life::Flushing { since_ms: now_ms };
            socket.reason = CloseReason::Asked;
            self.list(conn.slot);
            self.sweep_soon(now_ms);
        }
    }

    /// Takes no more frames; a few that are on their way may still come.
    pub fn pause(&mut self, conn: ConnId) {
        if let Some(socket) = self.socket(conn) {
            socket.paused = true;
            let cancel = socket.end_multishot();
            self.submissions.extend(cancel);
        }
    }

    /// Takes frames again.
    pub fn resume(&mut self, now_ms: u64, conn: ConnId) {
        if let Some(socket) = self.socket(conn) {
            socket.paused = false;
            socket.framer.resumed(now_ms);
            self.list(conn.slot);
        }
    }

    /// Accepts no more; the listening sockets close when the kernel has let go of them.
    pub fn stop_listening(&mut self) {
        self.stopping = true;
        self.accept_at_ms = None;
        if self.listeners.iter().all(|listener| !listener.accepting) {
            self.listeners.clear();
        }
        self.cancel_accepting();
    }

    /// Closes all connections, each once everything given before is sent.
    pub fn close_all(&mut self, now_ms: u64) {
        for slot in 0..self.slots.len() as u32 {
            if let Some(socket) = self.slots[slot as usize].socket.as_deref_mut()
                && socket.life == Life::Open
            {
                socket.life = Life::Flushing { since_ms: now_ms };
                socket.reason = CloseReason::Stopping;
                self.list(slot);
            }
        }
        self.sweep_soon(now_ms);
    }

    /// Whether the kernel holds nothing: no connection, no accept in flight.
    pub fn is_quiet(&self) -> bool {
        self.count == 0 && self.listeners.iter().all(|listener| !listener.accepting)
    }

    /// Connections.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Takes a completion with our class in its `user_data`.
    pub fn complete(&mut self, now_ms: u64, entry: &cqueue::Entry, events: &mut Vec<SocketEvent>) {
        let Some((kind, slot)) = decode(entry.user_data()) else {
            panic!(
                "a completion that was never asked for: {:#x}",
                entry.user_data()
            );
        };
        match kind {
            Kind::Accept => self.accepted(now_ms, slot, entry, events),
            Kind::ReceiveMany | Kind::ReceiveShared | Kind::ReceiveDirect => {
                self.received(now_ms, slot, entry, events)
            }
            Kind::Send => self.sent(slot, entry.result(), events),
            Kind::Cancel => {}
        }
    }

    /// Ends a turn: what must be sent, received, accepted or closed by now is handed to `submit`.
    pub fn flush(
        &mut self,
        now_ms: u64,
        events: &mut Vec<SocketEvent>,
        mut submit: impl FnMut(&squeue::Entry),
    ) {
        self.accept(now_ms);
        self.budget(now_ms);
        if self.sweep_at_ms.is_some_and(|at| at <= now_ms) {
            self.sweep(now_ms);
        }
        while let Some(slot) = self.listed.pop() {
            self.tend(slot, events);
        }
        self.submissions.drain(..).for_each(|entry| submit(&entry));
    }

    /// When `flush` must be called next even if nothing completes.
    pub fn deadline_ms(&self, now_ms: u64) -> Option<u64> {
        let starved = self.starved.then_some(now_ms + STARVED_MS);
        [self.accept_at_ms, self.sweep_at_ms, starved]
            .into_iter()
            .flatten()
            .min()
    }

    fn accept(&mut self, now_ms: u64) {
        if self.accept_at_ms.is_none_or(|at| at > now_ms) {
            return;
        }
        self.accept_at_ms = None;
        let many = self.accepts_many();
        for (at, listener) in self.listeners.iter_mut().enumerate() {
            if !listener.accepting {
                listener.accepting = true;
                let fd = types::Fd(listener.socket.as_raw_fd());
                let accept = match many {
                    true => opcode::AcceptMulti::new(fd)
                        .flags(libc::SOCK_CLOEXEC)
                        .build(),
                    false => opcode::Accept::new(fd, std::ptr::null_mut(), std::ptr::null_mut())
                        .flags(libc::SOCK_CLOEXEC)
                        .build(),
                };
                let tag = encode(Kind::Accept, at as u32, 0);
                self.submissions.push(accept.user_data(tag));
            }
        }
    }

    /// Whether a backlog that is accepted at once stays within the bound of connections.
    fn accepts_many(&self) -> bool {
        self.count + ACCEPT_MANY_ROOM <= self.limits.connections_max
    }

    /// What is accepted many at a time ends; one by one they are accepted from then on.
    fn cancel_accepting(&mut self) {
        for (at, listener) in self.listeners.iter().enumerate() {
            if listener.accepting {
                let accept = encode(Kind::Accept, at as u32, 0);
                let cancel = opcode::AsyncCancel::new(accept).build();
                let tag = encode(Kind::Cancel, at as u32, 0);
                self.submissions
                    .push(cancel.flags(squeue::Flags::SKIP_SUCCESS).user_data(tag));
            }
        }
    }

    fn accepted(
        &mut self,
        now_ms: u64,
        at: u32,
        entry: &cqueue::Entry,
        events: &mut Vec<SocketEvent>,
    ) {
        let listener = &mut self.listeners[at as usize];
        let index = listener.index;
        if !cqueue::more(entry.flags()) {
            listener.accepting = false;
            if !self.stopping {
                let failed = entry.result() < 0 && entry.result() != -libc::ECANCELED;
                let rest_ms = if failed { ACCEPT_REST_MS } else { 0 };
                self.accept_at_ms = Some(now_ms + rest_ms);
            } else if self.listeners.iter().all(|listener| !listener.accepting) {
                self.listeners.clear();
            }
        }
        if entry.result() < 0 {
            return;
        }
        // SAFETY: the completion gives us a descriptor that nobody else knows.
        let stream = unsafe { TcpStream::from_raw_fd(entry.result()) };
        if self.stopping {
            return;
        }
        if self.count >= self.limits.connections_max {
            events.push(SocketEvent::Refused);
            return;
        }
        // A peer that is gone again has no address.
        let (Ok(peer), Ok(())) = (stream.peer_addr(), stream.set_nodelay(true)) else {
            return;
        };
        let many = self.accepts_many();
        let conn = self.open(stream);
        if many && !self.accepts_many() {
            self.cancel_accepting();
        }
        events.push(SocketEvent::Opened {
            conn,
            listener: index,
            peer,
        });
    }

    fn open(&mut self, stream: TcpStream) -> ConnId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        let place = &mut self.slots[slot as usize];
        let conn = ConnId {
            slot,
            generation: place.generation,
        };
        let framer = Framer::new(self.transport.clone(), self.limits.frame_bytes_max);
        place.socket = Some(Box::new(Socket::new(conn, stream, framer)));
        self.count += 1;
        self.list(slot);
        conn
    }

    fn received(
        &mut self,
        now_ms: u64,
        slot: u32,
        entry: &cqueue::Entry,
        events: &mut Vec<SocketEvent>,
    ) {
        let socket = self.slots[slot as usize]
            .socket
            .as_deref_mut()
            .expect("a slot keeps its socket until the last completion");
        let result = entry.result();
        let count = result.max(0) as usize;
        let lent = if cqueue::more(entry.flags()) {
            None
        } else {
            match std::mem::replace(&mut socket.receive, Receive::None) {
                Receive::Direct(loan) => Some(loan),
                _ => None,
            }
        };
        let mut refused = false;
        if let Some(loan) = lent {
            // SAFETY: the kernel has written so many bytes at the loan's target.
            let taken = unsafe {
                socket
                    .framer
                    .give_back(now_ms, loan, count, &mut self.frames)
            };
            refused = taken.is_err();
        }
        if let Some(buffer) = cqueue::buffer_select(entry.flags()) {
            if socket.life == Life::Open && count > 0 {
                let data = self.pool.bytes(buffer, count);
                refused = socket.framer.take(now_ms, data, &mut self.frames).is_err();
            }
            self.pool.give_back(buffer);
        }
        let open = socket.life == Life::Open;
        let conn = socket.conn;
        if refused {
            socket.shut(CloseReason::FrameLength);
        } else if count == 0 && ![-libc::ENOBUFS, -libc::ECANCELED, -libc::EINTR].contains(&result)
        {
            socket.shut(CloseReason::Peer);
        } else if socket.framer.traffic() == Traffic::Bulk || socket.framer.expects_direct() {
            let cancel = socket.end_multishot();
            self.submissions.extend(cancel);
        }
        let under_way = socket.framer.waiting_since_ms().is_some();
        if open {
            let frame = |bytes| SocketEvent::Frame { conn, bytes };
            events.extend(self.frames.drain(..).map(frame));
        } else {
            self.frames.clear();
        }
        if under_way {
            self.sweep_soon(now_ms);
        }
        self.list(slot);
    }

    fn sent(&mut self, slot: u32, result: i32, events: &mut Vec<SocketEvent>) {
        let socket = self.slots[slot as usize]
            .socket
            .as_deref_mut()
            .expect("a slot keeps its socket until the last completion");
        let count = result.max(0) as usize;
        socket.outgoing.sent(count);
        if result < 0 && result != -libc::EINTR && result != -libc::EAGAIN {
            socket.shut(CloseReason::Peer);
        } else if socket.life != Life::Shut && count > 0 {
            events.push(SocketEvent::Sent {
                conn: socket.conn,
                bytes: count,
            });
        }
        self.list(slot);
    }

    /// Does what one socket needs before the turn ends.
    fn tend(&mut self, slot: u32, events: &mut Vec<SocketEvent>) {
        let Some(socket) = self.slots[slot as usize].socket.as_deref_mut() else {
            return;
        };
        socket.listed = false;
        if matches!(socket.life, Life::Flushing { .. }) && socket.outgoing.is_empty() {
            let reason = socket.reason;
            socket.shut(reason);
        }
        if socket.life == Life::Shut {
            if socket.is_quiet() {
                self.release(slot, events);
            }
            return;
        }
        let send = socket.send();
        self.submissions.extend(send);
        let wanted = socket.life == Life::Open && !socket.paused;
        let may_receive = !self.starved || self.favoured.contains(&slot);
        if matches!(socket.receive, Receive::None) && wanted && may_receive {
            let receive = socket.receive();
            self.submissions.push(receive);
        }
    }

    fn release(&mut self, slot: u32, events: &mut Vec<SocketEvent>) {
        let place = &mut self.slots[slot as usize];
        let Some(socket) = place.socket.take() else {
            return;
        };
        events.push(SocketEvent::Closed {
            conn: socket.conn,
            reason: socket.reason,
        });
        self.count -= 1;
        self.favoured.retain(|favoured| *favoured != slot);
        // BOUND: a slot whose generations are used up stays empty.
        if let Some(generation) = place.generation.checked_add(1) {
            place.generation = generation;
            self.free.push(slot);
        }
    }

    /// Stops receiving while the transport budget is full, but for a few frames under way at a time.
    fn budget(&mut self, now_ms: u64) {
        let full = self.transport.is_full();
        if full && !self.starved {
            self.shut_slow(now_ms);
            self.starved = true;
            for place in &mut self.slots {
                if let Some(socket) = place.socket.as_deref_mut() {
                    self.submissions.extend(socket.end_multishot());
                }
            }
            self.sweep_soon(now_ms);
        }
        if self.starved && self.transport.is_roomy() {
            self.starved = false;
            self.favoured.clear();
            for slot in 0..self.slots.len() as u32 {
                if let Some(socket) = self.slots[slot as usize].socket.as_deref_mut() {
                    socket.framer.resumed(now_ms);
                    self.list(slot);
                }
            }
        }
        if self.starved {
            self.favour(now_ms);
        }
    }

    /// Chooses whose frames go on although the budget is full: as many as need little, or one.
    fn favour(&mut self, now_ms: u64) {
        let under_way = |slot: u32, slots: &[Slot]| {
            let socket = slots[slot as usize].socket.as_deref();
            socket.is_some_and(|socket| {
                socket.life == Life::Open
                    && !socket.paused
                    && socket.framer.waiting_since_ms().is_some()
            })
        };
        self.favoured.retain(|slot| under_way(*slot, &self.slots));
        if !self.favoured.is_empty() {
            return;
        }
        let mut left_bytes = FAVOURED_BYTES_MAX;
        for slot in 0..self.slots.len() as u32 {
            if !under_way(slot, &self.slots) {
                continue;
            }
            let Some(socket) = self.slots[slot as usize].socket.as_deref_mut() else {
                continue;
            };
            let rest_bytes = socket.framer.rest_bytes().unwrap_or(usize::MAX);
            if rest_bytes > left_bytes && !self.favoured.is_empty() {
                continue;
            }
            left_bytes = left_bytes.saturating_sub(rest_bytes);
            if !socket.is_receiving() {
                socket.framer.resumed(now_ms);
            }
            self.favoured.push(slot);
            self.list(slot);
            if left_bytes == 0 {
                break;
            }
        }
    }

    /// Memory is short: ends the connections whose frame comes slowly although we receive.
    fn shut_slow(&mut self, now_ms: u64) {
        for slot in 0..self.slots.len() as u32 {
            let Some(socket) = self.slots[slot as usize].socket.as_deref_mut() else {
                continue;
            };
            if socket.life == Life::Open
                && !socket.paused
                && socket.is_receiving()
                && socket.framer.is_slow(now_ms)
            {
                socket.shut(CloseReason::StalledFrame);
                self.list(slot);
            }
        }
    }

    /// Ends connections whose frame stalls, or that take too long to close.
    fn sweep(&mut self, now_ms: u64) {
        self.sweep_at_ms = None;
        let mut again = self.starved;
        if self.starved {
            self.shut_slow(now_ms);
        }
        for slot in 0..self.slots.len() as u32 {
            let Some(socket) = self.slots[slot as usize].socket.as_deref_mut() else {
                continue;
            };
            let held_back = socket.paused || !socket.is_receiving();
            let verdict = match socket.life {
                Life::Flushing { since_ms } if now_ms >= since_ms + FLUSH_MS => {
                    Some(CloseReason::StalledReader)
                }
                Life::Open if !held_back => socket
                    .framer
                    .waiting_since_ms()
                    .filter(|since_ms| now_ms >= since_ms + STALLED_FRAME_MS)
                    .map(|_| CloseReason::StalledFrame),
                _ => None,
            };
            again |= matches!(socket.life, Life::Flushing { .. })
                || socket.framer.waiting_since_ms().is_some();
            if let Some(reason) = verdict {
                socket.shut(reason);
                self.list(slot);
            }
        }
        if again {
            self.sweep_soon(now_ms);
        }
    }

    fn sweep_soon(&mut self, now_ms: u64) {
        self.sweep_at_ms.get_or_insert(now_ms + SWEEP_MS);
    }

    fn list(&mut self, slot: u32) {
        if let Some(socket) = self.slots[slot as usize].socket.as_deref_mut()
            && !socket.listed
        {
            socket.listed = true;
            self.listed.push(slot);
        }
    }

    fn socket(&mut self, conn: ConnId) -> Option<&mut Socket> {
        self.slots
            .get_mut(conn.slot as usize)?
            .socket
            .as_deref_mut()
            .filter(|socket| socket.conn == conn)
    }
}
