//! What a core wants to do later, by time.
//!
//! Always: (1) what is due comes out in the order of its time, then of its setting; (2) a timer that was cleared never
//! comes out.

use millstream_storage::ids::Tick;
use std::collections::BTreeMap;

/// The name of a timer that was set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TimerId {
    at: Tick,
    sequence: u64,
}

/// Timers that carry a `T` each.
#[derive(Debug)]
pub struct Timers<T> {
    set: BTreeMap<TimerId, T>,
    sequence: u64,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Timers {
            set: BTreeMap::new(),
            sequence: 0,
        }
    }
}

impl<T> Timers<T> {
    /// Sets a timer.
    pub fn set(&mut self, at: Tick, what: T) -> TimerId {
        self.sequence += 1;
        let id = TimerId {
            at,
            sequence: self.sequence,
        };
        self.set.insert(id, what);
        id
    }

    /// Clears a timer that has not come out yet.
    pub fn clear(&mut self, id: TimerId) {
        self.set.remove(&id);
    }

    /// Takes out the next timer that is due.
    pub fn due(&mut self, now: Tick) -> Option<T> {
        let (id, _) = self.set.first_key_value()?;
        if id.at > now {
            return None;
        }
        self.set.pop_first().map(|(_, what)| what)
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Tick> {
        self.set.first_key_value().map(|(id, _)| id.at)
    }
}

#[cfg(test)]
mod tests {
    use super::Timers;
    use millstream_storage::ids::Tick;

    #[test]
    fn timers_come_out_by_time_and_never_when_cleared() {
        let mut timers = Timers::default();
        timers.set(Tick(20), "late");
        let cleared = timers.set(Tick(5), "cleared");
        timers.set(Tick(10), "early");
        timers.clear(cleared);
        assert_eq!(timers.next(), Some(Tick(10)));
        assert_eq!(timers.due(Tick(9)), None);
        assert_eq!(timers.due(Tick(20)), Some("early"));
        assert_eq!(timers.due(Tick(20)), Some("late"));
        assert_eq!(timers.due(Tick(20)), None);
    }
}
