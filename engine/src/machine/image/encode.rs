//! Entries and snapshots as flatbuffers: writing.

use super::record::{
    ConfigResource, Directory, Endpoint, Entry, Member, PartitionRecord, Payload, Record,
    Registration, Snapshot,
};
use flatbuffers::{FlatBufferBuilder, ForwardsUOffset, UnionWIPOffset, Vector, WIPOffset};
use millstream_schema::metadata as fb;
use millstream_storage::ids::{DirectoryId, NodeId, TopicId};

type Builder<'a> = FlatBufferBuilder<'a>;

impl Entry {
    /// The bytes of this entry.
    pub fn encode(&self) -> Vec<u8> {
        let mut builder = Builder::new();
        let (kind, records, members) = match &self.payload {
            Payload::Records(records) => (
                fb::EntryKind::Records,
                Some(write_records(&mut builder, records)),
                None,
            ),
            Payload::Membership(members) => (
                fb::EntryKind::Membership,
                None,
                Some(write_members(&mut builder, members)),
            ),
            Payload::Blank => (fb::EntryKind::Blank, None, None),
        };
        let entry = fb::Entry::create(
            &mut builder,
            &fb::EntryArgs {
                term: self.term,
                index: self.index.0,
                kind,
                records,
                members,
            },
        );
        builder.finish(entry, None);
        builder.finished_data().to_vec()
    }
}

impl Snapshot {
    /// The bytes of this snapshot.
    pub fn encode(&self) -> Vec<u8> {
        let mut builder = Builder::with_capacity(self.records.len() * 128 + 1024);
        let members = write_members(&mut builder, &self.members);
        let records = write_records(&mut builder, &self.records);
        let snapshot = fb::Snapshot::create(
            &mut builder,
            &fb::SnapshotArgs {
                term: self.term,
                index: self.index.0,
                members: Some(members),
                members_index: self.members_index.0,
                records: Some(records),
            },
        );
        builder.finish(snapshot, None);
        builder.finished_data().to_vec()
    }
}

type RecordsOffset<'a> = WIPOffset<Vector<'a, ForwardsUOffset<fb::Record<'a>>>>;

fn write_records<'a>(builder: &mut Builder<'a>, records: &[Record]) -> RecordsOffset<'a> {
    let written: Vec<_> = records
        .iter()
        .map(|record| write_record(builder, record))
        .collect();
    builder.create_vector(&written)
}

fn write_record<'a>(builder: &mut Builder<'a>, record: &Record) -> WIPOffset<fb::Record<'a>> {
    let (body_type, body) = write_body(builder, record);
    fb::Record::create(
        builder,
        &fb::RecordArgs {
            body_type,
            body: Some(body),
        },
    )
}

fn write_body(builder: &mut Builder<'_>, record: &Record) -> (fb::Body, WIPOffset<UnionWIPOffset>) {
    match record {
        Record::Cluster { id } => {
            let id = Some(builder.create_string(id));
            let body = fb::Cluster::create(builder, &fb::ClusterArgs { id });
            (fb::Body::Cluster, body.as_union_value())
        }
        Record::Registration(registration) => {
            let body = write_registration(builder, registration);
            (fb::Body::Registration, body.as_union_value())
        }
        Record::BrokerState {
            node,
            epoch,
            fenced,
            stopping,
        } => {
            let state = fb::BrokerStateArgs {
                node: node.0,
                epoch: epoch.0,
                fenced: *fenced,
                stopping: *stopping,
            };
            let body = fb::BrokerState::create(builder, &state);
            (fb::Body::BrokerState, body.as_union_value())
        }
        Record::Topic { id, name } => {
            let name = Some(builder.create_string(name));
            let id = uuid(id.0);
            let body = fb::Topic::create(
                builder,
                &fb::TopicArgs {
                    id: Some(&id),
                    name,
                },
            );
            (fb::Body::Topic, body.as_union_value())
        }
        Record::Partition(partition) => {
            let body = write_partition(builder, partition);
            (fb::Body::Partition, body.as_union_value())
        }
        Record::RemovedTopic { id } => {
            let id = uuid(id.0);
            let body = fb::RemovedTopic::create(builder, &fb::RemovedTopicArgs { id: Some(&id) });
            (fb::Body::RemovedTopic, body.as_union_value())
        }
        Record::Config {
            resource,
            key,
            value,
        } => {
            let body = write_config(builder, resource, key, value.as_deref());
            (fb::Body::Config, body.as_union_value())
        }
        Record::ProducerIds { next } => {
            let body = fb::ProducerIds::create(builder, &fb::ProducerIdsArgs { next: *next });
            (fb::Body::ProducerIds, body.as_union_value())
        }
    }
}

fn write_registration<'a>(
    builder: &mut Builder<'a>,
    registration: &Registration,
) -> WIPOffset<fb::Registration<'a>> {
    let endpoints: Vec<_> = registration
        .endpoints
        .iter()
        .map(|endpoint| write_endpoint(builder, endpoint))
        .collect();
    let endpoints = Some(builder.create_vector(&endpoints));
    let directories = Some(write_directories(builder, &registration.directories));
    let former = Some(write_directories(builder, &registration.former));
    let rack = registration
        .rack
        .as_deref()
        .map(|rack| builder.create_string(rack));
    let suspects: Vec<fb::Suspect> = registration
        .suspects
        .iter()
        .map(|(topic, partition)| fb::Suspect::new(&uuid(topic.0), partition.0))
        .collect();
    let suspects = Some(builder.create_vector(&suspects));
    fb::Registration::create(
        builder,
        &fb::RegistrationArgs {
            node: registration.node.0,
            directories,
            endpoints,
            rack,
            suspects,
            epoch: registration.epoch.map_or(-1, |epoch| epoch.0),
            former,
        },
    )
}

fn write_endpoint<'a>(
    builder: &mut Builder<'a>,
    endpoint: &Endpoint,
) -> WIPOffset<fb::Endpoint<'a>> {
    let listener = Some(builder.create_string(&endpoint.listener));
    let host = Some(builder.create_string(&endpoint.host));
    fb::Endpoint::create(
        builder,
        &fb::EndpointArgs {
            listener,
            host,
            port: endpoint.port,
            protocol: endpoint.protocol,
        },
    )
}

fn write_directories<'a>(
    builder: &mut Builder<'a>,
    directories: &[Directory],
) -> WIPOffset<Vector<'a, fb::Directory>> {
    let written: Vec<fb::Directory> = directories
        .iter()
        .map(|directory| fb::Directory::new(&uuid(directory.id.0), directory.start))
        .collect();
    builder.create_vector(&written)
}

fn write_partition<'a>(
    builder: &mut Builder<'a>,
    partition: &PartitionRecord,
) -> WIPOffset<fb::Partition<'a>> {
    let replicas: Vec<fb::Replica> = partition
        .replicas
        .iter()
        .map(|replica| fb::Replica::new(&directory_uuid(replica.directory), replica.node.0))
        .collect();
    let replicas = Some(builder.create_vector(&replicas));
    let isr = write_nodes(builder, &partition.isr);
    let elr = write_nodes(builder, &partition.elr);
    let last_known = write_nodes(builder, &partition.last_known);
    let adding = write_nodes(builder, &partition.adding);
    let removing = write_nodes(builder, &partition.removing);
    let topic = topic_uuid(partition.topic);
    fb::Partition::create(
        builder,
        &fb::PartitionArgs {
            topic: Some(&topic),
            index: partition.index.0,
            replicas,
            isr,
            elr,
            last_known,
            leader: partition.leader.map_or(-1, |node| node.0),
            leader_epoch: partition.leader_epoch.0,
            partition_epoch: partition.partition_epoch,
            recovering: partition.recovering.map_or(-1, |epoch| epoch.0),
            adding,
            removing,
        },
    )
}

/// An empty list is left out.
fn write_nodes<'a>(
    builder: &mut Builder<'a>,
    nodes: &[NodeId],
) -> Option<WIPOffset<Vector<'a, i32>>> {
    let nodes: Vec<i32> = nodes.iter().map(|node| node.0).collect();
    (!nodes.is_empty()).then(|| builder.create_vector(&nodes))
}

fn write_config<'a>(
    builder: &mut Builder<'a>,
    resource: &ConfigResource,
    key: &str,
    value: Option<&str>,
) -> WIPOffset<fb::Config<'a>> {
    let (resource, name) = match resource {
        ConfigResource::Topic(name) => (fb::Resource::Topic, name.clone()),
        ConfigResource::Broker(node) => (fb::Resource::Broker, node.0.to_string()),
        ConfigResource::Brokers => (fb::Resource::Broker, String::new()),
        ConfigResource::Group(name) => (fb::Resource::Group, name.clone()),
    };
    let name = Some(builder.create_string(&name));
    let key = Some(builder.create_string(key));
    let value = value.map(|value| builder.create_string(value));
    fb::Config::create(
        builder,
        &fb::ConfigArgs {
            resource,
            name,
            key,
            value,
        },
    )
}

fn write_members<'a>(
    builder: &mut Builder<'a>,
    members: &[Member],
) -> WIPOffset<Vector<'a, ForwardsUOffset<fb::Member<'a>>>> {
    let members: Vec<_> = members
        .iter()
        .map(|member| {
            fb::Member::create(
                builder,
                &fb::MemberArgs {
                    id: member.id,
                    node: member.node.0,
                    voter: member.voter,
                },
            )
        })
        .collect();
    builder.create_vector(&members)
}

fn topic_uuid(id: TopicId) -> fb::Uuid {
    uuid(id.0)
}

fn directory_uuid(id: DirectoryId) -> fb::Uuid {
    uuid(id.0)
}

fn uuid(bits: u128) -> fb::Uuid {
    fb::Uuid::new((bits >> 64) as u64, bits as u64)
}
