//! The file system and the disk under the data directory: kind, room, direct IO, sync latency, written zeroes, sectors.

use super::{DirectIo, Finding, kernel::bytes};
use millstream_storage::disk::BLOCK_BYTES;
use millstream_storage::io::{check_direct_io, reserves_written_zeroes};
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long the sync latency is measured.
const MEASURE: Duration = Duration::from_millis(500);
/// A shard goes over to syncing file by file when one sync of the file system takes longer.
const SYNC_WANTED: Duration = Duration::from_secs(1);
/// How long one is waited for.
const SYNC_MAX: Duration = Duration::from_secs(10);
/// BOUND: synced writes of one measurement.
const WRITES_MAX: usize = 2_000;
/// The file that is written for the measurement.
const PROBE_BYTES: usize = 1 << 20;
/// Room below which a node soon refuses to write.
const ROOM_WANTED_BYTES: u64 = 4 << 30;

/// What to do where the file system takes no direct IO.
pub const DIRECT_IO_REMEDY: &str = "use xfs or ext4, or `--set storage.direct-io=false` (slower, and only as durable as that file system)";

/// A file for probing that is gone when this is dropped.
struct Probe {
    path: PathBuf,
}

impl Drop for Probe {
    fn drop(&mut self) {
        // A probe that cannot be removed does no harm; the next one has another name.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Probe {
    fn new(dir: &Path) -> Probe {
        Probe {
            path: dir.join(format!(".millstream-probe-{}", std::process::id())),
        }
    }

    fn open(&self, flags: i32) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .custom_flags(flags)
            .open(&self.path)
    }
}

/// One block, aligned as direct IO asks.
#[repr(align(4096))]
struct Block([u8; BLOCK_BYTES]);

pub(super) fn examine(data: &Path, wanted: DirectIo) -> Vec<Finding> {
    let dir = existing(data);
    let mut findings = vec![file_system(&dir), room(&dir), direct_io(&dir, wanted)];
    if findings
        .iter()
        .all(|finding| finding.check != "data directory")
    {
        findings.extend([
            written_zeroes(&dir),
            sync_latency(&dir),
            whole_sync(&dir),
            sectors(&dir),
        ]);
    }
    findings
}

fn direct_io(dir: &Path, wanted: DirectIo) -> Finding {
    match check_direct_io(dir) {
        Ok(()) => Finding::good("direct IO", "O_DIRECT in 4 KiB blocks works"),
        Err(refused) if refused.is_unsupported() && wanted == DirectIo::Off => Finding::warning(
            "direct IO",
            format!("{refused}; storage.direct-io=false does without"),
            "use xfs or ext4: through the page cache the log is slower, and only as durable as that file system",
        ),
        Err(refused) if refused.is_unsupported() => {
            Finding::failure("direct IO", refused.to_string(), DIRECT_IO_REMEDY)
        }
        Err(refused) if refused.error.raw_os_error() == Some(libc::ENOSPC) => Finding::failure(
            "data directory",
            refused.to_string(),
            "the disk is full: make room",
        ),
        Err(refused) => Finding::failure(
            "data directory",
            refused.to_string(),
            "give this user the right to write there (`chown`), or another directory with --data",
        ),
    }
}

/// Whether space can be reserved as written zeroes.
fn written_zeroes(dir: &Path) -> Finding {
    let found = match reserves_written_zeroes(dir) {
        true => "FALLOC_FL_WRITE_ZEROES works: fresh segments are as fast as written ones",
        false => {
            "FALLOC_FL_WRITE_ZEROES is not offered (Linux 6.17 and a device that zeroes by itself): segments begin as unwritten extents, which cost up to a third of the write rate"
        }
    };
    Finding::good("written zeroes", found)
}

/// The nearest directory above `data` that exists.
fn existing(data: &Path) -> PathBuf {
    let mut dir = data.to_path_buf();
    while !dir.is_dir() {
        dir = match dir.parent() {
            Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
            Some(parent) => parent.to_path_buf(),
            None => return PathBuf::from("."),
        };
    }
    dir
}

/// Whether a directory is in memory only.
pub fn is_in_memory(dir: &Path) -> bool {
    stat_fs(dir).is_ok_and(|(kind, _)| ["tmpfs", "ramfs"].contains(&kind_name(kind)))
}

/// The kind of a directory's file system.
pub fn file_system(dir: &Path) -> Finding {
    let name = match stat_fs(dir) {
        Ok((kind, _)) => kind_name(kind),
        Err(error) => {
            return Finding::warning(
                "file system",
                format!("cannot be told: {error}"),
                "see statfs(2)",
            );
        }
    };
    let found = format!("{name} under {}", dir.display());
    match name {
        "xfs" | "ext4" => Finding::good("file system", found),
        "tmpfs" | "ramfs" => Finding::warning(
            "file system",
            found,
            "nothing here survives a restart of the machine: use xfs or ext4",
        ),
        "overlay" => Finding::warning(
            "file system",
            found,
            "put the data directory on a volume of its own (`docker run -v`): overlay files are slow and go with the container",
        ),
        "nfs" | "smb" | "fuse" => Finding::warning(
            "file system",
            found,
            "a network file system decides on its own when bytes are durable: use a local disk with xfs or ext4",
        ),
        _ => Finding::warning(
            "file system",
            found,
            "measured on xfs and ext4 only: prefer one of them",
        ),
    }
}

fn stat_fs(dir: &Path) -> io::Result<(i64, u64)> {
    let path = CString::new(dir.as_os_str().as_bytes())?;
    // SAFETY: all-zero bytes are a valid statfs.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends in NUL and both live through the call.
    if unsafe { libc::statfs(path.as_ptr(), &mut found) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((found.f_type, found.f_bavail * found.f_bsize as u64))
}

/// The name of a file system by its magic number (statfs(2)).
fn kind_name(magic: i64) -> &'static str {
    match magic {
        0xef53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlay",
        0x6969 => "nfs",
        0xff53_4d42 | 0xfe53_4d42 => "smb",
        0x8584_58f6 => "ramfs",
        0x6573_5546 => "fuse",
        0x2fc1_2fc1 => "zfs",
        0xf2f5_2010 => "f2fs",
        _ => "a file system of another kind",
    }
}

fn room(dir: &Path) -> Finding {
    let free = stat_fs(dir).map_or(0, |(_, free)| free);
    let found = format!("{} free", bytes(free));
    let remedy = "make room: a shard keeps journals of 128 to 512 MiB beside its segments";
    match free {
        free if free < ROOM_WANTED_BYTES => Finding::warning("room", found, remedy),
        _ => Finding::good("room", found),
    }
}

fn sync_latency(dir: &Path) -> Finding {
    let mut micros = match measure_sync(dir) {
        Ok(micros) if !micros.is_empty() => micros,
        Ok(_) => {
            return Finding::warning("sync latency", "could not be measured", "look at the disk");
        }
        Err(error) => {
            return Finding::warning(
                "sync latency",
                format!("could not be measured: {error}"),
                "look at the disk",
            );
        }
    };
    micros.sort_unstable();
    let at = |share: f64| micros[((micros.len() - 1) as f64 * share) as usize];
    let found = format!(
        "4 KiB synced writes: {} us median, {} us at 99 %, {} us worst of {}",
        at(0.5),
        at(0.99),
        at(1.0),
        micros.len()
    );
    match at(0.5) {
        0..10 => Finding::warning(
            "sync latency",
            found,
            "too fast to be a disk: check that the device (or the hypervisor) really writes when asked to; a cache without a battery loses acknowledged records in a power cut",
        ),
        10..5_000 => Finding::good("sync latency", found),
        _ => Finding::warning(
            "sync latency",
            found,
            "every durable reply waits this long: use an SSD or NVMe disk",
        ),
    }
}

/// Microseconds of 4 KiB writes with RWF_DSYNC over blocks that were written before.
fn measure_sync(dir: &Path) -> io::Result<Vec<u64>> {
    let probe = Probe::new(dir);
    let file = probe.open(libc::O_DIRECT).or_else(|_| probe.open(0))?;
    let block = Block([0x4d; BLOCK_BYTES]);
    for index in 0..PROBE_BYTES / BLOCK_BYTES {
        file.write_all_at(&block.0, (index * BLOCK_BYTES) as u64)?;
    }
    file.sync_all()?;
    let slice = libc::iovec {
        iov_base: block.0.as_ptr() as *mut libc::c_void,
        iov_len: BLOCK_BYTES,
    };
    let began = Instant::now();
    let mut micros = Vec::new();
    while began.elapsed() < MEASURE && micros.len() < WRITES_MAX {
        let position = (micros.len() * BLOCK_BYTES % PROBE_BYTES) as i64;
        let start = Instant::now();
        // SAFETY: the slice points at a block that lives through the call and is only read.
        let written =
            unsafe { libc::pwritev2(file.as_raw_fd(), &slice, 1, position, libc::RWF_DSYNC) };
        if written != BLOCK_BYTES as isize {
            return Err(io::Error::last_os_error());
        }
        micros.push(start.elapsed().as_micros() as u64);
    }
    Ok(micros)
}

/// Many flushes at once are synced by one syncfs, unless that is slow: it also writes out what others wrote.
fn whole_sync(dir: &Path) -> Finding {
    let (told, took) = channel();
    let dir = dir.to_path_buf();
    // BOUND: nobody waits longer than `SYNC_MAX`; the thread ends with the process.
    let measured = thread::Builder::new().spawn(move || told.send(measure_whole_sync(&dir)));
    match measured.map(|_| took.recv_timeout(SYNC_MAX)) {
        Ok(Ok(Ok(took))) => syncfs_of(took),
        Ok(Err(RecvTimeoutError::Timeout)) => syncfs_of(SYNC_MAX),
        Ok(Ok(Err(error))) | Err(error) => Finding::warning(
            "syncfs",
            format!("could not be measured: {error}"),
            "look at the disk",
        ),
        Ok(Err(RecvTimeoutError::Disconnected)) => {
            Finding::warning("syncfs", "could not be measured", "look at the disk")
        }
    }
}

pub(super) fn syncfs_of(took: Duration) -> Finding {
    let found = format!("the whole file system is synced in {} ms", took.as_millis());
    match took {
        took if took > SYNC_WANTED => Finding::warning(
            "syncfs",
            found,
            "others write much to this file system: a shard then syncs file by file, which is slower with many partitions; give the data directory a file system of its own",
        ),
        _ => Finding::good("syncfs", found),
    }
}

fn measure_whole_sync(dir: &Path) -> io::Result<Duration> {
    let dir = File::open(dir)?;
    let began = Instant::now();
    // SAFETY: a plain system call on a descriptor that lives through it.
    match unsafe { libc::syncfs(dir.as_raw_fd()) } {
        0 => Ok(began.elapsed()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn sectors(dir: &Path) -> Finding {
    let Some(queue) = queue_of(dir) else {
        return Finding::good(
            "sectors",
            "the device tells nothing; assumed: a 512 B sector is written whole or not at all",
        );
    };
    let read = |name: &str| {
        std::fs::read_to_string(queue.join(name))
            .map_or_else(|_| String::from("?"), |text| text.trim().to_owned())
    };
    Finding::good(
        "sectors",
        format!(
            "logical {} B, physical {} B, cache {}; assumed: a logical sector is written whole or not at all",
            read("logical_block_size"),
            read("physical_block_size"),
            read("write_cache")
        ),
    )
}

/// The queue directory in sysfs of the device under a directory; a partition's is that of its disk.
fn queue_of(dir: &Path) -> Option<PathBuf> {
    let device = std::fs::metadata(dir).ok()?.dev();
    let node = format!(
        "/sys/dev/block/{}:{}",
        libc::major(device),
        libc::minor(device)
    );
    let node = std::fs::canonicalize(node).ok()?;
    [node.join("queue"), node.parent()?.join("queue")]
        .into_iter()
        .find(|queue| queue.is_dir())
}
