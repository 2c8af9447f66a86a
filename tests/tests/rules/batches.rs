//! Record batches: rules R1-R8 as a producer meets them.

use bytes::{Bytes, BytesMut};
use millstream_net::wire::ErrorCode;
use millstream_net::wire::api::{ProducePartition, ProduceRequest};
use millstream_storage::batch::{BatchBuilder, BatchHead, BatchHeader, Compression};
use millstream_storage::ids::ShardIndex;
use millstream_tests::sim::broker::{Broker, EPOCH_MS, values};
use millstream_tests::wire;

/// A batch with one byte changed and, if asked, its CRC made right again.
fn changed(at: usize, to: u8, fix_crc: bool) -> Bytes {
    let mut batch = BytesMut::from(&wire::batch(EPOCH_MS, &["a", "b"])[..]);
    batch[at] = to;
    if fix_crc {
        let crc = crc32c::crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    batch.freeze()
}

fn produce_error(broker: &mut Broker, version: i16, records: Bytes) -> ErrorCode {
    let response = broker.produce(version, &wire::produce(-1, "t", 0, records));
    if response.error_code != ErrorCode::None {
        assert_eq!(response.base_offset, -1, "rule P4");
    }
    response.error_code
}

fn broker_with(configs: &[(&str, &str)]) -> Broker {
    let mut broker = Broker::default();
    broker.create("t", 1, configs);
    broker
}

#[test]
fn r1_exactly_one_batch_of_magic_2() {
    let mut broker = broker_with(&[]);
    let one = wire::batch(EPOCH_MS, &["a"]);
    let two = Bytes::from([&one[..], &one[..]].concat());
    assert_eq!(produce_error(&mut broker, 8, two), ErrorCode::InvalidRecord);
    assert_eq!(
        produce_error(&mut broker, 8, Bytes::new()),
        ErrorCode::InvalidRecord
    );
    for magic in [0, 1, 3] {
        let records = changed(16, magic, false);
        assert_eq!(
            produce_error(&mut broker, 8, records),
            ErrorCode::InvalidRecord
        );
    }
    let mut request = wire::produce(-1, "t", 0, one.clone());
    request.topics[0].partitions[0].records = None;
    let response = broker.produce(8, &request);
    assert_eq!(response.error_code, ErrorCode::InvalidRecord);
    assert_eq!(produce_error(&mut broker, 8, one), ErrorCode::None);
}

#[test]
fn r2_the_stored_batch_has_our_offset_and_epoch_and_the_producers_crc() {
    let mut broker = broker_with(&[]);
    broker.append("t", 0, &["a"]);
    let sent = wire::batch(EPOCH_MS, &["b", "c"]);
    assert_eq!(produce_error(&mut broker, 8, sent.clone()), ErrorCode::None);
    let answer = broker.fetch(11, &wire::fetch("t", 0, 1));
    let records = answer.records.clone().expect("records");
    let stored = records.0.concat();
    let (sent, stored) = (BatchHead::parse(&sent), BatchHead::parse(&stored));
    let (sent, stored) = (sent.expect("a head"), stored.expect("a head"));
    assert_eq!(stored.base_offset.0, 1);
    assert_eq!(stored.leader_epoch.0, 0);
    assert_eq!(stored.crc, sent.crc);
    assert_eq!(values(&answer), [(1, "b".to_owned()), (2, "c".to_owned())]);
}

#[test]
fn r3_the_first_broken_rule_gives_the_code() {
    let mut broker = broker_with(&[("max.message.bytes", "1000")]);
    let large = "x".repeat(2000);
    let unnumbered = wire::numbered_batch(7, 0, -1, EPOCH_MS, &["a"]);
    let cases = [
        (
            "base offset",
            changed(7, 1, false),
            ErrorCode::InvalidRecord,
        ),
        (
            "size",
            wire::batch(EPOCH_MS, &[&large]),
            ErrorCode::MessageTooLarge,
        ),
        ("crc", changed(70, 0xff, false), ErrorCode::CorruptMessage),
        ("count", changed(60, 9, true), ErrorCode::InvalidRecord),
        (
            "control bit",
            changed(22, 0x20, true),
            ErrorCode::InvalidRecord,
        ),
        ("sequence", unnumbered, ErrorCode::InvalidRecord),
    ];
    for (what, records, expected) in cases {
        assert_eq!(produce_error(&mut broker, 8, records), expected, "{what}");
    }
}

#[test]
fn r3_a_batch_larger_than_a_segment_is_refused() {
    let configs = [
        ("segment.bytes", "1048576"),
        ("max.message.bytes", "4000000"),
    ];
    let mut broker = broker_with(&configs);
    let large = wire::batch(EPOCH_MS, &[&"x".repeat(1_100_000)]);
    assert_eq!(
        produce_error(&mut broker, 8, large),
        ErrorCode::RecordListTooLarge
    );
}

#[test]
fn r4_zstd_needs_produce_7() {
    let mut broker = broker_with(&[]);
    let header = BatchHeader {
        compression: Compression::Zstd,
        ..BatchHeader::default()
    };
    let batch = wire::batch_of(header, EPOCH_MS, &["a"]);
    let refused = produce_error(&mut broker, 6, batch.clone());
    assert_eq!(refused, ErrorCode::UnsupportedCompressionType);
    assert_eq!(produce_error(&mut broker, 7, batch), ErrorCode::None);
}

#[test]
fn r5_a_compacted_topic_names_the_records_without_a_key() {
    let mut broker = broker_with(&[("cleanup.policy", "compact")]);
    let mut builder = millstream_storage::batch::BatchBuilder::new(BatchHeader::default());
    builder.push(EPOCH_MS, Some(b"k"), Some(b"v"), &[]);
    builder.push(EPOCH_MS, None, Some(b"v"), &[]);
    let response = broker.produce(8, &wire::produce(-1, "t", 0, builder.finish()));
    assert_eq!(response.error_code, ErrorCode::InvalidRecord);
    let indexes: Vec<_> = response
        .record_errors
        .iter()
        .map(|one| one.batch_index)
        .collect();
    assert_eq!(indexes, [1]);
    assert!(response.error_message.is_some());
}

#[test]
fn r6_timestamps_out_of_bounds_are_refused_and_none_is_allowed() {
    let mut broker = broker_with(&[("message.timestamp.before.max.ms", "1000")]);
    let now = broker.node.now().wall.0;
    let cases = [
        (now + 3_600_001, ErrorCode::InvalidTimestamp),
        (now + 3_600_000, ErrorCode::None),
        (now - 1000, ErrorCode::None),
        (now - 1001, ErrorCode::InvalidTimestamp),
        (-1, ErrorCode::None),
    ];
    for (timestamp, expected) in cases {
        let code = produce_error(&mut broker, 8, wire::batch(timestamp, &["a"]));
        assert_eq!(code, expected, "{}", timestamp - now);
    }
    // A client batch with the log-append bit.
    let bit = changed(22, 0x08, true);
    assert_eq!(
        produce_error(&mut broker, 8, bit),
        ErrorCode::InvalidTimestamp
    );
}

#[test]
fn r7_log_append_time_is_stamped_and_answered() {
    let mut broker = broker_with(&[("message.timestamp.type", "LogAppendTime")]);
    broker.node.run_ms(5000);
    let now = broker.node.now().wall.0;
    let batch = wire::batch(1_000_000, &["a", "b"]);
    let response = broker.produce(8, &wire::produce(-1, "t", 0, batch));
    assert_eq!(response.error_code, ErrorCode::None);
    assert_eq!(response.log_append_time_ms, now);
    let answer = broker.fetch(11, &wire::fetch("t", 0, 0));
    let stored = answer.records.clone().expect("records").0.concat();
    let head = millstream_storage::batch::check(&stored).expect("the CRC was made right");
    assert!(head.attributes.is_log_append_time());
    assert_eq!(head.max_timestamp, now);
    assert_eq!(head.base_timestamp, 1_000_000);
}

#[test]
fn r8_r9_compressed_payload_is_stored_as_it_came() {
    let mut broker = broker_with(&[]);
    let codecs = [
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];
    for (index, compression) in codecs.into_iter().enumerate() {
        let header = BatchHeader {
            compression,
            ..BatchHeader::default()
        };
        let batch = wire::batch_of(header, EPOCH_MS, &["a", "b"]);
        assert_eq!(
            produce_error(&mut broker, 8, batch.clone()),
            ErrorCode::None
        );
        let answer = broker.fetch(11, &wire::fetch("t", 0, 2 * index as i64));
        let stored = answer.records.expect("records").0.concat();
        assert_eq!(stored[21..], batch[21..], "{compression:?}");
    }
}

/// The batch stored at the end of partition 0.
fn last_stored(broker: &mut Broker) -> Bytes {
    let latest = broker.list_offsets(5, &wire::list_offsets("t", 0, -1));
    let answer = broker.fetch(11, &wire::fetch("t", 0, latest.offset - 1));
    Bytes::from(answer.records.expect("records").0.concat())
}

#[test]
fn r3_where_several_rules_are_broken_the_first_one_counts() {
    let mut broker = broker_with(&[("max.message.bytes", "1000")]);
    let large = wire::batch(EPOCH_MS, &[&"x".repeat(2000)]);
    let mut all = BytesMut::from(&large[..]);
    all[7] = 1;
    all[200] ^= 1;
    all[60] = 9;
    let mended = |batch: &BytesMut| batch.clone().freeze();
    assert_eq!(
        produce_error(&mut broker, 8, mended(&all)),
        ErrorCode::InvalidRecord,
        "base offset before size"
    );
    all[7] = 0;
    assert_eq!(
        produce_error(&mut broker, 8, mended(&all)),
        ErrorCode::MessageTooLarge,
        "size before CRC"
    );
    let mut small = BytesMut::from(&wire::batch(EPOCH_MS, &["a"])[..]);
    small[60] = 9;
    assert_eq!(
        produce_error(&mut broker, 8, mended(&small)),
        ErrorCode::CorruptMessage,
        "CRC before count"
    );
}

#[test]
fn r4_fetch_below_10_does_not_read_a_topic_that_is_zstd() {
    let mut broker = broker_with(&[("compression.type", "zstd")]);
    broker.append("t", 0, &["a"]);
    for (version, expected) in [
        (4, ErrorCode::UnsupportedCompressionType),
        (9, ErrorCode::UnsupportedCompressionType),
        (10, ErrorCode::None),
        (11, ErrorCode::None),
    ] {
        let answer = broker.fetch(version, &wire::fetch("t", 0, 0));
        assert_eq!(answer.error_code, expected, "{version}");
    }
}

#[test]
fn r5_compressed_batches_are_looked_into_and_older_versions_get_the_code_alone() {
    let mut broker = broker_with(&[("cleanup.policy", "compact,delete")]);
    let header = BatchHeader {
        compression: Compression::Gzip,
        ..BatchHeader::default()
    };
    let mut builder = millstream_storage::batch::BatchBuilder::new(header);
    builder.push(EPOCH_MS, None, Some(b"v"), &[]);
    builder.push(EPOCH_MS, Some(b"k"), Some(b"v"), &[]);
    builder.push(EPOCH_MS, None, Some(b"v"), &[]);
    let batch = builder.finish();
    let response = broker.produce(8, &wire::produce(-1, "t", 0, batch.clone()));
    let indexes = response.record_errors.iter().map(|one| one.batch_index);
    assert_eq!(indexes.collect::<Vec<_>>(), [0, 2]);
    assert_eq!(
        produce_error(&mut broker, 7, batch),
        ErrorCode::InvalidRecord
    );
}

#[test]
fn r6_the_largest_timestamp_is_that_of_the_records_whatever_the_header_says() {
    let mut broker = broker_with(&[]);
    let true_one = EPOCH_MS.to_be_bytes();
    for lie in [EPOCH_MS - 5000, EPOCH_MS + 5000, -1] {
        let mut batch = BytesMut::from(&wire::batch(EPOCH_MS, &["a", "b"])[..]);
        batch[35..43].copy_from_slice(&lie.to_be_bytes());
        let crc = crc32c::crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(
            produce_error(&mut broker, 8, batch.freeze()),
            ErrorCode::None
        );
        let stored = last_stored(&mut broker);
        assert_eq!(stored[35..43], true_one, "{lie}");
        assert!(millstream_storage::batch::check(&stored).is_ok());
    }
    let found = broker.list_offsets(5, &wire::list_offsets("t", 0, EPOCH_MS));
    assert_eq!(found.offset, 0);
    let found = broker.list_offsets(5, &wire::list_offsets("t", 0, EPOCH_MS + 1));
    assert_eq!(found.offset, -1);
}

#[test]
fn r6_r9_records_that_are_unpacked_to_be_recompressed_are_held_to_their_own_timestamps() {
    for codec in ["uncompressed", "zstd"] {
        let mut broker = broker_with(&[("compression.type", codec)]);
        let now = broker.node.now().wall.0;
        let header = BatchHeader {
            compression: Compression::Gzip,
            ..BatchHeader::default()
        };
        for (timestamp, expected) in [
            (now + 3_600_001, ErrorCode::InvalidTimestamp),
            (i64::MAX, ErrorCode::InvalidTimestamp),
            (now + 3_600_000, ErrorCode::None),
        ] {
            let mut batch = BytesMut::from(&wire::batch_of(header, timestamp, &["a"])[..]);
            // The header promises less.
            batch[35..43].copy_from_slice(&now.to_be_bytes());
            let crc = crc32c::crc32c(&batch[21..]);
            batch[17..21].copy_from_slice(&crc.to_be_bytes());
            let code = produce_error(&mut broker, 8, batch.freeze());
            assert_eq!(code, expected, "{codec}, {timestamp}");
        }
    }
}

#[test]
fn r9_a_topic_with_a_codec_recompresses_what_comes_in_another() {
    use Compression::{Gzip, Lz4, None, Snappy, Zstd};
    for (name, wanted) in [
        ("uncompressed", None),
        ("gzip", Gzip),
        ("snappy", Snappy),
        ("lz4", Lz4),
        ("zstd", Zstd),
    ] {
        let mut broker = broker_with(&[("compression.type", name)]);
        for compression in Compression::ALL {
            let header = BatchHeader {
                compression,
                producer_id: millstream_storage::ids::ProducerId(7),
                producer_epoch: millstream_storage::ids::ProducerEpoch(0),
                base_sequence: 2 * i32::from(compression.number()),
                ..BatchHeader::default()
            };
            let batch = wire::batch_of(header, EPOCH_MS, &["a", "b"]);
            // A retry is one although the bytes that are stored are others.
            for _ in 0..2 {
                let request = wire::produce(-1, "t", 0, batch.clone());
                let response = broker.produce(8, &request);
                let told = (response.error_code, response.base_offset);
                let expected = 2 * i64::from(compression.number());
                assert_eq!(told, (ErrorCode::None, expected));
            }
            let stored = last_stored(&mut broker);
            let head = millstream_storage::batch::check(&stored).expect("the CRC fits");
            assert_eq!(head.attributes.compression(), Some(wanted));
            assert_eq!(head.base_sequence, header.base_sequence);
            assert_eq!(head.max_timestamp, EPOCH_MS);
            if compression == wanted {
                assert_eq!(stored[21..], batch[21..], "what fits is not touched");
            }
        }
        let answer = broker.fetch(11, &wire::fetch("t", 0, 0));
        assert_eq!(values(&answer).len(), 10);
        assert_eq!(values(&answer)[9], (9, "b".to_owned()));
    }
}

#[test]
fn r9_what_grows_above_the_limit_when_it_is_recompressed_is_too_large() {
    let configs = [
        ("compression.type", "uncompressed"),
        ("max.message.bytes", "1000"),
    ];
    let mut broker = broker_with(&configs);
    let header = BatchHeader {
        compression: Compression::Gzip,
        ..BatchHeader::default()
    };
    let batch = wire::batch_of(header, EPOCH_MS, &[&"x".repeat(5000)]);
    assert!(batch.len() < 1000);
    assert_eq!(
        produce_error(&mut broker, 8, batch),
        ErrorCode::MessageTooLarge
    );
}

#[test]
fn r9_records_that_cannot_be_decompressed_are_refused_where_they_must_be() {
    let mut broker = broker_with(&[("compression.type", "lz4")]);
    let header = BatchHeader {
        compression: Compression::Gzip,
        ..BatchHeader::default()
    };
    let mut batch = BytesMut::from(&wire::batch_of(header, EPOCH_MS, &["a"])[..]);
    batch.truncate(batch.len() - 9);
    let length = (batch.len() - 12) as u32;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    assert_eq!(
        produce_error(&mut broker, 8, batch.freeze()),
        ErrorCode::InvalidRecord
    );
}

fn zstd_batch(value: &str) -> Bytes {
    let header = BatchHeader {
        compression: Compression::Zstd,
        ..BatchHeader::default()
    };
    wire::batch_of(header, EPOCH_MS, &[value])
}

#[test]
fn c6_r9_what_is_recompressed_keeps_its_place_and_holds_up_nobody_else() {
    let mut broker = Broker::default();
    broker.create("t", 2, &[("compression.type", "zstd")]);
    for shard in 0..2 {
        let conn = broker.connect(shard);
        let first = broker.append("t", 1, &["begin"]) + 1;
        // The first has to be recompressed; the others are as the topic wants them.
        let sent = [
            (0, wire::batch(EPOCH_MS, &["a"])),
            (0, zstd_batch("b")),
            (1, zstd_batch("c")),
            (0, wire::batch(EPOCH_MS, &["d"])),
        ];
        for (id, (partition, batch)) in sent.into_iter().enumerate() {
            let request = wire::produce(-1, "t", partition, batch);
            let frame = wire::frame(9, id as i32, &request);
            broker.node.request(conn, frame);
        }
        broker.run_without_workshop();
        let stranger = broker.connect(shard);
        let request = wire::produce(-1, "t", 0, zstd_batch("x"));
        broker.node.request(stranger, wire::frame(9, 9, &request));
        broker.run_without_workshop();
        let response = broker.expect::<ProduceRequest>(stranger, 9, 9);
        let passed = response.responses[0].partitions[0].base_offset;
        let offsets: Vec<_> = (0..4)
            .map(|id| {
                let response = broker.expect::<ProduceRequest>(conn, 9, id);
                let answer = &response.responses[0].partitions[0];
                assert_eq!(answer.error_code, ErrorCode::None);
                answer.base_offset
            })
            .collect();
        assert_eq!(offsets, [passed + 1, passed + 2, first, passed + 3]);
        assert_eq!(broker.node.core(ShardIndex(shard)).in_flight(), 0);
    }
}

#[test]
fn c6_r5_a_batch_that_is_refused_lets_those_behind_it_pass() {
    let mut broker = broker_with(&[("cleanup.policy", "compact")]);
    let conn = broker.conn();
    let mut keyless = BatchBuilder::new(BatchHeader {
        compression: Compression::Lz4,
        ..BatchHeader::default()
    });
    keyless.push(EPOCH_MS, None, Some(b"v"), &[]);
    let batches = [keyless.finish(), wire::batch(EPOCH_MS, &["a"])];
    for (id, batch) in batches.into_iter().enumerate() {
        let frame = wire::frame(9, id as i32, &wire::produce(-1, "t", 0, batch));
        broker.node.request(conn, frame);
    }
    broker.node.settle();
    for (id, code, offset) in [(0, ErrorCode::InvalidRecord, -1), (1, ErrorCode::None, 0)] {
        let response = broker.expect::<ProduceRequest>(conn, 9, id);
        let answer = &response.responses[0].partitions[0];
        assert_eq!((answer.error_code, answer.base_offset), (code, offset));
    }
}

#[test]
fn what_the_batches_of_one_request_may_be_when_decompressed_is_bounded() {
    let mut broker = Broker::default();
    broker.create("t", 6, &[("cleanup.policy", "compact")]);
    // Sixty million equal bytes take a few thousand when compressed; five of them are too many for one request.
    let bomb = zstd_batch(&"x".repeat(60_000_000));
    let mut request = wire::produce(-1, "t", 0, bomb.clone());
    for index in 1..6 {
        request.topics[0].partitions.push(ProducePartition {
            index,
            records: Some(bomb.clone()),
        });
    }
    let response = broker.call(9, &request);
    let codes = response.responses[0].partitions.iter();
    let codes: Vec<_> = codes.map(|one| one.error_code).collect();
    let (taken, refused) = (ErrorCode::None, ErrorCode::InvalidRecord);
    assert_eq!(codes, [taken, taken, taken, taken, refused, refused]);
    assert_eq!(
        broker.append("t", 5, &["a"]),
        0,
        "the next request has its own"
    );
}
