//! Recovery of journals, checkpoints and segments that are written byte by byte.

mod damage;

use super::{RecoveredNode, RecoveryConfig, Severity, recover};
use crate::batch::{BatchBuilder, BatchHead, BatchHeader};
use crate::disk::{BLOCK_BYTES, BlockingDisk};
use crate::format::{
    Append, Entry, EpochStart, Image, LogPath, NODE_META, NodeMeta, Open, Place, SegmentFile,
    WindowBuilder, WindowHeader, journal_path, log_dir, segment_file,
};
use crate::ids::{
    DirectoryId, LeaderEpoch, LogNumber, MetadataIndex, NodeId, Offset, PartitionIndex, ShardIndex,
    TopicId,
};
use crate::sim::{SimDisk, SimRng};
use bytes::Bytes;
use std::path::{Path, PathBuf};

const NODE: NodeId = NodeId(7);
const LOG: LogNumber = LogNumber(1);
const TOPIC: TopicId = TopicId(0xabc);

fn config(shards: u16) -> RecoveryConfig {
    RecoveryConfig {
        shards,
        journal_file_bytes: 256 << 10,
        journal_files_min: 2,
    }
}

fn blank() -> NodeMeta {
    NodeMeta {
        cluster_id: "test".into(),
        node: NODE,
        layout: 0,
        shards: 1,
        directories: vec![DirectoryId(1)],
    }
}

fn meta_of(disk: &SimDisk) -> NodeMeta {
    match disk.contents(Path::new(NODE_META)) {
        Some(bytes) => NodeMeta::decode(&bytes).expect("node.meta is whole"),
        None => blank(),
    }
}

fn recovered(disk: &SimDisk, shards: u16) -> RecoveredNode {
    recover(disk, &config(shards), meta_of(disk)).expect("it recovers")
}

/// A batch of `count` records.
fn batch(base: i64, count: usize, epoch: i32) -> Bytes {
    let mut builder = BatchBuilder::new(BatchHeader {
        base_offset: Offset(base),
        leader_epoch: LeaderEpoch(epoch),
        ..BatchHeader::default()
    });
    for index in 0..count {
        builder.push(1000 + index as i64, None, Some(&[base as u8; 100]), &[]);
    }
    builder.finish()
}

fn append(position: u64, previous: (i64, i32), batch: &Bytes) -> Entry {
    let head = BatchHead::parse(batch).expect("a batch");
    Entry::Append(Append {
        log: LOG,
        segment: Offset(0),
        position,
        previous_end: Offset(previous.0),
        previous_epoch: LeaderEpoch(previous.1),
        base: head.base_offset,
        end: head.end_offset(),
        epoch: head.leader_epoch,
        bytes: batch.len() as u32,
    })
}

fn open(log: LogNumber, replaces: Option<LogNumber>) -> Entry {
    Entry::Open(Open {
        log,
        topic: TOPIC,
        partition: PartitionIndex(0),
        metadata_index: MetadataIndex(5),
        start: Place::at_start(Offset(0)),
        log_start: Offset(0),
        epochs: Vec::new(),
        replaces,
    })
}

fn epoch(number: i32, start: i64) -> Entry {
    Entry::Epoch {
        log: LOG,
        epoch: EpochStart {
            epoch: LeaderEpoch(number),
            start: Offset(start),
        },
    }
}

fn place(position: u64, offset: i64, epoch: i32) -> Place {
    Place {
        segment: Offset(0),
        position,
        offset: Offset(offset),
        epoch: LeaderEpoch(epoch),
    }
}

fn segment_path() -> PathBuf {
    log_dir(&LogPath {
        home: ShardIndex(0),
        topic: TOPIC,
        partition: PartitionIndex(0),
        log: LOG,
    })
    .join(segment_file(Offset(0), SegmentFile::Log))
}

/// A disk with a recovered node, and where its journal goes on.
struct Bench {
    disk: SimDisk,
    run: u64,
    file: u32,
    position: u64,
    sequence: u64,
    crc: u32,
    known_synced: Option<u64>,
}

impl Bench {
    fn new() -> Bench {
        let disk = SimDisk::new();
        let node = recovered(&disk, 1);
        Bench::after(disk, &node)
    }

    fn after(disk: SimDisk, node: &RecoveredNode) -> Bench {
        let journal = &node.shards[0].journal;
        Bench {
            disk,
            run: node.shards[0].run,
            file: journal.last.file,
            position: journal.position,
            sequence: journal.last.sequence + 1,
            crc: journal.last_crc,
            known_synced: None,
        }
    }

    /// Writes a window, durably; gives where.
    fn window(&mut self, entries: &[(Entry, Bytes)]) -> u64 {
        let mut buffer = vec![0; 32 << 10];
        let mut builder = WindowBuilder::new(&mut buffer);
        for (entry, payload) in entries {
            builder.push_with(entry, [&payload[..]]);
        }
        let sealed = builder.finish(&WindowHeader {
            node: NODE,
            shard: ShardIndex(0),
            run: self.run,
            sequence: self.sequence,
            known_synced: self.known_synced.unwrap_or(self.sequence - 1),
            checkpoint: 1,
            previous_crc: self.crc,
        });
        let at = self.position;
        self.disk
            .write(&self.path(), at, &buffer[..sealed.bytes])
            .expect("written");
        self.position += sealed.bytes as u64;
        self.sequence += 1;
        self.crc = sealed.crc;
        at
    }

    fn control(&mut self, entries: impl IntoIterator<Item = Entry>) -> u64 {
        let entries: Vec<_> = entries
            .into_iter()
            .map(|entry| (entry, Bytes::new()))
            .collect();
        self.window(&entries)
    }

    fn path(&self) -> PathBuf {
        journal_path(ShardIndex(0), self.file)
    }

    fn segment(&mut self, position: u64, bytes: &[u8]) {
        let path = segment_path();
        self.disk
            .make_dirs(path.parent().expect("it has one"))
            .expect("made");
        self.disk.write(&path, position, bytes).expect("written");
    }

    fn recover(&self) -> RecoveredNode {
        let node = recovered(&self.disk, 1);
        let again = recovered(&self.disk, 1);
        assert_eq!(summary(&node), summary(&again), "recovery is idempotent");
        node
    }
}

type Summary = Vec<(u64, i64, i64, Vec<EpochStart>, usize, usize)>;

fn summary(node: &RecoveredNode) -> Summary {
    let logs = node.shards.iter().flat_map(|shard| &shard.logs);
    logs.map(|log| {
        let heads = log.heads.len();
        let (start, end) = (log.log_start.0, log.end.offset.0);
        (
            log.log.0,
            start,
            end,
            log.epochs.clone(),
            log.damage.len(),
            heads,
        )
    })
    .collect()
}

fn damage(node: &RecoveredNode) -> Vec<String> {
    let findings = node.report.findings.iter();
    let damage = findings.filter(|finding| finding.severity == Severity::Damage);
    damage.map(ToString::to_string).collect()
}

#[test]
fn a_blank_directory_becomes_a_node() {
    let disk = SimDisk::new();
    let node = recovered(&disk, 3);
    assert_eq!(node.shards.len(), 3);
    assert_eq!(node.meta.layout, 1);
    assert_eq!(meta_of(&disk), node.meta);
    assert!(node.report.findings.is_empty(), "{:?}", node.report);
    let journal = &node.shards[2].journal;
    assert_eq!(journal.last.sequence, 2);
    assert_eq!(journal.in_use.len(), 1);
    assert_eq!(journal.free, [1]);
    let again = recovered(&disk, 3);
    assert_eq!(again.shards[2].journal.last.sequence, 3);
    assert_eq!(again.shards[2].run, 2);
}

#[test]
fn journaled_batches_are_the_end_of_a_log_and_unflushed() {
    let mut bench = Bench::new();
    let (a, b) = (batch(0, 3, 2), batch(3, 2, 2));
    bench.window(&[
        (open(LOG, None), Bytes::new()),
        (epoch(2, 0), Bytes::new()),
        (append(0, (0, -1), &a), a.clone()),
    ]);
    bench.window(&[(append(a.len() as u64, (3, 2), &b), b.clone())]);
    let node = bench.recover();
    let log = &node.shards[0].logs[0];
    assert_eq!(log.end, place((a.len() + b.len()) as u64, 5, 2));
    assert_eq!(log.synced_end, Place::at_start(Offset(0)));
    assert_eq!(log.unflushed.len(), 2);
    assert_eq!(log.unflushed[1].bytes, b);
    assert_eq!(log.heads.len(), 2);
    assert_eq!(damage(&node), Vec::<String>::new());
    assert_eq!(node.next_log, LogNumber(2));
}

#[test]
fn an_extent_whose_mark_is_missing_is_walked() {
    let mut bench = Bench::new();
    let (a, b) = (batch(0, 3, 2), batch(3, 2, 2));
    bench.control([open(LOG, None), epoch(2, 0)]);
    let both = [&a[..], &b[..]].concat();
    bench.segment(0, &both);
    let node = bench.recover();
    let log = &node.shards[0].logs[0];
    assert_eq!(log.end, place(both.len() as u64, 5, 2));
    assert_eq!(log.synced_end, log.end);
    assert_eq!(log.segments.len(), 1);
    assert_eq!(log.segments[0].bytes, both.len() as u64);
    assert_eq!(log.tail, both);
}

/// The image of the block that bytes of the segment end in.
fn image_of_end(bytes: &[u8]) -> (Entry, Bytes) {
    let block = bytes.len() - bytes.len() % BLOCK_BYTES;
    let image = Image {
        log: LOG,
        segment: Offset(0),
        position: block as u64,
        bytes: (bytes.len() - block) as u32,
    };
    (Entry::Image(image), Bytes::copy_from_slice(&bytes[block..]))
}

#[test]
fn the_last_block_of_an_extent_without_a_mark_is_brought_back() {
    let mut bench = Bench::new();
    let (a, b) = (batch(0, 60, 2), batch(60, 2, 2));
    let both = [&a[..], &b[..]].concat();
    bench.window(&[
        (open(LOG, None), Bytes::new()),
        (epoch(2, 0), Bytes::new()),
        image_of_end(&both),
    ]);
    // The next extent was writing it again.
    let block = both.len() - both.len() % BLOCK_BYTES;
    bench.segment(0, &both[..block]);
    bench.segment(block as u64, &[0xee; BLOCK_BYTES]);
    let node = bench.recover();
    assert_eq!(node.shards[0].logs[0].end, place(both.len() as u64, 62, 2));
    assert_eq!(damage(&node), Vec::<String>::new());
}

#[test]
fn an_image_of_an_extent_that_was_lost_is_not_written_over_what_comes_in_its_place() {
    let first = batch(0, 3, 2);
    let lost = [&first[..], &batch(3, 62, 2)[..]].concat();
    let new = [&first[..], &batch(3, 30, 3)[..], &batch(33, 30, 3)[..]].concat();
    let block = lost.len() - lost.len() % BLOCK_BYTES;
    assert!(block < new.len() && new.len() < lost.len());
    let mut bench = Bench::new();
    let begin = place(first.len() as u64, 3, 2);
    bench.control([open(LOG, None), epoch(2, 0)]);
    bench.window(&[
        (
            Entry::Mark {
                log: LOG,
                place: begin,
            },
            Bytes::new(),
        ),
        image_of_end(&lost),
    ]);
    bench.segment(0, &[0; 64 << 10]);
    bench.segment(0, &first);
    let node = bench.recover();
    assert_eq!(node.shards[0].logs[0].end, begin);
    for marked in [false, true] {
        let node = recovered(&bench.disk, 1);
        bench = Bench::after(bench.disk, &node);
        let end = place(new.len() as u64, 63, 3);
        match marked {
            false => _ = bench.control([epoch(3, 3)]),
            true => {
                _ = bench.control([Entry::Mark {
                    log: LOG,
                    place: end,
                }])
            }
        }
        bench.segment(0, &new);
        let node = bench.recover();
        assert_eq!(node.shards[0].logs[0].end, end, "marked: {marked}");
        let held = bench.disk.contents(&segment_path()).expect("it is there");
        assert_eq!(held[..new.len()], new, "marked: {marked}");
    }
}

#[test]
fn stale_bytes_of_another_epoch_are_not_walked() {
    let mut bench = Bench::new();
    let (a, stale) = (batch(0, 3, 2), batch(3, 2, 1));
    bench.window(&[
        (open(LOG, None), Bytes::new()),
        (epoch(2, 0), Bytes::new()),
        (append(0, (0, -1), &a), a.clone()),
    ]);
    bench.segment(0, &[&a[..], &stale[..]].concat());
    let node = bench.recover();
    let log = &node.shards[0].logs[0];
    assert_eq!(log.end, place(a.len() as u64, 3, 2));
    assert_eq!(log.synced_end, log.end);
}

#[test]
fn what_was_cut_away_does_not_come_back_before_an_epoch_is_announced() {
    let mut bench = Bench::new();
    let (a, b) = (batch(0, 3, 2), batch(3, 2, 2));
    let both = [&a[..], &b[..]].concat();
    bench.control([open(LOG, None), epoch(2, 0)]);
    bench.segment(0, &both);
    bench.control([Entry::Mark {
        log: LOG,
        place: place(both.len() as u64, 5, 2),
    }]);
    let cut = place(a.len() as u64, 3, 2);
    bench.control([Entry::Truncate {
        log: LOG,
        place: cut,
    }]);
    let node = bench.recover();
    assert_eq!(node.shards[0].logs[0].end, cut);
    let mut bench = Bench::after(bench.disk, &node);
    bench.control([epoch(2, 3)]);
    let node = recovered(&bench.disk, 1);
    assert_eq!(node.shards[0].logs[0].end.offset, Offset(5));
}

#[test]
fn a_torn_last_window_ends_the_chain_without_damage() {
    let mut bench = Bench::new();
    let a = batch(0, 30, 2);
    bench.control([open(LOG, None), epoch(2, 0)]);
    let at = bench.window(&[(append(0, (0, -1), &a), a.clone())]);
    bench
        .disk
        .write(&bench.path(), at + 600, &[0xff; 100])
        .expect("written");
    let node = bench.recover();
    assert_eq!(node.shards[0].logs[0].end.offset, Offset(0));
    assert_eq!(damage(&node), Vec::<String>::new());
}

#[test]
fn a_rotten_window_that_a_later_one_vouches_for_is_damage() {
    let mut bench = Bench::new();
    let (a, b, c) = (batch(0, 3, 2), batch(3, 2, 2), batch(5, 1, 2));
    bench.window(&[
        (open(LOG, None), Bytes::new()),
        (epoch(2, 0), Bytes::new()),
        (append(0, (0, -1), &a), a.clone()),
    ]);
    let at = bench.window(&[(append(a.len() as u64, (3, 2), &b), b.clone())]);
    let position = (a.len() + b.len()) as u64;
    bench.window(&[(append(position, (5, 2), &c), c.clone())]);
    bench
        .disk
        .write(&bench.path(), at + 100, &[0xff; 100])
        .expect("written");
    let node = bench.recover();
    let log = &node.shards[0].logs[0];
    assert_eq!(log.end.offset, Offset(6));
    assert!(log.suspect);
    assert_eq!(log.damage.len(), 1);
    assert_eq!(
        (log.damage[0].from.offset, log.damage[0].to.offset),
        (Offset(3), Offset(5))
    );
    assert!(!damage(&node).is_empty());
    assert!(log.unflushed.is_empty());
}

#[test]
fn a_rotten_window_whose_bytes_are_in_the_segment_loses_nothing() {
    let mut bench = Bench::new();
    let (a, b, c) = (batch(0, 3, 2), batch(3, 2, 2), batch(5, 1, 2));
    bench.window(&[
        (open(LOG, None), Bytes::new()),
        (epoch(2, 0), Bytes::new()),
        (append(0, (0, -1), &a), a.clone()),
    ]);
    let at = bench.window(&[(append(a.len() as u64, (3, 2), &b), b.clone())]);
    let position = (a.len() + b.len()) as u64;
    bench.window(&[(append(position, (5, 2), &c), c.clone())]);
    bench.segment(0, &[&a[..], &b[..]].concat());
    bench
        .disk
        .write(&bench.path(), at + 100, &[0xff; 100])
        .expect("written");
    let node = bench.recover();
    let log = &node.shards[0].logs[0];
    assert_eq!(log.end.offset, Offset(6));
    assert!(log.damage.is_empty());
}

#[test]
fn a_replaced_log_is_dropped() {
    let mut bench = Bench::new();
    let a = batch(0, 3, 2);
    bench.window(&[
        (open(LOG, None), Bytes::new()),
        (epoch(2, 0), Bytes::new()),
        (append(0, (0, -1), &a), a.clone()),
    ]);
    bench.segment(0, &a);
    bench.control([open(LogNumber(9), Some(LOG))]);
    let node = bench.recover();
    assert_eq!(node.shards[0].logs.len(), 1);
    assert_eq!(node.shards[0].logs[0].log, LogNumber(9));
    assert_eq!(node.shards[0].dropped.len(), 1);
    assert_eq!(node.next_log, LogNumber(10));
}

#[test]
fn another_number_of_shards_keeps_every_log() {
    let mut bench = Bench::new();
    let (a, b) = (batch(0, 3, 2), batch(3, 2, 2));
    bench.window(&[
        (open(LOG, None), Bytes::new()),
        (epoch(2, 0), Bytes::new()),
        (append(0, (0, -1), &a), a.clone()),
        (open(LogNumber(2), None), Bytes::new()),
    ]);
    bench.window(&[(append(a.len() as u64, (3, 2), &b), b.clone())]);
    for shards in [3, 2, 5, 1] {
        let node = recovered(&bench.disk, shards);
        assert_eq!(node.shards.len(), usize::from(shards));
        assert_eq!(meta_of(&bench.disk).shards, shards);
        let mut logs: Vec<_> = node.shards.iter().flat_map(|shard| &shard.logs).collect();
        logs.sort_by_key(|log| log.log);
        assert_eq!(logs.len(), 2);
        assert_eq!(logs[0].end, place((a.len() + b.len()) as u64, 5, 2));
        assert_eq!(logs[0].synced_end, logs[0].end);
        assert_eq!(logs[0].heads.len(), 2);
        assert_eq!(damage(&node), Vec::<String>::new());
    }
}

#[test]
fn what_is_stale_in_front_of_a_roll_is_no_damage_in_another_layout() {
    let mut bench = Bench::new();
    let (a, b, stale) = (batch(0, 3, 2), batch(3, 2, 2), batch(3, 1, 1));
    let Entry::Append(rolled) = append(0, (3, 2), &b) else {
        unreachable!("it is an append");
    };
    let rolled = Entry::Append(Append {
        segment: Offset(3),
        ..rolled
    });
    bench.segment(0, &a);
    bench.segment(a.len() as u64, &stale);
    bench.segment(8192, &stale);
    // A file that was made ready before a truncation.
    let ready = segment_path().with_file_name(segment_file(Offset(1), SegmentFile::Log));
    bench.disk.write(&ready, 0, &[0; 4096]).expect("written");
    bench.window(&[
        (open(LOG, None), Bytes::new()),
        (epoch(2, 0), Bytes::new()),
        (append(0, (0, -1), &a), a.clone()),
        (rolled, b.clone()),
    ]);
    let node = recovered(&bench.disk, 2);
    assert_eq!(damage(&node), Vec::<String>::new());
    let mut logs = node.shards.iter().flat_map(|shard| &shard.logs);
    let log = logs.next().expect("it is there");
    assert_eq!((log.end.offset, log.heads.len()), (Offset(5), 2));
}

#[test]
fn recovery_that_dies_anywhere_recovers_the_same() {
    let mut bench = Bench::new();
    let (a, b, c) = (batch(0, 3, 2), batch(3, 2, 2), batch(5, 1, 2));
    bench.window(&[
        (open(LOG, None), Bytes::new()),
        (epoch(2, 0), Bytes::new()),
        (append(0, (0, -1), &a), a.clone()),
    ]);
    bench.window(&[(append(a.len() as u64, (3, 2), &b), b.clone())]);
    bench.segment(0, &[&a[..], &b[..], &c[..]].concat());
    bench.disk.sync_fs().expect("synced");
    for shards in [1, 3] {
        let expected = summary(&recovered(&bench.disk.clone(), shards));
        for calls in 0.. {
            let mut disk = bench.disk.clone();
            disk.limit_blocking_calls(Some(calls));
            let died = recover(&disk, &config(shards), meta_of(&disk)).is_err();
            disk.limit_blocking_calls(None);
            if calls % 2 == 0 {
                disk.power_cut(&mut SimRng::new(calls));
            }
            assert_eq!(
                summary(&recovered(&disk, shards)),
                expected,
                "{shards} {calls}"
            );
            if !died {
                break;
            }
        }
    }
}
