//! Reading: whole batches from chunks or from blocks that were read back.
//!
//! Always: (1) what is returned are whole batches as they were appended; those that come from disk are verified; (2) a query looks only
//! at what is in memory and names the first block that it misses, so it can be asked again.

use super::blocks::{Block, COLD_BYTES, Query};
use super::ops::BlockKey;
use super::rest::Rest;
use super::shard_store::Store;
use super::types::Read;
use crate::batch::{BatchHead, HEADER_BYTES};
use crate::commit::LogSlot;
use crate::format::Place;
use crate::ids::{LogNumber, Now, Offset};
use crate::log::Located;
use bytes::Bytes;

/// Where the CRC of a batch begins to count.
const CRC_FROM: usize = 21;

/// A walk over batches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    pub(super) segment: Offset,
    pub(super) position: u64,
    /// The end of the segment's batches.
    pub(super) bytes: u64,
}

/// Why a walk stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    Missing(BlockKey),
    Damaged,
}

impl Store {
    /// Reads whole batches from the one that holds `from`, none that begins at or above `up_to`, at most `max_bytes` (one
    /// batch at least with `min_one`).
    pub fn read(
        &mut self,
        now: Now,
        log: LogNumber,
        from: Offset,
        max_bytes: usize,
        up_to: Offset,
        min_one: bool,
    ) -> Read {
        self.now = now;
        self.rest = Rest::new(now.tick);
        let Some(slot) = self.slot(log) else {
            return Read::OutOfRange;
        };
        match self.read_now(slot, from, max_bytes, up_to, min_one) {
            Ok(read) => {
                self.stay_ahead(slot, max_bytes as u64);
                read
            }
            Err(missing) => {
                let query = Query::Read {
                    from,
                    max_bytes,
                    up_to,
                    min_one,
                };
                self.missed(slot, missing, max_bytes as u64);
                Read::Wait(self.wait_for(slot, missing, query))
            }
        }
    }

    /// A reader of so many bytes finds nothing in memory: what it will want next is read too.
    pub(super) fn missed(&mut self, slot: LogSlot, from: BlockKey, bytes: u64) {
        if from.is_index() {
            return;
        }
        let layout = &self.log(slot).layout;
        let behind = layout
            .bytes_from(from.segment)
            .saturating_sub(from.index * COLD_BYTES);
        self.cache.missed(COLD_BYTES as usize, behind);
        self.read_ahead(slot, from, bytes);
    }

    /// What a reader of so many bytes got came from disk: what it will want next is read while it takes that.
    pub(super) fn stay_ahead(&mut self, slot: LogSlot, bytes: u64) {
        let log = self.log(slot).number;
        if let Some(last) = self.blocks.take_shown()
            && last.log == log
        {
            self.read_ahead(slot, last, bytes * 2);
        }
    }

    fn read_ahead(&mut self, slot: LogSlot, from: BlockKey, bytes: u64) {
        let held = self.log(slot).layout.segment(from.segment);
        let held = held.map_or(0, |it| it.bytes);
        // BOUND: at most 4 MiB ahead of one reader, and half of the memory for blocks on its way to all of them, or they would
        // drive out what nobody has read yet.
        let blocks = bytes.min(4 << 20) / COLD_BYTES + 1;
        for index in from.index + 1..=from.index + blocks {
            if index * COLD_BYTES < held && self.blocks.has_room_ahead() {
                self.want_block(slot, BlockKey { index, ..from });
            }
        }
    }

    /// The read, or the block that is missing for it.
    pub(super) fn read_now(
        &mut self,
        slot: LogSlot,
        from: Offset,
        max_bytes: usize,
        up_to: Offset,
        min_one: bool,
    ) -> Result<Read, BlockKey> {
        let log = self.log(slot);
        let up_to = log.cutting.map_or(up_to, |cut| cut.min(up_to));
        if from < log.layout.log_start() || from > log.end.offset {
            return Ok(Read::OutOfRange);
        }
        if log
            .damage
            .iter()
            .any(|range| range.from.offset <= from && from < range.to.offset)
        {
            return Ok(Read::Damaged);
        }
        let mut data = Vec::new();
        let Some(mut walk) = self.walk_from(slot, from)?.filter(|_| from < up_to) else {
            return Ok(Read::Ready { data, end: from });
        };
        let mut end = from;
        let mut total = 0;
        let mut range = walk.position..walk.position;
        loop {
            if walk.position >= walk.bytes {
                self.collect(slot, walk.segment, &range, &mut data);
                let Some(next) = self.next_walk(slot, walk.segment) else {
                    break;
                };
                walk = next;
                range = 0..0;
                continue;
            }
            let head = match self.batch_at(slot, &walk) {
                Ok(head) => head,
                Err(stop) if total > 0 => {
                    if let Stop::Missing(missing) = stop {
                        self.want_block(slot, missing);
                    }
                    self.collect(slot, walk.segment, &range, &mut data);
                    break;
                }
                Err(Stop::Damaged) => return Ok(Read::Damaged),
                Err(Stop::Missing(missing)) => return Err(missing),
            };
            let wanted = head.end_offset() > from;
            let over = total + head.bytes > max_bytes && (total > 0 || !min_one);
            if wanted && (head.base_offset >= up_to || over) {
                self.collect(slot, walk.segment, &range, &mut data);
                break;
            }
            if wanted {
                if total == 0 || range.is_empty() {
                    range.start = walk.position;
                }
                total += head.bytes;
                end = head.end_offset();
                range.end = walk.position + head.bytes as u64;
            }
            walk.position += head.bytes as u64;
        }
        Ok(Read::Ready { data, end })
    }

    /// The place in front of the batch that holds `to`, below the log's end; `None` while a block for it is read.
    pub(super) fn boundary(&mut self, slot: LogSlot, to: Offset) -> Option<Place> {
        match self.boundary_now(slot, to) {
            Ok(place) => Some(place),
            Err(Stop::Missing(missing)) => {
                self.wait_for(slot, missing, Query::Cut);
                None
            }
            Err(Stop::Damaged) => {
                let path = self.log(slot).path;
                self.fatal(format!(
                    "no batch boundary at offset {to} of {path:?}: what lies there cannot be read, or does not check"
                ));
                None
            }
        }
    }

    /// The place in front of the batch that holds an offset, if everything needed to tell it is in memory.
    pub(super) fn boundary_now(&mut self, slot: LogSlot, to: Offset) -> Result<Place, Stop> {
        let from = to.max(self.log(slot).layout.log_start());
        let Some(mut start) = self.walk_from(slot, from).map_err(Stop::Missing)? else {
            return Ok(self.log(slot).end);
        };
        loop {
            let mut walk = start;
            let mut before: Option<BatchHead> = None;
            let head = loop {
                if walk.position >= walk.bytes {
                    let Some(next) = self.next_walk(slot, walk.segment) else {
                        return Ok(self.log(slot).end);
                    };
                    walk = next;
                    continue;
                }
                let head = self.batch_at(slot, &walk)?;
                if head.end_offset() > to {
                    break head;
                }
                before = Some(head);
                walk.position += head.bytes as u64;
            };
            if before.is_some() || walk.position == 0 {
                return Ok(self.place_before(slot, &walk, before));
            }
            // The walk began at the batch itself: it begins anew before it, to know what lies in front.
            let former = self.walk_from(slot, Offset(head.base_offset.0 - 1));
            let former = former.map_err(Stop::Missing)?;
            start = match former.filter(|former| former.segment == walk.segment) {
                Some(former) => former,
                None => Walk {
                    position: 0,
                    ..walk
                },
            };
        }
    }

    fn place_before(&self, slot: LogSlot, walk: &Walk, before: Option<BatchHead>) -> Place {
        let (offset, epoch) = match before {
            Some(head) => (head.end_offset(), head.leader_epoch),
            None => {
                // The batch before lies in a former segment, which may be gone, and its epoch with it from the layout.
                let layout = &self.log(slot).layout;
                let mut former = layout
                    .segments()
                    .rev()
                    .filter(|segment| segment.base < walk.segment);
                let end = former.next().map_or(walk.segment, |segment| segment.end);
                let known = layout.epochs().at(Offset(end.0 - 1));
                (
                    end,
                    known.unwrap_or_else(|| self.commit.epoch_before(slot, end)),
                )
            }
        };
        Place {
            segment: walk.segment,
            position: walk.position,
            offset,
            epoch,
        }
    }

    fn walk_from(&self, slot: LogSlot, from: Offset) -> Result<Option<Walk>, BlockKey> {
        self.walk_of(slot, self.log(slot).layout.locate(from))
    }

    /// A walk from a place of a log, or the index that is missing for it.
    pub(super) fn walk_of(
        &self,
        slot: LogSlot,
        located: Located,
    ) -> Result<Option<Walk>, BlockKey> {
        Ok(match located {
            Located::At {
                segment,
                position,
                bytes,
            } => Some(Walk {
                segment,
                position,
                bytes,
            }),
            Located::NeedsIndex { segment } => {
                return Err(BlockKey::of_index(self.log(slot).number, segment));
            }
            Located::Nowhere => None,
        })
    }

    pub(super) fn next_walk(&self, slot: LogSlot, segment: Offset) -> Option<Walk> {
        let next = self.log(slot).layout.next_segment(segment)?;
        Some(Walk {
            segment: next.base,
            position: 0,
            bytes: next.bytes,
        })
    }

    /// The head of the batch at a walk's position. Where recovery did not look at it, it is indexed now: a walk that is asked
    /// again, or goes on later, begins where this one came to.
    pub(super) fn batch_at(&mut self, slot: LogSlot, walk: &Walk) -> Result<BatchHead, Stop> {
        let head = self.checked_batch(slot, walk).map_err(|stop| match stop {
            Stop::Missing(key) if !self.log(slot).files.contains_key(&key.segment) => Stop::Damaged,
            stop => stop,
        })?;
        let layout = &mut self.log_mut(slot).layout;
        if layout.walked(walk.segment, walk.position, &head) {
            self.keep_index(slot, walk.segment);
        }
        Ok(head)
    }

    /// The head of a batch; one that comes from disk is there as a whole and verified.
    fn checked_batch(&mut self, slot: LogSlot, walk: &Walk) -> Result<BatchHead, Stop> {
        let log = self.log(slot).number;
        if let Some(held) = self.cache.peek(log, walk.segment, walk.position)
            && held.len() >= HEADER_BYTES
        {
            return BatchHead::parse(held).map_err(|_| Stop::Damaged);
        }
        let mut header = [0; HEADER_BYTES];
        let mut filled = 0;
        self.pieces_of(
            log,
            walk.segment,
            walk.position,
            HEADER_BYTES as u64,
            |piece| {
                header[filled..filled + piece.len()].copy_from_slice(piece);
                filled += piece.len();
            },
        )?;
        let head = BatchHead::parse(&header).map_err(|_| Stop::Damaged)?;
        if walk.position + head.bytes as u64 > walk.bytes {
            return Err(Stop::Damaged);
        }
        let crc_from = walk.position + CRC_FROM as u64;
        let mut crc = 0;
        self.pieces_of(
            log,
            walk.segment,
            crc_from,
            (head.bytes - CRC_FROM) as u64,
            |piece| {
                crc = crc32c::crc32c_append(crc, piece);
            },
        )?;
        self.blocks
            .touch(&Store::block_key(log, walk.segment, walk.position));
        match crc == head.crc {
            true => Ok(head),
            false => Err(Stop::Damaged),
        }
    }

    /// Shows the bytes of a range, from chunks or blocks.
    fn pieces_of(
        &self,
        log: LogNumber,
        segment: Offset,
        from: u64,
        bytes: u64,
        mut show: impl FnMut(&[u8]),
    ) -> Result<(), Stop> {
        let end = from + bytes;
        let mut at = from;
        while at < end {
            if let Some(held) = self.cache.peek(log, segment, at) {
                let piece = &held[..held.len().min((end - at) as usize)];
                show(piece);
                at += piece.len() as u64;
                continue;
            }
            let key = Store::block_key(log, segment, at);
            let held = match self.blocks.block(&key) {
                Block::Held(held) => held,
                Block::Broken => return Err(Stop::Damaged),
                Block::Absent => return Err(Stop::Missing(key)),
            };
            let piece = held.get((at % COLD_BYTES) as usize..).unwrap_or(&[]);
            if piece.is_empty() {
                return Err(Stop::Damaged);
            }
            let piece = &piece[..piece.len().min((end - at) as usize)];
            show(piece);
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// Slices of a range whose batches were all looked at.
    pub(super) fn collect(
        &mut self,
        slot: LogSlot,
        segment: Offset,
        range: &std::ops::Range<u64>,
        data: &mut Vec<Bytes>,
    ) {
        let log = self.log(slot).number;
        let mut at = range.start;
        while at < range.end {
            if let Some(until) = self
                .cache
                .held_until(log, segment, at)
                .filter(|until| *until > at)
            {
                let to = until.min(range.end);
                let taken = self.cache.slices(log, segment, at..to, data);
                taken.expect("held until there");
                at = to;
                continue;
            }
            let key = Store::block_key(log, segment, at);
            let Block::Held(held) = self.blocks.block(&key) else {
                unreachable!("every batch of the range was looked at");
            };
            let from = (at % COLD_BYTES) as usize;
            let to = held.len().min(from + (range.end - at) as usize);
            data.push(held.slice(from..to));
            self.blocks.show(key);
            at += (to - from) as u64;
        }
    }
}
