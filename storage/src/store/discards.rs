//! Large files that go: each is shortened piece by piece before its name is removed. A disk that is told which blocks are free (a file
//! system mounted with `discard`) writes nothing for as long as it takes to free several GiB at once.
//!
//! Always: what comes here is of no use to a restart (a segment below a durable log start, or of a dropped log), so that it may be
//! found shortened by any amount. One file at a time, one operation at a time.

use super::ops::Purpose;
use super::shard_store::Store;
use super::tasks::{lacks_descriptors, shared};
use crate::commit::LogSlot;
use crate::disk::{Caching, DiskError, DiskOp, FileSlot, OpenMode};
use crate::ids::{Offset, Tick};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

/// A piece goes every so many milliseconds.
const PAUSE_MS: u64 = 20;
/// So long a file waits that could not be opened because too many are.
const OPEN_AGAIN_MS: u64 = 1000;
/// A piece is this part of all that waits, so that less waits than is written in `SHARE` pauses.
const SHARE: u64 = 256;

/// A file that goes.
#[derive(Debug)]
struct Discard {
    path: Arc<Path>,
    /// What is left of it.
    bytes: u64,
    /// Its log, which counts how many of its files are here.
    log: LogSlot,
}

/// What is done with the file at the head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Nothing yet.
    Whole,
    /// It is open to be shortened.
    Open(FileSlot),
    /// It is short enough, or cannot be shortened: its name is next.
    Short,
    /// Its name is being removed.
    Unlinked,
}

/// All files that go.
#[derive(Debug)]
pub(super) struct Discards {
    files: VecDeque<Discard>,
    stage: Stage,
    in_flight: bool,
    /// What is left of them all.
    bytes: u64,
    /// The least that goes at a time; smaller files are removed at once.
    piece_bytes: u64,
    /// What may still go before `at`.
    budget: u64,
    at: Tick,
    /// Space is short: all that is here goes without a pause.
    hurried: bool,
    stopped: bool,
}

impl Discards {
    pub(super) fn new(piece_bytes: u64, now: Tick) -> Discards {
        Discards {
            files: VecDeque::new(),
            stage: Stage::Whole,
            in_flight: false,
            bytes: 0,
            piece_bytes,
            budget: 0,
            at: now,
            hurried: false,
            stopped: false,
        }
    }

    /// Whether a file of so many bytes is large enough for this.
    pub(super) fn takes(&self, bytes: u64) -> bool {
        bytes > self.piece_bytes
    }

    /// Space is short.
    pub(super) fn hurry(&mut self) {
        self.hurried = !self.files.is_empty();
    }

    /// Whether space is short.
    pub(super) fn is_hurried(&self) -> bool {
        self.hurried
    }

    /// When the next piece goes.
    pub(super) fn deadline(&self) -> Option<Tick> {
        let waits = !self.files.is_empty() && !self.in_flight && !self.stopped;
        waits.then_some(match self.hurried || self.budget > 0 {
            true => Tick(0),
            false => self.at,
        })
    }

    /// The next start removes what is left.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
    }

    /// The next operation, if it is time for one.
    fn next(&mut self, now: Tick) -> Option<Next> {
        if self.deadline()? > now {
            return None;
        }
        if self.budget == 0 || self.hurried {
            self.budget = match self.hurried {
                true => u64::MAX,
                false => self.piece_bytes.max(self.bytes / SHARE),
            };
            self.at = now.after_ms(PAUSE_MS);
        }
        let file = self.files.front_mut()?;
        let next = match self.stage {
            Stage::Whole if file.bytes > self.budget => Next::Open,
            Stage::Open(slot) if file.bytes > self.budget => {
                file.bytes -= self.budget;
                self.bytes -= self.budget;
                self.budget = 0;
                Next::Shorten(slot, file.bytes)
            }
            Stage::Open(slot) => {
                self.stage = Stage::Short;
                Next::Close(slot)
            }
            Stage::Whole | Stage::Short | Stage::Unlinked => {
                self.bytes -= file.bytes;
                self.budget = self.budget.saturating_sub(file.bytes);
                file.bytes = 0;
                self.stage = Stage::Unlinked;
                Next::Unlink
            }
        };
        self.in_flight = true;
        Some(next)
    }
}

enum Next {
    Open,
    Shorten(FileSlot, u64),
    Close(FileSlot),
    Unlink,
}

impl Store {
    /// Takes a segment of a log that is not known to it any more.
    pub(super) fn discard(&mut self, slot: LogSlot, segment: Offset, bytes: u64) {
        let path = shared(&self.log(slot).segment_path(segment));
        self.discard_file(slot, path, bytes);
    }

    /// Takes a file of a log, under a name that nothing else gets as long as the log has it here.
    pub(super) fn discard_file(&mut self, slot: LogSlot, path: Arc<Path>, bytes: u64) {
        self.log_mut(slot).discards += 1;
        self.discards.bytes += bytes;
        self.discards.files.push_back(Discard {
            path,
            bytes,
            log: slot,
        });
    }

    /// Lets the next piece go, if it is time.
    pub(super) fn discard_on(&mut self) {
        let Some(next) = self.discards.next(self.now.tick) else {
            return;
        };
        let path = Arc::clone(&self.discards.files[0].path);
        let op = match next {
            Next::Open => {
                let slot = self.files.take();
                self.discards.stage = Stage::Open(slot);
                DiskOp::Open {
                    slot,
                    path,
                    mode: OpenMode::ReadWrite,
                    caching: Caching::Direct,
                }
            }
            Next::Shorten(slot, bytes) => DiskOp::SetLength { slot, bytes },
            Next::Close(slot) => return self.discard_closes(slot),
            Next::Unlink => DiskOp::Unlink { path },
        };
        self.ops.tell(Purpose::Discard, op, &mut self.effects);
    }

    fn discard_closes(&mut self, slot: FileSlot) {
        self.discards.in_flight = false;
        self.close(slot);
        self.discard_on();
    }

    /// An operation on the file at the head has ended. One that cannot be shortened goes as a whole, unless it could not be opened because
    /// too many are: that passes. One that cannot be removed is left to the next start.
    pub(super) fn discarded(&mut self, outcome: Result<(), DiskError>) {
        let discards = &mut self.discards;
        discards.in_flight = false;
        match (discards.stage, outcome) {
            (Stage::Unlinked, _) => {
                discards.stage = Stage::Whole;
                let file = discards.files.pop_front();
                if discards.files.is_empty() {
                    (discards.hurried, discards.budget) = (false, 0);
                }
                let Discard { log, .. } =
                    file.expect("it stays at the head until its name is gone");
                self.log_mut(log).discards -= 1;
                self.next_task(log);
            }
            (Stage::Open(slot), Err(error)) => {
                discards.stage = match lacks_descriptors(error) {
                    true => Stage::Whole,
                    false => Stage::Short,
                };
                if lacks_descriptors(error) {
                    (discards.hurried, discards.budget) = (false, 0);
                    discards.at = self.now.tick.after_ms(OPEN_AGAIN_MS);
                }
                self.close(slot);
            }
            (Stage::Whole | Stage::Open(_) | Stage::Short, _) => {}
        }
        self.discard_on();
    }
}
