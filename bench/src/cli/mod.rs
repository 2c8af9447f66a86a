//! The commands: what is typed becomes workloads, what they give becomes reports and an exit code.
//!
//! Always: exit code 0 means a whole and undamaged run, 1 that it ended early, lost records or could not begin, 2 that the
//! command line cannot be read, 3 that the generator itself was late, so that the numbers are not valid. Nothing that succeeded is a failure too.

mod compare;
mod help;
mod run;
mod selftest;
mod short;

pub use compare::{CompareArgs, compare};
pub use help::explained;
pub use run::{RunArgs, run};
pub use selftest::{SelftestArgs, selftest};
pub use short::{FetchArgs, ProduceArgs, WatchArgs, fetch, produce, watch};

use crate::probe;
use crate::result::{FORMAT, Mark, Report, Run};
use std::io::Write;
use std::process::ExitCode;

/// A report without runs.
fn new_report() -> Report {
    Report {
        format: FORMAT,
        generator_version: env!("CARGO_PKG_VERSION").into(),
        command: std::env::args().collect(),
        environment: probe::environment(),
        ..Report::default()
    }
}

/// What runs are worth, as an exit code.
fn exit_code(runs: &[Run]) -> ExitCode {
    let marks = || runs.iter().flat_map(|run| &run.marks);
    if let Some(failed) = marks().find(|mark| mark.is_failure()) {
        eprintln!("millstream-bench: {failed}");
        return ExitCode::FAILURE;
    }
    if marks().any(|mark| matches!(mark, Mark::GeneratorLate { .. })) {
        return ExitCode::from(3);
    }
    ExitCode::SUCCESS
}

/// Prints to standard output, where somebody may have stopped reading.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Says what went wrong.
fn complain(problem: &str) -> ExitCode {
    eprintln!("millstream-bench: {problem}");
    ExitCode::FAILURE
}
