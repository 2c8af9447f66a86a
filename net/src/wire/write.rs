//! Where encoders write to: a counter, or the parts of one frame.
//!
//! Always: both see the same calls, so a counted size is the written size.

use bytes::{Bytes, BytesMut};

/// BOUND: payload shorter than this is copied beside its header; a slice of its own costs more than the copy.
pub const SHARED_BYTES_MIN: usize = 1024;

/// Takes what an encoder gives.
pub trait Sink {
    /// Takes a copy of `bytes`.
    fn put(&mut self, bytes: &[u8]);

    /// Takes payload, by reference if it is large enough.
    fn payload(&mut self, bytes: &Bytes);

    /// Takes an unsigned varint.
    fn unsigned_varint(&mut self, mut value: u32) {
        let mut bytes = [0; 5];
        let mut length = 0;
        while value >= 0x80 {
            bytes[length] = value as u8 | 0x80;
            value >>= 7;
            length += 1;
        }
        bytes[length] = value as u8;
        self.put(&bytes[..=length]);
    }

    /// Takes a zig-zag varint, as records use it.
    fn varlong(&mut self, value: i64) {
        let mut rest = ((value << 1) ^ (value >> 63)) as u64;
        let mut bytes = [0; 10];
        let mut length = 0;
        while rest >= 0x80 {
            bytes[length] = rest as u8 | 0x80;
            rest >>= 7;
            length += 1;
        }
        bytes[length] = rest as u8;
        self.put(&bytes[..=length]);
    }

    /// Takes the length of a compact string, bytes or array.
    fn compact_length(&mut self, length: Option<usize>) {
        self.unsigned_varint(length.map_or(0, |length| frame_number(length) as u32 + 1));
    }
}

/// A length or count as the protocol's signed 32-bit number.
///
/// Panics above it: no frame is that large, so whoever built one has lost its bounds.
pub(super) fn frame_number(length: usize) -> i32 {
    i32::try_from(length).expect("a frame and everything in it is below 2 GiB")
}

/// Counts bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Bytes that an `Encoder` copies.
    pub copied_bytes: usize,
    /// Bytes that an `Encoder` takes by reference.
    pub shared_bytes: usize,
}

impl Count {
    /// All bytes.
    pub fn total_bytes(&self) -> usize {
        self.copied_bytes + self.shared_bytes
    }
}

impl Sink for Count {
    fn put(&mut self, bytes: &[u8]) {
        self.copied_bytes += bytes.len();
    }

    fn payload(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARED_BYTES_MIN {
            self.copied_bytes += bytes.len();
        } else {
            self.shared_bytes += bytes.len();
        }
    }
}

/// Gathers the parts of one frame: headers in one allocation, payload by reference between its pieces.
#[derive(Debug)]
pub struct Encoder {
    headers: BytesMut,
    parts: Vec<Bytes>,
}

impl Encoder {
    /// Room for `copied_bytes` of headers, so that they never move.
    pub fn with_room(copied_bytes: usize) -> Self {
        Self {
            headers: BytesMut::with_capacity(copied_bytes),
            parts: Vec::new(),
        }
    }

    /// The parts in order; none is empty.
    pub fn into_parts(mut self) -> Vec<Bytes> {
        self.cut();
        self.parts
    }

    fn cut(&mut self) {
        if !self.headers.is_empty() {
            self.parts.push(self.headers.split().freeze());
        }
    }
}

impl Sink for Encoder {
    fn put(&mut self, bytes: &[u8]) {
        self.headers.extend_from_slice(bytes);
    }

    fn payload(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARED_BYTES_MIN {
            self.put(bytes);
        } else {
            self.cut();
            self.parts.push(bytes.clone());
        }
    }
}
