//! Failures of single operations: which fail, with what, and how often that happened.
//!
//! Always: (1) a fault strikes once; (2) what fails may have been done, in part or as a whole; (3) a process's faults end with it, what
//! is counted does not.

use super::disk::State;
use super::rng::SimRng;
use crate::disk::{DiskOp, WriteSync};
use std::collections::BTreeMap;

/// Kinds of operation, for faults.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum OpKind {
    /// Making a directory.
    MakeDir,
    /// Opening a file that is there.
    Open,
    /// Making a file.
    Create,
    /// Reserving space.
    Reserve,
    /// Setting a length.
    SetLength,
    /// A write that is not synced.
    Write,
    /// A write that is synced by itself.
    SyncedWrite,
    /// Reading.
    Read,
    /// fdatasync.
    SyncData,
    /// fsync of a directory.
    SyncDir,
    /// syncfs.
    SyncFs,
    /// Renaming.
    Rename,
    /// Removing a file.
    Unlink,
    /// Removing a directory.
    RemoveDir,
    /// Listing a directory; only recovery does.
    List,
    /// Asking for a length; only recovery does.
    Length,
    /// Two names that change places; only recovery does.
    Exchange,
}

impl OpKind {
    /// What a process at work asks for.
    pub const WORK: [OpKind; 14] = [
        OpKind::MakeDir,
        OpKind::Open,
        OpKind::Create,
        OpKind::Reserve,
        OpKind::SetLength,
        OpKind::Write,
        OpKind::SyncedWrite,
        OpKind::Read,
        OpKind::SyncData,
        OpKind::SyncDir,
        OpKind::SyncFs,
        OpKind::Rename,
        OpKind::Unlink,
        OpKind::RemoveDir,
    ];

    /// What recovery asks for of logs that are not damaged.
    pub const RECOVERY: [OpKind; 11] = [
        OpKind::MakeDir,
        OpKind::SetLength,
        OpKind::Write,
        OpKind::Read,
        OpKind::SyncData,
        OpKind::SyncDir,
        OpKind::SyncFs,
        OpKind::Unlink,
        OpKind::List,
        OpKind::Length,
        OpKind::Exchange,
    ];

    /// The errors that such an operation may well end with.
    pub fn errnos(self) -> &'static [i32] {
        match self {
            OpKind::Open => &[libc::EMFILE, libc::ENFILE, libc::EIO, libc::ENOMEM],
            OpKind::Create => &[libc::EMFILE, libc::ENFILE, libc::ENOSPC, libc::EIO],
            OpKind::MakeDir | OpKind::Reserve | OpKind::Write | OpKind::SyncedWrite => {
                &[libc::ENOSPC, libc::EDQUOT, libc::EIO]
            }
            OpKind::Read | OpKind::List | OpKind::Length => &[libc::EIO, libc::ENOMEM],
            OpKind::SetLength | OpKind::SyncData | OpKind::SyncDir | OpKind::SyncFs => {
                &[libc::EIO, libc::ENOSPC]
            }
            OpKind::Rename | OpKind::Exchange | OpKind::Unlink | OpKind::RemoveDir => {
                &[libc::EIO, libc::ENOSPC, libc::EROFS]
            }
        }
    }

    /// `None` for a close: a descriptor is given back whatever its close says.
    pub(super) fn of(what: &DiskOp) -> Option<OpKind> {
        use crate::disk::OpenMode::Create;
        Some(match what {
            DiskOp::Close { .. } => return None,
            DiskOp::MakeDir { .. } => OpKind::MakeDir,
            DiskOp::Open { mode: Create, .. } => OpKind::Create,
            DiskOp::Open { .. } => OpKind::Open,
            DiskOp::Reserve { .. } => OpKind::Reserve,
            DiskOp::SetLength { .. } => OpKind::SetLength,
            DiskOp::Write {
                sync: WriteSync::None,
                ..
            } => OpKind::Write,
            DiskOp::Write { .. } => OpKind::SyncedWrite,
            DiskOp::Read { .. } => OpKind::Read,
            DiskOp::SyncData { .. } => OpKind::SyncData,
            DiskOp::SyncDir { .. } => OpKind::SyncDir,
            DiskOp::SyncFs { .. } => OpKind::SyncFs,
            DiskOp::Rename { .. } => OpKind::Rename,
            DiskOp::Unlink { .. } => OpKind::Unlink,
            DiskOp::RemoveDir { .. } => OpKind::RemoveDir,
        })
    }
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

/// Faults to come, and those that were.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    waiting: Vec<Fault>,
    struck: BTreeMap<OpKind, u64>,
}

impl Faults {
    pub(super) fn inject(&mut self, fault: Fault) {
        self.waiting.push(fault);
    }

    /// Nothing that waits strikes any more.
    pub(super) fn lift(&mut self) {
        self.waiting.clear();
    }

    /// How often each kind failed.
    pub(super) fn struck(&self) -> &BTreeMap<OpKind, u64> {
        &self.struck
    }

    /// The errno of an operation that is to fail.
    pub(super) fn strike(&mut self, kind: OpKind) -> Option<i32> {
        let index = self.waiting.iter().position(|fault| fault.kind == kind)?;
        if self.waiting[index].after > 0 {
            self.waiting[index].after -= 1;
            return None;
        }
        *self.struck.entry(kind).or_default() += 1;
        Some(self.waiting.remove(index).errno)
    }
}

impl State {
    /// The errno of an operation that is to fail.
    pub(super) fn fault(&mut self, kind: OpKind) -> Option<i32> {
        let errno = self.faults.strike(kind)?;
        self.failed = true;
        Some(errno)
    }

    /// What fails may have been done: a write in part, anything else as a whole or not at all.
    pub(super) fn fail(&mut self, what: DiskOp) {
        let mut rng = SimRng::new(self.moment);
        match what {
            // It has no descriptor in either case.
            DiskOp::Open { path, mode, .. } => {
                if mode == crate::disk::OpenMode::Create && rng.percent(50) {
                    self.moment += 1;
                    // Where it cannot be made it fails for that.
                    let _ = self.make_file(&path);
                }
            }
            what => self.land(what, &mut rng),
        }
    }
}
