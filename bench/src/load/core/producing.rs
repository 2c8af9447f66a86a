//! The producing half of a thread: which requests become due, onto which connection they go, what their answers count for.
//!
//! Always: (1) what was due before the end is sent, however late, and its latency counts from when it was due; (2) a stream of an
//! idempotent producer keeps its order: what failed in a way that passes is sent again before anything later.

use super::connection::{Producing, Role};
use super::{Core, HOLD_NS, failure, is_elsewhere};
use crate::load::clock::ns;
use crate::load::part::Part;
use crate::load::plan::StreamPlan;
use crate::load::producer::{Due, Flight, Producer};
use crate::load::random::Random;
use crate::load::schedule::Schedule;
use crate::load::shared::Shared;
use crate::load::stamp::{Stamp, UNTIMED};
use crate::load::template::Numbers;
use crate::load::transaction::Transaction;
use crate::result::{Flow, Stage};
use millstream_net::wire::ErrorCode;
use std::sync::atomic::Ordering;

/// A request that was sent so much after its due time, although there was room, was late by the generator itself.
const LATE_NS: u64 = 1_000_000;

/// What an answer means beside what it counts.
enum Verdict {
    Done,
    /// The broker does not lead, or not now.
    Elsewhere,
    /// This and what is in flight behind it has to be sent again.
    Again(Flight),
}

impl Core {
    /// Makes requests due and numbers those that have room; ends production when all that was due in its time is answered, or
    /// given up.
    pub(super) fn produce(&mut self, now: u64) {
        let over = now >= self.shared.ends_ns || self.produced_bytes >= self.shared.bytes_max;
        if self.schedule.is_some() {
            // Also late: what was due before the end is sent.
            self.issue(now);
        } else if !over {
            self.fill(now);
        }
        let given_up = now >= self.shared.ends_ns + ns(self.shared.workload.timeout);
        let answered = over && self.in_flight() + self.backlog() == 0;
        if over && (given_up || answered && self.transactions_are_closed(true)) {
            self.producing = false;
            self.shared.producing.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Open loop: everything that is due goes to a connection, in flight or waiting.
    fn issue(&mut self, now: u64) {
        let ends_ns = self.shared.ends_ns;
        while let Some(due_ns) = self.schedule.as_ref().map(Schedule::next_ns) {
            if due_ns > now || due_ns >= ends_ns {
                break;
            }
            self.schedule.as_mut().expect("just looked at").advance();
            self.part.due += 1;
            // Whether there is room for it or not: that it is looked at so late is nobody else's fault.
            let lateness = now - due_ns;
            self.part.late += u64::from(lateness > LATE_NS);
            if self.shared.timed {
                self.part.stage(Stage::Lateness).record_ns(lateness);
            }
            let index = self.draw_connection();
            let Role::Produces(producing) = &mut self.connections[index].role else {
                unreachable!("lanes produce");
            };
            let stream = draw_stream(self.weighted, &mut self.random, producing);
            let due = Due {
                stream,
                due_ns,
                again: None,
            };
            let producer = &mut producing.producer;
            let transactional = producing.transaction.is_some();
            if transactional || producer.backlog() > 0 || !producer.has_room() {
                producer.wait(due);
                if transactional {
                    self.go_on(index);
                }
                continue;
            }
            let plan = &mut self.streams[stream as usize];
            queue(&self.shared, producer, "", plan, due);
        }
    }

    /// Closed loop: every free slot is filled, and due now.
    fn fill(&mut self, now: u64) {
        for index in &self.lanes {
            let connection = &mut self.connections[*index];
            let Role::Produces(producing) = &mut connection.role else {
                unreachable!("lanes produce");
            };
            // What is sent again comes first.
            let may = |producer: &Producer| producer.has_room() && producer.backlog() == 0;
            while connection.link.is_open()
                && may(&producing.producer)
                && producing
                    .transaction
                    .as_mut()
                    .is_none_or(|open| open.admit(now))
            {
                let stream = draw_stream(self.weighted, &mut self.random, producing);
                self.part.due += 1;
                let due = Due {
                    stream,
                    due_ns: now,
                    again: None,
                };
                let plan = &mut self.streams[stream as usize];
                let id = id_of(&producing.transaction);
                queue(&self.shared, &mut producing.producer, id, plan, due);
            }
        }
    }

    fn draw_connection(&mut self) -> usize {
        let drawn = draw(
            self.weighted,
            &mut self.random,
            &self.weights,
            &mut self.turn,
        );
        self.lanes[drawn]
    }

    /// Takes answers to Produce; how many bytes they were.
    pub(super) fn take_acknowledgements(&mut self, index: usize) -> Result<usize, String> {
        let now = self.shared.clock().now_ns();
        let connection = &mut self.connections[index];
        let Role::Produces(producing) = &mut connection.role else {
            unreachable!("the caller looked");
        };
        let mut taken = 0;
        let mut verdict = Verdict::Done;
        while let Some(frame) = connection.link.frame(taken)? {
            taken += 4 + frame.len();
            let answer = producing.producer.answer(frame)?;
            let stream = &mut self.streams[answer.flight.stream as usize];
            let code = match stream.producer {
                // Sent again, and there already.
                Some(_) if answer.code == ErrorCode::DuplicateSequenceNumber.code() => 0,
                _ => answer.code,
            };
            if code == 0 {
                let done = &answer.flight;
                match &mut producing.transaction {
                    Some(transaction) => transaction.acknowledged(*done),
                    None => {
                        stream.sent.acknowledged.insert(done.batch);
                    }
                }
                self.produced_bytes += acknowledge(&self.shared, &mut self.part, done, now);
                continue;
            }
            self.part.failed(failure("Produce", code));
            let passes = ErrorCode::from_code(code).is_retriable();
            if let (Some(transaction), false) = (&producing.transaction, passes) {
                return Err(format!(
                    "the broker refuses a batch of the transactional id {}: {}",
                    &*transaction.plan.id,
                    ErrorCode::from_code(code).name()
                ));
            }
            if stream.producer.is_some() && passes {
                verdict = Verdict::Again(answer.flight);
                break;
            }
            self.part.uncounted += 1;
            if is_elsewhere(code) {
                verdict = Verdict::Elsewhere;
            }
        }
        match verdict {
            Verdict::Done => {}
            Verdict::Elsewhere => {
                producing.hold_until_ns = now + HOLD_NS;
                self.shared.scout.want();
            }
            Verdict::Again(flight) => {
                producing.hold_until_ns = now + HOLD_NS;
                self.shared.scout.want();
                self.again(index, Some(flight));
            }
        }
        if self.producing {
            self.go_on(index);
        }
        Ok(taken)
    }

    /// Numbers requests that waited for a slot.
    pub(super) fn go_on(&mut self, index: usize) {
        let Role::Produces(producing) = &mut self.connections[index].role else {
            return;
        };
        while let Some(first) = producing.producer.first_waiting() {
            if let (Some(transaction), None) = (&mut producing.transaction, first.again)
                && !transaction.admit(first.due_ns)
            {
                return;
            }
            let due = producing.producer.next_waiting().expect("it was there");
            let plan = &mut self.streams[due.stream as usize];
            let id = id_of(&producing.transaction);
            queue(&self.shared, &mut producing.producer, id, plan, due);
        }
    }

    /// Without acknowledgements a request is done when it is sent.
    pub(super) fn unacknowledged(&mut self, index: usize) {
        let now = self.shared.clock().now_ns();
        let Role::Produces(producing) = &mut self.connections[index].role else {
            return;
        };
        while let Some(flight) = producing.producer.unacknowledged() {
            let stream = &mut self.streams[flight.stream as usize];
            stream.sent.acknowledged.insert(flight.batch);
            self.produced_bytes += acknowledge(&self.shared, &mut self.part, &flight, now);
        }
        self.go_on(index);
    }

    /// The connection is gone, and what was in flight with it.
    pub(super) fn abandon(&mut self, index: usize, what: &'static str) {
        let Role::Produces(producing) = &mut self.connections[index].role else {
            return;
        };
        let mut again = Vec::new();
        while let Some(flight) = producing.producer.abandon() {
            match self.streams[flight.stream as usize].producer {
                Some(_) => again.push(flight),
                None => {
                    self.part.uncounted += 1;
                    self.part.failed(("connection", 0, what));
                }
            }
        }
        if !again.is_empty() {
            self.part.failed(("connection", 0, what));
        }
        producing.producer.wait_again(again);
        // What waited has the slots now, and is sent when the connection is open again.
        self.go_on(index);
    }

    /// Ends a connection so that what is in flight on it, after `first`, is sent again in its order.
    pub(super) fn again(&mut self, index: usize, first: Option<Flight>) {
        self.take_back(index, first);
        self.go_on(index);
    }

    /// The same, but it waits: what moves to another connection must not be numbered for this one before.
    pub(super) fn take_back(&mut self, index: usize, first: Option<Flight>) {
        let connection = &mut self.connections[index];
        let Role::Produces(producing) = &mut connection.role else {
            return;
        };
        connection.link.break_off();
        let mut again: Vec<Flight> = first.into_iter().collect();
        while let Some(flight) = producing.producer.abandon() {
            again.push(flight);
        }
        producing.producer.wait_again(again);
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.producers().map(Producer::in_flight).sum()
    }

    /// Requests that are due and have no slot.
    pub(super) fn backlog(&self) -> u64 {
        self.producers()
            .map(|producer| producer.backlog() as u64)
            .sum()
    }

    fn producers(&self) -> impl Iterator<Item = &Producer> {
        self.connections.iter().filter_map(|each| match &each.role {
            Role::Produces(producing) => Some(&producing.producer),
            _ => None,
        })
    }
}

/// Numbers the next batch of a stream, or one that is sent again.
#[inline]
fn queue(
    shared: &Shared,
    producer: &mut Producer,
    transactional: &str,
    plan: &mut StreamPlan,
    due: Due,
) {
    let batch = due.again.unwrap_or(plan.sent.batches);
    let index = shared.pool.index(plan.partition, batch);
    let template = shared.pool.template(index);
    let numbers = Numbers {
        correlation_id: 0,
        topic: &shared.topics[plan.topic as usize],
        transactional,
        partition: plan.partition,
        stamp: Stamp {
            tag: shared.tag,
            stream: plan.id,
            batch,
            due_ns: if shared.timed { due.due_ns } else { UNTIMED },
            records: template.records,
        },
        wall_ms: shared.clock().wall_ms(due.due_ns),
        producer: plan
            .producer
            .map(|(id, epoch)| (id, epoch, shared.pool.sequence(plan.partition, batch))),
        key: shared.pool.first_key(plan.id, plan.partition, batch),
    };
    let flight = Flight {
        due_ns: due.due_ns,
        stream: due.stream,
        batch,
        template: index,
    };
    producer.queue(template, flight, numbers);
    if due.again.is_none() {
        plan.sent.batches += 1;
    }
}

/// The transactional id that a request names.
#[inline]
fn id_of(transaction: &Option<Transaction>) -> &str {
    transaction.as_ref().map_or("", |it| &it.plan.id)
}

/// Counts a request that succeeded; its bytes.
#[inline]
fn acknowledge(shared: &Shared, part: &mut Part, flight: &Flight, now: u64) -> u64 {
    let template = shared.pool.template(flight.template);
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

#[inline]
fn draw_stream(weighted: bool, random: &mut Random, producing: &mut Producing) -> u32 {
    let drawn = draw(weighted, random, &producing.weights, &mut producing.turn);
    producing.streams[drawn]
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

pub(super) fn cumulated(weights: impl Iterator<Item = f64>) -> Vec<f64> {
    weights
        .scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        })
        .collect()
}
