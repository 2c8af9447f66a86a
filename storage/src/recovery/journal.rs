//! The chain of windows in the journal files of one shard.
//!
//! Always: (1) a window is accepted only where the chain continues (number, run and previous CRC), or behind a window of
//! which a later one proves that it was synced: then the gap is told; (2) files are read in the order in which the chain
//! goes through them, whatever their names.

use super::reader::{Absent, FileReader, Pattern};
use super::types::RecoveryError;
use crate::disk::{BLOCK_BYTES, BlockingDisk};
use crate::format::{
    JournalFileState, WINDOW_HEADER_BYTES, WindowAt, WindowFront, journal_path, padded,
    parse_journal, shard_dir,
};
use crate::ids::{NodeId, ShardIndex};
use bytes::Bytes;
use std::collections::BTreeMap;

/// A window that was accepted.
#[derive(Clone, Debug)]
pub(super) struct Accepted {
    pub(super) at: WindowAt,
    pub(super) front: WindowFront,
    /// Header and entries.
    pub(super) bytes: Bytes,
    /// Windows before it are missing though they were synced.
    pub(super) after_gap: bool,
}

/// Where a chain is to go on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    pub(super) file: u32,
    pub(super) position: u64,
    /// The number of the next window.
    pub(super) sequence: u64,
    /// The CRC of the window before it, where that is known.
    pub(super) previous_crc: Option<u32>,
    /// The run of the window before it.
    pub(super) run: u64,
}

/// The journal files of one shard.
pub(super) struct Journal<'a> {
    node: NodeId,
    shard: ShardIndex,
    files: BTreeMap<u32, FileReader<'a>>,
    /// The first window of every file, where it has one.
    heads: BTreeMap<u32, WindowFront>,
}

impl<'a> Journal<'a> {
    /// Finds the files.
    pub(super) fn open(
        disk: &'a dyn BlockingDisk,
        node: NodeId,
        shard: ShardIndex,
    ) -> Result<Journal<'a>, RecoveryError> {
        let dir = shard_dir(shard);
        let names = disk.list(&dir);
        let names = names.map_err(|error| super::reader::io_at(&dir, error))?;
        let mut journal = Journal {
            node,
            shard,
            files: BTreeMap::new(),
            heads: BTreeMap::new(),
        };
        for file in names.iter().filter_map(|entry| parse_journal(&entry.name)) {
            if let Some(reader) =
                FileReader::open(disk, &journal_path(shard, file), Pattern::Whole)?
            {
                journal.files.insert(file, reader);
            }
        }
        let files: Vec<u32> = journal.files.keys().copied().collect();
        for file in files {
            if let Some((front, _)) = journal.window(file, 0)? {
                journal.heads.insert(file, front);
            }
        }
        Ok(journal)
    }

    /// Every file and its size.
    pub(super) fn sizes(&self) -> Vec<JournalFileState> {
        let size = |(file, reader): (&u32, &FileReader<'_>)| JournalFileState {
            file: *file,
            bytes: reader.length(),
        };
        self.files.iter().map(size).collect()
    }

    /// The number of the first window of every file, where it has one.
    pub(super) fn first_sequence(&self, file: u32) -> Option<u64> {
        self.heads.get(&file).map(|front| front.header.sequence)
    }

    /// The newest checkpoint that the first window of any file names.
    pub(super) fn checkpoint_named(&self) -> u64 {
        let named = self.heads.values().map(|front| front.header.checkpoint);
        named.max().unwrap_or(0)
    }

    /// The next window of the chain; `None` where it ends.
    pub(super) fn next(&mut self, cursor: &Cursor) -> Result<Option<Accepted>, RecoveryError> {
        if let Some(accepted) = self.accept(cursor, cursor.file, cursor.position)? {
            return Ok(Some(accepted));
        }
        let continues = |(file, front): (&u32, &WindowFront)| {
            (*file != cursor.file && front.header.sequence == cursor.sequence).then_some(*file)
        };
        let next: Vec<u32> = self.heads.iter().filter_map(continues).collect();
        for file in next {
            if let Some(accepted) = self.accept(cursor, file, 0)? {
                return Ok(Some(accepted));
            }
        }
        self.behind_gap(cursor)
    }

    fn accept(
        &mut self,
        cursor: &Cursor,
        file: u32,
        position: u64,
    ) -> Result<Option<Accepted>, RecoveryError> {
        let Some((front, bytes)) = self.window(file, position)? else {
            return Ok(None);
        };
        let header = &front.header;
        let links = header.sequence == cursor.sequence
            && header.run >= cursor.run
            && cursor
                .previous_crc
                .is_none_or(|crc| crc == header.previous_crc);
        Ok(links.then(|| Accepted {
            at: WindowAt {
                file,
                position,
                sequence: header.sequence,
            },
            front,
            bytes,
            after_gap: false,
        }))
    }

    /// The valid window of this shard that lies here.
    pub(super) fn window(
        &mut self,
        file: u32,
        position: u64,
    ) -> Result<Option<(WindowFront, Bytes)>, RecoveryError> {
        let (node, shard) = (self.node, self.shard);
        let Some(reader) = self.files.get_mut(&file) else {
            return Ok(None);
        };
        let front = match reader.get(position, WINDOW_HEADER_BYTES)? {
            Ok(header) => WindowFront::decode(header),
            Err(Absent::End | Absent::Unreadable) => return Ok(None),
        };
        let Some(front) = front.ok().filter(|front| {
            front.header.node == node && front.header.shard == shard && front.header.sequence > 0
        }) else {
            return Ok(None);
        };
        match reader.get(position, front.bytes)? {
            Ok(bytes) if front.verify(bytes).is_ok() => {
                Ok(Some((front, Bytes::copy_from_slice(bytes))))
            }
            _ => Ok(None),
        }
    }

    /// Where the chain breaks: the first later window to go on with, if one proves that what is missing was synced.
    fn behind_gap(&mut self, cursor: &Cursor) -> Result<Option<Accepted>, RecoveryError> {
        let found = self.later_windows(cursor)?;
        let known = found
            .iter()
            .map(|(_, front)| front.header.known_synced)
            .max();
        let Some(known) = known.filter(|known| *known >= cursor.sequence) else {
            return Ok(None);
        };
        let mut found: Vec<(WindowAt, WindowFront)> = found;
        found.sort_by_key(|(at, _)| at.sequence);
        // Every window up to the one known to be synced was part of the chain; the one that says so was too.
        let first = found.iter().find(|(at, front)| {
            at.sequence <= known || front.header.known_synced >= cursor.sequence
        });
        let Some((at, front)) = first.copied() else {
            return Ok(None);
        };
        let window = self.window(at.file, at.position)?;
        Ok(window.map(|(_, bytes)| Accepted {
            at,
            front,
            bytes,
            after_gap: true,
        }))
    }

    /// Valid windows behind a broken place: in the rest of its file, and from the heads of later files on.
    fn later_windows(
        &mut self,
        cursor: &Cursor,
    ) -> Result<Vec<(WindowAt, WindowFront)>, RecoveryError> {
        let mut found = Vec::new();
        let rest = self.files.get(&cursor.file).map_or(0, FileReader::length);
        let mut position = cursor.position.saturating_add(BLOCK_BYTES as u64);
        while position < rest {
            let step = self.note_later(cursor, cursor.file, position, &mut found)?;
            position += step.unwrap_or(BLOCK_BYTES as u64);
        }
        let files: Vec<(u32, u64)> = self.files.iter().map(|(f, r)| (*f, r.length())).collect();
        for (file, bytes) in files {
            let head = self.heads.get(&file).map(|front| front.header.sequence);
            if file == cursor.file || head.is_some_and(|head| head <= cursor.sequence) {
                continue;
            }
            // Behind a head that is later windows lie without a break; a head that does not check may hide some.
            let mut position = 0;
            while position < bytes {
                match self.note_later(cursor, file, position, &mut found)? {
                    Some(step) => position += step,
                    None if head.is_none() => position += BLOCK_BYTES as u64,
                    None => break,
                }
            }
        }
        Ok(found)
    }

    /// Notes the window here if it is later than the broken place; gives its length.
    fn note_later(
        &mut self,
        cursor: &Cursor,
        file: u32,
        position: u64,
        found: &mut Vec<(WindowAt, WindowFront)>,
    ) -> Result<Option<u64>, RecoveryError> {
        let Some((front, _)) = self.window(file, position)? else {
            return Ok(None);
        };
        let sequence = front.header.sequence;
        if sequence <= cursor.sequence || front.header.run < cursor.run {
            return Ok(None);
        }
        let at = WindowAt {
            file,
            position,
            sequence,
        };
        found.push((at, front));
        Ok(Some(padded(front.bytes as u64)))
    }
}
