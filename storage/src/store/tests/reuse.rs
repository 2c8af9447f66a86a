//! Segments that become the next ones of their logs.

use super::*;
use crate::batch::HEADER_BYTES;
use crate::commit::LogSlot;
use crate::format::NodeMeta;
use crate::ids::DirectoryId;
use crate::recovery::{RecoveryConfig, recover};
use std::path::Path;

fn grow(rig: &mut Rig, log: LogNumber, segments: usize) {
    grow_by(rig, log, segments, 5_000);
}

/// Appends to a log until so many segments went by, of which the newest two stay.
fn grow_by(rig: &mut Rig, log: LogNumber, segments: usize, bytes: usize) {
    let mut last = Vec::new();
    let slot = rig.store.slot(log).expect("it is open");
    while last.len() < segments {
        rig.append(log, bytes);
        rig.work(20);
        let base = rig.store.log(slot).layout.active().base;
        if last.last() != Some(&base) {
            last.push(base);
        }
        let end = rig.store.durable(log).expect("it is open");
        rig.store.set_high_watermark(log, end);
        if let [.., start, _] = last[..] {
            rig.store.set_log_start(rig.now, log, start.min(end));
            // A round of retention has what stays behind flushed.
            rig.store.retention_at = rig.now.tick;
            rig.pump();
        }
    }
}

fn rig(seed: u64) -> (Rig, LogNumber) {
    let mut rig = Rig::new(seed);
    rig.store.discards = discards::Discards::new(8 << 10, rig.now.tick);
    let log = rig.open(1, small_segments());
    (rig, log)
}

/// The length of the file that waits to be a segment.
fn successor(rig: &Rig) -> Option<u64> {
    let named = |path: &std::path::PathBuf| path.ends_with("successor.new");
    let path = rig.disk.paths().into_iter().find(named)?;
    rig.disk.length(&path).expect("it can be asked")
}

#[test]
fn a_log_that_grows_writes_over_its_former_segments_and_reads_what_it_wrote() {
    let mut reused = 0;
    for seed in 0..30 {
        let (mut rig, log) = rig(seed);
        grow(&mut rig, log, 12);
        reused += rig.reused;
        rig.work(40_000);
        let slot = rig.store.slot(log).expect("it is open");
        let known = rig.store.log(slot).layout.segments().len();
        assert!(segments_of(&rig) <= known, "no other file is left");
        let start = rig.store.log_start(log).expect("it is open");
        let end = rig.store.log_end(log).expect("it is open");
        let all: Vec<Offset> = (start.0..end.0).map(Offset).collect();
        assert_eq!(rig.read_all(log, start, 100_000), all);
        rig.stop();
        rig.store.cache.trim();
        assert_eq!(rig.read_all(log, start, 100_000), all, "from disk");
    }
    // Where retention comes late, a new file is ready already.
    assert!(reused >= 100, "{reused} of 360 segments are used again");
}

#[test]
fn what_waits_to_be_used_again_goes_when_its_log_does_not_grow_or_goes_and_when_space_is_short() {
    for reason in 0..3 {
        let (mut rig, log) = rig(reason);
        grow(&mut rig, log, 6);
        while rig.store.reused == 0 {
            grow(&mut rig, log, 2);
            rig.work(8_000);
        }
        let mut first = vec![1; 4096];
        let path = rig.store.log(rig.store.slot(log).expect("it is open"));
        let read = rig.disk.read(&path.successor_path(), 0, &mut first);
        assert_eq!(read.expect("it can be read"), 4096);
        assert!(
            first.iter().all(|byte| *byte == 0),
            "a segment has no former batch"
        );
        let end = rig.store.log_end(log).expect("it is open");
        match reason {
            0 => rig.now.wall.0 += 599_000,
            1 => rig.store.drop_log(rig.now, log),
            _ => rig.store.release_all(),
        }
        rig.pump();
        for _ in 0..400 {
            if rig.store.reused > 0 {
                rig.work(1);
            }
        }
        if reason == 0 {
            assert_eq!(rig.store.reused, 1, "the log may grow again");
            rig.now.wall.0 += 2_000;
            rig.work(40_000);
        }
        if reason == 1 {
            rig.work(40_000);
        }
        assert_eq!(rig.store.reused, 0, "reason {reason}");
        if reason == 1 {
            assert_eq!((segments_of(&rig), successor(&rig)), (0, None));
            continue;
        }
        assert_eq!(rig.store.log_end(log), Some(end));
        grow(&mut rig, log, 4);
        let start = rig.store.log_start(log).expect("it is open");
        let end = rig.store.log_end(log).expect("it is open");
        let all: Vec<Offset> = (start.0..end.0).map(Offset).collect();
        assert_eq!(rig.read_all(log, start, 100_000), all);
    }
}

#[test]
fn behind_the_end_of_a_segment_lie_zeros_whatever_the_file_held_before() {
    let mut told = 0;
    for seed in 0..6 {
        let mut rig = Rig::new(seed);
        rig.store.discards = discards::Discards::new(8 << 10, rig.now.tick);
        let config = LogConfig {
            segment_bytes: 1 << 20,
            ..LogConfig::default()
        };
        let log = rig.open(1, config);
        rig.append(log, 60_000);
        let frame = rig.store.log_bytes(log).expect("it is open") as usize - 60_000;
        // Full to the last block; then 60 bytes before the end of the last but one, in files that held batches behind it.
        grow_by(&mut rig, log, 6, 65_535 - frame);
        grow_by(&mut rig, log, 3, 69_628 - frame);
        rig.stop();
        let log = rig.store.log(rig.store.slot(log).expect("it is open"));
        for segment in log.layout.segments().filter(|held| !held.is_empty()) {
            let path = log.segment_path(segment.base);
            let mut behind = vec![1; HEADER_BYTES];
            let read = rig.disk.read(&path, segment.bytes, &mut behind);
            let read = read.expect("it can be read");
            assert!(behind[..read].iter().all(|byte| *byte == 0), "{path:?}");
            let stale = log.files[&segment.base].stale;
            told += usize::from(segment.bytes == 15 * 69_628 && stale == 1 << 20);
        }
    }
    assert!(told > 0, "a segment ends so in a file that held more");
}

/// Appends until a segment is to be used again; it waits behind a task that does not end, and its path is returned.
fn wait_for_reuse(rig: &mut Rig, log: LogNumber) -> (LogSlot, std::path::PathBuf) {
    let slot = rig.store.slot(log).expect("it is open");
    for _ in 0..200 {
        for _ in 0..20 {
            rig.append(log, 5_000);
            rig.work(20);
        }
        rig.work(2_000);
        rig.store.release_all();
        rig.work(2_000);
        let state = rig.store.log_mut(slot);
        if state.busy || state.successor.is_some() {
            continue;
        }
        state.busy = true;
        let (end, next) = (state.end.offset, state.layout.active().base);
        rig.store.set_high_watermark(log, end);
        rig.store.set_log_start(rig.now, log, next.min(end));
        rig.pump();
        rig.work(2_000);
        let tasks = &rig.store.log(slot).tasks;
        let waits = tasks.iter().find_map(|task| match task {
            log_state::Task::Reuse(segment) => Some(*segment),
            _ => None,
        });
        if let Some(segment) = waits {
            assert_eq!((rig.store.reuses_wait, rig.store.reused), (1, 0));
            return (slot, rig.store.log(slot).segment_path(segment));
        }
        resume(rig, slot);
        rig.work(20_000);
    }
    panic!("no segment is to be used again");
}

fn resume(rig: &mut Rig, slot: LogSlot) {
    rig.store.log_mut(slot).busy = false;
    rig.store.next_task(slot);
    rig.pump();
}

/// The lengths a file has until it is gone.
fn lengths_until_gone(rig: &mut Rig, path: &Path) -> Vec<u64> {
    let mut lengths = Vec::new();
    for _ in 0..60_000 {
        match rig.disk.length(path).expect("it can be asked") {
            None => return lengths,
            Some(length) if lengths.last() != Some(&length) => lengths.push(length),
            Some(_) => {}
        }
        rig.work(1);
    }
    panic!("{path:?} stays, of {lengths:?}");
}

#[test]
fn a_segment_that_waits_to_be_used_again_goes_when_space_is_short() {
    let (mut rig, log) = rig(3);
    let (slot, path) = wait_for_reuse(&mut rig, log);
    rig.store.release_all();
    resume(&mut rig, slot);
    // Had it got another name, it would have gone as it was.
    assert!(lengths_until_gone(&mut rig, &path).len() > 1);
    rig.work(20_000);
    assert_eq!(rig.store.reuses_wait, 0);
}

#[test]
fn a_segment_that_cannot_be_opened_to_be_used_again_goes_piece_by_piece() {
    let (mut rig, log) = rig(4);
    let (slot, path) = wait_for_reuse(&mut rig, log);
    let too_many = || Fault {
        kind: OpKind::Open,
        after: 0,
        errno: libc::EMFILE,
    };
    rig.disk.inject(too_many());
    resume(&mut rig, slot);
    for _ in 0..2_000 {
        if rig.store.log(slot).discards == 0 {
            rig.work(1);
        }
    }
    assert_eq!(rig.store.reused, 0);
    assert_eq!(successor(&rig), None, "it has its former name");
    // It cannot be opened to be shortened either; later it can.
    let whole = rig.disk.length(&path).expect("it can be asked");
    rig.disk.inject(too_many());
    let lengths = lengths_until_gone(&mut rig, &path);
    assert_eq!(lengths.first().copied(), whole);
    assert!(lengths.len() > 2, "{lengths:?}");
    grow(&mut rig, log, 4);
}

#[test]
fn a_file_that_waits_to_be_a_segment_is_closed() {
    let (mut rig, log) = rig(5);
    let slot = rig.store.slot(log).expect("it is open");
    let mut waited = 0;
    for _ in 0..30 {
        grow(&mut rig, log, 2);
        rig.work(2_000);
        let state = rig.store.log(slot);
        if let Some(waiting) = state.successor.filter(|_| !state.busy) {
            assert_eq!(waiting.open, None);
            waited += 1;
        }
    }
    assert!(waited > 0);
}

#[test]
fn a_restart_lets_what_waits_to_be_used_again_go_piece_by_piece() {
    let (mut rig, log) = rig(6);
    grow(&mut rig, log, 6);
    while rig.store.reused == 0 {
        grow(&mut rig, log, 2);
        rig.work(8_000);
    }
    rig.stop();
    assert!(successor(&rig).is_some_and(|length| length > 16 << 10));
    let end = rig.store.log_end(log);
    let meta = NodeMeta {
        cluster_id: "test".into(),
        node: NodeId(1),
        layout: 1,
        shards: 1,
        directories: vec![DirectoryId(1)],
    };
    let config = RecoveryConfig {
        shards: 1,
        journal_file_bytes: FILE_BYTES,
        journal_files_min: 2,
    };
    rig.disk.kill(&mut rig.rng);
    let before = rig.disk.paths();
    let mut node = recover(&rig.disk, &config, meta).expect("it recovers");
    assert_eq!(
        rig.disk.paths().len(),
        before.len(),
        "nothing is removed yet"
    );
    let config = StoreConfig {
        discard_bytes: 8 << 10,
        ..rig.store.config.clone()
    };
    rig.store = Store::new(config, node.shards.remove(0), rig.now);
    let slot = rig.store.slot(log).expect("it is there");
    let path = rig.store.log(slot).spare_path();
    let lengths = lengths_until_gone(&mut rig, &path);
    assert!(lengths.len() > 2, "{lengths:?}");
    assert_eq!((successor(&rig), rig.store.log_end(log)), (None, end));
}
