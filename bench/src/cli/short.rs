//! `produce`, `fetch` and `watch`: a workload in a few flags, and its figures on a few lines or as one flat JSON object.
//!
//! They are `run` without report files, ceiling and reading back, for quick looks and scripts.

use super::{complain, exit_code, say};
use crate::load;
use crate::probe::Subject;
use crate::report::Live;
use crate::result::{Run, Stage};
use crate::workload::{Acks, List, Rate, Settings};
use clap::Args;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const MIB: f64 = (1 << 20) as f64;
/// In an open loop so many requests may be in flight at least.
const OPEN_LOOP_IN_FLIGHT: u32 = 256;

/// Whom to load and how to tell it.
#[derive(Args, Debug)]
pub struct Target {
    /// The broker.
    #[arg(long, default_value = "127.0.0.1:9092")]
    pub broker: String,
    /// The topic.
    #[arg(long, default_value = "bench")]
    pub topic: String,
    /// The broker's process, on this machine: its processor time, memory and bytes written are told.
    #[arg(long)]
    pub pid: Option<u32>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Pin this generator to a processor.
    #[arg(long)]
    pub cpu: Option<usize>,
}

/// What can be typed behind `produce`.
#[derive(Args, Debug)]
pub struct ProduceArgs {
    #[command(flatten)]
    pub target: Target,
    /// Partitions; the topic is made with so many if it is not there.
    #[arg(long, default_value_t = 8)]
    pub partitions: u32,
    /// A topic key for the topic that is made.
    #[arg(long = "topic-config", value_name = "KEY=VALUE")]
    pub topic_config: Vec<String>,
    /// Connections.
    #[arg(long, default_value_t = 8)]
    pub connections: u32,
    /// Requests in flight on each connection.
    #[arg(long, default_value_t = 16)]
    pub in_flight: u32,
    /// Bytes of a batch, which holds as many records as fit.
    #[arg(long, default_value_t = 65_536)]
    pub batch_bytes: u32,
    /// Bytes of a record's value.
    #[arg(long, default_value_t = 1_024)]
    pub record_bytes: u32,
    /// 1, or -1 for all in-sync replicas.
    #[arg(long, default_value = "all", allow_hyphen_values = true)]
    pub acks: Acks,
    /// Seconds before anything counts.
    #[arg(long, default_value_t = 3.0)]
    pub warmup: f64,
    /// Seconds that count.
    #[arg(long, default_value_t = 10.0)]
    pub duration: f64,
    /// Requests per second, all connections together; without it as many as are answered.
    #[arg(long)]
    pub rate: Option<f64>,
}

/// What can be typed behind `fetch`.
#[derive(Args, Debug)]
pub struct FetchArgs {
    #[command(flatten)]
    pub target: Target,
    /// Partitions to read, from 0.
    #[arg(long, default_value_t = 1)]
    pub partitions: u32,
    /// Bytes asked for from one partition at once.
    #[arg(long, default_value_t = 1 << 20)]
    pub fetch_bytes: i32,
    /// Read from the start to the end once and stop, instead of again and again.
    #[arg(long)]
    pub once: bool,
    /// Seconds, unless --once.
    #[arg(long, default_value_t = 10.0)]
    pub duration: f64,
}

/// What can be typed behind `watch`.
#[derive(Args, Debug)]
pub struct WatchArgs {
    /// The process.
    #[arg(long)]
    pub pid: u32,
    /// Seconds.
    #[arg(long, default_value_t = 10.0)]
    pub duration: f64,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Appends as fast as it is answered, or at a fixed rate.
pub fn produce(args: ProduceArgs) -> ExitCode {
    let in_flight = match args.rate {
        Some(_) => args.in_flight.max(OPEN_LOOP_IN_FLIGHT),
        None => args.in_flight,
    };
    let settings = Settings {
        partitions: Some(args.partitions),
        topic_config: Some(List(args.topic_config)),
        connections: Some(args.connections),
        in_flight: Some(in_flight),
        batch_bytes: Some(args.batch_bytes),
        record_bytes: Some(args.record_bytes),
        acks: Some(args.acks),
        warmup: Some(args.warmup),
        duration: Some(args.duration),
        closed: Some(args.rate.is_none()),
        rate: args.rate.map(Rate::Constant),
        ..Settings::default()
    };
    measure("produce", args.target, settings)
}

/// Reads a topic, once or again and again.
pub fn fetch(args: FetchArgs) -> ExitCode {
    let settings = Settings {
        partitions: Some(args.partitions),
        connections: Some(0),
        catch_up: Some(1),
        once: Some(args.once),
        replay: Some(!args.once),
        fetch_bytes: Some(args.fetch_bytes),
        warmup: Some(0.0),
        duration: Some(if args.once { 86_400.0 } else { args.duration }),
        ..Settings::default()
    };
    measure("fetch", args.target, settings)
}

fn measure(name: &str, target: Target, settings: Settings) -> ExitCode {
    let cpus = target.cpu.map(|cpu| List(vec![cpu.to_string()]));
    let settings = Settings {
        brokers: Some(List(vec![target.broker])),
        topic: Some(target.topic),
        pid: target.pid,
        cpus,
        verify: Some(false),
        ceiling: Some(false),
        ..settings
    };
    let done = settings
        .resolve(name, Vec::new())
        .and_then(|workload| load::run(&workload, &mut Live::new(name, true)));
    let run = match done {
        Ok(run) => run,
        Err(problem) => return complain(&problem),
    };
    tell(&facts(&run), target.json);
    exit_code(std::slice::from_ref(&run))
}

/// Name and value, in the order in which they are told.
fn facts(run: &Run) -> Vec<(&'static str, f64)> {
    let summary = run.summary();
    let produces = summary.requests_per_second > 0.0;
    let mut facts = vec![
        ("seconds", summary.seconds),
        (
            "mib_per_second",
            if produces {
                summary.mib_per_second
            } else {
                summary.consumed_mib_per_second
            },
        ),
        ("requests_per_second", summary.requests_per_second),
        (
            "records_per_second",
            summary.records_per_second + summary.consumed_records_per_second,
        ),
        (
            "best_5s_mib_per_second",
            if produces {
                summary.best_5s_mib_per_second
            } else {
                summary.best_5s_consumed_mib_per_second
            },
        ),
    ];
    if let Some(cost) = summary.broker {
        facts.extend([
            ("broker_cpu_s_per_gib", cost.cpu_seconds_per_gib),
            (
                "best_5s_cpu_s_per_gib",
                summary.best_5s_cpu_seconds_per_gib.unwrap_or(0.0),
            ),
            ("broker_cores", cost.cores),
            ("broker_rss_mib", cost.rss_bytes_max as f64 / MIB),
        ]);
        let written = cost.disk_mib_per_second;
        facts.extend(written.map(|rate| ("broker_written_mib_per_s", rate)));
    }
    let stage = if produces {
        Stage::Produce
    } else {
        Stage::Fetch
    };
    if let Some(found) = run.percentiles(stage) {
        facts.extend([
            ("p50_us", found.p50 as f64),
            ("p90_us", found.p90 as f64),
            ("p99_us", found.p99 as f64),
            ("p999_us", found.p999 as f64),
            ("max_us", found.max as f64),
        ]);
    }
    let errors: u64 = run.errors.iter().map(|error| error.count).sum();
    facts.push(("errors", errors as f64));
    facts
}

fn tell(facts: &[(&'static str, f64)], json: bool) {
    if !json {
        for (name, value) in facts {
            say(&format!("{:<28} {value:>14.2}\n", name.replace('_', " ")));
        }
        return;
    }
    let rounded = facts.iter().map(|(name, value)| {
        let value = (value * 1000.0).round() / 1000.0;
        ((*name).to_owned(), serde_json::Value::from(value))
    });
    let object: serde_json::Map<String, serde_json::Value> = rounded.collect();
    say(&format!("{}\n", serde_json::Value::Object(object)));
}

/// Tells what a process costs while nobody asks it for anything.
pub fn watch(args: WatchArgs) -> ExitCode {
    let subject = Subject::Process(args.pid);
    let began = Instant::now();
    let before = subject.sums();
    std::thread::sleep(Duration::from_secs_f64(args.duration.clamp(0.1, 1e6)));
    let (Some(before), Some(after)) = (before, subject.sums()) else {
        return complain(&format!("there is no process {}", args.pid));
    };
    let cores = (after.cpu_seconds - before.cpu_seconds) / began.elapsed().as_secs_f64();
    tell(
        &[
            ("cpu_percent", cores * 100.0),
            ("rss_mib", after.rss_bytes as f64 / MIB),
        ],
        args.json,
    );
    ExitCode::SUCCESS
}
