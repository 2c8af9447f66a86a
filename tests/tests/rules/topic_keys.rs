//! Topic keys that act do so on topics that are in use: rules R3-R9 and section 4.1.

use bytes::Bytes;
use millstream_net::wire::ErrorCode;
use millstream_net::wire::api::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use millstream_storage::batch::{BatchBuilder, BatchHeader, check};
use millstream_tests::sim::broker::Broker;
use millstream_tests::wire;

fn set(broker: &mut Broker, topic: &str, key: &str, value: &str) {
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: 2,
            resource_name: topic.into(),
            configs: vec![AlterableConfig {
                name: key.into(),
                config_operation: 0,
                value: Some(value.into()),
            }],
        }],
        validate_only: false,
    };
    let told = broker.call(1, &request).responses.remove(0);
    assert_eq!(told.error_code, ErrorCode::None, "{:?}", told.error_message);
}

fn produce(broker: &mut Broker, batch: Bytes) -> ErrorCode {
    broker
        .produce(9, &wire::produce(-1, "t", 0, batch))
        .error_code
}

/// A topic with a record, and the time.
fn broker() -> (Broker, i64) {
    let mut broker = Broker::default();
    broker.create("t", 1, &[]);
    broker.append("t", 0, &["first"]);
    let now = broker.node.now().wall.0;
    (broker, now)
}

#[test]
fn max_message_bytes_acts_on_a_live_topic() {
    let (mut broker, now) = broker();
    let large = "x".repeat(5_000);
    set(&mut broker, "t", "max.message.bytes", "1000");
    let told = produce(&mut broker, wire::batch(now, &[&large]));
    assert_eq!(told, ErrorCode::MessageTooLarge);
    set(&mut broker, "t", "max.message.bytes", "10000");
    let told = produce(&mut broker, wire::batch(now, &[&large]));
    assert_eq!(told, ErrorCode::None);
}

#[test]
fn message_timestamp_limits_act_on_a_live_topic() {
    let (mut broker, now) = broker();
    set(&mut broker, "t", "message.timestamp.before.max.ms", "1000");
    set(&mut broker, "t", "message.timestamp.after.max.ms", "2000");
    let cases = [
        (-60_000, ErrorCode::InvalidTimestamp),
        (-500, ErrorCode::None),
        (1_000, ErrorCode::None),
        (60_000, ErrorCode::InvalidTimestamp),
    ];
    for (offset, expected) in cases {
        let told = produce(&mut broker, wire::batch(now + offset, &["a"]));
        assert_eq!(told, expected, "{offset}");
    }
}

#[test]
fn message_timestamp_type_acts_on_a_live_topic() {
    let (mut broker, now) = broker();
    set(&mut broker, "t", "message.timestamp.type", "LogAppendTime");
    let told = broker.produce(
        9,
        &wire::produce(-1, "t", 0, wire::batch(now - 60_000, &["a"])),
    );
    assert_eq!(told.error_code, ErrorCode::None);
    assert!(told.log_append_time_ms >= now);
    set(&mut broker, "t", "message.timestamp.type", "CreateTime");
    let told = broker.produce(9, &wire::produce(-1, "t", 0, wire::batch(now, &["a"])));
    assert_eq!(told.log_append_time_ms, -1);
}

#[test]
fn compression_type_acts_on_a_live_topic() {
    let (mut broker, now) = broker();
    for (codec, attributes) in [
        ("zstd", 4),
        ("lz4", 3),
        ("snappy", 2),
        ("gzip", 1),
        ("uncompressed", 0),
    ] {
        set(&mut broker, "t", "compression.type", codec);
        let batch = wire::batch(now, &[&"x".repeat(1_000)]);
        let told = broker.produce(9, &wire::produce(-1, "t", 0, batch));
        assert_eq!(told.error_code, ErrorCode::None);
        let fetched = broker.fetch(11, &wire::fetch("t", 0, told.base_offset));
        let records = fetched.records.expect("never null");
        let whole: Vec<u8> = records.0.iter().flatten().copied().collect();
        let head = check(&whole).expect("a whole batch");
        assert_eq!(head.attributes.0 & 7, attributes, "{codec}");
    }
}

#[test]
fn r5_cleanup_policy_compact_wants_keys_as_soon_as_it_is_set() {
    let (mut broker, now) = broker();
    let keyless = || {
        let mut builder = BatchBuilder::new(BatchHeader::default());
        builder.push(now, None, Some(b"a"), &[]);
        builder.finish()
    };
    assert_eq!(produce(&mut broker, keyless()), ErrorCode::None);
    set(&mut broker, "t", "cleanup.policy", "compact");
    assert_eq!(produce(&mut broker, keyless()), ErrorCode::InvalidRecord);
    assert_eq!(
        produce(&mut broker, wire::batch(now, &["a"])),
        ErrorCode::None
    );
    set(&mut broker, "t", "cleanup.policy", "delete");
    assert_eq!(produce(&mut broker, keyless()), ErrorCode::None);
}

fn earliest(broker: &mut Broker) -> i64 {
    let told = broker.list_offsets(5, &wire::list_offsets("t", 0, -2));
    told.offset
}

/// Appends so that segments roll, and lets time pass.
fn fill(broker: &mut Broker, batches: usize) {
    let large = "x".repeat(300_000);
    for _ in 0..batches {
        broker.append("t", 0, &[&large]);
        broker.node.run_ms(1_100);
    }
}

#[test]
fn segment_bytes_and_retention_bytes_act_on_a_live_topic() {
    let (mut broker, _) = broker();
    fill(&mut broker, 8);
    assert_eq!(earliest(&mut broker), 0, "all of it is one segment");
    set(&mut broker, "t", "segment.bytes", "1048576");
    fill(&mut broker, 8);
    assert_eq!(earliest(&mut broker), 0);
    set(&mut broker, "t", "retention.bytes", "1500000");
    fill(&mut broker, 8);
    assert!(earliest(&mut broker) > 0);
}

#[test]
fn segment_ms_and_retention_ms_act_on_a_live_topic() {
    let (mut broker, _) = broker();
    fill(&mut broker, 2);
    set(&mut broker, "t", "segment.ms", "1000");
    fill(&mut broker, 4);
    assert_eq!(earliest(&mut broker), 0);
    set(&mut broker, "t", "retention.ms", "2000");
    broker.node.run_ms(10_000);
    fill(&mut broker, 3);
    assert!(earliest(&mut broker) > 0);
    // A compacted topic keeps everything.
    set(&mut broker, "t", "cleanup.policy", "compact");
    let kept = earliest(&mut broker);
    broker.node.run_ms(10_000);
    fill(&mut broker, 3);
    assert_eq!(earliest(&mut broker), kept);
}

#[test]
fn values_of_the_node_act_on_topics_that_say_nothing() {
    let mut config = millstream_tests::sim::node::NodeConfig::default();
    let start = [("message.max.bytes".to_owned(), "1000".to_owned())];
    config.settings.broker_values = start.into();
    let mut broker = Broker::new(config);
    broker.create("t", 1, &[]);
    broker.create("own", 1, &[("max.message.bytes", "10000")]);
    let now = broker.node.now().wall.0;
    let large = "x".repeat(5_000);
    for (name, expected) in [("t", ErrorCode::MessageTooLarge), ("own", ErrorCode::None)] {
        let batch = wire::batch(now, &[&large]);
        let told = broker.produce(9, &wire::produce(-1, name, 0, batch));
        assert_eq!(told.error_code, expected);
    }
}
