//! The group coordinators of a shard: one for each partition of the offsets topic that it leads.
//!
//! Always: (1) a coordinator answers only once everything its log says was replayed; until then [14]; (2) the records of a turn
//! leave as one batch at its end, and an answer leaves when everything appended before it is committed; (3) where a batch is not
//! taken, or the leadership ends, the machine is discarded with everything that waits, and the next one replays; (4) a log that is
//! mostly of no more use is replaced by what is: the state is written behind its end, and the log begins there.
//! Leaves to others: the groups (`machine::group`), the way of requests to here (`groups`).

mod call;
mod load;
mod write;

use super::slots::Slots;
use super::stall::STALL_MS;
use super::timers::TimerId;
use super::{Core, Due};
use crate::api::groups::OFFSETS_TOPIC;
use crate::machine::group::{Answer, Coordinator, Effect, Ticket};
use crate::machine::partition::Role;
use crate::shard::mail::RequestId;
use millstream_net::wire::ErrorCode;
use millstream_storage::batch::{BatchBuilder, BatchHeader};
use millstream_storage::ids::{LogNumber, Now, Offset, ShardIndex, Tick};
use millstream_storage::store::ReadTicket;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Who waits for a call.
struct Waiting {
    home: ShardIndex,
    request: RequestId,
    part: u32,
}

/// How far a coordinator is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// It replays its log, from here on.
    Loading(Offset),
    /// The same, and waits for the disk.
    Reading(Offset, ReadTicket),
    /// It answers.
    Active,
    /// Its log cannot be read.
    Damaged,
}

/// One coordinator.
struct Coordinating {
    machine: Coordinator,
    phase: Phase,
    /// What is to be appended at the end of this turn.
    batch: BatchBuilder,
    /// Answers made behind something that is not appended yet.
    behind: Vec<(Ticket, Answer)>,
    /// Answers that wait for the high watermark.
    answers: VecDeque<(Offset, Ticket, Answer)>,
    /// Since when the batch finds no room.
    stalled: Option<Tick>,
    /// Bytes of log that are not in the last rewriting of the state.
    written_bytes: u64,
    /// What the last rewriting took.
    state_bytes: u64,
    /// Where the state was written anew, until the log begins there.
    rewritten: Option<(Offset, Offset)>,
    timer: Option<(Tick, TimerId)>,
}

impl Coordinating {
    /// Whether most of the log is of no more use.
    fn wants_rewrite(&self, bytes_min: u64) -> bool {
        self.rewritten.is_none() && self.written_bytes >= bytes_min.max(4 * self.state_bytes)
    }
}

/// All coordinators of a shard.
#[derive(Default)]
pub(super) struct Coordinators {
    by_log: BTreeMap<LogNumber, Coordinating>,
    waiting: Slots<Waiting>,
    /// Logs with something to append.
    dirty: BTreeSet<LogNumber>,
    /// Logs that are replayed.
    loading: BTreeSet<LogNumber>,
    effects: Vec<Effect>,
    /// Decides member ids.
    seed: u64,
    /// The last batch found no room within its time: the next one does not get as long.
    full: bool,
}

impl Coordinators {
    pub(super) fn new(seed: u64) -> Coordinators {
        Coordinators {
            seed,
            ..Coordinators::default()
        }
    }

    /// Calls that are not answered.
    pub(super) fn count(&self) -> usize {
        self.waiting.count()
    }

    /// When a turn is wanted though nothing happens.
    pub(super) fn deadline(&self) -> Option<Tick> {
        let is_loading = |log: &LogNumber| {
            let found = self.by_log.get(log);
            found.is_some_and(|one| matches!(one.phase, Phase::Loading(_)))
        };
        if self.loading.iter().any(is_loading) {
            return Some(Tick(0));
        }
        let stalled = self.dirty.iter().filter_map(|log| self.by_log.get(log));
        let stalled = stalled.filter_map(|one| one.stalled);
        stalled.map(|since| since.after_ms(STALL_MS)).min()
    }

    fn next_seed(&mut self) -> u64 {
        self.seed = self
            .seed
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(1);
        self.seed
    }
}

impl Core {
    /// The role of a replica changed: its coordinator ends, and where it leads a new one begins.
    pub(super) fn coordinator_role(&mut self, now: Now, log: LogNumber) {
        self.end_coordinator(now, log, ErrorCode::NotCoordinator);
        let offsets = self.meta.image.topic_named(OFFSETS_TOPIC);
        let Some(host) = self.hosts.find(log) else {
            return;
        };
        let leads = matches!(host.machine.current_role(), Role::Leader(_));
        if leads && offsets.is_some_and(|topic| topic.id == host.topic) {
            self.begin_coordinator(log);
        }
    }

    fn begin_coordinator(&mut self, log: LogNumber) {
        let Some(host) = self.hosts.find(log) else {
            return;
        };
        let start = host.machine.log_start();
        let config = self.settings.groups.clone();
        let machine = Coordinator::new(config, self.coordinators.next_seed());
        let coordinating = Coordinating {
            machine,
            phase: Phase::Loading(start),
            batch: BatchBuilder::new(BatchHeader::default()),
            behind: Vec::new(),
            answers: VecDeque::new(),
            stalled: None,
            written_bytes: 0,
            state_bytes: 0,
            rewritten: None,
            timer: None,
        };
        self.coordinators.by_log.insert(log, coordinating);
        self.coordinators.loading.insert(log);
    }

    /// A coordinator ends: who waits is told so, and what it told and could not vouch for is taken back.
    pub(super) fn end_coordinator(&mut self, now: Now, log: LogNumber, code: ErrorCode) {
        let Some(mut ended) = self.coordinators.by_log.remove(&log) else {
            return;
        };
        self.coordinators.dirty.remove(&log);
        self.coordinators.loading.remove(&log);
        if let Some((_, timer)) = ended.timer {
            self.timers.clear(timer);
        }
        let told = ended
            .answers
            .into_iter()
            .map(|(_, ticket, one)| (ticket, one));
        let told: Vec<_> = told.chain(ended.behind).collect();
        for (ticket, answer) in told {
            self.grouped(now, ticket, answer.spoiled(code));
        }
        ended.machine.discard(code);
        let mut effects = Vec::new();
        ended.machine.drain(&mut effects);
        for effect in effects {
            if let Effect::Answer { ticket, answer } = effect {
                self.grouped(now, ticket, answer);
            }
        }
    }

    /// The node stops: nobody is kept waiting.
    pub(super) fn end_coordinators(&mut self, now: Now) {
        for log in self.coordinators.by_log.keys().copied().collect::<Vec<_>>() {
            self.end_coordinator(now, log, ErrorCode::NotCoordinator);
        }
    }

    /// A coordinator's alarm rings.
    pub(super) fn coordinator_due(&mut self, now: Now, log: LogNumber) {
        if let Some(coordinating) = self.coordinators.by_log.get_mut(&log) {
            coordinating.timer = None;
        }
        let image = self.meta.image.clone();
        self.with_coordinator(now, log, |machine| machine.tick(now, &image));
    }

    /// A newer image came.
    pub(super) fn tell_coordinators(&mut self, now: Now) {
        let image = self.meta.image.clone();
        let delta = self.meta.delta.clone();
        let logs = self.coordinators.by_log.iter();
        let logs = logs.filter(|(_, one)| one.phase == Phase::Active);
        for log in logs.map(|(log, _)| *log).collect::<Vec<_>>() {
            self.with_coordinator(now, log, |machine| {
                machine.image_changed(now, &image, &delta);
            });
        }
    }

    /// Lets a coordinator act and carries out what it effects.
    fn with_coordinator(&mut self, now: Now, log: LogNumber, act: impl FnOnce(&mut Coordinator)) {
        let Some(coordinating) = self.coordinators.by_log.get_mut(&log) else {
            return;
        };
        act(&mut coordinating.machine);
        let mut effects = std::mem::take(&mut self.coordinators.effects);
        coordinating.machine.drain(&mut effects);
        for effect in effects.drain(..) {
            self.coordinator_effect(now, log, effect);
        }
        self.coordinators.effects = effects;
        self.set_coordinator_timer(log);
    }

    fn coordinator_effect(&mut self, now: Now, log: LogNumber, effect: Effect) {
        let Some(coordinating) = self.coordinators.by_log.get_mut(&log) else {
            return;
        };
        match effect {
            Effect::Append(record) => {
                let (key, value) = record.encode();
                let batch = &mut coordinating.batch;
                batch.push(now.wall.0, Some(&key), value.as_deref(), &[]);
                self.coordinators.dirty.insert(log);
            }
            Effect::Answer { ticket, answer } => {
                if coordinating.batch.record_count() > 0 {
                    return coordinating.behind.push((ticket, answer));
                }
                let host = self.hosts.find(log);
                let machine = &host.expect("a coordinator has a log").machine;
                if machine.high_watermark() >= machine.log_end() {
                    return self.grouped(now, ticket, answer);
                }
                let end = machine.log_end();
                coordinating.answers.push_back((end, ticket, answer));
            }
        }
    }

    fn set_coordinator_timer(&mut self, log: LogNumber) {
        let Some(coordinating) = self.coordinators.by_log.get_mut(&log) else {
            return;
        };
        let deadline = coordinating.machine.deadline();
        match (deadline, coordinating.timer) {
            (None, _) => {}
            // It may come early: then it is set anew.
            (Some(deadline), Some((at, _))) if at <= deadline => {}
            (Some(deadline), former) => {
                if let Some((_, timer)) = former {
                    self.timers.clear(timer);
                }
                let timer = self.timers.set(deadline, Due::Coordinator(log));
                coordinating.timer = Some((deadline, timer));
            }
        }
    }
}
