//! The bytes of one log that the journal holds, in order.
//!
//! Always: pieces do not overlap and ascend; a piece lies in one segment.

use super::types::Unflushed;
use crate::batch::BatchHead;
use crate::disk::BLOCK_BYTES;
use crate::format::{Append, Place, WindowAt};
use crate::ids::{LeaderEpoch, Offset};
use bytes::Bytes;

/// Batches from one append entry, or what is left of them.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) start: Place,
    pub(super) end: Place,
    pub(super) base: Offset,
    pub(super) bytes: Bytes,
    pub(super) window: WindowAt,
}

/// All pieces of a log.
#[derive(Clone, Debug, Default)]
pub(super) struct Pieces {
    pieces: Vec<Piece>,
}

/// Where the batches of some bytes go on at or behind an offset.
fn border(bytes: &[u8], offset: Offset) -> Option<(usize, Option<BatchHead>)> {
    let mut at = 0;
    let mut last = None;
    while at < bytes.len() {
        let head = BatchHead::parse(&bytes[at..]).ok()?;
        if head.base_offset >= offset {
            return Some((at, last));
        }
        at = at.checked_add(head.bytes)?;
        last = Some(head);
    }
    (at == bytes.len()).then_some((at, last))
}

impl Piece {
    fn new(append: &Append, bytes: Bytes, window: WindowAt) -> Piece {
        Piece {
            start: append.start_place(),
            end: append.end_place(),
            base: append.base,
            bytes,
            window,
        }
    }

    /// The part at and behind an offset that a batch begins at.
    fn behind(&self, offset: Offset) -> Option<Piece> {
        if offset <= self.start.offset {
            return Some(self.clone());
        }
        let (at, last) = border(&self.bytes, offset)?;
        let last = last?;
        let head = BatchHead::parse(&self.bytes[at..]).ok()?;
        Some(Piece {
            start: Place {
                segment: self.start.segment,
                position: self.start.position + at as u64,
                offset: last.end_offset(),
                epoch: last.leader_epoch,
            },
            base: head.base_offset,
            bytes: self.bytes.slice(at..),
            ..self.clone()
        })
    }

    /// The part before an offset that a batch begins at.
    fn before(&self, offset: Offset) -> Option<Piece> {
        if offset >= self.end.offset {
            return Some(self.clone());
        }
        let (at, last) = border(&self.bytes, offset)?;
        let last = last?;
        Some(Piece {
            end: Place {
                segment: self.start.segment,
                position: self.start.position + at as u64,
                offset: last.end_offset(),
                epoch: last.leader_epoch,
            },
            bytes: self.bytes.slice(..at),
            ..self.clone()
        })
    }
}

impl Pieces {
    /// Takes an append. What it overlaps of before is cut away: the later entry counts.
    pub(super) fn push(&mut self, append: &Append, bytes: Bytes, window: WindowAt) {
        if self
            .pieces
            .last()
            .is_some_and(|last| last.end.offset > append.base)
        {
            self.cut(append.previous_end);
        }
        self.pieces.push(Piece::new(append, bytes, window));
    }

    /// Takes away what lies at or behind an offset.
    pub(super) fn cut(&mut self, offset: Offset) {
        while let Some(last) = self.pieces.last()
            && last.end.offset > offset
        {
            let last = self.pieces.pop().expect("just seen");
            if last.start.offset < offset
                && let Some(kept) = last.before(offset)
            {
                self.pieces.push(kept);
                return;
            }
        }
    }

    /// Lets go of what the segments hold up to `synced`, but for its last block: it may have to be written back.
    pub(super) fn release(&mut self, synced: &Place) {
        let block = synced.position - synced.position % BLOCK_BYTES as u64;
        self.pieces.retain(|piece| {
            piece.end.offset > synced.offset
                || (piece.start.segment == synced.segment && piece.end.position > block)
        });
    }

    /// The bytes from the last block of `synced` up to it, where an image of its beginning and the pieces hold all of them.
    pub(super) fn last_block(&self, synced: &Place, image: &[u8]) -> Option<Vec<u8>> {
        let block = synced.position - synced.position % BLOCK_BYTES as u64;
        let wanted = (synced.position - block) as usize;
        let mut bytes = image[..image.len().min(wanted)].to_vec();
        let same = |piece: &&Piece| piece.start.segment == synced.segment;
        for piece in self.pieces.iter().filter(same) {
            let next = block + bytes.len() as u64;
            if piece.start.position > next || piece.end.position <= next {
                continue;
            }
            let from = (next - piece.start.position) as usize;
            let to = piece.end.position.min(synced.position) - piece.start.position;
            bytes.extend_from_slice(&piece.bytes[from..to as usize]);
        }
        (bytes.len() == wanted).then_some(bytes)
    }

    /// The pieces behind a place, the first one cut to it.
    pub(super) fn behind(&self, place: &Place) -> Vec<Piece> {
        let above = self
            .pieces
            .iter()
            .filter(|piece| piece.end.offset > place.offset);
        above
            .filter_map(|piece| piece.behind(place.offset))
            .collect()
    }

    /// The bytes that the journal has for a place of a segment; empty where it has none.
    pub(super) fn at(&self, segment: Offset, position: u64) -> &[u8] {
        let holds = |piece: &&Piece| {
            piece.start.segment == segment
                && piece.start.position <= position
                && position < piece.end.position
        };
        self.pieces.iter().find(holds).map_or(&[], |piece| {
            &piece.bytes[(position - piece.start.position) as usize..]
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Piece> {
        self.pieces.iter()
    }
}

impl From<Piece> for Unflushed {
    fn from(piece: Piece) -> Unflushed {
        Unflushed {
            start: piece.start,
            end: piece.end,
            base: piece.base,
            bytes: piece.bytes,
            window: piece.window,
        }
    }
}

/// The epoch of a log for an offset: that of the last epoch that starts at or before it.
pub(super) fn epoch_at(
    epochs: &[crate::format::EpochStart],
    offset: Offset,
) -> Option<LeaderEpoch> {
    let index = epochs.partition_point(|epoch| epoch.start <= offset);
    index.checked_sub(1).map(|index| epochs[index].epoch)
}
