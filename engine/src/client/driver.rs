//! The loop around a client's pure core: clock, transport, and waiting.
//!
//! Always: it runs on the caller's thread and decides nothing.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use millstream_storage::ids::{Now, Tick, WallMs};

use super::links::{LinkEffect, LinkEvent};
use super::transport::Transport;

/// A client's pure core.
pub trait Core {
    /// Takes what the transport reports.
    fn step(&mut self, now: Now, event: LinkEvent);

    /// Does what is due.
    fn turn(&mut self, now: Now);

    /// When `turn` is to be called next.
    fn deadline(&self) -> Option<Tick>;

    /// What the transport shall do now.
    fn take_effects(&mut self) -> Vec<LinkEffect>;
}

/// A core with the world around it.
pub struct Driver<C> {
    /// The core.
    pub core: C,
    transport: Transport,
    started: Instant,
}

impl<C: Core> Driver<C> {
    /// Starts the clock.
    pub fn new(core: C) -> Self {
        Self {
            core,
            transport: Transport::new(),
            started: Instant::now(),
        }
    }

    /// The time.
    pub fn now(&self) -> Now {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            tick: Tick(self.started.elapsed().as_nanos() as u64),
            wall: WallMs(wall.as_millis() as i64),
        }
    }

    /// One round: does what is due, waits for something to happen but not beyond `until`, and takes all that did.
    pub fn round(&mut self, until: Tick) {
        self.turn();
        let now = self.now();
        let until = self
            .core
            .deadline()
            .map_or(until, |deadline| deadline.min(until));
        let wait = Duration::from_nanos(until.0.saturating_sub(now.tick.0));
        let Some(event) = self.transport.next(wait) else {
            return self.turn();
        };
        let now = self.now();
        self.core.step(now, event);
        while let Some(event) = self.transport.next(Duration::ZERO) {
            self.core.step(now, event);
        }
        self.turn();
    }

    /// Does what is due and waits for nothing.
    pub fn turn(&mut self) {
        self.core.turn(self.now());
        for effect in self.core.take_effects() {
            self.transport.execute(effect);
        }
    }
}
