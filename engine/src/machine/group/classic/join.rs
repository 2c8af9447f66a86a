//! JoinGroup (rules G2, G3, G6, G9).

use super::super::call::{Answer, Caller, Ticket};
use super::super::desk::Desk;
use super::super::timers::Alarm;
use super::member::Member;
use super::{BYTES_MAX, Classic, PENDING_MAX, PROTOCOLS_MAX, State, ms};
use millstream_net::wire::api::{
    JoinGroupMember, JoinGroupRequest, JoinGroupResponse, SyncGroupResponse,
};
use millstream_net::wire::{ErrorCode, Str};

/// A join that is refused, and the member id it is told.
type Refused = (ErrorCode, Str);

impl Classic {
    /// A client joins, anew or again.
    pub(in super::super) fn join(
        &mut self,
        desk: &mut Desk,
        ticket: Ticket,
        caller: &Caller,
        request: &JoinGroupRequest,
    ) {
        let outcome = match request.member_id.is_empty() {
            true => self.join_anew(desk, ticket, caller, request),
            false => self.join_again(desk, ticket, caller, request),
        };
        if let Err((code, member_id)) = outcome {
            desk.answer(ticket, Answer::Join(refused(code, member_id)));
        }
    }

    fn join_anew(
        &mut self,
        desk: &mut Desk,
        ticket: Ticket,
        caller: &Caller,
        request: &JoinGroupRequest,
    ) -> Result<(), Refused> {
        self.judge(desk, request)
            .map_err(|code| (code, Str::default()))?;
        if let Some(instance) = &request.group_instance_id {
            let id = desk.member_id(instance);
            match self.statics.get(instance).cloned() {
                Some(former) => self.replace(desk, ticket, caller, request, former, id),
                None => self.add(desk, ticket, caller, request, id),
            }
            return Ok(());
        }
        let id = desk.member_id(short(&caller.client_id));
        // From version 4 on a client must come back with the id, so that a lost answer leaves no member behind.
        if caller.version < 4 {
            self.add(desk, ticket, caller, request, id);
            return Ok(());
        }
        if self.pending.len() >= PENDING_MAX {
            return Err((ErrorCode::GroupMaxSizeReached, Str::default()));
        }
        self.pending.insert(id.clone());
        let at = desk.now.tick.after_ms(ms(request.session_timeout_ms));
        desk.timers.set(&self.id, Alarm::Pending(id.clone()), at);
        Err((ErrorCode::MemberIdRequired, id))
    }

    fn join_again(
        &mut self,
        desk: &mut Desk,
        ticket: Ticket,
        caller: &Caller,
        request: &JoinGroupRequest,
    ) -> Result<(), Refused> {
        let id = request.member_id.own();
        let no = |code| (code, id.clone());
        self.judge(desk, request).map_err(no)?;
        if request.group_instance_id.is_none() && self.pending.remove(&id) {
            desk.timers.clear(&self.id, Alarm::Pending(id.clone()));
            self.add(desk, ticket, caller, request, id);
            return Ok(());
        }
        let member = self
            .find(&id, request.group_instance_id.as_ref())
            .map_err(no)?;
        let same = member.says_the_same(request);
        match self.state {
            State::PreparingRebalance => self.update(desk, ticket, request, &id),
            State::CompletingRebalance if same => self.tell_again(desk, ticket, &id),
            State::Stable if same && !self.is_leader(&id) => self.tell_again(desk, ticket, &id),
            State::CompletingRebalance | State::Stable => self.update(desk, ticket, request, &id),
            State::Empty => return Err(no(ErrorCode::UnknownMemberId)),
        }
        Ok(())
    }

    /// What can be said of a join before anything changes.
    fn judge(&self, desk: &Desk, request: &JoinGroupRequest) -> Result<(), ErrorCode> {
        if request.protocols.len() > PROTOCOLS_MAX {
            return Err(ErrorCode::InvalidRequest);
        }
        if self.is_full(desk.config.size_max, &request.member_id) {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        if !self.speaks(&request.protocol_type, &request.protocols) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let protocols = request.protocols.iter();
        let bytes: usize = protocols
            .map(|one| one.name.len() + one.metadata.len())
            .sum();
        match bytes + self.bytes() > BYTES_MAX {
            true => Err(ErrorCode::GroupMaxSizeReached),
            false => Ok(()),
        }
    }

    fn is_full(&self, size_max: usize, id: &str) -> bool {
        let member = self.members.get(id);
        match self.state {
            State::Empty => false,
            State::PreparingRebalance => {
                let joining = |member: &&Member| member.joining.is_some();
                let known = member.filter(joining).is_some();
                !known && self.members.values().filter(joining).count() >= size_max
            }
            State::CompletingRebalance | State::Stable => {
                member.is_none() && self.members.len() >= size_max
            }
        }
    }

    fn add(
        &mut self,
        desk: &mut Desk,
        ticket: Ticket,
        caller: &Caller,
        request: &JoinGroupRequest,
        id: Str,
    ) {
        let mut member = Member::new(id.clone(), caller, request);
        member.joining = Some(ticket);
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.own());
        }
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), id.clone());
        }
        self.leader.get_or_insert_with(|| id.clone());
        self.members.insert(id.clone(), member);
        if let Some(first) = &mut self.first_round {
            first.joined = true;
        }
        self.touch(desk, &id);
        self.rebalance_or_complete(desk);
    }

    /// A member says something new, or the group waits for it.
    fn update(&mut self, desk: &mut Desk, ticket: Ticket, request: &JoinGroupRequest, id: &Str) {
        let member = self.members.get_mut(id).expect("it was found");
        member.update(request);
        // A join that is sent again takes the place of the one before.
        if let Some(former) = member.joining.replace(ticket) {
            desk.answer(
                former,
                Answer::Join(refused(ErrorCode::UnknownMemberId, id.clone())),
            );
        }
        self.touch(desk, id);
        self.rebalance_or_complete(desk);
    }

    /// A static member comes back under a new id (rule G9).
    fn replace(
        &mut self,
        desk: &mut Desk,
        ticket: Ticket,
        caller: &Caller,
        request: &JoinGroupRequest,
        former: Str,
        id: Str,
    ) {
        let leader_before = self.leader.clone().unwrap_or_default();
        let mut member = self
            .members
            .remove(&former)
            .expect("a static name has a member");
        refuse_waiting(&mut member, desk, ErrorCode::FencedInstanceId);
        desk.timers.clear(&self.id, Alarm::Session(former.clone()));
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), id.clone());
        }
        if self.is_leader(&former) {
            self.leader = Some(id.clone());
        }
        member.id = id.clone();
        member.client_id = caller.client_id.own();
        member.client_host = caller.host.own();
        member.update(request);
        self.members.insert(id.clone(), member);
        self.touch(desk, &id);
        if self.state != State::Stable || self.elected_protocol() != self.protocol {
            let member = self.members.get_mut(&id).expect("it is there now");
            member.joining = Some(ticket);
            return self.rebalance_or_complete(desk);
        }
        self.write(desk);
        let leads = self.is_leader(&id);
        let skips = caller.version >= 9 && leads;
        let mut answer = self.joined(&id);
        if skips {
            answer.members = self.seen_by_leader();
            answer.skip_assignment = true;
        } else {
            // Who does not know how to skip the assignment must not take itself for the leader.
            answer.leader = leader_before;
            answer.members = Vec::new();
        }
        desk.answer(ticket, Answer::Join(answer));
    }

    /// The answer was lost, or nothing has changed: the generation as it is.
    fn tell_again(&mut self, desk: &mut Desk, ticket: Ticket, id: &Str) {
        let mut answer = self.joined(id);
        if self.is_leader(id) {
            answer.members = self.seen_by_leader();
        }
        self.touch(desk, id);
        desk.answer(ticket, Answer::Join(answer));
    }

    /// The present generation, as a member is told of it.
    pub(super) fn joined(&self, id: &Str) -> JoinGroupResponse {
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            member_id: id.clone(),
            ..JoinGroupResponse::default()
        }
    }

    pub(super) fn seen_by_leader(&self) -> Vec<JoinGroupMember> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = self.members.values().map(|member| JoinGroupMember {
            member_id: member.id.clone(),
            group_instance_id: member.instance.clone(),
            metadata: member.metadata(protocol),
        });
        members.collect()
    }
}

/// The answer to a join that is refused.
pub(in super::super) fn refused(code: ErrorCode, member_id: Str) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: code,
        member_id,
        ..JoinGroupResponse::default()
    }
}

/// Ends what waits for a member.
pub(super) fn refuse_waiting(member: &mut Member, desk: &mut Desk, code: ErrorCode) {
    if let Some(ticket) = member.joining.take() {
        desk.answer(ticket, Answer::Join(refused(code, member.id.clone())));
    }
    if let Some(ticket) = member.syncing.take() {
        let answer = SyncGroupResponse {
            error_code: code,
            ..SyncGroupResponse::default()
        };
        desk.answer(ticket, Answer::Sync(answer));
    }
}

/// BOUND: as much of a client's name as goes into a member id.
fn short(client_id: &str) -> &str {
    const NAME_BYTES_MAX: usize = 255;
    let mut end = client_id.len().min(NAME_BYTES_MAX);
    while !client_id.is_char_boundary(end) {
        end -= 1;
    }
    &client_id[..end]
}
