//! New segments become durable together: where many logs begin a file, one sync of the file system does for all what would take
//! three or four syncs each.
//!
//! Always: a log whose new file waits here has the task that made it at the head of its tasks; it ends when the file, its reservation and
//! every new directory above it are synced.

use super::log_state::Task;
use super::ops::{Job, JobEnd, Purpose};
use super::shard_store::Store;
use super::tasks::{is_shortage, synced};
use crate::commit::LogSlot;
use crate::disk::{DiskError, DiskOp};
use crate::ids::Tick;
use std::collections::VecDeque;

/// So many new files wait for no more.
const NAMES: usize = 32;
/// Nor does one that has waited so long.
const NAMES_MS: u64 = 20;

/// Logs whose files are made and not yet durable.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Each with its first segment's file.
    waiting: Vec<LogSlot>,
    since: Tick,
    /// Those that the sync under way is for.
    syncing: Vec<LogSlot>,
    /// When it began.
    began: Tick,
}

impl Names {
    /// When those that wait are synced, however few they are.
    pub(super) fn deadline(&self) -> Option<Tick> {
        let due = !self.waiting.is_empty() && self.syncing.is_empty();
        due.then(|| self.since.after_ms(NAMES_MS))
    }
}

impl Store {
    /// The file of a log's segment exists and is reserved.
    pub(super) fn file_made(&mut self, slot: LogSlot) {
        if self.names.waiting.is_empty() {
            self.names.since = self.now.tick;
        }
        self.names.waiting.push(slot);
    }

    /// Makes new files durable when they are many, or have waited.
    pub(super) fn sync_names(&mut self) {
        let now = self.now.tick;
        let Some(at) = self.names.deadline() else {
            return;
        };
        if at > now && self.names.waiting.len() < NAMES && !self.commit.pressing() {
            return;
        }
        let made = std::mem::take(&mut self.names.waiting);
        if self.syncs_together(made.len()) {
            self.names.syncing = made;
            self.names.began = now;
            let sync = DiskOp::SyncFs {
                slot: self.journal.any_slot(),
            };
            return self.ops.tell(Purpose::Names, sync, &mut self.effects);
        }
        for slot in made {
            let steps = self.name_steps(slot);
            let end = JobEnd::Task(slot);
            self.ops.start(Job { steps, end }, &mut self.effects);
        }
    }

    /// The syncs of one new file.
    fn name_steps(&self, slot: LogSlot) -> VecDeque<DiskOp> {
        let log = self.log(slot);
        let Some(Task::Prepare { place, .. }) = log.tasks.front() else {
            unreachable!("the task that made the file is at the head");
        };
        let file = log.files[&place.segment].open;
        let file = file.expect("a file that was just made is open");
        let mut steps = VecDeque::from([DiskOp::SyncData { slot: file }, synced(&log.directory)]);
        if !log.directory_durable {
            let topic = log.directory.parent().expect("a log lies in its topic");
            let shard = topic.parent().expect("a topic lies in its shard");
            steps.extend([synced(topic), synced(shard)]);
        }
        steps
    }

    /// The sync for many new files has ended.
    pub(super) fn names_synced(&mut self, result: Result<(), DiskError>) {
        self.note_shared_sync(self.names.began);
        if let Err(error) = result
            && !is_shortage(error)
        {
            return self.fatal(format!("new files cannot be synced: errno {}", error.errno));
        }
        for slot in std::mem::take(&mut self.names.syncing) {
            match result {
                Ok(()) => self.task_ended(slot),
                Err(error) => self.task_failed(slot, error),
            }
            self.next_task(slot);
        }
    }
}
