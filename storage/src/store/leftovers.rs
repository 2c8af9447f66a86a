//! Directories of logs that were dropped before this start, removed one by one in the background.
//!
//! Always: a log is in the checkpoint as dropped until its directory is gone.

use super::ops::{Job, JobEnd};
use super::shard_store::Store;
use super::tasks::shared;
use crate::disk::DiskOp;
use crate::format::{LogPath, log_dir};
use crate::ids::LogNumber;
use crate::recovery::DroppedLog;
use std::collections::{BTreeMap, VecDeque};

/// What is still to be removed.
#[derive(Debug)]
pub(super) struct Leftovers {
    /// Directories that are there.
    paths: BTreeMap<LogNumber, LogPath>,
    /// Those whose turn comes.
    waiting: VecDeque<DroppedLog>,
}

impl Leftovers {
    pub(super) fn new(dropped: &[DroppedLog]) -> Leftovers {
        Leftovers {
            paths: dropped.iter().map(|log| (log.path.log, log.path)).collect(),
            waiting: dropped.iter().cloned().collect(),
        }
    }

    /// The logs that the checkpoint names as dropped.
    pub(super) fn paths(&self) -> impl Iterator<Item = &LogPath> {
        self.paths.values()
    }

    /// The next start goes on.
    pub(super) fn stop(&mut self) {
        self.waiting.clear();
    }
}

impl Store {
    /// Begins with the next directory.
    pub(super) fn remove_leftover(&mut self) {
        let Some(DroppedLog { path, files }) = self.leftovers.waiting.pop_front() else {
            return;
        };
        let directory = log_dir(&path);
        let unlink = |name| DiskOp::Unlink {
            path: shared(&directory.join(name)),
        };
        let mut steps: VecDeque<DiskOp> = files.into_iter().map(unlink).collect();
        steps.push_back(DiskOp::RemoveDir {
            path: shared(&directory),
        });
        let end = JobEnd::LeftoverRemoved(path.log);
        self.ops.start(Job { steps, end }, &mut self.effects);
    }

    /// A directory is gone; the one of its topic goes too, unless a log lives in it.
    pub(super) fn leftover_removed(&mut self, log: LogNumber) {
        let path = self.leftovers.paths.remove(&log);
        let path = path.expect("a directory is removed once");
        self.commit.note_change();
        match self.is_lived_in(&path) {
            true => self.remove_leftover(),
            false => {
                let directory = log_dir(&path);
                let topic = directory.parent().expect("a log lies in its topic");
                let path = shared(topic);
                let steps = VecDeque::from([DiskOp::RemoveDir { path }]);
                let end = JobEnd::TopicRemoved;
                self.ops.start(Job { steps, end }, &mut self.effects);
            }
        }
    }

    /// A log lives in the directory of its topic.
    pub(super) fn moves_in(&mut self, path: &LogPath) {
        *self.living.entry((path.home, path.topic)).or_default() += 1;
    }

    /// A log that lived there is dropped.
    pub(super) fn moves_out(&mut self, path: &LogPath) {
        let topic = (path.home, path.topic);
        let living = self.living.get_mut(&topic).expect("it lived there");
        *living -= 1;
        if *living == 0 {
            self.living.remove(&topic);
        }
    }

    /// Whether a log of this shard lives in the directory of a log's topic.
    pub(super) fn is_lived_in(&self, path: &LogPath) -> bool {
        self.living.contains_key(&(path.home, path.topic))
    }
}
