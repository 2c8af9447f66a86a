//! rskafka: it asks for all acknowledgements, sets no configuration of topics, and keeps headers by name.

use chrono::{DateTime, Utc};
use millstream_interop::{Answer, Command, Record, done, no, read, run, text, version_of};
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use serde_json::json;
use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant, SystemTime};

const PATIENCE: Duration = Duration::from_secs(20);
const PATIENCE_MS: i32 = 20_000;
const FETCH_BYTES_MAX: i32 = 20_000_000;

/// The client itself tries without an end.
async fn within<T, E: ToString>(work: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    let done = tokio::time::timeout(PATIENCE, work).await.map_err(no)?;
    done.map_err(|error| error.to_string())
}

async fn client() -> Result<Client, String> {
    let broker = std::env::args().nth(1).ok_or("no address of a broker")?;
    within(ClientBuilder::new(vec![broker]).build()).await
}

async fn partition(client: &Client, topic: &str, partition: i32) -> Result<PartitionClient, String> {
    within(client.partition_client(topic, partition, UnknownTopicHandling::Error)).await
}

fn time(timestamp: Option<i64>) -> Result<DateTime<Utc>, String> {
    let now = || SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as i64);
    DateTime::from_timestamp_millis(timestamp.unwrap_or_else(now)).ok_or("no such time".into())
}

async fn produce(topic: String, codec: String, records: Vec<Record>) -> Answer {
    let codec = match codec.as_str() {
        "gzip" => Compression::Gzip,
        "snappy" => Compression::Snappy,
        "lz4" => Compression::Lz4,
        "zstd" => Compression::Zstd,
        _ => Compression::NoCompression,
    };
    let mut batches: BTreeMap<i32, Vec<rskafka::record::Record>> = BTreeMap::new();
    for record in records {
        let headers = record.headers.into_iter();
        let sent = rskafka::record::Record {
            key: record.key.map(String::into_bytes),
            value: record.value.map(String::into_bytes),
            headers: headers.map(|(name, value)| (name, value.unwrap_or_default().into_bytes())).collect(),
            timestamp: time(record.timestamp)?,
        };
        batches.entry(record.partition).or_default().push(sent);
    }
    let client = client().await?;
    for (index, records) in batches {
        let partition = partition(&client, &topic, index).await?;
        within(partition.produce(records, codec)).await?;
    }
    done()
}

async fn consume(topic: String, from: Vec<(i32, i64)>, count: usize, seconds: f64) -> Answer {
    let client = client().await?;
    let mut readers = Vec::new();
    for (index, offset) in from {
        readers.push((partition(&client, &topic, index).await?, offset));
    }
    let (mut records, end) = (Vec::new(), Instant::now() + Duration::from_secs_f64(seconds));
    while records.len() < count && Instant::now() < end {
        for (reader, next) in &mut readers {
            let (found, _) = within(reader.fetch_records(*next, 1..FETCH_BYTES_MAX, 100)).await?;
            for one in found {
                *next = one.offset + 1;
                let record = one.record;
                let headers = record.headers.into_iter();
                records.push(Record {
                    partition: reader.partition(),
                    offset: one.offset,
                    key: text(record.key.as_deref()),
                    value: text(record.value.as_deref()),
                    headers: headers.map(|(name, value)| (name, text(Some(&value)))).collect(),
                    timestamp: Some(record.timestamp.timestamp_millis()),
                });
            }
        }
    }
    read(records)
}

async fn act(command: Command) -> Answer {
    match command {
        Command::Create { topic, partitions, .. } => {
            let controller = client().await?.controller_client().map_err(no)?;
            within(controller.create_topic(topic, partitions, 1, PATIENCE_MS)).await?;
            done()
        }
        Command::Delete { topic } => {
            let controller = client().await?.controller_client().map_err(no)?;
            within(controller.delete_topic(topic, PATIENCE_MS)).await?;
            done()
        }
        Command::Produce { topic, codec, records, .. } => produce(topic, codec, records).await,
        Command::Consume { topic, from, count, seconds } => consume(topic, from, count, seconds).await,
        Command::Search { topic, partition: index, timestamp } => {
            let partition = partition(&client().await?, &topic, index).await?;
            let at = OffsetAt::Timestamp(time(Some(timestamp))?);
            Ok(json!({ "offset": within(partition.get_offset(at)).await? }))
        }
    }
}

fn main() {
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    let cannot = ["configs", "header order"];
    let version = version_of("rskafka");
    run(json!({ "name": "rskafka", "version": version, "codecs": codecs, "acks": ["all"], "cannot": cannot }), act);
}
