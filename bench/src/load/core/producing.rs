//! The producing half of a thread: which requests become due, onto which connection they go, what their answers count for.
//!
//! Always: what was due before the end is sent, however late, and its latency counts from when it was due.

use super::connection::Role;
use super::{Core, failure};
use crate::load::clock::ns;
use crate::load::part::Part;
use crate::load::plan::StreamPlan;
use crate::load::producer::{Flight, Producer};
use crate::load::random::Random;
use crate::load::schedule::Schedule;
use crate::load::shared::Shared;
use crate::load::stamp::{Stamp, UNTIMED};
use crate::load::template::Numbers;
use crate::result::{Flow, Stage};
use std::sync::atomic::Ordering;

/// A request that was sent so much after its due time, although there was room, was late by the generator itself.
const LATE_NS: u64 = 1_000_000;

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

    /// Numbers requests that waited for a slot.
    pub(super) fn go_on(&mut self, index: usize) {
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
    pub(super) fn unacknowledged(&mut self, index: usize) {
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

    pub(super) fn in_flight(&self) -> u64 {
        let each = self.connections.iter().map(|each| match &each.role {
            Role::Produces { producer, .. } => producer.in_flight(),
            Role::Reads { .. } => 0,
        });
        each.sum()
    }

    /// Requests that are due and have no slot.
    pub(super) fn backlog(&self) -> u64 {
        let each = self.connections.iter().map(|each| match &each.role {
            Role::Produces { producer, .. } => producer.backlog() as u64,
            Role::Reads { .. } => 0,
        });
        each.sum()
    }
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
pub(super) fn acknowledge(
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
