//! The chunks of one log, oldest first.
//!
//! Always: (1) clean chunks lie before unflushed ones, `unflushed` counts the latter; (2) what a chunk owns begins at or behind the
//! end of the chunk before it; (3) where the log's last chunk is gone, `tail` holds the block it ended in.

use super::chunk::{Chunk, block_start};
use super::slab::{HUGE_BYTES, SlabPool, capacity_for};
use crate::disk::BLOCK_BYTES;
use crate::ids::Offset;
use std::collections::VecDeque;

/// Sizes of chunks: each one of a log is a step larger than the one before it. The last one, a large page of the processor, is for fast
/// logs, as long as the pool has some ready.
const CHUNK_BYTES: [usize; 6] = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, HUGE_BYTES];

/// Sums over all logs of a cache.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) unflushed_bytes: usize,
    pub(super) clean_bytes: usize,
    /// Logs with at least one unflushed chunk.
    pub(super) unflushed_logs: usize,
}

impl Totals {
    /// A chunk is flushed, and so many of its log are not.
    pub(super) fn cleaned(&mut self, capacity: usize, unflushed_left: usize) {
        self.unflushed_bytes -= capacity;
        self.clean_bytes += capacity;
        self.unflushed_logs -= usize::from(unflushed_left == 0);
    }
}

/// The beginning of the block that a log ends in, kept when its chunk goes.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) segment: Offset,
    pub(super) end: u64,
    pub(super) bytes: Box<[u8]>,
}

#[derive(Debug, Default)]
pub(super) struct LogChunks {
    pub(super) chunks: VecDeque<Chunk>,
    pub(super) tail: Option<Tail>,
    /// How many chunks, from the back, are not flushed.
    pub(super) unflushed: usize,
    /// The size of the next chunk, an index of `CHUNK_BYTES`.
    step: usize,
    /// Whether the log was fast when it was last appended to.
    pub(super) fast: bool,
}

impl LogChunks {
    /// Bytes that fit behind `position` in the last chunk.
    pub(super) fn open_room(&self, segment: Offset, position: u64) -> usize {
        match self.chunks.back() {
            Some(chunk) if chunk.segment == segment && chunk.end == position => chunk.room(),
            _ => 0,
        }
    }

    /// The capacity of the chunk that takes `bytes` bytes at `position`, of at most `limit` bytes unless the bytes need more.
    pub(super) fn next_capacity(
        &self,
        pool: &SlabPool,
        position: u64,
        bytes: usize,
        limit: usize,
    ) -> usize {
        const HUGE: usize = CHUNK_BYTES.len() - 1;
        let step = match self.chunks.is_empty() {
            true => 0,
            false if self.step == HUGE && !(self.fast && pool.has_huge()) => HUGE - 1,
            false => self.step,
        };
        let wanted = CHUNK_BYTES[..=step]
            .iter()
            .rev()
            .find(|size| **size <= limit)
            .unwrap_or(&CHUNK_BYTES[0]);
        let needed = (position - block_start(position)) as usize + bytes;
        capacity_for(needed.max(*wanted))
    }

    /// Begins a chunk at `position`; it counts as clean until something is appended.
    pub(super) fn add_chunk(
        &mut self,
        pool: &SlabPool,
        serial: u64,
        segment: Offset,
        position: u64,
        capacity: usize,
    ) {
        let in_order = self
            .chunks
            .back()
            .is_none_or(|last| (last.segment, last.end) <= (segment, position));
        assert!(in_order, "a log grows at its end");
        self.step = if self.chunks.is_empty() {
            1
        } else {
            (self.step + 1).min(CHUNK_BYTES.len() - 1)
        };
        let before = self.block_before(segment, position);
        let before =
            before.expect("an image continues a block that is in memory (restore it first)");
        let chunk = Chunk::new(pool, serial, segment, position, capacity, before);
        assert_eq!(
            chunk.capacity(),
            capacity,
            "a capacity is one that the pool has"
        );
        self.chunks.push_back(chunk);
        self.tail = None;
    }

    /// The last chunk, counted as unflushed.
    pub(super) fn open_unflushed(&mut self, totals: &mut Totals) -> &mut Chunk {
        let chunk = self
            .chunks
            .back_mut()
            .expect("a chunk with room was found or made");
        if chunk.clean {
            chunk.clean = false;
            totals.unflushed_logs += usize::from(self.unflushed == 0);
            self.unflushed += 1;
            totals.clean_bytes -= chunk.capacity();
            totals.unflushed_bytes += chunk.capacity();
        }
        chunk
    }

    /// What lies in memory between the beginning of the block of `position` and `position`.
    pub(super) fn block_before(&self, segment: Offset, position: u64) -> Option<&[u8]> {
        let block = block_start(position);
        if block == position {
            return Some(&[]);
        }
        let holds = |chunk: &&Chunk| {
            chunk.segment == segment && chunk.start <= block && position <= chunk.end
        };
        if let Some(chunk) = self.chunks.iter().rev().find(holds) {
            return Some(chunk.bytes(block, position));
        }
        let tail = self.tail.as_ref()?;
        let held =
            tail.segment == segment && block_start(tail.end - 1) == block && position <= tail.end;
        held.then(|| &tail.bytes[..(position - block) as usize])
    }

    /// The chunk that owns a position.
    pub(super) fn index_of(&self, segment: Offset, position: u64) -> Option<usize> {
        let behind = self
            .chunks
            .partition_point(|chunk| (chunk.segment, chunk.from) <= (segment, position));
        let index = behind.checked_sub(1)?;
        self.chunks[index].owns(segment, position).then_some(index)
    }

    /// Removes the last chunk.
    pub(super) fn pop_chunk(&mut self, totals: &mut Totals) {
        let Some(chunk) = self.chunks.pop_back() else {
            return;
        };
        if chunk.clean {
            totals.clean_bytes -= chunk.capacity();
        } else {
            self.unflushed -= 1;
            totals.unflushed_bytes -= chunk.capacity();
            totals.unflushed_logs -= usize::from(self.unflushed == 0);
        }
    }

    /// Removes a clean chunk and says how much memory it had.
    pub(super) fn evict(&mut self, index: usize) -> usize {
        let last = index + 1 == self.chunks.len();
        let chunk = self.chunks.remove(index).expect("the caller found it");
        assert!(chunk.clean, "unflushed bytes are never evicted");
        let block = block_start(chunk.end);
        if last && block < chunk.end {
            self.tail = Some(Tail {
                segment: chunk.segment,
                end: chunk.end,
                bytes: chunk.bytes(block, chunk.end).into(),
            });
        }
        chunk.capacity()
    }
}

const _: () = assert!(CHUNK_BYTES[0] == BLOCK_BYTES);
