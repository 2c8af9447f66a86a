//! Roles, acknowledgements and codes by example.

use super::super::producers::{BatchHead, BatchKind, Outcome};
use super::super::*;
use millstream_storage::ids::{ProducerEpoch, ProducerId};

const ME: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(2);

pub(super) fn leader(epoch: i32, isr: &[i32], min_isr: usize) -> Role {
    Role::Leader(Leadership {
        leader_epoch: LeaderEpoch(epoch),
        partition_epoch: 0,
        isr: isr.iter().map(|node| NodeId(*node)).collect(),
        joining: Default::default(),
        min_isr,
        recovering: None,
    })
}

pub(super) fn follower(epoch: i32, recovering: Option<i32>) -> Role {
    Role::Follower(Following {
        leader_epoch: LeaderEpoch(epoch),
        partition_epoch: 0,
        leader: Some(OTHER),
        recovering: recovering.map(LeaderEpoch),
    })
}

pub(super) fn plain(records: i32) -> BatchHead {
    BatchHead {
        base_offset: Offset(0),
        last_offset_delta: records - 1,
        leader_epoch: LeaderEpoch(0),
        max_timestamp: 5,
        producer: ProducerId(-1),
        producer_epoch: ProducerEpoch(-1),
        base_sequence: -1,
        kind: BatchKind::Plain,
    }
}

fn of(producer: i64, sequence: i32) -> BatchHead {
    BatchHead {
        producer: ProducerId(producer),
        producer_epoch: ProducerEpoch(0),
        base_sequence: sequence,
        ..plain(1)
    }
}

/// A machine and what it has effected since it was last asked.
struct Bench {
    partition: Partition,
    effects: Vec<Effect>,
    now: Now,
    tickets: u64,
}

impl Bench {
    fn new(role: Role) -> Self {
        let log = LogState::empty(Offset(0));
        let mut bench = Self {
            partition: Partition::new(ME, PartitionConfig::default(), log),
            effects: Vec::new(),
            now: Now::default(),
            tickets: 0,
        };
        bench.role(role);
        bench
    }

    fn role(&mut self, role: Role) {
        self.partition.role(role, &mut self.effects);
        self.partition.check();
    }

    fn append(&mut self, head: BatchHead, acks: Acks) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let append = Append {
            ticket,
            head,
            acks,
            timeout_ms: 1000,
        };
        self.partition.append(self.now, append, &mut self.effects);
        self.partition.check();
        ticket
    }

    fn durable(&mut self, end: i64) {
        self.partition.durable(Offset(end), &mut self.effects);
        self.partition.check();
    }

    fn acked(&mut self, node: i32, end: i64) {
        self.partition
            .acked(NodeId(node), Offset(end), &mut self.effects);
        self.partition.check();
    }

    /// The replies since, by ticket: the base offset or the refusal.
    fn replies(&mut self) -> Vec<(Ticket, Result<i64, Refusal>)> {
        let effects = std::mem::take(&mut self.effects);
        let reply = |effect| match effect {
            Effect::Reply { ticket, result } => Some((ticket, result.map(|ok| ok.base_offset.0))),
            _ => None,
        };
        effects.into_iter().filter_map(reply).collect()
    }
}

#[test]
fn acks_wait_for_nothing_for_the_own_log_or_for_the_high_watermark() {
    let mut bench = Bench::new(leader(0, &[1, 2], 1));
    let none = bench.append(plain(1), Acks::None);
    let own = bench.append(plain(1), Acks::Leader);
    let all = bench.append(plain(1), Acks::All);
    assert_eq!(bench.replies(), [(none, Ok(0))]);
    bench.acked(2, 3);
    assert_eq!(bench.replies(), []);
    bench.durable(2);
    assert_eq!(bench.replies(), [(own, Ok(1))]);
    assert_eq!(bench.partition.high_watermark(), Offset(2));
    bench.durable(3);
    assert_eq!(bench.replies(), [(all, Ok(2))]);
}

#[test]
fn alone_in_sync_the_own_durability_commits() {
    let mut bench = Bench::new(leader(0, &[1], 1));
    let all = bench.append(plain(3), Acks::All);
    bench.durable(3);
    let visible = Effect::Visible {
        high_watermark: Offset(3),
        last_stable_offset: Offset(3),
    };
    assert!(bench.effects.contains(&visible));
    assert_eq!(bench.replies(), [(all, Ok(0))]);
}

#[test]
fn too_few_in_sync_refuse_before_and_after_the_append() {
    let mut bench = Bench::new(leader(0, &[1, 2], 2));
    let waiting = bench.append(plain(1), Acks::All);
    bench.durable(1);
    bench.role(leader(0, &[1], 2));
    let refused = bench.append(plain(1), Acks::All);
    assert_eq!(
        bench.replies(),
        [
            (waiting, Err(Refusal::NotEnoughReplicasAfterAppend)),
            (refused, Err(Refusal::NotEnoughReplicas))
        ]
    );
    assert_eq!(
        bench.partition.high_watermark(),
        Offset(0),
        "it must not move"
    );
    let one = bench.append(plain(1), Acks::Leader);
    bench.durable(2);
    assert_eq!(bench.replies(), [(one, Ok(1))]);
    bench.role(leader(0, &[1, 2], 2));
    bench.acked(2, 2);
    assert_eq!(bench.partition.high_watermark(), Offset(2));
}

#[test]
fn members_on_their_way_in_count_for_the_high_watermark() {
    let mut bench = Bench::new(leader(0, &[1], 1));
    let Role::Leader(mut leadership) = leader(0, &[1], 1) else {
        unreachable!()
    };
    leadership.joining.insert(OTHER);
    bench.role(Role::Leader(leadership));
    bench.append(plain(1), Acks::All);
    bench.durable(1);
    assert_eq!(bench.partition.high_watermark(), Offset(0));
    bench.acked(2, 1);
    assert_eq!(bench.partition.high_watermark(), Offset(1));
}

#[test]
fn a_duplicate_is_answered_as_its_original_and_only_when_that_is_committed() {
    let mut bench = Bench::new(leader(0, &[1], 1));
    let first = bench.append(of(7, 0), Acks::All);
    let again = bench.append(of(7, 0), Acks::Leader);
    assert_eq!(bench.replies(), []);
    bench.durable(1);
    assert_eq!(bench.replies(), [(first, Ok(0)), (again, Ok(0))]);
    let later = bench.append(of(7, 0), Acks::All);
    let effects = bench.effects.clone();
    assert_eq!(bench.replies(), [(later, Ok(0))]);
    let Effect::Reply { result: Ok(ok), .. } = effects[0] else {
        panic!("{effects:?}");
    };
    assert_eq!(ok.log_append_time_ms, 5);
    assert_eq!(bench.partition.log_end(), Offset(1));
}

#[test]
fn a_batch_that_failed_makes_those_behind_it_fail_too() {
    let mut bench = Bench::new(leader(0, &[1], 1));
    bench.append(of(7, 0), Acks::All);
    let behind = bench.append(of(7, 2), Acks::All);
    let refused = Err(Refusal::OutOfOrderSequence);
    assert_eq!(bench.replies(), [(behind, refused)]);
}

#[test]
fn who_waits_longer_than_its_timeout_is_told_so() {
    let mut bench = Bench::new(leader(0, &[1, 2], 1));
    let waiting = bench.append(plain(1), Acks::All);
    let deadline = bench.partition.deadline().expect("somebody waits");
    bench.now.tick = Tick(deadline.0 - 1);
    bench.partition.tick(bench.now, &mut bench.effects);
    assert_eq!(bench.replies(), []);
    bench.now.tick = deadline;
    bench.partition.tick(bench.now, &mut bench.effects);
    assert_eq!(bench.replies(), [(waiting, Err(Refusal::TimedOut))]);
    assert_eq!(bench.partition.deadline(), None);
}

#[test]
fn what_waits_dies_with_the_role() {
    let mut bench = Bench::new(leader(3, &[1, 2], 1));
    let all = bench.append(plain(1), Acks::All);
    let own = bench.append(plain(1), Acks::Leader);
    bench.role(follower(4, None));
    let refused = bench.append(plain(1), Acks::All);
    let lost = Err(Refusal::NotLeader);
    assert_eq!(bench.replies(), [(own, lost), (all, lost), (refused, lost)]);
}

#[test]
fn a_transaction_waits_parked_for_the_coordinator_and_others_do_not() {
    let mut bench = Bench::new(leader(0, &[1], 1));
    let transactional = |sequence| BatchHead {
        kind: BatchKind::Transactional,
        ..of(7, sequence)
    };
    let first = bench.append(transactional(0), Acks::All);
    let second = bench.append(transactional(1), Acks::All);
    let other = bench.append(of(8, 0), Acks::None);
    let asked: Vec<Question> = bench
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Ask(question) => Some(*question),
            _ => None,
        })
        .collect();
    assert_eq!(asked.len(), 1);
    assert_eq!(bench.replies(), [(other, Ok(0))]);
    let stale = Question {
        markers: 9,
        ..asked[0]
    };
    bench
        .partition
        .answered(bench.now, stale, Verdict::Member, &mut bench.effects);
    assert_eq!(bench.partition.log_end(), Offset(1));
    bench
        .partition
        .answered(bench.now, asked[0], Verdict::Member, &mut bench.effects);
    bench.durable(3);
    assert_eq!(bench.replies(), [(first, Ok(1)), (second, Ok(2))]);
    assert_eq!(bench.partition.last_stable_offset(), Offset(1));
    let end = BatchHead {
        kind: BatchKind::Marker {
            outcome: Outcome::Abort,
            coordinator_epoch: 0,
        },
        base_sequence: -1,
        ..of(7, 0)
    };
    bench.append(end, Acks::All);
    bench.durable(4);
    assert_eq!(bench.partition.last_stable_offset(), Offset(4));
    let aborted = |effect: &Effect| {
        matches!(
            effect,
            Effect::Aborted {
                first: Offset(1),
                ..
            }
        )
    };
    assert!(bench.effects.iter().any(aborted));
}

#[test]
fn a_new_leader_does_not_know_the_latest_offset_before_its_own_epoch_is_committed() {
    let log = LogState {
        log_start: Offset(0),
        log_end: Offset(10),
        durable: Offset(10),
        high_watermark: Offset(4),
    };
    let mut partition = Partition::new(ME, PartitionConfig::default(), log);
    let mut effects = Vec::new();
    let nobody = LeaderEpoch(-1);
    assert_eq!(
        partition.latest(nobody, Isolation::ReadUncommitted),
        Err(ReadRefusal::NotLeader)
    );
    partition.role(leader(5, &[1, 2], 1), &mut effects);
    assert_eq!(
        partition.latest(nobody, Isolation::ReadUncommitted),
        Err(ReadRefusal::OffsetNotAvailable)
    );
    let uncommitted = Isolation::ReadUncommitted;
    let readable = |partition: &Partition, epoch: i32, from: i64| {
        let reader = Reader {
            leader_epoch: LeaderEpoch(epoch),
            from: Offset(from),
            last_epoch: LeaderEpoch(-1),
            isolation: uncommitted,
        };
        partition.readable(&reader, |_| None)
    };
    let below = Ok(Readable::Below(Offset(4)));
    assert_eq!(readable(&partition, -1, 4), below);
    assert_eq!(readable(&partition, -1, 10), below);
    partition.acked(OTHER, Offset(10), &mut effects);
    assert_eq!(partition.latest(nobody, uncommitted), Ok(Offset(10)));
    let out = Err(ReadRefusal::OffsetOutOfRange);
    assert_eq!(readable(&partition, -1, 11), out);
    assert_eq!(
        readable(&partition, 4, 0),
        Err(ReadRefusal::FencedLeaderEpoch)
    );
    assert_eq!(
        readable(&partition, 6, 0),
        Err(ReadRefusal::UnknownLeaderEpoch)
    );
}

#[test]
fn a_reader_whose_log_leaves_ours_is_told_where() {
    // Rule F9. Epoch 2 from 10 on, epoch 4 from 15 to the end at 20; epoch 5 leads and has nothing.
    let log = LogState {
        log_start: Offset(10),
        log_end: Offset(20),
        durable: Offset(20),
        high_watermark: Offset(20),
    };
    let mut partition = Partition::new(ME, PartitionConfig::default(), log);
    partition.role(leader(5, &[1], 1), &mut Vec::new());
    let stored = |epoch: LeaderEpoch| match epoch.0 {
        4.. => Some((LeaderEpoch(4), Offset(20))),
        2..4 => Some((LeaderEpoch(2), Offset(15))),
        _ => None,
    };
    let below = Ok(Readable::Below(Offset(20)));
    let diverging = |epoch: i32, end: i64| {
        let (epoch, end) = (LeaderEpoch(epoch), Offset(end));
        Ok(Readable::Diverging { epoch, end })
    };
    let out = Err(ReadRefusal::OffsetOutOfRange);
    // (epoch of the last record, offset wanted, what is readable)
    let cases = [
        (-1, 12, below),
        (-1, 21, out),
        (2, 12, below),
        (2, 15, below),
        (2, 16, diverging(2, 15)),
        (2, 30, diverging(2, 15)),
        (2, 9, out),
        (3, 12, diverging(2, 15)),
        (4, 20, below),
        (4, 21, diverging(4, 20)),
        (5, 20, below),
        (5, 21, diverging(5, 20)),
        (6, 12, out),
        (0, 10, below),
        (0, 11, diverging(0, 10)),
    ];
    for (last_epoch, from, expected) in cases {
        let reader = Reader {
            leader_epoch: LeaderEpoch(-1),
            from: Offset(from),
            last_epoch: LeaderEpoch(last_epoch),
            isolation: Isolation::ReadUncommitted,
        };
        let readable = partition.readable(&reader, stored);
        assert_eq!(readable, expected, "{last_epoch} {from}");
    }
}

#[test]
fn the_end_of_the_own_epoch_is_the_log_end_and_of_unknown_ones_nothing() {
    let mut bench = Bench::new(leader(5, &[1], 1));
    bench.append(plain(4), Acks::All);
    let stored =
        |epoch: LeaderEpoch| (epoch >= LeaderEpoch(2)).then_some((LeaderEpoch(2), Offset(0)));
    let end = |epoch: i32| bench.partition.epoch_end(LeaderEpoch(epoch), stored);
    assert_eq!(end(5), Some((LeaderEpoch(5), Offset(4))));
    assert_eq!(end(4), Some((LeaderEpoch(2), Offset(0))));
    assert_eq!(end(6), None);
    assert_eq!(end(-1), None);
    assert_eq!(
        end(1),
        Some((LeaderEpoch(1), Offset(0))),
        "older than the log"
    );
}

#[test]
fn log_append_time_is_stamped_and_answered() {
    let log = LogState::empty(Offset(0));
    let config = PartitionConfig {
        timestamp_type: TimestampType::LogAppendTime,
        ..PartitionConfig::default()
    };
    let mut partition = Partition::new(ME, config, log);
    let mut effects = Vec::new();
    partition.role(leader(0, &[1], 1), &mut effects);
    let now = Now {
        wall: WallMs(1234),
        ..Now::default()
    };
    let append = Append {
        ticket: Ticket(1),
        head: plain(1),
        acks: Acks::None,
        timeout_ms: 0,
    };
    effects.clear();
    partition.append(now, append, &mut effects);
    let Effect::Store { assigned, .. } = effects[0] else {
        panic!("{effects:?}");
    };
    assert_eq!(assigned.log_append_time_ms, Some(1234));
    let Effect::Reply { result: Ok(ok), .. } = effects[1] else {
        panic!("{effects:?}");
    };
    assert_eq!(ok.log_append_time_ms, 1234);
}
