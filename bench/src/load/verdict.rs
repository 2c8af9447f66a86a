//! What makes the numbers of a run less than they seem, and how far it was below the generator's own ceiling.

use crate::result::{Ended, Integrity, LoopKind, Mark, Phase, Run, Stage};
use crate::workload::Workload;

/// Above this part of the ceiling a rate is a lower bound.
const CEILING_RATE: f64 = 0.7;
/// Above this part latencies are the generator's too.
const CEILING_LATENCY: f64 = 0.9;
/// The part of requests that may be late by the generator's fault.
const LATE_SHARE_MAX: f64 = 0.01;

/// The marks of a run, of whose requests so many were due, and so many late by the generator's fault.
pub fn marks(workload: &Workload, result: &Run, due: u64, late: u64) -> Vec<Mark> {
    let mut marks = Vec::new();
    let failures: u64 = result.errors.iter().map(|error| error.count).sum();
    if let Ended::Early(reason) = &result.ended {
        marks.push(Mark::EndedEarly {
            reason: reason.clone(),
        });
    } else {
        marks.extend(nothing(workload, result, failures));
    }
    let Integrity {
        mut lost,
        duplicated,
        out_of_order,
        corrupt,
        unchecked,
        redelivered,
        ..
    } = result.integrity;
    if workload.produces() && workload.acks.0 == 0 {
        marks.push(Mark::Unacknowledged { lost });
        lost = 0;
    }
    let damaged = lost + duplicated + out_of_order + corrupt;
    if damaged > 0 {
        marks.push(Mark::Damaged { records: damaged });
    }
    if redelivered > 0 {
        let records = redelivered;
        marks.push(Mark::Redelivered { records });
    }
    if late as f64 > due as f64 * LATE_SHARE_MAX {
        marks.push(Mark::GeneratorLate { late, due });
    }
    if failures > 0 {
        marks.push(Mark::Failures { count: failures });
    }
    let backlog = result.generator.backlog_at_end;
    if backlog as f64 > due as f64 * LATE_SHARE_MAX {
        marks.push(Mark::BrokerBehind { backlog });
    }
    for fault in &result.faults {
        if let Some(problem) = fault.outcome.problem() {
            marks.push(Mark::FaultFailed {
                command: fault.command.clone(),
                problem,
            });
        }
    }
    if unchecked > 0 {
        marks.push(Mark::Unchecked { records: unchecked });
    }
    if result.loop_kind == LoopKind::Closed && result.stages.contains_key(&Stage::Produce) {
        marks.push(Mark::ClosedLoop);
    }
    marks
}

/// A run that has nothing to show.
fn nothing(workload: &Workload, result: &Run, failed: u64) -> Option<Mark> {
    let counted = result.seconds.iter();
    let counted = counted.filter(|second| second.phase != Phase::Warmup);
    let (mut produced, mut consumed) = (0, 0);
    for second in counted {
        produced += second.produced.requests;
        consumed += second.consumed.records;
    }
    if workload.produces() {
        return (produced == 0).then_some(Mark::NothingSucceeded { failed });
    }
    match (consumed, failed) {
        (0, 0) => Some(Mark::NothingRead),
        (0, failed) => Some(Mark::NothingSucceeded { failed }),
        _ => None,
    }
}

/// What the generator can do at most with requests of a workload's shape; `None` where it was not measured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ceiling {
    pub requests_per_second: Option<f64>,
    pub consumed_mib_per_second: Option<f64>,
}

/// Sets the ceiling of a run, and the marks that follow from it.
pub fn set_ceiling(result: &mut Run, ceiling: &Ceiling) {
    let summary = result.summary();
    let part = |rate: f64, ceiling: Option<f64>| match ceiling.filter(|ceiling| *ceiling > 0.0) {
        _ if rate == 0.0 => Some(0.0),
        Some(ceiling) => Some(rate / ceiling),
        None => None,
    };
    let produced = part(summary.requests_per_second, ceiling.requests_per_second);
    let consumed = part(
        summary.consumed_mib_per_second,
        ceiling.consumed_mib_per_second,
    );
    let Some((produced, consumed)) = produced.zip(consumed) else {
        result.marks.push(Mark::CeilingUnknown);
        return;
    };
    // Both are the work of the same threads.
    let share = produced + consumed;
    let generator = &mut result.generator;
    generator.ceiling_requests_per_second = ceiling.requests_per_second.filter(|_| produced > 0.0);
    generator.ceiling_consumed_mib_per_second =
        ceiling.consumed_mib_per_second.filter(|_| consumed > 0.0);
    if share == 0.0 {
        return;
    }
    generator.ceiling_share = Some(share);
    if share > CEILING_RATE {
        result.marks.push(Mark::RateIsLowerBound {
            ceiling_share: share,
        });
    }
    if share > CEILING_LATENCY {
        result.marks.push(Mark::LatenciesAreLowerQuality {
            ceiling_share: share,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{Flow, Second};

    /// A run of one second.
    fn run(requests: u64, consumed_mib: u64) -> Run {
        let flow = |requests, bytes| Flow {
            requests,
            records: requests,
            bytes,
        };
        Run {
            seconds: vec![Second {
                seconds: 1.0,
                produced: flow(requests, requests * 1_024),
                consumed: flow(consumed_mib, consumed_mib << 20),
                ..Second::default()
            }],
            ..Run::default()
        }
    }

    #[test]
    fn above_70_and_90_percent_of_the_ceiling_a_run_is_marked() {
        let ceiling = Ceiling {
            requests_per_second: Some(1_000.0),
            consumed_mib_per_second: Some(1_000.0),
        };
        for (requests, consumed, percent, rate, latency) in [
            (690, 0, 69, false, false),
            (710, 0, 71, true, false),
            (890, 0, 89, true, false),
            (910, 0, 91, true, true),
            // Consumers take their part of the same threads, and fetching alone has a ceiling too.
            (400, 290, 69, false, false),
            (400, 310, 71, true, false),
            (500, 450, 95, true, true),
            (0, 710, 71, true, false),
            (0, 910, 91, true, true),
        ] {
            let mut run = run(requests, consumed);
            set_ceiling(&mut run, &ceiling);
            let share = run.generator.ceiling_share.unwrap();
            assert_eq!((share * 100.0).round() as i64, percent);
            let marked = |wanted: fn(&Mark) -> bool| run.marks.iter().any(wanted);
            assert_eq!(
                marked(|mark| matches!(mark, Mark::RateIsLowerBound { .. })),
                rate,
                "{requests} {consumed}"
            );
            assert_eq!(
                marked(|mark| matches!(mark, Mark::LatenciesAreLowerQuality { .. })),
                latency,
                "{requests} {consumed}"
            );
        }
    }

    #[test]
    fn a_ceiling_that_was_not_measured_is_said_to_be_unknown() {
        for (requests, consumed) in [(10, 0), (0, 10), (10, 10)] {
            let mut run = run(requests, consumed);
            let half = Ceiling {
                requests_per_second: Some(100.0).filter(|_| consumed > 0),
                consumed_mib_per_second: None,
            };
            set_ceiling(&mut run, &half);
            assert_eq!(run.marks, [Mark::CeilingUnknown]);
            assert_eq!(run.generator.ceiling_share, None);
        }
    }
}
