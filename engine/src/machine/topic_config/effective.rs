//! Which value of a key is in force, and what it overrides.
//!
//! Always: the topic's value comes first, then the broker's (the first of its keys that is set; of one key what the node was
//! told since, then what all were told, then its start), then the default.

use super::keys::{BrokerDefault, BrokerKey, Key};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Values by key.
pub type Values = BTreeMap<String, String>;

/// Where a value comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// The topic.
    Topic,
    /// The node, told while it runs.
    Broker,
    /// All nodes, told while they run.
    Brokers,
    /// What the node was started with.
    Start,
    /// Nobody set it.
    Default,
}

/// What brokers say, by broker key.
#[derive(Clone, Copy, Debug)]
pub struct BrokerValues<'a> {
    /// To this node, since it runs.
    pub node: Option<&'a Values>,
    /// To all, since they run.
    pub all: Option<&'a Values>,
    /// At its start.
    pub start: &'a Values,
}

impl<'a> BrokerValues<'a> {
    /// The values of one broker key that are set, the one in force first.
    pub fn of(self, name: &'a str) -> impl Iterator<Item = (&'a str, Source)> + 'a {
        let layers = [
            (self.node, Source::Broker),
            (self.all, Source::Brokers),
            (Some(self.start), Source::Start),
        ];
        layers.into_iter().filter_map(move |(values, source)| {
            let value = values?.get(name)?;
            Some((value.as_str(), source))
        })
    }
}

/// The value in force and where it comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Effective<'a> {
    /// The value.
    pub value: Cow<'a, str>,
    /// Who said so.
    pub source: Source,
}

/// One value among those that a key might have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Synonym<'a> {
    /// The key under which it was set.
    pub name: &'static str,
    /// As it was set there.
    pub value: &'a str,
    /// Who said so.
    pub source: Source,
}

/// The effective value of a key.
pub fn effective<'a>(key: &Key, topic: &'a Values, brokers: BrokerValues<'a>) -> Effective<'a> {
    if let Some(value) = topic.get(key.name) {
        return Effective {
            value: value.into(),
            source: Source::Topic,
        };
    }
    for broker_key in key.broker_keys {
        if let Some((value, source)) = brokers.of(broker_key.name).next() {
            let value = scaled(broker_key, value);
            return Effective { value, source };
        }
    }
    Effective {
        value: key.default.into(),
        source: Source::Default,
    }
}

/// All values a key might have, the one in force first.
pub fn synonyms<'a>(key: &Key, topic: &'a Values, brokers: BrokerValues<'a>) -> Vec<Synonym<'a>> {
    let own = topic.get(key.name).map(|value| Synonym {
        name: key.name,
        value,
        source: Source::Topic,
    });
    let mut synonyms: Vec<Synonym<'a>> = own.into_iter().collect();
    for broker_key in key.broker_keys {
        let name = broker_key.name;
        let set = brokers.of(name);
        synonyms.extend(set.map(|(value, source)| Synonym {
            name,
            value,
            source,
        }));
        let default = match broker_key.default {
            BrokerDefault::Same => Some(key.default),
            BrokerDefault::Own(default) => Some(default),
            BrokerDefault::Nothing => None,
        };
        synonyms.extend(default.map(|value| Synonym {
            name,
            value,
            source: Source::Default,
        }));
    }
    synonyms
}

/// A broker's value in the unit of the topic key; -1 is for ever in each.
fn scaled<'a>(key: &BrokerKey, value: &'a str) -> Cow<'a, str> {
    match value.trim().parse::<i64>() {
        Ok(number) if key.unit != 1 && number > 0 => {
            number.saturating_mul(key.unit).to_string().into()
        }
        _ => value.into(),
    }
}
