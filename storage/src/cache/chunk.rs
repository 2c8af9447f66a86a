//! One chunk: a stretch of a segment's image in aligned memory, append-only above its published end.
//!
//! Always: (1) `start <= from <= end <= start + capacity`, `start` block-aligned; (2) bytes from `start` to `from` are a copy of the
//! block that the chunk before it ends in, so that whole blocks can be written from here; (3) memory below the highest
//! end ever published is never written again.

use super::slab::{Slab, SlabPool};
use crate::disk::BLOCK_BYTES;
use crate::ids::Offset;
use bytes::Bytes;
use std::ptr::NonNull;
use std::sync::Arc;

/// A stretch of a segment's image.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Keeps `memory` alive.
    slab: Arc<Slab>,
    /// Where the slab lies, and how large it is: an append looks no further.
    memory: NonNull<u8>,
    capacity: usize,
    pub(super) serial: u64,
    pub(super) segment: Offset,
    /// Segment position of the first byte of the memory.
    pub(super) start: u64,
    /// Segment position from which on the bytes are this chunk's own.
    pub(super) from: u64,
    /// Segment position up to which bytes are published.
    pub(super) end: u64,
    /// The highest end that was ever published: a truncation lowers `end`, and closes the chunk.
    frozen: u64,
    /// Whether everything in it is flushed.
    pub(super) clean: bool,
    /// Whether a ticket for it is in the queue of eviction.
    pub(super) queued: bool,
    /// Whether it was read since the eviction looked at it last.
    pub(super) read: bool,
}

// SAFETY: `memory` names what `slab` owns, which may go to another thread and be shared as a plain address.
unsafe impl Send for Chunk {}
// SAFETY: as above; what may be read and written through it is ruled by the methods.
unsafe impl Sync for Chunk {}

impl Chunk {
    /// A chunk of `capacity` bytes whose own bytes begin at `from`; `before` is the block's content in front of `from`.
    pub(super) fn new(
        pool: &SlabPool,
        serial: u64,
        segment: Offset,
        from: u64,
        capacity: usize,
        before: &[u8],
    ) -> Chunk {
        let start = block_start(from);
        assert_eq!(
            before.len() as u64,
            from - start,
            "a chunk begins with the whole of its first block"
        );
        let slab = pool.slab(capacity);
        // SAFETY: the slab was just taken, nobody else has it, and it is at least one block long.
        unsafe {
            std::ptr::copy_nonoverlapping(before.as_ptr(), slab.start().as_ptr(), before.len())
        };
        Chunk {
            memory: slab.start(),
            capacity: slab.capacity(),
            slab: Arc::new(slab),
            serial,
            segment,
            start,
            from,
            end: from,
            frozen: from,
            clean: true,
            queued: false,
            read: false,
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes that can still be appended; none once a truncation closed the chunk.
    pub(super) fn room(&self) -> usize {
        if self.frozen > self.end {
            return 0;
        }
        self.capacity() - (self.end - self.start) as usize
    }

    /// Publishes `bytes` more bytes and gives them to be written. Nobody can slice them before the borrow ends.
    pub(super) fn extend(&mut self, bytes: usize) -> &mut [u8] {
        assert!(
            bytes <= self.room(),
            "a chunk is not filled beyond its memory"
        );
        let at = (self.end - self.start) as usize;
        self.end += bytes as u64;
        self.frozen = self.end;
        // SAFETY: inside the slab and initialised. Slices handed out end at or below the former end (`frozen` proves that it never
        // was higher), so nobody else sees this range while the exclusive borrow of the chunk lasts.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr().add(at), bytes) }
    }

    /// Lowers the end. The memory above stays as it is for those who hold slices of it.
    pub(super) fn cut(&mut self, end: u64) {
        assert!(
            self.from <= end && end <= self.end,
            "a chunk is cut inside itself"
        );
        self.end = end;
    }

    /// Published bytes from `from` to `to`, segment positions; the copied first block counts.
    pub(super) fn bytes(&self, from: u64, to: u64) -> &[u8] {
        assert!(
            self.start <= from && from <= to && to <= self.end,
            "only published bytes are read"
        );
        let at = (from - self.start) as usize;
        // SAFETY: inside the slab, initialised, and below the published end, where nothing is written any more.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(at), (to - from) as usize) }
    }

    /// The same as a handle that keeps the memory alive.
    pub(super) fn share(&self, from: u64, to: u64) -> Bytes {
        let bytes = self.bytes(from, to);
        Bytes::from_owner(ChunkSlice {
            at: (from - self.start) as usize,
            len: bytes.len(),
            slab: Arc::clone(&self.slab),
        })
    }

    /// Whether a position of a segment is among its own bytes.
    pub(super) fn owns(&self, segment: Offset, position: u64) -> bool {
        self.segment == segment && self.from <= position && position < self.end
    }
}

struct ChunkSlice {
    slab: Arc<Slab>,
    at: usize,
    len: usize,
}

impl AsRef<[u8]> for ChunkSlice {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `share` made it of published bytes, which stay unchanged as long as the slab lives.
        unsafe { std::slice::from_raw_parts(self.slab.start().as_ptr().add(self.at), self.len) }
    }
}

/// The position of the block that `position` lies in.
pub(super) fn block_start(position: u64) -> u64 {
    position & !(BLOCK_BYTES as u64 - 1)
}
