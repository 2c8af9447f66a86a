//! CreatePartitions (rule M11).

use super::create_topics::PARTITION_BYTES;
use super::errors;
use crate::machine::controller::{
    AddPartitions, Intent, MorePartitions, PARTITIONS_PER_REQUEST, PerTopic,
};
use millstream_net::wire::api::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use millstream_net::wire::{ErrorCode, Str};
use millstream_storage::ids::NodeId;

/// What the new partitions take in the quorum's log, at the most; nothing where they are only looked at.
pub fn record_bytes(request: &CreatePartitionsRequest) -> u64 {
    if request.validate_only {
        return 0;
    }
    // BOUND: one request adds no more.
    let count = |count: i32| (count.max(0) as u64).min(PARTITIONS_PER_REQUEST as u64);
    let topics = request.topics.iter();
    topics
        .map(|topic| count(topic.count) * PARTITION_BYTES)
        .sum()
}

/// The answer where every topic has the same error.
pub fn refuse_all(
    request: &CreatePartitionsRequest,
    code: ErrorCode,
    message: Option<&'static str>,
) -> CreatePartitionsResponse {
    let results = request.topics.iter();
    let results = results.map(|topic| CreatePartitionsTopicResult {
        name: topic.name.clone(),
        error_code: code,
        error_message: message.map(Str::from_static),
    });
    CreatePartitionsResponse {
        results: results.collect(),
        ..CreatePartitionsResponse::default()
    }
}

/// What the controller is asked.
pub fn plan(request: &CreatePartitionsRequest) -> AddPartitions {
    let topics = request.topics.iter().map(|topic| MorePartitions {
        name: topic.name.to_string(),
        count: topic.count,
        assignments: topic.assignments.as_ref().map(|assignments| {
            let nodes = |ids: &[i32]| ids.iter().map(|id| NodeId(*id)).collect();
            let assignments = assignments.iter();
            assignments.map(|one| nodes(&one.broker_ids)).collect()
        }),
    });
    AddPartitions {
        topics: topics.collect(),
        intent: match request.validate_only {
            true => Intent::Validate,
            false => Intent::Execute,
        },
    }
}

/// The answer to what the controller says.
pub fn answer(topics: PerTopic<String, ()>) -> CreatePartitionsResponse {
    let results = topics.into_iter().map(|(name, result)| {
        let (error_code, error_message) = match result {
            Ok(()) => (ErrorCode::None, None),
            Err(refused) => (
                errors::of_topic_refusal(refused.kind),
                Some(refused.message.into()),
            ),
        };
        CreatePartitionsTopicResult {
            name: name.into(),
            error_code,
            error_message,
        }
    });
    CreatePartitionsResponse {
        results: results.collect(),
        ..CreatePartitionsResponse::default()
    }
}
