//! The reading half of a thread: who asks next, what answers bring, when everything is read.

use super::Core;
use super::connection::Role;
use crate::load::shared::SECOND_NS;
use std::sync::atomic::Ordering;

/// How long readers may go on without anything new before they are given up.
const READ_STALL_NS: u64 = 10 * SECOND_NS;

impl Core {
    /// Lets readers ask that do not; tells them where to stop once that is known.
    pub(super) fn read_on(&mut self, now: u64) -> Result<(), String> {
        let ends = self.shared.ends.get();
        let tell = ends.is_some() && !self.told_ends;
        for connection in &mut self.connections {
            let Role::Reads {
                reader, request, ..
            } = &mut connection.role
            else {
                continue;
            };
            if let (true, Some(ends)) = (tell, ends) {
                reader.end_at(|topic, partition| ends[topic as usize][partition as usize]);
                self.last_progress_ns = now;
            }
            let wanted = ends.is_none() || !reader.is_done();
            if wanted && connection.link.is_open() && !reader.is_asking() && request.is_empty() {
                *request = reader.ask(&self.shared.workload, &self.shared.topics, now);
            }
        }
        self.told_ends |= tell;
        Ok(())
    }

    pub(super) fn is_done(&self, now: u64) -> bool {
        if self.producing {
            return false;
        }
        let mut readers = self.connections.iter().filter_map(|each| match &each.role {
            Role::Reads { reader, .. } => Some(reader),
            Role::Produces { .. } => None,
        });
        if !self.told_ends {
            return readers.next().is_none() && self.shared.producing.load(Ordering::Relaxed) == 0;
        }
        let stalled = now.saturating_sub(self.last_progress_ns) > READ_STALL_NS;
        stalled || readers.all(|reader| reader.is_done())
    }
}
