//! Indexes of full segments in their files: written when a segment is full, forgotten where memory for them runs short, read when they are
//! asked for.
//!
//! Always: (1) an index leaves memory only when its files were written; (2) what is read counts only where it covers the segment as it is
//! now, and what does not is found again by walking over the batches; (3) what removes files of an index, or their directory, waits while
//! one is written.
//! Nothing of this is synced, and no failure of it ends the process: a power cut may take a file, or leave any part of it.

use super::ops::{BlockKey, Job, JobEnd, Purpose};
use super::shard_store::Store;
use super::tasks::shared;
use crate::commit::LogSlot;
use crate::disk::{Caching, DiskError, DiskOp, FileSlot, OpenMode, WriteSync};
use crate::format::SegmentFile as Kind;
use crate::ids::{LogNumber, Offset};
use crate::log::{
    INDEX_ENTRIES_MAX, INDEX_FILE_BYTES_MAX, IndexIdentity, SegmentIndex, decode_index,
    encode_offsets, encode_times,
};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// BOUND: the indexes of so many segments are read at a time; each takes a descriptor and, on its way, up to 640 KiB.
const READS_MAX: usize = 4;
/// What an index takes beside its entries.
const HELD_BYTES: u64 = 128;

/// How the writing of an index ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Written {
    Whole,
    Not,
}

/// An index that is being read.
#[derive(Debug)]
struct Reading {
    key: BlockKey,
    file: FileSlot,
    /// The content of the first file, while the second one is read.
    offsets: Option<Bytes>,
}

/// The indexes of a shard that are in files.
#[derive(Debug)]
pub(super) struct Indexes {
    /// Those that are in memory too, in the order in which they came, and what they take.
    held: VecDeque<(LogNumber, Offset, u64)>,
    held_bytes: u64,
    bytes_max: u64,
    to_write: VecDeque<(LogNumber, Offset)>,
    /// Whether one is being written.
    writing: bool,
    to_read: VecDeque<BlockKey>,
    reading: BTreeMap<u64, Reading>,
    next_read: u64,
}

impl Indexes {
    pub(super) fn new(bytes_max: u64) -> Indexes {
        Indexes {
            held: VecDeque::new(),
            held_bytes: 0,
            bytes_max,
            to_write: VecDeque::new(),
            writing: false,
            to_read: VecDeque::new(),
            reading: BTreeMap::new(),
            next_read: 0,
        }
    }

    fn is_asked(&self, key: &BlockKey) -> bool {
        let mut reading = self.reading.values();
        self.to_read.contains(key) || reading.any(|reading| reading.key == *key)
    }
}

impl Store {
    /// All of a full segment is indexed: that is written, when its turn comes.
    pub(super) fn keep_index(&mut self, slot: LogSlot, segment: Offset) {
        let log = self.log(slot).number;
        self.indexes.to_write.push_back((log, segment));
        self.write_next_index();
    }

    fn write_next_index(&mut self) {
        while !self.indexes.writing
            && let Some((log, segment)) = self.indexes.to_write.pop_front()
        {
            if let Some(slot) = self.slot(log).filter(|slot| self.is_full(*slot, segment)) {
                self.indexes.writing = true;
                let steps = self.index_steps(slot, segment);
                let end = JobEnd::Index(slot);
                self.ops.start(Job { steps, end }, &mut self.effects);
            }
        }
    }

    /// Whether a segment has a file, does not grow, and all of it is indexed in memory.
    fn is_full(&self, slot: LogSlot, segment: Offset) -> bool {
        let log = self.log(slot);
        let held = log.layout.segment(segment);
        let index = held.and_then(|held| held.index.as_ref());
        log.files.contains_key(&segment)
            && segment != log.layout.active().base
            && index.is_some_and(SegmentIndex::is_whole)
    }

    /// Writes the two files, one after the other.
    fn index_steps(&mut self, slot: LogSlot, segment: Offset) -> VecDeque<DiskOp> {
        let file = self.files.take();
        let log = self.log_mut(slot);
        log.indexed.insert(segment);
        log.indexing = Some((segment, file));
        log.layout.thin(segment, INDEX_ENTRIES_MAX);
        let held = log.layout.segment(segment).expect("it is full");
        let index = held.index.as_ref().expect("it is full");
        let covered = log.layout.covered(segment).expect("it is full");
        let identity = IndexIdentity {
            log: log.number,
            segment,
        };
        let write = |kind, content: Vec<u8>| {
            let open = DiskOp::Open {
                slot: file,
                path: shared(&log.companion_path(segment, kind)),
                mode: OpenMode::Create,
                caching: Caching::Buffered,
            };
            let write = DiskOp::Write {
                slot: file,
                position: 0,
                data: vec![content.into()],
                sync: WriteSync::None,
            };
            [open, write]
        };
        let mut steps =
            VecDeque::from(write(Kind::Index, encode_offsets(index, identity, covered)));
        steps.push_back(DiskOp::Close { slot: file });
        steps.extend(write(Kind::Time, encode_times(index, identity, covered)));
        steps
    }

    /// The files are written, or could not be.
    pub(super) fn index_ended(&mut self, slot: LogSlot, written: Written) {
        let indexing = self.log_mut(slot).indexing.take();
        let (segment, file) = indexing.expect("a log stays while its index is written");
        self.close(file);
        if written == Written::Whole && !self.log(slot).dropped && self.is_full(slot, segment) {
            self.hold_index(slot, segment);
        }
        self.indexes.writing = false;
        self.next_task(slot);
        self.write_next_index();
    }

    /// An index in memory is in its files too: those that came first make room for it.
    fn hold_index(&mut self, slot: LogSlot, segment: Offset) {
        let log = self.log(slot);
        let index = log
            .layout
            .segment(segment)
            .and_then(|held| held.index.as_ref());
        let bytes = index.map_or(0, |index| index.bytes() as u64) + HELD_BYTES;
        let number = log.number;
        self.indexes.held.push_back((number, segment, bytes));
        self.indexes.held_bytes += bytes;
        while self.indexes.held_bytes > self.indexes.bytes_max
            && self.indexes.held.len() > 1
            && let Some((log, segment, bytes)) = self.indexes.held.pop_front()
        {
            self.indexes.held_bytes -= bytes;
            if let Some(slot) = self.slot(log) {
                self.log_mut(slot).layout.unload(segment);
            }
        }
    }

    /// Reads an index, unless it is on its way.
    pub(super) fn want_index(&mut self, key: BlockKey) {
        if !self.indexes.is_asked(&key) {
            self.indexes.to_read.push_back(key);
            self.read_next_index();
        }
    }

    fn read_next_index(&mut self) {
        while self.indexes.reading.len() < READS_MAX
            && let Some(key) = self.indexes.to_read.pop_front()
        {
            if self.slot(key.log).is_some() {
                let file = self.files.take();
                let offsets = None;
                self.read_index(Reading { key, file, offsets }, None);
            }
        }
    }

    /// The next step: a file is opened, or read once it is open.
    fn read_index(&mut self, reading: Reading, open: Option<FileSlot>) {
        let Reading { key, file, .. } = reading;
        let op = match (open, self.slot(key.log)) {
            (Some(slot), _) => DiskOp::Read {
                slot,
                position: 0,
                bytes: INDEX_FILE_BYTES_MAX,
            },
            (None, Some(log)) => {
                let kind = match reading.offsets {
                    None => Kind::Index,
                    Some(_) => Kind::Time,
                };
                DiskOp::Open {
                    slot: file,
                    path: shared(&self.log(log).companion_path(key.segment, kind)),
                    mode: OpenMode::Read,
                    caching: Caching::Buffered,
                }
            }
            (None, None) => {
                self.close(file);
                return self.read_next_index();
            }
        };
        self.indexes.next_read += 1;
        let id = self.indexes.next_read;
        self.indexes.reading.insert(id, reading);
        self.ops.tell(Purpose::Index(id), op, &mut self.effects);
    }

    /// A step of a read is done.
    pub(super) fn index_read(&mut self, id: u64, outcome: Result<Option<Bytes>, DiskError>) {
        let reading = self.indexes.reading.remove(&id);
        let reading = reading.expect("a step of it was told");
        let Reading { key, file, .. } = reading;
        let bytes = match outcome {
            Ok(None) => return self.read_index(reading, Some(file)),
            Ok(Some(bytes)) => Some(bytes),
            Err(_) => None,
        };
        self.close(file);
        match (bytes, reading.offsets) {
            (Some(bytes), None) => {
                let file = self.files.take();
                let offsets = Some(bytes);
                self.read_index(Reading { key, file, offsets }, None);
            }
            (Some(times), Some(offsets)) => self.index_arrived(key, Some((offsets, times))),
            (None, _) => self.index_arrived(key, None),
        }
    }

    /// What the files hold, if they could be read.
    fn index_arrived(&mut self, key: BlockKey, contents: Option<(Bytes, Bytes)>) {
        let BlockKey { log, segment, .. } = key;
        if let Some(slot) = self.slot(log)
            && let Some(held) = self.log(slot).layout.segment(segment)
            && held.index.is_none()
        {
            let unknown = SegmentIndex::behind(held.bytes, held.max_timestamp);
            let found = contents.and_then(|(offsets, times)| {
                let found = decode_index(&offsets, &times, IndexIdentity { log, segment });
                let covered = self.log(slot).layout.covered(segment);
                found.ok().filter(|found| Some(found.1) == covered)
            });
            let layout = &mut self.log_mut(slot).layout;
            match found {
                Some((index, _)) => {
                    layout.install(segment, index);
                    self.hold_index(slot, segment);
                }
                None => layout.install(segment, unknown),
            }
        }
        self.wake(key);
        self.read_next_index();
    }

    /// The files of indexes of segments that go.
    pub(super) fn index_unlinks(&mut self, slot: LogSlot, segments: &[Offset]) -> Vec<DiskOp> {
        let log = self.log_mut(slot);
        let gone = segments.iter().filter(|base| log.indexed.remove(base));
        let gone: Vec<Offset> = gone.copied().collect();
        let log = self.log(slot);
        let paths = gone.iter().flat_map(|base| {
            let path = |kind| log.companion_path(*base, kind);
            [path(Kind::Index), path(Kind::Time)]
        });
        let unlink = |path: std::path::PathBuf| DiskOp::Unlink {
            path: shared(&path),
        };
        paths.map(unlink).collect()
    }
}
