//! What one thread saw in one second.

use crate::result::{Flow, Latency, Stage};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

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
    /// Of these, looked at more than a millisecond later.
    pub late: u64,
    /// Produce requests that failed or were given up: they have no latency.
    pub uncounted: u64,
    pub failures: BTreeMap<Failure, u64>,
    stages: Stages,
}

/// Histograms of all stages.
type Stages = Box<[Latency; Stage::ALL.len()]>;

/// Empty histograms of seconds that were told. A thread that took a megabyte of fresh memory at the end of each second would stand still for
/// milliseconds, and tell that as the broker's latency.
#[derive(Debug, Default)]
pub struct Spares(Mutex<Vec<Stages>>);

impl Spares {
    /// Two for each of so many threads: one that it fills, one that is being told.
    pub fn of(threads: usize) -> Spares {
        let each = || Stages::default();
        Spares(Mutex::new(
            std::iter::repeat_with(each).take(threads * 2).collect(),
        ))
    }

    /// Takes back what a part counted in, once it is told.
    pub fn put(&self, mut part: Part) {
        part.stages.iter_mut().for_each(Latency::clear);
        self.lock().push(part.stages);
    }

    fn take(&self) -> Stages {
        self.lock().pop().unwrap_or_default()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Stages>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    /// An empty one for a second.
    pub fn of(second: usize, spares: &Spares) -> Part {
        Part {
            second,
            stages: spares.take(),
            ..Part::default()
        }
    }

    #[inline]
    pub fn stage(&mut self, stage: Stage) -> &mut Latency {
        &mut self.stages[stage as usize]
    }

    /// The stages in which something was counted.
    pub fn stages(&self) -> impl Iterator<Item = (Stage, &Latency)> {
        let all = Stage::ALL.iter().zip(self.stages.iter());
        all.map(|(stage, latency)| (*stage, latency))
            .filter(|(_, latency)| latency.count() > 0)
    }

    pub fn failed(&mut self, failure: Failure) {
        *self.failures.entry(failure).or_default() += 1;
    }
}
