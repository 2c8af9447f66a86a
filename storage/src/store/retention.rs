//! Retention: from time to time every log is asked what is past its time, too much, or below its start.

use super::shard_store::Store;
use crate::commit::LogSlot;
use crate::format::Place;

/// So many logs are looked at in one turn.
const LOGS_PER_TURN: usize = 64;
/// A round begins so long after the one before it.
const ROUND_MS: u64 = 1000;

impl Store {
    /// Looks at some logs, where a round is due.
    pub(super) fn expire(&mut self) {
        if self.now.tick < self.retention_at {
            return;
        }
        let from = self.retention_next;
        let until = (from + LOGS_PER_TURN).min(self.logs.len());
        for index in from..until {
            self.expire_log(LogSlot(index as u32));
        }
        self.retention_next = until;
        if until == self.logs.len() {
            self.retention_next = 0;
            self.retention_at = self.now.tick.after_ms(ROUND_MS);
        }
    }

    fn expire_log(&mut self, slot: LogSlot) {
        let now = self.now.wall;
        let Some(log) = self.logs[slot.0 as usize].as_mut() else {
            return;
        };
        let limits = log.config.retention();
        if log.dropped || log.cutting.is_some() {
            return;
        }
        self.release_unwanted(slot);
        let log = self.log_mut(slot);
        let Some(expired) = log.layout.expired(now, &limits, log.high_watermark) else {
            return;
        };
        log.roll_next = expired.roll;
        if expired.log_start > log.layout.log_start() {
            log.layout.set_log_start(expired.log_start);
            self.commit.set_start(slot, expired.log_start);
        }
        match expired.roll {
            true => self.leave_segment(slot),
            // Segments go when the log is known to be flushed behind them, and in a quiet log nothing else flushes it.
            false => self.commit.flush(slot),
        }
        self.unlink_expired(slot);
    }

    /// The segment that grows is to go too: the log goes on in an empty one as soon as it rests.
    fn leave_segment(&mut self, slot: LogSlot) {
        let log = self.logs[slot.0 as usize].as_mut().expect("a known log");
        // ORDER: a file that a truncation or an attempt to make it left is gone before a segment of its name is begun.
        if log.busy || !log.tasks.is_empty() || !self.commit.rests(slot) {
            self.commit.flush(slot);
            return;
        }
        let segment = log.layout.roll(self.now.wall);
        log.end = Place {
            segment,
            position: 0,
            ..log.end
        };
        log.roll_next = false;
        self.commit.step_over(slot, log.end);
    }
}
