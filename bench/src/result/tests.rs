use super::*;

fn second(at: usize, phase: Phase, requests: u64, cpu_seconds: f64) -> Second {
    Second {
        begins_at: at as f64,
        seconds: 1.0,
        phase,
        produced: Flow {
            requests,
            records: requests * 2,
            bytes: requests << 20,
        },
        broker: Some(ProcessSums {
            cpu_seconds,
            disk_written_bytes: Some(at as u64 * (20 << 20)),
            ..ProcessSums::default()
        }),
        ..Second::default()
    }
}

#[test]
fn a_summary_counts_measured_seconds_only() {
    let run = Run {
        seconds: vec![
            second(0, Phase::Warmup, 1_000, 5.0),
            second(1, Phase::Measured, 10, 5.5),
            second(2, Phase::Measured, 30, 6.0),
        ],
        ..Run::default()
    };
    let summary = run.summary();
    assert_eq!(summary.requests_per_second, 20.0);
    assert_eq!(summary.records_per_second, 40.0);
    assert_eq!(summary.mib_per_second, 20.0);
    let broker = summary.broker.unwrap();
    assert_eq!(broker.cores, 0.5);
    assert_eq!(broker.cpu_us_per_request, 25_000.0);
    assert_eq!(broker.write_amplification, Some(1.0));
}

#[test]
fn a_report_reads_back_from_json() {
    let mut run = Run {
        label: "one".into(),
        marks: vec![Mark::BrokerBehind { backlog: 7 }],
        ended: Ended::Early("the broker closed".into()),
        ..Run::default()
    };
    let latency = run.stages.entry(Stage::Produce).or_default();
    (1..=1000).for_each(|value| latency.record_us(value * 100));
    let report = Report {
        format: FORMAT,
        runs: vec![run],
        ..Report::default()
    };
    let text = serde_json::to_string(&report).unwrap();
    let read: Report = serde_json::from_str(&text).unwrap();
    let run = &read.runs[0];
    assert_eq!(run.stages, report.runs[0].stages);
    assert_eq!(run.marks, report.runs[0].marks);
    assert_eq!(run.ended, report.runs[0].ended);
    let p99 = run.percentiles(Stage::Produce).unwrap().p99;
    assert!((99_000..=99_100).contains(&p99), "{p99}");
}

#[test]
fn latencies_outside_of_the_range_are_told_as_its_ends() {
    let mut latency = Latency::default();
    latency.record_ns(0);
    latency.record_us(u64::MAX);
    assert_eq!(latency.count(), 2);
    assert_eq!(latency.at(0.1), 1);
    assert!(latency.max_us() >= LATENCY_MAX_US);
    assert_eq!(latency.count_above_us(1_000), 1);
}
