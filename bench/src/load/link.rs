//! One connection's socket on the ring, and the memory that the kernel holds of it.
//!
//! Always: (1) memory that an operation was given stays where it is until the operation is back (`is_busy`), also when the
//! connection broke; (2) a frame is handed out whole, and one that states an absurd length is an error of the broker.

use io_uring::{IoUring, opcode, types};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What is received at once; a longer frame makes it grow.
const INBOX_BYTES: usize = 256 << 10;
/// BOUND: no answer is longer.
const FRAME_BYTES_MAX: usize = 1 << 30;
/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(50);

/// What an operation was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    Send,
    Receive,
}

/// What an operation did.
#[derive(Debug)]
pub enum Done {
    /// So many bytes were sent or received.
    Bytes(usize),
    /// The connection is gone, for this reason; told once.
    Broken(&'static str),
    /// Nothing: the connection was gone before.
    Nothing,
}

/// A ring with room for the operations of so many connections.
pub fn ring(connections: usize) -> Result<IoUring, String> {
    let entries = (connections * 2).next_power_of_two().clamp(64, 32_768) as u32;
    let ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .build(entries);
    ring.map_err(|error| {
        format!(
            "no io_uring ({error}): Linux 6.1 or newer is needed; see `sysctl kernel.io_uring_disabled`, `ulimit -l`, and in \
             a container its seccomp profile"
        )
    })
}

/// The connection and the operation of a completion.
pub fn decode(user_data: u64) -> (usize, Op) {
    let op = if user_data & 1 == 0 {
        Op::Send
    } else {
        Op::Receive
    };
    ((user_data >> 1) as usize, op)
}

/// A connection.
pub struct Link {
    pub address: SocketAddr,
    stream: Option<TcpStream>,
    opening: Option<(JoinHandle<io::Result<TcpStream>>, Instant)>,
    sending: bool,
    receiving: bool,
    broken: bool,
    pieces: Vec<libc::iovec>,
    message: Box<libc::msghdr>,
    inbox: Vec<u8>,
    /// Bytes of the inbox that were received.
    filled: usize,
    /// Whether anything was sent or received since it was last asked, and for how many times of asking nothing was.
    moved: [bool; 2],
    silent_s: u32,
}

impl Link {
    /// Connects.
    pub fn open(address: SocketAddr, timeout: Duration) -> Result<Link, String> {
        let stream = connect(address, timeout)
            .map_err(|error| format!("no broker at {address}: {error}"))?;
        Ok(Link::with(address, Some(stream)))
    }

    /// One that is opened as soon as `reopen` is called.
    pub fn later(address: SocketAddr) -> Link {
        Link::with(address, None)
    }

    fn with(address: SocketAddr, stream: Option<TcpStream>) -> Link {
        Link {
            address,
            broken: stream.is_none(),
            stream,
            opening: None,
            sending: false,
            receiving: false,
            pieces: Vec::with_capacity(super::producer::PIECES_MAX + 2),
            // SAFETY: all-zero bytes are an empty message.
            message: Box::new(unsafe { std::mem::zeroed() }),
            inbox: vec![0; INBOX_BYTES],
            filled: 0,
            moved: [false; 2],
            silent_s: 0,
        }
    }

    /// For how many seconds in a row it had to do this and did not; asked once a second.
    pub fn silent_s(&mut self, op: Op, has_to: bool) -> u32 {
        let moved = std::mem::take(&mut self.moved);
        let silent = has_to && self.is_open() && !moved[op as usize];
        self.silent_s = if silent { self.silent_s + 1 } else { 0 };
        self.silent_s
    }

    /// Ends it; it is opened again when its operations are back. What they say then counts for nothing.
    pub fn break_off(&mut self) {
        self.shut();
        self.broken = true;
    }

    /// Ends it; it is opened again to another address.
    pub fn turn_to(&mut self, address: SocketAddr) {
        self.break_off();
        self.address = address;
        self.opening = None;
    }

    /// Whether it may be used.
    #[inline]
    pub fn is_open(&self) -> bool {
        !self.broken
    }

    #[inline]
    pub fn is_sending(&self) -> bool {
        self.sending
    }

    #[inline]
    pub fn is_receiving(&self) -> bool {
        self.receiving
    }

    /// Whether the kernel has memory of it.
    pub fn is_busy(&self) -> bool {
        self.sending || self.receiving
    }

    /// Ends it; operations come back soon.
    pub fn shut(&self) {
        if let Some(stream) = &self.stream {
            // It may be gone already.
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Begins to collect what the next send takes.
    #[inline]
    pub fn begin_send(&mut self) {
        assert!(!self.sending, "the kernel has the pieces");
        self.pieces.clear();
    }

    /// A piece of the next send; it stays where it is until that is done.
    #[inline]
    pub fn add_piece(&mut self, piece: &[u8]) {
        self.pieces.push(libc::iovec {
            iov_base: piece.as_ptr().cast_mut().cast(),
            iov_len: piece.len(),
        });
    }

    /// Sends the pieces.
    #[inline]
    pub fn send(&mut self, ring: &mut IoUring, index: usize) -> Result<(), String> {
        let stream = self.stream.as_ref().expect("an open link has a socket");
        self.message.msg_iov = self.pieces.as_mut_ptr();
        self.message.msg_iovlen = self.pieces.len();
        let entry = opcode::SendMsg::new(types::Fd(stream.as_raw_fd()), &*self.message)
            .flags((libc::MSG_NOSIGNAL | libc::MSG_WAITALL) as u32)
            .build()
            .user_data((index as u64) << 1);
        self.sending = true;
        push(ring, &entry)
    }

    /// Receives what comes.
    #[inline]
    pub fn receive(&mut self, ring: &mut IoUring, index: usize) -> Result<(), String> {
        let stream = self.stream.as_ref().expect("an open link has a socket");
        let room = &mut self.inbox[self.filled..];
        let entry = opcode::Recv::new(
            types::Fd(stream.as_raw_fd()),
            room.as_mut_ptr(),
            room.len() as u32,
        )
        .build()
        .user_data((index as u64) << 1 | 1);
        self.receiving = true;
        push(ring, &entry)
    }

    /// An operation is back.
    pub fn completed(&mut self, op: Op, result: i32) -> Done {
        match op {
            Op::Send => self.sending = false,
            Op::Receive => self.receiving = false,
        }
        if self.broken {
            return Done::Nothing;
        }
        let reason = match (op, result) {
            (_, result) if -result == libc::EAGAIN || -result == libc::EINTR => {
                return Done::Bytes(0);
            }
            (Op::Receive, 0) => "closed by the broker",
            (_, result) if result >= 0 => {
                self.moved[op as usize] = true;
                if op == Op::Receive {
                    self.filled += result as usize;
                }
                return Done::Bytes(result as usize);
            }
            (_, result) if -result == libc::ECONNRESET => "reset by the broker",
            (Op::Send, _) => "sending failed",
            (Op::Receive, _) => "receiving failed",
        };
        self.broken = true;
        self.shut();
        Done::Broken(reason)
    }

    /// The whole frame at `position` of what was received, without its length prefix.
    #[inline]
    pub fn frame(&self, position: usize) -> Result<Option<&[u8]>, String> {
        let received = &self.inbox[position..self.filled];
        let Some(prefix) = received.first_chunk() else {
            return Ok(None);
        };
        let length = stated(prefix)?;
        Ok(received.get(4..4 + length))
    }

    /// Forgets what was taken, and makes room for the frame that is under way.
    #[inline]
    pub fn consume(&mut self, bytes: usize) {
        assert!(!self.receiving, "the kernel writes into the inbox");
        // One that was broken off meanwhile begins with an empty inbox.
        let bytes = bytes.min(self.filled);
        self.inbox.copy_within(bytes..self.filled, 0);
        self.filled -= bytes;
        let prefix = self.inbox[..self.filled].first_chunk();
        let whole = prefix.and_then(|prefix| stated(prefix).ok());
        let whole = whole.map_or(0, |length| (length + 4).next_multiple_of(4096));
        // By what has arrived, not by what is announced.
        if self.inbox.len() < whole && self.filled > self.inbox.len() / 2 {
            self.inbox.resize(whole.min(self.inbox.len() * 2), 0);
        }
    }

    /// Opens it again, step by step; true when it is open. An error after `limit`.
    pub fn reopen(&mut self, limit: Duration) -> Result<bool, String> {
        if self.is_busy() {
            return Ok(false);
        }
        self.stream = None;
        self.filled = 0;
        let address = self.address;
        let attempt = || std::thread::spawn(move || connect(address, RETRY * 10));
        let Some((handle, since)) = self.opening.take() else {
            self.opening = Some((attempt(), Instant::now()));
            return Ok(false);
        };
        if !handle.is_finished() {
            self.opening = Some((handle, since));
            return Ok(false);
        }
        match handle.join().expect("connecting does not panic") {
            Ok(stream) => {
                self.stream = Some(stream);
                self.broken = false;
                Ok(true)
            }
            Err(error) if since.elapsed() > limit => Err(format!(
                "the broker at {address} is gone since {:.1} s: {error}",
                since.elapsed().as_secs_f64()
            )),
            Err(_) => {
                let again = std::thread::spawn(move || {
                    std::thread::sleep(RETRY);
                    connect(address, RETRY * 10)
                });
                self.opening = Some((again, since));
                Ok(false)
            }
        }
    }
}

fn connect(address: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn stated(prefix: &[u8; 4]) -> Result<usize, String> {
    let length = i32::from_be_bytes(*prefix);
    match usize::try_from(length) {
        Ok(length) if (4..=FRAME_BYTES_MAX).contains(&length) => Ok(length),
        _ => Err(format!(
            "the broker sends a frame of {length} bytes, which is none of Kafka's protocol"
        )),
    }
}

fn push(ring: &mut IoUring, entry: &io_uring::squeue::Entry) -> Result<(), String> {
    // SAFETY: the memory of the operation belongs to its link, which keeps it until the operation is back.
    while unsafe { ring.submission().push(entry) }.is_err() {
        ring.submit()
            .map_err(|error| format!("the ring of the generator fails: {error}"))?;
    }
    Ok(())
}
