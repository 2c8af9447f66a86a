use super::*;
use crate::machine::topic_config::{self, BrokerValues, Values, effective};
use listener::Advertised;
use std::net::SocketAddr;

fn machine() -> Machine {
    Machine {
        cpus: vec![0, 1, 2, 3],
        memory_bytes: 16 << 30,
        host_name: "mill.example".into(),
    }
}

fn config(pairs: &[&str]) -> Result<Config, String> {
    let mut settings = Settings::default();
    for pair in pairs {
        settings.set_pair(pair).map_err(|error| error.to_string())?;
    }
    Config::new(settings, &machine()).map_err(|error| error.to_string())
}

/// What a topic has that says nothing of its own.
fn of_topics(config: &Config, name: &str) -> String {
    let (own, start) = (Values::default(), config.settings.values());
    let brokers = BrokerValues {
        node: None,
        all: None,
        start: &start,
    };
    let key = topic_config::key(name).expect("it is a topic key");
    effective(key, &own, brokers).value.into_owned()
}

fn refused(pairs: &[&str]) -> String {
    config(pairs)
        .err()
        .unwrap_or_else(|| panic!("{pairs:?} is accepted"))
}

#[test]
fn every_default_is_inside_its_own_range_and_every_name_stands_once() {
    let mut names = std::collections::BTreeSet::new();
    for key in keys::all() {
        assert!(names.insert(key.name), "{} stands twice", key.name);
        if let Some(default) = key.default.filter(|default| !default.is_empty()) {
            assert_eq!(key.kind.check(default), Ok(()), "{}", key.name);
        }
    }
    for (alias, name) in keys::ALIASES {
        assert!(names.contains(name) && !names.contains(alias));
    }
}

#[test]
fn without_settings_it_listens_on_both_loopbacks_and_advertises_localhost() {
    let config = config(&[]).unwrap();
    let expected: Vec<SocketAddr> = vec![
        "127.0.0.1:9092".parse().unwrap(),
        "[::1]:9092".parse().unwrap(),
    ];
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.listeners[0].binds, expected);
    assert_eq!(config.listeners[0].advertised.to_string(), "localhost:9092");
    assert_eq!(config.shard_cpus, [0, 1, 2, 3]);
    assert_eq!(config.shard_memory_bytes, 1 << 30);
    assert_eq!(of_topics(&config, "retention.ms"), "604800000");
    assert_eq!(of_topics(&config, "segment.ms"), "604800000");
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_one() {
    let error = refused(&["log.retention.hour=3"]);
    assert_eq!(
        error,
        "unknown key `log.retention.hour` (value `3`); did you mean `log.retention.hours`?"
    );
    assert_eq!(
        refused(&["retention.ms=3"]),
        "unknown key `retention.ms` (value `3`); did you mean `log.retention.ms`?"
    );
    assert!(!refused(&["zzzzzzzzzzzzzzzzzzzzzzzzzzzz=3"]).contains("did you mean"));
}

#[test]
fn a_bad_value_is_refused_with_key_value_and_range() {
    let cases = [
        (
            "num.partitions=0",
            "`num.partitions` cannot be `0`: it takes a whole number from 1 to 100000",
        ),
        (
            "log.segment.bytes=many",
            "`log.segment.bytes` cannot be `many`: it takes a whole number from 1048576 to 2147483647",
        ),
        (
            "auto.create.topics.enable=yes",
            "`auto.create.topics.enable` cannot be `yes`: it takes true or false",
        ),
        (
            "log.cleanup.policy=shred",
            "`log.cleanup.policy` cannot be `shred`: it takes a comma-separated list of delete, compact",
        ),
        (
            "shard.cpus=3-1",
            "`shard.cpus` cannot be `3-1`: it takes processor numbers and ranges, such as 0-3,6",
        ),
        (
            "num.partitions",
            "`--set num.partitions` has no `=`: write --set KEY=VALUE",
        ),
    ];
    for (pair, expected) in cases {
        assert_eq!(refused(&[pair]), expected);
    }
}

#[test]
fn a_file_may_be_flat_or_nested_and_the_command_line_wins() {
    let mut settings = Settings::default();
    settings
        .read_toml("num.partitions = 4\nlisteners = [\"A://127.0.0.1:1\", \"B://[::1]:2\"]\n[log]\nretention.hours = 2\n")
        .unwrap();
    settings.set_pair("num.partitions=6").unwrap();
    settings
        .read_toml(
            "default.replication.factor = \" 1 \"\n\"auto.create.topics.enable\" = \"FALSE\"\n",
        )
        .unwrap();
    let config = Config::new(settings, &machine()).unwrap();
    assert_eq!(config.topics.partitions, 6);
    assert_eq!(config.topics.replication_factor, 1);
    assert!(!config.topics.auto_create);
    assert_eq!(of_topics(&config, "retention.ms"), "7200000");
    assert_eq!(
        config
            .listeners
            .iter()
            .map(|l| l.name.as_str())
            .collect::<Vec<_>>(),
        ["A", "B"]
    );
    assert_eq!(
        config.settings.value("num.partitions").1,
        Some(Source::CommandLine)
    );
    assert_eq!(
        config.settings.value("log.retention.hours").1,
        Some(Source::File)
    );
}

#[test]
fn the_finest_unit_of_retention_wins() {
    let ms = |pairs: &[&str]| of_topics(&config(pairs).unwrap(), "retention.ms");
    assert_eq!(
        ms(&[
            "log.retention.hours=1",
            "log.retention.minutes=2",
            "log.retention.ms=3"
        ]),
        "3"
    );
    assert_eq!(
        ms(&["log.retention.hours=1", "log.retention.minutes=2"]),
        "120000"
    );
    assert_eq!(ms(&["log.retention.hours=-1"]), "-1");
}

#[test]
fn a_listener_that_is_not_loopback_advertises_the_host_name_unless_told() {
    let all = config(&["listeners=PLAINTEXT://0.0.0.0:9092"]).unwrap();
    assert_eq!(all.listeners[0].advertised.to_string(), "mill.example:9092");
    assert_eq!(all.listeners[0].advertised_from, Advertised::HostName);
    let told = config(&[
        "listeners=PLAINTEXT://:9092",
        "advertised.listeners=plaintext://b1.example:19092",
    ])
    .unwrap();
    assert_eq!(told.listeners[0].advertised.to_string(), "b1.example:19092");
    assert_eq!(told.listeners[0].binds.len(), 2);
}

#[test]
fn listeners_that_nobody_could_reach_are_refused() {
    assert!(
        refused(&["advertised.listeners=PLAINTEXT://0.0.0.0:9092"])
            .contains("no client can connect")
    );
    assert!(refused(&["advertised.listeners=OTHER://h:9092"]).contains("not in `listeners`"));
    assert!(refused(&["listeners=A://127.0.0.1:1,A://127.0.0.2:2"]).contains("twice"));
    assert!(refused(&["listeners=127.0.0.1:1"]).contains("has no `://`"));
    assert!(refused(&["listeners=A://::1:1"]).contains("in brackets"));
    assert!(refused(&["listener.security.protocol.map=A:SASL_SSL"]).contains("speaks PLAINTEXT"));
}

#[test]
fn shards_are_pinned_to_the_processors_named() {
    assert_eq!(config(&["shard.cpus=2,0-1"]).unwrap().shard_cpus, [2, 0, 1]);
    assert_eq!(config(&["shards=1"]).unwrap().shard_cpus, [0]);
    assert_eq!(
        config(&["shards=6"]).unwrap().shard_cpus,
        [0, 1, 2, 3, 0, 1]
    );
    assert!(refused(&["shard.cpus=0", "shards=2"]).contains("every shard needs its own"));
    assert!(refused(&["shard.cpus=9"]).contains("may run on"));
    assert!(refused(&["shard.cpus=0,0"]).contains("cannot have 0 twice"));
    assert!(refused(&["shard.cpus=0-2,1"]).contains("cannot have 1 twice"));
}

#[test]
fn shards_have_no_more_memory_than_the_machine() {
    let given = |bytes: u64, shards: u64| {
        let pairs = [
            format!("shard.memory.bytes={bytes}"),
            format!("shards={shards}"),
        ];
        config(&pairs.each_ref().map(String::as_str))
    };
    let most = 16 << 30;
    assert_eq!(given(most, 1).unwrap().shard_memory_bytes, most);
    assert_eq!(given(most / 4, 4).unwrap().shard_memory_bytes, most / 4);
    for (bytes, shards) in [(most + 1, 1), (most / 2, 3), (i64::MAX as u64, 4)] {
        let words = given(bytes, shards).unwrap_err();
        let wanted = [
            format!("`shard.memory.bytes` cannot be `{bytes}`"),
            format!("there are {shards} shards"),
            format!("{most} bytes of memory"),
        ];
        assert!(wanted.iter().all(|want| words.contains(want)), "{words}");
    }
}

#[test]
fn bounds_of_groups_that_exclude_everything_are_refused() {
    // (pairs, words)
    let cases: [(&[&str], &str); 5] = [
        (
            &["group.min.session.timeout.ms=1800001"],
            "`group.min.session.timeout.ms` cannot be `1800001`: `group.max.session.timeout.ms` is `1800000`",
        ),
        (
            &["group.consumer.min.session.timeout.ms=60001"],
            "`group.consumer.min.session.timeout.ms` cannot be `60001`: `group.consumer.max.session.timeout.ms` is `60000`",
        ),
        (
            &["group.consumer.max.heartbeat.interval.ms=4999"],
            "`group.consumer.min.heartbeat.interval.ms` cannot be `5000`",
        ),
        (
            &[
                "group.consumer.min.assignment.interval.ms=2",
                "group.consumer.max.assignment.interval.ms=1",
            ],
            "`group.consumer.min.assignment.interval.ms` cannot be `2`",
        ),
        (
            &["group.consumer.session.timeout.ms=5000"],
            "`group.consumer.heartbeat.interval.ms` cannot be `5000`",
        ),
    ];
    for (pairs, wanted) in cases {
        let words = refused(pairs);
        assert!(words.contains(wanted), "{words}");
    }
    let equal = [
        "group.consumer.min.session.timeout.ms=60000",
        "group.min.session.timeout.ms=1800000",
    ];
    assert!(config(&equal).is_ok());
}

#[test]
fn keys_without_effect_are_accepted_and_named() {
    let config = config(&["num.io.threads=4", "num.partitions=2"]).unwrap();
    assert_eq!(
        config.settings.inert().collect::<Vec<_>>(),
        ["num.io.threads"]
    );
}
