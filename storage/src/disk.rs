//! What the log asks of a disk, as data: operations out, completions in.
//!
//! Always: (1) an operation completes exactly once; (2) two operations in flight are not ordered, whoever needs an order
//! waits for the first completion; (3) the bytes of a write stay unchanged until it completes; (4) a write or sync that
//! fails is never retried.
//! Leaves to others: executing them (`io` on an io_uring, `sim` on a simulated disk).

use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Direct IO works in blocks of this many bytes: positions, lengths and addresses are multiples of it.
pub const BLOCK_BYTES: usize = 4096;

/// The issuer's name for an open file; it may be used again after `Close` has completed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FileSlot(pub u32);

/// The issuer's name for one operation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OpId(pub u64);

/// How to open a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// It must exist; for reading.
    Read,
    /// It must exist; for reading and writing.
    ReadWrite,
    /// It is made, or made empty, for reading and writing.
    Create,
}

/// Whether the kernel's cache stands between us and the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Caching {
    /// O_DIRECT: block-aligned (buffered where the configuration says that direct IO is off).
    Direct,
    /// The page cache: for small files that are not on the hot path.
    Buffered,
}

/// How long a write is not complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteSync {
    /// Until the device has the bytes, perhaps only in its cache.
    None,
    /// Until they survive a power cut (RWF_DSYNC).
    Data,
}

/// How space is reserved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reservation {
    /// Unwritten extents (fallocate).
    Unwritten,
    /// Written, zeroed extents (FALLOC_FL_WRITE_ZEROES); fails where the device does not offer it.
    WrittenZeroes,
}

/// One thing to do on a disk. Paths are relative to the data directory.
#[derive(Clone, Debug)]
pub enum DiskOp {
    /// Makes one directory; one that exists already is success.
    MakeDir { path: Arc<Path> },
    /// Opens a file into a slot.
    Open {
        slot: FileSlot,
        path: Arc<Path>,
        mode: OpenMode,
        caching: Caching,
    },
    /// Closes a slot; nothing where its `Open` failed.
    Close { slot: FileSlot },
    /// Reserves `bytes` from `position` on; the length grows to cover them.
    Reserve {
        slot: FileSlot,
        position: u64,
        bytes: u64,
        reservation: Reservation,
    },
    /// Cuts or extends to a length (ftruncate).
    SetLength { slot: FileSlot, bytes: u64 },
    /// Writes the slices, one behind the other, from `position` on. Direct files: every slice is block-aligned in address
    /// and length. Complete when all is written (the executor goes on after a short write).
    Write {
        slot: FileSlot,
        position: u64,
        data: Vec<Bytes>,
        sync: WriteSync,
    },
    /// Reads up to `bytes` from `position` on; fewer at the end of the file.
    Read {
        slot: FileSlot,
        position: u64,
        bytes: usize,
    },
    /// fdatasync: data, and the length needed to read it.
    SyncData { slot: FileSlot },
    /// fsync of a directory: the names in it.
    SyncDir { path: Arc<Path> },
    /// syncfs of the file system of the data directory, then fdatasync of `slot` (some file systems flush the device only
    /// then). Covers writes completed before it began.
    SyncFs { slot: FileSlot },
    /// Renames a file within the data directory.
    Rename { from: Arc<Path>, to: Arc<Path> },
    /// Removes a file; one that is absent is success.
    Unlink { path: Arc<Path> },
    /// Removes an empty directory; one that is absent is success.
    RemoveDir { path: Arc<Path> },
}

impl DiskOp {
    /// The slot of the file it is about; `None` for one that is about names.
    pub fn slot_mut(&mut self) -> Option<&mut FileSlot> {
        match self {
            DiskOp::Open { slot, .. }
            | DiskOp::Close { slot }
            | DiskOp::Reserve { slot, .. }
            | DiskOp::SetLength { slot, .. }
            | DiskOp::Write { slot, .. }
            | DiskOp::Read { slot, .. }
            | DiskOp::SyncData { slot }
            | DiskOp::SyncFs { slot } => Some(slot),
            DiskOp::MakeDir { .. }
            | DiskOp::SyncDir { .. }
            | DiskOp::Rename { .. }
            | DiskOp::Unlink { .. }
            | DiskOp::RemoveDir { .. } => None,
        }
    }
}

/// Why an operation failed: the errno of the system call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskError {
    /// errno, positive.
    pub errno: i32,
}

/// What an operation gave.
#[derive(Clone, Debug)]
pub enum DiskResult {
    /// Done.
    Done,
    /// What a read returned.
    Bytes(Bytes),
    /// It failed.
    Failed(DiskError),
}

/// The end of an operation.
#[derive(Clone, Debug)]
pub struct DiskDone {
    /// The operation.
    pub op: OpId,
    /// Its outcome.
    pub result: DiskResult,
}

/// A disk that answers at once: for recovery before a shard starts, and for offline tools. Paths are relative to the data
/// directory; errors are the operating system's. Writes through it are plain: only the `sync_*` calls make them durable.
pub trait BlockingDisk {
    /// The names in a directory, sorted; an absent directory is empty.
    fn list(&self, path: &Path) -> std::io::Result<Vec<DirEntry>>;
    /// The length of a file; `None` where there is none.
    fn length(&self, path: &Path) -> std::io::Result<Option<u64>>;
    /// Reads up to `into.len()` bytes; fewer only at the end of the file.
    fn read(&self, path: &Path, position: u64, into: &mut [u8]) -> std::io::Result<usize>;
    /// Writes all of `data`; the file is made if absent.
    fn write(&self, path: &Path, position: u64, data: &[u8]) -> std::io::Result<()>;
    /// Sets the length; the file is made if absent.
    fn set_length(&self, path: &Path, bytes: u64) -> std::io::Result<()>;
    /// fdatasync.
    fn sync_data(&self, path: &Path) -> std::io::Result<()>;
    /// fsync of a directory.
    fn sync_dir(&self, path: &Path) -> std::io::Result<()>;
    /// syncfs and a device flush: everything written before is durable.
    fn sync_fs(&self) -> std::io::Result<()>;
    /// Makes a directory and those above it.
    fn make_dirs(&self, path: &Path) -> std::io::Result<()>;
    /// Renames.
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()>;
    /// Renames `from` to `to`; where the file system can, what stood there takes the name `from` in the same step.
    fn exchange(&self, from: &Path, to: &Path) -> std::io::Result<()>;
    /// Removes a file; absent is success.
    fn unlink(&self, path: &Path) -> std::io::Result<()>;
    /// Removes an empty directory; absent is success.
    fn remove_dir(&self, path: &Path) -> std::io::Result<()>;

    /// Replaces a small file durably; a crash leaves the old one or the new one.
    ///
    /// ORDER: written under another name and synced -> the names change places -> directory synced. What stood there before stays
    /// under the other name: the next replacement needs no room, so that a node starts on a full disk.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), ReplaceFailed> {
        let mut spare = path.as_os_str().to_owned();
        spare.push(SPARE);
        let spare = Path::new(&spare);
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |error| ReplaceFailed { path, error }
        };
        // A block that was being written when the power failed may not even take a part of it.
        self.write(spare, 0, bytes)
            .or_else(|_| {
                self.set_length(spare, 0)?;
                self.write(spare, 0, bytes)
            })
            .and_then(|()| self.set_length(spare, bytes.len() as u64))
            .and_then(|()| self.sync_data(spare))
            .map_err(failed(spare))?;
        self.exchange(spare, path)
            .and_then(|()| self.sync_dir(path.parent().unwrap_or(Path::new(""))))
            .map_err(failed(path))?;
        if self.length(spare).map_err(failed(spare))?.is_none() {
            // Without room for it the next replacement needs some.
            let _ = self
                .write(spare, 0, bytes)
                .and_then(|()| self.sync_data(spare));
        }
        Ok(())
    }
}

/// A file that could not be replaced.
#[derive(Debug)]
pub struct ReplaceFailed {
    /// The file that it failed at: the file itself, or the one it is replaced with.
    pub path: PathBuf,
    /// What the system said.
    pub error: std::io::Error,
}

/// Behind the name of a file: what it is replaced with, and then what it was before.
const SPARE: &str = ".tmp";

/// One name in a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirEntry {
    /// The last part of its path.
    pub name: PathBuf,
    /// What it is.
    pub kind: EntryKind,
}

/// What a name in a directory stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
}
