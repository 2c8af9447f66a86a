//! One thread of the generator: a ring, its connections, and the loop that brings what is due onto them.
//!
//! Lives on one processor and shares nothing on the way but two flags. Always: (1) at most one send and one receive of a
//! connection are with the kernel, and their memory stays until both are back; (2) a turn of the loop is one system call;
//! (3) a connection that breaks is opened again until `timeout` is over, and what was in flight on it stays unresolved.
//! Leaves to others: what requests and answers are (`producer`, `reader`), when they are due (`schedule`).

use super::clock::{Clock, ns};
use super::ledger::{Received, Sent};
use super::link::{Done, Link, Op};
use super::part::Part;
use super::plan::Lane;
use super::producer::{Flight, Producer};
use super::random::Random;
use super::reader::Reader;
use super::schedule::Schedule;
use super::stamp::{Stamp, UNTIMED};
use super::template::{Numbers, Template};
use crate::result::{Flow, Stage};
use crate::workload::Workload;
use io_uring::{IoUring, types};
use millstream_net::wire::{ErrorCode, Str};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

const SECOND_NS: u64 = 1_000_000_000;
/// A request that was sent so much after its due time, although there was room, was late by the generator itself.
const LATE_NS: u64 = 1_000_000;
/// How long a turn of the loop waits at most.
const WAIT_NS: u64 = 50_000_000;
/// The same while a connection is opened again.
const WAIT_RECONNECTING_NS: u64 = 2_000_000;
/// How long readers may go on without anything new before they are given up.
const READ_STALL_NS: u64 = 10 * SECOND_NS;

/// What all threads of a load know.
pub struct Shared {
    pub workload: Workload,
    pub templates: Arc<Vec<Template>>,
    pub topics: Vec<Str>,
    pub tag: u32,
    clock: OnceLock<Clock>,
    /// When production ends, or reading back.
    pub ends_ns: u64,
    /// Bytes after which it ends, for a preload.
    pub bytes_max: u64,
    /// Whether latencies are of interest: not in a preload, nor when reading back.
    pub timed: bool,
    /// Set from outside: stop now.
    pub stop: AtomicBool,
    /// Threads whose producers are not done.
    pub producing: AtomicUsize,
    /// Where the partitions end, once production is over: by topic and partition.
    ends: OnceLock<Vec<Vec<i64>>>,
    /// Whether the ends were known from the beginning.
    reads_back: bool,
    /// The first thing that ended the load early.
    failure: Mutex<Option<String>>,
}

impl Shared {
    /// Of a load that lasts so many seconds.
    pub fn new(
        workload: Workload,
        templates: Arc<Vec<Template>>,
        topics: Vec<Str>,
        tag: u32,
        lasts_s: u64,
        timed: bool,
    ) -> Shared {
        Shared {
            workload,
            templates,
            topics,
            tag,
            clock: OnceLock::new(),
            ends_ns: lasts_s * SECOND_NS,
            bytes_max: u64::MAX,
            timed,
            stop: AtomicBool::new(false),
            producing: AtomicUsize::new(0),
            ends: OnceLock::new(),
            reads_back: false,
            failure: Mutex::new(None),
        }
    }

    /// Starts the clock.
    pub fn start(&self) {
        self.clock.get_or_init(Clock::start);
    }

    /// The clock, which was started before any thread ran.
    #[inline]
    pub fn clock(&self) -> &Clock {
        self.clock.get().expect("threads run when the clock does")
    }

    /// Tells readers where to stop.
    pub fn set_ends(&self, ends: Vec<Vec<i64>>) {
        self.ends.get_or_init(|| ends);
    }

    /// Makes it a load that only reads up to these ends.
    pub fn read_back_to(&mut self, ends: Vec<Vec<i64>>) {
        self.set_ends(ends);
        self.reads_back = true;
    }

    /// Whether it only reads, up to ends that were known before.
    pub fn reads_back(&self) -> bool {
        self.reads_back
    }

    /// What ended it early, if something did.
    pub fn failure(&self) -> Option<String> {
        self.failure
            .lock()
            .expect("no thread panics with it")
            .clone()
    }

    /// Ends the load early; the first reason is kept.
    pub fn fail(&self, reason: String) {
        let mut failure = self.failure.lock().expect("no thread panics with it");
        failure.get_or_insert(reason);
        self.stop.store(true, Ordering::Relaxed);
    }

    fn template(&self, batch: u64) -> &Template {
        &self.templates[(batch % self.templates.len() as u64) as usize]
    }
}

/// A stream of batches: one connection's to one partition.
#[derive(Clone, Debug)]
pub struct StreamPlan {
    pub id: u32,
    pub topic: u32,
    pub partition: i32,
    /// How often it is chosen, where streams are not chosen in turn.
    pub weight: f64,
    pub sent: Sent,
}

/// A connection that produces.
pub struct ProducerPlan {
    pub address: SocketAddr,
    pub streams: Vec<StreamPlan>,
    /// Producer id and epoch, if it is idempotent.
    pub identity: Option<(i64, i16)>,
}

/// A connection that consumes.
#[derive(Clone)]
pub struct ReaderPlan {
    pub address: SocketAddr,
    /// The reader of all partitions that it is part of.
    pub reader: usize,
    pub places: Vec<super::reader::Place>,
    pub replay: bool,
    /// Whether the time from due to receipt is of interest.
    pub timed: bool,
}

/// What one thread has to do.
pub struct Plan {
    pub cpu: Option<usize>,
    pub producers: Vec<ProducerPlan>,
    pub readers: Vec<ReaderPlan>,
    /// Empty sets of what each reader receives.
    pub received: Vec<Received>,
    /// When requests are due; without it they follow answers.
    pub schedule: Option<Schedule>,
    /// Whether streams are drawn by their weights.
    pub weighted: bool,
}

/// What one thread did.
#[derive(Default)]
pub struct Outcome {
    pub lanes: Vec<Lane>,
    pub received: Vec<Received>,
    /// Partitions that a reader did not read to their end: reader, topic, partition.
    pub unread: Vec<(usize, u32, i32)>,
}

enum Role {
    Produces {
        producer: Producer,
        streams: Vec<StreamPlan>,
        /// Cumulated weights.
        weights: Vec<f64>,
        turn: usize,
        identity: Option<(i64, i16)>,
    },
    Reads {
        reader: Reader,
        of: usize,
        timed: bool,
        request: Vec<u8>,
    },
}

struct Connection {
    link: Link,
    role: Role,
}

/// The thread's state.
pub struct Core {
    shared: Arc<Shared>,
    ring: IoUring,
    connections: Vec<Connection>,
    received: Vec<Received>,
    schedule: Option<Schedule>,
    weighted: bool,
    /// Cumulated weights of the producing connections.
    weights: Vec<f64>,
    turn: usize,
    random: Random,
    part: Part,
    parts: Sender<Part>,
    producing: bool,
    produced_bytes: u64,
    told_ends: bool,
    last_progress_ns: u64,
    completions: Vec<(u64, i32)>,
}

impl Core {
    /// Opens its connections.
    pub fn new(plan: Plan, shared: Arc<Shared>, parts: Sender<Part>) -> Result<Core, String> {
        if let Some(cpu) = plan.cpu {
            crate::processor::pin(cpu)
                .map_err(|error| format!("no processor {cpu} to pin to: {error}"))?;
        }
        crate::processor::wake_on_time();
        let ring = super::link::ring(plan.producers.len() + plan.readers.len())?;
        let timeout = Duration::from_secs_f64(shared.workload.timeout);
        let mut connections = Vec::new();
        for plan in plan.producers {
            let slots = shared.workload.in_flight as usize;
            connections.push(Connection {
                link: Link::open(plan.address, timeout)?,
                role: Role::Produces {
                    producer: Producer::new(slots, &shared.templates),
                    weights: cumulated(plan.streams.iter().map(|stream| stream.weight)),
                    streams: plan.streams,
                    turn: 0,
                    identity: plan.identity,
                },
            });
        }
        let producers = connections.len();
        for plan in plan.readers {
            connections.push(Connection {
                link: Link::open(plan.address, timeout)?,
                role: Role::Reads {
                    reader: Reader::new(plan.places, plan.replay),
                    of: plan.reader,
                    timed: plan.timed,
                    request: Vec::new(),
                },
            });
        }
        let weights = connections[..producers].iter().map(|connection| {
            let Role::Produces { weights, .. } = &connection.role else {
                unreachable!("producers stand first");
            };
            weights.last().copied().unwrap_or(0.0)
        });
        Ok(Core {
            weights: cumulated(weights),
            shared,
            ring,
            connections,
            received: plan.received,
            schedule: plan.schedule,
            weighted: plan.weighted,
            turn: 0,
            random: Random::new(std::process::id().into()),
            part: Part::of(0),
            parts,
            producing: producers > 0,
            produced_bytes: 0,
            told_ends: false,
            last_progress_ns: 0,
            completions: Vec::with_capacity(1024),
        })
    }

    /// Runs until there is nothing left to do.
    pub fn run(mut self) -> Outcome {
        if !self.producing {
            self.shared.producing.fetch_sub(1, Ordering::Relaxed);
        }
        if let Err(problem) = self.turns() {
            self.shared.fail(problem);
        }
        if self.producing {
            self.shared.producing.fetch_sub(1, Ordering::Relaxed);
        }
        self.close();
        self.pass_on();
        let mut outcome = Outcome {
            received: self.received,
            ..Outcome::default()
        };
        for connection in self.connections {
            match connection.role {
                Role::Produces { streams, .. } => outcome.lanes.push(Lane {
                    address: connection.link.address,
                    streams,
                }),
                Role::Reads { reader, of, .. } => {
                    let left = reader.unread();
                    let left = left.map(|(topic, partition)| (of, topic, partition));
                    outcome.unread.extend(left);
                }
            }
        }
        outcome
    }

    fn turns(&mut self) -> Result<(), String> {
        loop {
            let now = self.shared.clock().now_ns();
            while now >= (self.part.second as u64 + 1) * SECOND_NS {
                self.pass_on();
            }
            if self.shared.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            if self.producing {
                self.produce(now);
            }
            self.read_on(now)?;
            if self.is_done(now) {
                return Ok(());
            }
            self.start_operations()?;
            self.wait(now)?;
            self.complete()?;
        }
    }

    /// Makes requests due and numbers those that have room; ends production when all that was due in its time is answered, or
    /// given up.
    fn produce(&mut self, now: u64) {
        let over = now >= self.shared.ends_ns || self.produced_bytes >= self.shared.bytes_max;
        if self.schedule.is_some() {
            // Also late: what was due before the end is sent.
            self.issue(now);
        } else if !over {
            self.fill(now);
        }
        let given_up = now >= self.shared.ends_ns + ns(self.shared.workload.timeout);
        if over && (given_up || self.in_flight() + self.backlog() == 0) {
            self.producing = false;
            self.shared.producing.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Open loop: everything that is due goes to a connection, in flight or waiting.
    fn issue(&mut self, now: u64) {
        let ends_ns = self.shared.ends_ns;
        while let Some(due) = self.schedule.as_ref().map(Schedule::next_ns) {
            if due > now || due >= ends_ns {
                break;
            }
            self.schedule.as_mut().expect("just looked at").advance();
            self.part.due += 1;
            let index = self.draw_connection();
            let Role::Produces {
                producer,
                streams,
                weights,
                turn,
                identity,
            } = &mut self.connections[index].role
            else {
                unreachable!("producers stand first");
            };
            let stream = draw(self.weighted, &mut self.random, weights, turn);
            if producer.backlog() > 0 || !producer.has_room() {
                producer.wait(stream as u32, due);
                continue;
            }
            let lateness = now - due;
            self.part.late += u64::from(lateness > LATE_NS);
            if self.shared.timed {
                self.part.stage(Stage::Lateness).record_ns(lateness);
            }
            queue(
                &self.shared,
                producer,
                &mut streams[stream],
                stream,
                *identity,
                due,
            );
        }
    }

    /// Closed loop: every free slot is filled, and due now.
    fn fill(&mut self, now: u64) {
        for connection in &mut self.connections {
            let Role::Produces {
                producer,
                streams,
                weights,
                turn,
                identity,
            } = &mut connection.role
            else {
                return;
            };
            while connection.link.is_open() && producer.has_room() {
                let stream = draw(self.weighted, &mut self.random, weights, turn);
                self.part.due += 1;
                queue(
                    &self.shared,
                    producer,
                    &mut streams[stream],
                    stream,
                    *identity,
                    now,
                );
            }
        }
    }

    fn draw_connection(&mut self) -> usize {
        draw(
            self.weighted,
            &mut self.random,
            &self.weights,
            &mut self.turn,
        )
    }

    /// Lets readers ask that do not; tells them where to stop once that is known.
    fn read_on(&mut self, now: u64) -> Result<(), String> {
        let ends = self.shared.ends.get();
        let tell = ends.is_some() && !self.told_ends;
        for connection in &mut self.connections {
            let Role::Reads {
                reader, request, ..
            } = &mut connection.role
            else {
                continue;
            };
            if let (true, Some(ends)) = (tell, ends) {
                reader.end_at(|topic, partition| ends[topic as usize][partition as usize]);
                self.last_progress_ns = now;
            }
            let wanted = ends.is_none() || !reader.is_done();
            if wanted && connection.link.is_open() && !reader.is_asking() && request.is_empty() {
                *request = reader.ask(&self.shared.workload, &self.shared.topics, now);
            }
        }
        self.told_ends |= tell;
        Ok(())
    }

    fn is_done(&self, now: u64) -> bool {
        if self.producing {
            return false;
        }
        let mut readers = self.connections.iter().filter_map(|each| match &each.role {
            Role::Reads { reader, .. } => Some(reader),
            Role::Produces { .. } => None,
        });
        if !self.told_ends {
            return readers.next().is_none() && self.shared.producing.load(Ordering::Relaxed) == 0;
        }
        let stalled = now.saturating_sub(self.last_progress_ns) > READ_STALL_NS;
        stalled || readers.all(|reader| reader.is_done())
    }

    /// Submits sends and receives of every connection that has none with the kernel.
    fn start_operations(&mut self) -> Result<(), String> {
        let shared = &self.shared;
        for (index, connection) in self.connections.iter_mut().enumerate() {
            let link = &mut connection.link;
            if !link.is_open() {
                continue;
            }
            if !link.is_receiving() {
                link.receive(&mut self.ring, index)?;
            }
            if link.is_sending() {
                continue;
            }
            match &mut connection.role {
                Role::Produces { producer, .. } if producer.has_unsent() => {
                    link.begin_send();
                    let template_of = |batch| shared.template(batch);
                    producer.gather(template_of, |piece| link.add_piece(piece));
                    link.send(&mut self.ring, index)?;
                }
                Role::Reads { request, .. } if !request.is_empty() => {
                    link.begin_send();
                    link.add_piece(request);
                    link.send(&mut self.ring, index)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Submits, and waits for a completion or until something is due.
    fn wait(&mut self, now: u64) -> Result<(), String> {
        let reconnecting = self.connections.iter().any(|each| !each.link.is_open());
        let mut until = now
            + if reconnecting {
                WAIT_RECONNECTING_NS
            } else {
                WAIT_NS
            };
        if let (true, Some(schedule)) = (now < self.shared.ends_ns, &self.schedule) {
            until = until.min(schedule.next_ns());
        }
        until = until.min((self.part.second as u64 + 1) * SECOND_NS);
        let left = if self.shared.workload.spin {
            0
        } else {
            until.saturating_sub(self.shared.clock().now_ns())
        };
        // Also without waiting: a ring whose work is deferred gives completions only to who asks for them.
        let time = types::Timespec::new()
            .sec(left / SECOND_NS)
            .nsec((left % SECOND_NS) as u32);
        let args = types::SubmitArgs::new().timespec(&time);
        let submitted = self.ring.submitter().submit_with_args(1, &args);
        match submitted {
            Ok(_) => Ok(()),
            Err(error) if is_passing(&error) => Ok(()),
            Err(error) => Err(format!("the ring of the generator fails: {error}")),
        }
    }

    /// Takes what the kernel has done.
    fn complete(&mut self) -> Result<(), String> {
        let mut completions = std::mem::take(&mut self.completions);
        let queue = self.ring.completion();
        completions.extend(queue.map(|entry| (entry.user_data(), entry.result())));
        for (user_data, result) in completions.drain(..) {
            self.complete_one(user_data, result)?;
        }
        self.completions = completions;
        for index in 0..self.connections.len() {
            let connection = &mut self.connections[index];
            if connection.link.is_open() {
                continue;
            }
            let limit = Duration::from_secs_f64(self.shared.workload.timeout);
            if connection.link.reopen(limit)? {
                self.part.reconnects += 1;
            }
        }
        Ok(())
    }

    fn complete_one(&mut self, user_data: u64, result: i32) -> Result<(), String> {
        let (index, op) = super::link::decode(user_data);
        let connection = &mut self.connections[index];
        match connection.link.completed(op, result) {
            Done::Bytes(bytes) if op == Op::Send => match &mut connection.role {
                Role::Produces { producer, .. } => {
                    producer.sent(bytes, |batch| self.shared.template(batch));
                    if self.shared.workload.acks.0 == 0 {
                        self.unacknowledged(index);
                    } else if self.schedule.is_some() {
                        self.go_on(index);
                    }
                }
                Role::Reads { request, .. } => {
                    request.drain(..bytes);
                }
            },
            Done::Bytes(_) => self.answers(index)?,
            Done::Broken(what) => self.broken(index, what),
            Done::Nothing => {}
        }
        Ok(())
    }

    /// Takes whole frames that were received.
    fn answers(&mut self, index: usize) -> Result<(), String> {
        let now = self.shared.clock().now_ns();
        let shared = Arc::clone(&self.shared);
        let connection = &mut self.connections[index];
        let peer = connection.link.address;
        let mut taken = 0;
        loop {
            let next = connection.link.frame(taken);
            let frame = match next.map_err(|problem| format!("{peer}: {problem}"))? {
                Some(frame) => frame,
                None => break,
            };
            taken += 4 + frame.len();
            match &mut connection.role {
                Role::Produces {
                    producer, streams, ..
                } => {
                    let answer = producer
                        .answer(frame)
                        .map_err(|problem| format!("{peer}: {problem}"))?;
                    let stream = &mut streams[answer.flight.stream as usize];
                    let done = (answer.code, &answer.flight);
                    self.produced_bytes += acknowledge(&shared, &mut self.part, stream, done, now);
                }
                Role::Reads {
                    reader, of, timed, ..
                } => {
                    let part = std::cell::RefCell::new(&mut self.part);
                    let brought = reader
                        .answer(
                            frame,
                            &shared.topics,
                            shared.tag,
                            &mut self.received[*of],
                            |due| {
                                let latency = now.saturating_sub(due);
                                if !*timed {
                                    return;
                                }
                                part.borrow_mut().stage(Stage::EndToEnd).record_ns(latency);
                            },
                            |code| part.borrow_mut().failed(failure("Fetch", code)),
                        )
                        .map_err(|problem| format!("{peer}: {problem}"))?;
                    if brought.flow.records > 0 {
                        self.last_progress_ns = now;
                        let waited = now.saturating_sub(brought.asked_ns);
                        self.part.stage(Stage::Fetch).record_ns(waited);
                    }
                    self.part.consumed.add(brought.flow);
                }
            }
        }
        connection.link.consume(taken);
        if self.schedule.is_some() && self.producing {
            self.go_on(index);
        }
        Ok(())
    }

    /// Numbers requests that waited for a slot.
    fn go_on(&mut self, index: usize) {
        let Role::Produces {
            producer,
            streams,
            identity,
            ..
        } = &mut self.connections[index].role
        else {
            return;
        };
        while let Some((stream, due)) = producer.next_waiting() {
            let plan = &mut streams[stream as usize];
            queue(
                &self.shared,
                producer,
                plan,
                stream as usize,
                *identity,
                due,
            );
        }
    }

    /// Without acknowledgements a request is done when it is sent.
    fn unacknowledged(&mut self, index: usize) {
        let now = self.shared.clock().now_ns();
        let Role::Produces {
            producer, streams, ..
        } = &mut self.connections[index].role
        else {
            return;
        };
        while let Some(flight) = producer.unacknowledged() {
            let stream = &mut streams[flight.stream as usize];
            let bytes = acknowledge(&self.shared, &mut self.part, stream, (0, &flight), now);
            self.produced_bytes += bytes;
        }
        self.go_on(index);
    }

    fn broken(&mut self, index: usize, what: &'static str) {
        match &mut self.connections[index].role {
            Role::Produces { producer, .. } => {
                while producer.abandon().is_some() {
                    self.part.failed(("connection", 0, what));
                }
                // What waited has the slots now, and is sent when the connection is open again.
                self.go_on(index);
            }
            Role::Reads {
                reader, request, ..
            } => {
                reader.abandon();
                request.clear();
                self.part.failed(("connection", 0, what));
            }
        }
    }

    fn in_flight(&self) -> u64 {
        let each = self.connections.iter().map(|each| match &each.role {
            Role::Produces { producer, .. } => producer.in_flight(),
            Role::Reads { .. } => 0,
        });
        each.sum()
    }

    /// Requests that are due and have no slot.
    fn backlog(&self) -> u64 {
        let each = self.connections.iter().map(|each| match &each.role {
            Role::Produces { producer, .. } => producer.backlog() as u64,
            Role::Reads { .. } => 0,
        });
        each.sum()
    }

    /// Gives the second that is over to whoever collects them.
    fn pass_on(&mut self) {
        self.part.in_flight = self.in_flight();
        self.part.backlog = self.backlog();
        let next = Part::of(self.part.second + 1);
        let part = std::mem::replace(&mut self.part, next);
        // Nobody listens any more only where the run was given up.
        let _ = self.parts.send(part);
    }

    /// Closes all connections and waits until the kernel has given back their memory.
    fn close(&mut self) {
        self.connections.iter().for_each(|each| each.link.shut());
        for _ in 0..1000 {
            if !self.connections.iter().any(|each| each.link.is_busy()) {
                return;
            }
            let time = types::Timespec::new().nsec(10_000_000);
            let args = types::SubmitArgs::new().timespec(&time);
            // A wait that ends early is followed by the next.
            let _ = self.ring.submitter().submit_with_args(1, &args);
            let done: Vec<_> = self
                .ring
                .completion()
                .map(|entry| (entry.user_data(), entry.result()))
                .collect();
            for (user_data, result) in done {
                let (index, op) = super::link::decode(user_data);
                self.connections[index].link.completed(op, result);
            }
        }
        panic!("the kernel keeps the memory of a closed connection");
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
    )
}

/// Numbers the next batch of a stream.
#[inline]
fn queue(
    shared: &Shared,
    producer: &mut Producer,
    plan: &mut StreamPlan,
    stream: usize,
    identity: Option<(i64, i16)>,
    due: u64,
) {
    let batch = plan.sent.batches;
    let template = shared.template(batch);
    let numbers = Numbers {
        correlation_id: 0,
        topic: &shared.topics[plan.topic as usize],
        partition: plan.partition,
        stamp: Stamp {
            tag: shared.tag,
            stream: plan.id,
            batch,
            due_ns: if shared.timed { due } else { UNTIMED },
            records: template.records,
        },
        wall_ms: shared.clock().wall_ms(due),
        producer: identity.map(|(id, epoch)| (id, epoch, (plan.sent.records & 0x7fff_ffff) as i32)),
    };
    let flight = Flight {
        due_ns: due,
        stream: stream as u32,
        batch,
    };
    producer.queue(template, flight, numbers);
    plan.sent.batches += 1;
    plan.sent.records += u64::from(template.records);
}

/// Counts what became of a request; the bytes that are acknowledged by it.
#[inline]
fn acknowledge(
    shared: &Shared,
    part: &mut Part,
    stream: &mut StreamPlan,
    (code, flight): (i16, &Flight),
    now: u64,
) -> u64 {
    if code != 0 {
        part.failed(failure("Produce", code));
        return 0;
    }
    let template = shared.template(flight.batch);
    stream.sent.acknowledged.insert(flight.batch);
    part.produced.add(Flow {
        requests: 1,
        records: u64::from(template.records),
        bytes: template.batch_bytes as u64,
    });
    if shared.timed {
        let latency = now.saturating_sub(flight.due_ns);
        part.stage(Stage::Produce).record_ns(latency);
    }
    template.batch_bytes as u64
}

fn failure(api: &'static str, code: i16) -> super::part::Failure {
    (api, code, ErrorCode::from_code(code).name())
}

/// The next index: in turn, or by weight.
#[inline]
fn draw(weighted: bool, random: &mut Random, weights: &[f64], turn: &mut usize) -> usize {
    if weighted {
        let drawn = random.fraction() * weights.last().expect("there is one to draw");
        return weights
            .partition_point(|sum| *sum <= drawn)
            .min(weights.len() - 1);
    }
    let index = *turn;
    *turn = if index + 1 == weights.len() {
        0
    } else {
        index + 1
    };
    index
}

fn cumulated(weights: impl Iterator<Item = f64>) -> Vec<f64> {
    weights
        .scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        })
        .collect()
}
