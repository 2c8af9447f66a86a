//! IncrementalAlterConfigs for topics (rule D2): changes become absolute values.

use super::Controller;
use super::create::check_config;
use super::types::{
    AlterTopic, Answer, Ask, Change, Effect, Intent, PerTopic, RefusalKind, Refused,
};
use crate::machine::image::{ConfigResource, Record, Topic};
use crate::machine::topic_config::{Key, check, key, list_with, list_without};

impl Controller {
    /// Changes values of topics, each topic for itself and as a whole; answered when they are in the image. No topic is named
    /// twice, and no key of one.
    pub fn alter_topics(
        &mut self,
        ask: Ask,
        topics: &[AlterTopic],
        intent: Intent,
        effects: &mut Vec<Effect>,
    ) {
        let mut records = Vec::new();
        let results = topics.iter().map(|topic| {
            let result = self.altered(topic).map(|changed| records.extend(changed));
            (topic.name.clone(), result)
        });
        let answer: PerTopic<String, ()> = results.collect();
        if intent == Intent::Validate {
            records.clear();
        }
        self.decide(Some(ask), records, Answer::Configured(answer), effects);
    }

    fn altered(&self, asked: &AlterTopic) -> Result<Vec<Record>, Refused> {
        let topic = self.ahead.topic_named(&asked.name).ok_or_else(|| {
            Refused::new(
                RefusalKind::UnknownTopic,
                "This server does not host this topic.",
            )
        })?;
        let mut records = Vec::new();
        for (name, change) in &asked.changes {
            let value = new_value(topic, name, change)?;
            if value.as_ref() != topic.configs.get(name) {
                records.push(Record::Config {
                    resource: ConfigResource::Topic(asked.name.clone()),
                    key: name.clone(),
                    value,
                });
            }
        }
        Ok(records)
    }
}

/// The value after a change; `None`: the topic says nothing of its own.
fn new_value(topic: &Topic, name: &str, change: &Change) -> Result<Option<String>, Refused> {
    let bad = |message: String| Refused::new(RefusalKind::InvalidConfig, message);
    let given = match change {
        // A key that is not known any more can still be given up.
        Change::Delete => return Ok(None),
        Change::Set(value) | Change::Append(value) | Change::Subtract(value) => value,
    };
    let Some(key) = key(name) else {
        let unknown = check(name, given).err().map(|bad| bad.0);
        return Err(bad(unknown.unwrap_or_default()));
    };
    let former = || topic.configs.get(name).map_or(key.default, String::as_str);
    let of_list = |change: fn(&Key, &str, &str) -> String| match key.kind.is_list() {
        true => Ok(change(key, former(), given)),
        false => Err(bad(format!(
            "{name} is not a list: nothing can be appended to it or subtracted from it."
        ))),
    };
    let value = match change {
        Change::Append(_) => of_list(list_with)?,
        Change::Subtract(_) => of_list(list_without)?,
        Change::Set(_) | Change::Delete => given.clone(),
    };
    check_config(&topic.name, name, &value)?;
    Ok(Some(value))
}
