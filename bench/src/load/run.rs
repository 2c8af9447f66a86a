//! A run from beginning to end: topics, preload, the measured load, reading back, and the result.
//!
//! Always: whatever was measured before something went wrong is in the result, which says so.

use super::core::Outcome;
use super::crew::{Done, Job, Watch, work};
use super::group;
use super::keyring::Keyring;
use super::ledger::{Received, Sent, Span, reconcile};
use super::plan::{Lane, Offsets, StreamPlan, lanes, read_back, readers};
use super::pool::Pool;
use super::reader::FETCH_VERSION;
use super::schedule::Pace;
use super::scout::{Scout, Search};
use super::shared::Shared;
use super::transaction::{self, TransactionPlan};
use super::verdict::marks;
use crate::cluster::{Cluster, EARLIEST, Keyed, Kind, LATEST, Missing, Routes};
use crate::probe::Subject;
use crate::result::{Broker, Ended, ErrorCount, LoopKind, Mark, Phase, Run};
use crate::workload::{Position, Rate, Workload};
use millstream_net::wire::{ApiKey, Str};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last version of Produce whose fields have fixed widths.
const PRODUCE_VERSION: i16 = 8;
/// Runs a workload. An error is one that came before anything was measured.
pub fn run(workload: &Workload, watch: &mut dyn Watch) -> Result<Run, String> {
    run_tagged(workload, watch, new_tag())
}

/// The same with records of this tag.
pub fn run_tagged(workload: &Workload, watch: &mut dyn Watch, tag: u32) -> Result<Run, String> {
    let mut session = Session::prepare(workload, tag)?;
    let mut result = session.result();
    session.preload(watch)?;
    let (due, late) = session.measure(&mut result, watch)?;
    session.read_back(&mut result, watch);
    session.conclude(&mut result, due, late);
    Ok(result)
}

/// A run under way.
struct Session<'a> {
    workload: &'a Workload,
    cluster: Cluster,
    subject: Option<Subject>,
    topics: Vec<String>,
    leaders: Vec<Vec<SocketAddr>>,
    /// Where the partitions ended before the run.
    before: Vec<Vec<i64>>,
    pool: Arc<Pool>,
    tag: u32,
    lanes: Vec<Lane>,
    /// The groups and transactional ids of the workload, and who coordinates them.
    keys: Vec<Keyed>,
    coordinators: Vec<SocketAddr>,
    received: Vec<Received>,
    /// Why reading back did not come to its end.
    unread: Option<String>,
}

impl Session<'_> {
    fn prepare(workload: &Workload, tag: u32) -> Result<Session<'_>, String> {
        let timeout = Duration::from_secs_f64(workload.timeout);
        let subject = Subject::of(workload.pid, &workload.cgroup)?;
        let mut cluster = Cluster::connect(&workload.brokers.0, timeout)?;
        let version = check_apis(workload, &cluster)?;
        let topics = workload.topic_names();
        let missing = if workload.produces() {
            Missing::Made {
                replication: workload.replication,
                configs: &workload.topic_config.0,
            }
        } else {
            Missing::Refused
        };
        let leaders = cluster.leaders(&topics, workload.partitions, missing)?;
        let before = cluster.offsets(&topics, &leaders, LATEST)?;
        let (mut pool, mut all) = (Pool::default(), Vec::new());
        if workload.produces() {
            let keyring = Keyring::of(workload);
            all = lanes(workload, &leaders, keyring.as_ref());
            pool = Pool::build(workload, version, tag, keyring)?;
        }
        if workload.idempotent && workload.transaction_batches == 0 {
            for lane in &mut all {
                let producer = cluster.producer_id(None)?;
                for stream in &mut lane.streams {
                    stream.producer = Some(producer);
                }
            }
        }
        let (mut keys, mut coordinators) = (Vec::new(), Vec::new());
        for group in workload.group_names() {
            let keyed = Keyed {
                kind: Kind::Group,
                key: group,
            };
            coordinators.push(cluster.coordinator(&keyed)?);
            keys.push(keyed);
        }
        if workload.transaction_batches > 0 {
            for (index, lane) in all.iter_mut().enumerate() {
                let keyed = Keyed {
                    kind: Kind::Transaction,
                    key: transaction::transactional_id(tag, index),
                };
                let coordinator = cluster.coordinator(&keyed)?;
                let producer = cluster.producer_id(Some((&keyed.key, coordinator)))?;
                for stream in &mut lane.streams {
                    stream.producer = Some(producer);
                }
                lane.transaction = Some(TransactionPlan {
                    id: Str::from(keyed.key.as_str()),
                    producer,
                    coordinator,
                    key: keys.len(),
                });
                coordinators.push(coordinator);
                keys.push(keyed);
            }
        }
        Ok(Session {
            workload,
            cluster,
            subject,
            topics,
            leaders,
            before,
            pool: Arc::new(pool),
            tag,
            lanes: all,
            keys,
            coordinators,
            received: Vec::new(),
            unread: None,
        })
    }

    fn result(&self) -> Run {
        let workload = self.workload;
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let label = match workload.label.as_str() {
            "" => workload.brokers.to_string(),
            label => label.to_owned(),
        };
        Run {
            label,
            workload: workload.name.clone(),
            settings: workload.settings(),
            loop_kind: if workload.closed {
                LoopKind::Closed
            } else {
                LoopKind::Open
            },
            started_unix_ms: wall.map_or(0, |since| since.as_millis() as u64),
            broker: Broker {
                addresses: workload.brokers.0.clone(),
                cluster_id: self.cluster.cluster_id.clone(),
                nodes: self.cluster.nodes(),
                process: self.subject.as_ref().map(Subject::name),
            },
            ..Run::default()
        }
    }

    fn job(&mut self, warmup_s: u64, measured_s: u64, timed: bool) -> Job {
        let topics = self.topics.iter();
        let shared = Shared::new(
            self.workload.clone(),
            Arc::clone(&self.pool),
            topics.map(|topic| Str::from(topic.as_str())).collect(),
            self.tag,
            warmup_s + measured_s,
            timed,
            self.scout(),
        );
        Job {
            shared,
            warmup_s,
            measured_s,
            lanes: Vec::new(),
            pace: None,
            readers: Vec::new(),
            groups: Vec::new(),
            received: Vec::new(),
            subject: None,
            faults: Vec::new(),
        }
    }

    /// Somebody who looks up who leads when that changes.
    fn scout(&self) -> Arc<Scout> {
        let search = Search {
            brokers: self.workload.brokers.0.clone(),
            topics: self.topics.clone(),
            partitions: self.workload.partitions,
            keys: self.keys.clone(),
        };
        let leaders = self.leaders.iter();
        let known = Routes {
            leaders: leaders
                .map(|each| each.iter().copied().map(Some).collect())
                .collect(),
            coordinators: self.coordinators.iter().copied().map(Some).collect(),
        };
        Scout::start(search, known)
    }

    /// Produces as fast as it goes until the bytes are there.
    fn preload(&mut self, watch: &mut dyn Watch) -> Result<(), String> {
        let bytes = self.workload.preload_bytes;
        if bytes == 0 || !self.workload.produces() {
            return Ok(());
        }
        watch.stage(&format!("preload of {} MiB", bytes >> 20));
        let mut job = self.job(0, 10_000_000, false);
        job.shared.bytes_max = (bytes / u64::from(self.workload.threads)).max(1);
        job.lanes = std::mem::take(&mut self.lanes);
        let done = work(job, &mut Silent(watch), &mut || Ok(Vec::new()))?;
        self.take_back(done.outcomes);
        for stream in self.lanes.iter_mut().flat_map(|lane| &mut lane.streams) {
            stream.sent.began_at = stream.sent.batches;
        }
        match done.failure {
            Some(failure) => Err(format!("the preload failed: {failure}")),
            None => Ok(()),
        }
    }

    /// The measured load. How many requests were due, and how many of them late by the generator's fault.
    fn measure(&mut self, result: &mut Run, watch: &mut dyn Watch) -> Result<(u64, u64), String> {
        let workload = self.workload;
        let earliest = self
            .cluster
            .offsets(&self.topics, &self.leaders, EARLIEST)?;
        let latest = self.cluster.offsets(&self.topics, &self.leaders, LATEST)?;
        let offsets = Offsets {
            earliest: &earliest,
            latest: &latest,
        };
        let reading = readers(workload, &self.leaders, &offsets, &self.coordinators);
        for group in &reading.groups {
            let from = match workload.position {
                Position::Latest => &latest,
                Position::Earliest => &earliest,
            };
            let name = &group.terms.group;
            self.cluster
                .place_group(name, group.coordinator, &self.topics, from)?;
        }
        let streams = self.streams();
        let warmup_s = workload.warmup as u64;
        let measured_s = workload.duration as u64;
        let mut job = self.job(warmup_s, measured_s, true);
        job.pace = pace(workload, warmup_s as f64, measured_s as f64);
        job.lanes = std::mem::take(&mut self.lanes);
        job.readers = reading.readers;
        job.groups = reading.groups;
        let spans = reading.spans.iter();
        job.received = spans.map(|span| Received::new(*span, streams)).collect();
        job.subject = self.subject.clone();
        if workload.once {
            job.shared.read_back_to(latest);
        }
        job.faults = workload.faults.clone();
        let produces = workload.produces();
        let (cluster, topics, leaders) = (&self.cluster, &self.topics, &mut self.leaders);
        let brokers = addresses(workload, leaders);
        let mut ends = || {
            if produces {
                let found = cluster.settle(&brokers, topics, workload.partitions, LATEST)?;
                *leaders = found.0;
                return Ok(found.1);
            }
            // Nothing is produced: readers stop where they are.
            Ok(leaders.iter().map(|each| vec![0; each.len()]).collect())
        };
        let done = work(job, watch, &mut ends)?;
        let counts = (done.due, done.late);
        self.received = self.take_back_all(done, result);
        Ok(counts)
    }

    /// Moves what a load did into the result; what its readers received.
    fn take_back_all(&mut self, done: Done, result: &mut Run) -> Vec<Received> {
        let received = self.take_back(done.outcomes);
        let seconds = done.seconds.into_vec();
        for second in &seconds {
            if second.phase != Phase::Warmup {
                for (stage, latency) in &second.stages {
                    result
                        .stages
                        .entry(*stage)
                        .or_default()
                        .add(&latency.latency());
                }
            }
        }
        result.generator.due = done.due;
        result.generator.backlog_at_end = done.backlog;
        result.generator.uncounted = done.uncounted;
        result.faults = done.faults;
        result.generator.threads = self.workload.threads as usize;
        result.generator.cpu_seconds = done.generator_cpu_seconds;
        result.seconds = seconds;
        result.broker_before = done.broker_before;
        let errors = done.failures.into_iter();
        result.errors = errors
            .map(|((api, code, name), count)| ErrorCount {
                api: api.to_owned(),
                code,
                name: name.to_owned(),
                count,
            })
            .collect();
        if let Some(reason) = done.failure {
            result.ended = Ended::Early(reason);
        }
        received
    }

    /// Puts what was sent back to the streams; what each reader received.
    fn take_back(&mut self, outcomes: Vec<Outcome>) -> Vec<Received> {
        let mut lanes: Vec<Lane> = Vec::new();
        let mut received: Vec<Received> = Vec::new();
        let mut unread = Vec::new();
        for outcome in outcomes {
            lanes.extend(outcome.lanes);
            unread.extend(outcome.unread);
            for (index, theirs) in outcome.received.into_iter().enumerate() {
                match received.get_mut(index) {
                    Some(mine) => mine.merge(theirs),
                    None => received.push(theirs),
                }
            }
        }
        // Threads have them dealt out; the order of the plan is that of the stream numbers.
        lanes.sort_by_key(|lane| lane.streams.first().map(|stream| stream.id));
        if !lanes.is_empty() {
            self.lanes = lanes;
        }
        for (reader, topic, partition) in unread {
            for stream in self.lanes.iter().flat_map(|lane| &lane.streams) {
                if (stream.topic, stream.partition) == (topic, partition) {
                    received[reader].not_read_to_the_end(stream.id);
                }
            }
        }
        received
    }

    fn streams(&self) -> usize {
        self.lanes.iter().map(|lane| lane.streams.len()).sum()
    }

    /// Reads what nobody consumed, to check it.
    fn read_back(&mut self, result: &mut Run, watch: &mut dyn Watch) {
        let checked = self
            .received
            .iter()
            .any(|reader| reader.span != Span::Whatever);
        let gone = result.ended != Ended::Complete;
        if checked || gone || !self.workload.verify || !self.workload.produces() {
            return;
        }
        watch.stage("reading back");
        let seconds = self.workload.verify_seconds;
        self.unread = Some(match self.read_back_all(watch) {
            Err(problem) => problem,
            Ok(()) => format!("{seconds} s were not enough (verify-seconds)"),
        });
    }

    fn read_back_all(&mut self, watch: &mut dyn Watch) -> Result<(), String> {
        let brokers = addresses(self.workload, &self.leaders);
        let partitions = self.workload.partitions;
        let (leaders, ends) = self
            .cluster
            .settle(&brokers, &self.topics, partitions, LATEST)?;
        self.leaders = leaders;
        let streams = self.streams();
        let mut job = self.job(0, self.workload.verify_seconds.ceil() as u64, false);
        job.readers = read_back(&self.leaders, &self.before);
        job.received = vec![Received::new(Span::All, streams)];
        job.shared.read_back_to(ends);
        let done = work(job, &mut Silent(watch), &mut || Ok(Vec::new()))?;
        let received = self.take_back(done.outcomes);
        self.received.extend(received);
        match done.failure {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    /// Integrity and marks.
    fn conclude(&mut self, result: &mut Run, due: u64, late: u64) {
        let streams = self.lanes.drain(..).flat_map(|lane| lane.streams);
        let mut streams: Vec<StreamPlan> = streams.collect();
        // One whose partition moved stands in another lane now.
        streams.sort_by_key(|stream| stream.id);
        let partitions: Vec<i32> = streams.iter().map(|stream| stream.partition).collect();
        let sent: Vec<Sent> = streams.into_iter().map(|stream| stream.sent).collect();
        result.integrity = reconcile(&sent, &self.received, |stream, batch| {
            self.pool.records(partitions[stream], batch)
        });
        let shares = self
            .leaders
            .iter()
            .flatten()
            .any(|leader| leader.ip().is_loopback());
        if self.workload.acks.0 == 0 {
            result.integrity.unacknowledged = std::mem::take(&mut result.integrity.acknowledged);
        }
        result.marks = marks(self.workload, result, due, late);
        let records = result.integrity.unchecked;
        if let Some(problem) = self.unread.take().filter(|_| records > 0) {
            let counted = |mark: &Mark| matches!(mark, Mark::Unchecked { .. });
            result.marks.retain(|mark| !counted(mark));
            result.marks.push(Mark::NotReadBack { records, problem });
        }
        if shares {
            result.marks.push(Mark::SharedMachine);
        }
        result.figures = result.all_figures();
    }
}

/// Refuses what the broker has no API for; the version of Produce.
fn check_apis(workload: &Workload, cluster: &Cluster) -> Result<i16, String> {
    if workload.transaction_batches > 0 {
        let purpose = "a transactional workload";
        cluster.version(ApiKey::InitProducerId, 1, purpose)?;
        cluster.version_exactly(ApiKey::FindCoordinator, 2, purpose)?;
        for (code, name) in transaction::APIS {
            let version = transaction::VERSION;
            let found = cluster.version_of(code, name, version, purpose)?;
            if found != version {
                return Err(format!(
                    "{purpose} needs the API {name} in version {version}; the broker has {found}"
                ));
            }
        }
    }
    if !workload.group.is_empty() {
        let purpose = "a workload with a consumer group";
        for (key, version) in group::APIS {
            cluster.version_exactly(key, version, purpose)?;
        }
    }
    let reads = workload.consumers > 0 || workload.catch_up > 0 || workload.verify;
    if reads {
        cluster.version(ApiKey::Fetch, FETCH_VERSION, "reading")?;
    }
    if !workload.produces() {
        return Ok(PRODUCE_VERSION);
    }
    if workload.idempotent {
        cluster.version(ApiKey::InitProducerId, 1, "an idempotent producer")?;
    }
    cluster.version(ApiKey::Produce, PRODUCE_VERSION, "producing")
}

/// The brokers that were named, and all that lead.
fn addresses(workload: &Workload, leaders: &[Vec<SocketAddr>]) -> Vec<String> {
    let mut all = workload.brokers.0.clone();
    for leader in leaders.iter().flatten().map(SocketAddr::to_string) {
        if !all.contains(&leader) {
            all.push(leader);
        }
    }
    all
}

fn pace(workload: &Workload, begins_s: f64, lasts_s: f64) -> Option<Pace> {
    match workload.rate {
        Rate::Unpaced => None,
        Rate::Constant(rate) => Some(Pace::Constant(rate)),
        Rate::Poisson(rate) => Some(Pace::Poisson(rate)),
        // A sweep is run step by step, each with a constant rate.
        Rate::Sweep(from, _) => Some(Pace::Constant(from)),
        Rate::Ramp(from, to) => Some(Pace::Ramp {
            from,
            to,
            begins_s,
            lasts_s,
        }),
    }
}

/// What tells records of this run from those of others.
fn new_tag() -> u32 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanoseconds = wall.map_or(0, |since| since.as_nanos() as u64);
    let mixed = super::random::Random::new(nanoseconds ^ u64::from(std::process::id())).next_u64();
    mixed as u32
}

/// Passes interruptions and stages on, and no seconds.
struct Silent<'a>(&'a mut dyn Watch);

impl Watch for Silent<'_> {
    fn second(&mut self, _: &crate::result::Second) {}

    fn stage(&mut self, text: &str) {
        self.0.stage(text);
    }

    fn is_interrupted(&self) -> bool {
        self.0.is_interrupted()
    }
}
