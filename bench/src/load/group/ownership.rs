//! Who of a group reads a partition, how far the group has read it, and how long nobody did.
//!
//! Always: (1) a partition that nobody has is either one that nobody had yet or one whose moment of release is known; (2) how far
//! the group has read never goes back, also where a new owner begins again at what was committed.

use super::member::Position;
use crate::load::reader::Place;
use std::collections::BTreeMap;

/// The partitions of a group.
#[derive(Clone, Debug)]
pub struct Ownership {
    /// Where a partition begins that has no committed offset.
    begins: BTreeMap<(u32, i32), Place>,
    furthest: BTreeMap<(u32, i32), i64>,
    /// When its last owner let go of it, where it has none.
    released_ns: BTreeMap<(u32, i32), u64>,
}

impl Ownership {
    pub fn new(places: &[Place]) -> Ownership {
        let key = |place: &Place| (place.topic, place.partition);
        Ownership {
            begins: places
                .iter()
                .map(|place| (key(place), place.clone()))
                .collect(),
            furthest: places
                .iter()
                .map(|place| (key(place), place.start))
                .collect(),
            released_ns: BTreeMap::new(),
        }
    }

    /// A member has these partitions now: the places where it begins. `unavailable` gets how long nobody had one of them.
    pub fn assign(
        &mut self,
        now: u64,
        positions: &[Position],
        mut unavailable: impl FnMut(u64),
    ) -> Vec<Place> {
        let mut places = Vec::new();
        for (topic, partition, committed) in positions {
            let key = (*topic, *partition);
            let Some(place) = self.begins.get(&key) else {
                continue;
            };
            if let Some(since) = self.released_ns.remove(&key) {
                unavailable(now.saturating_sub(since));
            }
            let mut place = place.clone();
            if *committed >= 0 {
                place.next = *committed;
            }
            places.push(place);
        }
        places
    }

    /// A member reads these no longer.
    pub fn release(&mut self, now: u64, places: &[Place]) {
        self.read(places);
        for place in places {
            self.released_ns.insert((place.topic, place.partition), now);
        }
    }

    /// A member has read so far.
    pub fn read(&mut self, places: &[Place]) {
        for place in places {
            if let Some(furthest) = self.furthest.get_mut(&(place.topic, place.partition)) {
                *furthest = (*furthest).max(place.next);
            }
        }
    }

    /// Topic and partition of what the group has not read up to its end.
    pub fn unread<'a>(&'a self, ends: &'a [Vec<i64>]) -> impl Iterator<Item = (u32, i32)> + 'a {
        let short = self
            .furthest
            .iter()
            .filter(|((topic, partition), furthest)| {
                **furthest < ends[*topic as usize][*partition as usize]
            });
        short.map(|(key, _)| *key)
    }
}
