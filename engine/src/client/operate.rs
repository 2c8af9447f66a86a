//! What operators do with topics that are there: describe, configure, grow, cut.
//!
//! Always: what goes to the leader of a partition is sent to each leader once, with all its partitions.

use std::collections::BTreeMap;

use millstream_net::wire::api::{
    AlterConfigsResource, AlterableConfig, CreatePartitionsRequest, CreatePartitionsTopic,
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic, DescribeConfigsEntry,
    DescribeConfigsRequest, DescribeConfigsResource, IncrementalAlterConfigsRequest,
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use millstream_net::wire::{ErrorCode, Str};

use super::admin::{Admin, CHANGE_TIMEOUT_MS, Judged, To, judged};
use super::cluster::Topic;
use super::error::ClientError;

/// A topic, as a kind of resource.
const TOPIC: i8 = 2;
/// The operations of IncrementalAlterConfigs.
const SET: i8 = 0;
const DELETE: i8 = 1;
/// Offsets by name, in ListOffsets.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingSource {
    /// The topic itself.
    Topic,
    /// The broker.
    Broker,
    /// Nobody set it.
    Default,
}

/// A value in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub key: String,
    /// The value; none where the broker keeps it back.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: SettingSource,
}

/// The offsets a partition has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// Of the first record.
    pub begin: i64,
    /// Of the next one to come.
    pub end: i64,
}

impl Admin {
    /// A topic as it is now.
    pub fn describe_topic(&mut self, name: &str) -> Result<Topic, ClientError> {
        self.look_up(name, &format!("describing topic `{name}`"))
    }

    /// The offsets of each partition that has a leader.
    pub fn topic_spans(&mut self, name: &str) -> Result<BTreeMap<i32, Span>, ClientError> {
        let doing = format!("looking up the offsets of topic `{name}`");
        let topic = self.look_up(name, &doing)?;
        let mut spans: BTreeMap<i32, Span> = BTreeMap::new();
        for partitions in by_leader(&topic, topic.partitions.keys().copied()) {
            for (wanted, is_end) in [(EARLIEST, false), (LATEST, true)] {
                let to = To::Leader(name.to_owned(), partitions[0]);
                let request = offsets(name, &partitions, wanted);
                let response = self.ask(&doing, request, to, None, |response| {
                    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
                    first_error(partitions.map(|one| one.error_code))
                })?;
                for found in response.topics.iter().flat_map(|topic| &topic.partitions) {
                    let span = spans.entry(found.partition_index).or_default();
                    match is_end {
                        true => span.end = found.offset,
                        false => span.begin = found.offset,
                    }
                }
            }
        }
        Ok(spans)
    }

    /// The values in force of a topic, by key.
    pub fn topic_settings(&mut self, name: &str) -> Result<Vec<Setting>, ClientError> {
        let doing = format!("reading the configuration of topic `{name}`");
        let request = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type: TOPIC,
                resource_name: name.into(),
                configuration_keys: None,
            }],
            ..DescribeConfigsRequest::default()
        };
        let response = self.ask(&doing, request, To::Controller, None, |response| {
            let result = response.results.first();
            judged(result.map(|one| (one.error_code, one.error_message.as_ref())))
        })?;
        let entries = response.results.iter().flat_map(|result| &result.configs);
        let mut settings: Vec<Setting> = entries.map(setting).collect();
        settings.sort_by(|left, right| left.key.cmp(&right.key));
        Ok(settings)
    }

    /// Sets keys of a topic; those without a value are given up.
    pub fn configure_topic(
        &mut self,
        name: &str,
        changes: &[(String, Option<String>)],
    ) -> Result<(), ClientError> {
        let doing = format!("configuring topic `{name}`");
        let changes = changes.iter().map(|(key, value)| AlterableConfig {
            name: key.as_str().into(),
            config_operation: match value {
                Some(_) => SET,
                None => DELETE,
            },
            value: value.as_deref().map(Str::from),
        });
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: TOPIC,
                resource_name: name.into(),
                configs: changes.collect(),
            }],
            validate_only: false,
        };
        self.ask(&doing, request, To::Controller, None, |response| {
            let result = response.responses.first();
            judged(result.map(|one| (one.error_code, one.error_message.as_ref())))
        })
        .map(drop)
    }

    /// Adds partitions to a topic until it has `count`, and returns once all of them have leaders.
    pub fn grow_topic(&mut self, name: &str, count: i32) -> Result<Topic, ClientError> {
        let doing = format!("adding partitions to topic `{name}`");
        let request = CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic {
                name: name.into(),
                count,
                assignments: None,
            }],
            timeout_ms: CHANGE_TIMEOUT_MS,
            validate_only: false,
        };
        let done_before = Some(ErrorCode::InvalidPartitions);
        self.ask(&doing, request, To::Controller, done_before, |response| {
            let result = response.results.first();
            judged(result.map(|one| (one.error_code, one.error_message.as_ref())))
        })?;
        self.led(name, &doing, count as usize)
    }

    /// Deletes the records below an offset (none: all that are committed) from partitions (none named: from all). Gives the
    /// first offset each has then.
    pub fn delete_records(
        &mut self,
        name: &str,
        partitions: &[i32],
        before: Option<i64>,
    ) -> Result<BTreeMap<i32, i64>, ClientError> {
        let doing = format!("deleting records of topic `{name}`");
        let topic = self.look_up(name, &doing)?;
        let wanted: Vec<i32> = match partitions {
            [] => topic.partitions.keys().copied().collect(),
            named => named.to_vec(),
        };
        if let Some(absent) = wanted
            .iter()
            .find(|one| !topic.partitions.contains_key(one))
        {
            return Err(ClientError::NoPartition {
                topic: name.to_owned(),
                partition: *absent,
                partition_count: topic.partitions.len(),
            });
        }
        let mut starts = BTreeMap::new();
        for partitions in by_leader(&topic, wanted.into_iter()) {
            let to = To::Leader(name.to_owned(), partitions[0]);
            let request = deletion(name, &partitions, before.unwrap_or(-1));
            let response = self.ask(&doing, request, to, None, |response| {
                let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
                first_error(partitions.map(|one| one.error_code))
            })?;
            let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            starts.extend(partitions.map(|one| (one.partition_index, one.low_watermark)));
        }
        Ok(starts)
    }
}

/// Partitions with the same leader stand together; those without one come by themselves.
fn by_leader(topic: &Topic, partitions: impl Iterator<Item = i32>) -> Vec<Vec<i32>> {
    let mut groups: BTreeMap<Option<i32>, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        let leader = topic.partitions.get(&partition).and_then(|one| one.leader);
        groups.entry(leader).or_default().push(partition);
    }
    groups.into_values().collect()
}

fn first_error(codes: impl Iterator<Item = ErrorCode>) -> Judged {
    let mut codes = codes.peekable();
    if codes.peek().is_none() {
        return judged(None);
    }
    let bad = codes.find(|code| *code != ErrorCode::None);
    judged(Some((bad.unwrap_or(ErrorCode::None), None)))
}

fn setting(entry: &DescribeConfigsEntry) -> Setting {
    Setting {
        key: entry.name.to_string(),
        value: entry.value.as_ref().map(Str::to_string),
        source: match entry.config_source {
            1 => SettingSource::Topic,
            5 => SettingSource::Default,
            _ => SettingSource::Broker,
        },
    }
}

fn offsets(topic: &str, partitions: &[i32], timestamp: i64) -> ListOffsetsRequest {
    let partitions = partitions.iter().map(|partition| ListOffsetsPartition {
        partition_index: *partition,
        timestamp,
        ..ListOffsetsPartition::default()
    });
    ListOffsetsRequest {
        topics: vec![ListOffsetsTopic {
            name: topic.into(),
            partitions: partitions.collect(),
        }],
        ..ListOffsetsRequest::default()
    }
}

fn deletion(topic: &str, partitions: &[i32], offset: i64) -> DeleteRecordsRequest {
    let partitions = partitions.iter().map(|partition| DeleteRecordsPartition {
        partition_index: *partition,
        offset,
    });
    DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: topic.into(),
            partitions: partitions.collect(),
        }],
        timeout_ms: CHANGE_TIMEOUT_MS,
    }
}
