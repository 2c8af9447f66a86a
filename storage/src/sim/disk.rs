//! The simulated disk: a queue of operations that complete in any order the caller likes, faults, kills and power cuts.
//!
//! Always: (1) nothing of an operation is applied before it completes, except that a kill or a power cut lets any part of
//! what was in flight land; (2) a sync covers what was applied when it was *submitted*; (3) equal calls give equal disks.
//! Cloning is cheap (contents are shared), so that one run can be cut at many points.

use super::file::{Moment, SimFile};
use super::names::{Inode, Names, Node};
use super::rng::SimRng;
use crate::disk::{
    BLOCK_BYTES, Caching, DiskDone, DiskError, DiskOp, DiskResult, FileSlot, OpId, OpenMode,
    Reservation, WriteSync,
};
use bytes::{Bytes, BytesMut};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

/// Kinds of operation, for faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpKind {
    /// Opening or making a file or directory.
    Open,
    /// Reserving space or setting a length.
    Reserve,
    /// Writing.
    Write,
    /// Reading.
    Read,
    /// fdatasync, fsync of a directory, syncfs.
    Sync,
    /// Renaming, unlinking, removing.
    Remove,
}

/// One failure to come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// What fails.
    pub kind: OpKind,
    /// How many of that kind succeed before.
    pub after: u64,
    /// With which errno.
    pub errno: i32,
}

#[derive(Clone, Debug)]
struct Pending {
    op: OpId,
    what: DiskOp,
    submitted: Moment,
}

#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) names: Names,
    pub(super) files: BTreeMap<Inode, SimFile>,
    slots: BTreeMap<FileSlot, (Inode, Caching)>,
    pending: Vec<Pending>,
    faults: Vec<Fault>,
    pub(super) moment: Moment,
    next_inode: Inode,
    capacity_bytes: Option<u64>,
    pub(super) blocking_left: Option<u64>,
    rot_percent: u64,
    failed: bool,
}

/// A disk. `BlockingDisk` is implemented on it too, for recovery.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    pub(super) state: RefCell<State>,
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// In how many of a hundred files one block whose write was not synced is unreadable after a power cut; 0 at first.
    pub fn rot_in_flight(&mut self, percent: u64) {
        self.state.get_mut().rot_percent = percent;
    }

    /// Takes an operation; it completes when `complete` is told so.
    pub fn submit(&mut self, op: OpId, what: DiskOp) {
        let state = self.state.get_mut();
        let submitted = state.moment;
        state.pending.push(Pending {
            op,
            what,
            submitted,
        });
    }

    /// How many operations are in flight.
    pub fn pending(&self) -> usize {
        self.state.borrow().pending.len()
    }

    /// Completes the operation at an index among those in flight.
    pub fn complete(&mut self, index: usize) -> DiskDone {
        let state = self.state.get_mut();
        let pending = state.pending.remove(index);
        // A descriptor is given back whatever its close says.
        let closes = matches!(pending.what, DiskOp::Close { .. });
        let fault = (!closes).then(|| state.fault(kind(&pending.what)));
        let result = match fault.flatten() {
            Some(errno) => DiskResult::Failed(DiskError { errno }),
            None => state
                .apply(pending.what, pending.submitted)
                .unwrap_or_else(|errno| DiskResult::Failed(DiskError { errno })),
        };
        DiskDone {
            op: pending.op,
            result,
        }
    }

    /// Completes any one operation; `None` where nothing is in flight.
    pub fn complete_any(&mut self, rng: &mut SimRng) -> Option<DiskDone> {
        let count = self.pending();
        (count > 0).then(|| self.complete(rng.index(count)))
    }

    /// The process dies: what was in flight lands whole, in part or not at all. Nothing is lost that was applied, and
    /// nothing becomes durable.
    pub fn kill(&mut self, rng: &mut SimRng) {
        let state = self.state.get_mut();
        for pending in std::mem::take(&mut state.pending) {
            state.land(pending.what, rng);
        }
        state.slots.clear();
        state.faults.clear();
        state.failed = false;
    }

    /// The power fails: what was in flight lands in any part, then every unsynced sector, length and name survives or
    /// vanishes for itself. Where `rot_in_flight` says so, a block whose write was not synced cannot be read any more.
    pub fn power_cut(&mut self, rng: &mut SimRng) {
        let rot_percent = self.state.get_mut().rot_percent;
        self.kill(rng);
        let state = self.state.get_mut();
        for file in state.files.values_mut() {
            file.cut(rng, rot_percent);
        }
        state.names.cut(rng);
        let kept: Vec<Inode> = state
            .names
            .files()
            .into_iter()
            .map(|(_, inode)| inode)
            .collect();
        state.files.retain(|inode, _| kept.contains(inode));
    }

    /// Whether an injected fault has struck since the last crash.
    pub fn has_failed(&self) -> bool {
        self.state.borrow().failed
    }

    /// Makes an operation to come fail.
    pub fn inject(&mut self, fault: Fault) {
        self.state.get_mut().faults.push(fault);
    }

    /// Lets reservations and growing writes fail with ENOSPC above so many bytes; `None` lifts the limit.
    pub fn limit_capacity(&mut self, bytes: Option<u64>) {
        self.state.get_mut().capacity_bytes = bytes;
    }

    /// Bytes of all files.
    pub fn used_bytes(&self) -> u64 {
        self.state
            .borrow()
            .files
            .values()
            .map(SimFile::length)
            .sum()
    }

    /// Lets blocking calls fail after so many more (the process dies within recovery); `None` lifts it.
    pub fn limit_blocking_calls(&mut self, calls: Option<u64>) {
        self.state.get_mut().blocking_left = calls;
    }

    /// All files, for tests that damage them.
    pub fn paths(&self) -> Vec<std::path::PathBuf> {
        self.state
            .borrow()
            .names
            .files()
            .into_iter()
            .map(|(path, _)| path)
            .collect()
    }

    /// All directories.
    pub fn directories(&self) -> Vec<std::path::PathBuf> {
        self.state.borrow().names.directories()
    }

    /// A file's bytes; `None` where it is absent or cannot be read.
    pub fn contents(&self, path: &Path) -> Option<Bytes> {
        let state = self.state.borrow();
        let Some(Node::File(inode)) = state.names.node(path) else {
            return None;
        };
        let file = state.files.get(&inode)?;
        file.read(0, file.length() as usize)
    }

    /// Replaces a file's bytes, durably: damage done by a test.
    pub fn overwrite(&mut self, path: &Path, bytes: &[u8]) {
        let state = self.state.get_mut();
        let Some(Node::File(inode)) = state.names.node(path) else {
            return;
        };
        state.moment += 1;
        let moment = state.moment;
        if let Some(file) = state.files.get_mut(&inode) {
            file.set_length(moment, 0);
            file.write(moment, 0, &Bytes::copy_from_slice(bytes), || true);
            file.sync(moment);
        }
    }
}

impl State {
    fn fault(&mut self, kind: OpKind) -> Option<i32> {
        let index = self.faults.iter().position(|fault| fault.kind == kind)?;
        if self.faults[index].after > 0 {
            self.faults[index].after -= 1;
            return None;
        }
        self.failed = true;
        Some(self.faults.remove(index).errno)
    }

    /// Applies an operation; the error is an errno.
    fn apply(&mut self, what: DiskOp, submitted: Moment) -> Result<DiskResult, i32> {
        self.moment += 1;
        let moment = self.moment;
        match what {
            DiskOp::MakeDir { path } => self.make_dir(&path)?,
            DiskOp::Open {
                slot,
                path,
                mode,
                caching,
            } => self.open(slot, &path, mode, caching)?,
            DiskOp::Close { slot } => {
                self.slots.remove(&slot);
            }
            DiskOp::Reserve {
                reservation: Reservation::WrittenZeroes,
                ..
            } => return Err(libc::EOPNOTSUPP),
            DiskOp::Reserve {
                slot,
                position,
                bytes,
                ..
            } => {
                self.room_for(slot, position + bytes)?;
                self.file(slot)?.grow(moment, position + bytes);
            }
            DiskOp::SetLength { slot, bytes } => self.file(slot)?.set_length(moment, bytes),
            DiskOp::Write {
                slot,
                position,
                data,
                sync,
            } => {
                self.aligned(slot, position, &data)?;
                let data = joined(&data);
                self.room_for(slot, position + data.len() as u64)?;
                let file = self.file(slot)?;
                file.write(moment, position, &data, || true);
                if sync == WriteSync::Data {
                    file.sync_range(moment, position, data.len() as u64);
                }
            }
            DiskOp::Read {
                slot,
                position,
                bytes,
            } => {
                return self
                    .file(slot)?
                    .read(position, bytes)
                    .map(DiskResult::Bytes)
                    .ok_or(libc::EIO);
            }
            DiskOp::SyncData { slot } => self.file(slot)?.sync(submitted),
            DiskOp::SyncDir { path } => self.names.sync_directory(submitted, &path),
            DiskOp::SyncFs { slot } => {
                self.file(slot)?;
                self.sync_everything(submitted);
            }
            DiskOp::Rename { from, to } => self.rename(&from, &to)?,
            DiskOp::Unlink { path } => self.remove(&path),
            DiskOp::RemoveDir { path } => self.remove_dir(&path)?,
        }
        Ok(DiskResult::Done)
    }

    /// Lets some part of an operation that was in flight take effect.
    fn land(&mut self, what: DiskOp, rng: &mut SimRng) {
        match what {
            DiskOp::Write {
                slot,
                position,
                data,
                ..
            } => {
                self.moment += 1;
                let moment = self.moment;
                let data = joined(&data);
                let share = [0, 50, 100][rng.index(3)];
                if let Ok(file) = self.file(slot) {
                    file.write(moment, position, &data, || rng.percent(share));
                }
            }
            // A sync in flight promises nothing, and a read changes nothing.
            DiskOp::SyncData { .. }
            | DiskOp::SyncDir { .. }
            | DiskOp::SyncFs { .. }
            | DiskOp::Read { .. } => {}
            other if rng.percent(50) => {
                // What fails here had not begun: either is a lawful state of a dead process.
                let _ = self.apply(other, 0);
            }
            _ => {}
        }
    }

    pub(super) fn make_dir(&mut self, path: &Path) -> Result<(), i32> {
        match self.names.node(path) {
            Some(Node::Directory) => Ok(()),
            Some(Node::File(_)) => Err(libc::ENOTDIR),
            None if self.names.is_orphan(path) => Err(libc::ENOENT),
            None => {
                self.names.change(
                    self.moment,
                    vec![(path.to_path_buf(), Some(Node::Directory))],
                );
                Ok(())
            }
        }
    }

    /// The file at a path, made if absent.
    pub(super) fn make_file(&mut self, path: &Path) -> Result<Inode, i32> {
        match self.names.node(path) {
            Some(Node::File(inode)) => Ok(inode),
            Some(Node::Directory) => Err(libc::EISDIR),
            None if self.names.is_orphan(path) => Err(libc::ENOENT),
            None => {
                self.next_inode += 1;
                let inode = self.next_inode;
                self.files.insert(inode, SimFile::default());
                self.names.change(
                    self.moment,
                    vec![(path.to_path_buf(), Some(Node::File(inode)))],
                );
                Ok(inode)
            }
        }
    }

    fn open(
        &mut self,
        slot: FileSlot,
        path: &Path,
        mode: OpenMode,
        caching: Caching,
    ) -> Result<(), i32> {
        assert!(
            !self.slots.contains_key(&slot),
            "slot {slot:?} is open already"
        );
        let inode = match (mode, self.names.node(path)) {
            (OpenMode::Create, _) => {
                let inode = self.make_file(path)?;
                let moment = self.moment;
                self.file_of(inode)?.set_length(moment, 0);
                inode
            }
            (_, Some(Node::File(inode))) => inode,
            (_, Some(Node::Directory)) => return Err(libc::EISDIR),
            (_, None) => return Err(libc::ENOENT),
        };
        self.slots.insert(slot, (inode, caching));
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> Result<(), i32> {
        let node = self.names.node(from).ok_or(libc::ENOENT)?;
        if self.names.is_orphan(to) {
            return Err(libc::ENOENT);
        }
        let mut sets = vec![(from.to_path_buf(), None), (to.to_path_buf(), Some(node))];
        for (path, inside) in self.names.below(from) {
            let moved = to.join(path.strip_prefix(from).map_err(|_| libc::EINVAL)?);
            sets.extend([(path, None), (moved, Some(inside))]);
        }
        self.names.change(self.moment, sets);
        Ok(())
    }

    pub(super) fn exchange(&mut self, one: &Path, other: &Path) -> Result<(), i32> {
        let first = self.names.node(one).ok_or(libc::ENOENT)?;
        let second = self.names.node(other).ok_or(libc::ENOENT)?;
        let sets = vec![
            (one.to_path_buf(), Some(second)),
            (other.to_path_buf(), Some(first)),
        ];
        self.names.change(self.moment, sets);
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) {
        if let Some(Node::File(_)) = self.names.node(path) {
            self.names
                .change(self.moment, vec![(path.to_path_buf(), None)]);
        }
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> Result<(), i32> {
        match self.names.node(path) {
            None => Ok(()),
            Some(Node::File(_)) => Err(libc::ENOTDIR),
            Some(Node::Directory) if !self.names.entries(path).is_empty() => Err(libc::ENOTEMPTY),
            Some(Node::Directory) => {
                self.names
                    .change(self.moment, vec![(path.to_path_buf(), None)]);
                Ok(())
            }
        }
    }

    pub(super) fn sync_everything(&mut self, moment: Moment) {
        for file in self.files.values_mut() {
            file.sync(moment);
        }
        self.names.sync_all(moment);
    }

    pub(super) fn file_of(&mut self, inode: Inode) -> Result<&mut SimFile, i32> {
        self.files.get_mut(&inode).ok_or(libc::EBADF)
    }

    fn file(&mut self, slot: FileSlot) -> Result<&mut SimFile, i32> {
        let open = self.slots.get(&slot);
        let (inode, _) = *open.expect("a slot is used while it is open");
        self.file_of(inode)
    }

    fn aligned(&self, slot: FileSlot, position: u64, data: &[Bytes]) -> Result<(), i32> {
        let direct = matches!(self.slots.get(&slot), Some((_, Caching::Direct)));
        let block = |number: usize| number.is_multiple_of(BLOCK_BYTES);
        let whole = block(position as usize)
            && data
                .iter()
                .all(|part| block(part.len()) && block(part.as_ptr() as usize));
        if direct && !whole {
            Err(libc::EINVAL)
        } else {
            Ok(())
        }
    }

    fn room_for(&mut self, slot: FileSlot, end: u64) -> Result<(), i32> {
        let grows = end.saturating_sub(self.file(slot)?.length());
        let used: u64 = self.files.values().map(SimFile::length).sum();
        match self.capacity_bytes {
            Some(capacity) if grows > 0 && used + grows > capacity => Err(libc::ENOSPC),
            _ => Ok(()),
        }
    }
}

fn joined(data: &[Bytes]) -> Bytes {
    let mut all = BytesMut::with_capacity(data.iter().map(Bytes::len).sum());
    data.iter().for_each(|part| all.extend_from_slice(part));
    all.freeze()
}

fn kind(what: &DiskOp) -> OpKind {
    match what {
        DiskOp::MakeDir { .. } | DiskOp::Open { .. } | DiskOp::Close { .. } => OpKind::Open,
        DiskOp::Reserve { .. } | DiskOp::SetLength { .. } => OpKind::Reserve,
        DiskOp::Write { .. } => OpKind::Write,
        DiskOp::Read { .. } => OpKind::Read,
        DiskOp::SyncData { .. } | DiskOp::SyncDir { .. } | DiskOp::SyncFs { .. } => OpKind::Sync,
        DiskOp::Rename { .. } | DiskOp::Unlink { .. } | DiskOp::RemoveDir { .. } => OpKind::Remove,
    }
}
