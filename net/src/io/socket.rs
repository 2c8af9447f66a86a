//! One connection's socket: what is in flight on it and how it ends.
//!
//! Always: (1) at most one receive and one send are in flight; (2) the file descriptor is closed, and the slot given
//! back, only when neither is; (3) a buffer on loan stays here until its receive completes.

use super::outgoing::Outgoing;
use super::pool::GROUP;
use super::tag::{Kind, encode};
use crate::conn::{CloseReason, ConnId, Framer, Loan, Traffic};
use io_uring::{opcode, squeue, types};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

/// The receive in flight.
#[derive(Debug)]
pub(super) enum Receive {
    None,
    /// Multishot.
    Many,
    /// Multishot that was told to end.
    Ending,
    /// One, into a shared buffer.
    Shared,
    /// One, into the frame's own buffer.
    Direct(Loan),
}

/// How far the end of the connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Life {
    Open,
    /// What was given to send is sent, then it closes.
    Flushing {
        since_ms: u64,
    },
    /// Shut down: waits for the completions of what is in flight.
    Shut,
}

/// A socket and its state.
pub(super) struct Socket {
    pub(super) conn: ConnId,
    pub(super) framer: Framer,
    pub(super) outgoing: Outgoing,
    pub(super) receive: Receive,
    pub(super) life: Life,
    pub(super) reason: CloseReason,
    /// The core takes no frames now.
    pub(super) paused: bool,
    /// It is in the list of sockets to look at before the turn ends.
    pub(super) listed: bool,
    stream: TcpStream,
}

impl Socket {
    pub(super) fn new(conn: ConnId, stream: TcpStream, framer: Framer) -> Socket {
        Socket {
            conn,
            framer,
            outgoing: Outgoing::default(),
            receive: Receive::None,
            life: Life::Open,
            reason: CloseReason::Peer,
            paused: false,
            listed: false,
            stream,
        }
    }

    /// Begins to receive in the way that fits its traffic. None may be in flight.
    pub(super) fn receive(&mut self) -> squeue::Entry {
        assert!(matches!(self.receive, Receive::None));
        let fd = types::Fd(self.fd());
        if let Some(mut loan) = self.framer.lend() {
            let (target, room) = loan.target();
            self.receive = Receive::Direct(loan);
            return opcode::Recv::new(fd, target, room as u32)
                .build()
                .user_data(self.tag(Kind::ReceiveDirect));
        }
        if self.framer.traffic() == Traffic::Small {
            self.receive = Receive::Many;
            return opcode::RecvMulti::new(fd, GROUP)
                .build()
                .user_data(self.tag(Kind::ReceiveMany));
        }
        self.receive = Receive::Shared;
        opcode::Recv::new(fd, std::ptr::null_mut(), 0)
            .buf_group(GROUP)
            .build()
            .flags(squeue::Flags::BUFFER_SELECT)
            .user_data(self.tag(Kind::ReceiveShared))
    }

    /// Ends a multishot receive, where one is in flight; what it received before still arrives.
    pub(super) fn end_multishot(&mut self) -> Option<squeue::Entry> {
        if !matches!(self.receive, Receive::Many) {
            return None;
        }
        self.receive = Receive::Ending;
        let cancel = opcode::AsyncCancel::new(self.tag(Kind::ReceiveMany)).build();
        Some(
            cancel
                .flags(squeue::Flags::SKIP_SUCCESS)
                .user_data(self.tag(Kind::Cancel)),
        )
    }

    /// The next send, if there is one.
    pub(super) fn send(&mut self) -> Option<squeue::Entry> {
        let fd = self.fd();
        let tag = self.tag(Kind::Send);
        self.outgoing.next(fd).map(|entry| entry.user_data(tag))
    }

    /// Ends it now: whatever is in flight completes soon, with what it got or with an error.
    pub(super) fn shut(&mut self, reason: CloseReason) {
        if self.life == Life::Shut {
            return;
        }
        self.life = Life::Shut;
        self.reason = reason;
        self.outgoing.abandon();
        // A peer that is gone already makes this fail; the completions come all the same.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Whether what its peer sends is received.
    pub(super) fn is_receiving(&self) -> bool {
        !matches!(self.receive, Receive::None | Receive::Ending)
    }

    /// Whether the kernel holds nothing of it.
    pub(super) fn is_quiet(&self) -> bool {
        matches!(self.receive, Receive::None) && !self.outgoing.in_flight()
    }

    fn tag(&self, kind: Kind) -> u64 {
        encode(kind, self.conn.slot, self.conn.generation)
    }

    fn fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}
