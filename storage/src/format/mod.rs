//! Every byte on disk that is not a record batch: windows and entries of the journal, checkpoints, meta files, names.
//! `FORMAT.md` beside this crate is the normative description.
//!
//! Always: (1) what is encoded decodes to itself; (2) decoding never panics and allocates nothing from a number that was not
//! checked against the bytes at hand; (3) everything carries a CRC-32C.
//! Leaves to others: what the entries mean after a crash (`recovery`), when they are written (`commit`).

mod checkpoint;
mod codec;
mod entry;
mod meta;
mod names;
mod place;
#[cfg(test)]
mod tests;
mod window;

pub use checkpoint::{
    CHECKPOINT_VERSION, Checkpoint, CheckpointSlot, DamagedRange, JournalFileState, Life, LogState,
    Producers, SegmentState,
};
pub use codec::{Malformed, Versions};
pub use entry::{
    Append, ENTRY_ALIGN, Entries, Entry, EntryAt, IMAGE_BYTES_MAX, Image, Open, append_entry_bytes,
    image_entry_bytes,
};
pub use meta::{DIR_META_VERSION, DirMeta, NODE_META_VERSION, NodeMeta, ProducersFile};
pub use names::{
    CHECKPOINT_A, CHECKPOINT_B, DIR_META, LOCK, LogPath, NODE_META, QUORUM, SegmentFile,
    checkpoint_path, journal_path, log_dir, parse_journal, parse_log_dir, parse_segment,
    parse_shard_dir, parse_topic_dir, segment_file, shard_dir, spare_file, successor_file,
    topic_dir,
};
pub use place::{EpochStart, Place, WindowAt};
pub use window::{
    Sealed, WINDOW_HEADER_BYTES, WINDOW_VERSION, WindowBuilder, WindowFront, WindowHeader, padded,
};
