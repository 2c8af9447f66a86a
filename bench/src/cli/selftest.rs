//! `selftest`: what this generator can do at most, on this machine.

use super::run::Output;
use super::{complain, new_report, say};
use crate::ceiling::{self, Span};
use crate::report::{number, time};
use crate::result::{Run, Stage};
use crate::workload::{List, Settings};
use clap::Args;
use std::process::ExitCode;

/// What can be typed behind `selftest`.
#[derive(Args, Clone, Debug)]
pub struct SelftestArgs {
    /// Only print: exit with 0 below the floor too.
    #[arg(long)]
    pub print_only: bool,
    #[command(flatten)]
    pub settings: Settings,
    #[command(flatten)]
    pub output: Output,
}

/// The shapes that are measured: name, batch bytes, in flight, and what has to be reached for each thread.
const SHAPES: [(&str, u32, u32, Floor); 2] = [
    ("64 KiB batches", 65_536, 16, Floor::GigabytesPerSecond(3.0)),
    (
        "1 KiB requests",
        1_200,
        64,
        Floor::RequestsPerSecond(300_000.0),
    ),
];

#[derive(Clone, Copy)]
enum Floor {
    GigabytesPerSecond(f64),
    RequestsPerSecond(f64),
}

/// Processors for the generator alone, so that the sink gets the others; none where there are too few.
fn own_processors(threads: u32) -> List {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    if threads as usize >= all {
        return List(Vec::new());
    }
    List((0..threads).map(|cpu| cpu.to_string()).collect())
}

/// Measures each shape.
pub fn selftest(args: SelftestArgs) -> ExitCode {
    let mut report = new_report();
    let mut reached = true;
    let mut output = args.output;
    // Nobody wants files of it who does not name them.
    output.report.get_or_insert("none".into());
    let writes = output.json.is_some() || output.report.as_deref() != Some("none");
    if let Err(problem) = output.check("selftest") {
        return complain(&problem);
    }
    let span = Span {
        warmup: args.settings.warmup.unwrap_or(ceiling::USUAL.warmup),
        duration: args.settings.duration.unwrap_or(ceiling::USUAL.duration),
    };
    for (name, batch_bytes, in_flight, floor) in SHAPES {
        let mut settings = args.settings.clone();
        settings.closed = Some(true);
        settings.batch_bytes.get_or_insert(batch_bytes);
        settings.in_flight.get_or_insert(in_flight);
        let threads = settings.threads.unwrap_or(1);
        settings.cpus.get_or_insert_with(|| own_processors(threads));
        let measured = settings
            .resolve(name, Vec::new())
            .and_then(|workload| ceiling::of_producing(&workload, span));
        let mut run = match measured {
            Ok(run) => run,
            Err(problem) => return complain(&problem),
        };
        run.label = name.to_owned();
        let summary = run.summary();
        let threads = run.generator.threads as f64;
        let gigabytes = summary.mib_per_second * (1 << 20) as f64 / 1e9;
        let (share, wanted) = match floor {
            Floor::GigabytesPerSecond(floor) => {
                (gigabytes / threads / floor, format!("{floor} GB/s"))
            }
            Floor::RequestsPerSecond(floor) => (
                summary.requests_per_second / threads / floor,
                format!("{}/s", number(floor, 0)),
            ),
        };
        reached &= share >= 1.0;
        tell(
            &output,
            &format!(
                "{name}: {gigabytes:.2} GB/s, {} requests/s with {threads} thread(s), p50 {}; {:.0} % of the floor of {wanted} for \
             each thread; generator and sink use {:.2} processors\n",
                number(summary.requests_per_second, 0),
                run.percentiles(Stage::Produce)
                    .map_or("-".into(), |found| time(found.p50)),
                share * 100.0,
                summary.generator_cores,
            ),
        );
        report.runs.push(run);
    }
    let fetching = args.settings.clone();
    match fetch_ceiling(fetching, span, &output) {
        Ok(run) => report.runs.push(run),
        Err(problem) => return complain(&problem),
    }
    if writes && let Err(problem) = output.tell(&report, "selftest") {
        return complain(&problem);
    }
    if !reached {
        let problem = "the floor is not reached: this machine is too slow or busy, and reports mark rates near the ceiling";
        let code = complain(problem);
        return if args.print_only {
            ExitCode::SUCCESS
        } else {
            code
        };
    }
    ExitCode::SUCCESS
}

/// Says it where standard output is not for the JSON.
fn tell(output: &Output, text: &str) {
    if output.is_json() {
        eprint!("{text}");
    } else {
        say(text);
    }
}

/// Measures fetching, which has no floor, and tells it.
fn fetch_ceiling(mut settings: Settings, span: Span, output: &Output) -> Result<Run, String> {
    let threads = settings.threads.unwrap_or(1);
    settings.connections = Some(0);
    settings.consumers.get_or_insert(8);
    settings.cpus.get_or_insert_with(|| own_processors(threads));
    let name = "fetches of 64 KiB batches";
    let workload = settings.resolve(name, Vec::new())?;
    let mut run = ceiling::of_consuming(&workload, span)?;
    run.label = name.to_owned();
    let summary = run.summary();
    let gigabytes = summary.consumed_mib_per_second * (1 << 20) as f64 / 1e9;
    tell(
        output,
        &format!(
            "{name}: {gigabytes:.2} GB/s, the CRC of each checked, with {threads} thread(s); generator and sink use {:.2} processors\n",
            summary.generator_cores,
        ),
    );
    Ok(run)
}
