//! CreateTopics (rules M8, M9).

use super::errors;
use super::settings::Settings;
use crate::machine::controller::{
    CreateTopics, Created, Intent, NewTopic, PARTITIONS_PER_REQUEST, PerTopic, Unspecified,
};
use crate::machine::topic_config::{KEYS, Source, Values, effective};
use millstream_net::wire::api::{
    CreatableTopic, CreatableTopicConfigEntry, CreatableTopicResult, CreateTopicsRequest,
    CreateTopicsResponse,
};
use millstream_net::wire::{ErrorCode, Str, Uuid};
use millstream_storage::ids::NodeId;

/// What the metadata of one partition takes in the quorum's log, at the most.
const PARTITION_BYTES: u64 = 256;
/// The same for a topic without its partitions, its name and its configuration.
const TOPIC_BYTES: u64 = 1024;

/// What the metadata of the topics takes in the quorum's log, at the most; nothing where they are only looked at.
pub fn record_bytes(request: &CreateTopicsRequest, partitions_default: i32) -> u64 {
    if request.validate_only {
        return 0;
    }
    let topic_bytes = |topic: &CreatableTopic| {
        let partitions = match topic.num_partitions {
            // BOUND: more than a topic may have is refused by the controller.
            0.. => topic.num_partitions.min(PARTITIONS_PER_REQUEST as i32),
            _ => partitions_default,
        };
        let partitions = (partitions.max(0) as u64).max(topic.assignments.len() as u64);
        let value_bytes = |value: &Option<Str>| value.as_ref().map_or(0, |value| value.len());
        let configs = topic.configs.iter();
        let configs: usize = configs
            .map(|config| 64 + config.name.len() + value_bytes(&config.value))
            .sum();
        TOPIC_BYTES + topic.name.len() as u64 + configs as u64 + partitions * PARTITION_BYTES
    };
    request.topics.iter().map(topic_bytes).sum()
}

/// The same for a topic that is made because somebody named it.
pub fn auto_record_bytes(partitions_default: i32) -> u64 {
    TOPIC_BYTES + partitions_default.max(0) as u64 * PARTITION_BYTES
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
pub fn plan(version: i16, request: &CreateTopicsRequest) -> CreateTopics {
    CreateTopics {
        topics: request.topics.iter().map(new_topic).collect(),
        intent: match request.validate_only {
            true => Intent::Validate,
            false => Intent::Execute,
        },
        unspecified: match version {
            4.. => Unspecified::Default,
            _ => Unspecified::Refuse,
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
pub fn answer(settings: &Settings, topics: PerTopic<String, Created>) -> CreateTopicsResponse {
    let topics = topics.into_iter().map(|(name, result)| match result {
        Ok(created) => describe(settings, name, &created),
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

fn describe(settings: &Settings, name: String, created: &Created) -> CreatableTopicResult {
    CreatableTopicResult {
        name: name.into(),
        topic_id: Uuid(created.id.0.to_be_bytes()),
        num_partitions: created.partitions,
        replication_factor: created.replication_factor,
        configs: Some(configs(&created.configs, &settings.topic_defaults)),
        ..CreatableTopicResult::default()
    }
}

/// All values in force, with where they come from as DescribeConfigs numbers it.
fn configs(topic: &Values, defaults: &Values) -> Vec<CreatableTopicConfigEntry> {
    let entries = KEYS.iter().map(|key| {
        let (value, source) = effective(key, topic, defaults);
        CreatableTopicConfigEntry {
            name: Str::from_static(key.name),
            value: Some(value.into()),
            read_only: false,
            config_source: match source {
                Source::Topic => 1,
                Source::Broker => 4,
                Source::Default => 5,
            },
            is_sensitive: false,
        }
    });
    entries.collect()
}
