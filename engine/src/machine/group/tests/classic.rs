//! Classic groups: clients that join, sync, leave, die and come back late, over a coordinator that is reloaded.

use super::{Random, World, group};
use crate::machine::group::{Answer, Call, GroupConfig, Ticket};
use bytes::Bytes;
use millstream_net::wire::api::{
    HeartbeatRequest, JoinGroupMember, JoinGroupProtocol, JoinGroupRequest, LeaveGroupRequest,
    LeavingMember, OffsetCommitPartition, OffsetCommitRequest, OffsetCommitTopic, OffsetFetchGroup,
    SyncGroupAssignment, SyncGroupRequest,
};
use millstream_net::wire::{ErrorCode, Str};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
pub(super) enum Doing {
    /// It joins when it acts next.
    Outside,
    Joining(Ticket),
    Joined,
    Syncing(Ticket),
    Working,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: Str,
    pub(super) instance: Option<Str>,
    pub(super) generation: i32,
    /// The members, where it leads.
    pub(super) members: Vec<JoinGroupMember>,
    pub(super) doing: Doing,
    /// What it was given in its generation.
    pub(super) share: Option<Bytes>,
}

impl Client {
    pub(super) fn new(number: usize) -> Client {
        Client {
            id: Str::default(),
            instance: (number % 4 == 3).then(|| format!("static-{number}").into()),
            generation: -1,
            members: Vec::new(),
            doing: Doing::Outside,
            share: None,
        }
    }

    /// It forgets who it was; its former self stays until its session ends, or, where it has a static name, until it joins.
    pub(super) fn start_over(&mut self) {
        self.id = Str::default();
        self.lose_generation();
    }

    /// It knows that it is out of its generation, but not out of the group.
    fn lose_generation(&mut self) {
        self.generation = -1;
        self.members.clear();
        self.doing = Doing::Outside;
        self.share = None;
    }

    /// The name that stays with it.
    fn name(&self) -> &Str {
        self.instance.as_ref().unwrap_or(&self.id)
    }

    /// What it does about a refusal.
    fn heed(&mut self, code: ErrorCode) {
        match code {
            ErrorCode::None => {}
            ErrorCode::RebalanceInProgress | ErrorCode::NotCoordinator => {
                self.doing = Doing::Outside;
            }
            ErrorCode::IllegalGeneration => self.lose_generation(),
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => self.start_over(),
            other => panic!("{other:?}"),
        }
    }
}

fn join(client: &Client, metadata: Bytes) -> Call {
    Call::Join(JoinGroupRequest {
        group_id: group(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 20_000,
        member_id: client.id.clone(),
        group_instance_id: client.instance.clone(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupProtocol {
            name: "p".into(),
            metadata,
        }],
        ..JoinGroupRequest::default()
    })
}

fn sync(client: &Client, assignments: Vec<SyncGroupAssignment>) -> Call {
    Call::Sync(SyncGroupRequest {
        group_id: group(),
        generation_id: client.generation,
        member_id: client.id.clone(),
        group_instance_id: client.instance.clone(),
        assignments,
        ..SyncGroupRequest::default()
    })
}

fn beat(world: &mut World, client: &mut Client) {
    let beat = HeartbeatRequest {
        group_id: group(),
        generation_id: client.generation,
        member_id: client.id.clone(),
        group_instance_id: client.instance.clone(),
    };
    let ticket = world.call(4, Call::Heartbeat(beat));
    let Some(Answer::Heartbeat(answer)) = world.answers.remove(&ticket) else {
        panic!("a heartbeat is answered at once");
    };
    client.heed(answer.error_code);
}

pub(super) fn leave(world: &mut World, client: &mut Client) {
    let leave = LeaveGroupRequest {
        group_id: group(),
        members: vec![LeavingMember {
            member_id: client.id.clone(),
            group_instance_id: client.instance.clone(),
            ..LeavingMember::default()
        }],
        ..LeaveGroupRequest::default()
    };
    let ticket = world.call(5, Call::Leave(leave));
    assert!(world.answers.remove(&ticket).is_some());
    client.start_over();
}

/// Commits, as of a generation.
pub(super) fn commit(
    world: &mut World,
    client: &Client,
    generation: i32,
    (topic, partition): (&str, i32),
    offset: i64,
) -> ErrorCode {
    let request = OffsetCommitRequest {
        group_id: group(),
        generation_id_or_member_epoch: generation,
        member_id: client.id.clone(),
        group_instance_id: client.instance.clone(),
        topics: vec![OffsetCommitTopic {
            name: topic.into(),
            partitions: vec![OffsetCommitPartition {
                partition_index: partition,
                committed_offset: offset,
                ..OffsetCommitPartition::default()
            }],
            ..OffsetCommitTopic::default()
        }],
        ..OffsetCommitRequest::default()
    };
    let ticket = world.call(8, Call::Commit(request));
    let Some(Answer::Commit(answer)) = world.answers.remove(&ticket) else {
        panic!("a commit is answered at once");
    };
    answer.topics[0].partitions[0].error_code
}

/// Takes the answers that have come.
pub(super) fn listen(world: &mut World, client: &mut Client) {
    match client.doing {
        Doing::Joining(ticket) => match world.answers.remove(&ticket) {
            Some(Answer::Join(answer)) => match answer.error_code {
                ErrorCode::None => {
                    client.id = answer.member_id;
                    client.generation = answer.generation_id;
                    client.members = answer.members;
                    client.share = None;
                    client.doing = Doing::Joined;
                }
                ErrorCode::MemberIdRequired => {
                    client.id = answer.member_id;
                    client.doing = Doing::Outside;
                }
                refusal => client.heed(refusal),
            },
            None => {}
            other => panic!("{other:?}"),
        },
        Doing::Syncing(ticket) => match world.answers.remove(&ticket) {
            Some(Answer::Sync(answer)) => match answer.error_code {
                ErrorCode::None => {
                    client.share = Some(answer.assignment);
                    client.doing = Doing::Working;
                }
                refusal => client.heed(refusal),
            },
            None => {}
            other => panic!("{other:?}"),
        },
        _ => {}
    }
}

/// It does what is next: joins with this metadata, assigns what `assign` says where it leads, or is alive.
pub(super) fn act(
    world: &mut World,
    client: &mut Client,
    metadata: Bytes,
    assign: impl FnOnce(&Client) -> Vec<SyncGroupAssignment>,
) {
    match client.doing {
        Doing::Outside => {
            client.doing = Doing::Joining(world.call(5, join(client, metadata)));
        }
        Doing::Joined => {
            client.doing = Doing::Syncing(world.call(4, sync(client, assign(client))));
        }
        Doing::Working => beat(world, client),
        Doing::Joining(_) | Doing::Syncing(_) => {}
    }
}

/// Every member gets its place among the members.
fn places(client: &Client) -> Vec<SyncGroupAssignment> {
    let members = client.members.iter().enumerate();
    let assigned = members.map(|(at, member)| SyncGroupAssignment {
        member_id: member.member_id.clone(),
        assignment: Bytes::copy_from_slice(&[at as u8]),
    });
    assigned.collect()
}

/// Bytes that say nothing to the coordinator.
fn opaque() -> Bytes {
    Bytes::from_static(b"not a subscription")
}

/// The partition that a client commits to.
fn share(client: &Client) -> i32 {
    let share = client.share.as_ref().and_then(|share| share.first());
    share.copied().map_or(0, i32::from)
}

/// In each generation a share has one owner.
fn nobody_shares(clients: &[Client], seen: &mut BTreeMap<(i32, Bytes), Str>) {
    for client in clients {
        if let (Doing::Working, Some(share)) = (&client.doing, &client.share) {
            let place = (client.generation, share.clone());
            let owner = seen
                .entry(place.clone())
                .or_insert_with(|| client.name().clone());
            assert_eq!(owner, client.name(), "{place:?}");
        }
    }
}

/// Whether nobody has worked in a later generation.
fn is_of_newest(generation: i32, seen: &BTreeMap<(i32, Bytes), Str>) -> bool {
    let newest = seen.keys().map(|(generation, _)| *generation).max();
    generation >= newest.unwrap_or(0)
}

fn run(seed: u64) {
    let mut random = Random(seed * 2 + 1);
    let mut world = World::new(GroupConfig {
        initial_delay_ms: [0, 3_000][random.below(2)],
        ..GroupConfig::default()
    });
    world.topic(1, "a", 8);
    let mut clients: Vec<Client> = (0..2 + random.below(4)).map(Client::new).collect();
    let mut seen = BTreeMap::new();
    let mut committed: BTreeMap<i32, i64> = BTreeMap::new();
    for step in 0..500 {
        let at = random.below(clients.len());
        let client = &mut clients[at];
        listen(&mut world, client);
        match random.below(16) {
            0 => world.pass_ms(random.below(12_000) as u64),
            1 => leave(&mut world, client),
            2 if random.below(4) == 0 => world.reload(),
            3 => client.start_over(),
            4 if matches!(client.doing, Doing::Working) => {
                let (generation, partition) = (client.generation, share(client));
                let code = commit(&mut world, client, generation, ("a", partition), step);
                if code == ErrorCode::None {
                    assert!(is_of_newest(generation, &seen), "it was not fenced");
                    committed.insert(partition, step);
                }
            }
            5 if client.generation > 0 => {
                // It tries to commit as what it was before.
                let former = client.generation - 1;
                let code = commit(&mut world, client, former, ("a", 0), step);
                // A reload may have taken back a generation that nobody had an assignment of.
                if code == ErrorCode::None {
                    assert!(is_of_newest(former, &seen), "it was not fenced");
                    committed.insert(0, step);
                }
            }
            _ => act(&mut world, client, opaque(), places),
        }
        for client in &mut clients {
            listen(&mut world, client);
        }
        nobody_shares(&clients, &mut seen);
        assert_eq!(offsets(&mut world), committed, "acknowledged commits stay");
    }
    converges(&mut world, &mut clients);
}

fn offsets(world: &mut World) -> BTreeMap<i32, i64> {
    let asked = OffsetFetchGroup {
        group_id: group(),
        ..OffsetFetchGroup::default()
    };
    let ticket = world.call(8, Call::Fetch(asked));
    let Some(Answer::Fetch(answer)) = world.answers.remove(&ticket) else {
        panic!("offsets are told at once");
    };
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    partitions
        .map(|one| (one.partition_index, one.committed_offset))
        .collect()
}

/// Left alone, all work in one generation, each with its own share.
fn converges(world: &mut World, clients: &mut [Client]) {
    for _ in 0..400 {
        for client in clients.iter_mut() {
            listen(world, client);
            act(world, client, opaque(), places);
        }
        world.pass_ms(500);
    }
    let generations: BTreeSet<i32> = clients.iter().map(|client| client.generation).collect();
    assert_eq!(generations.len(), 1, "{clients:?}");
    let shares: BTreeSet<&Option<Bytes>> = clients.iter().map(|client| &client.share).collect();
    assert_eq!(shares.len(), clients.len(), "{clients:?}");
}

#[test]
fn whatever_clients_do_a_generation_has_one_owner_of_each_share_and_all_come_together() {
    for seed in 1..=150 {
        run(seed);
    }
}
