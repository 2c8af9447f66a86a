//! Retention: from time to time every log is asked what is past its time or too much.

use super::shard_store::Store;
use crate::commit::LogSlot;

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
        if log.dropped || log.cutting.is_some() || (limits.ms.is_none() && limits.bytes.is_none()) {
            return;
        }
        let Some(expired) = log.layout.expired(now, &limits, log.high_watermark) else {
            return;
        };
        log.roll_next = expired.roll;
        if expired.log_start > log.layout.log_start() {
            log.layout.set_log_start(expired.log_start);
            self.commit.set_start(slot, expired.log_start);
        }
    }
}
