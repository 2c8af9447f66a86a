//! IncrementalAlterConfigs for topics and groups (rule D2): changes become absolute values.

use super::Controller;
use super::create::check_config;
use super::types::{
    Alteration, Altered, Answer, Ask, Change, Effect, Intent, RefusalKind, Refused,
};
use crate::machine::image::{ConfigResource, Record, Topic};
use crate::machine::topic_config::{Key, check, key, list_with, list_without};

/// BOUND: groups with values of their own; all are in the image of every node.
const GROUPS_MAX: usize = 100_000;

impl Controller {
    /// Changes values of topics and groups, each for itself and as a whole; answered when they are in the image. Nothing is
    /// named twice, and no key of one.
    pub fn alter_configs(
        &mut self,
        ask: Ask,
        alterations: &[Alteration],
        intent: Intent,
        effects: &mut Vec<Effect>,
    ) {
        let mut records = Vec::new();
        let results = alterations.iter().map(|one| {
            let changed = match &one.of {
                Altered::Topic(name) => self.altered_topic(name, &one.changes),
                Altered::Group(name) => self.altered_group(name, &one.changes),
            };
            changed.map(|changed| records.extend(changed))
        });
        let answer = results.collect();
        if intent == Intent::Validate {
            records.clear();
        }
        self.decide(Some(ask), records, Answer::Configured(answer), effects);
    }

    fn altered_topic(
        &self,
        asked: &str,
        changes: &[(String, Change)],
    ) -> Result<Vec<Record>, Refused> {
        let topic = self.ahead.topic_named(asked).ok_or_else(|| {
            Refused::new(
                RefusalKind::UnknownTopic,
                "This server does not host this topic.",
            )
        })?;
        let mut records = Vec::new();
        for (name, change) in changes {
            let value = new_value(topic, name, change)?;
            if value.as_ref() != topic.configs.get(name) {
                records.push(Record::Config {
                    resource: ConfigResource::Topic(asked.to_owned()),
                    key: name.clone(),
                    value,
                });
            }
        }
        Ok(records)
    }

    fn altered_group(
        &self,
        asked: &str,
        changes: &[(String, Change)],
    ) -> Result<Vec<Record>, Refused> {
        let known = self.ahead.group_configs(asked);
        if known.is_none() && self.ahead.configured_group_count() >= GROUPS_MAX {
            return Err(Refused::new(
                RefusalKind::PolicyViolation,
                format!("There are {GROUPS_MAX} groups with configurations of their own already."),
            ));
        }
        let mut records = Vec::new();
        for (name, change) in changes {
            let value = match change {
                Change::Set(value) => Some(value.clone()),
                Change::Delete => None,
                Change::Append(_) | Change::Subtract(_) => return Err(not_a_list(name)),
            };
            if value.as_ref() != known.and_then(|known| known.get(name)) {
                records.push(Record::Config {
                    resource: ConfigResource::Group(asked.to_owned()),
                    key: name.clone(),
                    value,
                });
            }
        }
        Ok(records)
    }
}

fn not_a_list(name: &str) -> Refused {
    let text =
        format!("{name} is not a list: nothing can be appended to it or subtracted from it.");
    Refused::new(RefusalKind::InvalidConfig, text)
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
        false => Err(not_a_list(name)),
    };
    let value = match change {
        Change::Append(_) => of_list(list_with)?,
        Change::Subtract(_) => of_list(list_without)?,
        Change::Set(_) | Change::Delete => given.clone(),
    };
    check_config(&topic.name, name, &value)?;
    Ok(Some(value))
}
