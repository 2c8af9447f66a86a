//! What goes into and comes out of the commit machine.

use crate::disk::BLOCK_BYTES;
use crate::format::{Entry, EpochStart, Open, Place, WindowAt};
use crate::ids::{LeaderEpoch, LogNumber, MetadataIndex, Offset, PartitionIndex, TopicId};

/// The machine's name for a log, while it knows it: an index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LogSlot(pub u32);

/// Sizes and times by which the machine decides.
#[derive(Clone, Debug)]
pub struct CommitConfig {
    /// Size of one journal file.
    pub file_bytes: u64,
    /// Journal files that a shard keeps.
    pub files_min: usize,
    /// Journal files at most; the last one takes control entries only.
    pub files_max: usize,
    /// So many pending bytes of a log leave as an extent while it is slow.
    pub slow_extent_bytes: u64,
    /// So many pending bytes of a log leave as an extent while it is fast.
    pub fast_extent_bytes: u64,
    /// So many journaled bytes of a log leave as an extent, so that its journal files go back bit by bit.
    pub trickle_bytes: u64,
    /// While windows take so many bytes, every log with journaled bytes is flushed once.
    pub pace_bytes: u64,
    /// A log is fast when it appends more than this within `RATE_MS`, and slow again below half of it.
    pub fast_rate_bytes: u64,
    /// A window takes no further entry beyond so many bytes.
    pub window_bytes: u64,
    /// Consecutive batches are journaled as one entry up to so many bytes.
    pub run_bytes: u64,
    /// Windows in flight at most.
    pub windows_in_flight: usize,
    /// Pressure flushes in flight at most.
    pub pressure_flights: usize,
    /// Synced extents without a mark, bytes, at which a window leaves for their marks alone.
    pub unmarked_bytes: u64,
    /// Synced extents at which a checkpoint is due.
    pub checkpoint_bytes: u64,
    /// Time of change after which a checkpoint is due.
    pub checkpoint_ms: u64,
}

impl Default for CommitConfig {
    fn default() -> Self {
        Self {
            file_bytes: 64 << 20,
            files_min: 2,
            files_max: 8,
            slow_extent_bytes: 128 << 10,
            fast_extent_bytes: 32 << 10,
            trickle_bytes: 8 << 20,
            pace_bytes: 256 << 20,
            fast_rate_bytes: 1 << 20,
            window_bytes: 1 << 20,
            run_bytes: 256 << 10,
            windows_in_flight: 4,
            pressure_flights: 64,
            unmarked_bytes: 64 << 20,
            checkpoint_bytes: 256 << 20,
            checkpoint_ms: 10_000,
        }
    }
}

/// Consecutive batches of one segment and epoch without a jump in offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// The segment they lie in.
    pub segment: Offset,
    /// Where in it they begin.
    pub position: u64,
    /// How long they are.
    pub bytes: u64,
    /// The end of the batch before them.
    pub previous_end: Offset,
    /// The epoch of the batch before them.
    pub previous_epoch: LeaderEpoch,
    /// The offset of their first record.
    pub base: Offset,
    /// The offset behind their last record.
    pub end: Offset,
    /// The epoch of all of them.
    pub epoch: LeaderEpoch,
}

impl Run {
    /// The place in front of them.
    pub fn start_place(&self) -> Place {
        Place {
            segment: self.segment,
            position: self.position,
            offset: self.previous_end,
            epoch: self.previous_epoch,
        }
    }

    /// The place behind them.
    pub fn end_place(&self) -> Place {
        Place {
            segment: self.segment,
            position: self.position + self.bytes,
            offset: self.end,
            epoch: self.epoch,
        }
    }
}

/// The beginning of a block that a log ends in the middle of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockImage {
    /// The segment.
    pub segment: Offset,
    /// Where the block begins.
    pub position: u64,
    /// How many of its bytes are of the log.
    pub bytes: u64,
}

impl BlockImage {
    /// That of the block in which a place lies.
    pub fn up_to(place: &Place) -> BlockImage {
        let position = place.position - place.position % BLOCK_BYTES as u64;
        BlockImage {
            segment: place.segment,
            position,
            bytes: place.position - position,
        }
    }
}

/// One entry of a planned window.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Planned {
    /// The log begins, without epochs.
    Open,
    /// Complete and synced up to the place.
    Mark(Place),
    /// Cut to the place.
    Truncate(Place),
    /// The log start moved.
    Start(Offset),
    /// An epoch began.
    Epoch(EpochStart),
    /// Batches, with their bytes.
    Append(Run),
    /// The synced bytes of a block that is about to be written again.
    Image(BlockImage),
    /// The bytes of the last block of an extent in flight, written as an `image` too: the next extent may write that block again at once.
    Tail(BlockImage),
    /// The log ends.
    Drop,
}

impl Planned {
    /// The bytes it takes in a window, for an append with the batches.
    pub fn encoded_bytes(&self) -> u64 {
        let log = LogNumber(0);
        let entry = match self {
            Planned::Open => Entry::Open(Open {
                log,
                topic: TopicId::NONE,
                partition: PartitionIndex(0),
                metadata_index: MetadataIndex(0),
                start: Place::at_start(Offset(0)),
                log_start: Offset(0),
                epochs: Vec::new(),
                replaces: None,
            }),
            Planned::Mark(place) | Planned::Truncate(place) => Entry::Mark { log, place: *place },
            Planned::Start(log_start) => Entry::Start {
                log,
                log_start: *log_start,
            },
            Planned::Epoch(epoch) => Entry::Epoch { log, epoch: *epoch },
            Planned::Append(run) => return crate::format::append_entry_bytes(run.bytes),
            Planned::Image(block) | Planned::Tail(block) => {
                return crate::format::image_entry_bytes(block.bytes);
            }
            Planned::Drop => Entry::Drop { log },
        };
        entry.encoded_bytes() as u64
    }
}

/// A window to build and write: one write that is durable when it completes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WindowPlan {
    /// Its number.
    pub sequence: u64,
    /// The journal file.
    pub file: u32,
    /// Where in the file; block-aligned.
    pub position: u64,
    /// How long it is; a multiple of the block.
    pub bytes: u64,
    /// The highest sequence known to be synced.
    pub known_synced: u64,
    /// The newest synced checkpoint; 0 for none.
    pub checkpoint: u64,
    /// What it holds, in order.
    pub entries: Vec<(LogSlot, Planned)>,
}

/// The block that an extent begins in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FirstBlock {
    /// It is written with the others.
    Along,
    /// It holds synced bytes that no synced window has: it is kept until `FirstBlock` lets it go.
    Held,
}

/// What the machine wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Build and write a window; `window_done` answers.
    Window(WindowPlan),
    /// Write the blocks of a segment that hold these positions; `extent_written` answers each time nothing of it is being written
    /// any more.
    Extent {
        /// The log.
        slot: LogSlot,
        /// The segment.
        segment: Offset,
        /// First byte.
        from: u64,
        /// Behind the last byte.
        to: u64,
        /// Whether the first block goes along.
        first: FirstBlock,
        /// Whether somebody waits for it: then nothing is gained by syncing it together with others.
        urgent: bool,
    },
    /// Write the first block of the extent too, as it was when the extent began.
    FirstBlock {
        /// The log.
        slot: LogSlot,
    },
    /// Sync of the segment just written, where its writes were not synced each; `extent_synced` answers.
    SyncExtent {
        /// The log.
        slot: LogSlot,
        /// The segment.
        segment: Offset,
    },
    /// One sync for every extent written so far; `shared_synced` answers.
    SyncShared,
    /// Make the segment's file and reserve it up to `bytes`, and `ahead` more while the segment is not full; `ready` answers with `round`. After a truncation or a start the
    /// file is first cut to `place`.
    Prepare {
        /// The log.
        slot: LogSlot,
        /// Where writing goes on.
        place: Place,
        /// How much of the segment is to be reserved.
        bytes: u64,
        /// How much more is asked for before it is needed.
        ahead: u64,
        /// Given back by `ready`: a truncation in between makes the answer void.
        round: u32,
    },
    /// The log is complete and synced on disk up to this place.
    Flushed {
        /// The log.
        slot: LogSlot,
        /// Up to here.
        place: Place,
    },
    /// The journal knows that the log is complete and synced up to this place.
    Marked {
        /// The log.
        slot: LogSlot,
        /// Up to here.
        place: Place,
    },
    /// Everything below `end` survives a power cut.
    Durable {
        /// The log.
        slot: LogSlot,
        /// Exclusive.
        end: Offset,
    },
    /// The log's opening is durable.
    Opened {
        /// The log.
        slot: LogSlot,
    },
    /// The truncation is durable: files behind the place may go.
    Truncated {
        /// The log.
        slot: LogSlot,
        /// The end it was cut to.
        place: Place,
    },
    /// The log start is durable: segments below it may go.
    Started {
        /// The log.
        slot: LogSlot,
        /// The log start.
        log_start: Offset,
    },
    /// The drop is durable and nothing of the log is in flight: its directory may go.
    Dropped {
        /// The log.
        slot: LogSlot,
    },
    /// Make a journal file: zeros, synced, its name synced; `file_ready` or `file_failed` answers.
    CreateFile {
        /// Its number.
        file: u32,
    },
    /// Take a checkpoint now, of the state as it is: every window up to `at` is synced and none is behind it. Write it to the
    /// slot that is not the newest valid one; `checkpoint_done` answers.
    Checkpoint {
        /// Its number.
        sequence: u64,
        /// The window it stands for (C).
        at: WindowAt,
        /// The window where the oldest unflushed byte lies, or an earlier one (R).
        from: WindowAt,
    },
}

/// What a checkpoint says of one log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogView<'a> {
    /// Its number.
    pub number: LogNumber,
    /// Complete and synced in its segments up to here.
    pub synced_end: Place,
    /// Survives a power cut up to here.
    pub durable_end: Place,
    /// Where it starts.
    pub log_start: Offset,
    /// Its epochs, ascending.
    pub epochs: &'a [EpochStart],
    /// Whether it was cut, or the node restarted, and no epoch was announced since.
    pub barred: bool,
    /// Whether it was dropped and its directory is still to go.
    pub dropped: bool,
}

/// A log as recovery left it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogSeed {
    /// Its number.
    pub number: LogNumber,
    /// Complete and synced up to here.
    pub synced_end: Place,
    /// Ends of segments between the synced end and the end, oldest first.
    pub rolled: Vec<Place>,
    /// Its end; all of it is durable.
    pub end: Place,
    /// Where it starts.
    pub log_start: Offset,
    /// Its epochs, ascending.
    pub epochs: Vec<EpochStart>,
    /// Journal files that hold its unflushed bytes, oldest first, with how far.
    pub journaled: Vec<(u32, Place)>,
}

/// The journal as recovery left it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct JournalSeed {
    /// Files that hold windows from R on, oldest first; the last one is being filled. With the first window of each.
    pub in_use: Vec<WindowAt>,
    /// Other files, zeroed or free to be overwritten, in the order they are to be used.
    pub free: Vec<u32>,
    /// Where in the last file the next window goes.
    pub position: u64,
    /// The number of the last window written.
    pub sequence: u64,
    /// Where that window lies.
    pub last_position: u64,
    /// The newest checkpoint; 0 for none.
    pub checkpoint: u64,
}
