//! Clients of the simulated node: idempotent producers that retry until they are told, consumers that read on, one
//! administrator. Each does a little whenever the driver lets it.

use super::link::{Link, Next};
use super::model::{Model, Place};
use super::node::Node;
use crate::wire;
use bytes::Bytes;
use millstream_net::wire::ErrorCode;
use millstream_net::wire::api::{
    CreateTopicsRequest, FetchPartition, FetchRequest, FetchTopic, InitProducerIdRequest,
    ProduceRequest,
};
use millstream_storage::sim::SimRng;
use std::collections::{BTreeMap, VecDeque};

/// Errors after which a client tries again.
pub(super) fn is_weather(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotLeaderOrFollower
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::KafkaStorageError
            | ErrorCode::RequestTimedOut
            | ErrorCode::CoordinatorNotAvailable
    )
}

/// A numbered batch that is not acknowledged.
struct Batch {
    first_sequence: i32,
    values: Vec<String>,
}

/// What a producer sends to one partition.
#[derive(Default)]
struct Lane {
    next_number: u64,
    next_sequence: i32,
    open: VecDeque<Batch>,
    /// Before the first acknowledgement only one batch is under way: the broker takes any sequence of a producer it does not
    /// know.
    known: bool,
}

enum Produced {
    Id,
    Batch(Place),
}

/// An idempotent producer.
pub struct Producer {
    name: u64,
    link: Link<Produced>,
    id: Option<i64>,
    lanes: BTreeMap<Place, Lane>,
    acks: i16,
}

impl Producer {
    /// A producer for these partitions.
    pub fn new(name: u64, places: &[Place], acks: i16) -> Producer {
        let lanes = places.iter().map(|place| (place.clone(), Lane::default()));
        Producer {
            name,
            link: Link::default(),
            id: None,
            lanes: lanes.collect(),
            acks,
        }
    }

    /// Whether everything it sent is acknowledged.
    pub fn is_done(&self) -> bool {
        self.lanes.values().all(|lane| lane.open.is_empty())
    }

    /// The node is gone.
    pub fn lost(&mut self) {
        self.link.end(None);
    }

    /// Ends its connection.
    pub fn leave(&mut self, node: &mut Node) {
        self.link.end(Some(node));
    }

    /// Does one thing. `more` is whether it begins new batches.
    pub fn act(&mut self, node: &mut Node, rng: &mut SimRng, model: &mut Model, more: bool) {
        if !self.link.is_up() {
            return self.begin(node, rng);
        }
        match rng.below(4) {
            0 if more && self.id.is_some() => self.grow(node, rng),
            0 | 1 => self.link.deliver(node),
            _ => self.receive(node, model),
        }
    }

    /// Connects and sends again what is not acknowledged, in order.
    fn begin(&mut self, node: &mut Node, rng: &mut SimRng) {
        self.link.connect(node, rng);
        if self.id.is_none() {
            let request = InitProducerIdRequest::default();
            return self.link.ask(4, &request, Produced::Id);
        }
        let now = node.now().wall.0;
        let places: Vec<Place> = self.lanes.keys().cloned().collect();
        for place in places {
            let count = self.lanes[&place].open.len();
            for index in 0..count {
                self.send(now, &place, index);
            }
        }
    }

    fn grow(&mut self, node: &Node, rng: &mut SimRng) {
        let at = rng.index(self.lanes.len());
        let name = self.name;
        let Some((place, lane)) = self.lanes.iter_mut().nth(at) else {
            return;
        };
        let limit = if lane.known { 5 } else { 1 };
        if lane.open.len() >= limit {
            return;
        }
        let count = rng.range(1, 4);
        // Now and then a value that makes the batch take the way of large ones.
        let padding = if rng.percent(3) {
            150_000
        } else {
            rng.index(200)
        };
        let values = (0..count).map(|index| {
            let mut value = format!("n{name}.{}", lane.next_number + index);
            if index == 0 {
                value.push_str(&" ".repeat(padding));
            }
            value
        });
        let batch = Batch {
            first_sequence: lane.next_sequence,
            values: values.collect(),
        };
        lane.next_number += count;
        lane.next_sequence += count as i32;
        lane.open.push_back(batch);
        let (place, index) = (place.clone(), lane.open.len() - 1);
        self.send(node.now().wall.0, &place, index);
    }

    fn send(&mut self, now: i64, place: &Place, index: usize) {
        let Some(id) = self.id else {
            return;
        };
        let batch = &self.lanes[place].open[index];
        let values: Vec<&str> = batch.values.iter().map(String::as_str).collect();
        let records = wire::numbered_batch(id, 0, batch.first_sequence, now, &values);
        let request = wire::produce(self.acks, &place.0, place.1, records);
        self.link.ask(9, &request, Produced::Batch(place.clone()));
    }

    fn receive(&mut self, node: &mut Node, model: &mut Model) {
        let open = self.link.receive(node);
        while let Some((asked, frame)) = self.link.next_answer() {
            let good = match asked {
                Produced::Id => self.take_id(&frame),
                Produced::Batch(place) => self.take_batch(&place, &frame, model),
            };
            if !good {
                self.link.end(Some(node));
                return;
            }
        }
        if !open {
            self.link.end(None);
        }
    }

    fn take_id(&mut self, frame: &Bytes) -> bool {
        let (_, response) = wire::answer::<InitProducerIdRequest>(4, frame);
        let good = response.error_code == ErrorCode::None;
        assert!(
            good || is_weather(response.error_code),
            "{:?}",
            response.error_code
        );
        self.id = good.then_some(response.producer_id);
        good
    }

    fn take_batch(&mut self, place: &Place, frame: &Bytes, model: &mut Model) -> bool {
        let (_, response) = wire::answer::<ProduceRequest>(9, frame);
        let answer = &response.responses[0].partitions[0];
        if answer.error_code != ErrorCode::None {
            let code = answer.error_code;
            assert!(is_weather(code), "{} to {place:?}: {code:?}", self.name);
            return false;
        }
        let lane = self.lanes.get_mut(place).expect("it sends to its lanes");
        let batch = lane.open.pop_front().expect("answers are to what was sent");
        lane.known = true;
        for (offset, value) in (answer.base_offset..).zip(&batch.values) {
            model.acknowledged(place, offset, value.trim_end());
        }
        true
    }
}

/// A consumer of some partitions, each read on from where it is.
pub struct Consumer {
    link: Link<Vec<(Place, i64)>>,
    offsets: BTreeMap<Place, i64>,
    /// The high watermark each partition was last told to have.
    ends: BTreeMap<Place, i64>,
    /// The last error of each partition.
    troubles: BTreeMap<Place, ErrorCode>,
}

impl Consumer {
    /// A consumer that begins at the beginning.
    pub fn new(places: &[Place]) -> Consumer {
        Consumer {
            link: Link::default(),
            offsets: places.iter().map(|place| (place.clone(), 0)).collect(),
            ends: BTreeMap::new(),
            troubles: BTreeMap::new(),
        }
    }

    /// Whether it has read everything it knows of.
    pub fn is_at_end(&self) -> bool {
        let at_end = |(place, offset)| self.ends.get(place) == Some(offset);
        self.offsets.iter().all(at_end)
    }

    /// Where it is, how far it could be, and what kept it, for a message.
    pub fn describe(&self) -> String {
        let Consumer {
            offsets,
            ends,
            troubles,
            ..
        } = self;
        format!("at {offsets:?} of {ends:?}, kept by {troubles:?}")
    }

    /// Where it is.
    pub fn offsets(&self) -> impl Iterator<Item = (&Place, i64)> {
        self.offsets.iter().map(|(place, offset)| (place, *offset))
    }

    /// The node is gone.
    pub fn lost(&mut self) {
        self.link.end(None);
    }

    /// Ends its connection.
    pub fn leave(&mut self, node: &mut Node) {
        self.link.end(Some(node));
    }

    /// Does one thing.
    pub fn act(&mut self, node: &mut Node, rng: &mut SimRng, model: &mut Model) {
        match self.link.next(node, rng) {
            Next::Ask => self.ask(rng, model),
            Next::Receive => self.receive(node, model),
            Next::Nothing => {}
        }
    }

    fn ask(&mut self, rng: &mut SimRng, model: &Model) {
        let mut request = FetchRequest {
            max_wait_ms: [0, 1, 50, 500][rng.index(4)],
            min_bytes: [0, 1, 300, 1 << 20][rng.index(4)],
            max_bytes: [1, 1000, 1 << 20][rng.index(3)],
            isolation_level: rng.index(2) as i8,
            ..FetchRequest::default()
        };
        let mut asked = Vec::new();
        let first = rng.index(self.offsets.len());
        let order = self
            .offsets
            .iter()
            .cycle()
            .skip(first)
            .take(self.offsets.len());
        for (place, offset) in order {
            let partition = FetchPartition {
                partition: place.1,
                fetch_offset: *offset,
                partition_max_bytes: [1, 1000, 1 << 20][rng.index(3)],
                ..FetchPartition::default()
            };
            request.topics.push(FetchTopic {
                topic: place.0.as_str().into(),
                partitions: vec![partition],
                ..FetchTopic::default()
            });
            asked.push((place.clone(), model.high_watermark(place)));
        }
        self.link.ask(11, &request, asked);
    }

    fn receive(&mut self, node: &mut Node, model: &mut Model) {
        let open = self.link.receive(node);
        while let Some((asked, frame)) = self.link.next_answer() {
            let (_, response) = wire::answer::<FetchRequest>(11, &frame);
            assert_eq!(response.responses.len(), asked.len());
            for ((place, before), topic) in asked.into_iter().zip(response.responses) {
                self.take(&place, before, &topic.partitions[0], model);
            }
        }
        if !open {
            self.link.end(None);
        }
    }

    fn take(
        &mut self,
        place: &Place,
        before: i64,
        answer: &millstream_net::wire::api::FetchPartitionResponse,
        model: &mut Model,
    ) {
        if answer.error_code != ErrorCode::None {
            let code = answer.error_code;
            assert!(is_weather(code), "a fetch of {place:?}: {code:?}");
            self.troubles.insert(place.clone(), code);
            return;
        }
        model.told_high_watermark(place, before, answer.high_watermark);
        self.ends.insert(place.clone(), answer.high_watermark);
        let offset = self
            .offsets
            .get_mut(place)
            .expect("it asks for its partitions");
        let records = answer.records.as_ref().expect("records are never null");
        for (at, value) in wire::values(&records.0) {
            assert!(
                at < answer.high_watermark,
                "{place:?}: {at} is above the high watermark"
            );
            if at < *offset {
                continue;
            }
            assert_eq!(at, *offset, "{place:?}: offsets have no holes");
            model.shown(place, at, value.trim_end());
            *offset += 1;
        }
    }
}

/// Whoever creates the topics.
pub struct Admin {
    link: Link<()>,
    topics: Vec<(String, i32)>,
    done: bool,
}

impl Admin {
    /// One that wants these topics: names and partition counts.
    pub fn new(topics: Vec<(String, i32)>) -> Admin {
        Admin {
            link: Link::default(),
            topics,
            done: false,
        }
    }

    /// Whether the topics are there.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// The node is gone.
    pub fn lost(&mut self) {
        self.link.end(None);
    }

    /// Ends its connection.
    pub fn leave(&mut self, node: &mut Node) {
        self.link.end(Some(node));
    }

    /// Does one thing.
    pub fn act(&mut self, node: &mut Node, rng: &mut SimRng) {
        if self.done {
            return;
        }
        if !self.link.is_up() {
            self.link.connect(node, rng);
            let topics = self.topics.iter();
            let topics = topics.map(|(name, count)| super::broker::topic(name, *count, &[]));
            let request = CreateTopicsRequest {
                topics: topics.collect(),
                ..CreateTopicsRequest::default()
            };
            return self.link.ask(5, &request, ());
        }
        self.link.deliver(node);
        let open = self.link.receive(node);
        if let Some(((), frame)) = self.link.next_answer() {
            let (_, response) = wire::answer::<CreateTopicsRequest>(5, &frame);
            let is_there = |code| matches!(code, ErrorCode::None | ErrorCode::TopicAlreadyExists);
            self.done = response.topics.iter().all(|one| is_there(one.error_code));
            self.link.end(Some(node));
        } else if !open {
            self.link.end(None);
        }
    }
}
