//! rdkafka (librdkafka).

use millstream_interop::{Answer, Command, Record, done, no, read, run, text, version_of};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication, TopicResult};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, FromClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::get_rdkafka_version;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

fn client<C: FromClientConfig>(settings: &[(&str, &str)]) -> Result<C, String> {
    let broker = std::env::args().nth(1).ok_or("no address of a broker")?;
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker).set_log_level(RDKafkaLogLevel::Emerg);
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config.create().map_err(no)
}

fn judge(results: Vec<TopicResult>) -> Answer {
    for result in results {
        result.map_err(|(topic, code)| format!("{topic}: {code}"))?;
    }
    done()
}

async fn create(topic: String, partitions: i32, configs: BTreeMap<String, String>) -> Answer {
    let admin: AdminClient<DefaultClientContext> = client(&[])?;
    let mut new = NewTopic::new(&topic, partitions, TopicReplication::Fixed(1));
    for (key, value) in &configs {
        new = new.set(key, value);
    }
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    judge(admin.create_topics([&new], &options).await.map_err(no)?)
}

async fn delete(topic: String) -> Answer {
    let admin: AdminClient<DefaultClientContext> = client(&[])?;
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    judge(admin.delete_topics(&[&topic], &options).await.map_err(no)?)
}

async fn produce(topic: String, codec: String, acks: String, records: Vec<Record>) -> Answer {
    let idempotent = (acks == "all").to_string();
    let producer: FutureProducer = client(&[
        ("compression.type", &codec),
        ("acks", &acks),
        ("enable.idempotence", &idempotent),
        ("message.max.bytes", "20000000"),
        ("message.timeout.ms", "20000"),
        ("linger.ms", "2"),
    ])?;
    let mut sent = Vec::new();
    for record in &records {
        let mut headers = OwnedHeaders::new();
        for (key, value) in &record.headers {
            let value = value.as_deref();
            headers = headers.insert(Header { key, value });
        }
        let record = FutureRecord {
            topic: &topic,
            partition: Some(record.partition),
            payload: record.value.as_deref(),
            key: record.key.as_deref(),
            timestamp: record.timestamp,
            headers: Some(headers),
        };
        sent.push(producer.send_result(record).map_err(|(error, _)| no(error))?);
    }
    for delivery in sent {
        delivery.await.map_err(no)?.map_err(|(error, _)| no(error))?;
    }
    done()
}

fn reader() -> Result<BaseConsumer, String> {
    client(&[
        ("group.id", "unused"),
        ("enable.auto.commit", "false"),
        ("fetch.message.max.bytes", "20000000"),
        ("check.crcs", "true"),
    ])
}

async fn consume(topic: String, from: Vec<(i32, i64)>, count: usize, seconds: f64) -> Answer {
    let consumer = reader()?;
    let mut start = TopicPartitionList::new();
    for (partition, offset) in from {
        start.add_partition_offset(&topic, partition, Offset::Offset(offset)).map_err(no)?;
    }
    consumer.assign(&start).map_err(no)?;
    let (mut records, end) = (Vec::new(), Instant::now() + Duration::from_secs_f64(seconds));
    while records.len() < count && Instant::now() < end {
        if let Some(message) = consumer.poll(Duration::from_millis(200)) {
            records.push(record_of(&message.map_err(no)?));
        }
    }
    read(records)
}

fn record_of(message: &BorrowedMessage) -> Record {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    Record {
        partition: message.partition(),
        offset: message.offset(),
        key: text(message.key()),
        value: text(message.payload()),
        headers: headers.map(|header| (header.key.to_owned(), text(header.value))).collect(),
        timestamp: message.timestamp().to_millis(),
    }
}

async fn search(topic: String, partition: i32, timestamp: i64) -> Answer {
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition_offset(&topic, partition, Offset::Offset(timestamp)).map_err(no)?;
    let found = reader()?.offsets_for_times(wanted, PATIENCE).map_err(no)?;
    let found = found.find_partition(&topic, partition).ok_or("the partition is not in the answer")?;
    Ok(json!({ "offset": found.offset().to_raw().unwrap_or(-1) }))
}

async fn act(command: Command) -> Answer {
    match command {
        Command::Create { topic, partitions, configs } => create(topic, partitions, configs).await,
        Command::Delete { topic } => delete(topic).await,
        Command::Produce { topic, codec, acks, records } => produce(topic, codec, acks, records).await,
        Command::Consume { topic, from, count, seconds } => consume(topic, from, count, seconds).await,
        Command::Search { topic, partition, timestamp } => search(topic, partition, timestamp).await,
    }
}

fn main() {
    let version = format!("{}, librdkafka {}", version_of("rdkafka"), get_rdkafka_version().1);
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    run(json!({ "name": "rdkafka", "version": version, "codecs": codecs, "cannot": [] }), act);
}
