//! Blocks of segments that were read back, shared by all readers of them, and the reads that wait for one.
//!
//! Always: (1) a block is read once however many wait for it; (2) only bytes that were flushed when the read began are taken from
//! it; (3) every ticket given out is answered once;
//! (4) only a block of a file that is there is waited for.
//! Nothing of this enters the cache of chunks: cold reads never push out the tail.

use super::log_state::Task;
use super::ops::{BlockKey, Purpose};
use super::search::Search;
use super::shard_store::Store;
use super::types::{Found, Read, ReadTicket, StoreEffect};
use crate::commit::LogSlot;
use crate::disk::{BLOCK_BYTES, DiskOp};
use crate::ids::{LogNumber, Offset};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};

/// Segments are read back in blocks of so many bytes.
pub(super) const COLD_BYTES: u64 = 512 << 10;

/// A read that waits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Query {
    Read {
        from: Offset,
        max_bytes: usize,
        up_to: Offset,
        min_one: bool,
    },
    Find(Search),
    Cut,
}

#[derive(Debug)]
struct Waiting {
    ticket: ReadTicket,
    slot: LogSlot,
    on: BlockKey,
    query: Query,
}

#[derive(Debug)]
struct Held {
    /// `None` where it could not be read, while those who wait for it are told.
    bytes: Option<Bytes>,
    stamp: u64,
}

/// A block on its way.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// How many bytes of the segment count.
    counted: u64,
    /// Tells this read from an earlier one of the same block that is void.
    serial: u64,
}

/// What is known of a block.
#[derive(Debug)]
pub(super) enum Block<'a> {
    /// Its bytes, as far as they count.
    Held(&'a Bytes),
    /// It cannot be read.
    Broken,
    /// It is not in memory.
    Absent,
}

/// The blocks of a shard.
#[derive(Debug)]
pub(super) struct Blocks {
    held: HashMap<BlockKey, Held>,
    /// Being read, or to be read when the segment is open.
    reading: BTreeMap<BlockKey, Reading>,
    waiting: Vec<Waiting>,
    /// The last block that a reader took bytes of.
    shown: Option<BlockKey>,
    bytes: u64,
    bytes_max: u64,
    next_ticket: u64,
    next_stamp: u64,
}

impl Blocks {
    pub(super) fn new(bytes_max: u64) -> Blocks {
        Blocks {
            held: HashMap::new(),
            reading: BTreeMap::new(),
            waiting: Vec::new(),
            shown: None,
            bytes: 0,
            bytes_max,
            next_ticket: 0,
            next_stamp: 0,
        }
    }

    pub(super) fn block(&self, key: &BlockKey) -> Block<'_> {
        match self.held.get(key) {
            Some(Held {
                bytes: Some(bytes), ..
            }) => Block::Held(bytes),
            Some(_) => Block::Broken,
            None => Block::Absent,
        }
    }

    /// A reader takes bytes of a block.
    pub(super) fn show(&mut self, key: BlockKey) {
        self.shown = Some(key);
    }

    /// The last block that was shown since this was asked before.
    pub(super) fn take_shown(&mut self) -> Option<BlockKey> {
        self.shown.take()
    }

    /// Whether more may be read before somebody asks for it.
    pub(super) fn has_room_ahead(&self) -> bool {
        self.reading.len() as u64 * COLD_BYTES < self.bytes_max / 2
    }

    /// The block was used.
    pub(super) fn touch(&mut self, key: &BlockKey) {
        self.next_stamp += 1;
        if let Some(held) = self.held.get_mut(key) {
            held.stamp = self.next_stamp;
        }
    }

    fn insert(&mut self, key: BlockKey, bytes: Option<Bytes>) {
        self.next_stamp += 1;
        self.bytes += bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let stamp = self.next_stamp;
        self.held.insert(key, Held { bytes, stamp });
    }

    fn reading_of(&self, log: LogNumber, segment: Offset) -> Vec<(BlockKey, Reading)> {
        let of = |key: &BlockKey| key.log == log && key.segment == segment;
        let reading = self.reading.iter().filter(|(key, _)| of(key));
        reading.map(|(key, reading)| (*key, *reading)).collect()
    }

    fn remove(&mut self, key: &BlockKey) {
        if let Some(held) = self.held.remove(key) {
            self.bytes -= held.bytes.map_or(0, |bytes| bytes.len() as u64);
        }
    }

    /// Forgets the blocks that go longest without use until the rest fits.
    fn evict(&mut self) {
        // BOUND: what waits may need many blocks at once, a large batch for instance.
        let bytes_max = self.bytes_max * if self.waiting.is_empty() { 1 } else { 8 };
        while self.bytes > bytes_max {
            let oldest = self
                .held
                .iter()
                .min_by_key(|(_, held)| held.stamp)
                .map(|(key, _)| *key);
            let Some(oldest) = oldest else {
                return;
            };
            self.remove(&oldest);
        }
    }

    /// Gives the memory back, unless somebody waits for a part of it.
    pub(super) fn trim(&mut self) {
        if self.waiting.is_empty() {
            self.held = HashMap::new();
            self.bytes = 0;
        }
    }

    fn forget(&mut self, gone: impl Fn(&BlockKey) -> bool) {
        let keys: Vec<BlockKey> = self.held.keys().copied().filter(|key| gone(key)).collect();
        keys.iter().for_each(|key| self.remove(key));
        self.reading.retain(|key, _| !gone(key));
    }
}

impl Store {
    /// Waits for a block and gives the ticket.
    pub(super) fn wait_for(&mut self, slot: LogSlot, on: BlockKey, query: Query) -> ReadTicket {
        let ticket = self.next_ticket();
        self.wait_on(ticket, slot, on, query);
        ticket
    }

    /// A ticket that nobody has.
    pub(super) fn next_ticket(&mut self) -> ReadTicket {
        self.blocks.next_ticket += 1;
        ReadTicket(self.blocks.next_ticket)
    }

    /// Waits for a block with a ticket that was given.
    pub(super) fn wait_on(
        &mut self,
        ticket: ReadTicket,
        slot: LogSlot,
        on: BlockKey,
        query: Query,
    ) {
        self.want_block(slot, on);
        self.blocks.waiting.push(Waiting {
            ticket,
            slot,
            on,
            query,
        });
    }

    /// Reads a block unless it is there or on its way.
    pub(super) fn want_block(&mut self, slot: LogSlot, key: BlockKey) {
        if key.is_index() {
            return self.want_index(key);
        }
        if self.blocks.held.contains_key(&key) || self.blocks.reading.contains_key(&key) {
            return;
        }
        let counted = self.counted(slot, key.segment);
        let log = self.log(slot);
        let Some(file) = log.files.get(&key.segment).copied() else {
            return;
        };
        self.blocks.next_stamp += 1;
        let serial = self.blocks.next_stamp;
        self.blocks.reading.insert(key, Reading { counted, serial });
        match file.open.filter(|_| file.usable) {
            Some(_) => self.read_block(slot, key, Reading { counted, serial }),
            None => self.task(slot, Task::Open(key.segment)),
        }
    }

    fn read_block(&mut self, slot: LogSlot, key: BlockKey, reading: Reading) {
        let file = self.log(slot).files[&key.segment].open.expect("it is open");
        self.files.touch(slot, key.segment, file);
        self.files.begin(file);
        // Behind what counts a block may be unreadable.
        let counted = reading.counted.saturating_sub(key.index * COLD_BYTES);
        let bytes = counted.clamp(1, COLD_BYTES);
        let bytes = bytes.next_multiple_of(BLOCK_BYTES as u64);
        let read = DiskOp::Read {
            slot: file,
            position: key.index * COLD_BYTES,
            bytes: bytes as usize,
        };
        let purpose = Purpose::Block(key, file, reading.serial);
        self.ops.tell(purpose, read, &mut self.effects);
    }

    /// A segment was opened: the blocks that wait for it are read.
    pub(super) fn blocks_opened(&mut self, slot: LogSlot, segment: Offset) {
        let log = self.log(slot).number;
        let wanted = self.blocks.reading_of(log, segment);
        for (key, reading) in wanted {
            if !self.ops.reads(&key, reading.serial) {
                self.read_block(slot, key, reading);
            }
        }
    }

    /// A segment cannot be opened now: what waits for it is refused.
    pub(super) fn unopened(&mut self, slot: LogSlot, segment: Offset) {
        let log = self.log(slot).number;
        for (key, reading) in self.blocks.reading_of(log, segment) {
            self.block_read(key, reading.serial, None);
        }
    }

    /// A block was read, or could not be.
    pub(super) fn block_read(&mut self, key: BlockKey, serial: u64, bytes: Option<Bytes>) {
        let current = |reading: &&Reading| reading.serial == serial;
        if let Some(reading) = self.blocks.reading.get(&key).filter(current).copied() {
            self.blocks.reading.remove(&key);
            let counts = reading.counted.saturating_sub(key.index * COLD_BYTES) as usize;
            let bytes = bytes.map(|bytes| bytes.slice(..counts.min(bytes.len())));
            self.blocks.insert(key, bytes);
        }
        self.wake(key);
        if let Block::Broken = self.blocks.block(&key) {
            // Who comes next asks the disk again: it may have been a passing trouble.
            self.blocks.remove(&key);
        }
        self.blocks.evict();
    }

    /// What waits for a block asks again.
    pub(super) fn wake(&mut self, key: BlockKey) {
        let (ready, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.blocks.waiting)
            .into_iter()
            .partition(|waiting| waiting.on == key);
        self.blocks.waiting = rest;
        for waiting in ready {
            self.ask_again(waiting);
        }
    }

    fn ask_again(&mut self, waiting: Waiting) {
        let Waiting {
            ticket,
            slot,
            query,
            ..
        } = waiting;
        let missing = match query {
            Query::Read {
                from,
                max_bytes,
                up_to,
                min_one,
            } => match self.read_now(slot, from, max_bytes, up_to, min_one) {
                Ok(read) => {
                    self.stay_ahead(slot, max_bytes as u64);
                    self.effects.push(StoreEffect::ReadReady { ticket, read });
                    return;
                }
                Err(missing) => {
                    self.missed(slot, missing, max_bytes as u64);
                    missing
                }
            },
            Query::Find(search) => return self.search_again(ticket, slot, search),
            Query::Cut => return self.cut(slot),
        };
        self.wait_on(ticket, slot, missing, query);
    }

    /// The log is dropped: what waits for it is out of range.
    pub(super) fn forget_reads(&mut self, slot: LogSlot) {
        let log = self.log(slot).number;
        self.blocks.forget(|key| key.log == log);
        let (gone, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.blocks.waiting)
            .into_iter()
            .partition(|waiting| waiting.slot == slot);
        self.blocks.waiting = rest;
        for Waiting { ticket, query, .. } in gone {
            match query {
                Query::Read { .. } => self.effects.push(StoreEffect::ReadReady {
                    ticket,
                    read: Read::OutOfRange,
                }),
                Query::Find(_) => self.end_search(ticket, Found::None),
                Query::Cut => {}
            }
        }
    }

    /// More of a segment is flushed: the block that it ended in has to be read again.
    pub(super) fn block_grew(&mut self, slot: LogSlot, key: BlockKey) {
        self.blocks.remove(&key);
        if self.blocks.reading.remove(&key).is_some() {
            self.ask_all_again(slot);
        }
    }

    /// How many bytes of a segment are flushed.
    fn counted(&self, slot: LogSlot, segment: Offset) -> u64 {
        let log = self.log(slot);
        match segment == log.flushed.segment {
            true => log.flushed.position,
            false => log
                .layout
                .segment(segment)
                .map_or(0, |segment| segment.bytes),
        }
    }

    /// A truncation: blocks from this segment on are void.
    pub(super) fn forget_blocks(&mut self, slot: LogSlot, from: Offset) {
        let log = self.log(slot).number;
        self.blocks
            .forget(|key| key.log == log && key.segment >= from);
        for waiting in &mut self.blocks.waiting {
            if let Query::Find(search) = &mut waiting.query {
                search.begin_again();
            }
        }
        self.ask_all_again(slot);
    }

    /// Segments go.
    pub(super) fn forget_segments(&mut self, slot: LogSlot, gone: &[Offset]) {
        let log = self.log(slot).number;
        self.blocks
            .forget(|key| key.log == log && gone.contains(&key.segment));
        self.ask_all_again(slot);
    }

    /// What waits for a block that is void asks again.
    fn ask_all_again(&mut self, slot: LogSlot) {
        let (again, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.blocks.waiting)
            .into_iter()
            .partition(|waiting| waiting.slot == slot);
        self.blocks.waiting = rest;
        for waiting in again {
            self.ask_again(waiting);
        }
    }

    /// The key of the block that holds a position.
    pub(super) fn block_key(log: LogNumber, segment: Offset, position: u64) -> BlockKey {
        BlockKey {
            log,
            segment,
            index: position / COLD_BYTES,
        }
    }
}
