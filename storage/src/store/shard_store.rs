//! `Store`: what the engine asks of one shard's logs.

use super::blocks::{Block, Blocks, COLD_BYTES};
use super::discards::Discards;
use super::files::FileSlots;
use super::indexes::Indexes;
use super::journal::Journal;
use super::leftovers::Leftovers;
use super::log_state::LogState;
use super::names::Names;
use super::ops::Ops;
use super::rest::{Rest, SharedSync};
use super::search::Searches;
use super::types::{
    Acknowledge, AppendRefused, LogConfig, OpenLog, OpenRefused, StoreConfig, StoreEffect,
};
use crate::batch::{BatchHead, Stamp, stamp};
use crate::cache::{Budgets, Cache, SlabPool};
use crate::commit::{Commit, CommitConfig, LogSlot, Run};
use crate::disk::{BLOCK_BYTES, DiskDone, WriteSync};
use crate::format::{LogPath, Place, log_dir};
use crate::ids::{
    LeaderEpoch, LogNumber, NodeId, Now, NumberMap, Offset, ShardIndex, Tick, TopicId,
};
use crate::log::Layout;
use crate::pieces::Pieces;
use crate::prefetch;
use crate::recovery::Recovered;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The settled producers of a log, asked for when a checkpoint is taken: writes their encoding and returns the offset
/// they are settled up to (the high watermark), or `None` where the log has none.
pub type SettledProducers<'a> = dyn FnMut(LogNumber, &mut Vec<u8>) -> Option<Offset> + 'a;

/// All logs of one shard.
pub struct Store {
    pub(super) config: StoreConfig,
    pub(super) node: NodeId,
    pub(super) now: Now,
    pub(super) commit: Commit,
    pub(super) cache: Cache,
    pub(super) journal: Journal,
    pub(super) indexes: Indexes,
    pub(super) leftovers: Leftovers,
    /// How many logs live in the directory of a topic.
    pub(super) living: BTreeMap<(ShardIndex, TopicId), u32>,
    pub(super) logs: Pieces<Option<LogState>>,
    pub(super) by_number: NumberMap<LogNumber, LogSlot>,
    pub(super) next_log: LogNumber,
    pub(super) ops: Ops,
    pub(super) files: FileSlots,
    pub(super) discards: Discards,
    /// How many logs keep a former segment for their next one.
    pub(super) reused: usize,
    /// How many segments are to be kept so, and are not yet.
    pub(super) reuses_wait: usize,
    pub(super) zero_block: Bytes,
    pub(super) blocks: Blocks,
    pub(super) searches: Searches,
    /// Where the round of retention goes on, and when the next one begins.
    pub(super) retention_next: usize,
    pub(super) retention_at: Tick,
    pub(super) rest: Rest,
    pub(super) shared_sync: SharedSync,
    pub(super) names: Names,
    pub(super) effects: Vec<StoreEffect>,
}

impl Store {
    /// A shard's logs as recovery left them. Every one of them has the default `LogConfig` until `configure`.
    pub fn new(config: StoreConfig, recovered: Recovered, now: Now) -> Store {
        let commit_config = CommitConfig {
            file_bytes: config.journal_file_bytes,
            files_min: config.journal_files_min,
            files_max: config.journal_files_max,
            slow_extent_bytes: config.large_bytes,
            ..config.commit.clone()
        };
        let seeds: Vec<_> = recovered.logs.iter().map(super::journal::seed_of).collect();
        let journal_seed = super::journal::journal_seed(&recovered);
        let mut store = Store {
            node: recovered.node,
            now,
            commit: Commit::new(commit_config, &journal_seed, &seeds, now.tick),
            cache: Cache::new(Budgets {
                unflushed_bytes: config.unflushed_bytes_max as usize,
                clean_bytes: config.clean_bytes_max as usize,
                free_bytes: (config.clean_bytes_max / 4) as usize,
            }),
            journal: Journal::new(&recovered),
            indexes: Indexes::new(config.index_bytes_max),
            leftovers: Leftovers::new(&recovered.dropped),
            living: BTreeMap::new(),
            logs: Pieces::default(),
            by_number: NumberMap::default(),
            next_log: recovered.next_log,
            ops: Ops::default(),
            files: FileSlots::new(config.open_files_max),
            discards: Discards::new(config.discard_bytes, now.tick),
            reused: 0,
            reuses_wait: 0,
            zero_block: Bytes::new(),
            blocks: Blocks::new(config.cold_bytes_max),
            searches: Searches::default(),
            retention_next: 0,
            retention_at: now.tick,
            rest: Rest::new(now.tick),
            shared_sync: SharedSync::default(),
            names: Names::default(),
            effects: Vec::new(),
            config,
        };
        store.zero_block = store.zeros(BLOCK_BYTES);
        store.open_journal(&recovered);
        store.adopt(recovered);
        store.remove_leftover();
        store
    }

    /// Begins the life of a log; it takes appends at once and has no file before its first flush.
    pub fn open_log(&mut self, now: Now, open: OpenLog) -> Result<(), OpenRefused> {
        self.now = now;
        if self.by_number.contains_key(&open.log) {
            return Err(OpenRefused::Exists);
        }
        let start = Place::at_start(open.start);
        let slot = self.commit.open(open.log, start);
        let path = LogPath {
            home: self.config.shard,
            topic: open.topic,
            partition: open.partition,
            log: open.log,
        };
        let interval = open.config.index_interval_bytes;
        let log = LogState {
            number: open.log,
            directory: log_dir(&path),
            path,
            metadata_index: open.metadata_index,
            config: open.config,
            directory_durable: false,
            layout: Layout::new(open.start, now.wall, interval),
            start: open.start,
            end: start,
            log_start_told: open.start,
            high_watermark: open.start,
            purged: open.start,
            durable_told: open.start,
            flushed: start,
            marked: start.segment,
            replaces: open.replaces,
            files: BTreeMap::new(),
            indexed: BTreeSet::new(),
            indexing: None,
            successor: None,
            reused: None,
            succeeded: None,
            shorten: None,
            shortening: None,
            fresh_end: false,
            roll_next: false,
            tasks: VecDeque::new(),
            busy: false,
            extent_sync: WriteSync::None,
            extent_writes: 0,
            first_block: None,
            cutting: None,
            discards: 0,
            dropped: false,
            suspect: false,
            damage: Vec::new(),
        };
        self.next_log = self.next_log.max(LogNumber(open.log.0 + 1));
        self.place_log(slot, log);
        Ok(())
    }

    pub(super) fn place_log(&mut self, slot: LogSlot, log: LogState) {
        self.by_number.insert(log.number, slot);
        self.moves_in(&log.path);
        let index = slot.0 as usize;
        while self.logs.len() <= index {
            self.logs.push(None);
        }
        self.logs[index] = Some(log);
    }

    /// Ends the life of a log: no append, read or effect of it follows; its directory goes in the background.
    pub fn drop_log(&mut self, now: Now, log: LogNumber) {
        self.now = now;
        let Some(slot) = self.slot(log) else {
            return;
        };
        let state = self.log_mut(slot);
        state.dropped = true;
        let path = state.path;
        self.moves_out(&path);
        self.commit.drop_log(slot);
        self.cache.drop_log(log);
        self.forget_reads(slot);
        self.forget_searches(slot);
        self.pump();
    }

    /// Gives a log other limits.
    pub fn configure(&mut self, log: LogNumber, config: LogConfig) {
        if let Some(slot) = self.slot(log) {
            self.log_mut(slot).config = config;
        }
    }

    /// Whether `append` of so many bytes would be taken now. Asked before the partition assigns offsets.
    pub fn admits(&self, log: LogNumber, bytes: usize) -> bool {
        self.slot(log)
            .is_some_and(|slot| self.refusal(slot, bytes).is_none())
    }

    fn refusal(&self, slot: LogSlot, bytes: usize) -> Option<AppendRefused> {
        let log = self.log(slot);
        let end = &log.end;
        let stale = log.fresh_end
            && self.commit.cut_waits(slot)
            && !self.cache.continues(log.number, end.segment, end.position);
        let taken = log.cutting.is_none()
            && !stale
            && self.commit.admits(bytes as u64)
            && self.cache.admits(log.number, bytes);
        (!taken).then_some(AppendRefused::NoSpace)
    }

    /// Brings near the processor what appends to these logs will touch.
    pub fn warm(&self, logs: impl Iterator<Item = LogNumber> + Clone) {
        let slots = || logs.clone().filter_map(|log| self.by_number.get(&log));
        for slot in slots() {
            prefetch::value(self.log(*slot));
            self.commit.warm(*slot);
        }
        for log in logs.clone() {
            self.cache.warm(log);
        }
        for slot in slots() {
            self.log(*slot).layout.warm();
        }
        for log in logs.clone() {
            self.cache.warm_end(log);
        }
    }

    /// Appends one batch: copies it into the log's chunk and stamps it there. Offsets must be at or above the log's end,
    /// epochs never fall; the batch is one that `batch::validate` accepted.
    pub fn append(
        &mut self,
        now: Now,
        log: LogNumber,
        batch: &Bytes,
        marks: Stamp,
    ) -> Result<(), AppendRefused> {
        self.now = now;
        self.rest = Rest::new(now.tick);
        let slot = self.slot(log).ok_or(AppendRefused::NoLog)?;
        if let Some(refused) = self.refusal(slot, batch.len()) {
            return Err(refused);
        }
        let head = BatchHead::parse(batch).expect("a batch is validated before it is appended");
        assert_eq!(head.bytes, batch.len(), "one batch is appended at a time");
        let head = marks.head(head);
        self.roll_before(slot, &head);
        let state = self.logs[slot.0 as usize].as_mut().expect("just found");
        let (end, fast) = (state.end, self.commit.is_fast(slot));
        let room = self
            .cache
            .append(log, end.segment, end.position, batch.len(), fast);
        room.copy_from_slice(batch);
        stamp(room, &marks);
        state.layout.append(&head, now.wall);
        let run = Run {
            segment: state.end.segment,
            position: state.end.position,
            bytes: batch.len() as u64,
            previous_end: state.end.offset,
            previous_epoch: state.end.epoch,
            base: head.base_offset,
            end: head.end_offset(),
            epoch: head.leader_epoch,
        };
        state.end = run.end_place();
        state.fresh_end = false;
        if state.config.acknowledge == Acknowledge::Memory {
            let end = run.end;
            self.effects.push(StoreEffect::Durable { log, end });
        }
        self.commit.append(slot, run, now.tick);
        Ok(())
    }

    /// Begins another segment where this batch does not go into the active one any more.
    fn roll_before(&mut self, slot: LogSlot, head: &BatchHead) {
        let now = self.now.wall;
        let state = self.logs[slot.0 as usize].as_mut().expect("a known log");
        let empty = state.layout.active().is_empty();
        let full = state.layout.rolls_before(head, now, &state.config.roll());
        // Where the block that the log ends in is not in memory, a new segment needs no read.
        let lost = !self
            .cache
            .continues(state.number, state.end.segment, state.end.position);
        // ORDER: behind a cut or a restart stale bytes may follow in the block that the log ends in; the first batch has that block
        // written again before a restart looks for the end of the segment in it. Where it goes elsewhere all the same, a mark says
        // where the segment ends.
        let partial = state.fresh_end && !state.end.position.is_multiple_of(BLOCK_BYTES as u64);
        let beyond = !state.layout.active().reaches(head.last_offset());
        if !empty && (lost || beyond || (!partial && (full || state.roll_next))) {
            state.roll_next = false;
            let segment = state.layout.roll(now);
            let left = (state.end.segment, state.end.position);
            let flushed = (state.flushed.segment, state.flushed.position) == left;
            state.end = Place {
                segment,
                position: 0,
                ..state.end
            };
            if partial && self.commit.may_step(slot) {
                self.commit.step_over(slot, state.end);
            }
            // Otherwise it is when it is flushed.
            if flushed {
                self.segment_full(slot, left.0);
            }
        }
    }

    /// Cuts a log to the batch boundary at or below `to`; appends may follow as soon as `admits` says so.
    pub fn truncate(&mut self, now: Now, log: LogNumber, to: Offset) {
        self.now = now;
        let Some(slot) = self.slot(log) else {
            return;
        };
        if to < self.log(slot).end.offset {
            self.log_mut(slot).cutting = Some(to);
            self.cut(slot);
        }
    }

    /// Cuts as soon as the place of the cut is known.
    pub(super) fn cut(&mut self, slot: LogSlot) {
        let Some(to) = self.log(slot).cutting else {
            return;
        };
        let Some(place) = self.boundary(slot, to) else {
            return;
        };
        let log = self.logs[slot.0 as usize].as_mut().expect("a known log");
        log.cutting = None;
        if place.segment == log.end.segment && place.position >= log.end.position {
            return;
        }
        let gone = log
            .layout
            .truncate(place.segment, place.position, place.offset);
        log.end = place;
        log.durable_told = log.durable_told.min(place.offset);
        log.high_watermark = log.high_watermark.min(place.offset);
        if (log.flushed.segment, log.flushed.position) > (place.segment, place.position) {
            log.flushed = place;
        }
        log.marked = log.marked.min(place.segment);
        log.damage.retain(|range| range.to.offset <= place.offset);
        log.fresh_end = true;
        let number = log.number;
        self.cache.truncate(number, place.segment, place.position);
        self.keep_last_block(number, &place);
        self.forget_blocks(slot, place.segment);
        self.begin_searches_again(slot);
        self.commit.truncate(slot, place);
        assert!(gone.iter().all(|segment| *segment > place.segment));
        self.pump();
    }

    /// The block that a cut leaves partial stays in memory: it was read to find the place.
    fn keep_last_block(&mut self, log: LogNumber, place: &Place) {
        if self.cache.continues(log, place.segment, place.position) {
            return;
        }
        let block = place.position - place.position % BLOCK_BYTES as u64;
        let key = Store::block_key(log, place.segment, block);
        let (from, to) = (
            block % COLD_BYTES,
            place.position - block + block % COLD_BYTES,
        );
        if let Block::Held(bytes) = self.blocks.block(&key)
            && let Some(bytes) = bytes.get(from as usize..to as usize)
        {
            self.cache.restore(log, place.segment, block, bytes);
        }
    }

    /// Moves the log start up; `StartMoved` follows when it is durable.
    pub fn set_log_start(&mut self, now: Now, log: LogNumber, log_start: Offset) {
        self.now = now;
        let Some(slot) = self.slot(log) else {
            return;
        };
        let state = self.log_mut(slot);
        if log_start <= state.layout.log_start() || log_start > state.end.offset {
            return;
        }
        state.layout.set_log_start(log_start);
        self.commit.set_start(slot, log_start);
    }

    /// What the checkpoint keeps as high watermark, and below which retention may delete.
    pub fn set_high_watermark(&mut self, log: LogNumber, high_watermark: Offset) {
        if let Some(slot) = self.slot(log) {
            self.log_mut(slot).high_watermark = high_watermark;
        }
    }

    /// Where an epoch ends: the start of the next larger one the log has, or the log end; with the largest epoch at or
    /// below the one asked for (KIP-101). `None` where the log has no epoch at or below it.
    pub fn epoch_end(&self, log: LogNumber, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let state = self.state(log)?;
        state.layout.epochs().end_of(epoch, state.end.offset)
    }

    /// The epoch of the batch that holds an offset; `None` outside of the log and for a log that is not open.
    pub fn epoch_at(&self, log: LogNumber, offset: Offset) -> Option<LeaderEpoch> {
        let state = self.state(log)?;
        let held = state.layout.log_start() <= offset && offset < state.end.offset;
        held.then(|| state.layout.epochs().at(offset)).flatten()
    }

    /// The first offset that may be read; `None` for a log that is not open.
    pub fn log_start(&self, log: LogNumber) -> Option<Offset> {
        self.state(log).map(|state| state.layout.log_start())
    }

    /// The offset of the next append.
    pub fn log_end(&self, log: LogNumber) -> Option<Offset> {
        self.state(log)
            .map(|state| state.cutting.unwrap_or(state.end.offset))
    }

    /// The end of what survives a power cut.
    pub fn durable(&self, log: LogNumber) -> Option<Offset> {
        self.slot(log).map(|slot| self.commit.durable(slot))
    }

    /// Bytes of all segments of a log.
    pub fn log_bytes(&self, log: LogNumber) -> Option<u64> {
        self.state(log).map(|state| state.layout.bytes())
    }

    /// What the log cannot read: damaged ranges, and whether its end is in doubt.
    pub fn damage(&self, log: LogNumber) -> Option<(&[crate::format::DamagedRange], bool)> {
        self.state(log)
            .map(|state| (state.damage.as_slice(), state.suspect))
    }

    /// The pool that chunks and windows come from: reads of the shard go into its buffers too.
    pub fn pool(&self) -> &SlabPool {
        self.cache.pool()
    }

    /// Every number a log of this shard ever had is smaller.
    pub fn next_log(&self) -> LogNumber {
        self.next_log
    }

    /// An operation has ended.
    pub fn done(&mut self, now: Now, done: DiskDone) {
        self.now = now;
        self.completed(done);
        self.pump();
    }

    /// The end of a ring turn: gathers windows, picks flushes, takes a due checkpoint.
    pub fn turn(&mut self, now: Now, settled: &mut SettledProducers<'_>) {
        self.now = now;
        self.expire();
        self.wake_jobs();
        let unflushed = self.cache.unflushed_bytes() as u64;
        let short = unflushed * 2 > self.config.unflushed_bytes_max;
        let resting = self.go_to_rest() && unflushed > 0;
        self.commit.press_memory(short || resting);
        if self.journal.opening == 0 {
            self.commit.turn(now.tick);
        }
        self.pump_with(settled);
        self.sync_names();
        self.discard_on();
        self.close_surplus();
    }

    /// Flushes and checkpoints everything; `idle` tells when that is done. No append may follow.
    pub fn stop(&mut self, now: Now) {
        self.now = now;
        self.leftovers.stop();
        self.discards.stop();
        self.commit.stop();
    }

    /// Whether nothing is in flight and, behind `stop`, nothing waits to be written.
    pub fn idle(&self) -> bool {
        self.ops.is_empty() && self.commit.idle()
    }

    /// Whether no operation is in flight.
    pub fn is_quiet(&self) -> bool {
        self.ops.is_empty()
    }

    /// When `turn` next wants to be called though nothing happens.
    pub fn deadline(&self) -> Option<Tick> {
        let retention = (!self.by_number.is_empty()).then_some(self.retention_at);
        let deadlines = [
            self.commit.deadline(),
            retention,
            self.rest.deadline(),
            self.names.deadline(),
            self.discards.deadline(),
            self.ops.deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Moves the effects so far to the end of `into`, in order.
    pub fn drain(&mut self, into: &mut Vec<StoreEffect>) {
        into.append(&mut self.effects);
    }

    /// Asserts every invariant; walks all logs.
    pub fn check(&self) {
        self.commit.check();
        self.cache.check();
        for log in self.logs.iter().flatten().filter(|log| !log.dropped) {
            log.layout.check();
            assert_eq!(log.layout.active().base, log.end.segment);
            assert_eq!(log.layout.active().bytes, log.end.position);
        }
    }

    // ---- for the parts of the store

    /// The slot of a living log.
    pub(super) fn slot(&self, log: LogNumber) -> Option<LogSlot> {
        let slot = *self.by_number.get(&log)?;
        (!self.log(slot).dropped).then_some(slot)
    }

    fn state(&self, log: LogNumber) -> Option<&LogState> {
        self.slot(log).map(|slot| self.log(slot))
    }

    pub(super) fn log(&self, slot: LogSlot) -> &LogState {
        self.logs[slot.0 as usize]
            .as_ref()
            .expect("a slot names a log until it is forgotten")
    }

    pub(super) fn log_mut(&mut self, slot: LogSlot) -> &mut LogState {
        self.logs[slot.0 as usize]
            .as_mut()
            .expect("a slot names a log until it is forgotten")
    }
}
