//! From what a member has to what it shall have, one step per heartbeat (rule K4).

use super::ConsumerGroup;
use super::member::{Member, Progress};
use super::partitions::Partitions;
use crate::machine::group::classic;
use crate::machine::group::desk::Desk;
use crate::machine::group::timers::Alarm;
use millstream_net::wire::Str;

impl ConsumerGroup {
    /// Brings a member nearer to its target, given what it says it owns (`None`: as before). Whether something changed.
    pub(super) fn reconcile(
        &mut self,
        desk: &mut Desk,
        id: &Str,
        owned: Option<&Partitions>,
    ) -> bool {
        let member = &self.members[id];
        let step = match member.progress {
            Progress::Stable if member.epoch == self.target_epoch => None,
            Progress::Unrevoked if still_owns(owned, &member.revoking) => None,
            _ => Some(self.next_step(member, owned)),
        };
        let Some(next) = step.filter(|next| *next != *member) else {
            return false;
        };
        desk.append(next.current_record(&self.id));
        self.set_member(next);
        self.watch_revocation(desk, id);
        true
    }

    /// Whether somebody has let go of what a member waits for.
    pub(super) fn can_get_more(&self, member: &Member) -> bool {
        self.next_step(member, None) != *member
    }

    fn next_step(&self, member: &Member, owned: Option<&Partitions>) -> Member {
        let none = Partitions::default();
        let target = self.targets.get(&member.id).unwrap_or(&none);
        let (kept, revoked): (Vec<_>, Vec<_>) = member
            .assigned
            .iter()
            .partition(|place| target.contains(*place));
        let kept: Partitions = kept.into_iter().collect();
        let revoked: Partitions = revoked.into_iter().collect();
        let mut next = member.clone();
        if !revoked.is_empty() && still_owns(owned, &revoked) {
            next.assigned = kept;
            next.revoking = revoked;
            next.progress = Progress::Unrevoked;
            // It has heard of its epoch, or it would not say it.
            next.previous_epoch = next.epoch;
            return next;
        }
        let missing = target.iter().filter(|place| !kept.contains(*place));
        // What the member itself lets go of with this step is not held by it any more.
        let (free, held): (Vec<_>, Vec<_>) = missing.partition(|place| {
            let holder = self.holders.get(place);
            holder.is_none_or(|holder| *holder == member.id)
        });
        next.assigned = kept;
        free.into_iter()
            .for_each(|place| next.assigned.insert(place));
        next.revoking = Partitions::default();
        next.progress = match held.is_empty() {
            true => Progress::Stable,
            false => Progress::Unreleased,
        };
        if next.epoch != self.target_epoch {
            next.previous_epoch = next.epoch;
            next.epoch = self.target_epoch;
        }
        next.note_epochs();
        next
    }

    /// A member that has to let go has its rebalance timeout to do so.
    pub(super) fn watch_revocation(&self, desk: &mut Desk, id: &Str) {
        let alarm = Alarm::Revocation(id.clone());
        let Some(member) = self.members.get(id) else {
            return;
        };
        match member.progress {
            Progress::Unrevoked => {
                let at = classic::after(desk, member.rebalance_timeout_ms);
                desk.timers.set(&self.id, alarm, at);
            }
            _ => desk.timers.clear(&self.id, alarm),
        }
    }
}

/// Whether a member has one of these by its own account; one that says nothing has what it had.
fn still_owns(owned: Option<&Partitions>, partitions: &Partitions) -> bool {
    match owned {
        None => true,
        Some(owned) => partitions.iter().any(|place| owned.contains(place)),
    }
}
