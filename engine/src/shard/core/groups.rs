//! Requests about groups at the shard of the connection: split by coordinator, joined, answered.
//!
//! Always: a group whose coordinator is not on this node is refused [16]; while the offsets topic is not there every group is.

use super::Core;
use super::listings::NOBODY;
use super::requests::{Request, Work};
use super::topics::CONTROLLER;
use crate::api;
use crate::api::groups::{OFFSETS_TOPIC, offsets_topic, partition_of, split};
use crate::machine::group::{Call, Caller};
use crate::machine::image::Topic;
use crate::shard::mail::{Ask, GroupMail, GroupPart, GroupedMail, Hop, Mail};
use millstream_net::conn::RequestSlot;
use millstream_net::wire::api::FindCoordinatorRequest;
use millstream_net::wire::{ErrorCode, Request as WireRequest, RequestHeader, Str};
use millstream_storage::ids::{Now, PartitionIndex, ShardIndex};
use std::sync::Arc;

impl Core {
    /// A FindCoordinator request arrived. The first one has the offsets topic made.
    pub(super) fn find_coordinator(
        &mut self,
        now: Now,
        slot: RequestSlot,
        header: RequestHeader,
        request: FindCoordinatorRequest,
    ) {
        let listener = self.listeners.get(&slot.conn).copied();
        let (image, settings) = (&self.meta.image, &self.settings);
        let version = header.api_version;
        let answered = api::find_coordinator::answer(version, &request, image, settings, listener);
        if answered.wants_topic {
            let ask = Box::new(Ask::AutoCreate(vec![OFFSETS_TOPIC.to_owned()]));
            let request = NOBODY;
            self.send(now, CONTROLLER, Mail::Ask { request, ask });
        }
        self.respond(slot, &header, answered.response);
    }

    /// A request about groups arrived.
    pub(super) fn groups(
        &mut self,
        now: Now,
        slot: RequestSlot,
        header: RequestHeader,
        body: WireRequest,
    ) {
        let version = header.api_version;
        let topic = offsets_topic(&self.meta.image).cloned();
        let led = topic
            .as_ref()
            .map_or(Vec::new(), |topic| self.led_here(topic));
        let key = body.key();
        let Some((calls, answer)) = split(version, body, led.len()) else {
            // What the table does not serve is refused before its body is read.
            unreachable!("{key:?} is served and has no handler");
        };
        if answer.is_complete() {
            return self.respond(slot, &header, answer.finish());
        }
        let caller = Caller {
            client_id: header.client_id.clone().unwrap_or_default(),
            host: self.peer_name(slot),
            version,
        };
        let id = self.requests.insert(Request {
            slot,
            version,
            correlation_id: header.correlation_id,
            work: Work::Groups(answer),
        });
        let mut mails: Vec<(ShardIndex, Vec<GroupPart>)> = Vec::new();
        for (part, call) in calls.into_iter().enumerate() {
            let routed = self.route_group(topic.as_ref(), &led, part, &call);
            let part = part as u32;
            let Some((topic, partition, route)) = routed else {
                let answer = call.refuse(ErrorCode::NotCoordinator);
                self.take_grouped(GroupedMail {
                    request: id,
                    part,
                    answer,
                });
                continue;
            };
            let asked = GroupPart {
                part,
                topic: topic.id,
                partition,
                log: route.log,
                call,
            };
            match mails.iter_mut().find(|mail| mail.0 == route.shard) {
                Some(mail) => mail.1.push(asked),
                None => mails.push((route.shard, vec![asked])),
            }
        }
        for (shard, parts) in mails {
            let mail = GroupMail {
                home: self.me,
                request: id,
                index: self.meta.image.index(),
                hop: Hop::First,
                caller: caller.clone(),
                parts,
            };
            self.send(now, shard, Mail::Group(Box::new(mail)));
        }
    }

    /// Where a call goes: to the partition of its group, or, where it is about all groups, to one partition after the other.
    fn route_group<'a>(
        &self,
        topic: Option<&'a Arc<Topic>>,
        led: &[PartitionIndex],
        part: usize,
        call: &Call,
    ) -> Option<(&'a Arc<Topic>, PartitionIndex, super::routes::Route)> {
        let topic = topic?;
        let partition = match call.group() {
            Some(group) => partition_of(group, topic.partitions.len()),
            None => *led.get(part)?,
        };
        let record = self.meta.image.partition(topic.id, partition)?;
        if record.leader != Some(self.settings.node) {
            return None;
        }
        let route = self.meta.routes.find(topic.id, partition)?;
        Some((topic, partition, route))
    }

    /// The partitions of the offsets topic that this node leads.
    fn led_here(&self, topic: &Topic) -> Vec<PartitionIndex> {
        let partitions = topic.partitions.iter();
        let led = partitions.filter(|one| one.leader == Some(self.settings.node));
        led.map(|one| one.index).collect()
    }

    /// Where a client is, as Kafka writes it.
    fn peer_name(&self, slot: RequestSlot) -> Str {
        let peer = self.peers.get(&slot.conn);
        peer.map(|peer| format!("/{peer}").into())
            .unwrap_or_default()
    }

    /// A coordinator has answered.
    pub(super) fn take_grouped(&mut self, grouped: GroupedMail) {
        let Some(request) = self.requests.find_mut(grouped.request) else {
            panic!("a request stays until all its coordinators have answered");
        };
        let Work::Groups(answer) = &mut request.work else {
            panic!("a coordinator answers a request about groups");
        };
        answer.take(grouped.part as usize, grouped.answer);
        if !answer.is_complete() {
            return;
        }
        if let Some(request) = self.requests.remove(grouped.request)
            && let Work::Groups(answer) = request.work
        {
            let (version, correlation_id) = (request.version, request.correlation_id);
            self.answer(request.slot, version, correlation_id, answer.finish());
        }
    }
}
