//! The metadata quorum: an agreed, durable sequence of entries.
//!
//! `Quorum` is what the rest sees of it; `SingleNode` is a quorum of one, whose log has the shape of a replicated one (terms, a
//! vote, membership, snapshots).
//! Always: (1) an entry is `Applied` once it survives whatever the quorum promises to survive, in order of index, without gaps;
//! (2) what is proposed becomes the entry of the index it was proposed for, or leadership is lost; (3) nothing is answered
//! before the write it relies on is synced.
//! Leaves to others: what records mean (the image), deciding (the controller), executing operations on the disk.

mod format;
mod look_only;
mod recover;
mod single;
#[cfg(test)]
mod tests;

pub use recover::{Limits, RecoverError, Recovery, is_blank, recover, verify};
pub use single::SingleNode;

use super::image::{Entry, Image, Record};
use bytes::Bytes;
use millstream_storage::disk::{DiskDone, DiskOp, OpId};
use millstream_storage::ids::{MetadataIndex, NodeId, Now, Tick};

/// What the quorum wants done or known.
#[derive(Clone, Debug)]
pub enum QuorumEffect {
    /// To execute; `done` takes the outcome.
    Op(OpId, DiskOp),
    /// The next entry is committed.
    Applied(Entry),
    /// The log has grown: `snapshot` is to be called with the image as of the newest entry applied; others may be applied meanwhile.
    SnapshotDue,
    /// Another node decides now; proposals not applied may be lost.
    Lost,
    /// The log cannot go on: the process must end.
    Fatal {
        /// For the log.
        reason: String,
    },
}

/// Whether the disk has room for an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// It has.
    Ready,
    /// It is being reserved: to be asked again behind the next operation of the quorum.
    Coming,
    /// The disk is full.
    Full,
}

/// An image as the file of a snapshot holds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EncodedSnapshot {
    /// The newest entry in it.
    pub index: MetadataIndex,
    /// The whole content of the file.
    pub bytes: Bytes,
}

impl EncodedSnapshot {
    /// Encodes an image; takes long where it has many topics.
    pub fn of(image: &Image) -> EncodedSnapshot {
        let index = image.index();
        let bytes = format::encode_snapshot(index, &image.snapshot().encode());
        EncodedSnapshot {
            index,
            bytes: bytes.into(),
        }
    }
}

/// A quorum as its node sees it.
pub trait Quorum {
    /// The image as of the newest entry known to be committed at the start; what follows comes as `Applied`.
    fn image(&self) -> &Image;
    /// The present term.
    fn term(&self) -> u64;
    /// Who decides; `None` while nobody is known to.
    fn leader(&self) -> Option<NodeId>;
    /// Whether an entry of so many bytes finds room on the disk, beside what was proposed and what frees space. Asked before
    /// something is decided that can be refused; reserves the room where it is missing.
    fn admit(&mut self, bytes: u64) -> Room;
    /// Proposes the entry of this index, which must be the next one.
    fn propose(&mut self, index: MetadataIndex, records: Vec<Record>);
    /// Takes the image the log up to it may be forgotten for.
    fn snapshot(&mut self, snapshot: EncodedSnapshot);
    /// An operation has ended.
    fn done(&mut self, now: Now, done: DiskDone);
    /// The end of a turn: what was proposed since leaves together.
    fn turn(&mut self, now: Now);
    /// When `turn` wants to be called though nothing happens.
    fn deadline(&self) -> Option<Tick>;
    /// Whether nothing is in flight or waits.
    fn is_idle(&self) -> bool;
    /// Moves the effects so far to the end of `into`, in order.
    fn drain(&mut self, into: &mut Vec<QuorumEffect>);
}
