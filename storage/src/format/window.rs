//! A window: a header and entries, padded to the block; one durable write.
//!
//! Always: the CRC covers every byte of header and entries but itself; padding is zero and not covered.

use super::codec::{Fields, Malformed, Put};
use super::entry::{ENTRY_ALIGN, Entries, Entry};
use crate::disk::BLOCK_BYTES;
use crate::ids::{NodeId, ShardIndex};

/// Bytes of a window before its entries.
pub const WINDOW_HEADER_BYTES: usize = 64;
/// The version of windows and entries that this code writes and reads.
pub const WINDOW_VERSION: u16 = 1;

const MAGIC: [u8; 8] = *b"MSwindow";
const CRC_AT: usize = 60;

/// What stands in front of the entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WindowHeader {
    /// The node that wrote it.
    pub node: NodeId,
    /// The shard that wrote it.
    pub shard: ShardIndex,
    /// The run: raised by every recovery.
    pub run: u64,
    /// Its number: one more than that of the window before it.
    pub sequence: u64,
    /// The highest number known to be synced when it was gathered.
    pub known_synced: u64,
    /// The newest synced checkpoint when it was gathered.
    pub checkpoint: u64,
    /// The CRC of the window before it; 0 for the first of a journal.
    pub previous_crc: u32,
}

/// A finished window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sealed {
    /// How much of the buffer is to be written: header, entries, padding; a multiple of the block.
    pub bytes: usize,
    /// Its CRC: the next window names it.
    pub crc: u32,
}

/// The bytes of a window with so many bytes of header and entries: up to the end of a block.
pub const fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK_BYTES as u64)
}

/// Fills a buffer with a window.
pub struct WindowBuilder<'a> {
    into: &'a mut [u8],
    bytes: usize,
    entries: u32,
}

impl Put for WindowBuilder<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.into[self.bytes..self.bytes + bytes.len()].copy_from_slice(bytes);
        self.bytes += bytes.len();
    }
}

impl<'a> WindowBuilder<'a> {
    /// An empty window. The buffer must hold all that is pushed, padded to the block; its content does not matter.
    pub fn new(into: &'a mut [u8]) -> WindowBuilder<'a> {
        WindowBuilder {
            into,
            bytes: WINDOW_HEADER_BYTES,
            entries: 0,
        }
    }

    /// Header and entries so far, without padding to the block.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends an entry without payload.
    pub fn push(&mut self, entry: &Entry) {
        self.push_with(entry, std::iter::empty());
    }

    /// Appends an entry and its payload, given in pieces; together they have exactly the length that the entry states.
    pub fn push_with<'p>(&mut self, entry: &Entry, payload: impl IntoIterator<Item = &'p [u8]>) {
        entry.encode(self);
        let from = self.bytes;
        for piece in payload {
            self.put(piece);
        }
        let payload_bytes = self.bytes - from;
        assert_eq!(
            payload_bytes,
            entry.payload_bytes(),
            "the entry states its payload"
        );
        let padding = self.bytes.next_multiple_of(ENTRY_ALIGN) - self.bytes;
        self.put(&[0; ENTRY_ALIGN][..padding]);
        self.entries += 1;
    }

    /// Writes the header and the padding.
    pub fn finish(mut self, header: &WindowHeader) -> Sealed {
        let used = self.bytes;
        let bytes = padded(used as u64) as usize;
        self.into[used..bytes].fill(0);
        self.bytes = 0;
        self.put(&MAGIC);
        self.put(&WINDOW_VERSION.to_le_bytes());
        self.put(&header.shard.0.to_le_bytes());
        self.put(&header.node.0.to_le_bytes());
        self.put(&header.run.to_le_bytes());
        self.put(&header.sequence.to_le_bytes());
        self.put(&header.known_synced.to_le_bytes());
        self.put(&header.checkpoint.to_le_bytes());
        self.put(
            &u32::try_from(used)
                .expect("a window is smaller than 4 GiB")
                .to_le_bytes(),
        );
        self.put(&self.entries.to_le_bytes());
        self.put(&header.previous_crc.to_le_bytes());
        let crc = crc_of(&self.into[..used]);
        self.put(&crc.to_le_bytes());
        Sealed { bytes, crc }
    }
}

fn crc_of(window: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&window[..CRC_AT]);
    crc32c::crc32c_append(crc, &window[WINDOW_HEADER_BYTES..])
}

/// The first block of a window, read before the rest: what it says, unverified but bounded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WindowFront {
    /// The header.
    pub header: WindowHeader,
    /// Bytes of header and entries; at least [`WINDOW_HEADER_BYTES`].
    pub bytes: usize,
    /// How many entries follow.
    pub entries: u32,
    /// The CRC of the whole.
    pub crc: u32,
}

impl WindowFront {
    /// Decodes the first [`WINDOW_HEADER_BYTES`].
    pub fn decode(bytes: &[u8]) -> Result<WindowFront, Malformed> {
        let mut fields = Fields::new(bytes);
        if fields.take(MAGIC.len())? != MAGIC {
            return Err(Malformed::new(0, "no window begins here"));
        }
        fields.version(WINDOW_VERSION)?;
        let shard = ShardIndex(fields.u16()?);
        let header = WindowHeader {
            shard,
            node: NodeId(fields.i32()?),
            run: fields.u64()?,
            sequence: fields.u64()?,
            known_synced: fields.u64()?,
            checkpoint: fields.u64()?,
            previous_crc: 0,
        };
        let length = fields.u32()? as usize;
        let entries = fields.u32()?;
        let front = WindowFront {
            header: WindowHeader {
                previous_crc: fields.u32()?,
                ..header
            },
            bytes: length,
            entries,
            crc: fields.u32()?,
        };
        let lawful = length >= WINDOW_HEADER_BYTES && header.known_synced < header.sequence;
        match lawful {
            true => Ok(front),
            false => Err(fields.fail("a window's header contradicts itself")),
        }
    }

    /// Verifies the whole window, of which `bytes` begins with it, and gives its entries.
    pub fn verify<'a>(&self, bytes: &'a [u8]) -> Result<Entries<'a>, Malformed> {
        let window = bytes.get(..self.bytes).ok_or(Malformed::new(
            bytes.len(),
            "a window is longer than its file",
        ))?;
        match crc_of(window) == self.crc {
            true => Ok(Entries::new(window, WINDOW_HEADER_BYTES, self.entries)),
            false => Err(Malformed::new(CRC_AT, "the CRC of a window does not match")),
        }
    }
}
