//! From one protocol to the other while the group lives (rule K7).

use super::classic::Classic;
use super::consumer::ConsumerGroup;
use super::desk::Desk;
use super::{Body, Coordinator};
use millstream_net::wire::offsets_topic::{GroupKey, GroupRecord};
use millstream_net::wire::{ErrorCode, Str};

impl Coordinator {
    /// Makes a classic group one of consumers: an empty one always, a live one if all its members can be understood. Whether it
    /// is one now.
    pub(super) fn upgrade(&mut self, id: &Str) -> bool {
        let Some(group) = self.groups.get_mut(id) else {
            return false;
        };
        let Body::Classic(classic) = &mut group.body else {
            return true;
        };
        let desk = &mut self.desk;
        let live = !classic.members.is_empty();
        let lawful = classic.is_of_consumers() && desk.config.upgrade;
        let fits = classic.members.len() < desk.config.consumer_size_max;
        if live && !(lawful && fits && understood(classic)) {
            return false;
        }
        // Who waits joins again, and finds the group changed.
        classic.abandon(desk, ErrorCode::RebalanceInProgress);
        desk.timers.clear_group(id);
        if !classic.is_simple() {
            let group = id.clone();
            desk.append(GroupRecord::GroupMetadata(GroupKey { group }, None));
        }
        let consumer = ConsumerGroup::of_classic(desk, classic);
        group.body = Body::Consumer(Box::new(consumer));
        true
    }

    /// Makes a consumer group that has none but classic members a classic one.
    pub(super) fn downgrade_if_all_classic(&mut self, id: &Str) {
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        let Body::Consumer(consumer) = &group.body else {
            return;
        };
        let desk = &mut self.desk;
        let fits = consumer.members.len() <= desk.config.size_max;
        if !desk.config.downgrade || !fits || !consumer.is_all_classic() {
            return;
        }
        consumer.write_end(desk);
        desk.timers.clear_group(id);
        let classic = classic_of(desk, consumer);
        group.body = Body::Classic(Box::new(classic));
    }

    /// Makes a consumer group without members a classic one: somebody comes who speaks the classic protocol.
    pub(super) fn downgrade_if_empty(&mut self, id: &Str) {
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        if let Body::Consumer(consumer) = &group.body
            && consumer.is_idle()
        {
            consumer.write_end(&mut self.desk);
            let classic = Classic::new(id.clone(), self.desk.now.wall.0);
            group.body = Body::Classic(Box::new(classic));
        }
    }
}

/// Whether every member says what it wants.
fn understood(classic: &Classic) -> bool {
    let mut members = classic.members.values();
    members.all(ConsumerGroup::understands)
}

/// The classic group that a consumer group becomes: its members are told to join again, unless each has what it shall have.
fn classic_of(desk: &mut Desk, consumer: &ConsumerGroup) -> Classic {
    let members = consumer.members.values();
    let members = members.map(|member| {
        let assignment = consumer.assignment_of(member, &desk.image);
        (member, assignment)
    });
    let members = members.collect::<Vec<_>>();
    // The epoch of the last assignment: members are in it, and hear of the rebalance rather than of a wrong generation.
    let generation = consumer.target_epoch;
    let mut classic = Classic::of_consumers(consumer.id.clone(), generation, members);
    classic.since_ms = desk.now.wall.0;
    classic.carry_on(desk);
    if !consumer.is_stable() {
        classic.begin_again(desk);
    }
    classic
}
