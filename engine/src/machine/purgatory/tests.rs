//! Waiting fetches leave once, for the right reason.

use super::*;

fn wait(keys: &[u32], sight: Sight, missing_bytes: usize, deadline: u64) -> Wait<u32, u64> {
    Wait {
        keys: keys.to_vec(),
        sight,
        missing_bytes,
        deadline: Tick(deadline),
        fetch: deadline,
    }
}

#[test]
fn bytes_of_all_its_partitions_count_towards_the_minimum() {
    let mut purgatory = Purgatory::default();
    purgatory.wait(wait(&[1, 2], Sight::Committed, 10, 100));
    let mut left = Vec::new();
    purgatory.arrived(1, Sight::Committed, 6, &mut left);
    purgatory.arrived(3, Sight::Committed, 100, &mut left);
    purgatory.arrived(2, Sight::Stable, 100, &mut left);
    assert!(left.is_empty());
    purgatory.arrived(2, Sight::Committed, 4, &mut left);
    assert_eq!(left, [100]);
    purgatory.check();
    assert_eq!(purgatory.count(), 0);
}

#[test]
fn time_and_wake_ups_end_the_wait_once() {
    let mut purgatory = Purgatory::default();
    purgatory.wait(wait(&[1], Sight::Committed, 10, 100));
    purgatory.wait(wait(&[1, 2], Sight::Stable, 10, 50));
    purgatory.wait(wait(&[2], Sight::Stable, 10, 70));
    assert_eq!(purgatory.deadline(), Some(Tick(50)));
    let mut left = Vec::new();
    purgatory.expire(Tick(49), &mut left);
    assert!(left.is_empty());
    purgatory.expire(Tick(50), &mut left);
    assert_eq!(left, [50]);
    purgatory.wake(1, &mut left);
    purgatory.wake(1, &mut left);
    assert_eq!(left, [50, 100]);
    assert!(purgatory.holds(2) && !purgatory.holds(1));
    purgatory.check();
}
