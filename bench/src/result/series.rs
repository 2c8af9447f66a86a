//! What happened in one second.
//!
//! Always: what is counted is counted in the second in which its answer came.

use super::{Latency, Stage};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One second of a run, of all threads together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Second {
    /// Since the beginning of the run.
    pub begins_at: f64,
    /// How long it was; only the last one is shorter than a second.
    pub seconds: f64,
    pub phase: Phase,
    /// Acknowledged by the broker.
    pub produced: Flow,
    /// Received by consumers.
    pub consumed: Flow,
    /// Requests that failed.
    pub errors: u64,
    pub reconnects: u64,
    /// Requests without an answer, at the end of the second.
    pub in_flight: u64,
    /// Requests that are due and not sent, at the end of the second.
    pub backlog: u64,
    pub stages: BTreeMap<Stage, Latency>,
    /// The broker's sums at the end of the second, where its process is known.
    #[serde(default)]
    pub broker: Option<ProcessSums>,
    /// The generator's own.
    #[serde(default)]
    pub generator: ProcessSums,
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
    /// Resident memory now.
    pub rss_bytes: u64,
    /// Bytes sent to disks; 0 where the kernel does not tell.
    pub disk_written_bytes: u64,
    /// Syncs of files, where something tells them.
    #[serde(default)]
    pub syncs: Option<u64>,
}
