//! Members of a consumer group that speak the classic protocol (rule K7): their generation is their epoch, their subscription is
//! read, and their assignment is written as their clients write it.

use super::ConsumerGroup;
use super::heartbeat::TOPICS_MAX;
use super::member::{Member, Progress};
use super::partitions::Partitions;
use crate::machine::TOPIC_NAME_BYTES_MAX;
use crate::machine::group::call::Caller;
use crate::machine::group::classic::{self, member::rebalance_timeout_ms};
use crate::machine::group::desk::Desk;
use crate::machine::group::timers::Alarm;
use crate::machine::image::Image;
use bytes::Bytes;
use millstream_net::wire::api::{
    JoinGroupProtocol, JoinGroupRequest, JoinGroupResponse, LeavingMember, LeftMember,
    SyncGroupRequest, SyncGroupResponse,
};
use millstream_net::wire::consumer_protocol::{
    ConsumerAssignment, ConsumerPartitions, ConsumerSubscription, version_of,
};
use millstream_net::wire::offsets_topic::{ClassicMemberMetadata, ClassicProtocol};
use millstream_net::wire::{ErrorCode, Str};

impl ConsumerGroup {
    /// Whether a classic member says what it wants, in what it likes most.
    pub(in super::super) fn understands(member: &classic::member::Member) -> bool {
        let first = member.protocols.first();
        first.is_some_and(|first| ConsumerSubscription::decode(&first.metadata).is_ok())
    }

    /// The group that a classic group of consumers becomes.
    pub(in super::super) fn of_classic(
        desk: &mut Desk,
        classic: &classic::Classic,
    ) -> ConsumerGroup {
        let mut group = ConsumerGroup::new(classic.id.clone(), classic.since_ms);
        group.epoch = classic.generation;
        group.target_epoch = classic.generation;
        let mut claims = Vec::new();
        for one in classic.members.values() {
            let first = one.protocols.first().map(|first| &first.metadata);
            let said = first.map(ConsumerSubscription::decode).and_then(Result::ok);
            let said = said.unwrap_or_default();
            let assigned = ConsumerAssignment::decode(&one.assignment);
            let assigned = assigned
                .map(|one| one.assigned_partitions)
                .unwrap_or_default();
            let mut member = Member::new(one.id.clone());
            member.instance = one.instance.clone();
            member.rack = said.rack_id.as_ref().map(Str::own);
            member.client_id = one.client_id.clone();
            member.client_host = one.client_host.clone();
            member.names = said.topics.iter().map(Str::own).collect();
            member.rebalance_timeout_ms = one.rebalance_timeout_ms;
            member.classic = Some(metadata_of(one.session_timeout_ms, &one.protocols));
            member.epoch = classic.generation;
            member.previous_epoch = classic.generation;
            // A partition that two assignments name is the first one's.
            member.assigned = group.free_of(&named(&assigned, &desk.image));
            group
                .targets
                .insert(member.id.clone(), member.assigned.clone());
            claims.push((one.id.clone(), named(&said.owned_partitions, &desk.image)));
            group.set_member(member);
        }
        claims
            .iter()
            .for_each(|(id, owned)| group.respect(id, owned));
        group.note_topics(desk);
        group
            .records()
            .into_iter()
            .for_each(|record| desk.append(record));
        for id in group.members.keys().cloned().collect::<Vec<_>>() {
            group.touch(desk, &id);
            group.watch_revocation(desk, &id);
        }
        group
    }

    fn free_of(&self, partitions: &Partitions) -> Partitions {
        let free = partitions.iter();
        free.filter(|place| !self.holders.contains_key(place))
            .collect()
    }

    /// What a member had when it joined, and is not to have, it may have still: in a cooperative rebalance nobody else gets that
    /// before it joins again, and so it is here.
    fn respect(&mut self, id: &Str, owned: &Partitions) {
        let mut member = self.members[id].clone();
        member.revoking = self.free_of(owned);
        if !member.revoking.is_empty() {
            member.progress = Progress::Unrevoked;
        }
        member.note_epochs();
        self.set_member(member);
    }

    /// Whether all its members speak the classic protocol.
    pub(in super::super) fn is_all_classic(&self) -> bool {
        let mut members = self.members.values();
        !self.members.is_empty() && members.all(|member| member.classic.is_some())
    }

    /// What a member has, as its client writes it.
    pub(in super::super) fn assignment_of(&self, member: &Member, image: &Image) -> Bytes {
        let version = member.classic.as_ref().and_then(|classic| {
            let first = classic.supported_protocols.first()?;
            version_of(&first.metadata)
        });
        let topics = member.assigned.topics().filter_map(|(id, partitions)| {
            let topic = image.topic(id)?;
            Some(ConsumerPartitions {
                topic: Str::from(&*topic.name),
                partitions,
            })
        });
        let assignment = ConsumerAssignment {
            assigned_partitions: topics.collect(),
            user_data: None,
        };
        assignment.encode(version.unwrap_or(0))
    }

    /// A classic member joins, anew or again.
    pub(in super::super) fn classic_join(
        &mut self,
        desk: &mut Desk,
        caller: &Caller,
        request: &JoinGroupRequest,
    ) -> JoinGroupResponse {
        match self.try_classic_join(desk, caller, request) {
            Ok(id) => {
                let member = &self.members[&id];
                let protocols = member.classic.as_ref().map(|one| &one.supported_protocols);
                let first = protocols.and_then(|protocols| protocols.first());
                JoinGroupResponse {
                    generation_id: member.epoch,
                    protocol_type: Some(Str::from_static("consumer")),
                    protocol_name: first.map(|one| one.name.clone()),
                    member_id: id,
                    ..JoinGroupResponse::default()
                }
            }
            Err(code) => classic::refused(code, request.member_id.clone()),
        }
    }

    fn try_classic_join(
        &mut self,
        desk: &mut Desk,
        caller: &Caller,
        request: &JoinGroupRequest,
    ) -> Result<Str, ErrorCode> {
        let inconsistent = ErrorCode::InconsistentGroupProtocol;
        let first = request.protocols.first().ok_or(inconsistent)?;
        if request.protocol_type != "consumer" {
            return Err(inconsistent);
        }
        if request.protocols.len() > classic::PROTOCOLS_MAX {
            return Err(ErrorCode::InvalidRequest);
        }
        let protocols = request.protocols.iter();
        let bytes: usize = protocols
            .map(|one| one.name.len() + one.metadata.len())
            .sum();
        if bytes + self.classic_bytes() > classic::BYTES_MAX {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        let said = ConsumerSubscription::decode(&first.metadata).map_err(|_| inconsistent)?;
        let long = |name: &Str| name.len() > TOPIC_NAME_BYTES_MAX;
        if said.topics.len() > TOPICS_MAX || said.topics.iter().any(long) {
            return Err(ErrorCode::InvalidRequest);
        }
        let former = self.classic_member(desk, request)?;
        let mut now = former.clone();
        now.client_id = caller.client_id.own();
        now.client_host = caller.host.own();
        now.instance = request.group_instance_id.as_ref().map(Str::own);
        now.rack = said.rack_id.as_ref().map(Str::own);
        now.names = said.topics.iter().map(Str::own).collect();
        now.pattern = None;
        now.assignor = None;
        now.rebalance_timeout_ms = rebalance_timeout_ms(request);
        now.classic = Some(metadata_of(request.session_timeout_ms, &request.protocols));
        let id = now.id.clone();
        let known = self.members.get(&id);
        let changed = known.is_none_or(|known| !known.wants_the_same(&now));
        if known != Some(&now) {
            desk.append(now.metadata_record(&self.id));
        }
        self.set_member(now);
        if changed {
            self.forget_unused_patterns(desk);
            self.note_topics(desk);
            self.raise_epoch(desk);
        } else if self.topics_changed(desk) {
            self.raise_epoch(desk);
        }
        self.retarget(desk);
        let owned = named(&said.owned_partitions, &desk.image);
        self.reconcile(desk, &id, Some(&owned));
        desk.timers.clear(&self.id, Alarm::Rejoin(id.clone()));
        self.touch(desk, &id);
        Ok(id)
    }

    /// The bytes that its classic members are remembered by.
    fn classic_bytes(&self) -> usize {
        let classic = self.members.values().filter_map(|one| one.classic.as_ref());
        let protocols = classic.flat_map(|one| &one.supported_protocols);
        protocols
            .map(|one| one.name.len() + one.metadata.len())
            .sum()
    }

    fn classic_member(
        &mut self,
        desk: &mut Desk,
        request: &JoinGroupRequest,
    ) -> Result<Member, ErrorCode> {
        let anew = request.member_id.is_empty();
        if let Some(instance) = &request.group_instance_id
            && let Some(holder) = self.statics.get(instance).cloned()
        {
            if !anew && holder != request.member_id {
                return Err(ErrorCode::FencedInstanceId);
            }
            if !anew {
                return Ok(self.members[&holder].clone());
            }
            let id = desk.member_id(instance);
            return Ok(self.succeed(desk, &holder, id));
        }
        if !anew {
            let known = self.members.get(&request.member_id).cloned();
            return known.ok_or(ErrorCode::UnknownMemberId);
        }
        if self.members.len() >= desk.config.consumer_size_max {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        let name = request.group_instance_id.clone().unwrap_or_default();
        Ok(Member::new(match name.is_empty() {
            true => desk.uuid(),
            false => desk.member_id(&name),
        }))
    }

    /// Finds the classic member that a request names.
    fn find_classic(
        &self,
        id: &Str,
        instance: Option<&Str>,
        generation: i32,
    ) -> Result<&Member, ErrorCode> {
        if let Some(instance) = instance {
            match self.statics.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(holder) if holder != id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        let member = self
            .members
            .get(id)
            .filter(|member| member.classic.is_some());
        let member = member.ok_or(ErrorCode::UnknownMemberId)?;
        match member.epoch == generation {
            true => Ok(member),
            false => Err(ErrorCode::IllegalGeneration),
        }
    }

    /// A classic member asks for its assignment.
    pub(in super::super) fn classic_sync(
        &mut self,
        desk: &mut Desk,
        request: &SyncGroupRequest,
    ) -> SyncGroupResponse {
        let instance = request.group_instance_id.as_ref();
        let found = self.find_classic(&request.member_id, instance, request.generation_id);
        let assignment = match found {
            Ok(member) => self.assignment_of(member, &desk.image),
            Err(code) => {
                return SyncGroupResponse {
                    error_code: code,
                    ..SyncGroupResponse::default()
                };
            }
        };
        self.touch(desk, &request.member_id);
        SyncGroupResponse {
            protocol_type: request.protocol_type.clone(),
            protocol_name: request.protocol_name.clone(),
            assignment,
            ..SyncGroupResponse::default()
        }
    }

    /// A classic member is alive; it is told to join again where there is something new for it.
    pub(in super::super) fn classic_heartbeat(
        &mut self,
        desk: &mut Desk,
        id: &Str,
        instance: Option<&Str>,
        generation: i32,
    ) -> ErrorCode {
        let member = match self.find_classic(id, instance, generation) {
            Ok(member) => member,
            Err(code) => return code,
        };
        // Before the next assignment is due, joining again would tell it nothing new.
        let due = self.epoch > self.target_epoch && self.assignable_at(desk).is_none();
        let news = due
            || self.target_epoch > member.epoch
            || member.progress == Progress::Unrevoked
            || (member.progress == Progress::Unreleased && self.can_get_more(member));
        let timeout_ms = member.rebalance_timeout_ms;
        self.touch(desk, id);
        if !news {
            return ErrorCode::None;
        }
        let at = classic::after(desk, timeout_ms);
        desk.timers
            .set_if_absent(&self.id, Alarm::Rejoin(id.clone()), at);
        ErrorCode::RebalanceInProgress
    }

    /// A classic member was told to join again and did not.
    pub(in super::super) fn rejoin_due(&mut self, desk: &mut Desk, id: &Str) {
        self.remove(desk, id);
    }

    /// Members leave by the classic protocol.
    pub(in super::super) fn classic_leave(
        &mut self,
        desk: &mut Desk,
        leaving: &[LeavingMember],
    ) -> Vec<LeftMember> {
        let mut left = Vec::with_capacity(leaving.len());
        for one in leaving {
            let named = match &one.group_instance_id {
                None => Ok(one.member_id.clone()),
                Some(instance) => match self.statics.get(instance) {
                    None => Err(ErrorCode::UnknownMemberId),
                    Some(id) if !one.member_id.is_empty() && *id != one.member_id => {
                        Err(ErrorCode::FencedInstanceId)
                    }
                    Some(id) => Ok(id.clone()),
                },
            };
            let error_code = match named {
                Err(code) => code,
                Ok(id) if self.members.contains_key(&id) => {
                    self.remove(desk, &id);
                    ErrorCode::None
                }
                Ok(_) => ErrorCode::UnknownMemberId,
            };
            left.push(LeftMember {
                member_id: one.member_id.clone(),
                group_instance_id: one.group_instance_id.clone(),
                error_code,
            });
        }
        left
    }
}

fn metadata_of(session_timeout_ms: i32, protocols: &[JoinGroupProtocol]) -> ClassicMemberMetadata {
    let protocols = protocols.iter().map(|one| ClassicProtocol {
        name: one.name.own(),
        metadata: Bytes::copy_from_slice(&one.metadata),
    });
    ClassicMemberMetadata {
        session_timeout_ms,
        supported_protocols: protocols.collect(),
    }
}

/// Partitions that are named by topic; topics that are not there are left out.
fn named(topics: &[ConsumerPartitions], image: &Image) -> Partitions {
    let places = topics.iter().filter_map(|topic| {
        let known = image.topic_named(&topic.topic)?;
        Some(topic.partitions.iter().map(|one| (known.id, *one)))
    });
    places.flatten().collect()
}
