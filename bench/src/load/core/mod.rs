//! One thread of the generator: a ring, its connections, and the loop that brings what is due onto them.
//!
//! Lives on one processor and shares nothing on the way but two flags. Always: (1) at most one send and one receive of a
//! connection are with the kernel, and their memory stays until both are back; (2) a turn of the loop is one system call;
//! (3) a connection that breaks is opened again until `timeout` is over, unless what it carried has moved to another broker.
//! Leaves to others: what requests and answers are (`producer`, `reader`, `group`), when they are due (`schedule`), who leads
//! (`scout`).

mod attending;
mod connection;
mod consuming;
mod moving;
mod producing;
mod transacting;

use super::ledger::Received;
use super::link::{Done, Link, Op};
use super::part::{Failure, Part};
use super::plan::{Lane, Plan, StreamPlan};
use super::producer::Producer;
use super::random::Random;
use super::reader::Reader;
use super::schedule::Schedule;
use super::shared::{SECOND_NS, Shared};
use super::transaction::Transaction;
use attending::Group;
use connection::{Connection, Producing, Reading, Role};
use io_uring::{IoUring, types};
use millstream_net::wire::ErrorCode;
use producing::cumulated;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Duration;

/// How long a turn of the loop waits at most.
const WAIT_NS: u64 = 50_000_000;
/// The same while a connection is opened again.
const WAIT_RECONNECTING_NS: u64 = 2_000_000;
/// A broker that said that it does not lead is left alone so long, or until it is known who does.
const HOLD_NS: u64 = 100_000_000;

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
    streams: Vec<StreamPlan>,
    groups: Vec<Group>,
    received: Vec<Received>,
    schedule: Option<Schedule>,
    weighted: bool,
    transactional: bool,
    /// Connections that have streams, and their cumulated weights.
    lanes: Vec<usize>,
    weights: Vec<f64>,
    turn: usize,
    random: Random,
    part: Part,
    parts: Sender<Part>,
    producing: bool,
    produced_bytes: u64,
    told_ends: bool,
    /// When members began to leave their groups, at the end.
    parting_since_ns: Option<u64>,
    last_progress_ns: u64,
    /// The look-up of leaders that is known here.
    routes_version: u64,
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
        let ring = super::link::ring(plan.connections())?;
        let timeout = Duration::from_secs_f64(shared.workload.timeout);
        let mut core = Core {
            ring,
            connections: Vec::new(),
            streams: Vec::new(),
            groups: Vec::new(),
            received: plan.received,
            schedule: plan.schedule,
            weighted: plan.weighted,
            transactional: shared.workload.transaction_batches > 0,
            lanes: Vec::new(),
            weights: Vec::new(),
            turn: 0,
            random: Random::new(std::process::id().into()),
            part: Part::of(0, &shared.spares),
            parts,
            producing: !plan.producers.is_empty(),
            produced_bytes: 0,
            told_ends: false,
            parting_since_ns: None,
            last_progress_ns: 0,
            routes_version: shared.scout.version(),
            completions: Vec::with_capacity(1024),
            shared,
        };
        for lane in plan.producers {
            core.add_lane(lane, timeout)?;
        }
        core.weigh();
        for plan in plan.readers {
            core.connections.push(Connection {
                link: Link::open(plan.address, timeout)?,
                role: Role::Reads(Reading {
                    reader: Reader::new(plan.places, plan.replay),
                    of: plan.reader,
                    timed: plan.timed,
                    of_member: false,
                    request: Vec::new(),
                    hold_until_ns: 0,
                }),
            });
        }
        for plan in plan.groups {
            core.add_group(plan, timeout)?;
        }
        Ok(core)
    }

    fn add_lane(&mut self, lane: Lane, timeout: Duration) -> Result<(), String> {
        let slots = self.shared.workload.in_flight as usize;
        let batches = self.shared.workload.transaction_batches;
        let topics = lane.partitions(&self.shared.topics);
        let transaction = lane.transaction;
        let transaction = transaction.map(|plan| Transaction::new(plan, batches, topics));
        let mut producing = Producing {
            producer: Producer::new(slots, self.shared.pool.head_bytes()),
            streams: Vec::new(),
            weights: Vec::new(),
            turn: 0,
            transaction,
            hold_until_ns: 0,
        };
        for stream in lane.streams {
            producing.streams.push(self.streams.len() as u32);
            self.streams.push(stream);
        }
        self.connections.push(Connection {
            link: Link::open(lane.address, timeout)?,
            role: Role::Produces(producing),
        });
        self.add_transactions(self.connections.len() - 1, timeout)
    }

    /// Finds which connections have streams, and how often each is chosen.
    fn weigh(&mut self) {
        self.lanes.clear();
        let mut sums = Vec::new();
        for (index, connection) in self.connections.iter_mut().enumerate() {
            let Role::Produces(producing) = &mut connection.role else {
                continue;
            };
            let weight_of = |stream: &u32| self.streams[*stream as usize].weight;
            producing.weights = cumulated(producing.streams.iter().map(weight_of));
            producing.turn = 0;
            if let Some(sum) = producing.weights.last() {
                self.lanes.push(index);
                sums.push(*sum);
            }
        }
        self.weights = cumulated(sums.into_iter());
        self.turn = 0;
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
        // What has no answer now gets none.
        self.part.uncounted += self.in_flight() + self.backlog();
        self.close();
        self.pass_on();
        self.outcome()
    }

    fn outcome(mut self) -> Outcome {
        let mut unread = self.unread_by_groups();
        let mut streams: Vec<Option<StreamPlan>> = self.streams.into_iter().map(Some).collect();
        let mut lanes = Vec::new();
        for connection in self.connections {
            match connection.role {
                Role::Produces(producing) => {
                    let mine = producing.streams.into_iter();
                    lanes.push(Lane {
                        address: connection.link.address,
                        transaction: producing.transaction.map(|transaction| transaction.plan),
                        streams: mine
                            .filter_map(|stream| streams[stream as usize].take())
                            .collect(),
                    });
                }
                Role::Reads(reading) if !reading.of_member => {
                    let left = reading.reader.unread();
                    let of = reading.of;
                    unread.extend(left.map(|(topic, partition)| (of, topic, partition)));
                }
                Role::Reads(_) | Role::Attends(_) | Role::Transacts(_) => {}
            }
        }
        lanes.retain(|lane| !lane.streams.is_empty());
        Outcome {
            lanes,
            received: std::mem::take(&mut self.received),
            unread,
        }
    }

    fn turns(&mut self) -> Result<(), String> {
        loop {
            let now = self.shared.clock().now_ns();
            while now >= (self.part.second as u64 + 1) * SECOND_NS {
                self.pass_on();
                self.end_silence();
            }
            let stopped = self.shared.stop.load(Ordering::Relaxed);
            if stopped && self.has_parted(now) {
                return Ok(());
            }
            if self.routes_version != self.shared.scout.version() {
                self.move_on(now)?;
            }
            if self.producing && !stopped {
                self.produce(now);
            }
            self.attend(now)?;
            self.transact(now);
            self.read_on(now);
            if self.is_done(now) && self.has_parted(now) {
                return Ok(());
            }
            self.start_operations(now)?;
            self.wait(now)?;
            self.complete()?;
        }
    }

    /// Submits sends and receives of every connection that has none with the kernel.
    fn start_operations(&mut self, now: u64) -> Result<(), String> {
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
                Role::Produces(producing) if producing.producer.has_unsent() => {
                    if now < producing.hold_until_ns {
                        continue;
                    }
                    link.begin_send();
                    let template_of = |index| shared.pool.template(index);
                    producing
                        .producer
                        .gather(template_of, |piece| link.add_piece(piece));
                    link.send(&mut self.ring, index)?;
                }
                Role::Reads(Reading { request, .. })
                | Role::Attends(connection::Attending { request, .. })
                | Role::Transacts(connection::Transacting { request, .. })
                    if !request.is_empty() =>
                {
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
        let opens = |each: &Connection| !each.link.is_open() && each.is_needed();
        let reconnecting = self.connections.iter().any(opens);
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
        until = until.min(self.groups_deadline_ns());
        until = until.min(self.transactions_deadline_ns());
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
            if connection.link.is_open() || !connection.is_needed() {
                continue;
            }
            // Whoever leads instead is known some time after this broker is gone.
            self.shared.scout.want();
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
                Role::Produces(producing) => {
                    producing
                        .producer
                        .sent(bytes, |index| self.shared.pool.template(index));
                    if self.shared.workload.acks.0 == 0 {
                        self.unacknowledged(index);
                    } else if self.schedule.is_some() {
                        self.go_on(index);
                    }
                }
                Role::Reads(Reading { request, .. })
                | Role::Attends(connection::Attending { request, .. })
                | Role::Transacts(connection::Transacting { request, .. }) => {
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
        let peer = self.connections[index].link.address;
        let taken = match &self.connections[index].role {
            Role::Produces(_) => self.take_acknowledgements(index),
            Role::Reads(_) => self.take_fetched(index),
            Role::Attends(_) => self.take_told(index),
            Role::Transacts(_) => self.take_transacted(index),
        };
        let taken = taken.map_err(|problem| format!("{peer}: {problem}"))?;
        self.connections[index].link.consume(taken);
        Ok(())
    }

    /// A connection is gone. What was in flight is sent again where the broker knows duplicates; else it stays unresolved.
    fn broken(&mut self, index: usize, what: &'static str) {
        self.shared.scout.want();
        match &mut self.connections[index].role {
            Role::Produces(_) => self.abandon(index, what),
            Role::Reads(reading) => {
                reading.reader.abandon();
                reading.request.clear();
                self.part.failed(("connection", 0, what));
            }
            Role::Attends(attending) => {
                attending.request.clear();
                let (group, seat) = (attending.group, attending.seat);
                self.groups[group].seats[seat].member.broken();
                self.part.failed(("connection", 0, what));
            }
            Role::Transacts(_) => {
                self.ask_again(index);
                self.part.failed(("connection", 0, what));
            }
        }
    }

    /// Breaks connections on which nothing moves that was asked for: a network that is cut does not say so. Once a second.
    fn end_silence(&mut self) {
        let workload = &self.shared.workload;
        let timeout_s = workload.timeout.ceil() as u32;
        // A coordinator answers who joins when all have joined.
        let joining_s = workload.session_ms.div_ceil(1000);
        let answered = if workload.acks.0 == 0 {
            Op::Send
        } else {
            Op::Receive
        };
        for index in 0..self.connections.len() {
            let (op, has_to, patience_s) = match &self.connections[index].role {
                Role::Produces(producing) => {
                    (answered, producing.producer.in_flight() > 0, timeout_s)
                }
                Role::Reads(reading) => (Op::Receive, reading.reader.is_asking(), timeout_s),
                Role::Attends(attending) => {
                    let member = &self.groups[attending.group].seats[attending.seat].member;
                    (Op::Receive, member.is_asking(), timeout_s + joining_s)
                }
                Role::Transacts(transacting) => {
                    let lane = transacting.lane;
                    let asking = self.transaction(lane).is_some_and(|it| it.is_asking());
                    (Op::Receive, asking, timeout_s)
                }
            };
            let link = &mut self.connections[index].link;
            if link.silent_s(op, has_to) > patience_s {
                link.break_off();
                self.broken(index, "no answer within `timeout`");
            }
        }
    }

    /// Gives the second that is over to whoever collects them.
    fn pass_on(&mut self) {
        self.part.in_flight = self.in_flight();
        self.part.backlog = self.backlog();
        let next = Part::of(self.part.second + 1, &self.shared.spares);
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

/// Whether a code says that somebody else leads, or nobody now.
fn is_elsewhere(code: i16) -> bool {
    matches!(
        ErrorCode::from_code(code),
        ErrorCode::UnknownTopicOrPartition
            | ErrorCode::LeaderNotAvailable
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::ReplicaNotAvailable
            | ErrorCode::KafkaStorageError
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::UnknownLeaderEpoch
    )
}
