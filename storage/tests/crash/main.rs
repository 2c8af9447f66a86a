//! The crash model: random work on a shard's store over a simulated disk, crashes between any two effects, recovery, and a naive
//! reference that says what must be there.
//!
//! `CRASH_SEEDS=n` sets how many seeds run, `CRASH_SEED=s` runs one of them. A failure prints the one line that repeats it.

mod crashes;
mod model;
mod world;

use std::panic::{catch_unwind, resume_unwind};
use world::World;

/// Seeds that run where nothing else is said.
const SEEDS: u64 = 20;
/// Seeds that found something, and run at every time: stale bytes behind an end that was left without being written over.
const KEPT: [u64; 2] = [33, 83];
/// Steps of work between two real crashes.
const STEPS: u64 = 400;
/// Real crashes of one seed.
const ROUNDS: u64 = 4;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs a seed; whatever panics, the line that repeats it is printed.
fn run(seed: u64) -> u64 {
    catch_unwind(|| run_seed(seed)).unwrap_or_else(|panic| {
        eprintln!("repeat with: CRASH_SEED={seed} cargo test -p millstream-storage --test crash");
        resume_unwind(panic)
    })
}

fn run_seed(seed: u64) -> u64 {
    let mut world = World::new(seed);
    for _ in 0..ROUNDS {
        for _ in 0..STEPS {
            world.step();
            world.maybe_look_at_a_crash();
        }
        world.crash();
    }
    world.settle();
    world.crash_points
}

#[test]
fn nothing_acknowledged_is_lost_wherever_the_crash_comes() {
    if let Some(seed) = number("CRASH_SEED") {
        run(seed);
        return;
    }
    let seeds = number("CRASH_SEEDS").unwrap_or(SEEDS);
    let kept = KEPT.into_iter().filter(|seed| *seed >= seeds);
    let points: u64 = (0..seeds).chain(kept).map(run).sum();
    println!("{points} crash points over {seeds} seeds");
}
