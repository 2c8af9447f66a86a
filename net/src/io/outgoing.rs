//! What one socket still has to send, and the send in flight.
//!
//! Always: (1) one send is in flight at the most, so that bytes keep their order; (2) what it sends, and the vectors that
//! describe it, stay in place until it completes.

use bytes::{Buf, Bytes};
use io_uring::{opcode, squeue, types};
use std::collections::VecDeque;
use std::os::fd::RawFd;

/// Parts of one send. BOUND: below the kernel's 1024; more parts go into the next send.
const VECTORS_MAX: usize = 128;
/// Vectors kept for the next send; more are given back, so that idle connections are small.
const VECTORS_KEPT: usize = 16;

/// The queue of one socket.
#[derive(Default)]
pub(super) struct Outgoing {
    parts: VecDeque<Bytes>,
    vectors: Vec<libc::iovec>,
    header: Option<Box<libc::msghdr>>,
    in_flight: bool,
}

impl Outgoing {
    /// Appends.
    pub(super) fn push(&mut self, parts: Vec<Bytes>) {
        self.parts
            .extend(parts.into_iter().filter(|part| !part.is_empty()));
    }

    /// Whether nothing is to be sent and nothing is in flight.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether the kernel holds parts of it.
    pub(super) fn in_flight(&self) -> bool {
        self.in_flight
    }

    /// The next send, if there is something and none is in flight.
    pub(super) fn next(&mut self, fd: RawFd) -> Option<squeue::Entry> {
        if self.in_flight {
            return None;
        }
        let first = self.parts.front()?;
        self.in_flight = true;
        if self.parts.len() == 1 {
            // BOUND: a part above 2 GiB would take several sends; the length here is 32 bits.
            let length = first.len().min(i32::MAX as usize) as u32;
            let send = opcode::Send::new(types::Fd(fd), first.as_ptr(), length);
            return Some(send.flags(libc::MSG_NOSIGNAL).build());
        }
        self.vectors.clear();
        let vectors = self.parts.iter().take(VECTORS_MAX);
        self.vectors.extend(vectors.map(|part| libc::iovec {
            iov_base: part.as_ptr().cast_mut().cast(),
            iov_len: part.len(),
        }));
        // SAFETY: all zero is a lawful msghdr.
        let header = self
            .header
            .get_or_insert_with(|| Box::new(unsafe { std::mem::zeroed() }));
        header.msg_iov = self.vectors.as_mut_ptr();
        header.msg_iovlen = self.vectors.len();
        let send = opcode::SendMsg::new(types::Fd(fd), &raw const **header);
        Some(send.flags(libc::MSG_NOSIGNAL as u32).build())
    }

    /// The send in flight took so many bytes.
    pub(super) fn sent(&mut self, mut count: usize) {
        assert!(self.in_flight);
        self.in_flight = false;
        while count > 0 {
            let first = self
                .parts
                .front_mut()
                .expect("no more is sent than was given");
            if first.len() > count {
                first.advance(count);
                break;
            }
            count -= first.len();
            self.parts.pop_front();
        }
        if self.parts.is_empty() {
            self.vectors.clear();
            self.vectors.shrink_to(VECTORS_KEPT);
            self.parts.shrink_to(VECTORS_KEPT);
        }
    }

    /// Forgets what is not in flight: the socket is broken.
    pub(super) fn abandon(&mut self) {
        if !self.in_flight {
            self.parts.clear();
        }
    }
}
