//! Segments that become the next ones of their logs.

use super::*;
use crate::batch::HEADER_BYTES;

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
        rig.work(5_000);
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
