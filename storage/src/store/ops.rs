//! Operations in flight: what each is for, and sequences of operations that follow one another.
//!
//! Always: every operation told has one purpose until it completes; the steps of a job are told one by one.

use super::types::StoreEffect;
use crate::commit::LogSlot;
use crate::disk::{DiskOp, FileSlot, OpId};
use crate::ids::{LogNumber, NumberMap, Offset, Tick};
use crate::recovery::RecoveredCheckpoint;
use std::collections::VecDeque;

/// Names a job.
pub(super) type JobId = u64;

/// What an operation is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// The next step of a job.
    Step(JobId),
    /// A journal file is opened.
    OpenJournal,
    /// A window.
    Window(u64),
    /// Part of a log's extent.
    ExtentWrite(LogSlot, FileSlot),
    /// The sync of a log's extent.
    ExtentSync(LogSlot, FileSlot),
    /// The sync of many new files.
    Names,
    /// The sync of many extents.
    SharedSync,
    /// The sync of one of many extents.
    SharedFile(FileSlot),
    /// A step in the removal of a large file.
    Discard,
    /// A slot is given back.
    Close(FileSlot),
    /// A block of a segment that is read; the number tells the read from an earlier one.
    Block(BlockKey, FileSlot, u64),
    /// A step in reading an index.
    Index(u64),
}

/// A block of a segment that is read back, by its number in units of `COLD_BYTES`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct BlockKey {
    pub(super) log: LogNumber,
    pub(super) segment: Offset,
    pub(super) index: u64,
}

/// In place of a block's number: the index of the segment.
const INDEX: u64 = u64::MAX;

impl BlockKey {
    /// The index of a segment, which is waited for as for a block.
    pub(super) fn of_index(log: LogNumber, segment: Offset) -> BlockKey {
        let index = INDEX;
        BlockKey {
            log,
            segment,
            index,
        }
    }

    pub(super) fn is_index(&self) -> bool {
        self.index == INDEX
    }
}

/// What follows the last step of a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum JobEnd {
    /// The task at the head of the log's queue is done.
    Task(LogSlot),
    /// The file that the task at the head makes exists, and is not durable.
    Made(LogSlot),
    /// The index of a segment is in its files.
    Index(LogSlot),
    /// A journal file is zeroed and durable.
    JournalFile(u32),
    /// What there was of a journal file that could not be made is gone.
    JournalFileUnmade(u32, FileSlot),
    /// The directory of a log that was dropped before this start is gone.
    LeftoverRemoved(LogNumber),
    /// So is the one above it, if it was empty.
    TopicRemoved,
    /// The checkpoint is durable and its file is closed; the one before it.
    Checkpoint(FileSlot, RecoveredCheckpoint),
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) steps: VecDeque<DiskOp>,
    pub(super) end: JobEnd,
}

/// All operations in flight.
#[derive(Debug, Default)]
pub(super) struct Ops {
    next_op: u64,
    purposes: NumberMap<u64, Purpose>,
    next_job: JobId,
    jobs: NumberMap<JobId, Job>,
    /// Jobs that rest between two steps, until then.
    resting: VecDeque<(Tick, JobId)>,
}

impl Ops {
    /// Tells an operation.
    pub(super) fn tell(&mut self, purpose: Purpose, op: DiskOp, effects: &mut Vec<StoreEffect>) {
        self.next_op += 1;
        self.purposes.insert(self.next_op, purpose);
        effects.push(StoreEffect::Op(OpId(self.next_op), op));
    }

    /// Starts a job of at least one step.
    pub(super) fn start(&mut self, job: Job, effects: &mut Vec<StoreEffect>) {
        self.next_job += 1;
        let id = self.next_job;
        self.jobs.insert(id, job);
        let ended = self.step(id, effects);
        assert!(ended.is_none(), "a job has a step");
    }

    /// Tells the next step of a job; its end when there is none.
    pub(super) fn step(&mut self, id: JobId, effects: &mut Vec<StoreEffect>) -> Option<JobEnd> {
        let job = self
            .jobs
            .get_mut(&id)
            .expect("a job lives until its last step");
        match job.steps.pop_front() {
            Some(op) => {
                self.tell(Purpose::Step(id), op, effects);
                None
            }
            None => self.abandon(id),
        }
    }

    /// Lets a job rest before its next step.
    pub(super) fn rest(&mut self, id: JobId, until: Tick) {
        self.resting.push_back((until, id));
    }

    /// A job that has rested enough.
    pub(super) fn rested(&mut self, now: Tick) -> Option<JobId> {
        let (until, id) = *self.resting.front()?;
        (until <= now).then(|| {
            self.resting.pop_front();
            id
        })
    }

    /// When the next job has rested enough.
    pub(super) fn deadline(&self) -> Option<Tick> {
        self.resting.front().map(|(until, _)| *until)
    }

    /// Whether a job goes on with a write into a new journal file.
    pub(super) fn zeroes_next(&self, id: JobId) -> bool {
        let job = self.jobs.get(&id).expect("a job lives until its last step");
        let writes = matches!(job.steps.front(), Some(DiskOp::Write { .. }));
        writes && matches!(job.end, JobEnd::JournalFile(_))
    }

    /// Forgets the rest of a job.
    pub(super) fn abandon(&mut self, id: JobId) -> Option<JobEnd> {
        self.jobs.remove(&id).map(|job| job.end)
    }

    /// What a completed operation was for.
    pub(super) fn completed(&mut self, op: OpId) -> Purpose {
        self.purposes
            .remove(&op.0)
            .expect("an operation completes once")
    }

    /// Whether a block is being read.
    pub(super) fn reads(&self, key: &BlockKey, serial: u64) -> bool {
        let mut purposes = self.purposes.values();
        purposes.any(|purpose| matches!(purpose, Purpose::Block(other, _, read) if other == key && *read == serial))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.purposes.is_empty()
    }
}
