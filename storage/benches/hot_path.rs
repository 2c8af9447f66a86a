//! What a batch costs on its way into a log, and what it allocates: `cargo bench -p millstream-storage --bench hot_path`. That
//! allocations do not come with records is a test (`tests/allocations/`).

use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher, black_box};
use millstream_storage::batch::{Stamp, stamp, validate};
use millstream_storage::cache::{Budgets, Cache};
use millstream_storage::ids::{LeaderEpoch, LogNumber, Offset, WallMs};

#[path = "../tests/allocations/steps.rs"]
mod steps;

/// Records of a batch and bytes of each value.
const SHAPES: [(usize, usize); 5] = [(1, 200), (1, 1024), (64, 1024), (1000, 10), (4000, 250)];

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

#[divan::bench(args = SHAPES)]
fn validate_a_batch(bencher: Bencher, (records, value_bytes): (usize, usize)) {
    let bytes = steps::batch(records, value_bytes);
    let rules = steps::rules();
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench_local(|| validate(black_box(&bytes), &rules).is_ok());
}

#[divan::bench(args = SHAPES)]
fn crc_of_a_batch(bencher: Bencher, (records, value_bytes): (usize, usize)) {
    let bytes = steps::batch(records, value_bytes);
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench_local(|| crc32c::crc32c(black_box(&bytes[21..])));
}

/// With the time of the append, which changes what the CRC is over.
#[divan::bench(args = [1024, 64 << 10])]
fn stamp_a_batch(bencher: Bencher, value_bytes: usize) {
    let mut bytes = steps::batch(1, value_bytes);
    let mut time = steps::WALL_MS;
    bencher.bench_local(|| {
        time += 1;
        let mark = Stamp {
            base_offset: Offset(7),
            leader_epoch: LeaderEpoch(1),
            log_append_time: Some(WallMs(time)),
        };
        stamp(black_box(&mut bytes), &mark);
    });
}

#[divan::bench(args = [1 << 10, 64 << 10])]
fn append_to_the_cache(bencher: Bencher, bytes: usize) {
    let source = vec![7u8; bytes];
    let mut cache = Cache::new(Budgets {
        unflushed_bytes: 64 << 20,
        clean_bytes: 64 << 20,
        free_bytes: 16 << 20,
    });
    let mut position = 0u64;
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        let room = cache.append(LogNumber(1), Offset(0), position, bytes, true);
        room.copy_from_slice(&source);
        position += bytes as u64;
        if position.is_multiple_of(1 << 20) {
            cache.clean(LogNumber(1), Offset(0), position);
        }
    });
}

/// Until it is durable, with a disk that does everything at once.
#[divan::bench(args = [1 << 10, 64 << 10])]
fn append_to_the_journal(bencher: Bencher, bytes: usize) {
    let mut journaling = steps::Journaling::new(steps::batch(1, bytes), 1);
    bencher
        .counter(BytesCount::new(bytes))
        .bench_local(|| journaling.step());
}

/// In a GiB of batches of 1 KiB.
#[divan::bench]
fn look_up_an_offset(bencher: Bencher) {
    let layout = steps::layout();
    let mut offset = 1;
    bencher.bench_local(|| {
        offset = (offset * 48_271) % 1_000_000;
        layout.locate(Offset(offset + 1))
    });
}
