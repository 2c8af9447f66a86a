//! The two kinds of group, as the coordinator sees them.

use super::classic::{self, Classic};
use super::consumer::ConsumerGroup;
use super::desk::Desk;
use super::timers::Alarm;
use millstream_net::wire::api::{LeavingMember, LeftMember, ListedGroup};
use millstream_net::wire::offsets_topic::GroupRecord;
use millstream_net::wire::{ErrorCode, Str};
use std::collections::BTreeSet;

/// A group without its offsets.
#[derive(Debug)]
pub(super) enum Body {
    /// Its members assign.
    Classic(Box<Classic>),
    /// The coordinator assigns.
    Consumer(Box<ConsumerGroup>),
}

impl Body {
    pub(super) fn id(&self) -> &Str {
        match self {
            Body::Classic(classic) => &classic.id,
            Body::Consumer(consumer) => &consumer.id,
        }
    }

    /// Whether nobody is in it or about to be.
    pub(super) fn is_idle(&self) -> bool {
        match self {
            Body::Classic(classic) => classic.is_idle(),
            Body::Consumer(consumer) => consumer.is_idle(),
        }
    }

    /// Whether no record tells of it.
    pub(super) fn is_unwritten(&self) -> bool {
        match self {
            Body::Classic(classic) => classic.is_idle() && classic.is_simple(),
            Body::Consumer(_) => false,
        }
    }

    /// Whether its members are consumers.
    pub(super) fn is_of_consumers(&self) -> bool {
        match self {
            Body::Classic(classic) => classic.is_of_consumers(),
            Body::Consumer(_) => true,
        }
    }

    /// The topics its members are subscribed to; `None` where that is not known.
    pub(super) fn subscribed_topics(&self) -> Option<BTreeSet<Str>> {
        match self {
            Body::Classic(classic) => classic::subscribed_topics(classic),
            Body::Consumer(consumer) => Some(consumer.subscribed_topics()),
        }
    }

    /// An alarm rings.
    pub(super) fn ring(&mut self, desk: &mut Desk, alarm: Alarm) {
        match (self, alarm) {
            (Body::Classic(classic), Alarm::Session(id)) => classic.session_due(desk, &id),
            (Body::Classic(classic), Alarm::Pending(id)) => classic.pending_due(desk, &id),
            (Body::Classic(classic), Alarm::Join) => classic.join_due(desk),
            (Body::Classic(classic), Alarm::Sync) => classic.sync_due(desk),
            (Body::Consumer(consumer), Alarm::Session(id)) => consumer.session_due(desk, &id),
            (Body::Consumer(consumer), Alarm::Revocation(id)) => consumer.revocation_due(desk, &id),
            (Body::Consumer(consumer), Alarm::Rejoin(id)) => consumer.rejoin_due(desk, &id),
            // It was set before the group changed its kind.
            _ => {}
        }
    }

    /// A sign of life by the classic protocol.
    pub(super) fn heartbeat(
        &mut self,
        desk: &mut Desk,
        id: &Str,
        instance: Option<&Str>,
        generation: i32,
    ) -> ErrorCode {
        match self {
            Body::Classic(classic) => classic.heartbeat(desk, id, instance, generation),
            Body::Consumer(consumer) => consumer.classic_heartbeat(desk, id, instance, generation),
        }
    }

    /// Members leave by the classic protocol.
    pub(super) fn leave(&mut self, desk: &mut Desk, leaving: &[LeavingMember]) -> Vec<LeftMember> {
        match self {
            Body::Classic(classic) => classic.leave(desk, leaving),
            Body::Consumer(consumer) => consumer.classic_leave(desk, leaving),
        }
    }

    pub(super) fn listed(&self) -> ListedGroup {
        match self {
            Body::Classic(classic) => classic.listed(),
            Body::Consumer(consumer) => consumer.listed(),
        }
    }

    /// Sets every alarm that a replayed group needs.
    pub(super) fn loaded(&mut self, desk: &mut Desk) {
        match self {
            Body::Classic(classic) => classic.loaded(desk),
            Body::Consumer(consumer) => consumer.loaded(desk),
        }
    }

    /// The group as records.
    pub(super) fn records(&self) -> Vec<GroupRecord> {
        match self {
            Body::Classic(classic) if classic.is_simple() => Vec::new(),
            Body::Classic(classic) => vec![classic.record()],
            Body::Consumer(consumer) => consumer.records(),
        }
    }

    /// Asserts every invariant.
    pub(super) fn check(&self) {
        match self {
            Body::Classic(classic) => classic.check(),
            Body::Consumer(consumer) => consumer.check(),
        }
    }
}
