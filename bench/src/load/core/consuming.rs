//! The reading half of a thread: who asks next, what answers bring, when everything is read.

use super::connection::Role;
use super::{Core, HOLD_NS, failure, is_elsewhere};
use crate::load::shared::SECOND_NS;
use crate::result::Stage;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How long readers may go on without anything new before they are given up.
const READ_STALL_NS: u64 = 10 * SECOND_NS;

impl Core {
    /// Lets readers ask that do not; tells them where to stop once that is known.
    pub(super) fn read_on(&mut self, now: u64) {
        let ends = self.shared.ends.get();
        let tell = ends.is_some() && !self.told_ends;
        for connection in &mut self.connections {
            let Role::Reads(reading) = &mut connection.role else {
                continue;
            };
            if let (true, false, Some(ends)) = (tell, reading.of_member, ends) {
                let end_of = |topic, partition| ends[topic as usize][partition as usize];
                reading.reader.end_at(end_of);
            }
            let wanted = ends.is_none() || !reading.reader.is_done();
            let may = connection.link.is_open() && now >= reading.hold_until_ns;
            if wanted && may && reading.reader.may_ask() && reading.request.is_empty() {
                let shared = &self.shared;
                reading.request = reading.reader.ask(&shared.workload, &shared.topics, now);
            }
        }
        if tell {
            self.told_ends = true;
            self.last_progress_ns = now;
        }
    }

    pub(super) fn is_done(&mut self, now: u64) -> bool {
        if self.producing {
            return false;
        }
        let mut readers = self.connections.iter().filter_map(|each| match &each.role {
            Role::Reads(reading) if !reading.of_member => Some(&reading.reader),
            _ => None,
        });
        if !self.told_ends {
            let none = readers.next().is_none() && self.groups.is_empty();
            return none && self.shared.producing.load(Ordering::Relaxed) == 0;
        }
        let all_read = readers.all(|reader| reader.is_done());
        let stalled = now.saturating_sub(self.last_progress_ns) > READ_STALL_NS;
        stalled || all_read && self.groups_are_done()
    }

    /// Takes answers to Fetch; how many bytes they were.
    pub(super) fn take_fetched(&mut self, index: usize) -> Result<usize, String> {
        let now = self.shared.clock().now_ns();
        let shared = Arc::clone(&self.shared);
        let connection = &mut self.connections[index];
        let Role::Reads(reading) = &mut connection.role else {
            unreachable!("the caller looked");
        };
        let mut taken = 0;
        while let Some(frame) = connection.link.frame(taken)? {
            taken += 4 + frame.len();
            let part = RefCell::new(&mut self.part);
            let (timed, mut elsewhere) = (reading.timed, false);
            let mut failed = false;
            let brought = reading.reader.answer(
                frame,
                &shared.topics,
                shared.tag,
                &mut self.received[reading.of],
                |due| {
                    if timed {
                        let latency = now.saturating_sub(due);
                        part.borrow_mut().stage(Stage::EndToEnd).record_ns(latency);
                    }
                },
                |code| {
                    failed = true;
                    elsewhere |= is_elsewhere(code);
                    part.borrow_mut().failed(failure("Fetch", code));
                },
            )?;
            if failed {
                reading.hold_until_ns = now + HOLD_NS;
            }
            if elsewhere {
                shared.scout.want();
            }
            if brought.flow.records > 0 {
                self.last_progress_ns = now;
                let waited = now.saturating_sub(brought.asked_ns);
                self.part.stage(Stage::Fetch).record_ns(waited);
            }
            self.part.consumed.add(brought.flow);
        }
        Ok(taken)
    }
}
