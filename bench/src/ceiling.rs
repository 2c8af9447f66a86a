//! What this generator can do at most, on this machine, with requests of a given shape.

use crate::load::{Watch, run};
use crate::result::{Run, Second};
use crate::sink::Sink;
use crate::workload::{List, Rate, Workload};

/// Seconds of one measurement, after one that does not count.
const SECONDS: f64 = 2.0;

/// A run of the workload's requests against the built-in sink, as fast as they are answered.
pub fn measure(workload: &Workload) -> Result<Run, String> {
    let cpus = sink_cpus(workload);
    let sink = Sink::start(&cpus).map_err(|error| format!("the sink does not start: {error}"))?;
    let quick = Workload {
        brokers: List(vec![sink.address.to_string()]),
        rate: Rate::Unpaced,
        closed: true,
        warmup: 1.0,
        duration: SECONDS,
        partitions: workload.partitions.min(crate::sink::PARTITIONS),
        preload_bytes: 0,
        consumers: 0,
        catch_up: 0,
        verify: false,
        pid: 0,
        cgroup: String::new(),
        faults: Vec::new(),
        group: String::new(),
        churn: 0.0,
        transaction_batches: 0,
        acks: crate::workload::Acks(-1),
        ..workload.clone()
    };
    run(&quick, &mut Unwatched)
}

/// The processors that the generator is not pinned to.
fn sink_cpus(workload: &Workload) -> Vec<usize> {
    let mine: Vec<usize> = workload
        .cpus
        .0
        .iter()
        .filter_map(|cpu| cpu.parse().ok())
        .collect();
    if mine.is_empty() {
        return Vec::new();
    }
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    (0..all).filter(|cpu| !mine.contains(cpu)).collect()
}

/// Nobody looks on.
struct Unwatched;

impl Watch for Unwatched {
    fn second(&mut self, _: &Second) {}

    fn stage(&mut self, _: &str) {}

    fn is_interrupted(&self) -> bool {
        false
    }
}
