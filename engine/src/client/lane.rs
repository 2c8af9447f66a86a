//! The records of a producer on their way to one partition.
//!
//! Always: batches leave in the order of their numbers; one that came back leaves again before any later one, and alone.

use std::collections::VecDeque;

use bytes::Bytes;
use millstream_storage::batch::{BatchBuilder, BatchHeader};
use millstream_storage::ids::Tick;

use super::outgoing::{Record, Ticket};

/// A finished batch.
#[derive(Debug)]
pub(super) struct Batch {
    /// Its place in the order of the lane.
    pub number: u64,
    /// The batch as it is sent.
    pub bytes: Bytes,
    /// Its records.
    pub tickets: Vec<Ticket>,
    /// What its records count in the producer's buffer.
    pub pushed_bytes: usize,
    /// How often it was sent.
    pub attempts: u32,
    deadline: Tick,
}

/// The batch that takes records now.
struct Open {
    builder: BatchBuilder,
    tickets: Vec<Ticket>,
    pushed_bytes: usize,
    opened_at: Tick,
    deadline: Tick,
}

/// The lane of a partition.
#[derive(Default)]
pub(super) struct Lane {
    open: Option<Open>,
    /// Finished batches that are not in flight, in order.
    pub ready: VecDeque<Batch>,
    /// How many batches are in flight.
    pub in_flight_count: usize,
    next_number: u64,
    next_sequence: i32,
    retry_at: Tick,
}

impl Lane {
    /// Adds a record, finishing the batch before it if that would grow too large. `header` says whether the producer has
    /// sequence numbers; the lane counts them.
    pub fn push(
        &mut self,
        now: Tick,
        deadline: Tick,
        header: BatchHeader,
        batch_bytes_max: usize,
        ticket: Ticket,
        record: &Record,
    ) {
        let bytes = record.bytes();
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.builder.bytes() + bytes > batch_bytes_max)
        {
            self.close();
        }
        let next_sequence = self.next_sequence;
        let open = self.open.get_or_insert_with(|| {
            let has_sequence = header.producer_id.0 >= 0;
            let base_sequence = if has_sequence { next_sequence } else { -1 };
            Open {
                builder: BatchBuilder::new(BatchHeader {
                    base_sequence,
                    ..header
                }),
                tickets: Vec::new(),
                pushed_bytes: 0,
                opened_at: now,
                deadline,
            }
        });
        let headers: Vec<(&str, Option<&[u8]>)> = record
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_deref()))
            .collect();
        let timestamp = record
            .timestamp_ms
            .expect("the producer stamps a record that has no time");
        open.builder.push(
            timestamp,
            record.key.as_deref(),
            record.value.as_deref(),
            &headers,
        );
        open.tickets.push(ticket);
        open.pushed_bytes += bytes;
        if open.builder.bytes() >= batch_bytes_max {
            self.close();
        }
    }

    /// Finishes a batch that has waited long enough for more records.
    pub fn close_lingering(&mut self, now: Tick, linger_ms: u64) {
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.opened_at.after_ms(linger_ms) <= now)
        {
            self.close();
        }
    }

    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let count = open.builder.record_count() as i32;
        // After the highest sequence number comes 0 (P8).
        self.next_sequence = self.next_sequence.wrapping_add(count) & i32::MAX;
        self.ready.push_back(Batch {
            number: self.next_number,
            bytes: open.builder.finish(),
            tickets: open.tickets,
            pushed_bytes: open.pushed_bytes,
            attempts: 0,
            deadline: open.deadline,
        });
        self.next_number += 1;
    }

    /// The size of the batch that may be sent now, if one may.
    pub fn sendable(&self, now: Tick, in_flight_max: usize) -> Option<usize> {
        let first = self.ready.front()?;
        let in_flight_max = if first.attempts > 0 { 1 } else { in_flight_max };
        (self.retry_at <= now && self.in_flight_count < in_flight_max).then_some(first.bytes.len())
    }

    /// Takes the batch that `sendable` means.
    pub fn take(&mut self) -> Batch {
        let mut batch = self
            .ready
            .pop_front()
            .expect("only called for a sendable batch");
        batch.attempts += 1;
        self.in_flight_count += 1;
        batch
    }

    /// Takes back a batch that is to be sent again, not before `retry_at`.
    pub fn give_back(&mut self, retry_at: Tick, batch: Batch) {
        self.in_flight_count -= 1;
        self.retry_at = self.retry_at.max(retry_at);
        let place = self
            .ready
            .partition_point(|other| other.number < batch.number);
        self.ready.insert(place, batch);
    }

    /// When its oldest record that is not in flight is overdue.
    pub fn overdue_at(&self) -> Option<Tick> {
        let ready = self.ready.front().map(|batch| batch.deadline);
        ready.or_else(|| self.open.as_ref().map(|open| open.deadline))
    }

    /// When it has something to do that no event brings.
    pub fn deadline(&self, linger_ms: u64) -> Option<Tick> {
        let lingering = self
            .open
            .as_ref()
            .map(|open| open.opened_at.after_ms(linger_ms));
        let retry = self
            .ready
            .front()
            .filter(|batch| batch.attempts > 0)
            .map(|_| self.retry_at);
        lingering
            .into_iter()
            .chain(retry)
            .chain(self.overdue_at())
            .min()
    }
}
