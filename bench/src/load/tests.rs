use super::keyring::Keyring;
use super::ledger::{Numbers as Set, Received, Sent, Span, reconcile};
use super::pool::Pool;
use super::producer::{Flight, Producer};
use super::random::Random;
use super::schedule::{Pace, Schedule};
use super::stamp::Stamp;
use super::template::{Numbers, Template};
use crate::workload::{Codec, Keys, Settings, Workload};
use bytes::Bytes;
use millstream_net::wire::{Request, decode_request};
use millstream_storage::batch::{OpenBatch, check};
use std::collections::BTreeSet;

const TAG: u32 = 0x1234_5678;

fn workload(change: impl FnOnce(&mut Settings)) -> Workload {
    let mut settings = Settings {
        closed: Some(true),
        topic: Some("words".into()),
        ..Settings::default()
    };
    change(&mut settings);
    settings.resolve("test", Vec::new()).unwrap()
}

fn numbers(batch: u64) -> Numbers<'static> {
    Numbers {
        transactional: "",
        correlation_id: 77,
        topic: "words",
        partition: 5,
        stamp: Stamp {
            tag: TAG,
            stream: 3,
            batch,
            due_ns: 987_654_321 + batch,
            records: 0,
        },
        wall_ms: 1_700_000_000_000,
        key: None,
        producer: Some((42, 1, 7)),
    }
}

/// The pool of a workload.
fn pool(workload: &Workload) -> Pool {
    Pool::build(workload, 8, TAG, Keyring::of(workload)).unwrap()
}

/// The request of a template with these numbers.
fn request(template: &Template, numbers: &Numbers<'_>) -> Request {
    let mut frame = vec![0; template.head_bytes()];
    template.write_head(&mut frame, numbers);
    frame.extend(template.tail());
    let stated = u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize;
    assert_eq!(stated + 4, frame.len());
    let (header, request) = decode_request(&Bytes::from(frame).slice(4..)).unwrap();
    assert_eq!(header.correlation_id, numbers.correlation_id);
    request
}

const CODECS: [Codec; 5] = [
    Codec::None,
    Codec::Gzip,
    Codec::Snappy,
    Codec::Lz4,
    Codec::Zstd,
];

#[test]
fn a_numbered_request_is_whole_in_every_codec() {
    for codec in CODECS {
        for batch_bytes in [200, 4_096, 300_000] {
            let workload = workload(|settings| {
                settings.compression = Some(codec);
                settings.compressible = Some(4.0);
                settings.batch_bytes = Some(batch_bytes);
                settings.record_bytes = Some(100);
            });
            let pool = pool(&workload);
            let template = pool.template(0);
            for batch in [0, 1, 1 << 40] {
                let mut numbers = numbers(batch);
                numbers.stamp.records = template.records;
                let Request::Produce(request) = request(template, &numbers) else {
                    panic!("another request");
                };
                let partition = &request.topics[0].partitions[0];
                assert_eq!(&*request.topics[0].name, "words");
                assert_eq!(partition.index, 5);
                let bytes = partition.records.clone().unwrap();
                let head = check(&bytes).unwrap();
                assert_eq!(head.bytes, template.batch_bytes);
                assert_eq!((head.producer_id.0, head.base_sequence), (42, 7));
                let open = OpenBatch::new(&bytes, 1 << 22)
                    .unwrap_or_else(|error| panic!("{codec} {batch_bytes}: {error:?}"));
                let values: Vec<_> = open
                    .records()
                    .map(|record| record.unwrap().value.unwrap())
                    .collect();
                assert_eq!(values.len() as u32, template.records);
                assert_eq!(Stamp::read(TAG, values[0]), Some(numbers.stamp));
                assert_eq!(Stamp::read(TAG + 1, values[0]), None);
            }
            if codec != Codec::None && batch_bytes == 300_000 {
                let share = template.batch_bytes as f64 / 300_000.0;
                assert!((0.15..0.55).contains(&share), "{codec}: {share}");
            }
        }
    }
}

#[test]
fn sizes_spread_as_lognormal() {
    let workload = workload(|settings| {
        settings.record_bytes = Some(1_000);
        settings.record_spread = Some(0.5);
        settings.batch_bytes = Some(64 << 10);
    });
    let pool = pool(&workload);
    let templates = || (0..1_024).map(|index| pool.template(index));
    let records: u32 = templates().map(|template| template.records).sum();
    let bytes: usize = templates().map(|template| template.batch_bytes).sum();
    let mean = bytes as f64 / f64::from(records);
    // The mean of the distribution is exp(sigma^2 / 2) of its median.
    assert!((1_050.0..1_250.0).contains(&mean), "{mean}");
}

#[test]
fn values_compress_as_stated_with_every_codec() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        for (stated, least, most) in [(1.0, 0.97, 1.05), (4.0, 3.3, 4.2)] {
            let workload = workload(|settings| {
                settings.compression = Some(codec);
                settings.compressible = Some(stated);
                settings.record_bytes = Some(1_024);
            });
            let pool = pool(&workload);
            let template = pool.template(0);
            let ratio = f64::from(template.records) * 1_024.0 / template.batch_bytes as f64;
            assert!(
                (least..most).contains(&ratio),
                "{codec:?} {stated}: {ratio}"
            );
        }
    }
    let smallest = workload(|settings| {
        settings.compressible = Some(1000.0);
        settings.record_bytes = Some(8);
    });
    assert!(pool(&smallest).template(0).records > 1_000);
}

#[test]
fn what_is_gathered_are_the_bytes_of_the_requests_in_order() {
    let workload = workload(|settings| settings.batch_bytes = Some(3_000));
    let pool = pool(&workload);
    let template = pool.template(0);
    let mut producer = Producer::new(3, pool.head_bytes());
    let mut sent = Vec::new();
    for round in 0..20u64 {
        while producer.has_room() {
            let flight = Flight {
                due_ns: round,
                stream: 0,
                batch: round,
                template: 0,
            };
            producer.queue(template, flight, numbers(round));
        }
        let mut pieces = Vec::new();
        producer.gather(|_| template, |piece| pieces.extend_from_slice(piece));
        // The socket takes a part that ends somewhere.
        let taken = pieces.len() * (round as usize % 7 + 1) / 7;
        sent.extend_from_slice(&pieces[..taken]);
        producer.sent(taken, |_| template);
        while producer.unacknowledged().is_some() {}
    }
    let whole = template.head_bytes() + template.tail().len();
    for (index, frame) in sent.chunks_exact(whole).enumerate() {
        let correlation = i32::from_be_bytes(frame[8..12].try_into().unwrap());
        assert_eq!(correlation, index as i32);
        assert_eq!(&frame[template.head_bytes()..], template.tail());
    }
    assert!(sent.len() > 10 * whole);
}

#[test]
fn an_answer_out_of_turn_is_nonsense() {
    let workload = workload(|_| {});
    let pool = pool(&workload);
    let template = pool.template(0);
    let mut producer = Producer::new(2, pool.head_bytes());
    let answer = |correlation: i32| {
        let mut frame = correlation.to_be_bytes().to_vec();
        frame.extend([0, 0, 0, 1, 0, 5]);
        frame.extend(b"words");
        frame.extend([0, 0, 0, 1, 0, 0, 0, 5, 0, 6]);
        frame
    };
    assert!(
        producer
            .answer(&answer(0))
            .unwrap_err()
            .contains("nothing was asked")
    );
    let flight = Flight::default();
    producer.queue(template, flight, numbers(0));
    producer.sent(template.head_bytes() + template.tail().len(), |_| template);
    assert!(
        producer
            .answer(&answer(1))
            .unwrap_err()
            .contains("request 1 where 0")
    );
    assert!(
        producer
            .answer(&answer(0)[..12])
            .unwrap_err()
            .contains("cannot be read")
    );
    assert_eq!(producer.answer(&answer(0)).unwrap().code, 6);
}

#[test]
fn schedules_of_all_threads_make_the_stated_rate() {
    let until = 10_000_000_000;
    for (pace, expected) in [
        (Pace::Constant(1_000.0), 10_000.0),
        (Pace::Poisson(1_000.0), 10_000.0),
        (
            Pace::Ramp {
                from: 100.0,
                to: 1_100.0,
                begins_s: 2.0,
                lasts_s: 4.0,
            },
            200.0 + 2_400.0 + 4_400.0,
        ),
    ] {
        let mut count = 0;
        for (index, share) in [(0, 0.5), (1, 0.3), (2, 0.2)] {
            let mut schedule = Schedule::new(pace, share, f64::from(index) / 3.0, index as u64);
            let mut last = 0;
            while schedule.next_ns() < until {
                assert!(schedule.next_ns() >= last);
                last = schedule.next_ns();
                schedule.advance();
                count += 1;
            }
        }
        let off = (f64::from(count) - expected).abs() / expected;
        let allowed = if matches!(pace, Pace::Poisson(_)) {
            0.04
        } else {
            0.002
        };
        assert!(off < allowed, "{pace:?}: {count}, not {expected}");
    }
}

#[test]
fn gaps_of_a_poisson_schedule_are_exponential() {
    let mut schedule = Schedule::new(Pace::Poisson(1_000.0), 1.0, 0.0, 1);
    let (mut last, mut long) = (0, 0);
    for _ in 0..100_000 {
        let gap = schedule.next_ns() - last;
        long += u32::from(gap > 2_000_000);
        last = schedule.next_ns();
        schedule.advance();
    }
    // exp(-2) of all gaps are longer than twice the mean.
    assert!((12_800..14_300).contains(&long), "{long}");
}

#[test]
fn what_is_lost_doubled_or_late_is_counted_exactly() {
    // What a reader saw of batches 0 to 9, of three records each; 8 and 9 have no answer.
    for (seen, lost, doubled, late) in [
        (vec![0, 1, 2, 3, 4, 5, 6, 7], 0, 0, 0),
        (vec![0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 0, 0, 0),
        (vec![0, 1, 3, 4, 5, 7], 6, 0, 0),
        (vec![0, 1, 1, 2, 3, 4, 5, 6, 7, 0], 0, 6, 0),
        (vec![0, 2, 1, 3, 4, 7, 5, 6], 0, 0, 9),
        (vec![], 24, 0, 0),
    ] {
        let mut sent = Sent {
            batches: 10,
            ..Sent::default()
        };
        for batch in 0..8 {
            sent.acknowledged.insert(batch);
        }
        let mut reader = Received::new(Span::All, 1);
        for (end_offset, batch) in (3..).step_by(3).zip(&seen) {
            reader.take(&stamp(*batch), end_offset);
        }
        let found = reconcile(&[sent], &[reader], |_, _| 3);
        assert_eq!(
            (found.sent, found.acknowledged, found.unresolved),
            (30, 24, 6)
        );
        assert_eq!(
            (found.lost, found.duplicated, found.out_of_order),
            (lost, doubled, late),
            "{seen:?}"
        );
    }
}

/// The stamp of a batch of three records.
fn stamp(batch: u64) -> Stamp {
    Stamp {
        tag: TAG,
        stream: 0,
        batch,
        due_ns: 0,
        records: 3,
    }
}

#[test]
fn what_is_read_again_is_told_from_what_stands_twice_in_the_log() {
    let mut sent = Sent {
        batches: 5,
        ..Sent::default()
    };
    (0..5).for_each(|batch| {
        sent.acknowledged.insert(batch);
    });
    // Batch 2 is in the log twice; an owner read up to offset 12 and committed 3, the next one reads from there.
    let log = [(0, 3), (1, 6), (2, 9), (2, 12), (3, 15), (4, 18)];
    let mut reader = Received::new(Span::All, 1);
    for (batch, end_offset) in log[..4].iter().chain(&log[1..]) {
        reader.take(&stamp(*batch), *end_offset);
    }
    let found = reconcile(&[sent], &[reader], |_, _| 3);
    assert_eq!((found.received, found.lost), (27, 0));
    assert_eq!((found.duplicated, found.redelivered), (3, 9));
    assert_eq!((found.out_of_order, found.corrupt), (0, 0));
}

#[test]
fn a_set_of_numbers_is_small_where_none_is_missing() {
    let mut all = Set::default();
    for number in (0..1_000_000).map(|at| at ^ 1) {
        assert!(!all.insert(number));
        assert!(all.words() <= 2);
    }
    assert!(all.contains(0) && all.contains(999_999) && !all.contains(1_000_000));
    assert!(all.insert(77) && all.insert(999_999));
    let mut one_missing = Set::default();
    (0..10_000)
        .filter(|number| *number != 640)
        .for_each(|number| {
            one_missing.insert(number);
        });
    assert!(!one_missing.contains(640) && one_missing.contains(641));
    assert_eq!(one_missing.words(), 10_000usize.div_ceil(64) - 10);
    assert!(!one_missing.insert(640) && one_missing.words() <= 1);
}

#[test]
fn what_nobody_read_to_the_end_is_unchecked_and_not_lost() {
    let mut sent = Sent {
        batches: 4,
        ..Sent::default()
    };
    for batch in 0..4 {
        sent.acknowledged.insert(batch);
    }
    let mut reader = Received::new(Span::All, 1);
    reader.not_read_to_the_end(0);
    let found = reconcile(&[sent.clone()], &[reader], |_, _| 1);
    assert_eq!((found.lost, found.unchecked), (0, 4));
    sent.began_at = 3;
    let fresh = Received::new(Span::SinceItBegan, 1);
    let found = reconcile(&[sent], &[fresh], |_, _| 1);
    assert_eq!((found.lost, found.unchecked), (1, 3));
}

#[test]
fn random_numbers_are_what_they_are_called() {
    let mut random = Random::new(7);
    let normal: Vec<f64> = (0..100_000).map(|_| random.normal()).collect();
    let mean = normal.iter().sum::<f64>() / 1e5;
    let variance = normal
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f64>()
        / 1e5;
    assert!(
        mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02,
        "{mean} {variance}"
    );
}

/// The records of a request as key and value.
fn records(template: &Template, numbers: &Numbers<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let Request::Produce(request) = request(template, numbers) else {
        panic!("another request");
    };
    let bytes = request.topics[0].partitions[0].records.clone().unwrap();
    check(&bytes).unwrap();
    let open = OpenBatch::new(&bytes, 1 << 22).unwrap();
    let records = open.records().map(|record| {
        let record = record.unwrap();
        let key = record.key.unwrap_or_default().to_vec();
        (key, record.value.unwrap().to_vec())
    });
    records.collect()
}

#[test]
fn every_request_gets_a_key_of_its_own_in_every_codec() {
    for codec in CODECS {
        let workload = workload(|settings| {
            settings.keys = Some(Keys::Uniform);
            settings.key_count = Some(1_000_000);
            settings.batch_bytes = Some(9_000);
            settings.partitions = Some(3);
            settings.compression = Some(codec);
            settings.pool_bytes = Some(1 << 20);
        });
        let pool = pool(&workload);
        let mut first = BTreeSet::new();
        for batch in 0..200u64 {
            let mut numbers = numbers(batch);
            numbers.partition = (batch % 3) as i32;
            numbers.key = pool.first_key(3, numbers.partition, batch);
            let template = pool.template(pool.index(numbers.partition, batch));
            numbers.stamp.records = template.records;
            let found = records(template, &numbers);
            assert_eq!(found.len() as u64, pool.records(numbers.partition, batch));
            assert_eq!(found[0].0, numbers.key.unwrap());
            assert_eq!(Stamp::read(TAG, &found[0].1), Some(numbers.stamp));
            first.insert(found[0].0.clone());
        }
        // As many of a million as chance allows; sent again they are the same.
        assert!(first.len() >= 199, "{}", first.len());
        assert_eq!(pool.first_key(3, 1, 7), pool.first_key(3, 1, 7));
    }
}

#[test]
fn a_pool_has_the_variety_that_it_has_room_for() {
    let distinct = |pool: &Pool, count: u32| {
        let keys = (0..count).flat_map(|index| records(pool.template(index), &numbers(0)));
        keys.map(|(key, _)| key).collect::<BTreeSet<_>>().len()
    };
    let keyed = |bytes: u64| {
        pool(&workload(|settings| {
            settings.keys = Some(Keys::Uniform);
            settings.key_count = Some(1_000_000);
            settings.partitions = Some(1);
            settings.record_bytes = Some(100);
            settings.batch_bytes = Some(16_384);
            settings.pool_bytes = Some(bytes);
        }))
    };
    // 1 MiB has 64 batches of about 130 records.
    let found = distinct(&keyed(1 << 20), 64);
    assert!((7_000..9_500).contains(&found), "{found}");
    // However small it is there are some.
    assert!(distinct(&keyed(0), 8) > 900);
    let too_many = workload(|settings| {
        settings.keys = Some(Keys::Uniform);
        settings.partitions = Some(100_000);
    });
    let problem = Pool::build(&too_many, 8, TAG, Keyring::of(&too_many)).unwrap_err();
    assert!(problem.contains("`partitions` times `batch-bytes`"));
}

#[test]
fn sequence_numbers_count_the_records_of_a_partition() {
    let pool = pool(&workload(|settings| {
        settings.keys = Some(Keys::Zipf);
        settings.record_spread = Some(0.8);
        settings.partitions = Some(2);
        settings.pool_bytes = Some(4 << 20);
    }));
    for partition in 0..2 {
        let mut records = 0;
        for batch in 0..300 {
            assert_eq!(pool.sequence(partition, batch) as u64, records);
            records += pool.records(partition, batch);
        }
    }
}
