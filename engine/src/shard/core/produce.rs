//! Produce: checking and splitting at the shard of the connection, appending at the owner, joining the outcomes.
//!
//! Always: (1) batches of one connection and partition are appended in the order in which they arrived (rule C6): the local
//! ones before any other kind of event is handled, the others by mail, which keeps its order, and none passes one that is in the workshop
//! (`lanes`); (2) a batch is
//! appended only after the store has said that it will take its bytes, so a refusal [56] assigns nothing.

use super::Core;
use super::lanes::{Asking, Passage};
use super::requests::{Request, Work};
use super::slots::SlotId;
use super::stall::Arrival;
use crate::api::batches::{Budget, Unprepared};
use crate::api::produce::{
    AppendPart, BatchRefused, Outcome, PartAppended, ProduceAnswer, refuse_all,
};
use crate::api::topic_names::Naming;
use crate::api::{errors, topics};
use crate::machine::partition::{self, Acks, Append, Appended, Refusal, Ticket};
use crate::machine::topic_config::TopicConfig;
use crate::shard::mail::{AppendMail, AppendedMail, Hop, Mail, RequestId};
use bytes::Bytes;
use millstream_net::conn::{ConnId, RequestSlot};
use millstream_net::wire::api::{ProducePartition, ProduceRequest, ProduceTopic};
use millstream_net::wire::{ErrorCode, RequestHeader};
use millstream_storage::batch::BatchRules;
use millstream_storage::ids::{
    LogNumber, Now, Offset, PartitionIndex, ShardIndex, TopicId, WallMs,
};
use millstream_storage::store::Stamp;
use std::collections::VecDeque;
use std::sync::Arc;

/// So many requests with batches for this shard wait for one another at most.
const ARRIVED_MAX: usize = 64;

/// Who waits for an append.
pub(super) enum Asker {
    /// A request of a shard, and the batch's place in it.
    Request(ShardIndex, RequestId, u32),
    /// The group coordinator of the partition.
    Coordinator,
}

/// An append at its owner, from its arrival to its answer.
pub(super) struct Origin {
    pub(super) asker: Asker,
    pub(super) log: LogNumber,
    /// The handle stays until the answer: what a shard has not made durable is thereby charged to its transport memory.
    pub(super) batch: Bytes,
    pub(super) records: i64,
}

/// A topic that a request appends to.
struct Target {
    topic: TopicId,
    config: Arc<TopicConfig>,
    rules: BatchRules,
    /// It is internal, and this client is not the one that may write to it (rule P2).
    closed: bool,
    transactional: bool,
}

/// The batches of a request by the way they take.
#[derive(Default)]
struct Sorted {
    groups: Vec<(ShardIndex, Vec<AppendPart>)>,
    laborious: VecDeque<(u32, Unprepared)>,
    refused: Vec<(u32, BatchRefused)>,
    budget: Budget,
    rewritten_bytes: usize,
}

impl Sorted {
    fn add(&mut self, shard: ShardIndex, append: AppendPart) {
        match self.groups.iter_mut().find(|group| group.0 == shard) {
            Some(group) => group.1.push(append),
            None => self.groups.push((shard, vec![append])),
        }
    }
}

impl Core {
    /// A Produce request arrived.
    pub(super) fn produce(
        &mut self,
        now: Now,
        slot: RequestSlot,
        header: RequestHeader,
        request: ProduceRequest,
    ) {
        let Some(acks) = Acks::from_wire(request.acks) else {
            let response = refuse_all(&request, ErrorCode::InvalidRequiredAcks);
            return self.respond(slot, &header, response);
        };
        let answer = ProduceAnswer::new(header.api_version, acks, &request);
        let id = self.requests.insert(Request {
            slot,
            version: header.api_version,
            correlation_id: header.correlation_id,
            work: Work::Produce(answer),
        });
        let asking = Asking {
            request: id,
            acks,
            timeout_ms: u32::try_from(request.timeout_ms).unwrap_or(0),
        };
        let mut sorted = Sorted::default();
        let mut part = 0;
        for topic in &request.topics {
            let target = self.target(now, &header, &request, topic);
            for partition in &topic.partitions {
                let sort = match &target {
                    Ok(target) => {
                        self.sort(slot.conn, asking, target, partition, part, &mut sorted)
                    }
                    Err(code) => Err((*code).into()),
                };
                if let Err(refused) = sort {
                    sorted.refused.push((part, refused));
                }
                part += 1;
            }
        }
        let effects = &mut self.conn_effects;
        self.conns.charge(slot, sorted.rewritten_bytes, effects);
        for (shard, parts) in sorted.groups {
            let mail = AppendMail {
                home: self.me,
                request: id,
                index: self.meta.image.index(),
                hop: Hop::First,
                acks,
                timeout_ms: asking.timeout_ms,
                parts,
            };
            match shard == self.me {
                true => self.arrived.push(mail),
                false => self.send(now, shard, Mail::Append(Box::new(mail))),
            }
        }
        if self.arrived.len() >= ARRIVED_MAX {
            self.append_arrived(now);
        }
        self.send_to_workshop(now, id, sorted.budget, sorted.laborious);
        for (part, refused) in sorted.refused {
            self.refuse_append(id, part, refused);
        }
        self.finish_produce(id);
    }

    /// What a request wants of a topic.
    fn target(
        &self,
        now: Now,
        header: &RequestHeader,
        request: &ProduceRequest,
        topic: &ProduceTopic,
    ) -> Result<Target, ErrorCode> {
        let naming = Naming::of(header.api_version);
        let topic = naming.find(&self.meta.image, &topic.name, topic.topic_id)?;
        let config = self.meta.routes.config(topic.id);
        let config = config.ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let by_admin = header.client_id.as_deref() == Some(topics::ADMIN_CLIENT);
        Ok(Target {
            topic: topic.id,
            config: config.clone(),
            rules: topics::batch_rules(config, header.api_version, now.wall),
            closed: topic.is_internal() && !by_admin,
            transactional: request.transactional_id.is_some(),
        })
    }

    /// Everything that can be said of a batch without its partition, and the way it takes.
    fn sort(
        &mut self,
        conn: ConnId,
        asking: Asking,
        target: &Target,
        partition: &ProducePartition,
        part: u32,
        sorted: &mut Sorted,
    ) -> Result<(), BatchRefused> {
        let index = PartitionIndex(partition.index);
        let Some(route) = self.meta.routes.find(target.topic, index) else {
            return Err(ErrorCode::UnknownTopicOrPartition.into());
        };
        if target.closed {
            return Err(ErrorCode::InvalidTopicException.into());
        }
        let passage = Passage {
            part,
            topic: target.topic,
            partition: index,
            shard: route.shard,
            log: route.log,
            transactional: target.transactional,
        };
        let unprepared = Unprepared {
            batch: partition.records.clone().unwrap_or_default(),
            rules: target.rules,
            codec: target.config.compression,
        };
        if unprepared.is_laborious() {
            self.lanes.prepare(conn, asking, passage);
            sorted.laborious.push_back((part, unprepared));
            return Ok(());
        }
        let prepared = unprepared.prepare(&mut sorted.budget)?;
        sorted.rewritten_bytes += prepared.rewritten_bytes;
        let append = passage.append(&prepared)?;
        match self.lanes.is_held_up(conn, route.log) {
            true => self.lanes.wait(conn, asking, passage, append),
            false => sorted.add(route.shard, append),
        }
        Ok(())
    }

    /// Appends what Produce requests brought for partitions of this shard since the last other event: what is known of all
    /// of these is brought near the processor first.
    pub(super) fn append_arrived(&mut self, now: Now) {
        if self.arrived.is_empty() {
            return;
        }
        let mut arrived = std::mem::take(&mut self.arrived);
        if arrived.len() > 1 {
            let logs = arrived.iter().flat_map(|mail| &mail.parts);
            let logs = logs.map(|part| part.log);
            self.hosts.warm(logs.clone());
            self.store.warm(logs);
        }
        for mail in arrived.drain(..) {
            self.append(now, mail);
        }
        self.arrived = arrived;
    }

    /// Batches for partitions of this shard.
    pub(super) fn append(&mut self, now: Now, mut mail: AppendMail) {
        let mut elsewhere: Vec<(ShardIndex, Vec<AppendPart>)> = Vec::new();
        for part in std::mem::take(&mut mail.parts) {
            if self.hosts.find(part.log).is_some() {
                let arrival = Arrival {
                    home: mail.home,
                    request: mail.request,
                    acks: mail.acks,
                    timeout_ms: mail.timeout_ms,
                    part,
                };
                self.arrive(now, arrival);
                continue;
            }
            match self.forward(part.topic, part.partition, mail.hop) {
                Ok(shard) => match elsewhere.iter_mut().find(|group| group.0 == shard) {
                    Some(group) => group.1.push(part),
                    None => elsewhere.push((shard, vec![part])),
                },
                Err(code) => self.appended(mail.home, mail.request, part.part, Err(code)),
            }
        }
        for (shard, parts) in elsewhere {
            let mail = AppendMail {
                hop: Hop::Forwarded,
                index: self.meta.image.index(),
                parts,
                ..mail
            };
            self.send(now, shard, Mail::Append(Box::new(mail)));
        }
    }

    /// Hands a batch that the store admits to its partition.
    pub(super) fn append_part(&mut self, now: Now, arrival: Arrival) {
        let part = arrival.part;
        let origin = self.origins.insert(Origin {
            asker: Asker::Request(arrival.home, arrival.request, part.part),
            log: part.log,
            batch: part.batch,
            records: i64::from(part.head.last_offset_delta) + 1,
        });
        let append = Append {
            ticket: Ticket(origin.to_bits()),
            head: part.head,
            acks: arrival.acks,
            timeout_ms: arrival.timeout_ms,
        };
        self.with_host(now, part.log, |machine, effects| {
            machine.append(now, append, effects);
        });
    }

    /// The machine gave a batch its offsets: its bytes go into the store, stamped.
    pub(super) fn store_batch(&mut self, now: Now, ticket: Ticket, assigned: partition::Assigned) {
        let origin = self.origins.find(SlotId::from_bits(ticket.0));
        let origin = origin.expect("a batch is stored before it is answered");
        let stamp = Stamp {
            base_offset: assigned.base_offset,
            leader_epoch: assigned.leader_epoch,
            log_append_time: assigned.log_append_time_ms.map(WallMs),
        };
        let stored = self.store.append(now, origin.log, &origin.batch, stamp);
        assert!(stored.is_ok(), "the store has admitted the batch");
        let end = Offset(assigned.base_offset.0 + origin.records);
        let bytes = origin.batch.len();
        if let Some(host) = self.hosts.find_mut(origin.log) {
            host.appended(end, bytes);
        }
    }

    /// The machine answered an append.
    pub(super) fn reply(&mut self, now: Now, ticket: Ticket, result: Result<Appended, Refusal>) {
        let origin = self.origins.remove(SlotId::from_bits(ticket.0));
        let origin = origin.expect("an append is answered once");
        match origin.asker {
            Asker::Request(home, request, part) => {
                let result = result.map_err(errors::of_refusal);
                self.appended(home, request, part, result);
            }
            Asker::Coordinator => {
                if result.is_err() {
                    self.coordinator_refused(now, origin.log);
                }
            }
        }
    }

    /// Brings an outcome home: here at once, elsewhere with the letters of this turn.
    pub(super) fn appended(
        &mut self,
        home: ShardIndex,
        request: RequestId,
        part: u32,
        result: Result<Appended, ErrorCode>,
    ) {
        let appended = AppendedMail {
            request,
            part: PartAppended { part, result },
        };
        if home == self.me {
            return self.take_appended(appended);
        }
        self.outbox.appended(home, appended);
    }

    /// An outcome came home.
    pub(super) fn take_appended(&mut self, appended: AppendedMail) {
        let Some(request) = self.requests.find_mut(appended.request) else {
            panic!("a request stays until all its appends are answered");
        };
        let Work::Produce(answer) = &mut request.work else {
            panic!("an append belongs to a Produce request");
        };
        answer.take(appended.part);
        if answer.is_complete() {
            self.complete(appended.request);
        }
    }

    /// A batch goes to no partition.
    pub(super) fn refuse_append(&mut self, id: RequestId, part: u32, refused: BatchRefused) {
        let Some(request) = self.requests.find_mut(id) else {
            return;
        };
        let Work::Produce(answer) = &mut request.work else {
            return;
        };
        answer.refuse(part, refused);
        self.finish_produce(id);
    }

    /// Answers if nothing is open any more.
    fn finish_produce(&mut self, id: RequestId) {
        let Some(request) = self.requests.find_mut(id) else {
            return;
        };
        if let Work::Produce(answer) = &request.work
            && answer.is_complete()
        {
            self.complete(id);
        }
    }

    fn complete(&mut self, id: RequestId) {
        let Some(request) = self.requests.remove(id) else {
            return;
        };
        let Work::Produce(answer) = request.work else {
            return;
        };
        match answer.finish(self.view(request.slot.conn)) {
            Outcome::Answer(response) => self.answer(
                request.slot,
                request.version,
                request.correlation_id,
                response,
            ),
            Outcome::Silence => self.conns.no_answer(request.slot, &mut self.conn_effects),
            Outcome::Close => self.conns.close_at(request.slot, &mut self.conn_effects),
        }
    }
}
