//! CreateTopics (rules M3, M8, M9) and automatic creation (M2).

use super::place::place;
use super::types::{
    Answer, Ask, CreateTopics, Created, Effect, Intent, NewTopic, RefusalKind, Refused, Unspecified,
};
use super::{Controller, Random, configs_of, topic_id};
use crate::machine::image::{
    ConfigResource, Configs, Image, PartitionRecord, Record, Replica, is_internal,
};
use crate::machine::topic_config;
use millstream_storage::ids::{LeaderEpoch, PartitionIndex, TopicId};
use std::collections::BTreeMap;

/// BOUND: partitions one request may create.
pub const PARTITIONS_PER_REQUEST: usize = 10_000;
/// BOUND: the longest name; with `-PARTITION` it is a directory name elsewhere.
const NAME_BYTES_MAX: usize = 249;

/// A topic that passed every check.
struct Plan {
    created: Created,
    records: Vec<Record>,
}

impl Controller {
    /// Creates topics, each for itself; answered when all of them are in the image.
    pub fn create_topics(
        &mut self,
        ask: Ask,
        request: &CreateTopics,
        random: &mut dyn Random,
        effects: &mut Vec<Effect>,
    ) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for topic in &request.topics {
            *counts.entry(&topic.name).or_default() += 1;
        }
        let mut answer = Vec::with_capacity(request.topics.len());
        let mut batch = Batch::new(self.ahead.clone(), self.term);
        for topic in &request.topics {
            let result = if counts[topic.name.as_str()] > 1 {
                Err(Refused::new(
                    RefusalKind::InvalidRequest,
                    "The topic is named more than once.",
                ))
            } else {
                self.plan(topic, request.unspecified, &batch, random)
            };
            let result = result.map(|plan| batch.take(plan, request.intent));
            answer.push((topic.name.clone(), result));
        }
        let answer = Answer::Created(answer);
        let records = match request.intent {
            Intent::Execute => batch.records,
            Intent::Validate => Vec::new(),
        };
        self.decide(Some(ask), records, answer, effects);
    }

    /// Creates a topic that a client has named in passing (Metadata), with the defaults. Nobody is answered; who asks again
    /// finds it. An invalid name is refused at once; a topic that is there or on its way is no error.
    pub fn auto_create(
        &mut self,
        name: &str,
        random: &mut dyn Random,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refused> {
        let topic = NewTopic {
            name: name.to_owned(),
            partitions: -1,
            replication_factor: -1,
            ..NewTopic::default()
        };
        let batch = Batch::new(self.ahead.clone(), self.term);
        match self.plan(&topic, Unspecified::Default, &batch, random) {
            Ok(plan) => {
                self.propose(plan.records, effects);
                Ok(())
            }
            Err(refused) if refused.kind == RefusalKind::TopicExists => Ok(()),
            Err(refused) => Err(refused),
        }
    }

    fn plan(
        &self,
        topic: &NewTopic,
        unspecified: Unspecified,
        batch: &Batch,
        random: &mut dyn Random,
    ) -> Result<Plan, Refused> {
        check_name(&topic.name)?;
        check_is_new(&topic.name, batch)?;
        check_configs(topic)?;
        let id = topic_id(random, &self.ahead);
        let layout = if topic.assignments.is_empty() {
            self.automatic(topic, unspecified, id)?
        } else {
            self.manual(topic)?
        };
        if batch.partitions + layout.len() > PARTITIONS_PER_REQUEST {
            return Err(Refused::new(
                RefusalKind::PolicyViolation,
                format!("One request may create {PARTITIONS_PER_REQUEST} partitions at most."),
            ));
        }
        Ok(self.describe(topic, id, layout))
    }

    fn automatic(
        &self,
        topic: &NewTopic,
        unspecified: Unspecified,
        id: TopicId,
    ) -> Result<Vec<Vec<Replica>>, Refused> {
        let partitions = match (topic.partitions, unspecified) {
            (-1, Unspecified::Default) => self.default_partitions(&topic.name),
            (partitions, _) => partitions,
        };
        if partitions < 1 {
            return Err(Refused::new(
                RefusalKind::InvalidPartitions,
                "The number of partitions must be larger than 0.",
            ));
        }
        // BOUND: checked before anything is made of the number.
        if partitions as usize > PARTITIONS_PER_REQUEST {
            return Err(Refused::new(
                RefusalKind::PolicyViolation,
                format!("One request may create {PARTITIONS_PER_REQUEST} partitions at most."),
            ));
        }
        let live = self.ahead.live_brokers().count();
        let replicas = match (topic.replication_factor, unspecified) {
            (-1, Unspecified::Default) if is_internal(&topic.name) => live.clamp(1, 3) as i16,
            (-1, Unspecified::Default) => self.config.replication_factor,
            (replicas, _) => replicas,
        };
        if replicas < 1 || replicas as usize > live {
            return Err(Refused::new(
                RefusalKind::InvalidReplicationFactor,
                format!(
                    "The replication factor is {replicas}; it must be from 1 to the {live} brokers that are alive."
                ),
            ));
        }
        Ok(place(
            &self.ahead,
            id,
            partitions as usize,
            replicas as usize,
        ))
    }

    fn default_partitions(&self, name: &str) -> i32 {
        match name {
            "__consumer_offsets" => self.config.offsets_partitions,
            "__transaction_state" => self.config.transactions_partitions,
            _ => self.config.partitions,
        }
    }

    fn manual(&self, topic: &NewTopic) -> Result<Vec<Vec<Replica>>, Refused> {
        let bad = |message: &str| Refused::new(RefusalKind::InvalidReplicaAssignment, message);
        if topic.partitions != -1 || topic.replication_factor != -1 {
            return Err(Refused::new(
                RefusalKind::InvalidRequest,
                "With an assignment, the number of partitions and the replication factor must be -1.",
            ));
        }
        let mut by_index = BTreeMap::new();
        for (index, nodes) in &topic.assignments {
            if by_index.insert(*index, nodes).is_some() {
                return Err(bad("A partition is assigned twice."));
            }
        }
        let mut layout = Vec::with_capacity(by_index.len());
        for (expected, (index, nodes)) in by_index.into_iter().enumerate() {
            if usize::try_from(index) != Ok(expected) {
                return Err(bad("Partitions must be numbered from 0 on, without gaps."));
            }
            let mut replicas: Vec<Replica> = Vec::with_capacity(nodes.len());
            for node in nodes {
                let broker = self.ahead.live_brokers().find(|one| one.node == *node);
                let directory = broker.and_then(|broker| broker.directories.first());
                let directory = directory.ok_or_else(|| bad("A broker in it is not alive."))?;
                if replicas.iter().any(|one| one.node == *node) {
                    return Err(bad("A broker is assigned twice to one partition."));
                }
                replicas.push(Replica {
                    node: *node,
                    directory: directory.id,
                });
            }
            let first: Option<&Vec<Replica>> = layout.first();
            if replicas.is_empty() || first.is_some_and(|first| first.len() != replicas.len()) {
                return Err(bad(
                    "All partitions need the same number of replicas, one at least.",
                ));
            }
            layout.push(replicas);
        }
        Ok(layout)
    }

    fn describe(&self, topic: &NewTopic, id: TopicId, layout: Vec<Vec<Replica>>) -> Plan {
        let created = Created {
            id,
            partitions: layout.len() as i32,
            replication_factor: layout.first().map_or(0, Vec::len) as i16,
            configs: configs_of(&topic.configs),
        };
        let name = topic.name.clone();
        let mut records = vec![Record::Topic { id, name }];
        let partitions = layout.into_iter().enumerate();
        records.extend(partitions.map(|(at, replicas)| {
            let index = PartitionIndex(at as i32);
            Record::Partition(new_partition(id, index, replicas))
        }));
        records.extend(config_records(&topic.name, &created.configs));
        Plan { created, records }
    }
}

/// What one request has planned so far: its own topics count, as if they were there.
struct Batch {
    image: Image,
    term: u64,
    partitions: usize,
    records: Vec<Record>,
}

impl Batch {
    fn new(image: Image, term: u64) -> Self {
        Self {
            image,
            term,
            partitions: 0,
            records: Vec::new(),
        }
    }

    fn take(&mut self, plan: Plan, intent: Intent) -> Created {
        let entry = crate::machine::image::Entry {
            term: self.term,
            index: millstream_storage::ids::MetadataIndex(self.image.index().0 + 1),
            payload: crate::machine::image::Payload::Records(plan.records.clone()),
        };
        self.image.apply(&entry).expect("a plan fits its image");
        self.partitions += plan.created.partitions as usize;
        self.records.extend(plan.records);
        let mut created = plan.created;
        if intent == Intent::Validate {
            created.id = TopicId::NONE;
        }
        created
    }
}

/// Rule M3.
fn check_name(name: &str) -> Result<(), Refused> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let message = if name.is_empty() {
        "A topic's name must not be empty."
    } else if name == "." || name == ".." {
        "A topic's name must not be \".\" or \"..\"."
    } else if name.len() > NAME_BYTES_MAX {
        "A topic's name must not be longer than 249 characters."
    } else if !name.bytes().all(legal) {
        "A topic's name consists of ASCII letters, digits, \".\", \"_\" and \"-\"."
    } else {
        return Ok(());
    };
    Err(Refused::new(RefusalKind::InvalidTopicName, message))
}

fn check_is_new(name: &str, batch: &Batch) -> Result<(), Refused> {
    match batch.image.topic_like(name) {
        Some(topic) if *topic.name == *name => Err(Refused::new(
            RefusalKind::TopicExists,
            format!("Topic '{name}' already exists."),
        )),
        Some(topic) => Err(Refused::new(
            RefusalKind::InvalidTopicName,
            format!(
                "Topic '{name}' collides with the existing topic '{}': \".\" and \"_\" are not told apart in metrics.",
                topic.name
            ),
        )),
        None => Ok(()),
    }
}

fn check_configs(topic: &NewTopic) -> Result<(), Refused> {
    let bad = |message: String| Refused::new(RefusalKind::InvalidConfig, message);
    for (key, value) in &topic.configs {
        let value = value
            .as_deref()
            .ok_or_else(|| bad(format!("Null value not supported for topic configs: {key}")))?;
        topic_config::check(key, value).map_err(|refused| bad(refused.0))?;
        if key == "write.caching" && value == "true" && is_internal(&topic.name) {
            return Err(bad("Internal topics are always durable.".into()));
        }
    }
    Ok(())
}

fn config_records<'a>(name: &'a str, configs: &'a Configs) -> impl Iterator<Item = Record> + 'a {
    configs.iter().map(|(key, value)| Record::Config {
        resource: ConfigResource::Topic(name.to_owned()),
        key: key.clone(),
        value: Some(value.clone()),
    })
}

/// A partition nobody has written to: all replicas are in sync, the preferred one leads.
fn new_partition(topic: TopicId, index: PartitionIndex, replicas: Vec<Replica>) -> PartitionRecord {
    PartitionRecord {
        topic,
        index,
        isr: replicas.iter().map(|replica| replica.node).collect(),
        elr: Vec::new(),
        last_known: Vec::new(),
        leader: replicas.first().map(|replica| replica.node),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: 0,
        recovering: None,
        adding: Vec::new(),
        removing: Vec::new(),
        replicas,
    }
}
