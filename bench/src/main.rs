//! A load generator for any broker that speaks Kafka's protocol.
//!
//! Leaves to others: everything but the choice of the command (`millstream_bench::cli`); what real clients see
//! (`tests/interop`).

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use millstream_bench::cli;
use std::process::ExitCode;

#[derive(Parser, Debug)]
#[command(
    name = "millstream-bench",
    version,
    about = "Honest load for any broker that speaks Kafka's protocol"
)]
struct Bench {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run a workload and report on it.
    Run(Box<cli::RunArgs>),
    /// Run a workload on two brokers in alternating rounds and compare them.
    Compare(Box<cli::CompareArgs>),
    /// Measure what this generator can do at most.
    Selftest(Box<cli::SelftestArgs>),
    /// Append as fast as it is answered, or at a fixed rate: a quick look.
    Produce(cli::ProduceArgs),
    /// Read a topic, once or again and again: a quick look.
    Fetch(cli::FetchArgs),
    /// What a process costs while nobody asks it for anything.
    Watch(cli::WatchArgs),
}

fn main() -> ExitCode {
    let typed = cli::explained(Bench::command()).get_matches();
    let bench = Bench::from_arg_matches(&typed).unwrap_or_else(|error| error.exit());
    match bench.command {
        Command::Run(args) => cli::run(*args),
        Command::Compare(args) => cli::compare(*args),
        Command::Selftest(args) => cli::selftest(*args),
        Command::Produce(args) => cli::produce(args),
        Command::Fetch(args) => cli::fetch(args),
        Command::Watch(args) => cli::watch(args),
    }
}
