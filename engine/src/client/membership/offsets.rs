//! Where the group is: reading it before a partition begins, writing it as the caller gets on.

use std::collections::BTreeMap;

use millstream_net::wire::api::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchGroup, OffsetFetchGroupTopic,
    OffsetFetchRequest, OffsetFetchResponse, OffsetFetchTopic,
};
use millstream_net::wire::{ErrorCode, Str};
use millstream_storage::ids::Now;

use super::super::groups::{Place, by_topic, committed_topics, first_refusal, found_offsets};
use super::super::incoming::StartAt;
use super::super::links::CallId;
use super::super::wiring::Wiring;
use super::{Asked, Change, GroupProtocol, Membership};

impl Membership {
    /// Looks up where the group is in partitions that were just assigned.
    pub(super) fn ask_offsets(&mut self, now: Now, wiring: &mut Wiring, places: Vec<Place>) {
        let topics = by_topic(
            places
                .iter()
                .map(|(topic, partition)| (topic.as_str(), *partition)),
        );
        let in_group = topics
            .iter()
            .map(|(name, partitions)| OffsetFetchGroupTopic {
                name: Str::from(*name),
                partition_indexes: partitions.clone(),
                ..Default::default()
            });
        let in_old_group = topics.iter().map(|(name, partitions)| OffsetFetchTopic {
            name: Str::from(*name),
            partition_indexes: partitions.clone(),
        });
        // A classic member is not judged by its generation here.
        let (member_id, member_epoch) = match self.config.protocol {
            GroupProtocol::Classic(_) => (None, -1),
            GroupProtocol::Consumer => (Some(self.member_id.as_str().into()), self.epoch),
        };
        let group_id = Str::from(self.config.group.as_str());
        let request = OffsetFetchRequest {
            topics: Some(in_old_group.collect()),
            groups: vec![OffsetFetchGroup {
                group_id: group_id.clone(),
                member_id,
                member_epoch,
                topics: Some(in_group.collect()),
            }],
            group_id,
            require_stable: true,
        };
        self.step = Some(self.ask(now, wiring, request.into(), Asked::Offsets(places)));
    }

    pub(super) fn found_offsets(
        &mut self,
        now: Now,
        places: Vec<Place>,
        answer: OffsetFetchResponse,
    ) {
        let found: BTreeMap<Place, _> = found_offsets(&answer).collect();
        let whole = answer.groups.first();
        let whole = whole.map_or(answer.error_code, |group| group.error_code);
        let errors = found.values().map(|one| one.error_code);
        let first = errors.chain([whole]).find(|code| *code != ErrorCode::None);
        match first {
            None => {}
            Some(code) if self.is_elsewhere(now, code) => return,
            Some(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration) => {
                return self.cast_out(now);
            }
            // The next heartbeat brings the epoch that counts; a transaction ends some time.
            Some(code @ (ErrorCode::StaleMemberEpoch | ErrorCode::UnstableOffsetCommit)) => {
                return self.again(now, code.to_string());
            }
            Some(code) if code.is_retriable() => return self.again(now, code.to_string()),
            Some(code) => return self.refused("reading the offsets of", code, None),
        }
        for place in places
            .into_iter()
            .filter(|place| self.target.contains(place))
        {
            let at = match found.get(&place) {
                Some(one) if one.committed_offset >= 0 => StartAt::Offset(one.committed_offset),
                _ => self.config.start,
            };
            self.owned.insert(place.clone());
            let otherwise = self.config.start;
            self.changes.push(Change::Begin(place, at, otherwise));
        }
        if self.config.protocol == GroupProtocol::Consumer {
            self.report = true;
        }
    }

    pub(super) fn send_commit(
        &mut self,
        now: Now,
        wiring: &mut Wiring,
        offsets: BTreeMap<Place, i64>,
    ) -> CallId {
        let request = OffsetCommitRequest {
            group_id: self.config.group.as_str().into(),
            generation_id_or_member_epoch: self.epoch,
            member_id: self.member_id.as_str().into(),
            group_instance_id: self.config.instance.as_deref().map(Str::from),
            topics: committed_topics(&offsets),
            ..Default::default()
        };
        self.commit_at = now.tick.after_ms(self.config.commit_interval_ms);
        self.ask(now, wiring, request.into(), Asked::Commit(offsets))
    }

    pub(super) fn committed(
        &mut self,
        now: Now,
        offsets: &BTreeMap<Place, i64>,
        answer: &OffsetCommitResponse,
    ) {
        match first_refusal(answer) {
            ErrorCode::None => {}
            // Somebody else reads on from the last commit.
            ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration => self.cast_out(now),
            code @ ErrorCode::FencedInstanceId => self.refused("committing for", code, None),
            // A topic that is gone needs no offsets.
            ErrorCode::UnknownTopicOrPartition => {}
            code => {
                self.put_back(offsets.clone());
                if self.is_elsewhere(now, code) {
                    return;
                }
                match code {
                    // Both pass with the next answer of the coordinator.
                    ErrorCode::RebalanceInProgress | ErrorCode::StaleMemberEpoch => {
                        self.again(now, code.to_string());
                    }
                    code if code.is_retriable() => self.again(now, code.to_string()),
                    code => self.refused("committing for", code, None),
                }
            }
        }
    }

    /// What was not committed is to be committed still, unless the caller got further meanwhile.
    pub(super) fn put_back(&mut self, offsets: BTreeMap<Place, i64>) {
        for (place, offset) in offsets {
            if self.owned.contains(&place) {
                self.done.entry(place).or_insert(offset);
            }
        }
    }
}
