//! The command line: what can be typed and what comes back.
//!
//! Always: (1) an error says what is wrong and what to do next, on standard error; (2) with `--json` standard output holds
//! JSON and nothing else; (3) the exit code tells success (0), a refusal (1), wrong use (2) and the dead ends of a node.
//! Leaves to others: running a node (`node`), speaking Kafka's protocol (`client`).

mod args;
mod doctor;
mod outcome;
mod serve;
#[cfg(test)]
mod tests;

use args::{Command, Millstream};
use clap::Parser;
pub use outcome::Failure;
use std::process::ExitCode;

/// Runs the command line.
pub fn main() -> ExitCode {
    let outcome = match Millstream::parse().command {
        Command::Serve(args) => serve::run(args),
        Command::Doctor(args) => doctor::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit_code()
        }
    }
}
