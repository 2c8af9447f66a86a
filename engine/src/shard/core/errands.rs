//! Errands: what a request wants of each of its partitions, split at the shard of the connection and done at the owner.
//!
//! Always: (1) an errand is answered exactly once, by its owner or, when that takes longer than the client waits, by [7]; (2)
//! a deletion is answered when the new log start is durable, and from then on every reader sees it.

use super::requests::{Request, Work};
use super::{Core, Due};
use crate::api::errand::{Errand, ErrandAnswer, ErrandPart, Outcome, PartDone};
use crate::api::errors;
use crate::api::topics::unknown_topic;
use crate::machine::image::{Topic, is_internal};
use crate::shard::mail::{ErrandMail, Hop, Mail, RequestId};
use millstream_net::conn::RequestSlot;
use millstream_net::wire::api::{DeleteRecordsRequest, DescribeProducersRequest};
use millstream_net::wire::{ErrorCode, RequestHeader};
use millstream_storage::ids::{LogNumber, Now, Offset, PartitionIndex, ShardIndex};

/// What a leader may take for itself, at the least: the timeout of a request is for the other replicas.
const LEADER_MS: u64 = 5_000;

/// A deletion that waits for the log start to move.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Trim {
    to: Offset,
    home: ShardIndex,
    request: RequestId,
    part: u32,
}

/// What a request wants, sorted by shard.
#[derive(Default)]
struct Plan {
    part: u32,
    groups: Vec<(ShardIndex, Vec<ErrandPart>)>,
    refused: Vec<PartDone>,
}

impl Plan {
    fn add(&mut self, routed: Result<(ShardIndex, ErrandPart), ErrorCode>) {
        match routed {
            Ok((shard, part)) => group(&mut self.groups, shard, part),
            Err(code) => self.refused.push(PartDone {
                part: self.part,
                result: Err(code),
            }),
        }
        self.part += 1;
    }
}

fn group(groups: &mut Vec<(ShardIndex, Vec<ErrandPart>)>, shard: ShardIndex, part: ErrandPart) {
    match groups.iter_mut().find(|group| group.0 == shard) {
        Some(group) => group.1.push(part),
        None => groups.push((shard, vec![part])),
    }
}

impl Core {
    /// A DeleteRecords request arrived.
    pub(super) fn delete_records(
        &mut self,
        now: Now,
        slot: RequestSlot,
        header: RequestHeader,
        request: DeleteRecordsRequest,
    ) {
        let mut plan = Plan::default();
        for topic in &request.topics {
            let judged = self.judge_deletion(&topic.name);
            for partition in &topic.partitions {
                let errand = Errand::DeleteBefore(Offset(partition.offset));
                let index = PartitionIndex(partition.partition_index);
                let routed =
                    judged.and_then(|topic| self.route_errand(plan.part, topic, index, errand));
                plan.add(routed);
            }
        }
        let answer = ErrandAnswer::of_delete(&request);
        self.send_errands(now, slot, &header, answer, plan, Some(request.timeout_ms));
    }

    /// A DescribeProducers request arrived.
    pub(super) fn describe_producers(
        &mut self,
        now: Now,
        slot: RequestSlot,
        header: RequestHeader,
        request: DescribeProducersRequest,
    ) {
        let mut plan = Plan::default();
        for topic in &request.topics {
            let found = self.meta.image.topic_named(&topic.name);
            let found = found.ok_or_else(|| unknown_topic(&topic.name).0);
            for index in &topic.partition_indexes {
                let (index, errand) = (PartitionIndex(*index), Errand::Producers);
                let routed =
                    found.and_then(|topic| self.route_errand(plan.part, topic, index, errand));
                plan.add(routed);
            }
        }
        let answer = ErrandAnswer::of_producers(&request);
        self.send_errands(now, slot, &header, answer, plan, None);
    }

    /// Whether records of a topic may be deleted by hand.
    fn judge_deletion(&self, name: &str) -> Result<&Topic, ErrorCode> {
        if is_internal(name) {
            return Err(ErrorCode::InvalidTopicException);
        }
        let topic = self.meta.image.topic_named(name);
        let topic = topic.ok_or(ErrorCode::UnknownTopicOrPartition)?;
        match self.meta.routes.config(topic.id) {
            Some(config) if config.delete || !config.compact => Ok(topic),
            Some(_) => Err(ErrorCode::PolicyViolation),
            None => Err(ErrorCode::UnknownTopicOrPartition),
        }
    }

    fn route_errand(
        &self,
        part: u32,
        topic: &Topic,
        partition: PartitionIndex,
        errand: Errand,
    ) -> Result<(ShardIndex, ErrandPart), ErrorCode> {
        let route = self.meta.routes.find(topic.id, partition);
        let route = route.ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let errand = ErrandPart {
            part,
            topic: topic.id,
            partition,
            log: route.log,
            errand,
        };
        Ok((route.shard, errand))
    }

    fn send_errands(
        &mut self,
        now: Now,
        slot: RequestSlot,
        header: &RequestHeader,
        mut answer: ErrandAnswer,
        plan: Plan,
        timeout_ms: Option<i32>,
    ) {
        for refused in plan.refused {
            answer.take(refused);
        }
        if answer.is_complete() {
            return self.respond(slot, header, answer.finish());
        }
        let id = self.requests.insert(Request {
            slot,
            version: header.api_version,
            correlation_id: header.correlation_id,
            work: Work::Errand(answer, None),
        });
        for (shard, parts) in plan.groups {
            let mail = ErrandMail {
                home: self.me,
                request: id,
                index: self.meta.image.index(),
                hop: Hop::First,
                parts,
            };
            self.send(now, shard, Mail::Errand(Box::new(mail)));
        }
        // What was done at once needs no timer.
        if let Some(timeout_ms) = timeout_ms
            && let Some(request) = self.requests.find_mut(id)
            && let Work::Errand(_, timer) = &mut request.work
        {
            let ms = u64::try_from(timeout_ms).unwrap_or(0).max(LEADER_MS);
            let at = now.tick.after_ms(ms);
            *timer = Some(self.timers.set(at, Due::Errand(id)));
        }
    }

    /// Another shard, or this one, has errands for partitions here.
    pub(super) fn run_errands(&mut self, now: Now, mail: ErrandMail) {
        let mut done = Vec::new();
        let mut elsewhere = Vec::new();
        for part in &mail.parts {
            if self.hosts.find(part.log).is_none()
                && let Ok(shard) = self.forward(part.topic, part.partition, mail.hop)
            {
                group(&mut elsewhere, shard, *part);
                continue;
            }
            let result = match part.errand {
                Errand::DeleteBefore(offset) => self.trim(now, &mail, part, offset),
                Errand::Producers => self.producers_of(part).map(Some),
            };
            if let Some(result) = result.transpose() {
                let part = part.part;
                done.push(PartDone { part, result });
            }
        }
        for (shard, parts) in elsewhere {
            let mail = ErrandMail {
                hop: Hop::Forwarded,
                index: self.meta.image.index(),
                parts,
                ..mail
            };
            self.send(now, shard, Mail::Errand(Box::new(mail)));
        }
        self.tell_done(now, mail.home, mail.request, done);
    }

    /// Moves a log start; nothing yet where it has to become durable first.
    fn trim(
        &mut self,
        now: Now,
        mail: &ErrandMail,
        part: &ErrandPart,
        offset: Offset,
    ) -> Result<Option<Outcome>, ErrorCode> {
        let mut wanted = Err(self.absent(part.topic, part.partition));
        self.with_host(now, part.log, |machine, effects| {
            let judged = machine.delete_before(offset, effects);
            wanted = judged.map_err(errors::of_read_refusal);
        });
        let to = wanted?;
        let host = self.hosts.find_mut(part.log);
        let host = host.expect("its machine has just spoken");
        let start = host.machine.log_start();
        if to <= start {
            return Ok(Some(Outcome::LogStart(start)));
        }
        host.trims.insert(Trim {
            to,
            home: mail.home,
            request: mail.request,
            part: part.part,
        });
        Ok(None)
    }

    fn producers_of(&self, part: &ErrandPart) -> Result<Outcome, ErrorCode> {
        let host = self.hosts.find(part.log);
        let host = host.ok_or_else(|| self.absent(part.topic, part.partition))?;
        let known = host.machine.known_producers();
        Ok(Outcome::Producers(known.map_err(errors::of_read_refusal)?))
    }

    /// The start of a log is durable: who waited for it is told.
    pub(super) fn start_moved(&mut self, now: Now, log: LogNumber, log_start: Offset) {
        let Some(host) = self.hosts.find_mut(log) else {
            return;
        };
        host.machine.start_moved(log_start);
        let mut reached = Vec::new();
        while let Some(trim) = host.trims.pop_first() {
            if trim.to > log_start {
                host.trims.insert(trim);
                break;
            }
            reached.push(trim);
        }
        self.tell_trimmed(now, reached, Ok(Outcome::LogStart(log_start)));
    }

    /// A log is gone, or leads no more: who waits for its start is told.
    pub(super) fn refuse_trims(&mut self, now: Now, log: LogNumber, code: ErrorCode) {
        let Some(host) = self.hosts.find_mut(log) else {
            return;
        };
        let trims: Vec<Trim> = std::mem::take(&mut host.trims).into_iter().collect();
        self.tell_trimmed(now, trims, Err(code));
    }

    fn tell_trimmed(&mut self, now: Now, trims: Vec<Trim>, result: Result<Outcome, ErrorCode>) {
        for trim in trims {
            let done = PartDone {
                part: trim.part,
                result: result.clone(),
            };
            self.tell_done(now, trim.home, trim.request, vec![done]);
        }
    }

    fn tell_done(&mut self, now: Now, home: ShardIndex, request: RequestId, parts: Vec<PartDone>) {
        if !parts.is_empty() {
            self.send(now, home, Mail::ErrandDone { request, parts });
        }
    }

    /// A shard has done errands.
    pub(super) fn take_errands(&mut self, id: RequestId, parts: Vec<PartDone>) {
        if let Some(request) = self.requests.find_mut(id)
            && let Work::Errand(answer, _) = &mut request.work
        {
            for part in parts {
                answer.take(part);
            }
            if answer.is_complete() {
                self.finish_errands(id);
            }
        }
    }

    /// The errands of a request took too long.
    pub(super) fn errand_due(&mut self, id: RequestId) {
        if let Some(request) = self.requests.find_mut(id)
            && let Work::Errand(answer, _) = &mut request.work
        {
            answer.time_out();
            self.finish_errands(id);
        }
    }

    fn finish_errands(&mut self, id: RequestId) {
        let Some(request) = self.requests.remove(id) else {
            return;
        };
        if let Work::Errand(answer, timer) = request.work {
            if let Some(timer) = timer {
                self.timers.clear(timer);
            }
            let (version, correlation_id) = (request.version, request.correlation_id);
            self.answer(request.slot, version, correlation_id, answer.finish());
        }
    }
}
