//! Metadata: brokers, topics and leaders, as of the image (rules M1-M6).

use super::settings::Settings;
use super::topics::is_valid_name;
use crate::machine::image::{Image, PartitionRecord, Topic};
use millstream_net::conn::ListenerIndex;
use millstream_net::wire::api::{
    MetadataBroker, MetadataPartition, MetadataRequest, MetadataResponse, MetadataTopic,
};
use millstream_net::wire::{ErrorCode, Str, Uuid};
use millstream_storage::ids::NodeId;

/// An answer, and the topics it wants created.
#[derive(Debug)]
pub struct Answered {
    /// The answer.
    pub response: MetadataResponse,
    /// Names that nobody has yet and that may be created (rule M2).
    pub create: Vec<String>,
}

/// Answers a request that came in on a listener.
pub fn answer(
    version: i16,
    request: &MetadataRequest,
    image: &Image,
    settings: &Settings,
    listener: Option<ListenerIndex>,
) -> Answered {
    let listener = listener.and_then(|index| settings.listeners.get(usize::from(index.0)));
    let brokers = image.live_brokers().filter_map(|broker| {
        let of_listener = |name: &String| broker.endpoints.iter().find(|one| one.listener == *name);
        // A broker that has not this listener cannot be reached by this client.
        let endpoint = listener.and_then(of_listener)?;
        Some(MetadataBroker {
            node_id: broker.node.0,
            host: endpoint.host.as_str().into(),
            port: i32::from(endpoint.port),
            rack: broker.rack.as_deref().map(Str::from),
        })
    });
    let brokers: Vec<_> = brokers.collect();
    let mut create = Vec::new();
    let topics = match &request.topics {
        Some(topics) if !(topics.is_empty() && version == 0) => topics
            .iter()
            .map(|asked| match &asked.name {
                Some(name) => named(name, request, image, settings, &mut create),
                None => unknown(None, ErrorCode::UnknownTopicId),
            })
            .collect(),
        _ => image
            .topics_by_name()
            .map(|topic| describe(image, topic))
            .collect(),
    };
    Answered {
        response: MetadataResponse {
            controller_id: brokers.first().map_or(-1, |_| settings.node.0),
            brokers,
            cluster_id: image.cluster_id().map(Str::from),
            topics,
            ..MetadataResponse::default()
        },
        create,
    }
}

fn named(
    name: &Str,
    request: &MetadataRequest,
    image: &Image,
    settings: &Settings,
    create: &mut Vec<String>,
) -> MetadataTopic {
    if let Some(topic) = image.topic_named(name) {
        return describe(image, topic);
    }
    if !is_valid_name(name) {
        return unknown(Some(name.clone()), ErrorCode::InvalidTopicException);
    }
    if !settings.auto_create_topics || !request.allow_auto_topic_creation {
        return unknown(Some(name.clone()), ErrorCode::UnknownTopicOrPartition);
    }
    if image.topic_like(name).is_some() {
        return unknown(Some(name.clone()), ErrorCode::InvalidTopicException);
    }
    create.push(name.to_string());
    unknown(Some(name.clone()), ErrorCode::LeaderNotAvailable)
}

fn unknown(name: Option<Str>, error_code: ErrorCode) -> MetadataTopic {
    MetadataTopic {
        error_code,
        name,
        ..MetadataTopic::default()
    }
}

fn describe(image: &Image, topic: &Topic) -> MetadataTopic {
    let partitions = topic.partitions.iter();
    MetadataTopic {
        error_code: ErrorCode::None,
        name: Some(Str::from(&*topic.name)),
        topic_id: Uuid(topic.id.0.to_be_bytes()),
        is_internal: topic.is_internal(),
        partitions: partitions
            .map(|one| describe_partition(image, one))
            .collect(),
        ..MetadataTopic::default()
    }
}

fn describe_partition(image: &Image, partition: &PartitionRecord) -> MetadataPartition {
    let is_live = |node: NodeId| image.broker(node).is_some_and(|broker| !broker.fenced);
    let leader = partition.leader.filter(|leader| is_live(*leader));
    let replicas = || partition.replicas.iter().map(|replica| replica.node);
    MetadataPartition {
        // Rule M4.
        error_code: match leader {
            Some(_) => ErrorCode::None,
            None => ErrorCode::LeaderNotAvailable,
        },
        partition_index: partition.index.0,
        leader_id: leader.map_or(-1, |leader| leader.0),
        leader_epoch: partition.leader_epoch.0,
        replica_nodes: replicas().map(|node| node.0).collect(),
        isr_nodes: partition.isr.iter().map(|node| node.0).collect(),
        offline_replicas: replicas()
            .filter(|node| !is_live(*node))
            .map(|node| node.0)
            .collect(),
    }
}
