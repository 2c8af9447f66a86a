//! A member of a consumer group.

use super::partitions::{Partitions, Place, id_of, uuid_of};
use millstream_net::wire::Str;
use millstream_net::wire::offsets_topic::{
    AssignedPartitions, ClassicMemberMetadata, ConsumerGroupMemberMetadataValue,
    CurrentMemberAssignmentValue, GroupMemberKey, GroupRecord,
};
use millstream_storage::ids::Tick;
use std::collections::{BTreeMap, BTreeSet};

/// The epoch of a static member that left for a while.
pub(in super::super) const LEFT_FOR_A_WHILE: i32 = -2;

/// Where the reconciliation of a member stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Progress {
    /// It has what it shall have.
    Stable,
    /// It has still to let go of something.
    Unrevoked,
    /// It waits for others to let go.
    Unreleased,
}

impl Progress {
    fn number(self) -> i8 {
        match self {
            Progress::Stable => 0,
            Progress::Unrevoked => 1,
            Progress::Unreleased => 2,
        }
    }

    fn numbered(number: i8) -> Progress {
        match number {
            1 => Progress::Unrevoked,
            2 => Progress::Unreleased,
            _ => Progress::Stable,
        }
    }

    /// The same, or what it must be with these to let go of.
    pub(super) fn with(self, revoking: &Partitions) -> Progress {
        match (self, revoking.is_empty()) {
            (_, false) => Progress::Unrevoked,
            (Progress::Unrevoked, true) => Progress::Unreleased,
            (progress, true) => progress,
        }
    }
}

/// One member.
#[derive(Clone, PartialEq, Debug)]
pub(in super::super) struct Member {
    pub(in super::super) id: Str,
    /// The name of a static member.
    pub(in super::super) instance: Option<Str>,
    pub(in super::super) rack: Option<Str>,
    pub(in super::super) client_id: Str,
    pub(in super::super) client_host: Str,
    /// The topics it wants by name.
    pub(in super::super) names: BTreeSet<Str>,
    /// The pattern of topics it wants.
    pub(in super::super) pattern: Option<Str>,
    pub(in super::super) rebalance_timeout_ms: i32,
    pub(in super::super) assignor: Option<Str>,
    /// Set where it speaks the classic protocol.
    pub(in super::super) classic: Option<ClassicMemberMetadata>,
    pub(in super::super) epoch: i32,
    pub(in super::super) previous_epoch: i32,
    pub(in super::super) progress: Progress,
    /// What it has and keeps, or was given.
    pub(in super::super) assigned: Partitions,
    /// What it has to let go of.
    pub(in super::super) revoking: Partitions,
    /// The epochs that it was given these in.
    pub(in super::super) since: BTreeMap<Place, i32>,
    /// When its session ends.
    pub(in super::super) session_end: Tick,
}

impl Member {
    /// A member that nothing is known of but its name.
    pub(in super::super) fn new(id: Str) -> Member {
        Member {
            id,
            instance: None,
            rack: None,
            client_id: Str::default(),
            client_host: Str::default(),
            names: BTreeSet::new(),
            pattern: None,
            rebalance_timeout_ms: -1,
            assignor: None,
            classic: None,
            epoch: 0,
            previous_epoch: -1,
            progress: Progress::Stable,
            assigned: Partitions::default(),
            revoking: Partitions::default(),
            since: BTreeMap::new(),
            session_end: Tick::default(),
        }
    }

    /// Everything nobody else may have because of it.
    pub(super) fn held(&self) -> impl Iterator<Item = Place> + '_ {
        self.assigned.iter().chain(self.revoking.iter())
    }

    /// Notes the epochs of what it holds now: those of what it held before stay.
    pub(super) fn note_epochs(&mut self) {
        let before = std::mem::take(&mut self.since);
        let epoch_of = |place| before.get(&place).copied().unwrap_or(self.epoch);
        self.since = self.held().map(|place| (place, epoch_of(place))).collect();
    }

    /// Partitions of it as records have them.
    fn as_current(&self, partitions: &Partitions) -> Vec<AssignedPartitions> {
        let epoch_of = |place| self.since.get(&place).copied().unwrap_or(self.epoch);
        let topics = partitions.topics();
        topics
            .map(|(topic, partitions)| AssignedPartitions {
                topic_id: uuid_of(topic),
                assignment_epochs: Some(
                    partitions
                        .iter()
                        .map(|one| epoch_of((topic, *one)))
                        .collect(),
                ),
                partitions,
            })
            .collect()
    }

    /// Whether another member would be assigned the same topics.
    pub(super) fn wants_the_same(&self, other: &Member) -> bool {
        self.names == other.names
            && self.pattern == other.pattern
            && self.assignor == other.assignor
            && self.rack == other.rack
    }

    /// What it wants, as a record.
    pub(super) fn metadata_record(&self, group: &Str) -> GroupRecord {
        let value = ConsumerGroupMemberMetadataValue {
            instance_id: self.instance.clone(),
            rack_id: self.rack.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            subscribed_topic_names: self.names.iter().cloned().collect(),
            // Kafka writes an empty one where there is none.
            subscribed_topic_regex: Some(self.pattern.clone().unwrap_or_default()),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            server_assignor: self.assignor.clone(),
            classic_member_metadata: self.classic.clone(),
        };
        GroupRecord::Member(key(group, &self.id), Some(value))
    }

    /// What it has, as a record.
    pub(super) fn current_record(&self, group: &Str) -> GroupRecord {
        let value = CurrentMemberAssignmentValue {
            member_epoch: self.epoch,
            previous_member_epoch: self.previous_epoch,
            state: self.progress.number(),
            assigned_partitions: self.as_current(&self.assigned),
            partitions_pending_revocation: self.as_current(&self.revoking),
        };
        GroupRecord::CurrentMember(key(group, &self.id), Some(value))
    }

    pub(super) fn take_metadata(&mut self, value: &ConsumerGroupMemberMetadataValue) {
        self.instance = value.instance_id.as_ref().map(Str::own);
        self.rack = value.rack_id.as_ref().map(Str::own);
        self.client_id = value.client_id.own();
        self.client_host = value.client_host.own();
        self.names = value.subscribed_topic_names.iter().map(Str::own).collect();
        let pattern = value.subscribed_topic_regex.as_ref();
        self.pattern = pattern.filter(|one| !one.is_empty()).map(Str::own);
        self.rebalance_timeout_ms = value.rebalance_timeout_ms;
        self.assignor = value.server_assignor.as_ref().map(Str::own);
        let classic = value.classic_member_metadata.clone();
        self.classic = classic.filter(|one| !one.supported_protocols.is_empty());
    }

    pub(super) fn take_current(&mut self, value: &CurrentMemberAssignmentValue) {
        self.epoch = value.member_epoch;
        self.previous_epoch = value.previous_member_epoch;
        self.assigned = Partitions::of_current(&value.assigned_partitions);
        let revoking = Partitions::of_current(&value.partitions_pending_revocation);
        let revoking = revoking
            .iter()
            .filter(|place| !self.assigned.contains(*place));
        self.revoking = revoking.collect();
        self.progress = Progress::numbered(value.state).with(&self.revoking);
        let topics = value.assigned_partitions.iter();
        let topics = topics.chain(&value.partitions_pending_revocation);
        let told = topics.flat_map(|topic| {
            let id = id_of(topic.topic_id);
            let epochs = topic.assignment_epochs.iter().flatten();
            let told = topic.partitions.iter().zip(epochs);
            told.map(move |(partition, epoch)| ((id, *partition), *epoch))
        });
        self.since = told.collect();
        self.note_epochs();
    }
}

/// The key of a member's records.
pub(super) fn key(group: &Str, member: &Str) -> GroupMemberKey {
    GroupMemberKey {
        group: group.clone(),
        member_id: member.clone(),
    }
}
