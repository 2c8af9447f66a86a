//! Requests about groups: which coordinators they are for, and the answers of those joined into one.
//!
//! Always: an answer has one entry per entry of its request, in its order, whichever coordinator answers first.

use crate::machine::group::{Answer, Call};
use crate::machine::image::{Image, Topic};
use millstream_net::wire::api::{
    ConsumerGroupDescribeResponse, DeleteGroupsResponse, DescribeGroupsResponse,
    ListGroupsResponse, OffsetFetchGroup, OffsetFetchGroupResult, OffsetFetchGroupTopic,
    OffsetFetchRequest, OffsetFetchResponse, OffsetFetchTopicResult,
};
use millstream_net::wire::{ErrorCode, Request, Response};
use millstream_storage::ids::PartitionIndex;
use std::sync::Arc;

/// The topic that coordinators live on.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// The partition of the offsets topic that a group belongs to: Java's hash of the name, as every Kafka has it.
pub fn partition_of(group: &str, partitions: usize) -> PartitionIndex {
    let hash = group.encode_utf16().fold(0_i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    });
    let partitions = i32::try_from(partitions).expect("a topic has fewer than 2^31 partitions");
    // The smallest number has no positive one; Kafka takes 0 for it.
    PartitionIndex(hash.checked_abs().unwrap_or(0) % partitions)
}

/// The offsets topic, once it exists.
pub fn offsets_topic(image: &Image) -> Option<&Arc<Topic>> {
    image.topic_named(OFFSETS_TOPIC)
}

/// How the answers to the calls become one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shape {
    One,
    OffsetFetch,
    Describe,
    ConsumerDescribe,
    Delete,
    List,
}

/// A request about groups under way.
#[derive(Debug)]
pub struct GroupsAnswer {
    shape: Shape,
    version: i16,
    parts: Vec<Option<Answer>>,
    open: usize,
    /// What the client may do with each group, as bits, where it asks for that.
    operations: Option<i32>,
}

/// Everything there is: READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS and ALTER_CONFIGS, by Kafka's numbers.
const ALL_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

/// Splits a request; `None` where it is not about groups. A request for the groups of a node asks `coordinators` of them.
pub fn split(
    version: i16,
    request: Request,
    coordinators: usize,
) -> Option<(Vec<Call>, GroupsAnswer)> {
    let told = match &request {
        Request::DescribeGroups(request) => request.include_authorized_operations,
        Request::ConsumerGroupDescribe(request) => request.include_authorized_operations,
        _ => false,
    };
    let (shape, calls) = match request {
        Request::JoinGroup(request) => (Shape::One, vec![Call::Join(request)]),
        Request::SyncGroup(request) => (Shape::One, vec![Call::Sync(request)]),
        Request::Heartbeat(request) => (Shape::One, vec![Call::Heartbeat(request)]),
        Request::LeaveGroup(request) => (Shape::One, vec![Call::Leave(request)]),
        Request::OffsetCommit(request) => (Shape::One, vec![Call::Commit(request)]),
        Request::OffsetDelete(request) => (Shape::One, vec![Call::OffsetDelete(request)]),
        Request::OffsetFetch(request) => {
            let groups = fetched_groups(version, request);
            (Shape::OffsetFetch, groups.map(Call::Fetch).collect())
        }
        Request::DescribeGroups(request) => {
            let groups = request.groups.into_iter();
            (Shape::Describe, groups.map(Call::Describe).collect())
        }
        Request::DeleteGroups(request) => {
            let groups = request.groups_names.into_iter();
            (Shape::Delete, groups.map(Call::Delete).collect())
        }
        Request::ListGroups(request) => (Shape::List, vec![Call::List(request); coordinators]),
        Request::ConsumerGroupHeartbeat(request) => {
            (Shape::One, vec![Call::ConsumerHeartbeat(request)])
        }
        Request::ConsumerGroupDescribe(request) => {
            let groups = request.group_ids.into_iter();
            let calls = groups.map(Call::ConsumerDescribe).collect();
            (Shape::ConsumerDescribe, calls)
        }
        _ => return None,
    };
    let answer = GroupsAnswer {
        shape,
        version,
        parts: vec![None; calls.len()],
        open: calls.len(),
        operations: told.then_some(ALL_OPERATIONS),
    };
    Some((calls, answer))
}

/// The groups that an OffsetFetch asks for; up to version 7 it is one.
fn fetched_groups(
    version: i16,
    request: OffsetFetchRequest,
) -> Box<dyn Iterator<Item = OffsetFetchGroup>> {
    if version >= 8 {
        return Box::new(request.groups.into_iter());
    }
    let topics = request.topics.map(|topics| {
        let topics = topics.into_iter().map(|topic| OffsetFetchGroupTopic {
            name: topic.name,
            partition_indexes: topic.partition_indexes,
            ..OffsetFetchGroupTopic::default()
        });
        topics.collect()
    });
    Box::new(std::iter::once(OffsetFetchGroup {
        group_id: request.group_id,
        topics,
        ..OffsetFetchGroup::default()
    }))
}

impl GroupsAnswer {
    /// A coordinator has answered its part.
    pub fn take(&mut self, part: usize, answer: Answer) {
        let former = self.parts[part].replace(answer);
        assert!(former.is_none(), "a part is answered once");
        self.open -= 1;
    }

    /// Whether every part is answered.
    pub fn is_complete(&self) -> bool {
        self.open == 0
    }

    /// The answer to the request.
    pub fn finish(self) -> Response {
        let (version, operations) = (self.version, self.operations);
        let answers = self.parts.into_iter().flatten();
        match self.shape {
            Shape::One => one(answers),
            Shape::OffsetFetch => fetched(version, answers),
            Shape::Describe => Response::DescribeGroups(DescribeGroupsResponse {
                groups: answers
                    .filter_map(|answer| match answer {
                        Answer::Described(mut group) => {
                            let known = group.authorized_operations;
                            group.authorized_operations = operations.unwrap_or(known);
                            Some(group)
                        }
                        _ => None,
                    })
                    .collect(),
                ..DescribeGroupsResponse::default()
            }),
            Shape::ConsumerDescribe => {
                Response::ConsumerGroupDescribe(ConsumerGroupDescribeResponse {
                    groups: answers
                        .filter_map(|answer| match answer {
                            Answer::ConsumerDescribed(mut group) => {
                                let known = group.authorized_operations;
                                group.authorized_operations = operations.unwrap_or(known);
                                Some(group)
                            }
                            _ => None,
                        })
                        .collect(),
                    ..ConsumerGroupDescribeResponse::default()
                })
            }
            Shape::Delete => Response::DeleteGroups(DeleteGroupsResponse {
                results: answers
                    .filter_map(|answer| match answer {
                        Answer::Deleted(result) => Some(result),
                        _ => None,
                    })
                    .collect(),
                ..DeleteGroupsResponse::default()
            }),
            Shape::List => listed(answers),
        }
    }
}

fn one(mut answers: impl Iterator<Item = Answer>) -> Response {
    match answers.next().expect("it has one part") {
        Answer::Join(answer) => answer.into(),
        Answer::Sync(answer) => answer.into(),
        Answer::Heartbeat(answer) => answer.into(),
        Answer::Leave(answer) => answer.into(),
        Answer::Commit(answer) => answer.into(),
        Answer::OffsetDelete(answer) => answer.into(),
        Answer::ConsumerHeartbeat(answer) => answer.into(),
        other => panic!("{other:?} answers a request of several groups"),
    }
}

/// Groups that a coordinator still loads are left out, with the error that says so.
fn listed(answers: impl Iterator<Item = Answer>) -> Response {
    let mut response = ListGroupsResponse::default();
    for answer in answers {
        match answer {
            Answer::Listed(Ok(groups)) => response.groups.extend(groups),
            Answer::Listed(Err(code)) => response.error_code = code,
            _ => {}
        }
    }
    response.into()
}

fn fetched(version: i16, answers: impl Iterator<Item = Answer>) -> Response {
    let mut groups: Vec<OffsetFetchGroupResult> = answers
        .filter_map(|answer| match answer {
            Answer::Fetch(group) => Some(group),
            _ => None,
        })
        .collect();
    if version >= 2 {
        // A refusal is the group's; only version 1 has no place for it but the partitions.
        let refused = groups
            .iter_mut()
            .filter(|group| group.error_code != ErrorCode::None);
        refused.for_each(|group| group.topics.clear());
    }
    if version >= 8 {
        return Response::OffsetFetch(OffsetFetchResponse {
            groups,
            ..OffsetFetchResponse::default()
        });
    }
    let group = groups.pop().unwrap_or_default();
    let topics = group
        .topics
        .into_iter()
        .map(|topic| OffsetFetchTopicResult {
            name: topic.name,
            partitions: topic.partitions,
        });
    Response::OffsetFetch(OffsetFetchResponse {
        topics: topics.collect(),
        error_code: group.error_code,
        ..OffsetFetchResponse::default()
    })
}

#[cfg(test)]
mod tests {
    use super::partition_of;

    #[test]
    fn groups_belong_to_the_partitions_that_kafka_gives_them() {
        // As Kafka computes them for 50 partitions.
        for (group, partition) in [
            ("grp-g1", 20),
            ("", 0),
            ("a", 47),
            ("polygenelubricants", 0),
        ] {
            assert_eq!(partition_of(group, 50).0, partition, "{group}");
        }
    }
}
