//! Sessions of readers that want to hear of changes in partitions of this shard.
//!
//! Always: (1) who has read a partition is told of the first change behind that read; (2) with `Telling::Once` it is then told
//! no more until it has read again, so readers that are slow cost nothing.
//! Leaves to others: what a session makes of it (`sessions`).

use super::Core;
use crate::machine::fetch_sessions::SessionId;
use crate::shard::mail::{Forget, News, Subscription, Telling, Urgency};
use millstream_storage::ids::{LogNumber, ShardIndex};
use std::collections::{BTreeMap, BTreeSet};

/// A session and the shard it lives on.
pub(super) type Subscriber = (ShardIndex, SessionId);

/// What is watched for whom.
#[derive(Default)]
pub(super) struct Subscribers {
    logs: BTreeMap<Subscriber, BTreeSet<LogNumber>>,
    /// News for sessions of this shard.
    news: Vec<News>,
}

impl Subscribers {
    /// Takes the news for sessions of this shard.
    pub(super) fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }
}

impl Core {
    /// A session is about to read a partition and wants to hear what comes behind that.
    pub(super) fn subscribe(
        &mut self,
        log: LogNumber,
        home: ShardIndex,
        subscription: Subscription,
    ) {
        let subscriber = (home, subscription.session);
        if let Some(host) = self.hosts.find_mut(log) {
            host.subscribers.insert(subscriber, subscription.telling);
            let logs = self.subscribers.logs.entry(subscriber).or_default();
            logs.insert(log);
        }
    }

    /// A session has ended, or no longer wants some partitions.
    pub(super) fn unsubscribe(&mut self, home: ShardIndex, session: SessionId, forget: Forget) {
        self.readings.forget(home, session, &forget);
        let subscriber = (home, session);
        let Some(logs) = self.subscribers.logs.get_mut(&subscriber) else {
            return;
        };
        let forgotten = match forget {
            Forget::All => std::mem::take(logs),
            Forget::Logs(forgotten) => forgotten.into_iter().collect(),
        };
        logs.retain(|log| !forgotten.contains(log));
        if logs.is_empty() {
            self.subscribers.logs.remove(&subscriber);
        }
        for log in forgotten {
            if let Some(host) = self.hosts.find_mut(log) {
                host.subscribers.remove(&subscriber);
            }
        }
    }

    /// Tells the sessions that watch a partition.
    pub(super) fn tell_subscribers(&mut self, log: LogNumber, bytes: usize, urgency: Urgency) {
        let Some(host) = self.hosts.find_mut(log) else {
            return;
        };
        // Where nothing was gained its reader waits on, and must hear of the next change too.
        let is_gain = bytes > 0 || urgency == Urgency::Now;
        host.subscribers.retain(|(home, session), telling| {
            let news = News {
                session: *session,
                log,
                bytes,
                urgency,
            };
            match *home == self.me {
                true => self.subscribers.news.push(news),
                false => self.outbox.news(*home, news),
            }
            !(is_gain && *telling == Telling::Once)
        });
    }
}
