//! The crash model: random work on the shards of a node over a simulated disk, crashes between any two effects, recovery, and a naive
//! reference that says what must be there.
//!
//! `CRASH_POINTS=n` sets how many crash points a run has at least, `CRASH_FIRST=s` from which seed on, `CRASH_SEED=s` runs one seed. A
//! failure prints the one line that repeats it; `CRASH_TRACE=1` before it prints everything that happens.

mod attacks;
mod config;
mod counts;
mod crashes;
mod judge;
mod model;
mod trouble;
mod work;
mod world;

use counts::Counts;
use std::panic::{catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use world::World;

/// Crash points that a run has at least.
const POINTS: u64 = 100_000;
/// Seeds that found something, and run at every time: stale bytes behind an end that was left without being written over (33, 83), a
/// segment below the log start that was being shortened (65).
const KEPT: [u64; 3] = [33, 65, 83];
/// Steps of work between two real crashes.
const STEPS: u64 = 400;
/// Real crashes of one seed.
const ROUNDS: u64 = 4;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs a seed; whatever panics, the line that repeats it is printed.
fn run(seed: u64) -> Counts {
    catch_unwind(|| run_world(World::new(seed))).unwrap_or_else(|panic| {
        eprintln!("repeat with: CRASH_SEED={seed} cargo test -p millstream-storage --test crash nothing_acknowledged");
        resume_unwind(panic)
    })
}

fn run_world(mut world: World) -> Counts {
    for _ in 0..ROUNDS {
        for _ in 0..STEPS {
            world.step();
            world.maybe_look_at_a_crash();
        }
        world.crash();
    }
    world.settle();
    world.counts.faults = world.disk.faults_struck();
    world.counts
}

/// Runs seed after seed, on every core, until there were so many crash points; the number of seeds, and what they did.
fn run_many(first: u64, points: u64) -> (u64, Counts) {
    let next = AtomicU64::new(0);
    let failed = AtomicBool::new(false);
    let total = Mutex::new(Counts::default());
    let worker = || {
        let goes_on = || total.lock().is_ok_and(|total| total.points < points);
        while goes_on() && !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let seed = KEPT.get(index as usize).copied();
            let seed = seed.unwrap_or(first + index.saturating_sub(KEPT.len() as u64));
            let counts = catch_unwind(|| run(seed)).unwrap_or_else(|panic| {
                // The others end with their seeds.
                failed.store(true, Ordering::Relaxed);
                resume_unwind(panic)
            });
            *total.lock().expect("nobody panics with it") += counts;
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(worker))));
    let total = total.into_inner().expect("no seed failed");
    (next.into_inner(), total)
}

#[test]
fn nothing_acknowledged_is_lost_wherever_the_crash_comes() {
    if let Some(seed) = number("CRASH_SEED") {
        println!("{:?}", run(seed));
        return;
    }
    let points = number("CRASH_POINTS").unwrap_or(POINTS);
    let first = number("CRASH_FIRST").unwrap_or(0);
    let (seeds, counts) = run_many(first, points);
    println!("{seeds} seeds from {first} on: {counts:?}");
    assert!(
        counts.points >= points && counts.is_complete(),
        "{counts:?}"
    );
}
