//! The simulated disk keeps exactly what a disk promises.

use super::{Fault, OpKind, SimDisk, SimRng};
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
