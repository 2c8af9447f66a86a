//! The cache of one shard: the chunks of every log, what is flushed of them, and who goes when memory is short.
//!
//! Always: (1) unflushed memory is never evicted, clean memory never exceeds what it may take after a call; (2) the chunks of a log
//! lie in order and do not overlap in the bytes they own; (3) the block a log ends in stays in memory when its chunk goes, so that
//! an append never waits for a read.
//! Eviction is least recently used with a second chance: what was read since the last look goes to the back of the queue.
//! Clean memory begins small and grows towards its budget by what readers miss: memory that goes round costs nothing, memory that is
//! new to the process costs the kernel seconds of clearing per GiB, and a log nobody reads back needs none.
//! Leaves to others: cold reads (they use [`SlabPool`] buffers and never enter the cache), and when to flush.

use super::chunk::block_start;
use super::log_chunks::{LogChunks, Tail, Totals};
use super::slab::SlabPool;
use crate::disk::BLOCK_BYTES;
use crate::ids::{LogNumber, NumberMap, Offset};
use crate::prefetch;
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::Range;

/// Clean memory that a shard keeps before any reader has missed something. It holds what readers at the tail are behind.
const CLEAN_BYTES_AT_FIRST: usize = 256 << 20;

/// Rooms of chunks that are not used yet take at most so much, or a quarter of the budget.
const ROOM_BYTES_MAX: usize = 256 << 20;

/// So much behind the end of a log is brought near before an append: a larger one takes its time anyway.
const WARM_BYTES: usize = 256;

/// How much memory the chunks of a shard may take, in bytes of capacity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budgets {
    /// Chunks with bytes that are not flushed; beyond it `admits` says no.
    pub unflushed_bytes: usize,
    /// Chunks that could be read again from their segment, at most: see [`Cache::missed`].
    pub clean_bytes: usize,
    /// Free memory kept for the next chunk.
    pub free_bytes: usize,
}

/// Some of the bytes asked for are not in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Missing;

/// The chunks of all logs of a shard.
#[derive(Debug)]
pub struct Cache {
    budgets: Budgets,
    pool: SlabPool,
    logs: NumberMap<LogNumber, LogChunks>,
    /// Clean chunks, the next to go first; an entry whose chunk is gone or unflushed again is stale.
    clean_queue: VecDeque<(LogNumber, u64)>,
    totals: Totals,
    /// What clean chunks may take now; at most their budget.
    clean_bytes_max: usize,
    next_serial: u64,
}

impl Cache {
    /// An empty cache.
    pub fn new(budgets: Budgets) -> Cache {
        Cache {
            budgets,
            pool: SlabPool::new(budgets.free_bytes),
            logs: NumberMap::default(),
            clean_queue: VecDeque::new(),
            totals: Totals::default(),
            clean_bytes_max: budgets.clean_bytes.min(CLEAN_BYTES_AT_FIRST),
            next_serial: 0,
        }
    }

    /// A reader missed `bytes` bytes that lie `behind` bytes before the end of their log. What a larger cache would have held
    /// makes it larger, by as much.
    pub fn missed(&mut self, bytes: usize, behind: u64) {
        if behind <= self.budgets.clean_bytes as u64 {
            self.clean_bytes_max = (self.clean_bytes_max + bytes).min(self.budgets.clean_bytes);
        }
    }

    /// Room for `bytes` contiguous bytes at `position` of the segment, to be filled before anything else is asked of the cache;
    /// they count as published and unflushed. Refuses nothing: ask `admits` before.
    ///
    /// The position is where this log's image ends, or 0 of a new segment. A log without an image (after recovery, or after
    /// a truncation into evicted bytes) begins on a block boundary; where `continues` says no, `restore` that block first.
    /// A `fast` log grows in larger chunks.
    pub fn append(
        &mut self,
        log: LogNumber,
        segment: Offset,
        position: u64,
        bytes: usize,
        fast: bool,
    ) -> &mut [u8] {
        let limit = self.chunk_bytes_max();
        let entry = self.logs.entry(log).or_default();
        if entry.open_room(segment, position) < bytes {
            let capacity = entry.next_capacity(&self.pool, position, bytes, limit);
            self.next_serial += 1;
            entry.add_chunk(&self.pool, self.next_serial, segment, position, capacity);
            self.totals.clean_bytes += capacity;
        }
        // For the next chunk: `admits` counts with the same.
        entry.fast = fast;
        entry.open_unflushed(&mut self.totals).extend(bytes)
    }

    /// Brings near the processor the chunk that a log grows in: what is known of it, and in a second step where its bytes end.
    pub fn warm(&self, log: LogNumber) {
        let chunk = self.logs.get(&log).and_then(|entry| entry.chunks.back());
        chunk.map(prefetch::value);
    }

    /// The second step.
    pub fn warm_end(&self, log: LogNumber) {
        let chunk = self.logs.get(&log).and_then(|entry| entry.chunks.back());
        if let Some(chunk) = chunk {
            prefetch::end_of(chunk.bytes(chunk.from, chunk.end), WARM_BYTES);
        }
    }

    /// Whether an append at this place finds the beginning of its block in memory.
    pub fn continues(&self, log: LogNumber, segment: Offset, position: u64) -> bool {
        position == block_start(position)
            || self
                .logs
                .get(&log)
                .is_some_and(|entry| entry.block_before(segment, position).is_some())
    }

    /// Whether `bytes` more bytes of a log stay within the budget of unflushed memory.
    pub fn admits(&self, log: LogNumber, bytes: usize) -> bool {
        let limit = self.chunk_bytes_max();
        let more = match self.logs.get(&log) {
            Some(entry) => match entry.chunks.back() {
                Some(chunk) if chunk.room() >= bytes && !chunk.clean => 0,
                Some(chunk) if chunk.room() >= bytes => chunk.capacity(),
                _ => entry.next_capacity(&self.pool, BLOCK_BYTES as u64 - 1, bytes, limit),
            },
            None => LogChunks::default().next_capacity(&self.pool, 0, bytes, limit),
        };
        self.totals.unflushed_bytes + more <= self.budgets.unflushed_bytes
    }

    /// Puts flushed bytes in front of a log that has no image there: what was read of the block its end lies in.
    /// `position` is block-aligned, and the next append continues behind the bytes. There are none where the end is that of a block.
    pub fn restore(&mut self, log: LogNumber, segment: Offset, position: u64, bytes: &[u8]) {
        assert_eq!(
            position,
            block_start(position),
            "an image begins on a block"
        );
        assert!(
            bytes.len() <= BLOCK_BYTES,
            "only the last block is restored"
        );
        let entry = self.logs.entry(log).or_default();
        entry.tail = (!bytes.is_empty()).then(|| Tail {
            segment,
            end: position + bytes.len() as u64,
            bytes: bytes.into(),
        });
    }

    /// Slices of the bytes `range` of a segment, in order.
    pub fn slices(
        &mut self,
        log: LogNumber,
        segment: Offset,
        range: Range<u64>,
        out: &mut Vec<Bytes>,
    ) -> Result<(), Missing> {
        let entry = self.logs.get_mut(&log).ok_or(Missing)?;
        let first = entry.index_of(segment, range.start).ok_or(Missing)?;
        let held = out.len();
        let mut at = range.start;
        for chunk in entry.chunks.range_mut(first..) {
            if at >= range.end || !chunk.owns(segment, at) {
                break;
            }
            chunk.read = true;
            let to = range.end.min(chunk.end);
            out.push(chunk.share(at, to));
            at = to;
        }
        whole_or_missing(at >= range.end, held, out)
    }

    /// Published bytes from `position` to the end of the chunk they lie in. A batch that was appended in one piece is whole
    /// in what is returned for its position.
    pub fn peek(&self, log: LogNumber, segment: Offset, position: u64) -> Option<&[u8]> {
        let entry = self.logs.get(&log)?;
        let chunk = &entry.chunks[entry.index_of(segment, position)?];
        Some(chunk.bytes(position, chunk.end))
    }

    /// Up to which position of the segment everything from `position` on is in memory.
    pub fn held_until(&self, log: LogNumber, segment: Offset, position: u64) -> Option<u64> {
        let entry = self.logs.get(&log)?;
        let first = entry.index_of(segment, position)?;
        let mut at = position;
        for chunk in entry.chunks.range(first..) {
            if !chunk.owns(segment, at) {
                break;
            }
            at = chunk.end;
        }
        Some(at)
    }

    /// Slices for an O_DIRECT write of the blocks that `range` touches: block-aligned in address and length, from the block of
    /// `range.start` on. A last partial block is copied, its rest zeros; no slice changes when more is appended.
    pub fn staged(
        &self,
        log: LogNumber,
        segment: Offset,
        range: Range<u64>,
        out: &mut Vec<Bytes>,
    ) -> Result<(), Missing> {
        let entry = self.logs.get(&log).ok_or(Missing)?;
        let first = entry.index_of(segment, range.start).ok_or(Missing)?;
        let held = out.len();
        let whole = block_start(range.end);
        let mut at = block_start(range.start);
        let mut chunks = entry
            .chunks
            .range(first..)
            .take_while(|chunk| chunk.segment == segment)
            .peekable();
        while let Some(chunk) = chunks.next() {
            if at >= range.end || chunk.start > at {
                break;
            }
            let next_start = chunks.peek().map_or(u64::MAX, |next| next.start);
            let to = block_start(chunk.end).min(next_start).min(whole);
            if to > at {
                out.push(chunk.share(at, to));
                at = to;
            }
            if at == whole && chunk.end >= range.end && range.end > at {
                out.push(padded(&self.pool, chunk.bytes(at, range.end)));
                at = range.end;
            }
        }
        whole_or_missing(at >= range.end, held, out)
    }

    /// Everything of the log up to this place is flushed, in this segment and those before it.
    pub fn clean(&mut self, log: LogNumber, segment: Offset, up_to: u64) {
        let Some(entry) = self.logs.get_mut(&log) else {
            return;
        };
        let first = entry.chunks.len() - entry.unflushed;
        let LogChunks {
            chunks, unflushed, ..
        } = entry;
        for chunk in chunks.range_mut(first..) {
            if (chunk.segment, chunk.end) > (segment, up_to) {
                break;
            }
            chunk.clean = true;
            *unflushed -= 1;
            self.totals.cleaned(chunk.capacity(), *unflushed);
            if !chunk.queued {
                chunk.queued = true;
                self.clean_queue.push_back((log, chunk.serial));
            }
        }
        self.evict_to(self.clean_bytes_max);
    }

    /// Forgets everything of the log from this place on. Slices that somebody holds stay as they are.
    pub fn truncate(&mut self, log: LogNumber, segment: Offset, position: u64) {
        let Some(entry) = self.logs.get_mut(&log) else {
            return;
        };
        let block: Option<Box<[u8]>> = entry.block_before(segment, position).map(Into::into);
        while entry
            .chunks
            .back()
            .is_some_and(|chunk| (chunk.segment, chunk.from) >= (segment, position))
        {
            entry.pop_chunk(&mut self.totals);
        }
        if let Some(chunk) = entry.chunks.back_mut()
            && (chunk.segment, chunk.end) > (segment, position)
        {
            chunk.cut(position);
        }
        entry.tail = block.filter(|bytes| !bytes.is_empty()).map(|bytes| Tail {
            segment,
            end: position,
            bytes,
        });
    }

    /// Forgets a log.
    pub fn drop_log(&mut self, log: LogNumber) {
        if let Some(mut entry) = self.logs.remove(&log) {
            while !entry.chunks.is_empty() {
                entry.pop_chunk(&mut self.totals);
            }
        }
    }

    /// Memory of chunks with bytes that are not flushed.
    pub fn unflushed_bytes(&self) -> usize {
        self.totals.unflushed_bytes
    }

    /// Memory of chunks that are wholly flushed.
    pub fn clean_bytes(&self) -> usize {
        self.totals.clean_bytes
    }

    /// The pool that chunks come from, for windows and reads of the same shard.
    pub fn pool(&self) -> &SlabPool {
        &self.pool
    }

    /// Gives back what an idle shard does not need: all clean chunks and all free memory.
    pub fn trim(&mut self) {
        self.clean_bytes_max = self.budgets.clean_bytes.min(CLEAN_BYTES_AT_FIRST);
        self.evict_to(0);
        self.clean_queue.shrink_to(64);
        self.pool.trim();
    }

    /// Asserts what always holds.
    pub fn check(&self) {
        let mut sums = Totals::default();
        for entry in self.logs.values() {
            let first_unflushed = entry.chunks.len() - entry.unflushed;
            sums.unflushed_logs += usize::from(entry.unflushed > 0);
            for (index, chunk) in entry.chunks.iter().enumerate() {
                assert_eq!(
                    chunk.clean,
                    index < first_unflushed,
                    "clean chunks lie before unflushed ones"
                );
                assert!(chunk.from <= chunk.end, "a chunk ends behind its beginning");
                *(if chunk.clean {
                    &mut sums.clean_bytes
                } else {
                    &mut sums.unflushed_bytes
                }) += chunk.capacity();
                if let Some(next) = entry.chunks.get(index + 1) {
                    assert!(
                        (chunk.segment, chunk.end) <= (next.segment, next.from),
                        "chunks lie in order"
                    );
                    assert!(chunk.serial < next.serial, "serials rise");
                }
            }
        }
        assert_eq!(sums.unflushed_bytes, self.totals.unflushed_bytes);
        assert_eq!(sums.clean_bytes, self.totals.clean_bytes);
        assert_eq!(sums.unflushed_logs, self.totals.unflushed_logs);
    }

    /// BOUND: the rooms not yet used of all logs that have unflushed bytes, so that ten thousand slow partitions do not take a
    /// large chunk each.
    fn chunk_bytes_max(&self) -> usize {
        let rooms = ROOM_BYTES_MAX.min(self.budgets.unflushed_bytes / 4);
        rooms / self.totals.unflushed_logs.max(1)
    }

    fn evict_to(&mut self, clean_bytes_max: usize) {
        while self.totals.clean_bytes > clean_bytes_max {
            let Some((log, serial)) = self.clean_queue.pop_front() else {
                return;
            };
            let Some(entry) = self.logs.get_mut(&log) else {
                continue;
            };
            let Ok(index) = entry
                .chunks
                .binary_search_by_key(&serial, |chunk| chunk.serial)
            else {
                continue;
            };
            let chunk = &mut entry.chunks[index];
            if !chunk.clean {
                chunk.queued = false;
            } else if std::mem::take(&mut chunk.read) {
                self.clean_queue.push_back((log, serial));
            } else {
                self.totals.clean_bytes -= entry.evict(index);
            }
        }
    }
}

fn whole_or_missing(whole: bool, held: usize, out: &mut Vec<Bytes>) -> Result<(), Missing> {
    if whole {
        return Ok(());
    }
    out.truncate(held);
    Err(Missing)
}

fn padded(pool: &SlabPool, bytes: &[u8]) -> Bytes {
    let mut block = pool.take(BLOCK_BYTES);
    block[..bytes.len()].copy_from_slice(bytes);
    block[bytes.len()..].fill(0);
    block.freeze()
}
