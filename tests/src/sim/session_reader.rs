//! A consumer that fetches with a session (KIP-227): it says what has changed and is told what has changed.
//!
//! Always: (1) it is told of nothing that it has not asked for, or has dropped; (2) where a session begins it is told of everything; (3) a
//! topic that comes back under its name never shows it a record of an earlier life than those it has seen.
//! That nothing is kept from it shows at the end of a run: it must come as far as a reader without a session.

use super::churner::NAME;
use super::clients::is_weather;
use super::link::{Link, Next};
use super::model::{Model, Place};
use super::node::Node;
use crate::wire;
use millstream_net::wire::ErrorCode;
use millstream_net::wire::api::{
    FetchPartition, FetchPartitionResponse, FetchRequest, FetchResponse, FetchTopic, ForgottenTopic,
};
use millstream_storage::sim::SimRng;
use std::collections::{BTreeMap, BTreeSet};

/// What it remembers of a request.
struct Asked {
    is_first: bool,
    /// The partitions of its session, with the high watermark that was known of each.
    known: BTreeMap<Place, i64>,
}

/// The consumer.
pub struct SessionReader {
    link: Link<Asked>,
    session_id: i32,
    /// The number of the next request; 0 begins a session.
    session_epoch: i32,
    /// What the session was told to read, and from where.
    told: BTreeMap<Place, i64>,
    /// What it wants to read now.
    wanted: BTreeSet<Place>,
    offsets: BTreeMap<Place, i64>,
    /// Rounds of the topic that comes and goes, by partition.
    rounds: BTreeMap<i32, u64>,
    troubles: BTreeMap<Place, ErrorCode>,
    /// Answers that had a session.
    answers: u64,
}

impl SessionReader {
    /// A consumer of these partitions, and of a topic that comes and goes.
    pub fn new(places: &[Place]) -> SessionReader {
        let passing = (0..2).map(|partition| (NAME.to_owned(), partition));
        let places: BTreeSet<Place> = places.iter().cloned().chain(passing).collect();
        SessionReader {
            link: Link::default(),
            session_id: 0,
            session_epoch: 0,
            told: BTreeMap::new(),
            offsets: places.iter().map(|place| (place.clone(), 0)).collect(),
            wanted: places,
            rounds: BTreeMap::new(),
            troubles: BTreeMap::new(),
            answers: 0,
        }
    }

    /// Where it is in a partition.
    pub fn offset(&self, place: &Place) -> i64 {
        self.offsets[place]
    }

    /// Answers that it got in a session, behind the first of each.
    pub fn answers(&self) -> u64 {
        self.answers
    }

    /// Where it is, and what kept it, for a message.
    pub fn describe(&self) -> String {
        let (offsets, troubles) = (&self.offsets, &self.troubles);
        let (id, epoch) = (self.session_id, self.session_epoch);
        format!("session {id} epoch {epoch} at {offsets:?}, kept by {troubles:?}")
    }

    /// Reads everything from now on.
    pub fn want_all(&mut self) {
        self.wanted = self.offsets.keys().cloned().collect();
    }

    /// The node is gone.
    pub fn lost(&mut self) {
        self.end(None);
    }

    /// Ends its connection.
    pub fn leave(&mut self, node: &mut Node) {
        self.end(Some(node));
    }

    /// Whether a request that was not answered has counted is not known: the session begins anew.
    fn end(&mut self, node: Option<&mut Node>) {
        if !self.link.end(node).is_empty() {
            self.session_epoch = 0;
        }
    }

    /// Does one thing.
    pub fn act(&mut self, node: &mut Node, rng: &mut SimRng, model: &mut Model) {
        match self.link.next(node, rng) {
            Next::Ask => self.ask(rng, model),
            Next::Receive => self.receive(node, model),
            Next::Nothing => {}
        }
    }

    /// Now and then it wants one partition more, or less.
    fn change_its_mind(&mut self, rng: &mut SimRng) {
        if !rng.percent(20) {
            return;
        }
        let at = rng.index(self.offsets.len());
        let Some(place) = self.offsets.keys().nth(at).cloned() else {
            return;
        };
        if !self.wanted.remove(&place) || self.wanted.is_empty() {
            self.wanted.insert(place);
        }
    }

    fn ask(&mut self, rng: &mut SimRng, model: &Model) {
        self.change_its_mind(rng);
        let is_first = self.session_epoch == 0;
        if is_first {
            self.told.clear();
        }
        let mut request = FetchRequest {
            max_wait_ms: [0, 1, 50, 500][rng.index(4)],
            min_bytes: [0, 1, 300, 1 << 20][rng.index(4)],
            max_bytes: [1, 1000, 1 << 20][rng.index(3)],
            session_id: self.session_id,
            session_epoch: self.session_epoch,
            ..FetchRequest::default()
        };
        let dropped: Vec<Place> = self.told.keys().cloned().collect();
        for place in dropped.into_iter().filter(|one| !self.wanted.contains(one)) {
            self.told.remove(&place);
            request.forgotten_topics_data.push(ForgottenTopic {
                topic: place.0.as_str().into(),
                partitions: vec![place.1],
                ..ForgottenTopic::default()
            });
        }
        for place in &self.wanted {
            let offset = self.offsets[place];
            if self.told.insert(place.clone(), offset) != Some(offset) {
                request.topics.push(FetchTopic {
                    topic: place.0.as_str().into(),
                    partitions: vec![FetchPartition {
                        partition: place.1,
                        fetch_offset: offset,
                        partition_max_bytes: [1, 1000, 1 << 20][rng.index(3)],
                        ..FetchPartition::default()
                    }],
                    ..FetchTopic::default()
                });
            }
        }
        let known = self.told.keys();
        let known = known.map(|place| (place.clone(), model.high_watermark(place)));
        let asked = Asked {
            is_first,
            known: known.collect(),
        };
        self.link.ask(11, &request, asked);
    }

    fn receive(&mut self, node: &mut Node, model: &mut Model) {
        let open = self.link.receive(node);
        while let Some((asked, frame)) = self.link.next_answer() {
            let (_, response) = wire::answer::<FetchRequest>(11, &frame);
            self.take(&asked, &response, model);
        }
        if !open {
            self.end(None);
        }
    }

    fn take(&mut self, asked: &Asked, response: &FetchResponse, model: &mut Model) {
        match response.error_code {
            ErrorCode::None => {}
            // A new process knows none, or has given the number to somebody else.
            ErrorCode::FetchSessionIdNotFound | ErrorCode::InvalidFetchSessionEpoch => {
                assert!(!asked.is_first, "a session that begins is not unknown");
                (self.session_id, self.session_epoch) = (0, 0);
                return;
            }
            code => panic!("a fetch with a session: {code:?}"),
        }
        let mut seen = BTreeSet::new();
        for topic in &response.responses {
            for answer in &topic.partitions {
                let place = (topic.topic.to_string(), answer.partition_index);
                let before = asked.known.get(&place);
                let before = *before.unwrap_or_else(|| panic!("{place:?} was not asked for"));
                self.take_partition(&place, before, answer, model);
                assert!(seen.insert(place), "a partition is told of once");
            }
        }
        if asked.is_first {
            assert_eq!(seen.len(), asked.known.len(), "at first it is told of all");
            self.session_id = response.session_id;
            self.session_epoch = i32::from(response.session_id != 0);
        } else {
            assert_eq!(response.session_id, self.session_id);
            self.session_epoch += 1;
            self.answers += 1;
        }
    }

    fn take_partition(
        &mut self,
        place: &Place,
        before: i64,
        answer: &FetchPartitionResponse,
        model: &mut Model,
    ) {
        let code = answer.error_code;
        if code == ErrorCode::OffsetOutOfRange && place.0 == NAME {
            // It has begun anew.
            self.offsets.insert(place.clone(), 0);
            return;
        }
        if code != ErrorCode::None {
            assert!(is_weather(code), "a fetch of {place:?}: {code:?}");
            self.troubles.insert(place.clone(), code);
            return;
        }
        if place.0 != NAME {
            model.told_high_watermark(place, before, answer.high_watermark);
        }
        let records = answer.records.as_ref().expect("records are never null");
        for (at, value) in wire::values(&records.0) {
            assert!(
                at < answer.high_watermark,
                "{place:?}: {at} is above the high watermark"
            );
            let offset = self.offsets.get_mut(place).expect("it was asked for");
            if at < *offset {
                continue;
            }
            assert_eq!(at, *offset, "{place:?}: offsets have no holes");
            *offset += 1;
            match place.0 == NAME {
                true => self.see_round(place.1, &value),
                false => model.shown(place, at, value.trim_end()),
            }
        }
    }

    fn see_round(&mut self, partition: i32, value: &str) {
        let round = value.strip_prefix("round ").and_then(|it| it.parse().ok());
        let round: u64 = round.expect("rounds are numbered");
        let before = self.rounds.insert(partition, round);
        assert!(
            before.is_none_or(|before| before <= round),
            "round {round} of partition {partition} came behind {before:?}"
        );
    }
}
