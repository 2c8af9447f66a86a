//! How a consumer is a member of a group.

use super::super::incoming::StartAt;

/// Who decides about the partitions, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupProtocol {
    /// One of the members.
    Classic(ClassicAssignor),
    /// The broker (KIP-848).
    Consumer,
}

impl GroupProtocol {
    /// The epoch of who is no member.
    pub(super) fn epoch_outside(self) -> i32 {
        match self {
            Self::Classic(_) => -1,
            Self::Consumer => 0,
        }
    }
}

/// How members assign among themselves; all of a group speak the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClassicAssignor {
    /// Neighbouring partitions of each topic. All let go of everything while they assign.
    Range,
    /// Even numbers, few moves. Who keeps a partition goes on reading it.
    CooperativeSticky,
}

impl ClassicAssignor {
    /// Its name among clients.
    pub fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }
}

/// How a consumer is a member of a group.
#[derive(Debug, Clone)]
pub struct MembershipConfig {
    /// The group.
    pub group: String,
    /// The topics it wants.
    pub topics: Vec<String>,
    /// Who decides.
    pub protocol: GroupProtocol,
    /// The name of a static member: it keeps its place while it restarts.
    pub instance: Option<String>,
    /// An id that nobody else has, for a group whose broker assigns.
    pub member_id: String,
    /// Where to begin in a partition in which the group has committed nothing.
    pub start: StartAt,
    /// How long a classic member may be silent.
    pub session_ms: u64,
    /// How long it may take to join again, or to let go.
    pub rebalance_ms: u64,
    /// How often what is done is committed.
    pub commit_interval_ms: u64,
}

impl MembershipConfig {
    /// A member of a group that reads one topic, and everything else as most consumers have it.
    pub fn new(group: &str, topic: &str, protocol: GroupProtocol) -> MembershipConfig {
        MembershipConfig {
            group: group.to_owned(),
            topics: vec![topic.to_owned()],
            protocol,
            instance: None,
            member_id: String::new(),
            start: StartAt::Beginning,
            session_ms: 45_000,
            rebalance_ms: 60_000,
            commit_interval_ms: 1_000,
        }
    }
}
