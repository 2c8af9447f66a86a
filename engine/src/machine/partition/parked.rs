//! Appends that have no offset yet because a coordinator is being asked about their transaction.
//!
//! Always: (1) what is parked dies with the role; (2) a later batch of the same producer waits behind an earlier one, batches
//! of others do not; (3) an answer counts only for the question that is open.

use super::types::{Append, Question};
use millstream_storage::ids::{ProducerId, Tick};
use std::collections::{BTreeMap, VecDeque};

/// BOUND: batches parked per producer; clients keep five in flight.
const PARKED_PER_PRODUCER: usize = 16;
/// BOUND: batches parked per partition.
const PARKED_PER_PARTITION: usize = 4096;

/// A parked batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct ParkedAppend {
    /// The batch.
    pub append: Append,
    /// When it gives up.
    pub deadline: Tick,
}

struct Queue {
    question: Question,
    appends: VecDeque<ParkedAppend>,
}

/// Everything parked in one partition.
#[derive(Default)]
pub(super) struct Parked {
    queues: BTreeMap<ProducerId, Queue>,
    count: usize,
}

/// There is no room.
pub(super) struct Full;

impl Parked {
    /// Whether something of this producer is parked.
    pub(super) fn holds(&self, producer: ProducerId) -> bool {
        self.count > 0 && self.queues.contains_key(&producer)
    }

    /// Parks a batch under a question; behind others of the producer it waits for theirs.
    pub(super) fn park(&mut self, parked: ParkedAppend, question: Question) -> Result<(), Full> {
        let queue = self
            .queues
            .entry(parked.append.head.producer)
            .or_insert_with(|| Queue {
                question,
                appends: VecDeque::new(),
            });
        if queue.appends.len() >= PARKED_PER_PRODUCER || self.count >= PARKED_PER_PARTITION {
            if queue.appends.is_empty() {
                self.queues.remove(&parked.append.head.producer);
            }
            return Err(Full);
        }
        queue.appends.push_back(parked);
        self.count += 1;
        Ok(())
    }

    /// The batches behind a question, if it is the open one.
    pub(super) fn answered(&mut self, question: Question) -> VecDeque<ParkedAppend> {
        match self.queues.get(&question.producer) {
            Some(queue) if queue.question == question => self.take(question.producer),
            _ => VecDeque::new(),
        }
    }

    /// All batches of a producer, oldest first.
    pub(super) fn take(&mut self, producer: ProducerId) -> VecDeque<ParkedAppend> {
        let appends = self
            .queues
            .remove(&producer)
            .map_or_else(VecDeque::new, |queue| queue.appends);
        self.count -= appends.len();
        appends
    }

    /// Everything, by producer, oldest first.
    pub(super) fn take_all(&mut self) -> Vec<ParkedAppend> {
        self.count = 0;
        std::mem::take(&mut self.queues)
            .into_values()
            .flat_map(|queue| queue.appends)
            .collect()
    }

    /// Takes out the batches that have given up, each with all behind it of the same producer: those could only fail.
    pub(super) fn expired(&mut self, now: Tick) -> Vec<ParkedAppend> {
        let mut gone = Vec::new();
        self.queues.retain(|_, queue| {
            if let Some(first) = queue.appends.iter().position(|one| one.deadline <= now) {
                gone.extend(queue.appends.split_off(first));
            }
            !queue.appends.is_empty()
        });
        self.count -= gone.len();
        gone
    }

    /// When someone gives up.
    pub(super) fn deadline(&self) -> Option<Tick> {
        let all = self.queues.values().flat_map(|queue| queue.appends.iter());
        all.map(|one| one.deadline).min()
    }

    /// Asserts the invariants.
    pub(super) fn check(&self) {
        let count: usize = self.queues.values().map(|queue| queue.appends.len()).sum();
        assert_eq!(count, self.count);
        assert!(self.queues.values().all(|queue| !queue.appends.is_empty()));
    }
}
