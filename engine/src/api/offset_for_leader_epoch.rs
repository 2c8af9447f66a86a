//! OffsetForLeaderEpoch: where epochs end (rule O4), the answer as it comes together.
//!
//! Always: the answer has the partitions of the request in its order.
//! Leaves to others: looking up; it is one of the things that `list_offsets` names.

use super::list_offsets::PartFound;
use super::places::Places;
use super::topic_names::Naming;
use millstream_net::wire::api::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    OffsetForLeaderTopicResult,
};

/// The answer of one request as it comes together.
#[derive(Debug)]
pub struct EpochEndsAnswer {
    response: OffsetForLeaderEpochResponse,
    places: Places,
}

impl EpochEndsAnswer {
    /// An answer in which nothing is known yet.
    pub fn new(request: &OffsetForLeaderEpochRequest) -> EpochEndsAnswer {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter();
            let partitions = partitions.map(|partition| EpochEndOffset {
                partition: partition.partition,
                ..EpochEndOffset::default()
            });
            OffsetForLeaderTopicResult {
                topic: topic.topic.clone(),
                partitions: partitions.collect(),
            }
        });
        let response = OffsetForLeaderEpochResponse {
            topics: topics.collect(),
            ..OffsetForLeaderEpochResponse::default()
        };
        let counts = response.topics.iter().map(|topic| topic.partitions.len());
        EpochEndsAnswer {
            places: Places::new(counts),
            response,
        }
    }

    /// Takes what was found in one partition.
    pub fn take(&mut self, found: PartFound) {
        let place = self.places.take(found.part);
        let (topic, partition) = place.expect("a partition is looked up once");
        let entry = &mut self.response.topics[topic].partitions[partition];
        entry.error_code = Naming::Names.code(found.error);
        entry.leader_epoch = found.leader_epoch.0;
        entry.end_offset = found.offset.0;
    }

    /// Whether every partition was looked in.
    pub fn is_complete(&self) -> bool {
        self.places.is_complete()
    }

    /// The answer.
    pub fn finish(self) -> OffsetForLeaderEpochResponse {
        self.response
    }
}
