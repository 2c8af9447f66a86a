//! One thread of the generator: a ring, its connections, and the loop that brings what is due onto them.
//!
//! Lives on one processor and shares nothing on the way but two flags. Always: (1) at most one send and one receive of a
//! connection are with the kernel, and their memory stays until both are back; (2) a turn of the loop is one system call;
//! (3) a connection that breaks is opened again until `timeout` is over, and what was in flight on it stays unresolved.
//! Leaves to others: what requests and answers are (`producer`, `reader`), when they are due (`schedule`).

mod connection;
mod consuming;
mod producing;

use super::ledger::Received;
use super::link::{Done, Link, Op};
use super::part::{Failure, Part};
use super::plan::{Lane, Plan};
use super::producer::Producer;
use super::random::Random;
use super::reader::Reader;
use super::schedule::Schedule;
use super::shared::{SECOND_NS, Shared};
use crate::result::Stage;
use connection::{Connection, Role};
use io_uring::{IoUring, types};
use millstream_net::wire::ErrorCode;
use producing::{acknowledge, cumulated};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Duration;

/// How long a turn of the loop waits at most.
const WAIT_NS: u64 = 50_000_000;
/// The same while a connection is opened again.
const WAIT_RECONNECTING_NS: u64 = 2_000_000;

/// What one thread did.
#[derive(Default)]
pub struct Outcome {
    pub lanes: Vec<Lane>,
    pub received: Vec<Received>,
    /// Partitions that a reader did not read to their end: reader, topic, partition.
    pub unread: Vec<(usize, u32, i32)>,
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

fn failure(api: &'static str, code: i16) -> Failure {
    (api, code, ErrorCode::from_code(code).name())
}
