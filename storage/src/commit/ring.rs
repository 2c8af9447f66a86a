//! The ring of journal files: which one is filled, which hold bytes that are still needed, which are free.
//!
//! Always: (1) files are recycled strictly oldest first, and only behind a synced checkpoint that no longer needs them;
//! (2) a window lies directly behind the previous one or at the start of the next file; (3) the last file that exists takes
//! control entries only, so that marks, drops and log starts can always be written; (4) no append is admitted into a file that is
//! still to be made: the disk may be full.

use super::types::{JournalSeed, LogSlot};
use crate::format::WindowAt;
use std::collections::VecDeque;

/// Names one use of a file: grows with every file taken.
pub(super) type UseId = u64;

/// A file that holds windows from R on.
#[derive(Debug)]
pub(super) struct FileUse {
    pub(super) id: UseId,
    /// Its first window.
    pub(super) first: WindowAt,
    /// Logs that had bytes in it, each once; some may be flushed since.
    pub(super) logs: Vec<LogSlot>,
    /// Logs that still have unflushed bytes in it.
    pub(super) needed: usize,
}

#[derive(Debug)]
pub(super) struct Ring {
    file_bytes: u64,
    files_min: usize,
    files_max: usize,
    in_use: VecDeque<FileUse>,
    free: VecDeque<u32>,
    files: u32,
    creating: usize,
    /// Set when a file could not be made: it is tried again after a while, or when one is recycled.
    stunted: bool,
    next_use: UseId,
    position: u64,
    last: WindowAt,
}

impl Ring {
    pub(super) fn new(
        file_bytes: u64,
        files_min: usize,
        files_max: usize,
        seed: &JournalSeed,
    ) -> Ring {
        let in_use: VecDeque<FileUse> = seed
            .in_use
            .iter()
            .enumerate()
            .map(|(index, first)| FileUse {
                id: index as UseId,
                first: *first,
                logs: Vec::new(),
                needed: 0,
            })
            .collect();
        let files = seed
            .in_use
            .iter()
            .map(|at| at.file)
            .chain(seed.free.iter().copied())
            .map(|file| file + 1);
        let last = WindowAt {
            file: seed.in_use.last().map_or(0, |at| at.file),
            position: seed.last_position,
            sequence: seed.sequence,
        };
        Ring {
            file_bytes,
            files_min,
            files_max,
            next_use: in_use.len() as UseId,
            in_use,
            free: seed.free.iter().copied().collect(),
            files: files.max().unwrap_or(0),
            creating: 0,
            stunted: false,
            position: seed.position,
            last,
        }
    }

    /// The number of a file to make now, if one is wanted.
    pub(super) fn grow(&mut self) -> Option<u32> {
        let files = self.files as usize;
        let low = match self.free.len() {
            0 => true,
            1 => self.position * 4 >= self.file_bytes,
            _ => false,
        };
        let short = files < self.files_min || low;
        if self.creating > 0 || self.stunted || files >= self.files_max || !short {
            return None;
        }
        self.creating += 1;
        self.files += 1;
        Some(self.files - 1)
    }

    pub(super) fn file_ready(&mut self, file: u32) {
        self.creating -= 1;
        self.free.push_back(file);
    }

    pub(super) fn file_failed(&mut self, file: u32) {
        assert_eq!(file + 1, self.files, "files are made one at a time");
        self.creating -= 1;
        self.files -= 1;
        self.stunted = true;
    }

    /// Room for one more window in the file being filled.
    pub(super) fn room(&self) -> u64 {
        match self.in_use.back() {
            Some(_) => self.file_bytes - self.position,
            None => 0,
        }
    }

    /// Whether appends will soon want a file: the last free one is not theirs.
    pub(super) fn lacks_file(&self) -> bool {
        self.free.len() <= 1 && self.position * 2 >= self.file_bytes
    }

    /// Whether the file being filled is the last one.
    pub(super) fn control_only(&self) -> bool {
        self.free.is_empty() && self.in_use.len() >= 2
    }

    /// Whether what is left must be kept for marks and drops.
    pub(super) fn cramped(&self) -> bool {
        self.control_only() && self.room() < self.file_bytes / 4
    }

    /// Goes on to the next file; false where there is none.
    pub(super) fn next_file(&mut self) -> bool {
        let Some(file) = self.free.pop_front() else {
            return false;
        };
        self.in_use.push_back(FileUse {
            id: self.next_use,
            first: WindowAt {
                file,
                position: 0,
                sequence: self.last.sequence + 1,
            },
            logs: Vec::new(),
            needed: 0,
        });
        self.next_use += 1;
        self.position = 0;
        true
    }

    /// Takes the room for the next window and gives its place.
    pub(super) fn place(&mut self, bytes: u64) -> WindowAt {
        assert!(bytes <= self.room(), "a window fits the rest of its file");
        let file = self.current().expect("room is in a file").first.file;
        let at = WindowAt {
            file,
            position: self.position,
            sequence: self.last.sequence + 1,
        };
        self.position += bytes;
        self.last = at;
        at
    }

    /// The newest window placed.
    pub(super) fn last(&self) -> WindowAt {
        self.last
    }

    /// Bytes that windows can still take; the file kept for control entries does not count.
    pub(super) fn append_space(&self) -> u64 {
        if self.control_only() {
            return 0;
        }
        self.room() + self.file_bytes * self.free.len().saturating_sub(1) as u64
    }

    pub(super) fn current(&self) -> Option<&FileUse> {
        self.in_use.back()
    }

    pub(super) fn current_mut(&mut self) -> Option<&mut FileUse> {
        self.in_use.back_mut()
    }

    pub(super) fn by_id_mut(&mut self, id: UseId) -> Option<&mut FileUse> {
        let oldest = self.in_use.front()?.id;
        self.in_use.get_mut(id.checked_sub(oldest)? as usize)
    }

    /// The use of a physical file.
    pub(super) fn id_of(&self, file: u32) -> Option<UseId> {
        self.in_use
            .iter()
            .find(|use_| use_.first.file == file)
            .map(|use_| use_.id)
    }

    pub(super) fn in_use(&self) -> impl Iterator<Item = &FileUse> {
        self.in_use.iter()
    }

    /// Whether nothing is free to go on with but the file for control entries.
    fn is_short(&self) -> bool {
        self.in_use.len() >= 2 && self.free.len() <= 1
    }

    /// Whether the oldest file should be emptied, since no other can be made.
    pub(super) fn pressed(&self) -> bool {
        let grown = self.files as usize >= self.files_max || self.stunted;
        grown && self.is_short()
    }

    /// Whether a checkpoint would free a file that is wanted.
    pub(super) fn recyclable(&self) -> bool {
        self.is_short() && self.in_use.front().is_some_and(|oldest| oldest.needed == 0)
    }

    /// R of a checkpoint taken now: the first window of the oldest file that is needed; the last window where none is.
    pub(super) fn oldest_needed(&self) -> WindowAt {
        self.in_use
            .iter()
            .find(|use_| use_.needed > 0)
            .map_or(self.last, |use_| use_.first)
    }

    /// Frees the files wholly before a window; a synced checkpoint says that nothing in them is needed.
    pub(super) fn recycle(&mut self, from: WindowAt) {
        while self.in_use.len() > 1 && self.in_use[1].first.sequence <= from.sequence {
            let oldest = self.in_use.pop_front().expect("counted");
            assert_eq!(oldest.needed, 0, "a recycled file is needed by no log");
            self.free.push_back(oldest.first.file);
            self.stunted = false;
        }
    }

    /// Lets files be made again after a failure: space may have returned.
    pub(super) fn retry(&mut self) {
        self.stunted = false;
    }

    pub(super) fn stunted(&self) -> bool {
        self.stunted
    }

    pub(super) fn check(&self) {
        assert!(self.position <= self.file_bytes);
        let uses = self.in_use.iter().map(|use_| use_.first);
        assert!(
            uses.clone().is_sorted_by(|a, b| a.sequence < b.sequence),
            "files are used in order"
        );
        let mut seen: Vec<u32> = uses
            .map(|at| at.file)
            .chain(self.free.iter().copied())
            .collect();
        seen.sort_unstable();
        assert!(
            seen.windows(2).all(|pair| pair[0] != pair[1]),
            "a file is in the ring once"
        );
        assert_eq!(seen.len() + self.creating, self.files as usize);
    }
}
