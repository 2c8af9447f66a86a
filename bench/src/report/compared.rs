//! The table of a comparison.

use super::table::number;
use crate::result::{Comparison, ROUNDS_MIN, ROUNDS_USUAL, Verdict};

/// As text.
pub fn compared(comparison: &Comparison) -> String {
    let mut text = super::table::layout(&rows(comparison));
    for sentence in sentences(comparison) {
        text += &format!("{sentence}\n");
    }
    text
}

/// What has to be known of the rounds.
pub fn sentences(comparison: &Comparison) -> Vec<String> {
    let mut said: Vec<String> = comparison
        .excluded
        .iter()
        .map(|excluded| format!("does not count: {excluded}"))
        .collect();
    match comparison.rounds {
        0 => said.push("no round counts: there is nothing to compare".into()),
        rounds if rounds < ROUNDS_MIN => said.push(format!(
            "{rounds} of at least {ROUNDS_MIN} rounds that count: no difference is claimed"
        )),
        rounds if rounds < ROUNDS_USUAL => {
            said.push("the fewer rounds, the wider the intervals: five are usual".into());
        }
        _ => {}
    }
    said
}

/// A row for each figure: both medians, their ratio, its interval and what may be said.
pub fn rows(comparison: &Comparison) -> Vec<Vec<String>> {
    let head = [
        "".to_owned(),
        comparison.a.clone(),
        comparison.b.clone(),
        "ratio".into(),
        "99 % interval".into(),
        "verdict".into(),
    ];
    let mut rows = vec![head.to_vec()];
    for figure in &comparison.figures {
        let digits = |value: f64| if value < 10.0 { 2 } else { 0 };
        let shown = |values: &[f64]| {
            let middle = median(values);
            format!("{} {}", number(middle, digits(middle)), figure.unit)
        };
        let verdict = match figure.verdict {
            Verdict::WithinNoise => "no difference beyond noise".to_owned(),
            Verdict::TooFewRounds => "too few rounds to say".to_owned(),
            Verdict::ABetter => format!("{} is better", comparison.a),
            Verdict::BBetter => format!("{} is better", comparison.b),
        };
        let interval = match (figure.low, figure.high) {
            (Some(low), Some(high)) => format!("{low:.2} to {high:.2}"),
            _ => "-".to_owned(),
        };
        rows.push(vec![
            figure.name.clone(),
            shown(&figure.a),
            shown(&figure.b),
            format!("{:.2}", figure.ratio),
            interval,
            verdict,
        ]);
    }
    rows
}

/// The middle of some values, 0 of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => 0.0,
        (count, middle) if count % 2 == 0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
        (_, middle) => sorted[middle],
    }
}
