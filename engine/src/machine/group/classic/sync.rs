//! SyncGroup (rule G7).

use super::super::call::{Answer, Ticket};
use super::super::desk::Desk;
use super::super::timers::Alarm;
use super::{BYTES_MAX, Classic, State};
use bytes::Bytes;
use millstream_net::wire::ErrorCode;
use millstream_net::wire::api::{SyncGroupRequest, SyncGroupResponse};

impl Classic {
    /// A member asks for its assignment; the leader brings all of them.
    pub(in super::super) fn sync(
        &mut self,
        desk: &mut Desk,
        ticket: Ticket,
        request: &SyncGroupRequest,
    ) {
        if let Err(code) = self.judge_sync(request) {
            let answer = SyncGroupResponse {
                error_code: code,
                ..SyncGroupResponse::default()
            };
            return desk.answer(ticket, Answer::Sync(answer));
        }
        let leads = self.is_leader(&request.member_id);
        let id = request.member_id.clone();
        self.touch(desk, &id);
        let member = self.members.get_mut(&id).expect("it was judged");
        member.owes_sync = false;
        if self.state == State::Stable {
            let assignment = member.assignment.clone();
            let answer = self.synced(assignment);
            return desk.answer(ticket, Answer::Sync(answer));
        }
        if let Some(former) = member.syncing.replace(ticket) {
            let answer = SyncGroupResponse {
                error_code: ErrorCode::UnknownMemberId,
                ..SyncGroupResponse::default()
            };
            desk.answer(former, Answer::Sync(answer));
        }
        if leads {
            self.assign(desk, request);
        }
    }

    fn judge_sync(&self, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
        self.find(&request.member_id, request.group_instance_id.as_ref())?;
        if request.generation_id != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |said: &Option<_>, is: &Option<_>| said.is_some() && said != is;
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let assigned = request.assignments.iter();
        let bytes: usize = assigned.map(|one| one.assignment.len()).sum();
        if bytes > BYTES_MAX {
            return Err(ErrorCode::InvalidRequest);
        }
        match self.state {
            State::Empty => Err(ErrorCode::UnknownMemberId),
            State::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    /// The leader has assigned: everybody who waits gets its part.
    fn assign(&mut self, desk: &mut Desk, request: &SyncGroupRequest) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
        }
        for assigned in &request.assignments {
            if let Some(member) = self.members.get_mut(&assigned.member_id) {
                member.assignment = Bytes::copy_from_slice(&assigned.assignment);
            }
        }
        self.set_state(desk, State::Stable);
        self.write(desk);
        let mut answers = Vec::new();
        for member in self.members.values_mut() {
            if let Some(ticket) = member.syncing.take() {
                answers.push((member.id.clone(), ticket, member.assignment.clone()));
            }
        }
        for (id, ticket, assignment) in answers {
            self.touch(desk, &id);
            let answer = self.synced(assignment);
            desk.answer(ticket, Answer::Sync(answer));
        }
        let mut members = self.members.values();
        if !members.any(|member| member.owes_sync) {
            desk.timers.clear(&self.id, Alarm::Sync);
        }
    }

    fn synced(&self, assignment: Bytes) -> SyncGroupResponse {
        SyncGroupResponse {
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone(),
            assignment,
            ..SyncGroupResponse::default()
        }
    }
}
