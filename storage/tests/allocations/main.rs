//! What a batch allocates on its way into a log: nothing until it is in the log's memory, and for the journal nothing by its records.
//!
//! A binary of its own, because it counts with an allocator of its own.

mod steps;

use allocation_counter::measure;
use millstream_storage::batch::{Stamp, stamp, validate};
use millstream_storage::ids::{LeaderEpoch, Offset, WallMs};
use std::hint::black_box;

fn allocates_nothing(name: &str, mut step: impl FnMut()) {
    let counted = measure(|| (0..100).for_each(|_| step()));
    assert_eq!(counted.count_total, 0, "{name}: {counted:?}");
}

#[test]
fn checking_a_batch_allocates_nothing() {
    for (records, value_bytes) in [(1, 200), (64, 1024), (4000, 250)] {
        let batch = steps::batch(records, value_bytes);
        allocates_nothing("a check", || {
            validate(black_box(&batch), &steps::rules()).expect("a good batch");
        });
    }
}

#[test]
fn stamping_a_batch_allocates_nothing() {
    let mut batch = steps::batch(64, 1024);
    allocates_nothing("a stamp", || {
        let mark = Stamp {
            base_offset: Offset(7),
            leader_epoch: LeaderEpoch(1),
            log_append_time: Some(WallMs(steps::WALL_MS)),
        };
        stamp(black_box(&mut batch), &mark);
    });
}

#[test]
fn looking_up_an_offset_allocates_nothing() {
    let layout = steps::layout();
    allocates_nothing("a look-up", || {
        black_box(layout.locate(black_box(Offset(700_000))));
    });
}

#[test]
fn a_batch_allocates_on_its_way_to_the_journal_by_itself_and_not_by_its_records() {
    let many = steps::batch(100, 30);
    let mut sizes = 0..many.len();
    let single =
        sizes.find_map(|bytes| Some(steps::batch(1, bytes)).filter(|one| one.len() == many.len()));
    const WINDOWS: u64 = 2_000;
    let counts = [(single.expect("some size fits"), 1), (many, 100)].map(|(batch, records)| {
        let mut journaling = steps::Journaling::new(batch, records);
        (0..WINDOWS).for_each(|_| journaling.step());
        measure(|| (0..WINDOWS).for_each(|_| journaling.step())).count_total
    });
    // Not one allocation by a record: a window with a batch of a hundred has as many as one with a batch of one.
    assert_eq!(counts[0], counts[1]);
    // By a window four, whatever is in it: the list of what is planned for it, what shares its image (which comes from a pool) with the
    // disk, the list of pieces of the disk's operation, and the list of what is durable with it. Beyond them what writes to segments
    // and their ends cost, in less than one of five windows.
    let others = counts[0].checked_sub(WINDOWS * 4);
    assert!(
        others.is_some_and(|others| others < WINDOWS / 5),
        "{counts:?}"
    );
}
