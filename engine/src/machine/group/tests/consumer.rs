//! Consumer groups: clients that join, leave, die, lose answers and come back late, over a coordinator that is reloaded.

use super::{Random, World, group};
use crate::machine::group::consumer::partitions::{Partitions, Place, id_of};
use crate::machine::group::{Answer, Call, GroupConfig};
use millstream_net::wire::api::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatTopicPartitions,
    OffsetCommitPartition, OffsetCommitRequest, OffsetCommitTopic, OffsetFetchGroup,
};
use millstream_net::wire::{ErrorCode, Str, Uuid};
use std::collections::{BTreeMap, BTreeSet};

/// A client as KIP-848 describes it.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: Str,
    pub(super) instance: Option<Str>,
    pub(super) epoch: i32,
    pub(super) owned: BTreeSet<Place>,
    /// What it was told and has not done yet.
    pub(super) told: Option<BTreeSet<Place>>,
    /// Whether it shows signs of life.
    pub(super) alive: bool,
    /// Whether the coordinator may take it for dead: then it may own what others were given.
    pub(super) suspect: bool,
    pub(super) largest_epoch: i32,
}

impl Client {
    pub(super) fn new(number: usize) -> Client {
        Client {
            id: format!("member-{number}").into(),
            instance: (number % 4 == 3).then(|| format!("static-{number}").into()),
            epoch: 0,
            owned: BTreeSet::new(),
            told: None,
            alive: true,
            suspect: false,
            largest_epoch: 0,
        }
    }

    pub(super) fn request(&self, topics: &[&str]) -> ConsumerGroupHeartbeatRequest {
        let joins = self.epoch == 0;
        let owned: Partitions = self.owned.iter().copied().collect();
        let topics = topics.iter().map(|name| Str::from(*name)).collect();
        ConsumerGroupHeartbeatRequest {
            group_id: group(),
            member_id: self.id.clone(),
            member_epoch: self.epoch,
            instance_id: self.instance.clone(),
            rebalance_timeout_ms: if joins { 30_000 } else { -1 },
            subscribed_topic_names: joins.then_some(topics),
            topic_partitions: Some(told(&owned)),
            ..ConsumerGroupHeartbeatRequest::default()
        }
    }

    /// Lets go of what it shall not have, then takes what it shall.
    pub(super) fn obey(&mut self) {
        if let Some(told) = self.told.take() {
            self.owned = told;
        }
    }

    pub(super) fn start_over(&mut self) {
        self.epoch = 0;
        self.owned.clear();
        self.told = None;
        self.suspect = false;
        self.largest_epoch = 0;
    }
}

fn told(partitions: &Partitions) -> Vec<HeartbeatTopicPartitions> {
    let topics = partitions.topics();
    topics
        .map(|(topic, partitions)| HeartbeatTopicPartitions {
            topic_id: Uuid(topic.0.to_be_bytes()),
            partitions,
        })
        .collect()
}

pub(super) fn heartbeat(
    world: &mut World,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    let ticket = world.call(1, Call::ConsumerHeartbeat(request));
    match world.answers.remove(&ticket) {
        Some(Answer::ConsumerHeartbeat(answer)) => answer,
        other => panic!("{other:?}"),
    }
}

pub(super) fn take(client: &mut Client, answer: &ConsumerGroupHeartbeatResponse) {
    match answer.error_code {
        ErrorCode::None => {
            assert!(
                answer.member_epoch >= client.largest_epoch,
                "epochs only rise"
            );
            client.largest_epoch = answer.member_epoch;
            client.epoch = answer.member_epoch;
            client.suspect = false;
            if let Some(assignment) = &answer.assignment {
                let places = assignment.topic_partitions.iter().flat_map(|topic| {
                    let id = id_of(topic.topic_id);
                    topic.partitions.iter().map(move |one| (id, *one))
                });
                client.told = Some(places.collect());
            }
        }
        ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch | ErrorCode::FencedInstanceId => {
            client.start_over()
        }
        // Its former self has not been given up yet.
        ErrorCode::UnreleasedInstanceId => {}
        ErrorCode::GroupIdNotFound => client.start_over(),
        other => panic!("{other:?}: {:?}", answer.error_message),
    }
}

/// No partition is owned by two clients that the coordinator knows.
fn nobody_shares(clients: &[Client]) {
    let mut owners: BTreeMap<Place, &Str> = BTreeMap::new();
    for client in clients.iter().filter(|client| !client.suspect) {
        for place in &client.owned {
            if let Some(other) = owners.insert(*place, &client.id) {
                panic!("{place:?} is owned by {other} and {}", client.id);
            }
        }
    }
}

/// The configuration of coordinators that assign as soon as something has changed.
fn at_once() -> GroupConfig {
    GroupConfig {
        consumer_assignment_ms: 0,
        ..GroupConfig::default()
    }
}

/// The epoch in which the coordinator knows a member.
fn known_epoch(world: &World, id: &Str) -> Option<i32> {
    let described = world.coordinator.consumer_describe(&group());
    let mut members = described.members.iter();
    members
        .find(|one| one.member_id == *id)
        .map(|one| one.member_epoch)
}

pub(super) fn offsets(world: &mut World) -> BTreeMap<Place, i64> {
    let asked = OffsetFetchGroup {
        group_id: group(),
        ..OffsetFetchGroup::default()
    };
    let ticket = world.call(10, Call::Fetch(asked));
    let Some(Answer::Fetch(answer)) = world.answers.remove(&ticket) else {
        panic!("offsets are told at once");
    };
    let topics = answer.topics.iter().flat_map(|topic| {
        let id = id_of(topic.topic_id);
        let partitions = topic.partitions.iter();
        partitions.map(move |one| ((id, one.partition_index), one.committed_offset))
    });
    topics.collect()
}

pub(super) fn commit(
    world: &mut World,
    client: &Client,
    epoch: i32,
    offset: i64,
) -> Option<(ErrorCode, Place)> {
    let place = *client.owned.first()?;
    let request = OffsetCommitRequest {
        group_id: group(),
        generation_id_or_member_epoch: epoch,
        member_id: client.id.clone(),
        topics: vec![OffsetCommitTopic {
            topic_id: Uuid(place.0.0.to_be_bytes()),
            partitions: vec![OffsetCommitPartition {
                partition_index: place.1,
                committed_offset: offset,
                ..OffsetCommitPartition::default()
            }],
            ..OffsetCommitTopic::default()
        }],
        ..OffsetCommitRequest::default()
    };
    let ticket = world.call(10, Call::Commit(request));
    match world.answers.remove(&ticket) {
        Some(Answer::Commit(answer)) => Some((answer.topics[0].partitions[0].error_code, place)),
        other => panic!("{other:?}"),
    }
}

fn run(seed: u64) {
    let mut random = Random(seed * 2 + 1);
    let mut world = World::new(GroupConfig {
        consumer_assignment_ms: [0, 1_000][random.below(2)],
        ..GroupConfig::default()
    });
    let mut partitions = 4 + random.below(12) as i32;
    world.topic(1, "a", partitions);
    world.topic(2, "b", 3);
    let mut clients: Vec<Client> = (0..2 + random.below(5)).map(Client::new).collect();
    let mut committed: BTreeMap<Place, i64> = BTreeMap::new();
    for step in 0..400 {
        let at = random.below(clients.len());
        match random.below(20) {
            0 => {
                // It pauses, and may be taken for dead.
                clients[at].alive = !clients[at].alive;
            }
            1 => world.pass_ms(random.below(20_000) as u64),
            2 => world.reload(),
            3 if partitions < 30 => {
                partitions += 1;
                world.topic(1, "a", partitions);
            }
            4 if clients[at].alive && clients[at].epoch > 0 => {
                let mut request = clients[at].request(&[]);
                request.member_epoch = match clients[at].instance {
                    Some(_) => -2,
                    None => -1,
                };
                let answer = heartbeat(&mut world, request);
                assert_ne!(answer.error_code, ErrorCode::InvalidRequest);
                clients[at].start_over();
            }
            5 if clients[at].alive => {
                let epoch = clients[at].epoch;
                let id = clients[at].id.clone();
                if let Some((code, place)) = commit(&mut world, &clients[at], epoch, step)
                    && code == ErrorCode::None
                {
                    assert_eq!(known_epoch(&world, &id), Some(epoch), "it was not fenced");
                    committed.insert(place, step);
                }
            }
            7 if clients[at].largest_epoch > 0 => {
                // It is not what it was, and tries to commit as what it was.
                let former = clients[at].largest_epoch - 1 - random.below(2) as i32;
                let id = clients[at].id.clone();
                if let Some((code, place)) = commit(&mut world, &clients[at], former, step)
                    && code == ErrorCode::None
                {
                    assert_eq!(known_epoch(&world, &id), Some(former), "it was not fenced");
                    committed.insert(place, step);
                }
            }
            6 if clients[at].alive => {
                // The answer is lost.
                let request = clients[at].request(&["a", "b"]);
                if request.member_epoch > 0 {
                    heartbeat(&mut world, request);
                    // The protocol cannot tell who has not taken a partition yet from who has let go of it: a client that misses
                    // an answer must not follow an older one any more.
                    clients[at].told = None;
                }
            }
            _ if clients[at].alive => {
                let topics: &[&str] = match random.below(3) {
                    0 => &["a"],
                    _ => &["a", "b"],
                };
                let request = clients[at].request(topics);
                let answer = heartbeat(&mut world, request);
                take(&mut clients[at], &answer);
                if random.below(3) > 0 {
                    clients[at].obey();
                }
            }
            _ => {}
        }
        // Who gave no sign of life for long may have been given up; it finds out with its next heartbeat.
        for client in clients.iter_mut().filter(|client| !client.alive) {
            client.suspect = true;
        }
        if world.now.tick.0.is_multiple_of(7) {
            world.pass_ms(500);
        }
        nobody_shares(&alive_and_known(&world, &mut clients));
        assert_eq!(offsets(&mut world), committed, "acknowledged commits stay");
    }
    converges(&mut world, &mut clients, partitions);
}

/// Marks the clients that the coordinator does not have (any more) in their epoch.
fn alive_and_known(world: &World, clients: &mut [Client]) -> Vec<Client> {
    let described = world.coordinator.consumer_describe(&group());
    let known: BTreeSet<&Str> = described.members.iter().map(|one| &one.member_id).collect();
    for client in clients.iter_mut() {
        if !known.contains(&client.id) {
            client.suspect = true;
        }
    }
    let copies = clients.iter().map(|client| Client {
        id: client.id.clone(),
        instance: None,
        epoch: client.epoch,
        owned: client.owned.clone(),
        told: None,
        alive: client.alive,
        suspect: client.suspect,
        largest_epoch: 0,
    });
    copies.collect()
}

/// Left alone, everybody gets his part and the group is stable.
fn converges(world: &mut World, clients: &mut [Client], partitions: i32) {
    for round in 0..30 {
        for client in clients.iter_mut() {
            client.alive = true;
            let request = client.request(&["a", "b"]);
            let answer = heartbeat(world, request);
            take(client, &answer);
            client.obey();
        }
        world.pass_ms(if round < 20 { 3_000 } else { 100 });
    }
    nobody_shares(clients);
    let described = world.coordinator.consumer_describe(&group());
    assert_eq!(described.group_state, "Stable", "{described:?}");
    let owned: usize = clients.iter().map(|client| client.owned.len()).sum();
    let wants_b = described.members.iter().any(|member| {
        member
            .subscribed_topic_names
            .iter()
            .any(|name| *name == "b")
    });
    let wanted = partitions as usize + if wants_b { 3 } else { 0 };
    assert_eq!(owned, wanted, "every partition has its owner");
}

#[test]
fn whatever_clients_do_no_partition_has_two_owners_and_all_find_one() {
    for seed in 1..=150 {
        run(seed);
    }
}

#[test]
fn a_partition_moves_only_after_its_owner_let_go() {
    // Rule K4.
    let mut world = World::new(at_once());
    world.topic(1, "a", 4);
    let mut first = Client::new(0);
    let mut second = Client::new(1);
    let answer = heartbeat(&mut world, first.request(&["a"]));
    take(&mut first, &answer);
    first.obey();
    assert_eq!(first.owned.len(), 4);
    let answer = heartbeat(&mut world, second.request(&["a"]));
    take(&mut second, &answer);
    second.obey();
    assert_eq!(second.owned.len(), 0, "the first has everything still");
    let answer = heartbeat(&mut world, first.request(&["a"]));
    take(&mut first, &answer);
    let answer = heartbeat(&mut world, second.request(&["a"]));
    take(&mut second, &answer);
    assert_eq!(
        second.owned.len(),
        0,
        "it was told to let go, and has not yet"
    );
    first.obey();
    let answer = heartbeat(&mut world, first.request(&["a"]));
    take(&mut first, &answer);
    let answer = heartbeat(&mut world, second.request(&["a"]));
    take(&mut second, &answer);
    second.obey();
    assert_eq!((first.owned.len(), second.owned.len()), (2, 2));
}

#[test]
fn who_does_not_let_go_in_time_is_put_out() {
    // Rule K4.
    let mut world = World::new(at_once());
    world.topic(1, "a", 2);
    let mut first = Client::new(0);
    let mut second = Client::new(1);
    let answer = heartbeat(&mut world, first.request(&["a"]));
    take(&mut first, &answer);
    first.obey();
    heartbeat(&mut world, second.request(&["a"]));
    for _ in 0..3 {
        // It is alive, and keeps what it has, for as long as a rebalance may take.
        let answer = heartbeat(&mut world, first.request(&["a"]));
        assert_eq!(answer.error_code, ErrorCode::None);
        world.pass_ms(10_000);
    }
    let answer = heartbeat(&mut world, first.request(&["a"]));
    assert_eq!(answer.error_code, ErrorCode::UnknownMemberId);
    let answer = heartbeat(&mut world, second.request(&["a"]));
    take(&mut second, &answer);
    let answer = heartbeat(&mut world, second.request(&["a"]));
    take(&mut second, &answer);
    second.obey();
    assert_eq!(second.owned.len(), 2);
}
