//! A consumer group (KIP-848): the coordinator assigns, members are told with their heartbeats.
//!
//! Always:
//! 1. A partition is held by one member at most: a new owner gets it after the old one no longer has it, or is gone.
//! 2. A member's epoch only rises; what comes under another epoch than its present one changes nothing, but for the repetition
//!    of a heartbeat whose answer was lost.
//! 3. Everything is in records, but for when sessions and revocations end.

mod assign;
mod classic_member;
mod describe;
mod heartbeat;
mod leave;
pub(super) mod member;
pub(super) mod partitions;
mod pattern;
mod reconcile;
mod replay;
mod target;

use super::config::GroupSetting;
use super::desk::Desk;
use super::timers::Alarm;
use member::{Member, Progress};
use millstream_net::wire::offsets_topic::{ConsumerGroupMetadataValue, GroupKey, GroupRecord};
use millstream_net::wire::{ErrorCode, Str};
use millstream_storage::ids::{MetadataIndex, Tick};
use partitions::{Partitions, Place};
use std::collections::{BTreeMap, BTreeSet};

pub(super) use heartbeat::{judge, judge_pattern};
pub(super) use pattern::Pattern;

/// How long a member that waits for others to let go is told to wait before it asks again.
const WAITING_MS: i32 = 500;

/// A refusal, with its text for the client.
pub(super) type Refused = (ErrorCode, String);

/// One group.
#[derive(Debug)]
pub(super) struct ConsumerGroup {
    pub(super) id: Str,
    /// Raised with every change of members, subscriptions or topics.
    pub(super) epoch: i32,
    /// The epoch the target assignment was made for.
    pub(super) target_epoch: i32,
    /// When that was, since this coordinator began.
    assigned_at: Option<Tick>,
    pub(super) members: BTreeMap<Str, Member>,
    /// Which member has which static name.
    statics: BTreeMap<Str, Str>,
    pub(super) targets: BTreeMap<Str, Partitions>,
    /// Who holds which partition.
    holders: BTreeMap<Place, Str>,
    /// The patterns of members, and the topics that match.
    patterns: BTreeMap<Str, Pattern>,
    /// Over the topics that members want, as they were when the epoch was raised.
    hash: i64,
    /// The image that patterns and topics were last looked up in.
    seen: MetadataIndex,
    /// Since when it has no members, in ms.
    pub(super) since_ms: i64,
}

impl ConsumerGroup {
    /// A group without members.
    pub(super) fn new(id: Str, now_ms: i64) -> ConsumerGroup {
        ConsumerGroup {
            id,
            epoch: 0,
            target_epoch: 0,
            assigned_at: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            targets: BTreeMap::new(),
            holders: BTreeMap::new(),
            patterns: BTreeMap::new(),
            hash: 0,
            seen: MetadataIndex(0),
            since_ms: now_ms,
        }
    }

    /// Whether nobody is in it.
    pub(super) fn is_idle(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether everybody has what it shall have.
    pub(super) fn is_stable(&self) -> bool {
        let settled = |member: &Member| {
            member.progress == Progress::Stable && member.epoch == self.target_epoch
        };
        self.epoch == self.target_epoch && self.members.values().all(settled)
    }

    /// Its state as it is described.
    pub(super) fn state(&self) -> &'static str {
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch > self.target_epoch {
            "Assigning"
        } else if self.is_stable() {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    /// Whether a commit under this name counts (rules G11, K6).
    pub(super) fn judge_commit(&self, id: &str, epoch: i32, version: i16) -> Result<(), ErrorCode> {
        if epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        let member = self.members.get(id).ok_or(ErrorCode::UnknownMemberId)?;
        if version < 9 && member.classic.is_none() {
            return Err(ErrorCode::UnsupportedVersion);
        }
        match (member.epoch == epoch, member.classic.is_some()) {
            (true, _) => Ok(()),
            (false, true) => Err(ErrorCode::IllegalGeneration),
            (false, false) => Err(ErrorCode::StaleMemberEpoch),
        }
    }

    /// Whether a member may ask for offsets (rule G12).
    pub(super) fn judge_fetch(&self, id: Option<&Str>, epoch: i32) -> Result<(), ErrorCode> {
        let Some(id) = id.filter(|id| epoch >= 0 || !id.is_empty()) else {
            return Ok(());
        };
        let member = self.members.get(id).ok_or(ErrorCode::UnknownMemberId)?;
        match member.epoch == epoch {
            true => Ok(()),
            false => Err(ErrorCode::StaleMemberEpoch),
        }
    }

    /// The names of the topics that members want.
    pub(super) fn subscribed_topics(&self) -> BTreeSet<Str> {
        let members = self.members.values();
        members
            .flat_map(|member| self.topics_of(member))
            .cloned()
            .collect()
    }

    /// The topics a member wants, by name or pattern.
    fn topics_of<'a>(&'a self, member: &'a Member) -> impl Iterator<Item = &'a Str> {
        let pattern = member.pattern.as_ref();
        let pattern = pattern.and_then(|pattern| self.patterns.get(pattern));
        let matching = pattern.into_iter().flat_map(|pattern| &pattern.topics);
        member.names.iter().chain(matching)
    }

    /// A member shows a sign of life: its session begins anew.
    fn touch(&mut self, desk: &mut Desk, id: &Str) {
        let session_ms = self.session_ms(desk);
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        let session_ms = match &member.classic {
            Some(classic) => classic.session_timeout_ms,
            None => session_ms,
        };
        member.session_end = super::classic::after(desk, session_ms);
        if member.classic.is_none() {
            desk.timers.clear(&self.id, Alarm::Rejoin(id.clone()));
        }
        let alarm = Alarm::Session(id.clone());
        desk.timers.set_by(&self.id, alarm, member.session_end);
    }

    /// How long a member may give no sign of life (rule K5).
    fn session_ms(&self, desk: &Desk) -> i32 {
        let config = &desk.config;
        config.of_group(&desk.image, &self.id, GroupSetting::Session)
    }

    /// When a member shall give the next one. One that waits asks again as soon as there may be something for it.
    fn heartbeat_ms(&self, desk: &Desk, member: &Member) -> i32 {
        let config = &desk.config;
        let usual = config.of_group(&desk.image, &self.id, GroupSetting::Heartbeat);
        let waits = match (self.assignable_at(desk), member.progress) {
            (Some(at), _) => {
                let wait_ms = at.ms_since(desk.now.tick).saturating_add(1);
                i32::try_from(wait_ms).unwrap_or(usual)
            }
            (None, Progress::Unreleased) => WAITING_MS,
            (None, _) => usual,
        };
        waits.min(usual)
    }

    /// Until when the present assignment stays though it should be another one.
    fn assignable_at(&self, desk: &Desk) -> Option<Tick> {
        let interval_ms = desk
            .config
            .of_group(&desk.image, &self.id, GroupSetting::Assignment);
        let at = super::classic::ms(interval_ms);
        let at = self.assigned_at?.after_ms(at);
        (self.epoch > self.target_epoch && at > desk.now.tick).then_some(at)
    }

    /// A session may have ended.
    pub(super) fn session_due(&mut self, desk: &mut Desk, id: &Str) {
        let Some(member) = self.members.get(id) else {
            return;
        };
        if member.session_end > desk.now.tick {
            let (end, alarm) = (member.session_end, Alarm::Session(id.clone()));
            return desk.timers.set(&self.id, alarm, end);
        }
        self.remove(desk, id);
    }

    /// A member has not let go of its partitions in time (rule K4).
    pub(super) fn revocation_due(&mut self, desk: &mut Desk, id: &Str) {
        let member = self.members.get(id);
        if member.is_some_and(|member| member.progress == Progress::Unrevoked) {
            self.remove(desk, id);
        }
    }

    /// Sets every alarm that a replayed group needs.
    pub(super) fn loaded(&mut self, desk: &mut Desk) {
        self.make_sound(desk);
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            self.touch(desk, &id);
            self.watch_revocation(desk, &id);
        }
    }

    /// Raises the epoch, and writes it down.
    fn raise_epoch(&mut self, desk: &mut Desk) {
        // Only a foreign log has an epoch that is the last one.
        self.epoch = self.epoch.saturating_add(1);
        desk.append(self.epoch_record());
    }

    fn epoch_record(&self) -> GroupRecord {
        let group = self.id.clone();
        let value = ConsumerGroupMetadataValue {
            epoch: self.epoch,
            metadata_hash: self.hash,
        };
        GroupRecord::ConsumerGroup(GroupKey { group }, Some(value))
    }

    /// Takes a member as it is now; what it holds is held by it alone.
    fn set_member(&mut self, member: Member) {
        if let Some(former) = self.members.get(&member.id) {
            for place in former.held() {
                self.holders.remove(&place);
            }
            if let Some(instance) = &former.instance
                && self.statics.get(instance) == Some(&member.id)
            {
                self.statics.remove(instance);
            }
        }
        for place in member.held() {
            let holder = self.holders.insert(place, member.id.clone());
            assert!(
                holder.is_none_or(|holder| holder == member.id),
                "a partition has one holder"
            );
        }
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), member.id.clone());
        }
        self.members.insert(member.id.clone(), member);
    }

    /// Forgets a member; nothing is written.
    fn drop_member(&mut self, desk: &mut Desk, id: &Str) -> Option<Member> {
        let member = self.members.remove(id)?;
        for place in member.held() {
            self.holders.remove(&place);
        }
        if let Some(instance) = &member.instance
            && self.statics.get(instance) == Some(id)
        {
            self.statics.remove(instance);
        }
        self.targets.remove(id);
        desk.timers.clear(&self.id, Alarm::Session(id.clone()));
        desk.timers.clear(&self.id, Alarm::Revocation(id.clone()));
        desk.timers.clear(&self.id, Alarm::Rejoin(id.clone()));
        if self.members.is_empty() {
            self.since_ms = desk.now.wall.0;
        }
        Some(member)
    }

    /// Takes a member out of the group: others may have what it held.
    pub(super) fn remove(&mut self, desk: &mut Desk, id: &Str) {
        if self.drop_member(desk, id).is_some() {
            self.write_gone(desk, id);
            self.forget_unused_patterns(desk);
            if self.members.is_empty() {
                self.hash = 0;
            }
            self.raise_epoch(desk);
        }
    }

    fn write_gone(&self, desk: &mut Desk, id: &Str) {
        desk.append(GroupRecord::CurrentMember(member::key(&self.id, id), None));
        desk.append(GroupRecord::TargetMember(member::key(&self.id, id), None));
        desk.append(GroupRecord::Member(member::key(&self.id, id), None));
    }

    /// Writes down that the group is gone; it has no members.
    pub(super) fn write_end(&self, desk: &mut Desk) {
        for pattern in self.patterns.keys() {
            desk.append(self.pattern_record(pattern, None));
        }
        for id in self.members.keys() {
            self.write_gone(desk, id);
        }
        let group = self.id.clone();
        desk.append(GroupRecord::TargetEpoch(
            GroupKey {
                group: group.clone(),
            },
            None,
        ));
        desk.append(GroupRecord::ConsumerGroup(GroupKey { group }, None));
    }

    /// Asserts every invariant.
    pub(super) fn check(&self) {
        let mut held = BTreeMap::new();
        for (id, member) in &self.members {
            assert_eq!(*id, member.id);
            for place in member.held() {
                let former = held.insert(place, id.clone());
                assert_eq!(former, None, "{place:?} has one holder");
            }
            assert!(member.epoch <= self.target_epoch);
            assert_eq!(
                member.progress == Progress::Unrevoked,
                !member.revoking.is_empty()
            );
        }
        assert_eq!(held, self.holders);
        for (instance, id) in &self.statics {
            assert_eq!(self.members[id].instance.as_ref(), Some(instance));
        }
        let named = self
            .members
            .values()
            .filter_map(|one| one.instance.as_ref());
        assert!(
            named
                .collect::<Vec<_>>()
                .iter()
                .all(|one| self.statics.contains_key(*one))
        );
        assert!(self.target_epoch <= self.epoch);
        assert!(self.targets.keys().all(|id| self.members.contains_key(id)));
    }
}
