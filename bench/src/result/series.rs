//! What happened in one second, and the seconds of a run.
//!
//! Always: (1) what is counted is counted in the second in which its answer came; (2) however long a run is, it keeps at most
//! [`INTERVALS_MAX`] intervals, and their sums are those of all seconds.

use super::{Packed, Stage};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// BOUND: a run keeps at most so many intervals. They are seconds up to an hour and eight minutes, two seconds up to twice that,
/// and so on: a run of a week has intervals of 256 s.
pub const INTERVALS_MAX: usize = 4_096;

/// One second of a run, of all threads together; in a run of hours an interval of some seconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Second {
    /// Since the beginning of the run.
    pub begins_at: f64,
    /// How long it was: a second (the last one is shorter), or 2, 4, 8... in a run of hours.
    pub seconds: f64,
    pub phase: Phase,
    /// Acknowledged by the broker.
    pub produced: Flow,
    /// Received by consumers.
    pub consumed: Flow,
    /// Requests that failed.
    pub errors: u64,
    pub reconnects: u64,
    /// Requests without an answer, at its end.
    pub in_flight: u64,
    /// Requests that are due and not sent, at its end.
    pub backlog: u64,
    pub stages: BTreeMap<Stage, Packed>,
    /// The broker's sums at its end, where its process is known.
    #[serde(default)]
    pub broker: Option<ProcessSums>,
    /// The generator's own.
    #[serde(default)]
    pub generator: ProcessSums,
}

impl Second {
    /// Takes the next one in, of the same phase.
    fn join(&mut self, next: Second) {
        self.seconds += next.seconds;
        self.produced.add(next.produced);
        self.consumed.add(next.consumed);
        self.errors += next.errors;
        self.reconnects += next.reconnects;
        self.in_flight = next.in_flight;
        self.backlog = next.backlog;
        for (stage, latencies) in &next.stages {
            match self.stages.get_mut(stage) {
                Some(mine) => mine.join(latencies),
                None => {
                    self.stages.insert(*stage, latencies.clone());
                }
            }
        }
        let most = |before: Option<ProcessSums>, after: ProcessSums| ProcessSums {
            rss_bytes: after.rss_bytes.max(before.map_or(0, |sums| sums.rss_bytes)),
            ..after
        };
        self.broker = next.broker.map(|sums| most(self.broker, sums));
        self.generator = most(Some(self.generator), next.generator);
    }
}

/// The seconds of a run that goes on, as long as it may be.
#[derive(Clone, Debug)]
pub struct Intervals {
    kept: Vec<Second>,
    /// Seconds of one.
    length: f64,
}

impl Default for Intervals {
    fn default() -> Intervals {
        Intervals {
            kept: Vec::new(),
            length: 1.0,
        }
    }
}

impl Intervals {
    /// The next second.
    pub fn push(&mut self, second: Second) {
        match self.kept.last_mut() {
            Some(last) if fits(last, &second, self.length) => last.join(second),
            _ => self.kept.push(second),
        }
        if self.kept.len() > INTERVALS_MAX {
            self.length *= 2.0;
            let all = std::mem::take(&mut self.kept);
            for second in all {
                match self.kept.last_mut() {
                    Some(last) if fits(last, &second, self.length) => last.join(second),
                    _ => self.kept.push(second),
                }
            }
        }
    }

    pub fn as_slice(&self) -> &[Second] {
        &self.kept
    }

    pub fn into_vec(self) -> Vec<Second> {
        self.kept
    }
}

/// Whether a second belongs to the interval before it: where these lie does not depend on when they were joined.
fn fits(last: &Second, second: &Second, length: f64) -> bool {
    let interval = |second: &Second| (second.begins_at / length).floor();
    last.phase == second.phase && interval(last) == interval(second)
}

/// Whether a second counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    Warmup,
    #[default]
    Measured,
    /// After it: answers to what was due in it. Latencies count, rates do not.
    Drain,
}

/// Requests and what they carried.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Flow {
    pub requests: u64,
    pub records: u64,
    /// Bytes of record batches, as they are on the wire.
    pub bytes: u64,
}

impl Flow {
    /// Adds another.
    pub fn add(&mut self, other: Flow) {
        self.requests += other.requests;
        self.records += other.records;
        self.bytes += other.bytes;
    }
}

/// What a process, or a group of them, has used since it began.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ProcessSums {
    /// User and system time.
    pub cpu_seconds: f64,
    /// Resident memory now, the most of an interval; 0 where the kernel does not tell.
    pub rss_bytes: u64,
    /// Bytes sent to disks, where the kernel tells: /proc/PID/io is for the process's own user.
    pub disk_written_bytes: Option<u64>,
    /// Syncs of files, where something tells them.
    #[serde(default)]
    pub syncs: Option<u64>,
}
