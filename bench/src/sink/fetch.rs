//! What the sink answers to a Fetch: the same batch again and again, at whatever offset is asked for.
//!
//! Always: the batch is not copied. Only its base offset changes, which its CRC does not cover; an answer is a list of pieces,
//! most of which are the batch behind its offset.

use bytes::Bytes;
use millstream_net::wire::api::{FetchRequest, FetchTopic};
use std::io::{self, IoSlice, Write};

/// Pieces of one write: the kernel takes 1024.
const PIECES_MAX: usize = 1_000;
/// BOUND: bytes of one answer.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Bytes of a batch's base offset.
const OFFSET_BYTES: usize = 8;

/// The batch that a sink has everywhere.
#[derive(Clone, Debug)]
pub struct Stock {
    pub batch: Bytes,
    pub records: u32,
}

/// What is asked of one partition, and how many batches it gets.
struct Share {
    topic: usize,
    partition: i32,
    offset: i64,
    batches: usize,
}

/// Writes the answer to a fetch in version 11.
pub fn answer(
    out: &mut impl Write,
    correlation_id: i32,
    request: &FetchRequest,
    stock: &Stock,
) -> io::Result<()> {
    let mut shares = Vec::new();
    let mut left = usize::try_from(request.max_bytes)
        .unwrap_or(0)
        .min(ANSWER_BYTES_MAX);
    let length = stock.batch.len();
    for (topic, asked) in request.topics.iter().enumerate() {
        for partition in &asked.partitions {
            let wanted = usize::try_from(partition.partition_max_bytes).unwrap_or(0);
            // The first one gets a batch even if that is larger than what was asked for.
            let least = usize::from(shares.is_empty());
            let batches = (wanted.min(left) / length).max(least);
            left = left.saturating_sub(batches * length);
            shares.push(Share {
                topic,
                partition: partition.partition,
                offset: partition.fetch_offset,
                batches,
            });
        }
    }
    // Everything but the batches behind their offsets, in order, and where each of them comes.
    let mut text = vec![0; 4];
    let mut batch_at = Vec::new();
    text.extend(correlation_id.to_be_bytes());
    // No throttling, no error, no session.
    text.extend([0; 4 + 2 + 4]);
    text.extend((request.topics.len() as i32).to_be_bytes());
    let mut begun = None;
    for share in &shares {
        if begun != Some(share.topic) {
            begun = Some(share.topic);
            topic(&mut text, &request.topics[share.topic]);
        }
        text.extend(share.partition.to_be_bytes());
        text.extend(0i16.to_be_bytes());
        let records = i64::from(stock.records);
        let end = share
            .offset
            .saturating_add(records.saturating_mul(share.batches as i64 + 1));
        // The high watermark, the last stable offset, the start; no aborted transactions, no other replica.
        text.extend(end.to_be_bytes());
        text.extend(end.to_be_bytes());
        text.extend(0i64.to_be_bytes());
        text.extend(0i32.to_be_bytes());
        text.extend((-1i32).to_be_bytes());
        text.extend(((share.batches * length) as i32).to_be_bytes());
        for batch in 0..share.batches as i64 {
            let offset = share.offset.saturating_add(batch.saturating_mul(records));
            text.extend(offset.to_be_bytes());
            batch_at.push(text.len());
        }
    }
    let rest = &stock.batch[OFFSET_BYTES..];
    let whole = text.len() - 4 + batch_at.len() * rest.len();
    text[..4].copy_from_slice(&(whole as u32).to_be_bytes());
    let mut pieces = Vec::with_capacity(2 * batch_at.len() + 1);
    let mut from = 0;
    for at in batch_at {
        pieces.push(IoSlice::new(&text[from..at]));
        pieces.push(IoSlice::new(rest));
        from = at;
    }
    pieces.push(IoSlice::new(&text[from..]));
    write_all(out, &mut pieces)
}

/// A topic of which partitions follow.
fn topic(text: &mut Vec<u8>, asked: &FetchTopic) {
    let name = asked.topic.as_bytes();
    text.extend((name.len() as i16).to_be_bytes());
    text.extend(name);
    text.extend((asked.partitions.len() as i32).to_be_bytes());
}

fn write_all(out: &mut impl Write, mut pieces: &mut [IoSlice<'_>]) -> io::Result<()> {
    IoSlice::advance_slices(&mut pieces, 0);
    while !pieces.is_empty() {
        let count = pieces.len().min(PIECES_MAX);
        let written = match out.write_vectored(&pieces[..count]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        IoSlice::advance_slices(&mut pieces, written);
    }
    Ok(())
}
