//! One operation on its way through the ring: what the kernel points to, and how far it came.
//!
//! Always: memory that an entry names is behind a pointer of its own (box or vector), so a flight may be moved while it is in the air.

use crate::cache::{AlignedBuffer, SlabPool};
use crate::disk::{BLOCK_BYTES, DiskResult, FileSlot, OpId, Reservation, WriteSync};
use bytes::{Buf, Bytes};
use io_uring::types::{Fd, FsyncFlags};
use io_uring::{opcode, squeue};
use std::collections::VecDeque;
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::Arc;

/// Slices of one submission at the most. BOUND: the kernel takes 1024 (IOV_MAX).
const SLICES_MAX: usize = 1024;
/// Bytes of one submission at the most. BOUND: the kernel moves less than 2 GiB at once.
const WRITE_BYTES_MAX: usize = 1 << 30;
/// FALLOC_FL_WRITE_ZEROES (Linux 6.17): written, zeroed extents.
pub(super) const WRITE_ZEROES: i32 = 0x80;

pub(super) struct Flight {
    pub(super) op: OpId,
    pub(super) stage: Stage,
}

/// What is under way.
pub(super) enum Stage {
    MakeDir {
        name: CString,
    },
    Rename {
        from: CString,
        to: CString,
    },
    /// `flags` are those of unlinkat.
    Unlink {
        name: CString,
        flags: i32,
    },
    /// A file is being opened into a slot.
    Open {
        slot: FileSlot,
        name: CString,
        flags: i32,
    },
    Close {
        file: RawFd,
    },
    /// Nothing, for a completion.
    Nothing,
    SyncData {
        file: Arc<OwnedFd>,
    },
    /// A directory is being opened, to be synced.
    OpenDir {
        name: CString,
    },
    SyncDir {
        directory: OwnedFd,
    },
    /// Space is being reserved in a file.
    Reserve {
        file: Arc<OwnedFd>,
        position: u64,
        bytes: u64,
        reservation: Reservation,
    },
    SetLength {
        file: Arc<OwnedFd>,
        bytes: u64,
    },
    Write(Writing),
    Read(Reading),
    /// An outcome of the helper thread is waited for: of any of its jobs, not of this flight's operation.
    Event {
        event: RawFd,
        count: Box<u64>,
    },
}

impl Stage {
    /// The entry that submits it. Paths are relative to `root`.
    pub(super) fn entry(&mut self, root: RawFd) -> squeue::Entry {
        let root = Fd(root);
        match self {
            Stage::MakeDir { name } => opcode::MkDirAt::new(root, name.as_ptr())
                .mode(0o750)
                .build(),
            Stage::Rename { from, to } => {
                opcode::RenameAt::new(root, from.as_ptr(), root, to.as_ptr()).build()
            }
            Stage::Unlink { name, flags } => opcode::UnlinkAt::new(root, name.as_ptr())
                .flags(*flags)
                .build(),
            Stage::Open { name, flags, .. } => {
                let open = opcode::OpenAt::new(root, name.as_ptr());
                open.flags(*flags | libc::O_CLOEXEC).mode(0o640).build()
            }
            Stage::Close { file } => opcode::Close::new(Fd(*file)).build(),
            Stage::Nothing => opcode::Nop::new().build(),
            Stage::SyncData { file } => {
                let sync = opcode::Fsync::new(Fd(file.as_raw_fd()));
                sync.flags(FsyncFlags::DATASYNC).build()
            }
            Stage::OpenDir { name } => {
                let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
                opcode::OpenAt::new(root, name.as_ptr())
                    .flags(flags)
                    .build()
            }
            Stage::SyncDir { directory } => opcode::Fsync::new(Fd(directory.as_raw_fd())).build(),
            Stage::Reserve {
                file,
                position,
                bytes,
                reservation,
            } => {
                let mode = match reservation {
                    Reservation::Unwritten => 0,
                    Reservation::WrittenZeroes => WRITE_ZEROES,
                };
                let reserve = opcode::Fallocate::new(Fd(file.as_raw_fd()), *bytes);
                reserve.offset(*position).mode(mode).build()
            }
            Stage::SetLength { file, bytes } => {
                opcode::Ftruncate::new(Fd(file.as_raw_fd()), *bytes).build()
            }
            Stage::Write(writing) => writing.entry(),
            Stage::Read(reading) => reading.entry(),
            Stage::Event { event, count } => {
                let target = std::ptr::from_mut(&mut **count).cast();
                opcode::Read::new(Fd(*event), target, size_of::<u64>() as u32).build()
            }
        }
    }
}

/// A write that goes on until everything is written.
pub(super) struct Writing {
    file: Arc<OwnedFd>,
    position: u64,
    sync: WriteSync,
    rest: VecDeque<Bytes>,
    slices: Vec<libc::iovec>,
}

// SAFETY: the pointers in `slices` are into `rest`, which goes where the flight goes and may be used from any thread.
unsafe impl Send for Writing {}

impl Writing {
    pub(super) fn new(
        file: Arc<OwnedFd>,
        position: u64,
        data: Vec<Bytes>,
        sync: WriteSync,
    ) -> Writing {
        Writing {
            file,
            position,
            sync,
            rest: data.into(),
            slices: Vec::new(),
        }
    }

    fn entry(&mut self) -> squeue::Entry {
        self.slices.clear();
        let mut bytes = 0;
        for slice in self
            .rest
            .iter()
            .filter(|slice| !slice.is_empty())
            .take(SLICES_MAX)
        {
            if bytes > 0 && bytes + slice.len() > WRITE_BYTES_MAX {
                break;
            }
            bytes += slice.len();
            self.slices.push(libc::iovec {
                iov_base: slice.as_ptr().cast_mut().cast(),
                iov_len: slice.len(),
            });
        }
        let flags = match self.sync {
            WriteSync::None => 0,
            WriteSync::Data => libc::RWF_DSYNC,
        };
        let write = opcode::Writev::new(
            Fd(self.file.as_raw_fd()),
            self.slices.as_ptr(),
            self.slices.len() as u32,
        );
        write.offset(self.position).rw_flags(flags).build()
    }

    /// Takes the outcome of a submission: how many bytes were written. Returns whether more is to be written.
    pub(super) fn advance(&mut self, mut written: usize) -> bool {
        self.position += written as u64;
        while let Some(front) = self.rest.front_mut() {
            if front.len() > written {
                front.advance(written);
                return true;
            }
            written -= front.len();
            self.rest.pop_front();
        }
        assert_eq!(written, 0, "the kernel writes no more than it was given");
        false
    }
}

/// A read that goes on until everything is there or the file ends. The file is read in whole blocks where it is open for direct
/// IO, and what was asked for is cut out of them.
pub(super) struct Reading {
    file: Arc<OwnedFd>,
    /// Where the buffer begins in the file.
    start: u64,
    buffer: AlignedBuffer,
    filled: usize,
    /// What was asked for, within the buffer.
    skip: usize,
    bytes: usize,
}

impl Reading {
    pub(super) fn new(file: Arc<OwnedFd>, position: u64, bytes: usize, pool: &SlabPool) -> Reading {
        let skip = (position % BLOCK_BYTES as u64) as usize;
        let whole = (skip + bytes).next_multiple_of(BLOCK_BYTES);
        Reading {
            file,
            start: position - skip as u64,
            buffer: pool.take(whole),
            filled: 0,
            skip,
            bytes,
        }
    }

    fn entry(&mut self) -> squeue::Entry {
        let position = self.start + self.filled as u64;
        let target = &mut self.buffer[self.filled..];
        let bytes = u32::try_from(target.len()).expect("a read is smaller than 4 GiB");
        let read = opcode::Read::new(Fd(self.file.as_raw_fd()), target.as_mut_ptr(), bytes);
        read.offset(position).build()
    }

    /// Takes the outcome of a submission: how many bytes were read. Returns whether more is to be read.
    pub(super) fn advance(&mut self, read: usize) -> bool {
        self.filled += read;
        // A read that stops inside a block has met the end of the file; to go on from there would not be aligned.
        read > 0 && self.filled < self.skip + self.bytes && self.filled.is_multiple_of(BLOCK_BYTES)
    }

    /// What was asked for, as far as the file has it.
    pub(super) fn finish(self) -> DiskResult {
        let end = self.filled.min(self.skip + self.bytes);
        let start = self.skip.min(end);
        DiskResult::Bytes(self.buffer.freeze().slice(start..end))
    }
}

/// A path for the kernel.
pub(super) fn name(path: &Path) -> CString {
    use std::os::unix::ffi::OsStrExt;
    let bytes = path.as_os_str().as_bytes();
    // The data directory itself is the empty path.
    let bytes = if bytes.is_empty() { b"." } else { bytes };
    CString::new(bytes).expect("paths of the log are made of numbers and names without zero bytes")
}
