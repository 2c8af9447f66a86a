//! What a run gave, for people and as JSON.

use crate::simple::process::Cost;
use hdrhistogram::Histogram;
use serde_json::{Map, Value};
use std::time::Duration;

const MIB: f64 = (1 << 20) as f64;
const GIB: f64 = (1 << 30) as f64;
/// The stretch whose best rate is told beside the sustained one.
const BEST_SECONDS: usize = 5;

/// The sums at one moment of a run.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Since the beginning of the run, warm-up included.
    pub at: Duration,
    pub requests: u64,
    pub bytes: u64,
    pub cost: Option<Cost>,
}

/// A run: one sample a second, and the first one that counts.
pub struct Run {
    pub samples: Vec<Sample>,
    pub counted_from: usize,
    pub latency_us: Histogram<u64>,
    pub errors: u64,
    /// Records that one request carries, where it is the same for all.
    pub records_per_request: Option<usize>,
}

impl Run {
    /// Prints it.
    pub fn print(&self, json: bool) {
        let facts = self.facts();
        if json {
            let facts = facts
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Value::from(*value)));
            println!("{}", Value::Object(facts.collect::<Map<_, _>>()));
            return;
        }
        for (name, value) in &facts {
            println!("{:<28} {value:>14.2}", name.replace('_', " "));
        }
    }

    /// Name and value, in the order in which they are told.
    fn facts(&self) -> Vec<(&'static str, f64)> {
        let mut facts = Vec::new();
        let (Some(first), Some(last)) = (self.samples.get(self.counted_from), self.samples.last())
        else {
            return facts;
        };
        let mut put = |name, value: f64| facts.push((name, (value * 1000.0).round() / 1000.0));
        let (mib, requests, cpu) = between(first, last);
        put("seconds", (last.at - first.at).as_secs_f64());
        put("mib_per_second", mib);
        put("requests_per_second", requests);
        if let Some(records) = self.records_per_request {
            put("records_per_second", requests * records as f64);
        }
        if let Some(cpu) = cpu {
            put("broker_cpu_s_per_gib", cpu);
        }
        let best = (0..self.samples.len().saturating_sub(BEST_SECONDS))
            .map(|start| between(&self.samples[start], &self.samples[start + BEST_SECONDS]))
            .max_by(|left, right| left.0.total_cmp(&right.0));
        if let Some((mib, _, cpu)) = best {
            put("best_5s_mib_per_second", mib);
            if let Some(cpu) = cpu {
                put("best_5s_cpu_s_per_gib", cpu);
            }
        }
        if let (Some(before), Some(after)) = (first.cost, last.cost) {
            let seconds = (last.at - first.at).as_secs_f64();
            put(
                "broker_cores",
                (after.cpu_seconds - before.cpu_seconds) / seconds,
            );
            put("broker_rss_mib", after.rss_bytes as f64 / MIB);
            put(
                "broker_written_mib_per_s",
                (after.written_bytes - before.written_bytes) as f64 / MIB / seconds,
            );
        }
        if !self.latency_us.is_empty() {
            for (name, quantile) in [
                ("p50_us", 0.5),
                ("p90_us", 0.9),
                ("p99_us", 0.99),
                ("p999_us", 0.999),
                ("max_us", 1.0),
            ] {
                put(name, self.latency_us.value_at_quantile(quantile) as f64);
            }
        }
        put("errors", self.errors as f64);
        facts
    }
}

/// MiB/s, requests/s and broker seconds per GiB between two samples.
fn between(first: &Sample, last: &Sample) -> (f64, f64, Option<f64>) {
    let seconds = (last.at - first.at).as_secs_f64();
    let bytes = (last.bytes - first.bytes) as f64;
    let cpu = first
        .cost
        .zip(last.cost)
        .map(|(before, after)| (after.cpu_seconds - before.cpu_seconds) / (bytes / GIB));
    (
        bytes / MIB / seconds,
        (last.requests - first.requests) as f64 / seconds,
        cpu.filter(|cpu| cpu.is_finite()),
    )
}
