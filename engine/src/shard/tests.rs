//! The shell around a core that sends every frame back.

use super::event::{FatalReason, ShardCore, ShardEffect, ShardEvent};
use super::mail::Mail;
use super::rings::{Waker, mailboxes};
use super::run::{ShardSeed, ShardThread, start};
use super::shell::Disk;
use bytes::Bytes;
use io_uring::squeue;
use millstream_net::conn::{ConnEffect, ConnId, ConnLimits, Connections, ListenerIndex};
use millstream_net::io::{Family, SocketLimits, listen};
use millstream_storage::disk::{DiskDone, DiskOp, OpId};
use millstream_storage::ids::{Now, ShardIndex, Tick};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

struct NoDisk;

impl Disk for NoDisk {
    fn submit(&mut self, _: OpId, _: DiskOp, _: &mut dyn FnMut(&squeue::Entry)) {
        unreachable!("the echo has no log")
    }

    fn complete(&mut self, _: u64, _: i32, _: &mut dyn FnMut(&squeue::Entry)) -> Option<DiskDone> {
        unreachable!("the echo has no log")
    }

    fn is_quiet(&self) -> bool {
        true
    }
}

/// Sends frames back in order, or, with `swallow`, only the first byte of them.
struct Echo {
    connections: Connections,
    pending: Vec<ConnEffect>,
    swallow: bool,
}

impl Echo {
    fn new(swallow: bool) -> Echo {
        Echo {
            connections: Connections::new(ConnLimits::default()),
            pending: Vec::new(),
            swallow,
        }
    }

    fn frame(&mut self, now_ms: u64, conn: ConnId, bytes: Bytes) {
        let slot = self
            .connections
            .request(now_ms, conn, bytes.len(), &mut self.pending);
        let Some(slot) = slot else { return };
        let body = if self.swallow {
            bytes.slice(..1)
        } else {
            bytes
        };
        let prefix = Bytes::copy_from_slice(&(body.len() as u32).to_be_bytes());
        self.connections
            .answer(slot, vec![prefix, body], &mut self.pending);
    }
}

impl ShardCore for Echo {
    fn step(&mut self, now: Now, event: ShardEvent, effects: &mut Vec<ShardEffect>) {
        let now_ms = now.tick.0 / 1_000_000;
        let pending = &mut self.pending;
        match event {
            ShardEvent::Opened { conn, .. } => self.connections.opened(now_ms, conn),
            ShardEvent::Frame { conn, bytes } => self.frame(now_ms, conn, bytes),
            ShardEvent::Sent { conn, bytes } => self.connections.sent(now_ms, conn, bytes, pending),
            ShardEvent::Closed { conn, .. } => self.connections.closed(conn),
            ShardEvent::Mail { .. } | ShardEvent::Disk(_) => unreachable!("never asked for"),
            ShardEvent::Stop => {
                self.connections.close_all(pending);
                effects.push(ShardEffect::Stopped);
            }
        }
    }

    fn turn(&mut self, now: Now, effects: &mut Vec<ShardEffect>) {
        self.connections
            .sweep(now.tick.0 / 1_000_000, &mut self.pending);
        effects.extend(self.pending.drain(..).map(|effect| match effect {
            ConnEffect::Send { conn, parts } => ShardEffect::Send { conn, parts },
            ConnEffect::Close { conn } => ShardEffect::Close { conn },
            ConnEffect::Pause { conn } => ShardEffect::Pause { conn },
            ConnEffect::Resume { conn } => ShardEffect::Resume { conn },
        }));
    }

    fn deadline(&self) -> Option<Tick> {
        let at_ms = self.connections.deadline_ms()?;
        Some(Tick(at_ms * 1_000_000))
    }
}

struct Running {
    address: SocketAddr,
    threads: Vec<ShardThread>,
    wakers: Vec<Arc<Waker>>,
}

fn serve(shards: usize, swallow: bool, pinned: bool) -> Running {
    let (address, sockets) = listen(
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        Family::Own,
        shards,
    )
    .expect("listens");
    let boxes = mailboxes::<Mail>(shards).expect("eventfds");
    let mut threads = Vec::new();
    let mut wakers = Vec::new();
    for (index, (socket, mailbox)) in sockets.into_iter().zip(boxes).enumerate() {
        wakers.push(mailbox.waker().clone());
        let seed = ShardSeed {
            index: ShardIndex(index as u16),
            cpu: pinned.then_some(index),
            worker_cpus: Vec::new(),
            listeners: vec![(ListenerIndex(0), socket)],
            sockets: SocketLimits::default(),
            transport_bytes: 64 << 20,
            lock: None,
            mailbox,
        };
        let refuse = |reason: &FatalReason| panic!("{reason}");
        let make = move || (Echo::new(swallow), NoDisk);
        threads.push(start(seed, make, refuse).expect("a thread"));
    }
    Running {
        address,
        threads,
        wakers,
    }
}

impl Running {
    fn stop(self) -> Duration {
        let began = Instant::now();
        for waker in &self.wakers {
            waker.stop();
        }
        for thread in self.threads {
            assert_eq!(thread.join(), Ok(()));
        }
        began.elapsed()
    }
}

fn ping(stream: &mut TcpStream, length: usize, buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.extend((length as u32).to_be_bytes());
    buffer.resize(length + 4, 7);
    stream.write_all(buffer).expect("writes");
    stream.read_exact(buffer).expect("reads");
    assert_eq!(buffer[length + 3], 7);
}

/// CPU time of the shards' threads.
fn shard_cpu() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("procfs");
    let nanos = tasks.flatten().map(|task| {
        let read = |name| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        if !read("comm").starts_with("shard-") {
            return 0;
        }
        let first = read("schedstat");
        let first = first.split(' ').next().and_then(|text| text.parse().ok());
        first.unwrap_or(0)
    });
    Duration::from_nanos(nanos.sum())
}

#[test]
fn shards_answer_after_sleep_and_stop_at_once_when_idle() {
    let running = serve(2, false, false);
    let mut buffer = Vec::new();
    let mut streams: Vec<_> = (0..8)
        .map(|_| TcpStream::connect(running.address).expect("connects"))
        .collect();
    for round in 0..20 {
        for stream in &mut streams {
            ping(stream, 1 + round * 9_999, &mut buffer);
        }
        // Longer than the wait in the shard's own ring: some of the rounds begin in a sleep.
        std::thread::sleep(Duration::from_millis(if round % 3 == 0 { 5 } else { 0 }));
    }
    let took = running.stop();
    assert!(took < Duration::from_secs(2), "stopping took {took:?}");
    for stream in &mut streams {
        let mut rest = [0];
        assert!(matches!(stream.read(&mut rest), Ok(0) | Err(_)));
    }
}

#[test]
fn a_client_that_does_not_read_is_not_listened_to_until_it_does() {
    let running = serve(1, false, false);
    let mut stream = TcpStream::connect(running.address).expect("connects");
    let patience = Some(Duration::from_millis(300));
    stream.set_write_timeout(patience).expect("a socket");
    let mut data = Vec::new();
    while data.len() < 100_000 {
        data.extend(996u32.to_be_bytes());
        data.resize(data.len() + 996, 7);
    }
    let mut written = 0;
    loop {
        let at = written % data.len();
        match stream.write(&data[at..]) {
            Ok(count) => written += count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
        // Socket buffers on both sides and the bound of answers, by a wide margin.
        assert!(written < 64 << 20, "it is listened to without end");
    }
    let mut answers = vec![0; written / 1000 * 1000];
    stream.read_exact(&mut answers).expect("all is answered");
    assert!(answers.chunks(1000).all(|one| one == &data[..1000]));
    let took = running.stop();
    assert!(took < Duration::from_secs(2), "stopping took {took:?}");
}

#[test]
#[ignore = "measures: run alone, in release"]
fn measure_the_loop() {
    let measure = |name: &str, work: &dyn Fn() -> f64| {
        let (began, cpu) = (Instant::now(), shard_cpu());
        let each = work();
        let (took, cpu) = (
            began.elapsed().as_secs_f64(),
            (shard_cpu() - cpu).as_secs_f64(),
        );
        let share = cpu / took * 100.0;
        let cost = cpu / (each * took) * 1e6;
        println!("{name}: {each:.0}/s, {share:.2} % of a core, {cost:.2} us each");
    };
    let running = serve(1, false, true);
    let address = running.address;
    let _idle = TcpStream::connect(address).expect("connects");
    measure("idle", &|| {
        std::thread::sleep(Duration::from_secs(3));
        1.0
    });
    measure("200 B ping-pong, 4 connections", &|| rate(address, 4, 200));
    measure("200 B ping-pong, 1 connection", &|| rate(address, 1, 200));
    running.stop();
    let running = serve(1, true, true);
    let address = running.address;
    measure("64 KiB frames, 16 connections", &|| {
        flood(address, 16, 64 * 1024)
    });
    measure("1 KiB frames, 8 connections", &|| flood(address, 8, 1024));
    running.stop();
}

/// Round trips per second of clients that poll without sleeping, all from one thread on the other core.
fn rate(address: SocketAddr, connections: usize, length: usize) -> f64 {
    core_affinity::set_for_current(core_affinity::CoreId { id: 1 });
    let mut streams: Vec<_> = (0..connections)
        .map(|_| TcpStream::connect(address).expect("connects"))
        .collect();
    let mut request = (length as u32).to_be_bytes().to_vec();
    request.resize(length + 4, 7);
    let mut answer = vec![0; length + 4];
    let mut rounds = 0u64;
    for stream in &mut streams {
        stream.set_nodelay(true).expect("a socket");
        stream.write_all(&request).expect("writes");
    }
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        for stream in &mut streams {
            stream.read_exact(&mut answer).expect("reads");
            stream.write_all(&request).expect("writes");
            rounds += 1;
        }
    }
    rounds as f64 / began.elapsed().as_secs_f64()
}

/// Frames per second that pipelining writers, one thread for all, get swallowed.
fn flood(address: SocketAddr, connections: usize, length: usize) -> f64 {
    let streams: Vec<_> = (0..connections)
        .map(|_| TcpStream::connect(address).expect("connects"))
        .collect();
    let mut data = Vec::new();
    while data.len() < 256 * 1024 {
        data.extend((length as u32).to_be_bytes());
        data.resize(data.len() + length, 7);
    }
    let began = Instant::now();
    let total: u64 = std::thread::scope(|scope| {
        let workers: Vec<_> = streams
            .iter()
            .map(|stream| {
                let data = &data;
                scope.spawn(move || {
                    core_affinity::set_for_current(core_affinity::CoreId { id: 1 });
                    let (mut writer, mut reader) = (stream, stream);
                    let batch = data.len() / (length + 4);
                    let mut answers = vec![0; batch * 5];
                    let mut frames = 0;
                    writer.write_all(data).expect("writes");
                    while began.elapsed() < Duration::from_secs(3) {
                        writer.write_all(data).expect("writes");
                        reader.read_exact(&mut answers).expect("reads");
                        frames += batch as u64;
                    }
                    frames
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("no panic"))
            .sum()
    });
    total as f64 / began.elapsed().as_secs_f64()
}
