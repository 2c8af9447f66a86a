//! OffsetForLeaderEpoch: where epochs end (rule O4), the answer as it comes together.
//!
//! Always: the answer has the partitions of the request in its order.
//! Leaves to others: looking up; it is one of the things that `list_offsets` names.

use super::list_offsets::PartFound;
use super::topic_names::Naming;
use millstream_net::wire::api::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    OffsetForLeaderTopicResult,
};

/// The answer of one request as it comes together.
#[derive(Debug)]
pub struct EpochEndsAnswer {
    response: OffsetForLeaderEpochResponse,
    places: Vec<(u32, u32)>,
    open: usize,
}

impl EpochEndsAnswer {
    /// An answer in which nothing is known yet.
    pub fn new(request: &OffsetForLeaderEpochRequest) -> EpochEndsAnswer {
        let mut places = Vec::new();
        let mut topics = Vec::with_capacity(request.topics.len());
        for (topic_index, topic) in request.topics.iter().enumerate() {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for (index, partition) in topic.partitions.iter().enumerate() {
                places.push((topic_index as u32, index as u32));
                partitions.push(EpochEndOffset {
                    partition: partition.partition,
                    ..EpochEndOffset::default()
                });
            }
            topics.push(OffsetForLeaderTopicResult {
                topic: topic.topic.clone(),
                partitions,
            });
        }
        EpochEndsAnswer {
            response: OffsetForLeaderEpochResponse {
                topics,
                ..OffsetForLeaderEpochResponse::default()
            },
            open: places.len(),
            places,
        }
    }

    /// Takes what was found in one partition.
    pub fn take(&mut self, found: PartFound) {
        let (topic, partition) = self.places[found.part as usize];
        let entry = &mut self.response.topics[topic as usize].partitions[partition as usize];
        self.open -= 1;
        entry.error_code = Naming::Names.code(found.error);
        entry.leader_epoch = found.leader_epoch.0;
        entry.end_offset = found.offset.0;
    }

    /// Whether every partition was looked in.
    pub fn is_complete(&self) -> bool {
        self.open == 0
    }

    /// The answer.
    pub fn finish(self) -> OffsetForLeaderEpochResponse {
        self.response
    }
}
