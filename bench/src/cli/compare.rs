//! `compare`: the same workload on two brokers, in alternating rounds of one run.

use super::run::{Output, measure_ceiling, resolve};
use super::{complain, exit_code, new_report, say};
use crate::bootstrap::ratio;
use crate::load::{self, Watch, shell};
use crate::report::{Live, compared};
use crate::result::{
    Comparison, Ended, Mark, ROUNDS_MIN, ROUNDS_USUAL, Ratio, Report, Run, Severity, Stage,
};
use crate::workload::{Fault, List, Rate, Settings, Workload};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// What can be typed behind `compare`.
#[derive(Args, Clone, Debug)]
pub struct CompareArgs {
    /// The workload's file; without one the flags say everything.
    pub workload: Option<PathBuf>,
    /// The first broker.
    #[arg(long, value_name = "HOST:PORT")]
    pub a: String,
    /// Its process.
    #[arg(long, value_name = "PID", default_value_t = 0)]
    pub a_pid: u32,
    /// Its name in reports.
    #[arg(long, value_name = "NAME")]
    pub a_label: Option<String>,
    /// The second broker.
    #[arg(long, value_name = "HOST:PORT")]
    pub b: String,
    /// Its process.
    #[arg(long, value_name = "PID", default_value_t = 0)]
    pub b_pid: u32,
    /// Its name in reports.
    #[arg(long, value_name = "NAME")]
    pub b_label: Option<String>,
    /// How often each broker gets its turn.
    #[arg(long, value_name = "COUNT", default_value_t = ROUNDS_USUAL)]
    pub rounds: usize,
    /// Run this command before each run of a round, such as `sync`; it finds the broker in BENCH_BROKER, BENCH_PID and BENCH_TOPIC.
    #[arg(long, value_name = "COMMAND")]
    pub between: Option<String>,
    /// Run a command in every run, so many seconds after its measured time began, with the broker in the same variables; may be
    /// given again.
    #[arg(
        long = "fault",
        value_name = "SECONDS:COMMAND",
        help_heading = "Workload"
    )]
    pub faults: Vec<Fault>,
    #[command(flatten)]
    pub settings: Settings,
    #[command(flatten)]
    pub output: Output,
}

/// Compares what was typed.
pub fn compare(args: CompareArgs) -> ExitCode {
    let mut report = new_report();
    let base = match resolve(
        args.workload.clone(),
        args.settings.clone(),
        args.faults.clone(),
    ) {
        Ok(base) if matches!(base.rate, Rate::Sweep(..)) => {
            return complain(
                "`compare` and a sweep exclude each other: give one rate, or `closed`",
            );
        }
        Ok(base) => base,
        Err(problem) => return complain(&problem),
    };
    if args.rounds == 0 {
        return complain("`rounds` is at least 1");
    }
    let said = &args.settings;
    if said.brokers.is_some() || said.pid.is_some() || said.label.is_some() {
        return complain(
            "`compare` has two brokers: `--a`, `--a-pid` and `--a-label`, and the same with `b`",
        );
    }
    if let Err(problem) = args.output.check(&base.name) {
        return complain(&problem);
    }
    let sides = sides(&args, &base);
    let mut live = Live::new(&base.name, args.output.quiet);
    let done = rounds(&sides, &args, &mut report, &mut live);
    measure_ceiling(&base, &mut report.runs, &mut live);
    drop(live);
    if let Err(problem) = &done {
        eprintln!("millstream-bench: {problem}");
    }
    if report.runs.is_empty() {
        return ExitCode::FAILURE;
    }
    let labels = [sides[0].label.as_str(), sides[1].label.as_str()];
    report.comparison = Some(comparison(labels, &report.runs));
    if let Err(problem) = args.output.tell(&report, &base.name) {
        return complain(&problem);
    }
    if let (false, Some(comparison)) = (args.output.is_json(), &report.comparison) {
        say(&format!("\n{}\n", compared(comparison)));
    }
    let found = report.comparison.unwrap_or_default();
    let invalid = |run: &Run| run.severity() == Severity::Invalid;
    match done {
        // What makes a round not count is not in the figures; the others are enough.
        Ok(()) if found.rounds >= ROUNDS_MIN && !report.runs.iter().any(has_failed) => {
            ExitCode::SUCCESS
        }
        Ok(()) if found.excluded.is_empty() || report.runs.iter().any(invalid) => {
            exit_code(&report.runs)
        }
        Ok(()) => complain(&format!(
            "requests failed in {} of {} rounds: too few count",
            found.excluded.len(),
            args.rounds
        )),
        Err(_) => ExitCode::FAILURE,
    }
}

fn has_failed(run: &Run) -> bool {
    run.marks.iter().any(|mark| mark.is_failure())
}

/// The workload of each broker. Their labels differ, so that a broker can be compared with itself.
fn sides(args: &CompareArgs, base: &Workload) -> [Workload; 2] {
    let of = |broker: &str, pid: u32, label: &Option<String>| Workload {
        brokers: List(vec![broker.to_owned()]),
        pid,
        label: label.clone().unwrap_or_else(|| broker.to_owned()),
        ..base.clone()
    };
    let mut sides = [
        of(&args.a, args.a_pid, &args.a_label),
        of(&args.b, args.b_pid, &args.b_label),
    ];
    if sides[0].label == sides[1].label {
        sides[0].label += " (a)";
        sides[1].label += " (b)";
    }
    sides
}

/// Runs both in turn; who begins changes with every round.
fn rounds(
    sides: &[Workload; 2],
    args: &CompareArgs,
    report: &mut Report,
    watch: &mut dyn Watch,
) -> Result<(), String> {
    let rounds = args.rounds;
    for round in 0..rounds {
        for turn in 0..2 {
            let side = &sides[(round + turn) % 2];
            watch.stage(&format!("round {} of {rounds}: {}", round + 1, side.label));
            if let Some(command) = &args.between {
                prepare(command, side)?;
            }
            let result = load::run(side, watch)?;
            let ended = result.ended.clone();
            report.runs.push(result);
            if let Ended::Early(reason) = ended {
                return Err(format!("{}: {reason}", side.label));
            }
        }
    }
    Ok(())
}

/// Runs the command that comes before a run.
fn prepare(command: &str, side: &Workload) -> Result<(), String> {
    let status = shell(command, side).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!(
            "`{command}` before a run of {}: {status}",
            side.label
        )),
        Err(error) => Err(format!("`{command}` cannot be run: {error}")),
    }
}

/// A figure of a run: name, unit, whether more is better, its value.
type Figure = (String, &'static str, bool, Option<f64>);

fn figures(run: &Run) -> Vec<Figure> {
    let summary = run.summary();
    let positive = |value: f64| (value > 0.0).then_some(value);
    let mut figures: Vec<Figure> = vec![
        (
            "produced".into(),
            "MiB/s",
            true,
            positive(summary.mib_per_second),
        ),
        (
            "requests".into(),
            "/s",
            true,
            positive(summary.requests_per_second),
        ),
        (
            "consumed".into(),
            "MiB/s",
            true,
            positive(summary.consumed_mib_per_second),
        ),
    ];
    let broker_made = |stage: &Stage| *stage != Stage::Lateness;
    for stage in Stage::ALL.into_iter().filter(broker_made) {
        let found = run.percentiles(stage);
        for (name, value) in [
            ("p50", found.map(|found| found.p50)),
            ("p99", found.map(|found| found.p99)),
            ("p99.9", found.map(|found| found.p999)),
            ("max", found.map(|found| found.max)),
        ] {
            let name = format!("{} {name}", stage.name());
            figures.push((name, "us", false, value.map(|value| value as f64)));
        }
    }
    let cost = summary.broker;
    figures.extend([
        (
            "broker CPU".into(),
            "s/GiB",
            false,
            cost.map(|cost| cost.cpu_seconds_per_gib),
        ),
        (
            "broker CPU per request".into(),
            "us",
            false,
            cost.map(|cost| cost.cpu_us_per_request),
        ),
        (
            "broker memory".into(),
            "MiB",
            false,
            cost.map(|cost| cost.rss_bytes_max as f64 / (1 << 20) as f64),
        ),
        (
            "disk writes".into(),
            "MiB/s",
            false,
            cost.and_then(|cost| cost.disk_mib_per_second),
        ),
    ]);
    figures
}

/// The figures that both have in every round that counts: one in which a run is not valid, or in which requests failed, counts for
/// neither.
fn comparison(labels: [&str; 2], runs: &[Run]) -> Comparison {
    let of = |label: &'_ str| {
        let label = label.to_owned();
        runs.iter().filter(move |run| run.label == label)
    };
    let (mut a, mut b) = (Vec::new(), Vec::new());
    let (mut counted, mut excluded) = (Vec::new(), Vec::new());
    // A round that was not finished has no counterpart.
    for (round, pair) in of(labels[0]).zip(of(labels[1])).enumerate() {
        match objection(pair.0).or_else(|| objection(pair.1)) {
            Some(reason) => excluded.push(format!("round {}: {reason}", round + 1)),
            None => {
                counted.push(round);
                a.push(figures(pair.0));
                b.push(figures(pair.1));
            }
        }
    }
    let count = a.first().map_or(0, Vec::len);
    let ratios = (0..count).filter_map(|at| -> Option<Ratio> {
        let values = |side: &[Vec<Figure>]| side.iter().map(|round| round[at].3).collect();
        let (a_values, b_values): (Option<Vec<f64>>, Option<Vec<f64>>) = (values(&a), values(&b));
        let (a_values, b_values) = (a_values?, b_values?);
        // What is 0 has no ratio.
        let have_ratios = a_values.iter().chain(&b_values).all(|value| *value > 0.0);
        let (name, unit, higher, _) = &a[0][at];
        have_ratios.then(|| ratio(name, unit, *higher, a_values, b_values))
    });
    Comparison {
        a: labels[0].to_owned(),
        b: labels[1].to_owned(),
        rounds: a.len(),
        counted,
        excluded,
        figures: ratios.collect(),
    }
}

/// Why a run does not count, if it does not.
///
/// A request that failed has no latency: a broker that refuses what would be slow, or closes a connection, would look better for it.
/// Where the workload has faults it is they who make requests fail, in every round; then these count, and the report has the
/// failures of each run.
fn objection(run: &Run) -> Option<String> {
    let counts_out = |mark: &&Mark| match mark {
        Mark::Failures { .. } => run.faults.is_empty(),
        mark => mark.severity() == Severity::Invalid,
    };
    let mark = run.marks.iter().find(counts_out)?;
    Some(format!("{}: {mark}", run.label))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{FaultRun, Flow, Second, Verdict};

    /// A run of one second.
    fn run(label: &str, requests: u64, is_late: bool) -> Run {
        let late = Mark::GeneratorLate { late: 5, due: 10 };
        Run {
            label: label.into(),
            seconds: vec![Second {
                seconds: 1.0,
                produced: Flow {
                    requests,
                    records: requests,
                    bytes: requests << 10,
                },
                ..Second::default()
            }],
            marks: is_late.then_some(late).into_iter().collect(),
            ..Run::default()
        }
    }

    fn rounds(late: &[usize]) -> Comparison {
        let rounds = (0..4).flat_map(|round| {
            let a = run("a", 2_000 + round as u64, late.contains(&round));
            let b = run("b", 1_000 + round as u64, false);
            // Who begins changes with every round.
            if round % 2 == 0 { [a, b] } else { [b, a] }
        });
        comparison(["a", "b"], &rounds.collect::<Vec<_>>())
    }

    #[test]
    fn a_round_in_which_a_run_is_not_valid_is_named_and_counts_for_neither() {
        let found = rounds(&[1]);
        assert_eq!((found.rounds, found.excluded.len()), (3, 1));
        assert!(
            found.excluded[0].starts_with("round 2: a: the generator fell behind"),
            "{:?}",
            found.excluded
        );
        let requests = &found.figures[1];
        assert_eq!(requests.a, [2_000.0, 2_002.0, 2_003.0]);
        assert_eq!(requests.b, [1_000.0, 1_002.0, 1_003.0]);
        assert_eq!(requests.verdict, Verdict::ABetter);
    }

    #[test]
    fn a_round_in_which_requests_failed_counts_only_where_the_workload_has_faults() {
        let round = |failing: bool, with_fault: bool| {
            let mut b = run("b", 1_000, false);
            b.marks
                .extend(failing.then_some(Mark::Failures { count: 7 }));
            b.faults.extend(with_fault.then(FaultRun::default));
            [run("a", 2_000, false), b]
        };
        let found = |failing, with_fault| {
            let rounds = [round(false, with_fault), round(failing, with_fault)];
            comparison(["a", "b"], &rounds.concat())
        };
        let excluded = found(true, false);
        assert_eq!(excluded.counted, [0]);
        assert_eq!(excluded.excluded, ["round 2: b: 7 requests failed"]);
        assert_eq!(found(true, true).counted, [0, 1]);
        assert_eq!(found(false, false).counted, [0, 1]);
    }

    #[test]
    fn stages_of_groups_and_transactions_have_ratios_too() {
        let rounds = (1..=3).flat_map(|round| {
            [("a", round), ("b", 2 * round)].map(|(label, us)| {
                let mut made = run(label, 1_000, false);
                for stage in Stage::ALL {
                    made.stages.entry(stage).or_default().record_us(us * 1_000);
                }
                made
            })
        });
        let found = comparison(["a", "b"], &rounds.collect::<Vec<_>>());
        for name in [
            "transaction p99",
            "rebalance p50",
            "unavailable max",
            "end-to-end p99.9",
        ] {
            let figure = found.figures.iter().find(|figure| figure.name == name);
            let figure = figure.unwrap_or_else(|| panic!("{name}"));
            assert!((figure.ratio - 0.5).abs() < 0.01, "{figure:?}");
        }
        let names = found.figures.iter().map(|figure| &figure.name);
        assert!(names.into_iter().all(|name| !name.contains("lateness")));
    }

    #[test]
    fn too_few_rounds_that_count_claim_nothing() {
        let found = rounds(&[1, 2]);
        assert_eq!((found.rounds, found.excluded.len()), (2, 2));
        for figure in &found.figures {
            assert_eq!(figure.verdict, Verdict::TooFewRounds);
        }
        let text = compared(&found);
        assert!(
            text.contains("2 of at least 3 rounds that count: no difference is claimed"),
            "{text}"
        );
        assert!(text.contains("does not count: round 2: a:"), "{text}");
        assert_eq!(rounds(&[0, 1, 2, 3]).figures.len(), 0);
    }
}
