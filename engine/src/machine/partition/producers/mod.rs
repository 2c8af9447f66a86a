//! Producers and transactions of one partition: who appended what, so that a retry is told from a new batch.
//!
//! Always: (1) the settled layer is what the log below the high watermark says, and only it is written to checkpoints and
//! decides the last stable offset; (2) sequences are checked against both layers; (3) a truncation above the high watermark
//! drops heads and rebuilds nothing; (4) a snapshot and the heads behind it give the state they were taken from.
//! Leaves to others: offsets, roles and answers (the partition).

mod batch;
mod entry;
mod snapshot;
#[cfg(test)]
mod tests;

pub use batch::{BatchHead, BatchKind, Outcome};
pub use entry::{REMEMBERED_BATCHES, Remembered};
pub use snapshot::Malformed;

use entry::Entry;
use millstream_storage::ids::{Offset, ProducerEpoch, ProducerId, WallMs};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What a batch of a producer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checked {
    /// The next one.
    Next,
    /// The next one, of a transaction this partition does not know to be part of.
    Unverified,
    /// A repetition.
    Duplicate(Remembered),
    /// A marker whose transaction has ended before.
    MarkerDone,
}

/// Why a batch of a producer is not appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProducerRefusal {
    /// [45] Not the next sequence.
    OutOfOrderSequence,
    /// [47] An older epoch.
    InvalidProducerEpoch,
    /// [48] Outside of the transaction that is open.
    InvalidTransactionState,
    /// [52] A marker of an older coordinator.
    CoordinatorFenced,
}

/// A transaction that ended in an abort, for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbortedTransaction {
    /// Whose.
    pub producer: ProducerId,
    /// Its first offset.
    pub first: Offset,
    /// The offset of its marker.
    pub marker: Offset,
    /// The last stable offset behind it.
    pub last_stable_offset: Offset,
}

/// What is known of one producer, for who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KnownProducer {
    /// Its id.
    pub producer: ProducerId,
    /// Its newest epoch.
    pub epoch: ProducerEpoch,
    /// The sequence of its last record in that epoch; -1 where there is none.
    pub last_sequence: i32,
    /// The largest timestamp of its last batch, in ms; -1 where there is none.
    pub last_timestamp: i64,
    /// The newest coordinator epoch seen in its markers; -1 before the first.
    pub coordinator_epoch: i32,
    /// The first offset of its open transaction.
    pub open: Option<Offset>,
}

/// A batch with a producer above the high watermark: whose, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    producer: ProducerId,
    base: Offset,
    end: Offset,
}

/// All producers of one partition.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Producers {
    entries: BTreeMap<ProducerId, Entry>,
    above: VecDeque<Place>,
    open: BTreeSet<(Offset, ProducerId)>,
    settled_to: Offset,
}

impl Producers {
    /// No producers, in a log settled up to an offset.
    pub fn new(settled_to: Offset) -> Self {
        Self {
            settled_to,
            ..Self::default()
        }
    }

    /// Takes a batch that is in the log at or above the settled offset, in order of offset. It was checked by a leader.
    pub fn append(&mut self, head: &BatchHead, used: WallMs) {
        if !head.has_producer() {
            return;
        }
        let place = Place {
            producer: head.producer,
            base: head.base_offset,
            end: head.end(),
        };
        assert!(self.above.back().is_none_or(|last| last.end <= place.base));
        self.above.push_back(place);
        self.entries
            .entry(head.producer)
            .or_default()
            .push(*head, used);
    }

    /// The high watermark has moved up; transactions that ended in an abort go to `aborted`.
    pub fn settle(&mut self, high_watermark: Offset, aborted: &mut Vec<AbortedTransaction>) {
        while let Some(place) = self.above.front().copied() {
            if place.end > high_watermark {
                break;
            }
            self.above.pop_front();
            self.settle_one(place, aborted);
        }
        self.settled_to = self.settled_to.max(high_watermark);
    }

    fn settle_one(&mut self, place: Place, aborted: &mut Vec<AbortedTransaction>) {
        let entry = self.entries.entry(place.producer).or_default();
        let ended = entry.settle();
        if let Some(ended) = ended {
            self.open.remove(&(ended.first, place.producer));
            if ended.outcome == Outcome::Abort {
                aborted.push(AbortedTransaction {
                    producer: place.producer,
                    first: ended.first,
                    marker: place.base,
                    last_stable_offset: self.first_open().unwrap_or(place.end),
                });
            }
        } else if let Some(first) = entry.settled().and_then(|settled| settled.open) {
            self.open.insert((first, place.producer));
        }
    }

    /// The log was cut to `to`. Below the settled offset (only after an election that was not clean) what is gone is
    /// forgotten too.
    pub fn truncate(&mut self, to: Offset) {
        while let Some(place) = self.above.back().copied() {
            if place.base < to {
                break;
            }
            self.above.pop_back();
            if let Some(entry) = self.entries.get_mut(&place.producer) {
                entry.drop_newest();
                if entry.is_empty() {
                    self.entries.remove(&place.producer);
                }
            }
        }
        if to < self.settled_to {
            self.settled_to = to;
            self.entries.retain(|_, entry| {
                entry.cut_settled(to);
                !entry.is_empty()
            });
            self.open.retain(|(first, _)| *first < to);
        }
    }

    /// Judges a batch that wants to be appended (rules P7, P8, P10).
    pub fn check(&self, head: &BatchHead) -> Result<Checked, ProducerRefusal> {
        if !head.has_producer() {
            return Ok(Checked::Next);
        }
        match (head.kind, self.entries.get(&head.producer)) {
            (BatchKind::Marker { .. }, None) => Ok(Checked::Next),
            (
                BatchKind::Marker {
                    coordinator_epoch, ..
                },
                Some(entry),
            ) => check_marker(head, coordinator_epoch, entry),
            (BatchKind::Plain, None) => Ok(Checked::Next),
            (BatchKind::Transactional, None) => Ok(Checked::Unverified),
            (_, Some(entry)) => check_data(head, entry),
        }
    }

    /// Forgets a producer that has not appended for so long (`producer.id.expiration.ms`); called before `check`.
    pub fn expire_one(&mut self, producer: ProducerId, now: WallMs, expiration_ms: i64) {
        if let Some(entry) = self.entries.get(&producer)
            && entry.expired(now, expiration_ms)
        {
            self.entries.remove(&producer);
        }
    }

    /// Forgets all producers that have not appended for so long.
    pub fn expire(&mut self, now: WallMs, expiration_ms: i64) {
        self.entries
            .retain(|_, entry| !entry.expired(now, expiration_ms));
    }

    /// The first offset of the oldest transaction that is open as of the high watermark.
    pub fn first_open(&self) -> Option<Offset> {
        self.open.first().map(|(first, _)| *first)
    }

    /// Markers of a producer seen so far; an answer of a coordinator is void when it has changed.
    pub fn markers(&self, producer: ProducerId) -> u32 {
        self.entries.get(&producer).map_or(0, Entry::markers)
    }

    /// The newest epoch of a producer.
    pub fn epoch(&self, producer: ProducerId) -> Option<ProducerEpoch> {
        self.entries.get(&producer).and_then(Entry::epoch)
    }

    /// What is known of each producer, both layers together.
    pub fn known(&self) -> impl Iterator<Item = KnownProducer> + '_ {
        let known = |(producer, entry): (&ProducerId, &Entry)| {
            let newest = entry.remembered().next();
            Some(KnownProducer {
                producer: *producer,
                epoch: entry.epoch()?,
                last_sequence: newest.map_or(-1, |batch| batch.last_sequence),
                last_timestamp: newest.map_or(-1, |batch| batch.timestamp),
                coordinator_epoch: entry.coordinator_epoch(),
                open: entry.open_since(),
            })
        };
        self.entries.iter().filter_map(known)
    }

    /// Producers known.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// Everything below is settled.
    pub fn settled_to(&self) -> Offset {
        self.settled_to
    }

    /// Asserts the invariants.
    pub fn check_invariants(&self) {
        let mut previous = self.settled_to;
        for place in &self.above {
            assert!(place.end > self.settled_to && place.base < place.end);
            assert!(place.base >= previous || previous == self.settled_to);
            previous = place.end;
        }
        let mut open = BTreeSet::new();
        for (producer, entry) in &self.entries {
            assert!(!entry.is_empty());
            let Some(settled) = entry.settled() else {
                continue;
            };
            assert!(settled.batches.len() <= REMEMBERED_BATCHES);
            assert!(
                settled
                    .batches
                    .iter()
                    .all(|batch| batch.end <= self.settled_to)
            );
            open.extend(settled.open.map(|first| (first, *producer)));
        }
        assert_eq!(open, self.open);
    }
}

fn check_marker(
    head: &BatchHead,
    coordinator_epoch: i32,
    entry: &Entry,
) -> Result<Checked, ProducerRefusal> {
    if coordinator_epoch < entry.coordinator_epoch() {
        return Err(ProducerRefusal::CoordinatorFenced);
    }
    match entry.epoch() {
        Some(epoch) if head.producer_epoch < epoch => Err(ProducerRefusal::InvalidProducerEpoch),
        Some(epoch) if head.producer_epoch == epoch && !entry.is_open() => Ok(Checked::MarkerDone),
        _ => Ok(Checked::Next),
    }
}

fn check_data(head: &BatchHead, entry: &Entry) -> Result<Checked, ProducerRefusal> {
    let Some(epoch) = entry.epoch() else {
        return Ok(Checked::Next);
    };
    if head.producer_epoch < epoch {
        return Err(ProducerRefusal::InvalidProducerEpoch);
    }
    let newest = (head.producer_epoch == epoch)
        .then(|| entry.remembered().next())
        .flatten();
    if head.producer_epoch == epoch {
        let same = |batch: &Remembered| {
            batch.base_sequence == head.base_sequence && batch.last_sequence == head.last_sequence()
        };
        if let Some(batch) = entry.remembered().find(same) {
            return Ok(Checked::Duplicate(batch));
        }
    }
    let expected = newest.map_or(0, |batch| next_sequence(batch.last_sequence));
    if head.base_sequence != expected {
        return Err(ProducerRefusal::OutOfOrderSequence);
    }
    match (entry.is_open(), head.kind) {
        (true, BatchKind::Plain) => Err(ProducerRefusal::InvalidTransactionState),
        (false, BatchKind::Transactional) => Ok(Checked::Unverified),
        _ => Ok(Checked::Next),
    }
}

/// The sequence behind one: 2147483647 wraps to 0.
fn next_sequence(sequence: i32) -> i32 {
    sequence.checked_add(1).unwrap_or(0)
}
