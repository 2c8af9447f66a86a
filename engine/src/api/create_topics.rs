//! CreateTopics (rules M8, M9).

use super::describe_configs::source_code;
use super::errors;
use super::settings::Settings;
use super::topic_names::uuid;
use crate::machine::controller::{
    CreateTopics, Created, Intent, NewTopic, PARTITIONS_PER_REQUEST, PerTopic,
};
use crate::machine::image::{Image, is_internal};
use crate::machine::topic_config::{BrokerValues, KEYS, Values, effective};
use millstream_net::wire::api::{
    CreatableTopic, CreatableTopicConfigEntry, CreatableTopicResult, CreateTopicsRequest,
    CreateTopicsResponse,
};
use millstream_net::wire::{ErrorCode, Str};
use millstream_storage::ids::NodeId;
use std::collections::BTreeSet;

/// What the metadata of one partition takes in the quorum's log, at the most.
pub(super) const PARTITION_BYTES: u64 = 256;
/// The same for a topic without its partitions, its name and its configuration.
const TOPIC_BYTES: u64 = 1024;
/// The same for a configured key, without its text.
const KEY_BYTES: u64 = 64;

/// BOUND: partitions that are created in one turn; a request for more of them is carried out in pieces.
const PIECE_PARTITIONS: usize = 16;

/// What the metadata of the topics takes in the quorum's log, at the most; nothing where they are only looked at.
pub fn record_bytes(request: &CreateTopicsRequest, partitions_default: i32) -> u64 {
    if request.validate_only {
        return 0;
    }
    // BOUND: one request creates no more topics and partitions, and a topic has no more keys.
    let limit = PARTITIONS_PER_REQUEST as u64;
    let (mut topics, mut partitions, mut keys, mut text) = (0, 0, 0, 0);
    for topic in &request.topics {
        topics += 1;
        partitions += partition_count(topic, partitions_default);
        text += topic.name.len() as u64;
        keys += topic.configs.len().min(KEYS.len()) as u64;
        for config in &topic.configs {
            text += config.name.len() as u64;
            text += config.value.as_ref().map_or(0, |value| value.len()) as u64;
        }
    }
    let keys = keys.min(limit * KEYS.len() as u64);
    let (topics, partitions) = (limit.min(topics), limit.min(partitions));
    topics * TOPIC_BYTES + partitions * PARTITION_BYTES + keys * KEY_BYTES + text
}

/// Partitions that a topic asks for.
fn partition_count(topic: &CreatableTopic, partitions_default: i32) -> u64 {
    let asked = match topic.num_partitions {
        0.. => topic.num_partitions,
        _ => partitions_default,
    };
    (asked.max(0) as u64).max(topic.assignments.len() as u64)
}

/// The request in pieces, in its order: each creates so many partitions that nobody waits long for it. What the topics have
/// to do with each other keeps it whole: a name that stands twice, or more partitions than one request may create.
pub fn pieces(request: CreateTopicsRequest, partitions_default: i32) -> Vec<CreateTopicsRequest> {
    let count = |topic: &CreatableTopic| partition_count(topic, partitions_default) as usize;
    let total = request.topics.iter().map(count).sum::<usize>();
    let names: BTreeSet<&Str> = request.topics.iter().map(|topic| &topic.name).collect();
    let separable = names.len() == request.topics.len() && total <= PARTITIONS_PER_REQUEST;
    if request.validate_only || !separable || total <= PIECE_PARTITIONS {
        return vec![request];
    }
    let (timeout_ms, validate_only) = (request.timeout_ms, request.validate_only);
    let (mut pieces, mut topics, mut partitions) = (Vec::new(), Vec::new(), 0);
    let piece = |topics: Vec<CreatableTopic>| CreateTopicsRequest {
        topics,
        timeout_ms,
        validate_only,
    };
    for topic in request.topics {
        let more = count(&topic);
        if partitions + more > PIECE_PARTITIONS && !topics.is_empty() {
            pieces.push(piece(std::mem::take(&mut topics)));
            partitions = 0;
        }
        partitions += more;
        topics.push(topic);
    }
    pieces.push(piece(topics));
    pieces
}

/// The same for topics that are made because somebody named them; those the broker lives on have `internal` partitions.
pub fn auto_record_bytes(names: &[String], partitions_default: i32, internal: i32) -> u64 {
    let of_one = |name: &String| {
        let partitions = match is_internal(name) {
            true => internal,
            false => partitions_default,
        };
        TOPIC_BYTES + partitions.max(0) as u64 * PARTITION_BYTES
    };
    names.iter().map(of_one).sum()
}

/// The answer where every topic has the same error.
pub fn refuse_all(
    request: &CreateTopicsRequest,
    code: ErrorCode,
    message: Option<&'static str>,
) -> CreateTopicsResponse {
    let topics = request.topics.iter().map(|topic| CreatableTopicResult {
        name: topic.name.clone(),
        error_code: code,
        error_message: message.map(Str::from_static),
        ..CreatableTopicResult::default()
    });
    CreateTopicsResponse {
        topics: topics.collect(),
        ..CreateTopicsResponse::default()
    }
}

/// What the controller is asked.
pub fn plan(request: &CreateTopicsRequest) -> CreateTopics {
    CreateTopics {
        topics: request.topics.iter().map(new_topic).collect(),
        intent: match request.validate_only {
            true => Intent::Validate,
            false => Intent::Execute,
        },
    }
}

fn new_topic(topic: &CreatableTopic) -> NewTopic {
    let nodes = |ids: &[i32]| ids.iter().map(|id| NodeId(*id)).collect();
    let assignments = topic.assignments.iter();
    let configs = topic.configs.iter();
    NewTopic {
        name: topic.name.to_string(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: assignments
            .map(|one| (one.partition_index, nodes(&one.broker_ids)))
            .collect(),
        configs: configs
            .map(|one| (one.name.to_string(), one.value.as_ref().map(Str::to_string)))
            .collect(),
    }
}

/// The answer to what the controller says.
pub fn answer(
    settings: &Settings,
    image: &Image,
    topics: PerTopic<String, Created>,
) -> CreateTopicsResponse {
    let brokers = settings.broker_values(image);
    // The same for most topics: made once.
    let common = configs(&Values::default(), brokers);
    let topics = topics.into_iter().map(|(name, result)| match result {
        Ok(created) => {
            let configs = match created.configs.is_empty() {
                true => common.clone(),
                false => configs(&created.configs, brokers),
            };
            describe(name, &created, configs)
        }
        Err(refused) => CreatableTopicResult {
            name: name.into(),
            error_code: errors::of_topic_refusal(refused.kind),
            error_message: Some(refused.message.into()),
            ..CreatableTopicResult::default()
        },
    });
    CreateTopicsResponse {
        topics: topics.collect(),
        ..CreateTopicsResponse::default()
    }
}

fn describe(
    name: String,
    created: &Created,
    configs: Vec<CreatableTopicConfigEntry>,
) -> CreatableTopicResult {
    CreatableTopicResult {
        name: name.into(),
        topic_id: uuid(created.id),
        num_partitions: created.partitions,
        replication_factor: created.replication_factor,
        configs: Some(configs),
        ..CreatableTopicResult::default()
    }
}

/// All values in force, with where they come from as DescribeConfigs numbers it.
fn configs(topic: &Values, brokers: BrokerValues<'_>) -> Vec<CreatableTopicConfigEntry> {
    let entries = KEYS.iter().map(|key| {
        let effective = effective(key, topic, brokers);
        CreatableTopicConfigEntry {
            name: Str::from_static(key.name),
            value: Some((&*effective.value).into()),
            read_only: false,
            config_source: source_code(effective.source),
            is_sensitive: false,
        }
    });
    entries.collect()
}
