//! A member of a classic group.

use super::super::call::{Caller, Ticket};
use bytes::Bytes;
use millstream_net::wire::Str;
use millstream_net::wire::api::{JoinGroupProtocol, JoinGroupRequest};
use millstream_storage::ids::Tick;

/// One member.
#[derive(Clone, PartialEq, Debug)]
pub(in super::super) struct Member {
    pub(in super::super) id: Str,
    /// The name of a static member.
    pub(in super::super) instance: Option<Str>,
    pub(in super::super) client_id: Str,
    pub(in super::super) client_host: Str,
    pub(in super::super) rebalance_timeout_ms: i32,
    pub(in super::super) session_timeout_ms: i32,
    /// What it speaks, the one it likes most first, each with what it tells the leader.
    pub(in super::super) protocols: Vec<JoinGroupProtocol>,
    pub(in super::super) assignment: Bytes,
    /// Its join waits for the others.
    pub(super) joining: Option<Ticket>,
    /// It waits for its assignment.
    pub(super) syncing: Option<Ticket>,
    /// It has been told of the generation and has not asked for its assignment yet.
    pub(super) owes_sync: bool,
    /// It has not been in a generation yet.
    pub(super) is_new: bool,
    /// When its session ends.
    pub(in super::super) session_end: Tick,
}

impl Member {
    pub(super) fn new(id: Str, caller: &Caller, request: &JoinGroupRequest) -> Member {
        Member {
            id,
            instance: request.group_instance_id.as_ref().map(Str::own),
            client_id: caller.client_id.own(),
            client_host: caller.host.own(),
            rebalance_timeout_ms: rebalance_timeout_ms(request),
            session_timeout_ms: request.session_timeout_ms,
            protocols: own(&request.protocols),
            assignment: Bytes::new(),
            joining: None,
            syncing: None,
            owes_sync: false,
            is_new: true,
            session_end: Tick::default(),
        }
    }

    /// Takes what it says now.
    pub(super) fn update(&mut self, request: &JoinGroupRequest) {
        self.protocols = own(&request.protocols);
        self.rebalance_timeout_ms = rebalance_timeout_ms(request);
        self.session_timeout_ms = request.session_timeout_ms;
    }

    /// Whether it says what it said before.
    pub(super) fn says_the_same(&self, request: &JoinGroupRequest) -> bool {
        self.protocols == request.protocols
    }

    /// The names of what it speaks.
    pub(super) fn names(&self) -> impl Iterator<Item = &Str> {
        self.protocols.iter().map(|one| &one.name)
    }

    /// What it tells the leader in a protocol.
    pub(in super::super) fn metadata(&self, protocol: &str) -> Bytes {
        let spoken = self.protocols.iter().find(|one| one.name == *protocol);
        spoken.map_or(Bytes::new(), |one| one.metadata.clone())
    }

    /// A request of it waits here, so it is alive.
    pub(super) fn waits(&self) -> bool {
        self.joining.is_some() || self.syncing.is_some()
    }

    /// Bytes it is remembered by.
    pub(super) fn bytes(&self) -> usize {
        let protocols = self.protocols.iter();
        let protocols: usize = protocols
            .map(|one| one.name.len() + one.metadata.len())
            .sum();
        protocols + self.id.len() + self.client_id.len() + self.assignment.len()
    }
}

/// A join of version 0 has one timeout for both.
pub(in super::super) fn rebalance_timeout_ms(request: &JoinGroupRequest) -> i32 {
    match request.rebalance_timeout_ms {
        -1 => request.session_timeout_ms,
        other => other,
    }
}

/// Copies that do not hold the frame.
pub(in super::super) fn own(protocols: &[JoinGroupProtocol]) -> Vec<JoinGroupProtocol> {
    let own = |one: &JoinGroupProtocol| JoinGroupProtocol {
        name: one.name.own(),
        metadata: Bytes::copy_from_slice(&one.metadata),
    };
    protocols.iter().map(own).collect()
}
