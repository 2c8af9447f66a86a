//! One session: its partitions, in the order in which they have their turn, and which of them are due.
//!
//! Always: (1) the due ones stand in one queue, each once; (2) one that returned records goes to its end (rule F14).

use super::Refusal;
use millstream_storage::ids::{
    LeaderEpoch, LogNumber, Offset, PartitionIndex, ShardIndex, Tick, TopicId,
};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How the requests of a session name topics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Naming {
    /// By name.
    Names,
    /// By id.
    Ids,
}

/// A topic as a request names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TopicKey {
    /// By name; a copy, so that it holds no request in memory.
    Name(Arc<str>),
    /// By id.
    Id(TopicId),
}

impl Ord for TopicKey {
    fn cmp(&self, other: &TopicKey) -> Ordering {
        match (self, other) {
            // Partitions that one request names share the name of their topic.
            (TopicKey::Name(one), TopicKey::Name(other)) if Arc::ptr_eq(one, other) => {
                Ordering::Equal
            }
            (TopicKey::Name(one), TopicKey::Name(other)) => one.cmp(other),
            (TopicKey::Id(one), TopicKey::Id(other)) => one.cmp(other),
            (TopicKey::Name(_), TopicKey::Id(_)) => Ordering::Less,
            (TopicKey::Id(_), TopicKey::Name(_)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for TopicKey {
    fn partial_cmp(&self, other: &TopicKey) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A partition as a request names it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PartitionKey {
    /// The topic.
    pub topic: TopicKey,
    /// The partition.
    pub partition: PartitionIndex,
}

/// What a reader wants of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wants {
    /// The first offset.
    pub offset: Offset,
    /// Bytes at most.
    pub max_bytes: usize,
    /// The leader epoch it knows; -1 for none.
    pub leader_epoch: LeaderEpoch,
    /// The epoch of the last record it has; -1 for none.
    pub last_epoch: LeaderEpoch,
}

/// What a reader is told of a partition besides records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// The high watermark.
    pub high_watermark: Offset,
    /// The first offset that may be read.
    pub log_start: Offset,
}

/// The name of a partition in its session; never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EntryId(u64);

/// Which partitions an answer is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// All: the session begins.
    All,
    /// Those that have something to tell.
    Due,
}

#[derive(Debug)]
struct Entry {
    key: PartitionKey,
    wants: Wants,
    /// What the reader was last told; nothing yet, or an error.
    told: Option<Seen>,
    /// What was found when it was read last and there was nothing to return; `None` where there was, and since news came.
    quiet: Option<Seen>,
    /// Its place among the due.
    due: Option<u64>,
    /// The log that is watched for it.
    log: Option<LogNumber>,
    /// Whether that log has changed since it was last asked to be read.
    news: bool,
}

/// A session.
#[derive(Debug)]
pub struct Session {
    naming: Naming,
    next_number: i32,
    used: Tick,
    /// Requests under way.
    under_way: usize,
    entries: BTreeMap<EntryId, Entry>,
    keys: BTreeMap<PartitionKey, EntryId>,
    logs: BTreeMap<LogNumber, EntryId>,
    due: BTreeMap<u64, EntryId>,
    /// Shards that were asked to watch.
    shards: BTreeSet<ShardIndex>,
    sequence: u64,
}

impl Session {
    pub(super) fn new(now: Tick, naming: Naming) -> Session {
        Session {
            naming,
            next_number: 1,
            used: now,
            under_way: 0,
            entries: BTreeMap::new(),
            keys: BTreeMap::new(),
            logs: BTreeMap::new(),
            due: BTreeMap::new(),
            shards: BTreeSet::new(),
            sequence: 0,
        }
    }

    /// Whether the request of this number may go on with it.
    pub(super) fn judge(&self, number: i32, naming: Naming) -> Result<(), Refusal> {
        match () {
            _ if number != self.next_number => Err(Refusal::WrongNumber),
            _ if naming != self.naming => Err(Refusal::OtherNaming),
            _ => Ok(()),
        }
    }

    pub(super) fn advance(&mut self, now: Tick) {
        self.used = now;
        self.next_number = self.next_number.checked_add(1).unwrap_or(1);
    }

    /// A partition is wanted, newly or otherwise.
    pub(super) fn set(&mut self, key: PartitionKey, wants: Wants) {
        let id = match self.keys.get(&key) {
            Some(id) => *id,
            None => {
                let id = EntryId(self.next_sequence());
                self.keys.insert(key.clone(), id);
                let entry = Entry {
                    key,
                    wants,
                    told: None,
                    quiet: None,
                    due: None,
                    log: None,
                    news: false,
                };
                self.entries.insert(id, entry);
                id
            }
        };
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.wants = wants;
            entry.quiet = None;
        }
        self.make_due(id);
    }

    /// A partition is no longer wanted: gives the log that was watched for it.
    pub(super) fn forget(&mut self, key: &PartitionKey) -> Option<LogNumber> {
        let id = self.keys.remove(key)?;
        let entry = self.entries.remove(&id)?;
        if let Some(place) = entry.due {
            self.due.remove(&place);
        }
        let log = entry.log?;
        self.logs.remove(&log);
        Some(log)
    }

    /// A request of it begins.
    pub fn begin(&mut self) {
        self.under_way += 1;
    }

    /// A request of it has ended.
    pub fn end(&mut self) {
        self.under_way -= 1;
    }

    /// Whether a request of it is under way.
    pub fn is_busy(&self) -> bool {
        self.under_way > 0
    }

    /// When it was used last.
    pub(super) fn used(&self) -> Tick {
        self.used
    }

    /// How many partitions it holds.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The partitions to read now, in the order of their turns.
    pub fn to_read(&self, scope: Scope) -> Vec<EntryId> {
        match scope {
            Scope::All => self.entries.keys().copied().collect(),
            Scope::Due => self.due.values().copied().collect(),
        }
    }

    /// A partition of it and what is wanted of it.
    pub fn entry(&self, id: EntryId) -> Option<(&PartitionKey, &Wants)> {
        self.entries
            .get(&id)
            .map(|entry| (&entry.key, &entry.wants))
    }

    /// A shard is asked to read the log of a partition, and to watch it from then on: gives the log that was watched before, where
    /// it was another one.
    pub fn watched(&mut self, id: EntryId, shard: ShardIndex, log: LogNumber) -> Option<LogNumber> {
        self.shards.insert(shard);
        let entry = self.entries.get_mut(&id)?;
        // What comes from now on counts as news.
        entry.quiet = None;
        entry.news = false;
        if entry.log == Some(log) {
            return None;
        }
        self.logs.insert(log, id);
        let former = entry.log.replace(log)?;
        self.logs.remove(&former);
        Some(former)
    }

    /// A shard watches that was not asked: the question was passed on to it.
    pub fn watched_by(&mut self, shard: ShardIndex) {
        self.shards.insert(shard);
    }

    /// A partition was read; `end` is what was seen where there was nothing to return.
    pub fn read(&mut self, id: EntryId, end: Option<Seen>) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.quiet = end.filter(|_| !entry.news);
            self.settle(id);
        }
    }

    /// A watched log has changed. Whether it belongs to one of its partitions.
    pub fn tell(&mut self, log: LogNumber) -> bool {
        let Some(id) = self.logs.get(&log).copied() else {
            return false;
        };
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.news = true;
            entry.quiet = None;
            self.make_due(id);
        }
        true
    }

    /// The shards that watch for it.
    pub fn shards(&self) -> impl Iterator<Item = ShardIndex> {
        self.shards.iter().copied()
    }

    /// An answer leaves. Whether it must name this partition: with records, or with other words than the last ones. `seen` is
    /// nothing where it has an error (rule F14).
    pub fn answer(&mut self, id: EntryId, seen: Option<Seen>, records_bytes: usize) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else {
            return false;
        };
        let is_new = seen.is_none() || entry.told != seen;
        entry.told = seen;
        if records_bytes > 0 {
            if let Some(place) = entry.due.take() {
                self.due.remove(&place);
            }
            self.make_due(id);
        }
        self.settle(id);
        is_new || records_bytes > 0
    }

    #[cfg(test)]
    pub(super) fn next_number_for_test(&mut self, number: i32) {
        self.next_number = number;
    }

    pub(super) fn into_shards(self) -> BTreeSet<ShardIndex> {
        self.shards
    }

    /// Asserts the invariants.
    pub(super) fn check(&self) {
        assert_eq!(self.keys.len(), self.entries.len());
        assert!(self.next_number > 0);
        for (place, id) in &self.due {
            assert_eq!(self.entries[id].due, Some(*place));
        }
        for (id, entry) in &self.entries {
            assert_eq!(self.keys.get(&entry.key), Some(id));
            match entry.due {
                Some(place) => assert_eq!(self.due.get(&place), Some(id)),
                None => assert!(entry.quiet.is_some() && entry.quiet == entry.told),
            }
            if let Some(log) = entry.log {
                assert_eq!(self.logs.get(&log), Some(id));
            }
        }
    }

    fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    fn make_due(&mut self, id: EntryId) {
        let place = self.next_sequence();
        if let Some(entry) = self.entries.get_mut(&id)
            && entry.due.is_none()
        {
            entry.due = Some(place);
            self.due.insert(place, id);
        }
    }

    /// A partition that had nothing to return, and of which the reader knows the rest, waits for news.
    fn settle(&mut self, id: EntryId) {
        if let Some(entry) = self.entries.get_mut(&id)
            && entry.quiet.is_some()
            && entry.quiet == entry.told
            && let Some(place) = entry.due.take()
        {
            self.due.remove(&place);
        }
    }
}
