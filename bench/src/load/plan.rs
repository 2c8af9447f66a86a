//! Which connection carries what: streams and readers dealt to connections, connections to threads.
//!
//! Always: (1) a connection goes to the broker that leads all of its partitions; (2) every partition has a stream, and none has
//! two on one connection.

use super::group::{GroupPlan, Terms};
use super::keyring::Keyring;
use super::ledger::{Received, Sent, Span};
use super::reader::Place;
use super::schedule::Schedule;
use super::transaction::TransactionPlan;
use crate::workload::{Position, Workload};
use millstream_net::wire::Str;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The leaders of all partitions, by topic and partition.
pub type Leaders = [Vec<SocketAddr>];

/// A connection and the streams on it.
#[derive(Clone, Debug)]
pub struct Lane {
    pub address: SocketAddr,
    pub streams: Vec<StreamPlan>,
    /// What its transactions are, if it has any.
    pub transaction: Option<TransactionPlan>,
}

impl Lane {
    /// The partitions of each topic to which it sends.
    pub fn partitions(&self, topics: &[Str]) -> Vec<(Str, Vec<i32>)> {
        let mut found: BTreeMap<u32, Vec<i32>> = BTreeMap::new();
        for stream in &self.streams {
            found
                .entry(stream.topic)
                .or_default()
                .push(stream.partition);
        }
        let named = found.into_iter();
        named
            .map(|(topic, partitions)| (topics[topic as usize].clone(), partitions))
            .collect()
    }
}

/// A stream of batches: one connection's to one partition.
#[derive(Clone, Debug)]
pub struct StreamPlan {
    pub id: u32,
    pub topic: u32,
    pub partition: i32,
    /// How often it is chosen, where streams are not chosen in turn.
    pub weight: f64,
    pub sent: Sent,
    /// Producer id and epoch, if it is idempotent.
    pub producer: Option<(i64, i16)>,
}

/// A connection that consumes.
#[derive(Clone)]
pub struct ReaderPlan {
    pub address: SocketAddr,
    /// The reader of all partitions that it is part of.
    pub reader: usize,
    pub places: Vec<Place>,
    pub replay: bool,
    /// Whether the time from due to receipt is of interest.
    pub timed: bool,
}

/// What one thread has to do.
pub struct Plan {
    pub cpu: Option<usize>,
    pub producers: Vec<Lane>,
    pub readers: Vec<ReaderPlan>,
    pub groups: Vec<GroupPlan>,
    /// Empty sets of what each reader receives.
    pub received: Vec<Received>,
    /// When requests are due; without it they follow answers.
    pub schedule: Option<Schedule>,
    /// Whether streams are drawn by their weights.
    pub weighted: bool,
}

impl Plan {
    /// The connections with which it begins.
    pub fn connections(&self) -> usize {
        let members = self.groups.iter().map(|group| 2 * group.members);
        2 * self.producers.len() + self.readers.len() + members.sum::<usize>()
    }
}

/// The producing connections of a workload; streams are numbered in order.
pub fn lanes(workload: &Workload, leaders: &Leaders, keyring: Option<&Keyring>) -> Vec<Lane> {
    let weight_of = |partition| keyring.map_or(1.0, |ring| ring.weight(partition));
    let mut lanes = Vec::new();
    let mut next_id = 0;
    for (address, places) in by_leader(leaders) {
        let connections = workload.connections as usize;
        let sharing = |index: usize| (connections - index % places.len()).div_ceil(places.len());
        for connection in 0..connections {
            let mine: Vec<usize> = if places.len() >= connections {
                (connection..places.len()).step_by(connections).collect()
            } else {
                vec![connection % places.len()]
            };
            let streams = mine.into_iter().map(|index| {
                let (topic, partition) = places[index];
                let owners = if places.len() >= connections {
                    1
                } else {
                    sharing(index)
                };
                next_id += 1;
                StreamPlan {
                    id: next_id - 1,
                    topic,
                    partition,
                    weight: weight_of(partition) / owners as f64,
                    sent: Sent::default(),
                    producer: None,
                }
            });
            lanes.push(Lane {
                address,
                transaction: None,
                streams: streams.collect(),
            });
        }
    }
    lanes
}

/// Where readers begin.
pub struct Offsets<'a> {
    pub earliest: &'a [Vec<i64>],
    pub latest: &'a [Vec<i64>],
}

/// Who reads.
#[derive(Default)]
pub struct Reading {
    pub readers: Vec<ReaderPlan>,
    pub groups: Vec<GroupPlan>,
    /// What each reader of all partitions has to see.
    pub spans: Vec<Span>,
}

/// The readers of a workload; `coordinators` are those of its groups.
pub fn readers(
    workload: &Workload,
    leaders: &Leaders,
    offsets: &Offsets<'_>,
    coordinators: &[SocketAddr],
) -> Reading {
    let (mut plans, mut groups, mut spans) = (Vec::new(), Vec::new(), Vec::new());
    let consumers = workload.consumers as usize;
    if consumers > 0 {
        let (from, span) = match workload.position {
            Position::Latest => (offsets.latest, Span::SinceItBegan),
            Position::Earliest => (offsets.earliest, Span::All),
        };
        let timed = workload.position == Position::Latest;
        let names = workload.group_names();
        for (key, (name, coordinator)) in names.iter().zip(coordinators).enumerate() {
            let all = reader(leaders, from, offsets.latest, spans.len(), |_| true, timed);
            groups.push(GroupPlan {
                terms: terms(workload, name),
                reader: spans.len(),
                members: consumers,
                coordinator: *coordinator,
                key,
                places: all.into_iter().flat_map(|plan| plan.places).collect(),
                churn: workload.churn,
                timed,
            });
            spans.push(span);
        }
        let assigned = if names.is_empty() {
            workload.fan_out
        } else {
            0
        };
        for _ in 0..assigned {
            for consumer in 0..consumers {
                let mine = |index: usize| index % consumers == consumer;
                plans.extend(reader(
                    leaders,
                    from,
                    offsets.latest,
                    spans.len(),
                    mine,
                    timed,
                ));
            }
            spans.push(span);
        }
    }
    for _ in 0..workload.catch_up {
        let new = reader(
            leaders,
            offsets.earliest,
            offsets.latest,
            spans.len(),
            |_| true,
            false,
        );
        plans.extend(new.into_iter().map(|plan| ReaderPlan {
            replay: workload.replay,
            ..plan
        }));
        spans.push(if workload.replay {
            Span::Whatever
        } else {
            Span::All
        });
    }
    Reading {
        readers: plans,
        groups,
        spans,
    }
}

fn terms(workload: &Workload, group: &str) -> Terms {
    let topics = workload.topic_names();
    Terms {
        group: Str::from(group),
        topics: topics
            .iter()
            .map(|topic| Str::from(topic.as_str()))
            .collect(),
        partitions: workload.partitions,
        session_ms: workload.session_ms as i32,
        heartbeat_ms: workload.heartbeat_ms.into(),
        commit_ms: workload.commit_ms.into(),
    }
}

/// A reader of everything from these offsets on, one connection to each broker.
pub fn read_back(leaders: &Leaders, from: &[Vec<i64>]) -> Vec<ReaderPlan> {
    reader(leaders, from, from, 0, |_| true, false)
}

fn reader(
    leaders: &Leaders,
    from: &[Vec<i64>],
    latest: &[Vec<i64>],
    reader: usize,
    mine: impl Fn(usize) -> bool,
    timed: bool,
) -> Vec<ReaderPlan> {
    let plans = by_leader(leaders).into_iter().map(|(address, places)| {
        let places = places.into_iter().enumerate();
        let places = places.filter(|(index, _)| mine(*index)).map(|(_, place)| {
            let (topic, partition) = place;
            let start = from[topic as usize][partition as usize];
            Place {
                topic,
                partition,
                start,
                next: start,
                known_end: latest[topic as usize][partition as usize],
                target: i64::MAX,
            }
        });
        ReaderPlan {
            address,
            reader,
            places: places.collect(),
            replay: false,
            timed,
        }
    });
    plans.filter(|plan| !plan.places.is_empty()).collect()
}

/// The partitions of each broker, topic by topic.
fn by_leader(leaders: &Leaders) -> BTreeMap<SocketAddr, Vec<(u32, i32)>> {
    let mut places: BTreeMap<SocketAddr, Vec<(u32, i32)>> = BTreeMap::new();
    for (topic, partitions) in (0..).zip(leaders) {
        for (partition, address) in (0..).zip(partitions) {
            places.entry(*address).or_default().push((topic, partition));
        }
    }
    places
}
