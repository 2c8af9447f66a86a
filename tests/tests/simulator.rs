//! Random runs of a whole node in virtual time. `MILLSTREAM_SIM_SEEDS` is how many, `MILLSTREAM_SIM_SEED` runs one alone.

use millstream_tests::sim::world::run;

/// Seeds without the variable: enough to notice, few enough to wait for.
const SEEDS: u64 = 30;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run_seed(seed: u64) -> millstream_tests::sim::world::Outcome {
    let result = std::panic::catch_unwind(|| run(seed));
    result.unwrap_or_else(|_| {
        panic!("repeat with: MILLSTREAM_SIM_SEED={seed} cargo test -p millstream-tests --test all seeds_hold")
    })
}

#[test]
fn seeds_hold_every_promise() {
    if let Some(seed) = number("MILLSTREAM_SIM_SEED") {
        println!("{:?}", run_seed(seed));
        return;
    }
    let count = number("MILLSTREAM_SIM_SEEDS").unwrap_or(SEEDS);
    let (mut acknowledged, mut crashes, mut in_sessions) = (0, 0, 0);
    for seed in 1..=count {
        let outcome = run_seed(seed);
        acknowledged += outcome.acknowledged_count;
        crashes += outcome.crash_count;
        in_sessions += outcome.session_answer_count;
    }
    println!(
        "{count} seeds, {acknowledged} records acknowledged, {crashes} crashes, {in_sessions} answers in sessions"
    );
    let counts = [acknowledged, crashes, in_sessions];
    assert!(
        counts.iter().all(|count| *count > 0),
        "the runs do something"
    );
}

#[test]
fn equal_seeds_give_equal_traces() {
    for seed in [1, 2, 3] {
        assert_eq!(run_seed(seed), run_seed(seed), "seed {seed}");
    }
}
