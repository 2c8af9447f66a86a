//! CreateTopics and DeleteTopics: rules M3, M8-M10.

use millstream_net::wire::api::{
    CreatableTopic, CreatableTopicResult, CreatePartitionsRequest, CreatePartitionsTopic,
    CreateTopicsRequest, DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest,
    MetadataRequest, ReplicaAssignment,
};
use millstream_net::wire::{ErrorCode, Str, Uuid};
use millstream_storage::ids::ShardIndex;
use millstream_tests::sim::broker::{Broker, EPOCH_MS, topic};
use millstream_tests::sim::node::NodeConfig;
use millstream_tests::wire;

fn create(
    broker: &mut Broker,
    version: i16,
    topics: Vec<CreatableTopic>,
) -> Vec<CreatableTopicResult> {
    let request = CreateTopicsRequest {
        topics,
        timeout_ms: 10_000,
        ..CreateTopicsRequest::default()
    };
    broker.call(version, &request).topics
}

fn delete(broker: &mut Broker, version: i16, name: &str) -> ErrorCode {
    delete_all(broker, version, vec![(Some(name), Uuid::default())])[0].error_code
}

/// Deletes topics by name or id.
fn delete_all(
    broker: &mut Broker,
    version: i16,
    topics: Vec<(Option<&str>, Uuid)>,
) -> Vec<DeletableTopicResult> {
    let mut request = DeleteTopicsRequest {
        timeout_ms: 10_000,
        ..DeleteTopicsRequest::default()
    };
    for (name, topic_id) in topics {
        let name = name.map(Str::from);
        match version {
            ..=5 => request.topic_names.extend(name),
            _ => request.topics.push(DeleteTopicState { name, topic_id }),
        }
    }
    broker.call(version, &request).responses
}

/// A topic with a manual assignment of its partitions.
fn assigned(name: &str, nodes: &[&[i32]]) -> CreatableTopic {
    let assignments = nodes
        .iter()
        .enumerate()
        .map(|(index, nodes)| ReplicaAssignment {
            partition_index: index as i32,
            broker_ids: nodes.to_vec(),
        });
    CreatableTopic {
        assignments: assignments.collect(),
        ..topic(name, -1, &[])
    }
}

#[test]
fn m8_errors_are_per_topic_and_good_topics_are_still_created() {
    let mut broker = Broker::default();
    broker.create("old", 1, &[]);
    let with_factor = |name, replication_factor| CreatableTopic {
        replication_factor,
        ..topic(name, 1, &[])
    };
    let both = CreatableTopic {
        num_partitions: 1,
        ..assigned("both", &[&[1]])
    };
    let cases = [
        (topic("old", 1, &[]), ErrorCode::TopicAlreadyExists),
        (topic("zero", 0, &[]), ErrorCode::InvalidPartitions),
        (topic("below", -2, &[]), ErrorCode::InvalidPartitions),
        (with_factor("rf-0", 0), ErrorCode::InvalidReplicationFactor),
        (
            with_factor("rf-below", -2),
            ErrorCode::InvalidReplicationFactor,
        ),
        (with_factor("rf-2", 2), ErrorCode::InvalidReplicationFactor),
        (
            assigned("nobody", &[&[9]]),
            ErrorCode::InvalidReplicaAssignment,
        ),
        (both, ErrorCode::InvalidRequest),
        (
            topic("key", 1, &[("no.such.key", "1")]),
            ErrorCode::InvalidConfig,
        ),
        (
            topic("value", 1, &[("retention.ms", "x")]),
            ErrorCode::InvalidConfig,
        ),
        (topic("bad name", 1, &[]), ErrorCode::InvalidTopicException),
        (topic("..", 1, &[]), ErrorCode::InvalidTopicException),
        (
            topic("good", 3, &[("retention.ms", "1000")]),
            ErrorCode::None,
        ),
        (assigned("manual", &[&[1], &[1]]), ErrorCode::None),
        (topic("default", -1, &[]), ErrorCode::None),
    ];
    let expected: Vec<_> = cases
        .iter()
        .map(|case| (case.0.name.to_string(), case.1))
        .collect();
    let topics = cases.into_iter().map(|case| case.0).collect();
    let results = create(&mut broker, 5, topics);
    let found: Vec<_> = results
        .iter()
        .map(|one| (one.name.to_string(), one.error_code))
        .collect();
    assert_eq!(found, expected);
    for (name, partitions) in [("good", 3), ("manual", 2), ("default", 1)] {
        let response = broker.call(9, &wire::metadata(&[name]));
        assert_eq!(response.topics[0].error_code, ErrorCode::None);
        assert_eq!(response.topics[0].partitions.len(), partitions);
    }
}

#[test]
fn m8_the_same_topic_twice_is_an_invalid_request_and_minus_one_is_the_default() {
    let mut broker = Broker::default();
    let results = create(&mut broker, 5, vec![topic("t", 1, &[]), topic("t", 2, &[])]);
    assert!(
        results
            .iter()
            .all(|one| one.error_code == ErrorCode::InvalidRequest)
    );
    assert_eq!(results.len(), 1, "it is answered once");
    // Kafka's own clients refuse -1 below version 4, its broker does not.
    for version in 2..=7 {
        let name = format!("default-{version}");
        let results = create(&mut broker, version, vec![topic(&name, -1, &[])]);
        assert_eq!(results[0].error_code, ErrorCode::None);
    }
}

#[test]
fn m3_a_collision_of_dots_and_underscores_is_refused() {
    let mut broker = Broker::default();
    broker.create("a_b", 1, &[]);
    let results = create(&mut broker, 5, vec![topic("a.b", 1, &[])]);
    assert_eq!(results[0].error_code, ErrorCode::InvalidTopicException);
}

#[test]
fn m9_validate_only_checks_everything_and_creates_nothing() {
    let mut broker = Broker::default();
    broker.create("old", 1, &[]);
    let request = CreateTopicsRequest {
        topics: vec![topic("new", 3, &[]), topic("old", 1, &[])],
        validate_only: true,
        ..CreateTopicsRequest::default()
    };
    for _ in 0..2 {
        let response = broker.call(7, &request);
        let codes: Vec<_> = response.topics.iter().map(|one| one.error_code).collect();
        assert_eq!(codes, [ErrorCode::None, ErrorCode::TopicAlreadyExists]);
        assert_eq!(response.topics[0].num_partitions, 3);
        assert_eq!(response.topics[0].topic_id, Uuid::default());
    }
}

#[test]
fn m9_version_5_tells_counts_and_the_configuration_in_force() {
    let mut broker = Broker::default();
    let results = create(
        &mut broker,
        5,
        vec![topic("t", 2, &[("retention.ms", "1000")])],
    );
    let result = &results[0];
    assert_eq!((result.num_partitions, result.replication_factor), (2, 1));
    let configs = result.configs.as_ref().expect("they may be shown");
    let of = |name: &str| {
        let entry = configs.iter().find(|entry| entry.name == *name);
        let entry = entry.expect("every topic key is told");
        (
            entry.value.clone().unwrap_or_default().to_string(),
            entry.config_source,
        )
    };
    assert_eq!(of("retention.ms"), ("1000".to_owned(), 1));
    assert_eq!(of("cleanup.policy"), ("delete".to_owned(), 5));
}

#[test]
fn m8_an_explicit_replication_factor_above_the_brokers_is_refused_and_a_default_one_is_capped() {
    let mut config = NodeConfig::default();
    config.controller.replication_factor = 3;
    let mut broker = Broker::new(config);
    for replication_factor in [-1, 2] {
        let asked = CreatableTopic {
            replication_factor,
            ..topic("t", 1, &[])
        };
        let told = create(&mut broker, 7, vec![asked]);
        assert_eq!(told[0].error_code, ErrorCode::InvalidReplicationFactor);
    }
    // Who names a topic in passing (rule M2) is not answered, so it comes with as many as there are.
    for name in ["a", "b"] {
        broker.call(9, &wire::metadata(&[name]));
        let response = broker.call(9, &wire::metadata(&[name]));
        assert_eq!(response.topics[0].error_code, ErrorCode::None);
        assert_eq!(response.topics[0].partitions[0].replica_nodes, [1]);
    }
    let told = create(&mut broker, 7, vec![topic("__consumer_offsets", -1, &[])]);
    assert_eq!(told[0].error_code, ErrorCode::None);
    assert_eq!(
        (told[0].num_partitions, told[0].replication_factor),
        (50, 1)
    );
    let notes = broker.node.notes();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(
        notes[0].contains("default.replication.factor=3"),
        "{notes:?}"
    );
}

#[test]
fn m8_a_value_of_any_length_is_refused_in_words_of_bounded_length() {
    let mut broker = Broker::default();
    let long = "9".repeat(32_000);
    for version in [2, 7] {
        for (key, value) in [("retention.ms", &*long), (&*long, "1")] {
            let told = create(&mut broker, version, vec![topic("t", 1, &[(key, value)])]);
            assert_eq!(told[0].error_code, ErrorCode::InvalidConfig);
        }
    }
}

#[test]
fn m9_success_means_that_every_shard_serves_the_topic() {
    let mut broker = Broker::default();
    for round in 0..10 {
        let name = format!("t-{round}");
        broker.create(&name, 2, &[]);
        for shard in 0..2 {
            let conn = broker.connect(shard);
            let batch = wire::batch(EPOCH_MS, &["a"]);
            let request = wire::produce(-1, &name, round % 2, batch);
            let id = broker.send(conn, 8, &request);
            let response = broker.expect::<millstream_net::wire::api::ProduceRequest>(conn, 8, id);
            assert_eq!(
                response.responses[0].partitions[0].error_code,
                ErrorCode::None
            );
        }
    }
}

#[test]
fn m9_a_topic_of_many_partitions_is_served_whole_when_it_is_answered() {
    let mut broker = Broker::default();
    broker.create("wide", 1_000, &[]);
    for partition in [0, 499, 998, 999] {
        assert_eq!(broker.append("wide", partition, &["a"]), 0);
    }
    let in_flight = |shard| broker.node.core(ShardIndex(shard)).in_flight();
    assert_eq!((in_flight(0), in_flight(1)), (0, 0));
}

#[test]
fn m10_a_topic_of_many_partitions_is_deleted_while_it_is_made() {
    let mut broker = Broker::default();
    let (making, deleting) = (broker.connect(0), broker.connect(1));
    let request = CreateTopicsRequest {
        topics: vec![topic("wide", 2_000, &[])],
        timeout_ms: 60_000,
        ..CreateTopicsRequest::default()
    };
    let creation = broker.send(making, 7, &request);
    broker.node.turn(ShardIndex(0));
    let request = DeleteTopicsRequest {
        topic_names: vec!["wide".into()],
        timeout_ms: 60_000,
        ..DeleteTopicsRequest::default()
    };
    let deletion = broker.send(deleting, 4, &request);
    broker.node.run_ms(5_000);
    let made = broker.expect::<CreateTopicsRequest>(making, 7, creation);
    assert_eq!(made.topics[0].error_code, ErrorCode::None);
    let deleted = broker.expect::<DeleteTopicsRequest>(deleting, 4, deletion);
    assert_eq!(deleted.responses[0].error_code, ErrorCode::None);
    let in_flight = |shard| broker.node.core(ShardIndex(shard)).in_flight();
    assert_eq!((in_flight(0), in_flight(1)), (0, 0));
    broker.create("wide", 2, &[]);
    assert_eq!(broker.append("wide", 1, &["a"]), 0);
}

#[test]
fn m10_deletion_and_its_errors() {
    let mut broker = Broker::default();
    broker.create("t", 2, &[]);
    assert_eq!(
        delete(&mut broker, 4, "nobody"),
        ErrorCode::UnknownTopicOrPartition
    );
    assert_eq!(delete(&mut broker, 4, "t"), ErrorCode::None);
    assert_eq!(
        delete(&mut broker, 4, "t"),
        ErrorCode::UnknownTopicOrPartition
    );
    let mut request = wire::metadata(&["t"]);
    request.allow_auto_topic_creation = false;
    let response = broker.call::<MetadataRequest>(9, &request);
    assert_eq!(
        response.topics[0].error_code,
        ErrorCode::UnknownTopicOrPartition
    );
}

#[test]
fn m10_version_6_deletes_by_name_or_by_id() {
    let mut broker = Broker::default();
    let made = create(&mut broker, 7, vec![topic("a", 1, &[]), topic("b", 1, &[])]);
    let ids: Vec<Uuid> = made.iter().map(|one| one.topic_id).collect();
    assert!(ids.iter().all(|id| *id != Uuid::default()));
    assert_ne!(ids[0], ids[1]);

    let nobody = Uuid([7; 16]);
    let told = delete_all(
        &mut broker,
        6,
        vec![
            (None, ids[0]),
            (None, nobody),
            (Some("b"), ids[1]),
            (None, Uuid::default()),
            (Some("c"), Uuid::default()),
        ],
    );
    let told: Vec<_> = told
        .iter()
        .map(|one| {
            let name = one.name.as_ref().map(|name| name.as_str());
            (name, one.topic_id, one.error_code)
        })
        .collect();
    let expected = [
        (Some("a"), ids[0], ErrorCode::None),
        (None, nobody, ErrorCode::UnknownTopicId),
        (Some("b"), ids[1], ErrorCode::InvalidRequest),
        (None, Uuid::default(), ErrorCode::InvalidRequest),
        (
            Some("c"),
            Uuid::default(),
            ErrorCode::UnknownTopicOrPartition,
        ),
    ];
    assert_eq!(told, expected);
    assert_eq!(delete(&mut broker, 6, "b"), ErrorCode::None);
}

#[test]
fn m10_a_topic_named_twice_is_refused_and_stays() {
    let mut broker = Broker::default();
    let made = create(&mut broker, 7, vec![topic("a", 1, &[]), topic("b", 1, &[])]);
    for version in [1, 4, 6] {
        let twice = (Some("a"), Uuid::default());
        let told = delete_all(&mut broker, version, vec![twice, twice]);
        let told: Vec<_> = told.iter().map(|one| one.error_code).collect();
        assert_eq!(told, [ErrorCode::InvalidRequest], "it is answered once");
    }
    let by_both = vec![(Some("a"), Uuid::default()), (None, made[0].topic_id)];
    let told = delete_all(&mut broker, 6, by_both);
    assert!(
        told.iter()
            .all(|one| one.error_code == ErrorCode::InvalidRequest)
    );
    assert_eq!(delete(&mut broker, 6, "a"), ErrorCode::None);
}

#[test]
fn m10_a_topic_created_again_has_a_new_id() {
    let mut broker = Broker::default();
    let first = create(&mut broker, 7, vec![topic("t", 1, &[])])[0].topic_id;
    assert_eq!(delete(&mut broker, 6, "t"), ErrorCode::None);
    let second = create(&mut broker, 7, vec![topic("t", 1, &[])])[0].topic_id;
    assert_ne!(first, second);
    let told = delete_all(&mut broker, 6, vec![(None, first)]);
    assert_eq!(told[0].error_code, ErrorCode::UnknownTopicId);
}

#[test]
fn m10_deletion_can_be_disabled() {
    let mut config = NodeConfig::default();
    config.controller.deletion = false;
    let mut broker = Broker::new(config);
    broker.create("t", 1, &[]);
    for version in 1..=6 {
        let expected = match version {
            1 | 2 => ErrorCode::InvalidRequest,
            _ => ErrorCode::TopicDeletionDisabled,
        };
        assert_eq!(delete(&mut broker, version, "t"), expected);
    }
}

#[test]
fn m10_a_topic_created_again_right_after_its_deletion_is_empty() {
    let mut broker = Broker::default();
    for round in 0..4 {
        broker.create("t", 2, &[]);
        for partition in 0..2 {
            assert_eq!(
                broker.append("t", partition, &["a", "b"]),
                0,
                "round {round}"
            );
        }
        if round % 2 == 1 {
            broker = broker.restart();
            let latest = broker.list_offsets(5, &wire::list_offsets("t", 0, -1));
            assert_eq!(latest.offset, 2);
        }
        assert_eq!(delete(&mut broker, 4, "t"), ErrorCode::None);
    }
    let mut broker = broker.restart();
    let latest = broker.list_offsets(5, &wire::list_offsets("t", 0, -1));
    assert_eq!(latest.error_code, ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn m9_a_timeout_that_is_up_answers_7_and_the_topic_comes_all_the_same() {
    let mut broker = Broker::default();
    let request = CreateTopicsRequest {
        topics: vec![topic("t", 1, &[])],
        timeout_ms: 0,
        ..CreateTopicsRequest::default()
    };
    let response = broker.call(5, &request);
    assert_eq!(response.topics[0].error_code, ErrorCode::RequestTimedOut);
    assert_eq!(broker.append("t", 0, &["a"]), 0);
}

#[test]
fn m8_a_request_for_many_topics_is_answered_whole_and_in_order() {
    let mut broker = Broker::default();
    broker.create("t-100", 1, &[]);
    let names: Vec<String> = (0..300).map(|number| format!("t-{number}")).collect();
    let topics = names.iter().enumerate().map(|(number, name)| match number {
        77 => topic(name, 0, &[]),
        78 => topic(name, 100, &[]),
        _ => topic(name, 1, &[]),
    });
    let results = create(&mut broker, 7, topics.collect());
    assert_eq!(results.len(), names.len());
    for (number, (name, result)) in names.iter().zip(&results).enumerate() {
        let expected = match number {
            77 => ErrorCode::InvalidPartitions,
            100 => ErrorCode::TopicAlreadyExists,
            _ => ErrorCode::None,
        };
        assert_eq!(result.name.as_str(), name);
        assert_eq!(result.error_code, expected, "{name}");
    }
    let all = MetadataRequest {
        topics: None,
        ..MetadataRequest::default()
    };
    let response = broker.call(9, &all);
    assert_eq!(response.topics.len(), 299);
    assert_eq!(broker.append("t-299", 0, &["a"]), 0);
}

#[test]
fn m8_a_request_for_more_partitions_than_may_be_is_cut_where_they_end() {
    let mut broker = Broker::default();
    let topics = vec![
        topic("a", 6_000, &[]),
        topic("b", 6_000, &[]),
        topic("c", 1, &[]),
    ];
    let results = create(&mut broker, 7, topics);
    let codes: Vec<_> = results.iter().map(|one| one.error_code).collect();
    assert_eq!(
        codes,
        [ErrorCode::None, ErrorCode::PolicyViolation, ErrorCode::None]
    );
}

#[test]
fn a_full_disk_refuses_the_rest_of_many_topics_with_56_and_still_deletes() {
    let mut broker = Broker::default();
    broker.create("t", 1, &[]);
    let full = broker.node.disk_bytes();
    broker.node.disk_mut().limit_capacity(Some(full));
    let conn = broker.connect(1);
    // A multiple of the pieces that a request is carried out in: a smaller last piece might still fit.
    let topics = (0..9_008).map(|number| topic(&format!("t-{number}"), 1, &[]));
    let request = CreateTopicsRequest {
        topics: topics.collect(),
        timeout_ms: 60_000,
        ..CreateTopicsRequest::default()
    };
    let id = broker.send(conn, 7, &request);
    broker.node.run_ms(10_000);
    let told = broker.expect::<CreateTopicsRequest>(conn, 7, id).topics;
    assert_eq!(told.len(), 9_008);
    let good = told
        .iter()
        .take_while(|one| one.error_code == ErrorCode::None);
    let good = good.count();
    assert!(good < 9_008, "the disk does not get full");
    let is_refused = |one: &CreatableTopicResult| one.error_code == ErrorCode::KafkaStorageError;
    let odd: Vec<_> = told[good..]
        .iter()
        .enumerate()
        .filter(|(_, one)| !is_refused(one))
        .map(|(at, one)| (good + at, one.error_code))
        .collect();
    assert_eq!(odd, []);
    assert_eq!(broker.node.fatal(), None);

    let id = broker.send(
        conn,
        3,
        &CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic {
                name: "t".into(),
                count: 9_000,
                assignments: None,
            }],
            timeout_ms: 60_000,
            validate_only: false,
        },
    );
    broker.node.run_ms(10_000);
    let told = broker.expect::<CreatePartitionsRequest>(conn, 3, id);
    assert_eq!(told.results[0].error_code, ErrorCode::KafkaStorageError);
    let request = DeleteTopicsRequest {
        topic_names: vec!["t".into()],
        timeout_ms: 10_000,
        ..DeleteTopicsRequest::default()
    };
    let id = broker.send(conn, 4, &request);
    broker.node.run_ms(5_000);
    let told = broker.expect::<DeleteTopicsRequest>(conn, 4, id);
    assert_eq!(told.responses[0].error_code, ErrorCode::None);
}
