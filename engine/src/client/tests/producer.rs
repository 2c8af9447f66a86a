//! The producer's core against the cluster in memory.

use std::collections::BTreeMap;

use bytes::Bytes;
use millstream_net::wire::ErrorCode;
use millstream_storage::batch::OpenBatch;

use super::fake::{Fake, Sim, address};
use crate::client::error::ClientError;
use crate::client::outgoing::{Acks, ProducerConfig, Record, Ticket};
use crate::client::producer::ProducerCore;
use crate::client::wiring::{MissingTopic, Wiring};

fn producer(config: ProducerConfig, fake: Fake) -> Sim<ProducerCore> {
    let wiring = Wiring::new(
        "test",
        vec![address(1), address(2)],
        MissingTopic::MayBeCreated,
    );
    Sim::new(ProducerCore::new(config, wiring), fake)
}

fn record(number: u64) -> Record {
    Record {
        value: Some(Bytes::from(number.to_string())),
        ..Record::default()
    }
}

/// The records of each partition as they stand in the logs.
fn written(fake: &Fake) -> Vec<Vec<u64>> {
    let logs = fake.topics["t"].iter();
    logs.map(|log| {
        let batches = log
            .batches
            .iter()
            .map(|batch| OpenBatch::new(batch, 1 << 20).unwrap());
        let mut numbers = Vec::new();
        for batch in batches {
            for record in batch.records() {
                let value = record.unwrap().value.unwrap();
                numbers.push(std::str::from_utf8(value).unwrap().parse().unwrap());
            }
        }
        numbers
    })
    .collect()
}

/// Pushes `count` records with pauses and flushes.
fn run(
    sim: &mut Sim<ProducerCore>,
    count: u64,
) -> Result<BTreeMap<Ticket, (i32, i64)>, ClientError> {
    let mut delivered = BTreeMap::new();
    let mut pushed = 0;
    for round in 0..1_000_000 {
        while pushed < count && sim.core.has_room() && sim.fake.random.below(20) > 0 {
            sim.core.push(sim.now, "t", record(pushed))?;
            pushed += 1;
        }
        if pushed == count {
            sim.core.flush();
        }
        sim.advance();
        for delivery in sim.core.take_deliveries() {
            for (index, ticket) in delivery.tickets.into_iter().enumerate() {
                let place = (delivery.partition, delivery.base_offset + index as i64);
                assert_eq!(delivered.insert(ticket, place), None, "delivered once");
            }
        }
        if let Some(failure) = sim.core.failure() {
            return Err(failure);
        }
        if pushed == count && sim.core.is_idle() {
            return Ok(delivered);
        }
        assert!(round < 999_999, "it ends");
    }
    unreachable!()
}

#[test]
fn whatever_fails_each_record_is_written_once_and_in_order() {
    for seed in 0..60 {
        let mut fake = Fake::new(seed, [0, 40, 12, 6][seed as usize % 4]);
        fake.create("t", 3);
        let config = ProducerConfig {
            batch_bytes_max: 400,
            request_bytes_max: 1_000,
            buffer_bytes_max: 20_000,
            request_ms_max: 1_000,
            ..ProducerConfig::default()
        };
        let mut sim = producer(config, fake);
        // A bootstrap list that fails as a whole ends a client that never reached anything; that is another test's matter.
        let odds = std::mem::take(&mut sim.fake.failure_odds);
        for _ in 0..4 {
            sim.advance();
        }
        sim.fake.failure_odds = odds;
        let delivered = run(&mut sim, 2_000).unwrap();
        let logs = written(&sim.fake);
        assert_eq!(
            logs.iter().map(Vec::len).sum::<usize>(),
            2_000,
            "seed {seed}: once"
        );
        for (partition, log) in logs.iter().enumerate() {
            assert!(log.is_sorted(), "seed {seed}: in order");
            for (offset, number) in log.iter().enumerate() {
                let expected = (partition as i32, offset as i64);
                assert_eq!(
                    delivered[&Ticket(*number)],
                    expected,
                    "seed {seed}: told where"
                );
            }
        }
    }
}

#[test]
fn without_acknowledgement_everything_arrives_while_nothing_fails() {
    let mut fake = Fake::new(1, 0);
    fake.create("t", 2);
    let config = ProducerConfig {
        acks: Acks::None,
        batch_bytes_max: 300,
        ..ProducerConfig::default()
    };
    let mut sim = producer(config, fake);
    run(&mut sim, 500).unwrap();
    assert_eq!(written(&sim.fake).iter().map(Vec::len).sum::<usize>(), 500);
}

#[test]
fn a_topic_that_stays_unknown_ends_the_producer() {
    let mut sim = producer(ProducerConfig::default(), Fake::new(1, 0));
    let failure = run(&mut sim, 1).unwrap_err();
    let ClientError::Refused { code, .. } = &failure else {
        panic!("{failure}")
    };
    assert_eq!(*code, ErrorCode::UnknownTopicOrPartition);
    let waited_ms = sim.now.tick.ms_since(Default::default());
    assert!((10_000..11_000).contains(&waited_ms), "{waited_ms}");
}

#[test]
fn a_record_for_a_partition_that_does_not_exist_ends_the_producer() {
    let mut fake = Fake::new(1, 0);
    fake.create("t", 2);
    let mut sim = producer(ProducerConfig::default(), fake);
    let record = Record {
        partition: Some(2),
        ..record(0)
    };
    sim.core.push(sim.now, "t", record).unwrap();
    for _ in 0..20 {
        sim.advance();
    }
    let failure = sim.core.failure().unwrap();
    assert_eq!(failure.to_string(), "topic `t` has 2 partitions, and no 2");
    assert_eq!(failure.remedy(), "choose one from 0 to 1");
    assert!(sim.core.push(sim.now, "t", Record::default()).is_err());
}

#[test]
fn a_cluster_that_never_answers_is_told_apart_at_once() {
    let mut fake = Fake::new(1, 1);
    fake.create("t", 1);
    let mut sim = producer(ProducerConfig::default(), fake);
    let failure = run(&mut sim, 1).unwrap_err();
    assert_eq!(
        failure.to_string(),
        "no broker can be reached: fake:1: refused; fake:2: refused"
    );
}

#[test]
fn equal_keys_meet_and_records_without_key_fill_one_batch_after_the_other() {
    let mut fake = Fake::new(1, 0);
    fake.create("t", 4);
    let config = ProducerConfig {
        batch_bytes_max: 1_000,
        ..ProducerConfig::default()
    };
    let mut sim = producer(config, fake);
    run(&mut sim, 1_000).unwrap();
    let logs = written(&sim.fake);
    assert!(
        logs.iter().all(|log| log.len() > 150),
        "spread over all partitions"
    );
    let batches: usize = sim.fake.topics["t"]
        .iter()
        .map(|log| log.batches.len())
        .sum();
    assert!(batches < 200, "and not one by one: {batches}");
}
