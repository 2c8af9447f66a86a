//! What has to be asked before a run: which APIs a broker has, the topics and their leaders, where partitions begin and end.
//! One question at a time, over plain sockets.
//!
//! Always: an answer that is missing, refused or nonsense is a sentence that names the broker and the question.

mod asker;
mod coordination;
mod routes;

pub use routes::{Keyed, Kind, Routes, routes};

use asker::{Asker, reach, reach_patiently};
use millstream_net::wire::api::{
    ApiVersionsRequest, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic, MetadataRequest, MetadataResponse,
};
use millstream_net::wire::{ApiKey, Call, ErrorCode, Str};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long a new topic may take until it has leaders.
const READY: Duration = Duration::from_secs(60);
/// `timestamp` of ListOffsets for the first and the next offset.
pub const EARLIEST: i64 = -2;
pub const LATEST: i64 = -1;

/// What a broker says that does not know yet what it leads.
const PASSING: [ErrorCode; 6] = [
    ErrorCode::CoordinatorLoadInProgress,
    ErrorCode::CoordinatorNotAvailable,
    ErrorCode::NotLeaderOrFollower,
    ErrorCode::LeaderNotAvailable,
    ErrorCode::UnknownTopicOrPartition,
    ErrorCode::FencedLeaderEpoch,
];

/// Leaders and offsets, each by topic and partition.
pub type Settled = (Vec<Vec<SocketAddr>>, Vec<Vec<i64>>);

/// What to do about topics that are not there.
#[derive(Clone, Copy, Debug)]
pub enum Missing<'a> {
    /// Make them, with these settings.
    Made {
        replication: i16,
        configs: &'a [String],
    },
    /// Say so.
    Refused,
}

/// The brokers as this generator sees them.
pub struct Cluster {
    asker: Asker,
    timeout: Duration,
    versions: BTreeMap<i16, (i16, i16)>,
    nodes: BTreeMap<i32, SocketAddr>,
    pub cluster_id: Option<String>,
}

impl Cluster {
    /// Connects to the first broker of the list that can be reached, and asks what it can do.
    pub fn connect(brokers: &[String], timeout: Duration) -> Result<Cluster, String> {
        let mut problems = Vec::new();
        for broker in brokers {
            // The first question takes no broker long; later ones, such as for a new topic, may.
            match reach_patiently(broker, timeout, timeout) {
                Ok(asker) => return Cluster::greet(asker, timeout),
                Err(problem) => problems.push(problem),
            }
        }
        Err(problems.join("; "))
    }

    fn greet(mut asker: Asker, timeout: Duration) -> Result<Cluster, String> {
        let response = asker.ask(0, ApiVersionsRequest::default())?;
        let asker = reach(&asker.address.to_string(), timeout)?;
        let versions = response
            .api_keys
            .iter()
            .map(|range| (range.api_key, (range.min_version, range.max_version)));
        let mut cluster = Cluster {
            versions: versions.collect(),
            asker,
            timeout,
            nodes: BTreeMap::new(),
            cluster_id: None,
        };
        let nobody = MetadataRequest {
            topics: Some(Vec::new()),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        let response = cluster.ask(4, nobody)?;
        cluster.cluster_id = response.cluster_id.as_ref().map(|id| id.to_string());
        for node in &response.brokers {
            let at = format!("{}:{}", &*node.host, node.port);
            let asker = reach(&at, timeout).map_err(|problem| {
                format!(
                    "node {}, of which {} tells: {problem}",
                    node.node_id, cluster.asker.address
                )
            })?;
            cluster.nodes.insert(node.node_id, asker.address);
        }
        let controller = cluster.nodes.get(&response.controller_id);
        if let Some(address) = controller.filter(|address| **address != cluster.asker.address) {
            cluster.asker = Asker::connect(*address, timeout)
                .map_err(|error| format!("no broker at {address}: {error}"))?;
        }
        Ok(cluster)
    }

    /// How many brokers it has.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The highest version up to `max` that the broker has of an API, which `purpose` needs.
    pub fn version(&self, key: ApiKey, max: i16, purpose: &str) -> Result<i16, String> {
        self.version_of(key.code(), key.api().name, max, purpose)
    }

    /// The same for an API by its key and name.
    pub fn version_of(
        &self,
        code: i16,
        name: &str,
        max: i16,
        purpose: &str,
    ) -> Result<i16, String> {
        let address = self.asker.address;
        match self.versions.get(&code) {
            None => Err(format!(
                "{purpose} needs the API {name} (key {code}), which the broker at {address} does not offer"
            )),
            Some((lowest, _)) if *lowest > max => Err(format!(
                "{purpose} needs the API {name} in version {max} or below; the broker at {address} begins at {lowest}"
            )),
            Some((_, highest)) => Ok(max.min(*highest)),
        }
    }

    /// Refuses a broker that has an API not in this version.
    pub fn version_exactly(&self, key: ApiKey, version: i16, purpose: &str) -> Result<(), String> {
        let name = key.api().name;
        match self.version(key, version, purpose)? {
            found if found == version => Ok(()),
            found => Err(format!(
                "{purpose} needs the API {name} in version {version}; the broker at {} has {found}",
                self.asker.address
            )),
        }
    }

    /// Asks, in the highest version up to `max`.
    fn ask<C: Call>(&mut self, max: i16, call: C) -> Result<C::Response, String> {
        let version = self.version(C::KEY, max, "a run")?;
        self.asker.ask(version, call)
    }

    /// The leaders of all partitions, by topic and partition, as soon as there are all.
    pub fn leaders(
        &mut self,
        topics: &[String],
        partitions: u32,
        missing: Missing<'_>,
    ) -> Result<Vec<Vec<SocketAddr>>, String> {
        if let Missing::Made {
            replication,
            configs,
        } = missing
        {
            self.create(topics, partitions, replication, configs)?;
        }
        let began = Instant::now();
        loop {
            let response = self.metadata(topics)?;
            let unknown = response
                .topics
                .iter()
                .find(|topic| topic.error_code == ErrorCode::UnknownTopicOrPartition);
            if let (Missing::Refused, Some(topic)) = (missing, unknown) {
                return Err(format!(
                    "there is no topic {} at {}",
                    topic.name.as_deref().unwrap_or_default(),
                    self.asker.address
                ));
            }
            if let Some(leaders) = self.leaders_in(topics, partitions, &response)? {
                return Ok(leaders);
            }
            if began.elapsed() > READY {
                return Err(format!(
                    "not every partition of {} has a leader after {READY:?}",
                    topics.join(", ")
                ));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn create(
        &mut self,
        topics: &[String],
        partitions: u32,
        replication: i16,
        configs: &[String],
    ) -> Result<(), String> {
        let configs = configs.iter().map(|pair| {
            let (name, value) = pair
                .split_once('=')
                .ok_or(format!("`topic-config`: `{pair}` has no `=`"))?;
            Ok(CreatableTopicConfig {
                name: Str::from(name),
                value: Some(Str::from(value)),
            })
        });
        let configs: Vec<_> = configs.collect::<Result<_, String>>()?;
        let wanted = topics.iter().map(|topic| CreatableTopic {
            name: Str::from(topic.as_str()),
            num_partitions: partitions as i32,
            replication_factor: replication,
            configs: configs.clone(),
            ..CreatableTopic::default()
        });
        let request = CreateTopicsRequest {
            topics: wanted.collect(),
            timeout_ms: 30_000,
            ..CreateTopicsRequest::default()
        };
        let response = self.ask(4, request)?;
        for result in &response.topics {
            let made = [ErrorCode::None, ErrorCode::TopicAlreadyExists];
            if !made.contains(&result.error_code) {
                let why = result.error_message.as_ref();
                return Err(format!(
                    "the broker refuses the topic {}: {} {}",
                    &*result.name,
                    result.error_code.name(),
                    why.map_or("", |why| why)
                ));
            }
        }
        Ok(())
    }

    fn metadata(&mut self, topics: &[String]) -> Result<MetadataResponse, String> {
        self.ask(5, routes::about(topics))
    }

    /// The address of every leader; nothing while some are missing.
    fn leaders_in(
        &self,
        topics: &[String],
        partitions: u32,
        response: &MetadataResponse,
    ) -> Result<Option<Vec<Vec<SocketAddr>>>, String> {
        let mut all = Vec::new();
        for name in topics {
            let found = response
                .topics
                .iter()
                .find(|topic| topic.name.as_deref() == Some(name.as_str()));
            let found = found.filter(|topic| topic.error_code == ErrorCode::None);
            let Some(topic) = found.filter(|topic| !topic.partitions.is_empty()) else {
                return Ok(None);
            };
            if topic.partitions.len() < partitions as usize {
                return Err(format!(
                    "{name} is there and has {} partitions, not {partitions}: name another topic or fewer partitions",
                    topic.partitions.len()
                ));
            }
            let mut leaders = vec![None; partitions as usize];
            for partition in &topic.partitions {
                let slot = leaders.get_mut(partition.partition_index as usize);
                if let Some(slot) = slot {
                    *slot = self.nodes.get(&partition.leader_id).copied();
                }
            }
            match leaders.into_iter().collect::<Option<Vec<_>>>() {
                None => return Ok(None),
                Some(leaders) => all.push(leaders),
            }
        }
        Ok(Some(all))
    }

    /// The offsets of every partition: `timestamp` is [`EARLIEST`] or [`LATEST`]. Leaders that do not know yet that they lead
    /// are asked again.
    pub fn offsets(
        &mut self,
        topics: &[String],
        leaders: &[Vec<SocketAddr>],
        timestamp: i64,
    ) -> Result<Vec<Vec<i64>>, String> {
        let began = Instant::now();
        loop {
            match self.offsets_now(topics, leaders, timestamp)? {
                Ok(offsets) => return Ok(offsets),
                Err(_) if began.elapsed() < READY => std::thread::sleep(Duration::from_millis(50)),
                Err(problem) => return Err(problem),
            }
        }
    }

    /// The same, once; the inner error is one that passes.
    fn offsets_now(
        &self,
        topics: &[String],
        leaders: &[Vec<SocketAddr>],
        timestamp: i64,
    ) -> Result<Result<Vec<Vec<i64>>, String>, String> {
        let version = self.version(ApiKey::ListOffsets, 2, "a run")?;
        let mut offsets: Vec<Vec<i64>> = leaders.iter().map(|each| vec![0; each.len()]).collect();
        let mut addresses: Vec<SocketAddr> = leaders.iter().flatten().copied().collect();
        addresses.sort();
        addresses.dedup();
        for address in addresses {
            let mut asker = self.connect_to(address)?;
            let request = ListOffsetsRequest {
                topics: offsets_of(topics, leaders, address, timestamp),
                ..ListOffsetsRequest::default()
            };
            let response = asker.ask(version, request)?;
            for topic in &response.topics {
                let index = topics.iter().position(|name| **name == *topic.name);
                for partition in &topic.partitions {
                    let code = partition.error_code;
                    if code != ErrorCode::None {
                        let problem = format!(
                            "the broker at {address} has no offset of {}-{}: {}",
                            &*topic.name,
                            partition.partition_index,
                            code.name()
                        );
                        return if PASSING.contains(&code) {
                            Ok(Err(problem))
                        } else {
                            Err(problem)
                        };
                    }
                    let at = partition.partition_index as usize;
                    let slot = index.and_then(|index| offsets[index].get_mut(at));
                    *slot.ok_or("the broker answers for a partition that was not asked for")? =
                        partition.offset;
                }
            }
        }
        Ok(Ok(offsets))
    }

    /// The leaders as they are now, and the offsets of every partition there; asked again for a while where a broker is gone
    /// or a leader does not know yet that it leads.
    pub fn settle(
        &self,
        brokers: &[String],
        topics: &[String],
        partitions: u32,
        timestamp: i64,
    ) -> Result<Settled, String> {
        let began = Instant::now();
        let once = || {
            let found = routes(brokers, self.timeout, topics, partitions, &[])?;
            let leaders = found.leaders.into_iter();
            let leaders: Option<Vec<Vec<SocketAddr>>> = leaders
                .map(|each| each.into_iter().collect::<Option<_>>())
                .collect();
            let leaders = leaders.ok_or("not every partition has a leader")?;
            let offsets = self.offsets_now(topics, &leaders, timestamp)??;
            Ok::<_, String>((leaders, offsets))
        };
        loop {
            match once() {
                Ok(found) => return Ok(found),
                Err(problem) if began.elapsed() > self.timeout => return Err(problem),
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    fn connect_to(&self, address: SocketAddr) -> Result<Asker, String> {
        Asker::connect(address, self.timeout)
            .map_err(|error| format!("no broker at {address}: {error}"))
    }
}

/// The questions for the partitions that this broker leads.
fn offsets_of(
    topics: &[String],
    leaders: &[Vec<SocketAddr>],
    address: SocketAddr,
    timestamp: i64,
) -> Vec<ListOffsetsTopic> {
    let asked = topics.iter().zip(leaders).map(|(topic, leaders)| {
        let mine = (0..).zip(leaders).filter(|(_, leader)| **leader == address);
        ListOffsetsTopic {
            name: Str::from(topic.as_str()),
            partitions: mine
                .map(|(partition_index, _)| ListOffsetsPartition {
                    partition_index,
                    timestamp,
                    ..ListOffsetsPartition::default()
                })
                .collect(),
        }
    });
    asked.collect()
}
