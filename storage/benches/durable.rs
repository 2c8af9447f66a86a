//! One shard's store on a real ring and disk, without sockets: durable appends per second and their cost in CPU.
//! `cargo bench -p millstream-storage --bench durable -- [DIRECTORY [SECONDS [PART OF A NAME]]]`; the directory must be on the disk to
//! be measured, and is emptied. What is printed on the way is MiB/s, second by second.

use bytes::Bytes;
use io_uring::{IoUring, squeue};
use millstream_storage::batch::{BatchBuilder, BatchHeader, Stamp};
use millstream_storage::cache::SlabPool;
use millstream_storage::format::{JournalFileState, journal_path, shard_dir};
use millstream_storage::ids::*;
use millstream_storage::io::{DirectIo, DiskExecutor};
use millstream_storage::recovery::Recovered;
use millstream_storage::store::{LogConfig, OpenLog, Store, StoreConfig, StoreEffect};
use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

const JOURNAL_BYTES: u64 = 64 << 20;
/// Appends in flight over many logs.
const IN_FLIGHT_MAX: usize = 256;

struct Rig {
    store: Store,
    executor: DiskExecutor,
    ring: IoUring,
    begin: Instant,
    effects: Vec<StoreEffect>,
    backlog: VecDeque<squeue::Entry>,
    /// Of every log: the next offset, and the appends that wait with their ends.
    logs: Vec<(i64, VecDeque<(i64, Instant)>)>,
    latencies: Vec<u32>,
    enters: u64,
    written: u64,
    bytes_written: u64,
}

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    let directory = arguments
        .next()
        .unwrap_or_else(|| "/tmp/millstream-durable".into());
    let seconds = arguments
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(5);
    let only = arguments.next().unwrap_or_default();
    for (name, logs, batch_bytes, in_flight) in [
        ("8 logs, 64 KiB, 16 in flight each", 8, 64 << 10, 16),
        ("8 logs, 1 KiB, 32 in flight each", 8, 1 << 10, 32),
        ("1 log, 1 KiB, 1 in flight", 1, 1 << 10, 1),
        ("8 logs, 200 B, 32 in flight each", 8, 200, 32),
        ("10000 logs, 200 B, 256 in flight in all", 10_000, 200, 1),
    ] {
        if !name.contains(&only) {
            continue;
        }
        let path = Path::new(&directory);
        let _ = std::fs::remove_dir_all(path);
        let mut rig = Rig::new(path, logs);
        rig.run(name, batch_bytes, in_flight, Duration::from_secs(seconds));
        let _ = std::fs::remove_dir_all(path);
    }
}

impl Rig {
    fn new(path: &Path, logs: usize) -> Rig {
        let shard = ShardIndex(0);
        std::fs::create_dir_all(path.join(shard_dir(shard))).unwrap();
        let files: Vec<_> = (0..2)
            .map(|file| JournalFileState {
                file,
                bytes: JOURNAL_BYTES,
            })
            .collect();
        for state in &files {
            let file = std::fs::File::create(path.join(journal_path(shard, state.file))).unwrap();
            let mut file = std::io::BufWriter::with_capacity(1 << 20, file);
            for _ in 0..64 {
                std::io::Write::write_all(&mut file, &vec![0; 1 << 20]).unwrap();
            }
            file.into_inner().unwrap().sync_all().unwrap();
        }
        let recovered = Recovered::blank(NodeId(1), shard, files, 0);
        let begin = Instant::now();
        let mut rig = Rig {
            store: Store::new(StoreConfig::new(NodeId(1), shard), recovered, now(begin)),
            executor: DiskExecutor::new(path, DirectIo::On, SlabPool::new(16 << 20)).unwrap(),
            ring: IoUring::builder()
                .setup_single_issuer()
                .setup_defer_taskrun()
                .setup_coop_taskrun()
                .build(512)
                .unwrap(),
            begin,
            effects: Vec::new(),
            backlog: VecDeque::new(),
            logs: Vec::new(),
            latencies: Vec::new(),
            enters: 0,
            written: 0,
            bytes_written: 0,
        };
        for log in 0..logs {
            let open = OpenLog {
                log: LogNumber(log as u64 + 1),
                topic: TopicId(1),
                partition: PartitionIndex(log as i32),
                metadata_index: MetadataIndex(1),
                start: Offset(0),
                replaces: None,
                config: LogConfig::default(),
            };
            rig.store.open_log(now(begin), open).unwrap();
            rig.logs.push((0, VecDeque::new()));
        }
        rig
    }

    fn run(&mut self, name: &str, batch_bytes: usize, in_flight: usize, length: Duration) {
        let mut builder = BatchBuilder::new(BatchHeader::default());
        builder.push(1, None, Some(&vec![7; batch_bytes - 75]), &[]);
        let batch = builder.finish();
        let total = if self.logs.len() > IN_FLIGHT_MAX {
            IN_FLIGHT_MAX
        } else {
            usize::MAX
        };
        let mut waiting = 0usize;
        let mut acknowledged = 0u64;
        let mut refused = 0u64;
        let mut next = 0;
        let cpu_before = cpu();
        let begin = Instant::now();
        let mut report = begin;
        let mut reported = 0;
        while begin.elapsed() < length || waiting > 0 {
            let running = begin.elapsed() < length;
            let stop = Instant::now();
            if running {
                for _ in 0..self.logs.len().min(512) {
                    next = (next + 1) % self.logs.len();
                    while self.logs[next].1.len() < in_flight && waiting < total {
                        if !self.append(next, &batch, stop) {
                            refused += 1;
                            break;
                        }
                        waiting += 1;
                    }
                }
            }
            let now = now(self.begin);
            self.store.turn(now, &mut |_, _| None);
            let acked = self.effects();
            waiting -= acked;
            acknowledged += acked as u64;
            if report.elapsed() > Duration::from_secs(1) {
                eprint!(
                    "{} ",
                    ((acknowledged - reported) * batch_bytes as u64) >> 20
                );
                (report, reported) = (Instant::now(), acknowledged);
            }
            self.enter();
        }
        let wall = begin.elapsed().as_secs_f64();
        let (user, system) = (cpu().0 - cpu_before.0, cpu().1 - cpu_before.1);
        let cpu = user + system;
        let gib = (acknowledged * batch_bytes as u64) as f64 / (1u64 << 30) as f64;
        self.latencies.sort_unstable();
        let percentile = |p: f64| self.latencies[((self.latencies.len() - 1) as f64 * p) as usize];
        println!(
            "{name}: {:.0}/s, {:.2} GB/s, CPU {:.2} s/GiB (user {:.2}, {:.2} of a core, {:.1} us each), p50 {} us p99 {} us; {} enters, {} writes of {:.2} GB, refused {refused}, {} KiB RSS",
            acknowledged as f64 / wall,
            gib * 1.0737 / wall,
            cpu / gib,
            user / gib,
            cpu / wall,
            cpu * 1e6 / acknowledged as f64,
            percentile(0.5),
            percentile(0.99),
            self.enters,
            self.written,
            self.bytes_written as f64 / 1e9,
            rss_kib(),
        );
    }

    fn append(&mut self, log: usize, batch: &Bytes, at: Instant) -> bool {
        let (offset, waiting) = &mut self.logs[log];
        let stamp = Stamp {
            base_offset: Offset(*offset),
            leader_epoch: LeaderEpoch(0),
            log_append_time: None,
        };
        if self
            .store
            .append(now(self.begin), LogNumber(log as u64 + 1), batch, stamp)
            .is_err()
        {
            return false;
        }
        *offset += 1;
        waiting.push_back((*offset, at));
        true
    }

    fn effects(&mut self) -> usize {
        let mut acknowledged = 0;
        self.store.drain(&mut self.effects);
        for effect in self.effects.drain(..) {
            match effect {
                StoreEffect::Op(op, disk) => {
                    if let millstream_storage::disk::DiskOp::Write { data, .. } = &disk {
                        self.written += 1;
                        self.bytes_written +=
                            data.iter().map(|slice| slice.len() as u64).sum::<u64>();
                    }
                    let backlog = &mut self.backlog;
                    self.executor
                        .submit(op, disk, &mut |entry| backlog.push_back(entry.clone()));
                }
                StoreEffect::Durable { log, end } => {
                    let waiting = &mut self.logs[log.0 as usize - 1].1;
                    while waiting.front().is_some_and(|(offset, _)| *offset <= end.0) {
                        let (_, at) = waiting.pop_front().unwrap();
                        self.latencies.push(at.elapsed().as_micros() as u32);
                        acknowledged += 1;
                    }
                }
                StoreEffect::Fatal { reason } => panic!("{reason}"),
                _ => {}
            }
        }
        acknowledged
    }

    fn enter(&mut self) {
        while let Some(entry) = self.backlog.front() {
            // SAFETY: the executor keeps what the entry points to.
            if unsafe { self.ring.submission().push(entry) }.is_err() {
                self.ring.submit().unwrap();
                continue;
            }
            self.backlog.pop_front();
        }
        let wait = usize::from(!self.executor.is_quiet());
        let patience = io_uring::types::Timespec::from(Duration::from_micros(100));
        let arguments = io_uring::types::SubmitArgs::new().timespec(&patience);
        self.enters += 1;
        let _ = self.ring.submitter().submit_with_args(wait, &arguments);
        let completions: Vec<_> = self.ring.completion().collect();
        for entry in completions {
            let backlog = &mut self.backlog;
            let done = self
                .executor
                .complete(entry.user_data(), entry.result(), &mut |entry| {
                    backlog.push_back(entry.clone())
                });
            if let Some(done) = done {
                self.store.done(now(self.begin), done);
            }
        }
    }
}

fn now(begin: Instant) -> Now {
    Now {
        tick: Tick(begin.elapsed().as_nanos() as u64),
        wall: WallMs(1_700_000_000_000),
    }
}

fn cpu() -> (f64, f64) {
    // SAFETY: all zero is a value of it, and the call fills it in.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    (seconds(usage.ru_utime), seconds(usage.ru_stime))
}

fn rss_kib() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4
}
