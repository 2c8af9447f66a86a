use super::*;
use crate::cache::SlabPool;
use crate::disk::*;
use bytes::Bytes;
use io_uring::{IoUring, squeue};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const SLOT: FileSlot = FileSlot(3);

/// A directory that goes with its test.
struct TestDirectory(PathBuf);

impl TestDirectory {
    fn new() -> TestDirectory {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("storage-io-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        TestDirectory(path)
    }
}

impl Drop for TestDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A ring and an executor, driven one operation at a time.
struct Bench {
    executor: DiskExecutor,
    ring: IoUring,
    directory: TestDirectory,
    next_op: u64,
}

impl Bench {
    fn new() -> Bench {
        let directory = TestDirectory::new();
        let direct = check_direct_io(&directory.0).map_or(DirectIo::Off, |()| DirectIo::On);
        Bench::with(directory, direct)
    }

    fn with(directory: TestDirectory, direct_io: DirectIo) -> Bench {
        Bench {
            executor: DiskExecutor::new(&directory.0, direct_io, SlabPool::new(1 << 20)).unwrap(),
            ring: IoUring::new(64).unwrap(),
            directory,
            next_op: 0,
        }
    }

    fn start(&mut self, disk: DiskOp) -> OpId {
        self.next_op += 1;
        let op = OpId(self.next_op);
        let ring = &mut self.ring;
        self.executor
            .submit(op, disk, &mut |entry| push(ring, entry));
        op
    }

    /// Waits until some operation has ended.
    fn wait(&mut self) -> DiskDone {
        loop {
            self.ring.submit_and_wait(1).unwrap();
            let entry = self.ring.completion().next().unwrap();
            let ring = &mut self.ring;
            let done = self
                .executor
                .complete(entry.user_data(), entry.result(), &mut |entry| {
                    push(ring, entry)
                });
            if let Some(done) = done {
                return done;
            }
        }
    }

    fn run(&mut self, disk: DiskOp) -> DiskResult {
        let op = self.start(disk);
        let done = self.wait();
        assert_eq!(done.op, op);
        assert!(self.executor.is_quiet());
        done.result
    }

    fn done(&mut self, disk: DiskOp) {
        let text = format!("{disk:?}");
        let result = self.run(disk);
        assert!(matches!(result, DiskResult::Done), "{text}: {result:?}");
    }

    fn errno(&mut self, disk: DiskOp) -> i32 {
        match self.run(disk) {
            DiskResult::Failed(error) => error.errno,
            result => panic!("{result:?}"),
        }
    }

    fn open(&mut self, path: &str, mode: OpenMode) {
        self.done(DiskOp::Open {
            slot: SLOT,
            path: at(path),
            mode,
            caching: Caching::Direct,
        });
    }

    fn read(&mut self, position: u64, bytes: usize) -> Bytes {
        match self.run(DiskOp::Read {
            slot: SLOT,
            position,
            bytes,
        }) {
            DiskResult::Bytes(bytes) => bytes,
            result => panic!("{result:?}"),
        }
    }
}

fn push(ring: &mut IoUring, entry: &squeue::Entry) {
    // SAFETY: the executor keeps what the entry points to, and outlives the ring's work in every test.
    unsafe { ring.submission().push(entry) }.unwrap();
}

fn at(path: &str) -> Arc<Path> {
    Path::new(path).into()
}

fn blocks(count: usize, byte: u8) -> Bytes {
    let pool = SlabPool::new(0);
    let mut buffer = pool.take(count * BLOCK_BYTES);
    for (index, block) in buffer.chunks_mut(BLOCK_BYTES).enumerate() {
        block.fill(byte.wrapping_add(index as u8));
    }
    buffer.freeze()
}

fn write(position: u64, data: Vec<Bytes>, sync: WriteSync) -> DiskOp {
    DiskOp::Write {
        slot: SLOT,
        position,
        data,
        sync,
    }
}

#[test]
fn what_is_written_is_read_again() {
    let mut bench = Bench::new();
    bench.done(DiskOp::MakeDir {
        path: at("shard-0"),
    });
    bench.open("shard-0/a.log", OpenMode::Create);
    let reservation = Reservation::Unwritten;
    bench.done(DiskOp::Reserve {
        slot: SLOT,
        position: 0,
        bytes: 1 << 20,
        reservation,
    });
    bench.done(write(0, vec![blocks(2, 1), blocks(1, 9)], WriteSync::Data));
    bench.done(write(
        3 * BLOCK_BYTES as u64,
        vec![blocks(1, 20)],
        WriteSync::None,
    ));
    bench.done(DiskOp::SyncData { slot: SLOT });
    let whole = bench.read(0, 4 * BLOCK_BYTES);
    assert_eq!(
        whole,
        [&blocks(2, 1)[..], &blocks(1, 9), &blocks(1, 20)].concat()
    );
    assert!(bench.read(1 << 19, 100).iter().all(|byte| *byte == 0));
    bench.done(DiskOp::SyncDir {
        path: at("shard-0"),
    });
    bench.done(DiskOp::SyncDir { path: at("") });
    bench.done(DiskOp::Close { slot: SLOT });
    assert_eq!(bench.executor.open_count(), 0);
}

#[test]
fn reads_need_no_alignment_and_end_with_the_file() {
    let mut bench = Bench::new();
    let content: Vec<u8> = (0..10_000u32).map(|index| (index % 251) as u8).collect();
    std::fs::write(bench.directory.0.join("plain"), &content).unwrap();
    bench.open("plain", OpenMode::Read);
    for (position, bytes) in [
        (0, 10_000),
        (1, 61),
        (4095, 2),
        (4096, 4096),
        (8000, 5000),
        (9999, 1),
        (10_000, 5),
        (20_000, 9),
    ] {
        let end = (position + bytes).min(content.len());
        let wanted = content.get(position..end).unwrap_or_default();
        assert_eq!(
            bench.read(position as u64, bytes),
            wanted,
            "{position} {bytes}"
        );
    }
}

#[test]
fn a_write_of_more_slices_than_the_kernel_takes_at_once_is_whole() {
    let mut bench = Bench::new();
    bench.open("many", OpenMode::Create);
    let data: Vec<Bytes> = (0..2500).map(|index| blocks(1, index as u8)).collect();
    let wanted = data.concat();
    bench.done(write(0, data, WriteSync::None));
    assert_eq!(bench.read(0, wanted.len()), wanted);
}

#[test]
fn a_short_write_goes_on_behind_what_was_written() {
    let directory = TestDirectory::new();
    let mut executor = DiskExecutor::new(&directory.0, DirectIo::Off, SlabPool::new(0)).unwrap();
    // No ring: the completions are made up.
    let mut entries = Vec::new();
    let open = DiskOp::Open {
        slot: SLOT,
        path: at("file"),
        mode: OpenMode::Create,
        caching: Caching::Direct,
    };
    executor.submit(OpId(1), open, &mut |entry| entries.push(entry.clone()));
    let descriptor = std::fs::File::create(directory.0.join("file")).unwrap();
    let descriptor = std::os::fd::IntoRawFd::into_raw_fd(descriptor);
    assert!(
        executor
            .complete(2 << 56, descriptor, &mut |_| {})
            .is_some()
    );
    let data = vec![
        Bytes::from(vec![1; 100]),
        Bytes::new(),
        Bytes::from(vec![2; 50]),
    ];
    let mut pushed = 0;
    executor.submit(OpId(2), write(0, data, WriteSync::None), &mut |_| {
        pushed += 1
    });
    for written in [1, 98, 2, -libc::EINTR, 48] {
        assert!(
            executor
                .complete(2 << 56, written, &mut |_| pushed += 1)
                .is_none()
        );
    }
    let done = executor.complete(2 << 56, 1, &mut |_| pushed += 1).unwrap();
    assert!(matches!(done.result, DiskResult::Done) && done.op == OpId(2));
    assert_eq!(pushed, 6);
    // A write that makes no progress fails instead of going on for ever.
    executor.submit(
        OpId(3),
        write(0, vec![Bytes::from("x")], WriteSync::None),
        &mut |_| {},
    );
    let done = executor.complete(2 << 56, 0, &mut |_| {}).unwrap();
    assert!(matches!(
        done.result,
        DiskResult::Failed(DiskError { errno: libc::EIO })
    ));
}

#[test]
fn an_empty_write_completes() {
    let mut bench = Bench::new();
    bench.open("empty", OpenMode::Create);
    bench.done(write(0, Vec::new(), WriteSync::Data));
}

#[test]
fn lengths_are_set_and_the_file_system_is_synced() {
    let mut bench = Bench::new();
    bench.open("file", OpenMode::Create);
    bench.done(write(0, vec![blocks(2, 1)], WriteSync::None));
    bench.done(DiskOp::SetLength {
        slot: SLOT,
        bytes: 5000,
    });
    assert_eq!(bench.read(0, 9000).len(), 5000);
    bench.done(DiskOp::SyncFs { slot: SLOT });
    bench.done(DiskOp::SyncFs { slot: SLOT });
}

#[test]
fn operations_in_flight_complete_once_each() {
    let mut bench = Bench::new();
    bench.open("file", OpenMode::Create);
    let mut open = std::collections::BTreeSet::new();
    for index in 0..20 {
        open.insert(bench.start(write(
            index * 8192,
            vec![blocks(2, index as u8)],
            WriteSync::Data,
        )));
        if index % 5 == 0 {
            open.insert(bench.start(DiskOp::SyncFs { slot: SLOT }));
        }
    }
    open.insert(bench.start(DiskOp::Close { slot: SLOT }));
    while !open.is_empty() {
        let done = bench.wait();
        assert!(matches!(done.result, DiskResult::Done), "{done:?}");
        assert!(open.remove(&done.op));
    }
    assert!(bench.executor.is_quiet());
}

#[test]
fn what_is_there_or_gone_already_is_success() {
    let mut bench = Bench::new();
    bench.done(DiskOp::MakeDir { path: at("d") });
    bench.done(DiskOp::MakeDir { path: at("d") });
    bench.open("d/a", OpenMode::Create);
    bench.done(DiskOp::Close { slot: SLOT });
    bench.done(DiskOp::Rename {
        from: at("d/a"),
        to: at("d/b"),
    });
    bench.done(DiskOp::Unlink { path: at("d/a") });
    assert_eq!(
        bench.errno(DiskOp::RemoveDir { path: at("d") }),
        libc::ENOTEMPTY
    );
    bench.done(DiskOp::Unlink { path: at("d/b") });
    bench.done(DiskOp::RemoveDir { path: at("d") });
    bench.done(DiskOp::RemoveDir { path: at("d") });
}

#[test]
fn errors_are_told_and_leave_the_slot_free() {
    let mut bench = Bench::new();
    let open = |path: &str| DiskOp::Open {
        slot: SLOT,
        path: at(path),
        mode: OpenMode::ReadWrite,
        caching: Caching::Direct,
    };
    assert_eq!(bench.errno(open("absent")), libc::ENOENT);
    assert_eq!(
        bench.errno(DiskOp::SyncDir { path: at("absent") }),
        libc::ENOENT
    );
    bench.open("absent", OpenMode::Create);
    assert_eq!(
        bench.errno(DiskOp::SetLength {
            slot: SLOT,
            bytes: u64::MAX
        }),
        libc::EINVAL
    );
    let refused = explain(
        &open("x"),
        DiskError {
            errno: libc::EINVAL,
        },
    );
    assert!(refused.contains("storage.direct-io=false"), "{refused}");
}

#[test]
fn without_direct_io_everything_works_the_same() {
    let mut bench = Bench::with(TestDirectory::new(), DirectIo::Off);
    bench.open("file", OpenMode::Create);
    bench.done(write(5, vec![Bytes::from("unaligned")], WriteSync::Data));
    assert_eq!(bench.read(5, 100), "unaligned");
}

#[test]
fn reservation_reaches_as_far_as_asked() {
    let mut bench = Bench::new();
    bench.open("file", OpenMode::Create);
    let reserve = |reservation| DiskOp::Reserve {
        slot: SLOT,
        position: 8192,
        bytes: 65536,
        reservation,
    };
    bench.done(reserve(Reservation::Unwritten));
    let length = std::fs::metadata(bench.directory.0.join("file"))
        .unwrap()
        .len();
    assert_eq!(length, 8192 + 65536);
    // Offered by few devices: it works, or says that it does not.
    match bench.run(reserve(Reservation::WrittenZeroes)) {
        DiskResult::Done => {}
        result => assert!(
            matches!(
                result,
                DiskResult::Failed(DiskError {
                    errno: libc::EOPNOTSUPP | libc::EINVAL
                })
            ),
            "{result:?}"
        ),
    }
}

#[test]
fn the_system_disk_does_what_a_blocking_disk_does() {
    let directory = TestDirectory::new();
    let disk = SystemDisk::new(&directory.0);
    let file = Path::new("a/b/file");
    assert_eq!(disk.list(Path::new("a")).unwrap(), []);
    assert_eq!(disk.length(file).unwrap(), None);
    assert!(disk.read(file, 0, &mut [0]).is_err());
    disk.make_dirs(Path::new("a/b")).unwrap();
    disk.write(file, 3, b"hello").unwrap();
    assert_eq!(disk.length(file).unwrap(), Some(8));
    let mut bytes = [9; 10];
    assert_eq!(disk.read(file, 2, &mut bytes).unwrap(), 6);
    assert_eq!(&bytes[..6], b"\0hello");
    disk.set_length(file, 4).unwrap();
    disk.sync_data(file).unwrap();
    disk.sync_dir(Path::new("a/b")).unwrap();
    disk.sync_fs().unwrap();
    disk.rename(file, Path::new("a/c")).unwrap();
    assert!(disk.read(file, 0, &mut bytes).is_err());
    assert_eq!(disk.read(Path::new("a/c"), 3, &mut bytes).unwrap(), 1);
    let names: Vec<_> = disk
        .list(Path::new("a"))
        .unwrap()
        .into_iter()
        .map(|entry| (entry.name, entry.kind))
        .collect();
    assert_eq!(
        names,
        [
            ("b".into(), EntryKind::Directory),
            ("c".into(), EntryKind::File)
        ]
    );
    disk.unlink(Path::new("a/c")).unwrap();
    disk.unlink(Path::new("a/c")).unwrap();
    disk.remove_dir(Path::new("a/b")).unwrap();
    disk.remove_dir(Path::new("a/b")).unwrap();
}

#[test]
fn a_data_directory_has_one_owner() {
    let directory = TestDirectory::new();
    let held =
        DataLock::acquire(&directory.0, Duration::ZERO, |_| panic!("nobody has it")).unwrap();
    let mut told = String::new();
    let refused = DataLock::acquire(&directory.0, Duration::from_millis(30), |owner| {
        told = owner.to_owned()
    });
    let message = refused.unwrap_err().to_string();
    let pid = format!("pid {}", std::process::id());
    assert!(told == pid && message.contains(&pid), "{message}");
    let release = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        drop(held);
    });
    let begin = Instant::now();
    DataLock::acquire(&directory.0, DataLock::PATIENCE, |_| {}).unwrap();
    assert!(begin.elapsed() < DataLock::PATIENCE);
    release.join().unwrap();
}

#[test]
fn the_check_of_direct_io_leaves_nothing_behind() {
    let directory = TestDirectory::new();
    if let Err(refused) = check_direct_io(&directory.0) {
        assert!(refused.is_unsupported(), "{refused}");
    }
    assert_eq!(std::fs::read_dir(&directory.0).unwrap().count(), 0);
    let absent = check_direct_io(&directory.0.join("absent")).unwrap_err();
    assert!(!absent.is_unsupported());
}
