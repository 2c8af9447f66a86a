//! The questions of a member, as bytes.

use super::{
    ASSIGNOR, COMMIT_VERSION, FETCH_VERSION, HEARTBEAT_VERSION, JOIN_VERSION, LEAVE_VERSION,
    Member, Position, SYNC_VERSION,
};
use crate::load::template::CLIENT_ID;
use millstream_net::wire::api::*;
use millstream_net::wire::consumer_protocol::ConsumerSubscription;
use millstream_net::wire::{Call, Str, encode_request};
use std::collections::BTreeMap;

impl Member {
    pub(super) fn ask<C: Call>(&mut self, version: i16, call: C) -> Vec<u8> {
        self.asked = Some(C::KEY);
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let client = Str::from(CLIENT_ID);
        encode_request(version, self.correlation_id, Some(&client), &call.into()).concat()
    }

    pub(super) fn ask_to_join(&mut self) -> Vec<u8> {
        let subscription = ConsumerSubscription {
            topics: self.terms.topics.clone(),
            ..ConsumerSubscription::default()
        };
        let request = JoinGroupRequest {
            group_id: self.terms.group.clone(),
            session_timeout_ms: self.terms.session_ms,
            rebalance_timeout_ms: self.terms.session_ms,
            member_id: self.member_id.clone(),
            protocol_type: Str::from("consumer"),
            protocols: vec![JoinGroupProtocol {
                name: Str::from(ASSIGNOR),
                metadata: subscription.encode(1),
            }],
            ..JoinGroupRequest::default()
        };
        self.ask(JOIN_VERSION, request)
    }

    pub(super) fn ask_to_sync(&mut self) -> Vec<u8> {
        let request = SyncGroupRequest {
            group_id: self.terms.group.clone(),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            assignments: self.assignments.clone(),
            ..SyncGroupRequest::default()
        };
        self.ask(SYNC_VERSION, request)
    }

    pub(super) fn ask_where(&mut self) -> Vec<u8> {
        let mine = by_topic(
            self.mine
                .iter()
                .map(|(topic, partition)| (*topic, *partition)),
        );
        let topics = mine
            .into_iter()
            .map(|(topic, partition_indexes)| OffsetFetchTopic {
                name: self.terms.topics[topic as usize].clone(),
                partition_indexes,
            });
        let request = OffsetFetchRequest {
            group_id: self.terms.group.clone(),
            topics: Some(topics.collect()),
            ..OffsetFetchRequest::default()
        };
        self.ask(FETCH_VERSION, request)
    }

    pub(super) fn ask_to_commit(&mut self, positions: Vec<Position>) -> Vec<u8> {
        let read = positions
            .into_iter()
            .map(|(topic, partition, offset)| (topic, (partition, offset)));
        let topics = by_topic(read).into_iter().map(|(topic, read)| {
            let partitions =
                read.into_iter().map(
                    |(partition_index, committed_offset)| OffsetCommitPartition {
                        partition_index,
                        committed_offset,
                        ..OffsetCommitPartition::default()
                    },
                );
            OffsetCommitTopic {
                name: self.terms.topics[topic as usize].clone(),
                partitions: partitions.collect(),
                ..OffsetCommitTopic::default()
            }
        });
        let request = OffsetCommitRequest {
            group_id: self.terms.group.clone(),
            generation_id_or_member_epoch: self.generation,
            member_id: self.member_id.clone(),
            topics: topics.collect(),
            ..OffsetCommitRequest::default()
        };
        self.ask(COMMIT_VERSION, request)
    }

    pub(super) fn ask_whether_all_is_well(&mut self) -> Vec<u8> {
        let request = HeartbeatRequest {
            group_id: self.terms.group.clone(),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            ..HeartbeatRequest::default()
        };
        self.ask(HEARTBEAT_VERSION, request)
    }

    pub(super) fn ask_to_leave(&mut self) -> Vec<u8> {
        let request = LeaveGroupRequest {
            group_id: self.terms.group.clone(),
            member_id: self.member_id.clone(),
            ..LeaveGroupRequest::default()
        };
        self.ask(LEAVE_VERSION, request)
    }
}

/// What belongs to each topic.
fn by_topic<T>(each: impl Iterator<Item = (u32, T)>) -> BTreeMap<u32, Vec<T>> {
    let mut topics: BTreeMap<u32, Vec<T>> = BTreeMap::new();
    for (topic, value) in each {
        topics.entry(topic).or_default().push(value);
    }
    topics
}
