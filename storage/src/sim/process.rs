//! Ends of a process and of the power: what was in flight then, and what of it lands.
//!
//! Always: (1) a dead process's requests are the kernel's, who ends each in its own time, whole, in part or not at all, in any order;
//! (2) the lock of the data directory is free when the last of them has ended; (3) nothing becomes durable by an end.

use super::disk::{SimDisk, State, joined};
use super::file::Moment;
use super::names::Inode;
use super::rng::SimRng;
use crate::disk::{Caching, DiskOp, FileSlot};
use std::collections::BTreeMap;

/// A request of a process that is dead, with the file it is about.
#[derive(Clone, Debug)]
pub(super) struct Late {
    what: DiskOp,
    slots: BTreeMap<FileSlot, (Inode, Caching)>,
}

impl SimDisk {
    /// The process dies. What it had in flight stays with the kernel, and keeps the lock.
    pub fn die(&mut self) {
        let state = self.state.get_mut();
        let slots = std::mem::take(&mut state.slots);
        for mut pending in std::mem::take(&mut state.pending) {
            let slot = pending.what.slot_mut().copied();
            let file = slot.and_then(|slot| Some((slot, *slots.get(&slot)?)));
            let what = pending.what;
            let slots = file.into_iter().collect();
            state.late.push(Late { what, slots });
        }
        state.faults.lift();
        state.failed = false;
    }

    /// Whether a dead process still holds the lock.
    pub fn is_locked(&self) -> bool {
        !self.state.borrow().late.is_empty()
    }

    /// The kernel ends one request of a dead process; false where there is none.
    pub fn end_late(&mut self, rng: &mut SimRng) -> bool {
        let state = self.state.get_mut();
        if state.late.is_empty() {
            return false;
        }
        let late = state.late.swap_remove(rng.index(state.late.len()));
        let living = std::mem::replace(&mut state.slots, late.slots);
        state.land(late.what, rng);
        state.slots = living;
        true
    }

    /// The process dies and the next one has waited for the lock. Nothing is lost that was applied, and nothing becomes durable.
    pub fn kill(&mut self, rng: &mut SimRng) {
        self.die();
        while self.end_late(rng) {}
    }

    /// The power fails: what was in flight lands in any part, then every unsynced sector, length and name survives or
    /// vanishes for itself. Where `rot_in_flight` says so, a block whose write was not synced cannot be read any more.
    pub fn power_cut(&mut self, rng: &mut SimRng) {
        self.kill(rng);
        let state = self.state.get_mut();
        for file in state.files.values_mut() {
            file.cut(rng, state.rot_percent);
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
}

impl State {
    /// Lets some part of an operation that was in flight take effect.
    pub(super) fn land(&mut self, what: DiskOp, rng: &mut SimRng) {
        match what {
            DiskOp::Write {
                slot,
                position,
                data,
                ..
            } => {
                self.moment += 1;
                let moment: Moment = self.moment;
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
}
