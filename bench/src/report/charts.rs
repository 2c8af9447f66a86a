//! The charts of a report: percentiles, latency over time, throughput and processors over time, a sweep.

use super::html::labels;
use super::svg::{Axis, COLOURS, Chart, Scale, escape};
use super::table::time;
use crate::result::{Latency, Phase, Report, Run, Second, Stage, SweepStep};

/// Rows of a heat map for each factor of ten.
const ROWS_PER_DECADE: f64 = 8.0;
/// BOUND: columns of a heat map; a chart is 828 units wide.
const COLUMNS_MAX: usize = 240;
/// BOUND: points of a line over time, at most one for each unit and half as many again.
const POINTS_MAX: usize = 1_200;
/// The generator's own lateness is in the table, not in the charts.
const STAGES: [Stage; 3] = [Stage::Produce, Stage::EndToEnd, Stage::Fetch];

/// A chart with its heading and legend, as HTML.
pub struct Figure {
    pub heading: String,
    /// How to read it.
    pub note: &'static str,
    /// Colour and name of each series.
    pub legend: Vec<(usize, String)>,
    pub svg: String,
}

impl Figure {
    /// As HTML.
    pub fn html(&self) -> String {
        let legend = self.legend.iter().map(|(series, name)| {
            let colour = series % COLOURS;
            format!(
                "<span><i style=\"background:var(--c{colour})\"></i>{}</span>",
                escape(name)
            )
        });
        format!(
            "<figure><figcaption><h2>{}</h2><div class=\"legend\">{}</div><p>{}</p></figcaption>{}</figure>\n",
            escape(&self.heading),
            legend.collect::<String>(),
            escape(self.note),
            self.svg
        )
    }
}

/// All charts of a report.
pub fn figures(report: &Report) -> Vec<Figure> {
    let mut figures = Vec::new();
    figures.extend(percentiles(&report.runs));
    if !report.sweep.is_empty() {
        figures.push(sweep(&report.sweep));
    }
    for label in labels(&report.runs) {
        for stage in STAGES {
            figures.extend(heat_map(&report.runs, label, stage));
        }
    }
    figures.extend(throughput(&report.runs));
    figures.extend(requests(&report.runs));
    figures.extend(in_flight(&report.runs));
    figures.extend(processors(&report.runs));
    figures
}

fn latency_axis(min_us: f64, max_us: f64) -> Axis {
    Axis::new(Scale::Log, (min_us, max_us), "latency", |us| match us {
        ..1e3 => format!("{us:.0} us"),
        ..1e6 => format!("{:.0} ms", us / 1e3),
        _ => format!("{:.0} s", us / 1e6),
    })
}

/// The latency at each percentile; the axis is logarithmic in what is left to 100 %.
fn percentiles(runs: &[Run]) -> Option<Figure> {
    // Rounds of the same broker are one line.
    let mut series: Vec<(String, Latency)> = Vec::new();
    for run in runs {
        for stage in STAGES {
            let Some(latency) = run.stages.get(&stage).filter(|found| found.count() > 0) else {
                continue;
            };
            let name = name_of(run, runs, stage.name());
            match series.iter_mut().find(|(known, _)| *known == name) {
                Some((_, all)) => all.add(latency),
                None => series.push((name, latency.clone())),
            }
        }
    }
    let count = series.iter().map(|(_, latency)| latency.count()).max()?;
    let max_us = series.iter().map(|(_, latency)| latency.max_us()).max()?;
    let min_us = series.iter().map(|(_, latency)| latency.at(0.0)).min()?;
    let decades = (count as f64).log10().ceil().clamp(2.0, 8.0);
    let ticks = (0..=decades as usize).map(|nines| {
        let label = match nines {
            0 => "0 %".into(),
            1 => "90 %".into(),
            2 => "99 %".into(),
            more => format!("99.{} %", "9".repeat(more - 2)),
        };
        (nines as f64, label)
    });
    let x = Axis::with_ticks(Scale::Linear, (0.0, decades), "percentile", ticks.collect());
    let y = latency_axis((min_us.max(1) as f64) * 0.8, max_us.max(2) as f64 * 1.2);
    let mut chart = Chart::new("latency by percentile", x, y);
    let mut legend = Vec::new();
    for (index, (name, latency)) in series.iter().enumerate() {
        let steps = (decades * 40.0) as usize;
        let points: Vec<(f64, f64)> = (0..=steps)
            .map(|step| step as f64 / 40.0)
            .take_while(|nines| nines.floor() <= (latency.count() as f64).log10().ceil())
            .map(|nines| (nines, latency.at(1.0 - 10f64.powf(-nines)).max(1) as f64))
            .collect();
        chart.line(index, name, &points);
        legend.push((index, name.clone()));
    }
    Some(Figure {
        heading: "Latency by percentile".into(),
        note: "produce: from when a request was due to its acknowledgement; end-to-end: from when a record was due to its receipt \
               by a consumer; fetch: from asking to an answer with records. 99 % at 5 ms means that one of a hundred took longer.",
        legend,
        svg: chart.finish(),
    })
}

/// A series' name: with the run's label where there are several.
fn name_of(run: &Run, runs: &[Run], what: &str) -> String {
    if runs.len() > 1 {
        format!("{} {what}", run.label)
    } else {
        what.to_owned()
    }
}

/// How many latencies of each height every second had, or some seconds together where there are many of them; the runs of this label stand one behind the other.
fn heat_map(runs: &[Run], label: &str, stage: Stage) -> Option<Figure> {
    let mine = || runs.iter().filter(|run| run.label == label);
    let lasts = |run: &Run| {
        let last = run.seconds.last();
        last.map_or(0.0, |last| (last.begins_at + last.seconds).ceil())
    };
    let rounds = mine().count();
    let width = (mine().map(lasts).sum::<f64>() / COLUMNS_MAX as f64)
        .ceil()
        .max(1.0);
    let mut columns: Vec<(f64, f64, Latency)> = Vec::new();
    let mut offset = 0.0;
    for run in mine() {
        for second in &run.seconds {
            let Some(packed) = second.stages.get(&stage) else {
                continue;
            };
            let begins = offset + second.begins_at;
            let column = (begins / width).floor();
            match columns.last_mut() {
                Some((first, lasts, latency)) if (*first / width).floor() == column => {
                    *lasts = begins + second.seconds - *first;
                    latency.add(&packed.latency());
                }
                _ => columns.push((begins, second.seconds, packed.latency())),
            }
        }
        offset += lasts(run);
    }
    let max_us = columns
        .iter()
        .map(|(_, _, latency)| latency.max_us())
        .max()?;
    let min_us = columns
        .iter()
        .map(|(_, _, latency)| latency.at(0.0))
        .min()?
        .max(1);
    let ends = columns.iter().map(|(begins, lasts, _)| begins + lasts);
    let ends = ends.fold(0.0, f64::max);
    let x = Axis::new(Scale::Linear, (0.0, ends), "seconds", |value| {
        format!("{value}")
    });
    let y = latency_axis(
        min_us as f64 * 0.8,
        (max_us as f64 * 1.2).max(min_us as f64 * 2.0),
    );
    let mut chart = Chart::new(&format!("{} latency over time", stage.name()), x, y);
    for (begins, lasts, latency) in &columns {
        for (low, high, count) in rows(latency) {
            // Few slow ones are what is looked for: strength grows with the logarithm.
            let share = (count as f64).ln_1p() / (latency.count() as f64).ln_1p();
            let when = match width {
                1.0 => format!("second {begins}"),
                _ => format!("seconds {begins} to {}", begins + lasts),
            };
            let name = format!(
                "{when}: {count} between {} and {}",
                time(low as u64),
                time(high as u64)
            );
            chart.field(
                (*begins, begins + lasts),
                (low, high),
                0.15 + 0.85 * share,
                &name,
            );
        }
    }
    let stage = stage.name();
    let heading = match rounds {
        1 => format!("Latency over time: {stage} on {label}"),
        _ => format!("Latency over time: {stage} on {label}, {rounds} rounds one behind the other"),
    };
    Some(Figure {
        heading,
        note: "the stronger a field, the more requests of its second (its seconds, in a long run) had such a latency (logarithmic: one is visible)",
        legend: Vec::new(),
        svg: chart.finish(),
    })
}

/// The rows in which a latency has counts: from, to, count.
fn rows(latency: &Latency) -> Vec<(f64, f64, u64)> {
    let mut rows: Vec<(f64, f64, u64)> = Vec::new();
    for step in latency.histogram().iter_recorded() {
        let value = step.value_iterated_to().max(1) as f64;
        let row = (value.log10() * ROWS_PER_DECADE).floor();
        let low = 10f64.powf(row / ROWS_PER_DECADE);
        match rows.last_mut().filter(|last| last.0 == low) {
            Some(last) => last.2 += step.count_since_last_iteration(),
            None => rows.push((
                low,
                10f64.powf((row + 1.0) / ROWS_PER_DECADE),
                step.count_since_last_iteration(),
            )),
        }
    }
    rows
}

type Points = Vec<(f64, f64)>;

/// Series over time; nothing where none has anything.
fn over_time(heading: &str, unit: &str, series: Vec<(String, Points)>) -> Option<Figure> {
    let series: Vec<_> = series
        .into_iter()
        .filter(|(_, points)| points.iter().any(|(_, y)| *y > 0.0))
        .collect();
    let points = || series.iter().flat_map(|(_, points)| points);
    let ends = points().map(|(x, _)| *x).fold(0.0, f64::max);
    let max = points().map(|(_, y)| *y).fold(0.0, f64::max);
    if series.is_empty() {
        return None;
    }
    let plain = |value: f64| format!("{}", (value * 1000.0).round() / 1000.0);
    let x = Axis::new(Scale::Linear, (0.0, ends), "seconds", plain);
    let y = Axis::new(Scale::Linear, (0.0, max * 1.08), unit, plain);
    let mut chart = Chart::new(heading, x, y);
    let mut legend: Vec<(usize, String)> = Vec::new();
    for (name, points) in &series {
        let known = legend.iter().position(|(_, known)| known == name);
        let index = known.unwrap_or(legend.len());
        if known.is_none() {
            legend.push((index, name.clone()));
        }
        chart.line(index, name, &thinned(points));
    }
    Some(Figure {
        heading: heading.to_owned(),
        note: "",
        legend,
        svg: chart.finish(),
    })
}

/// The points that a chart can show: of each of many stretches the lowest and the highest, so that one bad second of a day is still seen.
fn thinned(points: &[(f64, f64)]) -> Points {
    if points.len() <= POINTS_MAX {
        return points.to_vec();
    }
    let stretch = points.len().div_ceil(POINTS_MAX / 2);
    let stretches = points.chunks(stretch).flat_map(|chunk| {
        let ends = |low: usize, high: usize| [low.min(high), low.max(high)];
        let height = |at: &usize| chunk[*at].1;
        let by_height = |one: &usize, other: &usize| height(one).total_cmp(&height(other));
        let low = (0..chunk.len()).min_by(by_height).unwrap_or(0);
        let high = (0..chunk.len()).max_by(by_height).unwrap_or(0);
        ends(low, high).map(|at| chunk[at])
    });
    stretches.collect()
}

/// A value for each second that is long enough to have a rate.
fn each_second(run: &Run, value: impl Fn(&Second) -> f64) -> Points {
    let seconds = run
        .seconds
        .iter()
        .filter(|second| second.seconds > 0.5 && second.phase != Phase::Drain);
    seconds
        .map(|second| {
            (
                second.begins_at + second.seconds,
                value(second) / second.seconds,
            )
        })
        .collect()
}

fn throughput(runs: &[Run]) -> Option<Figure> {
    const MIB: f64 = (1 << 20) as f64;
    let mut series = Vec::new();
    for run in runs {
        let produced = each_second(run, |second| second.produced.bytes as f64 / MIB);
        let consumed = each_second(run, |second| second.consumed.bytes as f64 / MIB);
        series.push((name_of(run, runs, "produced"), produced));
        series.push((name_of(run, runs, "consumed"), consumed));
    }
    over_time("Throughput over time", "MiB/s", series)
}

fn requests(runs: &[Run]) -> Option<Figure> {
    let mut series = Vec::new();
    for run in runs {
        let answered = each_second(run, |second| second.produced.requests as f64);
        let failed = each_second(run, |second| second.errors as f64);
        series.push((name_of(run, runs, "produce requests"), answered));
        series.push((name_of(run, runs, "errors"), failed));
        let reconnects = each_second(run, |second| second.reconnects as f64);
        series.push((name_of(run, runs, "reconnects"), reconnects));
    }
    over_time("Requests over time", "per second", series)
}

/// What waits for an answer, and what waits to be sent.
fn in_flight(runs: &[Run]) -> Option<Figure> {
    let mut series = Vec::new();
    for run in runs {
        let at_end = |count: fn(&Second) -> u64| -> Points {
            let seconds = run.seconds.iter();
            let seconds = seconds.filter(|second| second.phase != Phase::Drain);
            let points = seconds.map(|second| {
                let ends = second.begins_at + second.seconds;
                (ends, count(second) as f64)
            });
            points.collect()
        };
        let unanswered = at_end(|second| second.in_flight);
        series.push((name_of(run, runs, "in flight"), unanswered));
        let unsent = at_end(|second| second.backlog);
        series.push((name_of(run, runs, "due and not sent"), unsent));
    }
    over_time("Requests in flight over time", "requests", series)
}

fn processors(runs: &[Run]) -> Option<Figure> {
    let mut series = Vec::new();
    for run in runs {
        let broker = |second: &Second| second.broker.map(|sums| sums.cpu_seconds);
        series.push((name_of(run, runs, "broker"), growth(run, broker)));
        let own = |second: &Second| Some(second.generator.cpu_seconds);
        series.push((name_of(run, runs, "generator"), growth(run, own)));
    }
    over_time("Processors over time", "cores", series)
}

/// By how much a sum grew in each second but the first.
fn growth(run: &Run, sum: impl Fn(&Second) -> Option<f64>) -> Points {
    let pairs = run.seconds.windows(2);
    pairs
        .filter(|pair| pair[1].seconds > 0.5)
        .filter_map(|pair| {
            let grown = sum(&pair[1])? - sum(&pair[0])?;
            Some((pair[1].begins_at + pair[1].seconds, grown / pair[1].seconds))
        })
        .collect()
}

/// Latency against the rate that was due.
fn sweep(steps: &[SweepStep]) -> Figure {
    let rates = || steps.iter().map(|step| step.rate);
    let (from, to) = (
        rates().fold(f64::MAX, f64::min),
        rates().fold(1.0, f64::max),
    );
    let lows = steps.iter().map(|step| step.p50_us.max(1) as f64);
    let highs = steps.iter().map(|step| step.p99_us.max(2) as f64);
    let x = Axis::new(
        Scale::Log,
        (from * 0.9, to * 1.1),
        "requests per second that were due",
        |rate| format!("{rate}"),
    );
    let (low, high) = (lows.fold(f64::MAX, f64::min), highs.fold(2.0, f64::max));
    let mut chart = Chart::new("latency by rate", x, latency_axis(low * 0.8, high * 1.2));
    let points = |of: fn(&SweepStep) -> u64| -> Points {
        steps
            .iter()
            .map(|step| (step.rate, of(step).max(1) as f64))
            .collect()
    };
    chart.line(0, "p50", &points(|step| step.p50_us));
    chart.line(1, "p99", &points(|step| step.p99_us));
    Figure {
        heading: "Latency by rate".into(),
        note: "each point is a step of the sweep",
        legend: vec![(0, "p50".into()), (1, "p99".into())],
        svg: chart.finish(),
    }
}
