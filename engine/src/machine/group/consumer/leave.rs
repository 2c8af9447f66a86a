//! Leaving a consumer group, for good or for a while.

use super::heartbeat::unknown;
use super::member::{LEFT_FOR_A_WHILE, Member};
use super::{ConsumerGroup, Refused};
use crate::machine::group::desk::Desk;
use millstream_net::wire::ErrorCode;
use millstream_net::wire::api::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

impl ConsumerGroup {
    /// A member leaves: a static one that says so keeps its place until its session ends.
    pub(in super::super) fn leave(
        &mut self,
        desk: &mut Desk,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refused> {
        let mut id = request.member_id.clone();
        if let Some(instance) = &request.instance_id {
            let holder = self.statics.get(instance);
            let holder = holder.ok_or_else(|| unknown(&id, &self.id))?;
            if *holder != id && !id.is_empty() {
                let text = format!(
                    "Static member {id} with instance id {instance} was fenced by {holder}."
                );
                return Err((ErrorCode::FencedInstanceId, text));
            }
            id = holder.clone();
        }
        let member = self.members.get(&id);
        let member = member.ok_or_else(|| unknown(&id, &self.id))?;
        if request.member_epoch == LEFT_FOR_A_WHILE {
            let away = Member {
                epoch: LEFT_FOR_A_WHILE,
                ..member.clone()
            };
            desk.append(away.current_record(&self.id));
            self.set_member(away);
        } else {
            self.remove(desk, &id);
        }
        Ok(ConsumerGroupHeartbeatResponse {
            member_id: Some(id),
            member_epoch: request.member_epoch,
            ..ConsumerGroupHeartbeatResponse::default()
        })
    }
}
