//! The simulated disk: a queue of operations that complete in any order the caller likes, and faults.
//!
//! Always: (1) nothing of an operation is applied before it completes, except that the end of a process lets any part of
//! what was in flight land (`process`); (2) a sync covers what was applied when it was *submitted*; (3) equal calls give equal
//! disks. Cloning is cheap (contents are shared), so that one run can be cut at many points.

use super::faults::{Fault, Faults, OpKind};
use super::file::{Moment, SimFile};
use super::names::{Inode, Names, Node};
use super::process::Late;
use super::rng::SimRng;
use crate::disk::{
    BLOCK_BYTES, Caching, DiskDone, DiskError, DiskOp, DiskResult, FileSlot, OpId, OpenMode,
    Reservation, WriteSync,
};
use bytes::{Bytes, BytesMut};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

/// The ways to make something durable. They are told apart: none does what another is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyncKind {
    /// A write that is synced by itself (RWF_DSYNC): its own bytes, and the length that reads them.
    Write,
    /// fdatasync: all bytes of one file and its length, no name.
    Data,
    /// fsync of a directory: the names in it, no bytes.
    Dir,
    /// syncfs: everything.
    Fs,
}

#[derive(Clone, Debug)]
pub(super) struct Pending {
    op: OpId,
    pub(super) what: DiskOp,
    submitted: Moment,
}

#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) names: Names,
    pub(super) files: BTreeMap<Inode, SimFile>,
    pub(super) slots: BTreeMap<FileSlot, (Inode, Caching)>,
    pub(super) pending: Vec<Pending>,
    /// What the kernel still does for processes that are dead.
    pub(super) late: Vec<Late>,
    pub(super) faults: Faults,
    pub(super) moment: Moment,
    next_inode: Inode,
    capacity_bytes: Option<u64>,
    pub(super) blocking_left: Option<u64>,
    pub(super) blocking_faults: Faults,
    ignored: Option<SyncKind>,
    pub(super) rot_percent: u64,
    pub(super) failed: bool,
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
        let fault = OpKind::of(&pending.what).and_then(|kind| state.fault(kind));
        let result = match fault {
            Some(errno) => {
                state.fail(pending.what);
                DiskResult::Failed(DiskError { errno })
            }
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

    /// Whether an injected fault has struck since the last crash.
    pub fn has_failed(&self) -> bool {
        self.state.borrow().failed
    }

    /// Makes an operation to come fail.
    pub fn inject(&mut self, fault: Fault) {
        self.state.get_mut().faults.inject(fault);
    }

    /// How often each kind of operation failed by a fault since the disk was new, in all processes.
    pub fn faults_struck(&self) -> BTreeMap<OpKind, u64> {
        self.state.borrow().faults.struck().clone()
    }

    /// How often each kind of blocking call did.
    pub fn blocking_faults_struck(&self) -> BTreeMap<OpKind, u64> {
        self.state.borrow().blocking_faults.struck().clone()
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

    /// Lets one blocking call fail; `None` lifts it.
    pub fn fail_blocking_call(&mut self, fault: Option<Fault>) {
        let faults = &mut self.state.get_mut().blocking_faults;
        faults.lift();
        fault.into_iter().for_each(|fault| faults.inject(fault));
    }

    /// A disk that lies: from now on this kind of sync reports success and does nothing.
    pub fn ignore_syncs(&mut self, kind: Option<SyncKind>) {
        self.state.get_mut().ignored = kind;
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
    /// Applies an operation; the error is an errno.
    pub(super) fn apply(&mut self, what: DiskOp, submitted: Moment) -> Result<DiskResult, i32> {
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
                let honoured = self.honours(SyncKind::Write);
                let file = self.file(slot)?;
                file.write(moment, position, &data, || true);
                if sync == WriteSync::Data && honoured {
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
            DiskOp::SyncData { slot } => {
                let (inode, _) = *self.slots.get(&slot).ok_or(libc::EBADF)?;
                self.sync_file(submitted, inode)?;
            }
            DiskOp::SyncDir { path } => self.sync_directory(submitted, &path),
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

    fn honours(&self, kind: SyncKind) -> bool {
        self.ignored != Some(kind)
    }

    pub(super) fn sync_file(&mut self, moment: Moment, inode: Inode) -> Result<(), i32> {
        let honoured = self.honours(SyncKind::Data);
        let file = self.file_of(inode)?;
        if honoured {
            file.sync(moment);
        }
        Ok(())
    }

    pub(super) fn sync_directory(&mut self, moment: Moment, path: &Path) {
        if self.honours(SyncKind::Dir) {
            self.names.sync_directory(moment, path);
        }
    }

    pub(super) fn sync_everything(&mut self, moment: Moment) {
        if !self.honours(SyncKind::Fs) {
            return;
        }
        for file in self.files.values_mut() {
            file.sync(moment);
        }
        self.names.sync_all(moment);
    }

    pub(super) fn file_of(&mut self, inode: Inode) -> Result<&mut SimFile, i32> {
        self.files.get_mut(&inode).ok_or(libc::EBADF)
    }

    pub(super) fn file(&mut self, slot: FileSlot) -> Result<&mut SimFile, i32> {
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

pub(super) fn joined(data: &[Bytes]) -> Bytes {
    let mut all = BytesMut::with_capacity(data.iter().map(Bytes::len).sum());
    data.iter().for_each(|part| all.extend_from_slice(part));
    all.freeze()
}
