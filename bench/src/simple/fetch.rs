//! Reading: every connection goes through its partitions, one request at a time; answers are walked by their batch
//! headers and not copied.

use crate::args::FetchArgs;
use crate::simple::admin::Admin;
use crate::simple::poll::pin;
use crate::simple::process;
use crate::simple::report::{Run, Sample};
use hdrhistogram::Histogram;
use millstream_net::wire::api::{FetchPartition, FetchRequest, FetchTopic};
use millstream_net::wire::{Str, encode_request};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Without sessions or topic ids, and before the fields become flexible.
const FETCH_VERSION: i16 = 11;
/// Latencies above this are told as this, in microseconds.
const LATENCY_MAX_US: u64 = 120_000_000;

/// One partition and how far it is read.
struct Cursor {
    partition: i32,
    start: i64,
    end: i64,
    next: i64,
}

pub fn run(args: &FetchArgs) -> Result<(), String> {
    let target = &args.target;
    let mut admin = Admin::connect(&target.broker)?;
    let starts = admin.offsets(&target.topic, args.partitions, -2)?;
    let ends = admin.offsets(&target.topic, args.partitions, -1)?;
    let mut shares: Vec<Vec<Cursor>> = (0..args.connections).map(|_| Vec::new()).collect();
    for (partition, (start, end)) in starts.into_iter().zip(ends).enumerate() {
        if start < end {
            let cursor = Cursor {
                partition: partition as i32,
                start,
                end,
                next: start,
            };
            shares[partition % args.connections].push(cursor);
        }
    }
    if shares.iter().all(Vec::is_empty) {
        return Err(format!("{} is empty", target.topic));
    }
    let (bytes, requests) = (AtomicU64::new(0), AtomicU64::new(0));
    let began = Instant::now();
    let sample = || Sample {
        at: began.elapsed(),
        requests: requests.load(Ordering::Relaxed),
        bytes: bytes.load(Ordering::Relaxed),
        cost: target.pid.and_then(process::cost),
    };
    let mut samples = vec![sample()];
    let mut latency_us = histogram()?;
    std::thread::scope(|scope| -> Result<(), String> {
        let readers: Vec<_> = shares
            .into_iter()
            .filter(|share| !share.is_empty())
            .map(|share| scope.spawn(|| read_share(args, share, began, &bytes, &requests)))
            .collect();
        let mut next = Duration::from_secs(1);
        while !readers.iter().all(|reader| reader.is_finished()) {
            std::thread::sleep(Duration::from_millis(5));
            if began.elapsed() >= next {
                samples.push(sample());
                next += Duration::from_secs(1);
            }
        }
        for reader in readers {
            let seen = reader
                .join()
                .map_err(|_| String::from("a reader panicked"))?;
            let seen = seen.map_err(|error| error.to_string())?;
            latency_us.add(seen).map_err(|error| error.to_string())?;
        }
        Ok(())
    })?;
    samples.push(sample());
    Run {
        samples,
        counted_from: 0,
        latency_us,
        errors: 0,
        records_per_request: None,
    }
    .print(target.json);
    Ok(())
}

fn histogram() -> Result<Histogram<u64>, String> {
    Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).map_err(|error| error.to_string())
}

fn read_share(
    args: &FetchArgs,
    mut share: Vec<Cursor>,
    began: Instant,
    bytes: &AtomicU64,
    requests: &AtomicU64,
) -> io::Result<Histogram<u64>> {
    if let Some(cpu) = args.target.cpu {
        pin(cpu)?;
    }
    let mut stream = TcpStream::connect(&args.target.broker)?;
    stream.set_nodelay(true)?;
    let mut latency_us = histogram().map_err(io::Error::other)?;
    let mut answer = Vec::new();
    let deadline = Duration::from_secs_f64(args.duration);
    let mut turn = 0;
    while !share.is_empty() && (args.once || began.elapsed() < deadline) {
        turn = (turn + 1) % share.len();
        let cursor = &mut share[turn];
        let asked = Instant::now();
        stream.write_all(&request(args, cursor))?;
        read_frame(&mut stream, &mut answer)?;
        let read = read_answer(&answer, &args.target.topic, cursor)?;
        bytes.fetch_add(read as u64, Ordering::Relaxed);
        requests.fetch_add(1, Ordering::Relaxed);
        latency_us.saturating_record(asked.elapsed().as_micros() as u64);
        if cursor.next >= cursor.end {
            cursor.next = cursor.start;
            if args.once {
                share.remove(turn);
                turn = 0;
            }
        }
    }
    Ok(latency_us)
}

fn request(args: &FetchArgs, cursor: &Cursor) -> Vec<u8> {
    let request = FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: args.fetch_bytes,
        topics: vec![FetchTopic {
            topic: Str::from(args.target.topic.as_str()),
            partitions: vec![FetchPartition {
                partition: cursor.partition,
                fetch_offset: cursor.next,
                partition_max_bytes: args.fetch_bytes,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    };
    encode_request(
        FETCH_VERSION,
        7,
        Some(&Str::from("millstream-bench")),
        &request.into(),
    )
    .concat()
}

fn read_frame(stream: &mut TcpStream, into: &mut Vec<u8>) -> io::Result<()> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if into.len() < length {
        into.resize(length, 0);
    }
    stream.read_exact(&mut into[..length])?;
    into.truncate(length);
    Ok(())
}

/// Moves the cursor behind the batches of an answer; their bytes.
fn read_answer(answer: &[u8], topic: &str, cursor: &mut Cursor) -> io::Result<usize> {
    let broken = || io::Error::other("an answer cannot be read");
    let number = |position: usize| -> io::Result<i32> {
        let bytes = answer.get(position..position + 4).ok_or_else(broken)?;
        Ok(i32::from_be_bytes(bytes.try_into().map_err(|_| broken())?))
    };
    // Correlation id, throttle time, error, session, one topic, its name, one partition, its index.
    let error_position = 4 + 4 + 2 + 4 + 4 + 2 + topic.len() + 4 + 4;
    let error = (number(error_position)? >> 16) as i16;
    if error != 0 {
        return Err(io::Error::other(format!(
            "partition {} answers code {error}",
            cursor.partition
        )));
    }
    // Three offsets, then the aborted transactions (none is -1 or 0), the preferred replica and the length.
    let aborted = number(error_position + 2 + 24)?.max(0) as usize;
    let records = error_position + 2 + 24 + 4 + aborted * 16 + 4;
    let length = number(records)?.max(0) as usize;
    let batches = answer
        .get(records + 4..records + 4 + length)
        .ok_or_else(broken)?;
    let mut position = 0;
    while let Some(header) = batches.get(position..position + 27) {
        let base = i64::from_be_bytes(header[..8].try_into().map_err(|_| broken())?);
        let size = i32::from_be_bytes(header[8..12].try_into().map_err(|_| broken())?);
        let last_delta = i32::from_be_bytes(header[23..27].try_into().map_err(|_| broken())?);
        position += 12 + size as usize;
        if position <= batches.len() {
            cursor.next = base + i64::from(last_delta) + 1;
        }
    }
    Ok(length)
}
