//! `compare`: the same workload on two brokers, in alternating rounds of one run.

use super::run::{Output, measure_ceiling, resolve};
use super::{complain, exit_code, new_report, say};
use crate::bootstrap::{ROUNDS_MIN, ratio};
use crate::load::{self, Watch};
use crate::report::{Live, compared};
use crate::result::{Comparison, Ended, Ratio, Report, Run, Stage};
use crate::workload::{List, Rate, Settings, Workload};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

const ROUNDS_USUAL: usize = 5;

/// What can be typed behind `compare`.
#[derive(Args, Clone, Debug)]
pub struct CompareArgs {
    /// The workload's file; without one the flags say everything.
    pub workload: Option<PathBuf>,
    /// The first broker, HOST:PORT.
    #[arg(long)]
    pub a: String,
    /// Its process.
    #[arg(long, default_value_t = 0)]
    pub a_pid: u32,
    /// Its name in reports.
    #[arg(long)]
    pub a_label: Option<String>,
    /// The second broker, HOST:PORT.
    #[arg(long)]
    pub b: String,
    /// Its process.
    #[arg(long, default_value_t = 0)]
    pub b_pid: u32,
    /// Its name in reports.
    #[arg(long)]
    pub b_label: Option<String>,
    /// How often each broker gets its turn.
    #[arg(long, default_value_t = ROUNDS_USUAL)]
    pub rounds: usize,
    #[command(flatten)]
    pub settings: Settings,
    #[command(flatten)]
    pub output: Output,
}

/// Compares what was typed.
pub fn compare(args: CompareArgs) -> ExitCode {
    let mut report = new_report();
    let base = match resolve(args.workload.clone(), args.settings.clone(), Vec::new()) {
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
    let done = rounds(&sides, args.rounds, &mut report, &mut live);
    measure_ceiling(&base, &mut report.runs, &mut live);
    drop(live);
    if let Err(problem) = &done {
        eprintln!("millstream-bench: {problem}");
    }
    if report.runs.is_empty() {
        return ExitCode::FAILURE;
    }
    report.comparison = Some(comparison(&sides, &report.runs));
    if let Err(problem) = args.output.tell(&report, &base.name) {
        return complain(&problem);
    }
    if let (false, Some(comparison)) = (args.output.is_json(), &report.comparison) {
        say(&format!("\n{}\n", compared(comparison)));
        if comparison.rounds < ROUNDS_MIN {
            say(&format!(
                "fewer than {ROUNDS_MIN} rounds: no difference is claimed\n"
            ));
        } else if comparison.rounds < ROUNDS_USUAL {
            say("the fewer rounds, the wider the intervals: five are usual\n");
        }
    }
    match done {
        Ok(()) => exit_code(&report.runs),
        Err(_) => ExitCode::FAILURE,
    }
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
    rounds: usize,
    report: &mut Report,
    watch: &mut dyn Watch,
) -> Result<(), String> {
    for round in 0..rounds {
        for turn in 0..2 {
            let side = &sides[(round + turn) % 2];
            watch.stage(&format!("round {} of {rounds}: {}", round + 1, side.label));
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
    for stage in [Stage::Produce, Stage::EndToEnd, Stage::Fetch] {
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
            cost.map(|cost| cost.disk_mib_per_second),
        ),
    ]);
    figures
}

/// The figures that both have in every round.
fn comparison(sides: &[Workload; 2], runs: &[Run]) -> Comparison {
    let of = |label: &str| -> Vec<Vec<Figure>> {
        let mine = runs.iter().filter(|run| run.label == label);
        mine.map(figures).collect()
    };
    let (mut a, mut b) = (of(&sides[0].label), of(&sides[1].label));
    // A round that was not finished has no counterpart.
    let rounds = a.len().min(b.len());
    a.truncate(rounds);
    b.truncate(rounds);
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
        a: sides[0].label.clone(),
        b: sides[1].label.clone(),
        rounds,
        figures: ratios.collect(),
    }
}
