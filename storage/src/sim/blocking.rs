//! The simulated disk as recovery and offline tools see it: every call takes effect at once.
//!
//! Always: the rules of durability are those of the asynchronous side; a budget of calls can end the process within
//! recovery, after which every call fails; and any one call can fail by itself.

use super::disk::{SimDisk, State};
use super::faults::OpKind;
use super::names::Node;
use super::rng::SimRng;
use crate::disk::{BlockingDisk, DirEntry, EntryKind};
use bytes::Bytes;
use std::io;
use std::path::Path;

impl SimDisk {
    /// A call that only looks. What it looks at is there: it fails for other reasons than a medium that cannot be read.
    fn look<T>(
        &self,
        kind: OpKind,
        act: impl FnOnce(&mut State) -> Result<T, i32>,
    ) -> io::Result<T> {
        let fault = self.state.borrow_mut().blocking_fault(kind);
        match fault {
            Some(libc::EIO) => Err(io::Error::from_raw_os_error(libc::ENOMEM)),
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => self.carry_out(act),
        }
    }

    /// A call that changes something. Where it fails it may have done so all the same.
    fn call<T>(
        &self,
        kind: OpKind,
        act: impl FnOnce(&mut State) -> Result<T, i32>,
    ) -> io::Result<T> {
        let fault = self.state.borrow_mut().blocking_fault(kind);
        let Some(errno) = fault else {
            return self.carry_out(act);
        };
        let moment = self.state.borrow().moment;
        if SimRng::new(moment).percent(50) {
            let _ = self.carry_out(act);
        }
        Err(io::Error::from_raw_os_error(errno))
    }

    fn carry_out<T>(&self, act: impl FnOnce(&mut State) -> Result<T, i32>) -> io::Result<T> {
        let mut state = self.state.borrow_mut();
        match &mut state.blocking_left {
            Some(0) => return Err(io::Error::other("the simulated process has ended")),
            Some(left) => *left -= 1,
            None => {}
        }
        state.moment += 1;
        act(&mut state).map_err(io::Error::from_raw_os_error)
    }
}

impl State {
    /// The errno of the one failure to come, if this call is the one.
    fn blocking_fault(&mut self, kind: OpKind) -> Option<i32> {
        let errno = self.blocking_faults.strike(kind)?;
        self.failed = true;
        Some(errno)
    }
}

impl BlockingDisk for SimDisk {
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.look(OpKind::List, |state| match state.names.node(path) {
            Some(Node::File(_)) => Err(libc::ENOTDIR),
            None => Ok(Vec::new()),
            Some(Node::Directory) => {
                let entry = |(name, node)| DirEntry {
                    name,
                    kind: if node == Node::Directory {
                        EntryKind::Directory
                    } else {
                        EntryKind::File
                    },
                };
                Ok(state.names.entries(path).into_iter().map(entry).collect())
            }
        })
    }

    fn length(&self, path: &Path) -> io::Result<Option<u64>> {
        self.look(OpKind::Length, |state| match state.names.node(path) {
            None => Ok(None),
            Some(Node::Directory) => Err(libc::EISDIR),
            Some(Node::File(inode)) => Ok(Some(state.file_of(inode)?.length())),
        })
    }

    fn read(&self, path: &Path, position: u64, into: &mut [u8]) -> io::Result<usize> {
        self.look(OpKind::Read, |state| match state.names.node(path) {
            None => Err(libc::ENOENT),
            Some(Node::Directory) => Err(libc::EISDIR),
            Some(Node::File(inode)) => {
                let bytes = state
                    .file_of(inode)?
                    .read(position, into.len())
                    .ok_or(libc::EIO)?;
                into[..bytes.len()].copy_from_slice(&bytes);
                Ok(bytes.len())
            }
        })
    }

    fn write(&self, path: &Path, position: u64, data: &[u8]) -> io::Result<()> {
        self.call(OpKind::Write, |state| {
            let moment = state.moment;
            let inode = state.make_file(path)?;
            if state
                .file_of(inode)?
                .tears_unreadable(position, data.len() as u64)
            {
                return Err(libc::EIO);
            }
            state
                .file_of(inode)?
                .write(moment, position, &Bytes::copy_from_slice(data), || true);
            Ok(())
        })
    }

    fn set_length(&self, path: &Path, bytes: u64) -> io::Result<()> {
        self.call(OpKind::SetLength, |state| {
            let moment = state.moment;
            let inode = state.make_file(path)?;
            state.file_of(inode)?.set_length(moment, bytes);
            Ok(())
        })
    }

    fn sync_data(&self, path: &Path) -> io::Result<()> {
        self.call(OpKind::SyncData, |state| {
            let moment = state.moment;
            let Some(Node::File(inode)) = state.names.node(path) else {
                return Err(libc::ENOENT);
            };
            state.sync_file(moment, inode)
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.call(OpKind::SyncDir, |state| {
            let moment = state.moment;
            state.sync_directory(moment, path);
            Ok(())
        })
    }

    fn sync_fs(&self) -> io::Result<()> {
        self.call(OpKind::SyncFs, |state| {
            let moment = state.moment;
            state.sync_everything(moment);
            Ok(())
        })
    }

    fn make_dirs(&self, path: &Path) -> io::Result<()> {
        self.call(OpKind::MakeDir, |state| {
            let mut above: Vec<&Path> = path
                .ancestors()
                .filter(|part| !part.as_os_str().is_empty())
                .collect();
            above.reverse();
            above.into_iter().try_for_each(|part| state.make_dir(part))
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(OpKind::Rename, |state| state.rename(from, to))
    }

    fn exchange(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(OpKind::Exchange, |state| match state.names.node(to) {
            Some(_) => state.exchange(from, to),
            None => state.rename(from, to),
        })
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.call(OpKind::Unlink, |state| {
            state.remove(path);
            Ok(())
        })
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.call(OpKind::RemoveDir, |state| state.remove_dir(path))
    }
}
