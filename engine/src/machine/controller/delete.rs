//! DeleteTopics (rule M10).

use super::types::{Answer, Ask, Deleted, Effect, PerTopic, RefusalKind, Refused, TopicName};
use super::{Controller, named_twice};
use crate::machine::image::Record;
use millstream_storage::ids::TopicId;
use std::collections::BTreeMap;

impl Controller {
    /// Deletes topics, each for itself; answered when they are gone from the image.
    pub fn delete_topics(&mut self, ask: Ask, topics: &[TopicName], effects: &mut Vec<Effect>) {
        let found: Vec<_> = topics.iter().map(|name| self.find(name)).collect();
        let mut counts: BTreeMap<TopicId, usize> = BTreeMap::new();
        for deleted in found.iter().flatten() {
            *counts.entry(deleted.id).or_default() += 1;
        }
        let once = found.into_iter().map(|result| match result {
            Ok(deleted) if counts[&deleted.id] > 1 => Err(named_twice()),
            result => result,
        });
        let answer: PerTopic<_, _> = topics.iter().cloned().zip(once).collect();
        let gone = answer
            .iter()
            .filter_map(|(_, result)| Some(result.as_ref().ok()?.id));
        let records = gone.map(|id| Record::RemovedTopic { id }).collect();
        self.decide(Some(ask), records, Answer::Deleted(answer), effects);
    }

    fn find(&self, name: &TopicName) -> Result<Deleted, Refused> {
        if !self.config.deletion {
            return Err(Refused::new(
                RefusalKind::DeletionDisabled,
                "Topic deletion is disabled (delete.topic.enable=false).",
            ));
        }
        let topic = match name {
            TopicName::Name(name) => self.ahead.topic_named(name),
            TopicName::Id(TopicId::NONE) => None,
            TopicName::Id(id) => self.ahead.topic(*id),
        };
        match (topic, name) {
            (Some(topic), _) => Ok(Deleted {
                id: topic.id,
                name: topic.name.to_string(),
            }),
            (None, TopicName::Name(_)) => Err(Refused::new(
                RefusalKind::UnknownTopic,
                "This server does not host this topic.",
            )),
            (None, TopicName::Id(_)) => Err(Refused::new(
                RefusalKind::UnknownTopicId,
                "This server does not host this topic ID.",
            )),
        }
    }
}
