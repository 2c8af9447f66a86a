//! A cluster in memory for the client's cores, in virtual time: it keeps the rules of idempotence, and fails at random.
//!
//! Always: equal seeds give equal runs.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};
use millstream_net::wire::api::*;
use millstream_net::wire::{
    ErrorCode, Records, Refused, Request, Response, Uuid, advertised, decode_request,
    encode_response, encode_unsupported_api_versions,
};
use millstream_storage::batch::{BatchHead, Stamp, stamp};
use millstream_storage::ids::{LeaderEpoch, Now, Offset, Tick, WallMs};

use crate::client::address::Address;
use crate::client::driver::Core;
use crate::client::links::{LinkEffect, LinkEvent, LinkId};

/// splitmix64.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// One log.
#[derive(Default)]
pub struct Log {
    pub batches: Vec<Bytes>,
    pub end: i64,
    leader: i32,
    /// Per producer: the last sequence number and the batches (first sequence number, count, base offset) still known.
    producers: BTreeMap<i64, VecDeque<(i32, i32, i64)>>,
}

/// The id of every topic: no test has two that are told apart by it.
pub const TOPIC_ID: Uuid = Uuid([7; 16]);

/// Two brokers, 1 and 2.
pub struct Fake {
    pub random: Random,
    /// One in so many requests meets a failure; 0 for none.
    pub failure_odds: u64,
    pub topics: BTreeMap<String, Vec<Log>>,
    links: BTreeMap<LinkId, i32>,
    next_producer_id: i64,
}

pub fn address(node: i32) -> Address {
    Address {
        host: "fake".into(),
        port: node as u16,
    }
}

impl Fake {
    pub fn new(seed: u64, failure_odds: u64) -> Self {
        Self {
            random: Random(seed),
            failure_odds,
            topics: BTreeMap::new(),
            links: BTreeMap::new(),
            next_producer_id: 1000,
        }
    }

    pub fn create(&mut self, topic: &str, partitions: usize) {
        let log = |index| Log {
            leader: 1 + (index % 2) as i32,
            ..Log::default()
        };
        self.topics
            .insert(topic.into(), (0..partitions).map(log).collect());
    }

    fn fails(&mut self) -> bool {
        self.failure_odds > 0 && self.random.below(self.failure_odds) == 0
    }

    /// Carries out an effect; gives the events that follow.
    pub fn execute(&mut self, effect: LinkEffect) -> Vec<LinkEvent> {
        match effect {
            LinkEffect::Open(link, address) => {
                if self.fails() {
                    return vec![LinkEvent::Closed(link, "refused".into())];
                }
                self.links.insert(link, i32::from(address.port));
                vec![LinkEvent::Opened(link)]
            }
            LinkEffect::Close(link) => {
                self.links.remove(&link);
                vec![]
            }
            LinkEffect::Send(link, parts) => self.receive(link, &parts),
        }
    }

    fn receive(&mut self, link: LinkId, parts: &[Bytes]) -> Vec<LinkEvent> {
        let Some(node) = self.links.get(&link).copied() else {
            return vec![];
        };
        let broken = vec![LinkEvent::Closed(link, "broken".into())];
        if self.fails() {
            self.links.remove(&link);
            return broken;
        }
        let frame = Bytes::from(parts.concat()).slice(4..);
        let answer = match decode_request(&frame) {
            Ok((header, request)) => {
                let Some(response) = self.answer(node, request) else {
                    return vec![];
                };
                encode_response(header.api_version, header.correlation_id, &response)
            }
            Err(Refused::UnsupportedApiVersions { correlation_id }) => {
                encode_unsupported_api_versions(correlation_id)
            }
            Err(refused) => panic!("the client sent something unlawful: {refused:?}"),
        };
        if self.fails() {
            self.links.remove(&link);
            return broken;
        }
        vec![LinkEvent::Frame(
            link,
            Bytes::from(answer.concat()).slice(4..),
        )]
    }

    fn answer(&mut self, node: i32, request: Request) -> Option<Response> {
        Some(match request {
            Request::ApiVersions(_) => ApiVersionsResponse {
                api_keys: advertised(),
                ..Default::default()
            }
            .into(),
            Request::Metadata(request) => self.metadata(&request).into(),
            Request::InitProducerId(_) => {
                self.next_producer_id += 1;
                let producer_id = self.next_producer_id;
                InitProducerIdResponse {
                    producer_id,
                    ..Default::default()
                }
                .into()
            }
            Request::Produce(request) => {
                let response = self.produce(node, &request);
                if request.acks == 0 {
                    return None;
                }
                response.into()
            }
            Request::ListOffsets(request) => self.list_offsets(&request).into(),
            Request::Fetch(request) => self.fetch(node, &request).into(),
            other => panic!("not expected: {other:?}"),
        })
    }

    fn metadata(&mut self, request: &MetadataRequest) -> MetadataResponse {
        let brokers = [1, 2].map(|node| MetadataBroker {
            node_id: node,
            host: "fake".into(),
            port: node,
            ..Default::default()
        });
        // Now and then a leader moves.
        if self.fails()
            && let Some(log) = self.topics.values_mut().flatten().next()
        {
            log.leader = 3 - log.leader;
        }
        let names = request
            .topics
            .iter()
            .flatten()
            .filter_map(|topic| topic.name.clone());
        let topics = names.map(|name| {
            let Some(logs) = self.topics.get(name.as_str()) else {
                let error_code = ErrorCode::UnknownTopicOrPartition;
                return MetadataTopic {
                    error_code,
                    name: Some(name),
                    ..Default::default()
                };
            };
            let partitions = logs
                .iter()
                .enumerate()
                .map(|(index, log)| MetadataPartition {
                    partition_index: index as i32,
                    leader_id: log.leader,
                    ..Default::default()
                });
            MetadataTopic {
                name: Some(name),
                topic_id: TOPIC_ID,
                partitions: partitions.collect(),
                ..Default::default()
            }
        });
        let topics = topics.collect();
        MetadataResponse {
            brokers: brokers.into(),
            controller_id: 1,
            topics,
            ..Default::default()
        }
    }

    fn produce(&mut self, node: i32, request: &ProduceRequest) -> ProduceResponse {
        let mut response = ProduceResponse::default();
        for topic in &request.topics {
            let mut partitions = Vec::new();
            for partition in &topic.partitions {
                let fails = self.fails();
                let log = &mut self.topics.get_mut(topic.name.as_str()).unwrap()
                    [partition.index as usize];
                let batch = partition.records.as_ref().unwrap();
                let result = if fails || log.leader != node {
                    Err(ErrorCode::NotLeaderOrFollower)
                } else {
                    log.append(batch)
                };
                partitions.push(ProducePartitionResponse {
                    index: partition.index,
                    error_code: result.err().unwrap_or_default(),
                    base_offset: result.unwrap_or(-1),
                    ..Default::default()
                });
            }
            let name = topic.name.clone();
            response.responses.push(ProduceTopicResponse {
                name,
                partitions,
                ..Default::default()
            });
        }
        response
    }

    fn list_offsets(&mut self, request: &ListOffsetsRequest) -> ListOffsetsResponse {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                let log = &self.topics[topic.name.as_str()][partition.partition_index as usize];
                let earliest = partition.timestamp == offset_spec::EARLIEST;
                ListOffsetsPartitionResponse {
                    partition_index: partition.partition_index,
                    offset: if earliest { 0 } else { log.end },
                    ..Default::default()
                }
            });
            ListOffsetsTopicResponse {
                name: topic.name.clone(),
                partitions: partitions.collect(),
            }
        });
        ListOffsetsResponse {
            topics: topics.collect(),
            ..Default::default()
        }
    }

    fn fetch(&mut self, node: i32, request: &FetchRequest) -> FetchResponse {
        let mut responses = Vec::new();
        for topic in &request.topics {
            let mut partitions = Vec::new();
            for partition in &topic.partitions {
                let fails = self.fails();
                let count = 1 + self.random.below(3) as usize;
                let log = &self.topics[topic.topic.as_str()][partition.partition as usize];
                let led = !fails && log.leader == node;
                let error_code = if led {
                    ErrorCode::None
                } else {
                    ErrorCode::NotLeaderOrFollower
                };
                let batches = log.batches.iter().skip_while(|batch| {
                    BatchHead::parse(batch).unwrap().end_offset().0 <= partition.fetch_offset
                });
                let batches: Vec<Bytes> = batches.take(count).cloned().collect();
                partitions.push(FetchPartitionResponse {
                    partition_index: partition.partition,
                    error_code,
                    high_watermark: if led { log.end } else { -1 },
                    records: Some(if led {
                        Records(batches)
                    } else {
                        Records::default()
                    }),
                    ..Default::default()
                });
            }
            let topic = topic.topic.clone();
            responses.push(FetchTopicResponse {
                topic,
                partitions,
                ..Default::default()
            });
        }
        FetchResponse {
            responses,
            ..Default::default()
        }
    }
}

impl Log {
    /// Appends by the rules P7 and P8.
    fn append(&mut self, batch: &Bytes) -> Result<i64, ErrorCode> {
        let head = BatchHead::parse(batch).unwrap();
        if head.has_producer() {
            let count = head.record_count;
            let known = self.producers.entry(head.producer_id.0).or_default();
            let same = known
                .iter()
                .find(|(first, known, _)| (*first, *known) == (head.base_sequence, count));
            if let Some((_, _, base_offset)) = same {
                return Ok(*base_offset);
            }
            let expected = known.back().map_or(0, |(first, count, _)| first + count);
            if head.base_sequence != expected {
                return Err(ErrorCode::OutOfOrderSequenceNumber);
            }
            known.push_back((head.base_sequence, count, self.end));
            if known.len() > 5 {
                known.pop_front();
            }
        }
        let base_offset = self.end;
        let mut bytes = BytesMut::from(&batch[..]);
        let stamping = Stamp {
            base_offset: Offset(base_offset),
            leader_epoch: LeaderEpoch(0),
            log_append_time: None,
        };
        stamp(&mut bytes, &stamping);
        self.batches.push(bytes.freeze());
        self.end += i64::from(head.record_count);
        Ok(base_offset)
    }
}

/// A core and the cluster in virtual time.
pub struct Sim<C> {
    pub core: C,
    pub fake: Fake,
    pub now: Now,
    events: BTreeMap<(Tick, u64), LinkEvent>,
    next_event: u64,
    /// When the last event of each connection is due: what comes over one connection keeps its order.
    due: BTreeMap<LinkId, Tick>,
}

impl<C: Core> Sim<C> {
    pub fn new(core: C, fake: Fake) -> Self {
        let now = Now {
            tick: Tick(0),
            wall: WallMs(1_700_000_000_000),
        };
        Self {
            core,
            fake,
            now,
            events: BTreeMap::new(),
            next_event: 0,
            due: BTreeMap::new(),
        }
    }

    /// Goes on to the next event or deadline; false if there is none.
    pub fn advance(&mut self) -> bool {
        self.core.turn(self.now);
        for effect in self.core.take_effects() {
            for event in self.fake.execute(effect) {
                let (LinkEvent::Opened(link)
                | LinkEvent::Frame(link, _)
                | LinkEvent::Closed(link, _)) = &event;
                let delay = 1 + self.fake.random.below(5);
                let due = self.due.entry(*link).or_default();
                *due = (*due).max(self.now.tick.after_ms(delay));
                self.events.insert((*due, self.next_event), event);
                self.next_event += 1;
            }
        }
        let event_at = self.events.first_key_value().map(|((at, _), _)| *at);
        let deadline = self
            .core
            .deadline()
            .map(|at| at.max(Tick(self.now.tick.0 + 1)));
        let Some(next) = event_at.into_iter().chain(deadline).min() else {
            return false;
        };
        self.now.wall.0 += next.ms_since(self.now.tick) as i64;
        self.now.tick = self.now.tick.max(next);
        while self
            .events
            .first_key_value()
            .is_some_and(|((at, _), _)| *at <= self.now.tick)
        {
            let (_, event) = self.events.pop_first().unwrap();
            self.core.step(self.now, event);
        }
        true
    }
}
