//! The disk of recovery and of offline tools: plain calls that answer at once.
//!
//! Always: paths are relative to the data directory; the file used last stays open, since recovery reads a file piece by piece.

use crate::disk::{BlockingDisk, DirEntry, EntryKind};
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A data directory.
#[derive(Debug)]
pub struct SystemDisk {
    root: PathBuf,
    last: Mutex<Option<(PathBuf, Arc<File>)>>,
}

/// Whether an absent file is made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Absent {
    IsMade,
    IsAnError,
}

impl SystemDisk {
    /// The disk below a data directory, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> SystemDisk {
        SystemDisk {
            root: root.into(),
            last: Mutex::new(None),
        }
    }

    /// The data directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn file(&self, path: &Path, absent: Absent) -> io::Result<Arc<File>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((held, file)) = &*last
            && held == path
        {
            return Ok(Arc::clone(file));
        }
        let full = self.root.join(path);
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(absent == Absent::IsMade);
        let file = match options.open(&full) {
            // Tools may look at what they may not change.
            Err(error) if absent == Absent::IsAnError && is_read_only(&error) => File::open(&full),
            result => result,
        };
        let file = Arc::new(file?);
        *last = Some((path.to_owned(), Arc::clone(&file)));
        Ok(file)
    }

    /// A name now stands for something else.
    fn forget(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl BlockingDisk for SystemDisk {
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut names = Vec::new();
        let Some(entries) = or_absent(std::fs::read_dir(self.root.join(path)))? else {
            return Ok(names);
        };
        for entry in entries {
            let entry = entry?;
            let kind = if entry.file_type()?.is_dir() {
                EntryKind::Directory
            } else {
                EntryKind::File
            };
            names.push(DirEntry {
                name: entry.file_name().into(),
                kind,
            });
        }
        names.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(names)
    }

    fn length(&self, path: &Path) -> io::Result<Option<u64>> {
        let metadata = or_absent(std::fs::metadata(self.root.join(path)))?;
        Ok(metadata.map(|metadata| metadata.len()))
    }

    fn read(&self, path: &Path, position: u64, into: &mut [u8]) -> io::Result<usize> {
        let file = self.file(path, Absent::IsAnError)?;
        let mut read = 0;
        while read < into.len() {
            match file.read_at(&mut into[read..], position + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write(&self, path: &Path, position: u64, data: &[u8]) -> io::Result<()> {
        self.file(path, Absent::IsMade)?
            .write_all_at(data, position)
    }

    fn set_length(&self, path: &Path, bytes: u64) -> io::Result<()> {
        self.file(path, Absent::IsMade)?.set_len(bytes)
    }

    fn sync_data(&self, path: &Path) -> io::Result<()> {
        self.file(path, Absent::IsAnError)?.sync_data()
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(self.root.join(path))?.sync_all()
    }

    fn sync_fs(&self) -> io::Result<()> {
        let root = File::open(&self.root)?;
        // ORDER: as in the helper of the ring: written out first, then the device is flushed by a sync of any file.
        sync_fs(root.as_raw_fd())?;
        match File::open(self.root.join("lock")) {
            Ok(file) => file.sync_data(),
            Err(_) => root.sync_all(),
        }
    }

    fn make_dirs(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(self.root.join(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.forget();
        std::fs::rename(self.root.join(from), self.root.join(to))
    }

    fn exchange(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.forget();
        let (from, to) = (self.root.join(from), self.root.join(to));
        match exchange(&from, &to) {
            // There is nothing yet, or this file system has only renaming.
            Err(error) if is_no_exchange(&error) => std::fs::rename(from, to),
            outcome => outcome,
        }
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.forget();
        or_absent(std::fs::remove_file(self.root.join(path))).map(drop)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        or_absent(std::fs::remove_dir(self.root.join(path))).map(drop)
    }
}

/// syncfs(2).
pub(super) fn sync_fs(descriptor: RawFd) -> io::Result<()> {
    // SAFETY: a plain system call on a descriptor that the caller holds.
    result(unsafe { libc::syncfs(descriptor) })
}

fn exchange(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (c_path(from)?, c_path(to)?);
    // SAFETY: both paths end in NUL and live through the call.
    result(unsafe {
        libc::renameat2(
            libc::AT_FDCWD,
            from.as_ptr(),
            libc::AT_FDCWD,
            to.as_ptr(),
            libc::RENAME_EXCHANGE,
        )
    })
}

fn is_no_exchange(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOENT | libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP)
    )
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// The outcome of a system call that returns 0 or -1.
pub(super) fn result(returned: i32) -> io::Result<()> {
    if returned == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn or_absent<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EACCES | libc::EROFS | libc::EPERM)
    )
}
