//! Entries and snapshots as flatbuffers: reading bytes nobody vouches for.
//!
//! Always: what decodes is within the bounds of its bytes; nothing is allocated from an unchecked number.

use super::record::{
    ConfigResource, Directory, Endpoint, Entry, Member, PartitionRecord, Payload, Record,
    Registration, Replica, Snapshot,
};
use flatbuffers::{ForwardsUOffset, Vector, VerifierOptions};
use millstream_schema::metadata as fb;
use millstream_storage::ids::{
    BrokerEpoch, DirectoryId, LeaderEpoch, MetadataIndex, NodeId, PartitionIndex, TopicId,
};
use std::sync::Arc;

/// Why bytes are no entry or snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Malformed(pub String);

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

impl Entry {
    /// Reads an entry from its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Entry, Malformed> {
        let entry = flatbuffers::root_with_opts::<fb::Entry<'_>>(&limits(bytes), bytes)
            .map_err(|error| Malformed(error.to_string()))?;
        let payload = match entry.kind() {
            fb::EntryKind::Records => Payload::Records(read_records(entry.records())?),
            fb::EntryKind::Membership => Payload::Membership(read_members(entry.members())),
            fb::EntryKind::Blank => Payload::Blank,
            _ => {
                return Err(Malformed(
                    "an unknown kind of entry: written by a newer version".into(),
                ));
            }
        };
        Ok(Entry {
            term: entry.term(),
            index: MetadataIndex(entry.index()),
            payload,
        })
    }
}

impl Snapshot {
    /// Reads a snapshot from its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Snapshot, Malformed> {
        let snapshot = flatbuffers::root_with_opts::<fb::Snapshot<'_>>(&limits(bytes), bytes)
            .map_err(|error| Malformed(error.to_string()))?;
        Ok(Snapshot {
            term: snapshot.term(),
            index: MetadataIndex(snapshot.index()),
            members: read_members(snapshot.members()).into(),
            members_index: MetadataIndex(snapshot.members_index()),
            records: read_records(Some(snapshot.records()))?,
        })
    }
}

/// BOUND: a table takes at least eight bytes (its own and its place in a vector), and tables are not shared.
fn limits(bytes: &[u8]) -> VerifierOptions {
    VerifierOptions {
        max_depth: 8,
        max_tables: bytes.len() / 8 + 8,
        max_apparent_size: bytes.len().saturating_mul(4).saturating_add(4096),
        ..VerifierOptions::default()
    }
}

type Records<'a> = Vector<'a, ForwardsUOffset<fb::Record<'a>>>;

fn read_records(records: Option<Records<'_>>) -> Result<Vec<Record>, Malformed> {
    records.into_iter().flatten().map(read_record).collect()
}

fn read_record(record: fb::Record<'_>) -> Result<Record, Malformed> {
    if let Some(body) = record.body_as_cluster() {
        return Ok(Record::Cluster {
            id: body.id().to_owned(),
        });
    }
    if let Some(body) = record.body_as_registration() {
        return Ok(Record::Registration(read_registration(body)));
    }
    if let Some(body) = record.body_as_broker_state() {
        return Ok(Record::BrokerState {
            node: NodeId(body.node()),
            epoch: BrokerEpoch(body.epoch()),
            fenced: body.fenced(),
            stopping: body.stopping(),
        });
    }
    if let Some(body) = record.body_as_topic() {
        return Ok(Record::Topic {
            id: TopicId(bits(body.id())),
            name: body.name().to_owned(),
        });
    }
    if let Some(body) = record.body_as_partition() {
        return Ok(Record::Partition(Arc::new(read_partition(body))));
    }
    if let Some(body) = record.body_as_removed_topic() {
        return Ok(Record::RemovedTopic {
            id: TopicId(bits(body.id())),
        });
    }
    if let Some(body) = record.body_as_config() {
        return Ok(Record::Config {
            resource: read_resource(body)?,
            key: body.key().to_owned(),
            value: body.value().map(str::to_owned),
        });
    }
    if let Some(body) = record.body_as_producer_ids() {
        return Ok(Record::ProducerIds { next: body.next() });
    }
    Err(Malformed(
        "an unknown kind of record: written by a newer version".into(),
    ))
}

fn read_registration(body: fb::Registration<'_>) -> Registration {
    let endpoints = body.endpoints().iter().map(|endpoint| Endpoint {
        listener: endpoint.listener().to_owned(),
        host: endpoint.host().to_owned(),
        port: endpoint.port(),
        protocol: endpoint.protocol(),
    });
    let suspects = body.suspects().into_iter().flatten().map(|suspect| {
        let topic = TopicId(bits(suspect.topic()));
        (topic, PartitionIndex(suspect.partition()))
    });
    Registration {
        node: NodeId(body.node()),
        directories: read_directories(Some(body.directories())),
        endpoints: endpoints.collect(),
        rack: body.rack().map(str::to_owned),
        suspects: suspects.collect(),
        epoch: (body.epoch() >= 0).then(|| BrokerEpoch(body.epoch())),
        former: read_directories(body.former()),
    }
}

fn read_directories(directories: Option<Vector<'_, fb::Directory>>) -> Vec<Directory> {
    let all = directories.into_iter().flatten();
    all.map(|directory| Directory {
        id: DirectoryId(bits(directory.id())),
        start: directory.start(),
    })
    .collect()
}

fn read_partition(body: fb::Partition<'_>) -> PartitionRecord {
    let replicas = body.replicas().iter().map(|replica| Replica {
        node: NodeId(replica.node()),
        directory: DirectoryId(bits(replica.directory())),
    });
    PartitionRecord {
        topic: TopicId(bits(body.topic())),
        index: PartitionIndex(body.index()),
        replicas: replicas.collect(),
        isr: read_nodes(body.isr()),
        elr: read_nodes(body.elr()),
        last_known: read_nodes(body.last_known()),
        leader: (body.leader() >= 0).then(|| NodeId(body.leader())),
        leader_epoch: LeaderEpoch(body.leader_epoch()),
        partition_epoch: body.partition_epoch(),
        recovering: (body.recovering() >= 0).then(|| LeaderEpoch(body.recovering())),
        adding: read_nodes(body.adding()),
        removing: read_nodes(body.removing()),
    }
}

fn read_nodes(nodes: Option<Vector<'_, i32>>) -> Vec<NodeId> {
    nodes.into_iter().flatten().map(NodeId).collect()
}

fn read_resource(body: fb::Config<'_>) -> Result<ConfigResource, Malformed> {
    match (body.resource(), body.name()) {
        (fb::Resource::Topic, name) => Ok(ConfigResource::Topic(name.to_owned())),
        (fb::Resource::Broker, "") => Ok(ConfigResource::Brokers),
        (fb::Resource::Broker, name) => match name.parse() {
            Ok(node) => Ok(ConfigResource::Broker(NodeId(node))),
            Err(_) => Err(Malformed("a broker's name is no number".into())),
        },
        (fb::Resource::Group, name) => Ok(ConfigResource::Group(name.to_owned())),
        _ => Err(Malformed("an unknown kind of resource".into())),
    }
}

fn read_members(members: Option<Vector<'_, ForwardsUOffset<fb::Member<'_>>>>) -> Vec<Member> {
    let all = members.into_iter().flatten();
    all.map(|member| Member {
        id: member.id(),
        node: NodeId(member.node()),
        voter: member.voter(),
    })
    .collect()
}

fn bits(uuid: &fb::Uuid) -> u128 {
    (u128::from(uuid.high()) << 64) | u128::from(uuid.low())
}
