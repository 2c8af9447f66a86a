//! Metadata: brokers, topics and leaders, as of the image (rules M1-M6).

use super::brokers::View;
use super::settings::Settings;
use super::topic_names::{topic_id, uuid};
use super::topics::is_valid_name;
use crate::machine::image::{Image, PartitionRecord, Topic};
use millstream_net::conn::ListenerIndex;
use millstream_net::wire::api::{
    MetadataPartition, MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataTopic,
};
use millstream_net::wire::{ApiKey, Dialect, Elements, Encoded, ErrorCode, Str, Uuid};
use millstream_storage::ids::{MetadataIndex, NodeId};
use std::sync::Arc;

/// What a client without limits may do with the cluster and with a topic, as bits: there is no authorizer (rule M6).
pub mod operations {
    /// Create, alter, describe, act for the cluster, describe and alter configurations, write idempotently.
    pub const CLUSTER: i32 = 0b1_1111_1010_0000;
    /// Read, write, create, delete, alter, describe, describe and alter configurations.
    pub const TOPIC: i32 = 0b1101_1111_1000;
}

/// What a request asks for.
#[derive(Debug)]
enum Asked {
    /// All topics from this name on; none once they are all in it.
    All { from: Option<Arc<str>> },
    /// These, from the one of this index on.
    Topics {
        topics: Vec<MetadataRequestTopic>,
        next: usize,
    },
}

/// A topic of many partitions, of which some are encoded.
struct Opened {
    topic: Arc<Topic>,
    partitions: Encoded,
    next: usize,
}

/// What comes next in an answer.
enum Next {
    Topic(MetadataTopic),
    /// One that takes more than a piece.
    Long(Arc<Topic>),
    Nothing,
}

/// An answer as it comes together, piece by piece: with all topics of a cluster it is long. It tells of the image of its
/// beginning.
pub struct Listing {
    version: i16,
    image: Arc<Image>,
    asked: Asked,
    may_create: bool,
    with_topic_operations: bool,
    with_cluster_operations: bool,
    encoded: Encoded,
    opened: Option<Opened>,
    create: Vec<String>,
}

/// What answers of the same topics have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Common {
    version: i16,
    index: MetadataIndex,
    with_topic_operations: bool,
}

impl Listing {
    /// An answer in which nothing is yet.
    pub fn new(version: i16, request: MetadataRequest, image: &Arc<Image>) -> Listing {
        let asked = match request.topics {
            Some(topics) if !(topics.is_empty() && version == 0) => {
                Asked::Topics { topics, next: 0 }
            }
            _ => Asked::All {
                from: Some("".into()),
            },
        };
        Listing {
            version,
            image: image.clone(),
            asked,
            may_create: request.allow_auto_topic_creation,
            with_topic_operations: request.include_topic_authorized_operations,
            with_cluster_operations: request.include_cluster_authorized_operations,
            encoded: Encoded::default(),
            opened: None,
            create: Vec::new(),
        }
    }

    /// What its topics have in common with those of other answers, if it is about all topics.
    pub fn common(&self) -> Option<Common> {
        let is_all = matches!(self.asked, Asked::All { .. });
        is_all.then_some(Common {
            version: self.version,
            index: self.image.index(),
            with_topic_operations: self.with_topic_operations,
        })
    }

    /// Adds topics with about so many partitions; a topic that has more is not finished at once. Whether it has them all now.
    pub fn go_on(&mut self, settings: &Settings, partitions: usize) -> bool {
        let mut left = partitions;
        let mut piece = Vec::new();
        let is_whole = loop {
            if self.opened.is_none() {
                match self.next(settings, partitions) {
                    Next::Nothing => break true,
                    Next::Topic(topic) => {
                        left = left.saturating_sub(1 + topic.partitions.len());
                        piece.push(topic);
                    }
                    Next::Long(topic) => {
                        self.opened = Some(Opened {
                            topic,
                            partitions: Encoded::default(),
                            next: 0,
                        });
                    }
                }
            }
            if left > 0
                && let Some(opened) = &mut self.opened
            {
                left -= opened.go_on(&self.image, left, dialect(self.version));
                piece.extend(opened.finished());
                self.opened.take_if(|opened| opened.is_finished());
            }
            if left == 0 {
                break false;
            }
        };
        if self.with_topic_operations {
            for topic in piece.iter_mut().filter(|topic| topic.name.is_some()) {
                topic.topic_authorized_operations = operations::TOPIC;
            }
        }
        self.encoded.push(&piece, dialect(self.version));
        is_whole
    }

    /// The next topic; one with more partitions than `long` is not described yet.
    fn next(&mut self, settings: &Settings, long: usize) -> Next {
        let image = &self.image;
        let topic = match &mut self.asked {
            Asked::All { from } => {
                let Some(first) = from.take() else {
                    return Next::Nothing;
                };
                let mut topics = image.topics_from(&first);
                let topic = topics.next();
                *from = topics.next().map(|topic| topic.name.clone());
                match topic {
                    Some(topic) => Ok(topic),
                    None => return Next::Nothing,
                }
            }
            Asked::Topics { topics, next } => {
                let Some(asked) = topics.get(*next) else {
                    return Next::Nothing;
                };
                *next += 1;
                match &asked.name {
                    _ if is_ahead(self.version, asked) => Err(invalid(asked)),
                    _ if asked.topic_id != Uuid::ZERO => identified(asked.topic_id, image),
                    Some(name) => {
                        let auto_create = self.may_create && settings.auto_create_topics;
                        named(name, auto_create, image, &mut self.create)
                    }
                    None => Err(unknown(None, ErrorCode::UnknownTopicId)),
                }
            }
        };
        match topic {
            Ok(topic) if topic.partitions.len() > long => Next::Long(topic.clone()),
            Ok(topic) => {
                let partitions = topic.partitions.iter();
                let partitions = partitions.map(|one| describe_partition(image, one));
                Next::Topic(describe(topic, partitions.collect()))
            }
            Err(refused) => Next::Topic(refused),
        }
    }

    /// The topics in it, for answers that have them in common.
    pub fn encoded(&self) -> &Encoded {
        &self.encoded
    }

    /// The names that nobody has yet and that may be created (rule M2).
    pub fn take_create(&mut self) -> Vec<String> {
        std::mem::take(&mut self.create)
    }

    /// The answer, with these topics, for a client that came in on a listener.
    pub fn answer(
        &self,
        encoded: Encoded,
        settings: &Settings,
        listener: Option<ListenerIndex>,
    ) -> MetadataResponse {
        let view = View {
            image: &self.image,
            settings,
            listener,
        };
        let brokers: Vec<_> = view.brokers().collect();
        let mut response = MetadataResponse {
            controller_id: brokers.first().map_or(-1, |_| settings.node.0),
            brokers,
            cluster_id: self.image.cluster_id().map(Str::from),
            topics: Elements {
                list: Vec::new(),
                encoded,
            },
            ..MetadataResponse::default()
        };
        if self.with_cluster_operations {
            response.cluster_authorized_operations = operations::CLUSTER;
        }
        response
    }
}

impl Opened {
    /// Encodes so many more partitions, where there are so many. How many it were.
    fn go_on(&mut self, image: &Image, most: usize, dialect: Dialect) -> usize {
        let rest = &self.topic.partitions[self.next..];
        let now = &rest[..rest.len().min(most)];
        let described: Vec<_> = now
            .iter()
            .map(|one| describe_partition(image, one))
            .collect();
        self.partitions.push(&described, dialect);
        self.next += described.len();
        described.len()
    }

    fn is_finished(&self) -> bool {
        self.next == self.topic.partitions.len()
    }

    /// The topic, once all its partitions are encoded.
    fn finished(&mut self) -> Option<MetadataTopic> {
        if !self.is_finished() {
            return None;
        }
        let partitions = Elements {
            list: Vec::new(),
            encoded: std::mem::take(&mut self.partitions),
        };
        Some(describe(&self.topic, partitions))
    }
}

fn dialect(version: i16) -> Dialect {
    ApiKey::Metadata.api().dialect(version)
}

/// Versions 10 and 11 have the field of the id, and only names in it.
fn is_ahead(version: i16, asked: &MetadataRequestTopic) -> bool {
    version < 12 && (asked.name.is_none() || asked.topic_id != Uuid::ZERO)
}

fn invalid(asked: &MetadataRequestTopic) -> MetadataTopic {
    MetadataTopic {
        topic_id: asked.topic_id,
        ..unknown(asked.name.clone(), ErrorCode::InvalidRequest)
    }
}

/// Rule M4: an id that nobody has comes back without a name.
fn identified(id: Uuid, image: &Image) -> Result<&Arc<Topic>, MetadataTopic> {
    image.topic(topic_id(id)).ok_or_else(|| MetadataTopic {
        topic_id: id,
        ..unknown(None, ErrorCode::UnknownTopicId)
    })
}

fn named<'a>(
    name: &Str,
    auto_create: bool,
    image: &'a Image,
    create: &mut Vec<String>,
) -> Result<&'a Arc<Topic>, MetadataTopic> {
    if let Some(topic) = image.topic_named(name) {
        return Ok(topic);
    }
    let refused = |code| Err(unknown(Some(name.clone()), code));
    if !is_valid_name(name) {
        return refused(ErrorCode::InvalidTopicException);
    }
    if !auto_create {
        return refused(ErrorCode::UnknownTopicOrPartition);
    }
    if image.topic_like(name).is_some() {
        return refused(ErrorCode::InvalidTopicException);
    }
    create.push(name.to_string());
    refused(ErrorCode::LeaderNotAvailable)
}

fn unknown(name: Option<Str>, error_code: ErrorCode) -> MetadataTopic {
    MetadataTopic {
        error_code,
        name,
        ..MetadataTopic::default()
    }
}

fn describe(topic: &Topic, partitions: Elements<MetadataPartition>) -> MetadataTopic {
    MetadataTopic {
        error_code: ErrorCode::None,
        name: Some(Str::from(&*topic.name)),
        topic_id: uuid(topic.id),
        is_internal: topic.is_internal(),
        partitions,
        ..MetadataTopic::default()
    }
}

pub(super) fn describe_partition(image: &Image, partition: &PartitionRecord) -> MetadataPartition {
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
