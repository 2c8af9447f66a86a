//! The store over a simulated disk, without crashes: what is appended becomes durable and is read back.

mod indexes;
mod reuse;
mod searches;

use super::*;
use crate::batch::{BatchBuilder, BatchHead, BatchHeader};
use crate::disk::{BlockingDisk, DiskDone, DiskOp};
use crate::format::{JournalFileState, WindowBuilder, WindowHeader, journal_path, shard_dir};
use crate::ids::{
    LeaderEpoch, LogNumber, MetadataIndex, NodeId, Now, Offset, PartitionIndex, ShardIndex, Tick,
    TopicId, WallMs,
};
use crate::log::SegmentIndex;
use crate::sim::{Fault, OpKind, SimDisk, SimRng};
use bytes::Bytes;
use std::collections::HashMap;
use std::path::Path;

const FILE_BYTES: u64 = 256 << 10;

/// A new shard: two zeroed journal files and one empty window.
fn fresh(disk: &SimDisk) -> Recovered {
    let shard = ShardIndex(0);
    disk.make_dirs(&shard_dir(shard)).expect("a directory");
    let mut window = vec![0; 4096];
    let sealed = WindowBuilder::new(&mut window).finish(&WindowHeader {
        node: NodeId(1),
        shard,
        run: 1,
        sequence: 1,
        known_synced: 0,
        checkpoint: 0,
        previous_crc: 0,
    });
    for file in 0..2 {
        let path = journal_path(shard, file);
        disk.set_length(&path, FILE_BYTES).expect("a journal file");
        disk.write(&path, 0, &window).expect("a window");
    }
    disk.sync_fs().expect("a sync");
    let files = (0..2).map(|file| JournalFileState {
        file,
        bytes: FILE_BYTES,
    });
    Recovered::blank(NodeId(1), shard, files.collect(), sealed.crc)
}

struct Rig {
    disk: SimDisk,
    store: Store,
    now: Now,
    rng: SimRng,
    durable: HashMap<LogNumber, Offset>,
    ready: Vec<(ReadTicket, Read)>,
    found: Vec<(ReadTicket, Found)>,
    looks: Vec<(ReadTicket, Look)>,
    /// Reads of segments.
    blocks_read: usize,
    /// Segments that became successors.
    reused: usize,
    starts: HashMap<LogNumber, Offset>,
}

impl Rig {
    fn new(seed: u64) -> Rig {
        let cold_bytes_max = StoreConfig::new(NodeId(1), ShardIndex(0)).cold_bytes_max;
        Rig::with_cold_bytes(seed, cold_bytes_max)
    }

    fn with_cold_bytes(seed: u64, cold_bytes_max: u64) -> Rig {
        let disk = SimDisk::new();
        let config = StoreConfig {
            cold_bytes_max,
            journal_file_bytes: FILE_BYTES,
            large_bytes: 16 << 10,
            clean_bytes_max: 128 << 10,
            open_files_max: 3,
            ..StoreConfig::new(NodeId(1), ShardIndex(0))
        };
        let now = Now {
            tick: Tick(1_000_000),
            wall: WallMs(1_000_000),
        };
        let store = Store::new(config, fresh(&disk), now);
        Rig {
            disk,
            store,
            now,
            rng: SimRng::new(seed),
            durable: HashMap::new(),
            ready: Vec::new(),
            found: Vec::new(),
            looks: Vec::new(),
            blocks_read: 0,
            reused: 0,
            starts: HashMap::new(),
        }
    }

    fn open(&mut self, number: u64, config: LogConfig) -> LogNumber {
        let log = LogNumber(number);
        let open = OpenLog {
            log,
            topic: TopicId(5),
            partition: PartitionIndex(number as i32),
            metadata_index: MetadataIndex(1),
            start: Offset(0),
            replaces: None,
            config,
        };
        self.store.open_log(self.now, open).expect("a new log");
        log
    }

    /// Appends a batch of one record; the offset it got.
    fn append(&mut self, log: LogNumber, bytes: usize) -> Offset {
        while !self.store.admits(log, bytes + 100) {
            self.work(1);
        }
        let base_offset = self.store.log_end(log).expect("it is open");
        let mut builder = BatchBuilder::new(BatchHeader::default());
        let value = vec![base_offset.0 as u8; bytes];
        builder.push(self.now.wall.0, None, Some(&value), &[]);
        let stamp = Stamp {
            base_offset,
            leader_epoch: LeaderEpoch(3),
            log_append_time: None,
        };
        let taken = self.store.append(self.now, log, &builder.finish(), stamp);
        taken.expect("it was admitted");
        base_offset
    }

    fn pump(&mut self) {
        let mut effects = Vec::new();
        self.store.drain(&mut effects);
        for effect in effects {
            match effect {
                StoreEffect::Op(id, op) => {
                    self.blocks_read += usize::from(matches!(op, DiskOp::Read { .. }));
                    let segment = |path: &Path| path.extension().is_some_and(|kind| kind == "log");
                    self.reused +=
                        usize::from(matches!(&op, DiskOp::Rename { from, .. } if segment(from)));
                    self.disk.submit(id, op);
                }
                StoreEffect::Durable { log, end } => {
                    self.durable.insert(log, end);
                }
                StoreEffect::ReadReady { ticket, read } => self.ready.push((ticket, read)),
                StoreEffect::StartMoved { log, log_start } => {
                    self.starts.insert(log, log_start);
                }
                StoreEffect::FindReady { ticket, found } => self.found.push((ticket, found)),
                StoreEffect::Look { ticket, look } => self.looks.push((ticket, look)),
                StoreEffect::Fatal { reason } => panic!("{reason}"),
            }
        }
    }

    fn work(&mut self, turns: usize) {
        for _ in 0..turns {
            self.now.tick.0 += 100_000;
            self.store.turn(self.now, &mut |_, _| None);
            self.pump();
            for _ in 0..self.rng.below(4) {
                if let Some(done) = self.disk.complete_any(&mut self.rng) {
                    self.done(done);
                }
            }
            self.store.check();
        }
    }

    fn done(&mut self, done: DiskDone) {
        self.store.done(self.now, done);
        self.pump();
    }

    fn stop(&mut self) {
        self.store.stop(self.now);
        for _ in 0..20_000 {
            self.work(1);
            if self.store.idle() {
                return;
            }
        }
        panic!("a store that stops comes to rest");
    }

    /// Reads a log from an offset to its end, in pieces.
    fn read_all(&mut self, log: LogNumber, from: Offset, max_bytes: usize) -> Vec<Offset> {
        let mut at = from;
        let mut bases = Vec::new();
        let end = self.store.log_end(log).expect("it is open");
        while at < end {
            let read = self.store.read(self.now, log, at, max_bytes, end, true);
            self.pump();
            let read = match read {
                Read::Wait(ticket) => self.wait(ticket),
                read => read,
            };
            let Read::Ready { data, end } = read else {
                panic!("{read:?} at {at}");
            };
            assert!(end > at, "a read goes on");
            bases.extend(bases_of(&data));
            at = end;
        }
        bases
    }

    fn wait(&mut self, ticket: ReadTicket) -> Read {
        for _ in 0..10_000 {
            self.work(1);
            if let Some(index) = self.ready.iter().position(|(other, _)| *other == ticket) {
                return self.ready.swap_remove(index).1;
            }
        }
        panic!("a read is answered");
    }
}

fn bases_of(data: &[Bytes]) -> Vec<Offset> {
    let whole = data.concat();
    let mut rest = &whole[..];
    let mut bases = Vec::new();
    while !rest.is_empty() {
        let head: BatchHead = crate::batch::check(rest).expect("whole, valid batches");
        bases.push(head.base_offset);
        rest = &rest[head.bytes..];
    }
    bases
}

fn small_segments() -> LogConfig {
    LogConfig {
        segment_bytes: 64 << 10,
        ..LogConfig::default()
    }
}

#[test]
fn small_and_large_appends_become_durable_and_are_read_back() {
    for seed in 0..20 {
        let mut rig = Rig::new(seed);
        let logs: Vec<LogNumber> = (1..=5)
            .map(|number| rig.open(number, small_segments()))
            .collect();
        for _ in 0..400 {
            let log = logs[rig.rng.index(logs.len())];
            let bytes = if rig.rng.percent(80) {
                rig.rng.range(1, 500)
            } else {
                rig.rng.range(500, 30_000)
            };
            rig.append(log, bytes as usize);
            let turns = rig.rng.below(3) as usize;
            rig.work(turns);
        }
        rig.stop();
        for log in logs {
            let end = rig.store.log_end(log).expect("it is open");
            assert_eq!(
                rig.durable.get(&log),
                Some(&end),
                "seed {seed}: {log:?} is durable to its end"
            );
            let bases = rig.read_all(log, Offset(0), 20_000);
            assert_eq!(bases, (0..end.0).map(Offset).collect::<Vec<_>>());
        }
    }
}

#[test]
fn the_first_append_of_an_idle_shard_needs_one_window() {
    let mut rig = Rig::new(1);
    let log = rig.open(1, LogConfig::default());
    while rig.disk.pending() > 0 {
        let done = rig.disk.complete(0);
        rig.done(done);
    }
    rig.pump();
    while rig.disk.pending() > 0 {
        let done = rig.disk.complete(0);
        rig.done(done);
    }
    rig.append(log, 100);
    rig.store.turn(rig.now, &mut |_, _| None);
    rig.pump();
    assert_eq!(
        rig.disk.pending(),
        1,
        "one write carries opening, epoch and batch"
    );
    let done = rig.disk.complete(0);
    rig.done(done);
    assert_eq!(rig.durable.get(&log), Some(&Offset(1)));
}

#[test]
fn a_truncation_into_evicted_bytes_finds_its_place_on_disk() {
    let mut rig = Rig::new(3);
    let log = rig.open(1, small_segments());
    for _ in 0..40 {
        rig.append(log, 9_000);
        rig.work(5);
    }
    rig.work(2000);
    rig.store.truncate(rig.now, log, Offset(4));
    rig.pump();
    while !rig.store.admits(log, 100) {
        rig.work(1);
    }
    assert_eq!(rig.store.log_end(log), Some(Offset(4)));
    rig.append(log, 100);
    rig.append(log, 100);
    rig.stop();
    assert_eq!(rig.durable.get(&log), Some(&Offset(6)));
    let bases = rig.read_all(log, Offset(0), 100_000);
    assert_eq!(bases, (0..6).map(Offset).collect::<Vec<_>>());
}

#[test]
fn a_segment_that_a_restart_knows_nothing_of_is_read_once() {
    let mut rig = Rig::with_cold_bytes(9, 1 << 20);
    let log = rig.open(1, LogConfig::default());
    for _ in 0..100 {
        rig.append(log, 60_000);
        rig.work(2);
    }
    rig.stop();
    // As after a restart behind a checkpoint: nothing of it is in memory, and none of its batches is indexed.
    let slot = rig.store.slot(log).expect("it is open");
    let layout = &mut rig.store.log_mut(slot).layout;
    let held = layout.active();
    let (base, bytes, newest) = (held.base, held.bytes, held.max_timestamp);
    layout.install(base, SegmentIndex::behind(bytes, newest));
    rig.store.cache.trim();
    let blocks = bytes.div_ceil(super::blocks::COLD_BYTES) as usize;

    let bases = rig.read_all(log, Offset(0), 200_000);
    assert_eq!(bases, (0..100).map(Offset).collect::<Vec<_>>());
    assert!(
        rig.blocks_read <= 2 * blocks,
        "{} reads of {blocks} blocks",
        rig.blocks_read
    );
    let before = rig.blocks_read;
    assert_eq!(rig.read_all(log, Offset(99), 200_000), [Offset(99)]);
    assert!(
        rig.blocks_read <= before + 2,
        "what was read once is indexed"
    );
}

#[test]
fn retention_by_size_removes_the_oldest_segments_below_the_high_watermark() {
    let mut rig = Rig::new(4);
    let config = LogConfig {
        retention_bytes: Some(100 << 10),
        ..small_segments()
    };
    let log = rig.open(1, config);
    for _ in 0..60 {
        rig.append(log, 9_000);
        rig.work(10);
    }
    assert_eq!(
        rig.starts.get(&log),
        None,
        "nothing goes above the high watermark"
    );
    let end = rig.store.log_end(log).expect("it is open");
    rig.store.set_high_watermark(log, end);
    rig.work(30_000);
    let start = rig.starts[&log];
    assert!(start > Offset(0) && rig.store.log_start(log) == Some(start));
    let bytes = rig.store.log_bytes(log).expect("it is open");
    assert!(bytes <= 300 << 10, "{bytes} bytes are left");
    let files = rig.disk.paths();
    let segments = files
        .iter()
        .filter(|path| path.extension().is_some_and(|kind| kind == "log"))
        .count();
    assert!(segments <= 5, "{segments} segments are left: {files:?}");
    assert!(matches!(
        rig.store.read(rig.now, log, Offset(0), 1, end, true),
        Read::OutOfRange
    ));
}

fn segments_of(rig: &Rig) -> usize {
    let files = rig.disk.paths();
    let segment = |path: &&std::path::PathBuf| path.extension().is_some_and(|kind| kind == "log");
    files.iter().filter(segment).count()
}

#[test]
fn a_quiet_log_lets_its_last_segment_go_and_takes_appends_in_the_next() {
    let mut rig = Rig::new(4);
    let config = LogConfig {
        retention_ms: Some(60_000),
        ..small_segments()
    };
    let log = rig.open(1, config);
    for _ in 0..20 {
        rig.append(log, 9_000);
        rig.work(10);
    }
    let end = rig.store.log_end(log).expect("it is open");
    rig.store.set_high_watermark(log, end);
    rig.work(3_000);
    rig.now.wall.0 += 61_000;
    rig.work(30_000);
    assert_eq!(rig.starts.get(&log), Some(&end));
    assert_eq!(segments_of(&rig), 0);
    assert_eq!(rig.store.log_bytes(log), Some(0));
    for _ in 0..20 {
        rig.append(log, 9_000);
        rig.work(10);
    }
    rig.work(1_000);
    assert_eq!(
        rig.durable[&log],
        rig.store.log_end(log).expect("it is open")
    );
    assert_eq!(rig.read_all(log, end, 30_000).len(), 20);
    rig.stop();
}

#[test]
fn segments_below_a_log_start_that_was_asked_for_go_in_a_quiet_log() {
    let mut rig = Rig::new(4);
    let log = rig.open(1, small_segments());
    for _ in 0..20 {
        rig.append(log, 9_000);
        rig.work(10);
    }
    let end = rig.store.log_end(log).expect("it is open");
    rig.store.set_high_watermark(log, end);
    rig.store.set_log_start(rig.now, log, end);
    rig.work(30_000);
    assert_eq!(segments_of(&rig), 0);
}

#[test]
fn an_idle_shard_flushes_and_gives_its_memory_back() {
    let mut rig = Rig::new(6);
    let log = rig.open(1, LogConfig::default());
    rig.append(log, 300);
    rig.work(100);
    assert!(rig.store.cache.unflushed_bytes() > 0);
    for _ in 0..5 {
        rig.now.tick.0 += 6_000_000_000;
        rig.work(100);
    }
    assert_eq!(rig.store.cache.unflushed_bytes(), 0);
    assert_eq!(rig.store.cache.clean_bytes(), 0);
    assert_eq!(rig.store.rest.deadline(), None);
    assert_eq!(rig.read_all(log, Offset(0), 1000), [Offset(0)]);
}

#[test]
fn a_dropped_log_leaves_no_file() {
    let mut rig = Rig::new(5);
    let log = rig.open(1, small_segments());
    for _ in 0..20 {
        rig.append(log, 20_000);
        rig.work(5);
    }
    rig.store.drop_log(rig.now, log);
    rig.pump();
    rig.work(2000);
    assert_eq!(rig.store.log_end(log), None);
    let files = rig.disk.paths();
    assert!(
        files.iter().all(|path| path.extension().is_none()),
        "{files:?}"
    );
}

#[test]
fn a_large_segment_goes_piece_by_piece_while_its_log_goes_on() {
    const PIECE: u64 = 8 << 10;
    let mut rig = Rig::new(8);
    rig.store.discards = discards::Discards::new(PIECE, rig.now.tick);
    let log = rig.open(1, small_segments());
    for _ in 0..7 {
        rig.append(log, 9_000);
        rig.work(10);
    }
    let (first, next) = (Offset(0), rig.store.log_end(log).expect("it is open"));
    let slot = rig.store.slot(log).expect("it is open");
    let path = rig.store.log(slot).segment_path(first);
    rig.append(log, 9_000);
    rig.work(1_000);
    // Segments are to be larger from now on: this one is not used again.
    let larger = LogConfig {
        segment_bytes: 1 << 20,
        ..small_segments()
    };
    rig.store.configure(log, larger);
    rig.store.set_high_watermark(log, next);
    rig.store.set_log_start(rig.now, log, next);
    let mut lengths = Vec::new();
    for _ in 0..5_000 {
        rig.append(log, 100);
        rig.work(1);
        let length = rig.disk.length(&path).expect("it can be asked");
        if length != lengths.last().copied().flatten() || lengths.is_empty() {
            lengths.push(length);
        }
    }
    assert_eq!(lengths.pop(), Some(None), "it is gone");
    let reserved = lengths.into_iter().flatten().filter(|length| *length > 0);
    let lengths: Vec<u64> = reserved.collect();
    assert!(lengths.len() >= 7, "{lengths:?}");
    let steps = lengths.windows(2).map(|pair| pair[0] - pair[1]);
    assert!(steps.max() <= Some(PIECE), "{lengths:?}");
    rig.stop();
    assert_eq!(rig.durable.get(&log), rig.store.log_end(log).as_ref());
}

/// Drops a log that has grown to some segments.
fn drop_grown(rig: &mut Rig, number: u64) {
    let log = rig.open(number, small_segments());
    for _ in 0..20 {
        rig.append(log, 20_000);
        rig.work(5);
    }
    rig.work(500);
    rig.store.drop_log(rig.now, log);
    rig.pump();
}

#[test]
fn a_dropped_logs_directory_goes_behind_its_large_segments_and_at_once_when_space_is_short() {
    for hurried in [false, true] {
        let mut rig = Rig::new(5);
        rig.store.discards = discards::Discards::new(1 << 10, rig.now.tick);
        drop_grown(&mut rig, 1);
        rig.work(100);
        if hurried {
            rig.store.discards.hurry();
        }
        rig.work(400);
        let left = segments_of(&rig);
        assert_eq!(left == 0, hurried, "{left} segments are left after 40 ms");
        rig.work(40_000);
        let files = rig.disk.paths();
        let named = |path: &std::path::PathBuf| path.extension().is_some();
        assert!(!files.iter().any(named), "{files:?}");
        assert!(
            rig.store.logs.iter().flatten().next().is_none(),
            "it is forgotten"
        );
        // What goes later is in no hurry.
        drop_grown(&mut rig, 2);
        rig.work(500);
        assert!(segments_of(&rig) > 0);
    }
}

#[test]
fn a_file_that_could_not_be_opened_is_opened_by_the_next_who_needs_it() {
    let mut rig = Rig::new(21);
    let log = rig.open(1, small_segments());
    for _ in 0..12 {
        rig.append(log, 30_000);
        rig.work(5);
    }
    rig.stop();
    rig.store.cache.trim();
    // Its file is among the longest unused, which are closed.
    rig.read_all(log, Offset(4), 100_000);
    let end = rig.store.log_end(log).expect("it is open");
    rig.disk.inject(Fault {
        kind: OpKind::Open,
        after: 0,
        errno: libc::EMFILE,
    });
    let read = rig.store.read(rig.now, log, Offset(0), 1_000, end, true);
    rig.pump();
    let Read::Wait(ticket) = read else {
        panic!("{read:?}: its file is closed");
    };
    let read = rig.wait(ticket);
    assert!(
        rig.disk.has_failed() && !matches!(read, Read::Ready { .. }),
        "{read:?}"
    );
    let bases = rig.read_all(log, Offset(0), 100_000);
    assert_eq!(bases, (0..12).map(Offset).collect::<Vec<_>>());
}
