use super::*;
use std::io;

#[test]
fn kernel_releases_are_read_by_their_first_two_numbers() {
    assert_eq!(kernel::parse_release("6.18.44-fc"), Some((6, 18)));
    assert_eq!(kernel::parse_release("5.4"), Some((5, 4)));
    assert_eq!(kernel::parse_release("strange"), None);
}

#[test]
fn a_seccomp_profile_is_answered_with_the_line_that_lifts_it() {
    let finding = kernel::io_uring_failure(&io::Error::from_raw_os_error(libc::EPERM), 0);
    assert_eq!(finding.grade, Grade::Failure);
    let remedy = finding.remedy.unwrap();
    assert!(
        remedy.contains("docker run --security-opt seccomp=unconfined"),
        "{remedy}"
    );
    assert!(remedy.contains("seccompProfile"), "{remedy}");
}

#[test]
fn limits_that_are_too_small_are_told_with_what_raises_them() {
    let (good, warning, failure) = (Grade::Good, Grade::Warning, Grade::Failure);
    let limits = [64 << 10, 1 << 20, 4 << 20, 64 << 20, libc::RLIM_INFINITY];
    let grades = limits.map(|hard| kernel::memlock_of(hard, false).grade);
    assert_eq!(grades, [failure, failure, warning, good, good]);
    let grades = limits.map(|hard| kernel::memlock_of(hard, true).grade);
    assert_eq!(grades, [failure, good, good, good, good]);
    let small = kernel::memlock_of(64 << 10, false);
    assert!(
        small
            .found
            .contains("too small: 64 KiB, and a node needs 2.0 MiB"),
        "{small:?}"
    );
    let remedy = small.remedy.unwrap();
    assert!(
        remedy.contains("docker run --ulimit memlock=-1"),
        "{remedy}"
    );
    let grades = [512, 4096, 1 << 20].map(|hard| kernel::files_of(hard).grade);
    assert_eq!(grades, [failure, warning, good]);
    let few = kernel::files_of(512);
    assert!(few.found.contains("512, and a node needs 1024"), "{few:?}");
    let remedy = few.remedy.unwrap();
    assert!(remedy.contains("ulimit -n"), "{remedy}");
}

#[test]
fn root_may_lock_memory_only_with_the_capability() {
    let with = "Uid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\n";
    let without = "Uid:\t0\t0\t0\t0\nCapEff:\t00000000a80425fb\n";
    assert!(kernel::may_lock_memory(with));
    assert!(!kernel::may_lock_memory(without));
    assert!(!kernel::may_lock_memory(""));
}

#[test]
fn a_slow_sync_of_the_file_system_is_told() {
    use std::time::Duration;
    assert_eq!(
        disk::syncfs_of(Duration::from_millis(20)).grade,
        Grade::Good
    );
    let slow = disk::syncfs_of(Duration::from_millis(1400));
    assert_eq!(slow.grade, Grade::Warning);
    assert!(slow.found.contains("1400 ms"), "{slow:?}");
}

#[test]
fn a_sysctl_that_forbids_rings_is_named() {
    let finding = kernel::io_uring_failure(&io::Error::from_raw_os_error(libc::EPERM), 2);
    assert!(
        finding
            .remedy
            .unwrap()
            .contains("sysctl kernel.io_uring_disabled=0")
    );
}

#[test]
fn examining_a_directory_leaves_nothing_in_it_and_every_complaint_has_a_remedy() {
    let dir = std::env::temp_dir().join(format!("millstream-checks-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let findings = examine(&dir.join("not/there/yet"), DirectIo::Needed);
    assert!(
        findings
            .iter()
            .any(|finding| finding.check == "sync latency")
    );
    for finding in &findings {
        assert_eq!(
            finding.remedy.is_some(),
            finding.grade != Grade::Good,
            "{finding:?}"
        );
    }
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
    std::fs::remove_dir(&dir).unwrap();
}
