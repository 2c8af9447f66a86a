//! A coordinator that is not done with its log: rule G1.

use super::*;

type Post = Box<dyn Fn(&mut Broker, Conn)>;

/// A request that is sent again and again while the node begins.
struct Asking {
    conn: Conn,
    post: Post,
    code: Box<dyn Fn(&Bytes) -> ErrorCode>,
    /// What it is answered once the log is replayed.
    at_last: ErrorCode,
    waits: bool,
    told: Vec<ErrorCode>,
}

impl Asking {
    fn new<C: Call + Clone + 'static>(
        broker: &mut Broker,
        version: i16,
        request: C,
        code: fn(&C::Response) -> ErrorCode,
        at_last: ErrorCode,
    ) -> Asking {
        Asking {
            conn: broker.connect(0),
            post: Box::new(move |broker, conn| {
                broker.post(conn, version, &request);
            }),
            code: Box::new(move |frame| {
                code(&millstream_tests::wire::answer::<C>(version, frame).1)
            }),
            at_last,
            waits: false,
            told: Vec::new(),
        }
    }

    fn ask(&mut self, broker: &mut Broker) {
        if !std::mem::replace(&mut self.waits, true) {
            (self.post)(broker, self.conn);
        }
    }

    fn listen(&mut self, broker: &mut Broker) {
        if let Some(frame) = broker.arrived(self.conn) {
            self.told.push((self.code)(&frame));
            self.waits = false;
        }
    }

    fn is_served(&self) -> bool {
        self.told.last() == Some(&self.at_last)
    }
}

/// Every request that a coordinator answers.
fn everything(broker: &mut Broker, joined: &JoinGroupResponse) -> Vec<Asking> {
    let nobody: Str = "nobody".into();
    let unknown = ErrorCode::UnknownMemberId;
    let beat = HeartbeatRequest {
        group_id: GROUP.into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        ..HeartbeatRequest::default()
    };
    let leave = LeaveGroupRequest {
        group_id: GROUP.into(),
        member_id: nobody.clone(),
        ..LeaveGroupRequest::default()
    };
    let fetch = OffsetFetchRequest {
        groups: vec![OffsetFetchGroup {
            group_id: GROUP.into(),
            ..OffsetFetchGroup::default()
        }],
        ..OffsetFetchRequest::default()
    };
    let old_fetch = OffsetFetchRequest {
        group_id: GROUP.into(),
        topics: None,
        ..OffsetFetchRequest::default()
    };
    let forget = OffsetDeleteRequest {
        group_id: GROUP.into(),
        ..OffsetDeleteRequest::default()
    };
    let describe = DescribeGroupsRequest {
        groups: vec![GROUP.into()],
        ..DescribeGroupsRequest::default()
    };
    let delete = DeleteGroupsRequest {
        groups_names: vec![GROUP.into()],
    };
    let consumer = ConsumerGroupHeartbeatRequest {
        group_id: GROUP.into(),
        member_id: nobody.clone(),
        member_epoch: 1,
        ..ConsumerGroupHeartbeatRequest::default()
    };
    let consumers = ConsumerGroupDescribeRequest {
        group_ids: vec![GROUP.into()],
        ..ConsumerGroupDescribeRequest::default()
    };
    let unsynced = SyncGroupRequest {
        member_id: nobody.clone(),
        ..sync(joined, &[])
    };
    let none = ErrorCode::None;
    let absent = ErrorCode::GroupIdNotFound;
    vec![
        Asking::new(broker, 5, join(&nobody), |one| one.error_code, unknown),
        Asking::new(broker, 5, unsynced, |one| one.error_code, unknown),
        Asking::new(broker, 4, beat, |one| one.error_code, none),
        Asking::new(broker, 2, leave, |one| one.error_code, unknown),
        Asking::new(
            broker,
            8,
            commit(Some(joined), 1_000),
            |one| one.topics[0].partitions[0].error_code,
            none,
        ),
        Asking::new(broker, 8, fetch, |one| one.groups[0].error_code, none),
        Asking::new(broker, 5, old_fetch, |one| one.error_code, none),
        Asking::new(broker, 0, forget, |one| one.error_code, none),
        Asking::new(broker, 6, describe, |one| one.groups[0].error_code, none),
        Asking::new(
            broker,
            5,
            ListGroupsRequest::default(),
            |one| one.error_code,
            none,
        ),
        Asking::new(
            broker,
            2,
            delete,
            |one| one.results[0].error_code,
            ErrorCode::NonEmptyGroup,
        ),
        Asking::new(broker, 1, consumer, |one| one.error_code, absent),
        Asking::new(broker, 1, consumers, |one| one.groups[0].error_code, absent),
    ]
}

#[test]
fn g1_where_there_is_no_coordinator_every_request_says_so() {
    let mut broker = Broker::new(config(0));
    broker.create("t", 1, &[]);
    let nobody = JoinGroupResponse::default();
    for (at, mut one) in everything(&mut broker, &nobody).into_iter().enumerate() {
        one.ask(&mut broker);
        broker.node.settle();
        one.listen(&mut broker);
        // What is listed is what this broker has.
        let is_list = at == 9;
        let code = match is_list {
            true => ErrorCode::None,
            false => ErrorCode::NotCoordinator,
        };
        assert_eq!(one.told, [code], "request {at}");
    }
}

#[test]
fn g1_who_asks_while_the_log_is_replayed_is_told_to_wait_and_then_served() {
    let mut broker = broker();
    let joined = alone(&mut broker);
    // More than one turn replays.
    let mut long = commit(Some(&joined), 0);
    long.topics[0].partitions[0].committed_metadata = Some("x".repeat(4_096).into());
    for offset in 0..1_000 {
        long.topics[0].partitions[0].committed_offset = offset;
        assert_eq!(committed(&mut broker, 8, &long), ErrorCode::None);
    }
    let mut broker = broker.begin_again();
    let mut asking = everything(&mut broker, &joined);
    let find = FindCoordinatorRequest {
        key: GROUP.into(),
        ..FindCoordinatorRequest::default()
    };
    let mut finding = Asking::new(&mut broker, 3, find, |one| one.error_code, ErrorCode::None);
    let mut found_meanwhile = false;
    for _ in 0..1_000 {
        asking.iter_mut().for_each(|one| one.ask(&mut broker));
        finding.ask(&mut broker);
        broker.go_on();
        asking.iter_mut().for_each(|one| one.listen(&mut broker));
        finding.listen(&mut broker);
        found_meanwhile |= finding.is_served() && !asking.iter().any(Asking::is_served);
        if asking.iter().all(Asking::is_served) {
            break;
        }
    }
    assert!(
        found_meanwhile,
        "where it is does not hang on what it knows"
    );
    for (at, mut one) in asking.into_iter().enumerate() {
        one.told.dedup();
        assert_eq!(
            one.told,
            [ErrorCode::CoordinatorLoadInProgress, one.at_last],
            "request {at}"
        );
    }
    assert_eq!(fetched(&mut broker), (1_000, "note".into()));
}
