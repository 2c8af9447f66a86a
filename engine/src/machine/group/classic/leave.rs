//! LeaveGroup (rule G10).

use super::super::desk::Desk;
use super::super::timers::Alarm;
use super::Classic;
use millstream_net::wire::api::{LeavingMember, LeftMember};
use millstream_net::wire::{ErrorCode, Str};

impl Classic {
    /// Members leave; each is told for itself.
    pub(in super::super) fn leave(
        &mut self,
        desk: &mut Desk,
        leaving: &[LeavingMember],
    ) -> Vec<LeftMember> {
        let mut left = Vec::with_capacity(leaving.len());
        let mut somebody = false;
        for one in leaving {
            let code = self.leave_one(desk, one);
            somebody |= code == ErrorCode::None;
            left.push(LeftMember {
                member_id: one.member_id.clone(),
                group_instance_id: one.group_instance_id.clone(),
                error_code: code,
            });
        }
        if somebody {
            self.somebody_left(desk);
        }
        left
    }

    fn leave_one(&mut self, desk: &mut Desk, leaving: &LeavingMember) -> ErrorCode {
        let id: Str = match &leaving.group_instance_id {
            Some(instance) => match self.statics.get(instance) {
                None => return ErrorCode::UnknownMemberId,
                Some(id) if !leaving.member_id.is_empty() && *id != leaving.member_id => {
                    return ErrorCode::FencedInstanceId;
                }
                Some(id) => id.clone(),
            },
            None if self.pending.remove(&leaving.member_id) => {
                let alarm = Alarm::Pending(leaving.member_id.clone());
                desk.timers.clear(&self.id, alarm);
                return ErrorCode::None;
            }
            None if self.members.contains_key(&leaving.member_id) => leaving.member_id.clone(),
            None => return ErrorCode::UnknownMemberId,
        };
        self.remove_member(desk, &id, ErrorCode::UnknownMemberId);
        ErrorCode::None
    }
}
