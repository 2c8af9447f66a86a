use super::*;
use crate::result::{
    Comparison, Environment, Flow, INTERVALS_MAX, Intervals, Latency, Mark, Phase, ProcessSums,
    Ratio, Report, Run, Second, Stage, SweepStep,
};

/// A run of ten seconds with latencies around a millisecond and one of a second.
pub fn run(label: &str) -> Run {
    let mut run = Run {
        label: label.into(),
        workload: "small & <fast>".into(),
        started_unix_ms: 1_700_000_000_000,
        marks: vec![Mark::ClosedLoop],
        ..Run::default()
    };
    for at in 0..10 {
        let mut second = Second {
            begins_at: f64::from(at),
            seconds: 1.0,
            phase: if at < 2 {
                Phase::Warmup
            } else {
                Phase::Measured
            },
            produced: Flow {
                requests: 1_000,
                records: 1_000,
                bytes: 5 << 20,
            },
            ..Second::default()
        };
        second.generator.cpu_seconds = f64::from(at) * 0.3;
        let mut latency = Latency::default();
        (0..1_000).for_each(|count| latency.record_us(500 + count));
        if at == 5 {
            latency.record_us(1_000_000);
        }
        second.stages.insert(Stage::Produce, latency.packed());
        if at >= 2 {
            run.stages.entry(Stage::Produce).or_default().add(&latency);
        }
        run.seconds.push(second);
    }
    run
}

#[test]
fn the_table_has_every_run_and_its_figures() {
    let text = table(&[run("one"), run("two")]);
    assert!(text.contains("one") && text.contains("two"), "{text}");
    let p99 = text
        .lines()
        .find(|line| line.starts_with("  p99 "))
        .unwrap();
    assert_eq!(
        p99.split_whitespace().collect::<Vec<_>>(),
        ["p99", "1.49", "ms", "1.49", "ms"]
    );
    assert!(text.contains("1.00 s"), "{text}");
    assert!(text.contains("note: closed loop"), "{text}");
}

#[test]
fn what_is_in_flight_and_what_had_to_be_connected_again_is_told() {
    let mut busy = run("one");
    for (second, at) in busy.seconds.iter_mut().zip(0..) {
        second.in_flight = 10 * at;
        second.backlog = 3;
        second.reconnects = u64::from(at == 1 || at == 7);
    }
    let text = table(std::slice::from_ref(&busy));
    let row = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.unwrap_or_default().to_owned()
    };
    assert!(
        row("  in flight, mean and most").ends_with("55.0, 90"),
        "{text}"
    );
    // That of the warm-up does not count.
    assert!(row("reconnects").ends_with(" 1"), "{text}");
    let page = page(&Report {
        runs: vec![busy],
        ..Report::default()
    });
    assert!(page.contains("<h2>Requests in flight over time</h2>"));
    for name in ["in flight", "due and not sent", "reconnects"] {
        assert!(page.contains(&format!("</i>{name}</span>")), "{name}");
    }
}

#[test]
fn what_the_kernel_does_not_tell_is_a_dash() {
    let mut run = run("one");
    for told in [None, Some(7 << 20)] {
        for (second, at) in run.seconds.iter_mut().zip(1..) {
            second.broker = Some(ProcessSums {
                disk_written_bytes: told.map(|bytes| bytes * at),
                ..ProcessSums::default()
            });
        }
        let text = table(std::slice::from_ref(&run));
        let cell = |name: &str| {
            let line = text
                .lines()
                .find(|line| line.trim_start().starts_with(name));
            let cell = line.and_then(|line| line.split_whitespace().next_back());
            cell.unwrap_or_default().to_owned()
        };
        let (rate, times) = match told {
            None => ("-", "-"),
            Some(_) => ("7.0", "1.40"),
        };
        assert_eq!(cell("written to disk"), rate, "{text}");
        assert_eq!(cell("write amplification"), times, "{text}");
        assert_eq!(cell("resident MiB"), "-", "{text}");
    }
}

#[test]
fn a_command_line_can_be_typed_again() {
    let words = [
        "run",
        "--fault",
        "2:kill $BENCH_PID; echo <it's>",
        "",
        "a/b.toml",
    ];
    let words = words.map(str::to_owned);
    let line = html::command_line(&words);
    assert_eq!(
        line,
        r"run --fault '2:kill $BENCH_PID; echo <it'\''s>' '' a/b.toml"
    );
    let echo = format!("printf '%s\\n' {line}");
    let said = std::process::Command::new("sh")
        .args(["-c", &echo])
        .output();
    let said = String::from_utf8(said.unwrap().stdout).unwrap();
    assert_eq!(said.lines().collect::<Vec<_>>(), words);
    let page = page(&Report {
        command: words.to_vec(),
        ..Report::default()
    });
    assert!(page.contains("echo &lt;it'\\''s&gt;'"), "{page}");
}

/// A second with three stages whose latencies spread as a busy broker's do.
fn busy_second(at: u64) -> Second {
    let mut second = Second {
        begins_at: at as f64,
        seconds: 1.0,
        in_flight: at % 7,
        produced: Flow {
            requests: 1_526,
            records: 1_526,
            bytes: 100_000_000,
        },
        ..Second::default()
    };
    let mut random = crate::load::Random::new(at);
    for stage in [Stage::Produce, Stage::EndToEnd, Stage::Fetch] {
        let mut latency = Latency::default();
        for _ in 0..1_526 {
            let tail = 1.0 / (1.0 - random.fraction()).max(1e-4);
            latency.record_us((500.0 * tail) as u64);
        }
        second.stages.insert(stage, latency.packed());
    }
    second
}

#[test]
fn an_hour_fits_into_memory_and_into_a_page() {
    let mut seconds = Intervals::default();
    (0..3_600).for_each(|at| seconds.push(busy_second(at)));
    let mut run = Run {
        seconds: seconds.into_vec(),
        ..Run::default()
    };
    // Still second by second.
    assert_eq!(run.seconds.len(), 3_600);
    let packed = run.seconds.iter().flat_map(|second| second.stages.values());
    let bytes: usize = packed.map(|packed| packed.bytes()).sum();
    assert!(bytes < 32 << 20, "{bytes}");
    for second in &run.seconds[..10] {
        for (stage, packed) in &second.stages {
            run.stages.entry(*stage).or_default().add(&packed.latency());
        }
    }
    // One second in which nothing was answered is seen.
    run.seconds[1_234].produced = Flow::default();
    let page = page(&Report {
        runs: vec![run],
        ..Report::default()
    });
    assert!(page.len() < 4 << 20, "{}", page.len());
    let bottom = "276.0";
    let line = page
        .split("<polyline")
        .find(|line| line.contains("<title>produced<"));
    assert!(line.unwrap().contains(&format!(",{bottom} ")));
}

#[test]
fn days_have_as_many_intervals_as_an_hour_and_their_sums() {
    let one = busy_second(0);
    let mut seconds = Intervals::default();
    let count = 200_000;
    for at in 0..count {
        let mut second = Second {
            begins_at: at as f64,
            stages: Default::default(),
            ..one.clone()
        };
        second.phase = if at < 10 {
            Phase::Warmup
        } else {
            Phase::Measured
        };
        second.reconnects = u64::from(at == 100_000);
        if at % 1_000 == 0 {
            second.stages = one.stages.clone();
        }
        second.broker = Some(ProcessSums {
            cpu_seconds: at as f64 * 0.5,
            rss_bytes: if at == 77_777 { 9 << 20 } else { 1 << 20 },
            ..ProcessSums::default()
        });
        seconds.push(second);
        assert!(seconds.as_slice().len() <= INTERVALS_MAX);
    }
    let run = Run {
        seconds: seconds.into_vec(),
        ..Run::default()
    };
    assert!(run.seconds.len() > INTERVALS_MAX / 2);
    let summary = run.summary();
    assert_eq!(summary.seconds, f64::from(count - 10));
    assert_eq!(summary.requests_per_second, 1_526.0);
    assert!((summary.best_5s_mib_per_second - 95.37).abs() < 0.1);
    assert_eq!(summary.reconnects, 1);
    let broker = summary.broker.unwrap();
    assert!((broker.cores - 0.5).abs() < 1e-6, "{}", broker.cores);
    assert_eq!(broker.rss_bytes_max, 9 << 20);
    let latencies = run.seconds.iter().filter_map(|second| {
        let packed = second.stages.get(&Stage::Produce)?;
        Some(packed.latency().count())
    });
    assert_eq!(latencies.sum::<u64>(), 200 * 1_526);
    let mut ends = 0.0;
    for second in &run.seconds {
        assert_eq!(second.begins_at, ends);
        ends += second.seconds;
    }
}

#[test]
fn numbers_have_commas() {
    assert_eq!(number(1_234_567.0, 0), "1,234,567");
    assert_eq!(number(999.5, 1), "999.5");
    assert_eq!(number(-1_234.0, 0), "-1,234");
}

#[test]
fn percentiles_are_written_as_hdrhistogram_does() {
    let text = percentiles(&run("one").stages[&Stage::Produce]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0].split_whitespace().next(), Some("Value"));
    assert!(
        lines[2].trim().starts_with("0.500 0.000000000000"),
        "{}",
        lines[2]
    );
    let last = lines.iter().rfind(|line| !line.starts_with('#')).unwrap();
    assert_eq!(last.split_whitespace().nth(1), Some("1.000000000000"));
    assert_eq!(last.split_whitespace().nth(2), Some("8001"));
}

#[test]
fn a_page_loads_nothing_and_escapes_names() {
    let mut near = run("two");
    near.generator.ceiling_share = Some(0.915);
    near.generator.ceiling_requests_per_second = Some(1_092.9);
    let report = Report {
        runs: vec![run("one"), near],
        sweep: vec![SweepStep {
            rate: 1_000.0,
            p50_us: 10,
            p99_us: 100,
            ..SweepStep::default()
        }],
        comparison: Some(Comparison {
            a: "one".into(),
            b: "two".into(),
            rounds: 1,
            counted: vec![0],
            excluded: vec!["round 2: <late>".into()],
            figures: vec![Ratio::default()],
        }),
        environment: Environment::default(),
        ..Report::default()
    };
    let page = page(&report);
    for outside in ["http:", "https:", "src=", "href=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("small &amp; &lt;fast&gt;"));
    assert!(!page.contains("<fast>"));
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    assert!(page.matches("<svg").count() >= 5);
    assert!(!page.contains("NaN"));
    // A sweep has no column of figures for each run, but says of each how close to the ceiling it was.
    assert!(page.contains("run 1, one: not measured"));
    assert!(page.contains("run 2, two: 92 % of 1,093/s"));
}
