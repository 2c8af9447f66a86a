//! The search for a time: which batch has the record, and where in it.
//!
//! Always: (1) a batch whose records take long to look through is handed out (`StoreEffect::Look`), one of the shard at a time, and the
//! search goes on with the answer; (2) those who ask take turns, a batch each; (3) of batches that wait for their turn nothing is held,
//! so what a search may keep in memory is one batch; (4) an answer that comes when its log is gone, or was cut, is not used.
//! Leaves to others: looking through what was handed out, and the blocks that are missing (`blocks`).

use super::blocks::Query;
use super::ops::BlockKey;
use super::reads::{Stop, Walk};
use super::shard_store::Store;
use super::types::{Asker, Found, ReadTicket, Sought, StoreEffect};
use crate::batch::{self, BatchHead, Compression, InHead, Malformed};
use crate::commit::LogSlot;
use crate::ids::{LeaderEpoch, LogNumber, Now, Offset};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

/// A search decompresses at most so many bytes of one batch.
const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;
/// A batch that is not larger, and not compressed, is looked through at once: some 10 us.
const AT_ONCE_BYTES_MAX: usize = 32 << 10;
/// A search reads so far ahead of its walk.
const AHEAD_BYTES: u64 = 1 << 20;

/// A batch to look through, and what for.
#[derive(Clone, Debug)]
pub struct Look {
    data: Vec<Bytes>,
    timestamp: i64,
    from: Offset,
}

/// What was found in it.
pub type Looked = Result<Option<batch::Found>, Malformed>;

impl Look {
    /// Looks through the batch: as long as its records take to decompress.
    pub fn look(&self) -> Looked {
        let whole;
        let bytes: &[u8] = match self.data.as_slice() {
            [one] => one,
            pieces => {
                whole = pieces.concat();
                &whole
            }
        };
        batch::find_timestamp(bytes, self.timestamp, self.from, DECOMPRESSED_BYTES_MAX)
    }
}

/// A search under way: one round for `Sought::Since`, as many as halving takes for `Sought::Newest`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search {
    asker: Asker,
    up_to: Offset,
    /// The round is for the first record at or behind this (ms).
    timestamp: i64,
    /// Where the round goes on; `None` at its beginning.
    at: Option<(Offset, u64)>,
    halving: Option<Halving>,
}

/// Between which timestamps the newest one lies.
#[derive(Clone, Copy, Debug)]
struct Halving {
    low: i64,
    high: i64,
    best: Found,
}

impl Search {
    /// `None` where there is nothing to find. What the segments know as their newest timestamp is almost always that of a record.
    /// Where it is not, because that record lies at or above `up_to`, or was cut away or deleted, halving finds what is.
    fn new(sought: Sought, up_to: Offset, asker: Asker, newest: i64) -> Option<Search> {
        let (timestamp, halving) = match sought {
            Sought::Since(timestamp) => (timestamp, None),
            Sought::Newest if newest < -1 => return None,
            Sought::Newest => {
                let (low, high, best) = (-1, newest, Found::None);
                (newest, Some(Halving { low, high, best }))
            }
        };
        Some(Search {
            asker,
            up_to,
            timestamp,
            at: None,
            halving,
        })
    }

    /// The round begins anew: where it was is no longer a place of the log.
    pub(super) fn begin_again(&mut self) {
        self.at = None;
    }

    /// The end of the search, if what the round gave is; else the next round begins.
    fn take_round(&mut self, found: Found) -> Option<Found> {
        let Some(halving) = &mut self.halving else {
            return Some(found);
        };
        match found {
            Found::At { timestamp, .. } if timestamp >= halving.high => return Some(found),
            Found::At { timestamp, .. } => {
                halving.best = found;
                halving.low = timestamp + 1;
            }
            Found::None => halving.high = self.timestamp - 1,
            Found::Damaged | Found::Wait(_) => return Some(found),
        }
        if halving.low > halving.high {
            return Some(halving.best);
        }
        self.timestamp = i64::midpoint(halving.low, halving.high);
        self.at = None;
        None
    }
}

/// A batch of a segment.
#[derive(Clone, Copy, Debug)]
struct Spot {
    segment: Offset,
    position: u64,
    end: u64,
    epoch: LeaderEpoch,
}

/// Why a search stops.
enum Pause {
    Missing(BlockKey),
    Laborious(Spot),
}

#[derive(Clone, Copy, Debug)]
struct Parked {
    ticket: ReadTicket,
    slot: LogSlot,
    search: Search,
}

/// The search whose batch was handed out; `None` where its log is gone.
#[derive(Clone, Copy, Debug)]
struct Handed {
    ticket: ReadTicket,
    /// With the batch, unless the log was cut since.
    search: Option<(LogSlot, Search, Option<Spot>)>,
}

/// The searches of a shard that have come to a batch that takes long.
#[derive(Debug, Default)]
pub(super) struct Searches {
    parked: BTreeMap<Asker, VecDeque<Parked>>,
    /// Who had the last turn.
    last: Option<Asker>,
    /// Whose turn it is: a block is read for it, or its batch is handed out.
    turn: Option<ReadTicket>,
    handed: Option<Handed>,
}

impl Searches {
    fn is_free(&self) -> bool {
        self.turn.is_none() && self.handed.is_none()
    }

    fn park(&mut self, parked: Parked) {
        let of_asker = self.parked.entry(parked.search.asker).or_default();
        of_asker.push_back(parked);
    }

    /// The next in turn.
    fn next(&mut self) -> Option<Parked> {
        let behind = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let mut behind = self.parked.range((behind, Bound::Unbounded));
        let asker = *behind.next().or_else(|| self.parked.iter().next())?.0;
        let of_asker = self.parked.get_mut(&asker)?;
        let next = of_asker.pop_front();
        if of_asker.is_empty() {
            self.parked.remove(&asker);
        }
        self.last = Some(asker);
        next
    }

    /// Gives up what searches a log, and tells whom.
    fn forget(&mut self, slot: LogSlot) -> Vec<ReadTicket> {
        let mut gone = Vec::new();
        self.parked.retain(|_, of_asker| {
            of_asker.retain(|parked| {
                if parked.slot == slot {
                    gone.push(parked.ticket);
                }
                parked.slot != slot
            });
            !of_asker.is_empty()
        });
        if let Some(handed) = &mut self.handed
            && handed.search.take_if(|search| search.0 == slot).is_some()
        {
            gone.push(handed.ticket);
        }
        gone
    }

    fn begin_again(&mut self, slot: LogSlot) {
        for parked in self.parked.values_mut().flatten() {
            if parked.slot == slot {
                parked.search.begin_again();
            }
        }
        if let Some(handed) = &mut self.handed
            && let Some((_, search, spot)) = handed.search.as_mut().filter(|one| one.0 == slot)
        {
            search.begin_again();
            *spot = None;
        }
    }
}

impl Store {
    /// The first record below `up_to` that is as sought.
    pub fn find(
        &mut self,
        now: Now,
        log: LogNumber,
        sought: Sought,
        up_to: Offset,
        asker: Asker,
    ) -> Found {
        self.now = now;
        let Some(slot) = self.slot(log) else {
            return Found::None;
        };
        let newest = self.log(slot).layout.max_timestamp();
        let Some(mut search) = Search::new(sought, up_to, asker, newest) else {
            return Found::None;
        };
        match self.search_now(slot, &mut search) {
            Ok(found) => found,
            Err(pause) => {
                let ticket = self.next_ticket();
                self.pause(ticket, slot, search, pause);
                Found::Wait(ticket)
            }
        }
    }

    /// A batch that was handed out was looked through.
    pub fn looked(&mut self, now: Now, ticket: ReadTicket, looked: Looked) {
        self.now = now;
        let handed = self.searches.handed.take();
        let handed = handed.expect("a batch is looked through when it was handed out");
        assert_eq!(handed.ticket, ticket, "one batch is handed out at a time");
        self.end_turn(ticket);
        if let Some((slot, mut search, spot)) = handed.search {
            let round = spot.and_then(|spot| self.round_of(slot, &mut search, &spot, looked));
            match round.and_then(|found| search.take_round(found)) {
                Some(found) => self.end_search(ticket, found),
                None => self.try_again(ticket, slot, search),
            }
        }
        self.call_next();
    }

    /// What a search waited for is there.
    pub(super) fn search_again(&mut self, ticket: ReadTicket, slot: LogSlot, search: Search) {
        self.try_again(ticket, slot, search);
        self.call_next();
    }

    /// The answer of a search.
    pub(super) fn end_search(&mut self, ticket: ReadTicket, found: Found) {
        self.end_turn(ticket);
        self.effects.push(StoreEffect::FindReady { ticket, found });
    }

    /// The log is dropped: there is nothing to find in it.
    pub(super) fn forget_searches(&mut self, slot: LogSlot) {
        for ticket in self.searches.forget(slot) {
            self.end_search(ticket, Found::None);
        }
        self.call_next();
    }

    /// The log is cut: places in it are void.
    pub(super) fn begin_searches_again(&mut self, slot: LogSlot) {
        self.searches.begin_again(slot);
    }

    fn end_turn(&mut self, ticket: ReadTicket) {
        self.searches.turn.take_if(|turn| *turn == ticket);
    }

    fn call_next(&mut self) {
        while self.searches.is_free() {
            let Some(Parked {
                ticket,
                slot,
                search,
            }) = self.searches.next()
            else {
                return;
            };
            self.searches.turn = Some(ticket);
            self.try_again(ticket, slot, search);
        }
    }

    fn try_again(&mut self, ticket: ReadTicket, slot: LogSlot, mut search: Search) {
        match self.search_now(slot, &mut search) {
            Ok(found) => self.end_search(ticket, found),
            Err(pause) => {
                if let Pause::Missing(missing) = pause {
                    self.missed(slot, missing, AHEAD_BYTES);
                }
                self.pause(ticket, slot, search, pause);
            }
        }
    }

    fn pause(&mut self, ticket: ReadTicket, slot: LogSlot, mut search: Search, pause: Pause) {
        let spot = match pause {
            Pause::Missing(missing) => {
                return self.wait_on(ticket, slot, missing, Query::Find(search));
            }
            Pause::Laborious(spot) => spot,
        };
        search.at = Some((spot.segment, spot.position));
        if !self.searches.is_free() && self.searches.turn != Some(ticket) {
            return self.searches.park(Parked {
                ticket,
                slot,
                search,
            });
        }
        let mut data = Vec::new();
        self.collect(slot, spot.segment, &(spot.position..spot.end), &mut data);
        let look = Look {
            data,
            timestamp: search.timestamp,
            from: self.log(slot).layout.log_start(),
        };
        self.searches.turn = Some(ticket);
        self.searches.last = Some(search.asker);
        self.searches.handed = Some(Handed {
            ticket,
            search: Some((slot, search, Some(spot))),
        });
        self.effects.push(StoreEffect::Look { ticket, look });
    }

    /// The search from where it is, or what it must wait for.
    fn search_now(&mut self, slot: LogSlot, search: &mut Search) -> Result<Found, Pause> {
        loop {
            let found = self.round_now(slot, search)?;
            if let Some(found) = search.take_round(found) {
                return Ok(found);
            }
        }
    }

    fn round_now(&mut self, slot: LogSlot, search: &Search) -> Result<Found, Pause> {
        let (up_to, timestamp) = (self.shown_up_to(slot, search), search.timestamp);
        let log_start = self.log(slot).layout.log_start();
        let Some(mut walk) = self.round_start(slot, search)? else {
            return Ok(Found::None);
        };
        loop {
            if walk.position >= walk.bytes {
                match self.next_walk(slot, walk.segment) {
                    Some(next) => walk = next,
                    None => return Ok(Found::None),
                }
                continue;
            }
            let head = match self.batch_at(slot, &walk) {
                Ok(head) => head,
                Err(Stop::Damaged) => return Ok(Found::Damaged),
                Err(Stop::Missing(missing)) => return Err(Pause::Missing(missing)),
            };
            if head.base_offset >= up_to {
                return Ok(Found::None);
            }
            let end = walk.position + head.bytes as u64;
            if head.end_offset() > log_start {
                let spot = Spot {
                    segment: walk.segment,
                    position: walk.position,
                    end,
                    epoch: head.leader_epoch,
                };
                match self.look_in(slot, &spot, &head, timestamp, log_start)? {
                    Ok(Some(found)) if found.offset >= up_to => return Ok(Found::None),
                    Ok(Some(found)) => return Ok(at(found, head.leader_epoch)),
                    Ok(None) => {}
                    Err(_) => return Ok(Found::Damaged),
                }
            }
            walk.position = end;
        }
    }

    /// What a batch has, unless that takes long to tell.
    fn look_in(
        &mut self,
        slot: LogSlot,
        spot: &Spot,
        head: &BatchHead,
        timestamp: i64,
        from: Offset,
    ) -> Result<Looked, Pause> {
        match batch::find_in_head(head, timestamp, from) {
            InHead::Nothing => return Ok(Ok(None)),
            InHead::Found(found) => return Ok(Ok(Some(found))),
            InHead::AmongRecords => {}
        }
        let is_plain = head.attributes.compression() == Some(Compression::None);
        if !is_plain || head.bytes > AT_ONCE_BYTES_MAX {
            return Err(Pause::Laborious(*spot));
        }
        let mut data = Vec::new();
        self.collect(slot, spot.segment, &(spot.position..spot.end), &mut data);
        let look = Look {
            data,
            timestamp,
            from,
        };
        Ok(look.look())
    }

    /// What the round gives after a batch was looked through elsewhere; `None` where it goes on.
    fn round_of(
        &self,
        slot: LogSlot,
        search: &mut Search,
        spot: &Spot,
        looked: Looked,
    ) -> Option<Found> {
        match looked {
            // The log start has moved meanwhile.
            Ok(Some(found)) if found.offset < self.log(slot).layout.log_start() => {
                search.begin_again();
                None
            }
            Ok(Some(found)) if found.offset >= self.shown_up_to(slot, search) => Some(Found::None),
            Ok(Some(found)) => Some(at(found, spot.epoch)),
            Ok(None) => {
                search.at = Some((spot.segment, spot.end));
                None
            }
            Err(_) => Some(Found::Damaged),
        }
    }

    fn shown_up_to(&self, slot: LogSlot, search: &Search) -> Offset {
        let cutting = self.log(slot).cutting;
        cutting.map_or(search.up_to, |cut| cut.min(search.up_to))
    }

    fn round_start(&self, slot: LogSlot, search: &Search) -> Result<Option<Walk>, Pause> {
        let layout = &self.log(slot).layout;
        if let Some((segment, position)) = search.at
            && let Some(held) = layout.segment(segment)
        {
            return Ok(Some(Walk {
                segment,
                position,
                bytes: held.bytes,
            }));
        }
        let walk = self.walk_of(slot, layout.locate_time(search.timestamp));
        walk.map_err(Pause::Missing)
    }
}

fn at(found: batch::Found, epoch: LeaderEpoch) -> Found {
    Found::At {
        offset: found.offset,
        timestamp: found.timestamp,
        epoch,
    }
}
