//! The end of a node: what is under way is answered, then the log is made clean.
//!
//! Always: (1) a shard closes its log only after every shard has said that it asks nothing any more: an append never meets a
//! closed log; (2) fetches that wait are answered with what there is, and requests about topics with a timeout; (3) a log that
//! finds no space to be made clean is left as it is: what is acknowledged is in the journal.

use super::Core;
use crate::shard::event::ShardEffect;
use crate::shard::mail::Mail;
use millstream_storage::ids::{Now, ShardIndex, Tick};

/// How long the log may take to be made clean while the disk answers: it may be full.
const CLEAN_MS: u64 = 5_000;

/// How far the end has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Running,
    /// Requests are under way.
    Draining,
    /// This shard asks nothing any more; others may.
    Drained,
    /// The log is made clean.
    Closing,
    Stopped,
}

/// The end of a shard.
pub(super) struct Stopping {
    phase: Phase,
    /// Shards that may still ask something.
    asking: usize,
    /// When a log that cannot be made clean is left.
    until: Option<Tick>,
}

impl Stopping {
    pub(super) fn new(shard_count: u16) -> Stopping {
        Stopping {
            phase: Phase::Running,
            asking: usize::from(shard_count),
            until: None,
        }
    }

    /// When the log is no longer waited for.
    pub(super) fn deadline(&self) -> Option<Tick> {
        self.until.filter(|_| self.phase == Phase::Closing)
    }

    /// Whether the node stops.
    pub(super) fn has_begun(&self) -> bool {
        self.phase != Phase::Running
    }
}

impl Core {
    /// The node stops.
    pub(super) fn stop(&mut self, now: Now) {
        if self.stopping.has_begun() {
            return;
        }
        self.stopping.phase = Phase::Draining;
        for conn in self.later.keys().copied().collect::<Vec<_>>() {
            self.begin_fetches(now, conn);
        }
        for id in self.requests.fetches() {
            self.fetch_due(now, id);
        }
        self.end_coordinators(now);
        for id in self.requests.about_topics() {
            self.topics_due(id);
        }
        self.conns.close_all(&mut self.conn_effects);
    }

    /// A shard asks nothing any more.
    pub(super) fn take_drained(&mut self) {
        self.stopping.asking -= 1;
    }

    /// Takes the next step of the end, if it is due.
    pub(super) fn step_stop(&mut self, now: Now, effects: &mut Vec<ShardEffect>) {
        if self.stopping.phase == Phase::Draining
            && self.requests.count() + self.listings.count() == 0
        {
            self.stopping.phase = Phase::Drained;
            for shard in 0..self.shard_count {
                self.send(now, ShardIndex(shard), Mail::Drained);
            }
        }
        if self.stopping.phase == Phase::Drained && self.stopping.asking == 0 {
            self.stopping.phase = Phase::Closing;
            self.stopping.until = Some(now.tick.after_ms(CLEAN_MS));
            self.store.stop(now);
            self.turn_store(now);
        }
        if self.stopping.phase != Phase::Closing {
            return;
        }
        // Not asked before it matters: it looks at every log.
        let idle = self.store.idle() && self.control.as_ref().is_none_or(|one| one.is_idle());
        let late = self.stopping.until.is_some_and(|until| until <= now.tick);
        let given_up = late && self.store.is_quiet();
        if idle || given_up {
            self.stopping.phase = Phase::Stopped;
            effects.push(ShardEffect::Stopped);
        }
    }

    /// How much is under way: requests, appends, reads, look-ups and what waits for room. Nothing is, on a node at rest.
    pub fn in_flight(&self) -> usize {
        let applying = self.awaiting.applying.len() + self.awaiting.dropping.len();
        let awaiting = self.awaiting.held.len() + applying;
        let waiting = self.origins.count() + self.stalled.count() + awaiting;
        let grouping = self.coordinators.count();
        let later: usize = self.later.values().map(|later| later.len()).sum();
        let reading = self.readings.count() + self.findings.count() + self.listings.count();
        self.requests.count() + waiting + later + reading + grouping
    }

    /// Whether the last effect was given.
    pub fn is_stopped(&self) -> bool {
        self.stopping.phase == Phase::Stopped
    }
}
