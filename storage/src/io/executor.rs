//! Executes disk operations on a shard's ring.
//!
//! Lives on one shard's core, beside the ring. Always: (1) every operation given to `submit` comes back from `complete` exactly once, never
//! from `submit` itself; (2) `user_data` is the class in the top byte and the flight's index below; (3) with flights in the air, what they
//! point to is leaked rather than freed when the executor is dropped.

use super::flight::{Flight, Reading, Stage, Writing, name};
use super::helper::{Helper, Job};
use crate::cache::SlabPool;
use crate::disk::{
    BLOCK_BYTES, Caching, DiskDone, DiskError, DiskOp, DiskResult, FileSlot, OpId, OpenMode,
    Reservation, WriteSync,
};
use crate::ids::NumberMap;
use bytes::Bytes;
use io_uring::squeue;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

/// The top byte of every `user_data` of this module.
pub const CLASS: u8 = 2;

/// Whether files on the hot path pass by the kernel's cache (`storage.direct-io`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DirectIo {
    /// O_DIRECT.
    On,
    /// Through the page cache, for file systems without direct IO.
    Off,
}

/// The files of one shard, and the operations under way on them.
pub struct DiskExecutor {
    root: Arc<OwnedFd>,
    direct_io: DirectIo,
    pool: SlabPool,
    files: NumberMap<FileSlot, OpenFile>,
    flights: Vec<Option<Flight>>,
    free: Vec<u32>,
    helper: Helper,
    set_length: SetLengthBy,
}

struct OpenFile {
    /// Missing until it is open.
    file: Option<Arc<OwnedFd>>,
    direct: bool,
}

/// What comes after a completion.
enum Next {
    Stage(Stage),
    Done(DiskDone),
}

/// Who sets lengths: the ring from Linux 6.9 on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SetLengthBy {
    Ring,
    Helper,
}

impl DiskExecutor {
    /// An executor for the data directory `root`. Reads go into buffers of `pool`.
    pub fn new(root: &Path, direct_io: DirectIo, pool: SlabPool) -> io::Result<DiskExecutor> {
        Ok(DiskExecutor {
            root: Arc::new(std::fs::File::open(root)?.into()),
            direct_io,
            pool,
            files: NumberMap::default(),
            flights: Vec::new(),
            free: Vec::new(),
            helper: Helper::new()?,
            set_length: SetLengthBy::Ring,
        })
    }

    /// Starts an operation: hands entries to `push`, which must get them to the ring. What they point to lives in here.
    pub fn submit(&mut self, op: OpId, disk: DiskOp, push: &mut dyn FnMut(&squeue::Entry)) {
        let stage = match disk {
            DiskOp::MakeDir { path } => Stage::MakeDir { name: name(&path) },
            DiskOp::Open {
                slot,
                path,
                mode,
                caching,
            } => self.open(slot, &path, mode, caching),
            DiskOp::Close { slot } => self.close(slot),
            DiskOp::Reserve {
                slot,
                position,
                bytes,
                reservation,
            } => Stage::Reserve {
                file: self.file(slot),
                position,
                bytes,
                reservation,
            },
            DiskOp::SetLength { slot, bytes } => {
                let file = self.file(slot);
                match self.set_length {
                    SetLengthBy::Ring => Stage::SetLength { file, bytes },
                    SetLengthBy::Helper => self.help(op, Job::SetLength { file, bytes }),
                }
            }
            DiskOp::Write {
                slot,
                position,
                data,
                sync,
            } => self.write(slot, position, data, sync),
            DiskOp::Read {
                slot,
                position,
                bytes,
            } => Stage::Read(Reading::new(self.file(slot), position, bytes, &self.pool)),
            DiskOp::SyncData { slot } => Stage::SyncData {
                file: self.file(slot),
            },
            DiskOp::SyncDir { path } => Stage::OpenDir { name: name(&path) },
            DiskOp::SyncFs { slot } => {
                let (root, file) = (Arc::clone(&self.root), self.file(slot));
                self.help(op, Job::SyncFs { root, file })
            }
            DiskOp::Rename { from, to } => Stage::Rename {
                from: name(&from),
                to: name(&to),
            },
            DiskOp::Unlink { path } => Stage::Unlink {
                name: name(&path),
                flags: 0,
            },
            DiskOp::RemoveDir { path } => Stage::Unlink {
                name: name(&path),
                flags: libc::AT_REMOVEDIR,
            },
        };
        self.launch(op, stage, push);
    }

    /// Takes a completion of class [`CLASS`]. `None` while the operation goes on: then another entry went to `push`.
    pub fn complete(
        &mut self,
        user_data: u64,
        result: i32,
        push: &mut dyn FnMut(&squeue::Entry),
    ) -> Option<DiskDone> {
        assert_eq!(
            user_data >> 56,
            u64::from(CLASS),
            "a completion goes to the module that submitted"
        );
        let Flight { op, stage } = self.land(user_data as u32);
        let outcome = if result >= 0 {
            Ok(result)
        } else {
            Err(-result)
        };
        if matches!(outcome, Err(libc::EINTR | libc::EAGAIN))
            && !matches!(stage, Stage::Close { .. })
        {
            self.launch(op, stage, push);
            return None;
        }
        match self.follow(op, stage, outcome) {
            Next::Stage(stage) => {
                self.launch(op, stage, push);
                None
            }
            Next::Done(done) => Some(done),
        }
    }

    /// What comes after a completion; the outcome is what the call returned, or its errno.
    fn follow(&mut self, op: OpId, stage: Stage, outcome: Result<i32, i32>) -> Next {
        let result = match (stage, outcome) {
            (Stage::Event { .. }, Ok(_)) => {
                let (op, result) = self.helper.outcome();
                return Next::Done(DiskDone { op, result });
            }
            (Stage::OpenDir { .. }, Ok(descriptor)) => {
                // SAFETY: the kernel just made it for this operation.
                let directory = unsafe { OwnedFd::from_raw_fd(descriptor) };
                return Next::Stage(Stage::SyncDir { directory });
            }
            (Stage::Open { slot, .. }, Ok(descriptor)) => {
                // SAFETY: the kernel just made it for this operation.
                self.opened(slot, unsafe { OwnedFd::from_raw_fd(descriptor) });
                DiskResult::Done
            }
            (Stage::Open { slot, .. }, Err(errno)) => {
                self.files.remove(&slot);
                failed(errno)
            }
            (Stage::Write(mut writing), Ok(written)) => match writing.advance(written as usize) {
                false => DiskResult::Done,
                // A disk that takes nothing and names no reason would be asked for ever.
                true if written == 0 => failed(libc::EIO),
                true => return Next::Stage(Stage::Write(writing)),
            },
            (Stage::Read(mut reading), Ok(read)) => match reading.advance(read as usize) {
                false => reading.finish(),
                true => return Next::Stage(Stage::Read(reading)),
            },
            // A file system that reserves nothing: a longer file has to do.
            (
                Stage::Reserve {
                    file,
                    position,
                    bytes,
                    reservation: Reservation::Unwritten,
                },
                Err(libc::EOPNOTSUPP),
            ) => {
                let bytes = position + bytes;
                return Next::Stage(self.help(op, Job::Extend { file, bytes }));
            }
            // The ring does not offer it: Linux before 6.9.
            (Stage::SetLength { file, bytes }, Err(libc::EINVAL)) => {
                self.set_length = SetLengthBy::Helper;
                return Next::Stage(self.help(op, Job::SetLength { file, bytes }));
            }
            (Stage::MakeDir { .. }, Err(libc::EEXIST))
            | (Stage::Unlink { .. }, Err(libc::ENOENT)) => DiskResult::Done,
            (_, Ok(_)) => DiskResult::Done,
            (_, Err(errno)) => failed(errno),
        };
        Next::Done(DiskDone { op, result })
    }

    /// Whether nothing is in flight.
    pub fn is_quiet(&self) -> bool {
        self.free.len() == self.flights.len()
    }

    /// Open files.
    pub fn open_count(&self) -> usize {
        self.files.len()
    }

    fn open(&mut self, slot: FileSlot, path: &Path, mode: OpenMode, caching: Caching) -> Stage {
        let access = match mode {
            OpenMode::Read => libc::O_RDONLY,
            OpenMode::ReadWrite => libc::O_RDWR,
            OpenMode::Create => libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC,
        };
        let direct = caching == Caching::Direct && self.direct_io == DirectIo::On;
        let before = self.files.insert(slot, OpenFile { file: None, direct });
        assert!(before.is_none(), "a slot holds one file");
        Stage::Open {
            slot,
            name: name(path),
            flags: if direct {
                access | libc::O_DIRECT
            } else {
                access
            },
        }
    }

    fn opened(&mut self, slot: FileSlot, file: OwnedFd) {
        let open = self
            .files
            .get_mut(&slot)
            .expect("a slot waits for its file");
        open.file = Some(Arc::new(file));
    }

    fn close(&mut self, slot: FileSlot) -> Stage {
        let Some(open) = self.files.remove(&slot).and_then(|open| open.file) else {
            return Stage::Nothing;
        };
        match Arc::try_unwrap(open) {
            Ok(file) => Stage::Close {
                file: file.into_raw_fd(),
            },
            // Somebody still works on it; the last one closes it.
            Err(_) => Stage::Nothing,
        }
    }

    fn write(&self, slot: FileSlot, position: u64, data: Vec<Bytes>, sync: WriteSync) -> Stage {
        if self.files.get(&slot).is_some_and(|open| open.direct) {
            let aligned = |slice: &Bytes| {
                slice.len().is_multiple_of(BLOCK_BYTES)
                    && (slice.as_ptr() as usize).is_multiple_of(BLOCK_BYTES)
            };
            assert!(
                position.is_multiple_of(BLOCK_BYTES as u64),
                "direct writes begin on a block"
            );
            assert!(
                data.iter().all(aligned),
                "direct writes are made of whole blocks"
            );
        }
        Stage::Write(Writing::new(self.file(slot), position, data, sync))
    }

    /// Gives a job to the helper thread; what is submitted ends with one of its outcomes.
    fn help(&mut self, op: OpId, job: Job) -> Stage {
        self.helper.start(op, job);
        Stage::Event {
            event: self.helper.event(),
            count: Box::new(0),
        }
    }

    /// Submits a stage and keeps it until it lands.
    fn launch(&mut self, op: OpId, stage: Stage, push: &mut dyn FnMut(&squeue::Entry)) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.flights.push(None);
            self.flights.len() as u32 - 1
        });
        let flight = self.flights[index as usize].insert(Flight { op, stage });
        let entry = flight.stage.entry(self.root.as_raw_fd());
        push(&entry.user_data(u64::from(CLASS) << 56 | u64::from(index)));
    }

    fn land(&mut self, index: u32) -> Flight {
        let flight = self.flights[index as usize].take();
        self.free.push(index);
        flight.expect("a flight lands once")
    }

    fn file(&self, slot: FileSlot) -> Arc<OwnedFd> {
        let open = self.files.get(&slot).and_then(|open| open.file.as_ref());
        Arc::clone(open.expect("a slot is used while it is open"))
    }
}

impl Drop for DiskExecutor {
    fn drop(&mut self) {
        if !self.is_quiet() {
            // The kernel may still write into what these own.
            std::mem::forget(std::mem::take(&mut self.flights));
        }
    }
}

fn failed(errno: i32) -> DiskResult {
    DiskResult::Failed(DiskError { errno })
}
