//! ListOffsets: what a request asks of each partition, and the answer as it comes together.
//!
//! Always: the answer has the partitions of the request in its order.
//! Leaves to others: looking up.

use super::places::Places;
use super::topic_names::Naming;
use millstream_net::wire::ErrorCode;
use millstream_net::wire::api::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse, offset_spec,
};
use millstream_storage::ids::{LeaderEpoch, LogNumber, Offset, PartitionIndex, TopicId};
use std::collections::BTreeSet;

/// What to look up (rules O1, O2, O4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spec {
    /// The end of what the reader may see.
    Latest,
    /// The log start.
    Earliest,
    /// The first record with this timestamp (ms) or a later one.
    Timestamp(i64),
    /// The first record with the largest timestamp.
    Newest,
    /// What only a log with a remote tier has.
    Tiered,
    /// Where this epoch ends; asked by OffsetForLeaderEpoch (rule O4).
    EpochEnd(LeaderEpoch),
}

/// One partition to look in.
#[derive(Clone, Copy, Debug)]
pub struct FindPart {
    /// Its place in the request.
    pub part: u32,
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
    /// The replica by the asking shard's table.
    pub log: LogNumber,
    /// The epoch the client believes in; -1 for no check.
    pub leader_epoch: LeaderEpoch,
    /// What to look up.
    pub spec: Spec,
}

/// What was found in one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartFound {
    /// Its place in the request.
    pub part: u32,
    /// What went wrong.
    pub error: ErrorCode,
    /// The timestamp of the record (ms); -1 for the ends of the log, and where there is none.
    pub timestamp: i64,
    /// The offset; -1 where there is none.
    pub offset: Offset,
    /// The epoch at that offset; -1 where there is none.
    pub leader_epoch: LeaderEpoch,
}

impl PartFound {
    /// Nothing but an error; with `ErrorCode::None`: no such record.
    pub fn nothing(part: u32, error: ErrorCode) -> PartFound {
        PartFound {
            part,
            error,
            timestamp: -1,
            offset: Offset(-1),
            leader_epoch: LeaderEpoch(-1),
        }
    }
}

/// Reads the special values, as far as the version has them (rule O1).
pub fn spec_of(version: i16, timestamp: i64) -> Result<Spec, ErrorCode> {
    match timestamp {
        offset_spec::LATEST => Ok(Spec::Latest),
        offset_spec::EARLIEST => Ok(Spec::Earliest),
        offset_spec::MAX_TIMESTAMP if version >= 7 => Ok(Spec::Newest),
        offset_spec::EARLIEST_LOCAL if version >= 8 => Ok(Spec::Earliest),
        offset_spec::LATEST_TIERED if version >= 9 => Ok(Spec::Tiered),
        offset_spec::EARLIEST_PENDING_UPLOAD if version >= 11 => Ok(Spec::Tiered),
        0.. => Ok(Spec::Timestamp(timestamp)),
        _ => Err(ErrorCode::UnsupportedVersion),
    }
}

/// The partitions that a request names more than once (rule O3).
pub fn repeated(request: &ListOffsetsRequest) -> BTreeSet<(&str, i32)> {
    let named = request.topics.iter().flat_map(|topic| {
        let partitions = topic.partitions.iter();
        partitions.map(|partition| (topic.name.as_str(), partition.partition_index))
    });
    // Mostly they come in order, so that sorting costs one walk.
    let mut named: Vec<(&str, i32)> = named.collect();
    named.sort();
    let pairs = named.windows(2).filter(|pair| pair[0] == pair[1]);
    pairs.map(|pair| pair[0]).collect()
}

/// The answer of one request as it comes together.
#[derive(Debug)]
pub struct ListOffsetsAnswer {
    version: i16,
    response: ListOffsetsResponse,
    places: Places,
}

impl ListOffsetsAnswer {
    /// An answer in which nothing is known yet.
    pub fn new(version: i16, request: &ListOffsetsRequest) -> ListOffsetsAnswer {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter();
            let partitions = partitions.map(|partition| ListOffsetsPartitionResponse {
                partition_index: partition.partition_index,
                ..ListOffsetsPartitionResponse::default()
            });
            ListOffsetsTopicResponse {
                name: topic.name.clone(),
                partitions: partitions.collect(),
            }
        });
        let response = ListOffsetsResponse {
            topics: topics.collect(),
            ..ListOffsetsResponse::default()
        };
        let counts = response.topics.iter().map(|topic| topic.partitions.len());
        ListOffsetsAnswer {
            version,
            places: Places::new(counts),
            response,
        }
    }

    /// Takes what was found in one partition.
    pub fn take(&mut self, found: PartFound) {
        let place = self.places.take(found.part);
        let (topic, partition) = place.expect("a partition is looked up once");
        let entry = &mut self.response.topics[topic].partitions[partition];
        entry.error_code = match found.error {
            // Rule O3: older clients do not know the newer code.
            ErrorCode::OffsetNotAvailable if self.version < 5 => ErrorCode::LeaderNotAvailable,
            code => Naming::Names.code(code),
        };
        entry.timestamp = found.timestamp;
        entry.offset = found.offset.0;
        entry.leader_epoch = found.leader_epoch.0;
    }

    /// Whether every partition was looked in.
    pub fn is_complete(&self) -> bool {
        self.places.is_complete()
    }

    /// The answer.
    pub fn finish(self) -> ListOffsetsResponse {
        self.response
    }
}
