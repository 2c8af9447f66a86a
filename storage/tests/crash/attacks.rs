//! The model finds the loss where the disk, or the process, does not do its part: each kind of sync is needed for something that no
//! other does, and so is waiting for the lock.

use crate::crashes::Lock;
use crate::run_world;
use crate::world::{FINDING, GIVEN_UP, World};
use millstream_storage::sim::{SimDisk, SyncKind};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Seeds in which a loss must show at the latest.
const SEEDS: u64 = 40;

/// Whether a loss shows over disks that ignore a kind of sync.
fn shows_without(kind: SyncKind) -> bool {
    (0..SEEDS).any(|seed| {
        let mut disk = SimDisk::new();
        disk.ignore_syncs(Some(kind));
        is_lost(|| World::over(seed, disk, Lock::Awaited))
    })
}

/// Whether the model finds fault with a world. What panics otherwise is no finding, and fails the test.
fn is_lost(world: impl FnOnce() -> World) -> bool {
    let run = AssertUnwindSafe(|| run_world(world()));
    let Err(panic) = catch_unwind(run) else {
        return false;
    };
    match panic.downcast_ref::<String>() {
        Some(finding) if finding.starts_with(FINDING) => true,
        // An operation that the attack made impossible ended the process: nothing is known of what it lost.
        Some(end) if end.starts_with(GIVEN_UP) => false,
        _ => resume_unwind(panic),
    }
}

#[test]
fn a_write_that_is_not_synced_by_itself_is_found_out() {
    assert!(shows_without(SyncKind::Write));
}

#[test]
fn an_fdatasync_that_does_nothing_is_found_out() {
    assert!(shows_without(SyncKind::Data));
}

#[test]
fn a_directory_that_is_not_synced_is_found_out() {
    assert!(shows_without(SyncKind::Dir));
}

#[test]
fn a_file_system_that_is_not_synced_is_found_out() {
    assert!(shows_without(SyncKind::Fs));
}

#[test]
fn a_process_that_does_not_wait_for_the_lock_is_found_out() {
    let lost = |seed| is_lost(|| World::over(seed, SimDisk::new(), Lock::Ignored));
    assert!((0..SEEDS).any(lost));
}
