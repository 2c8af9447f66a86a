//! The table at the end of a run: one column per run.

use crate::result::{BrokerCost, Ended, FaultOutcome, Integrity, Run, Severity, Stage};

/// The figures of the runs, side by side, and what is said of each.
pub fn table(runs: &[Run]) -> String {
    let mut text = layout(&rows(runs));
    for run in runs {
        text += &format!("\n{}: {}\n", run.label, integrity(&run.integrity));
        for line in sentences(run) {
            text += &format!("  {line}\n");
        }
    }
    text
}

/// Every figure of the runs: a row has its name and one cell for each run.
pub fn rows(runs: &[Run]) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = vec![row("", runs, |run| run.label.clone())];
    rows.push(row("workload", runs, |run| run.workload.clone()));
    rows.push(row("loop", runs, |run| {
        format!("{:?}", run.loop_kind).to_lowercase()
    }));
    let summaries: Vec<_> = runs.iter().map(Run::summary).collect();
    let mut figure = |name: &str, value: &dyn Fn(usize) -> Option<String>| {
        let cells: Vec<Option<String>> = (0..runs.len()).map(value).collect();
        if cells.iter().any(Option::is_some) {
            let cells = cells
                .into_iter()
                .map(|cell| cell.unwrap_or_else(|| "-".into()));
            rows.push(std::iter::once(name.to_owned()).chain(cells).collect());
        }
    };
    // What the kernel does not tell is not nothing.
    let unknown = || "-".to_owned();
    let positive = |value: f64, digits: usize| (value > 0.0).then(|| number(value, digits));
    figure("measured", &|at| {
        Some(format!("{:.1} s", summaries[at].seconds))
    });
    figure("produced MiB/s", &|at| {
        positive(summaries[at].mib_per_second, 1)
    });
    figure("  best 5 s MiB/s", &|at| {
        positive(summaries[at].best_5s_mib_per_second, 1)
    });
    figure("  requests/s", &|at| {
        positive(summaries[at].requests_per_second, 0)
    });
    figure("  records/s", &|at| {
        positive(summaries[at].records_per_second, 0)
    });
    figure("  requests without latency", &|at| {
        let count = runs[at].generator.uncounted;
        (count > 0).then(|| number(count as f64, 0))
    });
    figure("  in flight, mean and most", &|at| {
        let most = summaries[at].in_flight_max;
        (most > 0).then(|| {
            format!(
                "{}, {}",
                number(summaries[at].in_flight_mean, 1),
                number(most as f64, 0)
            )
        })
    });
    figure("consumed MiB/s", &|at| {
        positive(summaries[at].consumed_mib_per_second, 1)
    });
    figure("  best 5 s MiB/s", &|at| {
        positive(summaries[at].best_5s_consumed_mib_per_second, 1)
    });
    figure("  records/s", &|at| {
        positive(summaries[at].consumed_records_per_second, 0)
    });
    figure("reconnects", &|at| {
        Some(number(summaries[at].reconnects as f64, 0))
    });
    for stage in Stage::ALL {
        let percentiles: Vec<_> = runs.iter().map(|run| run.percentiles(stage)).collect();
        let heading = match stage {
            Stage::Lateness => "generator's own lateness".to_owned(),
            Stage::Produce if runs.iter().all(is_unacknowledged) => "due to sent (acks 0)".into(),
            Stage::Transaction => "due to committed".to_owned(),
            Stage::Rebalance => "join to assignment".to_owned(),
            Stage::Unavailable => "partition without a reader".to_owned(),
            stage => format!("{} latency", stage.name()),
        };
        figure(&heading, &|at| {
            percentiles[at].map(|found| format!("{} counted", found.count))
        });
        for (name, of) in [
            ("  p50", 0),
            ("  p90", 1),
            ("  p99", 2),
            ("  p99.9", 3),
            ("  p99.99", 4),
            ("  max", 5),
        ] {
            figure(name, &|at| {
                let found = percentiles[at]?;
                let all = [
                    found.p50,
                    found.p90,
                    found.p99,
                    found.p999,
                    found.p9999,
                    found.max,
                ];
                Some(time(all[of]))
            });
        }
    }
    let broker = |at: usize| summaries[at].broker;
    figure("broker cores", &|at| {
        broker(at).map(|cost| number(cost.cores, 2))
    });
    figure("  CPU s per GiB", &|at| {
        broker(at).map(|cost| number(cost.cpu_seconds_per_gib, 2))
    });
    figure("  CPU us per request", &|at| {
        broker(at).map(|cost| number(cost.cpu_us_per_request, 2))
    });
    figure("  resident MiB, at most", &|at| {
        let told = |bytes: u64| positive(bytes as f64 / (1 << 20) as f64, 0);
        broker(at).map(|cost| told(cost.rss_bytes_max).unwrap_or_else(unknown))
    });
    figure("  written to disk MiB/s", &|at| {
        let rate = |cost: BrokerCost| Some(number(cost.disk_mib_per_second?, 1));
        broker(at).map(|cost| rate(cost).unwrap_or_else(unknown))
    });
    figure("  write amplification", &|at| {
        broker(at).and_then(|cost| match cost.write_amplification {
            Some(times) => positive(times, 2),
            None => Some(unknown()),
        })
    });
    figure("  disk flushes/s (machine)", &|at| {
        broker(at)
            .and_then(|cost| cost.syncs_per_second)
            .map(|rate| number(rate, 0))
    });
    figure("generator cores", &|at| {
        Some(number(summaries[at].generator_cores, 2))
    });
    figure("  of its ceiling", &|at| ceiling(&runs[at]));
    rows
}

/// How far a run came towards what the generator itself can do; nothing where that was not measured.
pub fn ceiling(run: &Run) -> Option<String> {
    let generator = &run.generator;
    let share = generator.ceiling_share?;
    let requests = generator.ceiling_requests_per_second;
    let consumed = generator.ceiling_consumed_mib_per_second;
    let requests = requests.map(|ceiling| format!("{}/s", number(ceiling, 0)));
    let consumed = consumed.map(|ceiling| format!("{} MiB/s in", number(ceiling, 0)));
    let ceilings: Vec<String> = requests.into_iter().chain(consumed).collect();
    Some(format!(
        "{:.0} % of {}",
        share * 100.0,
        ceilings.join(" and ")
    ))
}

fn row(name: &str, runs: &[Run], value: impl Fn(&Run) -> String) -> Vec<String> {
    std::iter::once(name.to_owned())
        .chain(runs.iter().map(value))
        .collect()
}

/// Whether no answers were asked for.
fn is_unacknowledged(run: &Run) -> bool {
    run.integrity.unacknowledged > 0
}

/// What is said of a run in sentences: errors, faults and marks.
pub fn sentences(run: &Run) -> Vec<String> {
    let errors = run.errors.iter().map(|error| match error.code {
        0 => format!("{}: {} ({})", error.api, error.name, error.count),
        code => format!("{}: {} [{code}] ({})", error.api, error.name, error.count),
    });
    let faults = run.faults.iter().map(|fault| {
        let became = match &fault.outcome {
            FaultOutcome::ExitCode(code) => format!("exit code {code}"),
            FaultOutcome::Running => "still running at the end".to_owned(),
            outcome => outcome.problem().unwrap_or_default(),
        };
        format!("fault at {} s: `{}`: {became}", fault.at, fault.command)
    });
    let marks = run.marks.iter().map(|mark| {
        let word = match mark.severity() {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Invalid => "INVALID",
        };
        format!("{word}: {mark}")
    });
    let mut sentences: Vec<String> = errors.chain(faults).chain(marks).collect();
    if run.ended != Ended::Complete {
        sentences.push("what was measured until then is above".into());
    }
    sentences
}

/// One sentence on the sequence numbers.
pub fn integrity(found: &Integrity) -> String {
    if found.sent == 0 {
        return format!("{} records of this run were received", found.received);
    }
    let mut text = match found.unacknowledged {
        0 => format!(
            "{} records sent, {} acknowledged",
            found.sent, found.acknowledged
        ),
        whole => format!(
            "{} records sent, {whole} of them whole; none acknowledged (acks 0)",
            found.sent
        ),
    };
    if found.unresolved > 0 {
        text += &format!(", {} refused or without an answer", found.unresolved);
    }
    if found.readers == 0 {
        return text + "; nothing was read back";
    }
    text += &format!(
        "; received {} by {} reader{}: {} lost, {} doubled, {} out of order, {} batches corrupt",
        found.received,
        found.readers,
        if found.readers == 1 { "" } else { "s" },
        found.lost,
        found.duplicated,
        found.out_of_order,
        found.corrupt
    );
    if found.redelivered > 0 {
        text += &format!("; {} delivered again after a move", found.redelivered);
    }
    text
}

/// Microseconds in the unit in which they read best.
pub fn time(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..10_000 => format!("{:.2} ms", us as f64 / 1e3),
        10_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}

/// A number with commas between thousands.
pub fn number(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        let left = whole.len() - place;
        if place > 0 && left % 3 == 0 && digit.is_ascii_digit() && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

/// Cells in columns as wide as they have to be.
pub fn layout(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            text += &match column {
                0 => format!("{cell:<width$}"),
                _ => format!("  {cell:>width$}"),
            };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}
