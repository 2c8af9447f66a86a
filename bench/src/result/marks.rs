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
    /// Not one request succeeded.
    NothingSucceeded { failed: u64 },
    /// Readers found nothing.
    NothingRead,
    /// A command of the workload did not do what it was for.
    FaultFailed { command: String, problem: String },
    /// With `acks` 0 nothing is acknowledged.
    Unacknowledged { lost: u64 },
    /// Records are lost, doubled in the log, out of order or corrupt.
    Damaged { records: u64 },
    /// Members of a group got records again that an earlier owner of the partition had read and not committed.
    Redelivered { records: u64 },
    /// Not every acknowledged record was looked for.
    Unchecked { records: u64 },
    /// Acknowledged records were looked for and not read: nobody knows whether they are there.
    NotReadBack { records: u64, problem: String },
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
    /// Whether the run did not do what it was for, which its exit code says.
    pub fn is_failure(&self) -> bool {
        matches!(
            self,
            Mark::EndedEarly { .. }
                | Mark::Damaged { .. }
                | Mark::NotReadBack { .. }
                | Mark::NothingSucceeded { .. }
        )
    }

    pub fn severity(&self) -> Severity {
        match self {
            Mark::GeneratorLate { .. }
            | Mark::Damaged { .. }
            | Mark::NotReadBack { .. }
            | Mark::NothingSucceeded { .. }
            | Mark::EndedEarly { .. } => Severity::Invalid,
            Mark::RateIsLowerBound { .. }
            | Mark::LatenciesAreLowerQuality { .. }
            | Mark::BrokerBehind { .. }
            | Mark::Failures { .. }
            | Mark::NothingRead
            | Mark::FaultFailed { .. } => Severity::Warning,
            Mark::CeilingUnknown
            | Mark::ClosedLoop
            | Mark::Unchecked { .. }
            | Mark::Unacknowledged { .. }
            | Mark::Redelivered { .. }
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
                "at {} % of the generator's ceiling the latencies are the generator's too: the broker's own are lower",
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
            Mark::NothingSucceeded { failed } => write!(
                out,
                "not one request succeeded ({failed} failed): there is nothing that was measured"
            ),
            Mark::NothingRead => write!(
                out,
                "nothing was read: the topic has no records behind the place where reading began"
            ),
            Mark::FaultFailed { command, problem } => {
                write!(out, "the fault `{command}` failed: {problem}")
            }
            Mark::Unacknowledged { lost } => {
                write!(
                    out,
                    "acks 0: nothing is acknowledged; a request counts, and its latency ends, when it is sent whole"
                )?;
                match lost {
                    0 => Ok(()),
                    lost => write!(out, "; {lost} records of these were not there to read"),
                }
            }
            Mark::Damaged { records } => write!(
                out,
                "{records} records are lost, doubled, out of order or corrupt"
            ),
            Mark::Redelivered { records } => write!(
                out,
                "{records} records were delivered again, from the same offsets, after their partitions moved in the group: what \
                 was not committed is read twice (at least once), and none stands twice in the log"
            ),
            Mark::Unchecked { records } => {
                write!(out, "{records} acknowledged records were not read back")
            }
            Mark::NotReadBack { records, problem } => write!(
                out,
                "{records} acknowledged records could not be read back: {problem}"
            ),
            Mark::EndedEarly { reason } => write!(out, "ended early: {reason}"),
            Mark::SharedMachine => write!(
                out,
                "broker and generator run on the same machine and share its processors"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_read_back_fails_a_run_and_what_was_not_to_be_is_a_note() {
        let problem = "the broker does not answer".to_owned();
        let mark = Mark::NotReadBack {
            records: 3,
            problem,
        };
        assert!(mark.is_failure() && mark.severity() == Severity::Invalid);
        let told = mark.to_string();
        assert!(
            told.contains('3') && told.contains("does not answer"),
            "{told}"
        );
        assert!(!Mark::Unchecked { records: 3 }.is_failure());
    }
}
