//! One replica of one partition: what is assigned, durable, committed and visible, as leader, follower or offline.
//!
//! Always:
//! 1. The high watermark is the smallest acknowledged offset over the maximal in-sync set (committed members and those a
//!    change in flight would add); the replica itself is a member, its `durable` is an acknowledgement. It does not move
//!    while fewer than min ISR are in sync and never falls within an epoch.
//! 2. Every append is answered exactly once, under its ticket.
//! 3. acks=all, repeated batches and readers wait for the high watermark, never for local durability alone.
//! 4. What has no offset yet dies with the role.
//!
//! Leaves to others: bytes (the store), addresses and links, who leads (the image), which request a ticket belongs to.

mod append;
mod follow;
mod operate;
mod parked;
pub mod producers;
mod reads;
#[cfg(test)]
mod tests;
mod types;
mod waiting;

pub use reads::{Isolation, ReadRefusal, Readable, Reader};
pub use types::{
    Acks, Append, Appended, Assigned, Effect, Following, Leadership, LogState, PartitionConfig,
    Question, Refusal, Role, Ticket, TimestampType, Verdict,
};

use millstream_storage::ids::{LeaderEpoch, NodeId, Now, Offset, Tick, WallMs};
use parked::Parked;
use producers::{BatchHead, Malformed, Producers};
use std::collections::BTreeMap;
use waiting::{Waiter, Waiting};

/// The partition machine of one replica.
pub struct Partition {
    me: NodeId,
    config: PartitionConfig,
    role: Role,
    /// The newest epoch this replica has had a role in.
    leader_epoch: LeaderEpoch,
    /// Where the epoch it leads begins.
    epoch_start: Offset,
    log_start: Offset,
    log_end: Offset,
    durable: Offset,
    high_watermark: Offset,
    /// The newest high watermark heard from the leader of this epoch; it may lie above the own end.
    leader_high_watermark: Offset,
    /// What each replica has acknowledged in this epoch.
    acked: BTreeMap<NodeId, Offset>,
    producers: Producers,
    for_durable: Waiting,
    for_committed: Waiting,
    parked: Parked,
    told: (Offset, Offset),
}

impl Partition {
    /// The machine of a log nobody has appended to under a producer id, or of a new one. It is offline until it gets a role.
    pub fn new(me: NodeId, config: PartitionConfig, log: LogState) -> Self {
        let producers = Producers::new(log.high_watermark);
        Self::with_producers(me, config, log, producers)
    }

    /// The machine of a recovered log: `snapshot` are settled producers and the offset they stand for, `heads` the batches
    /// from there (without one: from the log start) to the end; one that straddles it counts. A snapshot that does not decode is an error of the caller's
    /// source; it then rebuilds from all heads.
    pub fn recovered(
        me: NodeId,
        config: PartitionConfig,
        log: LogState,
        snapshot: Option<(Offset, &[u8])>,
        heads: impl IntoIterator<Item = BatchHead>,
        now: WallMs,
    ) -> Result<Self, Malformed> {
        let mut producers = match snapshot {
            Some((place, bytes)) if place <= log.log_end => Producers::decode(place, bytes)?,
            _ => Producers::new(log.log_start),
        };
        let from = producers.settled_to();
        for head in heads.into_iter().filter(|head| head.end() > from) {
            producers.append(&head, now);
        }
        let mut log = log;
        log.high_watermark = log.high_watermark.max(from).min(log.log_end);
        producers.settle(log.high_watermark, &mut Vec::new());
        Ok(Self::with_producers(me, config, log, producers))
    }

    fn with_producers(
        me: NodeId,
        config: PartitionConfig,
        log: LogState,
        producers: Producers,
    ) -> Self {
        assert!(log.log_start <= log.high_watermark && log.high_watermark <= log.log_end);
        assert!(log.durable <= log.log_end);
        Self {
            me,
            config,
            role: Role::Offline,
            leader_epoch: LeaderEpoch(-1),
            epoch_start: log.log_end,
            log_start: log.log_start,
            log_end: log.log_end,
            durable: log.durable,
            high_watermark: log.high_watermark,
            leader_high_watermark: log.high_watermark,
            acked: BTreeMap::new(),
            producers,
            for_durable: Waiting::default(),
            for_committed: Waiting::default(),
            parked: Parked::default(),
            told: (log.high_watermark, log.high_watermark),
        }
    }

    /// Brings near the processor who waits in it.
    pub fn warm(&self) {
        self.for_durable.warm();
        self.for_committed.warm();
    }

    /// The image gives this replica a role; epochs never go back.
    pub fn role(&mut self, role: Role, effects: &mut Vec<Effect>) {
        let epoch = match &role {
            Role::Offline => self.leader_epoch,
            Role::Leader(leadership) => leadership.leader_epoch,
            Role::Follower(following) => following.leader_epoch,
        };
        assert!(epoch >= self.leader_epoch, "a leader epoch has gone back");
        let leads_on =
            self.leads() && matches!(role, Role::Leader(_)) && epoch == self.leader_epoch;
        if !leads_on {
            self.refuse_all(Refusal::NotLeader, effects);
            self.acked.clear();
            self.epoch_start = self.log_end;
            self.leader_high_watermark = self.high_watermark;
            effects.push(Effect::RoleChanged);
        }
        self.leader_epoch = epoch;
        self.role = role;
        if let Role::Leader(leadership) = &self.role {
            assert!(leadership.isr.contains(&self.me) && leadership.min_isr >= 1);
            self.acked.insert(self.me, self.durable);
            if leadership.isr.len() < leadership.min_isr {
                self.refuse_uncommitted(effects);
            }
            self.advance(effects);
        }
    }

    /// Everything below `end` is durable in the own log.
    pub fn durable(&mut self, end: Offset, effects: &mut Vec<Effect>) {
        assert!(end <= self.log_end, "durable beyond the log end");
        if end <= self.durable {
            return;
        }
        self.durable = end;
        match &self.role {
            Role::Leader(_) => {
                self.acked.insert(self.me, end);
                while let Some(waiter) = self.for_durable.pop_reached(end) {
                    self.reply_appended(waiter, effects);
                }
                self.advance(effects);
            }
            Role::Follower(_) => effects.push(Effect::Ack { durable: end }),
            Role::Offline => {}
        }
    }

    /// A replica has everything below `offset` durable, in the present epoch of this leader.
    pub fn acked(&mut self, node: NodeId, offset: Offset, effects: &mut Vec<Effect>) {
        if !self.leads() || node == self.me {
            return;
        }
        let acked = self.acked.entry(node).or_insert(offset);
        *acked = (*acked).max(offset.min(self.log_end));
        self.advance(effects);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for waiter in self.for_committed.expired(now.tick) {
            effects.push(Effect::Reply {
                ticket: waiter.ticket,
                result: Err(Refusal::TimedOut),
            });
        }
        for parked in self.parked.expired(now.tick) {
            effects.push(Effect::Reply {
                ticket: parked.append.ticket,
                result: Err(Refusal::CoordinatorSilent),
            });
        }
    }

    /// Frees the memory of producers that are expired; once in a while.
    pub fn expire_producers(&mut self, now: Now) {
        self.producers
            .expire(now.wall, self.config.producer_expiration_ms);
    }

    /// The topic's configuration has changed.
    pub fn configure(&mut self, config: PartitionConfig) {
        self.config = config;
    }

    /// Wants the log to start later (DeleteRecords); never above the high watermark.
    pub fn move_start(&mut self, to: Offset, effects: &mut Vec<Effect>) {
        assert!(
            to <= self.high_watermark,
            "a start above the high watermark"
        );
        if to > self.log_start {
            effects.push(Effect::MoveStart { log_start: to });
        }
    }

    /// The log start has moved and is durable (retention, or what `move_start` asked for).
    pub fn start_moved(&mut self, log_start: Offset) {
        assert!(log_start <= self.high_watermark);
        self.log_start = self.log_start.max(log_start);
    }

    /// When `tick` wants to be called; early rather than late.
    pub fn deadline(&self) -> Option<Tick> {
        let waiting = self.for_committed.deadline();
        waiting.into_iter().chain(self.parked.deadline()).min()
    }

    /// Asserts every invariant.
    pub fn check(&self) {
        assert!(self.log_start <= self.high_watermark);
        assert!(self.high_watermark <= self.log_end);
        assert!(self.durable <= self.log_end);
        assert!(self.told.1 <= self.told.0);
        assert_eq!(self.producers.settled_to(), self.high_watermark);
        self.producers.check_invariants();
        self.for_committed.check();
        self.for_durable.check();
        self.parked.check();
        match &self.role {
            Role::Leader(leadership) => {
                assert!(leadership.isr.contains(&self.me));
                assert_eq!(self.acked.get(&self.me), Some(&self.durable));
                assert!(self.epoch_start <= self.log_end);
            }
            _ => {
                assert!(self.for_committed.is_empty() && self.for_durable.is_empty());
                assert!(self.parked.deadline().is_none());
            }
        }
    }

    fn leads(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// The smallest acknowledgement over the maximal in-sync set; `None` while it may not move.
    fn committed(&self) -> Option<Offset> {
        let Role::Leader(leadership) = &self.role else {
            return None;
        };
        if leadership.isr.len() < leadership.min_isr {
            return None;
        }
        let maximal = leadership.isr.iter().chain(&leadership.joining);
        let mut smallest = Offset(i64::MAX);
        for node in maximal {
            smallest = smallest.min(*self.acked.get(node)?);
        }
        Some(smallest)
    }

    /// Moves the high watermark as far as the members allow, and answers whom it reaches.
    fn advance(&mut self, effects: &mut Vec<Effect>) {
        if let Some(committed) = self.committed() {
            self.raise(committed, effects);
        }
    }

    fn raise(&mut self, to: Offset, effects: &mut Vec<Effect>) {
        if to > self.high_watermark {
            self.high_watermark = to;
            let mut aborted = Vec::new();
            self.producers.settle(to, &mut aborted);
            effects.extend(aborted.into_iter().map(|one| Effect::Aborted {
                producer: one.producer,
                first: one.first,
                marker: one.marker,
                last_stable_offset: one.last_stable_offset,
            }));
        }
        let visible = (self.high_watermark, self.last_stable_offset());
        if visible != self.told {
            self.told = visible;
            effects.push(Effect::Visible {
                high_watermark: visible.0,
                last_stable_offset: visible.1,
            });
        }
        while let Some(waiter) = self.for_committed.pop_reached(self.high_watermark) {
            self.reply_appended(waiter, effects);
        }
    }

    fn reply_appended(&self, waiter: Waiter, effects: &mut Vec<Effect>) {
        effects.push(Effect::Reply {
            ticket: waiter.ticket,
            result: Ok(Appended {
                base_offset: waiter.base_offset,
                log_append_time_ms: waiter.log_append_time_ms,
                log_start: self.log_start,
            }),
        });
    }

    fn refuse_all(&mut self, refusal: Refusal, effects: &mut Vec<Effect>) {
        let mut refuse = |ticket| {
            effects.push(Effect::Reply {
                ticket,
                result: Err(refusal),
            });
        };
        while let Some(waiter) = self.for_durable.pop() {
            refuse(waiter.ticket);
        }
        while let Some(waiter) = self.for_committed.pop() {
            refuse(waiter.ticket);
        }
        for parked in self.parked.take_all() {
            refuse(parked.append.ticket);
        }
    }

    /// The in-sync set has become too small: who waits for it is told so (rule P3); the batches stay in the log.
    fn refuse_uncommitted(&mut self, effects: &mut Vec<Effect>) {
        while let Some(waiter) = self.for_committed.pop() {
            effects.push(Effect::Reply {
                ticket: waiter.ticket,
                result: Err(Refusal::NotEnoughReplicasAfterAppend),
            });
        }
    }
}
