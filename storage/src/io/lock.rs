//! The lock of a data directory: flock on `DATA/lock`. The pid in it is text for the message, it decides nothing.
//!
//! ORDER: the lock is held -> any file of the log is read. The shards register its descriptor in their rings, so that the kernel releases
//! the lock of a killed process only after its last write has ended; without it a late write would land in a log that
//! already has another owner.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fmt, thread};

/// Between two attempts.
const ATTEMPT: Duration = Duration::from_millis(20);

/// A data directory that this process owns; it is released when dropped.
#[derive(Debug)]
pub struct DataLock {
    file: File,
}

/// Why a data directory could not be locked.
#[derive(Debug)]
pub enum LockRefused {
    /// Another process has it.
    Held {
        /// The lock file.
        path: PathBuf,
        /// What the file says of its owner.
        owner: String,
    },
    /// The lock file could not be made or opened.
    Failed {
        /// The lock file.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
}

impl DataLock {
    /// How long a process that just ended may need to let go.
    pub const PATIENCE: Duration = Duration::from_secs(10);

    /// Locks `data`, a directory that exists. If another process has it, `waiting` is told once who (for a message), and the lock is
    /// waited for up to `patience`.
    pub fn acquire(
        data: &Path,
        patience: Duration,
        waiting: impl FnOnce(&str),
    ) -> Result<DataLock, LockRefused> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut lock = DataLock::take(&options, data, patience, waiting)?;
        // In the place of the former text, which needs no room. Without it the message to others lacks a pid, that is all.
        let text = format!("{:<10}\n", std::process::id());
        let _ = lock
            .file
            .rewind()
            .and_then(|()| lock.file.write_all(text.as_bytes()));
        Ok(lock)
    }

    /// Keeps others from `data`, whose lock file exists, while it is read: nothing is written, and no permission to is needed.
    pub fn hold_still(data: &Path, patience: Duration) -> Result<DataLock, LockRefused> {
        DataLock::take(OpenOptions::new().read(true), data, patience, |_| {})
    }

    fn take(
        options: &OpenOptions,
        data: &Path,
        patience: Duration,
        waiting: impl FnOnce(&str),
    ) -> Result<DataLock, LockRefused> {
        let path = data.join("lock");
        let failed = |error| LockRefused::Failed {
            path: data.join("lock"),
            error,
        };
        let mut file = options.open(&path).map_err(failed)?;
        let deadline = Instant::now() + patience;
        let mut waiting = Some(waiting);
        while !try_lock(&file).map_err(failed)? {
            let owner = owner(&mut file);
            if Instant::now() >= deadline {
                return Err(LockRefused::Held { path, owner });
            }
            if let Some(waiting) = waiting.take() {
                waiting(&owner);
            }
            thread::sleep(ATTEMPT);
        }
        Ok(DataLock { file })
    }
}

impl AsFd for DataLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl fmt::Display for LockRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockRefused::Held { path, owner } => {
                write!(
                    f,
                    "the data directory is in use by another process ({owner}): {} is locked",
                    path.display()
                )
            }
            LockRefused::Failed { path, error } => {
                write!(f, "cannot lock {}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for LockRefused {}

fn try_lock(file: &File) -> io::Result<bool> {
    loop {
        // SAFETY: a plain system call on an open file.
        let locked = super::system::result(unsafe {
            libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB)
        });
        match locked {
            Ok(()) => return Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EWOULDBLOCK) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn owner(file: &mut File) -> String {
    let mut text = String::new();
    // The text is only for the message: what cannot be read is unknown.
    let _ = file
        .rewind()
        .and_then(|()| file.take(64).read_to_string(&mut text));
    match text.trim() {
        "" => "unknown pid".to_owned(),
        pid => format!("pid {pid}"),
    }
}
