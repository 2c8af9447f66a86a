//! One log while windows are replayed: two places (synced end, end), and what the journal holds around them.
//!
//! Always: a mark never lowers the end; below the synced end nothing is cut but by a `truncate` of the log itself.

use super::images::Images;
use super::pieces::{Pieces, epoch_at};
use crate::format::{
    Append, DamagedRange, EpochStart, Life, LogState, Open, Place, Producers, WindowAt,
};
use crate::ids::{LeaderEpoch, Offset, ShardIndex};
use bytes::Bytes;
use std::collections::BTreeMap;

/// What an append did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Linked {
    /// It went on where the log ended, or was there already.
    Yes,
    /// It did not: something between is missing.
    No,
}

/// A log being replayed. `state.durable_end` is its end.
#[derive(Clone, Debug)]
pub(super) struct Replayed {
    pub(super) state: LogState,
    pub(super) pieces: Pieces,
    /// Blocks that may have been in flight again.
    pub(super) images: Images,
    /// What windows that are missing should have told; whether it is lost is seen in the segments.
    pub(super) gaps: Vec<DamagedRange>,
    /// Offsets the log was cut to: they explain files behind them.
    pub(super) cuts: Vec<Offset>,
    /// Segments whose end the journal tells: what follows in the file is not of the log.
    pub(super) sealed: BTreeMap<Offset, u64>,
    /// Up to where the checkpoint knew the segments.
    pub(super) known: Place,
    /// What the journal holds of it did not link.
    pub(super) unlinked: bool,
    /// It was replaced on another shard; its drop is not in the journal yet.
    pub(super) drop_due: bool,
    /// The synced end that the journal knows.
    pub(super) marked: Place,
}

impl Replayed {
    /// A log as a checkpoint has it, with what the windows from R to C hold of it.
    pub(super) fn from_checkpoint(state: LogState, before: Before) -> Replayed {
        let full = state.segments.iter();
        let full = full.filter(|segment| segment.base < state.synced_end.segment);
        let mut log = Replayed {
            sealed: full.map(|segment| (segment.base, segment.bytes)).collect(),
            known: state.synced_end,
            marked: state.synced_end,
            pieces: before.pieces,
            images: before.images,
            state,
            gaps: Vec::new(),
            cuts: Vec::new(),
            unlinked: false,
            drop_due: false,
        };
        log.chain();
        log.pieces.release(&log.state.synced_end);
        log
    }

    /// What lies above the synced end chains to the durable end, or there is a gap.
    fn chain(&mut self) {
        let mut at = self.state.synced_end;
        let mut gaps = Vec::new();
        for piece in self.pieces.iter() {
            if piece.end.offset <= at.offset {
                continue;
            }
            if piece.start.offset > at.offset {
                gaps.push(DamagedRange {
                    from: at,
                    to: piece.start,
                });
            }
            at = piece.end;
        }
        let durable = self.state.durable_end;
        if at.offset < durable.offset {
            gaps.push(DamagedRange {
                from: at,
                to: durable,
            });
        }
        // At equal offsets the checkpoint says where the log goes on: it may have rolled.
        if at.offset > durable.offset {
            self.state.durable_end = at;
        }
        self.unlinked = !gaps.is_empty();
        self.state.suspect |= self.unlinked;
        self.gaps = gaps;
    }

    /// A new log.
    pub(super) fn opened(open: Open, home: ShardIndex) -> Replayed {
        Replayed {
            sealed: BTreeMap::new(),
            known: open.start,
            marked: open.start,
            pieces: Pieces::default(),
            images: Images::default(),
            gaps: Vec::new(),
            cuts: Vec::new(),
            unlinked: false,
            drop_due: false,
            state: LogState {
                log: open.log,
                topic: open.topic,
                partition: open.partition,
                home,
                life: Life::Live,
                suspect: false,
                barred: false,
                metadata_index: open.metadata_index,
                log_start: open.log_start,
                high_watermark: open.log_start,
                purged: Offset(0),
                synced_end: open.start,
                durable_end: open.start,
                epochs: open.epochs,
                segments: Vec::new(),
                damage: Vec::new(),
                producers: Producers::Unknown,
            },
        }
    }

    pub(super) fn append(&mut self, append: &Append, bytes: Bytes, window: WindowAt) -> Linked {
        let end = self.state.durable_end;
        if append.end <= self.state.synced_end.offset {
            return Linked::Yes;
        }
        let links = append.previous_end == end.offset && append.previous_epoch == end.epoch;
        let straddles = append.previous_end < end.offset
            && end.offset == self.state.synced_end.offset
            && end.offset < append.end;
        if links {
            // An image that ends behind it is of bytes in its place.
            self.images.cut(&append.start_place());
        }
        if links || straddles {
            self.state.durable_end = append.end_place();
            self.pieces.push(append, bytes, window);
            return Linked::Yes;
        }
        if append.previous_end < end.offset {
            // A `truncate` is among what is missing: the log was that short.
            self.truncate(append.start_place());
        } else {
            self.gaps.push(DamagedRange {
                from: end,
                to: append.start_place(),
            });
        }
        self.unlinked = true;
        self.state.suspect = true;
        self.state.durable_end = append.end_place();
        self.pieces.push(append, bytes, window);
        Linked::No
    }

    pub(super) fn mark(&mut self, place: Place) {
        let state = &mut self.state;
        let before = state.synced_end;
        if place.offset < before.offset {
            return;
        }
        if place.offset == before.offset && place.segment > before.segment {
            self.sealed.insert(before.segment, before.position);
        }
        state.synced_end = place;
        self.marked = place;
        if place.offset >= state.durable_end.offset {
            state.durable_end = place;
        }
        self.pieces.release(&place);
        self.images.release(&place);
    }

    pub(super) fn truncate(&mut self, place: Place) {
        self.cuts.push(place.offset);
        self.images.cut(&place);
        let state = &mut self.state;
        state.epochs.retain(|epoch| epoch.start < place.offset);
        state.barred = true;
        if place.offset > state.durable_end.offset {
            // It cut what the journal never held.
            return;
        }
        state.durable_end = place;
        for end in [&mut state.synced_end, &mut self.known, &mut self.marked] {
            if end.offset >= place.offset {
                *end = place;
            }
        }
        state.high_watermark = state.high_watermark.min(place.offset);
        self.sealed.retain(|segment, _| *segment < place.segment);
        state
            .segments
            .retain(|segment| segment.base <= place.segment);
        if let Some(last) = state.segments.last_mut()
            && last.base == place.segment
        {
            last.bytes = last.bytes.min(place.position);
        }
        let settled = match &state.producers {
            Producers::Unknown => None,
            Producers::Inline { offset, .. } | Producers::File { offset, .. } => Some(*offset),
        };
        if settled.is_some_and(|offset| offset > place.offset) {
            state.producers = Producers::Unknown;
        }
        cut_ranges(&mut state.damage, &place);
        cut_ranges(&mut self.gaps, &place);
        self.pieces.cut(place.offset);
    }

    pub(super) fn epoch(&mut self, epoch: EpochStart) {
        self.state.barred = false;
        let epochs = &mut self.state.epochs;
        if epochs.last().is_some_and(|last| last.epoch == epoch.epoch) {
            return;
        }
        epochs.retain(|known| known.epoch < epoch.epoch && known.start < epoch.start);
        epochs.push(epoch);
    }

    pub(super) fn start(&mut self, log_start: Offset) {
        let state = &mut self.state;
        state.log_start = state.log_start.max(log_start);
        state.high_watermark = state.high_watermark.max(log_start);
    }

    /// The epoch the log has for an offset; -1 where it has none.
    pub(super) fn epoch_at(&self, offset: Offset) -> LeaderEpoch {
        epoch_at(&self.state.epochs, offset).unwrap_or(LeaderEpoch(-1))
    }
}

/// Ranges that lie behind a place go, the one around it ends there.
fn cut_ranges(ranges: &mut Vec<DamagedRange>, place: &Place) {
    ranges.retain(|range| range.from.offset < place.offset);
    for range in ranges {
        if range.to.offset > place.offset {
            range.to = *place;
        }
    }
}

/// What the windows from R to C hold of one log: bytes only.
#[derive(Clone, Debug, Default)]
pub(super) struct Before {
    pub(super) pieces: Pieces,
    pub(super) images: Images,
}

impl Before {
    pub(super) fn truncate(&mut self, place: &Place) {
        self.pieces.cut(place.offset);
        self.images.cut(place);
    }
}
