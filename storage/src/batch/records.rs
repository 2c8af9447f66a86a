//! The records of a batch, one by one.
//!
//! Always: (1) the iterator ends after its first error; (2) keys, values and headers are slices of the records, nothing is copied.

use super::codec::{Compression, decompress};
use super::head::{BatchHead, Malformed, RECORDS_AT};
use super::varint::Cursor;
use crate::ids::Offset;
use std::borrow::Cow;

/// A batch whose records can be read: decompressed where that is needed.
#[derive(Debug)]
pub struct OpenBatch<'a> {
    /// Its header.
    pub head: BatchHead,
    records: Cow<'a, [u8]>,
}

impl<'a> OpenBatch<'a> {
    /// Opens the batch that `bytes` begins with; its records decompress to at most `limit_bytes`. The CRC is not looked at.
    pub fn new(bytes: &'a [u8], limit_bytes: usize) -> Result<OpenBatch<'a>, Malformed> {
        let head = BatchHead::parse(bytes)?;
        let records = bytes.get(RECORDS_AT..head.bytes).ok_or(Malformed::Short)?;
        let codec = head
            .attributes
            .compression()
            .ok_or(Malformed::Records("an unknown codec"))?;
        let records = match codec {
            Compression::None => Cow::Borrowed(records),
            // An empty batch that compaction keeps for its producer has no compressed stream.
            _ if records.is_empty() => Cow::Borrowed(records),
            _ => {
                Cow::Owned(decompress(codec, records, limit_bytes).map_err(Malformed::Compression)?)
            }
        };
        Ok(OpenBatch { head, records })
    }

    /// Its records, from the first on.
    pub fn records(&self) -> Records<'_> {
        Records::new(&self.head, &self.records)
    }
}

/// One record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// Its offset.
    pub offset: Offset,
    /// Its place behind the base offset.
    pub offset_delta: i32,
    /// Milliseconds; what a consumer sees (the batch's for log-append time). -1 where there is none.
    pub timestamp: i64,
    /// Its key, or null.
    pub key: Option<&'a [u8]>,
    /// Its value, or null.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers<'a>,
}

/// The iterator over the records of a batch.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    cursor: Cursor<'a>,
    left_count: i32,
    base_offset: Offset,
    base_timestamp: i64,
    append_timestamp: Option<i64>,
}

impl<'a> Records<'a> {
    pub(super) fn new(head: &BatchHead, records: &'a [u8]) -> Records<'a> {
        let appended = head.attributes.is_log_append_time();
        Records {
            cursor: Cursor::new(records),
            left_count: head.record_count,
            base_offset: head.base_offset,
            base_timestamp: head.base_timestamp,
            append_timestamp: appended.then_some(head.max_timestamp),
        }
    }

    fn record(&mut self) -> Option<Record<'a>> {
        let length = usize::try_from(self.cursor.varint()?).ok()?;
        let mut record = Cursor::new(self.cursor.take(length)?);
        record.byte()?;
        let timestamp_delta = record.varlong()?;
        let offset_delta = record.varint()?;
        let key = record.nullable()?;
        let value = record.nullable()?;
        let headers = Headers::new(&mut record)?;
        let created = self.base_timestamp.saturating_add(timestamp_delta);
        Some(Record {
            offset: Offset(self.base_offset.0.saturating_add(i64::from(offset_delta))),
            offset_delta,
            timestamp: self.append_timestamp.unwrap_or(created),
            key,
            value,
            headers,
        })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left_count <= 0 {
            return None;
        }
        let record = self.record();
        self.left_count = if record.is_some() {
            self.left_count - 1
        } else {
            0
        };
        Some(record.ok_or(Malformed::Records("a record is cut short")))
    }
}

/// One header of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header<'a> {
    /// UTF-8, as the producer says.
    pub key: &'a [u8],
    /// Its value, or null.
    pub value: Option<&'a [u8]>,
}

/// The headers of a record, checked to be whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    count: i32,
}

impl<'a> Headers<'a> {
    fn new(record: &mut Cursor<'a>) -> Option<Headers<'a>> {
        let count = record.varint()?;
        let left = record.left();
        let headers = Headers {
            bytes: record.take(left)?,
            count,
        };
        let mut cursor = Cursor::new(headers.bytes);
        for _ in 0..count {
            header(&mut cursor)?;
        }
        (count >= 0 && cursor.left() == 0).then_some(headers)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// They, in order.
    pub fn iter(&self) -> impl Iterator<Item = Header<'a>> + use<'a> {
        let mut cursor = Cursor::new(self.bytes);
        (0..self.count).map_while(move |_| header(&mut cursor))
    }
}

fn header<'a>(cursor: &mut Cursor<'a>) -> Option<Header<'a>> {
    let key = cursor.nullable()??;
    let value = cursor.nullable()?;
    Some(Header { key, value })
}
