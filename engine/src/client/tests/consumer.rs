//! The consumer's core against the cluster in memory, and the unpacking of batches.

use std::collections::BTreeMap;

use bytes::Bytes;
use millstream_storage::batch::{BatchBuilder, BatchHeader, Compression, ControlKind};
use millstream_storage::ids::{Offset, ProducerEpoch, ProducerId};

use super::fake::{Fake, Sim, address};
use crate::client::consumer::ConsumerCore;
use crate::client::error::ClientError;
use crate::client::incoming::{ConsumerConfig, Fetched, Isolation, StartAt};
use crate::client::outgoing::{ProducerConfig, Record};
use crate::client::producer::ProducerCore;
use crate::client::unpack::unpack;
use crate::client::wiring::{MissingTopic, Wiring};

/// A cluster with 1,000 numbered records in three partitions.
pub(super) fn filled(seed: u64) -> Fake {
    let mut fake = Fake::new(seed, 0);
    fake.create("t", 3);
    let wiring = Wiring::new("test", vec![address(1)], MissingTopic::IsNotCreated);
    let config = ProducerConfig {
        batch_bytes_max: 300,
        ..ProducerConfig::default()
    };
    let mut sim = Sim::new(ProducerCore::new(config, wiring), fake);
    for number in 0..1_000 {
        let value = Some(Bytes::from(number.to_string()));
        sim.core
            .push(
                sim.now,
                "t",
                Record {
                    value,
                    ..Record::default()
                },
            )
            .unwrap();
    }
    sim.core.flush();
    while !sim.core.is_idle() {
        sim.advance();
    }
    sim.fake
}

fn consumer(fake: Fake) -> Sim<ConsumerCore> {
    let wiring = Wiring::new(
        "test",
        vec![address(1), address(2)],
        MissingTopic::IsNotCreated,
    );
    Sim::new(ConsumerCore::new(ConsumerConfig::default(), wiring), fake)
}

#[test]
fn whatever_fails_each_record_is_read_once_and_in_order() {
    for seed in 0..40 {
        let mut sim = consumer(filled(seed));
        sim.core.assign(sim.now, "t", None, StartAt::Beginning);
        for _ in 0..6 {
            sim.advance();
        }
        sim.fake.failure_odds = [0, 30, 8][seed as usize % 3];
        let mut next = BTreeMap::new();
        let mut count = 0;
        for round in 0.. {
            assert!(round < 100_000, "seed {seed}: it ends");
            sim.advance();
            assert_eq!(sim.core.failure(), None, "seed {seed}");
            while let Some(fetched) = sim.core.take_fetched() {
                for record in unpack(&fetched, Isolation::ReadUncommitted, 1 << 20).unwrap() {
                    let expected: &mut i64 = next.entry(record.partition).or_default();
                    assert_eq!(record.offset, *expected, "seed {seed}");
                    *expected += 1;
                    count += 1;
                }
            }
            if sim.core.is_at_end() {
                break;
            }
        }
        assert_eq!(count, 1_000, "seed {seed}");
    }
}

#[test]
fn an_offset_inside_a_batch_begins_with_its_record() {
    let mut sim = consumer(filled(1));
    sim.core
        .assign(sim.now, "t", Some(&[1]), StartAt::Offset(101));
    let fetched = loop {
        sim.advance();
        if let Some(fetched) = sim.core.take_fetched() {
            break fetched;
        }
    };
    let records = unpack(&fetched, Isolation::ReadUncommitted, 1 << 20).unwrap();
    assert_eq!((records[0].partition, records[0].offset), (1, 101));
}

#[test]
fn a_topic_that_stays_unknown_ends_the_consumer_that_does_not_wait() {
    let mut sim = consumer(Fake::new(1, 0));
    sim.core
        .assign(sim.now, "missing", None, StartAt::Beginning);
    while sim.core.failure().is_none() {
        sim.advance();
    }
    let failure = sim.core.failure().unwrap().to_string();
    assert_eq!(
        failure,
        "reading topic `missing` was refused with UNKNOWN_TOPIC_OR_PARTITION [3]"
    );
    assert_eq!(sim.now.tick.ms_since(Default::default()) / 1_000, 10);
}

#[test]
fn a_partition_that_does_not_exist_ends_the_consumer() {
    let mut sim = consumer(filled(1));
    sim.core.assign(sim.now, "t", Some(&[0, 3]), StartAt::End);
    while sim.core.failure().is_none() {
        sim.advance();
    }
    let failure = sim.core.failure().unwrap();
    assert!(
        matches!(failure, ClientError::NoPartition { partition: 3, .. }),
        "{failure}"
    );
}

fn batch(base_offset: i64, producer: i64, texts: &[&str]) -> Bytes {
    let header = BatchHeader {
        base_offset: Offset(base_offset),
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(0),
        base_sequence: 0,
        transactional: producer >= 0,
        compression: Compression::Zstd,
        ..BatchHeader::default()
    };
    let mut builder = BatchBuilder::new(header);
    for text in texts {
        builder.push(1, None, Some(text.as_bytes()), &[]);
    }
    builder.finish()
}

fn marker(base_offset: i64, producer: i64, kind: ControlKind) -> Bytes {
    let header = BatchHeader {
        base_offset: Offset(base_offset),
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(0),
        ..BatchHeader::default()
    };
    BatchBuilder::control(header, kind, 0, 1)
}

fn texts(fetched: &Fetched, isolation: Isolation) -> Vec<String> {
    let records = unpack(fetched, isolation, 1 << 20).unwrap();
    let values = records.into_iter().map(|record| record.value.unwrap());
    values
        .map(|value| String::from_utf8(value.to_vec()).unwrap())
        .collect()
}

#[test]
fn aborted_records_are_left_out_for_those_who_ask_and_markers_for_all() {
    let records = [
        batch(10, 7, &["late a7"]),
        batch(11, 8, &["c8"]),
        marker(12, 7, ControlKind::Abort),
        batch(13, 7, &["c7", "c7 too"]),
        marker(15, 8, ControlKind::Commit),
        batch(16, -1, &["plain"]),
        marker(17, 7, ControlKind::Commit),
        batch(18, 7, &["a7"]),
        marker(19, 7, ControlKind::Abort),
    ];
    let fetched = Fetched {
        topic: "t".into(),
        partition: 0,
        from: 10,
        end: 0,
        records: records.concat().into(),
        aborted: vec![(7, 18), (7, 3)],
    };
    assert_eq!(
        texts(&fetched, Isolation::ReadCommitted),
        ["c8", "c7", "c7 too", "plain"]
    );
    let all = ["late a7", "c8", "c7", "c7 too", "plain", "a7"];
    assert_eq!(texts(&fetched, Isolation::ReadUncommitted), all);
}

#[test]
fn a_batch_cut_off_at_the_end_is_left_and_a_damaged_one_named() {
    let whole = batch(0, -1, &["one", "two"]);
    let mut records = whole.to_vec();
    records.extend_from_slice(&batch(2, -1, &["three"])[..70]);
    let fetched = |records: Vec<u8>| Fetched {
        topic: "t".into(),
        partition: 4,
        from: 1,
        end: 0,
        records: records.into(),
        aborted: vec![],
    };
    assert_eq!(
        texts(&fetched(records), Isolation::ReadUncommitted),
        ["two"]
    );
    let mut damaged = whole.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let error = unpack(&fetched(damaged), Isolation::ReadUncommitted, 1 << 20).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`t` partition 4 cannot be read at offset 0: Crc"
    );
}
