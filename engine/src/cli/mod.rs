//! The command line: what can be typed and what comes back.
//!
//! Always: (1) an error says what is wrong and what to do next, on standard error; (2) with `--json` standard output holds
//! JSON and nothing else; (3) the exit code tells success (0), a refusal (1), wrong use (2) and the dead ends of a node.
//! Leaves to others: running a node (`node`), speaking Kafka's protocol (`client`).

mod args;
mod consume;
mod doctor;
mod format;
mod group;
mod log;
mod outcome;
mod produce;
mod reset;
mod serve;
#[cfg(test)]
mod tests;
mod timestamp;
mod topic;
mod topic_keys;

use args::{Command, Millstream};
use clap::Parser;
pub use outcome::Failure;
use std::process::ExitCode;

/// Runs the command line.
pub fn main() -> ExitCode {
    let command = Millstream::parse().command;
    if let Command::Topic(_) | Command::Group(_) | Command::Doctor(_) = command {
        end_with_reader();
    }
    let outcome = match command {
        Command::Serve(args) => serve::run(args),
        Command::Topic(args) => topic::run(args),
        Command::Group(args) => group::run(args),
        Command::Produce(args) => produce::run(args),
        Command::Consume(args) => consume::run(&args),
        Command::Log(args) => log::run(&args),
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

/// A command that only prints what it found ends, without a word, when nobody reads on (`millstream topic list | head`). Those that
/// have something to bring to its end see the error themselves, and sockets of the standard library raise no signal.
fn end_with_reader() {
    // SAFETY: no thread runs yet, and the default action needs no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}
