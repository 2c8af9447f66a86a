//! CreatePartitions (rule M11).

use super::create::{PARTITIONS_PER_REQUEST, new_partition};
use super::place::place_more;
use super::types::{
    AddPartitions, Answer, Ask, Effect, Intent, MorePartitions, PerTopic, RefusalKind, Refused,
};
use super::{Controller, counts, named_twice, replicas_of};
use crate::machine::image::{Record, Replica, Topic};
use millstream_storage::ids::{NodeId, PartitionIndex};
use std::collections::BTreeSet;

impl Controller {
    /// Adds partitions to topics, each topic for itself; answered when all of them are in the image.
    pub fn add_partitions(&mut self, ask: Ask, request: &AddPartitions, effects: &mut Vec<Effect>) {
        let counts = counts(request.topics.iter().map(|topic| topic.name.as_str()));
        let mut told_twice = BTreeSet::new();
        let mut records = Vec::new();
        let mut answer: PerTopic<String, ()> = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let twice = counts[topic.name.as_str()] > 1;
            if twice && !told_twice.insert(&topic.name) {
                continue;
            }
            let result = match twice {
                true => Err(named_twice()),
                false => self.grown(topic, records.len()),
            };
            let result = result.map(|partitions| records.extend(partitions));
            answer.push((topic.name.clone(), result));
        }
        if request.intent == Intent::Validate {
            records.clear();
        }
        self.decide(Some(ask), records, Answer::Grown(answer), effects);
    }

    /// The records of a topic's new partitions; `planned` were added by this request already.
    fn grown(&self, asked: &MorePartitions, planned: usize) -> Result<Vec<Record>, Refused> {
        let topic = self.ahead.topic_named(&asked.name).ok_or_else(|| {
            Refused::new(
                RefusalKind::UnknownTopic,
                "This server does not host this topic.",
            )
        })?;
        let moving = |one: &crate::machine::image::PartitionRecord| {
            !one.adding.is_empty() || !one.removing.is_empty()
        };
        if topic.partitions.iter().any(|one| moving(one)) {
            return Err(Refused::new(
                RefusalKind::ReassignmentInProgress,
                "Partitions of the topic are being moved to other brokers.",
            ));
        }
        let there = topic.partitions.len();
        let added = usize::try_from(asked.count)
            .unwrap_or(0)
            .saturating_sub(there);
        if added == 0 {
            let count = asked.count;
            return Err(Refused::new(
                RefusalKind::InvalidPartitions,
                format!("The topic has {there} partitions; {count} would not be an increase."),
            ));
        }
        // BOUND: checked before anything is made of the number.
        if planned + added > PARTITIONS_PER_REQUEST {
            return Err(Refused::new(
                RefusalKind::PolicyViolation,
                format!("One request may create {PARTITIONS_PER_REQUEST} partitions at most."),
            ));
        }
        let layout = match &asked.assignments {
            Some(assignments) => self.assigned(topic, added, assignments)?,
            None => self.placed(topic, added)?,
        };
        let partitions = layout.into_iter().enumerate();
        let records = partitions.map(|(at, replicas)| {
            let index = PartitionIndex((there + at) as i32);
            Record::Partition(new_partition(topic.id, index, replicas).into())
        });
        Ok(records.collect())
    }

    fn placed(&self, topic: &Topic, added: usize) -> Result<Vec<Vec<Replica>>, Refused> {
        let replicas = replica_count(topic);
        let live = self.ahead.live_brokers().count();
        if replicas > live {
            return Err(Refused::new(
                RefusalKind::InvalidReplicationFactor,
                format!("The topic has {replicas} replicas, and only {live} brokers are alive."),
            ));
        }
        let there = topic.partitions.len();
        Ok(place_more(&self.ahead, topic.id, there, added, replicas))
    }

    fn assigned(
        &self,
        topic: &Topic,
        added: usize,
        assignments: &[Vec<NodeId>],
    ) -> Result<Vec<Vec<Replica>>, Refused> {
        let bad = |message: String| Refused::new(RefusalKind::InvalidReplicaAssignment, message);
        if assignments.len() != added {
            return Err(bad(format!(
                "{added} partitions are added, and {} are assigned.",
                assignments.len()
            )));
        }
        let replicas = replica_count(topic);
        let layout = assignments.iter().map(|nodes| {
            if nodes.len() != replicas {
                return Err(bad(format!(
                    "The topic has {replicas} replicas of each partition, and {} are assigned.",
                    nodes.len()
                )));
            }
            replicas_of(&self.ahead, nodes)
        });
        layout.collect()
    }
}

fn replica_count(topic: &Topic) -> usize {
    topic.partitions.first().map_or(1, |one| one.replicas.len())
}
