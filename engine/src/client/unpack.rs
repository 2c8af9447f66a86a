//! Record batches to records.
//!
//! Always: keys and values share the memory of the answer where the batch is not compressed; a batch that the broker cut off
//! at the end is left for the next fetch.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use millstream_storage::batch::{BatchHead, HEADER_BYTES, OpenBatch, check};

use super::error::ClientError;
use super::incoming::{Fetched, Isolation};

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumedRecord {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// Its place in the partition.
    pub offset: i64,
    /// Milliseconds since 1970; -1 where it has none.
    pub timestamp_ms: i64,
    /// The key.
    pub key: Option<Bytes>,
    /// The value; null marks the key as deleted.
    pub value: Option<Bytes>,
    /// The headers.
    pub headers: Vec<(String, Option<Bytes>)>,
}

/// The whole batches that `bytes` begins with, one by one.
fn batches(bytes: &Bytes) -> impl Iterator<Item = Result<(BatchHead, Bytes), String>> {
    let mut rest = bytes.clone();
    std::iter::from_fn(move || {
        if rest.len() < HEADER_BYTES {
            return None;
        }
        match BatchHead::parse(&rest) {
            Ok(head) if head.bytes > rest.len() => None,
            Ok(head) => Some(Ok((head, rest.split_to(head.bytes)))),
            Err(malformed) => {
                rest = Bytes::new();
                Some(Err(format!("{malformed:?}")))
            }
        }
    })
}

/// The offset behind the last whole batch.
pub(super) fn end_of_batches(bytes: &Bytes) -> Result<i64, String> {
    let mut end = None;
    for batch in batches(bytes) {
        end = Some(batch?.0.end_offset().0);
    }
    end.ok_or_else(|| "the broker sent less than one batch".into())
}

/// The records of what was fetched: none below where the fetch began, no control records, and none of aborted transactions if
/// those are not wanted.
pub(super) fn unpack(
    fetched: &Fetched,
    isolation: Isolation,
    batch_bytes_max: usize,
) -> Result<Vec<ConsumedRecord>, ClientError> {
    let mut unpacking = Unpacking {
        fetched,
        topic: fetched.topic.as_str().into(),
        aborted: aborted_in_order(fetched, isolation),
        aborting: BTreeSet::new(),
        batch_bytes_max,
        records: Vec::new(),
    };
    for batch in batches(&fetched.records) {
        let (head, bytes) = batch.map_err(|reason| unpacking.damaged(fetched.from, &reason))?;
        unpacking.batch(&head, &bytes)?;
    }
    Ok(unpacking.records)
}

/// The aborted transactions whose records are to be left out, in the order of their beginnings.
fn aborted_in_order(fetched: &Fetched, isolation: Isolation) -> VecDeque<(i64, i64)> {
    if isolation == Isolation::ReadUncommitted {
        return VecDeque::new();
    }
    let aborted = fetched
        .aborted
        .iter()
        .map(|(producer, first_offset)| (*first_offset, *producer));
    let mut aborted: Vec<(i64, i64)> = aborted.collect();
    aborted.sort_unstable();
    aborted.into()
}

struct Unpacking<'a> {
    fetched: &'a Fetched,
    topic: Arc<str>,
    /// Aborted transactions that begin further on: first offset and producer.
    aborted: VecDeque<(i64, i64)>,
    /// Producers whose transaction at this place is an aborted one.
    aborting: BTreeSet<i64>,
    batch_bytes_max: usize,
    records: Vec<ConsumedRecord>,
}

impl Unpacking<'_> {
    fn damaged(&self, offset: i64, reason: &str) -> ClientError {
        ClientError::Damaged {
            topic: self.fetched.topic.clone(),
            partition: self.fetched.partition,
            offset,
            reason: reason.to_owned(),
        }
    }

    fn batch(&mut self, head: &BatchHead, bytes: &Bytes) -> Result<(), ClientError> {
        let base_offset = head.base_offset.0;
        check(bytes).map_err(|malformed| self.damaged(base_offset, &format!("{malformed:?}")))?;
        let producer = head.producer_id.0;
        let last_offset = head.last_offset().0;
        while let Some((_, aborting)) = self
            .aborted
            .pop_front_if(|(first, _)| *first <= last_offset)
        {
            self.aborting.insert(aborting);
        }
        if head.attributes.is_control() {
            // A marker ends the producer's transaction, whichever way.
            self.aborting.remove(&producer);
            return Ok(());
        }
        if self.aborting.contains(&producer) && head.attributes.is_transactional() {
            return Ok(());
        }
        let opened = OpenBatch::new(bytes, self.batch_bytes_max)
            .map_err(|malformed| self.damaged(base_offset, &format!("{malformed:?}")))?;
        for record in opened.records() {
            let record =
                record.map_err(|malformed| self.damaged(base_offset, &format!("{malformed:?}")))?;
            if record.offset.0 < self.fetched.from {
                continue;
            }
            let headers = record.headers.iter().map(|header| {
                let name = String::from_utf8_lossy(header.key).into_owned();
                (name, header.value.map(|value| shared(bytes, value)))
            });
            self.records.push(ConsumedRecord {
                topic: self.topic.clone(),
                partition: self.fetched.partition,
                offset: record.offset.0,
                timestamp_ms: record.timestamp,
                key: record.key.map(|key| shared(bytes, key)),
                value: record.value.map(|value| shared(bytes, value)),
                headers: headers.collect(),
            });
        }
        Ok(())
    }
}

/// A slice of `batch`, or a copy of what is not inside it because it was decompressed.
fn shared(batch: &Bytes, part: &[u8]) -> Bytes {
    let inside = batch.as_ptr_range();
    if part.is_empty() || !inside.contains(&part.as_ptr()) {
        return Bytes::copy_from_slice(part);
    }
    batch.slice_ref(part)
}
