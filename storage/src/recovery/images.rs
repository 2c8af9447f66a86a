//! What the journal holds of the last blocks of one log's extents.

use crate::disk::BLOCK_BYTES;
use crate::format::{Image, Place};
use crate::ids::Offset;
use bytes::Bytes;

/// A block in flight is that of the end of an extent, or of the one before it; besides, an extent may have been begun by a flush.
const KEPT: usize = 4;

/// The newest blocks; of each the newest image.
#[derive(Clone, Debug, Default)]
pub(super) struct Images(Vec<(Image, Bytes)>);

impl Images {
    pub(super) fn push(&mut self, image: Image, bytes: Bytes) {
        let same = |known: &Image| (known.segment, known.position) == at(&image);
        self.0.retain(|(known, _)| !same(known));
        if self.0.len() == KEPT {
            self.0.remove(0);
        }
        self.0.push((image, bytes));
    }

    /// Lets go of what lies before the last block of `synced`.
    pub(super) fn release(&mut self, synced: &Place) {
        let block = synced.position - synced.position % BLOCK_BYTES as u64;
        self.0
            .retain(|(image, _)| at(image) >= (synced.segment, block));
    }

    /// Lets go of what a truncation took something of.
    pub(super) fn cut(&mut self, place: &Place) {
        self.0
            .retain(|(image, _)| end(image) <= (place.segment, place.position));
    }

    /// What a block began with; empty where that is not known.
    pub(super) fn of(&self, segment: Offset, block: u64) -> &[u8] {
        let held = self
            .0
            .iter()
            .find(|(image, _)| at(image) == (segment, block));
        held.map_or(&[], |(_, bytes)| bytes)
    }

    /// The blocks that end behind a place, in their order.
    pub(super) fn behind(&self, place: &Place) -> Vec<(Image, Bytes)> {
        let mut behind = self.0.clone();
        behind.retain(|(image, _)| is_behind(image, place));
        behind.sort_unstable_by_key(|(image, _)| at(image));
        behind
    }
}

/// Whether a block holds bytes behind a place.
pub(super) fn is_behind(image: &Image, place: &Place) -> bool {
    end(image) > (place.segment, place.position)
}

fn at(image: &Image) -> (Offset, u64) {
    (image.segment, image.position)
}

fn end(image: &Image) -> (Offset, u64) {
    (image.segment, image.position + u64::from(image.bytes))
}
