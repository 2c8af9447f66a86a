//! Appending: closed loop (as fast as answered) or open loop (a fixed rate).
//!
//! Always: answers come in the order of the requests; frames of one connection live in a ring, so what may be sent is
//! at most two runs of bytes and leaves in one system call.

use crate::args::ProduceArgs;
use crate::simple::admin::Admin;
use crate::simple::frame::{Template, read_answer};
use crate::simple::poll::{Poll, pin};
use crate::simple::process;
use crate::simple::report::{Run, Sample};
use hdrhistogram::Histogram;
use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// Answers are read in pieces of this size.
const READ_BYTES: usize = 64 << 10;
/// Requests of one connection that may wait for a slot when a rate is given.
const OPEN_LOOP_SLOTS: usize = 256;
/// Latencies above this are told as this, in microseconds.
const LATENCY_MAX_US: u64 = 120_000_000;

/// One connection and its ring of frames.
struct Connection {
    stream: TcpStream,
    frames: Vec<u8>,
    frame_bytes: usize,
    slots: usize,
    /// When the request in a slot was due.
    due: Vec<Instant>,
    /// Requests numbered so far, and answered so far.
    queued: u64,
    answered: u64,
    /// Bytes given to the socket since the beginning.
    sent_bytes: u64,
    /// Requests that are due and have no slot (open loop).
    waiting: VecDeque<Instant>,
    inbox: Vec<u8>,
    next_partition: i32,
}

pub fn run(args: &ProduceArgs) -> Result<(), String> {
    let target = &args.target;
    let text = |error: io::Error| error.to_string();
    Admin::connect(&target.broker)?.ensure_topic(
        &target.topic,
        args.partitions,
        &args.topic_config,
    )?;
    if let Some(cpu) = target.cpu {
        pin(cpu).map_err(text)?;
    }
    if args.acks == 0 {
        return Err("acks 0 has no answers, so there is nothing to measure".into());
    }
    let template = Template::new(
        &target.topic,
        args.acks,
        args.batch_bytes,
        args.record_bytes,
    );
    let slots = if args.rate.is_some() {
        args.in_flight.max(OPEN_LOOP_SLOTS)
    } else {
        args.in_flight
    };
    let mut poll = Poll::new().map_err(text)?;
    let mut connections = Vec::new();
    for index in 0..args.connections {
        let connection = Connection::open(args, &template, slots, index).map_err(text)?;
        poll.watch(connection.stream.as_raw_fd(), index as u64)
            .map_err(text)?;
        connections.push(connection);
    }
    let mut load = Load {
        args,
        connections,
        began: Instant::now(),
        issued: 0,
        run: Run {
            samples: Vec::new(),
            counted_from: 0,
            latency_us: Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)
                .map_err(|error| error.to_string())?,
            errors: 0,
            records_per_request: Some(template.records),
        },
        template,
        requests: 0,
    };
    load.drive(&mut poll).map_err(text)?;
    if load.run.errors > 0 && load.requests == load.run.errors {
        return Err(format!("all {} requests were refused", load.requests));
    }
    load.run.print(target.json);
    Ok(())
}

/// A run under way.
struct Load<'a> {
    args: &'a ProduceArgs,
    template: Template,
    connections: Vec<Connection>,
    began: Instant,
    /// Requests that became due (open loop).
    issued: u64,
    run: Run,
    requests: u64,
}

impl Load<'_> {
    fn drive(&mut self, poll: &mut Poll) -> io::Result<()> {
        let warmup = Duration::from_secs_f64(self.args.warmup);
        let end = warmup + Duration::from_secs_f64(self.args.duration);
        let mut next_sample = Duration::ZERO;
        let mut counting = false;
        loop {
            let at = self.began.elapsed();
            if at >= end {
                self.sample(at);
                return Ok(());
            }
            if !counting && at >= warmup {
                counting = true;
                self.run.latency_us.reset();
                self.run.errors = 0;
                self.run.counted_from = self.run.samples.len();
                self.sample(at);
                next_sample = at + Duration::from_secs(1);
            }
            if at >= next_sample {
                self.sample(at);
                next_sample += Duration::from_secs(1);
            }
            let until_due = self.issue(at);
            for index in 0..self.connections.len() {
                self.connections[index].fill(&self.template, self.args, at, self.began)?;
            }
            let timeout = until_due
                .unwrap_or(Duration::from_millis(100))
                .min(end - at);
            let ready: Vec<u64> = poll.wait(timeout)?.collect();
            for index in ready {
                self.receive(index as usize)?;
            }
        }
    }

    fn sample(&mut self, at: Duration) {
        self.run.samples.push(Sample {
            at,
            requests: self.requests,
            bytes: self.requests * self.template.batch_bytes as u64,
            cost: self.args.target.pid.and_then(process::cost),
        });
    }

    /// Makes requests due by the rate; how long until the next one.
    fn issue(&mut self, at: Duration) -> Option<Duration> {
        let rate = self.args.rate?;
        let due = |issued: u64| Duration::from_secs_f64(issued as f64 / rate);
        while due(self.issued) <= at {
            let index = self.issued as usize % self.connections.len();
            self.connections[index]
                .waiting
                .push_back(self.began + due(self.issued));
            self.issued += 1;
        }
        Some(due(self.issued).saturating_sub(at))
    }

    fn receive(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        connection.read()?;
        let mut taken = 0;
        while let Some(answer) = next_frame(&connection.inbox[taken..]) {
            let numbers = read_answer(answer, &self.args.target.topic);
            let expected = connection.answered as i32;
            match numbers {
                Some((correlation_id, code)) if correlation_id == expected => {
                    self.run.errors += u64::from(code != 0);
                    if code != 0 && self.run.errors == 1 && self.run.counted_from > 0 {
                        eprintln!("the first refusal has code {code}");
                    }
                }
                _ => {
                    return Err(io::Error::other(
                        "an answer is out of order or cannot be read",
                    ));
                }
            }
            taken += 4 + answer.len();
            let due = connection.due[connection.answered as usize % connection.slots];
            let micros = due.elapsed().as_micros() as u64;
            self.run
                .latency_us
                .saturating_record(micros.clamp(1, LATENCY_MAX_US));
            connection.answered += 1;
            self.requests += 1;
        }
        connection.inbox.drain(..taken);
        Ok(())
    }
}

impl Connection {
    fn open(
        args: &ProduceArgs,
        template: &Template,
        slots: usize,
        index: usize,
    ) -> io::Result<Connection> {
        let stream = TcpStream::connect(&args.target.broker)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Connection {
            stream,
            frames: template.repeat(slots),
            frame_bytes: template.frame_bytes(),
            slots,
            due: vec![Instant::now(); slots],
            queued: 0,
            answered: 0,
            sent_bytes: 0,
            waiting: VecDeque::new(),
            inbox: Vec::new(),
            next_partition: index as i32 % args.partitions,
        })
    }

    /// Numbers what may be sent and gives it to the socket.
    fn fill(
        &mut self,
        template: &Template,
        args: &ProduceArgs,
        at: Duration,
        began: Instant,
    ) -> io::Result<()> {
        while self.queued - self.answered < self.slots as u64 {
            let due = match args.rate {
                Some(_) => match self.waiting.pop_front() {
                    Some(due) => due,
                    None => break,
                },
                None => began + at,
            };
            let slot = self.queued as usize % self.slots;
            self.due[slot] = due;
            let frame = &mut self.frames[slot * self.frame_bytes..][..self.frame_bytes];
            template.number(frame, self.queued as i32, self.next_partition);
            self.next_partition = (self.next_partition + args.connections as i32) % args.partitions;
            self.queued += 1;
        }
        self.send()
    }

    fn send(&mut self) -> io::Result<()> {
        loop {
            let pending = self.queued * self.frame_bytes as u64 - self.sent_bytes;
            if pending == 0 {
                return Ok(());
            }
            let ring = self.frames.len();
            let start = (self.sent_bytes % ring as u64) as usize;
            let first = (pending as usize).min(ring - start);
            let runs = [
                IoSlice::new(&self.frames[start..start + first]),
                IoSlice::new(&self.frames[..pending as usize - first]),
            ];
            match self.stream.write_vectored(&runs) {
                Ok(sent) => self.sent_bytes += sent as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes what the socket has into the inbox.
    fn read(&mut self) -> io::Result<()> {
        loop {
            let old = self.inbox.len();
            self.inbox.resize(old + READ_BYTES, 0);
            let read = self.stream.read(&mut self.inbox[old..]);
            self.inbox
                .truncate(old + read.as_ref().map_or(0, |read| *read));
            match read {
                Ok(0) => return Err(io::Error::other("the broker closed a connection")),
                Ok(read) if read < READ_BYTES => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// The first whole frame of some bytes, without its length prefix.
fn next_frame(bytes: &[u8]) -> Option<&[u8]> {
    let length = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    bytes.get(4..4 + length)
}
