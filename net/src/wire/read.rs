//! A cursor over one frame.
//!
//! Always: it never passes the end of the frame, and what it lets a decoder allocate for arrays stays within `Limits`.

use std::fmt;
use std::mem::size_of;

use bytes::Bytes;

/// Bytes that are not what the protocol says; answered by closing the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// Where in the frame the trouble is, counted from its first byte after the length.
    pub position: usize,
    /// What is wrong there.
    pub reason: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.reason, self.position)
    }
}

impl std::error::Error for Malformed {}

/// What one frame may cost to decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory for the elements of all arrays together. Payload and strings cost none: they stay in the frame.
    pub array_bytes_max: usize,
}

impl Limits {
    /// For a request from anybody: an element in memory is larger than on the wire, so a frame made of nothing but the
    /// smallest elements would cost far more than itself. The lists of a lawful request are small, its bulk is payload.
    pub fn for_request(frame_bytes: usize) -> Self {
        const LIST_BYTES_MAX: usize = 4 << 20;
        Self {
            array_bytes_max: (64 << 10) + 16 * frame_bytes.min(LIST_BYTES_MAX),
        }
    }

    /// For the answer of a broker that the user chose: in proportion to the frame.
    pub fn for_response(frame_bytes: usize) -> Self {
        Self {
            array_bytes_max: (64 << 10) + 64 * frame_bytes,
        }
    }
}

/// BOUND: more tagged fields than any schema knows are taken for an attack.
const TAGGED_FIELDS_MAX: u32 = 256;

/// Reads the fields of one frame in order.
#[derive(Debug)]
pub struct Reader<'a> {
    frame: &'a Bytes,
    position: usize,
    array_bytes_left: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `frame`, which has no length prefix.
    pub fn new(frame: &'a Bytes, limits: Limits) -> Self {
        Self {
            frame,
            position: 0,
            array_bytes_left: limits.array_bytes_max,
        }
    }

    /// The bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.frame.len() - self.position
    }

    /// The complaint `reason` about this place.
    pub fn malformed(&self, reason: &'static str) -> Malformed {
        Malformed {
            position: self.position,
            reason,
        }
    }

    /// The next `bytes` bytes.
    pub fn take(&mut self, bytes: usize) -> Result<&'a [u8], Malformed> {
        if bytes > self.remaining() {
            return Err(self.malformed("the frame ends inside a field"));
        }
        let taken = &self.frame[self.position..self.position + bytes];
        self.position += bytes;
        Ok(taken)
    }

    /// The next `bytes` bytes, shared with the frame.
    pub fn share(&mut self, bytes: usize) -> Result<Bytes, Malformed> {
        if bytes > self.remaining() {
            return Err(self.malformed("the frame ends inside a field"));
        }
        let shared = self.frame.slice(self.position..self.position + bytes);
        self.position += bytes;
        Ok(shared)
    }

    /// The next `N` bytes, for numbers of fixed width.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let taken = self.take(N)?;
        Ok(taken
            .try_into()
            .expect("take gives exactly what it was asked for"))
    }

    /// An unsigned varint of at most 32 bits.
    pub fn unsigned_varint(&mut self) -> Result<u32, Malformed> {
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.malformed("a varint is too long"))
    }

    /// A zig-zag varint of at most 64 bits, as records use it.
    pub fn varlong(&mut self) -> Result<i64, Malformed> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let [byte] = self.array()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(self.malformed("a varint is too long"))
    }

    /// The length of a compact string, bytes or array; none for null.
    pub fn compact_length(&mut self) -> Result<Option<usize>, Malformed> {
        Ok(self
            .unsigned_varint()?
            .checked_sub(1)
            .map(|length| length as usize))
    }

    /// Room for `count` elements of type `T`, each at least `element_bytes_min` bytes in the frame.
    pub fn room_for<T>(
        &mut self,
        count: usize,
        element_bytes_min: usize,
    ) -> Result<Vec<T>, Malformed> {
        if count > self.remaining() / element_bytes_min.max(1) {
            return Err(self.malformed("an array counts more elements than the frame holds"));
        }
        let bytes = count * size_of::<T>();
        let Some(left) = self.array_bytes_left.checked_sub(bytes) else {
            return Err(self.malformed("the arrays of the frame exceed their budget"));
        };
        self.array_bytes_left = left;
        Ok(Vec::with_capacity(count))
    }

    /// Reads a section of tagged fields. `known` reads the field of a tag and says whether it knows the tag; what it does not
    /// know is skipped.
    pub fn tagged(
        &mut self,
        mut known: impl FnMut(&mut Self, u32) -> Result<bool, Malformed>,
    ) -> Result<(), Malformed> {
        let count = self.unsigned_varint()?;
        if count > TAGGED_FIELDS_MAX {
            return Err(self.malformed("too many tagged fields"));
        }
        let mut previous = None;
        for _ in 0..count {
            let tag = self.unsigned_varint()?;
            if previous.is_some_and(|previous| previous >= tag) {
                return Err(self.malformed("tagged fields are out of order"));
            }
            previous = Some(tag);
            let bytes = self.unsigned_varint()? as usize;
            if bytes > self.remaining() {
                return Err(self.malformed("the frame ends inside a tagged field"));
            }
            let end = self.position + bytes;
            if known(self, tag)? {
                if self.position != end {
                    return Err(self.malformed("a tagged field has another length than it says"));
                }
            } else {
                self.position = end;
            }
        }
        Ok(())
    }
}
