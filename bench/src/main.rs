//! A load generator for any broker that speaks Kafka's protocol: pre-built frames over plain sockets, one thread.
//!
//! Always: (1) nothing is allocated, compressed or checksummed while the clock runs, so that the broker is what is
//! measured; (2) at a fixed rate latency counts from the moment a request was due, whether or not it could be sent.
//! Leaves to others: what real clients see (`tests/interop`).

mod args;
mod simple;

use args::{Bench, Command};
use clap::Parser;
use millstream_bench::cli;
use simple::{fetch, process, produce};
use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = match Bench::parse().command {
        Command::Run(args) => return cli::run(*args),
        Command::Compare(args) => return cli::compare(*args),
        Command::Selftest(args) => return cli::selftest(*args),
        Command::Produce(args) => produce::run(&args),
        Command::Fetch(args) => fetch::run(&args),
        Command::Watch(args) => process::watch(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("millstream-bench: {problem}");
            ExitCode::FAILURE
        }
    }
}
