//! Metadata: rules M1-M6 and C10.

use millstream_net::conn::ListenerIndex;
use millstream_net::wire::api::{
    ApiVersionsRequest, DeleteTopicsRequest, FetchRequest, MetadataRequest,
};
use millstream_net::wire::{ErrorCode, Uuid};
use millstream_storage::ids::ShardIndex;
use millstream_tests::sim::broker::Broker;
use millstream_tests::sim::node::NodeConfig;
use millstream_tests::wire;

fn names(broker: &mut Broker, version: i16, request: &MetadataRequest) -> Vec<String> {
    let response = broker.call(version, request);
    let topics = response.topics.iter();
    topics
        .map(|topic| topic.name.clone().unwrap_or_default().to_string())
        .collect()
}

#[test]
fn m1_all_topics_or_none() {
    let mut broker = Broker::default();
    broker.create("b", 1, &[]);
    broker.create("a", 2, &[]);
    let null = MetadataRequest {
        topics: None,
        ..MetadataRequest::default()
    };
    let empty = MetadataRequest {
        topics: Some(Vec::new()),
        ..MetadataRequest::default()
    };
    assert_eq!(
        names(&mut broker, 0, &empty),
        ["a", "b"],
        "version 0: empty is all"
    );
    for version in 1..=13 {
        assert_eq!(names(&mut broker, version, &null), ["a", "b"]);
        assert!(names(&mut broker, version, &empty).is_empty());
    }
}

#[test]
fn m2_an_unknown_topic_is_created_and_found_by_asking_again() {
    let mut broker = Broker::default();
    for version in 0..=13 {
        let name = format!("auto-{version}");
        let request = wire::metadata(&[&name]);
        let first = broker.call(version, &request);
        assert!(matches!(
            first.topics[0].error_code,
            ErrorCode::LeaderNotAvailable | ErrorCode::UnknownTopicOrPartition
        ));
        let again = broker.call(version, &request);
        assert_eq!(again.topics[0].error_code, ErrorCode::None);
        assert_eq!(again.topics[0].partitions.len(), 1);
        assert_eq!(again.topics[0].partitions[0].leader_id, 1);
    }
}

#[test]
fn m2_m8_topics_without_a_count_have_num_partitions() {
    let mut config = NodeConfig::default();
    config.controller.partitions = 3;
    let mut broker = Broker::new(config);
    broker.call(9, &wire::metadata(&["auto"]));
    broker.create("made", -1, &[]);
    for name in ["auto", "made"] {
        let response = broker.call(9, &wire::metadata(&[name]));
        assert_eq!(response.topics[0].partitions.len(), 3, "{name}");
        assert_eq!(response.topics[0].partitions[2].replica_nodes, [1]);
    }
}

#[test]
fn m2_nothing_is_created_without_the_flag_or_the_setting_or_a_lawful_name() {
    let mut broker = Broker::default();
    let mut request = wire::metadata(&["t"]);
    request.allow_auto_topic_creation = false;
    for _ in 0..2 {
        let response = broker.call(4, &request);
        assert_eq!(
            response.topics[0].error_code,
            ErrorCode::UnknownTopicOrPartition
        );
    }
    let request = wire::metadata(&["not lawful"]);
    for _ in 0..2 {
        let response = broker.call(4, &request);
        assert_eq!(
            response.topics[0].error_code,
            ErrorCode::InvalidTopicException
        );
    }
    let mut config = NodeConfig::default();
    config.settings.auto_create_topics = false;
    let mut broker = Broker::new(config);
    for _ in 0..2 {
        let response = broker.call(4, &wire::metadata(&["t"]));
        assert_eq!(
            response.topics[0].error_code,
            ErrorCode::UnknownTopicOrPartition
        );
    }
}

#[test]
fn m3_a_name_that_collides_once_dots_are_underscores_is_refused() {
    let mut broker = Broker::default();
    broker.create("a.b", 1, &[]);
    let response = broker.call(9, &wire::metadata(&["a_b"]));
    assert_eq!(
        response.topics[0].error_code,
        ErrorCode::InvalidTopicException
    );
}

#[test]
fn m4_leader_epochs_never_go_back() {
    let mut broker = Broker::default();
    broker.create("t", 2, &[]);
    for expected in 0..3 {
        let response = broker.call(9, &wire::metadata(&["t"]));
        for partition in &response.topics[0].partitions {
            assert_eq!(partition.error_code, ErrorCode::None);
            assert_eq!(partition.leader_epoch, expected);
            assert_eq!(partition.isr_nodes, [1]);
            assert_eq!(partition.replica_nodes, [1]);
            assert!(partition.offline_replicas.is_empty());
        }
        broker = broker.restart();
    }
}

#[test]
fn m4_topics_are_found_by_id_from_version_12_on() {
    let mut broker = Broker::default();
    broker.create("t", 2, &[]);
    let id = broker.topic_id("t");
    assert_ne!(id, Uuid::ZERO);
    let by_id = |topic_id| {
        let mut request = wire::metadata(&["t"]);
        let topics = request.topics.iter_mut().flatten();
        topics.for_each(|topic| {
            topic.name = None;
            topic.topic_id = topic_id;
        });
        request
    };
    let nobody = Uuid([7; 16]);
    for version in [12, 13] {
        let found = broker.call(version, &by_id(id)).topics.remove(0);
        assert_eq!(found.error_code, ErrorCode::None);
        assert_eq!((found.name, found.topic_id), (Some("t".into()), id));
        assert_eq!(found.partitions.len(), 2);
        let unknown = broker.call(version, &by_id(nobody)).topics.remove(0);
        assert_eq!(unknown.error_code, ErrorCode::UnknownTopicId);
        assert_eq!((unknown.name, unknown.topic_id), (None, nobody));
    }
    // The field is there before, for names alone.
    for version in [10, 11] {
        let response = broker.call(version, &by_id(id));
        assert_eq!(response.topics[0].error_code, ErrorCode::InvalidRequest);
        let response = broker.call(version, &wire::metadata(&["t"]));
        assert_eq!(response.topics[0].topic_id, id);
    }
}

#[test]
fn m4_a_topic_made_again_has_another_id() {
    let mut broker = Broker::default();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        broker.create("t", 1, &[]);
        assert!(seen.insert(broker.topic_id("t")));
        let delete = DeleteTopicsRequest {
            topic_names: vec!["t".into()],
            timeout_ms: 1000,
            ..DeleteTopicsRequest::default()
        };
        broker.call(4, &delete);
    }
}

#[test]
fn m5_the_cluster_id_is_stable_and_the_controller_is_a_live_broker() {
    let mut broker = Broker::default();
    let first = broker.call(9, &wire::metadata(&[]));
    assert!(first.cluster_id.as_ref().is_some_and(|id| !id.is_empty()));
    assert!(
        first
            .brokers
            .iter()
            .any(|one| one.node_id == first.controller_id)
    );
    let mut broker = broker.restart();
    let second = broker.call(9, &wire::metadata(&[]));
    assert_eq!(first.cluster_id, second.cluster_id);
}

#[test]
fn m6_authorized_operations_are_marked_as_not_asked_for() {
    let mut broker = Broker::default();
    broker.create("t", 1, &[]);
    for version in 8..=13 {
        let response = broker.call(version, &wire::metadata(&["t"]));
        assert_eq!(response.cluster_authorized_operations, i32::MIN);
        assert_eq!(response.topics[0].topic_authorized_operations, i32::MIN);
    }
}

#[test]
fn m6_authorized_operations_are_all_where_nobody_forbids_them() {
    let mut broker = Broker::default();
    broker.create("t", 1, &[]);
    let mut request = wire::metadata(&["t", "nobody"]);
    request.allow_auto_topic_creation = false;
    request.include_topic_authorized_operations = true;
    for version in 8..=13 {
        request.include_cluster_authorized_operations = version <= 10;
        let response = broker.call(version, &request);
        let cluster = if version <= 10 { 8096 } else { i32::MIN };
        assert_eq!(response.cluster_authorized_operations, cluster, "{version}");
        assert_eq!(response.topics[0].topic_authorized_operations, 3576);
    }
}

#[test]
fn c10_brokers_are_told_with_the_address_of_the_listener() {
    let mut broker = Broker::default();
    let response = broker.call(9, &wire::metadata(&[]));
    let found: Vec<_> = response
        .brokers
        .iter()
        .map(|one| (one.node_id, one.host.to_string(), one.port))
        .collect();
    assert_eq!(found, [(1, "node-1".to_owned(), 9092)]);
}

/// A node with 30 topics of 100 partitions each.
fn broker_of_many() -> Broker {
    let mut broker = Broker::default();
    for index in 0..30 {
        broker.create(&format!("t-{index:02}"), 100, &[]);
    }
    broker
}

fn all_topics() -> MetadataRequest {
    MetadataRequest {
        topics: None,
        ..MetadataRequest::default()
    }
}

#[test]
fn m1_a_long_list_is_whole_in_every_version_and_asked_for_any_way() {
    let mut broker = broker_of_many();
    let expected: Vec<_> = (0..30).map(|index| format!("t-{index:02}")).collect();
    let by_name: Vec<&str> = expected.iter().map(String::as_str).collect();
    for version in 0..=13 {
        let all = match version {
            0 => wire::metadata(&[]),
            _ => all_topics(),
        };
        for request in [all.clone(), wire::metadata(&by_name), all] {
            let response = broker.call(version, &request);
            let names = response.topics.iter();
            let names: Vec<_> = names
                .map(|topic| topic.name.clone().unwrap_or_default().to_string())
                .collect();
            assert_eq!(names, expected, "{version}");
            for topic in &response.topics {
                assert_eq!(topic.error_code, ErrorCode::None);
                let indexes = topic.partitions.iter().map(|one| one.partition_index);
                assert!(indexes.eq(0..100));
            }
        }
    }
}

#[test]
fn m1_a_topic_of_many_partitions_is_whole_in_every_version_and_holds_up_nobody() {
    let mut broker = Broker::default();
    broker.create("a", 1, &[]);
    broker.create("wide", 1_000, &[]);
    broker.create("z", 3, &[]);
    let (asking, other) = (broker.connect(0), broker.connect(0));
    // Before version 4 a name that nobody has is created.
    for version in 4..=13 {
        for request in [
            wire::metadata(&["z", "wide", "nobody", "a"]),
            wire::metadata(&["wide"]),
            all_topics(),
        ] {
            let mut request = request;
            request.allow_auto_topic_creation = false;
            broker
                .node
                .request(asking, wire::frame(version, 1, &request));
            let ping = wire::frame(0, 7, &ApiVersionsRequest::default());
            broker.node.request(other, ping);
            broker.node.turn(ShardIndex(0));
            broker.expect::<ApiVersionsRequest>(other, 0, 7);
            let response = broker.expect::<MetadataRequest>(asking, version, 1);
            let told = response.topics.iter();
            let told = told.map(|topic| (topic.name.as_deref().unwrap_or(""), topic));
            let told: Vec<_> = told
                .map(|(name, topic)| (name, topic.partitions.len()))
                .collect();
            let expected: &[(&str, usize)] = match &request.topics {
                None => &[("a", 1), ("wide", 1_000), ("z", 3)],
                Some(one) if one.len() == 1 => &[("wide", 1_000)],
                Some(_) => &[("z", 3), ("wide", 1_000), ("nobody", 0), ("a", 1)],
            };
            assert_eq!(told, expected, "{version}");
            for topic in &response.topics {
                let indexes = topic.partitions.iter().map(|one| one.partition_index);
                assert!(indexes.eq(0..topic.partitions.len() as i32));
            }
        }
    }
    assert_eq!(broker.node.core(ShardIndex(0)).in_flight(), 0);
}

#[test]
fn m1_a_long_list_tells_of_every_topic_that_was_there_before_it_was_asked_for() {
    let mut broker = broker_of_many();
    for round in 0..3 {
        let name = format!("u-{round}");
        broker.create(&name, 1, &[]);
        assert!(names(&mut broker, 9, &all_topics()).contains(&name));
        let delete = DeleteTopicsRequest {
            topic_names: vec![name.as_str().into()],
            timeout_ms: 1000,
            ..DeleteTopicsRequest::default()
        };
        broker.call(4, &delete);
        assert!(!names(&mut broker, 9, &all_topics()).contains(&name));
    }
}

#[test]
fn a_long_list_holds_up_nobody_else_and_many_who_ask_for_it_share_it() {
    let mut broker = broker_of_many();
    let (asking, other) = (broker.connect(0), broker.connect(0));
    for id in 0..200 {
        let frame = wire::frame(9, id, &all_topics());
        broker.node.request(asking, frame);
    }
    let frame = wire::frame(0, 7, &ApiVersionsRequest::default());
    broker.node.request(other, frame);
    broker.node.turn(ShardIndex(0));
    broker.expect::<ApiVersionsRequest>(other, 0, 7);
    for id in 0..200 {
        let response = broker.expect::<MetadataRequest>(asking, 9, id);
        assert_eq!(response.topics.len(), 30);
    }
    assert_eq!(broker.node.core(ShardIndex(0)).in_flight(), 0);
}

#[test]
fn c10_who_comes_in_on_another_listener_is_told_that_address() {
    let mut config = NodeConfig::default();
    config.settings.listeners = vec!["PLAINTEXT".to_owned(), "LAN".to_owned()];
    let mut broker = Broker::new(config);
    broker.create("t", 1, &[]);
    let address = |broker: &mut Broker, conn| {
        let id = broker.send(conn, 12, &wire::metadata(&["t"]));
        let response = broker.expect::<MetadataRequest>(conn, 12, id);
        let found = response.brokers.iter();
        let found: Vec<_> = found.map(|one| (one.host.to_string(), one.port)).collect();
        found
    };
    let lan = broker.node.connect_on(ShardIndex(1), ListenerIndex(1));
    let local = broker.connect(1);
    assert_eq!(address(&mut broker, local), [("node-1".to_owned(), 9092)]);
    assert_eq!(address(&mut broker, lan), [("node-1.lan".to_owned(), 9093)]);
    // The hints of rule F11 too.
    let broker = &mut broker.restart();
    let lan = broker.node.connect_on(ShardIndex(1), ListenerIndex(1));
    let mut request = broker.with_ids(wire::fetch("t", 0, 0));
    request.topics[0].partitions[0].current_leader_epoch = 0;
    let id = broker.send(lan, 18, &request);
    let response = broker.expect::<FetchRequest>(lan, 18, id);
    let node = &response.node_endpoints[0];
    assert_eq!((&*node.host, node.port), ("node-1.lan", 9093));
}
