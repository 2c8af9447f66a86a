//! Groups of the size that must work: nothing in them may take time that grows with the square of it.

use super::{World, group};
use crate::machine::group::{Answer, Call, Caller, Coordinator, Effect, GroupConfig, Ticket};
use crate::machine::image::Image;
use bytes::Bytes;
use millstream_net::wire::api::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatRequest,
    HeartbeatTopicPartitions, JoinGroupProtocol, JoinGroupRequest, SyncGroupAssignment,
    SyncGroupRequest,
};
use millstream_net::wire::{ErrorCode, Str};
use millstream_storage::ids::{Now, WallMs};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const MEMBERS: usize = 2_000;
const PARTITIONS: i32 = 10_000;
const GROUPS: usize = 10_000;
/// Many times what it takes, so that only another order of growth is seen.
const MAX: Duration = Duration::from_secs(20);

/// A coordinator without the checks after each step, which look at everything.
struct Bare {
    coordinator: Coordinator,
    image: Arc<Image>,
    now: Now,
    next_ticket: u64,
    records: usize,
    answers: BTreeMap<Ticket, Answer>,
}

impl Bare {
    fn new(config: GroupConfig) -> Bare {
        let mut world = World::new(config);
        world.topic(1, "a", PARTITIONS);
        Bare {
            coordinator: world.coordinator,
            image: world.image,
            now: world.now,
            next_ticket: 0,
            records: 0,
            answers: BTreeMap::new(),
        }
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
                Effect::Append(_) => self.records += 1,
                Effect::Answer { ticket, answer } => {
                    self.answers.insert(ticket, answer);
                }
            }
        }
    }

    fn pass_ms(&mut self, ms: u64) {
        self.now.tick = self.now.tick.after_ms(ms);
        self.now.wall = WallMs(self.now.wall.0 + ms as i64);
        let image = self.image.clone();
        self.coordinator.tick(self.now, &image);
        self.settle();
    }

    fn beat(&mut self, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
        let ticket = self.call(1, Call::ConsumerHeartbeat(request));
        match self.answers.remove(&ticket) {
            Some(Answer::ConsumerHeartbeat(answer)) => {
                assert_eq!(
                    answer.error_code,
                    ErrorCode::None,
                    "{:?}",
                    answer.error_message
                );
                answer
            }
            other => panic!("{other:?}"),
        }
    }
}

#[derive(Default)]
struct Modern {
    id: Str,
    epoch: i32,
    owned: Vec<HeartbeatTopicPartitions>,
    report: bool,
}

impl Modern {
    fn act(&mut self, bare: &mut Bare) {
        let joins = self.epoch == 0;
        let answer = bare.beat(ConsumerGroupHeartbeatRequest {
            group_id: group(),
            member_id: self.id.clone(),
            member_epoch: self.epoch,
            rebalance_timeout_ms: if joins { 60_000 } else { -1 },
            subscribed_topic_names: joins.then(|| vec!["a".into()]),
            topic_partitions: (joins || self.report).then(|| self.owned.clone()),
            ..ConsumerGroupHeartbeatRequest::default()
        });
        self.report = false;
        self.epoch = answer.member_epoch;
        if let Some(assignment) = answer.assignment {
            self.report = self.owned != assignment.topic_partitions;
            self.owned = assignment.topic_partitions;
        }
    }

    fn count(&self) -> usize {
        self.owned.iter().map(|topic| topic.partitions.len()).sum()
    }
}

/// Heartbeats of all until everybody has its part. How many rounds that took.
fn settle(bare: &mut Bare, members: &mut [Modern]) -> usize {
    for round in 1..=20 {
        members.iter_mut().for_each(|member| member.act(bare));
        bare.pass_ms(1_000);
        let described = bare.coordinator.consumer_describe(&group());
        if described.group_state == "Stable" {
            return round;
        }
    }
    panic!("the group does not settle");
}

#[test]
fn a_consumer_group_of_two_thousand_members_settles() {
    let began = Instant::now();
    let mut bare = Bare::new(GroupConfig::default());
    let ids = (0..MEMBERS).map(|number| Str::from(format!("member-{number:05}")));
    let members = ids.map(|id| Modern {
        id,
        ..Modern::default()
    });
    let mut members: Vec<Modern> = members.collect();
    for member in &mut members {
        member.act(&mut bare);
        bare.pass_ms(1);
    }
    settle(&mut bare, &mut members);
    assert!(
        members
            .iter()
            .all(|member| member.count() == PARTITIONS as usize / MEMBERS)
    );
    let (joined, records) = (began.elapsed(), bare.records);
    // One more: it gets its part, the others keep theirs.
    members.push(Modern {
        id: "one-more".into(),
        ..Modern::default()
    });
    let began = Instant::now();
    let rounds = settle(&mut bare, &mut members);
    let last = members.last().map_or(0, Modern::count);
    assert!(last >= 4, "{last}");
    let grown = began.elapsed();
    println!(
        "{MEMBERS} members: joined in {joined:?} with {records} records, one more in {grown:?} and {rounds} rounds"
    );
    assert!(joined < MAX && grown < MAX, "{joined:?} {grown:?}");
    bare.coordinator.check();
}

fn join(id: &Str) -> Call {
    Call::Join(JoinGroupRequest {
        group_id: group(),
        session_timeout_ms: 45_000,
        rebalance_timeout_ms: 60_000,
        member_id: id.clone(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupProtocol {
            name: "range".into(),
            metadata: Bytes::from_static(b"metadata of some length"),
        }],
        ..JoinGroupRequest::default()
    })
}

/// All who joined ask for their assignments, the leader last. The members.
fn synced(bare: &mut Bare, tickets: &[Ticket]) -> Vec<(Str, i32)> {
    let mut members = Vec::new();
    let mut leader = None;
    for ticket in tickets {
        let Some(Answer::Join(answer)) = bare.answers.remove(ticket) else {
            panic!("the round is over");
        };
        assert_eq!(answer.error_code, ErrorCode::None);
        members.push((answer.member_id.clone(), answer.generation_id));
        if answer.leader == answer.member_id {
            leader = Some(answer);
        }
    }
    let leader = leader.expect("one leads");
    assert_eq!(leader.members.len(), members.len());
    let assignments = members.iter().map(|(id, _)| SyncGroupAssignment {
        member_id: id.clone(),
        assignment: Bytes::from(vec![7; 40]),
    });
    let assignments: Vec<SyncGroupAssignment> = assignments.collect();
    for (id, generation) in &members {
        let leads = *id == leader.member_id;
        bare.call(
            4,
            Call::Sync(SyncGroupRequest {
                group_id: group(),
                generation_id: *generation,
                member_id: id.clone(),
                assignments: if leads {
                    assignments.clone()
                } else {
                    Vec::new()
                },
                ..SyncGroupRequest::default()
            }),
        );
    }
    members
}

#[test]
fn a_classic_group_of_two_thousand_members_settles() {
    let began = Instant::now();
    let mut bare = Bare::new(GroupConfig::default());
    let tickets: Vec<Ticket> = (0..MEMBERS)
        .map(|_| bare.call(3, join(&Str::default())))
        .collect();
    // The first round is prolonged once, since somebody came.
    for _ in 0..2 {
        bare.pass_ms(3_000);
    }
    let members = synced(&mut bare, &tickets);
    let joined = began.elapsed();
    let began = Instant::now();
    let mut tickets = vec![bare.call(3, join(&Str::default()))];
    for (id, _) in &members {
        tickets.push(bare.call(3, join(id)));
    }
    let members = synced(&mut bare, &tickets);
    let grown = began.elapsed();
    assert_eq!(members.len(), MEMBERS + 1);
    println!("{MEMBERS} members: joined in {joined:?}, one more in {grown:?}");
    assert!(joined < MAX && grown < MAX, "{joined:?} {grown:?}");
    bare.coordinator.check();
}

#[test]
fn ten_thousand_groups_of_one_member_give_signs_of_life() {
    let mut bare = Bare::new(GroupConfig {
        initial_delay_ms: 0,
        ..GroupConfig::default()
    });
    let mut members = Vec::new();
    for number in 0..GROUPS {
        let Call::Join(base) = join(&Str::default()) else {
            unreachable!("it is a join");
        };
        let id = Str::from(format!("group-{number}"));
        let request = JoinGroupRequest {
            group_id: id.clone(),
            ..base
        };
        let ticket = bare.call(3, Call::Join(request));
        let Some(Answer::Join(answer)) = bare.answers.remove(&ticket) else {
            panic!("it is alone");
        };
        members.push((id, answer.member_id));
    }
    let (rounds, began) = (5, Instant::now());
    for _ in 0..rounds {
        for (id, member) in &members {
            bare.call(
                4,
                Call::Heartbeat(HeartbeatRequest {
                    group_id: id.clone(),
                    generation_id: 1,
                    member_id: member.clone(),
                    ..HeartbeatRequest::default()
                }),
            );
        }
        bare.answers.clear();
        bare.pass_ms(3_000);
    }
    let each = began.elapsed() / (rounds * GROUPS) as u32;
    println!("{GROUPS} groups: a heartbeat takes {each:?}");
    assert!(each < Duration::from_micros(100), "{each:?}");
}
