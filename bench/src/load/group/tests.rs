use super::assign::range;
use super::{Change, Churn, Effect, Member, Ownership, Terms};
use crate::load::reader::Place;
use bytes::Bytes;
use millstream_net::wire::api::*;
use millstream_net::wire::consumer_protocol::{ConsumerAssignment, ConsumerSubscription};
use millstream_net::wire::{ErrorCode, Request, Response, Str, decode_request, encode_response};
use std::collections::BTreeMap;

const MS: u64 = 1_000_000;

/// A member and the coordinator that the test plays.
struct Table {
    member: Member,
    effects: Vec<Effect>,
    asked: Option<(i16, i32)>,
}

impl Table {
    fn new() -> Table {
        let terms = Terms {
            group: Str::from("readers"),
            topics: vec![Str::from("words")],
            partitions: 4,
            session_ms: 10_000,
            heartbeat_ms: 100,
            commit_ms: 1_000,
        };
        Table {
            member: Member::new(terms),
            effects: Vec::new(),
            asked: None,
        }
    }

    /// What the member asks at this time.
    fn asks(&mut self, now_ms: u64) -> Option<Request> {
        let read = || vec![(0, 1, 77)];
        let frame = self.member.next(now_ms * MS, read, &mut self.effects)?;
        let (header, request) = decode_request(&Bytes::from(frame).slice(4..)).unwrap();
        self.asked = Some((header.api_version, header.correlation_id));
        Some(request)
    }

    fn answer(&mut self, now_ms: u64, response: impl Into<Response>) -> Result<(), String> {
        let (version, correlation) = self.asked.take().unwrap();
        let frame = encode_response(version, correlation, &response.into()).concat();
        let frame = Bytes::from(frame).slice(4..);
        self.member.answer(now_ms * MS, &frame, &mut self.effects)
    }

    fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Joins as a follower and is assigned partitions 1 and 2; nothing was committed of the second.
    fn join(&mut self, now_ms: u64) {
        let Some(Request::JoinGroup(_)) = self.asks(now_ms) else {
            panic!("it does not join");
        };
        let joined = JoinGroupResponse {
            generation_id: 3,
            leader: Str::from("other"),
            member_id: Str::from("me"),
            ..JoinGroupResponse::default()
        };
        self.answer(now_ms, joined).unwrap();
        let Some(Request::SyncGroup(sync)) = self.asks(now_ms) else {
            panic!("it does not sync");
        };
        assert_eq!((sync.generation_id, sync.assignments.len()), (3, 0));
        self.answer(now_ms + 7, synced(&[1, 2])).unwrap();
        let Some(Request::OffsetFetch(_)) = self.asks(now_ms + 7) else {
            panic!("it does not ask where to begin");
        };
        let partitions = [(1, 50), (2, -1)].map(|(partition_index, committed_offset)| {
            OffsetFetchPartitionResult {
                partition_index,
                committed_offset,
                ..OffsetFetchPartitionResult::default()
            }
        });
        let located = OffsetFetchResponse {
            topics: vec![OffsetFetchTopicResult {
                name: Str::from("words"),
                partitions: partitions.to_vec(),
            }],
            ..OffsetFetchResponse::default()
        };
        self.answer(now_ms + 8, located).unwrap();
    }
}

fn synced(partitions: &[i32]) -> SyncGroupResponse {
    let assignment = ConsumerAssignment {
        assigned_partitions: vec![
            millstream_net::wire::consumer_protocol::ConsumerPartitions {
                topic: Str::from("words"),
                partitions: partitions.to_vec(),
            },
        ],
        ..ConsumerAssignment::default()
    };
    SyncGroupResponse {
        assignment: assignment.encode(1),
        ..SyncGroupResponse::default()
    }
}

fn heartbeat(code: ErrorCode) -> HeartbeatResponse {
    HeartbeatResponse {
        error_code: code,
        ..HeartbeatResponse::default()
    }
}

fn committed(code: ErrorCode) -> OffsetCommitResponse {
    OffsetCommitResponse {
        topics: vec![OffsetCommitTopicResult {
            name: Str::from("words"),
            partitions: vec![OffsetCommitPartitionResult {
                partition_index: 1,
                error_code: code,
            }],
            ..OffsetCommitTopicResult::default()
        }],
        ..OffsetCommitResponse::default()
    }
}

#[test]
fn a_member_joins_reads_commits_before_it_lets_go_and_leaves() {
    let mut table = Table::new();
    table.join(0);
    assert_eq!(
        table.effects(),
        [
            Effect::Joined { after_ns: 7 * MS },
            Effect::Assigned(vec![(0, 1, 50), (0, 2, -1)])
        ]
    );
    assert!(table.asks(50).is_none());
    assert!(matches!(table.asks(107), Some(Request::Heartbeat(_))));
    assert!(table.asks(500).is_none(), "one question at a time");
    table
        .answer(108, heartbeat(ErrorCode::RebalanceInProgress))
        .unwrap();
    assert_eq!(table.effects(), [Effect::Revoked]);
    let Some(Request::OffsetCommit(commit)) = table.asks(108) else {
        panic!("it does not commit");
    };
    assert_eq!(commit.generation_id_or_member_epoch, 3);
    assert_eq!(commit.topics[0].partitions[0].committed_offset, 77);
    table.answer(109, committed(ErrorCode::None)).unwrap();
    table.join(109);
    table.effects();
    table.member.leave();
    assert!(matches!(table.asks(120), Some(Request::OffsetCommit(_))));
    table.answer(121, committed(ErrorCode::None)).unwrap();
    assert!(matches!(table.asks(121), Some(Request::LeaveGroup(_))));
    table.answer(122, LeaveGroupResponse::default()).unwrap();
    assert_eq!(table.effects(), [Effect::Revoked, Effect::Left]);
    assert!(table.member.is_out() && table.asks(10_000).is_none());
}

#[test]
fn a_member_that_was_put_out_joins_anew_without_a_commit() {
    let mut table = Table::new();
    table.join(0);
    table.effects();
    table.asks(110).unwrap();
    table
        .answer(110, heartbeat(ErrorCode::UnknownMemberId))
        .unwrap();
    let effects = table.effects();
    assert!(effects.contains(&Effect::Revoked), "{effects:?}");
    let Some(Request::JoinGroup(join)) = table.asks(110) else {
        panic!("it does not join");
    };
    assert_eq!(&*join.member_id, "");
    let named = JoinGroupResponse {
        error_code: ErrorCode::MemberIdRequired,
        member_id: Str::from("new"),
        ..JoinGroupResponse::default()
    };
    table.answer(111, named).unwrap();
    let Some(Request::JoinGroup(join)) = table.asks(111) else {
        panic!("it does not join with its name");
    };
    assert_eq!(&*join.member_id, "new");
}

#[test]
fn another_coordinator_is_looked_for_and_what_cannot_go_on_is_said() {
    let mut table = Table::new();
    table.join(0);
    table.effects();
    table.asks(110).unwrap();
    table
        .answer(110, heartbeat(ErrorCode::NotCoordinator))
        .unwrap();
    assert!(table.effects().contains(&Effect::LookUp));
    assert!(table.asks(150).is_none(), "it waits a little");
    table.asks(215).unwrap();
    let problem = table
        .answer(215, heartbeat(ErrorCode::GroupAuthorizationFailed))
        .unwrap_err();
    assert!(
        problem.contains("readers") && problem.contains("GROUP_AUTHORIZATION_FAILED"),
        "{problem}"
    );
    table.asks(320).unwrap();
    let nonsense = Bytes::from_static(b"\0\0\0\x09hello");
    let problem = table.member.answer(0, &nonsense, &mut Vec::new());
    assert!(problem.unwrap_err().contains("cannot be read"));
}

#[test]
fn a_leader_deals_out_ranges() {
    let member = |name: &str, topics: &[&str]| JoinGroupMember {
        member_id: Str::from(name),
        metadata: ConsumerSubscription {
            topics: topics.iter().map(|topic| Str::from(*topic)).collect(),
            ..ConsumerSubscription::default()
        }
        .encode(1),
        ..JoinGroupMember::default()
    };
    let members = [
        member("b", &["words", "others"]),
        member("a", &["words"]),
        member("c", &["others"]),
    ];
    let known: BTreeMap<Str, u32> = [(Str::from("words"), 0)].into();
    let mut found = BTreeMap::new();
    for given in range(&members, &known, 5).unwrap() {
        let assignment = ConsumerAssignment::decode(&given.assignment).unwrap();
        let parts = assignment.assigned_partitions;
        let partitions = parts.into_iter().flat_map(|part| part.partitions);
        found.insert(given.member_id.to_string(), partitions.collect::<Vec<_>>());
    }
    assert_eq!(found["a"], [0, 1, 2]);
    assert_eq!(found["b"], [3, 4]);
    assert!(found["c"].is_empty());
}

#[test]
fn a_partition_is_unavailable_from_one_owner_to_the_next() {
    let place = |partition, next| Place {
        topic: 0,
        partition,
        start: 10,
        next,
        known_end: 0,
        target: i64::MAX,
    };
    let mut ownership = Ownership::new(&[place(0, 10), place(1, 10)]);
    let mut gaps = Vec::new();
    let first = ownership.assign(5, &[(0, 0, -1), (0, 1, 30)], |gap| gaps.push(gap));
    assert_eq!((first[0].next, first[1].next), (10, 30));
    assert!(gaps.is_empty(), "nobody had them before");
    ownership.release(100, &[place(0, 25)]);
    let again = ownership.assign(170, &[(0, 0, 20)], |gap| gaps.push(gap));
    assert_eq!((again[0].next, gaps), (20, vec![70]));
    ownership.read(&[place(1, 40)]);
    let unread: Vec<_> = ownership.unread(&[vec![25, 41]]).collect();
    assert_eq!(unread, [(0, 1)], "what was read stays read");
}

#[test]
fn members_leave_and_join_in_turn() {
    assert!(Churn::new(0.0, 3).is_none());
    let mut churn = Churn::new(2.0, 2).unwrap();
    let mut seen = Vec::new();
    for now_ms in (0..=2_500).step_by(100) {
        seen.extend(churn.due(now_ms * MS));
    }
    let leave = |member| (member, Change::Leave);
    let join = |member| (member, Change::Join);
    assert_eq!(seen, [leave(0), join(0), leave(1), join(1), leave(0)]);
}
