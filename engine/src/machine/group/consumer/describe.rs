//! ConsumerGroupDescribe and ListGroups (rule K8).

use super::ConsumerGroup;
use super::partitions::{Partitions, uuid_of};
use crate::machine::image::Image;
use millstream_net::wire::Str;
use millstream_net::wire::api::{
    DescribedAssignment, DescribedConsumerGroup, DescribedConsumerGroupMember,
    DescribedTopicPartitions, ListedGroup,
};

impl ConsumerGroup {
    pub(in super::super) fn describe(&self, image: &Image) -> DescribedConsumerGroup {
        let none = Partitions::default();
        let members = self
            .members
            .values()
            .map(|member| DescribedConsumerGroupMember {
                member_id: member.id.clone(),
                instance_id: member.instance.clone(),
                rack_id: member.rack.clone(),
                member_epoch: member.epoch,
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                subscribed_topic_names: member.names.iter().cloned().collect(),
                // None is told as an empty one.
                subscribed_topic_regex: Some(member.pattern.clone().unwrap_or_default()),
                assignment: described(&member.assigned, image),
                target_assignment: described(self.targets.get(&member.id).unwrap_or(&none), image),
                member_type: i8::from(member.classic.is_none()),
            });
        DescribedConsumerGroup {
            group_id: self.id.clone(),
            group_state: Str::from_static(self.state()),
            group_epoch: self.epoch,
            assignment_epoch: self.target_epoch,
            assignor_name: Str::from_static(self.assignor().name()),
            members: members.collect(),
            ..DescribedConsumerGroup::default()
        }
    }

    pub(in super::super) fn listed(&self) -> ListedGroup {
        ListedGroup {
            group_id: self.id.clone(),
            protocol_type: Str::from_static("consumer"),
            group_state: Str::from_static(self.state()),
            group_type: Str::from_static("consumer"),
        }
    }
}

/// Partitions of topics that are there.
fn described(partitions: &Partitions, image: &Image) -> DescribedAssignment {
    let topics = partitions.topics().filter_map(|(id, partitions)| {
        let topic = image.topic(id)?;
        Some(DescribedTopicPartitions {
            topic_id: uuid_of(id),
            topic_name: Str::from(&*topic.name),
            partitions,
        })
    });
    DescribedAssignment {
        topic_partitions: topics.collect(),
    }
}
