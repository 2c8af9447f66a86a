//! What runs gave: the one model that every report is made from and that `--json` writes.
//!
//! Always: (1) a run keeps its series and histograms, never only an average; what a report prints follows from them;
//! (2) a run that ended early is kept and says why (`ended`); (3) what makes a number less than it seems stands beside it
//! (`marks`). Histograms are in microseconds.
//! Leaves to others: how runs are made (`load`), how they look (`report`).

mod latency;
mod marks;
mod series;
mod summary;
#[cfg(test)]
mod tests;

pub use latency::{LATENCY_MAX_US, Latency, Packed};
pub use marks::{Mark, Severity};
pub use series::{Flow, INTERVALS_MAX, Intervals, Phase, ProcessSums, Second};
pub use summary::{BrokerCost, Figures, Percentiles, Summary};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the JSON form.
pub const FORMAT: u32 = 1;
/// Fewer rounds of a comparison are too few for any claim.
pub const ROUNDS_MIN: usize = 3;
/// Rounds of a comparison that says nothing else.
pub const ROUNDS_USUAL: usize = 5;

/// A whole report: one run, a sweep of rates, or the rounds of a comparison.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// The version of this generator.
    pub generator_version: String,
    /// The command line, word by word.
    pub command: Vec<String>,
    /// Where it ran.
    pub environment: Environment,
    /// The runs in the order in which they were made.
    pub runs: Vec<Run>,
    /// Rates tried one after the other, where the workload sweeps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sweep: Vec<SweepStep>,
    /// What the sweep found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep_answer: Option<SweepAnswer>,
    /// The ratios of two brokers, where two were compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
}

/// The machine of the generator.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Environment {
    pub host: String,
    /// Name and release of the kernel.
    pub kernel: String,
    pub cpu_model: String,
    /// Processors this process may run on.
    pub cpus: usize,
    pub memory_bytes: u64,
    /// The frequency governor of the first processor, where there is one.
    #[serde(default)]
    pub governor: Option<String>,
    /// Load average of one minute before the run.
    pub load_before: f64,
}

/// One workload on one broker.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Run {
    /// The broker's name in tables and charts.
    pub label: String,
    /// The workload's name.
    pub workload: String,
    /// Every setting of the workload with its value.
    pub settings: BTreeMap<String, serde_json::Value>,
    pub loop_kind: LoopKind,
    pub started_unix_ms: u64,
    pub broker: Broker,
    /// The broker's sums when the run began, where its process is known.
    #[serde(default)]
    pub broker_before: Option<ProcessSums>,
    /// One entry for each second, warm-up included, the last one possibly shorter; for each interval in a run of hours.
    pub seconds: Vec<Second>,
    /// The latencies of the measured time, by stage.
    pub stages: BTreeMap<Stage, Latency>,
    /// What became of requests that failed in the measured time, and how often.
    pub errors: Vec<ErrorCount>,
    pub integrity: Integrity,
    pub generator: Generator,
    /// What makes the numbers less than they seem.
    pub marks: Vec<Mark>,
    pub ended: Ended,
    /// The commands that were run while the load ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultRun>,
    /// What tables show, made from the above for those who read the JSON.
    #[serde(default)]
    pub figures: Figures,
}

/// A command that was run while the load ran.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct FaultRun {
    /// Seconds since the measured time began, as the workload says.
    pub at: f64,
    pub command: String,
    /// Seconds since the run began, warm-up included.
    pub started_at: Option<f64>,
    pub ended_at: Option<f64>,
    pub outcome: FaultOutcome,
}

/// What became of a command.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultOutcome {
    /// The run ended before its time.
    #[default]
    NotDue,
    /// It was still running when the run ended.
    Running,
    ExitCode(i32),
    Signal(i32),
    /// It could not be started, or what became of it is not known.
    Unknown(String),
}

impl FaultOutcome {
    /// What went wrong with it, if something did.
    pub fn problem(&self) -> Option<String> {
        match self {
            FaultOutcome::Running | FaultOutcome::ExitCode(0) => None,
            FaultOutcome::NotDue => Some("the run ended before its time".into()),
            FaultOutcome::ExitCode(code) => Some(format!("it ended with exit code {code}")),
            FaultOutcome::Signal(number) => Some(format!("signal {number} ended it")),
            FaultOutcome::Unknown(reason) => Some(reason.clone()),
        }
    }
}

/// Whether load follows a clock or the answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoopKind {
    /// Requests are due by the clock; latency counts from then.
    #[default]
    Open,
    /// The next request waits for an answer; latencies hide stalls.
    Closed,
}

/// What a latency is of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// From the moment a produce request was due to its answer.
    Produce,
    /// From the moment the first batch of a transaction was due to the answer that it is committed.
    Transaction,
    /// From the moment a record's request was due to its receipt by a consumer, once per batch and consumer.
    EndToEnd,
    /// From a fetch request to its answer, if that has records.
    Fetch,
    /// From a member's request to join its group to its assignment.
    Rebalance,
    /// From the moment the last owner of a partition let go of it to the moment a member of the same group reads it again,
    /// once per partition and rebalance.
    Unavailable,
    /// From the moment a request was due to the moment this generator came to send it: its own lateness.
    Lateness,
}

impl Stage {
    /// All, in the order of reports.
    pub const ALL: [Stage; 7] = [
        Stage::Produce,
        Stage::Transaction,
        Stage::EndToEnd,
        Stage::Fetch,
        Stage::Rebalance,
        Stage::Unavailable,
        Stage::Lateness,
    ];

    /// Its name in reports and files.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Produce => "produce",
            Stage::Transaction => "transaction",
            Stage::EndToEnd => "end-to-end",
            Stage::Fetch => "fetch",
            Stage::Rebalance => "rebalance",
            Stage::Unavailable => "unavailable",
            Stage::Lateness => "lateness",
        }
    }
}

/// The broker as it presented itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Broker {
    /// The addresses that were given.
    pub addresses: Vec<String>,
    #[serde(default)]
    pub cluster_id: Option<String>,
    /// Brokers of the cluster.
    pub nodes: usize,
    /// The process whose costs were read, where one was named.
    #[serde(default)]
    pub process: Option<String>,
}

/// Requests that failed in one way.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ErrorCount {
    /// The API, such as `Produce`, or `connection`.
    pub api: String,
    /// The protocol's code; 0 for failures of connections.
    pub code: i16,
    /// The protocol's name of the code, or what happened to the connection.
    pub name: String,
    pub count: u64,
}

/// What the sequence numbers in the records say. Counts are of records.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Integrity {
    /// Records given to the broker, of the whole run.
    pub sent: u64,
    /// Those the broker acknowledged.
    pub acknowledged: u64,
    /// Those that were sent whole with `acks` 0, which no broker acknowledges.
    #[serde(default)]
    pub unacknowledged: u64,
    /// Those whose request failed or has no answer: they may be there or not.
    pub unresolved: u64,
    /// Readers that checked; 0 where nothing was read.
    pub readers: usize,
    /// Records of this run that were received, by all readers together.
    pub received: u64,
    /// Acknowledged (with `acks` 0: sent) and not received, by all readers together.
    pub lost: u64,
    /// Received twice because they stand twice in the log.
    pub duplicated: u64,
    /// Received again from the same offset, by the next owner of a partition that moved within a consumer group.
    #[serde(default)]
    pub redelivered: u64,
    /// Received after a later one of the same producer and partition.
    pub out_of_order: u64,
    /// Batches that are not what was sent.
    pub corrupt: u64,
    /// Acknowledged records that no reader looked for, because reading ended early or was switched off.
    pub unchecked: u64,
}

/// The generator's own part.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Generator {
    pub threads: usize,
    /// Processor time in the measured time.
    pub cpu_seconds: f64,
    /// Its ceiling with this shape of requests against the built-in sink; `None` where it was not measured.
    #[serde(default)]
    pub ceiling_requests_per_second: Option<f64>,
    /// The same of consuming, against a sink that answers fetches.
    #[serde(default)]
    pub ceiling_consumed_mib_per_second: Option<f64>,
    /// The run's rate as a part of the ceiling; the parts of producing and of consuming together where it does both.
    #[serde(default)]
    pub ceiling_share: Option<f64>,
    /// Requests that were due in the measured time; as many as were sent in a closed loop.
    pub due: u64,
    /// Of these, how many were due and not yet sent when the time was over.
    pub backlog_at_end: u64,
    /// Produce requests that failed or were given up after the warm-up: they have no latency and are in no histogram.
    #[serde(default)]
    pub uncounted: u64,
}

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// After its time.
    #[default]
    Complete,
    /// Early, for this reason; what was measured so far is there.
    Early(String),
}

/// One rate of a sweep.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SweepStep {
    /// Requests per second that were due.
    pub rate: f64,
    /// Requests per second that were answered.
    pub answered: f64,
    pub p50_us: u64,
    pub p99_us: u64,
    /// Whether the bound held.
    pub held: bool,
    /// Its run, as an index into `runs`.
    pub run: usize,
}

/// What a sweep was for.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct SweepAnswer {
    /// The bound of the p99 of produce.
    pub bound_ms: f64,
    /// The highest rate that was within it, in requests per second; `None` where not even the lowest was.
    pub highest_rate: Option<f64>,
    /// In a sentence, with what ended the sweep.
    pub text: String,
}

/// Two brokers under the same workload, in alternating rounds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Comparison {
    pub a: String,
    pub b: String,
    /// Rounds that count.
    pub rounds: usize,
    /// Which ones these are, from 0.
    #[serde(default)]
    pub counted: Vec<usize>,
    /// Rounds that do not, each with the reason.
    #[serde(default)]
    pub excluded: Vec<String>,
    pub figures: Vec<Ratio>,
}

/// One figure of both, and how sure the difference is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ratio {
    /// The figure, such as `produce p99`.
    pub name: String,
    pub unit: String,
    pub higher_is_better: bool,
    /// One value per round.
    pub a: Vec<f64>,
    pub b: Vec<f64>,
    /// The ratio a/b of the medians.
    pub ratio: f64,
    /// The bounds of its 99 % interval; `None` where there are too few rounds for one.
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub verdict: Verdict,
}

/// What may be said of a ratio.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The interval contains 1: no difference may be claimed.
    #[default]
    WithinNoise,
    /// There are too few rounds to claim anything.
    TooFewRounds,
    ABetter,
    BBetter,
}
