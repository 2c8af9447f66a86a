//! When groups want to be woken.
//!
//! Always: (1) an alarm is set once at most, a later setting replaces the earlier; (2) alarms ring in the order of their time.
//! A member that shows signs of life moves its own deadline only; its alarm finds that out when it rings and is set again.

use millstream_net::wire::Str;
use millstream_storage::ids::Tick;
use std::collections::{BTreeMap, BTreeSet};

/// What an alarm is for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Alarm {
    /// The session of a member may have ended.
    Session(Str),
    /// A member id that was given out was not used.
    Pending(Str),
    /// Members of a classic group have not joined again.
    Join,
    /// Members of a classic group have not asked for their assignment.
    Sync,
    /// A member of a consumer group has not let go of partitions.
    Revocation(Str),
    /// A classic member of a consumer group has not joined again.
    Rejoin(Str),
}

/// Alarms by group.
#[derive(Default, Debug)]
pub(super) struct Timers {
    at: BTreeMap<(Str, Alarm), Tick>,
    order: BTreeSet<(Tick, Str, Alarm)>,
}

impl Timers {
    pub(super) fn set(&mut self, group: &Str, alarm: Alarm, at: Tick) {
        let name = (group.clone(), alarm);
        if let Some(former) = self.at.insert(name.clone(), at) {
            self.order.remove(&(former, name.0.clone(), name.1.clone()));
        }
        self.order.insert((at, name.0, name.1));
    }

    pub(super) fn clear(&mut self, group: &Str, alarm: Alarm) {
        let name = (group.clone(), alarm);
        if let Some(at) = self.at.remove(&name) {
            self.order.remove(&(at, name.0, name.1));
        }
    }

    /// Forgets all alarms of a group.
    pub(super) fn clear_group(&mut self, group: &Str) {
        let first = (group.clone(), Alarm::Session(Str::default()));
        let of_group = self.at.range(first..);
        let of_group = of_group.take_while(|((of, _), _)| of == group);
        let alarms: Vec<Alarm> = of_group.map(|((_, alarm), _)| alarm.clone()).collect();
        for alarm in alarms {
            self.clear(group, alarm);
        }
    }

    /// Takes out the next alarm that is due.
    pub(super) fn due(&mut self, now: Tick) -> Option<(Str, Alarm)> {
        if self.order.first()?.0 > now {
            return None;
        }
        let (_, group, alarm) = self.order.pop_first()?;
        self.at.remove(&(group.clone(), alarm.clone()));
        Some((group, alarm))
    }

    /// When the next one rings.
    pub(super) fn next(&self) -> Option<Tick> {
        self.order.first().map(|(at, ..)| *at)
    }

    /// Asserts that both orders hold the same.
    pub(super) fn check(&self) {
        assert_eq!(self.at.len(), self.order.len());
    }

    /// Sets an alarm that is not set yet.
    pub(super) fn set_if_absent(&mut self, group: &Str, alarm: Alarm, at: Tick) {
        let name = (group.clone(), alarm);
        if !self.at.contains_key(&name) {
            self.set(&name.0, name.1, at);
        }
    }

    /// Sees to it that an alarm rings at that time or before.
    pub(super) fn set_by(&mut self, group: &Str, alarm: Alarm, at: Tick) {
        let name = (group.clone(), alarm);
        if self.at.get(&name).is_none_or(|set| *set > at) {
            self.set(&name.0, name.1, at);
        }
    }
}
