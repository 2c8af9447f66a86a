//! The journal's files and windows: building, chaining, writing, and what recovery left of them.
//!
//! Always: the next window carries the CRC of the one built before it, so windows are built in the order of their sequence.

use super::log_state::{LogState, SegmentFile};
use super::ops::{Job, JobEnd, JobId, Purpose};
use super::shard_store::Store;
use super::tasks::shared;
use super::types::LogConfig;
use crate::cache::Cache;
use crate::commit::{BlockImage, JournalSeed, LogSeed, LogSlot, Planned, WindowPlan};
use crate::disk::{BLOCK_BYTES, Caching, DiskOp, FileSlot, OpenMode, WriteSync};
use crate::format::{
    Append, Entry, EpochStart, Image, JournalFileState, Open, Place, WindowBuilder, WindowHeader,
    journal_path, log_dir, shard_dir,
};
use crate::ids::{LogNumber, Now, Offset, ShardIndex, Tick};
use crate::log::{Epochs, Layout, Segment, SegmentIndex};
use crate::recovery::{Recovered, RecoveredCheckpoint, RecoveredLog};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// A new journal file is zeroed in writes of so many bytes.
const ZERO_BYTES: usize = 256 << 10;
/// Windows go in between: before each of these writes comes a pause, unless they need the file.
const ZERO_PAUSE_MS: u64 = 2;

/// What the store keeps of the journal.
#[derive(Debug)]
pub(super) struct Journal {
    pub(super) shard: ShardIndex,
    pub(super) layout: u32,
    pub(super) run: u64,
    /// Of the newest window built.
    pub(super) last_crc: u32,
    pub(super) checkpoint: RecoveredCheckpoint,
    pub(super) files: Vec<JournalFileState>,
    slots: BTreeMap<u32, FileSlot>,
    /// Files whose `Open` has not completed: no window leaves before.
    pub(super) opening: usize,
}

impl Journal {
    pub(super) fn new(recovered: &Recovered) -> Journal {
        Journal {
            shard: recovered.shard,
            layout: recovered.layout,
            run: recovered.run,
            last_crc: recovered.journal.last_crc,
            checkpoint: recovered.checkpoint,
            files: recovered.journal.files.clone(),
            slots: BTreeMap::new(),
            opening: 0,
        }
    }

    /// The slot of a file that exists.
    pub(super) fn slot(&self, file: u32) -> FileSlot {
        self.slots[&file]
    }

    /// Any file, for a sync of everything.
    pub(super) fn any_slot(&self) -> FileSlot {
        *self.slots.values().next().expect("a journal has a file")
    }
}

/// The journal as the commit machine wants it.
pub(super) fn journal_seed(recovered: &Recovered) -> JournalSeed {
    let journal = &recovered.journal;
    JournalSeed {
        in_use: journal.in_use.clone(),
        free: journal.free.clone(),
        position: journal.position,
        sequence: journal.last.sequence,
        last_position: journal.last.position,
        checkpoint: recovered.checkpoint.sequence,
    }
}

/// A recovered log as the commit machine wants it.
pub(super) fn seed_of(log: &RecoveredLog) -> LogSeed {
    let mut rolled: Vec<Place> = Vec::new();
    let mut journaled: Vec<(u32, Place)> = Vec::new();
    let mut at = log.synced_end;
    for piece in &log.unflushed {
        if piece.start.segment != at.segment {
            rolled.push(at);
        }
        at = piece.end;
        match journaled.last_mut() {
            Some((file, place)) if *file == piece.window.file => *place = piece.end,
            _ => journaled.push((piece.window.file, piece.end)),
        }
    }
    if log.end.segment != at.segment {
        rolled.push(at);
    }
    LogSeed {
        number: log.log,
        synced_end: log.synced_end,
        rolled,
        end: log.end,
        log_start: log.log_start,
        epochs: held_epochs(log),
        journaled,
    }
}

/// Epochs that a batch was appended under; one that was only announced is announced again.
fn held_epochs(log: &RecoveredLog) -> Vec<EpochStart> {
    let held = log
        .epochs
        .iter()
        .filter(|epoch| epoch.start < log.end.offset);
    held.copied().collect()
}

impl Store {
    /// Opens the journal files for writing; windows wait for it.
    pub(super) fn open_journal(&mut self, recovered: &Recovered) {
        for state in &recovered.journal.files {
            let slot = self.files.take();
            self.journal.slots.insert(state.file, slot);
            self.journal.opening += 1;
            let open = DiskOp::Open {
                slot,
                path: shared(&journal_path(self.journal.shard, state.file)),
                mode: OpenMode::ReadWrite,
                caching: Caching::Direct,
            };
            self.ops.tell(Purpose::OpenJournal, open, &mut self.effects);
        }
    }

    /// Takes over the logs: places, indexes, and the bytes that are only in the journal.
    pub(super) fn adopt(&mut self, recovered: Recovered) {
        for (index, log) in recovered.logs.into_iter().enumerate() {
            let slot = LogSlot(index as u32);
            self.restore_bytes(&log);
            let spare_bytes = log.spare_bytes;
            let state = log_state(log, self.now);
            let spare = shared(&state.spare_path());
            self.place_log(slot, state);
            if spare_bytes > 0 {
                self.discard_file(slot, spare, spare_bytes);
            }
        }
    }

    fn restore_bytes(&mut self, log: &RecoveredLog) {
        let block = log.synced_end.position / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
        if block + log.tail.len() as u64 == log.synced_end.position {
            self.cache
                .restore(log.log, log.synced_end.segment, block, &log.tail);
        }
        for piece in &log.unflushed {
            let room = self.cache.append(
                log.log,
                piece.start.segment,
                piece.start.position,
                piece.bytes.len(),
                false,
            );
            room.copy_from_slice(&piece.bytes);
        }
    }

    /// Builds a window and writes it.
    pub(super) fn write_window(&mut self, plan: WindowPlan) {
        let mut buffer = self.cache.pool().take(plan.bytes as usize);
        let mut builder = WindowBuilder::new(&mut buffer);
        for (slot, planned) in &plan.entries {
            let log = self.logs[slot.0 as usize]
                .as_ref()
                .expect("a planned log lives");
            match planned {
                Planned::Append(run) => {
                    let entry = Entry::Append(Append {
                        log: log.number,
                        segment: run.segment,
                        position: run.position,
                        previous_end: run.previous_end,
                        previous_epoch: run.previous_epoch,
                        base: run.base,
                        end: run.end,
                        epoch: run.epoch,
                        bytes: u32::try_from(run.bytes)
                            .expect("a run is smaller than a journal file"),
                    });
                    let pieces = pieces(
                        &self.cache,
                        log.number,
                        run.segment,
                        run.position,
                        run.bytes,
                    );
                    builder.push_with(&entry, pieces);
                }
                Planned::Image(block) => {
                    let held = log.first_block.as_ref();
                    let held = held.expect("a block whose image is taken is kept");
                    let part = &held.data[0][..block.bytes as usize];
                    builder.push_with(&image_entry(log, block), [part]);
                }
                Planned::Tail(block) => {
                    let BlockImage {
                        segment,
                        position,
                        bytes,
                    } = *block;
                    let pieces = pieces(&self.cache, log.number, segment, position, bytes);
                    builder.push_with(&image_entry(log, block), pieces);
                }
                control => builder.push(&control_entry(log, control)),
            }
        }
        let sealed = builder.finish(&WindowHeader {
            node: self.node,
            shard: self.journal.shard,
            run: self.journal.run,
            sequence: plan.sequence,
            known_synced: plan.known_synced,
            checkpoint: plan.checkpoint,
            previous_crc: self.journal.last_crc,
        });
        assert_eq!(
            sealed.bytes as u64, plan.bytes,
            "a window is as long as it was planned"
        );
        self.journal.last_crc = sealed.crc;
        buffer.set_len(sealed.bytes);
        let write = DiskOp::Write {
            slot: self.journal.slot(plan.file),
            position: plan.position,
            data: vec![buffer.freeze()],
            sync: WriteSync::Data,
        };
        self.ops
            .tell(Purpose::Window(plan.sequence), write, &mut self.effects);
    }

    /// Makes a journal file: zeros, synced, its name synced.
    pub(super) fn create_journal_file(&mut self, file: u32) {
        let slot = self.files.take();
        self.journal.slots.insert(file, slot);
        let bytes = self.config.journal_file_bytes;
        let mut steps = VecDeque::from([DiskOp::Open {
            slot,
            path: shared(&journal_path(self.journal.shard, file)),
            mode: OpenMode::Create,
            caching: Caching::Direct,
        }]);
        steps.push_back(DiskOp::Reserve {
            slot,
            position: 0,
            bytes,
            reservation: self.config.reservation,
        });
        let zeros = self.zeros(ZERO_BYTES.min(bytes as usize));
        let mut position = 0;
        while position < bytes {
            let length = zeros.len().min((bytes - position) as usize);
            steps.push_back(DiskOp::Write {
                slot,
                position,
                data: vec![zeros.slice(..length)],
                sync: WriteSync::None,
            });
            position += length as u64;
        }
        steps.push_back(DiskOp::SyncData { slot });
        steps.push_back(DiskOp::SyncDir {
            path: shared(&shard_dir(self.journal.shard)),
        });
        let end = JobEnd::JournalFile(file);
        self.ops.start(Job { steps, end }, &mut self.effects);
    }

    /// A step of a job is done, and another follows: at once, but for a journal file that is made long before it is needed.
    pub(super) fn job_steps_on(&mut self, job: JobId) {
        match self.ops.zeroes_next(job) && !self.commit.wants_file() {
            true => self.ops.rest(job, self.now.tick.after_ms(ZERO_PAUSE_MS)),
            false => self.job_goes_on(job),
        }
    }

    /// Goes on with jobs that have rested.
    pub(super) fn wake_jobs(&mut self) {
        let now = match self.commit.wants_file() {
            true => Tick(u64::MAX),
            false => self.now.tick,
        };
        while let Some(job) = self.ops.rested(now) {
            self.job_goes_on(job);
        }
    }

    pub(super) fn zeros(&self, bytes: usize) -> Bytes {
        let mut zeros = self.cache.pool().take(bytes);
        zeros.fill(0);
        zeros.freeze()
    }

    pub(super) fn journal_file_made(&mut self, file: u32) {
        let bytes = self.config.journal_file_bytes;
        self.journal.files.push(JournalFileState { file, bytes });
        self.commit.file_ready(file);
    }

    /// There was no space for a journal file: what was made of it is removed, since it takes the space that others need.
    pub(super) fn journal_file_failed(&mut self, file: u32) {
        let slot = self.journal.slots.remove(&file);
        let slot = slot.expect("a file that is being made has a slot");
        let path = shared(&journal_path(self.journal.shard, file));
        let steps = VecDeque::from([DiskOp::Close { slot }, DiskOp::Unlink { path }]);
        let end = JobEnd::JournalFileUnmade(file, slot);
        self.ops.start(Job { steps, end }, &mut self.effects);
    }
}

/// The bytes of a run, as they lie in chunks.
fn pieces(
    cache: &Cache,
    log: LogNumber,
    segment: Offset,
    mut position: u64,
    bytes: u64,
) -> impl Iterator<Item = &[u8]> {
    let mut left = bytes as usize;
    std::iter::from_fn(move || {
        if left == 0 {
            return None;
        }
        let held = cache.peek(log, segment, position);
        let piece = held.expect("what is not flushed is in memory");
        let piece = &piece[..piece.len().min(left)];
        left -= piece.len();
        position += piece.len() as u64;
        Some(piece)
    })
}

fn image_entry(log: &LogState, block: &BlockImage) -> Entry {
    Entry::Image(Image {
        log: log.number,
        segment: block.segment,
        position: block.position,
        bytes: u32::try_from(block.bytes).expect("an image is of one block"),
    })
}

fn control_entry(log: &LogState, planned: &Planned) -> Entry {
    let number = log.number;
    match planned {
        Planned::Open => Entry::Open(Open {
            log: number,
            topic: log.path.topic,
            partition: log.path.partition,
            metadata_index: log.metadata_index,
            start: Place::at_start(log.start),
            log_start: log.start,
            epochs: Vec::new(),
            replaces: log.replaces,
        }),
        Planned::Mark(place) => Entry::Mark {
            log: number,
            place: *place,
        },
        Planned::Truncate(place) => Entry::Truncate {
            log: number,
            place: *place,
        },
        Planned::Start(log_start) => Entry::Start {
            log: number,
            log_start: *log_start,
        },
        Planned::Epoch(epoch) => Entry::Epoch {
            log: number,
            epoch: *epoch,
        },
        Planned::Drop => Entry::Drop { log: number },
        Planned::Append(_) | Planned::Image(_) | Planned::Tail(_) => {
            unreachable!("it carries payload")
        }
    }
}

/// Indexes what recovery saw of segments that have no files of an index. Of what lies in front of that only the newest timestamp is known;
/// readers index it as they walk over it.
fn index_heads(log: &RecoveredLog, layout: &mut Layout) {
    let held = layout.segments();
    let held: Vec<_> = held
        .map(|held| (held.base, held.bytes, held.max_timestamp))
        .collect();
    for (segment, bytes, newest) in held {
        layout.install(segment, SegmentIndex::behind(bytes, newest));
    }
    let mut segment = None;
    for placed in &log.heads {
        if segment != Some(placed.segment) {
            segment = Some(placed.segment);
            let known = log
                .segments
                .iter()
                .find(|state| state.base == placed.segment);
            let newest = known.map_or(-1, |state| state.max_timestamp);
            let index = SegmentIndex::behind(placed.position, newest);
            layout.install(placed.segment, index);
        }
        layout.reindex(placed.segment, placed.position, &placed.head);
    }
    log.indexed.iter().for_each(|base| layout.unload(*base));
}

/// What the store begins with for a recovered log.
fn log_state(log: RecoveredLog, now: Now) -> LogState {
    let path = log.path();
    let mut segments: Vec<Segment> = log
        .segments
        .iter()
        .map(|state| Segment {
            end: state.base,
            bytes: state.bytes,
            first_timestamp: state.first_timestamp,
            max_timestamp: state.max_timestamp,
            ..Segment::new(state.base, now.wall)
        })
        .collect();
    let files = log.segments.iter().map(|state| {
        let file = SegmentFile {
            open: None,
            usable: false,
            reserved: state.bytes / BLOCK_BYTES as u64 * BLOCK_BYTES as u64,
            stale: 0,
        };
        (state.base, file)
    });
    let files: BTreeMap<_, _> = files.collect();
    for place in log
        .unflushed
        .iter()
        .map(|piece| piece.end)
        .chain([log.synced_end, log.end])
    {
        if segments.last().is_none_or(|last| last.base < place.segment) {
            segments.push(Segment::new(place.segment, now.wall));
        }
        if let Some(segment) = segments
            .iter_mut()
            .find(|segment| segment.base == place.segment)
        {
            segment.bytes = segment.bytes.max(place.position);
        }
    }
    // What lies behind the checkpoint is told by the heads alone.
    for placed in &log.heads {
        let held = segments.iter_mut().find(|held| held.base == placed.segment);
        if let Some(segment) = held {
            let newest = placed.head.max_timestamp;
            segment.max_timestamp = segment.max_timestamp.max(newest);
            if segment.first_timestamp < 0 {
                segment.first_timestamp = newest;
            }
        }
    }
    for index in 0..segments.len() {
        let next = segments.get(index + 1).map(|next| next.base);
        segments[index].end = next.unwrap_or(log.end.offset);
    }
    let starts = held_epochs(&log)
        .into_iter()
        .map(|epoch| (epoch.epoch, epoch.start));
    let epochs = Epochs::new(starts.collect());
    let config = LogConfig::default();
    let mut layout = Layout::restored(log.log_start, segments, epochs, config.index_interval_bytes);
    index_heads(&log, &mut layout);
    LogState {
        number: log.log,
        directory: log_dir(&path),
        directory_durable: !files.is_empty(),
        start: log.log_start,
        path,
        metadata_index: log.metadata_index,
        config,
        layout,
        end: log.end,
        log_start_told: log.log_start,
        high_watermark: log.high_watermark,
        purged: log.purged,
        durable_told: log.end.offset,
        flushed: log.synced_end,
        marked: log.synced_end.segment,
        replaces: None,
        files,
        indexed: log.indexed.into_iter().collect(),
        indexing: None,
        successor: None,
        reused: None,
        succeeded: None,
        shorten: Some(log.synced_end.segment),
        shortening: None,
        fresh_end: true,
        roll_next: false,
        tasks: VecDeque::new(),
        busy: false,
        extent_sync: WriteSync::None,
        extent_writes: 0,
        first_block: None,
        cutting: None,
        discards: 0,
        dropped: false,
        suspect: log.suspect,
        damage: log.damage,
    }
}
