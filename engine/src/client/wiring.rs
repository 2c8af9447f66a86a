//! Links and the knowledge of the cluster together: what every kind of client is built on.
//!
//! Always: metadata is asked for by one call at a time, and not more often than the back-off allows.

use std::collections::{BTreeMap, BTreeSet};

use millstream_net::wire::api::{MetadataRequest, MetadataRequestTopic};
use millstream_net::wire::{ErrorCode, Request, Response, Str};
use millstream_storage::ids::{Now, Tick};

use super::address::Address;
use super::cluster::Cluster;
use super::error::ClientError;
use super::links::{CallId, Channel, LinkEffect, LinkEvent, Links, Outcome};

/// Metadata is asked for again after a failure, or where an answer was of no help.
const REFRESH_BACKOFF_MS: u64 = 100;
/// Metadata older than this is asked for again.
const METADATA_AGE_MS_MAX: u64 = 5 * 60_000;
const METADATA_TIMEOUT_MS: u64 = 10_000;

/// Whether a topic that is missing may be created by asking for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingTopic {
    /// If the broker does such things.
    MayBeCreated,
    /// Never.
    IsNotCreated,
}

/// Which topics metadata is wanted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// All.
    All,
    /// These; brokers are described in any case.
    Named(BTreeSet<String>),
}

/// A call for metadata.
struct RefreshCall {
    call: CallId,
    address: Address,
    wanted_version: u64,
}

/// A client's way to a cluster.
pub struct Wiring {
    links: Links,
    /// What is known of the cluster.
    pub cluster: Cluster,
    bootstrap: Vec<Address>,
    wanted: Wanted,
    missing: MissingTopic,
    refresh_at: Tick,
    refreshed_at: Option<Tick>,
    refresh_call: Option<RefreshCall>,
    refresh_count: u64,
    /// Grows with every change of what is wanted, so that an answer to an older question is known as such.
    wanted_version: u64,
    attempts: usize,
    troubles: BTreeMap<Address, String>,
    outcomes: Vec<(CallId, Outcome)>,
}

impl Wiring {
    /// Begins at the addresses of `bootstrap`, of which there is at least one.
    pub fn new(client_id: &str, bootstrap: Vec<Address>, missing: MissingTopic) -> Self {
        assert!(
            !bootstrap.is_empty(),
            "a client needs an address to begin with"
        );
        Self {
            links: Links::new(client_id),
            cluster: Cluster::default(),
            bootstrap,
            wanted: Wanted::Named(BTreeSet::new()),
            missing,
            refresh_at: Tick(0),
            refreshed_at: None,
            refresh_call: None,
            refresh_count: 0,
            wanted_version: 0,
            attempts: 0,
            troubles: BTreeMap::new(),
            outcomes: Vec::new(),
        }
    }

    /// Asks for metadata of one more topic.
    pub fn want_topic(&mut self, now: Now, topic: &str) {
        if let Wanted::Named(topics) = &mut self.wanted
            && topics.insert(topic.to_owned())
        {
            self.wanted_version += 1;
            self.refresh_at = now.tick;
        }
    }

    /// Asks for metadata of all topics.
    pub fn want_all(&mut self, now: Now) {
        self.wanted = Wanted::All;
        self.wanted_version += 1;
        self.refresh_at = now.tick;
    }

    /// Asks again, since what is known turned out wrong; soon, but not in a tight loop.
    pub fn refresh(&mut self, now: Now) {
        let at = self
            .refreshed_at
            .map_or(now.tick, |at| at.after_ms(REFRESH_BACKOFF_MS));
        self.refresh_at = self.refresh_at.min(at.max(now.tick));
    }

    /// How often metadata of all that is wanted has arrived.
    pub fn refresh_count(&self) -> u64 {
        self.refresh_count
    }

    /// Why no broker answers, while none ever did and each address failed at least once.
    pub fn unreachable(&self) -> Option<ClientError> {
        let failed = self
            .bootstrap
            .iter()
            .all(|address| self.troubles.contains_key(address));
        let unknown = self.refreshed_at.is_none() && failed;
        unknown.then(|| ClientError::Unreachable {
            tried: self.troubles.clone().into_iter().collect(),
        })
    }

    /// The last failures, as an explanation of a time-out.
    pub fn trouble(&self) -> Option<String> {
        let parts = self
            .troubles
            .iter()
            .map(|(address, reason)| format!("{address}: {reason}"));
        let text = parts.collect::<Vec<_>>().join("; ");
        (!text.is_empty()).then_some(text)
    }

    /// Some broker, for what any can answer.
    pub fn any_broker(&self) -> &Address {
        let brokers: Vec<&Address> = self.cluster.brokers().values().collect();
        let healthy = brokers
            .iter()
            .find(|address| !self.troubles.contains_key(**address));
        if let Some(address) = healthy {
            return address;
        }
        let known = brokers.into_iter().chain(&self.bootstrap);
        let known: Vec<&Address> = known.collect();
        known[self.attempts % known.len()]
    }

    /// Calls a broker.
    pub fn call(
        &mut self,
        now: Now,
        address: &Address,
        request: Request,
        timeout_ms: u64,
    ) -> CallId {
        self.call_on(now, address, Channel::Common, request, timeout_ms)
    }

    /// Calls a broker on a connection of that kind.
    pub fn call_on(
        &mut self,
        now: Now,
        address: &Address,
        channel: Channel,
        request: Request,
        timeout_ms: u64,
    ) -> CallId {
        self.links.call(now, address, channel, request, timeout_ms)
    }

    /// Takes what the transport reports.
    pub fn step(&mut self, now: Now, event: LinkEvent) {
        self.links.step(now, event);
        self.turn(now);
    }

    /// Does what is due.
    pub fn turn(&mut self, now: Now) {
        self.links.tick(now);
        self.collect(now);
        if self.refresh_call.is_none() && self.refresh_at <= now.tick {
            let address = self.any_broker().clone();
            let request = self.metadata_request();
            let call = self.call(now, &address, request, METADATA_TIMEOUT_MS);
            let wanted_version = self.wanted_version;
            self.refresh_call = Some(RefreshCall {
                call,
                address,
                wanted_version,
            });
            self.collect(now);
        }
    }

    /// When `turn` is to be called next.
    pub fn deadline(&self) -> Option<Tick> {
        let refresh = self.refresh_call.is_none().then_some(self.refresh_at);
        refresh.into_iter().chain(self.links.deadline()).min()
    }

    /// What the transport shall do now.
    pub fn take_effects(&mut self) -> Vec<LinkEffect> {
        self.links.take_effects()
    }

    /// The calls that ended, in order.
    pub fn take_outcomes(&mut self, now: Now) -> Vec<(CallId, Outcome)> {
        self.collect(now);
        std::mem::take(&mut self.outcomes)
    }

    fn metadata_request(&self) -> Request {
        let topics = match &self.wanted {
            Wanted::All => None,
            Wanted::Named(topics) => Some(
                topics
                    .iter()
                    .map(|topic| MetadataRequestTopic {
                        name: Some(Str::from(topic.as_str())),
                        ..Default::default()
                    })
                    .collect(),
            ),
        };
        let request = MetadataRequest {
            topics,
            allow_auto_topic_creation: self.missing == MissingTopic::MayBeCreated,
            ..Default::default()
        };
        request.into()
    }

    fn collect(&mut self, now: Now) {
        while let Some((call, outcome)) = self.links.take_outcome() {
            match self.refresh_call.take_if(|refresh| refresh.call == call) {
                Some(refresh) => self.refreshed(now, refresh, outcome),
                None => self.outcomes.push((call, outcome)),
            }
        }
    }

    fn refreshed(&mut self, now: Now, refresh: RefreshCall, outcome: Outcome) {
        let address = refresh.address;
        let backed_off = now.tick.after_ms(REFRESH_BACKOFF_MS);
        match outcome {
            Outcome::Answered(Response::Metadata(metadata))
                if metadata.error_code == ErrorCode::None =>
            {
                self.troubles.clear();
                if self.wanted == Wanted::All {
                    self.cluster.forget_topics();
                }
                self.cluster.apply(&metadata);
                self.refreshed_at = Some(now.tick);
                if refresh.wanted_version != self.wanted_version {
                    self.refresh_at = now.tick;
                    return;
                }
                self.refresh_count += 1;
                let soon = self.lacks_something();
                self.refresh_at = if soon {
                    backed_off
                } else {
                    now.tick.after_ms(METADATA_AGE_MS_MAX)
                };
            }
            Outcome::Answered(Response::Metadata(metadata)) => {
                self.failed(address, backed_off, metadata.error_code.to_string());
            }
            Outcome::Lost(loss) => self.failed(address, backed_off, loss.to_string()),
            Outcome::Answered(_) | Outcome::Unanswered => {
                unreachable!("a metadata request has a metadata answer")
            }
        }
    }

    fn failed(&mut self, address: Address, again_at: Tick, reason: String) {
        self.troubles.insert(address, reason);
        self.attempts += 1;
        self.refresh_at = again_at;
    }

    /// Whether a topic that is wanted is missing or has a partition without a leader.
    fn lacks_something(&self) -> bool {
        let Wanted::Named(topics) = &self.wanted else {
            return false;
        };
        topics.iter().any(|topic| match self.cluster.topic(topic) {
            Some(topic) => {
                topic.error.is_retriable()
                    || topic
                        .partitions
                        .values()
                        .any(|partition| partition.leader.is_none())
            }
            None => true,
        })
    }
}
