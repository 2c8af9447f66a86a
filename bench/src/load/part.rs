//! What one thread saw in one second.

use crate::result::{Flow, Latency, Stage};
use std::collections::BTreeMap;

/// What failed, for counting: the API, the protocol's code, and what happened where there is no code.
pub type Failure = (&'static str, i16, &'static str);

/// One thread's second.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// Which second of the load it is.
    pub second: usize,
    pub produced: Flow,
    pub consumed: Flow,
    pub reconnects: u64,
    pub in_flight: u64,
    pub backlog: u64,
    /// Requests that became due.
    pub due: u64,
    /// Of these, sent more than a millisecond late although there was room.
    pub late: u64,
    pub failures: BTreeMap<Failure, u64>,
    stages: [Latency; Stage::ALL.len()],
}

impl Part {
    /// An empty one for a second.
    pub fn of(second: usize) -> Part {
        Part {
            second,
            ..Part::default()
        }
    }

    #[inline]
    pub fn stage(&mut self, stage: Stage) -> &mut Latency {
        &mut self.stages[stage as usize]
    }

    /// The stages in which something was counted.
    pub fn stages(&self) -> impl Iterator<Item = (Stage, &Latency)> {
        let all = Stage::ALL.iter().zip(&self.stages);
        all.map(|(stage, latency)| (*stage, latency))
            .filter(|(_, latency)| latency.count() > 0)
    }

    pub fn failed(&mut self, failure: Failure) {
        *self.failures.entry(failure).or_default() += 1;
    }
}
