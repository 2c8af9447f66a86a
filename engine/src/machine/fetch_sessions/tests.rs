//! Sessions by example, and against a reader that keeps nothing.

use super::*;
use millstream_storage::ids::{LeaderEpoch, Offset, PartitionIndex, TopicId, WallMs};

const LIMITS: Limits = Limits {
    sessions_max: 3,
    partitions_max: 10,
};

fn at_ms(ms: u64) -> Now {
    Now {
        tick: Tick(ms * 1_000_000),
        wall: WallMs(0),
    }
}

fn key(partition: i32) -> PartitionKey {
    PartitionKey {
        topic: TopicKey::Id(TopicId(1)),
        partition: PartitionIndex(partition),
    }
}

fn wants(offset: i64) -> Wants {
    Wants {
        offset: Offset(offset),
        max_bytes: 100,
        leader_epoch: LeaderEpoch(-1),
        last_epoch: LeaderEpoch(-1),
    }
}

fn wanted(partitions: &[i32]) -> impl Iterator<Item = (PartitionKey, Wants)> + use<> {
    let all: Vec<_> = partitions.iter().map(|one| (key(*one), wants(0))).collect();
    all.into_iter()
}

fn open(sessions: &mut Sessions, ms: u64, partitions: &[i32]) -> Option<SessionId> {
    let id = sessions.open(at_ms(ms), Naming::Ids, wanted(partitions));
    sessions.check();
    id
}

fn go_on(
    sessions: &mut Sessions,
    id: SessionId,
    number: i32,
    changed: &[i32],
    forgotten: &[i32],
) -> Result<GoneOn, Refusal> {
    let forgotten: Vec<_> = forgotten.iter().map(|one| key(*one)).collect();
    let mut unwatched = Vec::new();
    let gone_on = sessions.go_on(
        at_ms(0),
        id,
        number,
        Naming::Ids,
        wanted(changed),
        forgotten.into_iter(),
        &mut unwatched,
    );
    sessions.check();
    gone_on
}

fn seen(high_watermark: i64) -> Option<Seen> {
    Some(Seen {
        high_watermark: Offset(high_watermark),
        log_start: Offset(0),
    })
}

/// The partitions that are due, in order.
fn due(session: &Session) -> Vec<i32> {
    let due = session.to_read(Scope::Due);
    let partitions = due.iter().filter_map(|id| session.entry(*id));
    partitions.map(|(key, _)| key.partition.0).collect()
}

/// Reads all that is due as if nothing were there, and answers.
fn read_nothing(session: &mut Session) {
    for id in session.to_read(Scope::Due) {
        session.read(id, seen(5));
        session.answer(id, seen(5), 0);
    }
}

#[test]
fn a_session_goes_on_with_the_next_number_and_the_same_naming() {
    let mut sessions = Sessions::new(LIMITS, 1);
    let id = open(&mut sessions, 0, &[0]).expect("there is room");
    let stranger = SessionId(if id.0 == 1 { 2 } else { 1 });
    let refused = |sessions: &mut Sessions, id, number| go_on(sessions, id, number, &[], &[]);
    assert_eq!(refused(&mut sessions, stranger, 1), Err(Refusal::NotFound));
    assert_eq!(refused(&mut sessions, id, 2), Err(Refusal::WrongNumber));
    for number in 1..4 {
        assert_eq!(refused(&mut sessions, id, number), Ok(GoneOn::Session));
        assert_eq!(
            refused(&mut sessions, id, number),
            Err(Refusal::WrongNumber)
        );
    }
    let other = sessions.go_on(
        at_ms(0),
        id,
        4,
        Naming::Names,
        wanted(&[]),
        std::iter::empty(),
        &mut Vec::new(),
    );
    assert_eq!(other, Err(Refusal::OtherNaming));
    sessions.end(id);
    assert_eq!(refused(&mut sessions, id, 4), Err(Refusal::NotFound));
}

#[test]
fn numbers_begin_again_at_1_behind_the_largest() {
    let mut session = Session::new(Tick(0), Naming::Ids);
    session.next_number_for_test(i32::MAX);
    assert_eq!(session.judge(i32::MAX, Naming::Ids), Ok(()));
    session.advance(Tick(0));
    assert_eq!(session.judge(1, Naming::Ids), Ok(()));
}

#[test]
fn a_session_of_which_everything_is_forgotten_ends() {
    let mut sessions = Sessions::new(LIMITS, 1);
    let id = open(&mut sessions, 0, &[0, 1]).expect("there is room");
    assert_eq!(go_on(&mut sessions, id, 1, &[], &[0]), Ok(GoneOn::Session));
    assert_eq!(go_on(&mut sessions, id, 2, &[], &[1, 7]), Ok(GoneOn::Ended));
    assert_eq!(sessions.count(), 0);
    assert_eq!(sessions.take_ended().map(|ended| ended.id), Some(id));
}

#[test]
fn a_full_table_gives_up_what_was_idle_longest_and_long() {
    let mut sessions = Sessions::new(LIMITS, 1);
    let first: Vec<_> = (0..3).map(|ms| open(&mut sessions, ms, &[0])).collect();
    assert!(first.iter().all(Option::is_some));
    assert_eq!(open(&mut sessions, 100_000, &[0]), None);
    sessions.find_mut(first[0].unwrap()).unwrap().begin();
    // The first is busy, so it is the second.
    assert!(open(&mut sessions, 120_001, &[0]).is_some());
    assert_eq!(sessions.take_ended().map(|ended| ended.id), first[1]);
    assert_eq!(open(&mut sessions, 120_001, &[0]), None);
}

#[test]
fn partitions_of_all_sessions_are_bounded() {
    let mut sessions = Sessions::new(LIMITS, 1);
    let eleven: Vec<i32> = (0..11).collect();
    assert_eq!(open(&mut sessions, 0, &eleven), None);
    let id = open(&mut sessions, 0, &eleven[..10]).expect("there is room");
    assert_eq!(open(&mut sessions, 0, &[0]), None);
    assert_eq!(
        go_on(&mut sessions, id, 1, &[10], &[]),
        Err(Refusal::NotFound)
    );
    assert_eq!(sessions.count(), 0, "it ends rather than grow");
}

#[test]
fn what_had_nothing_to_tell_is_due_again_with_news_or_another_wish() {
    let mut sessions = Sessions::new(LIMITS, 1);
    let id = open(&mut sessions, 0, &[0, 1, 2]).expect("there is room");
    let session = sessions.find_mut(id).expect("it is there");
    assert_eq!(due(session), [0, 1, 2]);
    for (at, id) in session.to_read(Scope::Due).into_iter().enumerate() {
        session.watched(id, ShardIndex(0), LogNumber(at as u64));
    }
    read_nothing(session);
    assert!(due(session).is_empty());
    session.tell(LogNumber(2));
    session.tell(LogNumber(0));
    session.tell(LogNumber(9));
    assert_eq!(due(session), [2, 0]);
    read_nothing(session);
    assert_eq!(due(session), [2, 0], "the news came behind the question");
    go_on(&mut sessions, id, 1, &[1], &[]).expect("it goes on");
    let session = sessions.find_mut(id).expect("it is there");
    assert_eq!(due(session), [2, 0, 1]);
    session.check();
}

#[test]
fn an_answer_names_what_has_records_or_changed_and_errors_every_time() {
    let mut session = Session::new(Tick(0), Naming::Ids);
    session.set(key(0), wants(0));
    session.set(key(1), wants(0));
    let [first, second] = session.to_read(Scope::All)[..] else {
        panic!("two were set");
    };
    // (high watermark or error, bytes of records, whether it is named)
    let answers = [
        (seen(5), 0, true),
        (seen(5), 0, false),
        (seen(6), 0, true),
        (seen(6), 10, true),
        (None, 0, true),
        (None, 0, true),
        (seen(6), 0, true),
        (seen(6), 0, false),
    ];
    for (seen, bytes, named) in answers {
        assert_eq!(session.answer(first, seen, bytes), named);
        if bytes > 0 {
            assert_eq!(session.to_read(Scope::Due), [second, first], "rule F14");
        }
        session.check();
    }
}
