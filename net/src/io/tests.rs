use super::{CLASS, Family, SocketEvent, SocketLimits, Sockets, bind};
use crate::conn::{CloseReason, ConnId, ListenerIndex, Transport};
use bytes::Bytes;
use io_uring::{IoUring, cqueue, types};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const LIMITS: SocketLimits = SocketLimits {
    connections_max: 8,
    frame_bytes_max: 4 * 1024 * 1024,
};
const BUDGET_BYTES: usize = 64 * 1024 * 1024;

/// A ring with sockets that answers every frame with itself. The clock can be set ahead.
struct Host {
    // Dropped first: the sockets' buffers are the kernel's until the ring is closed.
    ring: IoUring,
    sockets: Sockets,
    transport: Transport,
    began: Instant,
    ahead_ms: u64,
    address: SocketAddr,
    frames: usize,
    opened: usize,
    refused: usize,
    closed: BTreeMap<ConnId, CloseReason>,
}

impl Host {
    fn new(limits: SocketLimits, budget_bytes: usize) -> Host {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .build(64)
            .expect("io_uring");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let bound = bind(any, Family::Own, 1).expect("binds");
        let address = bound.address;
        let listeners = bound.listen().expect("listens");
        let listeners = listeners
            .into_iter()
            .map(|socket| (ListenerIndex(0), socket))
            .collect();
        let transport = Transport::new(budget_bytes);
        let sockets = Sockets::new(&ring.submitter(), limits, transport.clone(), listeners)
            .expect("registers");
        Host {
            ring,
            sockets,
            transport,
            began: Instant::now(),
            ahead_ms: 0,
            address,
            frames: 0,
            opened: 0,
            refused: 0,
            closed: BTreeMap::new(),
        }
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64 + self.ahead_ms
    }

    /// One turn; frames go to `take`, what it returns is sent back.
    fn turn(&mut self, take: &mut dyn FnMut(ConnId, Bytes) -> Vec<Bytes>) {
        let now_ms = self.now_ms();
        let mut events = Vec::new();
        let ring = &mut self.ring;
        self.sockets.flush(now_ms, &mut events, |entry| {
            // SAFETY: the sockets keep what the entry points to until its completion.
            while unsafe { ring.submission().push(entry) }.is_err() {
                ring.submit().expect("submits");
            }
        });
        let patience = types::Timespec::from(Duration::from_millis(1));
        let wait = types::SubmitArgs::new().timespec(&patience);
        // A timeout is reported as an error.
        let _ = self.ring.submitter().submit_with_args(1, &wait);
        let done: Vec<cqueue::Entry> = self.ring.completion().collect();
        for entry in &done {
            assert_eq!(entry.user_data() >> 56, CLASS as u64);
            self.sockets.complete(now_ms, entry, &mut events);
        }
        for event in events {
            match event {
                SocketEvent::Opened { .. } => self.opened += 1,
                SocketEvent::Refused => self.refused += 1,
                SocketEvent::Frame { conn, bytes } => {
                    self.frames += 1;
                    self.sockets.send(conn, take(conn, bytes));
                }
                SocketEvent::Sent { .. } => {}
                SocketEvent::Closed { conn, reason } => {
                    assert!(self.closed.insert(conn, reason).is_none(), "closed twice");
                }
            }
        }
    }

    fn echo_until(&mut self, mut done: impl FnMut(&Host) -> bool) {
        let began = Instant::now();
        while !done(self) {
            self.turn(&mut |_, bytes| framed(bytes));
            assert!(began.elapsed() < Duration::from_secs(20), "nothing moves");
        }
    }

    fn stop(mut self) -> Transport {
        self.sockets.stop_listening();
        let now_ms = self.now_ms();
        self.sockets.close_all(now_ms);
        self.echo_until(|host| host.sockets.is_quiet());
        self.transport.clone()
    }
}

fn framed(bytes: Bytes) -> Vec<Bytes> {
    vec![
        Bytes::copy_from_slice(&(bytes.len() as u32).to_be_bytes()),
        bytes,
    ]
}

fn pattern(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 131 + seed) as u8).collect()
}

/// A client that sends frames of these lengths, `pipeline` of them before it reads, and checks the echo.
fn client(address: SocketAddr, lengths: Vec<usize>, pipeline: usize) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).expect("connects");
        stream.set_nodelay(true).expect("a socket");
        let mut reader = stream.try_clone().expect("a socket");
        for (round, group) in lengths.chunks(pipeline).enumerate() {
            let mut data = Vec::new();
            for (at, &length) in group.iter().enumerate() {
                data.extend((length as u32).to_be_bytes());
                data.extend(pattern(length, round + at));
            }
            let expected = data.clone();
            let mut got = vec![0; expected.len()];
            std::thread::scope(|scope| {
                scope.spawn(|| stream.write_all(&data).expect("writes"));
                reader.read_exact(&mut got).expect("reads");
            });
            assert!(got == expected, "the echo of round {round} differs");
        }
    })
}

#[test]
fn frames_of_all_sizes_come_through_whatever_the_pipeline() {
    let mixes: [Vec<usize>; 4] = [
        vec![200; 300],
        vec![65_536; 60],
        (0..200).map(|at| at * 211).collect(),
        vec![
            10, 1_500_000, 10, 65_536, 3_000_000, 0, 17_000, 16_384, 16_383,
        ],
    ];
    let mut host = Host::new(LIMITS, BUDGET_BYTES);
    let clients: Vec<_> = mixes
        .iter()
        .flat_map(|lengths| [1, 7].map(|pipeline| client(host.address, lengths.clone(), pipeline)))
        .collect();
    host.echo_until(|host| {
        clients.iter().all(JoinHandle::is_finished) && host.closed.len() == clients.len()
    });
    for client in clients {
        client.join().expect("the echo is whole");
    }
    assert!(host.closed.values().all(|why| *why == CloseReason::Peer));
    assert_eq!(host.stop().used_bytes(), 0, "no buffer leaks");
}

#[test]
fn connections_come_through_a_budget_far_below_what_they_send() {
    let mut host = Host::new(LIMITS, 1024 * 1024);
    let clients: Vec<_> = (0..6)
        .map(|_| client(host.address, vec![900_000; 12], 3))
        .collect();
    let mut most = 0;
    let transport = host.transport.clone();
    host.echo_until(|host| {
        most = most.max(transport.used_bytes());
        clients.iter().all(JoinHandle::is_finished) && host.closed.len() == 6
    });
    for client in clients {
        client.join().expect("the echo is whole");
    }
    assert!(most < 4 * 1024 * 1024, "{most} bytes were held");
    assert_eq!(host.stop().used_bytes(), 0);
}

#[test]
fn connections_that_announce_much_and_send_little_do_not_keep_others_from_a_small_budget() {
    let mut host = Host::new(LIMITS, 256 * 1024);
    let announced: Vec<_> = (0..6)
        .map(|_| {
            let mut stream = TcpStream::connect(host.address).expect("connects");
            let mut data = (4_000_000u32).to_be_bytes().to_vec();
            data.extend([7; 20_000]);
            stream.write_all(&data).expect("writes");
            stream
        })
        .collect();
    let transport = host.transport.clone();
    host.echo_until(|_| transport.is_full());
    let honest = client(host.address, vec![200_000; 5], 1);
    for _ in 0..100 {
        host.turn(&mut |_, bytes| framed(bytes));
    }
    assert!(host.closed.is_empty(), "they may still go on");
    host.ahead_ms = 3_000;
    host.echo_until(|host| honest.is_finished() && host.closed.len() == 7);
    honest.join().expect("the echo is whole");
    let stalled = host.closed.values();
    let stalled = stalled.filter(|why| **why == CloseReason::StalledFrame);
    assert_eq!(stalled.count(), 6);
    drop(announced);
    assert_eq!(host.stop().used_bytes(), 0, "no buffer leaks");
}

#[test]
fn a_connection_above_the_bound_is_closed_at_once() {
    let mut host = Host::new(LIMITS, BUDGET_BYTES);
    let kept: Vec<_> = (0..8)
        .map(|_| TcpStream::connect(host.address).expect("connects"))
        .collect();
    host.echo_until(|host| host.opened == 8);
    let mut extra = TcpStream::connect(host.address).expect("the kernel accepts");
    let closed = std::thread::spawn(move || extra.read(&mut [0]).expect("closed in order"));
    host.echo_until(|_| closed.is_finished());
    assert_eq!(closed.join().expect("no panic"), 0);
    assert_eq!(host.refused, 1);
    drop(kept);
    host.echo_until(|host| host.closed.len() == 8);
    let _again = TcpStream::connect(host.address).expect("connects");
    host.echo_until(|host| host.opened == 9);
    host.stop();
}

/// A flood that stands in the backlog takes no more descriptors than there is room for, and one for each listener.
#[test]
fn a_flood_takes_no_descriptors_above_the_bound() {
    let mut host = Host::new(LIMITS, BUDGET_BYTES);
    let open = || std::fs::read_dir("/proc/self/fd").expect("listed").count();
    let flood: Vec<_> = (0..200)
        .map(|_| TcpStream::connect(host.address).expect("the kernel takes it"))
        .collect();
    let before = open();
    let mut most = 0;
    while host.refused < 192 {
        host.turn(&mut |_, bytes| framed(bytes));
        most = most.max(open());
    }
    // Other tests of this process open files too.
    assert!(most < before + 100, "{before}, then {most}");
    assert_eq!(host.opened, 8);
    drop(flood);
    host.stop();
}

#[test]
fn what_is_not_a_frame_or_does_not_go_on_is_closed() {
    // (what is sent, how far the clock goes ahead, why it is closed)
    let cases: [(&[u8], u64, CloseReason); 4] = [
        (&[0xff, 0xff, 0xff, 0xff], 0, CloseReason::FrameLength),
        (&[0x40, 0, 0, 0], 0, CloseReason::FrameLength),
        (&[0, 0, 0, 9, 1], 31_000, CloseReason::StalledFrame),
        (&[0, 1, 0, 0, 1, 2, 3], 31_000, CloseReason::StalledFrame),
    ];
    for (data, ahead_ms, reason) in cases {
        let mut host = Host::new(LIMITS, BUDGET_BYTES);
        let mut stream = TcpStream::connect(host.address).expect("connects");
        stream.write_all(data).expect("writes");
        host.echo_until(|host| host.opened == 1);
        for _ in 0..50 {
            host.turn(&mut |_, bytes| framed(bytes));
        }
        assert_eq!(host.closed.len(), usize::from(ahead_ms == 0), "{data:?}");
        host.ahead_ms = ahead_ms;
        host.echo_until(|host| host.closed.len() == 1);
        assert_eq!(host.closed.values().next(), Some(&reason), "{data:?}");
        host.stop();
    }
}

#[test]
fn what_was_given_before_a_close_still_arrives() {
    let mut host = Host::new(LIMITS, BUDGET_BYTES);
    let mut stream = TcpStream::connect(host.address).expect("connects");
    stream.write_all(&[0, 0, 0, 1, 7]).expect("writes");
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("reads");
        all.len()
    });
    let big = Bytes::from(vec![5; 8 * 1024 * 1024]);
    let mut asker = None;
    while asker.is_none() {
        host.turn(&mut |conn, _| {
            asker = Some(conn);
            vec![big.clone(); 2]
        });
    }
    let now_ms = host.now_ms();
    host.sockets.close(now_ms, asker.expect("a frame came"));
    host.echo_until(|host| host.closed.len() == 1 && reader.is_finished());
    assert_eq!(reader.join().expect("no panic"), 2 * big.len());
    host.stop();
}

#[test]
fn a_paused_connection_is_not_read_until_it_is_resumed() {
    let mut host = Host::new(LIMITS, BUDGET_BYTES);
    let mut stream = TcpStream::connect(host.address).expect("connects");
    stream.write_all(&[0, 0, 0, 1, 7]).expect("writes");
    host.echo_until(|host| host.frames == 1);
    let conn = ConnId {
        slot: 0,
        generation: 0,
    };
    host.sockets.pause(conn);
    for _ in 0..20 {
        host.turn(&mut |_, bytes| framed(bytes));
    }
    stream.write_all(&[0, 0, 0, 1, 8]).expect("writes");
    for _ in 0..50 {
        host.turn(&mut |_, bytes| framed(bytes));
    }
    assert_eq!(host.frames, 1);
    let now_ms = host.now_ms();
    host.sockets.resume(now_ms, conn);
    host.echo_until(|host| host.frames == 2);
    host.stop();
}

#[test]
fn an_address_in_use_is_refused() {
    let host = Host::new(LIMITS, BUDGET_BYTES);
    let refused = bind(host.address, Family::Own, 1).err().expect("in use");
    assert_eq!(refused.kind(), std::io::ErrorKind::AddrInUse);
    host.stop();
}
