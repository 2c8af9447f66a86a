//! What a producer is told, takes and gives back.

use bytes::Bytes;
use millstream_storage::batch::Compression;

/// When a record counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acks {
    /// When it is sent.
    None,
    /// When the leader has it.
    Leader,
    /// When all in-sync replicas have it; the producer is idempotent then.
    #[default]
    All,
}

impl Acks {
    pub(super) fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// How a producer works.
#[derive(Debug, Clone)]
pub struct ProducerConfig {
    /// When a record counts as written.
    pub acks: Acks,
    /// The codec of batches.
    pub compression: Compression,
    /// How long a record waits for others to share its batch.
    pub linger_ms: u64,
    /// The size of a batch before compression; one record may be larger.
    pub batch_bytes_max: usize,
    /// The size of a request.
    pub request_bytes_max: usize,
    /// Records that wait or are in flight; beyond it, whoever pushes waits.
    pub buffer_bytes_max: usize,
    /// How long a record may take until it is acknowledged, retries included.
    pub delivery_ms_max: u64,
    /// How long a broker may take to answer.
    pub request_ms_max: u64,
    /// How long a topic may stay unknown.
    pub missing_topic_ms_max: u64,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            compression: Compression::None,
            linger_ms: 5,
            batch_bytes_max: 64 << 10,
            request_bytes_max: 1 << 20,
            buffer_bytes_max: 32 << 20,
            delivery_ms_max: 120_000,
            request_ms_max: 30_000,
            missing_topic_ms_max: 10_000,
        }
    }
}

/// A record to write.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// The partition; none to choose it by the key.
    pub partition: Option<i32>,
    /// Milliseconds since 1970; none for now.
    pub timestamp_ms: Option<i64>,
    /// The key.
    pub key: Option<Bytes>,
    /// The value; null marks the key as deleted.
    pub value: Option<Bytes>,
    /// The headers.
    pub headers: Vec<(String, Option<Bytes>)>,
}

impl Record {
    /// About what it takes in a batch.
    pub(super) fn bytes(&self) -> usize {
        let length = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + length(value) + 10);
        length(&self.key) + length(&self.value) + headers.sum::<usize>() + 24
    }
}

/// A record that was pushed, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A batch that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset of the first record; -1 where the broker does not say it.
    pub base_offset: i64,
    /// The records in order.
    pub tickets: Vec<Ticket>,
}
