use super::*;
use crate::disk::BLOCK_BYTES;
use crate::ids::{LogNumber, Offset};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::Range;

const LOG: LogNumber = LogNumber(7);
const SEGMENT: Offset = Offset(0);

fn cache(unflushed_bytes: usize, clean_bytes: usize) -> Cache {
    Cache::new(Budgets {
        unflushed_bytes,
        clean_bytes,
        free_bytes: 1 << 20,
    })
}

/// The byte that tests put at a position of a segment.
fn content(position: u64) -> u8 {
    (position.wrapping_mul(2_654_435_761) >> 7) as u8
}

fn fill(cache: &mut Cache, log: LogNumber, position: u64, bytes: usize) -> u64 {
    for (index, byte) in cache
        .append(log, SEGMENT, position, bytes, false)
        .iter_mut()
        .enumerate()
    {
        *byte = content(position + index as u64);
    }
    cache.check();
    position + bytes as u64
}

fn joined(slices: &[Bytes]) -> Vec<u8> {
    slices.concat()
}

fn expected(from: u64, to: u64) -> Vec<u8> {
    (from..to).map(content).collect()
}

#[test]
fn clean_memory_grows_by_what_readers_miss_within_its_budget_and_shrinks_when_idle() {
    const MIB: usize = 1 << 20;
    let mut cache = cache(64 * MIB, 400 * MIB);
    let mut end = 0;
    let mut write = |cache: &mut Cache| {
        for _ in 0..500 {
            cache.append(LOG, SEGMENT, end, MIB, false);
            end += MIB as u64;
            cache.clean(LOG, SEGMENT, end);
        }
        cache.clean_bytes() / MIB
    };
    assert_eq!(write(&mut cache), 256);
    cache.missed(100 * MIB, 401 << 20);
    assert_eq!(write(&mut cache), 256, "no cache of this budget holds that");
    cache.missed(100 * MIB, 400 << 20);
    assert_eq!(write(&mut cache), 356);
    cache.missed(4000 * MIB, 0);
    assert_eq!(write(&mut cache), 400);
    cache.trim();
    assert_eq!(cache.clean_bytes(), 0);
    assert_eq!(write(&mut cache), 256);
}

#[test]
fn slices_give_what_was_appended_across_chunks() {
    let mut cache = cache(64 << 20, 64 << 20);
    let mut end = 0;
    for bytes in [100, 5000, 61, 300_000, 70_000, 1_500_000, 9] {
        end = fill(&mut cache, LOG, end, bytes);
    }
    for (from, to) in [
        (0, end),
        (99, 101),
        (5100, 5161),
        (4096, 400_000),
        (end - 1, end),
    ] {
        let mut out = Vec::new();
        cache.slices(LOG, SEGMENT, from..to, &mut out).unwrap();
        assert_eq!(joined(&out), expected(from, to));
    }
    assert_eq!(
        cache.slices(LOG, SEGMENT, 0..end + 1, &mut Vec::new()),
        Err(Missing)
    );
    assert_eq!(cache.held_until(LOG, SEGMENT, 50), Some(end));
    assert_eq!(cache.held_until(LOG, SEGMENT, end), None);
    assert_eq!(
        cache.peek(LOG, SEGMENT, 5161).unwrap()[..300_000],
        expected(5161, 305_161)
    );
}

#[test]
fn staged_slices_are_aligned_and_the_last_block_is_padded() {
    let mut cache = cache(64 << 20, 64 << 20);
    let mut end = 0;
    let mut ends = vec![0];
    for bytes in [1, 4095, 4096, 200, 7000, 20_000, 61, 61, 61, 150_000, 3] {
        end = fill(&mut cache, LOG, end, bytes);
        ends.push(end);
    }
    for (index, from) in ends.iter().enumerate() {
        for to in &ends[index + 1..] {
            let mut out = Vec::new();
            cache.staged(LOG, SEGMENT, *from..*to, &mut out).unwrap();
            assert!(
                out.iter()
                    .all(|slice| (slice.as_ptr() as usize).is_multiple_of(BLOCK_BYTES))
            );
            assert!(
                out.iter()
                    .all(|slice| slice.len().is_multiple_of(BLOCK_BYTES))
            );
            let start = from - from % BLOCK_BYTES as u64;
            let mut wanted = expected(start, *to);
            wanted.resize(wanted.len().next_multiple_of(BLOCK_BYTES), 0);
            assert_eq!(joined(&out), wanted, "{from}..{to}");
        }
    }
}

#[test]
fn slices_keep_their_bytes_when_the_log_is_truncated_and_grows_again() {
    let mut cache = cache(64 << 20, 64 << 20);
    fill(&mut cache, LOG, 0, 3000);
    let mut held = Vec::new();
    cache.slices(LOG, SEGMENT, 0..3000, &mut held).unwrap();
    cache.truncate(LOG, SEGMENT, 1000);
    cache.check();
    cache.append(LOG, SEGMENT, 1000, 3000, false).fill(9);
    assert_eq!(joined(&held), expected(0, 3000));
    let mut out = Vec::new();
    cache.staged(LOG, SEGMENT, 0..4000, &mut out).unwrap();
    assert_eq!(joined(&out)[..1000], expected(0, 1000));
    assert!(joined(&out)[1000..4000].iter().all(|byte| *byte == 9));
}

#[test]
fn clean_chunks_go_when_their_budget_is_full_and_unflushed_ones_stay() {
    let mut cache = cache(1 << 20, 64 << 10);
    let mut end = 0;
    for _ in 0..100 {
        end = fill(&mut cache, LOG, end, 4000);
    }
    assert!(cache.clean_bytes() == 0 && cache.unflushed_bytes() >= 400_000);
    cache.clean(LOG, SEGMENT, end - 4000);
    cache.check();
    assert!(cache.clean_bytes() <= 64 << 10);
    let mut out = Vec::new();
    assert_eq!(cache.slices(LOG, SEGMENT, 0..100, &mut out), Err(Missing));
    cache
        .slices(LOG, SEGMENT, end - 4000..end, &mut out)
        .unwrap();
    assert_eq!(joined(&out), expected(end - 4000, end));
}

#[test]
fn what_was_read_goes_after_what_was_not() {
    let mut cache = cache(64 << 20, 32 << 10);
    for log in 0..8 {
        fill(&mut cache, LogNumber(log), 0, 4096);
        cache.clean(LogNumber(log), SEGMENT, 4096);
    }
    cache
        .slices(LogNumber(0), SEGMENT, 0..10, &mut Vec::new())
        .unwrap();
    fill(&mut cache, LogNumber(8), 0, 4096);
    cache.clean(LogNumber(8), SEGMENT, 4096);
    cache.check();
    assert!(cache.held_until(LogNumber(0), SEGMENT, 0).is_some());
    assert!(cache.held_until(LogNumber(1), SEGMENT, 0).is_none());
}

#[test]
fn an_append_after_eviction_needs_no_read() {
    let mut cache = cache(64 << 20, 1 << 20);
    let end = fill(&mut cache, LOG, 0, 5000);
    cache.clean(LOG, SEGMENT, end);
    cache.trim();
    assert_eq!(
        (
            cache.clean_bytes(),
            cache.unflushed_bytes(),
            cache.pool().free_bytes()
        ),
        (0, 0, 0)
    );
    assert!(cache.continues(LOG, SEGMENT, end));
    let end = fill(&mut cache, LOG, end, 10);
    let mut out = Vec::new();
    cache.staged(LOG, SEGMENT, end - 10..end, &mut out).unwrap();
    assert_eq!(joined(&out)[..914], expected(4096, end));
}

#[test]
fn a_log_that_ends_with_a_block_has_nothing_restored_before_it() {
    let mut cache = cache(64 << 20, 1 << 20);
    cache.restore(LOG, SEGMENT, 8192, &[]);
    assert!(!cache.continues(LOG, SEGMENT, 8191));
    cache.truncate(LOG, SEGMENT, 8100);
    assert!(!cache.continues(LOG, SEGMENT, 8100) && cache.continues(LOG, SEGMENT, 8192));
}

#[test]
fn a_fast_log_grows_in_large_pages_once_some_are_ready() {
    let mut cache = Cache::new(Budgets {
        unflushed_bytes: 256 << 20,
        clean_bytes: 1 << 20,
        free_bytes: 64 << 20,
    });
    let mut end = 0;
    let mut grow = |cache: &mut Cache, log: LogNumber, fast: bool| {
        cache.append(log, SEGMENT, end, 64 << 10, fast).fill(7);
        end += 64 << 10;
        cache.pool().free_bytes()
    };
    for _ in 0..64 {
        assert_eq!(grow(&mut cache, LOG, true), 0, "no thread makes any here");
    }
    std::thread::spawn(cache.pool().huge_maker());
    while cache.pool().free_bytes() == 0 {
        grow(&mut cache, LOG, true);
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    while cache.pool().free_bytes() < 32 << 20 {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let free = |cache: &Cache| cache.pool().free_bytes();
    let ready = free(&cache);
    for _ in 0..64 {
        grow(&mut cache, LOG, false);
    }
    assert_eq!(free(&cache), ready, "a slow log takes none");
    for _ in 0..64 {
        grow(&mut cache, LOG, true);
    }
    assert_eq!(ready - free(&cache), 4 << 20);
    cache.check();
}

#[test]
fn a_log_goes_on_inside_a_restored_block() {
    let mut cache = cache(64 << 20, 1 << 20);
    assert!(!cache.continues(LOG, SEGMENT, 8200));
    cache.restore(LOG, SEGMENT, 8192, &expected(8192, 8200));
    assert!(cache.continues(LOG, SEGMENT, 8200));
    cache.truncate(LOG, SEGMENT, 8195);
    assert!(cache.continues(LOG, SEGMENT, 8195) && !cache.continues(LOG, SEGMENT, 8200));
    let end = fill(&mut cache, LOG, 8195, 100);
    let mut out = Vec::new();
    cache.staged(LOG, SEGMENT, 8195..end, &mut out).unwrap();
    assert_eq!(joined(&out)[..103], expected(8192, end));
}

#[test]
fn a_new_segment_begins_at_its_own_start_and_cleaning_covers_the_one_before() {
    let mut cache = cache(64 << 20, 1 << 20);
    fill(&mut cache, LOG, 0, 5000);
    cache.append(LOG, Offset(50), 0, 100, false).fill(1);
    cache.check();
    assert_eq!(cache.held_until(LOG, SEGMENT, 0), Some(5000));
    cache.clean(LOG, Offset(50), 100);
    cache.check();
    assert_eq!(cache.unflushed_bytes(), 0);
    cache.truncate(LOG, SEGMENT, 5000);
    assert_eq!(cache.held_until(LOG, Offset(50), 0), None);
    fill(&mut cache, LOG, 5000, 1);
}

#[test]
fn admission_counts_the_memory_that_an_append_would_take() {
    let mut cache = cache(16 << 10, 1 << 20);
    assert!(cache.admits(LOG, 16 << 10) && !cache.admits(LOG, (16 << 10) + 1));
    let mut end = 0;
    while cache.admits(LOG, 1000) {
        end = fill(&mut cache, LOG, end, 1000);
        assert!(cache.unflushed_bytes() <= 16 << 10);
    }
    assert!(end >= 8000);
    cache.clean(LOG, SEGMENT, end);
    assert!(cache.admits(LOG, 1000));
    cache.drop_log(LOG);
    cache.check();
    assert_eq!(cache.clean_bytes(), 0);
}

#[test]
fn many_slow_logs_take_one_small_chunk_each() {
    let mut cache = cache(128 << 20, 1 << 20);
    for round in 0..3 {
        for log in 0..5000 {
            cache
                .append(LogNumber(log), SEGMENT, round * 200, 200, false)
                .fill(0);
        }
    }
    cache.check();
    assert_eq!(cache.unflushed_bytes(), 5000 * 4096);
}

#[test]
fn memory_returns_to_the_pool_with_the_last_reader() {
    let pool = SlabPool::new(1 << 20);
    let mut buffer = pool.take(5000);
    buffer.fill(3);
    assert_eq!(buffer.capacity(), 8192);
    let bytes = buffer.freeze();
    let other = bytes.slice(100..200);
    drop(bytes);
    assert_eq!(pool.free_bytes(), 0);
    std::thread::spawn(move || drop(other)).join().unwrap();
    assert_eq!(pool.free_bytes(), 8192);
    pool.trim();
    assert_eq!(pool.free_bytes(), 0);
    assert_eq!(pool.take(0).capacity(), BLOCK_BYTES);
}

/// What a test does to one of a few logs.
#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Roll,
    Clean(prop::sample::Index),
    Truncate(prop::sample::Index),
    Hold(prop::sample::Index, prop::sample::Index),
    Stage,
    Trim,
    Drop,
}

fn any_step() -> impl Strategy<Value = (u64, Step)> {
    let step = prop_oneof![
        8 => prop_oneof![1..300usize, 3000..5000usize, 1..40_000usize].prop_map(Step::Append),
        1 => Just(Step::Roll),
        3 => any::<prop::sample::Index>().prop_map(Step::Clean),
        1 => any::<prop::sample::Index>().prop_map(Step::Truncate),
        3 => (any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(|(from, to)| Step::Hold(from, to)),
        2 => Just(Step::Stage),
        1 => Just(Step::Trim),
        1 => Just(Step::Drop),
    ];
    (0..3u64, step)
}

/// One log as plain bytes: what the cache must agree with.
#[derive(Default)]
struct PlainLog {
    segment: i64,
    bytes: Vec<u8>,
    flushed: usize,
}

/// The cache, plain logs beside it, and slices that somebody holds with the bytes they had when they were taken.
struct Model {
    cache: Cache,
    logs: BTreeMap<u64, PlainLog>,
    held: Vec<(Vec<Bytes>, Vec<u8>)>,
    seed: u8,
}

impl Model {
    fn step(&mut self, log: u64, step: Step) {
        let number = LogNumber(log);
        let plain = self.logs.entry(log).or_default();
        let segment = Offset(plain.segment);
        let end = plain.bytes.len();
        match step {
            Step::Append(bytes)
                if self.cache.admits(number, bytes)
                    && self.cache.continues(number, segment, end as u64) =>
            {
                self.seed = self.seed.wrapping_mul(31).wrapping_add(7);
                self.cache
                    .append(number, segment, end as u64, bytes, bytes % 2 == 0)
                    .fill(self.seed);
                plain.bytes.resize(end + bytes, self.seed);
            }
            Step::Append(_) if !self.cache.continues(number, segment, end as u64) => {
                let block = end - end % BLOCK_BYTES;
                assert!(end <= plain.flushed, "unflushed bytes are in memory");
                self.cache
                    .restore(number, segment, block as u64, &plain.bytes[block..]);
                assert!(self.cache.continues(number, segment, end as u64));
            }
            Step::Append(_) => {}
            Step::Roll => {
                *plain = PlainLog {
                    segment: plain.segment + 1,
                    ..PlainLog::default()
                }
            }
            Step::Clean(at) => {
                plain.flushed = plain.flushed.max(at.index(end + 1));
                self.cache.clean(number, segment, plain.flushed as u64);
            }
            Step::Truncate(at) => {
                let to = at.index(end + 1);
                self.cache.truncate(number, segment, to as u64);
                plain.bytes.truncate(to);
                plain.flushed = plain.flushed.min(to);
            }
            Step::Hold(from, to) => {
                let (from, to) = (from.index(end + 1), to.index(end + 1));
                let range = from.min(to) as u64..from.max(to) as u64;
                let wanted = plain.bytes[range.start as usize..range.end as usize].to_vec();
                let mut out = Vec::new();
                let found = self.cache.slices(number, segment, range.clone(), &mut out);
                if found.is_ok() {
                    assert_eq!(out.concat(), wanted);
                    self.held.push((out, wanted));
                } else {
                    assert!(
                        range.is_empty() || range.start < plain.flushed as u64,
                        "unflushed bytes are in memory"
                    );
                }
            }
            Step::Stage => self.stage(log),
            Step::Trim => self.cache.trim(),
            Step::Drop => {
                self.cache.drop_log(number);
                self.logs.remove(&log);
            }
        }
        self.cache.check();
        assert!(self.cache.clean_bytes() <= 64 << 10);
        for (slices, wanted) in &self.held {
            assert_eq!(&slices.concat(), wanted);
        }
    }

    /// What is not flushed can always be written.
    fn stage(&mut self, log: u64) {
        let plain = &self.logs[&log];
        let Range { start, end } = plain.flushed..plain.bytes.len();
        if start == end {
            return;
        }
        let mut out = Vec::new();
        let staged = self.cache.staged(
            LogNumber(log),
            Offset(plain.segment),
            start as u64..end as u64,
            &mut out,
        );
        assert_eq!(staged, Ok(()));
        let mut wanted = plain.bytes[start - start % BLOCK_BYTES..].to_vec();
        wanted.resize(wanted.len().next_multiple_of(BLOCK_BYTES), 0);
        assert_eq!(out.concat(), wanted);
        self.held.push((out, wanted));
    }
}

proptest! {
    #[test]
    fn the_cache_agrees_with_plain_bytes(steps in prop::collection::vec(any_step(), 1..80)) {
        let mut model = Model { cache: cache(256 << 10, 64 << 10), logs: BTreeMap::new(), held: Vec::new(), seed: 1 };
        for (log, step) in steps {
            model.step(log, step);
        }
    }
}
