//! ListOffsets and OffsetForLeaderEpoch: splitting and joining at the shard of the connection, looking up at the owner.
//!
//! Always: (1) nothing is told of an offset that the reader's isolation hides (rules O1, O2); (2) a turn looks in little more than
//! `PIECE_PARTITIONS` for each request of that turn, and in so many of what is left of former ones.

use super::Core;
use super::requests::{Request, Work};
use super::slots::{SlotId, Slots};
use crate::api::errors;
use crate::api::fetch::isolation_of;
use crate::api::list_offsets::{FindPart, ListOffsetsAnswer, PartFound, Spec, repeated, spec_of};
use crate::api::offset_for_leader_epoch::EpochEndsAnswer;
use crate::machine::partition::Isolation;
use crate::shard::mail::{FindMail, FoundMail, Hop, Mail, RequestId};
use millstream_net::conn::RequestSlot;
use millstream_net::wire::api::{ListOffsetsRequest, OffsetForLeaderEpochRequest};
use millstream_net::wire::{ErrorCode, RequestHeader, Response};
use millstream_storage::ids::{LeaderEpoch, Now, Offset, PartitionIndex, ShardIndex, Tick};
use millstream_storage::store::{Asker, Found, ReadTicket, Sought};
use std::collections::{BTreeMap, VecDeque};

/// Partitions that are looked in for one request in one turn; some 100 us.
const PIECE_PARTITIONS: usize = 256;

/// One request's look-ups at this shard.
struct Finding {
    home: ShardIndex,
    request: RequestId,
    done: Vec<PartFound>,
    open: usize,
}

/// All look-ups of a shard that wait for the disk, or for the workshop.
#[derive(Default)]
pub(super) struct Findings {
    table: Slots<Finding>,
    waiting: BTreeMap<ReadTicket, (SlotId, usize)>,
    /// What is left of requests for very many partitions. BOUND: by the bounds of their connections.
    later: VecDeque<FindMail>,
}

impl Findings {
    /// Look-ups that are not answered.
    pub(super) fn count(&self) -> usize {
        self.table.count() + self.later.len()
    }

    /// When the next piece is due.
    pub(super) fn deadline(&self) -> Option<Tick> {
        (!self.later.is_empty()).then_some(Tick(0))
    }
}

impl Core {
    /// A ListOffsets request arrived.
    pub(super) fn list_offsets(
        &mut self,
        now: Now,
        slot: RequestSlot,
        header: RequestHeader,
        request: ListOffsetsRequest,
    ) {
        let version = header.api_version;
        let mut answer = ListOffsetsAnswer::new(version, &request);
        let twice = repeated(&request);
        let mut groups = Groups::default();
        let mut part = 0;
        for topic in &request.topics {
            for partition in &topic.partitions {
                let (name, index) = (topic.name.as_str(), partition.partition_index);
                let spec = match twice.contains(&(name, index)) {
                    true => Err(ErrorCode::InvalidRequest),
                    false => spec_of(version, partition.timestamp),
                };
                let epoch = LeaderEpoch(partition.current_leader_epoch);
                let routed = spec.and_then(|spec| self.route_find(name, index, part, epoch, spec));
                match routed {
                    Ok((shard, find)) => groups.add(shard, find),
                    Err(code) => answer.take(PartFound::nothing(part, code)),
                }
                part += 1;
            }
        }
        if answer.is_complete() {
            return self.respond(slot, &header, answer.finish());
        }
        let isolation = isolation_of(request.isolation_level);
        let work = Work::ListOffsets(answer);
        self.ask_to_find(now, slot, &header, work, isolation, groups);
    }

    /// An OffsetForLeaderEpoch request arrived.
    pub(super) fn offset_for_leader_epoch(
        &mut self,
        now: Now,
        slot: RequestSlot,
        header: RequestHeader,
        request: OffsetForLeaderEpochRequest,
    ) {
        let mut answer = EpochEndsAnswer::new(&request);
        let mut groups = Groups::default();
        let mut part = 0;
        for topic in &request.topics {
            for partition in &topic.partitions {
                let spec = Spec::EpochEnd(LeaderEpoch(partition.leader_epoch));
                let epoch = LeaderEpoch(partition.current_leader_epoch);
                match self.route_find(&topic.topic, partition.partition, part, epoch, spec) {
                    Ok((shard, find)) => groups.add(shard, find),
                    Err(code) => answer.take(PartFound::nothing(part, code)),
                }
                part += 1;
            }
        }
        if answer.is_complete() {
            return self.respond(slot, &header, answer.finish());
        }
        let work = Work::EpochEnds(answer);
        self.ask_to_find(now, slot, &header, work, Isolation::default(), groups);
    }

    fn ask_to_find(
        &mut self,
        now: Now,
        slot: RequestSlot,
        header: &RequestHeader,
        work: Work,
        isolation: Isolation,
        groups: Groups,
    ) {
        let id = self.requests.insert(Request {
            slot,
            version: header.api_version,
            correlation_id: header.correlation_id,
            work,
        });
        for (shard, parts) in groups.0 {
            let mail = FindMail {
                home: self.me,
                conn: slot.conn,
                request: id,
                index: self.meta.image.index(),
                hop: Hop::First,
                isolation,
                parts,
            };
            self.send(now, shard, Mail::Find(Box::new(mail)));
        }
    }

    fn route_find(
        &self,
        topic: &str,
        partition: i32,
        part: u32,
        leader_epoch: LeaderEpoch,
        spec: Spec,
    ) -> Result<(ShardIndex, FindPart), ErrorCode> {
        let topic = self.meta.image.topic_named(topic);
        let topic = topic.ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let partition = PartitionIndex(partition);
        let route = self.meta.routes.find(topic.id, partition);
        let route = route.ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let find = FindPart {
            part,
            topic: topic.id,
            partition,
            log: route.log,
            leader_epoch,
            spec,
        };
        Ok((route.shard, find))
    }

    /// Looks in some of the partitions that are left.
    pub(super) fn turn_finds(&mut self, now: Now) {
        if let Some(mail) = self.findings.later.pop_front() {
            self.find(now, mail);
        }
    }

    /// Another shard, or this one, wants offsets looked up.
    pub(super) fn find(&mut self, now: Now, mut mail: FindMail) {
        if mail.parts.len() > PIECE_PARTITIONS {
            let parts = mail.parts.split_off(PIECE_PARTITIONS);
            self.findings.later.push_back(FindMail { parts, ..mail });
        }
        let id = self.findings.table.insert(Finding {
            home: mail.home,
            request: mail.request,
            done: Vec::with_capacity(mail.parts.len()),
            open: 0,
        });
        let mut elsewhere = Groups::default();
        for part in &mail.parts {
            if self.hosts.find(part.log).is_none()
                && let Ok(shard) = self.forward(part.topic, part.partition, mail.hop)
            {
                elsewhere.add(shard, *part);
                continue;
            }
            let found = self.find_part(now, part, mail.isolation, asker_of(&mail));
            self.keep_find(id, part.part, found);
        }
        for (shard, parts) in elsewhere.0 {
            let mail = FindMail {
                hop: Hop::Forwarded,
                index: self.meta.image.index(),
                parts,
                ..mail
            };
            self.send(now, shard, Mail::Find(Box::new(mail)));
        }
        self.finish_find(now, id);
    }

    fn find_part(
        &mut self,
        now: Now,
        part: &FindPart,
        isolation: Isolation,
        asker: Asker,
    ) -> Result<(PartFound, Option<ReadTicket>), ErrorCode> {
        let Some(host) = self.hosts.find(part.log) else {
            return Err(self.absent(part.topic, part.partition));
        };
        let machine = &host.machine;
        let nothing = PartFound::nothing(part.part, ErrorCode::None);
        let refused = errors::of_read_refusal;
        let (offset, leader_epoch) = match part.spec {
            Spec::Earliest => {
                machine.judge_reader(part.leader_epoch).map_err(refused)?;
                let start = machine.log_start();
                let stored = self.store.epoch_at(part.log, start);
                let leader_epoch = stored.unwrap_or(machine.leader_epoch());
                (start, leader_epoch)
            }
            Spec::Latest => {
                let latest = machine.latest(part.leader_epoch, isolation);
                (latest.map_err(refused)?, machine.leader_epoch())
            }
            Spec::Timestamp(_) | Spec::Newest => {
                let latest = machine.latest(part.leader_epoch, isolation);
                let up_to = latest.map_err(refused)?;
                let sought = match part.spec {
                    Spec::Timestamp(timestamp) => Sought::Since(timestamp),
                    _ => Sought::Newest,
                };
                return match self.store.find(now, part.log, sought, up_to, asker) {
                    Found::Wait(ticket) => Ok((nothing, Some(ticket))),
                    found => Ok((found_part(part.part, found), None)),
                };
            }
            Spec::Tiered => {
                machine.judge_reader(part.leader_epoch).map_err(refused)?;
                return Ok((nothing, None));
            }
            Spec::EpochEnd(epoch) => {
                machine.judge_reader(part.leader_epoch).map_err(refused)?;
                let stored = |epoch| self.store.epoch_end(part.log, epoch);
                let end = machine.epoch_end(epoch, stored);
                let (epoch, end) = end.unwrap_or((LeaderEpoch(-1), Offset(-1)));
                (end, epoch)
            }
        };
        let found = PartFound {
            offset,
            leader_epoch,
            ..nothing
        };
        Ok((found, None))
    }

    fn keep_find(
        &mut self,
        id: SlotId,
        part: u32,
        found: Result<(PartFound, Option<ReadTicket>), ErrorCode>,
    ) {
        let finding = self.findings.table.find_mut(id);
        let finding = finding.expect("it was made for these parts");
        let (found, ticket) = found.unwrap_or_else(|code| (PartFound::nothing(part, code), None));
        if let Some(ticket) = ticket {
            finding.open += 1;
            let at = finding.done.len();
            self.findings.waiting.insert(ticket, (id, at));
        }
        finding.done.push(found);
    }

    /// The store has found what was not in memory.
    pub(super) fn find_ready(&mut self, now: Now, ticket: ReadTicket, found: Found) {
        let Some((id, at)) = self.findings.waiting.remove(&ticket) else {
            return;
        };
        let Some(finding) = self.findings.table.find_mut(id) else {
            return;
        };
        let part = finding.done[at].part;
        finding.done[at] = found_part(part, found);
        finding.open -= 1;
        self.finish_find(now, id);
    }

    fn finish_find(&mut self, now: Now, id: SlotId) {
        if self
            .findings
            .table
            .find(id)
            .is_none_or(|finding| finding.open > 0)
        {
            return;
        }
        let Some(finding) = self.findings.table.remove(id) else {
            return;
        };
        if !finding.done.is_empty() {
            let found = FoundMail {
                request: finding.request,
                parts: finding.done,
            };
            self.send(now, finding.home, Mail::Found(Box::new(found)));
        }
    }

    /// A shard has looked up its part.
    pub(super) fn take_found(&mut self, found: FoundMail) {
        let Some(request) = self.requests.find_mut(found.request) else {
            return;
        };
        let is_complete = match &mut request.work {
            Work::ListOffsets(answer) => {
                found.parts.into_iter().for_each(|part| answer.take(part));
                answer.is_complete()
            }
            Work::EpochEnds(answer) => {
                found.parts.into_iter().for_each(|part| answer.take(part));
                answer.is_complete()
            }
            _ => false,
        };
        if !is_complete {
            return;
        }
        let Some(request) = self.requests.remove(found.request) else {
            return;
        };
        let response: Response = match request.work {
            Work::ListOffsets(answer) => answer.finish().into(),
            Work::EpochEnds(answer) => answer.finish().into(),
            _ => return,
        };
        let (version, correlation_id) = (request.version, request.correlation_id);
        self.answer(request.slot, version, correlation_id, response);
    }
}

/// Look-ups by the shard they go to.
#[derive(Default)]
struct Groups(Vec<(ShardIndex, Vec<FindPart>)>);

impl Groups {
    fn add(&mut self, shard: ShardIndex, find: FindPart) {
        match self.0.iter_mut().find(|group| group.0 == shard) {
            Some(group) => group.1.push(find),
            None => self.0.push((shard, vec![find])),
        }
    }
}

/// Look-ups of one connection take their turns together.
fn asker_of(mail: &FindMail) -> Asker {
    Asker(u64::from(mail.home.0) << 32 | u64::from(mail.conn.slot))
}

fn found_part(part: u32, found: Found) -> PartFound {
    match found {
        Found::At {
            offset,
            timestamp,
            epoch,
        } => PartFound {
            part,
            error: ErrorCode::None,
            timestamp,
            offset,
            leader_epoch: epoch,
        },
        Found::None => PartFound::nothing(part, ErrorCode::None),
        Found::Damaged | Found::Wait(_) => PartFound::nothing(part, ErrorCode::KafkaStorageError),
    }
}
