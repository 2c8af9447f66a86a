//! Indexes of full segments in their files: how many reads a place costs, and what comes of files that do not fit.

use super::*;
use std::path::PathBuf;

const BATCHES: i64 = 60;

/// A log of segments that take several reads each, every one of them full and of 20 batches but the last.
fn filled(rig: &mut Rig) -> LogNumber {
    let log = rig.open(
        1,
        LogConfig {
            segment_bytes: 20 * 120_200,
            ..LogConfig::default()
        },
    );
    for _ in 0..BATCHES + 1 {
        rig.append(log, 120_000);
        rig.work(8);
    }
    rig.work(2000);
    log
}

/// As after a restart: neither batches nor indexes are in memory, nor blocks that were read.
fn forget(rig: &mut Rig, log: LogNumber) {
    let slot = rig.store.slot(log).expect("it is open");
    let layout = &mut rig.store.log_mut(slot).layout;
    let bases: Vec<Offset> = layout.segments().map(|held| held.base).collect();
    bases.into_iter().for_each(|base| layout.unload(base));
    rig.store.cache.trim();
    rig.store.blocks.trim();
}

fn companions(rig: &Rig) -> Vec<PathBuf> {
    let mut paths = rig.disk.paths();
    paths.retain(|path| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("index" | "time"))
    });
    paths
}

fn read_one(rig: &mut Rig, log: LogNumber, offset: i64) -> Vec<Offset> {
    let offset = Offset(offset);
    let up_to = Offset(offset.0 + 1);
    let read = rig.store.read(rig.now, log, offset, 1, up_to, true);
    rig.pump();
    let read = match read {
        Read::Wait(ticket) => rig.wait(ticket),
        read => read,
    };
    match read {
        Read::Ready { data, .. } => bases_of(&data),
        read => panic!("{read:?} at {offset}"),
    }
}

#[test]
fn a_place_in_a_full_segment_is_found_without_reading_what_lies_in_front_of_it() {
    let mut rig = Rig::with_cold_bytes(11, 1 << 20);
    let log = filled(&mut rig);
    assert_eq!(companions(&rig).len(), 6, "{:?}", companions(&rig));
    for offset in [19, 39, 22] {
        forget(&mut rig, log);
        let before = rig.blocks_read;
        assert_eq!(read_one(&mut rig, log, offset), [Offset(offset)]);
        // Two files of the index, the batch, which may lie across two blocks, and one block ahead.
        let reads = rig.blocks_read - before;
        assert!(reads <= 5, "{reads} reads for offset {offset}");
    }
    rig.disk.paths().iter().for_each(|path| {
        let name = path.to_string_lossy();
        assert!(!name.contains(&format!("{:020}.index", 60)), "it grows");
    });
}

#[test]
fn files_that_do_not_fit_are_written_again_once_the_segment_was_walked_over() {
    for damage in 0..4 {
        let mut rig = Rig::with_cold_bytes(damage, 1 << 20);
        let log = filled(&mut rig);
        let paths = companions(&rig);
        assert_eq!(paths.len(), 6);
        let whole: Vec<_> = paths.iter().map(|path| rig.disk.contents(path)).collect();
        for path in &paths {
            let bytes = rig.disk.contents(path).expect("it is there");
            match damage {
                0 => rig.disk.unlink(path).expect("unlinked"),
                1 => rig.disk.overwrite(path, &bytes[..bytes.len() / 2]),
                2 => rig.disk.overwrite(path, &[]),
                _ => {
                    let other = paths.iter().rev().find(|other| *other != path);
                    let other = rig.disk.contents(other.expect("there are six"));
                    rig.disk.overwrite(path, &other.expect("it is there"));
                }
            }
        }
        forget(&mut rig, log);
        assert_eq!(read_one(&mut rig, log, 35), [Offset(35)]);
        let bases = rig.read_all(log, Offset(0), 300_000);
        assert_eq!(bases, (0..=BATCHES).map(Offset).collect::<Vec<_>>());
        rig.work(2000);
        let again: Vec<_> = paths.iter().map(|path| rig.disk.contents(path)).collect();
        assert!(again == whole, "damage {damage}");
    }
}

#[test]
fn indexes_leave_memory_where_it_is_short_and_come_back() {
    let mut rig = Rig::with_cold_bytes(5, 1 << 20);
    rig.store.indexes = super::super::indexes::Indexes::new(0);
    let log = filled(&mut rig);
    let slot = rig.store.slot(log).expect("it is open");
    let held = |rig: &Rig| {
        let segments = rig.store.log(slot).layout.segments();
        segments.filter(|held| held.index.is_some()).count()
    };
    assert_eq!(
        held(&rig),
        2,
        "the last one that was written, and the one that grows"
    );
    for offset in [0, 59, 25, 3, 41, 60] {
        assert_eq!(read_one(&mut rig, log, offset), [Offset(offset)]);
        assert_eq!(held(&rig), 2);
    }
    let found = rig
        .store
        .find(rig.now, log, Sought::Newest, Offset(100), Asker(1));
    rig.pump();
    let Found::Wait(ticket) = found else {
        panic!("{found:?}");
    };
    rig.work(2000);
    let (looking, look) = rig.looks.pop().expect("the batch is large");
    assert_eq!(looking, ticket);
    rig.store.looked(rig.now, ticket, look.look());
    rig.pump();
    let found = rig.found.iter().find(|(other, _)| *other == ticket);
    assert!(matches!(found, Some((_, Found::At { .. }))), "{found:?}");
}

#[test]
fn the_files_go_with_their_segments_and_with_the_log() {
    let mut rig = Rig::with_cold_bytes(7, 1 << 20);
    let log = filled(&mut rig);
    rig.store.truncate(rig.now, log, Offset(30));
    rig.pump();
    rig.work(2000);
    assert_eq!(companions(&rig).len(), 4, "the last segment is gone");
    for _ in 0..20 {
        rig.append(log, 120_000);
        rig.work(8);
    }
    rig.work(2000);
    forget(&mut rig, log);
    assert_eq!(read_one(&mut rig, log, 38), [Offset(38)]);
    rig.store.set_high_watermark(log, Offset(50));
    rig.store.set_log_start(rig.now, log, Offset(25));
    rig.pump();
    rig.work(2000);
    assert_eq!(companions(&rig).len(), 2, "{:?}", companions(&rig));
    rig.store.drop_log(rig.now, log);
    rig.pump();
    rig.work(3000);
    assert_eq!(companions(&rig), [] as [PathBuf; 0]);
    let directories = rig.disk.directories();
    assert!(
        !directories.iter().any(|path| path.ends_with("1-1")),
        "{directories:?}"
    );
}
