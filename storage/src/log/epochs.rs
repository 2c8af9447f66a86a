//! Which leader epoch every offset of a log has, as the places where epochs start (KIP-101).
//!
//! Always: epochs and their starts both rise strictly.

use crate::ids::{LeaderEpoch, Offset};

/// The epochs of one log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Epochs {
    starts: Vec<(LeaderEpoch, Offset)>,
}

impl Epochs {
    /// Epochs and the offsets they start at, ascending.
    pub fn new(starts: Vec<(LeaderEpoch, Offset)>) -> Epochs {
        let rising = starts
            .windows(2)
            .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1);
        assert!(rising, "epochs and their starts rise");
        Epochs { starts }
    }

    /// Notes that the batch at `start` has this epoch; nothing changes where its log has that epoch already.
    pub fn note(&mut self, epoch: LeaderEpoch, start: Offset) {
        match self.starts.last() {
            Some((last, _)) if *last == epoch => {}
            Some((last, at)) => {
                assert!(*last < epoch && *at <= start, "epochs of a log rise");
                // Where the log start has passed all of the last epoch, nothing of it is left.
                if *at == start {
                    self.starts.pop();
                }
                self.starts.push((epoch, start));
            }
            None => self.starts.push((epoch, start)),
        }
    }

    /// Forgets epochs that start at `end` or behind it.
    pub fn truncate(&mut self, end: Offset) {
        self.starts
            .truncate(self.starts.partition_point(|(_, start)| *start < end));
    }

    /// Forgets epochs that end at `log_start` or before it; the one that holds it starts there.
    pub fn start_at(&mut self, log_start: Offset) {
        let at_or_below = self
            .starts
            .partition_point(|(_, start)| *start <= log_start);
        if at_or_below > 0 {
            self.starts.drain(..at_or_below - 1);
            self.starts[0].1 = log_start;
        }
    }

    /// The largest epoch at or below `epoch` and its end: the start of the next one, or `log_end`.
    pub fn end_of(&self, epoch: LeaderEpoch, log_end: Offset) -> Option<(LeaderEpoch, Offset)> {
        let behind = self.starts.partition_point(|(known, _)| *known <= epoch);
        let (found, _) = *self.starts[..behind].last()?;
        let end = self.starts.get(behind).map_or(log_end, |(_, start)| *start);
        Some((found, end))
    }

    /// The epoch of the record at an offset of the log.
    pub fn at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let behind = self.starts.partition_point(|(_, start)| *start <= offset);
        self.starts[..behind].last().map(|(epoch, _)| *epoch)
    }

    /// The newest epoch.
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.starts.last().map(|(epoch, _)| *epoch)
    }

    /// All of them, ascending.
    pub fn starts(&self) -> &[(LeaderEpoch, Offset)] {
        &self.starts
    }
}
