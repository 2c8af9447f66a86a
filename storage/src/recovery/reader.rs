//! Reads a file from front to back in large pieces, and tells a block that cannot be read from a file that ends.

use super::types::RecoveryError;
use crate::disk::BlockingDisk;
use std::path::{Path, PathBuf};

/// How a file is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pattern {
    /// From front to back, all of it.
    Whole,
    /// A little here and there, in ascending order.
    Parts,
}

impl Pattern {
    /// Bytes read at least, where what was asked for is less.
    fn ahead_bytes(self) -> usize {
        match self {
            Pattern::Whole => 1 << 20,
            Pattern::Parts => 16 << 10,
        }
    }
}

/// Why bytes are not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Absent {
    /// The file ends before.
    End,
    /// The disk cannot read them.
    Unreadable,
}

/// A file being read.
pub(super) struct FileReader<'a> {
    disk: &'a dyn BlockingDisk,
    path: PathBuf,
    pattern: Pattern,
    length: u64,
    chunk: Vec<u8>,
    chunk_position: u64,
}

impl<'a> FileReader<'a> {
    /// `None` where there is no such file.
    pub(super) fn open(
        disk: &'a dyn BlockingDisk,
        path: &Path,
        pattern: Pattern,
    ) -> Result<Option<FileReader<'a>>, RecoveryError> {
        let length = disk.length(path).map_err(|error| io_at(path, error))?;
        Ok(length.map(|length| FileReader {
            disk,
            path: path.to_path_buf(),
            pattern,
            length,
            chunk: Vec::new(),
            chunk_position: 0,
        }))
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Exactly `bytes` bytes from `position` on. BOUND: by the length of the file, before anything is allocated.
    pub(super) fn get(
        &mut self,
        position: u64,
        bytes: usize,
    ) -> Result<Result<&[u8], Absent>, RecoveryError> {
        let end = position.checked_add(bytes as u64);
        if end.is_none_or(|end| end > self.length) {
            return Ok(Err(Absent::End));
        }
        if !self.holds(position, bytes) {
            let ahead = bytes.max(self.pattern.ahead_bytes()) as u64;
            let ahead = ahead.min(self.length - position) as usize;
            let exact = ahead > bytes;
            let filled = self.fill(position, ahead)? || (exact && self.fill(position, bytes)?);
            if !filled {
                return Ok(Err(Absent::Unreadable));
            }
        }
        if !self.holds(position, bytes) {
            return Ok(Err(Absent::End));
        }
        let from = (position - self.chunk_position) as usize;
        Ok(Ok(&self.chunk[from..from + bytes]))
    }

    fn holds(&self, position: u64, bytes: usize) -> bool {
        let chunk_end = self.chunk_position + self.chunk.len() as u64;
        position >= self.chunk_position && position + bytes as u64 <= chunk_end
    }

    /// False where the disk cannot read.
    fn fill(&mut self, position: u64, bytes: usize) -> Result<bool, RecoveryError> {
        self.chunk.clear();
        self.chunk.resize(bytes, 0);
        self.chunk_position = position;
        match self.disk.read(&self.path, position, &mut self.chunk) {
            Ok(read) => self.chunk.truncate(read),
            Err(error) if error.raw_os_error() == Some(libc::EIO) => {
                self.chunk.clear();
                return Ok(false);
            }
            Err(error) => return Err(io_at(&self.path, error)),
        }
        Ok(true)
    }
}

/// Names the file that an error is about.
pub(super) fn io_at(path: &Path, error: std::io::Error) -> RecoveryError {
    RecoveryError::Io {
        path: path.to_path_buf(),
        error,
    }
}

/// A whole file; `None` where it is absent, larger than `bytes_max`, or cannot be read by the disk.
pub(super) fn read_small(
    disk: &dyn BlockingDisk,
    path: &Path,
    bytes_max: u64,
) -> Result<Option<Vec<u8>>, RecoveryError> {
    let Some(mut reader) = FileReader::open(disk, path, Pattern::Whole)? else {
        return Ok(None);
    };
    let length = reader.length();
    if length > bytes_max {
        return Ok(None);
    }
    Ok(reader.get(0, length as usize)?.ok().map(<[u8]>::to_vec))
}
