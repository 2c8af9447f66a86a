//! What one partition knows of one producer, in its two layers.
//!
//! Always: (1) the settled layer holds what is below the high watermark, at most five batches, all of one epoch;
//! (2) heads above it are in order of offset.

use super::batch::{BatchHead, BatchKind, Outcome};
use millstream_storage::ids::{Offset, ProducerEpoch, WallMs};
use std::collections::VecDeque;

/// Batches remembered per producer (rule P7); clients keep at most this many in flight.
pub const REMEMBERED_BATCHES: usize = 5;

/// A batch a retry may repeat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Remembered {
    /// Sequence of its first record.
    pub base_sequence: i32,
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// Offset of its first record.
    pub base_offset: Offset,
    /// The offset behind its last record.
    pub end: Offset,
    /// Its largest timestamp, in ms.
    pub timestamp: i64,
}

impl Remembered {
    fn of(head: &BatchHead) -> Self {
        Self {
            base_sequence: head.base_sequence,
            last_sequence: head.last_sequence(),
            base_offset: head.base_offset,
            end: head.end(),
            timestamp: head.max_timestamp,
        }
    }
}

/// A producer as of the high watermark.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settled {
    /// Its newest epoch.
    pub epoch: ProducerEpoch,
    /// Its last batches of that epoch, oldest first.
    pub batches: VecDeque<Remembered>,
    /// The first offset of its open transaction.
    pub open: Option<Offset>,
    /// The newest coordinator epoch seen in its markers; -1 before the first.
    pub coordinator_epoch: i32,
    /// Markers seen.
    pub markers: u32,
    /// When it last appended, by this node's clock.
    pub used: WallMs,
}

impl Settled {
    fn new(epoch: ProducerEpoch) -> Self {
        Self {
            epoch,
            batches: VecDeque::new(),
            open: None,
            coordinator_epoch: -1,
            markers: 0,
            used: WallMs(0),
        }
    }
}

/// A transaction that has ended below the high watermark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended {
    /// Its first offset.
    pub first: Offset,
    /// How it ended.
    pub outcome: Outcome,
}

/// A batch above the high watermark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Above {
    head: BatchHead,
    used: WallMs,
}

/// One producer: what is settled, and its batches above.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Entry {
    settled: Option<Settled>,
    above: VecDeque<Above>,
}

impl Entry {
    /// An entry restored from a snapshot.
    pub fn restored(settled: Settled) -> Self {
        Self {
            settled: Some(settled),
            above: VecDeque::new(),
        }
    }

    /// Takes a batch that was appended above the high watermark.
    pub fn push(&mut self, head: BatchHead, used: WallMs) {
        self.above.push_back(Above { head, used });
    }

    /// The oldest batch above falls below the high watermark.
    pub fn settle(&mut self) -> Option<Ended> {
        let Above { head, used } = self.above.pop_front()?;
        let settled = self
            .settled
            .get_or_insert_with(|| Settled::new(head.producer_epoch));
        settled.used = settled.used.max(used);
        if head.producer_epoch != settled.epoch {
            settled.epoch = head.producer_epoch;
            settled.batches.clear();
        }
        if let BatchKind::Marker {
            outcome,
            coordinator_epoch,
        } = head.kind
        {
            settled.markers = settled.markers.wrapping_add(1);
            settled.coordinator_epoch = settled.coordinator_epoch.max(coordinator_epoch);
            return settled.open.take().map(|first| Ended { first, outcome });
        }
        if settled.batches.len() == REMEMBERED_BATCHES {
            settled.batches.pop_front();
        }
        settled.batches.push_back(Remembered::of(&head));
        if head.kind == BatchKind::Transactional && settled.open.is_none() {
            settled.open = Some(head.base_offset);
        }
        None
    }

    /// The newest batch above was cut off.
    pub fn drop_newest(&mut self) {
        self.above.pop_back();
    }

    /// The log was cut below the high watermark (an election that was not clean): forgets what is gone.
    pub fn cut_settled(&mut self, to: Offset) {
        let Some(settled) = &mut self.settled else {
            return;
        };
        settled.batches.retain(|batch| batch.end <= to);
        settled.open = settled.open.filter(|first| *first < to);
        if settled.batches.is_empty() && settled.open.is_none() {
            self.settled = None;
        }
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.settled.is_none() && self.above.is_empty()
    }

    /// Whether it may be forgotten: unused for this long, nothing open, nothing above.
    pub fn expired(&self, now: WallMs, expiration_ms: i64) -> bool {
        match &self.settled {
            Some(settled) if self.above.is_empty() && settled.open.is_none() => {
                now.0.saturating_sub(settled.used.0) >= expiration_ms
            }
            _ => false,
        }
    }

    /// The settled layer.
    pub fn settled(&self) -> Option<&Settled> {
        self.settled.as_ref()
    }

    /// The newest epoch over both layers.
    pub fn epoch(&self) -> Option<ProducerEpoch> {
        match self.above.back() {
            Some(newest) => Some(newest.head.producer_epoch),
            None => self.settled.as_ref().map(|settled| settled.epoch),
        }
    }

    /// The newest coordinator epoch over both layers.
    pub fn coordinator_epoch(&self) -> i32 {
        let above = self.above.iter().filter_map(|above| match above.head.kind {
            BatchKind::Marker {
                coordinator_epoch, ..
            } => Some(coordinator_epoch),
            _ => None,
        });
        let settled = self
            .settled
            .as_ref()
            .map_or(-1, |settled| settled.coordinator_epoch);
        above.fold(settled, i32::max)
    }

    /// Markers seen over both layers.
    pub fn markers(&self) -> u32 {
        let is_marker = |above: &&Above| matches!(above.head.kind, BatchKind::Marker { .. });
        let above = self.above.iter().filter(is_marker).count() as u32;
        let settled = self.settled.as_ref().map_or(0, |settled| settled.markers);
        settled.wrapping_add(above)
    }

    /// Whether a transaction is open over both layers.
    pub fn is_open(&self) -> bool {
        for above in self.above.iter().rev() {
            match above.head.kind {
                BatchKind::Transactional => return true,
                BatchKind::Marker { .. } => return false,
                BatchKind::Plain => {}
            }
        }
        self.settled
            .as_ref()
            .is_some_and(|settled| settled.open.is_some())
    }

    /// The first offset of the transaction that is open over both layers.
    pub fn open_since(&self) -> Option<Offset> {
        let settled = self.settled.as_ref().and_then(|settled| settled.open);
        self.above
            .iter()
            .fold(settled, |open, above| match above.head.kind {
                BatchKind::Transactional => open.or(Some(above.head.base_offset)),
                BatchKind::Marker { .. } => None,
                BatchKind::Plain => open,
            })
    }

    /// The batches of the newest epoch that a retry may repeat, newest first.
    pub fn remembered(&self) -> impl Iterator<Item = Remembered> + '_ {
        let epoch = self.epoch();
        let above = self
            .above
            .iter()
            .rev()
            .take_while(move |above| Some(above.head.producer_epoch) == epoch)
            .filter(|above| !matches!(above.head.kind, BatchKind::Marker { .. }))
            .map(|above| Remembered::of(&above.head));
        let settled = self
            .settled
            .iter()
            .filter(move |settled| Some(settled.epoch) == epoch)
            .flat_map(|settled| settled.batches.iter().rev().copied());
        above.chain(settled).take(REMEMBERED_BATCHES)
    }
}
