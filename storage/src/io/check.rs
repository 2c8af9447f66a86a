//! Whether a directory takes direct IO, and what errors of the disk mean in words.

use super::flight::WRITE_ZEROES;
use crate::disk::{BLOCK_BYTES, Caching, DiskError, DiskOp};
use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The file that checks write, and remove.
const CHECK_FILE: &str = "disk-check";

/// A directory whose file system has no direct IO, or another reason why the check could not write there.
#[derive(Debug)]
pub struct DirectIoRefused {
    /// The directory.
    pub directory: PathBuf,
    /// What the system said.
    pub error: io::Error,
}

impl DirectIoRefused {
    /// Whether it is direct IO that is missing, and `storage.direct-io=false` would do.
    pub fn is_unsupported(&self) -> bool {
        matches!(
            self.error.raw_os_error(),
            Some(libc::EINVAL | libc::EOPNOTSUPP)
        )
    }
}

impl fmt::Display for DirectIoRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directory = self.directory.display();
        if self.is_unsupported() {
            write!(
                f,
                "the file system of {directory} takes no direct IO (O_DIRECT, blocks of {BLOCK_BYTES} bytes)"
            )
        } else {
            write!(f, "cannot write a file in {directory}: {}", self.error)
        }
    }
}

impl std::error::Error for DirectIoRefused {}

/// Writes and reads one block with direct IO in a file that is removed again. Where the disk is full, being able to open a file that is there
/// has to do.
pub fn check_direct_io(directory: &Path) -> Result<(), DirectIoRefused> {
    let path = directory.join(CHECK_FILE);
    let checked = match write_and_read(&path) {
        Err(error) if is_full(&error) => match open_direct(&directory.join("lock")) {
            Err(absent) if absent.kind() == io::ErrorKind::NotFound => Err(error),
            opened => opened,
        },
        checked => checked,
    };
    // What is left over is written again by the next check.
    let _ = std::fs::remove_file(&path);
    checked.map_err(|error| DirectIoRefused {
        directory: directory.to_owned(),
        error,
    })
}

/// Whether a directory's file system reserves space as written zeroes (FALLOC_FL_WRITE_ZEROES): asked for with a file that is gone again.
pub fn reserves_written_zeroes(directory: &Path) -> bool {
    let path = directory.join(CHECK_FILE);
    let reserved = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .is_ok_and(|file| {
            // SAFETY: a plain system call on a descriptor that lives through it.
            let reserved =
                unsafe { libc::fallocate(file.as_raw_fd(), WRITE_ZEROES, 0, BLOCK_BYTES as i64) };
            reserved == 0
        });
    let _ = std::fs::remove_file(&path);
    reserved
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT))
}

fn open_direct(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_DIRECT);
    options.open(path).map(drop)
}

fn write_and_read(path: &Path) -> io::Result<()> {
    let pool = crate::cache::SlabPool::new(0);
    let mut block = pool.take(BLOCK_BYTES);
    block.fill(0x5a);
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(libc::O_DIRECT);
    let file = options.open(path)?;
    file.write_all_at(&block, 0)?;
    block.fill(0);
    file.read_exact_at(&mut block, 0)?;
    match block.iter().all(|byte| *byte == 0x5a) {
        true => Ok(()),
        false => Err(io::Error::from_raw_os_error(libc::EIO)),
    }
}

/// Says in words what failed: the operation, its file, the error, and what helps.
pub fn explain(op: &DiskOp, error: DiskError) -> String {
    let reason = io::Error::from_raw_os_error(error.errno);
    let remedy = match (op, error.errno) {
        (
            DiskOp::Open {
                caching: Caching::Direct,
                ..
            },
            libc::EINVAL,
        ) => "; the file system takes no direct IO: set storage.direct-io=false or use another one",
        (DiskOp::Write { .. }, libc::EINVAL) => {
            "; the device may need larger blocks for direct IO: set storage.direct-io=false or use another one"
        }
        (_, libc::ENOSPC | libc::EDQUOT) => "; make room on the disk",
        (_, libc::EMFILE | libc::ENFILE) => "; raise the limit of open files (ulimit -n)",
        (_, libc::EIO) => "; the device has failed",
        _ => "",
    };
    format!("{}: {reason}{remedy}", describe(op))
}

fn describe(op: &DiskOp) -> String {
    match op {
        DiskOp::MakeDir { path } => format!("cannot make the directory {}", path.display()),
        DiskOp::Open { path, .. } => format!("cannot open {}", path.display()),
        DiskOp::Close { slot } => format!("cannot close file {}", slot.0),
        DiskOp::Reserve { slot, bytes, .. } => {
            format!("cannot reserve {bytes} bytes in file {}", slot.0)
        }
        DiskOp::SetLength { slot, bytes } => {
            format!("cannot set the length of file {} to {bytes}", slot.0)
        }
        DiskOp::Write { slot, position, .. } => {
            format!("cannot write file {} at {position}", slot.0)
        }
        DiskOp::Read { slot, position, .. } => format!("cannot read file {} at {position}", slot.0),
        DiskOp::SyncData { slot } => format!("cannot sync file {}", slot.0),
        DiskOp::SyncDir { path } => format!("cannot sync the directory {}", path.display()),
        DiskOp::SyncFs { .. } => "cannot sync the file system".to_owned(),
        DiskOp::Rename { from, to } => {
            format!("cannot rename {} to {}", from.display(), to.display())
        }
        DiskOp::Unlink { path } => format!("cannot remove {}", path.display()),
        DiskOp::RemoveDir { path } => format!("cannot remove the directory {}", path.display()),
    }
}
