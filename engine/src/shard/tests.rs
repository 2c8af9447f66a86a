//! The shell around a core that sends every frame back.

use super::event::{FatalReason, ShardCore, ShardEffect, ShardEvent};
use super::mail::Mail;
use super::rings::{Waker, mailboxes};
use super::run::{ShardSeed, ShardThread, start};
use super::shell::Disk;
use bytes::Bytes;
use io_uring::squeue;
use millstream_net::conn::{ConnEffect, ConnId, ConnLimits, Connections, ListenerIndex};
use millstream_net::io::{Family, SocketLimits, bind};
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

/// Sends frames back in order.
struct Echo {
    connections: Connections,
    pending: Vec<ConnEffect>,
}

impl Echo {
    fn new() -> Echo {
        Echo {
            connections: Connections::new(ConnLimits::default()),
            pending: Vec::new(),
        }
    }

    fn frame(&mut self, now_ms: u64, conn: ConnId, bytes: Bytes) {
        let slot = self
            .connections
            .request(now_ms, conn, bytes.len(), &mut self.pending);
        let Some(slot) = slot else { return };
        let prefix = Bytes::copy_from_slice(&(bytes.len() as u32).to_be_bytes());
        self.connections
            .answer(slot, vec![prefix, bytes], &mut self.pending);
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

fn serve(shards: usize) -> Running {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let bound = bind(any, Family::Own, shards).expect("binds");
    let address = bound.address;
    let sockets = bound.listen().expect("listens");
    let boxes = mailboxes::<Mail>(shards).expect("eventfds");
    let mut threads = Vec::new();
    let mut wakers = Vec::new();
    for (index, (socket, mailbox)) in sockets.into_iter().zip(boxes).enumerate() {
        wakers.push(mailbox.waker().clone());
        let seed = ShardSeed {
            index: ShardIndex(index as u16),
            cpu: None,
            worker_cpus: Vec::new(),
            listeners: vec![(ListenerIndex(0), socket)],
            sockets: SocketLimits::default(),
            transport_bytes: 64 << 20,
            lock: None,
            mailbox,
        };
        let refuse = |reason: &FatalReason| panic!("{reason}");
        let make = move || (Echo::new(), NoDisk);
        threads.push(start(seed, make, || {}, refuse).expect("a thread"));
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

#[test]
fn shards_answer_after_sleep_and_stop_at_once_when_idle() {
    let running = serve(2);
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
    let running = serve(1);
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
