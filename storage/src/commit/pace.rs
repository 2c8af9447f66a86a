//! Flushing evenly: what only the journal has leaves log by log, long before a journal file is wanted.
//!
//! Ten thousand slow logs that are flushed when a file is wanted are flushed at once, and every window waits behind them. So all logs
//! with journaled bytes stand in a queue, and while windows fill `pace_bytes` of the journal, the queue turns round once.
//! Always: a log stands in the queue at most once, and every log that a journal file is kept for stands in it or is being flushed.

use super::machine::Commit;
use super::types::LogSlot;

/// What was not flushed when its turn came, because too much was in flight, is made up for up to this part of a round.
const ARREARS: u64 = 16;

impl Commit {
    /// A log has journaled bytes.
    pub(super) fn join_pace(&mut self, slot: LogSlot) {
        let log = self.log_mut(slot);
        if !log.in_pace && !log.journaled.is_empty() {
            log.in_pace = true;
            self.pace.push_back(slot);
        }
    }

    /// Flushes as many logs as the windows since the last turn are worth.
    pub(super) fn flush_evenly(&mut self) {
        let round = self.config.pace_bytes;
        while self.pressure.flights < self.config.pressure_flights
            && let Some(slot) = self.pace.front().copied()
        {
            let price = (round / self.pace.len() as u64).max(1);
            if self.pace_credit < price {
                break;
            }
            self.pace.pop_front();
            let Some(log) = self.logs[slot.0 as usize].as_mut() else {
                continue;
            };
            log.in_pace = false;
            if !log.journaled.is_empty() && !log.dropped() {
                self.pace_credit -= price;
                self.flush(slot);
            }
        }
        self.pace_credit = self.pace_credit.min(round / ARREARS);
    }
}
