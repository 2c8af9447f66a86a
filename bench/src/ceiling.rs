//! What this generator can do at most, on this machine, with requests of a given shape.
//!
//! Always: it is measured in a closed loop, with an answer to every request, whatever the workload says: what the generator can
//! do when nothing but itself holds it up. Producing and consuming are measured one after the other, each with all threads, so
//! that a run that does both is told the sum of both parts.

use crate::load::{Ceiling, Watch, run_tagged, sample_batch};
use crate::result::{Run, Second};
use crate::sink::{Sink, Stock};
use crate::workload::{Acks, List, Position, Rate, Workload};

/// How long one measurement is, after how long that does not count; in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub warmup: f64,
    pub duration: f64,
}

/// That of a run's ceiling.
pub const USUAL: Span = Span {
    warmup: 1.0,
    duration: 2.0,
};
/// The tag of the records of a measurement.
const TAG: u32 = 0x5e1f_7e57;

/// What of a workload has a ceiling: producing, consuming, or both.
pub fn measure(workload: &Workload) -> Result<Ceiling, String> {
    let mut ceiling = Ceiling::default();
    if workload.produces() {
        let run = of_producing(workload, USUAL)?;
        ceiling.requests_per_second = Some(run.summary().requests_per_second);
    }
    if workload.consumers > 0 || workload.catch_up > 0 {
        let run = of_consuming(workload, USUAL)?;
        ceiling.consumed_mib_per_second = Some(run.summary().consumed_mib_per_second);
    }
    Ok(ceiling)
}

/// A run of the workload's produce requests against the built-in sink, as fast as they are answered.
pub fn of_producing(workload: &Workload, span: Span) -> Result<Run, String> {
    let sink = start(workload, None)?;
    let quick = Workload {
        consumers: 0,
        catch_up: 0,
        closed: true,
        acks: Acks(-1),
        ..quick(workload, &sink, span)
    };
    run_tagged(&quick, &mut Unwatched, TAG)
}

/// A run of as many readers as the workload has, of batches of the shape that it says, as fast as the built-in sink answers. The
/// readers check every record where the workload's readers do: where the records are its own.
pub fn of_consuming(workload: &Workload, span: Span) -> Result<Run, String> {
    let (batch, records) = sample_batch(workload, TAG)?;
    let sink = start(workload, Some(Stock { batch, records }))?;
    let quick = Workload {
        connections: 0,
        closed: false,
        idempotent: false,
        position: Position::Latest,
        replay: false,
        once: false,
        ..quick(workload, &sink, span)
    };
    let tag = if workload.produces() { TAG } else { TAG + 1 };
    run_tagged(&quick, &mut Unwatched, tag)
}

/// A sink on the processors that the generator is not pinned to.
fn start(workload: &Workload, stock: Option<Stock>) -> Result<Sink, String> {
    let cpus = sink_cpus(workload);
    Sink::start(&cpus, stock).map_err(|error| format!("the sink does not start: {error}"))
}

/// The workload, short and at the sink.
fn quick(workload: &Workload, sink: &Sink, span: Span) -> Workload {
    Workload {
        brokers: List(vec![sink.address.to_string()]),
        rate: Rate::Unpaced,
        warmup: span.warmup,
        duration: span.duration,
        partitions: workload.partitions.min(crate::sink::PARTITIONS),
        preload_bytes: 0,
        verify: false,
        pid: 0,
        cgroup: String::new(),
        faults: Vec::new(),
        group: String::new(),
        churn: 0.0,
        transaction_batches: 0,
        ..workload.clone()
    }
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
