//! A classic group: members that assign among themselves, generation by generation.
//!
//! Always:
//! 1. A generation is raised only when every member joined again or ran out of time; what belongs to another generation is refused.
//! 2. Each call is answered once: what waits (joins, syncs) is answered by the end of the phase, by an error, or when its member goes.
//! 3. Metadata and assignments are opaque and returned as they came.
//! 4. A member id that was given out and not used, a member that gives no sign of life, a member that never asks for its
//!    assignment: each is dropped in bounded time.

mod join;
mod leave;
pub(super) mod member;
mod rebalance;
pub(super) mod record;
mod sync;

use super::desk::Desk;
use super::timers::Alarm;
use member::Member;
use millstream_net::wire::api::{
    DescribedGroup, DescribedGroupMember, JoinGroupProtocol, ListedGroup,
};
use millstream_net::wire::{ErrorCode, Str};
use millstream_storage::ids::Tick;
use std::collections::{BTreeMap, BTreeSet};

pub(super) use join::refused;
pub(super) use record::subscribed_topics;

/// BOUND: member ids given out and not used.
const PENDING_MAX: usize = 10_000;
/// BOUND: protocols that a member speaks.
pub(super) const PROTOCOLS_MAX: usize = 100;
/// BOUND: bytes that the members of a group are remembered by; its record must fit a batch.
pub(super) const BYTES_MAX: usize = 32 << 20;
/// A new member that waits for its first generation is taken for dead after so long.
const NEW_MEMBER_MS: u64 = 300_000;

/// Where a group stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// No members.
    Empty,
    /// Members join (again).
    PreparingRebalance,
    /// The generation is made; its leader assigns.
    CompletingRebalance,
    /// Everyone has an assignment.
    Stable,
}

impl State {
    pub(super) fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::PreparingRebalance => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
        }
    }
}

/// The first join of an empty group waits for others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct FirstRound {
    /// What is left of the rebalance timeout, in ms.
    left_ms: u64,
    /// Whether somebody joined since it was last prolonged.
    joined: bool,
}

/// One group.
#[derive(Debug)]
pub(super) struct Classic {
    pub(super) id: Str,
    pub(super) state: State,
    pub(super) protocol_type: Option<Str>,
    pub(super) generation: i32,
    pub(super) protocol: Option<Str>,
    pub(super) leader: Option<Str>,
    pub(super) members: BTreeMap<Str, Member>,
    /// Which member has which static name.
    statics: BTreeMap<Str, Str>,
    /// Member ids that were given out and not used.
    pending: BTreeSet<Str>,
    first_round: Option<FirstRound>,
    /// Since when it is in this state, in ms.
    pub(super) since_ms: i64,
}

impl Classic {
    /// A group without members.
    pub(super) fn new(id: Str, now_ms: i64) -> Classic {
        Classic {
            id,
            state: State::Empty,
            protocol_type: None,
            generation: 0,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            pending: BTreeSet::new(),
            first_round: None,
            since_ms: now_ms,
        }
    }

    /// Whether nobody is in it or about to be.
    pub(super) fn is_idle(&self) -> bool {
        self.members.is_empty() && self.pending.is_empty() && self.state == State::Empty
    }

    /// Whether it was never more than a name for offsets.
    pub(super) fn is_simple(&self) -> bool {
        self.protocol_type.is_none()
    }

    /// Whether its members are consumers.
    pub(super) fn is_of_consumers(&self) -> bool {
        let kind = self.protocol_type.as_deref();
        kind == Some("consumer")
    }

    /// Finds the member that a request names, by id and perhaps by static name (rule G9).
    pub(super) fn find(&self, id: &str, instance: Option<&Str>) -> Result<&Member, ErrorCode> {
        if let Some(instance) = instance {
            match self.statics.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(known) if *known != *id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        self.members.get(id).ok_or(ErrorCode::UnknownMemberId)
    }

    /// A sign of life of a member (rule G8).
    pub(super) fn heartbeat(
        &mut self,
        desk: &mut Desk,
        id: &str,
        instance: Option<&Str>,
        generation: i32,
    ) -> ErrorCode {
        if let Err(code) = self.find(id, instance) {
            return code;
        }
        if generation != self.generation {
            return ErrorCode::IllegalGeneration;
        }
        self.touch(desk, id);
        match self.state {
            State::Empty => ErrorCode::UnknownMemberId,
            State::PreparingRebalance => ErrorCode::RebalanceInProgress,
            State::CompletingRebalance | State::Stable => ErrorCode::None,
        }
    }

    /// Whether a commit under this name counts (rule G11).
    pub(super) fn judge_commit(
        &self,
        id: &str,
        instance: Option<&Str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        if generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        if generation < 0 && id.is_empty() && instance.is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.find(id, instance)?;
        if generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        match self.state {
            State::CompletingRebalance => Err(ErrorCode::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// A member shows a sign of life: its session begins anew.
    pub(super) fn touch(&mut self, desk: &mut Desk, id: &str) {
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        let ms = match member.is_new && member.joining.is_some() {
            true => NEW_MEMBER_MS,
            false => ms(member.session_timeout_ms),
        };
        member.session_end = desk.now.tick.after_ms(ms);
        let alarm = Alarm::Session(member.id.clone());
        desk.timers.set_by(&self.id, alarm, member.session_end);
    }

    /// A session may have ended.
    pub(super) fn session_due(&mut self, desk: &mut Desk, id: &Str) {
        let Some(member) = self.members.get(id) else {
            return;
        };
        let alive = member.waits() && !(member.is_new && member.joining.is_some());
        let end = match alive {
            true => desk.now.tick.after_ms(ms(member.session_timeout_ms)),
            false => member.session_end,
        };
        if end > desk.now.tick {
            return desk.timers.set(&self.id, Alarm::Session(id.clone()), end);
        }
        self.remove_member(desk, id, ErrorCode::UnknownMemberId);
        self.somebody_left(desk);
    }

    /// A member id that was given out was not used in time.
    pub(super) fn pending_due(&mut self, desk: &mut Desk, id: &Str) {
        if self.pending.remove(id) {
            self.complete_join_if_ready(desk);
        }
    }

    /// Sets every alarm that a replayed group needs.
    pub(super) fn loaded(&mut self, desk: &mut Desk) {
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            self.touch(desk, &id);
        }
    }

    /// Ends everything that waits, with this code.
    pub(super) fn abandon(&mut self, desk: &mut Desk, code: ErrorCode) {
        for member in self.members.values_mut() {
            join::refuse_waiting(member, desk, code);
        }
    }

    /// The group as DescribeGroups shows it (rule G14).
    pub(super) fn describe(&self) -> DescribedGroup {
        let shown = self.state == State::Stable;
        let members = self.members.values().map(|member| DescribedGroupMember {
            member_id: member.id.clone(),
            group_instance_id: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            member_metadata: match (&self.protocol, shown) {
                (Some(protocol), true) => member.metadata(protocol),
                _ => Default::default(),
            },
            member_assignment: member.assignment.clone(),
        });
        DescribedGroup {
            group_id: self.id.clone(),
            group_state: Str::from_static(self.state.name()),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol_data: match shown {
                true => self.protocol.clone().unwrap_or_default(),
                false => Str::default(),
            },
            members: members.collect(),
            ..DescribedGroup::default()
        }
    }

    /// The group as ListGroups shows it.
    pub(super) fn listed(&self) -> ListedGroup {
        ListedGroup {
            group_id: self.id.clone(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            group_state: Str::from_static(self.state.name()),
            group_type: Str::from_static("classic"),
        }
    }

    /// Asserts every invariant.
    pub(super) fn check(&self) {
        assert_eq!(
            self.state == State::Empty,
            self.members.is_empty() && self.first_round.is_none()
        );
        for (instance, id) in &self.statics {
            assert_eq!(self.members[id].instance.as_ref(), Some(instance));
        }
        for member in self.members.values() {
            assert!(member.joining.is_none() || self.state == State::PreparingRebalance);
            assert!(member.syncing.is_none() || self.state == State::CompletingRebalance);
            assert!(!self.pending.contains(&member.id));
        }
        if matches!(self.state, State::Stable | State::CompletingRebalance) {
            let leader = self.leader.as_ref().expect("a generation has a leader");
            assert!(self.members.contains_key(leader));
            assert!(self.protocol.is_some());
        }
    }

    fn set_state(&mut self, desk: &Desk, state: State) {
        self.state = state;
        self.since_ms = desk.now.wall.0;
    }

    fn is_leader(&self, id: &str) -> bool {
        self.leader.as_deref() == Some(id)
    }

    /// Whether somebody who speaks this can join.
    fn speaks(&self, protocol_type: &str, protocols: &[JoinGroupProtocol]) -> bool {
        if self.members.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let same = self.protocol_type.as_deref() == Some(protocol_type);
        let common = self.common_protocols();
        same && protocols.iter().any(|one| common.contains(&one.name))
    }

    /// The protocols that all members speak.
    fn common_protocols(&self) -> BTreeSet<&Str> {
        let mut members = self.members.values();
        let first = members.next();
        let mut common: BTreeSet<&Str> = first.into_iter().flat_map(Member::names).collect();
        for member in members {
            let spoken: BTreeSet<&Str> = member.names().collect();
            common.retain(|name| spoken.contains(name));
        }
        common
    }

    /// The protocol that most members like best among those that all speak.
    fn elected_protocol(&self) -> Option<Str> {
        let common = self.common_protocols();
        let mut common: BTreeMap<&Str, usize> = common.into_iter().map(|name| (name, 0)).collect();
        for member in self.members.values() {
            let mut spoken = member.names();
            let best = spoken.find(|name| common.contains_key(*name));
            if let Some(votes) = best.and_then(|name| common.get_mut(name)) {
                *votes += 1;
            }
        }
        let most = common
            .iter()
            .max_by_key(|(name, votes)| (**votes, std::cmp::Reverse(**name)));
        most.map(|(name, _)| (*name).clone())
    }

    fn bytes(&self) -> usize {
        self.members.values().map(Member::bytes).sum()
    }

    fn rebalance_timeout_ms(&self) -> u64 {
        let timeouts = self.members.values();
        let longest = timeouts.map(|member| member.rebalance_timeout_ms).max();
        ms(longest.unwrap_or(0))
    }
}

/// A duration on the wire that cannot be negative.
pub(super) fn ms(duration: i32) -> u64 {
    u64::try_from(duration).unwrap_or(0)
}

/// Where the end of a session lies for a member that was just heard of.
pub(super) fn after(desk: &Desk, duration_ms: i32) -> Tick {
    desk.now.tick.after_ms(ms(duration_ms))
}
