use super::*;
use crate::result::{
    Comparison, Environment, Flow, Mark, Phase, Ratio, Report, Run, Second, Stage, SweepStep,
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
        let latency = second.stages.entry(Stage::Produce).or_default();
        (0..1_000).for_each(|count| latency.record_us(500 + count));
        if at == 5 {
            latency.record_us(1_000_000);
        }
        if at >= 2 {
            let latency = latency.clone();
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
    let report = Report {
        runs: vec![run("one"), run("two")],
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
}
