//! What can be typed.

use clap::{Args, Parser, Subcommand};
use millstream_bench::cli::{CompareArgs, RunArgs, SelftestArgs};

#[derive(Parser, Debug)]
#[command(
    name = "millstream-bench",
    version,
    about = "Load for any broker that speaks Kafka's protocol"
)]
pub struct Bench {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a workload and report on it.
    Run(Box<RunArgs>),
    /// Run a workload on two brokers in alternating rounds and compare them.
    Compare(Box<CompareArgs>),
    /// Measure what this generator can do at most.
    Selftest(Box<SelftestArgs>),
    /// Append batches as fast as they are answered, or at a fixed rate.
    Produce(ProduceArgs),
    /// Read a topic, once or again and again.
    Fetch(FetchArgs),
    /// What a process costs while nobody asks it for anything.
    Watch(WatchArgs),
}

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

#[derive(Args, Debug)]
pub struct ProduceArgs {
    #[command(flatten)]
    pub target: Target,
    /// Partitions; the topic is made with so many if it is not there.
    #[arg(long, default_value_t = 8)]
    pub partitions: i32,
    /// A topic key for the topic that is made.
    #[arg(long = "topic-config", value_name = "KEY=VALUE")]
    pub topic_config: Vec<String>,
    /// Connections.
    #[arg(long, default_value_t = 8)]
    pub connections: usize,
    /// Requests in flight on each connection.
    #[arg(long, default_value_t = 16)]
    pub in_flight: usize,
    /// Bytes of a batch, which holds as many records as fit.
    #[arg(long, default_value_t = 65_536)]
    pub batch_bytes: usize,
    /// Bytes of a record's value.
    #[arg(long, default_value_t = 1_024)]
    pub record_bytes: usize,
    /// 1, or -1 for all in-sync replicas.
    #[arg(long, default_value_t = -1, allow_hyphen_values = true)]
    pub acks: i16,
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

#[derive(Args, Debug)]
pub struct FetchArgs {
    #[command(flatten)]
    pub target: Target,
    /// Partitions to read, from 0.
    #[arg(long, default_value_t = 1)]
    pub partitions: i32,
    /// Connections; each reads its share of the partitions.
    #[arg(long, default_value_t = 1)]
    pub connections: usize,
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
