//! Appends that the store has no room for yet: journal or memory is full until something is flushed.
//!
//! Always: (1) they wait in the order of arrival, and no later append of this shard passes them; (2) where nothing moves for
//! [`STALL_MS`], the disk is taken for full: what waits and what comes is refused [56], and nothing was assigned; (3) the first
//! append that finds room ends that.
//! BOUND: what waits is charged to the transport memory of the shard, like everything that was received.

use super::Core;
use crate::api::produce::AppendPart;
use crate::machine::partition::Acks;
use crate::shard::mail::RequestId;
use millstream_net::wire::ErrorCode;
use millstream_storage::ids::{Now, ShardIndex, Tick};
use std::collections::VecDeque;

/// How long a full journal or memory may take to find room.
pub(super) const STALL_MS: u64 = 1_000;

/// An append that reached its partition.
pub(super) struct Arrival {
    pub(super) home: ShardIndex,
    pub(super) request: RequestId,
    pub(super) acks: Acks,
    pub(super) timeout_ms: u32,
    pub(super) part: AppendPart,
}

/// Appends that wait for room.
#[derive(Default)]
pub(super) struct Stalled {
    waiting: VecDeque<Arrival>,
    /// Since when nothing has moved.
    since: Option<Tick>,
}

impl Stalled {
    /// When the patience ends.
    pub(super) fn deadline(&self) -> Option<Tick> {
        let since = self.since.filter(|_| !self.waiting.is_empty());
        since.map(|since| since.after_ms(STALL_MS))
    }

    /// How many wait.
    pub(super) fn count(&self) -> usize {
        self.waiting.len()
    }

    fn is_over(&self, now: Now) -> bool {
        self.since
            .is_some_and(|since| since.after_ms(STALL_MS) <= now.tick)
    }
}

impl Core {
    /// An append reached its partition: it goes on, waits for room, or is refused.
    pub(super) fn arrive(&mut self, now: Now, arrival: Arrival) {
        let part = &arrival.part;
        if self.stalled.waiting.is_empty() && self.store.admits(part.log, part.batch.len()) {
            self.stalled.since = None;
            return self.append_part(now, arrival);
        }
        if self.stalled.is_over(now) {
            return self.refuse_arrival(arrival, ErrorCode::KafkaStorageError);
        }
        self.stalled.since.get_or_insert(now.tick);
        self.stalled.waiting.push_back(arrival);
    }

    /// Lets go on what finds room now.
    pub(super) fn retry_stalled(&mut self, now: Now) {
        while let Some(arrival) = self.stalled.waiting.pop_front() {
            let part = &arrival.part;
            if self.hosts.find(part.log).is_none() {
                let code = self.absent(part.topic, part.partition);
                self.refuse_arrival(arrival, code);
            } else if self.store.admits(part.log, part.batch.len()) {
                self.stalled.since = (!self.stalled.waiting.is_empty()).then_some(now.tick);
                self.append_part(now, arrival);
            } else if self.stalled.is_over(now) {
                self.refuse_arrival(arrival, ErrorCode::KafkaStorageError);
            } else {
                self.stalled.waiting.push_front(arrival);
                return;
            }
        }
    }

    fn refuse_arrival(&mut self, arrival: Arrival, code: ErrorCode) {
        self.appended(arrival.home, arrival.request, arrival.part.part, Err(code));
    }
}
