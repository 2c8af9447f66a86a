//! The generator against a broker whose latencies, stalls and lies are known.

mod simulated;
mod typed;

use millstream_bench::ceiling::USUAL;
use millstream_bench::load::{Watch, run};
use millstream_bench::result::{Ended, Mark, Run, Second, Stage};
use millstream_bench::workload::{Codec, List, Rate, Settings};
use simulated::{Behaviour, Fate, start};
use std::net::TcpListener;
use std::time::{Duration, Instant};

struct Quiet;

impl Watch for Quiet {
    fn second(&mut self, _: &Second) {}

    fn stage(&mut self, _: &str) {}

    fn is_interrupted(&self) -> bool {
        false
    }
}

/// A run of small requests to one partition at 1,000 per second for four seconds.
fn measured(behaviour: Behaviour, change: impl FnOnce(&mut Settings)) -> Result<Run, String> {
    let address = start(behaviour);
    let mut settings = Settings {
        brokers: Some(List(vec![address.to_string()])),
        partitions: Some(1),
        connections: Some(1),
        in_flight: Some(4_096),
        batch_bytes: Some(300),
        record_bytes: Some(100),
        rate: Some(Rate::Constant(1_000.0)),
        warmup: Some(0.0),
        duration: Some(4.0),
        timeout: Some(3.0),
        ..Settings::default()
    };
    change(&mut settings);
    run(&settings.resolve("test", Vec::new()).unwrap(), &mut Quiet)
}

fn lies(fate: impl Fn(u64) -> Fate + Send + Sync + 'static) -> Behaviour {
    Behaviour {
        fate: Box::new(fate),
        ..Behaviour::default()
    }
}

#[test]
fn a_known_distribution_is_measured_as_it_is() {
    // Every tenth answer takes 40 ms, the others 10; with a connection each so that none waits for another.
    let behaviour = Behaviour {
        answer_at: Box::new(|number, came| {
            came + Duration::from_millis(if number % 10 == 9 { 40 } else { 10 })
        }),
        ..Behaviour::default()
    };
    let run = measured(behaviour, |settings| {
        settings.connections = Some(100);
        settings.partitions = Some(100);
    })
    .unwrap();
    let found = run.percentiles(Stage::Produce).unwrap();
    assert_eq!(found.count, 4_000);
    assert!((10_000..25_000).contains(&found.p50), "{found:?}");
    assert!(
        (40_000..70_000).contains(&run.stages[&Stage::Produce].at(0.95)),
        "{found:?}"
    );
}

#[test]
fn a_stall_of_a_second_makes_all_that_was_due_in_it_late() {
    let (from, to) = (Duration::from_millis(1_500), Duration::from_millis(2_500));
    let behaviour = Behaviour {
        answer_at: Box::new(move |_, came| if came >= from { came.max(to) } else { came }),
        ..Behaviour::default()
    };
    // Few requests in flight: most of what is due in the stall cannot even be sent.
    let run = measured(behaviour, |settings| settings.in_flight = Some(16)).unwrap();
    let latency = &run.stages[&Stage::Produce];
    assert_eq!(latency.count(), 4_000);
    let late = latency.count_above_us(50_000);
    assert!((900..1_050).contains(&late), "{late}");
    let half = latency.count_above_us(500_000);
    assert!((450..600).contains(&half), "{half}");
    assert!(latency.max_us() >= 950_000);
}

#[test]
fn what_is_lost_is_counted_exactly() {
    let run = measured(
        lies(|number| {
            if number % 100 == 7 {
                Fate::Lose
            } else {
                Fate::Append
            }
        }),
        |_| {},
    );
    let found = run.unwrap().integrity;
    let records = found.sent / 4_000;
    assert!(records >= 1);
    assert_eq!(
        (found.sent, found.acknowledged),
        (4_000 * records, 4_000 * records)
    );
    assert_eq!(
        (
            found.lost,
            found.duplicated,
            found.out_of_order,
            found.corrupt
        ),
        (40 * records, 0, 0, 0)
    );
}

#[test]
fn what_is_doubled_is_counted_exactly() {
    let run = measured(
        lies(|number| {
            if number % 200 == 0 {
                Fate::Double
            } else {
                Fate::Append
            }
        }),
        |_| {},
    );
    let run = run.unwrap();
    let found = &run.integrity;
    let records = found.sent / 4_000;
    assert_eq!(
        (found.lost, found.duplicated, found.out_of_order),
        (0, 20 * records, 0)
    );
    assert!(
        run.marks
            .iter()
            .any(|mark| matches!(mark, Mark::Damaged { .. }))
    );
}

#[test]
fn what_is_out_of_order_is_counted_exactly() {
    let run = measured(
        lies(|number| {
            if number % 400 == 10 {
                Fate::Swap
            } else {
                Fate::Append
            }
        }),
        |_| {},
    );
    let found = run.unwrap().integrity;
    let records = found.sent / 4_000;
    assert_eq!(
        (found.lost, found.duplicated, found.out_of_order),
        (0, 0, 10 * records)
    );
}

#[test]
fn consumers_see_every_record_and_its_way_from_the_due_time() {
    let behaviour = Behaviour {
        answer_at: Box::new(|_, came| came + Duration::from_millis(200)),
        ..Behaviour::default()
    };
    let run = measured(behaviour, |settings| {
        settings.consumers = Some(2);
        settings.fan_out = Some(3);
        settings.partitions = Some(4);
        settings.connections = Some(4);
    })
    .unwrap();
    let found = &run.integrity;
    assert_eq!((found.readers, found.lost, found.duplicated), (3, 0, 0));
    assert_eq!(found.received, 3 * found.sent);
    // A consumer has the record before the producer has the slow answer.
    let end_to_end = run.percentiles(Stage::EndToEnd).unwrap();
    assert_eq!(end_to_end.count, 3 * 4_000);
    assert!(end_to_end.p50 < 100_000, "{end_to_end:?}");
    assert!(run.percentiles(Stage::Produce).unwrap().p50 >= 200_000);
}

#[test]
fn refusals_are_counted_by_code_and_are_not_lost() {
    let run = measured(
        lies(|number| {
            if number % 10 == 0 {
                Fate::Refuse(56)
            } else {
                Fate::Append
            }
        }),
        |_| {},
    );
    let run = run.unwrap();
    assert_eq!(run.errors.len(), 1);
    assert_eq!((run.errors[0].code, run.errors[0].count), (56, 400));
    assert_eq!(run.integrity.lost, 0);
    assert_eq!(run.integrity.unresolved, run.integrity.sent / 10);
}

#[test]
fn a_connection_that_breaks_is_opened_again_and_counted() {
    let run = measured(
        lies(|number| {
            if number == 1_000 {
                Fate::Close
            } else {
                Fate::Append
            }
        }),
        |_| {},
    );
    let run = run.unwrap();
    assert_eq!(run.ended, Ended::Complete);
    assert_eq!(
        run.seconds
            .iter()
            .map(|second| second.reconnects)
            .sum::<u64>(),
        1
    );
    assert_eq!(run.integrity.lost, 0);
    assert!(run.integrity.unresolved > 0);
}

#[test]
fn a_connection_on_which_no_answer_comes_is_opened_again() {
    for idempotent in [false, true] {
        let run = measured(
            lies(|number| {
                if number == 1_000 {
                    Fate::Mute
                } else {
                    Fate::Append
                }
            }),
            |settings| {
                settings.timeout = Some(1.0);
                settings.fetch_wait_ms = Some(100);
                settings.idempotent = Some(idempotent);
                settings.in_flight = Some(5);
            },
        );
        let run = run.unwrap();
        assert_eq!(run.ended, Ended::Complete);
        let count: u64 = run.errors.iter().map(|error| error.count).sum();
        assert_eq!(run.errors[0].name, "no answer within `timeout`");
        // All that was in flight, or the connection.
        assert_eq!(count, if idempotent { 1 } else { 5 }, "{:?}", run.errors);
        let found = &run.integrity;
        assert_eq!((found.lost, found.duplicated), (0, 0), "{found:?}");
        let records = found.sent / 4_000;
        let unresolved = if idempotent { 0 } else { 5 * records };
        assert_eq!(found.unresolved, unresolved, "{found:?}");
    }
}

#[test]
fn an_idempotent_producer_sends_again_in_order_what_failed_in_passing() {
    // Twice the broker does not lead for a while, once it hangs up.
    let run = measured(
        lies(|number| match number {
            800..820 => Fate::Refuse(6),
            1_600 => Fate::Close,
            2_400 => Fate::Refuse(3),
            _ => Fate::Append,
        }),
        |settings| {
            settings.idempotent = Some(true);
            settings.in_flight = Some(5);
        },
    );
    let run = run.unwrap();
    assert_eq!(run.ended, Ended::Complete);
    let found = &run.integrity;
    assert_eq!((found.unresolved, found.lost), (0, 0), "{found:?}");
    assert_eq!((found.duplicated, found.out_of_order), (0, 0), "{found:?}");
    let of = |api: &str, code| {
        let mut errors = run.errors.iter();
        let found = errors.find(|error| error.api == api && error.code == code);
        found.map_or(0, |error| error.count)
    };
    assert!(of("Produce", 6) >= 1, "{:?}", run.errors);
    assert_eq!((of("Produce", 3), of("connection", 0)), (1, 1));
    let reconnects: u64 = run.seconds.iter().map(|second| second.reconnects).sum();
    assert!(reconnects >= 3, "{reconnects}");
}

#[test]
fn nonsense_ends_the_run_and_keeps_what_was_measured() {
    let run = measured(
        lies(|number| {
            if number == 2_500 {
                Fate::Babble
            } else {
                Fate::Append
            }
        }),
        |_| {},
    );
    let run = run.unwrap();
    let Ended::Early(reason) = &run.ended else {
        panic!("{:?}", run.ended);
    };
    assert!(reason.contains("cannot be read"), "{reason}");
    assert!(run.summary().seconds >= 2.0);
    assert!(run.stages[&Stage::Produce].count() >= 2_000);
}

#[test]
fn a_missing_api_is_named() {
    for (missing, change) in [
        (
            26,
            (|settings| {
                settings.transaction_batches = Some(5);
                settings.idempotent = Some(true);
                settings.in_flight = Some(5);
            }) as fn(&mut Settings),
        ),
        (11, |settings| {
            settings.group = Some("readers".into());
            settings.consumers = Some(1);
        }),
        (22, |settings| {
            settings.idempotent = Some(true);
            settings.in_flight = Some(5);
        }),
        (1, |settings| settings.consumers = Some(1)),
    ] {
        let behaviour = Behaviour {
            without: vec![missing, 10, 24],
            ..Behaviour::default()
        };
        let problem = measured(behaviour, change).unwrap_err();
        assert!(
            problem.contains("does not offer") && problem.contains("needs the API"),
            "{problem}"
        );
    }
}

#[test]
fn a_broker_that_is_not_there_or_no_broker_is_told() {
    let nobody =
        |settings: &mut Settings| settings.brokers = Some(List(vec!["127.0.0.1:1".into()]));
    let problem = measured(Behaviour::default(), nobody).unwrap_err();
    assert!(problem.contains("no broker at 127.0.0.1:1"), "{problem}");
    // One that takes connections and says nothing.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = mute.local_addr().unwrap().to_string();
    let began = Instant::now();
    let problem = measured(Behaviour::default(), |settings| {
        settings.brokers = Some(List(vec![address.clone()]));
        settings.timeout = Some(1.0);
    });
    let problem = problem.unwrap_err();
    assert!(problem.contains("does not answer ApiVersions"), "{problem}");
    assert!(began.elapsed() < Duration::from_secs(20));
    let unknown = |settings: &mut Settings| {
        settings.connections = Some(0);
        settings.consumers = Some(1);
        settings.topic = Some("nothing".into());
    };
    let problem = measured(Behaviour::default(), unknown).unwrap_err();
    assert!(problem.contains("there is no topic nothing"), "{problem}");
}

#[test]
fn the_ceiling_of_consuming_is_measured_against_the_sink() {
    // Producers and consumers, consumers of many partitions, a reader of large batches, and one of compressed ones.
    let changes: [fn(&mut Settings); 4] = [
        |settings| settings.consumers = Some(2),
        |settings| {
            settings.connections = Some(0);
            settings.consumers = Some(3);
            settings.partitions = Some(1_000);
            settings.batch_bytes = Some(300);
            settings.record_bytes = Some(100);
        },
        |settings| {
            settings.connections = Some(0);
            settings.catch_up = Some(1);
            settings.batch_bytes = Some(2_000_000);
        },
        |settings| {
            settings.consumers = Some(1);
            settings.compression = Some(Codec::Lz4);
        },
    ];
    for change in changes {
        let mut settings = Settings {
            rate: Some(Rate::Constant(10.0)),
            ..Settings::default()
        };
        change(&mut settings);
        if settings.connections == Some(0) {
            settings.rate = None;
        }
        let workload = settings.resolve("test", Vec::new()).unwrap();
        let run = millstream_bench::ceiling::of_consuming(&workload, USUAL).unwrap();
        assert_eq!(run.ended, Ended::Complete);
        assert!(run.errors.is_empty(), "{:?}", run.errors);
        assert!(run.summary().consumed_mib_per_second > 1.0);
        let found = millstream_bench::ceiling::measure(&workload).unwrap();
        assert!(found.consumed_mib_per_second > Some(1.0), "{found:?}");
        assert_eq!(found.requests_per_second.is_some(), workload.produces());
    }
}

#[test]
fn the_ceiling_is_measured_against_the_sink() {
    for (batch_bytes, idempotent) in [(65_536, false), (1_200, true), (2_000_000, false)] {
        let settings = Settings {
            closed: Some(true),
            batch_bytes: Some(batch_bytes),
            in_flight: Some(5),
            idempotent: Some(idempotent),
            ..Settings::default()
        };
        let workload = settings.resolve("test", Vec::new()).unwrap();
        let run = millstream_bench::ceiling::of_producing(&workload, USUAL).unwrap();
        assert!(run.errors.is_empty(), "{:?}", run.errors);
        assert_eq!(run.integrity.unresolved, 0);
        assert!(run.summary().requests_per_second > 10.0);
    }
}
