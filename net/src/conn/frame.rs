//! Framing: a stream of received bytes becomes frames (rule C1: int32 length, then that many bytes).
//!
//! Always: (1) frames come out whole, in order, without their length prefix; (2) a length that is negative or above the
//! limit ends the stream (rule C7); (3) memory follows what was received, not what was announced: the buffer of a frame is at most
//! `ROOM_BYTES_NEW`, or four times what of it arrived, or as large as the frame before it that did arrive (and at most
//! `ROOM_BYTES_TRUSTED`); (4) while a buffer is lent to the kernel nothing else is taken.
//! Leaves to others: receiving (`io`), and what a frame means.

use super::transport::{Room, Transport};
use bytes::Bytes;

/// Bytes of the length prefix.
pub const PREFIX_BYTES: usize = 4;
/// From this size on a frame is received straight into its own buffer.
pub const DIRECT_BYTES_MIN: usize = 16 * 1024;
/// Less than this left of a frame is not worth a receive of its own.
const DIRECT_REST_BYTES_MIN: usize = 2 * 1024;
/// What a frame of a peer gets that has shown nothing yet.
const ROOM_BYTES_NEW: usize = 4 * 1024;
/// What a frame of a peer gets at the most that has just sent as large a one.
const ROOM_BYTES_TRUSTED: usize = 256 * 1024;
/// A frame that came more slowly, in bytes per second, ...
const SLOW_BYTES_PER_S: u64 = 64 * 1024;
/// ... over so long is slow.
const SLOW_AFTER_MS: u64 = 2_000;
/// So many small frames in a row end the expectation of large ones.
const SMALL_FRAMES_IN_A_ROW: u32 = 32;

/// A frame announced a length outside the limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameRefused {
    /// What was announced.
    pub length: i32,
}

/// What the frames of a connection look like, so that receiving can be fitted to them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Traffic {
    /// Small frames: receive into shared buffers and copy.
    Small,
    /// There was a large frame a moment ago: more are to be expected.
    Bulk,
}

/// The frame under way.
#[derive(Debug)]
struct Body {
    room: Room,
    frame_bytes: usize,
}

/// A body on loan to the kernel, which receives at its end.
#[derive(Debug)]
pub struct Loan {
    body: Body,
    receive_bytes: usize,
}

impl Loan {
    /// Where to receive, and how many bytes at the most. The place stays valid until the loan is given back or dropped.
    pub fn target(&mut self) -> (*mut u8, usize) {
        (self.body.room.spare_start(), self.receive_bytes)
    }
}

/// The framing state of one connection.
#[derive(Debug)]
pub struct Framer {
    transport: Transport,
    frame_bytes_max: usize,
    prefix: [u8; PREFIX_BYTES],
    prefix_count: usize,
    body: Option<Body>,
    lent: bool,
    bulk_left: u32,
    /// The size of the last large frame, at most `ROOM_BYTES_TRUSTED`.
    trusted_bytes: usize,
    progress_ms: u64,
    /// Since when the frame under way is timed, and what of it came since.
    timed_since_ms: u64,
    timed_bytes: u64,
}

impl Framer {
    /// A stream at its beginning.
    pub fn new(transport: Transport, frame_bytes_max: usize) -> Framer {
        assert!(
            frame_bytes_max <= i32::MAX as usize,
            "lengths on the wire are 32 bits"
        );
        Framer {
            transport,
            frame_bytes_max,
            prefix: [0; PREFIX_BYTES],
            prefix_count: 0,
            body: None,
            lent: false,
            bulk_left: 0,
            trusted_bytes: 0,
            progress_ms: 0,
            timed_since_ms: 0,
            timed_bytes: 0,
        }
    }

    /// Takes bytes that were received into a shared buffer.
    pub fn take(
        &mut self,
        now_ms: u64,
        mut data: &[u8],
        frames: &mut Vec<Bytes>,
    ) -> Result<(), FrameRefused> {
        assert!(!self.lent, "bytes arrived beside a loan");
        self.time(now_ms, data.len());
        while !data.is_empty() {
            if self.body.is_some() {
                data = self.continue_body(data, frames);
            } else if self.prefix_count == 0 {
                data = self.whole_frames(data, frames)?;
                data = self.continue_prefix(data, frames)?;
            } else {
                data = self.continue_prefix(data, frames)?;
            }
        }
        Ok(())
    }

    /// The buffer of a large frame under way, to receive the rest of it; also, behind its end, room for the prefix of the
    /// next frame, so that a stream of large frames takes one receive each.
    pub fn lend(&mut self) -> Option<Loan> {
        if !self.expects_direct() {
            return None;
        }
        let mut body = self.body.take()?;
        let rest_bytes = body.frame_bytes - body.room.len();
        let capacity = self.room_bytes(body.frame_bytes, body.room.len());
        body.room.grow_to(capacity);
        self.lent = true;
        let receive_bytes = body.room.spare_bytes().min(rest_bytes + PREFIX_BYTES);
        Some(Loan {
            body,
            receive_bytes,
        })
    }

    /// Takes a loan back after the kernel has received `count` bytes into it.
    ///
    /// # Safety
    /// The first `count` bytes of the target are initialised.
    pub unsafe fn give_back(
        &mut self,
        now_ms: u64,
        loan: Loan,
        count: usize,
        frames: &mut Vec<Bytes>,
    ) -> Result<(), FrameRefused> {
        assert!(self.lent && count <= loan.receive_bytes);
        if count > 0 {
            self.time(now_ms, count);
        }
        self.lent = false;
        let mut body = loan.body;
        // SAFETY: the caller's promise, and the target lies within the spare room.
        unsafe { body.room.filled(count) };
        if body.room.len() < body.frame_bytes {
            self.body = Some(body);
            return Ok(());
        }
        let frame_bytes = body.frame_bytes;
        self.note_size(frame_bytes);
        let bytes = body.room.freeze();
        frames.push(bytes.slice(..frame_bytes));
        self.continue_prefix(&bytes[frame_bytes..], frames)?;
        Ok(())
    }

    /// Which way of receiving fits.
    pub fn traffic(&self) -> Traffic {
        match self.bulk_left {
            0 => Traffic::Small,
            _ => Traffic::Bulk,
        }
    }

    /// Whether `lend` would give a buffer.
    pub fn expects_direct(&self) -> bool {
        self.body.as_ref().is_some_and(|body| {
            let rest_bytes = body.frame_bytes - body.room.len();
            body.frame_bytes >= DIRECT_BYTES_MIN && rest_bytes >= DIRECT_REST_BYTES_MIN
        })
    }

    /// When the frame under way last went on; `None` between frames.
    pub fn waiting_since_ms(&self) -> Option<u64> {
        (self.lent || self.body.is_some() || self.prefix_count > 0).then_some(self.progress_ms)
    }

    /// Whether the frame under way comes so slowly that, when memory is short, others come first.
    pub fn is_slow(&self, now_ms: u64) -> bool {
        let timed_ms = now_ms.saturating_sub(self.timed_since_ms);
        self.waiting_since_ms().is_some()
            && timed_ms >= SLOW_AFTER_MS
            && self.timed_bytes < timed_ms * SLOW_BYTES_PER_S / 1000
    }

    /// Bytes that the frame under way still needs; `None` between frames and where the kernel holds its buffer.
    pub fn rest_bytes(&self) -> Option<usize> {
        let body = self.body.as_ref()?;
        Some(body.frame_bytes - body.room.len())
    }

    /// Forgives the time in which nothing was received because we did not want to.
    pub fn resumed(&mut self, now_ms: u64) {
        self.progress_ms = now_ms;
        self.timed_since_ms = now_ms;
        self.timed_bytes = 0;
    }

    /// Notes that bytes arrived.
    fn time(&mut self, now_ms: u64, bytes: usize) {
        if self.waiting_since_ms().is_none() {
            self.resumed(now_ms);
        }
        self.progress_ms = now_ms;
        self.timed_bytes += bytes as u64;
    }

    /// Notes that a frame is whole: those that follow will be like it.
    fn note_size(&mut self, frame_bytes: usize) {
        if frame_bytes >= DIRECT_BYTES_MIN {
            self.bulk_left = SMALL_FRAMES_IN_A_ROW;
            self.trusted_bytes = frame_bytes.min(ROOM_BYTES_TRUSTED);
        } else if self.bulk_left > 0 {
            self.bulk_left -= 1;
        } else {
            self.trusted_bytes = 0;
        }
    }

    /// Takes the frames that lie whole in `data`, in one buffer for all. Returns the rest.
    fn whole_frames<'a>(
        &mut self,
        data: &'a [u8],
        frames: &mut Vec<Bytes>,
    ) -> Result<&'a [u8], FrameRefused> {
        let mut end = 0;
        while let Some((prefix, rest)) = data[end..].split_first_chunk::<PREFIX_BYTES>() {
            let frame_bytes = self.checked_length(*prefix)?;
            if rest.len() < frame_bytes {
                break;
            }
            end += PREFIX_BYTES + frame_bytes;
        }
        if end == 0 {
            return Ok(data);
        }
        let run = self.transport.copy(&data[..end]);
        let mut at = 0;
        while let Some((prefix, _)) = run[at..].split_first_chunk::<PREFIX_BYTES>() {
            let from = at + PREFIX_BYTES;
            at = from + self.checked_length(*prefix)?;
            frames.push(run.slice(from..at));
            self.note_size(at - from);
        }
        Ok(&data[end..])
    }

    /// Completes the prefix from the start of `data`, and begins the body. Returns the rest.
    fn continue_prefix<'a>(
        &mut self,
        data: &'a [u8],
        frames: &mut Vec<Bytes>,
    ) -> Result<&'a [u8], FrameRefused> {
        let count = data.len().min(PREFIX_BYTES - self.prefix_count);
        let (now, rest) = data.split_at(count);
        self.prefix[self.prefix_count..][..count].copy_from_slice(now);
        self.prefix_count += count;
        if self.prefix_count < PREFIX_BYTES {
            return Ok(rest);
        }
        self.prefix_count = 0;
        let frame_bytes = self.checked_length(self.prefix)?;
        if frame_bytes == 0 {
            frames.push(Bytes::new());
            return Ok(rest);
        }
        self.body = Some(Body {
            room: self.transport.room(self.room_bytes(frame_bytes, 0)),
            frame_bytes,
        });
        Ok(rest)
    }

    /// Appends to the frame under way from the start of `data`. Returns the rest.
    fn continue_body<'a>(&mut self, data: &'a [u8], frames: &mut Vec<Bytes>) -> &'a [u8] {
        let Some(mut body) = self.body.take() else {
            return data;
        };
        let count = data.len().min(body.frame_bytes - body.room.len());
        let (now, rest) = data.split_at(count);
        if body.room.spare_bytes() < count {
            let capacity = self.room_bytes(body.frame_bytes, body.room.len() + count);
            body.room.grow_to(capacity);
        }
        body.room.extend(now);
        if body.room.len() < body.frame_bytes {
            self.body = Some(body);
            return rest;
        }
        self.note_size(body.frame_bytes);
        frames.push(body.room.freeze());
        rest
    }

    fn checked_length(&self, prefix: [u8; PREFIX_BYTES]) -> Result<usize, FrameRefused> {
        let length = i32::from_be_bytes(prefix);
        match usize::try_from(length) {
            Ok(bytes) if bytes <= self.frame_bytes_max => Ok(bytes),
            _ => Err(FrameRefused { length }),
        }
    }

    /// How large the buffer of a frame is when so much of it has arrived.
    fn room_bytes(&self, frame_bytes: usize, arrived_bytes: usize) -> usize {
        let extra = if frame_bytes >= DIRECT_BYTES_MIN {
            PREFIX_BYTES
        } else {
            0
        };
        let whole = frame_bytes + extra;
        let earned = ROOM_BYTES_NEW.max(self.trusted_bytes);
        whole.min(earned.max(4 * arrived_bytes) + extra)
    }
}
