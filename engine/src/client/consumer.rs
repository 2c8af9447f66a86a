//! The pure part of a consumer: positions, fetches to leaders, and record batches that wait to be taken.
//!
//! Always:
//! 1. A partition has one fetch in flight, and its position is the offset behind the last record taken or buffered.
//! 2. Records come in the order of their offsets within a partition; none below the position it began at.
//! 3. No more is fetched for a partition while the caller has yet to take what was fetched before, beyond one answer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use millstream_net::wire::api::{
    FetchPartition, FetchPartitionResponse, FetchRequest, FetchResponse, FetchTopic,
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic, offset_spec,
};
use millstream_net::wire::{ErrorCode, Response, Str};
use millstream_storage::ids::{Now, Tick};

use super::address::Address;
use super::driver::Core;
use super::error::ClientError;
use super::groups::Place;
use super::incoming::{ConsumerConfig, Fetched, Isolation, Progress, StartAt};
use super::links::{CallId, LinkEffect, LinkEvent, Loss, Outcome};
use super::membership::{Change, Membership, MembershipConfig};
use super::wiring::Wiring;

const RETRY_MS: u64 = 100;
const CALL_TIMEOUT_MS: u64 = 30_000;

enum Position {
    Unknown(StartAt),
    At(i64),
}

enum Activity {
    Idle,
    Asking,
    Fetching,
}

struct Reading {
    /// Which of several readings of a partition, one after the other, it is: what was asked for an earlier one is not its.
    life: u64,
    position: Position,
    /// Where to go on if there is no record at its position; none to end with an error.
    otherwise: Option<StartAt>,
    activity: Activity,
    retry_at: Tick,
    buffered: bool,
    high_watermark: Option<i64>,
}

struct Wanting {
    partitions: Option<BTreeSet<i32>>,
    start: StartAt,
    since: Tick,
    found: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flight {
    Offsets,
    Fetch,
}

/// What is asked about, each with its life.
type Asked = Vec<(Place, u64)>;

/// The pure part of a consumer.
pub struct ConsumerCore {
    config: ConsumerConfig,
    wiring: Wiring,
    wanting: BTreeMap<String, Wanting>,
    readings: BTreeMap<Place, Reading>,
    flights: BTreeMap<CallId, (Address, Flight, Asked)>,
    lives: u64,
    /// Where the partitions come from a group.
    membership: Option<Membership>,
    /// The group is being left.
    leaving: bool,
    /// The caller looks at records: the group has to wait for what it says of them.
    held: bool,
    /// Where the fetch of the records ended that the caller was given last.
    given: BTreeMap<Place, (i64, i64)>,
    fetched: VecDeque<Fetched>,
    failure: Option<ClientError>,
    because: Option<String>,
    turned_at: Tick,
}

impl ConsumerCore {
    /// Begins on `wiring` with nothing to read.
    pub fn new(config: ConsumerConfig, wiring: Wiring) -> Self {
        Self {
            config,
            wiring,
            wanting: BTreeMap::new(),
            readings: BTreeMap::new(),
            flights: BTreeMap::new(),
            lives: 0,
            membership: None,
            leaving: false,
            held: false,
            given: BTreeMap::new(),
            fetched: VecDeque::new(),
            failure: None,
            because: None,
            turned_at: Tick(0),
        }
    }

    /// Reads a topic, all its partitions or some.
    pub fn assign(&mut self, now: Now, topic: &str, partitions: Option<&[i32]>, start: StartAt) {
        self.wiring.want_topic(now, topic);
        let partitions = partitions.map(|partitions| partitions.iter().copied().collect());
        let wanting = Wanting {
            partitions,
            start,
            since: now.tick,
            found: false,
        };
        self.wanting.insert(topic.to_owned(), wanting);
    }

    /// Reads what a group gives it.
    pub fn join(&mut self, now: Now, config: MembershipConfig) {
        // That the topics are there is watched here; which of their partitions are read comes from the group.
        for topic in config.topics.clone() {
            self.assign(now, &topic, Some(&[]), config.start);
        }
        self.membership = Some(Membership::new(now, config, &mut self.wiring));
    }

    /// The caller is done with these records, the last of a partition that it was given: the group need not read them again.
    pub(super) fn done(&mut self, place: Place, last_offset: i64) {
        let given = self.given.get(&place);
        // Behind the last record there may be others that callers do not see.
        let end = given.filter(|(last, _)| *last == last_offset);
        let end = end.map_or(last_offset + 1, |(_, end)| *end);
        if let Some(membership) = &mut self.membership {
            membership.done(place, end);
        }
    }

    /// What the caller is given of a partition: its last record, and the end of the batches it is in.
    pub(super) fn gives(&mut self, place: Place, last_offset: i64, end: i64) {
        if self.membership.is_some() {
            self.given.insert(place, (last_offset, end));
        }
    }

    /// The caller comes for more: what it did not call done by now, it will not.
    pub(super) fn comes_back(&mut self) {
        self.held = false;
    }

    /// Commits and leaves the group. Nothing is given any more: it would not be committed.
    pub(super) fn leave(&mut self, now: Now) {
        self.held = false;
        self.leaving = true;
        if let Some(membership) = &mut self.membership {
            membership.leave(now);
        }
    }

    /// Whether it is in no group (any more).
    pub(super) fn is_outside(&self) -> bool {
        self.membership.as_ref().is_none_or(Membership::is_gone)
    }

    /// The next records to be taken.
    pub(super) fn take_fetched(&mut self) -> Option<Fetched> {
        if self.leaving {
            return None;
        }
        let fetched = self.fetched.pop_front()?;
        let key = (fetched.topic.clone(), fetched.partition);
        let reading = self
            .readings
            .get_mut(&key)
            .expect("what was fetched is being read");
        reading.buffered = false;
        self.held = true;
        Some(fetched)
    }

    /// Why the consumer has ended, if it has.
    pub fn failure(&self) -> Option<ClientError> {
        let membership = self.membership.as_ref().and_then(Membership::failure);
        let failure = self.failure.as_ref().or(membership);
        failure.cloned().or_else(|| self.wiring.unreachable())
    }

    /// The last thing that stood in the way.
    pub fn trouble(&self) -> Option<String> {
        let membership = self.membership.as_ref().and_then(Membership::trouble);
        let because = self.because.as_ref().or(membership);
        because.cloned().or_else(|| self.wiring.trouble())
    }

    /// Where it is in each partition.
    pub fn progress(&self) -> Vec<Progress> {
        let readings = self.readings.iter();
        let progress = readings.map(|((topic, partition), reading)| Progress {
            topic: topic.clone(),
            partition: *partition,
            position: match reading.position {
                Position::At(offset) => Some(offset),
                Position::Unknown(_) => None,
            },
            high_watermark: reading.high_watermark,
        });
        progress.collect()
    }

    /// Whether all topics are known and all that was written to them until the last answers has been fetched.
    pub fn is_at_end(&self) -> bool {
        let known = self.wanting.values().all(|wanting| wanting.found);
        let read = self
            .readings
            .values()
            .all(|reading| match reading.position {
                Position::At(offset) => reading.high_watermark.is_some_and(|end| offset >= end),
                Position::Unknown(_) => false,
            });
        let settled = self.membership.as_ref().is_none_or(Membership::is_settled);
        known && settled && read && self.fetched.is_empty()
    }

    fn fail(&mut self, error: ClientError) {
        self.failure.get_or_insert(error);
    }

    /// Learns the partitions of topics as they appear.
    fn look_up(&mut self, now: Now) {
        let mut failures = Vec::new();
        let mut found = Vec::new();
        for (name, wanting) in &mut self.wanting {
            let doing = format!("reading topic `{name}`");
            let Some(topic) = self.wiring.cluster.topic(name) else {
                continue;
            };
            if topic.error == ErrorCode::None {
                let exists = |partition: &i32| topic.partitions.contains_key(partition);
                let asked = wanting.partitions.iter().flatten();
                if let Some(missing) = asked.copied().find(|partition| !exists(partition)) {
                    let partition_count = topic.partitions.len();
                    let topic = name.clone();
                    failures.push(ClientError::NoPartition {
                        topic,
                        partition: missing,
                        partition_count,
                    });
                    continue;
                }
                let wanted = |partition: &&i32| {
                    wanting
                        .partitions
                        .as_ref()
                        .is_none_or(|wanted| wanted.contains(partition))
                };
                for partition in topic.partitions.keys().filter(wanted) {
                    // A partition that is added later is read from its beginning, so that nothing is missed.
                    let start = if wanting.found {
                        StartAt::Beginning
                    } else {
                        wanting.start
                    };
                    found.push(((name.clone(), *partition), start));
                }
                wanting.found = true;
                continue;
            }
            let waited_ms = now.tick.ms_since(wanting.since);
            let patience = self.config.missing_topic_ms_max;
            let given_up = !wanting.found && patience.is_some_and(|patience| waited_ms >= patience);
            if !topic.error.is_retriable() || given_up {
                failures.push(ClientError::Refused {
                    doing,
                    code: topic.error,
                    message: None,
                });
            }
        }
        for (place, start) in found {
            if !self.readings.contains_key(&place) {
                self.begin(now, place, start, None);
            }
        }
        for failure in failures {
            self.fail(failure);
        }
    }

    /// Begins to read a partition.
    fn begin(&mut self, now: Now, place: Place, start: StartAt, otherwise: Option<StartAt>) {
        self.lives += 1;
        let reading = Reading {
            life: self.lives,
            position: match start {
                StartAt::Offset(offset) => Position::At(offset),
                start => Position::Unknown(start),
            },
            otherwise,
            activity: Activity::Idle,
            retry_at: now.tick,
            buffered: false,
            high_watermark: None,
        };
        self.readings.insert(place, reading);
    }

    /// Reads a partition no more; what was fetched of it and not taken is dropped.
    fn release(&mut self, place: &Place) {
        self.readings.remove(place);
        self.given.remove(place);
        self.fetched
            .retain(|one| (one.topic.as_str(), one.partition) != (place.0.as_str(), place.1));
    }

    /// Does what the group asks for.
    fn follow_group(&mut self, now: Now) {
        if self.held {
            return;
        }
        let Some(membership) = &mut self.membership else {
            return;
        };
        membership.turn(now, &mut self.wiring);
        for change in membership.take_changes() {
            match change {
                Change::Begin(place, start, otherwise) => {
                    self.begin(now, place, start, Some(otherwise));
                }
                Change::Release(place) => self.release(&place),
            }
        }
    }

    /// Asks leaders for offsets and records of all partitions whose turn it is.
    fn ask(&mut self, now: Now) {
        let mut offsets: BTreeMap<Address, Vec<Place>> = BTreeMap::new();
        let mut fetches: BTreeMap<Address, Vec<Place>> = BTreeMap::new();
        let mut leaderless = false;
        for (key, reading) in &mut self.readings {
            if !matches!(reading.activity, Activity::Idle)
                || reading.retry_at > now.tick
                || reading.buffered
            {
                continue;
            }
            let Some((node, _)) = self.wiring.cluster.leader(&key.0, key.1) else {
                leaderless = true;
                continue;
            };
            let fetching = self
                .flights
                .values()
                .any(|(address, flight, _)| address == node && *flight == Flight::Fetch);
            match reading.position {
                Position::Unknown(_) => {
                    reading.activity = Activity::Asking;
                    offsets.entry(node.clone()).or_default().push(key.clone());
                }
                // One fetch per leader: the next one takes all partitions along.
                Position::At(_) if !fetching => {
                    reading.activity = Activity::Fetching;
                    fetches.entry(node.clone()).or_default().push(key.clone());
                }
                Position::At(_) => {}
            }
        }
        if leaderless {
            self.wiring.refresh(now);
        }
        for (node, keys) in offsets {
            let request = self.offsets_request(&keys);
            let call = self
                .wiring
                .call(now, &node, request.into(), CALL_TIMEOUT_MS);
            let asked = self.with_lives(keys);
            self.flights.insert(call, (node, Flight::Offsets, asked));
        }
        for (node, keys) in fetches {
            let request = self.fetch_request(&keys);
            let timeout_ms = CALL_TIMEOUT_MS + self.config.wait_ms_max;
            let call = self.wiring.call(now, &node, request.into(), timeout_ms);
            let asked = self.with_lives(keys);
            self.flights.insert(call, (node, Flight::Fetch, asked));
        }
    }

    fn with_lives(&self, keys: Vec<Place>) -> Asked {
        let keys = keys.into_iter();
        keys.map(|key| {
            let life = self.readings[&key].life;
            (key, life)
        })
        .collect()
    }

    fn offsets_request(&self, keys: &[Place]) -> ListOffsetsRequest {
        let mut topics: Vec<ListOffsetsTopic> = Vec::new();
        for key in keys {
            if topics
                .last()
                .is_none_or(|topic| topic.name != key.0.as_str())
            {
                topics.push(ListOffsetsTopic {
                    name: Str::from(key.0.as_str()),
                    ..Default::default()
                });
            }
            let timestamp = match self.readings[key].position {
                Position::Unknown(StartAt::Beginning) => offset_spec::EARLIEST,
                Position::Unknown(StartAt::Timestamp(timestamp)) if timestamp >= 0 => timestamp,
                _ => offset_spec::LATEST,
            };
            let topic = topics.last_mut().expect("pushed where it was missing");
            topic.partitions.push(ListOffsetsPartition {
                partition_index: key.1,
                timestamp,
                ..Default::default()
            });
        }
        let isolation_level = self.config.isolation.code();
        ListOffsetsRequest {
            isolation_level,
            topics,
            ..Default::default()
        }
    }

    fn fetch_request(&self, keys: &[Place]) -> FetchRequest {
        let mut topics: Vec<FetchTopic> = Vec::new();
        for key in keys {
            if topics
                .last()
                .is_none_or(|topic| topic.topic != key.0.as_str())
            {
                topics.push(FetchTopic {
                    topic: Str::from(key.0.as_str()),
                    ..Default::default()
                });
            }
            let Position::At(fetch_offset) = self.readings[key].position else {
                unreachable!("a partition is fetched from where it is");
            };
            let topic = topics.last_mut().expect("pushed where it was missing");
            topic.partitions.push(FetchPartition {
                partition: key.1,
                fetch_offset,
                partition_max_bytes: self.config.partition_bytes_max as i32,
                ..Default::default()
            });
        }
        FetchRequest {
            max_wait_ms: self.config.wait_ms_max as i32,
            min_bytes: 1,
            max_bytes: self.config.answer_bytes_max as i32,
            isolation_level: self.config.isolation.code(),
            topics,
            ..Default::default()
        }
    }

    fn outcome(&mut self, now: Now, call: CallId, outcome: Outcome) {
        if self
            .membership
            .as_ref()
            .is_some_and(|one| one.has_called(call))
        {
            let membership = self.membership.as_mut().expect("it has called");
            return membership.outcome(now, &mut self.wiring, call, outcome);
        }
        let Some((node, flight, asked)) = self.flights.remove(&call) else {
            return;
        };
        // The group may have taken some away meanwhile, and even given them back.
        let asked = asked.into_iter().filter(|(key, life)| {
            let reading = self.readings.get(key);
            reading.is_some_and(|reading| reading.life == *life)
        });
        let keys: Vec<Place> = asked.map(|(key, _)| key).collect();
        for key in &keys {
            self.reading(key).activity = Activity::Idle;
        }
        match (flight, outcome) {
            (Flight::Offsets, Outcome::Answered(Response::ListOffsets(answer))) => {
                self.found_offsets(now, &node, &keys, &answer);
            }
            (Flight::Fetch, Outcome::Answered(Response::Fetch(answer))) => {
                self.found_records(now, &node, &keys, &answer);
            }
            (_, Outcome::Lost(Loss::Broken(reason))) => {
                for key in keys {
                    self.retry(now, &key, format!("{node}: {reason}"));
                }
            }
            (_, Outcome::Lost(Loss::Unsupported(key))) => {
                self.fail(ClientError::Unsupported {
                    address: node,
                    api: key.api().name,
                });
            }
            (_, Outcome::Answered(_) | Outcome::Unanswered) => {
                unreachable!("a request has the answer of its kind")
            }
        }
    }

    fn reading(&mut self, key: &Place) -> &mut Reading {
        self.readings
            .get_mut(key)
            .expect("an answer counts only while its partition is read")
    }

    /// Tries a partition again after a moment, with newer metadata.
    fn retry(&mut self, now: Now, key: &Place, because: String) {
        self.reading(key).retry_at = now.tick.after_ms(RETRY_MS);
        self.because = Some(because);
        self.wiring.refresh(now);
    }

    fn refused(&mut self, now: Now, node: &Address, key: &Place, code: ErrorCode) {
        if code.is_retriable() {
            return self.retry(now, key, format!("{node}: {code}"));
        }
        let doing = format!("reading `{}` partition {}", key.0, key.1);
        self.fail(ClientError::Refused {
            doing,
            code,
            message: None,
        });
    }

    fn found_offsets(
        &mut self,
        now: Now,
        node: &Address,
        keys: &[Place],
        answer: &ListOffsetsResponse,
    ) {
        for key in keys {
            let topics = answer
                .topics
                .iter()
                .filter(|topic| topic.name == key.0.as_str());
            let mut partitions = topics.flat_map(|topic| &topic.partitions);
            let Some(found) = partitions.find(|found| found.partition_index == key.1) else {
                self.retry(
                    now,
                    key,
                    format!("{node}: its answer leaves out a partition"),
                );
                continue;
            };
            if found.error_code != ErrorCode::None {
                self.refused(now, node, key, found.error_code);
                continue;
            }
            let offset = found.offset;
            let reading = self.reading(key);
            reading.position = match reading.position {
                Position::Unknown(StartAt::Timestamp(_)) if offset < 0 => {
                    Position::Unknown(StartAt::End)
                }
                _ => Position::At(offset),
            };
        }
    }

    fn found_records(&mut self, now: Now, node: &Address, keys: &[Place], answer: &FetchResponse) {
        if answer.error_code != ErrorCode::None {
            for key in keys {
                self.refused(now, node, key, answer.error_code);
            }
            return;
        }
        for key in keys {
            let topics = answer
                .responses
                .iter()
                .filter(|topic| topic.topic == key.0.as_str());
            let mut partitions = topics.flat_map(|topic| &topic.partitions);
            match partitions.find(|found| found.partition_index == key.1) {
                Some(found) => self.found_batches(now, node, key, found),
                None => self.retry(
                    now,
                    key,
                    format!("{node}: its answer leaves out a partition"),
                ),
            }
        }
    }

    fn found_batches(
        &mut self,
        now: Now,
        node: &Address,
        key: &Place,
        found: &FetchPartitionResponse,
    ) {
        let Position::At(from) = self.reading(key).position else {
            unreachable!("a partition is fetched from where it is");
        };
        match found.error_code {
            ErrorCode::None => {}
            ErrorCode::OffsetOutOfRange => {
                let reading = self.reading(key);
                if let Some(otherwise) = reading.otherwise {
                    reading.position = Position::Unknown(otherwise);
                    return;
                }
                let (topic, partition) = key.clone();
                return self.fail(ClientError::OffsetOutOfRange {
                    topic,
                    partition,
                    offset: from,
                });
            }
            code => return self.refused(now, node, key, code),
        }
        let reading = self.reading(key);
        reading.high_watermark = Some(match found.last_stable_offset {
            offset if offset >= 0 => offset.min(found.high_watermark),
            _ => found.high_watermark,
        });
        let slices = found.records.iter().flat_map(|records| &records.0);
        let Some(records) = slices.into_iter().find(|slice| !slice.is_empty()).cloned() else {
            return;
        };
        match super::unpack::end_of_batches(&records) {
            Ok(end) => {
                reading.position = Position::At(end.max(from));
                reading.buffered = true;
                let aborted = found.aborted_transactions.iter().flatten();
                let aborted = aborted.map(|aborted| (aborted.producer_id, aborted.first_offset));
                let (topic, partition) = key.clone();
                let aborted = aborted.collect();
                self.fetched.push_back(Fetched {
                    topic,
                    partition,
                    from,
                    end,
                    records,
                    aborted,
                });
            }
            Err(reason) => {
                let (topic, partition) = key.clone();
                self.fail(ClientError::Damaged {
                    topic,
                    partition,
                    offset: from,
                    reason,
                });
            }
        }
    }

    /// How large a batch may become.
    pub(super) fn batch_bytes_max(&self) -> usize {
        self.config.batch_bytes_max
    }

    /// Whether records of aborted transactions are left out.
    pub(super) fn isolation(&self) -> Isolation {
        self.config.isolation
    }
}

impl Core for ConsumerCore {
    fn step(&mut self, now: Now, event: LinkEvent) {
        self.wiring.step(now, event);
    }

    fn turn(&mut self, now: Now) {
        self.turned_at = now.tick;
        self.wiring.turn(now);
        for (call, outcome) in self.wiring.take_outcomes(now) {
            self.outcome(now, call, outcome);
        }
        if self.failure.is_none() {
            self.look_up(now);
            self.follow_group(now);
            self.ask(now);
        }
    }

    fn deadline(&self) -> Option<Tick> {
        let retries = self.readings.values().map(|reading| reading.retry_at);
        let missing = self.wanting.values().filter(|wanting| !wanting.found);
        let patience = self.config.missing_topic_ms_max;
        let missing = missing.filter_map(|wanting| Some(wanting.since.after_ms(patience?)));
        let own = retries.chain(missing).filter(|at| *at > self.turned_at);
        let membership = self.membership.as_ref();
        let membership = membership.and_then(|one| one.deadline(self.turned_at));
        let own = own.chain(membership);
        own.chain(self.wiring.deadline()).min()
    }

    fn take_effects(&mut self) -> Vec<LinkEffect> {
        self.wiring.take_effects()
    }
}
