//! From one generation to the next (rules G4, G5).

use super::super::call::Answer;
use super::super::desk::Desk;
use super::super::timers::Alarm;
use super::join::refuse_waiting;
use super::{Classic, FirstRound, State};
use millstream_net::wire::{ErrorCode, Str};

/// How soon it is looked again whether a static member has come back.
const LOOK_AGAIN_MS: u64 = 1_000;

impl Classic {
    /// Somebody joined: a rebalance begins, or one more has joined the one under way.
    pub(super) fn rebalance_or_complete(&mut self, desk: &mut Desk) {
        match self.state {
            State::PreparingRebalance => self.complete_join_if_ready(desk),
            _ => self.prepare(desk),
        }
    }

    /// Somebody left.
    pub(super) fn somebody_left(&mut self, desk: &mut Desk) {
        match self.state {
            State::Empty => {}
            State::PreparingRebalance => self.complete_join_if_ready(desk),
            State::CompletingRebalance | State::Stable => self.prepare(desk),
        }
    }

    /// Begins a rebalance.
    fn prepare(&mut self, desk: &mut Desk) {
        for member in self.members.values_mut() {
            if member.syncing.is_some() {
                refuse_waiting_sync(member, desk);
            }
            member.owes_sync = false;
        }
        desk.timers.clear(&self.id, Alarm::Sync);
        let first = self.state == State::Empty;
        self.set_state(desk, State::PreparingRebalance);
        let timeout_ms = self.rebalance_timeout_ms();
        if first && desk.config.initial_delay_ms > 0 {
            let delay_ms = desk.config.initial_delay_ms;
            self.first_round = Some(FirstRound {
                left_ms: timeout_ms.saturating_sub(delay_ms),
                joined: false,
            });
            let at = desk.now.tick.after_ms(delay_ms);
            return desk.timers.set(&self.id, Alarm::Join, at);
        }
        if self.members.is_empty() || self.all_joined() {
            return self.complete_join(desk);
        }
        let at = desk.now.tick.after_ms(timeout_ms);
        desk.timers.set(&self.id, Alarm::Join, at);
    }

    /// Makes the generation if everybody is there.
    pub(super) fn complete_join_if_ready(&mut self, desk: &mut Desk) {
        if self.state != State::PreparingRebalance {
            return;
        }
        if self.first_round.is_none() && self.all_joined() {
            self.complete_join(desk);
        } else if self.members.is_empty() {
            self.first_round = None;
            self.complete_join(desk);
        }
    }

    fn all_joined(&self) -> bool {
        self.pending.is_empty() && self.members.values().all(|member| member.joining.is_some())
    }

    /// The time to join is up.
    pub(in super::super) fn join_due(&mut self, desk: &mut Desk) {
        if let Some(first) = &mut self.first_round
            && first.joined
            && first.left_ms > 0
        {
            let delay_ms = desk.config.initial_delay_ms.min(first.left_ms);
            first.left_ms -= delay_ms;
            first.joined = false;
            let at = desk.now.tick.after_ms(delay_ms);
            return desk.timers.set(&self.id, Alarm::Join, at);
        }
        if self.state == State::PreparingRebalance {
            self.complete_join(desk);
        }
    }

    /// Makes the next generation of those who joined.
    fn complete_join(&mut self, desk: &mut Desk) {
        self.first_round = None;
        desk.timers.clear(&self.id, Alarm::Join);
        let missing = self.members.values();
        let missing =
            missing.filter(|member| member.joining.is_none() && member.instance.is_none());
        for id in missing.map(|member| member.id.clone()).collect::<Vec<_>>() {
            self.remove_member(desk, &id, ErrorCode::UnknownMemberId);
        }
        if self.members.is_empty() {
            return self.become_empty(desk);
        }
        if !self.elect_leader() {
            // Only static members that may come back: they have until their sessions end. A timeout of nothing is theirs to
            // choose, and must not have the alarm ring for ever.
            let wait_ms = self.rebalance_timeout_ms().max(LOOK_AGAIN_MS);
            let at = desk.now.tick.after_ms(wait_ms);
            return desk.timers.set(&self.id, Alarm::Join, at);
        }
        self.raise_generation();
        self.protocol = self.elected_protocol();
        self.set_state(desk, State::CompletingRebalance);
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            let mut answer = self.joined(&id);
            if self.is_leader(&id) {
                answer.members = self.seen_by_leader();
            }
            let member = self.members.get_mut(&id).expect("it is one of them");
            member.owes_sync = true;
            let ticket = member.joining.take();
            if ticket.is_some() {
                member.is_new = false;
            }
            if let Some(ticket) = ticket {
                desk.answer(ticket, Answer::Join(answer));
                self.touch(desk, &id);
            }
        }
        let at = desk.now.tick.after_ms(self.rebalance_timeout_ms());
        desk.timers.set(&self.id, Alarm::Sync, at);
    }

    fn raise_generation(&mut self) {
        // Only a foreign log has a generation that is the last one.
        self.generation = self.generation.checked_add(1).unwrap_or(0);
    }

    fn become_empty(&mut self, desk: &mut Desk) {
        self.raise_generation();
        self.protocol = None;
        self.leader = None;
        self.set_state(desk, State::Empty);
        desk.timers.clear(&self.id, Alarm::Sync);
        self.write(desk);
    }

    /// The leader stays if it joined again; otherwise the first who did leads.
    fn elect_leader(&mut self) -> bool {
        let joined = |id: &Str| {
            let member = self.members.get(id);
            member.is_some_and(|member| member.joining.is_some())
        };
        if self.leader.as_ref().is_some_and(joined) {
            return true;
        }
        let mut members = self.members.values();
        let next = members.find(|member| member.joining.is_some());
        match next.map(|member| member.id.clone()) {
            Some(id) => {
                self.leader = Some(id);
                true
            }
            None => false,
        }
    }

    /// Members that never asked for their assignment are dropped.
    pub(in super::super) fn sync_due(&mut self, desk: &mut Desk) {
        let owing = self.members.values().filter(|member| member.owes_sync);
        let owing: Vec<Str> = owing.map(|member| member.id.clone()).collect();
        if owing.is_empty() {
            return;
        }
        for id in owing {
            self.remove_member(desk, &id, ErrorCode::UnknownMemberId);
        }
        self.somebody_left(desk);
    }

    /// Takes a member out; what waits for it is answered.
    pub(super) fn remove_member(&mut self, desk: &mut Desk, id: &Str, code: ErrorCode) {
        let Some(mut member) = self.members.remove(id) else {
            return;
        };
        refuse_waiting(&mut member, desk, code);
        if let Some(instance) = &member.instance {
            self.statics.remove(instance);
        }
        desk.timers.clear(&self.id, Alarm::Session(id.clone()));
        if self.is_leader(id) {
            let mut others = self.members.values();
            let next = others.find(|member| member.joining.is_some());
            let next = next.or(self.members.values().next());
            self.leader = next.map(|member| member.id.clone());
        }
    }
}

fn refuse_waiting_sync(member: &mut super::member::Member, desk: &mut Desk) {
    let joining = member.joining.take();
    refuse_waiting(member, desk, ErrorCode::RebalanceInProgress);
    member.joining = joining;
}
