//! Framing, headers and order: rules C1-C9 and A1-A8.

use bytes::{BufMut, BytesMut};
use millstream_net::conn::{Framer, Transport};
use millstream_net::wire::api::{
    ApiVersionsRequest, FetchRequest, ListOffsetsRequest, MetadataRequest, ProduceRequest,
};
use millstream_net::wire::{ApiKey, ErrorCode};
use millstream_tests::sim::broker::Broker;
use millstream_tests::wire;

/// A request header of version 1 and nothing behind it.
fn header(api_key: i16, api_version: i16, correlation_id: i32) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_i16(api_key);
    frame.put_i16(api_version);
    frame.put_i32(correlation_id);
    frame.put_i16(-1);
    frame
}

#[test]
fn c1_c9_header_versions_follow_the_version_of_the_api() {
    let mut broker = Broker::default();
    let conn = broker.conn();
    let header = |version: i16| {
        let mut frame = BytesMut::new();
        frame.put_i16(22);
        frame.put_i16(version);
        frame.put_i32(0x0102_0304);
        frame.put_i16(4);
        frame.put_slice(b"test");
        frame
    };
    // InitProducerId 1: header 1, a null string of int16 length, the timeout.
    let mut frame = header(1);
    frame.put_i16(-1);
    frame.put_i32(1000);
    broker.send_bytes(conn, &frame);
    let first = broker.next(conn).expect("an answer");
    assert_eq!(first.len(), 4 + 4 + 2 + 8 + 2);
    assert_eq!(first[..10], [1, 2, 3, 4, 0, 0, 0, 0, 0, 0]);
    // InitProducerId 2: header 2 with tagged fields behind an int16 client id, a null compact string, tagged fields.
    let mut frame = header(2);
    frame.put_u8(0);
    frame.put_u8(0);
    frame.put_i32(1000);
    frame.put_u8(0);
    broker.send_bytes(conn, &frame);
    let second = broker.next(conn).expect("an answer");
    assert_eq!(second.len(), 4 + 1 + 4 + 2 + 8 + 2 + 1);
    assert_eq!(second[..11], [1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(second[19..], [0, 0, 0], "epoch 0 and no tagged fields");
    let id = |answer: &[u8], at: usize| {
        i64::from_be_bytes(answer[at..at + 8].try_into().expect("8 bytes"))
    };
    assert_eq!(id(&second, 11), id(&first, 10) + 1);
}

fn api_versions() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1.0".into(),
    }
}

#[test]
fn a5_a6_no_feature_is_told_that_is_not_there() {
    let mut broker = Broker::default();
    for version in [3, 4] {
        let response = broker.call(version, &api_versions());
        assert!(
            response.finalized_features_epoch >= 0,
            "else clients ignore the list"
        );
        let finalized = response.finalized_features.iter();
        let finalized: Vec<_> = finalized
            .map(|one| {
                (
                    one.name.to_string(),
                    one.min_version_level,
                    one.max_version_level,
                )
            })
            .collect();
        // No transaction.version: there are none.
        let metadata = ("metadata.version".to_owned(), 29, 29);
        let group = ("group.version".to_owned(), 1, 1);
        assert_eq!(finalized, [metadata, group]);
        let supported = response.supported_features.iter();
        let supported: Vec<_> = supported
            .map(|one| (one.name.to_string(), one.min_version, one.max_version))
            .collect();
        assert_eq!(supported, finalized, "none with a minimum of 0");
    }
    let response = broker.call(2, &api_versions());
    assert!(response.finalized_features.is_empty());
}

#[test]
fn a9_the_ranges_and_the_features_tell_of_the_same_release() {
    let mut broker = Broker::default();
    let response = broker.call(4, &api_versions());
    let speaks = |key: i16, version: i16| {
        let mut ranges = response.api_keys.iter();
        ranges.any(|one| one.api_key == key && one.max_version >= version)
    };
    // (key, version, metadata.version of the release that brought it), as clients guess: the first that is spoken.
    let signs = [
        (35, 5, 30),
        (2, 11, 29),
        (0, 13, 27),
        (2, 10, 25),
        (1, 17, 21),
    ];
    let guessed = signs
        .into_iter()
        .find(|(key, version, _)| speaks(*key, *version));
    let level = response.finalized_features[0].max_version_level;
    assert_eq!(guessed.map(|sign| sign.2), Some(level));
}

#[test]
fn c2_what_follows_the_header_of_an_unknown_version_is_not_read() {
    let mut broker = Broker::default();
    let conn = broker.conn();
    let mut frame = header(18, 5, 3);
    frame.put_slice(&[0xff; 40]);
    broker.send_bytes(conn, &frame);
    let answer = broker.next(conn).expect("an answer");
    assert_eq!(answer[..6], [0, 0, 0, 3, 0, 35]);
    let id = broker.send(conn, 0, &ApiVersionsRequest::default());
    broker.expect::<ApiVersionsRequest>(conn, 0, id);
}

#[test]
fn c7_a_length_below_zero_or_above_the_limit_ends_the_stream() {
    let limit = 104_857_600;
    for (length, lawful) in [(-1, false), (limit + 1, false), (limit, true), (0, true)] {
        let mut framer = Framer::new(Transport::new(1 << 20), limit as usize);
        let mut frames = Vec::new();
        let bytes = i32::to_be_bytes(length);
        let taken = framer.take(0, &bytes, &mut frames);
        assert_eq!(taken.is_ok(), lawful, "{length}");
    }
}

#[test]
fn c2_api_versions_above_ours_is_answered_as_version_0_and_the_connection_stays() {
    let mut broker = Broker::default();
    let conn = broker.conn();
    broker.send_bytes(conn, &header(18, 127, 77));
    let answer = broker.next(conn).expect("an answer");
    let mut expected = BytesMut::new();
    expected.put_i32(77);
    expected.put_i16(35);
    expected.put_i32(1);
    expected.put_i16(18);
    expected.put_i16(0);
    expected.put_i16(4);
    assert_eq!(answer, expected.freeze());
    assert!(!broker.is_closed(conn));
}

#[test]
fn c3_api_versions_3_has_the_short_response_header() {
    let mut broker = Broker::default();
    let conn = broker.conn();
    let request = ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1.0".into(),
    };
    broker.send(conn, 3, &request);
    let answer = broker.next(conn).expect("an answer");
    // Correlation id, error code, then the compact array at once: no tagged fields in the header.
    assert_eq!(&answer[4..6], [0, 0]);
    assert!(answer[6] > 1, "a compact array of APIs follows");
}

#[test]
fn c4_a_malformed_software_name_is_an_invalid_request() {
    let mut broker = Broker::default();
    for name in ["", "-x", "a b"] {
        let request = ApiVersionsRequest {
            client_software_name: name.into(),
            client_software_version: "1.0".into(),
        };
        let response = broker.call(3, &request);
        assert_eq!(response.error_code, ErrorCode::InvalidRequest, "{name:?}");
    }
}

#[test]
fn a1_a3_a4_a7_a8_the_ranges_are_those_that_are_served_and_produce_begins_at_0() {
    let mut broker = Broker::default();
    let response = broker.call(0, &ApiVersionsRequest::default());
    let ranges: Vec<_> = response
        .api_keys
        .iter()
        .map(|range| (range.api_key, range.min_version, range.max_version))
        .collect();
    // What is served, and nothing else.
    let mut sorted = ranges.clone();
    sorted.sort_unstable();
    let expected = [
        (0, 0, 13),
        (1, 4, 18),
        (2, 1, 11),
        (3, 0, 13),
        (8, 2, 10),
        (9, 1, 10),
        (10, 0, 6),
        (11, 0, 9),
        (12, 0, 4),
        (13, 0, 5),
        (14, 0, 5),
        (15, 0, 6),
        (16, 0, 5),
        (18, 0, 4),
        (19, 2, 7),
        (20, 1, 6),
        (21, 0, 2),
        (22, 0, 5),
        (23, 2, 4),
        (32, 1, 4),
        (37, 0, 3),
        (42, 0, 2),
        (44, 0, 1),
        (47, 0, 0),
        (60, 0, 2),
        (61, 0, 0),
        (68, 0, 1),
        (69, 0, 1),
        (74, 0, 1),
        (75, 0, 0),
    ];
    assert_eq!(sorted, expected);
    let mut keys: Vec<_> = ranges.iter().map(|range| range.0).collect();
    keys.dedup();
    assert_eq!(keys.len(), ranges.len(), "no key twice");
}

#[test]
fn a1_c5_what_is_not_served_closes_the_connection_without_an_answer() {
    // (key, version): Produce 0-2 though advertised, versions above ours, keys nobody has.
    for (key, version) in [
        (0, 2),
        (0, 14),
        (1, 3),
        (1, 19),
        (2, 0),
        (2, 12),
        (3, 99),
        (4, 0),
        (999, 0),
        (-1, 0),
    ] {
        let mut broker = Broker::default();
        let conn = broker.conn();
        broker.send_bytes(conn, &header(key, version, 1));
        assert!(broker.next(conn).is_none(), "{key} {version}");
        assert!(broker.is_closed(conn), "{key} {version}");
    }
}

#[test]
fn c5_a_body_that_is_cut_or_lies_about_its_length_closes_the_connection() {
    let request = wire::produce(-1, "t", 0, wire::batch(0, &["a"]));
    let whole = wire::frame(7, 1, &request);
    for length in 0..whole.len() {
        let mut broker = Broker::default();
        let conn = broker.conn();
        broker.send_bytes(conn, &whole[..length]);
        assert!(broker.is_closed(conn), "cut to {length} of {}", whole.len());
    }
    let mut array = header(3, 1, 1);
    array.put_i32(i32::MAX);
    let mut broker = Broker::default();
    let conn = broker.conn();
    broker.send_bytes(conn, &array);
    assert!(broker.is_closed(conn));
}

#[test]
fn c5_bytes_behind_a_whole_body_are_ignored_as_kafka_does() {
    let mut broker = Broker::default();
    broker.create("t", 1, &[]);
    for version in [7, 9, 13] {
        let batch = wire::batch(broker.node.now().wall.0, &["a"]);
        let request = broker.with_ids(wire::produce(-1, "t", 0, batch));
        let mut frame = BytesMut::from(&wire::frame(version, 5, &request)[..]);
        frame.put_slice(&[0xff; 9]);
        let conn = broker.conn();
        broker.send_bytes(conn, &frame);
        let response = broker.expect::<ProduceRequest>(conn, version, 5);
        let answer = &response.responses[0].partitions[0];
        assert_eq!(answer.error_code, ErrorCode::None);
        assert!(!broker.is_closed(conn));
    }
}

#[test]
fn c5_c6_answers_before_the_closing_request_still_leave() {
    let mut broker = Broker::default();
    let conn = broker.conn();
    let id = broker.send(conn, 1, &MetadataRequest::default());
    broker.send_bytes(conn, &header(999, 0, 2));
    broker.expect::<MetadataRequest>(conn, 1, id);
    assert!(broker.is_closed(conn));
}

#[test]
fn c6_answers_leave_in_request_order_and_effects_happen_in_arrival_order() {
    let mut broker = Broker::default();
    broker.create("t", 2, &[]);
    let conn = broker.conn();
    let now = broker.node.now().wall.0;
    // Partitions 0 and 1 live on different shards.
    let mut ids = Vec::new();
    for round in 0..5 {
        for partition in 0..2 {
            let value = format!("{partition}-{round}");
            let request = wire::produce(-1, "t", partition, wire::batch(now, &[&value]));
            ids.push((broker.send(conn, 8, &request), i64::from(round)));
        }
    }
    for (id, offset) in ids {
        let response = broker.expect::<ProduceRequest>(conn, 8, id);
        assert_eq!(response.responses[0].partitions[0].base_offset, offset);
    }
}

#[test]
fn c6_a_long_poll_fetch_delays_the_answers_behind_it_not_their_effects() {
    let mut broker = Broker::default();
    broker.create("t", 2, &[]);
    let conn = broker.conn();
    let mut fetch = wire::fetch("t", 0, 0);
    fetch.max_wait_ms = 500;
    let fetch_id = broker.send(conn, 11, &fetch);
    let now = broker.node.now().wall.0;
    let produce = wire::produce(-1, "t", 1, wire::batch(now, &["a"]));
    let produce_id = broker.send(conn, 8, &produce);
    assert!(
        broker.next(conn).is_none(),
        "the fetch waits, so nothing leaves"
    );
    // The append has happened: another connection sees it.
    let other = broker.connect(1);
    let id = broker.send(other, 11, &wire::fetch("t", 1, 0));
    let seen = broker.expect::<FetchRequest>(other, 11, id);
    assert_eq!(seen.responses[0].partitions[0].high_watermark, 1);
    broker.node.run_ms(500);
    broker.expect::<FetchRequest>(conn, 11, fetch_id);
    broker.expect::<ProduceRequest>(conn, 8, produce_id);
}

#[test]
fn c6_a_fetch_behind_an_append_on_one_connection_sees_it() {
    let mut broker = Broker::default();
    broker.create("t", 1, &[]);
    let conn = broker.conn();
    let now = broker.node.now().wall.0;
    let produce = wire::produce(-1, "t", 0, wire::batch(now, &["a"]));
    let first = broker.send(conn, 8, &produce);
    let second = broker.send(conn, 5, &wire::list_offsets("t", 0, -1));
    broker.expect::<ProduceRequest>(conn, 8, first);
    let found = broker.expect::<ListOffsetsRequest>(conn, 5, second);
    assert_eq!(found.topics[0].partitions[0].offset, 1);
}

#[test]
fn c7_an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let mut broker = Broker::default();
    let (idle, busy) = (broker.connect(1), broker.conn());
    for _ in 0..7 {
        broker.node.run_ms(100_000);
        let id = broker.send(busy, 0, &ApiVersionsRequest::default());
        broker.expect::<ApiVersionsRequest>(busy, 0, id);
    }
    assert!(broker.is_closed(idle));
    assert!(!broker.is_closed(busy));
}

#[test]
fn c8_unknown_tagged_fields_are_skipped() {
    let mut broker = Broker::default();
    let conn = broker.conn();
    let mut frame = BytesMut::new();
    frame.put_i16(ApiKey::ApiVersions.code());
    frame.put_i16(3);
    frame.put_i32(5);
    frame.put_i16(-1);
    // One unknown tagged field in the header: tag 9, 2 bytes.
    frame.put_slice(&[1, 9, 2, 0xab, 0xcd]);
    frame.put_slice(&[2, b'x', 2, b'1']);
    // And one in the body.
    frame.put_slice(&[1, 7, 1, 0]);
    broker.send_bytes(conn, &frame);
    let response = broker.expect::<ApiVersionsRequest>(conn, 3, 5);
    assert_eq!(response.error_code, ErrorCode::None);
}
