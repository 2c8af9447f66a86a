//! Appends that are in the log and wait for an offset to be durable or committed.
//!
//! Always: (1) waiters are in order of the offset they wait for; (2) every waiter leaves exactly once.

use super::types::Ticket;
use millstream_storage::ids::{Offset, Tick};
use millstream_storage::prefetch;
use std::collections::VecDeque;

/// One append that waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Waiter {
    /// Whose.
    pub ticket: Ticket,
    /// What it waits for: everything below.
    pub end: Offset,
    /// What it will be answered.
    pub base_offset: Offset,
    /// What it will be answered, in ms.
    pub log_append_time_ms: i64,
    /// When it gives up.
    pub deadline: Option<Tick>,
}

/// A queue of waiters.
#[derive(Default)]
pub(super) struct Waiting {
    queue: VecDeque<Waiter>,
    /// No waiter gives up before this.
    earliest: Option<Tick>,
}

impl Waiting {
    /// Brings near the processor who leaves next.
    pub(super) fn warm(&self) {
        self.queue.front().map(prefetch::value);
    }

    /// Adds a waiter; usually it waits longest.
    pub(super) fn push(&mut self, waiter: Waiter) {
        let at = match self.queue.back() {
            Some(last) if last.end > waiter.end => {
                self.queue.partition_point(|other| other.end <= waiter.end)
            }
            _ => self.queue.len(),
        };
        self.queue.insert(at, waiter);
        if let Some(deadline) = waiter.deadline {
            self.earliest = Some(self.earliest.map_or(deadline, |tick| tick.min(deadline)));
        }
    }

    /// The next waiter that waits for nothing above `reached`.
    pub(super) fn pop_reached(&mut self, reached: Offset) -> Option<Waiter> {
        self.queue.pop_front_if(|waiter| waiter.end <= reached)
    }

    /// The next waiter, whatever it waits for.
    pub(super) fn pop(&mut self) -> Option<Waiter> {
        self.queue.pop_front()
    }

    /// Takes out those that have given up.
    pub(super) fn expired(&mut self, now: Tick) -> Vec<Waiter> {
        if self.earliest.is_none_or(|earliest| earliest > now) {
            return Vec::new();
        }
        let (gone, kept) = std::mem::take(&mut self.queue)
            .into_iter()
            .partition::<Vec<_>, _>(|waiter| waiter.deadline.is_some_and(|tick| tick <= now));
        self.queue = kept.into();
        self.earliest = self.queue.iter().filter_map(|waiter| waiter.deadline).min();
        gone
    }

    /// When someone may give up; early rather than late.
    pub(super) fn deadline(&self) -> Option<Tick> {
        if self.queue.is_empty() {
            return None;
        }
        self.earliest
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Asserts the order.
    pub(super) fn check(&self) {
        assert!(self.queue.iter().is_sorted_by_key(|waiter| waiter.end));
    }
}
