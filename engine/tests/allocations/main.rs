//! The hot path of a shard allocates nothing, once its memory has its size.
//!
//! A binary of its own, because it counts with an allocator of its own.

mod steps;

use allocation_counter::measure;

/// After so many steps everything has its size.
const WARM: usize = 20_000;
const STEPS: usize = 20_000;

fn allocates_nothing(name: &str, mut step: impl FnMut()) {
    (0..WARM).for_each(|_| step());
    let counted = measure(|| (0..STEPS).for_each(|_| step()));
    assert_eq!(counted.count_total, 0, "{name}: {counted:?}");
}

#[test]
fn appending_a_batch_and_answering_it_allocates_nothing() {
    for producer in [-1, 7] {
        for records in [1, 1000] {
            let mut appending = steps::Appending::new(producer, records);
            allocates_nothing(&format!("{records} records of producer {producer}"), || {
                assert!(appending.step() > 0);
            });
        }
    }
}

#[test]
fn a_letter_to_another_shard_allocates_nothing() {
    for letters in [1, 32] {
        let mut mail = steps::Mail::new();
        allocates_nothing(&format!("{letters} letters"), || {
            assert_eq!(mail.step(letters), letters * (letters - 1) / 2);
        });
    }
}
