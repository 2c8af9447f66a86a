//! What the machines and the mail between shards cost, and that they do not allocate: `cargo bench -p millstream-engine`. That
//! they do not is also a test (`tests/allocations.rs`).

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};
use std::hint::black_box;

#[path = "../tests/allocations/steps.rs"]
mod steps;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

#[divan::bench(args = [1, 1000])]
fn append_and_answer_a_batch(bencher: Bencher, records: i32) {
    let mut appending = steps::Appending::new(-1, records);
    bencher.bench_local(|| black_box(appending.step()));
}

#[divan::bench(args = [1, 1000])]
fn append_and_answer_an_idempotent_batch(bencher: Bencher, records: i32) {
    let mut appending = steps::Appending::new(7, records);
    bencher.bench_local(|| black_box(appending.step()));
}

#[divan::bench(args = [1, 32])]
fn letters_to_another_shard(bencher: Bencher, letters: u64) {
    let mut mail = steps::Mail::new();
    bencher
        .counter(ItemsCount::new(letters))
        .bench_local(|| black_box(mail.step(letters)));
}
