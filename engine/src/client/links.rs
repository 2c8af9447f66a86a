//! Connections to brokers, and the calls over them.
//!
//! Always:
//! 1. Every call ends in exactly one outcome.
//! 2. A connection speaks only versions that its broker said it has, the highest common one.
//! 3. Answers belong to requests in order; any other answer ends the connection.
//!
//! Pure: the transport carries out the effects and brings the events.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use bytes::Bytes;
use millstream_net::wire::api::{ApiVersionsRequest, ApiVersionsResponse};
use millstream_net::wire::{
    ApiKey, ErrorCode, Request, Response, Str, Versions, decode_response, encode_request,
};
use millstream_storage::ids::{Now, Tick};

use super::address::Address;

/// A lost connection is tried again after this, doubled each time up to the maximum.
const RECONNECT_MS: u64 = 50;
const RECONNECT_MS_MAX: u64 = 1_000;

/// Versions that a client by topic name can use: above these, topics go by id.
const VERSION_CAPS: [(ApiKey, i16); 4] = [
    (ApiKey::Produce, 12),
    (ApiKey::Fetch, 12),
    (ApiKey::OffsetCommit, 9),
    (ApiKey::OffsetFetch, 9),
];

/// What a connection is for. A broker answers the requests of one connection in turn, so that what waits long there would hold
/// up everything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// Everything but the following.
    Common,
    /// Membership of a group: a heartbeat must not stand behind a fetch, nor a fetch behind a join.
    Membership,
}

/// A broker, on one of the connections to it.
type Peer = (Address, Channel);

/// One call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// One connection; a new one to the same address has a new id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// What the transport reports.
#[derive(Debug)]
pub enum LinkEvent {
    /// It is connected.
    Opened(LinkId),
    /// A frame arrived, without its length.
    Frame(LinkId, Bytes),
    /// It could not be opened, or broke.
    Closed(LinkId, String),
}

/// What the transport shall do.
#[derive(Debug, PartialEq)]
pub enum LinkEffect {
    /// Connect.
    Open(LinkId, Address),
    /// Send a frame.
    Send(LinkId, Vec<Bytes>),
    /// Disconnect; no event of it shall follow.
    Close(LinkId),
}

/// How a call ended.
#[derive(Debug)]
pub enum Outcome {
    /// The answer, in the version that was spoken.
    Answered(Response),
    /// It was sent and has no answer (produce without acknowledgement).
    Unanswered,
    /// There will be no answer.
    Lost(Loss),
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// The connection failed, for this reason. The request may have been carried out.
    Broken(String),
    /// The broker has no version of the request that we speak.
    Unsupported(ApiKey),
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(reason) => f.write_str(reason),
            Self::Unsupported(key) => write!(f, "the broker has no usable {}", key.api().name),
        }
    }
}

struct Waiting {
    call: CallId,
    request: Request,
    deadline: Tick,
}

struct InFlight {
    /// None for the negotiation.
    call: Option<CallId>,
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    deadline: Tick,
}

enum Stage {
    /// To be opened at this time, if it is wanted.
    Closed(Tick),
    Opening(LinkId),
    Negotiating(LinkId),
    Ready(LinkId, BTreeMap<ApiKey, Versions>),
}

struct Link {
    stage: Stage,
    reconnect_ms: u64,
    waiting: VecDeque<Waiting>,
    in_flight: VecDeque<InFlight>,
}

impl Link {
    fn id(&self) -> Option<LinkId> {
        match self.stage {
            Stage::Closed(_) => None,
            Stage::Opening(id) | Stage::Negotiating(id) | Stage::Ready(id, _) => Some(id),
        }
    }

    /// The earliest time at which a call of it is overdue.
    fn overdue_at(&self) -> Option<Tick> {
        let waiting = self.waiting.iter().map(|waiting| waiting.deadline);
        waiting
            .chain(self.in_flight.iter().map(|sent| sent.deadline))
            .min()
    }
}

/// All connections of a client.
pub struct Links {
    client_id: Str,
    links: BTreeMap<Peer, Link>,
    next_id: u64,
    next_correlation_id: i32,
    effects: Vec<LinkEffect>,
    outcomes: VecDeque<(CallId, Outcome)>,
}

impl Links {
    /// No connection yet. Brokers see `client_id` in their logs and quotas.
    pub fn new(client_id: &str) -> Self {
        Self {
            client_id: Str::from(client_id),
            links: BTreeMap::new(),
            next_id: 0,
            next_correlation_id: 0,
            effects: Vec::new(),
            outcomes: VecDeque::new(),
        }
    }

    /// Calls the broker at `address`, connecting first if need be. Without an answer within `timeout_ms` the call is lost,
    /// and its connection with it.
    pub fn call(
        &mut self,
        now: Now,
        address: &Address,
        channel: Channel,
        request: Request,
        timeout_ms: u64,
    ) -> CallId {
        let peer = (address.clone(), channel);
        let call = CallId(self.fresh_id());
        let deadline = now.tick.after_ms(timeout_ms);
        let link = self.links.entry(peer.clone()).or_insert_with(|| Link {
            stage: Stage::Closed(now.tick),
            reconnect_ms: RECONNECT_MS,
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
        });
        link.waiting.push_back(Waiting {
            call,
            request,
            deadline,
        });
        self.advance(now, &peer);
        call
    }

    /// Takes what the transport reports.
    pub fn step(&mut self, now: Now, event: LinkEvent) {
        let (LinkEvent::Opened(id) | LinkEvent::Frame(id, _) | LinkEvent::Closed(id, _)) = &event;
        let link = self.links.iter().find(|(_, link)| link.id() == Some(*id));
        let Some(peer) = link.map(|(peer, _)| peer.clone()) else {
            return;
        };
        match event {
            LinkEvent::Opened(id) => self.negotiate(now, &peer, id),
            LinkEvent::Frame(_, frame) => {
                if let Err(reason) = self.frame(now, &peer, &frame) {
                    self.break_off(now, &peer, &reason);
                }
            }
            LinkEvent::Closed(_, reason) => self.lose(now, &peer, &reason),
        }
        self.advance(now, &peer);
    }

    /// Gives up what is overdue and opens what was waiting for its time.
    pub fn tick(&mut self, now: Now) {
        let peers: Vec<Peer> = self.links.keys().cloned().collect();
        for peer in peers {
            if self.links[&peer]
                .overdue_at()
                .is_some_and(|at| at <= now.tick)
            {
                self.break_off(now, &peer, "no answer in time");
            }
            self.advance(now, &peer);
        }
    }

    /// When `tick` is to be called next.
    pub fn deadline(&self) -> Option<Tick> {
        let opening = self.links.values().filter_map(|link| match link.stage {
            Stage::Closed(at) if !link.waiting.is_empty() => Some(at),
            _ => None,
        });
        opening
            .chain(self.links.values().filter_map(Link::overdue_at))
            .min()
    }

    /// What the transport shall do now.
    pub fn take_effects(&mut self) -> Vec<LinkEffect> {
        std::mem::take(&mut self.effects)
    }

    /// The next call that ended.
    pub fn take_outcome(&mut self) -> Option<(CallId, Outcome)> {
        self.outcomes.pop_front()
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Opens a connection that is wanted and due; sends what waits for a ready one.
    fn advance(&mut self, now: Now, peer: &Peer) {
        let id = LinkId(self.next_id + 1);
        let link = self.links.get_mut(peer).expect("a link stays for ever");
        match &link.stage {
            Stage::Closed(at) if *at <= now.tick && !link.waiting.is_empty() => {
                link.stage = Stage::Opening(id);
                self.next_id = id.0;
                self.effects.push(LinkEffect::Open(id, peer.0.clone()));
            }
            Stage::Ready(id, versions) => {
                for waiting in link.waiting.drain(..) {
                    let key = waiting.request.key();
                    let Some(version) = best_version(key, versions) else {
                        let loss = Loss::Unsupported(key);
                        self.outcomes.push_back((waiting.call, Outcome::Lost(loss)));
                        continue;
                    };
                    self.next_correlation_id = self.next_correlation_id.wrapping_add(1) & i32::MAX;
                    let correlation_id = self.next_correlation_id;
                    let client_id = Some(&self.client_id);
                    let parts =
                        encode_request(version, correlation_id, client_id, &waiting.request);
                    self.effects.push(LinkEffect::Send(*id, parts));
                    if matches!(&waiting.request, Request::Produce(produce) if produce.acks == 0) {
                        self.outcomes.push_back((waiting.call, Outcome::Unanswered));
                        continue;
                    }
                    link.in_flight.push_back(InFlight {
                        call: Some(waiting.call),
                        key,
                        version,
                        correlation_id,
                        deadline: waiting.deadline,
                    });
                }
            }
            _ => {}
        }
    }

    fn negotiate(&mut self, now: Now, peer: &Peer, id: LinkId) {
        let highest = ApiKey::ApiVersions.api().schema.max;
        self.ask_versions(now, peer, id, highest);
    }

    fn ask_versions(&mut self, now: Now, peer: &Peer, id: LinkId, version: i16) {
        const NEGOTIATION_MS_MAX: u64 = 10_000;
        self.next_correlation_id = self.next_correlation_id.wrapping_add(1) & i32::MAX;
        let correlation_id = self.next_correlation_id;
        let request = ApiVersionsRequest {
            client_software_name: Str::from_static(env!("CARGO_PKG_NAME")),
            client_software_version: Str::from_static(env!("CARGO_PKG_VERSION")),
        };
        let client_id = Some(&self.client_id);
        let parts = encode_request(version, correlation_id, client_id, &request.into());
        self.effects.push(LinkEffect::Send(id, parts));
        let link = self.links.get_mut(peer).expect("a link stays for ever");
        link.stage = Stage::Negotiating(id);
        link.in_flight.push_back(InFlight {
            call: None,
            key: ApiKey::ApiVersions,
            version,
            correlation_id,
            deadline: now.tick.after_ms(NEGOTIATION_MS_MAX),
        });
    }

    fn frame(&mut self, now: Now, peer: &Peer, frame: &Bytes) -> Result<(), String> {
        let link = self.links.get_mut(peer).expect("a link stays for ever");
        let Some(sent) = link.in_flight.pop_front() else {
            return Err("the broker sent an answer nobody asked for".into());
        };
        let decoded = decode_response(sent.key, sent.version, frame);
        let (correlation_id, response) = match decoded {
            Ok(decoded) if decoded.0 == sent.correlation_id => decoded,
            Ok(_) => {
                link.in_flight.push_front(sent);
                return Err("the broker answered another request than the oldest".into());
            }
            Err(malformed) => {
                let (name, version) = (sent.key.api().name, sent.version);
                link.in_flight.push_front(sent);
                return Err(format!(
                    "its answer to {name} version {version} is malformed: {malformed}"
                ));
            }
        };
        debug_assert_eq!(correlation_id, sent.correlation_id);
        match (sent.call, response) {
            (Some(call), response) => {
                self.outcomes.push_back((call, Outcome::Answered(response)));
                Ok(())
            }
            (None, Response::ApiVersions(versions)) => {
                self.versions(now, peer, sent.version, &versions)
            }
            (None, _) => unreachable!("a negotiation is an ApiVersions request"),
        }
    }

    fn versions(
        &mut self,
        now: Now,
        peer: &Peer,
        asked: i16,
        answer: &ApiVersionsResponse,
    ) -> Result<(), String> {
        let link = self.links.get_mut(peer).expect("a link stays for ever");
        let Stage::Negotiating(id) = link.stage else {
            unreachable!("versions are asked for while negotiating");
        };
        let ranges: BTreeMap<ApiKey, Versions> = answer
            .api_keys
            .iter()
            .filter_map(|range| {
                let versions = Versions {
                    min: range.min_version,
                    max: range.max_version,
                };
                Some((ApiKey::from_code(range.api_key)?, versions))
            })
            .collect();
        match answer.error_code {
            ErrorCode::None => {
                link.reconnect_ms = RECONNECT_MS;
                link.stage = Stage::Ready(id, ranges);
                Ok(())
            }
            ErrorCode::UnsupportedVersion if asked > 0 => {
                let theirs = ranges
                    .get(&ApiKey::ApiVersions)
                    .map_or(0, |versions| versions.max);
                self.ask_versions(now, peer, id, theirs.clamp(0, asked - 1));
                Ok(())
            }
            code => Err(format!("it refused to say its versions: {code}")),
        }
    }

    /// Ends a connection that is of no more use.
    fn break_off(&mut self, now: Now, peer: &Peer, reason: &str) {
        if let Some(id) = self.links[peer].id() {
            self.effects.push(LinkEffect::Close(id));
        }
        self.lose(now, peer, reason);
    }

    fn lose(&mut self, now: Now, peer: &Peer, reason: &str) {
        let link = self.links.get_mut(peer).expect("a link stays for ever");
        link.stage = Stage::Closed(now.tick.after_ms(link.reconnect_ms));
        link.reconnect_ms = (2 * link.reconnect_ms).min(RECONNECT_MS_MAX);
        let in_flight = link.in_flight.drain(..).filter_map(|sent| sent.call);
        let lost: Vec<CallId> = in_flight
            .chain(link.waiting.drain(..).map(|waiting| waiting.call))
            .collect();
        let loss = Loss::Broken(reason.to_owned());
        self.outcomes.extend(
            lost.into_iter()
                .map(|call| (call, Outcome::Lost(loss.clone()))),
        );
    }
}

/// The highest version that both sides have.
fn best_version(key: ApiKey, theirs: &BTreeMap<ApiKey, Versions>) -> Option<i16> {
    let cap = VERSION_CAPS
        .iter()
        .find(|(capped, _)| *capped == key)
        .map_or(i16::MAX, |(_, cap)| *cap);
    let common = theirs.get(&key)?.intersection(key.api().schema);
    let common = common.intersection(Versions { min: 0, max: cap });
    (!common.is_empty()).then_some(common.max)
}
