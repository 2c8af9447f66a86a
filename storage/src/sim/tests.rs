//! The simulated disk keeps exactly what a disk promises.

use super::{Fault, OpKind, SimDisk, SimRng, SyncKind};
use crate::disk::{
    BlockingDisk, Caching, DiskError, DiskOp, DiskResult, FileSlot, OpId, OpenMode, WriteSync,
};
use bytes::Bytes;
use std::path::Path;

const SLOT: FileSlot = FileSlot(1);

fn run(disk: &mut SimDisk, what: DiskOp) -> DiskResult {
    disk.submit(OpId(0), what);
    let last = disk.pending() - 1;
    disk.complete(last).result
}

fn write(byte: u8, sync: WriteSync) -> DiskOp {
    DiskOp::Write {
        slot: SLOT,
        position: 0,
        data: vec![Bytes::from(vec![byte; 1024])],
        sync,
    }
}

fn open(disk: &mut SimDisk) {
    let path = Path::new("f").into();
    run(
        disk,
        DiskOp::Open {
            slot: SLOT,
            path,
            mode: OpenMode::Create,
            caching: Caching::Buffered,
        },
    );
}

/// The contents of `f` after a power cut, for each of 200 seeds.
fn outcomes(prepare: impl Fn(&mut SimDisk)) -> Vec<Option<Bytes>> {
    let outcome = |seed| {
        let mut disk = SimDisk::new();
        open(&mut disk);
        prepare(&mut disk);
        disk.power_cut(&mut SimRng::new(seed));
        disk.contents(Path::new("f"))
    };
    (0..200).map(outcome).collect()
}

fn sync_names(disk: &mut SimDisk) {
    run(
        disk,
        DiskOp::SyncDir {
            path: Path::new("").into(),
        },
    );
}

#[test]
fn what_is_synced_survives_a_power_cut() {
    let sync: [fn(&mut SimDisk); 3] = [
        |disk| {
            run(disk, write(7, WriteSync::Data));
            sync_names(disk);
        },
        |disk| {
            run(disk, write(7, WriteSync::None));
            run(disk, DiskOp::SyncData { slot: SLOT });
            sync_names(disk);
        },
        |disk| {
            run(disk, write(7, WriteSync::None));
            run(disk, DiskOp::SyncFs { slot: SLOT });
        },
    ];
    for prepare in sync {
        assert!(
            outcomes(prepare)
                .iter()
                .all(|kept| kept.as_deref() == Some(&[7; 1024][..]))
        );
    }
}

#[test]
fn a_name_whose_directory_is_not_synced_may_vanish() {
    let kept = outcomes(|disk| {
        run(disk, write(7, WriteSync::Data));
    });
    assert!(kept.iter().any(Option::is_none) && kept.iter().any(Option::is_some));
}

/// Whether the bytes of `f`, and of the sector behind them that was written first, always outlive a power cut, and whether its name does.
fn kept_by(sync: impl Fn(&mut SimDisk)) -> (bool, bool, bool) {
    let mut seen = (true, true, true);
    for seed in 0..100 {
        let mut disk = SimDisk::new();
        open(&mut disk);
        let behind = DiskOp::Write {
            slot: SLOT,
            position: 1024,
            data: vec![Bytes::from(vec![9; 512])],
            sync: WriteSync::None,
        };
        run(&mut disk, behind);
        sync(&mut disk);
        let mut named = disk.clone();
        named.power_cut(&mut SimRng::new(seed));
        seen.2 &= named.contents(Path::new("f")).is_some();
        // The name is made durable to look at the bytes alone.
        let names = Path::new("").to_path_buf();
        disk.sync_dir(&names).expect("synced");
        disk.power_cut(&mut SimRng::new(seed));
        let bytes = disk.contents(Path::new("f")).expect("it has a name");
        seen.0 &= bytes.get(..1024) == Some(&[7; 1024][..]);
        seen.1 &= bytes.get(1024..) == Some(&[9; 512][..]);
    }
    seen
}

#[test]
fn each_kind_of_sync_does_its_own_part_and_no_other() {
    let by_itself = kept_by(|disk| {
        run(disk, write(7, WriteSync::Data));
    });
    assert_eq!(by_itself, (true, false, false), "RWF_DSYNC");
    let then = |sync: DiskOp| {
        move |disk: &mut SimDisk| {
            run(disk, write(7, WriteSync::None));
            run(disk, sync.clone());
        }
    };
    let data = kept_by(then(DiskOp::SyncData { slot: SLOT }));
    assert_eq!(data, (true, true, false), "fdatasync");
    let path = Path::new("").into();
    let names = kept_by(then(DiskOp::SyncDir { path }));
    assert_eq!(names, (false, false, true), "fsync of the directory");
    let all = kept_by(then(DiskOp::SyncFs { slot: SLOT }));
    assert_eq!(all, (true, true, true), "syncfs");
}

#[test]
fn a_sync_that_is_ignored_keeps_nothing() {
    let kept = outcomes(|disk| {
        disk.ignore_syncs(Some(SyncKind::Write));
        run(disk, write(7, WriteSync::Data));
        sync_names(disk);
    });
    assert!(kept.iter().any(|kept| kept.as_deref() != Some(&[7; 1024])));
}

#[test]
fn a_dead_process_keeps_the_lock_until_its_last_request_has_ended() {
    let mut disk = SimDisk::new();
    open(&mut disk);
    disk.submit(OpId(9), write(2, WriteSync::None));
    disk.submit(OpId(10), DiskOp::SyncData { slot: SLOT });
    disk.die();
    assert_eq!(disk.pending(), 0);
    // The next process uses the same names for its files.
    let path = Path::new("g").into();
    let open = DiskOp::Open {
        slot: SLOT,
        path,
        mode: OpenMode::Create,
        caching: Caching::Buffered,
    };
    run(&mut disk, open);
    let mut rng = SimRng::new(5);
    assert!(disk.is_locked() && disk.end_late(&mut rng));
    assert!(disk.is_locked() && disk.end_late(&mut rng));
    assert!(!disk.is_locked() && !disk.end_late(&mut rng));
    assert_eq!(disk.contents(Path::new("g")).as_deref(), Some(&[][..]));
}

#[test]
fn one_blocking_call_fails_by_itself() {
    let mut disk = SimDisk::new();
    let fault = |kind, after| Fault {
        kind,
        after,
        errno: libc::EIO,
    };
    disk.fail_blocking_call(Some(fault(OpKind::Write, 1)));
    let path = Path::new("f");
    disk.write(path, 0, b"a").expect("the first one succeeds");
    assert!(disk.write(path, 1, b"b").is_err());
    disk.write(path, 1, b"c").expect("the third one too");
    disk.fail_blocking_call(Some(fault(OpKind::Read, 0)));
    let failed = disk
        .read(path, 0, &mut [0; 2])
        .map_err(|error| error.raw_os_error());
    // What is there can be read: a call fails for want of something else.
    assert_eq!(failed, Err(Some(libc::ENOMEM)));
}

#[test]
fn a_write_that_fails_may_have_landed_in_part() {
    let landed = |before: u64| {
        let mut disk = SimDisk::new();
        open(&mut disk);
        (0..before).for_each(|_| drop(run(&mut disk, write(1, WriteSync::None))));
        disk.inject(Fault {
            kind: OpKind::SyncedWrite,
            after: 0,
            errno: libc::EIO,
        });
        run(&mut disk, write(2, WriteSync::Data));
        let bytes = disk.contents(Path::new("f")).expect("it is there");
        (bytes[0], bytes[512])
    };
    let seen: std::collections::BTreeSet<_> = (1..100).map(landed).collect();
    assert_eq!(seen.len(), 4, "{seen:?}");
}

#[test]
fn unsynced_sectors_survive_each_for_itself() {
    let kept = outcomes(|disk| {
        run(disk, write(1, WriteSync::Data));
        sync_names(disk);
        run(disk, write(2, WriteSync::None));
    });
    for first in [1, 2] {
        for second in [1, 2] {
            let mixed = [[first; 512], [second; 512]].concat();
            assert!(
                kept.iter().any(|kept| kept.as_deref() == Some(&mixed[..])),
                "{first} {second}"
            );
        }
    }
}

#[test]
fn a_sync_covers_only_what_was_written_before_it_was_submitted() {
    let kept = outcomes(|disk| {
        run(disk, write(1, WriteSync::Data));
        sync_names(disk);
        disk.submit(OpId(1), DiskOp::SyncData { slot: SLOT });
        disk.submit(OpId(2), write(2, WriteSync::None));
        disk.complete(1);
        disk.complete(0);
    });
    assert!(
        kept.iter()
            .any(|kept| kept.as_ref().is_some_and(|bytes| bytes[0] == 1))
    );
}

#[test]
fn a_kill_loses_nothing_that_was_written() {
    let mut disk = SimDisk::new();
    open(&mut disk);
    run(&mut disk, write(3, WriteSync::None));
    disk.kill(&mut SimRng::new(1));
    assert_eq!(
        disk.contents(Path::new("f")).as_deref(),
        Some(&[3; 1024][..])
    );
}

#[test]
fn a_write_in_flight_lands_in_part_at_a_kill() {
    let landed = |seed| {
        let mut disk = SimDisk::new();
        open(&mut disk);
        run(&mut disk, write(1, WriteSync::Data));
        disk.submit(OpId(9), write(2, WriteSync::None));
        disk.kill(&mut SimRng::new(seed));
        let bytes = disk.contents(Path::new("f")).expect("the file is there");
        (bytes[0], bytes[512])
    };
    let seen: std::collections::BTreeSet<_> = (0..200).map(landed).collect();
    assert_eq!(seen.len(), 4);
}

#[test]
fn shrinking_is_not_durable_before_a_sync() {
    let kept = outcomes(|disk| {
        run(disk, write(1, WriteSync::Data));
        sync_names(disk);
        run(
            disk,
            DiskOp::SetLength {
                slot: SLOT,
                bytes: 100,
            },
        );
    });
    assert!(
        kept.iter()
            .any(|kept| kept.as_ref().is_some_and(|bytes| bytes.len() == 100))
    );
    assert!(
        kept.iter()
            .any(|kept| kept.as_ref().is_some_and(|bytes| bytes.len() == 1024))
    );
}

#[test]
fn a_file_cut_and_grown_again_reads_as_zeros() {
    let mut disk = SimDisk::new();
    open(&mut disk);
    run(&mut disk, write(5, WriteSync::None));
    run(
        &mut disk,
        DiskOp::SetLength {
            slot: SLOT,
            bytes: 100,
        },
    );
    run(
        &mut disk,
        DiskOp::SetLength {
            slot: SLOT,
            bytes: 700,
        },
    );
    let bytes = disk.contents(Path::new("f")).expect("the file is there");
    assert_eq!(
        (&bytes[..100], &bytes[100..]),
        (&[5; 100][..], &[0; 600][..])
    );
}

#[test]
fn an_injected_fault_fails_one_operation() {
    let mut disk = SimDisk::new();
    open(&mut disk);
    disk.inject(Fault {
        kind: OpKind::Write,
        after: 1,
        errno: libc::EIO,
    });
    assert!(matches!(
        run(&mut disk, write(1, WriteSync::None)),
        DiskResult::Done
    ));
    let failed = run(&mut disk, write(1, WriteSync::None));
    assert!(matches!(
        failed,
        DiskResult::Failed(DiskError { errno: libc::EIO })
    ));
    assert!(matches!(
        run(&mut disk, write(1, WriteSync::None)),
        DiskResult::Done
    ));
}

#[test]
fn a_full_disk_refuses_growth_and_heals() {
    let mut disk = SimDisk::new();
    open(&mut disk);
    disk.limit_capacity(Some(512));
    let refused = run(&mut disk, write(1, WriteSync::None));
    assert!(matches!(
        refused,
        DiskResult::Failed(DiskError {
            errno: libc::ENOSPC
        })
    ));
    disk.limit_capacity(None);
    assert!(matches!(
        run(&mut disk, write(1, WriteSync::None)),
        DiskResult::Done
    ));
}

#[test]
fn a_renamed_directory_takes_its_files_along() {
    let disk = SimDisk::new();
    disk.make_dirs(Path::new("a/b")).expect("made");
    disk.write(Path::new("a/b/f"), 0, b"x").expect("written");
    disk.rename(Path::new("a"), Path::new("c"))
        .expect("renamed");
    assert_eq!(
        disk.contents(Path::new("c/b/f")).as_deref(),
        Some(&b"x"[..])
    );
    assert!(
        disk.list(Path::new("a"))
            .expect("absent is empty")
            .is_empty()
    );
}
