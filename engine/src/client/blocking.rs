//! A producer and a consumer that block the calling thread.
//!
//! Always: nothing happens between calls: whoever holds one must keep calling it for records to move.

use std::time::{Duration, Instant};

use millstream_storage::ids::Tick;

use super::address::Address;
use super::consumer::ConsumerCore;
use super::driver::Driver;
use super::error::ClientError;
use super::incoming::{ConsumerConfig, Progress, StartAt};
use super::membership::MembershipConfig;
use super::outgoing::{Delivery, ProducerConfig, Record, Ticket};
use super::producer::ProducerCore;
use super::unpack::{ConsumedRecord, unpack};
use super::wiring::{MissingTopic, Wiring};

/// How long nothing moves until it is told why.
const SILENCE: Duration = Duration::from_secs(2);

/// Writes records.
pub struct Producer {
    driver: Driver<ProducerCore>,
    acknowledged_count: u64,
    deliveries: Vec<Delivery>,
    keep: Keep,
    stall: Option<Stall>,
}

/// Whether a producer tells which records were acknowledged, or only how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    Deliveries,
    CountOnly,
}

/// Tells why records do not move.
struct Stall {
    tell: fn(&str),
    /// When something moved or was told last.
    since: Instant,
    told: Option<String>,
}

impl Stall {
    fn moved(&mut self) {
        self.since = Instant::now();
        self.told = None;
    }

    fn waits(&mut self, trouble: Option<String>) {
        if self.since.elapsed() < SILENCE {
            return;
        }
        self.since = Instant::now();
        let why = trouble.unwrap_or_else(|| "no answer yet".into());
        if self.told.as_ref() != Some(&why) {
            (self.tell)(&why);
            self.told = Some(why);
        }
    }
}

impl Producer {
    /// A producer for a cluster, reached by some of its brokers. It connects with the first record.
    pub fn new(bootstrap: &[Address], config: ProducerConfig) -> Self {
        let wiring = Wiring::new(
            "millstream-producer",
            bootstrap.to_vec(),
            MissingTopic::MayBeCreated,
        );
        Self {
            driver: Driver::new(ProducerCore::new(config, wiring)),
            acknowledged_count: 0,
            deliveries: Vec::new(),
            keep: Keep::CountOnly,
            stall: None,
        }
    }

    /// When nothing was acknowledged for two seconds `tell` is told why, and again when it is for another reason.
    pub fn with_stalls_told(mut self, tell: fn(&str)) -> Self {
        self.stall = Some(Stall {
            tell,
            since: Instant::now(),
            told: None,
        });
        self
    }

    /// Keeps account of which records were acknowledged, for `take_deliveries`.
    pub fn with_deliveries(mut self) -> Self {
        self.keep = Keep::Deliveries;
        self
    }

    /// Hands over a record; waits while there is no room for it. An error is final, and may be of a record before this one.
    pub fn send(&mut self, topic: &str, record: Record) -> Result<Ticket, ClientError> {
        while !self.driver.core.has_room() {
            self.work(Duration::from_secs(1))?;
        }
        let now = self.driver.now();
        if self.driver.core.is_idle()
            && let Some(stall) = &mut self.stall
        {
            stall.moved();
        }
        let ticket = self.driver.core.push(now, topic, record)?;
        if self.driver.core.is_due(now) {
            self.work(Duration::ZERO)?;
        }
        Ok(ticket)
    }

    /// Moves records along, waiting up to `wait` for something to happen.
    pub fn work(&mut self, wait: Duration) -> Result<(), ClientError> {
        let until = self
            .driver
            .now()
            .tick
            .0
            .saturating_add(wait.as_nanos() as u64);
        self.driver.round(Tick(until));
        let deliveries = self.driver.core.take_deliveries();
        if let Some(stall) = &mut self.stall {
            match deliveries.is_empty() && !self.driver.core.is_idle() {
                true => stall.waits(self.driver.core.trouble()),
                false => stall.moved(),
            }
        }
        for delivery in deliveries {
            self.acknowledged_count += delivery.tickets.len() as u64;
            if self.keep == Keep::Deliveries {
                self.deliveries.push(delivery);
            }
        }
        match self.driver.core.failure() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    /// Returns when every record is acknowledged; without acknowledgements, when each has reached its broker.
    pub fn flush(&mut self) -> Result<(), ClientError> {
        self.driver.core.flush();
        while !self.driver.core.is_idle() {
            self.work(Duration::from_secs(1))?;
        }
        self.work(Duration::ZERO)
    }

    /// How many records were acknowledged.
    pub fn acknowledged_count(&self) -> u64 {
        self.acknowledged_count
    }

    /// What was acknowledged since the last time, if account is kept of it.
    pub fn take_deliveries(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.deliveries)
    }
}

/// Reads records.
pub struct Consumer {
    driver: Driver<ConsumerCore>,
}

impl Consumer {
    /// A consumer of a cluster, reached by some of its brokers. It connects with the first `poll`.
    pub fn new(bootstrap: &[Address], config: ConsumerConfig) -> Self {
        let wiring = Wiring::new(
            "millstream-consumer",
            bootstrap.to_vec(),
            MissingTopic::IsNotCreated,
        );
        Self {
            driver: Driver::new(ConsumerCore::new(config, wiring)),
        }
    }

    /// Reads a topic, all its partitions or only `partitions`, beginning at `start`.
    pub fn assign(&mut self, topic: &str, partitions: Option<&[i32]>, start: StartAt) {
        let now = self.driver.now();
        self.driver.core.assign(now, topic, partitions, start);
    }

    /// Reads what a group gives this consumer, instead of `assign`. Keep polling: who is silent for the time of its session is
    /// put out of the group.
    pub fn join(&mut self, config: MembershipConfig) {
        let now = self.driver.now();
        self.driver.core.join(now, config);
    }

    /// The last of these records, and all before it, need not be read again by anybody of the group.
    pub fn done(&mut self, records: &[ConsumedRecord]) {
        if let Some(last) = records.last() {
            let place = (last.topic.to_string(), last.partition);
            self.driver.core.done(place, last.offset);
        }
    }

    /// Commits what is done and leaves the group.
    pub fn leave(&mut self) -> Result<(), ClientError> {
        let now = self.driver.now();
        self.driver.core.leave(now);
        while !self.driver.core.is_outside() {
            if let Some(failure) = self.driver.core.failure() {
                return Err(failure);
            }
            let until = self.driver.now().tick.after_ms(1_000);
            self.driver.round(until);
        }
        Ok(())
    }

    /// The next records, of one partition and in order; none if none came within `wait`.
    pub fn poll(&mut self, wait: Duration) -> Result<Vec<ConsumedRecord>, ClientError> {
        let until = self
            .driver
            .now()
            .tick
            .0
            .saturating_add(wait.as_nanos() as u64);
        let until = Tick(until);
        self.driver.core.comes_back();
        loop {
            while let Some(fetched) = self.driver.core.take_fetched() {
                // The next fetch is under way while the caller looks at these.
                self.driver.turn();
                let core = &self.driver.core;
                let records = unpack(&fetched, core.isolation(), core.batch_bytes_max())?;
                if let Some(last) = records.last() {
                    let place = (fetched.topic, fetched.partition);
                    let last = last.offset;
                    self.driver.core.gives(place, last, fetched.end);
                    return Ok(records);
                }
                self.driver.core.comes_back();
            }
            if let Some(failure) = self.driver.core.failure() {
                return Err(failure);
            }
            if self.driver.now().tick >= until {
                return Ok(Vec::new());
            }
            self.driver.round(until);
        }
    }

    /// Where it is in each partition that is known yet.
    pub fn progress(&self) -> Vec<Progress> {
        self.driver.core.progress()
    }

    /// Whether everything was read that was there at the last answers.
    pub fn is_at_end(&self) -> bool {
        self.driver.core.is_at_end()
    }

    /// What stands in the way at the moment, if something does.
    pub fn trouble(&self) -> Option<String> {
        self.driver.core.trouble()
    }
}
