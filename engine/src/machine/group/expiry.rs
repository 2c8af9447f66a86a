//! Offsets that nobody needs any more (rule G15).

use super::classic::{self, State};
use super::offsets::Committed;
use super::{Body, Coordinator, Group};
use millstream_net::wire::Str;
use std::collections::BTreeSet;

/// Since when an offset of a group is not needed.
enum Unneeded {
    /// They all are.
    No,
    /// Since its commit.
    SinceCommit,
    /// Since its commit or this time (ms), whichever is later: the group lost its last member then.
    SinceEmpty(i64),
    /// Since its commit, but for the topics its members are subscribed to.
    Except(BTreeSet<Str>),
}

impl Unneeded {
    fn of(body: &Body) -> Unneeded {
        let group = match body {
            Body::Classic(classic) => classic,
            Body::Consumer(consumer) if consumer.is_idle() => {
                return Unneeded::SinceEmpty(consumer.since_ms);
            }
            Body::Consumer(consumer) => return Unneeded::Except(consumer.subscribed_topics()),
        };
        match group.state {
            State::Empty if group.is_simple() => Unneeded::SinceCommit,
            State::Empty => Unneeded::SinceEmpty(group.since_ms),
            State::Stable => match classic::subscribed_topics(group) {
                Some(topics) => Unneeded::Except(topics),
                None => Unneeded::No,
            },
            State::PreparingRebalance | State::CompletingRebalance => Unneeded::No,
        }
    }

    fn since(&self, topic: &Str, committed: &Committed) -> Option<i64> {
        match self {
            Unneeded::No => None,
            Unneeded::Except(topics) if topics.contains(topic) => None,
            Unneeded::SinceCommit | Unneeded::Except(_) => Some(committed.commit_ms),
            Unneeded::SinceEmpty(since_ms) => Some(committed.commit_ms.max(*since_ms)),
        }
    }
}

impl Coordinator {
    /// Forgets offsets whose time is over, and groups that have nothing left.
    pub(super) fn expire(&mut self) {
        let (now_ms, retention_ms) = (self.desk.now.wall.0, self.desk.config.retention_ms);
        for id in self.groups.keys().cloned().collect::<Vec<_>>() {
            let unneeded = Unneeded::of(&self.groups[&id].body);
            self.forget_offsets(&id, |topic, one| {
                let since = unneeded.since(topic, one);
                let end = since.map(|since| since.saturating_add(retention_ms));
                end.is_some_and(|end| one.expire_ms.unwrap_or(end) <= now_ms)
            });
            let spent = |group: &Group| group.body.is_idle() && group.offsets.is_empty();
            if self.groups.get(&id).is_some_and(spent) {
                self.forget_group(&id);
            }
        }
    }
}
