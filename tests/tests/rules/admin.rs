//! CreatePartitions, DescribeCluster and DescribeTopicPartitions: rules M11-M13.

use millstream_net::wire::ErrorCode;
use millstream_net::wire::api::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
    DescribeClusterRequest, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsTopic, OPERATIONS_NOT_ASKED, TopicPartitionCursor,
};
use millstream_tests::sim::broker::Broker;
use millstream_tests::sim::node::NodeConfig;
use millstream_tests::wire;

fn grow(name: &str, count: i32, assigned: Option<&[&[i32]]>) -> CreatePartitionsTopic {
    let assignment = |nodes: &&[i32]| CreatePartitionsAssignment {
        broker_ids: nodes.to_vec(),
    };
    CreatePartitionsTopic {
        name: name.into(),
        count,
        assignments: assigned.map(|all| all.iter().map(assignment).collect()),
    }
}

fn grow_all(
    broker: &mut Broker,
    version: i16,
    topics: Vec<CreatePartitionsTopic>,
    validate_only: bool,
) -> Vec<ErrorCode> {
    let request = CreatePartitionsRequest {
        topics,
        timeout_ms: 10_000,
        validate_only,
    };
    let response = broker.call(version, &request);
    response.results.iter().map(|one| one.error_code).collect()
}

fn partition_count(broker: &mut Broker, name: &str) -> usize {
    let response = broker.call(9, &wire::metadata(&[name]));
    response.topics[0].partitions.len()
}

#[test]
fn m11_refusals_are_per_topic_and_good_topics_grow() {
    let mut broker = Broker::default();
    for name in ["a", "b", "c", "d", "twice"] {
        broker.create(name, 2, &[]);
    }
    for version in 0..=3 {
        let topics = vec![
            grow("a", 2, None),
            grow("b", 1, None),
            grow("c", -1, None),
            grow("nobody", 3, None),
            grow("twice", 3, None),
            grow("twice", 3, None),
            grow("d", 3 + i32::from(version), None),
        ];
        let told = grow_all(&mut broker, version, topics, false);
        let expected = [
            ErrorCode::InvalidPartitions,
            ErrorCode::InvalidPartitions,
            ErrorCode::InvalidPartitions,
            ErrorCode::UnknownTopicOrPartition,
            // A topic named twice is answered once.
            ErrorCode::InvalidRequest,
            ErrorCode::None,
        ];
        assert_eq!(told, expected, "version {version}");
    }
    assert_eq!(partition_count(&mut broker, "a"), 2);
    assert_eq!(partition_count(&mut broker, "twice"), 2);
    assert_eq!(partition_count(&mut broker, "d"), 6);
}

#[test]
fn m11_an_assignment_names_live_brokers_once_for_each_new_partition() {
    let mut broker = Broker::default();
    broker.create("t", 1, &[]);
    let bad: [&[&[i32]]; 5] = [&[], &[&[1], &[1]], &[&[9]], &[&[1, 1]], &[&[]]];
    for assigned in bad {
        let told = grow_all(&mut broker, 3, vec![grow("t", 2, Some(assigned))], false);
        assert_eq!(told, [ErrorCode::InvalidReplicaAssignment], "{assigned:?}");
    }
    let told = grow_all(
        &mut broker,
        3,
        vec![grow("t", 3, Some(&[&[1], &[1]]))],
        false,
    );
    assert_eq!(told, [ErrorCode::None]);
    assert_eq!(partition_count(&mut broker, "t"), 3);
}

#[test]
fn m11_validation_adds_nothing_and_one_request_adds_a_bounded_number() {
    let mut broker = Broker::default();
    broker.create("t", 1, &[]);
    let told = grow_all(&mut broker, 3, vec![grow("t", 2, None)], true);
    assert_eq!(told, [ErrorCode::None]);
    let told = grow_all(&mut broker, 3, vec![grow("t", i32::MAX, None)], false);
    assert_eq!(told, [ErrorCode::PolicyViolation]);
    assert_eq!(partition_count(&mut broker, "t"), 1);
}

#[test]
fn m11_new_partitions_take_records_at_once_and_survive_a_restart() {
    let mut broker = Broker::default();
    broker.create("t", 1, &[]);
    assert_eq!(broker.append("t", 0, &["old"]), 0);
    let told = grow_all(&mut broker, 3, vec![grow("t", 4, None)], false);
    assert_eq!(told, [ErrorCode::None]);
    let response = broker.call(9, &wire::metadata(&["t"]));
    for (index, partition) in response.topics[0].partitions.iter().enumerate() {
        assert_eq!(partition.partition_index, index as i32);
        assert_eq!(partition.error_code, ErrorCode::None);
        assert_eq!((partition.leader_id, partition.leader_epoch), (1, 0));
    }
    for partition in 1..4 {
        assert_eq!(broker.append("t", partition, &["new"]), 0);
    }
    let mut broker = broker.restart();
    assert_eq!(partition_count(&mut broker, "t"), 4);
    for partition in 0..4 {
        assert_eq!(broker.append("t", partition, &["again"]), 1);
    }
}

fn page(
    broker: &mut Broker,
    names: &[&str],
    limit: i32,
    cursor: Option<(&str, i32)>,
) -> DescribeTopicPartitionsResponse {
    let topics = names.iter().map(|name| DescribeTopicPartitionsTopic {
        name: (*name).into(),
    });
    let request = DescribeTopicPartitionsRequest {
        topics: topics.collect(),
        response_partition_limit: limit,
        cursor: cursor.map(|(name, partition_index)| TopicPartitionCursor {
            topic_name: name.into(),
            partition_index,
        }),
    };
    broker.call(0, &request)
}

/// Names with the partitions shown, and where the next page begins.
type Shown = (Vec<(String, Vec<i32>)>, Option<(String, i32)>);

fn shown(response: &DescribeTopicPartitionsResponse) -> Shown {
    let topics = response.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter();
        let name = topic.name.clone().unwrap_or_default().to_string();
        (name, partitions.map(|one| one.partition_index).collect())
    });
    let next = response.next_cursor.as_ref();
    let next = next.map(|next| (next.topic_name.to_string(), next.partition_index));
    (topics.collect(), next)
}

fn of(name: &str, partitions: &[i32]) -> (String, Vec<i32>) {
    (name.to_owned(), partitions.to_vec())
}

#[test]
fn m12_topics_come_in_the_order_of_their_names_and_empty_is_all() {
    let mut broker = Broker::default();
    for (name, partitions) in [("c", 1), ("a", 2), ("b", 1)] {
        broker.create(name, partitions, &[]);
    }
    let all = page(&mut broker, &[], 2000, None);
    let expected = vec![of("a", &[0, 1]), of("b", &[0]), of("c", &[0])];
    assert_eq!(shown(&all), (expected, None));
    let partition = &all.topics[0].partitions[1];
    assert_eq!((partition.leader_id, partition.leader_epoch), (1, 0));
    assert_eq!(partition.isr_nodes, [1]);
    assert_eq!(partition.eligible_leader_replicas.as_deref(), Some(&[][..]));
    assert_eq!(partition.last_known_elr.as_deref(), Some(&[][..]));

    let named = page(
        &mut broker,
        &["c", "nobody", "a", "bad name", "c"],
        2000,
        None,
    );
    let codes: Vec<_> = named.topics.iter().map(|one| one.error_code).collect();
    let expected = vec![
        of("a", &[0, 1]),
        of("bad name", &[]),
        of("c", &[0]),
        of("nobody", &[]),
    ];
    assert_eq!(shown(&named), (expected, None));
    let expected = [
        ErrorCode::None,
        ErrorCode::InvalidTopicException,
        ErrorCode::None,
        ErrorCode::UnknownTopicOrPartition,
    ];
    assert_eq!(codes, expected);
}

#[test]
fn m12_pages_hold_the_limit_and_the_cursor_goes_on_where_they_end() {
    let mut broker = Broker::default();
    for (name, partitions) in [("a", 3), ("b", 1), ("c", 2)] {
        broker.create(name, partitions, &[]);
    }
    for names in [&[][..], &["a", "b", "c"]] {
        for limit in [1, 2, 3, 4, 5, 6, 2000] {
            let (mut seen, mut cursor) = (Vec::new(), None);
            loop {
                let from = cursor
                    .as_ref()
                    .map(|(name, at): &(String, i32)| (&**name, *at));
                let (topics, next) = shown(&page(&mut broker, names, limit, from));
                let here = topics.iter().map(|one| one.1.len()).sum::<usize>();
                assert!(here > 0 && here <= limit as usize);
                for (name, partitions) in topics {
                    seen.extend(partitions.into_iter().map(|one| (name.clone(), one)));
                }
                cursor = next;
                if cursor.is_none() {
                    break;
                }
            }
            let seen: Vec<_> = seen.iter().map(|(name, at)| (&**name, *at)).collect();
            let expected = [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("c", 0), ("c", 1)];
            assert_eq!(seen, expected, "limit {limit}");
        }
    }
    // Less than one is one.
    let (topics, next) = shown(&page(&mut broker, &[], -5, None));
    assert_eq!((topics, next), (vec![of("a", &[0])], Some(("a".into(), 1))));
}

#[test]
fn m12_max_request_partition_size_limit_bounds_a_page() {
    let mut config = NodeConfig::default();
    config.settings.described_partitions_max = 2;
    let mut broker = Broker::new(config);
    broker.create("a", 3, &[]);
    for limit in [2, 3, 2000] {
        let (topics, next) = shown(&page(&mut broker, &[], limit, None));
        assert_eq!(
            (topics, next),
            (vec![of("a", &[0, 1])], Some(("a".into(), 2)))
        );
    }
}

#[test]
fn m12_a_cursor_at_no_partition_or_at_a_topic_that_is_not_asked_for_is_refused() {
    let mut broker = Broker::default();
    broker.create("a", 1, &[]);
    for cursor in [("a", -1), ("b", 0)] {
        let response = page(&mut broker, &["a"], 2000, Some(cursor));
        assert_eq!(response.topics[0].error_code, ErrorCode::InvalidRequest);
        assert!(response.next_cursor.is_none());
    }
    let behind = page(&mut broker, &[], 2000, Some(("0", 7)));
    assert_eq!(shown(&behind), (vec![of("a", &[0])], None));
}

#[test]
fn m13_the_cluster_has_its_id_a_live_controller_and_the_listeners_address() {
    let mut broker = Broker::default();
    for version in 0..=2 {
        let told = broker.call(version, &DescribeClusterRequest::default());
        assert_eq!(told.error_code, ErrorCode::None);
        assert_eq!(told.cluster_id.as_str(), "simulated-cluster-0001");
        assert_eq!(told.controller_id, 1);
        let brokers: Vec<_> = told
            .brokers
            .iter()
            .map(|one| (one.broker_id, one.host.as_str(), one.port, one.is_fenced))
            .collect();
        assert_eq!(brokers, [(1, "node-1", 9092, false)]);
        assert_eq!(told.cluster_authorized_operations, OPERATIONS_NOT_ASKED);
    }
    let request = DescribeClusterRequest {
        include_cluster_authorized_operations: true,
        ..DescribeClusterRequest::default()
    };
    assert_eq!(broker.call(2, &request).cluster_authorized_operations, 8096);
}

#[test]
fn m13_endpoints_of_controllers_are_elsewhere_and_others_do_not_exist() {
    let mut broker = Broker::default();
    for (endpoint_type, code) in [
        (2, ErrorCode::MismatchedEndpointType),
        (0, ErrorCode::UnsupportedEndpointType),
        (3, ErrorCode::UnsupportedEndpointType),
    ] {
        for version in 1..=2 {
            let request = DescribeClusterRequest {
                endpoint_type,
                ..DescribeClusterRequest::default()
            };
            let told = broker.call(version, &request);
            assert_eq!(told.error_code, code);
            assert_eq!((told.endpoint_type, told.controller_id), (1, -1));
        }
    }
}
