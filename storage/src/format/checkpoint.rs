//! A checkpoint: the state of every log of a shard as of one synced window.
//!
//! Always: a slot holds a whole checkpoint or none that decodes; bytes behind its length (of an older, longer one) do not
//! matter.

use super::codec::{EPOCH_BYTES, Fields, Malformed, PLACE_BYTES, Put};
use super::names::LogPath;
use super::place::{EpochStart, Place, WindowAt};
use crate::ids::{LogNumber, MetadataIndex, NodeId, Offset, PartitionIndex, ShardIndex, TopicId};
use bytes::Bytes;

/// The version of checkpoints that this code writes and reads.
pub const CHECKPOINT_VERSION: u16 = 1;

const MAGIC: [u8; 8] = *b"MSchkpnt";
const CRC_AT: usize = 12;
/// Bytes from which the length of a checkpoint can be read.
const FRONT_BYTES: usize = 24;
const JOURNAL_FILE_BYTES: usize = 16;
const SEGMENT_BYTES: usize = 32;
/// Flags of a log.
const SUSPECT: u8 = 1;
const BARRED: u8 = 2;
const DAMAGE_BYTES: usize = 2 * PLACE_BYTES;
/// The least a log takes.
const LOG_BYTES_MIN: usize =
    8 + 16 + 4 + 2 + 2 + 8 + 3 * 8 + 2 * PLACE_BYTES + 3 * 4 + 16 + PLACE_BYTES;

/// One of the two files that checkpoints alternate between.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CheckpointSlot {
    /// `checkpoint-a`
    A,
    /// `checkpoint-b`
    B,
}

impl CheckpointSlot {
    /// Both of them.
    pub const ALL: [CheckpointSlot; 2] = [CheckpointSlot::A, CheckpointSlot::B];

    /// The other one.
    pub fn other(self) -> CheckpointSlot {
        match self {
            CheckpointSlot::A => CheckpointSlot::B,
            CheckpointSlot::B => CheckpointSlot::A,
        }
    }
}

/// A journal file that exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JournalFileState {
    /// Its number.
    pub file: u32,
    /// Its size, which never changes.
    pub bytes: u64,
}

/// Whether a log lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// It does.
    Live,
    /// It was dropped and its directory may still be there.
    Dropped,
}

/// A segment that has a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentState {
    /// The offset of its first record; its name.
    pub base: Offset,
    /// Bytes of batches in it (of the newest one: up to the synced end).
    pub bytes: u64,
    /// The timestamp of its first batch (the largest in it), in ms; -1 where it is not known.
    pub first_timestamp: i64,
    /// The largest timestamp in it, in ms; -1 where there is none or it is not known.
    pub max_timestamp: i64,
}

/// A part of a log that cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DamagedRange {
    /// Where it begins.
    pub from: Place,
    /// Where reading may go on.
    pub to: Place,
}

/// The settled producers and open transactions of a log, opaque to the storage.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Producers {
    /// Not known: to be built from the log start on.
    #[default]
    Unknown,
    /// As of an offset, here.
    Inline {
        /// Batches below it are in the state.
        offset: Offset,
        /// A batch begins here, at or below the offset: from here on heads are read. Its offset is a lower bound.
        from: Place,
        /// The engine's encoding.
        state: Bytes,
    },
    /// As of an offset, in the `.producers` file of that offset.
    File {
        /// Batches below it are in the state.
        offset: Offset,
        /// As above.
        from: Place,
    },
}

/// What a checkpoint says of one log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogState {
    /// Its number.
    pub log: LogNumber,
    /// Its topic.
    pub topic: TopicId,
    /// Its partition.
    pub partition: PartitionIndex,
    /// The shard whose directory holds its files.
    pub home: ShardIndex,
    /// Whether it lives.
    pub life: Life,
    /// Whether it may have lost an end that nothing tells of: it may not lead or vote before a peer has vouched for it.
    pub suspect: bool,
    /// Cut or restarted, and no epoch was announced since: what lies behind its end in the segments is not of the log, whatever its
    /// epoch.
    pub barred: bool,
    /// The metadata entry that asked for it.
    pub metadata_index: MetadataIndex,
    /// The first offset that may be read.
    pub log_start: Offset,
    /// The newest high watermark, never above the durable end.
    pub high_watermark: Offset,
    /// The offset below which tombstones or markers were removed.
    pub purged: Offset,
    /// Complete and synced in its segments up to here.
    pub synced_end: Place,
    /// Survives a power cut up to here.
    pub durable_end: Place,
    /// Epochs, ascending.
    pub epochs: Vec<EpochStart>,
    /// Segments that have a file, ascending; the last one may lie behind the synced end.
    pub segments: Vec<SegmentState>,
    /// Offsets below the synced end that cannot be read.
    pub damage: Vec<DamagedRange>,
    /// The settled producers.
    pub producers: Producers,
}

impl LogState {
    /// What names its directory.
    pub fn path(&self) -> LogPath {
        LogPath {
            home: self.home,
            topic: self.topic,
            partition: self.partition,
            log: self.log,
        }
    }
}

/// The state of a shard as of the window C.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// The node that took it.
    pub node: NodeId,
    /// The shard.
    pub shard: ShardIndex,
    /// The shard layout it belongs to: one that `node.meta` does not name is not yet, or no longer, valid.
    pub layout: u32,
    /// The run that took it.
    pub run: u64,
    /// Its number; they ascend.
    pub sequence: u64,
    /// R: the first window whose bytes are still needed; at most one behind C.
    pub from: WindowAt,
    /// C: the window it was taken at. Sequence 0 for a journal without windows.
    pub at: WindowAt,
    /// The CRC of C.
    pub at_crc: u32,
    /// Every log number the shard ever saw is smaller.
    pub next_log: LogNumber,
    /// The journal files there are.
    pub journal: Vec<JournalFileState>,
    /// Every log, by number.
    pub logs: Vec<LogState>,
}

impl Checkpoint {
    /// The whole content of a slot.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256 + 256 * self.logs.len());
        out.put(&MAGIC);
        out.put(&CHECKPOINT_VERSION.to_le_bytes());
        out.put(&self.shard.0.to_le_bytes());
        out.put(&[0; 4]);
        out.put(&[0; 8]);
        out.put(&self.node.0.to_le_bytes());
        out.put(&self.layout.to_le_bytes());
        out.put(&self.run.to_le_bytes());
        out.put(&self.sequence.to_le_bytes());
        put_window(&self.from, &mut out);
        put_window(&self.at, &mut out);
        out.put(&self.at_crc.to_le_bytes());
        out.put(&self.next_log.0.to_le_bytes());
        put_count(self.journal.len(), &mut out);
        put_count(self.logs.len(), &mut out);
        for journal in &self.journal {
            out.put(&journal.file.to_le_bytes());
            out.put(&[0; 4]);
            out.put(&journal.bytes.to_le_bytes());
        }
        for log in &self.logs {
            encode_log(log, &mut out);
        }
        let bytes = out.len() as u64;
        out[FRONT_BYTES - 8..FRONT_BYTES].copy_from_slice(&bytes.to_le_bytes());
        let crc = crc_of(&out);
        out[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Decodes the content of a slot.
    pub fn decode(bytes: &[u8]) -> Result<Checkpoint, Malformed> {
        let mut fields = Fields::new(bytes);
        if fields.take(MAGIC.len())? != MAGIC {
            return Err(Malformed::new(0, "no checkpoint begins here"));
        }
        let version = fields.u16()?;
        let shard = ShardIndex(fields.u16()?);
        let crc = fields.u32()?;
        let length = usize::try_from(fields.u64()?).unwrap_or(usize::MAX);
        let whole = bytes
            .get(..length)
            .filter(|whole| whole.len() >= FRONT_BYTES);
        let whole = whole.ok_or(fields.fail("a checkpoint is longer than its file"))?;
        if crc_of(whole) != crc {
            return Err(Malformed::new(
                CRC_AT,
                "the CRC of a checkpoint does not match",
            ));
        }
        // ORDER: what does not check states no version: another one would have the node refused for a flipped bit.
        if version != CHECKPOINT_VERSION {
            let (found, known) = (version.into(), CHECKPOINT_VERSION.into());
            return Err(Malformed::of_version(MAGIC.len(), found, known));
        }
        let mut fields = Fields::new(whole);
        fields.take(FRONT_BYTES)?;
        decode_body(shard, &mut fields)
    }
}

fn crc_of(checkpoint: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&checkpoint[..CRC_AT]);
    crc32c::crc32c_append(crc, &checkpoint[CRC_AT + 4..])
}

fn put_count(count: usize, out: &mut Vec<u8>) {
    let count = u32::try_from(count).expect("a shard has fewer than 4 Gi of anything");
    out.put(&count.to_le_bytes());
}

fn put_window(at: &WindowAt, out: &mut Vec<u8>) {
    out.put(&at.file.to_le_bytes());
    out.put(&at.position.to_le_bytes());
    out.put(&at.sequence.to_le_bytes());
}

fn encode_log(log: &LogState, out: &mut Vec<u8>) {
    out.put(&log.log.0.to_le_bytes());
    out.put(&log.topic.0.to_le_bytes());
    out.put(&log.partition.0.to_le_bytes());
    out.put(&log.home.0.to_le_bytes());
    let flags = SUSPECT * u8::from(log.suspect) + BARRED * u8::from(log.barred);
    out.put(&[u8::from(log.life == Life::Dropped), flags]);
    out.put(&log.metadata_index.0.to_le_bytes());
    out.put(&log.log_start.0.to_le_bytes());
    out.put(&log.high_watermark.0.to_le_bytes());
    out.put(&log.purged.0.to_le_bytes());
    out.put_place(&log.synced_end);
    out.put_place(&log.durable_end);
    put_count(log.epochs.len(), out);
    put_count(log.segments.len(), out);
    put_count(log.damage.len(), out);
    for epoch in &log.epochs {
        out.put_epoch(epoch);
    }
    for segment in &log.segments {
        out.put(&segment.base.0.to_le_bytes());
        out.put(&segment.bytes.to_le_bytes());
        out.put(&segment.first_timestamp.to_le_bytes());
        out.put(&segment.max_timestamp.to_le_bytes());
    }
    for damage in &log.damage {
        out.put_place(&damage.from);
        out.put_place(&damage.to);
    }
    let nowhere = Place::at_start(Offset(0));
    let (kind, offset, from, state): (u32, Offset, Place, &[u8]) = match &log.producers {
        Producers::Unknown => (0, Offset(0), nowhere, &[]),
        Producers::Inline {
            offset,
            from,
            state,
        } => (1, *offset, *from, state),
        Producers::File { offset, from } => (2, *offset, *from, &[]),
    };
    out.put(&kind.to_le_bytes());
    put_count(state.len(), out);
    out.put(&offset.0.to_le_bytes());
    out.put_place(&from);
    out.put(state);
}

fn decode_body(shard: ShardIndex, fields: &mut Fields<'_>) -> Result<Checkpoint, Malformed> {
    let mut checkpoint = Checkpoint {
        node: NodeId(fields.i32()?),
        shard,
        layout: fields.u32()?,
        run: fields.u64()?,
        sequence: fields.u64()?,
        from: decode_window(fields)?,
        at: decode_window(fields)?,
        at_crc: fields.u32()?,
        next_log: LogNumber(fields.u64()?),
        journal: Vec::new(),
        logs: Vec::new(),
    };
    if checkpoint.from.sequence > checkpoint.at.sequence.saturating_add(1) {
        return Err(fields.fail("a checkpoint needs windows from behind its own"));
    }
    let journals = fields.count(JOURNAL_FILE_BYTES)?;
    let logs = fields.u32()? as usize;
    for _ in 0..journals {
        let file = fields.u32()?;
        fields.zero(4)?;
        let bytes = fields.u64()?;
        checkpoint.journal.push(JournalFileState { file, bytes });
    }
    if logs > fields.left() / LOG_BYTES_MIN {
        return Err(fields.fail("a count is larger than the bytes that are left"));
    }
    checkpoint.logs.reserve_exact(logs);
    for _ in 0..logs {
        let log = decode_log(fields)?;
        if log.log >= checkpoint.next_log {
            return Err(fields.fail("a log number at or above the next one"));
        }
        checkpoint.logs.push(log);
    }
    match fields.left() {
        0 => Ok(checkpoint),
        _ => Err(fields.fail("bytes follow the last log of a checkpoint")),
    }
}

fn decode_window(fields: &mut Fields<'_>) -> Result<WindowAt, Malformed> {
    Ok(WindowAt {
        file: fields.u32()?,
        position: fields.u64()?,
        sequence: fields.u64()?,
    })
}

fn decode_log(fields: &mut Fields<'_>) -> Result<LogState, Malformed> {
    let log = LogNumber(fields.u64()?);
    let topic = TopicId(fields.u128()?);
    let partition = PartitionIndex(fields.i32()?);
    let home = ShardIndex(fields.u16()?);
    let life = match fields.u8()? {
        0 => Life::Live,
        1 => Life::Dropped,
        _ => return Err(fields.fail("no such life")),
    };
    let flags = fields.u8()?;
    if flags & !(SUSPECT | BARRED) != 0 {
        return Err(fields.fail("no such flag of a log"));
    }
    let mut log = LogState {
        log,
        topic,
        partition,
        home,
        life,
        suspect: flags & SUSPECT != 0,
        barred: flags & BARRED != 0,
        metadata_index: MetadataIndex(fields.u64()?),
        log_start: fields.offset()?,
        high_watermark: fields.offset()?,
        purged: fields.offset()?,
        synced_end: fields.place()?,
        durable_end: fields.place()?,
        epochs: Vec::new(),
        segments: Vec::new(),
        damage: Vec::new(),
        producers: Producers::Unknown,
    };
    let epochs = fields.count(EPOCH_BYTES)?;
    let segments = fields.count(SEGMENT_BYTES)?;
    let damage = fields.count(DAMAGE_BYTES)?;
    log.epochs = fields.epochs(epochs)?;
    for _ in 0..segments {
        log.segments.push(decode_segment(fields)?);
    }
    if !log.segments.is_sorted_by(|a, b| a.base < b.base) {
        return Err(fields.fail("segments do not ascend"));
    }
    for _ in 0..damage {
        log.damage.push(decode_damage(fields)?);
    }
    log.producers = decode_producers(fields)?;
    Ok(log)
}

fn decode_segment(fields: &mut Fields<'_>) -> Result<SegmentState, Malformed> {
    Ok(SegmentState {
        base: fields.offset()?,
        bytes: fields.u64()?,
        first_timestamp: fields.i64()?,
        max_timestamp: fields.i64()?,
    })
}

fn decode_damage(fields: &mut Fields<'_>) -> Result<DamagedRange, Malformed> {
    Ok(DamagedRange {
        from: fields.place()?,
        to: fields.place()?,
    })
}

fn decode_producers(fields: &mut Fields<'_>) -> Result<Producers, Malformed> {
    let kind = fields.u32()?;
    let bytes = fields.u32()? as usize;
    let offset = fields.offset()?;
    let from = fields.place()?;
    let state = fields.take(bytes)?;
    let nowhere = Place::at_start(Offset(0));
    match kind {
        0 | 2 if bytes > 0 => Err(fields.fail("producers that are not here have a state")),
        0 if (offset, from) != (Offset(0), nowhere) => {
            Err(fields.fail("unknown producers have a place"))
        }
        0 => Ok(Producers::Unknown),
        1 => Ok(Producers::Inline {
            offset,
            from,
            state: Bytes::copy_from_slice(state),
        }),
        2 => Ok(Producers::File { offset, from }),
        _ => Err(fields.fail("no such kind of producers")),
    }
}
