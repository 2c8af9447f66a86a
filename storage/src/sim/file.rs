//! One simulated file: what a reader sees now, what is durable, and every version between the two.
//!
//! Always: (1) a sector of 512 bytes is old or new, never mixed; (2) a version is durable from the first completed sync
//! that was submitted after it was applied; (3) the length has versions like a sector.

use super::rng::SimRng;
use crate::disk::BLOCK_BYTES;
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What the disk writes whole or not at all.
pub const SECTOR_BYTES: u64 = 512;

const SECTORS_PER_BLOCK: u64 = BLOCK_BYTES as u64 / SECTOR_BYTES;
/// Of so many files nothing unsynced is left.
const NOTHING_BEGUN_PERCENT: u64 = 30;

/// Counts what was applied to the disk, in order.
pub type Moment = u64;

/// One content of a sector; `None` reads as zeros.
type Sector = Option<Bytes>;

/// A file's bytes. Cloning shares all content.
#[derive(Clone, Debug, Default)]
pub struct SimFile {
    current: Arc<BTreeMap<u64, Bytes>>,
    durable: Arc<BTreeMap<u64, Bytes>>,
    versions: BTreeMap<u64, Vec<(Moment, Sector)>>,
    length: u64,
    durable_length: u64,
    lengths: Vec<(Moment, u64)>,
    unreadable: BTreeSet<u64>,
}

impl SimFile {
    /// The length a reader sees.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Reads up to `bytes`; `None` where a sector cannot be read.
    pub fn read(&self, position: u64, bytes: usize) -> Option<Bytes> {
        let end = self.length.min(position.saturating_add(bytes as u64));
        let mut into = BytesMut::with_capacity(end.saturating_sub(position) as usize);
        let mut at = position;
        while at < end {
            let sector = at / SECTOR_BYTES;
            if self.unreadable.contains(&sector) {
                return None;
            }
            let from = (at % SECTOR_BYTES) as usize;
            let to = SECTOR_BYTES.min(end - sector * SECTOR_BYTES) as usize;
            match self.current.get(&sector) {
                Some(content) => into.extend_from_slice(&content[from..to]),
                None => into.resize(into.len() + to - from, 0),
            }
            at += (to - from) as u64;
        }
        Some(into.freeze())
    }

    /// Writes sector by sector those for which `lands` says so; the file grows to the end of what was written.
    pub fn write(
        &mut self,
        moment: Moment,
        position: u64,
        data: &Bytes,
        mut lands: impl FnMut() -> bool,
    ) {
        let end = position + data.len() as u64;
        let mut at = position;
        let mut reached = self.length;
        while at < end {
            let sector = at / SECTOR_BYTES;
            let sector_start = sector * SECTOR_BYTES;
            let stop = end.min(sector_start + SECTOR_BYTES);
            if lands() {
                let part = data.slice((at - position) as usize..(stop - position) as usize);
                let content = if part.len() as u64 == SECTOR_BYTES {
                    part
                } else {
                    self.patched(sector, at - sector_start, &part)
                };
                self.put(moment, sector, Some(content));
                self.unreadable.remove(&sector);
                reached = reached.max(stop);
            }
            at = stop;
        }
        self.grow(moment, reached);
    }

    /// Sets the length; what a cut takes away reads as zeros when the file grows again.
    pub fn set_length(&mut self, moment: Moment, bytes: u64) {
        if bytes < self.length {
            let first_whole = bytes.div_ceil(SECTOR_BYTES);
            // Its blocks are given back: what grows there later is others.
            self.unreadable.split_off(&first_whole);
            let gone: Vec<u64> = self
                .current
                .range(first_whole..)
                .map(|(sector, _)| *sector)
                .collect();
            for sector in gone {
                self.put(moment, sector, None);
            }
            let kept = bytes % SECTOR_BYTES;
            if let Some(content) = self
                .current
                .get(&(bytes / SECTOR_BYTES))
                .filter(|_| kept != 0)
            {
                let mut cut = BytesMut::from(&content[..kept as usize]);
                cut.resize(SECTOR_BYTES as usize, 0);
                self.put(moment, bytes / SECTOR_BYTES, Some(cut.freeze()));
            }
        }
        if bytes != self.length {
            self.length = bytes;
            self.lengths.push((moment, bytes));
        }
    }

    /// Grows to at least `bytes`.
    pub fn grow(&mut self, moment: Moment, bytes: u64) {
        if bytes > self.length {
            self.set_length(moment, bytes);
        }
    }

    /// Everything applied up to `moment` becomes durable.
    pub fn sync(&mut self, moment: Moment) {
        let durable = Arc::make_mut(&mut self.durable);
        self.versions.retain(|sector, versions| {
            settle(durable, *sector, versions, moment);
            !versions.is_empty()
        });
        self.sync_length(moment);
    }

    /// The sectors of one range, as they were applied up to `moment`, become durable, and the length that reads them.
    pub fn sync_range(&mut self, moment: Moment, position: u64, bytes: u64) {
        let durable = Arc::make_mut(&mut self.durable);
        let sectors = position / SECTOR_BYTES..(position + bytes).div_ceil(SECTOR_BYTES);
        let touched: Vec<u64> = self
            .versions
            .range(sectors)
            .map(|(sector, _)| *sector)
            .collect();
        for sector in touched {
            if let Some(versions) = self.versions.get_mut(&sector) {
                settle(durable, sector, versions, moment);
                if versions.is_empty() {
                    self.versions.remove(&sector);
                }
            }
        }
        if self.durable_length < position + bytes {
            self.sync_length(moment);
        }
    }

    /// What a power cut leaves: every unsynced sector, and the length, is any one of its versions. With `rot_percent` one block
    /// that holds an unsynced sector cannot be read any more.
    pub fn cut(&mut self, rng: &mut SimRng, rot_percent: u64) {
        if !self.versions.is_empty() && rng.percent(rot_percent) {
            let sector = self.versions.keys().nth(rng.index(self.versions.len()));
            let block = sector.expect("it is among them") / SECTORS_PER_BLOCK;
            let sectors = block * SECTORS_PER_BLOCK..(block + 1) * SECTORS_PER_BLOCK;
            self.unreadable.extend(sectors);
        }
        let durable = Arc::make_mut(&mut self.durable);
        // A device may have begun with nothing of a file: then nothing says that something was lost.
        let begun = !rng.percent(NOTHING_BEGUN_PERCENT);
        for (sector, mut versions) in std::mem::take(&mut self.versions) {
            let pick = match begun {
                true => rng.index(versions.len() + 1),
                false => 0,
            };
            if pick > 0 {
                store(durable, sector, versions.swap_remove(pick - 1).1);
            }
        }
        let pick = rng.index(self.lengths.len() + 1);
        if pick > 0 {
            self.durable_length = self.lengths[pick - 1].1;
        }
        self.lengths.clear();
        self.length = self.durable_length;
        let beyond = self.length.div_ceil(SECTOR_BYTES);
        durable.split_off(&beyond);
        // Nobody reads a block that lies wholly behind the end, not even to write a part of it. XFS: a buffered write takes a block at or
        // behind i_size as zeros (iomap_block_needs_zeroing), and a file that grows has what it grows over zeroed, not read. ext4: a
        // write that extends a file holds it on the orphan list until i_size has moved, and a mount cuts orphans to their size. Direct
        // writes take whole blocks.
        let blocks = beyond.next_multiple_of(SECTORS_PER_BLOCK);
        self.unreadable.split_off(&blocks);
        if let Some(last) = durable.get_mut(&(self.length / SECTOR_BYTES)) {
            let kept = (self.length % SECTOR_BYTES) as usize;
            let mut cut = BytesMut::from(&last[..kept]);
            cut.resize(SECTOR_BYTES as usize, 0);
            *last = cut.freeze();
        }
        self.current = Arc::clone(&self.durable);
    }

    /// Whether a write through the page cache would have to read a block that cannot be read.
    pub fn tears_unreadable(&self, position: u64, bytes: u64) -> bool {
        let end = position + bytes;
        let whole = position.div_ceil(SECTOR_BYTES)..end / SECTOR_BYTES;
        let blocks = position / SECTOR_BYTES / SECTORS_PER_BLOCK * SECTORS_PER_BLOCK
            ..end
                .div_ceil(SECTOR_BYTES)
                .next_multiple_of(SECTORS_PER_BLOCK);
        let mut unreadable = self.unreadable.range(blocks);
        unreadable.any(|sector| !whole.contains(sector))
    }

    fn patched(&self, sector: u64, from: u64, part: &[u8]) -> Bytes {
        let mut content = match self.current.get(&sector) {
            Some(old) => BytesMut::from(&old[..]),
            None => BytesMut::zeroed(SECTOR_BYTES as usize),
        };
        content[from as usize..from as usize + part.len()].copy_from_slice(part);
        content.freeze()
    }

    fn put(&mut self, moment: Moment, sector: u64, content: Sector) {
        store(Arc::make_mut(&mut self.current), sector, content.clone());
        self.versions
            .entry(sector)
            .or_default()
            .push((moment, content));
    }

    fn sync_length(&mut self, moment: Moment) {
        if let Some(&(_, bytes)) = self.lengths.iter().rev().find(|(at, _)| *at <= moment) {
            self.durable_length = bytes;
        }
        self.lengths.retain(|(at, _)| *at > moment);
    }
}

fn store(sectors: &mut BTreeMap<u64, Bytes>, sector: u64, content: Sector) {
    match content {
        Some(bytes) => sectors.insert(sector, bytes),
        None => sectors.remove(&sector),
    };
}

fn settle(
    durable: &mut BTreeMap<u64, Bytes>,
    sector: u64,
    versions: &mut Vec<(Moment, Sector)>,
    moment: Moment,
) {
    let covered = versions.iter().take_while(|(at, _)| *at <= moment).count();
    if let Some((_, content)) = versions.drain(..covered).last() {
        store(durable, sector, content);
    }
}
