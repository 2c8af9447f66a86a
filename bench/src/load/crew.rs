//! The threads of a load, and the one that collects what they saw.
//!
//! Always: (1) the clock starts when every connection of every thread is open; (2) a second is told when every thread has told
//! it; (3) all threads have ended when this returns.

use super::clock::ns;
use super::core::{Core, Outcome};
use super::faults::Faults;
use super::group::GroupPlan;
use super::ledger::Received;
use super::part::{Failure, Part, Spares};
use super::plan::{Lane, Plan, ReaderPlan};
use super::schedule::{Pace, Schedule};
use super::shared::Shared;
use crate::probe::{self, Subject};
use crate::result::{FaultRun, Intervals, Latency, Phase, ProcessSums, Second, Stage};
use crate::workload::Fault;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often threads are looked after while nothing comes.
const TURN: Duration = Duration::from_millis(20);

/// Who looks on.
pub trait Watch {
    /// A second is over.
    fn second(&mut self, second: &Second);
    /// Something begins or happens.
    fn stage(&mut self, text: &str);
    /// Whether to stop early.
    fn is_interrupted(&self) -> bool;
}

/// A load.
pub struct Job {
    pub shared: Shared,
    pub warmup_s: u64,
    pub measured_s: u64,
    pub lanes: Vec<Lane>,
    pub pace: Option<Pace>,
    pub readers: Vec<ReaderPlan>,
    pub groups: Vec<GroupPlan>,
    pub received: Vec<Received>,
    pub subject: Option<Subject>,
    pub faults: Vec<Fault>,
}

/// What a load gave.
#[derive(Default)]
pub struct Done {
    pub seconds: Intervals,
    pub failures: BTreeMap<Failure, u64>,
    /// Requests that were due in the measured time, and those of them that were late by the generator's fault.
    pub due: u64,
    pub late: u64,
    /// Requests that were due and unsent when production ended.
    pub backlog: u64,
    /// Requests after the warm-up that failed or were given up.
    pub uncounted: u64,
    pub faults: Vec<FaultRun>,
    pub broker_before: Option<ProcessSums>,
    pub generator_cpu_seconds: f64,
    pub outcomes: Vec<Outcome>,
    /// Why it ended early.
    pub failure: Option<String>,
}

/// Runs a load. `ends` tells where the partitions end, once production is over. An error is one before the clock started.
pub fn work(
    job: Job,
    watch: &mut dyn Watch,
    ends: &mut dyn FnMut() -> Result<Vec<Vec<i64>>, String>,
) -> Result<Done, String> {
    let (mut crew, barrier) = Crew::hire(job)?;
    let mut done = Done {
        broker_before: crew.sums(),
        ..Done::default()
    };
    crew.shared.start();
    barrier.wait();
    let own_before = probe::own();
    let mut told = false;
    while crew.threads.iter().any(|thread| !thread.is_finished()) {
        match crew.parts.recv_timeout(TURN) {
            Ok(part) => crew.take(part),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(TURN),
        }
        crew.sample();
        crew.tell(&mut done, watch);
        let now = crew.shared.clock().now_ns();
        crew.faults.turn(now, &crew.shared.workload, watch);
        if watch.is_interrupted() {
            crew.shared.fail("interrupted".into());
        }
        let over = now >= crew.shared.ends_ns;
        if crew.shared.reads_back() {
            // What is left then counts as unchecked.
            if over {
                crew.shared.stop.store(true, Ordering::Relaxed);
            }
        } else if !told && over_for_all(&crew, over) {
            told = true;
            match ends() {
                Ok(ends) => crew.shared.set_ends(ends),
                Err(problem) => crew.shared.fail(problem),
            }
        }
    }
    for thread in crew.threads.drain(..) {
        let outcome = thread
            .join()
            .map_err(|_| "a thread of the generator panicked")?;
        done.outcomes.push(outcome);
    }
    while let Ok(part) = crew.parts.try_recv() {
        crew.take(part);
    }
    crew.tell_rest(&mut done, watch);
    // What ended with the run is told as well.
    let now = crew.shared.clock().now_ns();
    crew.faults.look(now, watch);
    done.faults = crew.faults.told();
    crew.shared.scout.end();
    let seconds = done.seconds.as_slice();
    let is_measured = |each: &Second| each.phase == Phase::Measured;
    let last = seconds.iter().rfind(|each| is_measured(each));
    let last = last.map_or(own_before, |last| last.generator);
    let before = match seconds.iter().position(is_measured) {
        Some(index) if index > 0 => seconds[index - 1].generator,
        _ => own_before,
    };
    done.generator_cpu_seconds = last.cpu_seconds - before.cpu_seconds;
    done.failure = crew.shared.failure();
    Ok(done)
}

/// Whether production is over everywhere, and with it everything but reading.
fn over_for_all(crew: &Crew, over: bool) -> bool {
    let producing = crew.shared.producing.load(Ordering::Relaxed);
    producing == 0 && (over || crew.produces)
}

struct Crew {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Outcome>>,
    parts: Receiver<Part>,
    /// Parts by second.
    pending: BTreeMap<usize, Vec<Part>>,
    subject: Option<Subject>,
    /// Sums at the ends of the seconds that are not told yet, of the broker and of the generator.
    samples: BTreeMap<usize, (Option<ProcessSums>, ProcessSums)>,
    /// The second whose end is the next one that is to be sampled.
    sampled: usize,
    faults: Faults,
    warmup_s: u64,
    measured_s: u64,
    produces: bool,
}

impl Crew {
    /// Starts the threads and waits until all have their connections.
    fn hire(job: Job) -> Result<(Crew, Arc<Barrier>), String> {
        let plans = deal(&job);
        let count = plans.len();
        let mut shared = job.shared;
        shared.producing = count.into();
        shared.spares = Spares::of(count);
        let shared = Arc::new(shared);
        let barrier = Arc::new(Barrier::new(count + 1));
        let (sender, parts) = channel();
        let (ready_sender, ready) = channel();
        let threads: Vec<JoinHandle<Outcome>> = plans
            .into_iter()
            .map(|plan| {
                let start = (
                    Arc::clone(&shared),
                    Arc::clone(&barrier),
                    sender.clone(),
                    ready_sender.clone(),
                );
                std::thread::spawn(move || thread(plan, start))
            })
            .collect();
        drop(ready_sender);
        // Threads that could not open their connections report it and pass the barrier with nothing to do.
        let problem = ready.iter().take(count).find_map(Result::err);
        if let Some(problem) = problem {
            shared.fail(problem.clone());
            shared.start();
            barrier.wait();
            for thread in threads {
                // What it did is of no interest any more.
                let _ = thread.join();
            }
            return Err(problem);
        }
        let crew = Crew {
            shared,
            threads,
            parts,
            pending: BTreeMap::new(),
            subject: job.subject,
            samples: BTreeMap::new(),
            sampled: 0,
            faults: Faults::new(job.faults, job.warmup_s as f64),
            warmup_s: job.warmup_s,
            measured_s: job.measured_s,
            produces: !job.lanes.is_empty(),
        };
        Ok((crew, barrier))
    }

    fn sums(&self) -> Option<ProcessSums> {
        self.subject.as_ref().and_then(Subject::sums)
    }

    fn take(&mut self, part: Part) {
        self.pending.entry(part.second).or_default().push(part);
    }

    /// Reads the sums at the end of a second.
    fn sample(&mut self) {
        let now = self.shared.clock().now_ns();
        while now >= ns((self.sampled + 1) as f64) {
            let sums = self.sums();
            self.samples.insert(self.sampled, (sums, probe::own()));
            self.sampled += 1;
        }
    }

    /// Tells the seconds that all threads have told.
    fn tell(&mut self, done: &mut Done, watch: &mut dyn Watch) {
        let all = self.threads.len();
        while let Some(entry) = self.pending.first_entry() {
            let second = *entry.key();
            if entry.get().len() < all || second >= self.sampled {
                return;
            }
            let parts = entry.remove();
            self.tell_one(second, parts, done, watch);
        }
    }

    fn tell_rest(&mut self, done: &mut Done, watch: &mut dyn Watch) {
        let sums = (self.sums(), probe::own());
        while let Some((second, parts)) = self.pending.pop_first() {
            self.samples.entry(second).or_insert(sums);
            self.tell_one(second, parts, done, watch);
        }
    }

    fn tell_one(&mut self, index: usize, parts: Vec<Part>, done: &mut Done, watch: &mut dyn Watch) {
        let sums = self.samples.remove(&index);
        let (broker, generator) = sums.expect("a second is told once, when its end is sampled");
        let begins_at = index as u64;
        let phase = if begins_at < self.warmup_s {
            Phase::Warmup
        } else if begins_at < self.warmup_s + self.measured_s {
            Phase::Measured
        } else {
            Phase::Drain
        };
        let elapsed = self.shared.clock().now_ns() as f64 / 1e9;
        let mut second = Second {
            begins_at: begins_at as f64,
            seconds: (elapsed - begins_at as f64).clamp(0.001, 1.0),
            phase,
            broker,
            generator,
            ..Second::default()
        };
        let mut stages: BTreeMap<Stage, Latency> = BTreeMap::new();
        for mut part in parts {
            second.produced.add(part.produced);
            second.consumed.add(part.consumed);
            second.reconnects += part.reconnects;
            second.in_flight += part.in_flight;
            second.backlog += part.backlog;
            for (stage, latency) in part.stages() {
                stages.entry(stage).or_default().add(latency);
            }
            for (failure, count) in std::mem::take(&mut part.failures) {
                second.errors += count;
                if phase != Phase::Warmup {
                    *done.failures.entry(failure).or_default() += count;
                }
            }
            if phase != Phase::Warmup {
                done.uncounted += part.uncounted;
            }
            if phase == Phase::Measured {
                done.due += part.due;
                done.late += part.late;
            }
            self.shared.spares.put(part);
        }
        let stages = stages.iter();
        second.stages = stages
            .map(|(stage, latency)| (*stage, latency.packed()))
            .collect();
        if phase == Phase::Measured {
            done.backlog = second.backlog;
        }
        watch.second(&second);
        done.seconds.push(second);
    }
}

type Start = (
    Arc<Shared>,
    Arc<Barrier>,
    Sender<Part>,
    Sender<Result<(), String>>,
);

fn thread(plan: Plan, (shared, barrier, parts, ready): Start) -> Outcome {
    let core = Core::new(plan, shared, parts);
    let told = match &core {
        Ok(_) => ready.send(Ok(())),
        Err(problem) => ready.send(Err(problem.clone())),
    };
    told.expect("whoever started this thread waits for it");
    drop(ready);
    barrier.wait();
    match core {
        Ok(core) => core.run(),
        Err(_) => Outcome::default(),
    }
}

/// Deals connections to threads.
fn deal(job: &Job) -> Vec<Plan> {
    let workload = &job.shared.workload;
    let count = workload.threads as usize;
    let weighted = workload.keys != crate::workload::Keys::None;
    let mut plans: Vec<Plan> = (0..count)
        .map(|index| Plan {
            cpu: cpu(&workload.cpus.0, index),
            producers: Vec::new(),
            readers: Vec::new(),
            groups: Vec::new(),
            received: job.received.clone(),
            schedule: None,
            weighted,
        })
        .collect();
    for (index, lane) in job.lanes.iter().enumerate() {
        plans[index % count].producers.push(lane.clone());
    }
    for (index, reader) in job.readers.iter().enumerate() {
        plans[(index + job.lanes.len()) % count]
            .readers
            .push(reader.clone());
    }
    for (index, group) in job.groups.iter().enumerate() {
        plans[index % count].groups.push(group.clone());
    }
    if let Some(pace) = job.pace {
        let part = |plan: &Plan| -> f64 {
            let streams = plan.producers.iter().map(|each| {
                if weighted {
                    each.streams.iter().map(|stream| stream.weight).sum()
                } else {
                    1.0
                }
            });
            streams.sum()
        };
        let whole: f64 = plans.iter().map(part).sum();
        for (index, plan) in plans.iter_mut().enumerate() {
            let share = part(plan) / whole;
            if share > 0.0 {
                let phase = index as f64 / count as f64;
                plan.schedule = Some(Schedule::new(pace, share, phase, index as u64));
            }
        }
    }
    plans
}

fn cpu(cpus: &[String], index: usize) -> Option<usize> {
    let text = cpus.get(index % cpus.len().max(1))?;
    text.parse().ok()
}
