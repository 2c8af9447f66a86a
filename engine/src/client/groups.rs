//! Consumer groups from outside: what there is, where they stand, and how to move them.
//!
//! Always: (1) a question about a group goes to its coordinator, which is looked for first; (2) both kinds of group are seen alike.

use std::collections::BTreeMap;

use millstream_net::wire::api::{
    ConsumerGroupDescribeRequest, DeleteGroupsRequest, DescribeGroupsRequest,
    FindCoordinatorRequest, ListGroupsRequest, ListOffsetsPartition, ListOffsetsRequest,
    ListOffsetsTopic, OffsetCommitPartition, OffsetCommitRequest, OffsetCommitResponse,
    OffsetCommitTopic, OffsetFetchGroup, OffsetFetchPartitionResult, OffsetFetchRequest,
    OffsetFetchResponse,
};
use millstream_net::wire::consumer_protocol::ConsumerAssignment;
use millstream_net::wire::{Call, ErrorCode, Str};

use super::address::Address;
use super::admin::{Admin, To};
use super::error::ClientError;

/// A partition by topic and number.
pub type Place = (String, i32);

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGroup {
    /// Its name.
    pub name: String,
    /// Its state, such as `Stable`; empty where the broker does not say.
    pub state: String,
    /// `classic` or `consumer`; empty where the broker does not say.
    pub kind: String,
}

/// A group with its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its state, such as `Stable`.
    pub state: String,
    /// `classic` or `consumer`.
    pub kind: &'static str,
    /// How partitions are assigned; empty where they are not.
    pub assignor: String,
    /// Its members.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// Its id.
    pub id: String,
    /// The name of a static member.
    pub instance: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// Where it is.
    pub host: String,
    /// What it has.
    pub partitions: Vec<Place>,
}

/// Partitions by topic.
pub(super) fn by_topic<'a>(
    places: impl Iterator<Item = (&'a str, i32)>,
) -> BTreeMap<&'a str, Vec<i32>> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in places {
        topics.entry(topic).or_default().push(partition);
    }
    topics
}

/// Offsets as a commit carries them.
pub(super) fn committed_topics(offsets: &BTreeMap<Place, i64>) -> Vec<OffsetCommitTopic> {
    let mut topics: Vec<OffsetCommitTopic> = Vec::new();
    for ((topic, partition), offset) in offsets {
        if topics.last().is_none_or(|last| last.name != topic.as_str()) {
            topics.push(OffsetCommitTopic {
                name: topic.as_str().into(),
                ..Default::default()
            });
        }
        let last = topics.last_mut().expect("pushed where it was missing");
        last.partitions.push(OffsetCommitPartition {
            partition_index: *partition,
            committed_offset: *offset,
            committed_metadata: Some(Str::default()),
            ..Default::default()
        });
    }
    topics
}

/// The first error in the answer to a commit.
pub(super) fn first_refusal(answer: &OffsetCommitResponse) -> ErrorCode {
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    let mut codes = partitions.map(|one| one.error_code);
    let first = codes.find(|code| *code != ErrorCode::None);
    first.unwrap_or_default()
}

/// The partitions in the answer to a question for offsets, of one group, in whichever version.
pub(super) fn found_offsets(
    answer: &OffsetFetchResponse,
) -> impl Iterator<Item = (Place, &OffsetFetchPartitionResult)> {
    let old = answer.topics.iter();
    let old = old.map(|topic| (&topic.name, &topic.partitions));
    let new = answer.groups.iter().flat_map(|group| &group.topics);
    let new = new.map(|topic| (&topic.name, &topic.partitions));
    old.chain(new).flat_map(|(name, partitions)| {
        let partitions = partitions.iter();
        partitions.map(move |one| ((name.to_string(), one.partition_index), one))
    })
}

impl Admin {
    /// All groups of all brokers, by name.
    pub fn list_groups(&mut self) -> Result<Vec<ListedGroup>, ClientError> {
        let doing = "listing groups";
        let brokers: Vec<Address> = self.cluster().brokers().values().cloned().collect();
        let mut groups = Vec::new();
        for broker in brokers {
            let answer = self.ask_at(doing, &broker, ListGroupsRequest::default(), |answer| {
                answer.error_code
            })?;
            groups.extend(answer.groups.into_iter().map(|group| ListedGroup {
                name: group.group_id.to_string(),
                state: group.group_state.to_string(),
                kind: group.group_type.to_string(),
            }));
        }
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(groups)
    }

    /// A group with its members; `None` where there is none of the name.
    pub fn describe_group(&mut self, name: &str) -> Result<Option<Group>, ClientError> {
        let doing = format!("describing group `{name}`");
        let coordinator = self.coordinator(name)?;
        let request = ConsumerGroupDescribeRequest {
            group_ids: vec![name.into()],
            ..Default::default()
        };
        let lasting = |code| match code {
            // It is a classic one, or none.
            ErrorCode::GroupIdNotFound => ErrorCode::None,
            code => code,
        };
        let described = self.ask_at(&doing, &coordinator, request, |answer| {
            let group = answer.groups.first();
            group.map_or(ErrorCode::None, |group| lasting(group.error_code))
        });
        match described {
            Ok(answer) => {
                let groups = answer.groups.into_iter();
                let mut found = groups.filter(|group| group.error_code == ErrorCode::None);
                if let Some(group) = found.next() {
                    return Ok(Some(of_consumers(group)));
                }
            }
            Err(ClientError::Unsupported { .. }) => {}
            Err(error) => return Err(error),
        }
        let request = DescribeGroupsRequest {
            groups: vec![name.into()],
            ..Default::default()
        };
        let answer = self.ask_at(&doing, &coordinator, request, |answer| {
            answer
                .groups
                .first()
                .map_or(ErrorCode::None, |group| lasting(group.error_code))
        })?;
        let groups = answer.groups.into_iter();
        let mut found = groups.filter(|group| group.group_state != "Dead");
        Ok(found.next().map(classic))
    }

    /// Everything a group has committed.
    pub fn committed(&mut self, name: &str) -> Result<BTreeMap<Place, i64>, ClientError> {
        let doing = format!("reading the offsets of group `{name}`");
        let coordinator = self.coordinator(name)?;
        let request = OffsetFetchRequest {
            group_id: name.into(),
            topics: None,
            groups: vec![OffsetFetchGroup {
                group_id: name.into(),
                ..Default::default()
            }],
            require_stable: true,
        };
        let answer = self.ask_at(&doing, &coordinator, request, |answer| {
            answer
                .groups
                .first()
                .map_or(answer.error_code, |group| group.error_code)
        })?;
        let found = found_offsets(&answer);
        let committed = found.filter(|(_, one)| one.committed_offset >= 0);
        Ok(committed
            .map(|(place, one)| (place, one.committed_offset))
            .collect())
    }

    /// Commits offsets for a group without members.
    pub fn commit(
        &mut self,
        name: &str,
        offsets: &BTreeMap<Place, i64>,
    ) -> Result<(), ClientError> {
        let doing = format!("moving group `{name}`");
        let coordinator = self.coordinator(name)?;
        let request = OffsetCommitRequest {
            group_id: name.into(),
            topics: committed_topics(offsets),
            ..Default::default()
        };
        self.ask_at(&doing, &coordinator, request, first_refusal)
            .map(drop)
    }

    /// Forgets a group and its offsets.
    pub fn delete_group(&mut self, name: &str) -> Result<(), ClientError> {
        let doing = format!("deleting group `{name}`");
        let coordinator = self.coordinator(name)?;
        let request = DeleteGroupsRequest {
            groups_names: vec![name.into()],
        };
        self.ask_at(&doing, &coordinator, request, |answer| {
            answer
                .results
                .first()
                .map_or(ErrorCode::None, |one| one.error_code)
        })
        .map(drop)
    }

    /// Looks up one offset in each of these partitions: -1 the end, -2 the beginning, otherwise the first record at or behind
    /// that time in ms (-1 where there is none).
    pub fn offsets_at(
        &mut self,
        places: &[Place],
        timestamp: i64,
    ) -> Result<BTreeMap<Place, i64>, ClientError> {
        let doing = "looking up offsets";
        let mut by_leader: BTreeMap<Address, Vec<(&str, i32)>> = BTreeMap::new();
        for (topic, partition) in places {
            if let Some((leader, _)) = self.cluster().leader(topic, *partition) {
                let places = by_leader.entry(leader.clone()).or_default();
                places.push((topic, *partition));
            }
        }
        let mut found = BTreeMap::new();
        for (leader, places) in by_leader {
            let topics = by_topic(places.into_iter())
                .into_iter()
                .map(|(name, partitions)| ListOffsetsTopic {
                    name: name.into(),
                    partitions: partitions
                        .into_iter()
                        .map(|partition_index| ListOffsetsPartition {
                            partition_index,
                            timestamp,
                            ..Default::default()
                        })
                        .collect(),
                });
            let request = ListOffsetsRequest {
                replica_id: -1,
                topics: topics.collect(),
                ..Default::default()
            };
            let answer = self.ask_at(doing, &leader, request, |answer| {
                let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
                let mut codes = partitions.map(|one| one.error_code);
                codes
                    .find(|code| *code != ErrorCode::None)
                    .unwrap_or_default()
            })?;
            for topic in answer.topics {
                for one in topic.partitions {
                    let place = (topic.name.to_string(), one.partition_index);
                    found.insert(place, one.offset);
                }
            }
        }
        Ok(found)
    }

    /// Asks a broker, and again while the error that `code` finds in its answer is one that passes.
    fn ask_at<C: Call + Clone>(
        &mut self,
        doing: &str,
        broker: &Address,
        request: C,
        code: impl Fn(&C::Response) -> ErrorCode,
    ) -> Result<C::Response, ClientError> {
        let to = To::Broker(broker.clone());
        self.ask(doing, request, to, None, |answer| match code(answer) {
            ErrorCode::None => Ok(()),
            code => Err((code, None)),
        })
    }

    /// The broker that coordinates a group.
    fn coordinator(&mut self, name: &str) -> Result<Address, ClientError> {
        let doing = format!("finding the coordinator of group `{name}`");
        let request = FindCoordinatorRequest {
            key: name.into(),
            key_type: 0,
            coordinator_keys: vec![name.into()],
        };
        let any = self.any_broker();
        let answer = self.ask_at(&doing, &any, request, |answer| {
            answer
                .coordinators
                .first()
                .map_or(answer.error_code, |one| one.error_code)
        })?;
        let one = answer.coordinators.into_iter().next();
        let (host, port) = one.map_or((answer.host, answer.port), |one| (one.host, one.port));
        Ok(Address {
            host: host.to_string(),
            port: port as u16,
        })
    }
}

/// Topics with partitions as single places.
pub(super) fn places<'a, C: FromIterator<Place>>(
    topics: impl Iterator<Item = (&'a Str, &'a [i32])>,
) -> C {
    let places = topics.flat_map(|(name, partitions)| {
        let partitions = partitions.iter();
        partitions.map(move |one| (name.to_string(), *one))
    });
    places.collect()
}

fn of_consumers(group: millstream_net::wire::api::DescribedConsumerGroup) -> Group {
    let members = group.members.into_iter().map(|member| GroupMember {
        id: member.member_id.to_string(),
        instance: member.instance_id.map(|one| one.to_string()),
        client_id: member.client_id.to_string(),
        host: member.client_host.to_string(),
        partitions: {
            let topics = member.assignment.topic_partitions.iter();
            places(topics.map(|topic| (&topic.topic_name, &topic.partitions[..])))
        },
    });
    Group {
        state: group.group_state.to_string(),
        kind: "consumer",
        assignor: group.assignor_name.to_string(),
        members: members.collect(),
    }
}

fn classic(group: millstream_net::wire::api::DescribedGroup) -> Group {
    let members = group.members.into_iter().map(|member| {
        // Members of other kinds than consumers assign what only they can read.
        let assignment = ConsumerAssignment::decode(&member.member_assignment);
        let topics = assignment
            .map(|one| one.assigned_partitions)
            .unwrap_or_default();
        GroupMember {
            id: member.member_id.to_string(),
            instance: member.group_instance_id.map(|one| one.to_string()),
            client_id: member.client_id.to_string(),
            host: member.client_host.to_string(),
            partitions: {
                let topics = topics.iter();
                places(topics.map(|topic| (&topic.topic, &topic.partitions[..])))
            },
        }
    });
    Group {
        state: group.group_state.to_string(),
        kind: "classic",
        assignor: group.protocol_data.to_string(),
        members: members.collect(),
    }
}
