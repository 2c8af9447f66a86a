//! What a coordinator writes: its records as a batch at the end of a turn, the answers behind them, and now and then its state anew.

use super::super::Core;
use super::super::produce::{Asker, Origin};
use super::super::stall::STALL_MS;
use super::Phase;
use crate::api::batches;
use crate::machine::partition::{self, Acks, Append};
use bytes::Bytes;
use millstream_net::wire::ErrorCode;
use millstream_storage::batch::{BatchBuilder, BatchHead, BatchHeader};
use millstream_storage::ids::{LogNumber, Now};

/// A rewriting of the state is cut into batches of this size.
const REWRITE_BATCH_BYTES: usize = 1 << 20;
/// No append of a coordinator is given up for its time.
const NO_TIMEOUT_MS: u32 = u32::MAX;

impl Core {
    /// The coordinators' share of the end of a turn: records leave, logs are replayed.
    pub(in super::super) fn turn_coordinators(&mut self, now: Now) {
        for log in std::mem::take(&mut self.coordinators.loading) {
            self.load_coordinator(now, log);
        }
        for log in std::mem::take(&mut self.coordinators.dirty) {
            self.flush_coordinator(now, log);
        }
    }

    /// Appends what a coordinator wrote.
    fn flush_coordinator(&mut self, now: Now, log: LogNumber) {
        let Some(coordinating) = self.coordinators.by_log.get_mut(&log) else {
            return;
        };
        if !self.store.admits(log, coordinating.batch.bytes()) {
            let since = *coordinating.stalled.get_or_insert(now.tick);
            if self.coordinators.full || since.after_ms(STALL_MS) <= now.tick {
                self.coordinators.full = true;
                self.end_coordinator(now, log, ErrorCode::CoordinatorNotAvailable);
                return self.begin_coordinator(log);
            }
            self.coordinators.dirty.insert(log);
            return;
        }
        coordinating.stalled = None;
        let empty = BatchBuilder::new(BatchHeader::default());
        let batch = std::mem::replace(&mut coordinating.batch, empty).finish();
        self.coordinators.full = false;
        self.append_of_coordinator(now, log, batch);
        let Some(host) = self.hosts.find(log) else {
            return;
        };
        let end = host.machine.log_end();
        if let Some(coordinating) = self.coordinators.by_log.get_mut(&log) {
            let behind = coordinating.behind.drain(..);
            let behind = behind.map(|(ticket, answer)| (end, ticket, answer));
            coordinating.answers.extend(behind);
            if coordinating.wants_rewrite(self.settings.groups.rewrite_bytes) {
                self.rewrite_coordinator(now, log);
            }
        }
        self.coordinator_committed(now, log);
    }

    fn append_of_coordinator(&mut self, now: Now, log: LogNumber, batch: Bytes) {
        if let Some(coordinating) = self.coordinators.by_log.get_mut(&log) {
            coordinating.written_bytes += batch.len() as u64;
        }
        let head = BatchHead::parse(&batch).expect("the builder makes whole batches");
        let origin = self.origins.insert(Origin {
            asker: Asker::Coordinator,
            log,
            records: i64::from(head.record_count),
            batch,
        });
        let append = Append {
            ticket: partition::Ticket(origin.to_bits()),
            head: batches::head_of(&head),
            acks: Acks::All,
            timeout_ms: NO_TIMEOUT_MS,
        };
        self.with_host(now, log, |machine, effects| {
            machine.append(now, append, effects);
        });
    }

    /// Writes the state of a coordinator anew; once that is committed, the log begins there.
    fn rewrite_coordinator(&mut self, now: Now, log: LogNumber) {
        let (Some(host), Some(coordinating)) =
            (self.hosts.find(log), self.coordinators.by_log.get(&log))
        else {
            return;
        };
        let start = host.machine.log_end();
        let mut batches = Vec::new();
        let mut batch = BatchBuilder::new(BatchHeader::default());
        for record in coordinating.machine.records() {
            let (key, value) = record.encode();
            batch.push(now.wall.0, Some(&key), value.as_deref(), &[]);
            if batch.bytes() >= REWRITE_BATCH_BYTES {
                let next = BatchBuilder::new(BatchHeader::default());
                batches.push(std::mem::replace(&mut batch, next).finish());
            }
        }
        if batch.record_count() > 0 {
            batches.push(batch.finish());
        }
        let bytes: usize = batches.iter().map(Bytes::len).sum();
        if !self.store.admits(log, bytes) {
            return;
        }
        for batch in batches {
            self.append_of_coordinator(now, log, batch);
        }
        let end = self.hosts.find(log).map(|host| host.machine.log_end());
        if let (Some(end), Some(coordinating)) = (end, self.coordinators.by_log.get_mut(&log)) {
            coordinating.rewritten = Some((start, end));
            coordinating.state_bytes = bytes as u64;
            coordinating.written_bytes = 0;
        }
    }

    /// The partition refused what a coordinator wrote: it knows things that are in no log.
    pub(in super::super) fn coordinator_refused(&mut self, now: Now, log: LogNumber) {
        if self.coordinators.by_log.contains_key(&log) {
            self.end_coordinator(now, log, ErrorCode::CoordinatorNotAvailable);
            self.begin_coordinator(log);
        }
    }

    /// The high watermark of a log moved: answers that waited for it leave.
    pub(in super::super) fn coordinator_committed(&mut self, now: Now, log: LogNumber) {
        let (true, Some(host)) = (
            self.coordinators.by_log.contains_key(&log),
            self.hosts.find(log),
        ) else {
            return;
        };
        let high_watermark = host.machine.high_watermark();
        while let Some(coordinating) = self.coordinators.by_log.get_mut(&log)
            && let Some((_, ticket, answer)) = coordinating
                .answers
                .pop_front_if(|(end, ..)| *end <= high_watermark)
        {
            self.grouped(now, ticket, answer);
        }
        let Some(coordinating) = self.coordinators.by_log.get_mut(&log) else {
            return;
        };
        if matches!(coordinating.phase, Phase::Loading(_)) {
            self.coordinators.loading.insert(log);
        }
        let rewritten = coordinating
            .rewritten
            .take_if(|(_, end)| *end <= high_watermark);
        if let Some((start, _)) = rewritten {
            self.with_host(now, log, |machine, effects| {
                machine.move_start(start, effects)
            });
        }
    }
}
