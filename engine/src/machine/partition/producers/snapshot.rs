//! The settled layer as bytes: the blob a checkpoint keeps with its place.
//!
//! Layout, little endian: version u8 (1), count u32, then per producer in order of id: id i64, epoch i16, markers u32,
//! coordinator epoch i32, used i64 (ms), first offset of the open transaction i64 (-1: none), batches u8 (0 to 5), and per
//! batch: first sequence i32, last sequence i32, base offset i64, end i64, timestamp i64.
//! Always: decoding allocates nothing from an unchecked number and never panics.

use super::Producers;
use super::entry::{Entry, REMEMBERED_BATCHES, Remembered, Settled};
use millstream_storage::ids::{Offset, ProducerEpoch, ProducerId, WallMs};
use std::collections::VecDeque;

const VERSION: u8 = 1;

/// Bytes that are not a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed {
    /// Where.
    pub position: usize,
    /// Why.
    pub reason: &'static str,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "producer snapshot: {} at byte {}",
            self.reason, self.position
        )
    }
}

impl Producers {
    /// Appends the settled layer to `into` and returns the offset it is settled up to.
    pub fn encode(&self, into: &mut Vec<u8>) -> Offset {
        let settled = || {
            self.entries
                .iter()
                .filter_map(|(id, entry)| entry.settled().map(|settled| (id, settled)))
        };
        into.push(VERSION);
        into.extend((settled().count() as u32).to_le_bytes());
        for (id, settled) in settled() {
            encode_one(*id, settled, into);
        }
        self.settled_to
    }

    /// The settled layer as of `settled_to` from its bytes. The batches from there on follow by `append`.
    pub fn decode(settled_to: Offset, bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader { bytes, position: 0 };
        if reader.take::<1>()? != [VERSION] {
            return Err(reader.malformed("unknown version"));
        }
        let count = u32::from_le_bytes(reader.take()?);
        let mut producers = Producers::new(settled_to);
        for _ in 0..count {
            let (id, settled) = decode_one(&mut reader, settled_to)?;
            if producers
                .entries
                .last_key_value()
                .is_some_and(|(last, _)| *last >= id)
            {
                return Err(reader.malformed("producers out of order"));
            }
            producers.open.extend(settled.open.map(|first| (first, id)));
            producers.entries.insert(id, Entry::restored(settled));
        }
        if reader.position != bytes.len() {
            return Err(reader.malformed("bytes behind the end"));
        }
        Ok(producers)
    }
}

fn encode_one(id: ProducerId, settled: &Settled, into: &mut Vec<u8>) {
    into.extend(id.0.to_le_bytes());
    into.extend(settled.epoch.0.to_le_bytes());
    into.extend(settled.markers.to_le_bytes());
    into.extend(settled.coordinator_epoch.to_le_bytes());
    into.extend(settled.used.0.to_le_bytes());
    into.extend(settled.open.map_or(-1, |first| first.0).to_le_bytes());
    into.push(settled.batches.len() as u8);
    for batch in &settled.batches {
        into.extend(batch.base_sequence.to_le_bytes());
        into.extend(batch.last_sequence.to_le_bytes());
        into.extend(batch.base_offset.0.to_le_bytes());
        into.extend(batch.end.0.to_le_bytes());
        into.extend(batch.timestamp.to_le_bytes());
    }
}

fn decode_one(
    reader: &mut Reader<'_>,
    settled_to: Offset,
) -> Result<(ProducerId, Settled), Malformed> {
    let id = ProducerId(i64::from_le_bytes(reader.take()?));
    let epoch = ProducerEpoch(i16::from_le_bytes(reader.take()?));
    let markers = u32::from_le_bytes(reader.take()?);
    let coordinator_epoch = i32::from_le_bytes(reader.take()?);
    let used = WallMs(i64::from_le_bytes(reader.take()?));
    let open = i64::from_le_bytes(reader.take()?);
    let [count] = reader.take::<1>()?;
    if id.0 < 0 || open < -1 || open >= settled_to.0.max(0) {
        return Err(reader.malformed("a number out of range"));
    }
    if usize::from(count) > REMEMBERED_BATCHES {
        return Err(reader.malformed("too many batches"));
    }
    let mut batches = VecDeque::with_capacity(usize::from(count));
    for _ in 0..count {
        let batch = Remembered {
            base_sequence: i32::from_le_bytes(reader.take()?),
            last_sequence: i32::from_le_bytes(reader.take()?),
            base_offset: Offset(i64::from_le_bytes(reader.take()?)),
            end: Offset(i64::from_le_bytes(reader.take()?)),
            timestamp: i64::from_le_bytes(reader.take()?),
        };
        if batch.base_sequence < 0 || batch.last_sequence < 0 || batch.end > settled_to {
            return Err(reader.malformed("a batch out of range"));
        }
        batches.push_back(batch);
    }
    let settled = Settled {
        epoch,
        batches,
        open: (open >= 0).then_some(Offset(open)),
        coordinator_epoch,
        markers,
        used,
    };
    Ok((id, settled))
}

struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let taken = self
            .bytes
            .get(self.position..)
            .and_then(<[u8]>::first_chunk);
        let taken = *taken.ok_or_else(|| self.malformed("it ends too early"))?;
        self.position += N;
        Ok(taken)
    }

    fn malformed(&self, reason: &'static str) -> Malformed {
        Malformed {
            position: self.position,
            reason,
        }
    }
}
