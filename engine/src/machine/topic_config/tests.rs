//! Keys are judged, resolved and explained as their table says.

use super::*;

#[test]
fn every_default_passes_its_own_check_and_names_are_sorted_and_unique() {
    assert!(KEYS.is_sorted_by(|left, right| left.name < right.name));
    for key in KEYS {
        assert_eq!(check(key.name, key.default), Ok(()), "{}", key.name);
    }
}

#[test]
fn an_unknown_key_names_the_nearest() {
    let refused = check("retentoin.ms", "1").unwrap_err().0;
    assert!(refused.contains("retention.ms"), "{refused}");
    assert!(check("message.format.version", "3.0").is_err());
}

#[test]
fn values_out_of_range_are_refused() {
    let bad = [
        ("segment.bytes", "1048575"),
        ("segment.ms", "0"),
        ("retention.ms", "-2"),
        ("cleanup.policy", "compact,purge"),
        ("min.insync.replicas", "0"),
        ("min.cleanable.dirty.ratio", "1.5"),
        ("preallocate", "yes"),
        ("remote.storage.enable", "true"),
        ("leader.replication.throttled.replicas", "1-2"),
        ("compression.gzip.level", "0"),
    ];
    for (name, value) in bad {
        assert!(check(name, value).is_err(), "{name}={value}");
    }
    let good = [
        ("segment.bytes", "1048576"),
        ("cleanup.policy", "compact, delete"),
        ("cleanup.policy", ""),
        ("unclean.leader.election.enable", "True"),
        ("compression.gzip.level", "-1"),
        ("compression.gzip.level", "1"),
        ("follower.replication.throttled.replicas", "0:1,1:2"),
    ];
    for (name, value) in good {
        assert_eq!(check(name, value), Ok(()), "{name}={value}");
    }
}

fn values(pairs: &[(&str, &str)]) -> Values {
    let own = |(key, value): &(&str, &str)| (key.to_string(), value.to_string());
    pairs.iter().map(own).collect()
}

fn started_with(start: &Values) -> BrokerValues<'_> {
    BrokerValues {
        node: None,
        all: None,
        start,
    }
}

#[test]
fn the_topic_beats_the_broker_and_the_broker_the_default() {
    let topic = values(&[("retention.ms", "5"), ("cleanup.policy", "delete")]);
    let broker = values(&[("log.retention.ms", "6"), ("log.roll.ms", "7")]);
    let resolved = TopicConfig::resolve(&topic, started_with(&broker));
    assert_eq!(resolved.retention_ms, Some(5));
    assert_eq!(resolved.segment_ms, 7);
    assert_eq!(resolved.segment_bytes, 1 << 30);
    let compacted = values(&[("cleanup.policy", "compact")]);
    let resolved = TopicConfig::resolve(&compacted, started_with(&broker));
    assert_eq!(resolved.retention_ms, None);
}

#[test]
fn the_first_broker_key_that_is_set_counts_in_its_own_unit() {
    let none = Values::default();
    let of = |pairs: &[(&str, &str)]| {
        let broker = values(pairs);
        let key = key("retention.ms").unwrap();
        effective(key, &none, started_with(&broker))
            .value
            .into_owned()
    };
    assert_eq!(of(&[]), "604800000");
    assert_eq!(of(&[("log.retention.hours", "2")]), "7200000");
    assert_eq!(of(&[("log.retention.hours", "-1")]), "-1");
    let two = [("log.retention.hours", "2"), ("log.retention.minutes", "3")];
    assert_eq!(of(&two), "180000");
    let three = [two[0], two[1], ("log.retention.ms", "4")];
    assert_eq!(of(&three), "4");
}

#[test]
fn what_the_cluster_was_told_since_beats_the_start_and_the_node_beats_all() {
    let (none, start) = (Values::default(), values(&[("log.retention.bytes", "1")]));
    let all = values(&[("log.retention.bytes", "2")]);
    let node = values(&[("log.retention.bytes", "3")]);
    let brokers = BrokerValues {
        node: Some(&node),
        all: Some(&all),
        start: &start,
    };
    let key = key("retention.bytes").unwrap();
    let found = effective(key, &none, brokers);
    assert_eq!((&*found.value, found.source), ("3", Source::Broker));
    let told = synonyms(key, &none, brokers);
    let told: Vec<_> = told.iter().map(|one| (one.value, one.source)).collect();
    let expected = [
        ("3", Source::Broker),
        ("2", Source::Brokers),
        ("1", Source::Start),
        ("-1", Source::Default),
    ];
    assert_eq!(told, expected);
}

#[test]
fn lists_grow_and_shrink_by_words() {
    let key = key("cleanup.policy").unwrap();
    assert_eq!(list_with(key, "delete", "compact"), "delete,compact");
    assert_eq!(
        list_with(key, "delete, compact", "compact"),
        "delete,compact"
    );
    assert_eq!(list_without(key, "delete,compact", "delete"), "compact");
    assert_eq!(list_without(key, "delete", "compact"), "delete");
}

#[test]
fn what_a_client_wrote_is_repeated_to_it_in_part() {
    let long = "ä".repeat(20_000);
    for (name, value) in [(&*long, "1"), ("retention.ms", &*long)] {
        let refused = check(name, value).unwrap_err().0;
        assert!(refused.len() < 1000, "{} bytes", refused.len());
    }
    let zeros = format!("{}1", "0".repeat(40_000));
    assert!(check("retention.ms", &zeros).is_err());
}
