//! Fetch: what a request asks of each partition, and the answer as it comes together.
//!
//! Always: (1) the answer has the partitions of the request in its order; (2) it holds no more bytes than the request and the
//! broker allow, but for the first partition that has any, which keeps its first batch (rule F1).
//! Leaves to others: reading, and when a request that waits must look again.

use super::brokers::View;
use super::topic_names::Naming;
use crate::machine::partition::Isolation;
use bytes::Bytes;
use millstream_net::wire::api::{
    EpochEnd, FetchPartitionResponse, FetchRequest, FetchResponse, FetchTopicResponse,
};
use millstream_net::wire::{ErrorCode, Records, Str, Uuid};
use millstream_storage::ids::{LeaderEpoch, LogNumber, Offset, PartitionIndex, TopicId};

/// The isolation level on the wire; anything but 0 is read as the stricter one.
pub fn isolation_of(level: i8) -> Isolation {
    match level {
        0 => Isolation::ReadUncommitted,
        _ => Isolation::ReadCommitted,
    }
}

/// One partition to read.
#[derive(Clone, Copy, Debug)]
pub struct ReadPart {
    /// Its place in the request.
    pub part: u32,
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
    /// The replica by the asking shard's table.
    pub log: LogNumber,
    /// The first offset wanted.
    pub offset: Offset,
    /// Bytes wanted of it at most.
    pub max_bytes: usize,
    /// The epoch the reader believes in; -1 for no check (rule F8).
    pub leader_epoch: LeaderEpoch,
    /// The epoch of the last record it has; -1 for no check (rule F9).
    pub last_epoch: LeaderEpoch,
}

/// What was read of one partition.
#[derive(Clone, Debug)]
pub struct PartRead {
    /// Its place in the request.
    pub part: u32,
    /// What went wrong.
    pub error: ErrorCode,
    /// -1 with an error.
    pub high_watermark: Offset,
    /// -1 with an error.
    pub last_stable_offset: Offset,
    /// -1 with an error.
    pub log_start: Offset,
    /// Where the reader's log leaves ours: the epoch and its end here; then there are no records (rule F9).
    pub diverging: Option<(LeaderEpoch, Offset)>,
    /// Whether there was nothing to return, so that only news can change it.
    pub at_end: bool,
    /// Whole batches.
    pub records: Vec<Bytes>,
}

impl PartRead {
    /// Nothing but an error (rule F6).
    pub fn refused(part: u32, error: ErrorCode) -> PartRead {
        PartRead {
            part,
            error,
            high_watermark: Offset(-1),
            last_stable_offset: Offset(-1),
            log_start: Offset(-1),
            diverging: None,
            at_end: false,
            records: Vec::new(),
        }
    }

    /// Bytes of its batches.
    pub fn bytes(&self) -> usize {
        self.records.iter().map(Bytes::len).sum()
    }
}

/// A partition that a session reads.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The topic by name; empty where the session has ids.
    pub topic: Str,
    /// The topic by id; zero where the session has names.
    pub topic_id: Uuid,
    /// The partition.
    pub partition: i32,
    /// Bytes wanted of it at most.
    pub max_bytes: usize,
}

/// The answer of one request as it comes together.
#[derive(Debug)]
pub struct FetchAnswer {
    version: i16,
    response: FetchResponse,
    /// Topic and partition in the response of each part.
    places: Vec<(u32, u32)>,
    /// Bytes each part wants at most.
    limits: Vec<usize>,
    isolation: Isolation,
    open: usize,
    bytes: usize,
    urgent: bool,
    /// A partition has its leader elsewhere, or under another epoch.
    misled: bool,
}

impl FetchAnswer {
    /// The answer about partitions that the request does not name, in which nothing is known yet.
    pub fn of_session(
        version: i16,
        isolation: Isolation,
        asked: impl IntoIterator<Item = Asked>,
    ) -> FetchAnswer {
        let mut answer = FetchAnswer {
            version,
            response: FetchResponse::default(),
            places: Vec::new(),
            limits: Vec::new(),
            isolation,
            open: 0,
            bytes: 0,
            urgent: false,
            misled: false,
        };
        for one in asked {
            answer.add(one);
        }
        answer
    }

    fn add(&mut self, asked: Asked) {
        let topics = &mut self.response.responses;
        let is_same = |last: &FetchTopicResponse| {
            (&last.topic, last.topic_id) == (&asked.topic, asked.topic_id)
        };
        if !topics.last().is_some_and(is_same) {
            topics.push(FetchTopicResponse {
                topic: asked.topic,
                topic_id: asked.topic_id,
                partitions: Vec::new(),
            });
        }
        let topic_index = topics.len() - 1;
        let partitions = &mut topics[topic_index].partitions;
        self.places
            .push((topic_index as u32, partitions.len() as u32));
        partitions.push(FetchPartitionResponse {
            partition_index: asked.partition,
            ..FetchPartitionResponse::default()
        });
        self.limits.push(asked.max_bytes);
        self.open += 1;
    }

    /// An answer in which nothing is known yet.
    pub fn new(version: i16, request: &FetchRequest) -> FetchAnswer {
        let mut places = Vec::new();
        let mut limits = Vec::new();
        let mut responses = Vec::with_capacity(request.topics.len());
        for (topic_index, topic) in request.topics.iter().enumerate() {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for (index, partition) in topic.partitions.iter().enumerate() {
                places.push((topic_index as u32, index as u32));
                limits.push(usize::try_from(partition.partition_max_bytes).unwrap_or(0));
                partitions.push(FetchPartitionResponse {
                    partition_index: partition.partition,
                    ..FetchPartitionResponse::default()
                });
            }
            responses.push(FetchTopicResponse {
                topic: topic.topic.clone(),
                topic_id: topic.topic_id,
                partitions,
            });
        }
        FetchAnswer {
            version,
            response: FetchResponse {
                responses,
                ..FetchResponse::default()
            },
            open: places.len(),
            places,
            limits,
            isolation: isolation_of(request.isolation_level),
            bytes: 0,
            urgent: false,
            misled: false,
        }
    }

    /// Forgets what is known, for another round.
    pub fn clear(&mut self) {
        self.open = self.places.len();
        self.bytes = 0;
        self.urgent = false;
        self.misled = false;
        let topics = self.response.responses.iter_mut();
        for entry in topics.flat_map(|topic| &mut topic.partitions) {
            entry.records = Some(Records::default());
        }
    }

    /// Takes what was read of one partition.
    pub fn take(&mut self, read: PartRead) {
        let (topic, partition) = self.places[read.part as usize];
        let entry = &mut self.response.responses[topic as usize].partitions[partition as usize];
        let error = Naming::of(self.version).code(read.error);
        let refused = error != ErrorCode::None;
        self.open -= 1;
        self.bytes += read.bytes();
        self.urgent |= refused || read.diverging.is_some();
        self.misled |= is_misled(error);
        entry.error_code = error;
        entry.high_watermark = read.high_watermark.0;
        entry.last_stable_offset = read.last_stable_offset.0;
        entry.log_start_offset = read.log_start.0;
        let sees_aborted = self.isolation == Isolation::ReadCommitted && !refused;
        entry.aborted_transactions = sees_aborted.then(Vec::new);
        entry.diverging_epoch = match read.diverging {
            Some((epoch, end)) => EpochEnd {
                epoch: epoch.0,
                end_offset: end.0,
            },
            None => EpochEnd::default(),
        };
        entry.records = Some(Records(read.records));
    }

    /// Whether every partition was read.
    pub fn is_complete(&self) -> bool {
        self.open == 0
    }

    /// Bytes read.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a partition has an error, or its reader's log leaves ours: then the answer leaves at once (rule F3).
    pub fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// The answer, cut to `max_bytes` and to the limits of its partitions: shards read side by side, and each returns a whole
    /// batch of its first partition. Only the first partition that has any bytes may exceed its limits.
    pub fn finish(mut self, max_bytes: usize, view: View<'_>) -> FetchResponse {
        if self.misled && self.version >= 16 {
            self.name_leaders(view);
        }
        let mut left = max_bytes;
        let mut first = true;
        let topics = self.response.responses.iter_mut();
        let entries = topics.flat_map(|topic| &mut topic.partitions);
        for (entry, limit) in entries.zip(self.limits) {
            let Some(records) = &mut entry.records else {
                continue;
            };
            let bytes = records.total_bytes();
            if bytes > left.min(limit) && !first {
                *records = Records::default();
                continue;
            }
            left = left.saturating_sub(bytes);
            first &= bytes == 0;
        }
        self.response
    }

    /// Rule F11.
    fn name_leaders(&mut self, view: View<'_>) {
        let naming = Naming::of(self.version);
        let FetchResponse {
            responses,
            node_endpoints,
            ..
        } = &mut self.response;
        for topic in responses {
            let Ok(named) = naming.find(view.image, &topic.topic, topic.topic_id) else {
                continue;
            };
            for entry in &mut topic.partitions {
                if is_misled(entry.error_code) {
                    let partition = entry.partition_index;
                    entry.current_leader = view.leader(named, partition, node_endpoints);
                }
            }
        }
    }
}

/// Whether a client with this error must learn who leads.
fn is_misled(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::settings::Settings;
    use crate::machine::image::Image;
    use millstream_net::wire::api::{FetchPartition, FetchTopic};
    use millstream_storage::ids::NodeId;

    fn request(partitions: i32) -> FetchRequest {
        let partition = |partition| FetchPartition {
            partition,
            partition_max_bytes: 110,
            ..FetchPartition::default()
        };
        FetchRequest {
            topics: vec![FetchTopic {
                topic: "t".into(),
                partitions: (0..partitions).map(partition).collect(),
                ..FetchTopic::default()
            }],
            ..FetchRequest::default()
        }
    }

    fn settings() -> Settings {
        Settings {
            node: NodeId(1),
            listeners: Vec::new(),
            fetch_max_bytes: 0,
            fetch_sessions_max: 0,
            described_partitions_max: 1,
            auto_create_topics: false,
            groups: Default::default(),
            producer_expiration_ms: 0,
            broker_values: Default::default(),
            broker_keys: Vec::new(),
        }
    }

    fn read(part: u32, bytes: usize) -> PartRead {
        PartRead {
            records: vec![Bytes::from(vec![0; bytes])],
            ..PartRead::refused(part, ErrorCode::None)
        }
    }

    #[test]
    fn the_first_partition_with_data_keeps_it_and_the_rest_is_cut() {
        // Rule F1. (bytes read per partition, bytes allowed, bytes left per partition)
        let cases = [
            ([0, 100, 50], 10, [0, 100, 0]),
            ([100, 50, 60], 160, [100, 50, 0]),
            ([100, 50, 60], 170, [100, 50, 0]),
            ([100, 70, 60], 165, [100, 0, 60]),
            ([120, 120, 60], 1000, [120, 0, 60]),
        ];
        let (image, settings) = (Image::default(), settings());
        let view = View {
            image: &image,
            settings: &settings,
            listener: None,
        };
        for (have, max_bytes, expected) in cases {
            let mut answer = FetchAnswer::new(11, &request(3));
            for (part, bytes) in have.into_iter().enumerate().rev() {
                answer.take(read(part as u32, bytes));
            }
            assert!(answer.is_complete());
            let response = answer.finish(max_bytes, view);
            let left: Vec<usize> = response.responses[0]
                .partitions
                .iter()
                .map(|entry| entry.records.as_ref().map_or(0, Records::total_bytes))
                .collect();
            assert_eq!(left, expected, "{have:?} cut to {max_bytes}");
        }
    }
}
