//! The pure part of a producer: records to batches, batches to leaders, again until they are acknowledged.
//!
//! Always:
//! 1. Records of a partition are written in the order they were pushed. An idempotent producer has up to five batches of a
//!    partition in flight and the broker refuses one that overtook another; any other has one.
//! 2. A batch keeps its sequence number for as long as it is repeated.
//! 3. The first record that cannot be written ends the producer: nothing behind it is sent any more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use millstream_net::wire::api::{
    ApiVersionsRequest, InitProducerIdRequest, ProducePartition, ProduceRequest, ProduceResponse,
    ProduceTopic,
};
use millstream_net::wire::{ErrorCode, Response, Str};
use millstream_storage::batch::BatchHeader;
use millstream_storage::ids::{Now, ProducerEpoch, ProducerId, Tick};

use super::address::Address;
use super::driver::Core;
use super::error::ClientError;
use super::lane::{Batch, Lane};
use super::links::{CallId, LinkEffect, LinkEvent, Loss, Outcome};
use super::outgoing::{Acks, Delivery, ProducerConfig, Record, Ticket};
use super::partitioner::partition_of_key;
use super::wiring::Wiring;

/// Requests in flight to one broker; a broker keeps the sequence numbers of as many batches of a producer (KIP-98).
const REQUESTS_IN_FLIGHT_MAX: usize = 5;
const RETRY_MS: u64 = 50;
const RETRY_MS_MAX: u64 = 1_000;

/// The producer id.
enum Identity {
    NotNeeded,
    Wanted(Tick),
    Asked(CallId),
    Known(ProducerId, ProducerEpoch),
}

struct TopicLanes {
    /// Records for which no partition could be chosen yet.
    parked: VecDeque<(Ticket, Record)>,
    parked_since: Tick,
    lanes: BTreeMap<i32, Lane>,
    partition_count: usize,
    /// The partition that records without a key go to now, and how many bytes went there.
    sticky: (usize, usize),
}

struct Flight {
    node: Address,
    batches: Vec<(String, i32, Batch)>,
}

/// Whether a round of sending found anything to send.
#[derive(PartialEq, Eq)]
enum Drained {
    Something,
    Nothing,
}

/// The pure part of a producer.
pub struct ProducerCore {
    config: ProducerConfig,
    wiring: Wiring,
    identity: Identity,
    topics: BTreeMap<String, TopicLanes>,
    flights: BTreeMap<CallId, Flight>,
    next_ticket: u64,
    buffered_bytes: usize,
    flushing: bool,
    /// Without acknowledgements: calls behind the last records, whose answers say that the records have arrived.
    fences: BTreeSet<CallId>,
    /// Where records were sent that no fence is behind.
    unfenced: BTreeSet<Address>,
    failure: Option<ClientError>,
    because: Option<String>,
    deliveries: Vec<Delivery>,
    turned_at: Tick,
    batch_is_full: bool,
}

impl ProducerCore {
    /// Begins on `wiring`.
    pub fn new(config: ProducerConfig, wiring: Wiring) -> Self {
        let identity = if config.acks == Acks::All {
            Identity::Wanted(Tick(0))
        } else {
            Identity::NotNeeded
        };
        Self {
            config,
            wiring,
            identity,
            topics: BTreeMap::new(),
            flights: BTreeMap::new(),
            next_ticket: 0,
            buffered_bytes: 0,
            flushing: false,
            fences: BTreeSet::new(),
            unfenced: BTreeSet::new(),
            failure: None,
            because: None,
            deliveries: Vec::new(),
            turned_at: Tick(0),
            batch_is_full: false,
        }
    }

    /// Takes a record; refuses it once the producer has failed.
    pub fn push(&mut self, now: Now, topic: &str, record: Record) -> Result<Ticket, ClientError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.buffered_bytes += record.bytes();
        if !self.topics.contains_key(topic) {
            self.wiring.want_topic(now, topic);
            let lanes = TopicLanes {
                parked: VecDeque::new(),
                parked_since: now.tick,
                lanes: BTreeMap::new(),
                partition_count: 0,
                sticky: (0, 0),
            };
            self.topics.insert(topic.to_owned(), lanes);
        }
        let settled = self.identity_is_settled();
        let lanes = self
            .topics
            .get_mut(topic)
            .expect("inserted where it was missing");
        let record = Record {
            timestamp_ms: record.timestamp_ms.or(Some(now.wall.0)),
            ..record
        };
        if lanes.partition_count == 0 || !lanes.parked.is_empty() || !settled {
            if lanes.parked.is_empty() {
                lanes.parked_since = now.tick;
            }
            lanes.parked.push_back((ticket, record));
            return Ok(ticket);
        }
        self.place(now, topic, ticket, record);
        match &self.failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(ticket),
        }
    }

    /// Whether there is room for more records.
    pub fn has_room(&self) -> bool {
        self.buffered_bytes < self.config.buffer_bytes_max
    }

    /// Whether there may be something to send since the last turn: a batch that is full, or one that waited long enough.
    pub fn is_due(&self, now: Now) -> bool {
        self.batch_is_full || now.tick.ms_since(self.turned_at) >= self.config.linger_ms
    }

    /// Sends what is there without waiting for more, until `is_idle`.
    pub fn flush(&mut self) {
        self.flushing = true;
    }

    /// Whether every record pushed is acknowledged (without acknowledgements: has reached its broker), or the producer has
    /// failed.
    pub fn is_idle(&self) -> bool {
        let written =
            self.buffered_bytes == 0 && self.fences.is_empty() && self.unfenced.is_empty();
        written || self.failure.is_some()
    }

    /// Why the producer has ended, if it has.
    pub fn failure(&self) -> Option<ClientError> {
        self.failure.clone().or_else(|| self.wiring.unreachable())
    }

    /// What stands in the way at the moment, if something does.
    pub fn trouble(&self) -> Option<String> {
        self.because.clone().or_else(|| self.wiring.trouble())
    }

    /// What was acknowledged since the last time.
    pub fn take_deliveries(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.deliveries)
    }

    fn identity_is_settled(&self) -> bool {
        matches!(self.identity, Identity::NotNeeded | Identity::Known(..))
    }

    fn fail(&mut self, error: ClientError) {
        self.failure.get_or_insert(error);
    }

    fn header(&self) -> BatchHeader {
        let compression = self.config.compression;
        match self.identity {
            Identity::Known(producer_id, producer_epoch) => BatchHeader {
                compression,
                producer_id,
                producer_epoch,
                base_sequence: 0,
                ..BatchHeader::default()
            },
            _ => BatchHeader {
                compression,
                ..BatchHeader::default()
            },
        }
    }

    /// Puts a record into the lane of its partition.
    fn place(&mut self, now: Now, topic: &str, ticket: Ticket, record: Record) {
        let header = self.header();
        let batch_bytes_max = self.config.batch_bytes_max;
        let lanes = self.topics.get_mut(topic).expect("a topic stays for ever");
        let count = lanes.partition_count;
        let partition = match (record.partition, &record.key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => partition_of_key(key, count),
            (None, None) => {
                let (place, bytes) = lanes.sticky;
                let full = bytes + record.bytes() > batch_bytes_max;
                let place = if full { (place + 1) % count } else { place };
                lanes.sticky = (place, record.bytes() + if full { 0 } else { bytes });
                place as i32
            }
        };
        if usize::try_from(partition).map_or(true, |partition| partition >= count) {
            let (topic, partition_count) = (topic.to_owned(), count);
            return self.fail(ClientError::NoPartition {
                topic,
                partition,
                partition_count,
            });
        }
        let deadline = now.tick.after_ms(self.config.delivery_ms_max);
        let lane = lanes.lanes.entry(partition).or_default();
        let ready_count = lane.ready.len();
        lane.push(now.tick, deadline, header, batch_bytes_max, ticket, &record);
        self.batch_is_full |= lane.ready.len() > ready_count;
    }

    /// Chooses partitions for records that waited for metadata or the producer id.
    fn unpark(&mut self, now: Now) {
        let names: Vec<String> = self.topics.keys().cloned().collect();
        for name in names {
            self.look_up(now, &name);
            let lanes = self.topics.get_mut(&name).expect("a topic stays for ever");
            if lanes.partition_count == 0 || !self.identity_is_settled() {
                continue;
            }
            let parked =
                std::mem::take(&mut self.topics.get_mut(&name).expect("just found").parked);
            for (ticket, record) in parked {
                self.place(now, &name, ticket, record);
            }
        }
    }

    /// Learns how many partitions a topic has, or that it cannot be had.
    fn look_up(&mut self, now: Now, name: &str) {
        let lanes = self.topics.get_mut(name).expect("a topic stays for ever");
        let doing = format!("writing to topic `{name}`");
        match self.wiring.cluster.topic(name) {
            Some(topic) if topic.error == ErrorCode::None => {
                lanes.partition_count = topic.partitions.len();
            }
            Some(topic) if !topic.error.is_retriable() => {
                let code = topic.error;
                self.fail(ClientError::Refused {
                    doing,
                    code,
                    message: None,
                });
            }
            Some(topic)
                if lanes.partition_count == 0
                    && !lanes.parked.is_empty()
                    && now.tick.ms_since(lanes.parked_since)
                        >= self.config.missing_topic_ms_max =>
            {
                let code = topic.error;
                self.fail(ClientError::Refused {
                    doing,
                    code,
                    message: None,
                });
            }
            _ => {}
        }
    }

    fn ask_identity(&mut self, now: Now) {
        if let Identity::Wanted(at) = self.identity
            && at <= now.tick
            && self.wiring.refresh_count() > 0
        {
            let request = InitProducerIdRequest {
                transaction_timeout_ms: i32::MAX,
                ..InitProducerIdRequest::default()
            };
            let address = self.wiring.any_broker().clone();
            let call = self
                .wiring
                .call(now, &address, request.into(), self.config.request_ms_max);
            self.identity = Identity::Asked(call);
        }
    }

    /// Sends the batches whose turn it is, one request per leader at a time.
    fn drain(&mut self, now: Now) -> Drained {
        let linger_ms = if self.flushing {
            0
        } else {
            self.config.linger_ms
        };
        let lane_in_flight_max = match self.identity {
            Identity::Known(..) => REQUESTS_IN_FLIGHT_MAX,
            _ => 1,
        };
        let mut requests: BTreeMap<Address, (usize, Flight)> = BTreeMap::new();
        let mut leaderless = false;
        for (name, topic) in &mut self.topics {
            for (partition, lane) in &mut topic.lanes {
                lane.close_lingering(now.tick, linger_ms);
                let Some(bytes) = lane.sendable(now.tick, lane_in_flight_max) else {
                    continue;
                };
                let Some((node, _)) = self.wiring.cluster.leader(name, *partition) else {
                    leaderless = true;
                    continue;
                };
                let busy = self
                    .flights
                    .values()
                    .filter(|flight| flight.node == *node)
                    .count();
                let (request_bytes, flight) = requests.entry(node.clone()).or_insert_with(|| {
                    (
                        0,
                        Flight {
                            node: node.clone(),
                            batches: Vec::new(),
                        },
                    )
                });
                let full =
                    *request_bytes > 0 && *request_bytes + bytes > self.config.request_bytes_max;
                if busy >= REQUESTS_IN_FLIGHT_MAX || full {
                    continue;
                }
                *request_bytes += bytes;
                flight.batches.push((name.clone(), *partition, lane.take()));
            }
        }
        if leaderless {
            self.wiring.refresh(now);
        }
        let mut drained = Drained::Nothing;
        for (_, flight) in requests.into_values() {
            if !flight.batches.is_empty() {
                self.send(now, flight);
                drained = Drained::Something;
            }
        }
        drained
    }

    fn send(&mut self, now: Now, flight: Flight) {
        let mut topics: Vec<ProduceTopic> = Vec::new();
        for (name, partition, batch) in &flight.batches {
            if topics
                .last()
                .is_none_or(|topic| topic.name != name.as_str())
            {
                topics.push(ProduceTopic {
                    name: Str::from(name.as_str()),
                    ..Default::default()
                });
            }
            let topic = topics.last_mut().expect("pushed where it was missing");
            topic.partitions.push(ProducePartition {
                index: *partition,
                records: Some(batch.bytes.clone()),
            });
        }
        let request = ProduceRequest {
            acks: self.config.acks.code(),
            timeout_ms: self.config.request_ms_max as i32,
            topics,
            ..ProduceRequest::default()
        };
        // The broker's own limit comes first, so that its answer is seen and not a broken connection.
        let timeout_ms = self.config.request_ms_max + 2_000;
        let call = self
            .wiring
            .call(now, &flight.node, request.into(), timeout_ms);
        self.flights.insert(call, flight);
    }

    fn outcome(&mut self, now: Now, call: CallId, outcome: Outcome) {
        if let Identity::Asked(asked) = self.identity
            && asked == call
        {
            return self.identified(now, outcome);
        }
        self.fences.remove(&call);
        let Some(flight) = self.flights.remove(&call) else {
            return;
        };
        match outcome {
            Outcome::Answered(Response::Produce(response)) => self.produced(now, flight, &response),
            Outcome::Unanswered => {
                self.unfenced.insert(flight.node);
                for (topic, partition, batch) in flight.batches {
                    self.delivered(topic, partition, batch, -1);
                }
            }
            Outcome::Lost(Loss::Broken(reason)) => {
                self.because = Some(format!("{}: {reason}", flight.node));
                self.wiring.refresh(now);
                for (topic, partition, batch) in flight.batches {
                    self.give_back(now, &topic, partition, batch);
                }
            }
            Outcome::Lost(Loss::Unsupported(key)) => {
                let (address, api) = (flight.node, key.api().name);
                self.fail(ClientError::Unsupported { address, api });
            }
            Outcome::Answered(_) => unreachable!("a produce request has a produce answer"),
        }
    }

    fn identified(&mut self, now: Now, outcome: Outcome) {
        let later = now.tick.after_ms(RETRY_MS);
        self.identity = match outcome {
            Outcome::Answered(Response::InitProducerId(answer))
                if answer.error_code == ErrorCode::None =>
            {
                Identity::Known(
                    ProducerId(answer.producer_id),
                    ProducerEpoch(answer.producer_epoch),
                )
            }
            Outcome::Answered(Response::InitProducerId(answer)) => {
                let code = answer.error_code;
                if code.is_retriable() {
                    self.because = Some(code.to_string());
                } else {
                    let doing = "asking for a producer id".to_owned();
                    self.fail(ClientError::Refused {
                        doing,
                        code,
                        message: None,
                    });
                }
                Identity::Wanted(later)
            }
            Outcome::Lost(Loss::Unsupported(key)) => {
                let address = self.wiring.any_broker().clone();
                self.fail(ClientError::Unsupported {
                    address,
                    api: key.api().name,
                });
                Identity::Wanted(later)
            }
            Outcome::Lost(loss) => {
                self.because = Some(loss.to_string());
                self.wiring.refresh(now);
                Identity::Wanted(later)
            }
            Outcome::Answered(_) | Outcome::Unanswered => {
                unreachable!("a request for a producer id has such an answer")
            }
        };
    }

    fn produced(&mut self, now: Now, flight: Flight, response: &ProduceResponse) {
        for (topic, partition, batch) in flight.batches {
            let answers = response
                .responses
                .iter()
                .filter(|answer| answer.name == topic.as_str());
            let mut answers = answers.flat_map(|answer| &answer.partitions);
            let Some(answer) = answers.find(|answer| answer.index == partition) else {
                self.because = Some("the broker's answer leaves out a partition".into());
                self.give_back(now, &topic, partition, batch);
                continue;
            };
            match answer.error_code {
                // A duplicate has been written by an earlier attempt.
                ErrorCode::None | ErrorCode::DuplicateSequenceNumber => {
                    self.delivered(topic, partition, batch, answer.base_offset);
                }
                code if self.may_repeat(&topic, partition, &batch, code) => {
                    self.because = Some(format!("{}: {code}", flight.node));
                    self.wiring.refresh(now);
                    self.give_back(now, &topic, partition, batch);
                }
                code => {
                    let message = answer
                        .error_message
                        .as_ref()
                        .map(|text| text.as_str().to_owned());
                    let doing = format!("writing to `{topic}` partition {partition}");
                    self.fail(ClientError::Refused {
                        doing,
                        code,
                        message,
                    });
                }
            }
        }
    }

    /// Whether a batch that was refused is to be sent again: where the reason may pass, and where it is only that a batch
    /// before it is still to be repeated.
    fn may_repeat(&self, topic: &str, partition: i32, batch: &Batch, code: ErrorCode) -> bool {
        if code != ErrorCode::OutOfOrderSequenceNumber {
            return code.is_retriable();
        }
        let lane = &self.topics[topic].lanes[&partition];
        lane.ready
            .front()
            .is_some_and(|first| first.number < batch.number)
            || self
                .flights
                .values()
                .flat_map(|flight| &flight.batches)
                .any(|(name, index, other)| {
                    name == topic && *index == partition && other.number < batch.number
                })
    }

    fn give_back(&mut self, now: Now, topic: &str, partition: i32, batch: Batch) {
        let lanes = self.topics.get_mut(topic).expect("a topic stays for ever");
        let lane = lanes
            .lanes
            .get_mut(&partition)
            .expect("a lane stays for ever");
        let wait_ms = (RETRY_MS << batch.attempts.min(10)).min(RETRY_MS_MAX);
        lane.give_back(now.tick.after_ms(wait_ms), batch);
    }

    fn delivered(&mut self, topic: String, partition: i32, batch: Batch, base_offset: i64) {
        let lanes = self.topics.get_mut(&topic).expect("a topic stays for ever");
        let lane = lanes
            .lanes
            .get_mut(&partition)
            .expect("a lane stays for ever");
        lane.in_flight_count -= 1;
        self.buffered_bytes -= batch.pushed_bytes;
        let tickets = batch.tickets;
        self.deliveries.push(Delivery {
            topic,
            partition,
            base_offset,
            tickets,
        });
    }

    /// Sends a small request behind records that are not acknowledged: its answer says that the broker has read them.
    fn fence(&mut self, now: Now) {
        for address in std::mem::take(&mut self.unfenced) {
            let request = ApiVersionsRequest {
                client_software_name: Str::from_static(env!("CARGO_PKG_NAME")),
                client_software_version: Str::from_static(env!("CARGO_PKG_VERSION")),
            };
            let call = self
                .wiring
                .call(now, &address, request.into(), self.config.request_ms_max);
            self.fences.insert(call);
        }
    }

    /// Ends the producer if a record is overdue.
    fn expire(&mut self, now: Now) {
        let lanes = self.topics.iter().flat_map(|(name, topic)| {
            topic
                .lanes
                .iter()
                .map(move |(partition, lane)| (name, *partition, lane))
        });
        let parked = self
            .topics
            .iter()
            .filter(|(_, topic)| !topic.parked.is_empty());
        let parked = parked
            .filter(|(_, topic)| {
                now.tick.ms_since(topic.parked_since) >= self.config.delivery_ms_max
            })
            .map(|(name, _)| format!("writing to `{name}`"));
        let overdue = lanes
            .filter(|(_, _, lane)| lane.overdue_at().is_some_and(|at| at <= now.tick))
            .map(|(name, partition, _)| format!("writing to `{name}` partition {partition}"))
            .chain(parked);
        if let Some(doing) = overdue.into_iter().next() {
            self.fail(ClientError::TimedOut {
                doing,
                waited_ms: self.config.delivery_ms_max,
                because: self.trouble(),
            });
        }
    }
}

impl Core for ProducerCore {
    fn step(&mut self, now: Now, event: LinkEvent) {
        self.wiring.step(now, event);
    }

    fn turn(&mut self, now: Now) {
        self.wiring.turn(now);
        self.turned_at = now.tick;
        self.batch_is_full = false;
        loop {
            for (call, outcome) in self.wiring.take_outcomes(now) {
                self.outcome(now, call, outcome);
            }
            if self.failure.is_some() {
                return;
            }
            self.ask_identity(now);
            self.unpark(now);
            self.expire(now);
            // A request without acknowledgement has its outcome at once and makes room for the next one.
            if !self.identity_is_settled() || self.drain(now) == Drained::Nothing {
                break;
            }
        }
        if self.buffered_bytes == 0 && self.flushing {
            self.flushing = false;
            self.fence(now);
        }
    }

    fn deadline(&self) -> Option<Tick> {
        if self.failure.is_some() {
            return None;
        }
        let topics = self.topics.values();
        let parked = topics.clone().filter(|topic| !topic.parked.is_empty());
        let parked = parked.map(|topic| {
            topic
                .parked_since
                .after_ms(self.config.missing_topic_ms_max)
        });
        let lanes = topics.flat_map(|topic| topic.lanes.values());
        let lanes = lanes.filter_map(|lane| lane.deadline(self.config.linger_ms));
        let identity = match self.identity {
            Identity::Wanted(at) if self.wiring.refresh_count() > 0 => Some(at),
            _ => None,
        };
        // What was due at the last turn and is still there waits for an event, not for time.
        let own = lanes
            .chain(identity)
            .chain(parked)
            .filter(|at| *at > self.turned_at);
        own.chain(self.wiring.deadline()).min()
    }

    fn take_effects(&mut self) -> Vec<LinkEffect> {
        self.wiring.take_effects()
    }
}
