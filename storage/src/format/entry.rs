//! The entries of a window: everything a restart must know, in order.
//!
//! Always: an entry begins at a multiple of [`ENTRY_ALIGN`]; [`Entry::encoded_bytes`] counts the padding behind it.

use super::codec::{EPOCH_BYTES, Fields, Malformed, PLACE_BYTES, Put};
use super::place::{EpochStart, Place};
use crate::ids::{LeaderEpoch, LogNumber, MetadataIndex, Offset, PartitionIndex, TopicId};

/// Entries begin at multiples of so many bytes.
pub const ENTRY_ALIGN: usize = 8;
/// An image holds at most one block.
pub const IMAGE_BYTES_MAX: usize = 4096;

/// Kind, length, log.
const HEAD_BYTES: usize = 16;
const APPEND_BYTES: usize = HEAD_BYTES + 56;
const IMAGE_BYTES: usize = HEAD_BYTES + 24;
const OPEN_BYTES: usize = HEAD_BYTES + 48 + PLACE_BYTES;
/// What `replaces` holds where nothing is replaced.
const NO_LOG: u64 = u64::MAX;

/// Bytes of an append entry with so many bytes of batches.
pub const fn append_entry_bytes(batches_bytes: u64) -> u64 {
    (APPEND_BYTES as u64 + batches_bytes).next_multiple_of(ENTRY_ALIGN as u64)
}

/// Bytes of an image entry with so many bytes of content.
pub const fn image_entry_bytes(bytes: u64) -> u64 {
    (IMAGE_BYTES as u64 + bytes).next_multiple_of(ENTRY_ALIGN as u64)
}

/// The beginning of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Open {
    /// Its number.
    pub log: LogNumber,
    /// Its topic.
    pub topic: TopicId,
    /// Its partition.
    pub partition: PartitionIndex,
    /// The metadata entry that asked for it.
    pub metadata_index: MetadataIndex,
    /// Its first place.
    pub start: Place,
    /// The first offset that may be read.
    pub log_start: Offset,
    /// Epochs it begins with, ascending.
    pub epochs: Vec<EpochStart>,
    /// The log it takes the place of.
    pub replaces: Option<LogNumber>,
}

/// Batches of one epoch, one behind the other in one segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Append {
    /// The log.
    pub log: LogNumber,
    /// The segment they belong to.
    pub segment: Offset,
    /// Where in it.
    pub position: u64,
    /// The end of the batch before them: the link.
    pub previous_end: Offset,
    /// The epoch of the batch before them: the link.
    pub previous_epoch: LeaderEpoch,
    /// The offset of their first record.
    pub base: Offset,
    /// The offset behind their last record.
    pub end: Offset,
    /// Their epoch.
    pub epoch: LeaderEpoch,
    /// How long they are; they follow the entry.
    pub bytes: u32,
}

impl Append {
    /// The place in front of them.
    pub fn start_place(&self) -> Place {
        Place {
            segment: self.segment,
            position: self.position,
            offset: self.previous_end,
            epoch: self.previous_epoch,
        }
    }

    /// The place behind them.
    pub fn end_place(&self) -> Place {
        Place {
            segment: self.segment,
            position: self.position + u64::from(self.bytes),
            offset: self.end,
            epoch: self.epoch,
        }
    }
}

/// The synced bytes of a block of a segment that is about to be written again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Image {
    /// The log.
    pub log: LogNumber,
    /// The segment.
    pub segment: Offset,
    /// Where in it; block-aligned.
    pub position: u64,
    /// How long it is; the bytes follow the entry. At most [`IMAGE_BYTES_MAX`].
    pub bytes: u32,
}

/// One entry. Payload (batches, the content of an image) is not part of it, only its length.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// A log begins.
    Open(Open),
    /// Batches.
    Append(Append),
    /// A log is cut: everything behind the place is gone.
    Truncate {
        /// The log.
        log: LogNumber,
        /// Its new end.
        place: Place,
    },
    /// An epoch begins.
    Epoch {
        /// The log.
        log: LogNumber,
        /// The epoch and its first offset.
        epoch: EpochStart,
    },
    /// The log start has moved up.
    Start {
        /// The log.
        log: LogNumber,
        /// The first offset that may be read.
        log_start: Offset,
    },
    /// The segments hold everything up to the place, synced.
    Mark {
        /// The log.
        log: LogNumber,
        /// Up to here.
        place: Place,
    },
    /// A block that is about to be written again.
    Image(Image),
    /// A log ends.
    Drop {
        /// The log.
        log: LogNumber,
    },
}

const OPEN: u8 = 1;
const APPEND: u8 = 2;
const TRUNCATE: u8 = 3;
const EPOCH: u8 = 4;
const START: u8 = 5;
const MARK: u8 = 6;
const IMAGE: u8 = 7;
const DROP: u8 = 8;

impl Entry {
    /// The log it is about.
    pub fn log(&self) -> LogNumber {
        match self {
            Entry::Open(open) => open.log,
            Entry::Append(append) => append.log,
            Entry::Image(image) => image.log,
            Entry::Truncate { log, .. }
            | Entry::Epoch { log, .. }
            | Entry::Start { log, .. }
            | Entry::Mark { log, .. }
            | Entry::Drop { log } => *log,
        }
    }

    /// The bytes of payload that follow it.
    pub fn payload_bytes(&self) -> usize {
        match self {
            Entry::Append(append) => append.bytes as usize,
            Entry::Image(image) => image.bytes as usize,
            _ => 0,
        }
    }

    /// The bytes it takes in a window, payload and padding included.
    pub fn encoded_bytes(&self) -> usize {
        (self.fixed_bytes() + self.payload_bytes()).next_multiple_of(ENTRY_ALIGN)
    }

    fn fixed_bytes(&self) -> usize {
        match self {
            Entry::Open(open) => OPEN_BYTES + EPOCH_BYTES * open.epochs.len(),
            Entry::Append(_) => APPEND_BYTES,
            Entry::Truncate { .. } | Entry::Mark { .. } => HEAD_BYTES + PLACE_BYTES,
            Entry::Epoch { .. } => HEAD_BYTES + EPOCH_BYTES,
            Entry::Start { .. } => HEAD_BYTES + 8,
            Entry::Image(_) => IMAGE_BYTES,
            Entry::Drop { .. } => HEAD_BYTES,
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Entry::Open(_) => OPEN,
            Entry::Append(_) => APPEND,
            Entry::Truncate { .. } => TRUNCATE,
            Entry::Epoch { .. } => EPOCH,
            Entry::Start { .. } => START,
            Entry::Mark { .. } => MARK,
            Entry::Image(_) => IMAGE,
            Entry::Drop { .. } => DROP,
        }
    }

    /// Everything but payload and padding.
    pub(super) fn encode(&self, out: &mut impl Put) {
        let bytes = self.fixed_bytes() + self.payload_bytes();
        let bytes = u32::try_from(bytes).expect("a window is smaller than 4 GiB");
        out.put(&[self.kind(), 0, 0, 0]);
        out.put(&bytes.to_le_bytes());
        out.put(&self.log().0.to_le_bytes());
        match self {
            Entry::Open(open) => encode_open(open, out),
            Entry::Append(append) => encode_append(append, out),
            Entry::Truncate { place, .. } | Entry::Mark { place, .. } => out.put_place(place),
            Entry::Epoch { epoch, .. } => out.put_epoch(epoch),
            Entry::Start { log_start, .. } => out.put(&log_start.0.to_le_bytes()),
            Entry::Image(image) => {
                out.put(&image.segment.0.to_le_bytes());
                out.put(&image.position.to_le_bytes());
                out.put(&image.bytes.to_le_bytes());
                out.put(&[0; 4]);
            }
            Entry::Drop { .. } => {}
        }
    }
}

fn encode_open(open: &Open, out: &mut impl Put) {
    out.put(&open.topic.0.to_le_bytes());
    out.put(&open.partition.0.to_le_bytes());
    out.put(&(open.epochs.len() as u32).to_le_bytes());
    out.put(&open.metadata_index.0.to_le_bytes());
    out.put_place(&open.start);
    out.put(&open.log_start.0.to_le_bytes());
    out.put(&open.replaces.map_or(NO_LOG, |log| log.0).to_le_bytes());
    for epoch in &open.epochs {
        out.put_epoch(epoch);
    }
}

fn encode_append(append: &Append, out: &mut impl Put) {
    out.put(&append.segment.0.to_le_bytes());
    out.put(&append.position.to_le_bytes());
    out.put(&append.previous_end.0.to_le_bytes());
    out.put(&append.base.0.to_le_bytes());
    out.put(&append.end.0.to_le_bytes());
    out.put(&append.previous_epoch.0.to_le_bytes());
    out.put(&append.epoch.0.to_le_bytes());
    out.put(&append.bytes.to_le_bytes());
    out.put(&[0; 4]);
}

/// An entry of a window, and its payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EntryAt<'a> {
    /// Where in the window it begins.
    pub position: usize,
    /// The entry.
    pub entry: Entry,
    /// What follows it: batches, or the content of an image; else empty.
    pub payload: &'a [u8],
}

/// The entries of a window, in order; ends after the first that does not decode.
pub struct Entries<'a> {
    window: &'a [u8],
    position: usize,
    left: u32,
}

impl<'a> Entries<'a> {
    /// `count` entries from `position` to the end of the window.
    pub(super) fn new(window: &'a [u8], position: usize, count: u32) -> Entries<'a> {
        Entries {
            window,
            position,
            left: count,
        }
    }

    fn entry(&mut self) -> Result<EntryAt<'a>, Malformed> {
        let position = self.position;
        let shift = |error: Malformed| Malformed {
            position: position + error.position,
            ..error
        };
        let rest = &self.window[position..];
        let (bytes, entry, payload) = decode(rest).map_err(shift)?;
        self.position += bytes.next_multiple_of(ENTRY_ALIGN).min(rest.len());
        Ok(EntryAt {
            position,
            entry,
            payload,
        })
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<EntryAt<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let entry = self.entry();
        if entry.is_err() {
            self.left = 0;
        }
        Some(entry)
    }
}

/// The entry at the front of `bytes`: its length without padding, itself, its payload.
fn decode(bytes: &[u8]) -> Result<(usize, Entry, &[u8]), Malformed> {
    let mut fields = Fields::new(bytes);
    let kind = fields.u8()?;
    fields.zero(3)?;
    let length = fields.u32()? as usize;
    let whole = bytes.get(..length);
    let whole = whole.ok_or(fields.fail("an entry is longer than its window"))?;
    let mut fields = Fields::new(whole);
    fields.take(8)?;
    let log = LogNumber(fields.u64()?);
    let entry = decode_fields(kind, log, &mut fields)?;
    let payload = fields.take(entry.payload_bytes())?;
    match fields.left() {
        0 => Ok((length, entry, payload)),
        _ => Err(fields.fail("bytes follow the fields of an entry")),
    }
}

fn decode_fields(kind: u8, log: LogNumber, fields: &mut Fields<'_>) -> Result<Entry, Malformed> {
    Ok(match kind {
        OPEN => Entry::Open(decode_open(log, fields)?),
        APPEND => Entry::Append(decode_append(log, fields)?),
        TRUNCATE => Entry::Truncate {
            log,
            place: fields.place()?,
        },
        EPOCH => Entry::Epoch {
            log,
            epoch: fields.epoch_start()?,
        },
        START => Entry::Start {
            log,
            log_start: fields.offset()?,
        },
        MARK => Entry::Mark {
            log,
            place: fields.place()?,
        },
        IMAGE => Entry::Image(decode_image(log, fields)?),
        DROP => Entry::Drop { log },
        _ => return Err(fields.fail("no such kind of entry")),
    })
}

fn decode_open(log: LogNumber, fields: &mut Fields<'_>) -> Result<Open, Malformed> {
    let topic = TopicId(fields.u128()?);
    let partition = PartitionIndex(fields.i32()?);
    let epochs = fields.count(EPOCH_BYTES)?;
    Ok(Open {
        log,
        topic,
        partition,
        metadata_index: MetadataIndex(fields.u64()?),
        start: fields.place()?,
        log_start: fields.offset()?,
        replaces: match fields.u64()? {
            NO_LOG => None,
            log => Some(LogNumber(log)),
        },
        epochs: fields.epochs(epochs)?,
    })
}

fn decode_append(log: LogNumber, fields: &mut Fields<'_>) -> Result<Append, Malformed> {
    let append = Append {
        log,
        segment: fields.offset()?,
        position: fields.u64()?,
        previous_end: fields.offset()?,
        base: fields.offset()?,
        end: fields.offset()?,
        previous_epoch: LeaderEpoch(fields.i32()?),
        epoch: LeaderEpoch(fields.i32()?),
        bytes: fields.u32()?,
    };
    fields.zero(4)?;
    let ordered = append.segment <= append.base && append.previous_end <= append.base;
    match ordered && append.base < append.end && append.position <= i64::MAX as u64 {
        true => Ok(append),
        false => Err(fields.fail("the offsets of an append do not ascend")),
    }
}

fn decode_image(log: LogNumber, fields: &mut Fields<'_>) -> Result<Image, Malformed> {
    let image = Image {
        log,
        segment: fields.offset()?,
        position: fields.u64()?,
        bytes: fields.u32()?,
    };
    fields.zero(4)?;
    match image.bytes as usize <= IMAGE_BYTES_MAX && image.position <= i64::MAX as u64 {
        true => Ok(image),
        false => Err(fields.fail("an image is larger than a block")),
    }
}
