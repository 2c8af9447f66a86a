//! The classic protocol: join, have the leader assign, ask for the own part, stay alive.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use millstream_net::wire::api::{
    HeartbeatRequest, JoinGroupMember, JoinGroupProtocol, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupRequest, LeavingMember, SyncGroupAssignment, SyncGroupRequest, SyncGroupResponse,
};
use millstream_net::wire::consumer_protocol::{
    ConsumerAssignment, ConsumerPartitions, ConsumerSubscription, version_of,
};
use millstream_net::wire::{ErrorCode, Str};
use millstream_storage::ids::Now;

use super::super::groups::{self, Place, by_topic};
use super::super::wiring::Wiring;
use super::assignors::{self, Subscribed};
use super::{Asked, ClassicAssignor, GroupProtocol, Membership, Stage};

const PROTOCOL_TYPE: &str = "consumer";
/// How often a member is heard of, where its session is not shorter.
const HEARTBEAT_MS: u64 = 3_000;
/// The first version of a subscription that says of which generation a partition is owned.
const SUBSCRIPTION_VERSION: i16 = 2;

impl Membership {
    pub(super) fn classic_step(&mut self, now: Now, wiring: &mut Wiring) {
        if matches!(self.stage, Stage::Inside) {
            if !self.reconcile(now, wiring) {
                return;
            }
            // Others wait for what was let go of; the topics may have grown.
            if !self.report && !self.topics_differ(wiring) {
                return;
            }
            self.stage = Stage::Outside;
        }
        if matches!(self.stage, Stage::Outside) {
            let all = self.owned.clone();
            if self.assignor() == ClassicAssignor::Range && !self.let_go(now, wiring, &all) {
                return;
            }
            return self.send_join(now, wiring);
        }
        if let Stage::Assigning(members) = &self.stage {
            let members = members.clone();
            let Some(assignments) = self.assign(now, wiring, &members) else {
                return;
            };
            self.stage = Stage::Syncing(assignments);
        }
        if let Stage::Syncing(assignments) = &self.stage {
            let assignments = assignments.clone();
            self.send_sync(now, wiring, &assignments);
        }
    }

    fn assignor(&self) -> ClassicAssignor {
        match self.config.protocol {
            GroupProtocol::Classic(assignor) => assignor,
            GroupProtocol::Consumer => unreachable!("the broker assigns"),
        }
    }

    /// Whether the topics that this member assigned by have another size now.
    fn topics_differ(&self, wiring: &Wiring) -> bool {
        let Some(before) = &self.assigned_by else {
            return false;
        };
        before
            .iter()
            .any(|(topic, count)| size(wiring, topic).is_some_and(|now| now != *count))
    }

    fn send_join(&mut self, now: Now, wiring: &mut Wiring) {
        let subscription = ConsumerSubscription {
            topics: self
                .config
                .topics
                .iter()
                .map(|topic| topic.as_str().into())
                .collect(),
            user_data: None,
            owned_partitions: partitions_of(&self.owned),
            generation_id: self.epoch,
            rack_id: None,
        };
        let request = JoinGroupRequest {
            group_id: self.config.group.as_str().into(),
            session_timeout_ms: i32::try_from(self.config.session_ms).unwrap_or(i32::MAX),
            rebalance_timeout_ms: i32::try_from(self.config.rebalance_ms).unwrap_or(i32::MAX),
            member_id: self.member_id.as_str().into(),
            group_instance_id: self.config.instance.as_deref().map(Str::from),
            protocol_type: PROTOCOL_TYPE.into(),
            protocols: vec![JoinGroupProtocol {
                name: self.assignor().name().into(),
                metadata: subscription.encode(SUBSCRIPTION_VERSION),
            }],
            reason: None,
        };
        self.report = false;
        self.step = Some(self.ask(now, wiring, request.into(), Asked::Join));
    }

    pub(super) fn joined(&mut self, now: Now, wiring: &mut Wiring, answer: JoinGroupResponse) {
        match answer.error_code {
            ErrorCode::None => {
                self.member_id = answer.member_id.to_string();
                self.epoch = answer.generation_id;
                self.protocol = answer.protocol_name;
                self.assigned_by = None;
                let leads = answer.leader == self.member_id.as_str();
                self.stage = match leads && !answer.skip_assignment {
                    true => {
                        self.want_topics_of(now, wiring, &answer.members);
                        Stage::Assigning(answer.members)
                    }
                    false => Stage::Syncing(Vec::new()),
                };
            }
            ErrorCode::MemberIdRequired => self.member_id = answer.member_id.to_string(),
            ErrorCode::RebalanceInProgress => self.again(now, answer.error_code.to_string()),
            code => self.judge(now, "joining", code),
        }
    }

    /// What a refusal means that any request of a classic member may meet.
    fn judge(&mut self, now: Now, doing: &str, code: ErrorCode) {
        match code {
            code if self.is_elsewhere(now, code) => {}
            ErrorCode::UnknownMemberId => {
                self.cast_out(now);
                self.member_id.clear();
            }
            ErrorCode::IllegalGeneration => self.cast_out(now),
            code if code.is_retriable() => self.again(now, code.to_string()),
            code => self.refused(doing, code, None),
        }
    }

    fn want_topics_of(&self, now: Now, wiring: &mut Wiring, members: &[JoinGroupMember]) {
        for member in members {
            for topic in subscription_of(member).topics {
                wiring.want_topic(now, &topic);
            }
        }
    }

    /// Who gets what; none while a topic is not known yet.
    fn assign(
        &mut self,
        now: Now,
        wiring: &mut Wiring,
        members: &[JoinGroupMember],
    ) -> Option<Vec<(JoinGroupMember, Bytes)>> {
        let subscriptions = members
            .iter()
            .map(|member| (member, subscription_of(member)));
        let subscriptions: Vec<_> = subscriptions.collect();
        let topics = subscriptions.iter().flat_map(|(_, said)| &said.topics);
        let topics: BTreeSet<&Str> = topics.collect();
        let mut sizes = BTreeMap::new();
        for topic in topics {
            let Some(size) = size(wiring, topic) else {
                wiring.refresh(now);
                return None;
            };
            sizes.insert(topic.to_string(), size);
        }
        let subscribed = subscriptions.iter().map(|(member, said)| {
            let subscribed = Subscribed {
                instance: member.group_instance_id.as_ref().map(Str::to_string),
                topics: said.topics.iter().map(Str::to_string).collect(),
                owned: places_of(&said.owned_partitions),
                generation: said.generation_id,
            };
            (member.member_id.to_string(), subscribed)
        });
        let subscribed = subscribed.collect();
        let mut assigned = match self.assignor() {
            ClassicAssignor::Range => assignors::range(&sizes, &subscribed),
            ClassicAssignor::CooperativeSticky => {
                assignors::cooperative_sticky(&sizes, &subscribed)
            }
        };
        self.assigned_by = Some(sizes);
        let told = members.iter().map(|member| {
            let places = assigned
                .remove(member.member_id.as_str())
                .unwrap_or_default();
            let assignment = ConsumerAssignment {
                assigned_partitions: partitions_of(&places),
                user_data: None,
            };
            // Each is answered in the version it speaks, the fields of all are the same.
            let version = version_of(&member.metadata).unwrap_or(0);
            (member.clone(), assignment.encode(version))
        });
        Some(told.collect())
    }

    fn send_sync(
        &mut self,
        now: Now,
        wiring: &mut Wiring,
        assignments: &[(JoinGroupMember, Bytes)],
    ) {
        let assignments = assignments
            .iter()
            .map(|(member, assignment)| SyncGroupAssignment {
                member_id: member.member_id.clone(),
                assignment: assignment.clone(),
            });
        let request = SyncGroupRequest {
            group_id: self.config.group.as_str().into(),
            generation_id: self.epoch,
            member_id: self.member_id.as_str().into(),
            group_instance_id: self.config.instance.as_deref().map(Str::from),
            protocol_type: Some(PROTOCOL_TYPE.into()),
            protocol_name: self.protocol.clone(),
            assignments: assignments.collect(),
        };
        self.step = Some(self.ask(now, wiring, request.into(), Asked::Sync));
    }

    pub(super) fn synced(&mut self, now: Now, answer: SyncGroupResponse) {
        match answer.error_code {
            ErrorCode::None => {}
            ErrorCode::RebalanceInProgress => {
                self.stage = Stage::Outside;
                return;
            }
            code => return self.judge(now, "joining", code),
        }
        // Nothing at all stands for no partitions.
        let assignment = match answer.assignment.is_empty() {
            true => ConsumerAssignment::default(),
            false => match ConsumerAssignment::decode(&answer.assignment) {
                Ok(assignment) => assignment,
                Err(malformed) => {
                    let text = format!("its leader's assignment is malformed: {malformed}");
                    return self.refused(
                        "joining",
                        ErrorCode::InconsistentGroupProtocol,
                        Some(text),
                    );
                }
            },
        };
        self.target = places_of(&assignment.assigned_partitions);
        self.stage = Stage::Inside;
        self.heartbeat_at = now.tick.after_ms(self.heartbeat_interval_ms());
        self.because = None;
    }

    fn heartbeat_interval_ms(&self) -> u64 {
        HEARTBEAT_MS.min(self.config.session_ms / 3)
    }

    pub(super) fn classic_heartbeat(&mut self, now: Now, wiring: &mut Wiring) {
        let request = HeartbeatRequest {
            group_id: self.config.group.as_str().into(),
            generation_id: self.epoch,
            member_id: self.member_id.as_str().into(),
            group_instance_id: self.config.instance.as_deref().map(Str::from),
        };
        self.heartbeat_at = now.tick.after_ms(self.heartbeat_interval_ms());
        self.heartbeat = Some(self.ask(now, wiring, request.into(), Asked::Heartbeat));
    }

    pub(super) fn heard(&mut self, now: Now, code: ErrorCode) {
        match code {
            ErrorCode::None => {}
            ErrorCode::RebalanceInProgress => {
                if matches!(self.stage, Stage::Inside) {
                    self.stage = Stage::Outside;
                }
            }
            // An answer to a heartbeat from before the last join says nothing of the present.
            ErrorCode::IllegalGeneration if !matches!(self.stage, Stage::Inside) => {}
            code => self.judge(now, "staying in", code),
        }
    }

    pub(super) fn classic_leave(&mut self, now: Now, wiring: &mut Wiring) {
        if self.config.instance.is_some() {
            // A static member keeps its place until its session ends, so that it may come back.
            self.stage = Stage::Gone;
            return;
        }
        let member_id = Str::from(self.member_id.as_str());
        let request = LeaveGroupRequest {
            group_id: self.config.group.as_str().into(),
            member_id: member_id.clone(),
            members: vec![LeavingMember {
                member_id,
                group_instance_id: None,
                reason: Some("the consumer is done".into()),
            }],
        };
        self.step = Some(self.ask(now, wiring, request.into(), Asked::Leave));
    }
}

/// How many partitions a topic has, once that is known; one that is not there has none.
fn size(wiring: &Wiring, topic: &str) -> Option<usize> {
    let topic = wiring.cluster.topic(topic)?;
    Some(topic.partitions.len())
}

/// What a member says it wants; who cannot be understood gets nothing.
fn subscription_of(member: &JoinGroupMember) -> ConsumerSubscription {
    ConsumerSubscription::decode(&member.metadata).unwrap_or_default()
}

fn places_of(topics: &[ConsumerPartitions]) -> BTreeSet<Place> {
    let topics = topics.iter();
    groups::places(topics.map(|topic| (&topic.topic, &topic.partitions[..])))
}

fn partitions_of(places: &BTreeSet<Place>) -> Vec<ConsumerPartitions> {
    let topics = by_topic(
        places
            .iter()
            .map(|(topic, partition)| (topic.as_str(), *partition)),
    );
    let topics = topics.into_iter();
    let topics = topics.map(|(topic, partitions)| ConsumerPartitions {
        topic: topic.into(),
        partitions,
    });
    topics.collect()
}
