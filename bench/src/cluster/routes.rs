//! Who leads which partition, and who coordinates which group or transactional id, as one broker knows it now.

use super::asker::{Asker, reach_patiently};
use millstream_net::wire::api::{FindCoordinatorRequest, MetadataRequest, MetadataRequestTopic};
use millstream_net::wire::{ErrorCode, Str};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// The versions of these questions, which every broker of the last years has.
const METADATA_VERSION: i16 = 4;
const COORDINATOR_VERSION: i16 = 2;
/// How long an address of several is tried.
const GLANCE: Duration = Duration::from_millis(200);

/// What has a coordinator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keyed {
    pub kind: Kind,
    pub key: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Group = 0,
    Transaction = 1,
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Routes {
    /// By topic and partition; nothing where there is no leader.
    pub leaders: Vec<Vec<Option<SocketAddr>>>,
    /// In the order of the keys.
    pub coordinators: Vec<Option<SocketAddr>>,
}

/// Asks the first of these brokers that can be reached.
pub fn routes(
    brokers: &[String],
    patience: Duration,
    topics: &[String],
    partitions: u32,
    keys: &[Keyed],
) -> Result<Routes, String> {
    let mut problems = Vec::new();
    for broker in brokers {
        match reach_patiently(broker, patience, patience) {
            Ok(mut asker) => return ask(&mut asker, topics, partitions, keys),
            Err(problem) => problems.push(problem),
        }
    }
    Err(problems.join("; "))
}

/// The question about topics, which makes none of them.
pub(super) fn about(topics: &[String]) -> MetadataRequest {
    let asked = topics.iter().map(|topic| MetadataRequestTopic {
        name: Some(Str::from(topic.as_str())),
        ..MetadataRequestTopic::default()
    });
    MetadataRequest {
        topics: Some(asked.collect()),
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    }
}

fn ask(
    asker: &mut Asker,
    topics: &[String],
    partitions: u32,
    keys: &[Keyed],
) -> Result<Routes, String> {
    let response = asker.ask(METADATA_VERSION, about(topics))?;
    let mut nodes = BTreeMap::new();
    for node in &response.brokers {
        nodes.insert(node.node_id, resolve(&node.host, node.port));
    }
    let leaders = topics.iter().map(|name| {
        let mut leaders = vec![None; partitions as usize];
        let mut found = response.topics.iter();
        if let Some(topic) = found.find(|topic| topic.name.as_deref() == Some(name.as_str())) {
            for partition in &topic.partitions {
                let at = usize::try_from(partition.partition_index).ok();
                if let Some(slot) = at.and_then(|at| leaders.get_mut(at)) {
                    *slot = nodes.get(&partition.leader_id).copied().flatten();
                }
            }
        }
        leaders
    });
    let leaders = leaders.collect();
    let mut coordinators = Vec::new();
    for keyed in keys {
        coordinators.push(coordinator(asker, keyed)?.ok());
    }
    Ok(Routes {
        leaders,
        coordinators,
    })
}

/// Who coordinates it; the inner error is what the broker says instead.
pub fn coordinator(
    asker: &mut Asker,
    keyed: &Keyed,
) -> Result<Result<SocketAddr, ErrorCode>, String> {
    let request = FindCoordinatorRequest {
        key: Str::from(keyed.key.as_str()),
        key_type: keyed.kind as i8,
        ..FindCoordinatorRequest::default()
    };
    let response = asker.ask(COORDINATOR_VERSION, request)?;
    Ok(match response.error_code {
        ErrorCode::None => {
            resolve(&response.host, response.port).ok_or(ErrorCode::CoordinatorNotAvailable)
        }
        code => Err(code),
    })
}

/// The first address of a name that takes a connection, as at the beginning of a run; the first one where none does.
fn resolve(host: &str, port: i32) -> Option<SocketAddr> {
    let port = u16::try_from(port).ok()?;
    let all: Vec<SocketAddr> = (host, port).to_socket_addrs().ok()?.collect();
    let mut taking = all
        .iter()
        .filter(|address| all.len() == 1 || TcpStream::connect_timeout(address, GLANCE).is_ok());
    taking.next().or(all.first()).copied()
}
