//! How sure the ratio of two figures is: a bootstrap over the rounds, and what Student's t says of so few of them.
//!
//! Always: (1) rounds are drawn in pairs, since both brokers of a round met the same machine; (2) equal input gives equal
//! output; (3) fewer than three rounds have no interval and never make a difference; (4) the interval is that of 99 %, since a comparison has about
//! twenty figures of which one would lie outside of 95 % by chance, and the wider of both methods, since a bootstrap of three
//! rounds calls any three that agree a difference.

use crate::load::Random;
use crate::report::median;
use crate::result::{ROUNDS_MIN, Ratio, Verdict};

const DRAWS: usize = 4_000;

/// Student's t, both sides, of 99 %, for 1 to 10 degrees of freedom.
const STUDENT: [f64; 10] = [
    63.657, 9.925, 5.841, 4.604, 4.032, 3.707, 3.499, 3.355, 3.250, 3.169,
];

/// The ratio a/b of a figure above 0 that was measured in each round, with its 99 % interval.
pub fn ratio(name: &str, unit: &str, higher_is_better: bool, a: Vec<f64>, b: Vec<f64>) -> Ratio {
    let rounds = a.len().min(b.len());
    let ratio = median(&a) / median(&b);
    let mut random = Random::new(rounds as u64);
    let mut ratios: Vec<f64> = (0..DRAWS)
        .map(|_| {
            let drawn: Vec<usize> = (0..rounds)
                .map(|_| (random.fraction() * rounds as f64) as usize)
                .collect();
            let of =
                |values: &[f64]| median(&drawn.iter().map(|at| values[*at]).collect::<Vec<_>>());
            of(&a) / of(&b)
        })
        .filter(|ratio| ratio.is_finite())
        .collect();
    ratios.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let index = (part * (ratios.len().max(1) - 1) as f64).round() as usize;
        ratios.get(index).copied().unwrap_or(f64::NAN)
    };
    let interval = (rounds >= ROUNDS_MIN).then(|| {
        let (t_low, t_high) = student_interval(&a, &b);
        (at(0.005).min(t_low), at(0.995).max(t_high))
    });
    let verdict = match interval {
        None => Verdict::TooFewRounds,
        Some((low, high)) if low <= 1.0 && high >= 1.0 => Verdict::WithinNoise,
        Some((low, _)) if (low > 1.0) == higher_is_better => Verdict::ABetter,
        Some(_) => Verdict::BBetter,
    };
    Ratio {
        name: name.to_owned(),
        unit: unit.to_owned(),
        higher_is_better,
        a,
        b,
        ratio,
        low: interval.map(|(low, _)| low),
        high: interval.map(|(_, high)| high),
        verdict,
    }
}

/// The interval of the ratio if the logarithms of the rounds' ratios are spread normally; everything for a single round.
fn student_interval(a: &[f64], b: &[f64]) -> (f64, f64) {
    let ratios: Vec<f64> = a.iter().zip(b).map(|(a, b)| (a / b).ln()).collect();
    let count = ratios.len() as f64;
    let Some(freedom) = ratios.len().checked_sub(2) else {
        return (0.0, f64::MAX);
    };
    let mean = ratios.iter().sum::<f64>() / count;
    let squares: f64 = ratios.iter().map(|each| (each - mean).powi(2)).sum();
    let error = (squares / (count - 1.0) / count).sqrt();
    // Above ten degrees of freedom a little more than it is.
    let t = STUDENT
        .get(freedom)
        .copied()
        .unwrap_or(2.576 + 6.5 / (count - 1.0));
    ((mean - t * error).exp(), (mean + t * error).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_within_noise_is_no_difference() {
        let a = vec![100.0, 80.0, 120.0, 95.0, 105.0];
        let b = vec![90.0, 110.0, 100.0, 104.0, 97.0];
        let found = ratio("rate", "/s", true, a, b);
        assert_eq!(found.verdict, Verdict::WithinNoise);
        assert!(found.low < Some(1.0) && found.high > Some(1.0), "{found:?}");
    }

    #[test]
    fn a_clear_difference_goes_to_the_better_one() {
        let fast = vec![300.0, 310.0, 305.0];
        let slow = vec![100.0, 101.0, 99.0];
        let rate = ratio("rate", "/s", true, fast.clone(), slow.clone());
        assert_eq!(rate.verdict, Verdict::ABetter);
        assert!((2.9..3.2).contains(&rate.ratio));
        let latency = ratio("p99", "us", false, fast, slow);
        assert_eq!(latency.verdict, Verdict::BBetter);
    }

    #[test]
    fn three_rounds_that_agree_by_chance_are_no_difference() {
        let found = ratio(
            "rate",
            "/s",
            true,
            vec![101.0, 108.0, 103.0],
            vec![100.0, 99.0, 102.0],
        );
        assert_eq!(found.verdict, Verdict::WithinNoise, "{found:?}");
    }

    #[test]
    fn two_rounds_have_no_interval_and_make_no_difference() {
        let found = ratio("rate", "/s", true, vec![300.0, 301.0], vec![1.0, 1.0]);
        assert_eq!(found.verdict, Verdict::TooFewRounds);
        assert_eq!((found.low, found.high), (None, None));
    }
}
