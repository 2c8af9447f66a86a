//! The group coordinators of a shard: one for each partition of the offsets topic that it leads.
//!
//! Always: (1) a coordinator answers only once everything its log says was replayed; until then [14]; (2) the records of a turn
//! leave as one batch at its end, and an answer leaves when everything appended before it is committed; (3) where a batch is not
//! taken, or the leadership ends, the machine is discarded with everything that waits, and the next one replays; (4) a log that is
//! mostly of no more use is replaced by what is: the state is written behind its end, and the log begins there.
//! Leaves to others: the groups (`machine::group`), the way of requests to here (`groups`).

use super::produce::{Asker, Origin};
use super::slots::{SlotId, Slots};
use super::stall::STALL_MS;
use super::timers::TimerId;
use super::{Core, Due};
use crate::api::batches;
use crate::api::groups::OFFSETS_TOPIC;
use crate::machine::group::{Answer, Call, Caller, Coordinator, Effect, Ticket};
use crate::machine::partition::{self, Acks, Append, Role};
use crate::shard::event::ShardEffect;
use crate::shard::mail::{GroupMail, GroupPart, GroupedMail, Hop, Mail, RequestId};
use bytes::Bytes;
use millstream_net::wire::ErrorCode;
use millstream_net::wire::offsets_topic::GroupRecord;
use millstream_storage::batch::{BatchBuilder, BatchHead, BatchHeader, OpenBatch};
use millstream_storage::ids::{LogNumber, Now, Offset, ShardIndex, Tick};
use millstream_storage::store::{Read, ReadTicket};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Bytes that one turn replays of a log.
const REPLAY_BYTES: usize = 1 << 20;
/// BOUND: a batch of records decompresses to this at most. Batches of our own are not compressed.
const BATCH_DECOMPRESSED_BYTES_MAX: usize = 256 << 20;
/// A rewriting of the state is cut into batches of this size.
const REWRITE_BATCH_BYTES: usize = 1 << 20;
/// No append of a coordinator is given up for its time.
const NO_TIMEOUT_MS: u32 = u32::MAX;

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

    /// Calls for coordinators of this shard.
    pub(super) fn coordinate(&mut self, now: Now, mut mail: GroupMail) {
        let mut elsewhere: Vec<(ShardIndex, Vec<GroupPart>)> = Vec::new();
        for part in std::mem::take(&mut mail.parts) {
            if self.coordinators.by_log.contains_key(&part.log) {
                self.coordinate_part(now, &mail, part);
                continue;
            }
            match self.forward(part.topic, part.partition, mail.hop) {
                Ok(shard) => match elsewhere.iter_mut().find(|group| group.0 == shard) {
                    Some(group) => group.1.push(part),
                    None => elsewhere.push((shard, vec![part])),
                },
                Err(_) => {
                    let answer = part.call.refuse(ErrorCode::NotCoordinator);
                    self.take_home(now, mail.home, mail.request, part.part, answer);
                }
            }
        }
        for (shard, parts) in elsewhere {
            let mail = GroupMail {
                hop: Hop::Forwarded,
                index: self.meta.image.index(),
                caller: mail.caller.clone(),
                parts,
                ..mail
            };
            self.send(now, shard, Mail::Group(Box::new(mail)));
        }
    }

    fn coordinate_part(&mut self, now: Now, mail: &GroupMail, part: GroupPart) {
        let found = self.coordinators.by_log.get(&part.log);
        let found = found.expect("it was looked for");
        let refusal = match found.phase {
            Phase::Loading(_) | Phase::Reading(..) => Some(ErrorCode::CoordinatorLoadInProgress),
            Phase::Damaged => Some(ErrorCode::CoordinatorNotAvailable),
            // What waits for room is bounded by nothing else.
            Phase::Active if found.stalled.is_some() => Some(ErrorCode::CoordinatorNotAvailable),
            Phase::Active => None,
        };
        if let Some(code) = refusal {
            let answer = part.call.refuse(code);
            return self.take_home(now, mail.home, mail.request, part.part, answer);
        }
        let id = self.coordinators.waiting.insert(Waiting {
            home: mail.home,
            request: mail.request,
            part: part.part,
        });
        let ticket = Ticket(id.to_bits());
        self.call_coordinator(now, part.log, ticket, &mail.caller, part.call);
    }

    fn call_coordinator(
        &mut self,
        now: Now,
        log: LogNumber,
        ticket: Ticket,
        caller: &Caller,
        call: Call,
    ) {
        let image = self.meta.image.clone();
        self.with_coordinator(now, log, |machine| {
            machine.call(now, &image, ticket, caller, call);
        });
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

    /// The coordinators' share of the end of a turn: records leave, logs are replayed.
    pub(super) fn turn_coordinators(&mut self, now: Now) {
        for log in std::mem::take(&mut self.coordinators.loading) {
            self.load_coordinator(now, log);
        }
        for log in std::mem::take(&mut self.coordinators.dirty) {
            self.flush_coordinator(now, log);
        }
    }

    /// Appends what a coordinator wrote.
    fn flush_coordinator(&mut self, now: Now, log: LogNumber) {
        let Some(coordinating) = self.coordinators.by_log.get_mut(&log) else {
            return;
        };
        if !self.store.admits(log, coordinating.batch.bytes()) {
            let since = *coordinating.stalled.get_or_insert(now.tick);
            if self.coordinators.full || since.after_ms(STALL_MS) <= now.tick {
                self.coordinators.full = true;
                self.end_coordinator(now, log, ErrorCode::CoordinatorNotAvailable);
                return self.begin_coordinator(log);
            }
            self.coordinators.dirty.insert(log);
            return;
        }
        coordinating.stalled = None;
        let empty = BatchBuilder::new(BatchHeader::default());
        let batch = std::mem::replace(&mut coordinating.batch, empty).finish();
        self.coordinators.full = false;
        self.append_of_coordinator(now, log, batch);
        let Some(host) = self.hosts.find(log) else {
            return;
        };
        let end = host.machine.log_end();
        if let Some(coordinating) = self.coordinators.by_log.get_mut(&log) {
            let behind = coordinating.behind.drain(..);
            let behind = behind.map(|(ticket, answer)| (end, ticket, answer));
            coordinating.answers.extend(behind);
            if coordinating.wants_rewrite(self.settings.groups.rewrite_bytes) {
                self.rewrite_coordinator(now, log);
            }
        }
        self.coordinator_committed(now, log);
    }

    fn append_of_coordinator(&mut self, now: Now, log: LogNumber, batch: Bytes) {
        if let Some(coordinating) = self.coordinators.by_log.get_mut(&log) {
            coordinating.written_bytes += batch.len() as u64;
        }
        let head = BatchHead::parse(&batch).expect("the builder makes whole batches");
        let origin = self.origins.insert(Origin {
            asker: Asker::Coordinator,
            log,
            records: i64::from(head.record_count),
            batch,
        });
        let append = Append {
            ticket: partition::Ticket(origin.to_bits()),
            head: batches::head_of(&head),
            acks: Acks::All,
            timeout_ms: NO_TIMEOUT_MS,
        };
        self.with_host(now, log, |machine, effects| {
            machine.append(now, append, effects);
        });
    }

    /// Writes the state of a coordinator anew; once that is committed, the log begins there.
    fn rewrite_coordinator(&mut self, now: Now, log: LogNumber) {
        let (Some(host), Some(coordinating)) =
            (self.hosts.find(log), self.coordinators.by_log.get(&log))
        else {
            return;
        };
        let start = host.machine.log_end();
        let mut batches = Vec::new();
        let mut batch = BatchBuilder::new(BatchHeader::default());
        for record in coordinating.machine.records() {
            let (key, value) = record.encode();
            batch.push(now.wall.0, Some(&key), value.as_deref(), &[]);
            if batch.bytes() >= REWRITE_BATCH_BYTES {
                let next = BatchBuilder::new(BatchHeader::default());
                batches.push(std::mem::replace(&mut batch, next).finish());
            }
        }
        if batch.record_count() > 0 {
            batches.push(batch.finish());
        }
        let bytes: usize = batches.iter().map(Bytes::len).sum();
        if !self.store.admits(log, bytes) {
            return;
        }
        for batch in batches {
            self.append_of_coordinator(now, log, batch);
        }
        let end = self.hosts.find(log).map(|host| host.machine.log_end());
        if let (Some(end), Some(coordinating)) = (end, self.coordinators.by_log.get_mut(&log)) {
            coordinating.rewritten = Some((start, end));
            coordinating.state_bytes = bytes as u64;
            coordinating.written_bytes = 0;
        }
    }

    /// The partition refused what a coordinator wrote: it knows things that are in no log.
    pub(super) fn coordinator_refused(&mut self, now: Now, log: LogNumber) {
        if self.coordinators.by_log.contains_key(&log) {
            self.end_coordinator(now, log, ErrorCode::CoordinatorNotAvailable);
            self.begin_coordinator(log);
        }
    }

    /// The high watermark of a log moved: answers that waited for it leave.
    pub(super) fn coordinator_committed(&mut self, now: Now, log: LogNumber) {
        let (true, Some(host)) = (
            self.coordinators.by_log.contains_key(&log),
            self.hosts.find(log),
        ) else {
            return;
        };
        let high_watermark = host.machine.high_watermark();
        while let Some(coordinating) = self.coordinators.by_log.get_mut(&log)
            && let Some((_, ticket, answer)) = coordinating
                .answers
                .pop_front_if(|(end, ..)| *end <= high_watermark)
        {
            self.grouped(now, ticket, answer);
        }
        let Some(coordinating) = self.coordinators.by_log.get_mut(&log) else {
            return;
        };
        if matches!(coordinating.phase, Phase::Loading(_)) {
            self.coordinators.loading.insert(log);
        }
        let rewritten = coordinating
            .rewritten
            .take_if(|(_, end)| *end <= high_watermark);
        if let Some((start, _)) = rewritten {
            self.with_host(now, log, |machine, effects| {
                machine.move_start(start, effects)
            });
        }
    }

    /// Replays the next part of a log.
    fn load_coordinator(&mut self, now: Now, log: LogNumber) {
        let (Some(host), Some(coordinating)) =
            (self.hosts.find(log), self.coordinators.by_log.get_mut(&log))
        else {
            return;
        };
        let Phase::Loading(next) = coordinating.phase else {
            return;
        };
        let (start, high_watermark) = (host.machine.log_start(), host.machine.high_watermark());
        let next = next.max(start);
        if next >= high_watermark {
            // What is above is not committed yet; `coordinator_committed` comes back here.
            if high_watermark >= host.machine.log_end() {
                self.coordinator_loaded(now, log);
            }
            return;
        }
        match self
            .store
            .read(now, log, next, REPLAY_BYTES, high_watermark, true)
        {
            Read::Wait(ticket) => coordinating.phase = Phase::Reading(next, ticket),
            read => self.replay_read(log, next, read),
        }
    }

    /// The store has read what was not in memory. Whether it was for a coordinator.
    pub(super) fn coordinator_read(&mut self, ticket: ReadTicket, read: &Read) -> bool {
        let reading = self
            .coordinators
            .by_log
            .iter()
            .find_map(|(log, one)| match one.phase {
                Phase::Reading(next, waits) if waits == ticket => Some((*log, next)),
                _ => None,
            });
        let Some((log, next)) = reading else {
            return false;
        };
        self.replay_read(log, next, read.clone());
        true
    }

    fn replay_read(&mut self, log: LogNumber, next: Offset, read: Read) {
        let Some(coordinating) = self.coordinators.by_log.get_mut(&log) else {
            return;
        };
        let Read::Ready { data, end } = read else {
            let reason = "its log cannot be read";
            return self.coordinator_is_damaged(log, next, reason);
        };
        let mut bytes = Vec::with_capacity(data.iter().map(Bytes::len).sum());
        data.iter().for_each(|slice| bytes.extend_from_slice(slice));
        if let Err(reason) = replay(&mut coordinating.machine, &bytes, next) {
            return self.coordinator_is_damaged(log, next, &reason);
        }
        // A read that gave nothing would be asked for again and again.
        if end <= next {
            return self.coordinator_is_damaged(log, next, "its log ends too early");
        }
        coordinating.phase = Phase::Loading(end);
        coordinating.written_bytes += bytes.len() as u64;
        self.coordinators.loading.insert(log);
    }

    fn coordinator_is_damaged(&mut self, log: LogNumber, at: Offset, reason: &str) {
        let text = format!(
            "the consumer groups of log {log} cannot be loaded, at offset {at}: {reason}; stop the node and run `millstream log verify`"
        );
        self.out.push(ShardEffect::Note(text));
        if let Some(coordinating) = self.coordinators.by_log.get_mut(&log) {
            coordinating.phase = Phase::Damaged;
        }
    }

    fn coordinator_loaded(&mut self, now: Now, log: LogNumber) {
        if let Some(coordinating) = self.coordinators.by_log.get_mut(&log) {
            coordinating.phase = Phase::Active;
        }
        let image = self.meta.image.clone();
        self.with_coordinator(now, log, |machine| machine.loaded(now, &image));
    }

    /// A coordinator answered a call.
    fn grouped(&mut self, now: Now, ticket: Ticket, answer: Answer) {
        let waiting = self
            .coordinators
            .waiting
            .remove(SlotId::from_bits(ticket.0));
        let waiting = waiting.expect("a call is answered once");
        self.take_home(now, waiting.home, waiting.request, waiting.part, answer);
    }

    /// Brings an answer to the shard of the connection.
    fn take_home(
        &mut self,
        now: Now,
        home: ShardIndex,
        request: RequestId,
        part: u32,
        answer: Answer,
    ) {
        let grouped = GroupedMail {
            request,
            part,
            answer,
        };
        self.send(now, home, Mail::Grouped(Box::new(grouped)));
    }
}

/// Replays the records of whole batches from an offset on.
fn replay(machine: &mut Coordinator, mut bytes: &[u8], from: Offset) -> Result<(), String> {
    while !bytes.is_empty() {
        let batch = OpenBatch::new(bytes, BATCH_DECOMPRESSED_BYTES_MAX)
            .map_err(|error| format!("{error:?}"))?;
        let size = batch.head.bytes;
        if !batch.head.attributes.is_control() {
            for record in batch.records() {
                let record = record.map_err(|error| format!("{error:?}"))?;
                if record.offset < from {
                    continue;
                }
                let key = record.key.map(Bytes::copy_from_slice).unwrap_or_default();
                let value = record.value.map(Bytes::copy_from_slice);
                let decoded = GroupRecord::decode(&key, value.as_ref());
                let decoded = decoded.map_err(|error| format!("{}: {error}", record.offset))?;
                if let Some(decoded) = decoded {
                    machine.replay(decoded);
                }
            }
        }
        bytes = &bytes[size..];
    }
    Ok(())
}
