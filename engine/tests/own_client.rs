//! The whole client against a broker that runs: a Millstream that is started for it, or the one that `KAFKA_BROKER` names.

use bytes::Bytes;
use millstream_engine::client::*;
use millstream_storage::batch::Compression;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// A broker for the tests that run at the same time; gone with the last of them.
struct Broker {
    addresses: Vec<Address>,
    own: Option<(Child, PathBuf)>,
}

impl Broker {
    fn running() -> Arc<Broker> {
        static RUNNING: Mutex<Weak<Broker>> = Mutex::new(Weak::new());
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        running.upgrade().unwrap_or_else(|| {
            let broker = Arc::new(Broker::find());
            *running = Arc::downgrade(&broker);
            broker
        })
    }

    fn find() -> Broker {
        let Ok(text) = std::env::var("KAFKA_BROKER") else {
            return Broker::start();
        };
        Broker {
            addresses: parse_addresses(&text).unwrap(),
            own: None,
        }
    }

    fn start() -> Broker {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = port.local_addr().unwrap().to_string();
        drop(port);
        let data = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("own-client-{address}"));
        let mut process = Command::new(env!("CARGO_BIN_EXE_millstream"))
            .args(["serve", "--shards", "2", "--listen", &address, "--data"])
            .arg(&data)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut words = String::new();
        while !words.contains("is ready") {
            let line = lines.next();
            let line = line.unwrap_or_else(|| panic!("the broker does not run: {words}"));
            words += &(line.unwrap() + "\n");
        }
        std::thread::spawn(move || lines.for_each(drop));
        Broker {
            addresses: parse_addresses(&address).unwrap(),
            own: Some((process, data)),
        }
    }

    fn admin(&self) -> Admin {
        Admin::connect(&self.addresses, Duration::from_secs(20)).unwrap()
    }

    fn producer(&self, config: ProducerConfig) -> Producer {
        Producer::new(&self.addresses, config)
    }

    fn consumer(&self) -> Consumer {
        Consumer::new(&self.addresses, ConsumerConfig::default())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some((process, data)) = &mut self.own {
            process.kill().unwrap();
            process.wait().unwrap();
            let _ = std::fs::remove_dir_all(data);
        }
    }
}

/// A topic of its own for each test and run.
fn fresh_topic(broker: &Broker, partitions: i32) -> String {
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
        broker
            .admin()
            .create_topic(&topic)
            .unwrap()
            .partitions
            .len(),
        partitions as usize
    );
    name
}

/// A time (ms) that no retention has reached.
fn an_hour_ago() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    since.as_millis() as i64 - 3_600_000
}

fn record(text: &str) -> Record {
    Record {
        value: Some(Bytes::copy_from_slice(text.as_bytes())),
        ..Record::default()
    }
}

/// Reads `count` records from the start that `assign` gives.
fn read(
    broker: &Broker,
    topic: &str,
    partitions: Option<&[i32]>,
    start: StartAt,
    count: usize,
) -> Vec<ConsumedRecord> {
    let mut consumer = broker.consumer();
    consumer.assign(topic, partitions, start);
    let mut records = Vec::new();
    let patience = std::time::Instant::now() + Duration::from_secs(120);
    while records.len() < count && std::time::Instant::now() < patience {
        records.extend(consumer.poll(Duration::from_millis(200)).unwrap());
    }
    records
}

#[test]
fn topics_are_created_listed_refused_twice_and_deleted() {
    let broker = Broker::running();
    let topic = fresh_topic(&broker, 3);
    let mut admin = broker.admin();
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
fn topics_are_described_configured_grown_and_cut() {
    let broker = Broker::running();
    let name = fresh_topic(&broker, 2);
    let mut producer = broker.producer(ProducerConfig::default());
    for partition in [0, 0, 0, 1] {
        let to = Record {
            partition: Some(partition),
            ..record("a")
        };
        producer.send(&name, to).unwrap();
    }
    producer.flush().unwrap();

    let mut admin = broker.admin();
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
fn records_with_every_codec_and_acknowledgement_come_back_whole() {
    let broker = Broker::running();
    let begin = an_hour_ago();
    let topic = fresh_topic(&broker, 2);
    let mut sent = 0;
    for codec in Compression::ALL {
        for acks in [Acks::None, Acks::Leader, Acks::All] {
            let config = ProducerConfig {
                acks,
                compression: codec,
                ..ProducerConfig::default()
            };
            let mut producer = broker.producer(config);
            for index in 0..50 {
                let record = Record {
                    key: (index % 3 > 0).then(|| Bytes::from(format!("key {index}"))),
                    value: (index % 7 > 0)
                        .then(|| Bytes::from(format!("{codec:?} {acks:?} {index}").repeat(9))),
                    headers: vec![
                        ("h".into(), Some(Bytes::from_static(b"x"))),
                        ("n".into(), None),
                    ],
                    timestamp_ms: Some(begin + index),
                    ..Record::default()
                };
                producer.send(&topic, record).unwrap();
                sent += 1;
            }
            producer.flush().unwrap();
            assert_eq!(producer.acknowledged_count(), 50);
        }
    }
    let records = read(&broker, &topic, None, StartAt::Beginning, sent);
    let spans = broker.admin().topic_spans(&topic).unwrap();
    assert_eq!(records.len(), sent, "of what the broker has: {spans:?}");
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
fn a_consumer_begins_where_it_is_told() {
    let broker = Broker::running();
    let begin = an_hour_ago();
    let topic = fresh_topic(&broker, 1);
    let mut producer = broker.producer(ProducerConfig::default()).with_deliveries();
    for index in 0..100 {
        let record = Record {
            timestamp_ms: Some(begin + 10 * index),
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
    let first = |start| read(&broker, &topic, Some(&[0]), start, 1)[0].offset;
    assert_eq!(first(StartAt::Beginning), 0);
    assert_eq!(first(StartAt::Offset(42)), 42);
    assert_eq!(first(StartAt::Timestamp(begin + 555)), 56);

    let mut consumer = broker.consumer();
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

    let mut consumer = broker.consumer();
    consumer.assign(&topic, None, StartAt::Offset(5000));
    let refused = consumer.poll(Duration::from_secs(10)).unwrap_err();
    assert!(
        matches!(refused, ClientError::OffsetOutOfRange { offset: 5000, .. }),
        "{refused}"
    );
    let mut consumer = broker.consumer();
    consumer.assign(&topic, Some(&[7]), StartAt::Beginning);
    let refused = consumer.poll(Duration::from_secs(10)).unwrap_err();
    assert!(
        matches!(refused, ClientError::NoPartition { partition: 7, .. }),
        "{refused}"
    );
}

#[test]
fn a_million_records_keep_their_order() {
    const COUNT: usize = 1_000_000;
    let broker = Broker::running();
    let topic = fresh_topic(&broker, 4);
    let started = std::time::Instant::now();
    let mut producer = broker.producer(ProducerConfig::default());
    for index in 0..COUNT {
        producer
            .send(&topic, record(&format!("{index:0>100}")))
            .unwrap();
    }
    producer.flush().unwrap();
    println!("{COUNT} records written in {:?}", started.elapsed());
    let started = std::time::Instant::now();
    let records = read(&broker, &topic, None, StartAt::Beginning, COUNT);
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
fn what_cannot_be_written_is_named() {
    let broker = Broker::running();
    let topic = fresh_topic(&broker, 1);
    let mut producer = broker.producer(ProducerConfig::default());
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
