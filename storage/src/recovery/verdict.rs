//! The first windows of a new run, and the journal that the store goes on with.
//!
//! ORDER: everything that was accepted is synced -> the windows that vouch for it are written and synced -> files are removed.

use super::reader::io_at;
use super::shard::ReplayedShard;
use super::types::{RecoveredJournal, RecoveryError};
use crate::disk::{BLOCK_BYTES, BlockingDisk};
use crate::format::{
    Entry, JournalFileState, WINDOW_HEADER_BYTES, WindowAt, WindowBuilder, WindowHeader,
    journal_path, shard_dir,
};
use crate::ids::{NodeId, ShardIndex};
use bytes::Bytes;
use std::collections::VecDeque;

/// A window of recovery is not larger.
const WINDOW_BYTES_MAX: u64 = 256 << 10;
/// Zeros are written in pieces of this size.
const ZEROS_BYTES: usize = 1 << 20;

/// An entry and its payload.
pub(super) type Said = (Entry, Bytes);

/// What every window of the new run says.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunHeader {
    pub(super) node: NodeId,
    pub(super) run: u64,
    pub(super) checkpoint: u64,
}

/// Writes windows behind the last one that was accepted.
pub(super) struct VerdictWriter<'a> {
    disk: &'a dyn BlockingDisk,
    shard: ShardIndex,
    header: RunHeader,
    file_bytes: u64,
    files: Vec<JournalFileState>,
    free: VecDeque<u32>,
    in_use: Vec<WindowAt>,
    last: WindowAt,
    last_crc: u32,
    position: u64,
}

impl<'a> VerdictWriter<'a> {
    /// Puts the files in order: as many as there must be, each as long as it must be.
    pub(super) fn new(
        disk: &'a dyn BlockingDisk,
        shard: &ReplayedShard<'_>,
        header: RunHeader,
        (files_min, file_bytes): (u32, u64),
    ) -> Result<VerdictWriter<'a>, RecoveryError> {
        let mut writer = VerdictWriter {
            disk,
            shard: shard.shard,
            header,
            file_bytes,
            files: shard.journal.sizes(),
            free: VecDeque::new(),
            in_use: shard.in_use.clone(),
            last: shard.last,
            last_crc: shard.tail.previous_crc.unwrap_or(0),
            position: shard.tail.position,
        };
        let listed = &shard.checkpoint.journal;
        for file in (0..files_min).chain(listed.iter().map(|listed| listed.file)) {
            if writer.files.iter().all(|found| found.file != file) {
                writer.files.push(JournalFileState { file, bytes: 0 });
            }
        }
        writer.files.sort_by_key(|found| found.file);
        for index in 0..writer.files.len() {
            let file = writer.files[index].file;
            let listed = listed.iter().find(|listed| listed.file == file);
            writer.mend(index, listed.map(|listed| listed.bytes))?;
        }
        let used = |file: u32| shard.in_use.iter().any(|first| first.file == file);
        let mut free: Vec<u32> = writer.files.iter().map(|found| found.file).collect();
        free.retain(|file| !used(*file));
        free.sort_by_key(|file| shard.journal.first_sequence(*file));
        writer.free = free.into();
        if used(shard.tail.file) || shard.tail.sequence > 1 {
            writer.keep_tail(shard);
        }
        Ok(writer)
    }

    /// The chain ends in a file that is being filled: it stays in use though no window of it is needed.
    fn keep_tail(&mut self, shard: &ReplayedShard<'_>) {
        let tail = shard.tail.file;
        let Some(index) = self.free.iter().position(|file| *file == tail) else {
            return;
        };
        self.free.remove(index);
        // C is the last window and R lies behind it: the next window is the first one of this file that counts.
        self.in_use.push(WindowAt {
            file: tail,
            position: self.position,
            sequence: self.last.sequence + 1,
        });
    }

    /// Extends a file with zeros to its size.
    fn mend(&mut self, index: usize, listed: Option<u64>) -> Result<(), RecoveryError> {
        let JournalFileState { file, bytes } = self.files[index];
        let wanted = listed.unwrap_or(self.file_bytes);
        let wanted = wanted
            .max(2 * BLOCK_BYTES as u64)
            .next_multiple_of(BLOCK_BYTES as u64);
        if bytes >= wanted && bytes.is_multiple_of(BLOCK_BYTES as u64) {
            return Ok(());
        }
        let wanted = wanted.max(bytes.next_multiple_of(BLOCK_BYTES as u64));
        write_zeros(self.disk, self.shard, file, bytes, wanted)?;
        self.files[index].bytes = wanted;
        Ok(())
    }

    fn size(&self, file: u32) -> u64 {
        let found = self.files.iter().find(|found| found.file == file);
        found.map_or(0, |found| found.bytes)
    }

    /// Room in the file being filled.
    fn room(&self) -> u64 {
        let file = self.in_use.last().map(|first| first.file);
        file.map_or(0, |file| self.size(file).saturating_sub(self.position))
    }

    /// Writes the entries, in one window at least. Each window is synced before the next one is begun.
    pub(super) fn write(&mut self, entries: Vec<Said>) -> Result<(), RecoveryError> {
        let mut entries = VecDeque::from(entries);
        loop {
            if self.room() < BLOCK_BYTES as u64 {
                self.next_file()?;
            }
            self.window(&mut entries)?;
            if entries.is_empty() {
                return Ok(());
            }
        }
    }

    fn next_file(&mut self) -> Result<(), RecoveryError> {
        let file = match self.free.pop_front() {
            Some(file) => file,
            None => {
                let file = self.files.last().map_or(0, |last| last.file + 1);
                write_zeros(self.disk, self.shard, file, 0, self.file_bytes)?;
                let bytes = self.file_bytes;
                self.files.push(JournalFileState { file, bytes });
                file
            }
        };
        self.position = 0;
        self.in_use.push(WindowAt {
            file,
            position: 0,
            sequence: self.last.sequence + 1,
        });
        Ok(())
    }

    fn window(&mut self, entries: &mut VecDeque<Said>) -> Result<(), RecoveryError> {
        let limit = self.room().min(WINDOW_BYTES_MAX) as usize;
        let mut buffer = vec![0; limit];
        let mut builder = WindowBuilder::new(&mut buffer);
        debug_assert_eq!(builder.bytes(), WINDOW_HEADER_BYTES);
        while let Some((entry, payload)) = entries.front()
            && builder.bytes() + entry.encoded_bytes() <= limit
        {
            builder.push_with(entry, [&payload[..]]);
            entries.pop_front();
        }
        let sequence = self.last.sequence + 1;
        let sealed = builder.finish(&WindowHeader {
            node: self.header.node,
            shard: self.shard,
            run: self.header.run,
            sequence,
            known_synced: sequence - 1,
            checkpoint: self.header.checkpoint,
            previous_crc: self.last_crc,
        });
        let file = self.in_use.last().expect("a file is being filled").file;
        let path = journal_path(self.shard, file);
        let write = || {
            self.disk
                .write(&path, self.position, &buffer[..sealed.bytes])?;
            self.disk.sync_data(&path)
        };
        write().map_err(|error| io_at(&path, error))?;
        self.last = WindowAt {
            file,
            position: self.position,
            sequence,
        };
        self.last_crc = sealed.crc;
        self.position += sealed.bytes as u64;
        Ok(())
    }

    /// What the store goes on with.
    pub(super) fn finish(self) -> RecoveredJournal {
        RecoveredJournal {
            files: self.files,
            in_use: self.in_use,
            free: self.free.into(),
            last: self.last,
            position: self.position,
            last_crc: self.last_crc,
        }
    }
}

/// Fills a journal file with zeros, so that later writes meet written blocks, and makes them and its name durable.
pub(super) fn write_zeros(
    disk: &dyn BlockingDisk,
    shard: ShardIndex,
    file: u32,
    from: u64,
    to: u64,
) -> Result<(), RecoveryError> {
    let path = journal_path(shard, file);
    let zeros = vec![0; ZEROS_BYTES.min((to - from) as usize)];
    let write = || {
        let mut position = from;
        while position < to {
            let bytes = zeros.len().min((to - position) as usize);
            disk.write(&path, position, &zeros[..bytes])?;
            position += bytes as u64;
        }
        disk.sync_data(&path)?;
        disk.sync_dir(&shard_dir(shard))
    };
    write().map_err(|error| io_at(&path, error))
}
