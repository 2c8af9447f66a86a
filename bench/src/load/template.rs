//! Produce requests that are built once and afterwards only get their numbers.
//!
//! Always: (1) a request is a head, which is copied and numbered and gets a key each time, and a tail, which is shared and only read;
//! (2) the CRC of a numbered batch is right: that of the head is taken anew and shifted over the tail, whose own is known, or that of a short
//! tail is taken as well;
//! (3) nothing is allocated or compressed while the clock runs.

use super::keyring::{KEY_BYTES, Keyring};
use super::random::Random;
use super::stamp::{INDEX_BYTES, STAMP_BYTES, Stamp, index_bytes};
use super::stored;
use super::transaction::transactional_id;
use crate::workload::{Codec, Workload};
use bytes::Bytes;
use millstream_net::wire::api::{ProducePartition, ProduceRequest, ProduceTopic};
use millstream_net::wire::{Str, encode_request};
use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;

/// Where a request has its correlation id.
const CORRELATION_AT: usize = 8;
/// A record batch before its records.
const HEADER_BYTES: usize = 61;
/// What a batch's CRC begins with.
const ATTRIBUTES_AT: usize = 21;
const CRC_AT: usize = 17;
const TIMESTAMPS_AT: usize = 27;
const PRODUCER_AT: usize = 43;
/// Where a request has its transactional id, if it names one.
const TRANSACTIONAL_AT: usize = CORRELATION_AT + 4 + 2 + CLIENT_ID.len() + 2;
/// The name that this generator gives itself.
pub const CLIENT_ID: &str = "millstream-bench";
/// The CRC of a tail up to this is taken each time: that costs less than a look at the tables of a shift, of which each length
/// needs its own.
const SHORT_TAIL_BYTES: usize = 4 << 10;
/// BOUND: what is read of a payload file is kept.
const PAYLOAD_BYTES_MAX: u64 = 1 << 30;

/// What a request gets when it is sent.
#[derive(Clone, Copy, Debug)]
pub struct Numbers<'a> {
    pub correlation_id: i32,
    pub topic: &'a str,
    /// The transactional id; empty without transactions.
    pub transactional: &'a str,
    pub partition: i32,
    pub stamp: Stamp,
    pub wall_ms: i64,
    /// The key of the first record, where records have keys.
    pub key: Option<[u8; KEY_BYTES]>,
    /// Producer id, epoch and base sequence of an idempotent producer.
    pub producer: Option<(i64, i16, i32)>,
}

/// The form of a request.
#[derive(Debug)]
pub struct Template {
    head: Vec<u8>,
    tail: Vec<u8>,
    topic_at: usize,
    partition_at: usize,
    batch_at: usize,
    stamp_at: usize,
    /// Where the stream of records begins, of which the stamp holds the CRC-32.
    records_at: usize,
    /// The key of the first record.
    key_at: Option<usize>,
    /// Of a tail that is long enough to be worth it.
    shift: Option<Shifted>,
    /// Records of the batch.
    pub records: u32,
    /// Bytes of the batch.
    pub batch_bytes: usize,
}

impl Template {
    /// For Produce in `version`, which is not flexible; its records have keys of this partition.
    pub fn new(
        workload: &Workload,
        version: i16,
        tag: u32,
        values: &mut Values,
        keys: Option<(&Keyring, i32)>,
    ) -> Template {
        let Records {
            front,
            rest,
            count: records,
            key_at,
        } = records(workload, tag, values, keys);
        let (stream, front_at) = stored::compress(workload.compression, &front, &rest);
        let mut batch = vec![0; HEADER_BYTES];
        let length = (HEADER_BYTES - 12 + stream.len()) as i32;
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        batch[12..16].copy_from_slice(&(-1i32).to_be_bytes());
        batch[16] = 2;
        let transactional = i16::from(workload.transaction_batches > 0) << 4;
        let attributes = codec_number(workload.compression) | transactional;
        batch[21..23].copy_from_slice(&attributes.to_be_bytes());
        batch[23..27].copy_from_slice(&(records as i32 - 1).to_be_bytes());
        batch[PRODUCER_AT..57].fill(0xff);
        batch[57..61].copy_from_slice(&(records as i32).to_be_bytes());
        let records_at = HEADER_BYTES + front_at;
        let head_end = records_at + front.len();
        batch.extend(stream);
        let batch_bytes = batch.len();
        let frame = frame(workload, version, tag, &batch);
        let batch_at = frame.len() - batch_bytes;
        let tail = frame[batch_at + head_end..].to_vec();
        let head = frame[..batch_at + head_end].to_vec();
        // Version 3 and later: the records' length, the index and the count of partitions stand before the batch.
        let topic_end = batch_at - 12;
        Template {
            topic_at: topic_end - workload.topic_names()[0].len(),
            partition_at: batch_at - 8,
            stamp_at: batch_at + head_end - STAMP_BYTES,
            records_at: batch_at + records_at,
            key_at: key_at.map(|at| batch_at + records_at + at),
            batch_at,
            shift: (tail.len() > SHORT_TAIL_BYTES).then(|| Shifted {
                tail_crc: crc32c::crc32c(&tail),
                shift: values.shift_over(tail.len()),
            }),
            head,
            tail,
            records,
            batch_bytes,
        }
    }

    /// The batch of a numbered request.
    fn batch(&self, numbers: &Numbers<'_>) -> Bytes {
        let mut frame = vec![0; self.head.len()];
        self.write_head(&mut frame, numbers);
        frame.extend(&self.tail);
        Bytes::from(frame).slice(self.batch_at..)
    }

    /// Bytes of the head.
    pub fn head_bytes(&self) -> usize {
        self.head.len()
    }

    /// What follows each head.
    pub fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// Writes a numbered head.
    #[inline]
    pub fn write_head(&self, out: &mut [u8], numbers: &Numbers<'_>) {
        out.copy_from_slice(&self.head);
        out[CORRELATION_AT..CORRELATION_AT + 4]
            .copy_from_slice(&numbers.correlation_id.to_be_bytes());
        let topic = numbers.topic.as_bytes();
        out[self.topic_at..self.topic_at + topic.len()].copy_from_slice(topic);
        let transactional = numbers.transactional.as_bytes();
        out[TRANSACTIONAL_AT..TRANSACTIONAL_AT + transactional.len()]
            .copy_from_slice(transactional);
        out[self.partition_at..self.partition_at + 4]
            .copy_from_slice(&numbers.partition.to_be_bytes());
        let batch = &mut out[self.batch_at..];
        let wall = numbers.wall_ms.to_be_bytes();
        batch[TIMESTAMPS_AT..TIMESTAMPS_AT + 8].copy_from_slice(&wall);
        batch[TIMESTAMPS_AT + 8..TIMESTAMPS_AT + 16].copy_from_slice(&wall);
        if let Some((id, epoch, sequence)) = numbers.producer {
            batch[PRODUCER_AT..PRODUCER_AT + 8].copy_from_slice(&id.to_be_bytes());
            batch[PRODUCER_AT + 8..PRODUCER_AT + 10].copy_from_slice(&epoch.to_be_bytes());
            batch[PRODUCER_AT + 10..PRODUCER_AT + 14].copy_from_slice(&sequence.to_be_bytes());
        }
        if let (Some(at), Some(key)) = (self.key_at, &numbers.key) {
            out[at..at + KEY_BYTES].copy_from_slice(key);
        }
        self.stamp(out, &numbers.stamp);
        let batch = &mut out[self.batch_at..];
        let head_crc = crc32c::crc32c(&batch[ATTRIBUTES_AT..]);
        let crc = match &self.shift {
            Some(shifted) => shifted.shift.shift(head_crc) ^ shifted.tail_crc,
            None => crc32c::crc32c_append(head_crc, &self.tail),
        };
        batch[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
    }

    fn stamp(&self, out: &mut [u8], stamp: &Stamp) {
        stamp.write(&mut out[self.stamp_at..]);
        let end = self.stamp_at + STAMP_BYTES - 4;
        balance(out, self.records_at, end);
    }
}

/// A batch of a workload, as readers would get it, and how many records it has.
pub fn sample_batch(workload: &Workload, tag: u32) -> Result<(Bytes, u32), String> {
    let mut values = Values::new(workload)?;
    let keyring = Keyring::of(workload);
    let keys = keyring.as_ref().map(|ring| (ring, 0));
    let template = Template::new(workload, 8, tag, &mut values, keys);
    let topic = &workload.topic_names()[0];
    let numbers = Numbers {
        correlation_id: 0,
        topic,
        transactional: "",
        partition: 0,
        stamp: Stamp {
            tag,
            stream: 0,
            batch: 0,
            due_ns: 0,
            records: template.records,
        },
        wall_ms: 0,
        key: None,
        producer: None,
    };
    Ok((template.batch(&numbers), template.records))
}

/// Writes the raw CRC-32 of `bytes[from..at]` at `at`: behind it the state of the CRC is 0, whatever was before.
fn balance(bytes: &mut [u8], from: usize, at: usize) {
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[from..at]);
    bytes[at..at + 4].copy_from_slice(&(!crc.sum()).to_le_bytes());
}

fn codec_number(codec: Codec) -> i16 {
    match codec {
        Codec::None => 0,
        Codec::Gzip => 1,
        Codec::Snappy => 2,
        Codec::Lz4 => 3,
        Codec::Zstd => 4,
    }
}

fn frame(workload: &Workload, version: i16, tag: u32, batch: &[u8]) -> Vec<u8> {
    let transactional = workload.transaction_batches > 0;
    let request = ProduceRequest {
        transactional_id: transactional.then(|| Str::from(transactional_id(tag, 0).as_str())),
        acks: workload.acks.0,
        timeout_ms: (workload.timeout * 1000.0) as i32,
        topics: vec![ProduceTopic {
            name: Str::from(workload.topic_names()[0].as_str()),
            partitions: vec![ProducePartition {
                index: 0,
                records: Some(batch.to_vec().into()),
            }],
            ..ProduceTopic::default()
        }],
    };
    encode_request(version, 0, Some(&Str::from(CLIENT_ID)), &request.into()).concat()
}

/// The records of a batch.
struct Records {
    /// Those bytes that end with the stamp, the others, and how many records they are.
    front: Vec<u8>,
    rest: Vec<u8>,
    count: u32,
    /// Where in the front the first key begins.
    key_at: Option<usize>,
}

fn records(
    workload: &Workload,
    tag: u32,
    values: &mut Values,
    keys: Option<(&Keyring, i32)>,
) -> Records {
    let mut first = Vec::new();
    let (stamp_end, key_at) = values.record(&mut first, 0, &[0; STAMP_BYTES], keys);
    let mut front = first[..stamp_end].to_vec();
    balance(&mut front, 0, stamp_end - 4);
    let mut rest = first[stamp_end..].to_vec();
    let mut count = 1;
    loop {
        let before = rest.len();
        values.record(&mut rest, count, &index_bytes(tag, count), keys);
        let bytes = HEADER_BYTES + front.len() + rest.len();
        if bytes > workload.batch_bytes as usize {
            rest.truncate(before);
            return Records {
                front,
                rest,
                count,
                key_at,
            };
        }
        count += 1;
    }
}

/// The content of records.
pub struct Values {
    random: Random,
    record_bytes: usize,
    spread: f64,
    /// The part of a value that repeats.
    repeated: f64,
    /// Lines of the payload file, and the next one.
    lines: Vec<Vec<u8>>,
    line: usize,
    /// Shifts over tails of a length, which many have.
    shifts: HashMap<usize, Arc<Shift>>,
}

impl Values {
    pub fn new(workload: &Workload) -> Result<Values, String> {
        let lines = match workload.payload_file.as_str() {
            "" => Vec::new(),
            path => payload(path)?,
        };
        Ok(Values {
            random: Random::new(0x6d69_6c6c),
            record_bytes: workload.record_bytes as usize,
            spread: workload.record_spread,
            repeated: 1.0 - 1.0 / workload.compressible,
            lines,
            line: 0,
            shifts: HashMap::new(),
        })
    }

    fn shift_over(&mut self, bytes: usize) -> Arc<Shift> {
        let known = self.shifts.entry(bytes);
        Arc::clone(known.or_insert_with(|| Arc::new(Shift::over(bytes))))
    }

    /// Appends a record whose value begins with `mark`; where that ends, and where its key begins.
    fn record(
        &mut self,
        out: &mut Vec<u8>,
        index: u32,
        mark: &[u8],
        keys: Option<(&Keyring, i32)>,
    ) -> (usize, Option<usize>) {
        let key = keys.map(|(ring, partition)| ring.draw(partition, &mut self.random));
        let value = self.value(mark);
        let mut body = vec![0];
        varint(&mut body, 0);
        varint(&mut body, i64::from(index));
        match &key {
            None => varint(&mut body, -1),
            Some(key) => {
                varint(&mut body, key.len() as i64);
                body.extend(key);
            }
        }
        let key_at = key.map(|key| body.len() - key.len());
        varint(&mut body, value.len() as i64);
        let mark_end = body.len() + mark.len();
        body.extend(value);
        varint(&mut body, 0);
        varint(out, body.len() as i64);
        let begin = out.len();
        out.extend(body);
        (begin + mark_end, key_at.map(|at| begin + at))
    }

    fn value(&mut self, mark: &[u8]) -> Vec<u8> {
        let mut value = mark.to_vec();
        if !self.lines.is_empty() {
            value.extend(&self.lines[self.line % self.lines.len()]);
            self.line += 1;
            return value;
        }
        let mut bytes = self.record_bytes as f64;
        if self.spread > 0.0 {
            bytes *= (self.spread * self.random.normal()).exp();
        }
        let bytes = (bytes as usize)
            .clamp(INDEX_BYTES, 64 << 20)
            .max(mark.len());
        // A run of one letter is next to nothing for every codec, random bytes are what remains. All of them in one piece: each
        // change from one to the other costs some bytes.
        let repeated = (bytes as f64 * self.repeated) as usize;
        let fresh = bytes - repeated.min(bytes - mark.len());
        while value.len() < fresh {
            let room = (fresh - value.len()).min(8);
            value.extend(&self.random.next_u64().to_le_bytes()[..room]);
        }
        value.resize(bytes, b'm');
        value
    }
}

fn payload(path: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(PAYLOAD_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("`payload-file` {path} cannot be read: {error}"))?;
    if bytes.len() as u64 > PAYLOAD_BYTES_MAX {
        return Err(format!("`payload-file` {path} has more than 1 GiB"));
    }
    let lines = bytes.split(|byte| *byte == b'\n');
    let lines: Vec<Vec<u8>> = lines
        .filter(|line| !line.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    match lines.iter().map(Vec::len).max() {
        None => Err(format!(
            "`payload-file` {path} has no line with anything on it"
        )),
        Some(longest) if longest > 64 << 20 => {
            Err(format!("`payload-file` {path} has a line above 64 MiB"))
        }
        Some(_) => Ok(lines),
    }
}

/// Zig-zag, seven bits a byte.
fn varint(into: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        into.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    into.push(rest as u8);
}

/// What the CRC of a head becomes behind a long tail.
#[derive(Debug)]
struct Shifted {
    tail_crc: u32,
    shift: Arc<Shift>,
}

/// What a number of bytes that follow does to a CRC-32C: a linear map of 32 bits, as four tables of bytes.
#[derive(Debug)]
struct Shift(Box<[[u32; 256]; 4]>);

impl Shift {
    fn over(bytes: usize) -> Shift {
        let mut tables = Box::new([[0; 256]; 4]);
        for (place, table) in tables.iter_mut().enumerate() {
            for bit in 0..8 {
                let one = 1usize << bit;
                let shifted = crc32c::crc32c_combine((one as u32) << (8 * place), 0, bytes);
                // What is known of the lower bits, with this one.
                for lower in 0..one {
                    table[one + lower] = table[lower] ^ shifted;
                }
            }
        }
        Shift(tables)
    }

    #[inline]
    fn shift(&self, crc: u32) -> u32 {
        let bytes = crc.to_le_bytes();
        (0..4).fold(0, |sum, place| {
            sum ^ self.0[place][usize::from(bytes[place])]
        })
    }
}
