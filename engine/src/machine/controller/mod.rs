//! The controller: decides about topics and producer ids, on the image and what it has proposed since.
//!
//! Always: (1) it decides on `ahead`, the applied image plus its own proposals in order; (2) an answer leaves when the entry it
//! tells of is applied; (3) when leadership is lost, everything proposed and not applied is answered `NotController`; (4) topic
//! ids are random and never reused, producer ids are given away once.
//! Leaves to others: durability and order (the quorum), routing of answers, authorization.

mod alter;
mod create;
mod delete;
mod grow;
mod place;
#[cfg(test)]
mod tests;
mod types;

pub use create::PARTITIONS_PER_REQUEST;
pub use types::{
    AddPartitions, Alteration, Altered, Answer, Ask, Change, CreateTopics, Created, Deleted,
    Effect, Intent, MorePartitions, NewTopic, PerTopic, RefusalKind, Refused, TopicName,
};

use super::image::{Configs, Entry, Image, Payload, Record, Replica};
use millstream_storage::ids::{MetadataIndex, NodeId, TopicId};
use std::collections::{BTreeMap, VecDeque};

/// Producer ids are reserved in blocks of so many.
pub const PRODUCER_ID_BLOCK: i64 = 1000;

/// What the controller takes from the node's configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControllerConfig {
    /// `num.partitions`.
    pub partitions: i32,
    /// `default.replication.factor`.
    pub replication_factor: i16,
    /// `delete.topic.enable`.
    pub deletion: bool,
    /// Partitions and replication factor of internal topics, which have their own keys.
    pub offsets_partitions: i32,
    /// `transaction.state.log.num.partitions`.
    pub transactions_partitions: i32,
}

impl Default for ControllerConfig {
    fn default() -> Self {
        Self {
            partitions: 1,
            replication_factor: 1,
            deletion: true,
            offsets_partitions: 50,
            transactions_partitions: 50,
        }
    }
}

/// An answer that waits for its entry.
#[derive(Debug)]
struct Pending {
    index: MetadataIndex,
    ask: Option<Ask>,
    answer: Answer,
}

/// The controller of a quorum leader.
pub struct Controller {
    config: ControllerConfig,
    term: u64,
    /// The applied image and everything proposed since.
    ahead: Image,
    pending: VecDeque<Pending>,
    /// It was told that topics get fewer replicas than the configuration says.
    capped_told: bool,
}

impl Controller {
    /// The controller of a leader whose image holds the first entry of its own term, or, at the very beginning, nothing.
    pub fn new(config: ControllerConfig, term: u64, applied: Image) -> Self {
        assert!(applied.term() <= term);
        Self {
            config,
            term,
            ahead: applied,
            pending: VecDeque::new(),
            capped_told: false,
        }
    }

    /// Proposes records as they are: the cluster's first entry, a registration, a configuration that was checked. Without an
    /// asker nobody is answered.
    pub fn propose(&mut self, records: Vec<Record>, effects: &mut Vec<Effect>) -> MetadataIndex {
        let index = MetadataIndex(self.ahead.index().0 + 1);
        let entry = Entry {
            term: self.term,
            index,
            payload: Payload::Records(records),
        };
        self.ahead
            .apply(&entry)
            .expect("a proposal fits the image it was made on");
        let Payload::Records(records) = entry.payload else {
            unreachable!("it was made so above");
        };
        effects.push(Effect::Propose { index, records });
        index
    }

    /// The next entry is applied (and the image with it published): answers that waited for it leave.
    pub fn applied(&mut self, image: &Image, effects: &mut Vec<Effect>) {
        let index = image.index();
        if index == self.ahead.index() {
            // Equal by content; shared, it takes memory once.
            self.ahead = image.clone();
        }
        while let Some(pending) = self.pending.pop_front_if(|pending| pending.index <= index) {
            if let Some(ask) = pending.ask {
                effects.push(Effect::Answer {
                    ask,
                    answer: pending.answer,
                });
            }
        }
    }

    /// Leadership is lost. The controller is of no more use.
    pub fn lost(self, effects: &mut Vec<Effect>) {
        let asks = self.pending.into_iter().filter_map(|pending| pending.ask);
        effects.extend(asks.map(|ask| Effect::Answer {
            ask,
            answer: Answer::NotController,
        }));
    }

    /// Reserves a block of producer ids (rule P6).
    pub fn producer_ids(&mut self, ask: Ask, effects: &mut Vec<Effect>) {
        let first = self.ahead.next_producer_id();
        let next = first + PRODUCER_ID_BLOCK;
        let answer = Answer::ProducerIds {
            first,
            count: PRODUCER_ID_BLOCK,
        };
        self.decide(
            Some(ask),
            vec![Record::ProducerIds { next }],
            answer,
            effects,
        );
    }

    /// The image decisions are made on.
    pub fn ahead(&self) -> &Image {
        &self.ahead
    }

    /// Proposes records and keeps the answer until they are applied; without records it leaves behind what is proposed
    /// already, because it was judged on that.
    fn decide(
        &mut self,
        ask: Option<Ask>,
        records: Vec<Record>,
        answer: Answer,
        effects: &mut Vec<Effect>,
    ) {
        let index = match (records.is_empty(), self.pending.back()) {
            (false, _) => self.propose(records, effects),
            (true, Some(last)) => last.index,
            (true, None) => {
                effects.extend(ask.map(|ask| Effect::Answer { ask, answer }));
                return;
            }
        };
        self.pending.push_back(Pending { index, ask, answer });
    }
}

/// Random numbers for ids: the shell's, or the simulator's.
pub trait Random {
    /// 128 random bits.
    fn bits(&mut self) -> u128;
}

impl<F: FnMut() -> u128> Random for F {
    fn bits(&mut self) -> u128 {
        self()
    }
}

/// A random topic id: a version 4 UUID that no topic has.
fn topic_id(random: &mut dyn Random, image: &Image) -> TopicId {
    loop {
        let bits = random.bits();
        let id = (bits & !(0xF000_u128 << 64) & !(0xC000_u128 << 48))
            | (0x4000_u128 << 64)
            | (0x8000_u128 << 48);
        let id = TopicId(id);
        if image.topic(id).is_none() {
            return id;
        }
    }
}

fn configs_of(pairs: &[(String, Option<String>)]) -> Configs {
    let set = |(key, value): &(String, Option<String>)| Some((key.clone(), value.clone()?));
    pairs.iter().filter_map(set).collect()
}

/// The replicas of a partition that is assigned by hand.
fn replicas_of(image: &Image, nodes: &[NodeId]) -> Result<Vec<Replica>, Refused> {
    let bad = |message: &str| Refused::new(RefusalKind::InvalidReplicaAssignment, message);
    let mut replicas: Vec<Replica> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let broker = image.live_brokers().find(|one| one.node == *node);
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
    Ok(replicas)
}

/// How often each name is there.
fn counts<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    counts
}

fn named_twice() -> Refused {
    Refused::new(
        RefusalKind::InvalidRequest,
        "The topic is named more than once.",
    )
}
