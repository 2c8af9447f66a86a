//! The coordinator of the groups of one partition of `__consumer_offsets`: members, generations, offsets.
//!
//! Always:
//! 1. Its state is what the records of the partition say, plus what is in no record by design: who waits, whose session ends when.
//! 2. Every call is answered exactly once. A change gives its records before its answer; the composer lets an answer leave when
//!    everything appended before it is committed. There is no undo: a failed append discards the machine.
//! 3. What a client sends is copied, bounded, and returned as it came; it never decides beyond its own group.
//!
//! Leaves to others: which partition a group belongs to, loading, durability, routing of answers.

mod body;
mod call;
mod classic;
mod commit;
mod config;
mod consumer;
mod consumers;
mod delete;
mod desk;
mod expiry;
mod fetch;
mod migrate;
mod offsets;
mod replay;
#[cfg(test)]
mod tests;
mod timers;

pub use call::{Answer, Call, Caller, Ticket};
pub use config::{GroupConfig, GroupSetting};
pub use desk::Effect;

use crate::machine::image::Image;
use body::Body;
use classic::Classic;
use desk::Desk;
use millstream_net::wire::api::{
    DescribedGroup, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, LeaveGroupRequest,
    LeaveGroupResponse, LeavingMember, LeftMember, ListGroupsRequest, ListedGroup,
    SyncGroupRequest, SyncGroupResponse,
};
use millstream_net::wire::{ErrorCode, Str};
use millstream_storage::ids::{Now, Tick};
use offsets::Offsets;
use std::collections::BTreeMap;
use std::sync::Arc;

/// BOUND: the longest name of a group, member, instance or protocol; a record has two bytes for its length.
const NAME_BYTES_MAX: usize = 8_192;

/// One group.
#[derive(Debug)]
struct Group {
    body: Body,
    offsets: Offsets,
}

impl Group {
    fn new(id: Str, now_ms: i64) -> Group {
        Group {
            body: Body::Classic(Box::new(Classic::new(id, now_ms))),
            offsets: Offsets::default(),
        }
    }

    /// Whether nothing would be lost with it.
    fn is_void(&self) -> bool {
        self.body.is_unwritten() && self.offsets.is_empty()
    }
}

/// The coordinator of one partition.
pub struct Coordinator {
    groups: BTreeMap<Str, Group>,
    desk: Desk,
    /// When offsets are looked through for those that have expired.
    expiry: Option<Tick>,
}

impl Coordinator {
    /// A coordinator that knows nothing yet; records follow, then `loaded`. `seed` decides member ids.
    pub fn new(config: Arc<GroupConfig>, seed: u64) -> Coordinator {
        Coordinator {
            groups: BTreeMap::new(),
            desk: Desk::new(config, seed),
            expiry: None,
        }
    }

    /// A client asks.
    pub fn call(
        &mut self,
        now: Now,
        image: &Arc<Image>,
        ticket: Ticket,
        caller: &Caller,
        call: Call,
    ) {
        self.begin(now, image);
        if let Some(code) = unlawful(&call, caller.version) {
            return self.desk.answer(ticket, call.refuse(code));
        }
        match call {
            Call::Join(request) => self.join(ticket, caller, &request),
            Call::Sync(request) => self.sync(ticket, &request),
            Call::Heartbeat(request) => {
                let code = self.heartbeat(&request);
                let answer = HeartbeatResponse {
                    error_code: code,
                    ..HeartbeatResponse::default()
                };
                self.desk.answer(ticket, Answer::Heartbeat(answer));
            }
            Call::Leave(request) => {
                let answer = self.leave(caller, &request);
                self.desk.answer(ticket, Answer::Leave(answer));
            }
            Call::Commit(request) => {
                let answer = self.commit(caller, request);
                self.desk.answer(ticket, Answer::Commit(answer));
            }
            Call::Fetch(group) => {
                let answer = self.fetch(caller, &group);
                self.desk.answer(ticket, Answer::Fetch(answer));
            }
            Call::OffsetDelete(request) => {
                let answer = self.delete_offsets(&request);
                self.desk.answer(ticket, Answer::OffsetDelete(answer));
            }
            Call::Describe(group) => {
                let answer = self.describe(caller, &group);
                self.desk.answer(ticket, Answer::Described(answer));
            }
            Call::List(request) => {
                let answer = self.list(&request);
                self.desk.answer(ticket, Answer::Listed(Ok(answer)));
            }
            Call::Delete(group) => {
                let answer = self.delete(&group);
                self.desk.answer(ticket, Answer::Deleted(answer));
            }
            Call::ConsumerHeartbeat(request) => {
                let answer = self.consumer_heartbeat(caller, &request);
                self.desk.answer(ticket, Answer::ConsumerHeartbeat(answer));
            }
            Call::ConsumerDescribe(group) => {
                let answer = self.consumer_describe(&group);
                self.desk.answer(ticket, Answer::ConsumerDescribed(answer));
            }
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now, image: &Arc<Image>) {
        self.begin(now, image);
        while let Some((id, alarm)) = self.desk.timers.due(now.tick) {
            let Some(group) = self.groups.get_mut(&id) else {
                continue;
            };
            group.body.ring(&mut self.desk, alarm);
            self.downgrade_if_all_classic(&id);
            self.forget_if_void(&id);
        }
        if self.expiry.is_some_and(|at| at <= now.tick) {
            self.expire();
            self.expiry = Some(now.tick.after_ms(self.desk.config.retention_check_ms));
        }
    }

    /// When `tick` wants to be called.
    pub fn deadline(&self) -> Option<Tick> {
        self.desk.timers.next().into_iter().chain(self.expiry).min()
    }

    /// It coordinates no more: everything that waits is answered with this code.
    pub fn discard(&mut self, code: ErrorCode) {
        for group in self.groups.values_mut() {
            if let Body::Classic(classic) = &mut group.body {
                classic.abandon(&mut self.desk, code);
            }
        }
    }

    /// Takes what is to be done.
    pub fn drain(&mut self, effects: &mut Vec<Effect>) {
        effects.append(&mut self.desk.effects);
    }

    /// Asserts every invariant.
    pub fn check(&self) {
        for (id, group) in &self.groups {
            assert_eq!(id, group.body.id());
            group.body.check();
        }
        self.desk.timers.check();
    }

    fn begin(&mut self, now: Now, image: &Arc<Image>) {
        self.desk.now = now;
        if self.desk.image.index() != image.index() {
            self.desk.image = image.clone();
        }
    }

    fn group_or_new(&mut self, id: &Str) -> &mut Group {
        if !self.groups.contains_key(id) {
            let id = id.own();
            let group = Group::new(id.clone(), self.desk.now.wall.0);
            self.groups.insert(id, group);
        }
        self.groups.get_mut(id).expect("it is there now")
    }

    fn forget_if_void(&mut self, id: &Str) {
        if self.groups.get(id).is_some_and(Group::is_void) {
            self.desk.timers.clear_group(id);
            self.groups.remove(id);
        }
    }

    fn join(&mut self, ticket: Ticket, caller: &Caller, request: &JoinGroupRequest) {
        let refuse = |code| Answer::Join(classic::refused(code, request.member_id.clone()));
        let config = &self.desk.config;
        let lawful = config.session_min_ms..=config.session_max_ms;
        if !lawful.contains(&request.session_timeout_ms) {
            let answer = refuse(ErrorCode::InvalidSessionTimeout);
            return self.desk.answer(ticket, answer);
        }
        if !request.member_id.is_empty() && !self.groups.contains_key(&request.group_id) {
            let answer = refuse(ErrorCode::UnknownMemberId);
            return self.desk.answer(ticket, answer);
        }
        if request.member_id.is_empty() {
            self.downgrade_if_empty(&request.group_id);
        }
        self.group_or_new(&request.group_id);
        let group = self.groups.get_mut(&request.group_id);
        let group = group.expect("it was made if it was not there");
        match &mut group.body {
            Body::Classic(classic) => classic.join(&mut self.desk, ticket, caller, request),
            Body::Consumer(consumer) => {
                let answer = consumer.classic_join(&mut self.desk, caller, request);
                self.desk.answer(ticket, Answer::Join(answer));
                // A classic member may have come in the place of the last other one.
                self.downgrade_if_all_classic(&request.group_id);
            }
        }
        self.forget_if_void(&request.group_id);
    }

    fn sync(&mut self, ticket: Ticket, request: &SyncGroupRequest) {
        match self
            .groups
            .get_mut(&request.group_id)
            .map(|group| &mut group.body)
        {
            Some(Body::Classic(classic)) => classic.sync(&mut self.desk, ticket, request),
            Some(Body::Consumer(consumer)) => {
                let answer = consumer.classic_sync(&mut self.desk, request);
                self.desk.answer(ticket, Answer::Sync(answer));
            }
            None => {
                let answer = SyncGroupResponse {
                    error_code: ErrorCode::UnknownMemberId,
                    ..SyncGroupResponse::default()
                };
                self.desk.answer(ticket, Answer::Sync(answer));
            }
        }
    }

    fn heartbeat(&mut self, request: &HeartbeatRequest) -> ErrorCode {
        let Some(group) = self.groups.get_mut(&request.group_id) else {
            return ErrorCode::UnknownMemberId;
        };
        let (id, instance) = (&request.member_id, request.group_instance_id.as_ref());
        let generation = request.generation_id;
        let desk = &mut self.desk;
        group.body.heartbeat(desk, id, instance, generation)
    }

    fn leave(&mut self, caller: &Caller, request: &LeaveGroupRequest) -> LeaveGroupResponse {
        let only = [LeavingMember {
            member_id: request.member_id.clone(),
            ..LeavingMember::default()
        }];
        let leaving = match caller.version {
            ..3 => &only[..],
            3.. => &request.members[..],
        };
        let group = self.groups.get_mut(&request.group_id);
        let left = match group {
            Some(group) => group.body.leave(&mut self.desk, leaving),
            None => leaving.iter().map(unknown_member).collect(),
        };
        self.downgrade_if_all_classic(&request.group_id);
        self.forget_if_void(&request.group_id);
        match caller.version {
            ..3 => LeaveGroupResponse {
                error_code: left[0].error_code,
                ..LeaveGroupResponse::default()
            },
            3.. => LeaveGroupResponse {
                members: left,
                ..LeaveGroupResponse::default()
            },
        }
    }

    /// Rule G14.
    fn describe(&self, caller: &Caller, id: &Str) -> DescribedGroup {
        if let Some(Body::Classic(classic)) = self.groups.get(id).map(|group| &group.body) {
            return classic.describe();
        }
        let dead = DescribedGroup {
            group_id: id.clone(),
            group_state: Str::from_static("Dead"),
            ..DescribedGroup::default()
        };
        match caller.version {
            ..6 => dead,
            6.. => DescribedGroup {
                error_code: ErrorCode::GroupIdNotFound,
                error_message: Some(format!("Group {id} not found.").into()),
                ..dead
            },
        }
    }

    fn list(&self, request: &ListGroupsRequest) -> Vec<ListedGroup> {
        let named = |filter: &[Str], name: &str| {
            filter.is_empty() || filter.iter().any(|one| one.eq_ignore_ascii_case(name))
        };
        let groups = self.groups.values().map(|group| group.body.listed());
        groups
            .filter(|one| named(&request.states_filter, &one.group_state))
            .filter(|one| named(&request.types_filter, &one.group_type))
            .collect()
    }
}

fn unknown_member(leaving: &LeavingMember) -> LeftMember {
    LeftMember {
        member_id: leaving.member_id.clone(),
        group_instance_id: leaving.group_instance_id.clone(),
        error_code: ErrorCode::UnknownMemberId,
    }
}

/// What is wrong with a call before its group is looked at.
fn unlawful(call: &Call, version: i16) -> Option<ErrorCode> {
    let long = |name: &Str| name.len() > NAME_BYTES_MAX;
    let (names, may_be_empty): (Vec<&Str>, bool) = match call {
        Call::Join(request) => {
            let instance = request.group_instance_id.iter();
            let protocols = request.protocols.iter().map(|one| &one.name);
            let names = instance.chain([&request.member_id, &request.protocol_type]);
            (names.chain(protocols).collect(), false)
        }
        Call::Sync(_) | Call::Heartbeat(_) | Call::Leave(_) => (Vec::new(), false),
        // Offsets of the group without a name are an old habit that Kafka keeps up.
        _ => (Vec::new(), true),
    };
    let group = call.group()?;
    if long(group) || (group.is_empty() && !may_be_empty) {
        return Some(ErrorCode::InvalidGroupId);
    }
    if names.into_iter().any(long) {
        return Some(ErrorCode::InvalidRequest);
    }
    match call {
        // From version 5 on a member says which protocol it takes the group's to be (rule G7).
        Call::Sync(request)
            if version >= 5
                && (request.protocol_type.is_none() || request.protocol_name.is_none()) =>
        {
            Some(ErrorCode::InconsistentGroupProtocol)
        }
        _ => None,
    }
}
