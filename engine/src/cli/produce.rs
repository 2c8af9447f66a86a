//! `millstream produce`: lines become records; it ends when all are acknowledged.
//!
//! Always: one thread reads lines, this one moves records, so that a terminal that is slow to type holds up nothing.

use super::args::{AcksArg, CodecArg, ProduceArgs};
use super::outcome::{Failure, Outcome};
use crate::client::{Acks, ClientError, Producer, ProducerConfig, Record, parse_addresses};
use bytes::Bytes;
use millstream_storage::batch::Compression;
use serde_json::json;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

/// Lines that go from one thread to the other at once.
const LINES_MAX: usize = 1_000;
/// BOUND: such groups on their way.
const GROUPS_MAX: usize = 64;
/// How long without a line until what was sent is waited for.
const QUIET: Duration = Duration::from_millis(5);
/// How often progress is told.
const PROGRESS: Duration = Duration::from_millis(500);

type Lines = Vec<Vec<u8>>;

pub fn run(args: ProduceArgs) -> Outcome {
    let config = ProducerConfig {
        acks: match args.acks {
            AcksArg::None => Acks::None,
            AcksArg::Leader => Acks::Leader,
            AcksArg::All => Acks::All,
        },
        compression: match args.compression {
            CodecArg::None => Compression::None,
            CodecArg::Gzip => Compression::Gzip,
            CodecArg::Snappy => Compression::Snappy,
            CodecArg::Lz4 => Compression::Lz4,
            CodecArg::Zstd => Compression::Zstd,
        },
        ..ProducerConfig::default()
    };
    let producer = Producer::new(&parse_addresses(&args.client.broker)?, config)
        .with_stalls_told(|why| eprintln!("waiting: {why}"));
    let (give, take) = sync_channel(GROUPS_MAX);
    let input = open(&args)?;
    if args.file.is_none() && io::stdin().is_terminal() {
        eprintln!("type records, one a line; Ctrl-D ends");
    }
    let reader = std::thread::spawn(move || read_lines(input, &give));
    let mut sending = Sending {
        producer,
        args,
        bytes: 0,
        began: Instant::now(),
        told: Instant::now(),
    };
    sending.send_all(&take)?;
    let read = reader
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the reader broke")));
    read.map_err(|error| Failure::new(format!("reading stopped: {error}")))?;
    sending.summary();
    Ok(())
}

fn open(args: &ProduceArgs) -> Result<Box<dyn BufRead + Send>, Failure> {
    let Some(path) = &args.file else {
        return Ok(Box::new(BufReader::new(io::stdin())));
    };
    let file = File::open(path)
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))?;
    Ok(Box::new(BufReader::with_capacity(1 << 18, file)))
}

/// Gives lines on in groups: as many as are there without waiting.
fn read_lines(mut input: Box<dyn BufRead + Send>, give: &SyncSender<Lines>) -> io::Result<()> {
    let mut lines = Lines::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let ended = input.read_until(b'\n', &mut line)? == 0;
        if !ended {
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            lines.push(text.strip_suffix(b"\r").unwrap_or(text).to_vec());
        }
        if ended || lines.len() >= LINES_MAX {
            // A failure to give means that sending failed, which is told there.
            if give.send(std::mem::take(&mut lines)).is_err() || ended {
                return Ok(());
            }
        } else {
            match give.try_send(std::mem::take(&mut lines)) {
                Ok(()) => {}
                Err(TrySendError::Full(back)) => lines = back,
                Err(TrySendError::Disconnected(_)) => return Ok(()),
            }
        }
    }
}

struct Sending {
    producer: Producer,
    args: ProduceArgs,
    bytes: u64,
    began: Instant,
    told: Instant,
}

impl Sending {
    fn send_all(&mut self, take: &Receiver<Lines>) -> Result<(), ClientError> {
        loop {
            let lines = match take.recv_timeout(QUIET) {
                Ok(lines) => lines,
                Err(RecvTimeoutError::Timeout) => {
                    self.producer.flush()?;
                    match take.recv() {
                        Ok(lines) => lines,
                        Err(_) => break,
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            for line in lines {
                self.bytes += line.len() as u64;
                let record = self.record(Bytes::from(line));
                self.producer.send(&self.args.topic, record)?;
            }
            self.progress();
        }
        self.producer.flush()
    }

    fn record(&self, line: Bytes) -> Record {
        let separator = self
            .args
            .key_separator
            .as_deref()
            .map(str::as_bytes)
            .unwrap_or_default();
        let at = match separator {
            [] => None,
            separator => line
                .windows(separator.len())
                .position(|part| part == separator),
        };
        Record {
            partition: self.args.partition,
            key: at.map(|at| line.slice(..at)),
            value: Some(at.map_or_else(|| line.clone(), |at| line.slice(at + separator.len()..))),
            ..Record::default()
        }
    }

    /// A line that is written over, where a person looks.
    fn progress(&mut self) {
        if self.args.client.json || self.told.elapsed() < PROGRESS || !io::stderr().is_terminal() {
            return;
        }
        self.told = Instant::now();
        let seconds = self.began.elapsed().as_secs_f64();
        let mib = self.bytes as f64 / (1 << 20) as f64;
        eprint!(
            "\r{} acknowledged, {:.1} MiB/s  ",
            self.producer.acknowledged_count(),
            mib / seconds
        );
    }

    fn summary(&self) {
        let (count, seconds) = (
            self.producer.acknowledged_count(),
            self.began.elapsed().as_secs_f64(),
        );
        if self.args.client.json {
            println!(
                "{}",
                json!({ "topic": self.args.topic, "records": count, "bytes": self.bytes, "seconds": seconds })
            );
            return;
        }
        let start = if io::stderr().is_terminal() { "\r" } else { "" };
        let noun = if count == 1 { "record" } else { "records" };
        eprintln!(
            "{start}{count} {noun} to {} in {seconds:.2} s",
            self.args.topic
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_arrive_whole_in_order_and_without_their_ends() {
        let (give, take) = sync_channel(GROUPS_MAX);
        let text = "one\r\ntwo\n\nlast";
        read_lines(Box::new(text.as_bytes()), &give).unwrap();
        drop(give);
        let lines: Vec<Vec<u8>> = take.iter().flatten().collect();
        assert_eq!(lines, [&b"one"[..], b"two", b"", b"last"]);
    }
}
