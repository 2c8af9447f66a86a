//! Configurations of groups (resources of type 32): rules D1, D2 and K5; and what ListConfigResources lists.

use super::consumer_groups::{beat, broker, join};
use millstream_engine::machine::group::GroupConfig;
use millstream_net::wire::api::*;
use millstream_net::wire::{ErrorCode, Str};
use millstream_tests::sim::broker::Broker;
use millstream_tests::sim::node::NodeConfig;
use std::sync::Arc;

const GROUP: i8 = 32;
const SESSION: &str = "consumer.session.timeout.ms";
const HEARTBEAT: &str = "consumer.heartbeat.interval.ms";
const ASSIGNMENT: &str = "consumer.assignment.interval.ms";
const OF_GROUP: i8 = 8;
const DEFAULT: i8 = 5;

fn described(broker: &mut Broker, group: &str) -> DescribeConfigsResult {
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: GROUP,
            resource_name: group.into(),
            configuration_keys: None,
        }],
        include_synonyms: true,
        include_documentation: true,
    };
    broker.call(4, &request).results.remove(0)
}

/// Key, value and source of all that a group has.
fn values(broker: &mut Broker, group: &str) -> Vec<(String, String, i8)> {
    let told = described(broker, group);
    assert_eq!(told.error_code, ErrorCode::None);
    let entries = told.configs.into_iter();
    let entries = entries.map(|one| {
        let value = one.value.unwrap_or_default().to_string();
        (one.name.to_string(), value, one.config_source)
    });
    entries.collect()
}

fn altered(
    broker: &mut Broker,
    group: &str,
    key: &str,
    operation: i8,
    value: Option<&str>,
    validate_only: bool,
) -> ErrorCode {
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: GROUP,
            resource_name: group.into(),
            configs: vec![AlterableConfig {
                name: key.into(),
                config_operation: operation,
                value: value.map(Str::from),
            }],
        }],
        validate_only,
    };
    broker.call(1, &request).responses.remove(0).error_code
}

fn set(broker: &mut Broker, group: &str, key: &str, value: &str) -> ErrorCode {
    altered(broker, group, key, 0, Some(value), false)
}

#[test]
fn d1_a_group_has_all_keys_whether_it_exists_or_not() {
    let mut broker = broker();
    let expected = [(ASSIGNMENT, "0"), (HEARTBEAT, "5000"), (SESSION, "45000")];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned(), DEFAULT));
    assert_eq!(values(&mut broker, "nobody"), expected);
    let told = described(&mut broker, "nobody");
    assert!(
        told.configs
            .iter()
            .all(|one| !one.read_only && one.documentation.is_some())
    );
    assert_eq!(
        described(&mut broker, "").error_code,
        ErrorCode::InvalidRequest
    );
}

#[test]
fn d2_values_of_groups_are_judged_kept_and_given_up() {
    let mut broker = broker();
    let bad = ErrorCode::InvalidConfig;
    for (key, value) in [
        (SESSION, "44999"),
        (SESSION, "60001"),
        (SESSION, "soon"),
        (HEARTBEAT, "4999"),
        (HEARTBEAT, "15001"),
        (ASSIGNMENT, "-1"),
        ("consumer.session.timeout", "46000"),
        ("retention.ms", "46000"),
    ] {
        assert_eq!(set(&mut broker, "g", key, value), bad, "{key}={value}");
    }
    assert_eq!(
        altered(&mut broker, "g", SESSION, 2, Some("1"), false),
        bad,
        "it is no list"
    );
    assert_eq!(
        set(&mut broker, "", SESSION, "46000"),
        ErrorCode::InvalidRequest
    );
    assert_eq!(
        altered(&mut broker, "g", SESSION, 0, Some("46000"), true),
        ErrorCode::None
    );
    assert!(
        values(&mut broker, "g").iter().all(|one| one.2 == DEFAULT),
        "it was only checked"
    );

    assert_eq!(set(&mut broker, "g", SESSION, "46000"), ErrorCode::None);
    assert_eq!(
        set(&mut broker, "other", HEARTBEAT, "6000"),
        ErrorCode::None
    );
    for again in 0..2 {
        let entry = described(&mut broker, "g").configs.remove(2);
        assert_eq!(
            (entry.value.as_deref(), entry.config_source),
            (Some("46000"), OF_GROUP)
        );
        let first = &entry.synonyms[0];
        assert_eq!((&*first.name, first.source), (SESSION, OF_GROUP));
        if again == 0 {
            broker = broker.restart();
        }
    }
    assert_eq!(
        altered(&mut broker, "g", SESSION, 1, None, false),
        ErrorCode::None
    );
    assert!(values(&mut broker, "g").iter().all(|one| one.2 == DEFAULT));
}

#[test]
fn k5_values_of_a_group_act_on_its_members() {
    let mut broker = broker();
    let told = broker.call(1, &join("m"));
    assert_eq!(told.heartbeat_interval_ms, 5_000);
    assert_eq!(set(&mut broker, "g", HEARTBEAT, "7000"), ErrorCode::None);
    assert_eq!(set(&mut broker, "g", SESSION, "60000"), ErrorCode::None);
    let told = broker.call(1, &beat("m", 1));
    assert_eq!(
        (told.error_code, told.heartbeat_interval_ms),
        (ErrorCode::None, 7_000)
    );
    // Longer than the session of all other groups.
    broker.node.run_ms(59_000);
    assert_eq!(broker.call(1, &beat("m", 1)).error_code, ErrorCode::None);
    broker.node.run_ms(61_000);
    assert_eq!(
        broker.call(1, &beat("m", 1)).error_code,
        ErrorCode::UnknownMemberId
    );
}

#[test]
fn a_group_is_not_assigned_anew_more_often_than_its_interval_says() {
    let mut broker = broker();
    assert_eq!(set(&mut broker, "g", ASSIGNMENT, "2000"), ErrorCode::None);
    let first = broker.call(1, &join("a"));
    assert_eq!(first.member_epoch, 1);
    let second = broker.call(1, &join("b"));
    assert_eq!(
        second.member_epoch, 1,
        "the assignment it is in is the present one"
    );
    let told = second.assignment.expect("it is told all").topic_partitions;
    assert!(told.is_empty());
    let wait_ms = second.heartbeat_interval_ms;
    assert!(
        (1_000..=2_001).contains(&wait_ms),
        "it comes back when there is something for it"
    );
    // Others who come in time are taken along.
    assert_eq!(broker.call(1, &join("c")).member_epoch, 1);
    broker.node.run_ms(2_001);
    let later = broker.call(1, &beat("b", 1));
    assert_eq!((later.error_code, later.member_epoch), (ErrorCode::None, 3));
    assert!(
        later.heartbeat_interval_ms < 5_000,
        "it waits for the first to let go"
    );
}

#[test]
fn resources_with_a_configuration_are_listed_by_kind() {
    let mut broker = broker();
    assert_eq!(set(&mut broker, "g", SESSION, "46000"), ErrorCode::None);
    let mut listed = |version, kinds: &[i8]| {
        let request = ListConfigResourcesRequest {
            resource_types: kinds.to_vec(),
        };
        let told = broker.call(version, &request);
        let resources = told.config_resources.into_iter();
        let resources = resources.map(|one| (one.resource_type, one.resource_name.to_string()));
        (told.error_code, resources.collect::<Vec<_>>())
    };
    assert_eq!(listed(0, &[]), (ErrorCode::None, Vec::new()));
    assert_eq!(
        listed(1, &[32]),
        (ErrorCode::None, vec![(32, "g".to_owned())])
    );
    let (code, all) = listed(1, &[]);
    assert_eq!(code, ErrorCode::None);
    for expected in [(2, "t"), (4, "1"), (8, "1"), (32, "g")] {
        assert!(
            all.contains(&(expected.0, expected.1.to_owned())),
            "{expected:?}"
        );
    }
    assert_eq!(listed(1, &[2, 77]).0, ErrorCode::UnsupportedVersion);
}

#[test]
fn without_the_consumer_protocol_there_are_classic_groups_only() {
    let mut config = NodeConfig::default();
    config.settings.groups = Arc::new(GroupConfig {
        consumer_protocol: false,
        ..GroupConfig::default()
    });
    config.controller.offsets_partitions = 1;
    let mut broker = Broker::new(config);
    let request = FindCoordinatorRequest {
        key: "g".into(),
        ..FindCoordinatorRequest::default()
    };
    broker.call(3, &request);
    assert_eq!(broker.call(3, &request).error_code, ErrorCode::None);
    let refused = broker.call(1, &join("m"));
    assert_eq!(refused.error_code, ErrorCode::UnsupportedVersion);
    let request = ConsumerGroupDescribeRequest {
        group_ids: vec!["g".into()],
        ..ConsumerGroupDescribeRequest::default()
    };
    let told = broker.call(1, &request).groups.remove(0);
    assert_eq!(told.error_code, ErrorCode::UnsupportedVersion);
}
