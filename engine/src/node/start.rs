//! From a configuration to running shards.
//!
//! ORDER: signals blocked -> sockets bound (an address in use is refused before anything is touched) -> lock -> identity ->
//! recovery of the log -> recovery of the metadata log -> sockets listened on -> threads -> banner, when all of them run.
//! Leaves to others: what runs on the threads (`shard`).

use super::banner::{Ready, banner};
use super::checks::{self, Grade};
use super::config::Config;
use super::directory::{self, Identity};
use super::refusal::{NEWER_REMEDY, Refusal, code};
use super::seeds::{self, Descriptors, Parts};
use super::signals::Signals;
use super::sockets;
use crate::machine::image::Member;
use crate::machine::quorum::{self, Limits, RecoverError, SingleNode};
use crate::shard::event::FatalReason;
use crate::shard::rings::mailboxes;
use crate::shard::run::{self, ShardThread};
use crate::shard::workshop;
use millstream_storage::disk::BlockingDisk;
use millstream_storage::format::QUORUM;
use millstream_storage::io::{DataLock, LockRefused, SystemDisk, check_direct_io};
use millstream_storage::recovery::{self, RecoveredNode, RecoveryConfig, RecoveryError, Severity};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Journal files of a shard at first.
const JOURNAL_FILES_MIN: u32 = 2;
/// Recovery that takes longer tells so, again and again after as long.
const PATIENCE: Duration = Duration::from_secs(2);
/// BOUND: findings of recovery that are told one by one.
const FINDINGS_TOLD_MAX: usize = 20;

/// BOUND: a stop that takes longer is ended, whatever it waits for.
const STOP_MAX: Duration = Duration::from_secs(10);

/// What to do where the metadata log does not serve.
const QUORUM_REMEDY: &str =
    "bring the files of its `quorum` directory back from a copy; topics are known from there only";

/// What to do about an error of the operating system.
fn io_remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EISDIR | libc::ENOTDIR) => {
            "something else has the place of a file or directory of the node: move it away; nothing was deleted"
        }
        Some(libc::EACCES | libc::EPERM | libc::EROFS) => {
            "let this user write to everything in the data directory"
        }
        _ => "look at the disk (`dmesg`); nothing was deleted",
    }
}

/// Runs a node until it is stopped.
pub fn serve(mut config: Config) -> Result<(), Refusal> {
    let began = Instant::now();
    let system = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| Refusal::new(format!("{what}: {error}")).code(code::SYSTEM)
    };
    let signals = Signals::block().map_err(system("signals cannot be blocked"))?;
    checks::use_large_pages_by_request();
    let files_max = checks::raise_limits();
    check_kernel()?;
    let shards = config.shard_cpus.len();
    let descriptors = Descriptors::of(files_max, shards)?;
    let opened = sockets::open(&mut config.listeners, shards)?;
    let lock = lock(&config)?;
    check_disk(&config)?;
    let disk = SystemDisk::new(&config.data_dir);
    let identity = directory::open(&disk, config.node_id, shards as u16)?;
    let recovered = recover_log(&disk, &config, &identity)?;
    let logs = recovered.shards.iter().map(|shard| shard.logs.len()).sum();
    let quorum = recover_quorum(&disk, &identity, logs)?;
    let cluster_id = identity.node.cluster_id.clone();
    let parts = Parts {
        config: &config,
        identity: &identity,
        recovered,
        quorum,
        descriptors,
    };
    let cores = seeds::cores(parts)?;
    let mut mailboxes = mailboxes(shards + 1).map_err(system("no mail between shards"))?;
    let workshop = mailboxes.pop().expect("there is one more than shards");
    workshop::start(workshop).map_err(system("the workshop's thread cannot be started"))?;
    let wakers: Vec<_> = mailboxes
        .iter()
        .map(|mailbox| mailbox.waker().clone())
        .collect();
    let addresses = opened.addresses();
    let sockets = opened.listen(shards)?;
    let (up, ups) = channel();
    let mut threads = Vec::new();
    for ((core, sockets), mailbox) in cores.into_iter().zip(sockets).zip(mailboxes) {
        let seed = seeds::thread(
            &config,
            core.shard,
            sockets,
            lock.as_fd().as_raw_fd(),
            mailbox,
            descriptors,
        );
        let make = seeds::maker(&config, core);
        let up = up.clone();
        let tell = move || {
            // Nobody waits for it once a shard has broken.
            let _ = up.send(());
        };
        let thread = run::start(seed, make, tell, die);
        threads.push(thread.map_err(system("a shard's thread cannot be started"))?);
    }
    drop(up);
    signals
        .on_first(move || {
            eprintln!("millstream: stopping");
            bound_stop();
            wakers.iter().for_each(|waker| waker.stop());
        })
        .map_err(system("signals cannot be waited for"))?;
    // A shard that cannot start ends the process; one that panics is joined below.
    if ups.iter().take(shards).count() < shards {
        return wait(threads);
    }
    let start_ms = began.elapsed().as_millis();
    print!(
        "{}",
        banner(&Ready {
            config: &config,
            addresses: &addresses,
            cluster_id: &cluster_id,
            start_ms
        })
    );
    wait(threads)?;
    eprintln!("millstream: stopped");
    Ok(())
}

/// Ends the process if the stop that begins now does not end in time: an operation of the disk may never come back.
fn bound_stop() {
    let end = || {
        std::thread::sleep(STOP_MAX);
        eprintln!(
            "millstream: the stop is not done after {} s, the disk does not answer; ending here, nothing acknowledged is lost by that",
            STOP_MAX.as_secs()
        );
        std::process::exit(i32::from(code::STUCK));
    };
    let started = std::thread::Builder::new()
        .name("stop-bound".into())
        .spawn(end);
    if let Err(error) = started {
        eprintln!("millstream: nothing bounds the stop: {error}");
    }
}

/// Ends the process at a dead end: what is acknowledged is on disk.
fn die(reason: &FatalReason) {
    eprintln!("millstream: {reason}; ending here, nothing acknowledged is lost by that");
    std::process::exit(i32::from(reason.exit_code()));
}

fn wait(threads: Vec<ShardThread>) -> Result<(), Refusal> {
    for thread in threads {
        thread
            .join()
            .map_err(|reason| Refusal::new(reason.to_string()).code(reason.exit_code()))?;
    }
    Ok(())
}

fn check_kernel() -> Result<(), Refusal> {
    match checks::examine_kernel()
        .into_iter()
        .find(|finding| finding.grade == Grade::Failure)
    {
        None => Ok(()),
        Some(finding) => {
            let refusal =
                Refusal::new(format!("{}: {}", finding.check, finding.found)).code(code::SYSTEM);
            Err(match finding.remedy {
                Some(remedy) => refusal.remedy(remedy),
                None => refusal,
            })
        }
    }
}

fn lock(config: &Config) -> Result<DataLock, Refusal> {
    let data = &config.data_dir;
    std::fs::create_dir_all(data).map_err(|error| {
        let refusal = Refusal::new(format!(
            "the data directory {} cannot be made: {error}",
            data.display()
        ));
        match error.raw_os_error() {
            Some(libc::ENOSPC) => refusal.disk_full(),
            _ => refusal.remedy("choose one with --data DIR that this user may write to"),
        }
    })?;
    let waiting = |owner: &str| {
        eprintln!(
            "millstream: {} is still in use ({owner}); waiting up to {} s",
            data.display(),
            DataLock::PATIENCE.as_secs()
        );
    };
    DataLock::acquire(data, DataLock::PATIENCE, waiting).map_err(|refused| {
        let refusal = Refusal::new(refused.to_string());
        match &refused {
            LockRefused::Held { .. } => {
                refusal.remedy("stop that process, or choose another directory with --data DIR")
            }
            LockRefused::Failed { error, .. } if error.raw_os_error() == Some(libc::ENOSPC) => {
                refusal.disk_full()
            }
            LockRefused::Failed { .. } => {
                refusal.remedy("let this user write to the data directory")
            }
        }
    })
}

/// Direct IO must work where it is asked for.
fn check_disk(config: &Config) -> Result<(), Refusal> {
    let file_system = checks::disk::file_system(&config.data_dir);
    if let Some(remedy) = &file_system.remedy {
        eprintln!("millstream: {}: {remedy}", file_system.found);
    }
    if !config.direct_io {
        eprintln!(
            "millstream: storage.direct-io=false: the log goes through the page cache, which is slower"
        );
        return Ok(());
    }
    check_direct_io(&config.data_dir).map_err(|refused| {
        let refusal = Refusal::new(refused.to_string()).code(code::DISK);
        match refused.error.raw_os_error() {
            Some(libc::ENOSPC) => refusal.disk_full(),
            _ if refused.is_unsupported() => refusal.remedy(checks::disk::DIRECT_IO_REMEDY),
            _ => refusal.remedy("`millstream doctor --data DIR` looks at the disk"),
        }
    })
}

fn recover_log(
    disk: &SystemDisk,
    config: &Config,
    identity: &Identity,
) -> Result<RecoveredNode, Refusal> {
    let plan = RecoveryConfig {
        shards: config.shard_cpus.len() as u16,
        journal_file_bytes: config.journal_file_bytes,
        journal_files_min: JOURNAL_FILES_MIN,
    };
    let node = with_progress("recovering the log", || recovery::recover(disk, &plan, identity.node.clone()))
        .map_err(|error| {
            let full = matches!(&error, RecoveryError::Io { error, .. } if error.raw_os_error() == Some(libc::ENOSPC));
            let refusal = Refusal::new(format!("the log cannot be recovered: {error}"));
            match error {
                _ if full => refusal.disk_full(),
                RecoveryError::Unreadable { malformed, .. } if malformed.versions.is_some() => {
                    refusal.remedy(NEWER_REMEDY).code(code::DATA)
                }
                RecoveryError::Io { error, .. } => refusal.remedy(io_remedy(&error)).code(code::DISK),
                _ => refusal
                    .remedy("`millstream log verify DIR` tells all that is wrong; nothing was deleted")
                    .code(code::DATA),
            }
        })?;
    let findings = &node.report.findings;
    for finding in findings.iter().take(FINDINGS_TOLD_MAX) {
        eprintln!("millstream: {finding}");
    }
    if findings.len() > FINDINGS_TOLD_MAX {
        eprintln!(
            "millstream: and {} more",
            findings.len() - FINDINGS_TOLD_MAX
        );
    }
    if findings
        .iter()
        .any(|finding| finding.severity == Severity::Damage)
    {
        eprintln!(
            "millstream: reads of what is damaged answer KAFKA_STORAGE_ERROR, everything else is served"
        );
    }
    Ok(node)
}

/// `logs` is how many partitions lie in the directory: where there are some, there was a metadata log.
fn recover_quorum(
    disk: &dyn BlockingDisk,
    identity: &Identity,
    logs: usize,
) -> Result<SingleNode, Refusal> {
    let blank = quorum::is_blank(disk, Path::new(QUORUM)).map_err(|error| {
        Refusal::new(format!("{QUORUM}: {error}"))
            .remedy("look at the disk (`dmesg`)")
            .code(code::DISK)
    })?;
    if blank && logs > 0 {
        return Err(Refusal::new(format!(
            "the metadata log is missing: `{QUORUM}` holds nothing, and there are the logs of {logs} partitions"
        ))
        .remedy(QUORUM_REMEDY)
        .code(code::DATA));
    }
    let me = Member {
        id: member_id(identity),
        node: identity.node.node,
        voter: true,
    };
    let (quorum, found) =
        quorum::recover(disk, Path::new(QUORUM), me, Limits::default()).map_err(|error| {
            let refusal = Refusal::new(error.to_string());
            match error {
                RecoverError::Io(_, error) => refusal.remedy(io_remedy(&error)).code(code::DISK),
                RecoverError::Damaged { .. } => refusal.remedy(QUORUM_REMEDY).code(code::DATA),
                RecoverError::Newer { .. } => refusal.remedy(NEWER_REMEDY).code(code::DATA),
            }
        })?;
    if found.torn_bytes > 0 {
        eprintln!(
            "millstream: torn: {} bytes behind the end of the metadata log, never acknowledged",
            found.torn_bytes
        );
    }
    Ok(quorum)
}

/// The id in the quorum is made from the directory's: another directory is another member.
fn member_id(identity: &Identity) -> u64 {
    let id = identity.directory.directory.0;
    (id as u64) ^ ((id >> 64) as u64)
}

/// Runs something that may take long, and says so from time to time.
fn with_progress<T: Send>(doing: &str, work: impl FnOnce() -> T + Send) -> T {
    let began = Instant::now();
    let (done, waits) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while waits.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                eprintln!(
                    "millstream: {doing}, {} s so far",
                    began.elapsed().as_secs()
                );
            }
        });
        let result = work();
        drop(done);
        result
    })
}
