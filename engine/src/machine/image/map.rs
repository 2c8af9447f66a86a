//! An ordered map whose copies share what has not changed.
//!
//! A sorted list of sorted runs, each behind an `Arc`: copying it costs one count per run (ten thousand entries are about two
//! hundred runs), changing an entry of a shared copy costs one run.
//! Always: (1) runs are not empty and at most `RUN_MAX` long; (2) keys ascend within and over runs.

use std::borrow::Borrow;
use std::sync::Arc;

const RUN_MAX: usize = 96;

/// The map. `Clone` is cheap; clones are independent.
#[derive(Clone, Debug)]
pub struct SharedMap<K, V> {
    runs: Vec<Arc<Vec<(K, V)>>>,
    count: usize,
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self {
            runs: Vec::new(),
            count: 0,
        }
    }
}

impl<K: Ord + Clone, V: Clone> SharedMap<K, V> {
    /// Entries.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The value of a key.
    pub fn value<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let run = self.runs.get(self.run_of(key)?)?;
        let at = run
            .binary_search_by(|(other, _)| other.borrow().cmp(key))
            .ok()?;
        Some(&run[at].1)
    }

    /// The value of a key, to change; its run is copied if it is shared.
    pub fn value_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let run = self.run_of(key)?;
        let at = self.runs[run]
            .binary_search_by(|(other, _)| other.borrow().cmp(key))
            .ok()?;
        Some(&mut Arc::make_mut(&mut self.runs[run])[at].1)
    }

    /// Sets a value.
    pub fn insert(&mut self, key: K, value: V) {
        let Some(at_run) = self.run_of(&key) else {
            self.runs.push(Arc::new(vec![(key, value)]));
            self.count = 1;
            return;
        };
        let run = Arc::make_mut(&mut self.runs[at_run]);
        match run.binary_search_by(|(other, _)| other.cmp(&key)) {
            Ok(at) => run[at].1 = value,
            Err(at) => {
                run.insert(at, (key, value));
                self.count += 1;
                if run.len() > RUN_MAX {
                    let rest = run.split_off(RUN_MAX / 2);
                    self.runs.insert(at_run + 1, Arc::new(rest));
                }
            }
        }
    }

    /// Removes a key.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let at_run = self.run_of(key)?;
        let at = self.runs[at_run]
            .binary_search_by(|(other, _)| other.borrow().cmp(key))
            .ok()?;
        let run = Arc::make_mut(&mut self.runs[at_run]);
        let (_, value) = run.remove(at);
        if run.is_empty() {
            self.runs.remove(at_run);
        }
        self.count -= 1;
        Some(value)
    }

    /// All entries, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.runs
            .iter()
            .flat_map(|run| run.iter().map(|(key, value)| (key, value)))
    }

    /// All entries from a key on, ascending.
    pub fn iter_from<Q: Ord + ?Sized>(&self, key: &Q) -> impl Iterator<Item = (&K, &V)>
    where
        K: Borrow<Q>,
    {
        let run = self.run_of(key).unwrap_or(0);
        let first = self.runs.get(run);
        let skipped = first.map_or(0, |first| {
            first.partition_point(|(one, _)| one.borrow() < key)
        });
        let runs = self.runs[run.min(self.runs.len())..].iter();
        runs.flat_map(|run| run.iter().map(|(key, value)| (key, value)))
            .skip(skipped)
    }

    /// The run a key is in or belongs into; `None` while there is none.
    fn run_of<Q: Ord + ?Sized>(&self, key: &Q) -> Option<usize>
    where
        K: Borrow<Q>,
    {
        if self.runs.is_empty() {
            return None;
        }
        let behind = self.runs.partition_point(|run| run[0].0.borrow() <= key);
        Some(behind.saturating_sub(1))
    }
}
