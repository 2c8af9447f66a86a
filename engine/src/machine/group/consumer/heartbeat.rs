//! ConsumerGroupHeartbeat (rules K1 to K4).

use super::assign::Assignor;
use super::member::{LEFT_FOR_A_WHILE, Member};
use super::partitions::Partitions;
use super::{ConsumerGroup, Pattern, Refused, member};
use crate::machine::group::NAME_BYTES_MAX;
use crate::machine::group::call::Caller;
use crate::machine::group::desk::Desk;
use millstream_net::wire::api::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatAssignment,
};
use millstream_net::wire::offsets_topic::{GroupRecord, TargetAssignmentMemberValue};
use millstream_net::wire::{ErrorCode, Str};

/// BOUND: topics that a member names.
pub(super) const TOPICS_MAX: usize = 10_000;

/// What is wrong with a request before its group is looked at.
pub(in super::super) fn judge(
    version: i16,
    request: &ConsumerGroupHeartbeatRequest,
) -> Result<(), Refused> {
    let invalid = |text: &str| Err((ErrorCode::InvalidRequest, text.to_owned()));
    let is_long = |text: &Option<Str>| {
        text.as_ref()
            .is_some_and(|text| text.len() > NAME_BYTES_MAX)
    };
    let is_blank = |text: &Option<Str>| text.as_ref().is_some_and(|text| text.trim().is_empty());
    if request.group_id.trim().is_empty() {
        return invalid("GroupId can't be empty.");
    }
    if request.member_id.is_empty() && (version >= 1 || request.member_epoch != 0) {
        return invalid("MemberId can't be empty.");
    }
    if is_blank(&request.instance_id) {
        return invalid("InstanceId can't be empty.");
    }
    if is_blank(&request.rack_id) {
        return invalid("RackId can't be empty.");
    }
    let names = request
        .subscribed_topic_names
        .as_deref()
        .unwrap_or_default();
    if request.member_id.len() > NAME_BYTES_MAX
        || is_long(&request.instance_id)
        || is_long(&request.rack_id)
        || names.len() > TOPICS_MAX
        || names
            .iter()
            .any(|name| name.len() > crate::machine::TOPIC_NAME_BYTES_MAX)
    {
        return invalid("MemberId, InstanceId, RackId or SubscribedTopicNames is too long.");
    }
    match request.member_epoch {
        0 => judge_join(request)?,
        LEFT_FOR_A_WHILE if request.instance_id.is_none() => {
            return invalid("InstanceId can't be null.");
        }
        ..LEFT_FOR_A_WHILE => return invalid("MemberEpoch is invalid."),
        _ => {}
    }
    match request.server_assignor.as_deref() {
        Some(name) if Assignor::named(name).is_none() => Err((
            ErrorCode::UnsupportedAssignor,
            format!("ServerAssignor {name} is not supported. Supported assignors: uniform, range."),
        )),
        _ => Ok(()),
    }
}

/// Whether the pattern of a request is one, before a group is made or changed for it.
pub(in super::super) fn judge_pattern(
    request: &ConsumerGroupHeartbeatRequest,
) -> Result<(), Refused> {
    match request.subscribed_topic_regex.as_deref() {
        Some(pattern) if !pattern.is_empty() => Pattern::parse(pattern).map(drop),
        _ => Ok(()),
    }
}

fn judge_join(request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refused> {
    let invalid = |text: &str| Err((ErrorCode::InvalidRequest, text.to_owned()));
    if request.rebalance_timeout_ms == -1 {
        return invalid("RebalanceTimeoutMs must be provided in first request.");
    }
    if !request.topic_partitions.as_ref().is_some_and(Vec::is_empty) {
        return invalid("TopicPartitions must be empty when (re-)joining.");
    }
    let names = request.subscribed_topic_names.as_ref();
    let pattern = request.subscribed_topic_regex.as_ref();
    // An empty list of names is lawful: the member wants nothing yet.
    if names.is_none() && pattern.is_none() {
        return invalid(
            "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
        );
    }
    Ok(())
}

impl ConsumerGroup {
    /// A member joins or is alive.
    pub(in super::super) fn heartbeat(
        &mut self,
        desk: &mut Desk,
        caller: &Caller,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refused> {
        let owned = request
            .topic_partitions
            .as_deref()
            .map(Partitions::of_heartbeat);
        let joins = request.member_epoch == 0;
        let mut now = self.admit(desk, request, owned.as_ref())?;
        if request.member_epoch == 0 || now.epoch == LEFT_FOR_A_WHILE {
            now.client_id = caller.client_id.own();
            now.client_host = caller.host.own();
        }
        let pattern = take_wishes(&mut now, request)?;
        let known = self.members.get(&now.id).cloned();
        // The answer to its last heartbeat was lost.
        let present = known.as_ref().map_or(0, |known| known.epoch);
        let repeats = request.member_epoch != present;
        let changed = known
            .as_ref()
            .is_none_or(|known| !known.wants_the_same(&now));
        if known.as_ref() != Some(&now) {
            desk.append(now.metadata_record(&self.id));
        }
        let id = now.id.clone();
        self.set_member(now);
        if let Some((text, parsed)) = pattern {
            self.patterns.entry(text).or_insert(parsed);
        }
        if changed {
            self.forget_unused_patterns(desk);
            self.note_topics(desk);
            self.raise_epoch(desk);
        } else if self.topics_changed(desk) {
            self.raise_epoch(desk);
        }
        self.retarget(desk);
        let before = self.members[&id].assigned.clone();
        self.reconcile(desk, &id, owned.as_ref());
        self.touch(desk, &id);
        let member = &self.members[&id];
        let says_everything = joins
            || (request.rebalance_timeout_ms != -1
                && (request.subscribed_topic_names.is_some()
                    || request.subscribed_topic_regex.is_some())
                && owned.is_some());
        // Who reports something else than it shall have did not get, or not yet follow, the last answer.
        let differs = owned.is_some_and(|owned| owned != member.assigned);
        let news = says_everything || differs || member.assigned != before || repeats;
        let assignment = news.then(|| HeartbeatAssignment {
            topic_partitions: member.assigned.told(),
        });
        Ok(ConsumerGroupHeartbeatResponse {
            member_id: Some(id.clone()),
            member_epoch: member.epoch,
            heartbeat_interval_ms: self.heartbeat_ms(desk, member),
            assignment,
            ..ConsumerGroupHeartbeatResponse::default()
        })
    }

    /// The member that a request is of: known, new, or in the place of a static one that left for a while.
    fn admit(
        &mut self,
        desk: &mut Desk,
        request: &ConsumerGroupHeartbeatRequest,
        owned: Option<&Partitions>,
    ) -> Result<Member, Refused> {
        let id = match request.member_id.is_empty() {
            true => desk.uuid(),
            false => request.member_id.own(),
        };
        if let Some(instance) = &request.instance_id {
            return self.admit_static(desk, request, owned, id, instance);
        }
        match self.members.get(&id) {
            Some(known) => {
                if request.member_epoch != 0 {
                    judge_epoch(known, request.member_epoch, owned)?;
                }
                Ok(known.clone())
            }
            None if request.member_epoch == 0 => self.new_member(desk, id),
            None => Err(unknown(&id, &self.id)),
        }
    }

    fn admit_static(
        &mut self,
        desk: &mut Desk,
        request: &ConsumerGroupHeartbeatRequest,
        owned: Option<&Partitions>,
        id: Str,
        instance: &Str,
    ) -> Result<Member, Refused> {
        let joins = request.member_epoch == 0;
        let holder = self.statics.get(instance).cloned();
        let Some(holder) = holder else {
            return match (joins, self.members.get(&id)) {
                // It takes a name, or another one.
                (true, Some(known)) => Ok(known.clone()),
                (true, None) => self.new_member(desk, id),
                (false, _) => Err(unknown(&id, &self.id)),
            };
        };
        let known = self.members[&holder].clone();
        if holder == id {
            if !joins {
                judge_epoch(&known, request.member_epoch, owned)?;
            }
            return Ok(known);
        }
        if !joins {
            let text =
                format!("Static member {id} with instance id {instance} was fenced by {holder}.");
            return Err((ErrorCode::FencedInstanceId, text));
        }
        if known.epoch != LEFT_FOR_A_WHILE {
            let text = format!(
                "Static member {id} with instance id {instance} cannot join the group because the instance id is owned by {holder} member."
            );
            return Err((ErrorCode::UnreleasedInstanceId, text));
        }
        Ok(self.succeed(desk, &holder, id))
    }

    fn new_member(&self, desk: &Desk, id: Str) -> Result<Member, Refused> {
        if self.members.len() >= desk.config.consumer_size_max {
            let text = "The consumer group has reached its maximum capacity.";
            return Err((ErrorCode::GroupMaxSizeReached, text.to_owned()));
        }
        Ok(Member::new(id))
    }

    /// A static member comes back under a new id: it takes over what the old one had.
    pub(super) fn succeed(&mut self, desk: &mut Desk, old: &Str, id: Str) -> Member {
        let target = self.targets.get(old).cloned().unwrap_or_default();
        let former = self.drop_member(desk, old).expect("it is known");
        self.write_gone(desk, old);
        let successor = Member {
            id: id.clone(),
            // Below every epoch: what was given to others meanwhile is found out.
            epoch: 0,
            ..former
        };
        let value = TargetAssignmentMemberValue {
            topic_partitions: target.as_target(),
        };
        let key = member::key(&self.id, &id);
        desk.append(successor.metadata_record(&self.id));
        desk.append(GroupRecord::TargetMember(key, Some(value)));
        desk.append(successor.current_record(&self.id));
        self.targets.insert(id, target);
        self.set_member(successor.clone());
        successor
    }
}

/// Takes what a request says a member wants; what it does not say stays (rule K3). The pattern is compiled where it is new.
fn take_wishes(
    member: &mut Member,
    request: &ConsumerGroupHeartbeatRequest,
) -> Result<Option<(Str, Pattern)>, Refused> {
    if let Some(instance) = &request.instance_id {
        member.instance = Some(instance.own());
    }
    if let Some(rack) = &request.rack_id {
        member.rack = Some(rack.own());
    }
    if request.rebalance_timeout_ms != -1 {
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }
    if let Some(names) = &request.subscribed_topic_names {
        member.names = names.iter().map(Str::own).collect();
    }
    if let Some(assignor) = &request.server_assignor {
        member.assignor = Some(assignor.own());
    }
    member.classic = None;
    let mut compiled = None;
    if let Some(pattern) = &request.subscribed_topic_regex {
        let pattern = Some(pattern.own()).filter(|pattern| !pattern.is_empty());
        if pattern != member.pattern
            && let Some(text) = &pattern
        {
            compiled = Some((text.clone(), Pattern::parse(text)?));
        }
        member.pattern = pattern;
    }
    Ok(compiled)
}

/// Whether a member says the epoch it is in, or repeats a heartbeat whose answer was lost (rule K2).
fn judge_epoch(member: &Member, epoch: i32, owned: Option<&Partitions>) -> Result<(), Refused> {
    let repeats = epoch == member.previous_epoch
        && owned.is_some_and(|owned| owned.iter().all(|place| member.assigned.contains(place)));
    if epoch == member.epoch || (epoch < member.epoch && repeats) {
        return Ok(());
    }
    let relation = match epoch > member.epoch {
        true => "greater",
        false => "smaller",
    };
    let text = format!(
        "The consumer group member has a {relation} member epoch ({epoch}) than the one known by the group coordinator ({}). The member must abandon all its partitions and rejoin.",
        member.epoch
    );
    Err((ErrorCode::FencedMemberEpoch, text))
}

pub(super) fn unknown(id: &Str, group: &Str) -> Refused {
    let text = format!("Member {id} is not a member of group {group}.");
    (ErrorCode::UnknownMemberId, text)
}
