//! `run`: one workload, or a sweep of rates.

use super::{complain, exit_code, new_report, say};
use crate::ceiling;
use crate::load::{self, Ceiling, Watch, set_ceiling};
use crate::report::{Live, Paths, number, table, time, writable, write};
use crate::result::{Ended, Mark, Report, Run, Severity, Stage, SweepAnswer, SweepStep};
use crate::workload::{self, Fault, Rate, Settings, Workload, WorkloadFile};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// A step of a sweep whose rate of answers is below this part of what was due has not held.
const SWEEP_TAKEN_MIN: f64 = 0.98;

/// What can be typed behind `run`.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// The workload's file; without one the flags say everything.
    pub workload: Option<PathBuf>,
    #[command(flatten)]
    pub settings: Settings,
    /// Run a command so many seconds after the measured time began, with the broker in BENCH_BROKER, BENCH_PID and BENCH_TOPIC;
    /// may be given again.
    #[arg(
        long = "fault",
        value_name = "SECONDS:COMMAND",
        help_heading = "Workload"
    )]
    pub faults: Vec<Fault>,
    #[command(flatten)]
    pub output: Output,
}

/// Where reports go.
#[derive(Args, Clone, Debug)]
pub struct Output {
    /// Write everything as JSON to this file, - for standard output instead of the table.
    #[arg(long, value_name = "FILE")]
    pub json: Option<String>,
    /// The beginning of the names of the report's files (.html, .hlog, .hgrm); `none` for no files.
    #[arg(long, value_name = "NAME")]
    pub report: Option<String>,
    /// No line every second.
    #[arg(long)]
    pub quiet: bool,
}

impl Output {
    /// Whether standard output gets the JSON.
    pub fn is_json(&self) -> bool {
        self.json.as_deref() == Some("-")
    }

    fn paths(&self, name: &str) -> Paths {
        Paths {
            json: self
                .json
                .as_ref()
                .filter(|_| !self.is_json())
                .map(PathBuf::from),
            base: match self.report.as_deref() {
                Some("none") => None,
                Some(base) => Some(PathBuf::from(base)),
                None => Some(PathBuf::from(format!("{name}-report"))),
            },
        }
    }

    /// Refuses before a run what could not be written after it.
    pub fn check(&self, name: &str) -> Result<(), String> {
        writable(&self.paths(name))
    }

    /// Writes the files and prints the table.
    pub fn tell(&self, report: &Report, name: &str) -> Result<(), String> {
        let written = write(report, &self.paths(name));
        if self.is_json() {
            let text = serde_json::to_string(report).map_err(|error| error.to_string())?;
            say(&format!("{text}\n"));
        } else {
            say(&table(&report.runs));
            if let Some(answer) = &report.sweep_answer {
                say(&format!("\n{}\n", answer.text));
            }
        }
        let written = written?;
        let names: Vec<String> = written
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        if !names.is_empty() && !self.quiet {
            eprintln!("written: {}", names.join(", "));
        }
        Ok(())
    }
}

/// Runs what was typed.
pub fn run(args: RunArgs) -> ExitCode {
    let mut report = new_report();
    let workload = match resolve(args.workload, args.settings, args.faults) {
        Ok(workload) => workload,
        Err(problem) => return complain(&problem),
    };
    if let Err(problem) = args.output.check(&workload.name) {
        return complain(&problem);
    }
    let mut live = Live::new(&workload.name, args.output.quiet);
    let done = run_workload(&workload, &mut report, &mut live);
    measure_ceiling(&workload, &mut report.runs, &mut live);
    drop(live);
    if let Err(problem) = done {
        if report.runs.is_empty() {
            return complain(&problem);
        }
        // A sweep that cannot go on keeps its steps.
        let last = report.runs.last_mut().expect("there is one");
        last.ended = Ended::Early(problem.clone());
        last.marks.push(Mark::EndedEarly { reason: problem });
    }
    match args.output.tell(&report, &workload.name) {
        Ok(()) => exit_code(&report.runs),
        Err(problem) => complain(&problem),
    }
}

/// The workload of a file and of flags.
pub fn resolve(
    path: Option<PathBuf>,
    settings: Settings,
    mut faults: Vec<Fault>,
) -> Result<Workload, String> {
    let file = match &path {
        Some(path) => workload::read(path)?,
        None => WorkloadFile {
            name: "bench".into(),
            ..WorkloadFile::default()
        },
    };
    faults.extend(file.faults);
    settings.over(file.settings).resolve(&file.name, faults)
}

/// Runs the workload, step by step if it sweeps.
fn run_workload(
    workload: &Workload,
    report: &mut Report,
    watch: &mut dyn Watch,
) -> Result<(), String> {
    let Rate::Sweep(from, to) = workload.rate else {
        report.runs.push(load::run(workload, watch)?);
        return Ok(());
    };
    let mut rate = from;
    while rate <= to {
        watch.stage(&format!("{rate:.0} requests/s"));
        let step = Workload {
            rate: Rate::Constant(rate),
            label: format!("{rate:.0}/s"),
            ..workload.clone()
        };
        let result = load::run(&step, watch)?;
        let step = sweep_step(workload, rate, &result, report.runs.len());
        let go_on = step.held && result.ended == Ended::Complete;
        report.sweep.push(step);
        report.runs.push(result);
        report.sweep_answer = Some(sweep_answer(workload, &report.sweep, &report.runs));
        if !go_on {
            break;
        }
        rate *= workload.sweep_factor;
    }
    Ok(())
}

/// What the steps of a sweep say, the last of which may have ended it.
fn sweep_answer(workload: &Workload, steps: &[SweepStep], runs: &[Run]) -> SweepAnswer {
    let bound_ms = workload.sweep_p99_ms;
    let best = steps.iter().rfind(|step| step.held);
    let rate = |step: &SweepStep| number(step.rate, 0);
    let mut text = match best {
        Some(best) => format!(
            "the highest rate with p99 within {bound_ms} ms is {} requests/s (p99 {})",
            rate(best),
            time(best.p99_us)
        ),
        None => format!("no rate was within a p99 of {bound_ms} ms"),
    };
    text += &match steps.last() {
        Some(last) if !last.held && is_invalid(&runs[last.run]) => format!(
            "; at {}/s the run was not valid, which says nothing of the broker",
            rate(last)
        ),
        Some(last) if !last.held => format!(
            "; {}/s were due, {}/s answered, with p99 {}",
            rate(last),
            number(last.answered, 0),
            time(last.p99_us)
        ),
        _ => "; higher ones were not tried".to_owned(),
    };
    SweepAnswer {
        bound_ms,
        highest_rate: best.map(|best| best.rate),
        text,
    }
}

fn is_invalid(run: &Run) -> bool {
    run.severity() == Severity::Invalid
}

fn sweep_step(workload: &Workload, rate: f64, result: &Run, run: usize) -> SweepStep {
    let answered = result.summary().requests_per_second;
    let (p50_us, p99_us) = result
        .percentiles(Stage::Produce)
        .map_or((0, 0), |found| (found.p50, found.p99));
    let bound_us = workload.sweep_p99_ms * 1000.0;
    SweepStep {
        rate,
        answered,
        p50_us,
        p99_us,
        held: p99_us as f64 <= bound_us
            && answered >= rate * SWEEP_TAKEN_MIN
            && !is_invalid(result),
        run,
    }
}

/// Measures the generator's ceiling, after the runs so that what cannot be run is said at once, and sets what follows from it.
pub fn measure_ceiling(workload: &Workload, runs: &mut [Run], watch: &mut dyn Watch) {
    if runs.is_empty() {
        return;
    }
    let mut found = Ceiling::default();
    if workload.ceiling && !watch.is_interrupted() {
        watch.stage("the generator's own ceiling");
        match ceiling::measure(workload) {
            Ok(ceiling) => found = ceiling,
            Err(problem) => watch.stage(&format!("it cannot be measured: {problem}")),
        }
    }
    for run in runs {
        set_ceiling(run, &found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer of a sweep whose steps held or not, the last of them in a run that was valid or not.
    fn answer(held: &[bool], valid: bool) -> SweepAnswer {
        let settings = Settings {
            rate: Some(Rate::Sweep(100.0, 800.0)),
            ..Settings::default()
        };
        let workload = settings.resolve("sweep", Vec::new()).unwrap();
        let steps: Vec<SweepStep> = (0i32..)
            .zip(held)
            .map(|(run, held)| SweepStep {
                rate: 100.0 * 2f64.powi(run),
                answered: 99.0 * 2f64.powi(run),
                p99_us: if *held { 2_000 } else { 30_000 },
                held: *held,
                run: run as usize,
                ..SweepStep::default()
            })
            .collect();
        let mut runs = vec![Run::default(); held.len()];
        if !valid {
            let last = runs.last_mut().unwrap();
            last.marks.push(Mark::GeneratorLate { late: 9, due: 10 });
        }
        sweep_answer(&workload, &steps, &runs)
    }

    #[test]
    fn a_sweep_says_the_highest_rate_within_its_bound_and_what_ended_it() {
        for (held, valid, rate, text) in [
            (
                &[true, true, false][..],
                true,
                Some(200.0),
                "the highest rate with p99 within 10 ms is 200 requests/s (p99 2.00 ms); 400/s were due, 396/s answered, with \
                 p99 30.0 ms",
            ),
            (
                &[true, true],
                true,
                Some(200.0),
                "the highest rate with p99 within 10 ms is 200 requests/s (p99 2.00 ms); higher ones were not tried",
            ),
            (
                &[false],
                true,
                None,
                "no rate was within a p99 of 10 ms; 100/s were due, 99/s answered, with p99 30.0 ms",
            ),
            (
                &[true, false],
                false,
                Some(100.0),
                "the highest rate with p99 within 10 ms is 100 requests/s (p99 2.00 ms); at 200/s the run was not valid, which says \
                 nothing of the broker",
            ),
        ] {
            let found = answer(held, valid);
            assert_eq!((found.highest_rate, found.text.as_str()), (rate, text));
        }
    }
}
