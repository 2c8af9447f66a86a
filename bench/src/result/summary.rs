//! The figures of a run, made from its seconds and histograms.

use super::{Flow, Phase, ProcessSums, Run, Second, Severity, Stage};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const GIB: f64 = (1u64 << 30) as f64;
const MIB: f64 = (1u64 << 20) as f64;
/// Five seconds, the last of which may be a little short.
const BEST_S: f64 = 4.9;

/// What tables show of a run, ready to be read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Figures {
    pub summary: Summary,
    pub percentiles: BTreeMap<Stage, Percentiles>,
}

/// What tables show of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Measured seconds.
    pub seconds: f64,
    pub requests_per_second: f64,
    pub records_per_second: f64,
    pub mib_per_second: f64,
    pub consumed_mib_per_second: f64,
    pub consumed_records_per_second: f64,
    /// The best five seconds in a row of producing.
    pub best_5s_mib_per_second: f64,
    /// The best five seconds in a row of consuming.
    #[serde(default)]
    pub best_5s_consumed_mib_per_second: f64,
    /// The broker's processor seconds per GiB, in and out, in the best five of producing, or of consuming where nothing was produced.
    pub best_5s_cpu_seconds_per_gib: Option<f64>,
    /// Requests without an answer at the ends of the seconds: their mean, and the most.
    #[serde(default)]
    pub in_flight_mean: f64,
    #[serde(default)]
    pub in_flight_max: u64,
    /// Connections that were opened again, after the warm-up.
    #[serde(default)]
    pub reconnects: u64,
    pub generator_cores: f64,
    pub broker: Option<BrokerCost>,
}

/// What the broker used for it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct BrokerCost {
    pub cores: f64,
    /// Processor seconds per GiB that went through it, in and out.
    pub cpu_seconds_per_gib: f64,
    /// Processor microseconds per request, in and out.
    pub cpu_us_per_request: f64,
    /// 0 where it is not told.
    pub rss_bytes_max: u64,
    /// `None` where nobody tells what the broker wrote.
    pub disk_mib_per_second: Option<f64>,
    /// Bytes to disk for each byte produced.
    pub write_amplification: Option<f64>,
    pub syncs_per_second: Option<f64>,
}

/// The usual quantiles of a stage, in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Percentiles {
    pub count: u64,
    pub mean: f64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub p9999: u64,
    pub max: u64,
}

impl Run {
    /// Seconds that count.
    pub fn measured(&self) -> impl Iterator<Item = &Second> {
        self.seconds
            .iter()
            .filter(|second| second.phase == Phase::Measured)
    }

    /// The worst that its marks say.
    pub fn severity(&self) -> Severity {
        let marks = self.marks.iter().map(|mark| mark.severity());
        marks.max().unwrap_or(Severity::Note)
    }

    /// The quantiles of a stage; `None` where nothing was counted.
    pub fn percentiles(&self, stage: Stage) -> Option<Percentiles> {
        let latency = self.stages.get(&stage).filter(|found| found.count() > 0)?;
        Some(Percentiles {
            count: latency.count(),
            mean: latency.mean_us(),
            p50: latency.at(0.5),
            p90: latency.at(0.9),
            p99: latency.at(0.99),
            p999: latency.at(0.999),
            p9999: latency.at(0.9999),
            max: latency.max_us(),
        })
    }

    /// Its figures and quantiles together.
    pub fn all_figures(&self) -> Figures {
        let percentiles = Stage::ALL.iter().copied();
        Figures {
            summary: self.summary(),
            percentiles: percentiles
                .filter_map(|stage| Some((stage, self.percentiles(stage)?)))
                .collect(),
        }
    }

    /// The figures.
    pub fn summary(&self) -> Summary {
        let (mut produced, mut consumed) = (Flow::default(), Flow::default());
        let (mut seconds, mut in_flight) = (0.0, 0.0);
        for second in self.measured() {
            in_flight += second.in_flight as f64 * second.seconds;
            produced.add(second.produced);
            consumed.add(second.consumed);
            seconds += second.seconds;
        }
        if seconds == 0.0 {
            return Summary::default();
        }
        let (best_produced, cpu_producing) = self.best_5s(|second| second.produced);
        let (best_consumed, cpu_consuming) = self.best_5s(|second| second.consumed);
        Summary {
            seconds,
            requests_per_second: produced.requests as f64 / seconds,
            records_per_second: produced.records as f64 / seconds,
            mib_per_second: produced.bytes as f64 / MIB / seconds,
            consumed_mib_per_second: consumed.bytes as f64 / MIB / seconds,
            consumed_records_per_second: consumed.records as f64 / seconds,
            best_5s_mib_per_second: best_produced,
            best_5s_consumed_mib_per_second: best_consumed,
            best_5s_cpu_seconds_per_gib: if best_produced > 0.0 {
                cpu_producing
            } else {
                cpu_consuming
            },
            in_flight_mean: in_flight / seconds,
            in_flight_max: self
                .measured()
                .map(|second| second.in_flight)
                .max()
                .unwrap_or(0),
            reconnects: self.reconnects(),
            generator_cores: self.generator.cpu_seconds / seconds,
            broker: self.broker_cost(produced, consumed, seconds),
        }
    }

    fn reconnects(&self) -> u64 {
        let counted = |second: &&Second| second.phase != Phase::Warmup;
        let counted = self.seconds.iter().filter(counted);
        counted.map(|second| second.reconnects).sum()
    }

    /// The best rate of a flow over five measured seconds in a row, or over all where there are fewer, and what it cost. In a run of hours,
    /// whose intervals are longer, over the best of these.
    fn best_5s(&self, flow: impl Fn(&Second) -> Flow) -> (f64, Option<f64>) {
        let measured = |second: &Second| second.phase == Phase::Measured;
        let first = self.seconds.iter().position(measured).unwrap_or(0);
        let count = self.measured().count();
        let measured = &self.seconds[first..first + count];
        let mut best = (0.0, None);
        for start in 0..count {
            let (mut end, mut seconds) = (start, 0.0);
            while end < count && seconds < BEST_S {
                seconds += measured[end].seconds;
                end += 1;
            }
            if seconds < BEST_S && start > 0 {
                break;
            }
            let stretch = &measured[start..end];
            let bytes: u64 = stretch.iter().map(|second| flow(second).bytes).sum();
            let both = |second: &Second| second.produced.bytes + second.consumed.bytes;
            let through: u64 = stretch.iter().map(both).sum();
            let rate = bytes as f64 / MIB / seconds;
            if rate > best.0 {
                let before = self.broker_sums_before(first + start);
                let cpu = before.zip(measured[end - 1].broker).map(|(before, after)| {
                    (after.cpu_seconds - before.cpu_seconds) / (through as f64 / GIB)
                });
                best = (rate, cpu);
            }
        }
        best
    }

    /// The broker's sums when a second began.
    fn broker_sums_before(&self, index: usize) -> Option<ProcessSums> {
        match index.checked_sub(1) {
            Some(before) => self.seconds[before].broker,
            None => self.broker_before,
        }
    }

    /// From the sums at the end of the second before the first measured one to those of the last.
    fn broker_cost(&self, produced: Flow, consumed: Flow, seconds: f64) -> Option<BrokerCost> {
        let first = self
            .seconds
            .iter()
            .position(|second| second.phase == Phase::Measured)?;
        let before = self.broker_sums_before(first)?;
        let after = self.measured().last()?.broker?;
        let cpu = after.cpu_seconds - before.cpu_seconds;
        let disk = before.disk_written_bytes.zip(after.disk_written_bytes);
        let disk = disk.map(|(before, after)| after.saturating_sub(before) as f64);
        let syncs = before.syncs.zip(after.syncs);
        let rss = self.measured().filter_map(|second| second.broker);
        let bytes = (produced.bytes + consumed.bytes) as f64;
        let requests = (produced.requests + consumed.requests) as f64;
        let per = |amount: f64, by: f64| if by > 0.0 { amount / by } else { 0.0 };
        Some(BrokerCost {
            cores: cpu / seconds,
            cpu_seconds_per_gib: per(cpu, bytes / GIB),
            cpu_us_per_request: per(cpu * 1e6, requests),
            rss_bytes_max: rss.map(|sums| sums.rss_bytes).max().unwrap_or(0),
            disk_mib_per_second: disk.map(|disk| disk / MIB / seconds),
            write_amplification: disk.map(|disk| per(disk, produced.bytes as f64)),
            syncs_per_second: syncs
                .map(|(before, after)| after.saturating_sub(before) as f64 / seconds),
        })
    }
}
