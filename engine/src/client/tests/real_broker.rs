//! The whole client against a broker that runs: `KAFKA_BROKER=127.0.0.1:19092 cargo test -p millstream-engine real_broker
//! -- --ignored`.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use millstream_storage::batch::Compression;

use crate::client::*;

fn bootstrap() -> Vec<Address> {
    let text = std::env::var("KAFKA_BROKER").unwrap_or_else(|_| "127.0.0.1:9092".into());
    parse_addresses(&text).unwrap()
}

fn admin() -> Admin {
    Admin::connect(&bootstrap(), Duration::from_secs(20)).unwrap()
}

/// A topic of its own for each test and run.
fn fresh_topic(partitions: i32) -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let name = format!("client-test-{}", now.as_nanos());
    let topic = NewTopic {
        name: name.clone(),
        partitions: Some(partitions),
        ..NewTopic::default()
    };
    assert_eq!(
        admin().create_topic(&topic).unwrap().partitions.len(),
        partitions as usize
    );
    name
}

fn record(text: &str) -> Record {
    Record {
        value: Some(Bytes::copy_from_slice(text.as_bytes())),
        ..Record::default()
    }
}

/// Reads `count` records from the start that `assign` gives.
fn read(
    topic: &str,
    partitions: Option<&[i32]>,
    start: StartAt,
    count: usize,
) -> Vec<ConsumedRecord> {
    let mut consumer = Consumer::new(&bootstrap(), ConsumerConfig::default());
    consumer.assign(topic, partitions, start);
    let mut records = Vec::new();
    let patience = std::time::Instant::now() + Duration::from_secs(30);
    while records.len() < count && std::time::Instant::now() < patience {
        records.extend(consumer.poll(Duration::from_millis(200)).unwrap());
    }
    records
}

#[test]
#[ignore = "needs a broker that runs: tests/interop/own_client.py starts one and runs these"]
fn topics_are_created_listed_refused_twice_and_deleted() {
    let topic = fresh_topic(3);
    let mut admin = admin();
    assert!(admin.list_topics().unwrap().contains_key(&topic));
    let again = NewTopic {
        name: topic.clone(),
        ..NewTopic::default()
    };
    let refused = admin.create_topic(&again).unwrap_err();
    assert!(
        refused.to_string().contains("TOPIC_ALREADY_EXISTS"),
        "{refused}"
    );
    let bad = NewTopic {
        name: "a/b".into(),
        ..NewTopic::default()
    };
    assert!(
        admin
            .create_topic(&bad)
            .unwrap_err()
            .to_string()
            .contains("INVALID_TOPIC_EXCEPTION")
    );
    admin.delete_topic(&topic).unwrap();
    let gone = admin.delete_topic(&topic).unwrap_err();
    assert!(
        gone.to_string().contains("UNKNOWN_TOPIC_OR_PARTITION"),
        "{gone}"
    );
    std::thread::sleep(Duration::from_millis(500));
    assert!(!admin.list_topics().unwrap().contains_key(&topic));
}

#[test]
#[ignore = "needs a broker that runs: tests/interop/own_client.py starts one and runs these"]
fn topics_are_described_configured_grown_and_cut() {
    let name = fresh_topic(2);
    let mut producer = Producer::new(&bootstrap(), ProducerConfig::default());
    for partition in [0, 0, 0, 1] {
        let to = Record {
            partition: Some(partition),
            ..record("a")
        };
        producer.send(&name, to).unwrap();
    }
    producer.flush().unwrap();

    let mut admin = admin();
    let topic = admin.describe_topic(&name).unwrap();
    assert_eq!(topic.partitions.len(), 2);
    assert_ne!(topic.id.0, [0; 16]);
    let spans = admin.topic_spans(&name).unwrap();
    assert_eq!(spans[&0], Span { begin: 0, end: 3 });
    assert_eq!(spans[&1], Span { begin: 0, end: 1 });

    let own = |admin: &mut Admin| -> Vec<(String, Option<String>)> {
        let settings = admin.topic_settings(&name).unwrap();
        assert!(settings.len() > 30);
        let own = settings.into_iter();
        own.filter(|one| one.source == SettingSource::Topic)
            .map(|one| (one.key, one.value))
            .collect()
    };
    assert!(own(&mut admin).is_empty());
    let set = [("retention.ms".to_owned(), Some("86400000".to_owned()))];
    admin.configure_topic(&name, &set).unwrap();
    assert_eq!(own(&mut admin), set);
    admin
        .configure_topic(&name, &[("retention.ms".to_owned(), None)])
        .unwrap();
    assert!(own(&mut admin).is_empty());
    let bad = [("no.such.key".to_owned(), Some("1".to_owned()))];
    let refused = admin.configure_topic(&name, &bad).unwrap_err();
    assert!(refused.to_string().contains("INVALID_CONFIG"), "{refused}");

    assert_eq!(admin.grow_topic(&name, 4).unwrap().partitions.len(), 4);
    let refused = admin.grow_topic(&name, 4).unwrap_err();
    assert!(
        refused.to_string().contains("INVALID_PARTITIONS"),
        "{refused}"
    );

    let starts = admin.delete_records(&name, &[0], Some(2)).unwrap();
    assert_eq!(starts, BTreeMap::from([(0, 2)]));
    let starts = admin.delete_records(&name, &[], None).unwrap();
    assert_eq!(starts, BTreeMap::from([(0, 3), (1, 1), (2, 0), (3, 0)]));
    let spans = admin.topic_spans(&name).unwrap();
    assert_eq!(spans[&0], Span { begin: 3, end: 3 });
    let refused = admin.delete_records(&name, &[1], Some(9)).unwrap_err();
    assert!(
        refused.to_string().contains("OFFSET_OUT_OF_RANGE"),
        "{refused}"
    );
    let absent = admin.delete_records(&name, &[7], None).unwrap_err();
    assert!(
        matches!(absent, ClientError::NoPartition { .. }),
        "{absent}"
    );
    admin.delete_topic(&name).unwrap();
    let gone = admin.topic_settings(&name).unwrap_err();
    assert!(
        gone.to_string().contains("UNKNOWN_TOPIC_OR_PARTITION"),
        "{gone}"
    );
}

#[test]
#[ignore = "needs a broker that runs: tests/interop/own_client.py starts one and runs these"]
fn records_with_every_codec_and_acknowledgement_come_back_whole() {
    let topic = fresh_topic(2);
    let mut sent = 0;
    for codec in Compression::ALL {
        for acks in [Acks::None, Acks::Leader, Acks::All] {
            let config = ProducerConfig {
                acks,
                compression: codec,
                ..ProducerConfig::default()
            };
            let mut producer = Producer::new(&bootstrap(), config);
            for index in 0..50 {
                let record = Record {
                    key: (index % 3 > 0).then(|| Bytes::from(format!("key {index}"))),
                    value: (index % 7 > 0)
                        .then(|| Bytes::from(format!("{codec:?} {acks:?} {index}").repeat(9))),
                    headers: vec![
                        ("h".into(), Some(Bytes::from_static(b"x"))),
                        ("n".into(), None),
                    ],
                    timestamp_ms: Some(1_700_000_000_000 + index),
                    ..Record::default()
                };
                producer.send(&topic, record).unwrap();
                sent += 1;
            }
            producer.flush().unwrap();
            assert_eq!(producer.acknowledged_count(), 50);
        }
    }
    let records = read(&topic, None, StartAt::Beginning, sent);
    assert_eq!(records.len(), sent);
    let mut next = BTreeMap::new();
    for record in &records {
        let expected = next.entry(record.partition).or_insert(0);
        assert_eq!(record.offset, *expected, "offsets follow each other");
        *expected += 1;
        assert_eq!(record.headers.len(), 2);
        assert_eq!(record.headers[1], ("n".into(), None));
        if let Some(key) = &record.key {
            assert_eq!(
                record.partition,
                partition_of_key(key, 2),
                "keys go where Kafka puts them"
            );
        }
    }
}

#[test]
#[ignore = "needs a broker that runs: tests/interop/own_client.py starts one and runs these"]
fn a_consumer_begins_where_it_is_told() {
    let topic = fresh_topic(1);
    let mut producer = Producer::new(&bootstrap(), ProducerConfig::default()).with_deliveries();
    for index in 0..100 {
        let record = Record {
            timestamp_ms: Some(1_700_000_000_000 + 10 * index),
            ..record(&index.to_string())
        };
        producer.send(&topic, record).unwrap();
    }
    producer.flush().unwrap();
    let deliveries = producer.take_deliveries();
    assert_eq!(
        deliveries
            .iter()
            .map(|delivery| delivery.tickets.len())
            .sum::<usize>(),
        100
    );
    assert_eq!(deliveries[0].base_offset, 0);
    let first = |start| read(&topic, Some(&[0]), start, 1)[0].offset;
    assert_eq!(first(StartAt::Beginning), 0);
    assert_eq!(first(StartAt::Offset(42)), 42);
    assert_eq!(first(StartAt::Timestamp(1_700_000_000_555)), 56);

    let mut consumer = Consumer::new(&bootstrap(), ConsumerConfig::default());
    consumer.assign(&topic, None, StartAt::End);
    while !consumer.is_at_end() {
        assert_eq!(consumer.poll(Duration::from_millis(100)).unwrap(), vec![]);
    }
    producer.send(&topic, record("later")).unwrap();
    producer.flush().unwrap();
    let mut records = Vec::new();
    while records.is_empty() {
        records = consumer.poll(Duration::from_millis(100)).unwrap();
    }
    assert_eq!((records.len(), records[0].offset), (1, 100));

    let mut consumer = Consumer::new(&bootstrap(), ConsumerConfig::default());
    consumer.assign(&topic, None, StartAt::Offset(5000));
    let refused = consumer.poll(Duration::from_secs(10)).unwrap_err();
    assert!(
        matches!(refused, ClientError::OffsetOutOfRange { offset: 5000, .. }),
        "{refused}"
    );
    let mut consumer = Consumer::new(&bootstrap(), ConsumerConfig::default());
    consumer.assign(&topic, Some(&[7]), StartAt::Beginning);
    let refused = consumer.poll(Duration::from_secs(10)).unwrap_err();
    assert!(
        matches!(refused, ClientError::NoPartition { partition: 7, .. }),
        "{refused}"
    );
}

#[test]
#[ignore = "needs a broker that runs: tests/interop/own_client.py starts one and runs these"]
fn a_million_records_keep_their_order() {
    const COUNT: usize = 1_000_000;
    let topic = fresh_topic(4);
    let started = std::time::Instant::now();
    let mut producer = Producer::new(&bootstrap(), ProducerConfig::default());
    for index in 0..COUNT {
        producer
            .send(&topic, record(&format!("{index:0>100}")))
            .unwrap();
    }
    producer.flush().unwrap();
    println!("{COUNT} records written in {:?}", started.elapsed());
    let started = std::time::Instant::now();
    let records = read(&topic, None, StartAt::Beginning, COUNT);
    println!("{} records read in {:?}", records.len(), started.elapsed());
    assert_eq!(records.len(), COUNT);
    let mut last = BTreeMap::new();
    for record in &records {
        let number: i64 = std::str::from_utf8(record.value.as_ref().unwrap())
            .unwrap()
            .parse()
            .unwrap();
        let before = last.insert(record.partition, number);
        assert!(
            before.is_none_or(|before| before < number),
            "in the order of their sending"
        );
    }
}

#[test]
#[ignore = "needs a broker that runs: tests/interop/own_client.py starts one and runs these"]
fn what_cannot_be_written_is_named() {
    let topic = fresh_topic(1);
    let mut producer = Producer::new(&bootstrap(), ProducerConfig::default());
    producer.send(&topic, record(&"x".repeat(2 << 20))).unwrap();
    let refused = producer.flush().unwrap_err();
    assert!(
        refused.to_string().contains("MESSAGE_TOO_LARGE"),
        "{refused}"
    );
    assert!(refused.remedy().contains("max.message.bytes"));
    let nowhere = parse_addresses("127.0.0.1:1").unwrap();
    let Err(refused) = Admin::connect(&nowhere, Duration::from_secs(5)) else {
        panic!()
    };
    assert_eq!(
        refused.to_string(),
        "no broker can be reached: 127.0.0.1:1: nothing listens there"
    );
}
