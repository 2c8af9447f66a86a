//! A member of a consumer group.

use super::partitions::{Partitions, Place};
use millstream_net::wire::Str;
use millstream_net::wire::offsets_topic::{
    ClassicMemberMetadata, ConsumerGroupMemberMetadataValue, CurrentMemberAssignmentValue,
    GroupMemberKey, GroupRecord,
};
use millstream_storage::ids::Tick;
use std::collections::BTreeSet;

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
            session_end: Tick::default(),
        }
    }

    /// Everything nobody else may have because of it.
    pub(super) fn held(&self) -> impl Iterator<Item = Place> + '_ {
        self.assigned.iter().chain(self.revoking.iter())
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
            subscribed_topic_regex: self.pattern.clone(),
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
            assigned_partitions: self.assigned.as_current(),
            partitions_pending_revocation: self.revoking.as_current(),
        };
        GroupRecord::CurrentMember(key(group, &self.id), Some(value))
    }

    pub(super) fn take_metadata(&mut self, value: &ConsumerGroupMemberMetadataValue) {
        self.instance = value.instance_id.as_ref().map(Str::own);
        self.rack = value.rack_id.as_ref().map(Str::own);
        self.client_id = value.client_id.own();
        self.client_host = value.client_host.own();
        self.names = value.subscribed_topic_names.iter().map(Str::own).collect();
        self.pattern = value.subscribed_topic_regex.as_ref().map(Str::own);
        self.rebalance_timeout_ms = value.rebalance_timeout_ms;
        self.assignor = value.server_assignor.as_ref().map(Str::own);
        self.classic = value.classic_member_metadata.clone();
    }

    pub(super) fn take_current(&mut self, value: &CurrentMemberAssignmentValue) {
        self.epoch = value.member_epoch;
        self.previous_epoch = value.previous_member_epoch;
        self.progress = Progress::numbered(value.state);
        self.assigned = Partitions::of_current(&value.assigned_partitions);
        self.revoking = Partitions::of_current(&value.partitions_pending_revocation);
    }
}

/// The key of a member's records.
pub(super) fn key(group: &Str, member: &Str) -> GroupMemberKey {
    GroupMemberKey {
        group: group.clone(),
        member_id: member.clone(),
    }
}
