//! What makes a number less than it seems.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One reason to doubt. Its text says what and what to do.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// The generator came late by itself: latencies are its own.
    GeneratorLate {
        /// Requests that were sent more than a millisecond after they were due although there was room.
        late: u64,
        /// Of so many.
        due: u64,
    },
    /// The rate is close to what the generator can do.
    RateIsLowerBound { ceiling_share: f64 },
    /// So close that latencies are the generator's too.
    LatenciesAreLowerQuality { ceiling_share: f64 },
    /// The ceiling was not measured.
    CeilingUnknown,
    /// A closed loop: stalls are hidden.
    ClosedLoop,
    /// The broker did not take what was due: latencies grow with the duration.
    BrokerBehind { backlog: u64 },
    /// Requests failed.
    Failures { count: u64 },
    /// Records are lost, duplicated, out of order or corrupt.
    Damaged { records: u64 },
    /// Not every acknowledged record was looked for.
    Unchecked { records: u64 },
    /// The run ended early.
    EndedEarly { reason: String },
    /// The broker and this generator share processors.
    SharedMachine,
}

/// How much a mark takes away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Something to know.
    Note,
    /// Part of the numbers does not mean what it says.
    Warning,
    /// The run is not valid.
    Invalid,
}

impl Mark {
    pub fn severity(&self) -> Severity {
        match self {
            Mark::GeneratorLate { .. } | Mark::Damaged { .. } | Mark::EndedEarly { .. } => {
                Severity::Invalid
            }
            Mark::RateIsLowerBound { .. }
            | Mark::LatenciesAreLowerQuality { .. }
            | Mark::BrokerBehind { .. }
            | Mark::Failures { .. } => Severity::Warning,
            Mark::CeilingUnknown
            | Mark::ClosedLoop
            | Mark::Unchecked { .. }
            | Mark::SharedMachine => Severity::Note,
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: &f64| (share * 100.0).round();
        match self {
            Mark::GeneratorLate { late, due } => write!(
                out,
                "the generator fell behind: {late} of {due} requests were sent more than 1 ms after they were due; give it \
                 a processor of its own (--cpus) or more threads"
            ),
            Mark::RateIsLowerBound { ceiling_share } => write!(
                out,
                "at {} % of the generator's ceiling the rate is a lower bound",
                percent(ceiling_share)
            ),
            Mark::LatenciesAreLowerQuality { ceiling_share } => write!(
                out,
                "at {} % of the generator's ceiling the latencies are the generator's too",
                percent(ceiling_share)
            ),
            Mark::CeilingUnknown => write!(
                out,
                "the generator's ceiling was not measured, so the rate may be its own"
            ),
            Mark::ClosedLoop => write!(
                out,
                "closed loop: requests wait for answers, so the latencies hide stalls"
            ),
            Mark::BrokerBehind { backlog } => write!(
                out,
                "the broker did not take the rate: {backlog} requests were due and unsent at the end, so latencies grow \
                 with the duration"
            ),
            Mark::Failures { count } => write!(out, "{count} requests failed"),
            Mark::Damaged { records } => write!(
                out,
                "{records} records are lost, duplicated, out of order or corrupt"
            ),
            Mark::Unchecked { records } => {
                write!(out, "{records} acknowledged records were not read back")
            }
            Mark::EndedEarly { reason } => write!(out, "ended early: {reason}"),
            Mark::SharedMachine => write!(
                out,
                "broker and generator run on the same machine and share its processors"
            ),
        }
    }
}
