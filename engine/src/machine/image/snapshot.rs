//! The image as a snapshot, and back.

use super::record::{ConfigResource, Directory, Record, Registration, Snapshot};
use super::{Broker, Configs, Delta, Image, Inconsistent};

impl Image {
    /// Everything, as records.
    pub fn snapshot(&self) -> Snapshot {
        let mut records = Vec::new();
        if let Some(id) = &self.cluster_id {
            records.push(Record::Cluster { id: id.to_string() });
        }
        for broker in self.brokers() {
            push_broker(broker, &mut records);
        }
        push_configs(
            &ConfigResource::Brokers,
            &self.default_configs,
            &mut records,
        );
        for (node, configs) in self.broker_configs.iter() {
            push_configs(&ConfigResource::Broker(*node), configs, &mut records);
        }
        for (group, configs) in self.configured_groups() {
            let resource = ConfigResource::Group(group.to_string());
            push_configs(&resource, configs, &mut records);
        }
        for topic in self.topics() {
            let name = topic.name.to_string();
            records.push(Record::Topic { id: topic.id, name });
            let partitions = topic.partitions.iter();
            records.extend(partitions.cloned().map(Record::Partition));
            let resource = ConfigResource::Topic(topic.name.to_string());
            push_configs(&resource, &topic.configs, &mut records);
        }
        records.push(Record::ProducerIds {
            next: self.next_producer_id,
        });
        Snapshot {
            term: self.term,
            index: self.index,
            members: self.members.clone(),
            members_index: self.members_index,
            records,
        }
    }

    /// The image a snapshot was taken of.
    pub fn from_snapshot(snapshot: &Snapshot) -> Result<Image, Inconsistent> {
        let mut image = Image {
            term: snapshot.term,
            index: snapshot.index,
            members: snapshot.members.clone(),
            members_index: snapshot.members_index,
            ..Image::default()
        };
        let mut delta = Delta::default();
        image.apply_records(&snapshot.records, &mut delta)?;
        Ok(image)
    }
}

fn push_broker(broker: &Broker, records: &mut Vec<Record>) {
    let is_former = |id| !broker.directories.iter().any(|one| one.id == id);
    let former = broker.starts.iter().filter(|(id, _)| is_former(**id));
    records.push(Record::Registration(Registration {
        node: broker.node,
        directories: broker.directories.clone(),
        endpoints: broker.endpoints.clone(),
        rack: broker.rack.clone(),
        suspects: Vec::new(),
        epoch: Some(broker.epoch),
        former: former
            .map(|(id, start)| Directory {
                id: *id,
                start: *start,
            })
            .collect(),
    }));
    if broker.fenced || broker.stopping {
        records.push(Record::BrokerState {
            node: broker.node,
            epoch: broker.epoch,
            fenced: broker.fenced,
            stopping: broker.stopping,
        });
    }
}

fn push_configs(resource: &ConfigResource, configs: &Configs, records: &mut Vec<Record>) {
    records.extend(configs.iter().map(|(key, value)| Record::Config {
        resource: resource.clone(),
        key: key.clone(),
        value: Some(value.clone()),
    }));
}
