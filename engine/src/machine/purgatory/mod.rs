//! Fetches that wait for data (rule F3).
//!
//! Always: (1) a waiting fetch leaves exactly once: satisfied, woken, expired or removed; (2) it leaves satisfied when the bytes
//! that have become visible to it reach what it still misses, or when time is up, whichever comes first; (3) the order of
//! leaving follows the order of arrival.
//! Leaves to others: what a fetch reads and answers, and counting visible bytes; who cannot count them wakes instead.

#[cfg(test)]
mod tests;

use millstream_storage::ids::Tick;
use std::collections::{BTreeMap, BTreeSet};

/// The purgatory's name for a waiting fetch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WaitId(pub u64);

/// How far a waiting fetch sees.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Sight {
    /// Up to the high watermark.
    Committed,
    /// Up to the last stable offset.
    Stable,
}

/// What a fetch waits for.
#[derive(Clone, Debug)]
pub struct Wait<K, T> {
    /// The partitions it reads.
    pub keys: Vec<K>,
    /// What moves it.
    pub sight: Sight,
    /// Bytes that must become visible over all its partitions, beyond what it has seen already; at least 1.
    pub missing_bytes: usize,
    /// When it is answered anyway.
    pub deadline: Tick,
    /// Whatever its owner needs to answer it.
    pub fetch: T,
}

/// Waiting fetches by partition (`K`).
#[derive(Debug)]
pub struct Purgatory<K, T> {
    waits: BTreeMap<WaitId, Wait<K, T>>,
    by_key: BTreeMap<(K, Sight), BTreeSet<WaitId>>,
    by_deadline: BTreeSet<(Tick, WaitId)>,
    next: u64,
}

impl<K: Ord + Copy, T> Default for Purgatory<K, T> {
    fn default() -> Self {
        Self {
            waits: BTreeMap::new(),
            by_key: BTreeMap::new(),
            by_deadline: BTreeSet::new(),
            next: 0,
        }
    }
}

impl<K: Ord + Copy, T> Purgatory<K, T> {
    /// A fetch begins to wait. The caller has read all its partitions without a turn in between.
    pub fn wait(&mut self, wait: Wait<K, T>) -> WaitId {
        let id = WaitId(self.next);
        self.next += 1;
        for key in &wait.keys {
            let ids = self.by_key.entry((*key, wait.sight)).or_default();
            ids.insert(id);
        }
        self.by_deadline.insert((wait.deadline, id));
        self.waits.insert(id, wait);
        id
    }

    /// So many bytes of a partition have become visible; the fetches that have enough now go to `satisfied`.
    pub fn arrived(&mut self, key: K, sight: Sight, bytes: usize, satisfied: &mut Vec<T>) {
        let Some(ids) = self.by_key.get(&(key, sight)) else {
            return;
        };
        let mut done = Vec::new();
        for id in ids {
            let wait = self.waits.get_mut(id).expect("a key names only who waits");
            wait.missing_bytes = wait.missing_bytes.saturating_sub(bytes);
            if wait.missing_bytes == 0 {
                done.push(*id);
            }
        }
        satisfied.extend(done.into_iter().filter_map(|id| self.remove(id)));
    }

    /// Something about a partition makes every fetch of it answer at once: leadership, deletion, damage, log start.
    pub fn wake(&mut self, key: K, woken: &mut Vec<T>) {
        for sight in [Sight::Committed, Sight::Stable] {
            let ids = self.by_key.get(&(key, sight)).cloned().unwrap_or_default();
            woken.extend(ids.into_iter().filter_map(|id| self.remove(id)));
        }
    }

    /// The fetches whose time is up.
    pub fn expire(&mut self, now: Tick, expired: &mut Vec<T>) {
        while let Some((deadline, id)) = self.by_deadline.first().copied() {
            if deadline > now {
                break;
            }
            expired.extend(self.remove(id));
        }
    }

    /// Takes a fetch out: its connection is gone.
    pub fn remove(&mut self, id: WaitId) -> Option<T> {
        let wait = self.waits.remove(&id)?;
        self.by_deadline.remove(&(wait.deadline, id));
        for key in &wait.keys {
            if let Some(ids) = self.by_key.get_mut(&(*key, wait.sight)) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.by_key.remove(&(*key, wait.sight));
                }
            }
        }
        Some(wait.fetch)
    }

    /// When `expire` wants to be called.
    pub fn deadline(&self) -> Option<Tick> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    /// How many wait.
    pub fn count(&self) -> usize {
        self.waits.len()
    }

    /// Whether somebody waits for a partition.
    pub fn holds(&self, key: K) -> bool {
        self.by_key.contains_key(&(key, Sight::Committed))
            || self.by_key.contains_key(&(key, Sight::Stable))
    }

    /// Asserts the invariants.
    pub fn check(&self) {
        assert_eq!(self.waits.len(), self.by_deadline.len());
        for (id, wait) in &self.waits {
            assert!(wait.missing_bytes > 0);
            assert!(self.by_deadline.contains(&(wait.deadline, *id)));
            for key in &wait.keys {
                assert!(self.by_key[&(*key, wait.sight)].contains(id));
            }
        }
        let named = self.by_key.values().flatten();
        assert!(named.clone().all(|id| self.waits.contains_key(id)));
        assert!(self.by_key.values().all(|ids| !ids.is_empty()));
    }
}
