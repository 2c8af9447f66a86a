//! DescribeConfigs (rule D1): topics by the table of topic keys, this node by the table of broker keys, groups by theirs.

use super::settings::{BrokerKey, Settings};
use super::topics::unknown_topic;
use crate::machine::config_kind::Kind;
use crate::machine::group::GroupSetting;
use crate::machine::image::Image;
use crate::machine::topic_config::shown;
use crate::machine::topic_config::{KEYS, Source, Synonym, Values, effective, synonyms};
use millstream_net::wire::api::{
    DescribeConfigsEntry, DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};
use millstream_net::wire::{ErrorCode, Str};

/// A topic, as a kind of resource.
pub const TOPIC: i8 = 2;
/// A broker, as a kind of resource.
pub const BROKER: i8 = 4;
/// A consumer group, as a kind of resource.
pub const GROUP: i8 = 32;
/// Where a value comes from that a group has of its own.
const OF_GROUP: i8 = 8;

/// Where a value comes from, as it is told to clients.
pub fn source_code(source: Source) -> i8 {
    match source {
        Source::Topic => 1,
        Source::Broker => 2,
        Source::Brokers => 3,
        Source::Start => 4,
        Source::Default => 5,
    }
}

/// Answers a request.
pub fn answer(
    request: &DescribeConfigsRequest,
    image: &Image,
    settings: &Settings,
) -> DescribeConfigsResponse {
    let results = request.resources.iter().map(|resource| {
        let view = View {
            request,
            resource,
            image,
            settings,
        };
        let (error_code, error_message, configs) = match view.entries() {
            Ok(configs) => (ErrorCode::None, None, configs),
            Err((code, message)) => (code, Some(message.into()), Vec::new()),
        };
        DescribeConfigsResult {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            configs,
        }
    });
    DescribeConfigsResponse {
        results: results.collect(),
        ..DescribeConfigsResponse::default()
    }
}

/// The node a resource names, if it is this one.
pub fn is_this_node(name: &str, settings: &Settings) -> Result<(), String> {
    match name.parse::<i32>() {
        Ok(node) if node == settings.node.0 => Ok(()),
        Ok(node) => Err(format!(
            "This is broker {}, and only broker {node} knows its own configuration.",
            settings.node.0
        )),
        Err(_) => Err(format!(
            "A broker's id is a number, and this is none: {}.",
            shown(name)
        )),
    }
}

struct View<'a> {
    request: &'a DescribeConfigsRequest,
    resource: &'a DescribeConfigsResource,
    image: &'a Image,
    settings: &'a Settings,
}

impl View<'_> {
    fn entries(&self) -> Result<Vec<DescribeConfigsEntry>, (ErrorCode, String)> {
        let name = self.resource.resource_name.as_str();
        let invalid = |message| (ErrorCode::InvalidRequest, message);
        match self.resource.resource_type {
            TOPIC => match self.image.topic_named(name) {
                Some(topic) => Ok(self.of_topic(&topic.configs)),
                None => Err(unknown_topic(name)),
            },
            // What all brokers were told since they run.
            BROKER if name.is_empty() => Ok(self.of_all_brokers()),
            BROKER => {
                is_this_node(name, self.settings).map_err(invalid)?;
                Ok(self.of_this_broker())
            }
            GROUP if name.is_empty() => Err(invalid("There are no values of all groups.".into())),
            GROUP => Ok(self.of_group(name)),
            other => Err(invalid(format!(
                "Resources of type {other} have no configuration here: topics (2), brokers (4) and groups (32) have."
            ))),
        }
    }

    /// Null or empty names all keys.
    fn is_asked(&self, name: &str) -> bool {
        match &self.resource.configuration_keys {
            Some(keys) if !keys.is_empty() => keys.iter().any(|key| *key == *name),
            _ => true,
        }
    }

    fn of_topic(&self, topic: &Values) -> Vec<DescribeConfigsEntry> {
        let brokers = self.settings.broker_values(self.image);
        let keys = KEYS.iter().filter(|key| self.is_asked(key.name));
        let entries = keys.map(|key| {
            let effective = effective(key, topic, brokers);
            let synonyms = match self.request.include_synonyms {
                true => synonyms(key, topic, brokers),
                false => Vec::new(),
            };
            DescribeConfigsEntry {
                name: Str::from_static(key.name),
                value: Some((&*effective.value).into()),
                read_only: false,
                config_source: source_code(effective.source),
                is_sensitive: false,
                synonyms: told(synonyms),
                config_type: key.kind.wire_type() as i8,
                documentation: self.documentation(key.doc, key.kind),
            }
        });
        entries.collect()
    }

    fn of_this_broker(&self) -> Vec<DescribeConfigsEntry> {
        let brokers = self.settings.broker_values(self.image);
        let keys = self.settings.broker_keys.iter();
        let entries = keys.filter(|key| self.is_asked(key.name)).map(|key| {
            let set = brokers.of(key.kept_as);
            let default = key.default.map(|value| (value, Source::Default));
            let values: Vec<_> = set.chain(default).collect();
            self.broker_entry(key, &values)
        });
        entries.collect()
    }

    fn of_all_brokers(&self) -> Vec<DescribeConfigsEntry> {
        let told = self.image.default_configs();
        let keys = self.settings.broker_keys.iter();
        let entries = keys
            .filter(|key| self.is_asked(key.name))
            .filter_map(|key| {
                let value = told.get(key.kept_as)?;
                Some(self.broker_entry(key, &[(value.as_str(), Source::Brokers)]))
            });
        entries.collect()
    }

    /// A group need not exist to have values.
    fn of_group(&self, group: &str) -> Vec<DescribeConfigsEntry> {
        let own = self.image.group_configs(group);
        let brokers = self.settings.broker_values(self.image);
        let keys = GroupSetting::ALL.into_iter();
        let entries = keys.filter(|key| self.is_asked(key.name())).map(|key| {
            let own = own.and_then(|own| own.get(key.name()));
            let mut values = Vec::from_iter(own.map(|own| (key.name(), own.as_str(), OF_GROUP)));
            let known = self.settings.broker_keys.iter();
            if let Some(broker) = known.into_iter().find(|one| one.name == key.broker_key()) {
                let set = brokers.of(broker.kept_as);
                let default = broker.default.map(|value| (value, Source::Default));
                let set = set.chain(default);
                values.extend(set.map(|(value, source)| (broker.name, value, source_code(source))));
            }
            let (value, source) = match values.first() {
                Some((_, value, source)) => ((*value).into(), *source),
                None => {
                    let default = key.default(&self.settings.groups).to_string();
                    (default.into(), source_code(Source::Default))
                }
            };
            let synonyms = values
                .iter()
                .map(|(name, value, source)| DescribeConfigsSynonym {
                    name: Str::from_static(name),
                    value: Some((*value).into()),
                    source: *source,
                });
            let kind = key.kind(&self.settings.groups);
            DescribeConfigsEntry {
                name: Str::from_static(key.name()),
                value: Some(value),
                read_only: false,
                config_source: source,
                is_sensitive: false,
                synonyms: match self.request.include_synonyms {
                    true => synonyms.collect(),
                    false => Vec::new(),
                },
                config_type: kind.wire_type() as i8,
                documentation: self.documentation(key.doc(), kind),
            }
        });
        entries.collect()
    }

    fn broker_entry(&self, key: &BrokerKey, values: &[(&str, Source)]) -> DescribeConfigsEntry {
        let synonyms = values.iter().map(|(value, source)| Synonym {
            name: key.name,
            value,
            source: *source,
        });
        let synonyms = match self.request.include_synonyms {
            true => synonyms.collect(),
            false => Vec::new(),
        };
        let first = values.first();
        DescribeConfigsEntry {
            name: Str::from_static(key.name),
            value: first.map(|(value, _)| (*value).into()),
            // Nothing is changed while a broker runs.
            read_only: true,
            config_source: source_code(first.map_or(Source::Default, |(_, source)| *source)),
            is_sensitive: false,
            synonyms: told(synonyms),
            config_type: key.kind.wire_type() as i8,
            documentation: self.documentation(key.doc, key.kind),
        }
    }

    fn documentation(&self, doc: &'static str, kind: Kind) -> Option<Str> {
        let asked = self.request.include_documentation;
        asked.then(|| format!("{doc} It takes {}.", kind.range()).into())
    }
}

fn told(synonyms: Vec<Synonym<'_>>) -> Vec<DescribeConfigsSynonym> {
    let told = synonyms.into_iter().map(|one| DescribeConfigsSynonym {
        name: Str::from_static(one.name),
        value: Some(one.value.into()),
        source: source_code(one.source),
    });
    told.collect()
}
