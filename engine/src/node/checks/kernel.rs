//! The kernel, io_uring and the limits of the process.

use super::Finding;
use std::io;

/// DEFER_TASKRUN came with this release.
const KERNEL_MIN: (u32, u32) = (6, 1);
/// Descriptors below which a node with many partitions runs out.
const FILES_WANTED: u64 = 65_536;
/// Descriptors without which a node does not start.
const FILES_MIN: u64 = 1_024;
/// Locked memory that the rings of a few shards need.
const MEMLOCK_MIN_BYTES: u64 = 2 << 20;
const MEMLOCK_WANTED_BYTES: u64 = 8 << 20;

pub(super) fn examine() -> Vec<Finding> {
    vec![release(), io_uring(), memlock(), files()]
}

fn release() -> Finding {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let text = text.trim();
    match parse_release(text) {
        Some(found) if found >= KERNEL_MIN => Finding::good("kernel", format!("Linux {text}")),
        Some(_) => Finding::failure(
            "kernel",
            format!("Linux {text}"),
            format!(
                "run Linux {}.{} or newer: the rings need DEFER_TASKRUN",
                KERNEL_MIN.0, KERNEL_MIN.1
            ),
        ),
        None => Finding::warning(
            "kernel",
            format!("release `{text}` is not understood"),
            "run Linux 6.1 or newer",
        ),
    }
}

/// The first two numbers of a kernel release.
pub(super) fn parse_release(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn io_uring() -> Finding {
    let ring: io::Result<io_uring::IoUring> = io_uring::IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .build(8);
    match ring {
        Ok(_) => Finding::good(
            "io_uring",
            "available (SINGLE_ISSUER, DEFER_TASKRUN, COOP_TASKRUN)",
        ),
        Err(error) => io_uring_failure(&error, disabled_by_sysctl()),
    }
}

/// The value of kernel.io_uring_disabled, 0 where there is none.
fn disabled_by_sysctl() -> u32 {
    std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0)
}

pub(super) fn io_uring_failure(error: &io::Error, disabled: u32) -> Finding {
    let found = format!("not available: {error}");
    let remedy = match error.raw_os_error() {
        _ if disabled > 0 => format!(
            "kernel.io_uring_disabled is {disabled}: run `sysctl kernel.io_uring_disabled=0` (1 leaves it to root and the group of kernel.io_uring_group)"
        ),
        Some(libc::EPERM | libc::ENOSYS | libc::EACCES) => String::from(
            "a seccomp profile forbids it. Docker: `docker run --security-opt seccomp=unconfined --ulimit memlock=-1 ...` (or a profile that allows io_uring_setup, io_uring_enter and io_uring_register). Kubernetes: `securityContext: {seccompProfile: {type: Unconfined}}`",
        ),
        Some(libc::EINVAL) => {
            String::from("the kernel is too old for DEFER_TASKRUN: run Linux 6.1 or newer")
        }
        Some(libc::ENOMEM) => memlock_remedy(),
        _ => String::from("see io_uring_setup(2)"),
    };
    Finding::failure("io_uring", found, remedy)
}

fn memlock_remedy() -> String {
    String::from(
        "raise the limit of locked memory: `ulimit -l unlimited`, LimitMEMLOCK=infinity in a systemd unit, or `docker run --ulimit memlock=-1`; all brokers of one user share it",
    )
}

fn memlock() -> Finding {
    // CAP_IPC_LOCK is not counted; being root usually has it, and then the limit does not matter.
    let (soft, _) = limit(libc::RLIMIT_MEMLOCK);
    // SAFETY: geteuid has no arguments and cannot fail.
    memlock_of(soft, unsafe { libc::geteuid() } == 0)
}

pub(super) fn memlock_of(soft: u64, is_root: bool) -> Finding {
    if soft == libc::RLIM_INFINITY || is_root {
        return Finding::good(
            "memlock",
            if soft == libc::RLIM_INFINITY {
                "unlimited".to_owned()
            } else {
                format!("{} (root is not bound by it)", bytes(soft))
            },
        );
    }
    match soft {
        soft if soft < MEMLOCK_MIN_BYTES => {
            Finding::failure("memlock", bytes(soft), memlock_remedy())
        }
        soft if soft < MEMLOCK_WANTED_BYTES => {
            Finding::warning("memlock", bytes(soft), memlock_remedy())
        }
        soft => Finding::good("memlock", bytes(soft)),
    }
}

fn files() -> Finding {
    let (soft, hard) = limit(libc::RLIMIT_NOFILE);
    files_of(soft, hard)
}

pub(super) fn files_of(soft: u64, hard: u64) -> Finding {
    let found = format!("{soft} (may be raised to {hard} by the process itself, which serve does)");
    let remedy = "raise it: `ulimit -n 1048576`, LimitNOFILE=1048576 in a systemd unit, or `docker run --ulimit nofile=1048576`; every segment and connection needs a descriptor";
    match hard {
        hard if hard < FILES_MIN => Finding::failure("files", found, remedy),
        hard if hard < FILES_WANTED => Finding::warning("files", found, remedy),
        _ => Finding::good("files", found),
    }
}

/// Raises the soft limit of descriptors to the hard one; the soft limit afterwards.
pub(super) fn raise_files() -> u64 {
    let (soft, hard) = limit(libc::RLIMIT_NOFILE);
    let wanted = libc::rlimit {
        rlim_cur: hard,
        rlim_max: hard,
    };
    // SAFETY: the struct is initialised and lives through the call.
    if soft < hard && unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &wanted) } == 0 {
        hard
    } else {
        soft
    }
}

fn limit(resource: libc::__rlimit_resource_t) -> (u64, u64) {
    let mut found = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the struct is ours and lives through the call.
    unsafe { libc::getrlimit(resource, &mut found) };
    (found.rlim_cur, found.rlim_max)
}

/// A number of bytes for people.
pub(super) fn bytes(count: u64) -> String {
    match count {
        count if count >= 1 << 30 => format!("{:.1} GiB", count as f64 / (1u64 << 30) as f64),
        count if count >= 1 << 20 => format!("{:.1} MiB", count as f64 / (1 << 20) as f64),
        count => format!("{} KiB", count >> 10),
    }
}
