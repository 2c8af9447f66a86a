//! A classic group as a record, and back.

use super::super::consumer::member::Member as ConsumerMember;
use super::super::desk::Desk;
use super::member::Member;
use super::{Classic, State};
use bytes::Bytes;
use millstream_net::wire::Str;
use millstream_net::wire::api::JoinGroupProtocol;
use millstream_net::wire::consumer_protocol::ConsumerSubscription;
use millstream_net::wire::offsets_topic::{
    GroupKey, GroupMetadataMember, GroupMetadataValue, GroupRecord,
};
use millstream_storage::ids::Tick;
use std::collections::BTreeSet;

impl Classic {
    /// Writes the group down.
    pub(super) fn write(&self, desk: &mut Desk) {
        desk.append(self.record());
    }

    /// The group as a record.
    pub(in super::super) fn record(&self) -> GroupRecord {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = self.members.values().map(|member| GroupMetadataMember {
            member_id: member.id.clone(),
            group_instance_id: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout: member.rebalance_timeout_ms,
            session_timeout: member.session_timeout_ms,
            subscription: member.metadata(protocol),
            assignment: member.assignment.clone(),
        });
        let value = GroupMetadataValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            current_state_timestamp: self.since_ms,
            members: members.collect(),
        };
        let group = self.id.clone();
        GroupRecord::GroupMetadata(GroupKey { group }, Some(value))
    }

    /// The group that a record tells of. What was joining or assigning when it was written begins anew.
    pub(in super::super) fn replayed(id: Str, value: &GroupMetadataValue) -> Classic {
        let mut group = Classic::new(id, value.current_state_timestamp);
        let protocol_type = Some(&value.protocol_type);
        group.protocol_type = protocol_type.filter(|one| !one.is_empty()).map(Str::own);
        group.generation = value.generation.max(0);
        group.protocol = value.protocol.as_ref().map(Str::own);
        group.leader = value.leader.as_ref().map(Str::own);
        for one in &value.members {
            group.admit(member_of(one, value.protocol.as_ref()));
        }
        if !group.members.is_empty() {
            group.state = State::Stable;
            let led = |id: &Str| group.members.contains_key(id);
            if !group.leader.as_ref().is_some_and(led) {
                group.leader = group.members.keys().next().cloned();
            }
            group.protocol.get_or_insert_with(Str::default);
        }
        group
    }

    /// Takes a member that a record tells of. Of two that share an id or a static name, which no coordinator writes, the later
    /// one counts.
    fn admit(&mut self, member: Member) {
        let former = self.members.remove(&member.id);
        if let Some(instance) = former.and_then(|former| former.instance) {
            self.statics.remove(&instance);
        }
        if let Some(instance) = &member.instance
            && let Some(former) = self.statics.insert(instance.clone(), member.id.clone())
        {
            self.members.remove(&former);
        }
        self.members.insert(member.id.clone(), member);
    }
}

impl Classic {
    /// The classic group that a consumer group becomes, each member with its assignment.
    pub(in super::super) fn of_consumers(
        id: Str,
        generation: i32,
        members: Vec<(&ConsumerMember, Bytes)>,
    ) -> Classic {
        let mut group = Classic::new(id, 0);
        group.protocol_type = Some(Str::from_static("consumer"));
        group.generation = generation;
        for (one, assignment) in members {
            let spoken = one.classic.clone().unwrap_or_default();
            let protocols = spoken.supported_protocols.iter();
            let member = Member {
                id: one.id.clone(),
                instance: one.instance.clone(),
                client_id: one.client_id.clone(),
                client_host: one.client_host.clone(),
                rebalance_timeout_ms: one.rebalance_timeout_ms,
                session_timeout_ms: spoken.session_timeout_ms,
                protocols: protocols
                    .map(|protocol| JoinGroupProtocol {
                        name: protocol.name.clone(),
                        metadata: protocol.metadata.clone(),
                    })
                    .collect(),
                assignment,
                joining: None,
                syncing: None,
                owes_sync: false,
                is_new: false,
                session_end: Tick::default(),
            };
            if let Some(instance) = &member.instance {
                group.statics.insert(instance.clone(), member.id.clone());
            }
            group.members.insert(member.id.clone(), member);
        }
        group.leader = group.members.keys().next().cloned();
        group.protocol = Some(group.elected_protocol().unwrap_or_default());
        group.state = State::Stable;
        group
    }

    /// Writes down what it has become; sessions begin anew.
    pub(in super::super) fn carry_on(&mut self, desk: &mut Desk) {
        self.write(desk);
        self.loaded(desk);
    }

    /// Has all members join again.
    pub(in super::super) fn begin_again(&mut self, desk: &mut Desk) {
        self.somebody_left(desk);
    }
}

fn member_of(one: &GroupMetadataMember, protocol: Option<&Str>) -> Member {
    let rebalance_timeout_ms = match one.rebalance_timeout {
        -1 => one.session_timeout,
        other => other,
    };
    Member {
        id: one.member_id.own(),
        instance: one.group_instance_id.as_ref().map(Str::own),
        client_id: one.client_id.own(),
        client_host: one.client_host.own(),
        rebalance_timeout_ms,
        session_timeout_ms: one.session_timeout,
        protocols: vec![JoinGroupProtocol {
            name: protocol.map(Str::own).unwrap_or_default(),
            metadata: Bytes::copy_from_slice(&one.subscription),
        }],
        assignment: Bytes::copy_from_slice(&one.assignment),
        joining: None,
        syncing: None,
        owes_sync: false,
        is_new: false,
        session_end: Tick::default(),
    }
}

/// The topics that the members of a group of consumers are subscribed to, as far as their metadata tell; `None` where some do
/// not. Only what is kept or deleted hangs on it, never what members are told.
pub(in super::super) fn subscribed_topics(group: &Classic) -> Option<BTreeSet<Str>> {
    if !group.is_of_consumers() {
        return None;
    }
    let protocol = group.protocol.as_ref()?;
    let mut topics = BTreeSet::new();
    for member in group.members.values() {
        let told = ConsumerSubscription::decode(&member.metadata(protocol)).ok()?;
        topics.extend(told.topics.iter().map(Str::own));
    }
    Some(topics)
}
