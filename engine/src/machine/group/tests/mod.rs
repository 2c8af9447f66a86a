//! Tests of the coordinator: a world of clients around it, and what must hold whatever they do.

mod classic;
mod consumer;
mod leader;
mod mixed;
mod replay;
mod scale;

use super::{Answer, Call, Caller, Coordinator, Effect, GroupConfig, Ticket};
use crate::machine::image::{Entry, Image, PartitionRecord, Payload, Record, Replica};
use millstream_net::wire::Str;
use millstream_net::wire::offsets_topic::GroupRecord;
use millstream_storage::ids::{
    DirectoryId, LeaderEpoch, MetadataIndex, NodeId, Now, PartitionIndex, Tick, TopicId, WallMs,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A small random generator (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// A coordinator with its log, its time and its topics.
struct World {
    coordinator: Coordinator,
    config: Arc<GroupConfig>,
    log: Vec<GroupRecord>,
    image: Arc<Image>,
    now: Now,
    answers: BTreeMap<Ticket, Answer>,
    next_ticket: u64,
    starts: u64,
}

impl World {
    fn new(config: GroupConfig) -> World {
        let config = Arc::new(config);
        let mut world = World {
            coordinator: Coordinator::new(config.clone(), 1),
            config,
            log: Vec::new(),
            image: Arc::default(),
            now: Now {
                tick: Tick(1_000_000_000),
                wall: WallMs(1_700_000_000_000),
            },
            answers: BTreeMap::new(),
            next_ticket: 0,
            starts: 1,
        };
        world.coordinator.loaded(world.now, &world.image);
        world
    }

    /// A topic with so many partitions, new or grown.
    fn topic(&mut self, id: u128, name: &str, partitions: i32) {
        let mut image = (*self.image).clone();
        let id = TopicId(id);
        let known = image
            .topic(id)
            .map_or(0, |topic| topic.partitions.len() as i32);
        let mut records = Vec::new();
        if known == 0 {
            let name = name.to_owned();
            records.push(Record::Topic { id, name });
        }
        records.extend((known..partitions).map(|index| partition(id, index)));
        let entry = Entry {
            term: 1,
            index: MetadataIndex(image.index().0 + 1),
            payload: Payload::Records(records),
        };
        let delta = image.apply(&entry).expect("the records fit");
        self.image = Arc::new(image);
        self.coordinator
            .image_changed(self.now, &self.image, &delta);
        self.settle();
    }

    fn call(&mut self, version: i16, call: Call) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        let caller = Caller {
            client_id: "client".into(),
            host: "/127.0.0.1".into(),
            version,
        };
        let image = self.image.clone();
        self.coordinator
            .call(self.now, &image, ticket, &caller, call);
        self.settle();
        ticket
    }

    fn settle(&mut self) {
        let mut effects = Vec::new();
        self.coordinator.drain(&mut effects);
        for effect in effects {
            match effect {
                Effect::Append(record) => self.log.push(record),
                Effect::Answer { ticket, answer } => {
                    let former = self.answers.insert(ticket, answer);
                    assert!(former.is_none(), "a call is answered once");
                }
            }
        }
        self.coordinator.check();
    }

    fn pass_ms(&mut self, ms: u64) {
        self.now.tick = self.now.tick.after_ms(ms);
        self.now.wall = WallMs(self.now.wall.0 + ms as i64);
        let image = self.image.clone();
        self.coordinator.tick(self.now, &image);
        self.settle();
    }

    /// Another coordinator takes over from the log, and finds what the former one knew.
    fn reload(&mut self) {
        let before: Vec<GroupRecord> = self.coordinator.records().collect();
        self.load();
        let after: Vec<GroupRecord> = self.coordinator.records().collect();
        assert_eq!(durable(before), durable(after), "the log says everything");
    }

    /// Another coordinator takes over from the log, as bytes.
    fn load(&mut self) {
        self.coordinator
            .discard(millstream_net::wire::ErrorCode::NotCoordinator);
        self.settle();
        self.starts += 1;
        self.coordinator = Coordinator::new(self.config.clone(), self.starts);
        for record in &self.log {
            let (key, value) = record.encode();
            let read = GroupRecord::decode(&key, value.as_ref()).expect("it was just written");
            self.coordinator
                .replay(read.expect("it is of this coordinator"));
        }
        let image = self.image.clone();
        self.coordinator.loaded(self.now, &image);
        self.settle();
    }
}

/// What a reload must find again: classic groups begin anew where they were in a rebalance.
fn durable(records: Vec<GroupRecord>) -> Vec<GroupRecord> {
    let lasting = |record: &GroupRecord| {
        !matches!(
            record,
            GroupRecord::GroupMetadata(..) | GroupRecord::TargetEpoch(..)
        )
    };
    records
        .into_iter()
        .filter(lasting)
        .map(without_times)
        .collect()
}

fn without_times(record: GroupRecord) -> GroupRecord {
    match record {
        GroupRecord::RegularExpression(key, Some(mut value)) => {
            (value.version, value.timestamp) = (0, 0);
            GroupRecord::RegularExpression(key, Some(value))
        }
        other => other,
    }
}

fn partition(topic: TopicId, index: i32) -> Record {
    Record::Partition(Arc::new(PartitionRecord {
        topic,
        index: PartitionIndex(index),
        replicas: vec![Replica {
            node: NodeId(1),
            directory: DirectoryId(1),
        }],
        isr: vec![NodeId(1)],
        elr: Vec::new(),
        last_known: Vec::new(),
        leader: Some(NodeId(1)),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: 0,
        recovering: None,
        adding: Vec::new(),
        removing: Vec::new(),
    }))
}

/// The name of a group.
fn group() -> Str {
    Str::from_static("g")
}
