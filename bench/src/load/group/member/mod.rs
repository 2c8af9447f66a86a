//! One member of a classic consumer group: what it asks its coordinator next, and what the answers mean for what it reads. No
//! sockets, no clock.
//!
//! Always: (1) one question is on its way at a time; (2) the partitions are its own from the answer to OffsetFetch until it
//! learns that the group rebalances, leaves, or is put out; (3) it commits what it read before it lets go, unless it was put
//! out: then the next owner reads it again, which is counted as it is.

mod asking;

use super::assign::range;
use crate::load::part::Failure;
use bytes::Bytes;
use millstream_net::wire::api::*;
use millstream_net::wire::consumer_protocol::ConsumerAssignment;
use millstream_net::wire::{ApiKey, Call, ErrorCode, Remedy, Str, decode_response};
use std::collections::BTreeMap;

/// The last versions with fields of fixed widths, or below where a later one says nothing that is needed.
const JOIN_VERSION: i16 = 5;
const SYNC_VERSION: i16 = 3;
const HEARTBEAT_VERSION: i16 = 3;
const LEAVE_VERSION: i16 = 2;
const COMMIT_VERSION: i16 = 7;
const FETCH_VERSION: i16 = 5;
/// The APIs of a member, with the versions it speaks.
pub const APIS: [(ApiKey, i16); 7] = [
    (ApiKey::FindCoordinator, 2),
    (ApiKey::JoinGroup, JOIN_VERSION),
    (ApiKey::SyncGroup, SYNC_VERSION),
    (ApiKey::Heartbeat, HEARTBEAT_VERSION),
    (ApiKey::LeaveGroup, LEAVE_VERSION),
    (ApiKey::OffsetCommit, COMMIT_VERSION),
    (ApiKey::OffsetFetch, FETCH_VERSION),
];
const ASSIGNOR: &str = "range";
/// After a coordinator said that it cannot answer now.
const BACK_OFF_NS: u64 = 100_000_000;
const MS: u64 = 1_000_000;

/// What all members of a group have in common.
#[derive(Clone, Debug)]
pub struct Terms {
    pub group: Str,
    pub topics: Vec<Str>,
    /// Partitions of each topic.
    pub partitions: u32,
    pub session_ms: i32,
    pub heartbeat_ms: u64,
    pub commit_ms: u64,
}

/// A topic (as an index into the run's topics), a partition of it, and an offset.
pub type Position = (u32, i32, i64);

/// What follows from an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// These partitions are its own; -1 where nothing was committed.
    Assigned(Vec<Position>),
    /// It has no partitions any more.
    Revoked,
    /// It has an assignment, so long after it asked to join.
    Joined {
        after_ns: u64,
    },
    /// It is out of the group.
    Left,
    /// Somebody else coordinates, or nobody now.
    LookUp,
    Failed(Failure),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Not a member.
    Out,
    /// Wants in, or in again.
    Joining,
    /// Has a generation and wants its assignment.
    Syncing,
    /// Has its assignment and asks where to begin.
    Locating,
    /// Reads.
    In,
    /// Commits a last time and then joins again, or leaves.
    LettingGo,
    Leaving,
}

/// A member.
#[derive(Debug)]
pub struct Member {
    terms: Terms,
    state: State,
    /// Whether it shall be in.
    wanted: bool,
    member_id: Str,
    generation: i32,
    /// The assignments of all, where it leads.
    assignments: Vec<SyncGroupAssignment>,
    mine: Vec<(u32, i32)>,
    asked: Option<ApiKey>,
    correlation_id: i32,
    /// When it asked to join, until it has its assignment.
    joining_since_ns: Option<u64>,
    not_before_ns: u64,
    heartbeat_ns: u64,
    commit_ns: u64,
}

impl Member {
    /// One that joins as soon as it can.
    pub fn new(terms: Terms) -> Member {
        Member {
            terms,
            state: State::Out,
            wanted: true,
            member_id: Str::from(""),
            generation: -1,
            assignments: Vec::new(),
            mine: Vec::new(),
            asked: None,
            correlation_id: 0,
            joining_since_ns: None,
            not_before_ns: 0,
            heartbeat_ns: 0,
            commit_ns: 0,
        }
    }

    /// It shall be in.
    pub fn join(&mut self) {
        self.wanted = true;
    }

    /// It shall leave, as soon as it is in.
    pub fn leave(&mut self) {
        self.wanted = false;
    }

    /// Whether it is no member, and does not want to be one.
    pub fn is_out(&self) -> bool {
        self.state == State::Out && !self.wanted
    }

    /// Whether an answer is to come.
    pub fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    /// The connection is gone: what was asked is asked again.
    pub fn broken(&mut self) {
        self.asked = None;
    }

    /// When it next wants to ask something, if nothing happens before.
    pub fn deadline_ns(&self) -> u64 {
        match (self.asked, self.state) {
            (Some(_), _) => u64::MAX,
            (None, State::Out) if !self.wanted => u64::MAX,
            (None, State::In) if self.wanted => self.heartbeat_ns.min(self.commit_ns),
            _ => self.not_before_ns,
        }
    }

    /// The bytes of the next question, if there is one now. `positions` tells how far its partitions are read.
    pub fn next(
        &mut self,
        now: u64,
        positions: impl FnOnce() -> Vec<Position>,
        effects: &mut Vec<Effect>,
    ) -> Option<Vec<u8>> {
        if self.asked.is_some() || now < self.not_before_ns {
            return None;
        }
        match (self.state, self.wanted) {
            (State::Out, true) => self.state = State::Joining,
            (State::In, false) => self.let_go(effects),
            _ => {}
        }
        if self.state == State::LettingGo && self.mine.is_empty() {
            self.has_let_go();
        }
        match self.state {
            State::Out => None,
            State::Joining => {
                self.joining_since_ns.get_or_insert(now);
                Some(self.ask_to_join())
            }
            State::Syncing => Some(self.ask_to_sync()),
            State::Locating => Some(self.ask_where()),
            State::In if now >= self.heartbeat_ns => {
                self.heartbeat_ns = now + self.terms.heartbeat_ms * MS;
                Some(self.ask_whether_all_is_well())
            }
            State::In if now >= self.commit_ns => {
                self.commit_ns = now + self.terms.commit_ms * MS;
                Some(self.ask_to_commit(positions()))
            }
            State::In => None,
            State::LettingGo => Some(self.ask_to_commit(positions())),
            State::Leaving => Some(self.ask_to_leave()),
        }
    }

    /// An answer came: a frame without its length prefix. An error is one that the member cannot go on with.
    pub fn answer(
        &mut self,
        now: u64,
        frame: &Bytes,
        effects: &mut Vec<Effect>,
    ) -> Result<(), String> {
        let asked = self
            .asked
            .take()
            .ok_or("the coordinator answers although nothing was asked")?;
        match asked {
            ApiKey::JoinGroup => {
                let response = self.read::<JoinGroupRequest>(JOIN_VERSION, frame)?;
                self.joined(now, response, effects)
            }
            ApiKey::SyncGroup => {
                let response = self.read::<SyncGroupRequest>(SYNC_VERSION, frame)?;
                self.synced(now, response, effects)
            }
            ApiKey::OffsetFetch => {
                let response = self.read::<OffsetFetchRequest>(FETCH_VERSION, frame)?;
                self.located(now, response, effects)
            }
            ApiKey::Heartbeat => {
                let response = self.read::<HeartbeatRequest>(HEARTBEAT_VERSION, frame)?;
                self.told(now, "Heartbeat", response.error_code, effects)
            }
            ApiKey::OffsetCommit => {
                let response = self.read::<OffsetCommitRequest>(COMMIT_VERSION, frame)?;
                self.committed(now, response, effects)
            }
            _ => {
                let response = self.read::<LeaveGroupRequest>(LEAVE_VERSION, frame)?;
                let code = response.error_code;
                if code.is_retriable() {
                    return self.told(now, "LeaveGroup", code, effects);
                }
                self.forget();
                self.state = State::Out;
                effects.push(Effect::Left);
                Ok(())
            }
        }
    }

    fn read<C: Call>(&self, version: i16, frame: &Bytes) -> Result<C::Response, String> {
        let nonsense = || {
            format!(
                "the coordinator's answer to {} cannot be read",
                C::KEY.api().name
            )
        };
        let (correlation_id, response) =
            decode_response(C::KEY, version, frame).map_err(|_| nonsense())?;
        if correlation_id != self.correlation_id {
            return Err(nonsense());
        }
        C::response(response).ok_or_else(nonsense)
    }

    fn joined(
        &mut self,
        now: u64,
        response: JoinGroupResponse,
        effects: &mut Vec<Effect>,
    ) -> Result<(), String> {
        if response.error_code == ErrorCode::MemberIdRequired {
            self.member_id = response.member_id;
            return Ok(());
        }
        if response.error_code != ErrorCode::None {
            return self.told(now, "JoinGroup", response.error_code, effects);
        }
        self.generation = response.generation_id;
        self.member_id = response.member_id;
        self.assignments = if response.leader == self.member_id {
            let known: BTreeMap<Str, u32> = self.terms.topics.iter().cloned().zip(0..).collect();
            range(&response.members, &known, self.terms.partitions)?
        } else {
            Vec::new()
        };
        self.state = State::Syncing;
        Ok(())
    }

    fn synced(
        &mut self,
        now: u64,
        response: SyncGroupResponse,
        effects: &mut Vec<Effect>,
    ) -> Result<(), String> {
        if response.error_code != ErrorCode::None {
            return self.told(now, "SyncGroup", response.error_code, effects);
        }
        let assignment = ConsumerAssignment::decode(&response.assignment)
            .map_err(|_| "the assignment of the group's leader cannot be read")?;
        self.mine.clear();
        for part in assignment.assigned_partitions {
            let topic = self
                .terms
                .topics
                .iter()
                .position(|name| *name == part.topic);
            let topic = topic.ok_or_else(|| {
                format!(
                    "the group's leader assigns {}, which is not of this run",
                    &*part.topic
                )
            })?;
            let count = self.terms.partitions as i32;
            let known = part
                .partitions
                .into_iter()
                .filter(|index| (0..count).contains(index));
            self.mine
                .extend(known.map(|partition| (topic as u32, partition)));
        }
        if let Some(since) = self.joining_since_ns.take() {
            effects.push(Effect::Joined {
                after_ns: now.saturating_sub(since),
            });
        }
        self.heartbeat_ns = now + self.terms.heartbeat_ms * MS;
        self.commit_ns = now + self.terms.commit_ms * MS;
        self.state = State::Locating;
        if self.mine.is_empty() {
            self.state = State::In;
            effects.push(Effect::Assigned(Vec::new()));
        }
        Ok(())
    }

    fn located(
        &mut self,
        now: u64,
        response: OffsetFetchResponse,
        effects: &mut Vec<Effect>,
    ) -> Result<(), String> {
        if response.error_code != ErrorCode::None {
            return self.told(now, "OffsetFetch", response.error_code, effects);
        }
        let mut found = BTreeMap::new();
        for topic in response.topics {
            for partition in topic.partitions {
                if partition.error_code != ErrorCode::None {
                    return self.told(now, "OffsetFetch", partition.error_code, effects);
                }
                let key = (topic.name.clone(), partition.partition_index);
                found.insert(key, partition.committed_offset);
            }
        }
        let positions = self.mine.iter().map(|(topic, partition)| {
            let key = (self.terms.topics[*topic as usize].clone(), *partition);
            (*topic, *partition, found.get(&key).copied().unwrap_or(-1))
        });
        effects.push(Effect::Assigned(positions.collect()));
        self.state = State::In;
        Ok(())
    }

    fn committed(
        &mut self,
        now: u64,
        response: OffsetCommitResponse,
        effects: &mut Vec<Effect>,
    ) -> Result<(), String> {
        let codes = response.topics.iter().flat_map(|topic| &topic.partitions);
        let code = codes
            .map(|partition| partition.error_code)
            .find(|code| *code != ErrorCode::None)
            .unwrap_or(ErrorCode::None);
        if self.state != State::LettingGo {
            return self.told(now, "OffsetCommit", code, effects);
        }
        if code.is_retriable() {
            return self.told(now, "OffsetCommit", code, effects);
        }
        if code != ErrorCode::None {
            effects.push(failure("OffsetCommit", code));
        }
        self.has_let_go();
        Ok(())
    }

    fn has_let_go(&mut self) {
        self.state = if self.wanted {
            State::Joining
        } else {
            State::Leaving
        };
    }

    /// What a code means for a member, whatever it asked.
    fn told(
        &mut self,
        now: u64,
        api: &'static str,
        code: ErrorCode,
        effects: &mut Vec<Effect>,
    ) -> Result<(), String> {
        match (code, code.remedy()) {
            (ErrorCode::None, _) => return Ok(()),
            // Not a failure: this is how a member learns of it.
            (ErrorCode::RebalanceInProgress, _) => match self.state {
                State::In => self.let_go(effects),
                _ => self.state = State::Joining,
            },
            (_, Remedy::Retry) => {
                effects.extend([failure(api, code), Effect::LookUp]);
                self.not_before_ns = now + BACK_OFF_NS;
            }
            (ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration, _)
            | (_, Remedy::Rejoin) => {
                effects.extend([failure(api, code), Effect::Revoked]);
                if code != ErrorCode::IllegalGeneration {
                    self.forget();
                }
                self.state = State::Joining;
            }
            _ => {
                return Err(format!(
                    "the coordinator of the group {} refuses {api}: {}",
                    &*self.terms.group,
                    code.name()
                ));
            }
        }
        Ok(())
    }

    fn let_go(&mut self, effects: &mut Vec<Effect>) {
        effects.push(Effect::Revoked);
        self.state = State::LettingGo;
    }

    fn forget(&mut self) {
        self.member_id = Str::from("");
        self.generation = -1;
        self.joining_since_ns = None;
    }
}

fn failure(api: &'static str, code: ErrorCode) -> Effect {
    Effect::Failed((api, code.code(), code.name()))
}
