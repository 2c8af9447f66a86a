//! The settings, each stated once: name, type, default, meaning.

use super::kinds::{Acks, Codec, Fault, Isolation, Keys, List, Position, Rate};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

macro_rules! settings {
    (
        values { $( $(#[doc = $doc:literal])+ $name:ident: $type:ty as $shown:literal = $default:expr; )+ }
        switches { $( $(#[doc = $switch_doc:literal])+ $switch:ident = $switch_default:literal; )+ }
    ) => {
        /// What was said: on the command line, or in a file.
        #[derive(Args, Clone, Debug, Default, PartialEq, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub struct Settings {
            $(
                $(#[doc = $doc])+
                #[arg(long, value_name = $shown, allow_hyphen_values = true, help_heading = "Workload")]
                pub $name: Option<$type>,
            )+
            $(
                $(#[doc = $switch_doc])+
                #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
                    value_name = "true|false", help_heading = "Workload")]
                pub $switch: Option<bool>,
            )+
        }

        /// Every setting with its value.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub struct Workload {
            /// Its name: that of the file.
            #[serde(skip)]
            pub name: String,
            /// Commands to run at their times.
            #[serde(skip)]
            pub faults: Vec<Fault>,
            $( $(#[doc = $doc])+ pub $name: $type, )+
            $( $(#[doc = $switch_doc])+ pub $switch: bool, )+
        }

        impl Settings {
            /// The keys of a file.
            pub fn keys() -> Vec<String> {
                let names = [$( stringify!($name), )+ $( stringify!($switch), )+];
                names.iter().map(|name| name.replace('_', "-")).collect()
            }

            /// These, and where they say nothing `below`.
            pub fn over(self, below: Settings) -> Settings {
                Settings {
                    $( $name: self.$name.or(below.$name), )+
                    $( $switch: self.$switch.or(below.$switch), )+
                }
            }

            /// With defaults for what is not said.
            pub fn resolve(self, name: &str, faults: Vec<Fault>) -> Result<Workload, String> {
                let workload = self.filled(name, faults);
                workload.check()?;
                Ok(workload)
            }

            fn filled(self, name: &str, faults: Vec<Fault>) -> Workload {
                Workload {
                    name: name.to_owned(),
                    faults,
                    $( $name: self.$name.unwrap_or($default), )+
                    $( $switch: self.$switch.unwrap_or($switch_default), )+
                }
            }
        }
    };
}

settings! {
    values {
        /// The brokers to begin with, HOST:PORT, separated by commas.
        brokers: List as "HOST:PORT,..." = List(vec!["127.0.0.1:9092".into()]);
        /// The topic; with `topics` above 1 the beginning of their names. It is made if it is not there.
        topic: String as "NAME" = "bench".into();
        /// How many topics.
        topics: u32 as "COUNT" = 1;
        /// Partitions of each topic.
        partitions: u32 as "COUNT" = 8;
        /// Replicas of each partition, for a topic that is made.
        replication: i16 as "COUNT" = 1;
        /// KEY=VALUE settings of a topic that is made, separated by commas.
        topic_config: List as "KEY=VALUE,..." = List(Vec::new());
        /// Producing connections to each broker; 0 produces nothing.
        connections: u32 as "COUNT" = 8;
        /// Requests in flight on each connection.
        in_flight: u32 as "COUNT" = 16;
        /// 0, 1 or all (-1). With 0 nothing is acknowledged: requests count, and latencies end, when they are sent.
        acks: Acks as "0|1|all" = Acks(-1);
        /// Bytes of a batch before compression, which holds as many records as fit.
        batch_bytes: u32 as "BYTES" = 65_536;
        /// Bytes of a record's value; the median where sizes spread.
        record_bytes: u32 as "BYTES" = 1_024;
        /// The sigma of lognormal record sizes; 0 makes all the same.
        record_spread: f64 as "SIGMA" = 0.0;
        /// Take values from the lines of this file, again and again.
        payload_file: String as "FILE" = String::new();
        /// How well values compress: 4 means to a quarter, 1 not at all.
        compressible: f64 as "FACTOR" = 1.0;
        /// none, gzip, snappy, lz4 or zstd.
        compression: Codec as "CODEC" = Codec::None;
        /// none, uniform or zipf: how partitions are chosen, and keys for the records.
        keys: Keys as "HOW" = Keys::None;
        /// Bytes of batches that are built before the run, and sent again and again, where records differ: keys, sizes that spread,
        /// lines of a file. Only the key of a batch's first record is drawn anew for every request.
        pool_bytes: u64 as "BYTES" = 64 << 20;
        /// How many keys there are.
        key_count: u64 as "COUNT" = 10_000;
        /// The exponent of `keys = "zipf"`.
        zipf_exponent: f64 as "EXPONENT" = 0.99;
        /// Batches of one transaction of a connection, which has one at a time; 0 for none.
        transaction_batches: u32 as "COUNT" = 0;
        /// Produce requests per second of all connections: N, poisson:N, ramp:N..M (over the duration), or sweep:N..M (step
        /// by step until p99 breaks `sweep-p99-ms`).
        rate: Rate as "RATE" = Rate::Unpaced;
        /// The bound of a sweep for the p99 of produce, in milliseconds.
        sweep_p99_ms: f64 as "MS" = 10.0;
        /// The factor from one rate of a sweep to the next.
        sweep_factor: f64 as "FACTOR" = 1.5;
        /// Whole seconds before anything counts.
        warmup: f64 as "SECONDS" = 3.0;
        /// Whole seconds that count; of each step in a sweep.
        duration: f64 as "SECONDS" = 10.0;
        /// Bytes to produce before the run begins.
        preload_bytes: u64 as "BYTES" = 0;
        /// Consumers that share the partitions among them.
        consumers: u32 as "COUNT" = 0;
        /// How many times every partition is read, each time by `consumers` consumers.
        fan_out: u32 as "COUNT" = 1;
        /// Where consumers begin: latest or earliest.
        position: Position as "latest|earliest" = Position::Latest;
        /// Readers of all partitions that begin at the earliest offset, beside the consumers.
        catch_up: u32 as "COUNT" = 0;
        /// Consume as members of this group instead of assigning partitions; with `fan-out` above 1 the beginning of names.
        group: String as "NAME" = String::new();
        /// Members per second that leave the group or join it, in turn.
        churn: f64 as "PER_SECOND" = 0.0;
        /// Milliseconds between two heartbeats of a member, which is how it learns that its group rebalances.
        heartbeat_ms: u32 as "MS" = 3_000;
        /// Milliseconds without a heartbeat after which a member is out.
        session_ms: u32 as "MS" = 45_000;
        /// Milliseconds between two commits of a member.
        commit_ms: u32 as "MS" = 5_000;
        /// uncommitted or committed: what consumers see of transactions.
        isolation: Isolation as "uncommitted|committed" = Isolation::Uncommitted;
        /// Bytes that one fetch asks for from each partition.
        fetch_bytes: i32 as "BYTES" = 1 << 20;
        /// Bytes that one fetch asks for.
        fetch_max_bytes: i32 as "BYTES" = 50 << 20;
        /// Bytes that must be there for an answer before `fetch-wait-ms`.
        fetch_min_bytes: i32 as "BYTES" = 1;
        /// Milliseconds a fetch waits for data.
        fetch_wait_ms: i32 as "MS" = 500;
        /// Threads of the generator, one ring each.
        threads: u32 as "COUNT" = 1;
        /// Processors to pin the threads to, separated by commas.
        cpus: List as "CPU,..." = List(Vec::new());
        /// Seconds after which an answer counts as missing, so that its connection is opened again, and a broker that cannot be
        /// reached as gone.
        timeout: f64 as "SECONDS" = 10.0;
        /// Seconds that reading back what was acknowledged may take.
        verify_seconds: f64 as "SECONDS" = 60.0;
        /// The broker's process on this machine: its processor time, memory and disk writes are told.
        pid: u32 as "PID" = 0;
        /// The broker's control group instead, as a path below /sys/fs/cgroup.
        cgroup: String as "PATH" = String::new();
        /// The broker's name in reports; its address if empty.
        label: String as "NAME" = String::new();
    }
    switches {
        /// Closed loop: send as soon as an answer came, and hide stalls.
        closed = false;
        /// Produce as an idempotent producer, one for each connection.
        idempotent = false;
        /// Begin again where a catch-up reader comes to the end.
        replay = false;
        /// Without producers: end when catch-up readers come to the end.
        once = false;
        /// Read back after the run what nobody consumed, to check it. Sequence numbers are in the records, and consumers check them,
        /// also without; what is not read back is told as unchecked. For topics that delete during the run, of which reading back
        /// would tell what was deleted as lost.
        verify = true;
        /// Measure the generator's own ceiling for this workload after it.
        ceiling = true;
        /// Never sleep: a processor for each thread, and no wake-up in the latencies.
        spin = false;
    }
}

/// BOUND: streams (partitions of a run) that are numbered and checked one by one.
const STREAMS_MAX: u64 = 1 << 20;
/// BOUND: requests in flight, each of which has a place with some hundred bytes.
const REQUESTS_MAX: u64 = 1 << 22;
/// BOUND: connections of consumers are at least so many.
const READERS_MAX: u64 = 1 << 16;
const BATCH_BYTES_MAX: u32 = 64 << 20;

impl Workload {
    /// What each setting is where nothing is said.
    pub fn default_settings() -> BTreeMap<String, serde_json::Value> {
        Settings::default().filled("", Vec::new()).settings()
    }

    /// The settings as reports show them.
    pub fn settings(&self) -> BTreeMap<String, serde_json::Value> {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(map)) => map.into_iter().collect(),
            _ => BTreeMap::new(),
        }
    }

    /// Whether it produces anything.
    pub fn produces(&self) -> bool {
        self.connections > 0
    }

    /// The names of its topics, all of the same length.
    pub fn topic_names(&self) -> Vec<String> {
        if self.topics == 1 {
            return vec![self.topic.clone()];
        }
        let digits = (self.topics - 1).to_string().len();
        (0..self.topics)
            .map(|index| format!("{}-{index:0digits$}", self.topic))
            .collect()
    }

    /// The names of its consumer groups; none where partitions are assigned.
    pub fn group_names(&self) -> Vec<String> {
        match (self.group.as_str(), self.fan_out) {
            ("", _) => Vec::new(),
            (group, 1) => vec![group.to_owned()],
            (group, count) => (0..count).map(|index| format!("{group}-{index}")).collect(),
        }
    }

    fn check(&self) -> Result<(), String> {
        let refuse = |bad: bool, text: &str| if bad { Err(text.to_owned()) } else { Ok(()) };
        refuse(
            self.brokers.0.is_empty(),
            "`brokers` is empty: name one as HOST:PORT",
        )?;
        refuse(
            self.topics == 0 || self.partitions == 0 || self.in_flight == 0 || self.threads == 0,
            "`topics`, `partitions`, `in-flight` and `threads` are at least 1",
        )?;
        let streams = u64::from(self.topics) * u64::from(self.partitions.max(self.connections));
        refuse(
            streams > STREAMS_MAX,
            "more than 1,048,576 partitions and connections",
        )?;
        refuse(
            self.in_flight > 65_536 || self.connections > 65_536 || self.threads > 1_024,
            "`in-flight` and `connections` are at most 65536, `threads` 1024",
        )?;
        refuse(
            u64::from(self.in_flight) * u64::from(self.connections) > REQUESTS_MAX,
            "`in-flight` times `connections` is at most 4194304",
        )?;
        refuse(
            self.produces() && self.rate == Rate::Unpaced && !self.closed,
            "an open loop needs a rate: give `rate`, or `closed` to send as fast as answers come",
        )?;
        refuse(
            self.closed && self.rate != Rate::Unpaced,
            "`closed` and `rate` exclude each other: in a closed loop the answers set the rate",
        )?;
        refuse(
            !self.produces() && self.consumers == 0 && self.catch_up == 0,
            "nothing to do: `connections`, `consumers` and `catch-up` are 0",
        )?;
        refuse(
            self.replication < 1 && self.replication != -1,
            "`replication` is at least 1, or -1 for what the broker does by itself",
        )?;
        let readers = (u64::from(self.consumers) * u64::from(self.fan_out))
            .saturating_add(u64::from(self.catch_up));
        refuse(
            readers > READERS_MAX || self.fan_out == 0,
            "`fan-out` is at least 1, and there are at most 65536 readers: `consumers` times `fan-out`, and `catch-up`",
        )?;
        refuse(
            self.fetch_bytes < 1
                || self.fetch_max_bytes < 1
                || self.fetch_min_bytes < 0
                || self.fetch_wait_ms < 0,
            "`fetch-bytes` and `fetch-max-bytes` are above 0, `fetch-min-bytes` and `fetch-wait-ms` not below",
        )?;
        refuse(
            f64::from(self.fetch_wait_ms) >= self.timeout * 1000.0,
            "`fetch-wait-ms` is below `timeout`, or a fetch that waits counts as missing",
        )?;
        refuse(
            self.once && (self.produces() || self.catch_up == 0 || self.replay),
            "`once` is for `catch-up` readers without `replay`, with `connections` 0",
        )?;
        refuse(
            self.record_bytes < 8,
            "`record-bytes` is at least 8, the size of a sequence number",
        )?;
        refuse(
            self.batch_bytes > BATCH_BYTES_MAX || self.record_bytes > BATCH_BYTES_MAX,
            "`batch-bytes` and `record-bytes` are at most 67108864",
        )?;
        refuse(
            !(0.0..=4.0).contains(&self.record_spread),
            "`record-spread` is between 0 and 4",
        )?;
        refuse(
            !(1.0..=1000.0).contains(&self.compressible),
            "`compressible` is between 1 and 1000",
        )?;
        let is_time = |value: f64| (0.0..=1e7).contains(&value);
        refuse(
            !is_time(self.warmup) || !is_time(self.duration) || !is_time(self.timeout),
            "`warmup`, `duration` and `timeout` are seconds, at least 0",
        )?;
        refuse(
            self.warmup.fract() != 0.0 || self.duration.fract() != 0.0,
            "`warmup` and `duration` are whole seconds: a run is told second by second",
        )?;
        refuse(
            self.duration < 1.0 || self.timeout < 0.1,
            "`duration` is at least 1, `timeout` 0.1",
        )?;
        refuse(
            !is_time(self.verify_seconds),
            "`verify-seconds` are seconds, at least 0",
        )?;
        for fault in &self.faults {
            // A sweep counts in each of its steps.
            if !(0.0..self.duration).contains(&fault.at) {
                return Err(format!(
                    "the fault at {} s is not within the `duration` of {} s: `{}`",
                    fault.at, self.duration, fault.run
                ));
            }
        }
        refuse(
            self.pool_bytes > 4 << 30,
            "`pool-bytes` is at most 4294967296",
        )?;
        refuse(
            self.keys != Keys::None && !(1..=10_000_000).contains(&self.key_count),
            "`key-count` is between 1 and 10000000",
        )?;
        if let Rate::Sweep(from, to) = self.rate {
            refuse(
                from > to,
                "a sweep goes up: `rate` is sweep:LOWEST..HIGHEST",
            )?;
            refuse(
                !(self.sweep_factor >= 1.01 && self.sweep_p99_ms > 0.0),
                "`sweep-factor` is at least 1.01, or a sweep never ends, and `sweep-p99-ms` above 0",
            )?;
        }
        refuse(
            !(0.0..=100.0).contains(&self.zipf_exponent),
            "`zipf-exponent` is between 0 and 100",
        )?;
        refuse(
            self.idempotent && (self.acks.0 != -1 || self.in_flight > 5),
            "an idempotent producer needs `acks` all and `in-flight` of at most 5",
        )?;
        refuse(
            self.transaction_batches > 0 && !self.idempotent,
            "`transaction-batches` needs `idempotent`",
        )?;
        refuse(
            !self.group.is_empty() && self.consumers == 0,
            "`group` needs `consumers`: its members",
        )?;
        refuse(
            self.churn != 0.0 && (self.group.is_empty() || !(0.0..=1000.0).contains(&self.churn)),
            "`churn` is of the members of a `group`, at most 1000 per second",
        )?;
        refuse(
            self.heartbeat_ms == 0 || self.commit_ms == 0 || self.session_ms <= self.heartbeat_ms,
            "`heartbeat-ms` and `commit-ms` are above 0, `session-ms` above `heartbeat-ms`",
        )?;
        refuse(
            self.session_ms > i32::MAX as u32,
            "`session-ms` is at most 2147483647",
        )?;
        refuse(
            self.cpus.0.iter().any(|cpu| cpu.parse::<usize>().is_err()),
            "`cpus` are numbers separated by commas",
        )?;
        refuse(
            self.pid != 0 && !self.cgroup.is_empty(),
            "`pid` and `cgroup` exclude each other",
        )
    }
}
