//! Classic groups: clients that join, sync, leave, die and come back late, over a coordinator that is reloaded.

use super::{Random, World, group};
use crate::machine::group::{Answer, Call, GroupConfig, Ticket};
use bytes::Bytes;
use millstream_net::wire::api::{
    HeartbeatRequest, JoinGroupProtocol, JoinGroupRequest, LeaveGroupRequest, LeavingMember,
    OffsetCommitPartition, OffsetCommitRequest, OffsetCommitTopic, OffsetFetchGroup,
    SyncGroupAssignment, SyncGroupRequest,
};
use millstream_net::wire::{ErrorCode, Str};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
enum Doing {
    /// It joins when it acts next.
    Outside,
    Joining(Ticket),
    Joined,
    Syncing(Ticket),
    Working,
}

#[derive(Debug)]
struct Client {
    id: Str,
    generation: i32,
    /// The members, where it leads.
    members: Vec<Str>,
    doing: Doing,
    /// What it was given in its generation.
    share: Option<u8>,
}

impl Client {
    fn new() -> Client {
        Client {
            id: Str::default(),
            generation: -1,
            members: Vec::new(),
            doing: Doing::Outside,
            share: None,
        }
    }
}

fn join(id: &Str) -> Call {
    Call::Join(JoinGroupRequest {
        group_id: group(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 20_000,
        member_id: id.clone(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupProtocol {
            name: "p".into(),
            metadata: Bytes::from_static(b"not a subscription"),
        }],
        ..JoinGroupRequest::default()
    })
}

/// Every member gets its place among the members.
fn sync(client: &Client) -> Call {
    let members = client.members.iter().enumerate();
    let assigned = members.map(|(at, id)| SyncGroupAssignment {
        member_id: id.clone(),
        assignment: Bytes::copy_from_slice(&[at as u8]),
    });
    Call::Sync(SyncGroupRequest {
        group_id: group(),
        generation_id: client.generation,
        member_id: client.id.clone(),
        assignments: assigned.collect(),
        ..SyncGroupRequest::default()
    })
}

fn commit(client: &Client, offset: i64) -> Call {
    Call::Commit(OffsetCommitRequest {
        group_id: group(),
        generation_id_or_member_epoch: client.generation,
        member_id: client.id.clone(),
        topics: vec![OffsetCommitTopic {
            name: "a".into(),
            partitions: vec![OffsetCommitPartition {
                partition_index: i32::from(client.share.unwrap_or(0)),
                committed_offset: offset,
                ..OffsetCommitPartition::default()
            }],
            ..OffsetCommitTopic::default()
        }],
        ..OffsetCommitRequest::default()
    })
}

/// Takes the answers that have come.
fn listen(world: &mut World, client: &mut Client) {
    match client.doing {
        Doing::Joining(ticket) => match world.answers.remove(&ticket) {
            Some(Answer::Join(answer)) => match answer.error_code {
                ErrorCode::None => {
                    client.id = answer.member_id.clone();
                    client.generation = answer.generation_id;
                    client.members = answer
                        .members
                        .into_iter()
                        .map(|one| one.member_id)
                        .collect();
                    client.share = None;
                    client.doing = Doing::Joined;
                }
                ErrorCode::MemberIdRequired => {
                    client.id = answer.member_id;
                    client.doing = Doing::Outside;
                }
                _ => *client = Client::new(),
            },
            None => {}
            other => panic!("{other:?}"),
        },
        Doing::Syncing(ticket) => match world.answers.remove(&ticket) {
            Some(Answer::Sync(answer)) => match answer.error_code {
                ErrorCode::None => {
                    client.share = answer.assignment.first().copied();
                    client.doing = Doing::Working;
                }
                ErrorCode::RebalanceInProgress => client.doing = Doing::Outside,
                _ => *client = Client::new(),
            },
            None => {}
            other => panic!("{other:?}"),
        },
        _ => {}
    }
}

/// In each generation a share has one owner.
fn nobody_shares(clients: &[Client], seen: &mut BTreeMap<(i32, u8), Str>) {
    for client in clients {
        if let (Doing::Working, Some(share)) = (&client.doing, client.share) {
            let place = (client.generation, share);
            let owner = seen.entry(place).or_insert_with(|| client.id.clone());
            assert_eq!(*owner, client.id, "{place:?}");
        }
    }
}

/// Whether nobody has worked in a later generation.
fn is_of_newest(client: &Client, seen: &BTreeMap<(i32, u8), Str>) -> bool {
    let newest = seen.keys().map(|(generation, _)| *generation).max();
    client.generation >= newest.unwrap_or(0)
}

fn run(seed: u64) {
    let mut random = Random(seed * 2 + 1);
    let mut world = World::new(GroupConfig {
        initial_delay_ms: [0, 3_000][random.below(2)],
        ..GroupConfig::default()
    });
    world.topic(1, "a", 8);
    let mut clients: Vec<Client> = (0..2 + random.below(4)).map(|_| Client::new()).collect();
    let mut seen = BTreeMap::new();
    let mut committed: BTreeMap<i32, i64> = BTreeMap::new();
    for step in 0..500 {
        let at = random.below(clients.len());
        let client = &mut clients[at];
        listen(&mut world, client);
        match random.below(16) {
            0 => world.pass_ms(random.below(12_000) as u64),
            1 => {
                let leave = LeaveGroupRequest {
                    group_id: group(),
                    members: vec![LeavingMember {
                        member_id: client.id.clone(),
                        ..LeavingMember::default()
                    }],
                    ..LeaveGroupRequest::default()
                };
                let ticket = world.call(5, Call::Leave(leave));
                assert!(world.answers.remove(&ticket).is_some());
                *client = Client::new();
            }
            2 if random.below(4) == 0 => world.reload(),
            3 => {
                // It forgets who it was; its former self stays until its session ends.
                *client = Client::new();
            }
            4 if matches!(client.doing, Doing::Working) => {
                let call = commit(client, step);
                let ticket = world.call(8, call);
                let Some(Answer::Commit(answer)) = world.answers.remove(&ticket) else {
                    panic!("a commit is answered at once");
                };
                if answer.topics[0].partitions[0].error_code == ErrorCode::None {
                    assert!(is_of_newest(client, &seen), "it was not fenced");
                    committed.insert(answer.topics[0].partitions[0].partition_index, step);
                }
            }
            5 if client.generation > 0 => {
                // It tries to commit as what it was before.
                let former = Client {
                    id: client.id.clone(),
                    generation: client.generation - 1,
                    ..Client::new()
                };
                let ticket = world.call(8, commit(&former, step));
                let Some(Answer::Commit(answer)) = world.answers.remove(&ticket) else {
                    panic!("a commit is answered at once");
                };
                // A reload may have taken back a generation that nobody had an assignment of.
                if answer.topics[0].partitions[0].error_code == ErrorCode::None {
                    assert!(is_of_newest(&former, &seen), "it was not fenced");
                    committed.insert(answer.topics[0].partitions[0].partition_index, step);
                }
            }
            _ => match client.doing {
                Doing::Outside => client.doing = Doing::Joining(world.call(5, join(&client.id))),
                Doing::Joined => client.doing = Doing::Syncing(world.call(4, sync(client))),
                Doing::Working => {
                    let beat = HeartbeatRequest {
                        group_id: group(),
                        generation_id: client.generation,
                        member_id: client.id.clone(),
                        ..HeartbeatRequest::default()
                    };
                    let ticket = world.call(4, Call::Heartbeat(beat));
                    let Some(Answer::Heartbeat(answer)) = world.answers.remove(&ticket) else {
                        panic!("a heartbeat is answered at once");
                    };
                    match answer.error_code {
                        ErrorCode::None => {}
                        ErrorCode::RebalanceInProgress => client.doing = Doing::Outside,
                        _ => *client = Client::new(),
                    }
                }
                Doing::Joining(_) | Doing::Syncing(_) => {}
            },
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
            match client.doing {
                Doing::Outside => client.doing = Doing::Joining(world.call(5, join(&client.id))),
                Doing::Joined => client.doing = Doing::Syncing(world.call(4, sync(client))),
                Doing::Working => {
                    let beat = HeartbeatRequest {
                        group_id: group(),
                        generation_id: client.generation,
                        member_id: client.id.clone(),
                        ..HeartbeatRequest::default()
                    };
                    let ticket = world.call(4, Call::Heartbeat(beat));
                    if let Some(Answer::Heartbeat(answer)) = world.answers.remove(&ticket) {
                        match answer.error_code {
                            ErrorCode::None => {}
                            ErrorCode::RebalanceInProgress => client.doing = Doing::Outside,
                            _ => *client = Client::new(),
                        }
                    }
                }
                Doing::Joining(_) | Doing::Syncing(_) => {}
            }
        }
        world.pass_ms(500);
    }
    let generations: BTreeSet<i32> = clients.iter().map(|client| client.generation).collect();
    assert_eq!(generations.len(), 1, "{clients:?}");
    let shares: BTreeSet<Option<u8>> = clients.iter().map(|client| client.share).collect();
    assert_eq!(shares.len(), clients.len(), "{clients:?}");
}

#[test]
fn whatever_clients_do_a_generation_has_one_owner_of_each_share_and_all_come_together() {
    for seed in 1..=150 {
        run(seed);
    }
}
