//! The protocol in which the broker assigns (KIP-848): everything is said by heartbeats.

use std::collections::BTreeSet;

use millstream_net::wire::api::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatTopicPartitions,
};
use millstream_net::wire::{ErrorCode, Str};
use millstream_storage::ids::Now;

use super::super::groups::by_topic;
use super::super::wiring::Wiring;
use super::{Asked, Membership, Stage};

/// The epochs of who leaves, for good or for a while.
const LEAVES: i32 = -1;
const LEAVES_FOR_A_WHILE: i32 = -2;

impl Membership {
    pub(super) fn modern_step(&mut self, now: Now, wiring: &mut Wiring) {
        self.name_target(now, wiring);
        if matches!(self.stage, Stage::Inside) && self.reconcile(now, wiring) && self.report {
            self.heartbeat_at = now.tick;
        }
    }

    /// Finds the names of the topics that were assigned.
    fn name_target(&mut self, now: Now, wiring: &mut Wiring) {
        let Some(ids) = &self.target_ids else {
            return;
        };
        let topics = wiring.cluster.topics();
        let mut target = BTreeSet::new();
        let mut all = true;
        for (id, partitions) in ids {
            match topics.iter().find(|(_, topic)| topic.id == *id) {
                Some((name, _)) => {
                    target.extend(partitions.iter().map(|one| (name.clone(), *one)));
                }
                None => all = false,
            }
        }
        self.target = target;
        match all {
            true => self.target_ids = None,
            false => wiring.refresh(now),
        }
    }

    pub(super) fn modern_heartbeat(&mut self, now: Now, wiring: &mut Wiring) {
        let joins = self.epoch == 0;
        let says_all = joins || !self.introduced;
        let reports = says_all || (self.report && self.owned == self.target);
        let topics = self.config.topics.iter();
        let rebalance_ms = i32::try_from(self.config.rebalance_ms).unwrap_or(i32::MAX);
        let request = ConsumerGroupHeartbeatRequest {
            rebalance_timeout_ms: if says_all { rebalance_ms } else { -1 },
            subscribed_topic_names: says_all
                .then(|| topics.map(|topic| topic.as_str().into()).collect()),
            topic_partitions: reports.then(|| match joins {
                true => Vec::new(),
                false => self.owned_by_id(wiring),
            }),
            ..self.heartbeat_of(self.epoch)
        };
        self.introduced = true;
        if reports {
            self.report = false;
        }
        // Until its answer says when the next one is due.
        self.heartbeat_at = now.tick.after_ms(super::CALL_TIMEOUT_MS);
        self.heartbeat = Some(self.ask(now, wiring, request.into(), Asked::Heartbeat));
    }

    fn heartbeat_of(&self, epoch: i32) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest {
            group_id: self.config.group.as_str().into(),
            member_id: self.member_id.as_str().into(),
            member_epoch: epoch,
            instance_id: self.config.instance.as_deref().map(Str::from),
            rebalance_timeout_ms: -1,
            ..Default::default()
        }
    }

    fn owned_by_id(&self, wiring: &Wiring) -> Vec<HeartbeatTopicPartitions> {
        let places = self.owned.iter();
        let topics = by_topic(places.map(|(topic, partition)| (topic.as_str(), *partition)));
        let topics = topics.into_iter().filter_map(|(topic, partitions)| {
            Some(HeartbeatTopicPartitions {
                topic_id: wiring.cluster.topic(topic)?.id,
                partitions,
            })
        });
        topics.collect()
    }

    pub(super) fn told(&mut self, now: Now, answer: ConsumerGroupHeartbeatResponse) {
        match answer.error_code {
            ErrorCode::None => {}
            ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch => {
                self.cast_out(now);
                return;
            }
            code if self.is_elsewhere(now, code) || code.is_retriable() => {
                self.again(now, code.to_string());
                self.introduced = false;
                self.heartbeat_at = self.retry_at;
                return;
            }
            code => {
                let message = answer.error_message.map(|text| text.to_string());
                return self.refused("being a member of", code, message);
            }
        }
        if let Some(id) = answer.member_id {
            self.member_id = id.to_string();
        }
        self.epoch = answer.member_epoch;
        self.stage = Stage::Inside;
        self.because = None;
        let interval_ms = u64::try_from(answer.heartbeat_interval_ms).unwrap_or(0);
        self.heartbeat_at = now.tick.after_ms(interval_ms.max(1));
        if let Some(assignment) = answer.assignment {
            let topics = assignment.topic_partitions.into_iter();
            let topics = topics.map(|topic| (topic.topic_id, topic.partitions));
            self.target_ids = Some(topics.collect());
        }
    }

    pub(super) fn modern_leave(&mut self, now: Now, wiring: &mut Wiring) {
        let epoch = match self.config.instance {
            Some(_) => LEAVES_FOR_A_WHILE,
            None => LEAVES,
        };
        let request = self.heartbeat_of(epoch);
        self.step = Some(self.ask(now, wiring, request.into(), Asked::Leave));
    }
}
