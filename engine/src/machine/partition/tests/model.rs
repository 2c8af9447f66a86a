//! Random events of every role against a reference that keeps the whole log and looks at all of it.

use super::super::producers::BatchHead;
use super::super::*;
use super::rules::{follower, leader, plain};
use millstream_storage::ids::{ProducerEpoch, ProducerId};
use millstream_storage::sim::SimRng;
use std::collections::{BTreeMap, BTreeSet};

const ME: NodeId = NodeId(1);

/// A producer as its client keeps it: batches are sent in order and again until they are answered with success.
#[derive(Default)]
struct Client {
    next: i32,
    /// First sequence, records; not acknowledged.
    open: Vec<(i32, i32)>,
}

/// The reference, with the machine beside it.
struct Model {
    rng: SimRng,
    partition: Partition,
    effects: Vec<Effect>,
    now: Now,
    /// Every batch in the log.
    log: Vec<BatchHead>,
    log_start: Offset,
    durable: Offset,
    high_watermark: Offset,
    leader_high_watermark: Offset,
    acked: BTreeMap<NodeId, Offset>,
    epoch: i32,
    clients: Vec<Client>,
    /// What was asked and is not answered: the batch, and how.
    asked: BTreeMap<Ticket, (BatchHead, Acks)>,
    next_ticket: u64,
    snapshot: Option<(Offset, Vec<u8>)>,
}

impl Model {
    fn new(seed: u64) -> Self {
        let log = LogState::empty(Offset(0));
        Self {
            rng: SimRng::new(seed),
            partition: Partition::new(ME, PartitionConfig::default(), log),
            effects: Vec::new(),
            now: Now::default(),
            log: Vec::new(),
            log_start: Offset(0),
            durable: Offset(0),
            high_watermark: Offset(0),
            leader_high_watermark: Offset(0),
            acked: BTreeMap::new(),
            epoch: 0,
            clients: (0..3).map(|_| Client::default()).collect(),
            asked: BTreeMap::new(),
            next_ticket: 0,
            snapshot: None,
        }
    }

    fn end(&self) -> Offset {
        self.log.last().map_or(self.log_start, BatchHead::end)
    }

    /// A batch boundary from `low` on.
    fn boundary(&mut self, low: Offset) -> Offset {
        let ends = self.log.iter().map(BatchHead::end);
        let mut all: Vec<Offset> = ends.filter(|end| *end >= low).collect();
        all.push(low);
        all[self.rng.index(all.len())]
    }

    fn step(&mut self) {
        let role = self.partition.current_role().clone();
        match (self.rng.below(100), &role) {
            (0..=3, _) => self.change_role(),
            (4, _) => self.restart(),
            (5..=7, _) => self.now.tick = self.now.tick.after_ms(self.rng.below(400)),
            (8, _) => self.keep_snapshot(),
            (9..=60, Role::Leader(_) | Role::Offline) => self.append(),
            (61..=80, Role::Leader(_)) => {
                let node = NodeId(2 + self.rng.below(2) as i32);
                let to = self.boundary(Offset(0));
                let acked = self.acked.entry(node).or_insert(to);
                *acked = (*acked).max(to);
                self.partition.acked(node, to, &mut self.effects);
            }
            (9..=60, Role::Follower(_)) => self.push(),
            (61..=70, Role::Follower(_)) => {
                let to = self.boundary(self.high_watermark);
                let beyond = Offset(to.0 + 5 * self.rng.below(2) as i64);
                self.leader_high_watermark = self.leader_high_watermark.max(beyond);
                self.partition.leader_moved(beyond, &mut self.effects);
            }
            (71..=73, Role::Follower(following)) => {
                let low = match following.recovering {
                    Some(_) => self.log_start,
                    None => self.high_watermark,
                };
                self.truncate(low);
            }
            (74, Role::Follower(_)) => self.new_log(),
            (81..=83, Role::Leader(_)) => {
                let low = self.log_start;
                let to = self.boundary(low).min(self.high_watermark);
                self.log_start = self.log_start.max(to);
                self.partition.start_moved(to);
            }
            _ => {
                let to = self.boundary(self.durable);
                self.durable = to;
                self.partition.durable(to, &mut self.effects);
            }
        }
        self.partition.tick(self.now, &mut self.effects);
        self.judge();
    }

    fn change_role(&mut self) {
        let same = matches!(self.partition.current_role(), Role::Leader(_)) && self.rng.percent(60);
        if !same {
            self.epoch += 1;
            self.acked.clear();
            self.leader_high_watermark = self.high_watermark;
        }
        let isr = [&[1][..], &[1, 2], &[1, 2, 3]][self.rng.index(3)];
        let role = match self.rng.below(10) {
            _ if same => leader(self.epoch, isr, 1 + self.rng.index(2)),
            0..=5 => leader(self.epoch, isr, 1 + self.rng.index(2)),
            6..=8 => {
                let recovering = self.rng.percent(20).then_some(self.epoch);
                follower(self.epoch, recovering)
            }
            _ => Role::Offline,
        };
        self.partition.role(role, &mut self.effects);
    }

    fn append(&mut self) {
        let who = self.rng.index(self.clients.len() + 1);
        let head = match self.clients.get_mut(who) {
            None => plain(1 + self.rng.below(3) as i32),
            Some(client) => {
                let again = !client.open.is_empty() && self.rng.percent(50);
                let (sequence, records) = if again || client.open.len() >= 5 {
                    client.open[self.rng.index(client.open.len())]
                } else {
                    let batch = (client.next, 1 + self.rng.below(3) as i32);
                    client.next += batch.1;
                    client.open.push(batch);
                    batch
                };
                BatchHead {
                    producer: ProducerId(who as i64),
                    producer_epoch: ProducerEpoch(0),
                    base_sequence: sequence,
                    ..plain(records)
                }
            }
        };
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        let acks = [Acks::None, Acks::Leader, Acks::All, Acks::All][self.rng.index(4)];
        self.asked.insert(ticket, (head, acks));
        let append = Append {
            ticket,
            head,
            acks,
            timeout_ms: self.rng.below(2000) as u32,
        };
        self.partition.append(self.now, append, &mut self.effects);
    }

    /// The leader elsewhere takes batches too: the next of a client, or plain ones; offsets may jump.
    fn push(&mut self) {
        let base = Offset(self.end().0 + i64::from(self.rng.percent(10)));
        let who = self.rng.index(self.clients.len() + 1);
        let mut head = plain(1 + self.rng.below(3) as i32);
        if who < self.clients.len() {
            let mine = |one: &&BatchHead| one.producer == ProducerId(who as i64);
            let last = self.log.iter().rev().find(mine);
            head.base_sequence = last.map_or(0, |one| one.last_sequence() + 1);
            head.producer = ProducerId(who as i64);
            head.producer_epoch = ProducerEpoch(0);
            let client = &mut self.clients[who];
            let next = head.base_sequence + head.last_offset_delta + 1;
            client.open.retain(|(sequence, _)| *sequence >= next);
            client.next = client.next.max(next);
        }
        head.base_offset = base;
        head.leader_epoch = LeaderEpoch(self.epoch);
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.asked.insert(ticket, (head, Acks::None));
        self.partition
            .pushed(self.now, ticket, head, &mut self.effects);
    }

    fn truncate(&mut self, low: Offset) {
        let ends = self.log.iter().map(|one| one.base_offset);
        let all: Vec<Offset> = ends.filter(|base| *base >= low).collect();
        if all.is_empty() {
            return;
        }
        let to = all[self.rng.index(all.len())];
        if to < self.high_watermark {
            // Committed batches are lost, and with them the memory of those before: a retry of one is not recognised.
            for client in &mut self.clients {
                client.open.clear();
            }
        }
        self.partition.truncate(to, &mut self.effects);
        self.log.retain(|one| one.base_offset < to);
        let end = self.end();
        // Where offsets jumped, the log ends at the cut, not at the last batch.
        assert!(end <= to);
        if end < to {
            self.log.push(gap(end, to));
        }
        self.durable = self.durable.min(to);
        self.high_watermark = self.high_watermark.min(to);
        self.leader_high_watermark = self.leader_high_watermark.min(to);
        self.snapshot = self.snapshot.take().filter(|(place, _)| *place <= to);
    }

    fn new_log(&mut self) {
        let start = Offset(self.end().0 + self.rng.below(10) as i64);
        self.partition.new_log(start, &mut self.effects);
        self.log.clear();
        self.log_start = start;
        self.durable = start;
        self.high_watermark = start;
        self.leader_high_watermark = start;
        self.snapshot = None;
        // Whoever wrote to the old log may begin anywhere in the new one.
        for client in &mut self.clients {
            client.open.clear();
        }
    }

    fn keep_snapshot(&mut self) {
        let mut bytes = Vec::new();
        let place = self.partition.encode_producers(&mut bytes);
        assert_eq!(place, self.high_watermark);
        self.snapshot = Some((place, bytes));
    }

    /// The process ends and comes back: everything in the log is durable then, what waited is not answered.
    fn restart(&mut self) {
        self.effects.clear();
        self.asked.clear();
        let log = LogState {
            log_start: self.log_start,
            log_end: self.end(),
            durable: self.end(),
            high_watermark: self.log_start,
        };
        let snapshot = self.snapshot.as_ref();
        let snapshot = snapshot.map(|(place, bytes)| (*place, bytes.as_slice()));
        let place = snapshot.map_or(self.log_start, |(place, _)| place);
        let heads = self.log.iter().copied();
        let config = PartitionConfig::default();
        let rebuilt = Partition::recovered(ME, config, log, snapshot, heads, WallMs(0));
        self.partition = rebuilt.expect("the snapshot was encoded");
        self.durable = self.end();
        self.high_watermark = place.max(self.log_start);
        self.leader_high_watermark = self.high_watermark;
        self.acked.clear();
        self.epoch += 1;
    }

    /// Takes the effects into the reference and compares.
    fn judge(&mut self) {
        self.partition.check();
        let mut replies = Vec::new();
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Store { ticket, assigned } => {
                    let (mut head, _) = self.asked[&ticket];
                    head.base_offset = assigned.base_offset;
                    head.leader_epoch = assigned.leader_epoch;
                    assert!(head.base_offset >= self.end());
                    self.log.push(head);
                    if matches!(self.partition.current_role(), Role::Follower(_)) {
                        self.asked.remove(&ticket);
                    }
                }
                Effect::Reply { ticket, result } => replies.push((ticket, result)),
                _ => {}
            }
        }
        self.expect_high_watermark();
        for (ticket, result) in replies {
            let (head, acks) = self.asked.remove(&ticket).expect("answered once");
            self.judge_reply(head, acks, result);
        }
        assert_eq!(self.partition.log_end(), self.end());
        assert_eq!(self.partition.log_start(), self.log_start);
        if !matches!(self.partition.current_role(), Role::Leader(_)) {
            assert!(self.asked.is_empty(), "somebody waits at no leader");
        }
        let mut seen = BTreeSet::new();
        // Below the log start nothing is remembered for sure (rule P8).
        let kept = self
            .log
            .iter()
            .filter(|one| one.base_offset >= self.log_start);
        for head in kept.filter(|one| one.has_producer()) {
            for record in 0..=head.last_offset_delta {
                assert!(
                    seen.insert((head.producer, head.base_sequence + record)),
                    "a sequence is in the log twice"
                );
            }
        }
    }

    fn expect_high_watermark(&mut self) {
        let expected = match self.partition.current_role() {
            Role::Leader(leadership) => {
                self.acked.insert(ME, self.durable);
                let acked = leadership.isr.iter().map(|node| self.acked.get(node));
                let smallest = acked.min().flatten().copied();
                match smallest {
                    Some(offset) if leadership.isr.len() >= leadership.min_isr => offset,
                    _ => self.high_watermark,
                }
            }
            Role::Follower(_) => self.leader_high_watermark.min(self.end()),
            Role::Offline => self.high_watermark,
        };
        self.high_watermark = self.high_watermark.max(expected);
        assert_eq!(self.partition.high_watermark(), self.high_watermark);
        assert_eq!(self.partition.last_stable_offset(), self.high_watermark);
    }

    fn judge_reply(&mut self, head: BatchHead, acks: Acks, result: Result<Appended, Refusal>) {
        let Ok(appended) = result else {
            return;
        };
        let found = self
            .log
            .iter()
            .find(|one| one.base_offset == appended.base_offset)
            .copied();
        if let Some(found) = found {
            let same = |one: &BatchHead| (one.producer, one.base_sequence, one.last_offset_delta);
            assert_eq!(same(&found), same(&head));
            match acks {
                Acks::None => {}
                Acks::Leader => assert!(found.end() <= self.durable.max(self.high_watermark)),
                Acks::All => assert!(found.end() <= self.high_watermark),
            }
        }
        assert!(found.is_some() || acks == Acks::None);
        if acks == Acks::All && head.has_producer() {
            let client = &mut self.clients[head.producer.0 as usize];
            client
                .open
                .retain(|(sequence, _)| *sequence != head.base_sequence);
        }
    }
}

/// Offsets without a batch.
fn gap(from: Offset, to: Offset) -> BatchHead {
    BatchHead {
        base_offset: from,
        ..plain((to.0 - from.0) as i32)
    }
}

fn run(seed: u64) {
    let mut model = Model::new(seed);
    for _ in 0..400 {
        model.step();
    }
    model.epoch += 1;
    model.acked.clear();
    model.partition.role(Role::Offline, &mut model.effects);
    model.judge();
}

#[test]
fn random_events_of_every_role_agree_with_the_reference() {
    // The second: a high watermark inside of a batch.
    for seed in (0..600).chain([11199]) {
        if let Err(panic) = std::panic::catch_unwind(|| run(seed)) {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
