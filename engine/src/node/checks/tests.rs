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
    let findings = examine(&dir.join("not/there/yet"));
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
