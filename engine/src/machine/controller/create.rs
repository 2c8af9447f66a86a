//! CreateTopics (rules M3, M8, M9) and automatic creation (M2).

use super::place::place;
use super::types::{
    Answer, Ask, CreateTopics, Created, Effect, Intent, NewTopic, RefusalKind, Refused,
};
use super::{Controller, Random, configs_of, counts, named_twice, replicas_of, topic_id};
use crate::machine::image::{
    ConfigResource, Configs, Image, PartitionRecord, Record, Replica, blur, is_internal,
};
use crate::machine::topic_config;
use millstream_storage::ids::{LeaderEpoch, PartitionIndex, TopicId};
use std::collections::{BTreeMap, BTreeSet};

/// BOUND: partitions one request may create.
pub const PARTITIONS_PER_REQUEST: usize = 10_000;

/// Replicas of an internal topic, where there are brokers enough.
const INTERNAL_REPLICAS: i16 = 3;

/// How a topic comes to be created.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Somebody asks for it and is answered.
    Request,
    /// Somebody named it.
    Passing,
}

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
        let counts = counts(request.topics.iter().map(|topic| topic.name.as_str()));
        let mut told_twice = BTreeSet::new();
        let mut answer = Vec::with_capacity(request.topics.len());
        let mut batch = Batch::default();
        for topic in &request.topics {
            let twice = counts[topic.name.as_str()] > 1;
            if twice && !told_twice.insert(&topic.name) {
                continue;
            }
            let result = match twice {
                true => Err(named_twice()),
                false => self.plan(topic, Origin::Request, &batch, random),
            };
            let result = result.map(|plan| batch.take(&topic.name, plan, request.intent));
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
            configs: configs_of_internal(name),
            ..NewTopic::default()
        };
        let batch = Batch::default();
        match self.plan(&topic, Origin::Passing, &batch, random) {
            Ok(plan) => {
                self.tell_capped(plan.created.replication_factor, effects);
                self.propose(plan.records, effects);
                Ok(())
            }
            Err(refused) if refused.kind == RefusalKind::TopicExists => Ok(()),
            Err(refused) => Err(refused),
        }
    }

    /// Tells once that the default replication factor cannot be reached.
    fn tell_capped(&mut self, replicas: i16, effects: &mut Vec<Effect>) {
        let wanted = self.config.replication_factor;
        if replicas < wanted && !self.capped_told {
            self.capped_told = true;
            effects.push(Effect::Capped { wanted, replicas });
        }
    }

    fn plan(
        &self,
        topic: &NewTopic,
        origin: Origin,
        batch: &Batch,
        random: &mut dyn Random,
    ) -> Result<Plan, Refused> {
        check_name(&topic.name)?;
        check_is_new(&topic.name, &self.ahead, batch)?;
        check_configs(topic)?;
        let id = topic_id(random, &self.ahead);
        let layout = if topic.assignments.is_empty() {
            self.automatic(topic, origin, id)?
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
        origin: Origin,
        id: TopicId,
    ) -> Result<Vec<Vec<Replica>>, Refused> {
        let partitions = match topic.partitions {
            -1 => self.default_partitions(&topic.name),
            partitions => partitions,
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
        let most = i16::try_from(live).unwrap_or(i16::MAX);
        let replicas = match (topic.replication_factor, origin) {
            (-1, _) if is_internal(&topic.name) => INTERNAL_REPLICAS.min(most),
            // Nobody would be there to learn of a refusal.
            (-1, Origin::Passing) => self.config.replication_factor.min(most),
            (-1, Origin::Request) => self.config.replication_factor,
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
            let replicas = replicas_of(&self.ahead, nodes)?;
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
            Record::Partition(new_partition(id, index, replicas).into())
        }));
        records.extend(config_records(&topic.name, &created.configs));
        Plan { created, records }
    }
}

/// The values that a topic the broker itself lives on is made with.
fn configs_of_internal(name: &str) -> Vec<(String, Option<String>)> {
    let values: &[(&str, &str)] = match is_internal(name) {
        true => &[
            ("cleanup.policy", "compact"),
            ("compression.type", "producer"),
            ("segment.bytes", "104857600"),
        ],
        false => &[],
    };
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), Some((*value).to_owned()));
    values.iter().map(own).collect()
}

/// What one request has planned so far: its own topics count, as if they were there.
#[derive(Default)]
struct Batch {
    /// Their names, by what they are without the difference of `.` and `_`.
    names: BTreeMap<String, String>,
    partitions: usize,
    records: Vec<Record>,
}

impl Batch {
    fn take(&mut self, name: &str, plan: Plan, intent: Intent) -> Created {
        let former = self.names.insert(blur(name).into_owned(), name.to_owned());
        assert!(former.is_none(), "a planned topic is new");
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
    } else if name.len() > crate::machine::TOPIC_NAME_BYTES_MAX {
        "A topic's name must not be longer than 249 characters."
    } else if !name.bytes().all(legal) {
        "A topic's name consists of ASCII letters, digits, \".\", \"_\" and \"-\"."
    } else {
        return Ok(());
    };
    Err(Refused::new(RefusalKind::InvalidTopicName, message))
}

fn check_is_new(name: &str, image: &Image, batch: &Batch) -> Result<(), Refused> {
    let planned = batch.names.get(blur(name).as_ref()).map(String::as_str);
    let there = image.topic_like(name).map(|topic| &*topic.name);
    match there.or(planned) {
        Some(there) if there == name => Err(Refused::new(
            RefusalKind::TopicExists,
            format!("Topic '{name}' already exists."),
        )),
        Some(there) => Err(Refused::new(
            RefusalKind::InvalidTopicName,
            format!(
                "Topic '{name}' collides with the existing topic '{there}': \".\" and \"_\" are not told apart in metrics."
            ),
        )),
        None => Ok(()),
    }
}

fn check_configs(topic: &NewTopic) -> Result<(), Refused> {
    let bad = |message: String| Refused::new(RefusalKind::InvalidConfig, message);
    for (key, value) in &topic.configs {
        let value = value.as_deref().ok_or_else(|| {
            let key = topic_config::shown(key);
            bad(format!("Null value not supported for topic configs: {key}"))
        })?;
        check_config(&topic.name, key, value)?;
    }
    Ok(())
}

/// Judges one value of a topic.
pub(super) fn check_config(topic: &str, key: &str, value: &str) -> Result<(), Refused> {
    let bad = |message: String| Refused::new(RefusalKind::InvalidConfig, message);
    topic_config::check(key, value).map_err(|refused| bad(refused.0))?;
    let caching = key == "write.caching" && value.trim().eq_ignore_ascii_case("true");
    if caching && is_internal(topic) {
        return Err(bad("Internal topics are always durable.".into()));
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
pub(super) fn new_partition(
    topic: TopicId,
    index: PartitionIndex,
    replicas: Vec<Replica>,
) -> PartitionRecord {
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
