//! Requests of the consumer protocol (rules K1 to K8), before they reach their group.

use super::call::Caller;
use super::consumer::{self, ConsumerGroup, Refused};
use super::{Body, Coordinator};
use millstream_net::wire::api::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, DescribedConsumerGroup,
};
use millstream_net::wire::{ErrorCode, Str};

impl Coordinator {
    pub(super) fn consumer_heartbeat(
        &mut self,
        caller: &Caller,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> ConsumerGroupHeartbeatResponse {
        let answer = self.try_consumer_heartbeat(caller, request);
        self.downgrade_if_all_classic(&request.group_id);
        answer.unwrap_or_else(|(error_code, text)| ConsumerGroupHeartbeatResponse {
            error_code,
            error_message: Some(text.into()),
            ..ConsumerGroupHeartbeatResponse::default()
        })
    }

    fn try_consumer_heartbeat(
        &mut self,
        caller: &Caller,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refused> {
        if !self.desk.config.consumer_protocol {
            return Err(not_enabled());
        }
        consumer::judge(caller.version, request)?;
        let id = &request.group_id;
        let is_new = !self.groups.contains_key(id);
        if request.member_epoch == 0 {
            consumer::judge_pattern(request)?;
            self.consumer_or_new(id)?;
        }
        let group = self.groups.get_mut(id).map(|group| &mut group.body);
        let Some(Body::Consumer(consumer)) = group else {
            return Err(not_found(id));
        };
        let answer = match request.member_epoch {
            ..0 => consumer.leave(&mut self.desk, request),
            0.. => consumer.heartbeat(&mut self.desk, caller, request),
        };
        // A group that its first member could not join was never there.
        if is_new && answer.is_err() {
            self.groups.remove(id);
        }
        answer
    }

    /// Sees to it that there is a consumer group of this name.
    fn consumer_or_new(&mut self, id: &Str) -> Result<(), Refused> {
        if !self.groups.contains_key(id) {
            let now_ms = self.desk.now.wall.0;
            let consumer = ConsumerGroup::new(id.own(), now_ms);
            let group = self.group_or_new(id);
            group.body = Body::Consumer(Box::new(consumer));
            return Ok(());
        }
        match self.upgrade(id) {
            true => Ok(()),
            false => Err(not_found(id)),
        }
    }

    /// Rule K8.
    pub(super) fn consumer_describe(&self, id: &Str) -> DescribedConsumerGroup {
        match self.groups.get(id).map(|group| &group.body) {
            _ if !self.desk.config.consumer_protocol => {
                let (error_code, text) = not_enabled();
                DescribedConsumerGroup {
                    error_code,
                    error_message: Some(text.into()),
                    group_id: id.clone(),
                    ..DescribedConsumerGroup::default()
                }
            }
            Some(Body::Consumer(consumer)) => consumer.describe(&self.desk.image),
            _ => {
                let (error_code, text) = not_found(id);
                DescribedConsumerGroup {
                    error_code,
                    error_message: Some(text.into()),
                    group_id: id.clone(),
                    ..DescribedConsumerGroup::default()
                }
            }
        }
    }
}

fn not_enabled() -> Refused {
    let text = "group.coordinator.rebalance.protocols does not name `consumer`.";
    (ErrorCode::UnsupportedVersion, text.to_owned())
}

fn not_found(id: &Str) -> Refused {
    let text = format!("Group {id} is not a consumer group.");
    (ErrorCode::GroupIdNotFound, text)
}
