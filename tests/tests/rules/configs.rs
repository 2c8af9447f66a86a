//! DescribeConfigs and IncrementalAlterConfigs: rules D1 and D2.

use millstream_engine::api::settings::BrokerKey;
use millstream_engine::machine::config_kind::Kind;
use millstream_net::wire::api::{
    AlterConfigsResource, AlterConfigsResult, AlterableConfig, DescribeConfigsEntry,
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResult,
    IncrementalAlterConfigsRequest,
};
use millstream_net::wire::{ErrorCode, Str};
use millstream_tests::sim::broker::Broker;
use millstream_tests::sim::node::NodeConfig;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn describe(
    broker: &mut Broker,
    version: i16,
    kind: i8,
    name: &str,
    keys: Option<&[&str]>,
) -> DescribeConfigsResult {
    let keys = keys.map(|keys| keys.iter().map(|key| Str::from(*key)).collect());
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
            configuration_keys: keys,
        }],
        include_synonyms: true,
        include_documentation: true,
    };
    broker.call(version, &request).results.remove(0)
}

/// One entry of a topic.
fn entry(broker: &mut Broker, topic: &str, key: &str) -> DescribeConfigsEntry {
    let mut told = describe(broker, 4, TOPIC, topic, Some(&[key]));
    assert_eq!(told.error_code, ErrorCode::None);
    told.configs.remove(0)
}

/// Its value and source.
fn value(broker: &mut Broker, topic: &str, key: &str) -> (String, i8) {
    let entry = entry(broker, topic, key);
    (
        entry.value.unwrap_or_default().to_string(),
        entry.config_source,
    )
}

fn synonyms(entry: &DescribeConfigsEntry) -> Vec<(&str, &str, i8)> {
    let synonyms = entry.synonyms.iter();
    synonyms
        .map(|one| {
            let value = one.value.as_ref().map_or("", |value| value.as_str());
            (one.name.as_str(), value, one.source)
        })
        .collect()
}

fn change(key: &str, config_operation: i8, value: Option<&str>) -> AlterableConfig {
    AlterableConfig {
        name: key.into(),
        config_operation,
        value: value.map(Str::from),
    }
}

fn resource(kind: i8, name: &str, configs: Vec<AlterableConfig>) -> AlterConfigsResource {
    AlterConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configs,
    }
}

fn alter_all(
    broker: &mut Broker,
    version: i16,
    resources: Vec<AlterConfigsResource>,
    validate_only: bool,
) -> Vec<AlterConfigsResult> {
    let request = IncrementalAlterConfigsRequest {
        resources,
        validate_only,
    };
    broker.call(version, &request).responses
}

fn alter(broker: &mut Broker, topic: &str, changes: Vec<AlterableConfig>) -> AlterConfigsResult {
    alter_all(broker, 1, vec![resource(TOPIC, topic, changes)], false).remove(0)
}

#[test]
fn d1_every_key_of_a_topic_is_told_with_value_source_type_and_synonyms() {
    let mut config = NodeConfig::default();
    let start = [("log.retention.hours", "2"), ("message.max.bytes", "5000")];
    let start = start.map(|(key, value)| (key.to_owned(), value.to_owned()));
    config.settings.broker_values = start.into();
    let mut broker = Broker::new(config);
    broker.create("t", 1, &[("segment.bytes", "2000000")]);
    for version in 1..=4 {
        for keys in [None, Some(&[][..])] {
            let told = describe(&mut broker, version, TOPIC, "t", keys);
            assert_eq!(told.error_code, ErrorCode::None);
            assert_eq!(told.configs.len(), 34, "null and empty are all");
            assert!(told.configs.iter().all(|one| one.value.is_some()));
            assert!(told.configs.iter().all(|one| !one.is_sensitive));
        }
    }
    let some = describe(&mut broker, 4, TOPIC, "t", Some(&["retention.ms", "nope"]));
    assert_eq!(some.configs.len(), 1, "unknown keys are left out");

    let segment = entry(&mut broker, "t", "segment.bytes");
    assert_eq!((segment.config_source, segment.config_type), (1, 3));
    let expected = [
        ("segment.bytes", "2000000", 1),
        ("log.segment.bytes", "1073741824", 5),
    ];
    assert_eq!(synonyms(&segment), expected);
    assert!(
        segment
            .documentation
            .is_some_and(|doc| doc.contains("1048576"))
    );

    let retention = entry(&mut broker, "t", "retention.ms");
    assert_eq!(retention.value.as_deref(), Some("7200000"));
    assert_eq!((retention.config_source, retention.config_type), (4, 5));
    let expected = [
        ("log.retention.hours", "2", 4),
        ("log.retention.hours", "168", 5),
    ];
    assert_eq!(synonyms(&retention), expected);

    let largest = entry(&mut broker, "t", "max.message.bytes");
    assert_eq!(largest.value.as_deref(), Some("5000"));
    let policy = entry(&mut broker, "t", "cleanup.policy");
    assert_eq!((policy.config_source, policy.config_type), (5, 7));
    assert_eq!(synonyms(&policy), [("log.cleanup.policy", "delete", 5)]);
    let preallocate = entry(&mut broker, "t", "preallocate");
    assert_eq!((preallocate.config_type, preallocate.read_only), (1, false));
    let ratio = entry(&mut broker, "t", "min.cleanable.dirty.ratio");
    assert_eq!(ratio.config_type, 6);
    let codec = entry(&mut broker, "t", "compression.type");
    assert_eq!(codec.config_type, 2);
}

#[test]
fn d1_keys_that_are_gone_since_kafka_4_are_not_told_and_not_taken() {
    let mut broker = Broker::default();
    broker.create("t", 1, &[]);
    let gone = [
        "message.format.version",
        "message.downconversion.enable",
        "message.timestamp.difference.max.ms",
    ];
    for key in gone {
        let told = describe(&mut broker, 4, TOPIC, "t", Some(&[key]));
        assert!(told.configs.is_empty());
        let told = alter(&mut broker, "t", vec![change(key, SET, Some("1"))]);
        assert_eq!(told.error_code, ErrorCode::InvalidConfig);
    }
}

#[test]
fn d1_a_broker_tells_its_own_keys_and_no_other_brokers() {
    let mut config = NodeConfig::default();
    let key = |name, kept_as, default| BrokerKey {
        name,
        kept_as,
        kind: Kind::Text,
        default,
        doc: "Of no use.",
    };
    config.settings.broker_keys = vec![
        key("broker.id", "node.id", Some("1")),
        key("broker.rack", "broker.rack", None),
        key("node.id", "node.id", Some("1")),
    ];
    let set = [("node.id".to_owned(), "1".to_owned())];
    config.settings.broker_values = set.into();
    let mut broker = Broker::new(config);
    let told = describe(&mut broker, 4, BROKER, "1", None);
    assert_eq!(told.error_code, ErrorCode::None);
    let configs: Vec<_> = told
        .configs
        .iter()
        .map(|one| {
            let value = one.value.as_ref().map(|value| value.as_str());
            (one.name.as_str(), value, one.config_source, one.read_only)
        })
        .collect();
    let expected = [
        ("broker.id", Some("1"), 4, true),
        ("broker.rack", None, 5, true),
        ("node.id", Some("1"), 4, true),
    ];
    assert_eq!(configs, expected);
    assert_eq!(
        synonyms(&told.configs[2]),
        [("node.id", "1", 4), ("node.id", "1", 5)]
    );

    let all = describe(&mut broker, 4, BROKER, "", None);
    assert_eq!((all.error_code, all.configs.len()), (ErrorCode::None, 0));
    for name in ["2", "one"] {
        let told = describe(&mut broker, 4, BROKER, name, None);
        assert_eq!(told.error_code, ErrorCode::InvalidRequest, "{name}");
    }
}

#[test]
fn d1_unknown_topics_and_kinds_are_refused_each_for_itself() {
    let mut broker = Broker::default();
    broker.create("t", 1, &[]);
    let cases = [
        (TOPIC, "nobody", ErrorCode::UnknownTopicOrPartition),
        (TOPIC, "bad name", ErrorCode::InvalidTopicException),
        (TOPIC, "", ErrorCode::InvalidTopicException),
        (3, "t", ErrorCode::InvalidRequest),
        (TOPIC, "t", ErrorCode::None),
    ];
    let resources = cases.iter().map(|(kind, name, _)| DescribeConfigsResource {
        resource_type: *kind,
        resource_name: (*name).into(),
        configuration_keys: None,
    });
    let request = DescribeConfigsRequest {
        resources: resources.collect(),
        ..DescribeConfigsRequest::default()
    };
    for version in 1..=4 {
        let told = broker.call(version, &request).results;
        let told: Vec<_> = told.iter().map(|one| one.error_code).collect();
        let expected: Vec<_> = cases.iter().map(|case| case.2).collect();
        assert_eq!(told, expected);
    }
}

#[test]
fn d2_values_are_set_and_given_up_and_survive_a_restart() {
    let mut broker = Broker::default();
    broker.create("t", 1, &[("retention.ms", "5")]);
    let changes = vec![
        change("segment.ms", SET, Some("7000")),
        change("retention.ms", DELETE, None),
        change("retention.bytes", DELETE, None),
    ];
    assert_eq!(alter(&mut broker, "t", changes).error_code, ErrorCode::None);
    for _ in 0..2 {
        let own = ("7000".to_owned(), 1);
        assert_eq!(value(&mut broker, "t", "segment.ms"), own);
        let default = ("604800000".to_owned(), 5);
        assert_eq!(value(&mut broker, "t", "retention.ms"), default);
        broker = broker.restart();
    }
}

#[test]
fn d2_lists_grow_and_shrink_and_nothing_else_does() {
    let mut broker = Broker::default();
    broker.create("t", 1, &[]);
    let steps = [
        (APPEND, "compact", "delete,compact"),
        (APPEND, "compact", "delete,compact"),
        (SUBTRACT, "delete", "compact"),
        (SUBTRACT, "delete", "compact"),
        (SUBTRACT, "compact", ""),
    ];
    for (operation, word, expected) in steps {
        let told = alter(
            &mut broker,
            "t",
            vec![change("cleanup.policy", operation, Some(word))],
        );
        assert_eq!(told.error_code, ErrorCode::None);
        assert_eq!(value(&mut broker, "t", "cleanup.policy").0, expected);
    }
    for operation in [APPEND, SUBTRACT] {
        let told = alter(
            &mut broker,
            "t",
            vec![change("retention.ms", operation, Some("5"))],
        );
        assert_eq!(told.error_code, ErrorCode::InvalidConfig);
    }
    let told = alter(
        &mut broker,
        "t",
        vec![change("cleanup.policy", APPEND, Some("shred"))],
    );
    assert_eq!(told.error_code, ErrorCode::InvalidConfig);
}

#[test]
fn d2_refusals_are_per_resource_and_the_others_change() {
    let mut broker = Broker::default();
    broker.create("t", 1, &[]);
    broker.create("twice", 1, &[]);
    let set = |key, text| vec![change(key, SET, Some(text))];
    let cases = [
        (
            TOPIC,
            "nobody",
            set("segment.ms", "5"),
            ErrorCode::UnknownTopicOrPartition,
        ),
        (
            TOPIC,
            "bad name",
            set("segment.ms", "5"),
            ErrorCode::InvalidTopicException,
        ),
        (TOPIC, "", set("segment.ms", "5"), ErrorCode::InvalidRequest),
        (
            TOPIC,
            "twice",
            set("segment.ms", "5"),
            ErrorCode::InvalidRequest,
        ),
        (
            TOPIC,
            "twice",
            set("segment.ms", "5"),
            ErrorCode::InvalidRequest,
        ),
        (3, "t", set("segment.ms", "5"), ErrorCode::InvalidRequest),
        (BROKER, "1", set("node.id", "5"), ErrorCode::InvalidRequest),
        (
            BROKER,
            "2",
            set("log.retention.ms", "5"),
            ErrorCode::InvalidRequest,
        ),
        (
            BROKER,
            "one",
            set("log.retention.ms", "5"),
            ErrorCode::InvalidRequest,
        ),
        (
            BROKER,
            "",
            set("log.retention.ms", "5"),
            ErrorCode::InvalidRequest,
        ),
        (TOPIC, "t", set("segment.ms", "5"), ErrorCode::None),
    ];
    for version in 0..=1 {
        let resources = cases.iter();
        let resources =
            resources.map(|(kind, name, configs, _)| resource(*kind, name, configs.clone()));
        let told = alter_all(&mut broker, version, resources.collect(), false);
        let told: Vec<_> = told
            .iter()
            .map(|one| {
                (
                    one.resource_type,
                    one.resource_name.as_str(),
                    one.error_code,
                )
            })
            .collect();
        let expected: Vec<_> = cases.iter().map(|case| (case.0, case.1, case.3)).collect();
        assert_eq!(told, expected);
    }
    assert_eq!(value(&mut broker, "t", "segment.ms").0, "5");
    assert_eq!(value(&mut broker, "twice", "segment.ms").1, 5);
}

#[test]
fn d2_a_resource_with_one_bad_change_does_not_change_at_all() {
    let mut broker = Broker::default();
    broker.create("t", 1, &[]);
    let good = || change("segment.ms", SET, Some("5"));
    let cases = [
        (
            vec![good(), change("retention.ms", SET, Some("x"))],
            ErrorCode::InvalidConfig,
        ),
        (
            vec![good(), change("retentoin.ms", SET, Some("5"))],
            ErrorCode::InvalidConfig,
        ),
        (
            vec![good(), change("remote.storage.enable", SET, Some("true"))],
            ErrorCode::InvalidConfig,
        ),
        (
            vec![good(), change("retention.ms", SET, None)],
            ErrorCode::InvalidRequest,
        ),
        (
            vec![good(), change("cleanup.policy", APPEND, None)],
            ErrorCode::InvalidRequest,
        ),
        (vec![good(), good()], ErrorCode::InvalidRequest),
        (
            vec![good(), change("retention.ms", 9, Some("5"))],
            ErrorCode::InvalidRequest,
        ),
    ];
    for (changes, code) in cases {
        let told = alter(&mut broker, "t", changes.clone());
        assert_eq!(told.error_code, code, "{changes:?}");
        assert_eq!(value(&mut broker, "t", "segment.ms").1, 5);
    }
    let unknown = alter(
        &mut broker,
        "t",
        vec![change("retentoin.ms", SET, Some("77"))],
    );
    let message = unknown.error_message.unwrap_or_default();
    assert!(message.contains("retentoin.ms"), "{message}");
    assert!(message.contains("77"), "{message}");
    assert!(message.contains("retention.ms"), "{message}");
    let bad = alter(
        &mut broker,
        "t",
        vec![change("segment.bytes", SET, Some("77"))],
    );
    let message = bad.error_message.unwrap_or_default();
    for word in ["segment.bytes", "77", "1048576"] {
        assert!(message.contains(word), "{message}");
    }
}

#[test]
fn d2_validation_changes_nothing() {
    let mut broker = Broker::default();
    broker.create("t", 1, &[]);
    let resources = vec![
        resource(TOPIC, "t", vec![change("segment.ms", SET, Some("5"))]),
        resource(TOPIC, "nobody", vec![change("segment.ms", SET, Some("5"))]),
    ];
    let told = alter_all(&mut broker, 1, resources, true);
    let told: Vec<_> = told.iter().map(|one| one.error_code).collect();
    assert_eq!(told, [ErrorCode::None, ErrorCode::UnknownTopicOrPartition]);
    assert_eq!(value(&mut broker, "t", "segment.ms").1, 5);
}

#[test]
fn d2_long_keys_and_values_are_refused_in_words_of_bounded_length() {
    let mut broker = Broker::default();
    broker.create("t", 1, &[]);
    let long = "9".repeat(32_000);
    for version in 0..=1 {
        for (kind, name) in [(TOPIC, "t"), (BROKER, "1")] {
            for (key, text) in [(&*long, "1"), ("retention.ms", &*long)] {
                let changes = vec![change(key, SET, Some(text))];
                let told = alter_all(
                    &mut broker,
                    version,
                    vec![resource(kind, name, changes)],
                    false,
                );
                assert_ne!(told[0].error_code, ErrorCode::None);
            }
        }
    }
    // A value that older versions could not tell is not taken.
    let value = format!("{}5", "0".repeat(70_000));
    let told = alter(
        &mut broker,
        "t",
        vec![change("segment.ms", SET, Some(&value))],
    );
    assert_eq!(told.error_code, ErrorCode::InvalidConfig);
}
