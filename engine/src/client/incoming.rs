//! What a consumer is told and gives back.

use bytes::Bytes;

/// Where to begin in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// At the oldest record.
    Beginning,
    /// Behind the newest record.
    End,
    /// At this offset.
    Offset(i64),
    /// At the first record of this time or later, in milliseconds since 1970; at the end if there is none.
    Timestamp(i64),
}

/// Which records of transactions are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// All.
    #[default]
    ReadUncommitted,
    /// Those of committed transactions.
    ReadCommitted,
}

impl Isolation {
    pub(super) fn code(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

/// How a consumer works.
#[derive(Debug, Clone)]
pub struct ConsumerConfig {
    /// Which records of transactions are seen.
    pub isolation: Isolation,
    /// How long a broker waits for new records before it answers without.
    pub wait_ms_max: u64,
    /// How much one answer has at most.
    pub answer_bytes_max: usize,
    /// How much one answer has of one partition.
    pub partition_bytes_max: usize,
    /// The size of a batch after decompression beyond which it is taken for damaged.
    pub batch_bytes_max: usize,
    /// How long a topic may stay unknown; none to wait until it is there.
    pub missing_topic_ms_max: Option<u64>,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            isolation: Isolation::ReadUncommitted,
            wait_ms_max: 500,
            answer_bytes_max: 32 << 20,
            partition_bytes_max: 1 << 20,
            batch_bytes_max: 256 << 20,
            missing_topic_ms_max: Some(10_000),
        }
    }
}

/// What was fetched of a partition and not taken yet.
pub(super) struct Fetched {
    pub topic: String,
    pub partition: i32,
    /// Records below it were not asked for.
    pub from: i64,
    /// Behind the last of them.
    pub end: i64,
    pub records: Bytes,
    /// Producers of aborted transactions and the offsets from which their records are to be left out.
    pub aborted: Vec<(i64, i64)>,
}

/// Where a consumer is in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset of the next record to fetch; none while it is being looked up.
    pub position: Option<i64>,
    /// The end of what can be read, as of the last answer.
    pub high_watermark: Option<i64>,
}
