//! Load on the group coordinator of any Kafka broker, over raw frames: what `bench/compare-groups` runs.
//!
//!     groups commits HOST:PORT CONNECTIONS IN_FLIGHT SECONDS
//!     groups heartbeats HOST:PORT GROUPS IN_FLIGHT SECONDS
//!     groups rebalance HOST:PORT classic|consumer MEMBERS PARTITIONS INTERVAL_MS
//!
//! Each prints one line of `name value` pairs. An interval of 0 is the one that clients have: 3 s in classic groups, and what
//! the broker says in consumer groups.

use bytes::Bytes;
use millstream_net::wire::api::*;
use millstream_net::wire::consumer_protocol::{ConsumerAssignment, ConsumerPartitions};
use millstream_net::wire::{Call, ErrorCode, Str, Uuid, decode_response, encode_request};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

const TOPIC: &str = "groups-bench";
/// How long everybody may take to come to rest.
const REST: Duration = Duration::from_secs(120);
/// The heartbeat interval of clients of classic groups.
const CLASSIC_MS: u64 = 3_000;

/// A connection on which requests may be in flight.
struct Connection {
    stream: TcpStream,
    next: i32,
}

impl Connection {
    fn open(broker: &str) -> Outcome<Connection> {
        let stream = TcpStream::connect(broker)?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, next: 0 })
    }

    fn send<C: Call + Clone>(&mut self, version: i16, request: &C) -> Outcome<()> {
        self.next += 1;
        let client = Str::from_static("groups");
        let parts = encode_request(version, self.next, Some(&client), &request.clone().into());
        self.stream.write_all(&parts.concat())?;
        Ok(())
    }

    fn receive<C: Call>(&mut self, version: i16) -> Outcome<C::Response> {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size)?;
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(size))?];
        self.stream.read_exact(&mut frame)?;
        let (_, response) = decode_response(C::KEY, version, &Bytes::from(frame))?;
        Ok(C::response(response).ok_or("an answer of another kind")?)
    }

    fn ask<C: Call + Clone>(&mut self, version: i16, request: &C) -> Outcome<C::Response> {
        self.send(version, request)?;
        self.receive::<C>(version)
    }
}

/// Asks again while the coordinator of the group is not ready.
fn ask_until<C: Call + Clone>(
    connection: &mut Connection,
    version: i16,
    request: &C,
    judge: fn(&C::Response) -> ErrorCode,
) -> Outcome<C::Response> {
    let began = Instant::now();
    loop {
        let answer = connection.ask(version, request)?;
        let waits = matches!(
            judge(&answer),
            ErrorCode::CoordinatorLoadInProgress
                | ErrorCode::CoordinatorNotAvailable
                | ErrorCode::NotCoordinator
        );
        if !waits || began.elapsed() > REST {
            return Ok(answer);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until the broker coordinates groups, and makes a topic; its id.
fn prepare(broker: &str, topic: &str, partitions: i32) -> Outcome<Uuid> {
    let mut connection = Connection::open(broker)?;
    let create = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: topic.into(),
            num_partitions: partitions,
            replication_factor: 1,
            ..CreatableTopic::default()
        }],
        timeout_ms: 60_000,
        ..CreateTopicsRequest::default()
    };
    let made = connection.ask(5, &create)?.topics.remove(0).error_code;
    if !matches!(made, ErrorCode::None | ErrorCode::TopicAlreadyExists) {
        return Err(format!("making a topic of {partitions} partitions: {made}").into());
    }
    let began = Instant::now();
    loop {
        let find = FindCoordinatorRequest {
            key: "any".into(),
            ..FindCoordinatorRequest::default()
        };
        let metadata = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some(topic.into()),
                ..MetadataRequestTopic::default()
            }]),
            ..MetadataRequest::default()
        };
        let found = connection.ask(3, &find)?.error_code;
        let told = connection.ask(12, &metadata)?.topics.remove(0);
        let led = told
            .partitions
            .iter()
            .filter(|one| one.leader_id >= 0)
            .count();
        if found == ErrorCode::None && led == usize::try_from(partitions)? {
            return Ok(told.topic_id);
        }
        if began.elapsed() > REST {
            return Err(format!("the broker is not ready: {found}, {led} partitions").into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The rate at which a closed loop of `in_flight` per connection is answered.
fn rate<C: Call + Clone + Send + Sync>(
    broker: &str,
    connections: Vec<Vec<C>>,
    version: i16,
    in_flight: usize,
    seconds: u64,
    judge: fn(&C::Response) -> ErrorCode,
) -> Outcome<f64> {
    let measured = Duration::from_secs(seconds);
    let counts = std::thread::scope(|scope| {
        let threads: Vec<_> = connections
            .iter()
            .map(|requests| {
                scope.spawn(move || -> Result<u64, String> {
                    let run = || -> Outcome<u64> {
                        let mut connection = Connection::open(broker)?;
                        let mut turn = requests.iter().cycle();
                        for request in turn.by_ref().take(in_flight) {
                            connection.send(version, request)?;
                        }
                        let (began, mut count) = (Instant::now(), 0);
                        while began.elapsed() < measured {
                            let answer = connection.receive::<C>(version)?;
                            match judge(&answer) {
                                ErrorCode::None => count += 1,
                                code => return Err(code.to_string().into()),
                            }
                            let request = turn.next().ok_or("nothing to ask")?;
                            connection.send(version, request)?;
                        }
                        Ok(count)
                    };
                    run().map_err(|error| error.to_string())
                })
            })
            .collect();
        let counts = threads.into_iter().map(|thread| match thread.join() {
            Ok(count) => count,
            Err(_) => Err("a thread ended early".into()),
        });
        counts.collect::<Result<Vec<u64>, String>>()
    })?;
    Ok(counts.iter().sum::<u64>() as f64 / seconds as f64)
}

fn commits(broker: &str, connections: usize, in_flight: usize, seconds: u64) -> Outcome<()> {
    prepare(broker, TOPIC, 1)?;
    let requests = (0..connections).map(|group| {
        vec![OffsetCommitRequest {
            group_id: format!("commits-{group}").into(),
            topics: vec![OffsetCommitTopic {
                name: TOPIC.into(),
                partitions: vec![OffsetCommitPartition {
                    committed_offset: 7,
                    committed_metadata: Some(Str::default()),
                    ..OffsetCommitPartition::default()
                }],
                ..OffsetCommitTopic::default()
            }],
            ..OffsetCommitRequest::default()
        }]
    });
    let judge = |answer: &OffsetCommitResponse| answer.topics[0].partitions[0].error_code;
    let requests: Vec<Vec<OffsetCommitRequest>> = requests.collect();
    let mut connection = Connection::open(broker)?;
    for request in requests.iter().flatten() {
        ask_until(&mut connection, 8, request, judge)?;
    }
    let rate = rate(broker, requests, 8, in_flight, seconds, judge)?;
    println!("connections {connections} in_flight {in_flight} commits_per_s {rate:.0}");
    Ok(())
}

fn join(group: &Str, member: &Str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.clone(),
        // Ten thousand groups join one after the other, and on a busy machine the first is still to be there with the last.
        session_timeout_ms: 300_000,
        rebalance_timeout_ms: 60_000,
        member_id: member.clone(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupProtocol {
            name: "range".into(),
            metadata: millstream_net::wire::consumer_protocol::ConsumerSubscription {
                topics: vec![TOPIC.into()],
                ..Default::default()
            }
            .encode(0),
        }],
        ..JoinGroupRequest::default()
    }
}

fn heartbeats(broker: &str, groups: usize, in_flight: usize, seconds: u64) -> Outcome<()> {
    prepare(broker, TOPIC, 1)?;
    let mut connection = Connection::open(broker)?;
    let mut beats = Vec::new();
    for number in 0..groups {
        let group = Str::from(format!("heartbeats-{number}"));
        let first = join(&group, &Str::default());
        let joined = ask_until(&mut connection, 3, &first, |answer| answer.error_code)?;
        if joined.error_code != ErrorCode::None {
            return Err(format!("joining: {}", joined.error_code).into());
        }
        let sync = SyncGroupRequest {
            group_id: group.clone(),
            generation_id: joined.generation_id,
            member_id: joined.member_id.clone(),
            assignments: vec![SyncGroupAssignment {
                member_id: joined.member_id.clone(),
                assignment: Bytes::from_static(b"one"),
            }],
            ..SyncGroupRequest::default()
        };
        connection.ask(3, &sync)?;
        beats.push(HeartbeatRequest {
            group_id: group,
            generation_id: joined.generation_id,
            member_id: joined.member_id,
            ..HeartbeatRequest::default()
        });
    }
    // Whoever measures the broker from outside looks at it now, and again at the end.
    println!("groups {groups} ready");
    std::thread::sleep(Duration::from_secs(1));
    let judge = |answer: &HeartbeatResponse| answer.error_code;
    let rate = rate(broker, vec![beats], 3, in_flight, seconds, judge)?;
    println!("groups {groups} heartbeats_per_s {rate:.0}");
    Ok(())
}

/// What a member tells when it has a share.
struct Told {
    member: usize,
    at: Instant,
    /// The generation, in a classic group.
    generation: i32,
    share: BTreeSet<i32>,
}

struct Member {
    number: usize,
    broker: String,
    group: Str,
    topic: Uuid,
    partitions: i32,
    interval_ms: u64,
    told: Sender<Told>,
}

impl Member {
    fn tell(&self, generation: i32, share: BTreeSet<i32>) -> bool {
        let told = Told {
            member: self.number,
            at: Instant::now(),
            generation,
            share,
        };
        self.told.send(told).is_ok()
    }

    /// Where in its interval a member is, in hundredths.
    fn phase(&self) -> u64 {
        (self.number as u64 * 37) % 100
    }

    fn classic(&self) -> Outcome<()> {
        let mut connection = Connection::open(&self.broker)?;
        let mut id = Str::default();
        loop {
            let request = join(&self.group, &id);
            let joined = ask_until(&mut connection, 5, &request, |answer| answer.error_code)?;
            id = joined.member_id.clone();
            match joined.error_code {
                ErrorCode::None => {}
                ErrorCode::MemberIdRequired => continue,
                code => return Err(format!("joining: {code}").into()),
            }
            let sync = SyncGroupRequest {
                group_id: self.group.clone(),
                generation_id: joined.generation_id,
                member_id: id.clone(),
                assignments: self.shares(&joined),
                ..SyncGroupRequest::default()
            };
            let synced = connection.ask(3, &sync)?;
            match synced.error_code {
                ErrorCode::None => {}
                ErrorCode::RebalanceInProgress => continue,
                code => return Err(format!("syncing: {code}").into()),
            }
            let share = ConsumerAssignment::decode(&synced.assignment)?.assigned_partitions;
            let share = share
                .into_iter()
                .flat_map(|topic| topic.partitions)
                .collect();
            if !self.tell(joined.generation_id, share) {
                return Ok(());
            }
            let beat = HeartbeatRequest {
                group_id: self.group.clone(),
                generation_id: joined.generation_id,
                member_id: id.clone(),
                ..HeartbeatRequest::default()
            };
            let interval_ms = match self.interval_ms {
                0 => CLASSIC_MS,
                own => own,
            };
            // Heartbeats of real members are not in step.
            let mut wait_ms = interval_ms * self.phase() / 100;
            loop {
                std::thread::sleep(Duration::from_millis(wait_ms));
                wait_ms = interval_ms;
                match connection.ask(3, &beat)?.error_code {
                    ErrorCode::None => {}
                    ErrorCode::RebalanceInProgress => break,
                    code => return Err(format!("heartbeat: {code}").into()),
                }
            }
        }
    }

    /// Neighbouring partitions to each member, where this one leads.
    fn shares(&self, joined: &JoinGroupResponse) -> Vec<SyncGroupAssignment> {
        let count = joined.members.len() as i32;
        let members = joined.members.iter().zip(0..);
        let shares = members.map(|(member, at): (_, i32)| {
            let from = at * self.partitions / count;
            let partitions = from..(at + 1) * self.partitions / count;
            let assignment = ConsumerAssignment {
                assigned_partitions: vec![ConsumerPartitions {
                    topic: TOPIC.into(),
                    partitions: partitions.collect(),
                }],
                user_data: None,
            };
            SyncGroupAssignment {
                member_id: member.member_id.clone(),
                assignment: assignment.encode(0),
            }
        });
        shares.collect()
    }

    fn modern(&self) -> Outcome<()> {
        let mut connection = Connection::open(&self.broker)?;
        let (mut epoch, mut share, mut report) = (0, BTreeSet::new(), true);
        let mut phase = self.phase();
        loop {
            let joins = epoch == 0;
            let owned = HeartbeatTopicPartitions {
                topic_id: self.topic,
                partitions: share.iter().copied().collect(),
            };
            let owned = Vec::from_iter((!owned.partitions.is_empty()).then_some(owned));
            let request = ConsumerGroupHeartbeatRequest {
                group_id: self.group.clone(),
                member_id: format!("member-{}", self.number).into(),
                member_epoch: epoch,
                rebalance_timeout_ms: if joins { 60_000 } else { -1 },
                subscribed_topic_names: joins.then(|| vec![TOPIC.into()]),
                topic_partitions: report.then_some(owned),
                ..ConsumerGroupHeartbeatRequest::default()
            };
            let answer = ask_until(&mut connection, 1, &request, |answer| answer.error_code)?;
            if answer.error_code != ErrorCode::None {
                let message = answer.error_message.unwrap_or_default();
                return Err(format!("heartbeat: {} {message}", answer.error_code).into());
            }
            epoch = answer.member_epoch;
            report = false;
            if let Some(assignment) = answer.assignment {
                let topics = assignment.topic_partitions.into_iter();
                let now: BTreeSet<i32> = topics.flat_map(|topic| topic.partitions).collect();
                // It tells at once what it let go of or took, as clients do.
                report = now != share;
                share = now;
                if !self.tell(0, share.clone()) {
                    return Ok(());
                }
            }
            if !report {
                let interval_ms = match self.interval_ms {
                    0 => u64::try_from(answer.heartbeat_interval_ms)?,
                    own => own,
                };
                std::thread::sleep(Duration::from_millis(interval_ms * phase.max(1) / 100));
                phase = 100;
            }
        }
    }
}

fn rebalance(
    broker: &str,
    protocol: &str,
    members: usize,
    partitions: i32,
    interval_ms: u64,
) -> Outcome<()> {
    let topic = prepare(broker, TOPIC, partitions)?;
    let group = Str::from(format!("rebalance-{protocol}-{members}-{interval_ms}"));
    let (told, tellings) = channel();
    let start = |number: usize| -> Outcome<()> {
        let member = Member {
            number,
            broker: broker.to_owned(),
            group: group.clone(),
            topic,
            partitions,
            interval_ms,
            told: told.clone(),
        };
        let classic = protocol == "classic";
        let run = move || {
            let ended = match classic {
                true => member.classic(),
                false => member.modern(),
            };
            if let Err(error) = ended {
                eprintln!("member {number}: {error}");
            }
        };
        let thread = std::thread::Builder::new().stack_size(256 << 10);
        thread.spawn(run)?;
        Ok(())
    };
    let began = Instant::now();
    (0..members).try_for_each(start)?;
    let mut last = BTreeMap::new();
    let first = rest(&tellings, &mut last, members, partitions)?;
    std::thread::sleep(Duration::from_millis(5_300));
    while let Ok(told) = tellings.try_recv() {
        last.insert(told.member, told);
    }
    let grew = Instant::now();
    start(members)?;
    let second = rest(&tellings, &mut last, members + 1, partitions)?;
    println!(
        "protocol {protocol} members {members} partitions {partitions} interval_ms {interval_ms} formed_ms {} one_more_ms {}",
        first.duration_since(began).as_millis(),
        second.duration_since(grew).as_millis()
    );
    Ok(())
}

/// Waits until every partition has one owner, all members are of one generation, and nobody has much more than another; when
/// that was so.
fn rest(
    tellings: &Receiver<Told>,
    last: &mut BTreeMap<usize, Told>,
    members: usize,
    partitions: i32,
) -> Outcome<Instant> {
    let deadline = Instant::now() + REST;
    loop {
        let wait = deadline.saturating_duration_since(Instant::now());
        match tellings.recv_timeout(wait) {
            Ok(told) => {
                last.insert(told.member, told);
            }
            Err(RecvTimeoutError::Timeout) => {
                let known = last.len();
                let owned: usize = last.values().map(|one| one.share.len()).sum();
                return Err(format!("no rest: {known} members have {owned} partitions").into());
            }
            Err(RecvTimeoutError::Disconnected) => return Err("all members are gone".into()),
        }
        let generations: BTreeSet<i32> = last.values().map(|one| one.generation).collect();
        let owned: usize = last.values().map(|one| one.share.len()).sum();
        if last.len() < members || generations.len() != 1 || owned != partitions as usize {
            continue;
        }
        let places: BTreeSet<i32> = last
            .values()
            .flat_map(|one| one.share.iter().copied())
            .collect();
        let least = last.values().map(|one| one.share.len()).min().unwrap_or(0);
        if places.len() == owned && least >= owned / members {
            let at = last.values().map(|one| one.at).max();
            return Ok(at.ok_or("nobody told anything")?);
        }
    }
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["commits", broker, connections, in_flight, seconds] => commits(
            broker,
            connections.parse()?,
            in_flight.parse()?,
            seconds.parse()?,
        ),
        ["heartbeats", broker, groups, in_flight, seconds] => heartbeats(
            broker,
            groups.parse()?,
            in_flight.parse()?,
            seconds.parse()?,
        ),
        [
            "rebalance",
            broker,
            protocol @ ("classic" | "consumer"),
            members,
            partitions,
            interval,
        ] => {
            let (members, partitions) = (members.parse()?, partitions.parse()?);
            rebalance(broker, protocol, members, partitions, interval.parse()?)
        }
        _ => Err("the first lines of this file say what it takes".into()),
    }
}
