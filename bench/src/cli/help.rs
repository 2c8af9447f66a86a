//! What `--help` says beside the flags: defaults, examples, exit codes.

use crate::ceiling::USUAL;
use crate::workload::Workload;
use clap::Command;

pub const EXIT_CODES: &str = "Exit codes:
  0  a whole run in which nothing was lost
  1  it could not begin (no broker, a workload that cannot be), ended early, lost or doubled records, could not read back what was acknowledged, or not one
     request succeeded; too few rounds of a comparison count because requests failed; a floor that was not reached
  2  a command line that cannot be read
  3  the generator itself was late, so that the numbers are not valid";

const RUN: &str = "Examples:
  millstream-bench run bench/workloads/small-requests.toml --brokers 127.0.0.1:9092
  millstream-bench run --rate 1000 --batch-bytes 1200 --consumers 1 --pid $(pgrep -nx millstream)
  millstream-bench run bench/workloads/rate-sweep.toml --sweep-p99-ms 5 --json sweep.json
  millstream-bench run --rate 500 --duration 60 --fault '20:kill -STOP $BENCH_PID; sleep 1; kill -CONT $BENCH_PID' --pid 4711

Every flag under `Workload` is a key of a workload's file, without the dashes; what is typed counts more than the file.";

const COMPARE: &str = "Examples:
  millstream-bench compare --a 127.0.0.1:9092 --b 127.0.0.1:9192 bench/workloads/end-to-end.toml
  millstream-bench compare --a HOST:9092 --a-label new --b HOST:9192 --b-label old --closed --rounds 7 --between sync

A round in which the generator was late, or requests failed without a fault of the workload, counts for neither and is named. Fewer than
three that count claim nothing.";

const SELFTEST: &str = "Examples:
  millstream-bench selftest
  millstream-bench selftest --threads 2 --keys zipf --print-only";

/// The commands with defaults, examples and exit codes in their help.
pub fn explained(command: Command) -> Command {
    let defaults = Workload::default_settings();
    let mut command = command.after_help(EXIT_CODES);
    for (name, examples) in [("run", RUN), ("compare", COMPARE), ("selftest", SELFTEST)] {
        command = command.mut_subcommand(name, |each| {
            each.after_help(format!("{examples}\n\n{EXIT_CODES}"))
                .mut_args(|arg| {
                    let key = arg.get_id().as_str().replace('_', "-");
                    let help = arg.get_help().map(ToString::to_string);
                    let (Some(value), Some(help)) = (defaults.get(&key), help) else {
                        return arg;
                    };
                    let own = (name == "selftest").then(|| of_selftest(&key)).flatten();
                    if let Some(shown) = own {
                        return arg.help(format!("{help} [default: {shown}]"));
                    }
                    let shown = match value {
                        serde_json::Value::String(text) if text.is_empty() => return arg,
                        serde_json::Value::String(text) => text.clone(),
                        value => value.to_string(),
                    };
                    arg.help(format!("{help} [default: {shown}]"))
                })
        });
    }
    command
}

/// A default that `selftest` has of its own.
fn of_selftest(key: &str) -> Option<String> {
    let shown = match key {
        "warmup" => USUAL.warmup.to_string(),
        "duration" => USUAL.duration.to_string(),
        "batch-bytes" | "in-flight" => "that of the shape".to_owned(),
        _ => return None,
    };
    Some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{RunArgs, SelftestArgs};
    use clap::{Args, Command};

    #[test]
    fn help_has_defaults_examples_and_exit_codes() {
        let run = RunArgs::augment_args(Command::new("run"));
        let bench = Command::new("millstream-bench").subcommands([
            run,
            Command::new("compare"),
            SelftestArgs::augment_args(Command::new("selftest")),
        ]);
        let mut bench = explained(bench);
        let run = bench.find_subcommand_mut("run").unwrap();
        let text = run.render_long_help().to_string();
        for expected in [
            "[default: 127.0.0.1:9092]",
            "[default: 65536]",
            "[default: all]",
            "[default: true]",
            "Examples:",
            "Exit codes:",
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        assert!(!text.contains("[default: ]"), "{text}");
        let selftest = bench.find_subcommand_mut("selftest").unwrap();
        let own = selftest.render_long_help().to_string();
        for expected in [
            "that count; of each step in a sweep [default: 2]",
            "[default: that of the shape]",
        ] {
            assert!(own.contains(expected), "{expected}: {own}");
        }
        // A name says what to type, not how it is kept.
        for kept in [
            "<u32>", "<i16>", "<i32>", "<u64>", "<f64>", "<String>", "<List>",
        ] {
            assert!(!text.contains(kept), "{kept}: {text}");
        }
        for shown in ["--rate <RATE>", "--batch-bytes <BYTES>", "--acks <0|1|all>"] {
            assert!(text.contains(shown), "{shown}: {text}");
        }
    }
}
