//! DescribeTopicPartitions (rule M12): topics page by page, in the order of their names.

use super::metadata;
use super::topic_names::uuid;
use super::topics::unknown_topic;
use crate::machine::image::{Image, PartitionRecord, Topic};
use millstream_net::wire::api::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, DescribedPartition,
    DescribedTopic, TopicPartitionCursor,
};
use millstream_net::wire::{ErrorCode, Str};
use millstream_storage::ids::NodeId;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Answers a request with at most so many partitions.
pub fn answer(
    request: &DescribeTopicPartitionsRequest,
    partitions_max: usize,
    image: &Image,
) -> DescribeTopicPartitionsResponse {
    let asked: BTreeSet<&str> = request.topics.iter().map(|one| one.name.as_str()).collect();
    let (from, first) = match &request.cursor {
        Some(cursor) if cursor.partition_index < 0 => return refused(request),
        Some(cursor) if !asked.is_empty() && !asked.contains(cursor.topic_name.as_str()) => {
            return refused(request);
        }
        Some(cursor) => (cursor.topic_name.as_str(), cursor.partition_index as usize),
        None => ("", 0),
    };
    let asked_for = usize::try_from(request.response_partition_limit).unwrap_or(0);
    let limit = asked_for.max(1).min(partitions_max);
    let mut page = Page {
        image,
        from,
        first,
        left: limit,
        topics: Vec::new(),
        next: None,
    };
    if asked.is_empty() {
        for topic in image.topics_from(from) {
            if !page.take(&topic.name, Some(&**topic)) {
                break;
            }
        }
    } else {
        for name in asked.range::<&str, _>(from..) {
            let topic = image.topic_named(name).map(|topic| &**topic);
            if !page.take(name, topic) {
                break;
            }
        }
    }
    DescribeTopicPartitionsResponse {
        topics: page.topics,
        next_cursor: page.next,
        ..DescribeTopicPartitionsResponse::default()
    }
}

/// An answer as it is filled.
struct Page<'a> {
    image: &'a Image,
    /// The topic to begin with, and its first partition.
    from: &'a str,
    first: usize,
    /// Partitions that still fit.
    left: usize,
    topics: Vec<DescribedTopic>,
    next: Option<TopicPartitionCursor>,
}

impl Page<'_> {
    /// Takes the next topic; false where the page is full.
    fn take(&mut self, name: &str, topic: Option<&Topic>) -> bool {
        let first = if name == self.from { self.first } else { 0 };
        if self.left == 0 {
            self.stop_at(name, first);
            return false;
        }
        let Some(topic) = topic else {
            self.topics.push(unknown(name));
            return true;
        };
        let rest = topic.partitions.get(first..).unwrap_or_default();
        let shown = &rest[..rest.len().min(self.left)];
        self.left -= shown.len();
        self.topics.push(described(topic, shown, self.image));
        if shown.len() < rest.len() {
            self.stop_at(name, first + shown.len());
            return false;
        }
        true
    }

    fn stop_at(&mut self, name: &str, partition: usize) {
        self.next = Some(TopicPartitionCursor {
            topic_name: name.into(),
            partition_index: partition as i32,
        });
    }
}

fn described(topic: &Topic, shown: &[Arc<PartitionRecord>], image: &Image) -> DescribedTopic {
    let partitions = shown.iter().map(|partition| {
        let nodes = |nodes: &[NodeId]| nodes.iter().map(|one| one.0).collect();
        let told = metadata::describe_partition(image, partition);
        DescribedPartition {
            error_code: told.error_code,
            partition_index: told.partition_index,
            leader_id: told.leader_id,
            leader_epoch: told.leader_epoch,
            replica_nodes: told.replica_nodes,
            isr_nodes: told.isr_nodes,
            eligible_leader_replicas: Some(nodes(&partition.elr)),
            last_known_elr: Some(nodes(&partition.last_known)),
            offline_replicas: told.offline_replicas,
        }
    });
    DescribedTopic {
        name: Some(Str::from(&*topic.name)),
        topic_id: uuid(topic.id),
        is_internal: topic.is_internal(),
        partitions: partitions.collect(),
        topic_authorized_operations: metadata::operations::TOPIC,
        error_code: ErrorCode::None,
    }
}

fn unknown(name: &str) -> DescribedTopic {
    DescribedTopic {
        error_code: unknown_topic(name).0,
        name: Some(name.into()),
        topic_authorized_operations: metadata::operations::TOPIC,
        ..DescribedTopic::default()
    }
}

/// A cursor at no partition, or at a topic that is not asked for.
fn refused(request: &DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let topics = request.topics.iter().map(|topic| DescribedTopic {
        error_code: ErrorCode::InvalidRequest,
        name: Some(topic.name.clone()),
        ..DescribedTopic::default()
    });
    DescribeTopicPartitionsResponse {
        topics: topics.collect(),
        ..DescribeTopicPartitionsResponse::default()
    }
}
