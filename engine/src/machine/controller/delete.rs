//! DeleteTopics (rule M10).

use super::Controller;
use super::types::{Answer, Ask, Deleted, Effect, RefusalKind, Refused, TopicName};
use crate::machine::image::Record;
use millstream_storage::ids::TopicId;
use std::collections::BTreeSet;

impl Controller {
    /// Deletes topics, each for itself; answered when they are gone from the image.
    pub fn delete_topics(&mut self, ask: Ask, topics: &[TopicName], effects: &mut Vec<Effect>) {
        let mut gone = BTreeSet::new();
        let mut answer = Vec::with_capacity(topics.len());
        for name in topics {
            let result = self.find(name).and_then(|deleted| {
                if gone.insert(deleted.id) {
                    Ok(deleted)
                } else {
                    Err(Refused::new(
                        RefusalKind::InvalidRequest,
                        "The topic is named more than once.",
                    ))
                }
            });
            answer.push((name.clone(), result));
        }
        let records = gone.into_iter().map(|id| Record::RemovedTopic { id });
        self.decide(
            Some(ask),
            records.collect(),
            Answer::Deleted(answer),
            effects,
        );
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
