//! Members of a group against the coordinator that brokers run, in virtual time: they come and go while they read.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use millstream_net::wire::api::FindCoordinatorResponse;
use millstream_net::wire::offsets_topic::GroupRecord;
use millstream_net::wire::{Request, Response, decode_request, encode_response};
use millstream_storage::ids::{
    DirectoryId, LeaderEpoch, MetadataIndex, NodeId, Now, PartitionIndex, Tick, TopicId, WallMs,
};

use super::consumer::filled;
use super::fake::{Fake, Random, TOPIC_ID, address};
use crate::api::groups::{GroupsAnswer, split};
use crate::client::consumer::ConsumerCore;
use crate::client::driver::Core;
use crate::client::incoming::{ConsumerConfig, Isolation};
use crate::client::links::{LinkEffect, LinkEvent, LinkId};
use crate::client::membership::{ClassicAssignor, GroupProtocol, MembershipConfig};
use crate::client::unpack::unpack;
use crate::client::wiring::{MissingTopic, Wiring};
use crate::machine::group::{Caller, Coordinator, Effect, GroupConfig, Ticket};
use crate::machine::image::{Entry, Image, PartitionRecord, Payload, Record, Replica};

const PARTITIONS: i32 = 3;

/// A request that its coordinator answers some time.
struct Asked {
    member: usize,
    link: LinkId,
    version: i16,
    correlation_id: i32,
    answer: GroupsAnswer,
}

struct Member {
    core: ConsumerCore,
    /// Where it reads; all hold the same.
    fake: Fake,
    leaves: bool,
}

/// Members, their coordinator, and what is under way between them.
struct World {
    members: Vec<Member>,
    coordinator: Coordinator,
    image: Arc<Image>,
    now: Now,
    random: Random,
    asked: BTreeMap<Ticket, Asked>,
    next: u64,
    events: BTreeMap<(Tick, u64), (usize, LinkEvent)>,
    /// When the last event of each connection is due: what comes over one keeps its order.
    due: BTreeMap<(usize, LinkId), Tick>,
    /// How often each record was read.
    read: BTreeMap<(i32, i64), usize>,
}

fn image() -> Image {
    let topic = TopicId(u128::from_be_bytes(TOPIC_ID.0));
    let mut records = vec![Record::Topic {
        id: topic,
        name: "t".into(),
    }];
    records.extend((0..PARTITIONS).map(|index| {
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
    }));
    let mut image = Image::default();
    let entry = Entry {
        term: 1,
        index: MetadataIndex(1),
        payload: Payload::Records(records),
    };
    image.apply(&entry).expect("the records fit");
    image
}

impl World {
    fn new(seed: u64) -> World {
        let config = GroupConfig {
            initial_delay_ms: 0,
            consumer_assignment_ms: 0,
            ..GroupConfig::default()
        };
        let now = Now {
            tick: Tick(0),
            wall: WallMs(1_700_000_000_000),
        };
        let image = Arc::new(image());
        let mut coordinator = Coordinator::new(Arc::new(config), seed);
        coordinator.loaded(now, &image);
        World {
            members: Vec::new(),
            coordinator,
            image,
            now,
            random: Random(seed),
            asked: BTreeMap::new(),
            next: 0,
            events: BTreeMap::new(),
            due: BTreeMap::new(),
            read: BTreeMap::new(),
        }
    }

    fn join(&mut self, seed: u64, protocol: GroupProtocol) {
        let wiring = Wiring::new("test", vec![address(1)], MissingTopic::IsNotCreated);
        let mut core = ConsumerCore::new(ConsumerConfig::default(), wiring);
        let config = MembershipConfig {
            member_id: format!("member-{}", self.members.len()),
            ..MembershipConfig::new("g", "t", protocol)
        };
        core.join(self.now, config);
        self.members.push(Member {
            core,
            fake: filled(seed),
            leaves: false,
        });
    }

    fn leave(&mut self, at: usize) {
        let member = &mut self.members[at];
        member.leaves = true;
        member.core.leave(self.now);
    }

    fn staying(&self) -> Vec<usize> {
        let members = self.members.iter().enumerate();
        let staying = members.filter(|(_, member)| !member.leaves);
        staying.map(|(at, _)| at).collect()
    }

    /// Goes on to the next event or deadline.
    fn advance(&mut self) {
        for at in 0..self.members.len() {
            self.members[at].core.turn(self.now);
            for effect in self.members[at].core.take_effects() {
                self.execute(at, effect);
            }
            self.read(at);
        }
        self.answers();
        let deadlines = self.members.iter().filter_map(|one| one.core.deadline());
        let deadlines = deadlines.chain(self.coordinator.deadline());
        let next = deadlines.map(|at| at.max(Tick(self.now.tick.0 + 1)));
        let event = self.events.first_key_value().map(|((at, _), _)| *at);
        let next = next.chain(event).min().expect("members show signs of life");
        self.now.wall.0 += next.ms_since(self.now.tick) as i64;
        self.now.tick = self.now.tick.max(next);
        while let Some(first) = self.events.first_entry() {
            if first.key().0 > self.now.tick {
                break;
            }
            let (at, event) = first.remove();
            self.members[at].core.step(self.now, event);
        }
        let image = self.image.clone();
        self.coordinator.tick(self.now, &image);
        self.answers();
        self.coordinator.check();
    }

    fn execute(&mut self, at: usize, effect: LinkEffect) {
        if let LinkEffect::Send(link, parts) = &effect {
            let frame = Bytes::from(parts.concat()).slice(4..);
            if let Ok((header, request)) = decode_request(&frame) {
                let (version, correlation_id) = (header.api_version, header.correlation_id);
                if let Request::FindCoordinator(_) = request {
                    let answer = FindCoordinatorResponse {
                        node_id: 1,
                        host: "fake".into(),
                        port: 1,
                        coordinators: vec![millstream_net::wire::api::Coordinator {
                            node_id: 1,
                            host: "fake".into(),
                            port: 1,
                            ..Default::default()
                        }],
                        ..Default::default()
                    };
                    return self.respond(at, *link, version, correlation_id, &answer.into());
                }
                if let Some((mut calls, answer)) = split(version, request, 1) {
                    assert_eq!(calls.len(), 1, "a member asks about one group");
                    self.next += 1;
                    let ticket = Ticket(self.next);
                    let asked = Asked {
                        member: at,
                        link: *link,
                        version,
                        correlation_id,
                        answer,
                    };
                    self.asked.insert(ticket, asked);
                    let caller = Caller {
                        client_id: "test".into(),
                        host: "/127.0.0.1".into(),
                        version,
                    };
                    let image = self.image.clone();
                    let call = calls.remove(0);
                    self.coordinator
                        .call(self.now, &image, ticket, &caller, call);
                    return self.answers();
                }
            }
        }
        for event in self.members[at].fake.execute(effect) {
            self.schedule(at, event);
        }
    }

    fn answers(&mut self) {
        let mut effects = Vec::new();
        self.coordinator.drain(&mut effects);
        for effect in effects {
            if let Effect::Answer { ticket, answer } = effect {
                let mut asked = self.asked.remove(&ticket).expect("it was asked");
                asked.answer.take(0, answer);
                let response = asked.answer.finish();
                let (link, version) = (asked.link, asked.version);
                self.respond(asked.member, link, version, asked.correlation_id, &response);
            }
        }
    }

    fn respond(&mut self, at: usize, link: LinkId, version: i16, id: i32, response: &Response) {
        let frame = encode_response(version, id, response).concat();
        self.schedule(at, LinkEvent::Frame(link, Bytes::from(frame).slice(4..)));
    }

    fn schedule(&mut self, at: usize, event: LinkEvent) {
        let (LinkEvent::Opened(link) | LinkEvent::Frame(link, _) | LinkEvent::Closed(link, _)) =
            &event;
        let delay = 1 + self.random.below(5);
        let due = self.due.entry((at, *link)).or_default();
        *due = (*due).max(self.now.tick.after_ms(delay));
        self.next += 1;
        self.events.insert((*due, self.next), (at, event));
    }

    /// The caller of a member takes what there is and is done with it.
    fn read(&mut self, at: usize) {
        let core = &mut self.members[at].core;
        assert_eq!(core.failure(), None);
        while let Some(fetched) = core.take_fetched() {
            let records = unpack(&fetched, Isolation::ReadUncommitted, 1 << 20).unwrap();
            if let Some(last) = records.last() {
                let place = (fetched.topic, fetched.partition);
                core.gives(place.clone(), last.offset, fetched.end);
                core.done(place, last.offset);
            }
            for record in records {
                *self
                    .read
                    .entry((record.partition, record.offset))
                    .or_default() += 1;
            }
            core.comes_back();
        }
    }

    /// What the group has committed, by partition, as the coordinator would write it down.
    fn committed(&self) -> BTreeMap<i32, i64> {
        let offsets = self
            .coordinator
            .records()
            .filter_map(|record| match record {
                GroupRecord::OffsetCommit(key, Some(value)) => Some((key.partition, value.offset)),
                _ => None,
            });
        offsets.collect()
    }

    fn all_is_read(&self) -> bool {
        self.read.len() == 1_000
    }
}

#[test]
fn members_that_come_and_go_read_everything_once() {
    for seed in 1..=30 {
        let protocol = [
            GroupProtocol::Classic(ClassicAssignor::Range),
            GroupProtocol::Classic(ClassicAssignor::CooperativeSticky),
            GroupProtocol::Consumer,
        ][seed as usize % 3];
        let mut world = World::new(seed);
        world.join(seed, protocol);
        for round in 0.. {
            assert!(round < 20_000, "seed {seed}: it ends");
            world.advance();
            let staying = world.staying();
            match world.random.below(60) {
                0 if world.members.len() < 8 && staying.len() < 4 => world.join(seed, protocol),
                1 if staying.len() > 1 => world.leave(staying[0]),
                _ => {}
            }
            let settled = staying.iter().all(|at| world.members[*at].core.is_at_end());
            if world.all_is_read() && settled {
                break;
            }
        }
        let twice = world.read.values().filter(|times| **times > 1).count();
        assert_eq!(twice, 0, "seed {seed}, {protocol:?}: read more than once");
        // The last ones leave: the group is empty, and has committed everything.
        world.staying().into_iter().for_each(|at| world.leave(at));
        for round in 0..10_000 {
            assert!(round < 9_999, "seed {seed}: they leave");
            world.advance();
            if world.members.iter().all(|one| one.core.is_outside()) {
                break;
            }
        }
        let ends = world.committed();
        let sum: i64 = ends.values().sum();
        assert_eq!(sum, 1_000, "seed {seed}, {protocol:?}: {ends:?}");
    }
}
