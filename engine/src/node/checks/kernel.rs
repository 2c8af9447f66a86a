//! The kernel, io_uring and the limits of the process.

use super::Finding;
use std::io;

/// DEFER_TASKRUN came with this release.
const KERNEL_MIN: (u32, u32) = (6, 1);
/// Descriptors below which a node with many partitions runs out.
const FILES_WANTED: u64 = 65_536;
/// Descriptors without which a node does not start.
const FILES_MIN: u64 = 1_024;
/// What to do about a limit of descriptors.
pub const FILES_REMEDY: &str = "raise it: `ulimit -n 1048576`, LimitNOFILE=1048576 in a systemd unit, or `docker run --ulimit nofile=1048576`; every segment and connection needs a descriptor";
/// Locked memory that the rings of a few shards need, unless the process has CAP_IPC_LOCK.
const MEMLOCK_MIN_BYTES: u64 = 2 << 20;
/// The limit that glommio asks for, whatever the process may lock.
const MEMLOCK_RUNTIME_BYTES: u64 = 512 << 10;
/// The bit of CAP_IPC_LOCK in a set of capabilities.
const CAP_IPC_LOCK: u32 = 14;
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
    let (_, hard) = limit(libc::RLIMIT_MEMLOCK);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    memlock_of(hard, may_lock_memory(&status))
}

/// Whether the limit of locked memory does not bind a process of this status (proc(5)): root in a container often lacks
/// the capability.
pub(super) fn may_lock_memory(status: &str) -> bool {
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    effective.is_some_and(|set| set >> CAP_IPC_LOCK & 1 == 1)
}

pub(super) fn memlock_of(hard: u64, may_lock: bool) -> Finding {
    let too_small = |need: u64| {
        let found = format!(
            "the limit of locked memory is too small: {}, and a node needs {}",
            bytes(hard),
            bytes(need)
        );
        Finding::failure("memlock", found, memlock_remedy())
    };
    match hard {
        libc::RLIM_INFINITY => Finding::good("memlock", "unlimited"),
        hard if hard < MEMLOCK_RUNTIME_BYTES && may_lock => too_small(MEMLOCK_RUNTIME_BYTES),
        hard if may_lock => Finding::good(
            "memlock",
            format!("{} (CAP_IPC_LOCK is not bound by it)", bytes(hard)),
        ),
        hard if hard < MEMLOCK_MIN_BYTES => too_small(MEMLOCK_MIN_BYTES),
        hard if hard < MEMLOCK_WANTED_BYTES => Finding::warning(
            "memlock",
            format!(
                "{}, and many shards want {}",
                bytes(hard),
                bytes(MEMLOCK_WANTED_BYTES)
            ),
            memlock_remedy(),
        ),
        hard => Finding::good("memlock", bytes(hard)),
    }
}

fn files() -> Finding {
    files_of(limit(libc::RLIMIT_NOFILE).1)
}

pub(super) fn files_of(hard: u64) -> Finding {
    let remedy = FILES_REMEDY;
    match hard {
        hard if hard < FILES_MIN => Finding::failure(
            "files",
            format!("the limit of open files is too small: {hard}, and a node needs {FILES_MIN}"),
            remedy,
        ),
        hard if hard < FILES_WANTED => Finding::warning(
            "files",
            format!("{hard}, and many partitions want {FILES_WANTED}"),
            remedy,
        ),
        hard => Finding::good("files", hard.to_string()),
    }
}

/// Raises the soft limits of descriptors and of locked memory to the hard ones; the limit of descriptors afterwards.
pub(super) fn raise_limits() -> u64 {
    raise(libc::RLIMIT_MEMLOCK);
    raise(libc::RLIMIT_NOFILE)
}

/// Large pages only where the process asks for them (the chunks of fast logs): where the system gives them to everybody, the kernel
/// zeroes one as a whole at its first touch, which holds up everybody on that shard by a millisecond or more. A kernel before 6.18 does
/// not know the request (prctl(2), PR_THP_DISABLE_EXCEPT_ADVISED) and leaves the system's setting, which costs time and nothing else.
pub(super) fn use_large_pages_by_request() {
    const ON: libc::c_ulong = 1;
    const EXCEPT_ADVISED: libc::c_ulong = 1 << 1;
    const UNUSED: libc::c_ulong = 0;
    // SAFETY: it takes numbers only and changes how later page faults of this process are served.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, ON, EXCEPT_ADVISED, UNUSED, UNUSED) };
}

fn raise(resource: libc::__rlimit_resource_t) -> u64 {
    let (soft, hard) = limit(resource);
    let wanted = libc::rlimit {
        rlim_cur: hard,
        rlim_max: hard,
    };
    // SAFETY: the struct is initialised and lives through the call.
    if soft < hard && unsafe { libc::setrlimit(resource, &wanted) } == 0 {
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
