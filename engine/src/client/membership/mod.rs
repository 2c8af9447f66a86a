//! Membership of a consumer group: which partitions a consumer reads, and how far the group is in them.
//!
//! Always:
//! 1. A partition is read only while the group says it is this member's; before it is let go of, what was done with it is committed.
//! 2. Only what the caller called done is committed.
//! 3. Whoever is told that it is no member any more lets go of everything at once and joins again.
//!
//! Left to others: reading (`consumer`), and who gets what where members decide that among themselves (`assignors`).

pub(super) mod assignors;
mod classic;
mod config;
mod modern;
mod offsets;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use millstream_net::wire::api::{FindCoordinatorRequest, FindCoordinatorResponse, JoinGroupMember};
use millstream_net::wire::{ErrorCode, Request, Response, Uuid};
use millstream_storage::ids::{Now, Tick};

pub use config::{ClassicAssignor, GroupProtocol, MembershipConfig};

use super::address::Address;
use super::error::ClientError;
use super::groups::Place;
use super::incoming::StartAt;
use super::links::{CallId, Channel, Loss, Outcome};
use super::wiring::Wiring;

const RETRY_MS: u64 = 100;
const CALL_TIMEOUT_MS: u64 = 30_000;
/// How long an end of membership may take: who cannot leave is put out when its session ends.
const LEAVE_MS_MAX: u64 = 5_000;

/// What the reader shall do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// Read this partition from here on; where that place is gone, go on by the second.
    Begin(Place, StartAt, StartAt),
    /// Read it no more.
    Release(Place),
}

/// What was asked of a broker.
enum Asked {
    Coordinator,
    Join,
    Sync,
    Offsets(Vec<Place>),
    /// With what is committed by it.
    Commit(BTreeMap<Place, i64>),
    Heartbeat,
    Leave,
}

/// How far a member is.
enum Stage {
    /// It has to join (again).
    Outside,
    /// It leads the group, and needs to know the topics to assign them.
    Assigning(Vec<JoinGroupMember>),
    /// It asks for its assignment; the leader brings everybody's.
    Syncing(Vec<(JoinGroupMember, Bytes)>),
    /// It is in.
    Inside,
    /// It is gone.
    Gone,
}

/// A member of a group.
pub(super) struct Membership {
    config: MembershipConfig,
    coordinator: Option<Address>,
    stage: Stage,
    member_id: String,
    /// The generation of a classic group, or the member's epoch.
    epoch: i32,
    /// The protocol that the group chose.
    protocol: Option<millstream_net::wire::Str>,
    /// What is read.
    owned: BTreeSet<Place>,
    /// What shall be.
    target: BTreeSet<Place>,
    /// The same as the broker said it, until all its topics are known by name.
    target_ids: Option<Vec<(Uuid, Vec<i32>)>>,
    /// The topics by whose sizes this member assigned, as their leader.
    assigned_by: Option<BTreeMap<String, usize>>,
    /// What the caller is done with and is not committed.
    done: BTreeMap<Place, i64>,
    commit_at: Tick,
    heartbeat_at: Tick,
    /// What it has is to be told to the coordinator.
    report: bool,
    /// The broker was told what the member wants.
    introduced: bool,
    /// The one thing that is under way, besides the following two.
    step: Option<CallId>,
    heartbeat: Option<CallId>,
    commit: Option<CallId>,
    calls: BTreeMap<CallId, Asked>,
    retry_at: Tick,
    leaving: Option<Tick>,
    changes: Vec<Change>,
    failure: Option<ClientError>,
    because: Option<String>,
}

impl Membership {
    /// A member to be; it joins with its first turn.
    pub fn new(now: Now, config: MembershipConfig, wiring: &mut Wiring) -> Membership {
        for topic in &config.topics {
            wiring.want_topic(now, topic);
        }
        let member_id = match config.protocol {
            GroupProtocol::Classic(_) => String::new(),
            GroupProtocol::Consumer => config.member_id.clone(),
        };
        Membership {
            coordinator: None,
            stage: Stage::Outside,
            member_id,
            epoch: config.protocol.epoch_outside(),
            protocol: None,
            owned: BTreeSet::new(),
            target: BTreeSet::new(),
            target_ids: None,
            assigned_by: None,
            done: BTreeMap::new(),
            commit_at: now.tick,
            heartbeat_at: now.tick,
            report: false,
            introduced: false,
            step: None,
            heartbeat: None,
            commit: None,
            calls: BTreeMap::new(),
            retry_at: now.tick,
            leaving: None,
            changes: Vec::new(),
            failure: None,
            because: None,
            config,
        }
    }

    /// The caller is done with everything below this offset.
    pub fn done(&mut self, place: Place, offset: i64) {
        if self.owned.contains(&place) {
            self.done.insert(place, offset);
        }
    }

    /// Commits and leaves.
    pub fn leave(&mut self, now: Now) {
        self.leaving.get_or_insert(now.tick.after_ms(LEAVE_MS_MAX));
    }

    /// Whether it has left, or cannot be told any more.
    pub fn is_gone(&self) -> bool {
        matches!(self.stage, Stage::Gone)
    }

    /// Whether it is in the group and reads what it shall.
    pub fn is_settled(&self) -> bool {
        matches!(self.stage, Stage::Inside)
            && self.target_ids.is_none()
            && self.owned == self.target
            && !self.report
    }

    /// Why the membership has ended, if it has.
    pub fn failure(&self) -> Option<&ClientError> {
        self.failure.as_ref()
    }

    /// The last thing that stood in the way.
    pub fn trouble(&self) -> Option<&String> {
        self.because.as_ref()
    }

    /// What the reader shall do, in order.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Whether a call was made by this membership.
    pub fn has_called(&self, call: CallId) -> bool {
        self.calls.contains_key(&call)
    }

    /// Does what is due.
    pub fn turn(&mut self, now: Now, wiring: &mut Wiring) {
        if self.is_gone() || self.failure.is_some() {
            return;
        }
        if self.leaving.is_some_and(|until| until <= now.tick) {
            self.stage = Stage::Gone;
            return;
        }
        if self.retry_at <= now.tick {
            self.next_step(now, wiring);
        }
        self.periodic(now, wiring);
    }

    /// When `turn` is to be called next, later than this.
    pub fn deadline(&self, later_than: Tick) -> Option<Tick> {
        if self.is_gone() || self.failure.is_some() {
            return None;
        }
        let retry = self.step.is_none().then_some(self.retry_at);
        let heartbeat = self.heartbeat.is_none().then_some(self.heartbeat_at);
        let commits = self.commit.is_none() && !self.done.is_empty();
        let commit = commits.then_some(self.commit_at);
        let due = retry.into_iter().chain(heartbeat).chain(commit);
        let due = due.chain(self.leaving);
        due.filter(|at| *at > later_than).min()
    }

    /// One of its calls has ended.
    pub fn outcome(&mut self, now: Now, wiring: &mut Wiring, call: CallId, outcome: Outcome) {
        let Some(asked) = self.calls.remove(&call) else {
            return;
        };
        for slot in [&mut self.step, &mut self.heartbeat, &mut self.commit] {
            slot.take_if(|current| *current == call);
        }
        match outcome {
            Outcome::Answered(response) => self.answered(now, wiring, asked, response),
            Outcome::Lost(Loss::Broken(reason)) => self.broken(now, wiring, asked, reason),
            Outcome::Lost(Loss::Unsupported(key)) => {
                self.failure = Some(ClientError::Unsupported {
                    address: self.at(wiring),
                    api: key.api().name,
                });
            }
            Outcome::Unanswered => unreachable!("every request of a member is answered"),
        }
    }

    fn answered(&mut self, now: Now, wiring: &mut Wiring, asked: Asked, response: Response) {
        match (asked, response) {
            (Asked::Coordinator, Response::FindCoordinator(answer)) => self.found(now, answer),
            (Asked::Join, Response::JoinGroup(answer)) => self.joined(now, wiring, answer),
            (Asked::Sync, Response::SyncGroup(answer)) => self.synced(now, answer),
            (Asked::Heartbeat, Response::Heartbeat(answer)) => {
                self.heard(now, answer.error_code);
            }
            (Asked::Heartbeat, Response::ConsumerGroupHeartbeat(answer)) => {
                self.told(now, answer);
            }
            (Asked::Offsets(places), Response::OffsetFetch(answer)) => {
                self.found_offsets(now, places, answer);
            }
            (Asked::Commit(offsets), Response::OffsetCommit(answer)) => {
                self.committed(now, &offsets, &answer);
            }
            // Whatever it says: who is not known any more is gone too.
            (Asked::Leave, _) => self.stage = Stage::Gone,
            _ => unreachable!("a request has the answer of its kind"),
        }
    }

    fn broken(&mut self, now: Now, wiring: &mut Wiring, asked: Asked, reason: String) {
        wiring.refresh(now);
        match asked {
            // It may have arrived; the end of the session does the rest.
            Asked::Leave => self.stage = Stage::Gone,
            Asked::Commit(offsets) => {
                self.put_back(offsets);
                self.search(now, reason);
            }
            Asked::Heartbeat => {
                // What it said may not have arrived.
                self.introduced = false;
                self.search(now, reason);
                self.heartbeat_at = self.retry_at;
            }
            _ => self.search(now, reason),
        }
    }

    /// The next thing to do, one at a time.
    fn next_step(&mut self, now: Now, wiring: &mut Wiring) {
        if self.step.is_some() {
            return;
        }
        if self.coordinator.is_none() {
            if self.leaving.is_some() && self.epoch == self.config.protocol.epoch_outside() {
                self.stage = Stage::Gone;
                return;
            }
            return self.find_coordinator(now, wiring);
        }
        if self.leaving.is_some() {
            return self.next_step_out(now, wiring);
        }
        match self.config.protocol {
            GroupProtocol::Classic(_) => self.classic_step(now, wiring),
            GroupProtocol::Consumer => self.modern_step(now, wiring),
        }
    }

    fn next_step_out(&mut self, now: Now, wiring: &mut Wiring) {
        if self.commit.is_some() {
            return;
        }
        if !self.done.is_empty() && self.epoch != self.config.protocol.epoch_outside() {
            let all = std::mem::take(&mut self.done);
            self.step = Some(self.send_commit(now, wiring, all));
            return;
        }
        if self.epoch == self.config.protocol.epoch_outside() {
            self.stage = Stage::Gone;
            return;
        }
        match self.config.protocol {
            GroupProtocol::Classic(_) => self.classic_leave(now, wiring),
            GroupProtocol::Consumer => self.modern_leave(now, wiring),
        }
    }

    /// Signs of life and commits, beside everything else.
    fn periodic(&mut self, now: Now, wiring: &mut Wiring) {
        if self.coordinator.is_none() || self.leaving.is_some() || self.retry_at > now.tick {
            return;
        }
        let inside = matches!(self.stage, Stage::Inside);
        if self.heartbeat.is_none() && self.heartbeat_at <= now.tick {
            match self.config.protocol {
                GroupProtocol::Classic(_) if inside => self.classic_heartbeat(now, wiring),
                GroupProtocol::Classic(_) => {}
                GroupProtocol::Consumer => self.modern_heartbeat(now, wiring),
            }
        }
        if inside && self.commit.is_none() && self.commit_at <= now.tick && !self.done.is_empty() {
            let all = std::mem::take(&mut self.done);
            self.commit = Some(self.send_commit(now, wiring, all));
        }
    }

    /// Brings what is read to what shall be: lets go first, then takes. Whether that is done.
    fn reconcile(&mut self, now: Now, wiring: &mut Wiring) -> bool {
        let leaving = self.owned.difference(&self.target);
        let leaving: BTreeSet<Place> = leaving.cloned().collect();
        if !self.let_go(now, wiring, &leaving) {
            return false;
        }
        let coming = self.target.difference(&self.owned);
        let coming: Vec<Place> = coming.cloned().collect();
        if coming.is_empty() {
            return true;
        }
        self.ask_offsets(now, wiring, coming);
        false
    }

    /// Lets go of partitions once what was done with them is committed. Whether that is so.
    fn let_go(&mut self, now: Now, wiring: &mut Wiring, leaving: &BTreeSet<Place>) -> bool {
        if leaving.is_empty() {
            return true;
        }
        if self.commit.is_some() {
            return false;
        }
        let unsaved = self
            .done
            .iter()
            .filter(|(place, _)| leaving.contains(*place));
        let unsaved: BTreeMap<Place, i64> =
            unsaved.map(|(place, at)| (place.clone(), *at)).collect();
        if !unsaved.is_empty() {
            self.done.retain(|place, _| !leaving.contains(place));
            self.step = Some(self.send_commit(now, wiring, unsaved));
            return false;
        }
        for place in leaving {
            self.owned.remove(place);
            self.changes.push(Change::Release(place.clone()));
        }
        self.report = true;
        true
    }

    /// It is no member any more: others may have its partitions already.
    fn cast_out(&mut self, now: Now) {
        for place in std::mem::take(&mut self.owned) {
            self.changes.push(Change::Release(place));
        }
        self.target.clear();
        self.target_ids = None;
        self.assigned_by = None;
        self.done.clear();
        self.calls.clear();
        (self.step, self.heartbeat, self.commit) = (None, None, None);
        self.epoch = self.config.protocol.epoch_outside();
        self.introduced = false;
        self.heartbeat_at = now.tick;
        self.stage = Stage::Outside;
    }

    fn find_coordinator(&mut self, now: Now, wiring: &mut Wiring) {
        let name = self.config.group.as_str();
        let request = FindCoordinatorRequest {
            key: name.into(),
            key_type: 0,
            coordinator_keys: vec![name.into()],
        };
        let any = wiring.any_broker().clone();
        let call = wiring.call(now, &any, request.into(), CALL_TIMEOUT_MS);
        self.calls.insert(call, Asked::Coordinator);
        self.step = Some(call);
    }

    fn found(&mut self, now: Now, answer: FindCoordinatorResponse) {
        let one = answer.coordinators.into_iter().next();
        let (code, host, port) = match one {
            Some(one) => (one.error_code, one.host, one.port),
            None => (answer.error_code, answer.host, answer.port),
        };
        match (code, u16::try_from(port)) {
            (ErrorCode::None, Ok(port)) => {
                let host = host.to_string();
                self.coordinator = Some(Address { host, port });
            }
            (ErrorCode::None, Err(_)) => self.again(now, format!("a coordinator at port {port}")),
            (code, _) if code.is_retriable() => self.again(now, code.to_string()),
            (code, _) => self.refused("finding the coordinator of", code, None),
        }
    }

    /// Asks the coordinator.
    fn ask(&mut self, now: Now, wiring: &mut Wiring, request: Request, asked: Asked) -> CallId {
        let timeout_ms = match asked {
            // It waits for the other members.
            Asked::Join => CALL_TIMEOUT_MS + self.config.rebalance_ms,
            Asked::Leave => LEAVE_MS_MAX,
            _ => CALL_TIMEOUT_MS,
        };
        let at = self.at(wiring);
        let call = wiring.call_on(now, &at, Channel::Membership, request, timeout_ms);
        self.calls.insert(call, asked);
        call
    }

    fn at(&self, wiring: &Wiring) -> Address {
        let coordinator = self.coordinator.clone();
        coordinator.unwrap_or_else(|| wiring.any_broker().clone())
    }

    /// Tries again after a moment.
    fn again(&mut self, now: Now, because: String) {
        self.retry_at = now.tick.after_ms(RETRY_MS);
        self.because = Some(because);
    }

    /// The coordinator may be another one now.
    fn search(&mut self, now: Now, because: String) {
        self.coordinator = None;
        self.again(now, because);
    }

    /// A refusal of the coordinator that is the same for all requests. Whether it was one.
    fn is_elsewhere(&mut self, now: Now, code: ErrorCode) -> bool {
        match code {
            ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable => {
                self.search(now, code.to_string());
                true
            }
            ErrorCode::CoordinatorLoadInProgress => {
                self.again(now, code.to_string());
                true
            }
            _ => false,
        }
    }

    fn refused(&mut self, doing: &str, code: ErrorCode, message: Option<String>) {
        self.failure = Some(ClientError::Refused {
            doing: format!("{doing} group `{}`", self.config.group),
            code,
            message,
        });
    }
}
