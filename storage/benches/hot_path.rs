//! What a batch costs on its way into a segment: validation, stamping, the copy into a chunk, indexing. Plain timing, best of
//! several rounds: `cargo bench -p millstream-storage`. Fails where validation, stamping or a look-up allocates.

use millstream_storage::batch::{
    BatchBuilder, BatchHeader, BatchRules, Compression, Keys, Stamp, Timestamps, Zstd, stamp,
    validate,
};
use millstream_storage::cache::{Budgets, Cache};
use millstream_storage::ids::{LeaderEpoch, LogNumber, Offset, WallMs};
use millstream_storage::log::Layout;
use std::alloc::{GlobalAlloc, Layout as Memory, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const ROUNDS: usize = 30;
const NOW: i64 = 1_700_000_000_000;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Memory) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's layout, as it is.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Memory) {
        // SAFETY: memory of `alloc`, with its layout.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Fails if a call allocates.
fn assert_no_allocation(name: &str, mut call: impl FnMut()) {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    (0..100).for_each(|_| call());
    let count = ALLOCATIONS.load(Ordering::Relaxed) - before;
    assert_eq!(count, 0, "{name} allocates on the hot path");
}

/// Nanoseconds of one call: the best round of many calls each.
fn best_ns(calls: usize, mut call: impl FnMut()) -> f64 {
    let round = |_| {
        let begin = Instant::now();
        (0..calls).for_each(|_| call());
        begin.elapsed().as_nanos() as f64 / calls as f64
    };
    (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min)
}

fn batch(records: usize, value_bytes: usize, compression: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchHeader {
        compression,
        ..BatchHeader::default()
    });
    for index in 0..records {
        let value: Vec<u8> = (0..value_bytes)
            .map(|at| (index * 31 + at * 7) as u8)
            .collect();
        builder.push(NOW + index as i64, Some(b"key-0001"), Some(&value), &[]);
    }
    builder.finish().to_vec()
}

fn rules() -> BatchRules {
    BatchRules {
        now: WallMs(NOW),
        bytes_max: 16 << 20,
        segment_bytes: 1 << 30,
        decompressed_bytes_max: 64 << 20,
        keys: Keys::Optional,
        timestamps: Timestamps::Created {
            before_ms: i64::MAX,
            after_ms: 3_600_000,
        },
        zstd: Zstd::Allowed,
    }
}

fn validation() {
    for (records, value_bytes) in [(1, 200), (1, 1024), (64, 1024), (1000, 10), (4000, 250)] {
        let bytes = batch(records, value_bytes, Compression::None);
        let calls = (8 << 20) / bytes.len() + 1;
        assert_no_allocation("validation", || {
            validate(black_box(&bytes), &rules()).expect("a good batch");
        });
        let whole = best_ns(calls, || {
            validate(black_box(&bytes), &rules()).expect("a good batch");
        });
        let crc = best_ns(calls, || {
            black_box(crc32c::crc32c(black_box(&bytes[21..])));
        });
        println!(
            "validate {records:>5} records of {value_bytes:>4} B: {whole:>9.0} ns, {:>5.1} GB/s; CRC {crc:>8.0} ns; beyond it {:>5.2} ns/record",
            bytes.len() as f64 / whole,
            (whole - crc) / records as f64,
        );
    }
}

fn stamping() {
    for value_bytes in [1024, 64 << 10] {
        let mut bytes = batch(1, value_bytes, Compression::None);
        let mut time = NOW;
        assert_no_allocation("stamping", || {
            let mark = Stamp {
                base_offset: Offset(7),
                leader_epoch: LeaderEpoch(1),
                log_append_time: Some(WallMs(NOW)),
            };
            stamp(black_box(&mut bytes), &mark);
        });
        let patched = best_ns(10_000, || {
            time += 1;
            let mark = Stamp {
                base_offset: Offset(7),
                leader_epoch: LeaderEpoch(1),
                log_append_time: Some(WallMs(time)),
            };
            stamp(black_box(&mut bytes), &mark);
        });
        println!("stamp with log-append time, {value_bytes:>6} B: {patched:.0} ns");
    }
}

fn appending() {
    for (bytes, batches) in [(1 << 10, 64 << 10), (64 << 10, 1024)] {
        let source = vec![7u8; bytes];
        let mut cache = Cache::new(Budgets {
            unflushed_bytes: 64 << 20,
            clean_bytes: 64 << 20,
            free_bytes: 16 << 20,
        });
        let mut position = 0u64;
        let per_batch = best_ns(batches, || {
            cache
                .append(LogNumber(1), Offset(0), position, bytes)
                .copy_from_slice(&source);
            position += bytes as u64;
            if position.is_multiple_of(1 << 20) {
                cache.clean(LogNumber(1), Offset(0), position);
            }
        });
        println!(
            "append to the cache, {bytes:>6} B: {per_batch:.0} ns, {:.1} GB/s",
            bytes as f64 / per_batch
        );
    }
}

fn looking_up() {
    let head = millstream_storage::batch::BatchHead::parse(&batch(1, 1000, Compression::None))
        .expect("a good batch");
    let mut layout = Layout::new(Offset(0), WallMs(0), 4096);
    for offset in 0..1_000_000 {
        let head = millstream_storage::batch::BatchHead {
            base_offset: Offset(offset),
            ..head
        };
        layout.append(&head, WallMs(0));
    }
    assert_no_allocation("a look-up", || {
        black_box(layout.locate(Offset(700_000)));
    });
    let mut offset = 1;
    let per_lookup = best_ns(100_000, || {
        offset = (offset * 48_271) % 1_000_000;
        black_box(layout.locate(Offset(offset + 1)));
    });
    println!(
        "look up an offset in 1 GiB: {per_lookup:.0} ns; its index takes {} KiB",
        layout.index_bytes() >> 10
    );
}

fn main() {
    validation();
    stamping();
    appending();
    looking_up();
}
