//! Frames byte by byte: headers (C1), the two exceptions of ApiVersions (C2, C3), null and empty (C8), lengths and varints
//! (C9).

use ::bytes::Bytes;

use super::bytes::{hex, joined};
use crate::wire::api::*;
use crate::wire::{
    ApiKey, Call, ErrorCode, Malformed, Records, Refused, Request, SHARED_BYTES_MIN, Sink, Str,
    Uuid, decode_request, decode_response, encode_request, encode_response,
    encode_unsupported_api_versions,
};

const CLIENT: Str = Str::from_static("ab");

#[test]
fn a_request_of_a_plain_version_has_header_1() {
    let request = MetadataRequest::default();
    let frame = joined(&encode_request(
        1,
        7,
        Some(&CLIENT),
        &request.clone().into(),
    ));
    assert_eq!(frame, hex("0003 0001 00000007 0002 6162 ffffffff"));
    let (header, decoded) = decode_request(&frame).unwrap();
    assert_eq!(
        (header.api_key, header.api_version, header.correlation_id),
        (3, 1, 7)
    );
    assert_eq!(header.client_id, Some(CLIENT));
    assert_eq!(decoded, Request::Metadata(request));
}

#[test]
fn a_request_of_a_flexible_version_has_header_2_with_a_plain_client_id() {
    let request = ApiVersionsRequest {
        client_software_name: "kcat".into(),
        client_software_version: "1.7.1".into(),
    };
    let frame = joined(&encode_request(3, 1, None, &request.clone().into()));
    assert_eq!(
        frame,
        hex("0012 0003 00000001 ffff 00 05 6b636174 06 312e372e31 00")
    );
    let (header, decoded) = decode_request(&frame).unwrap();
    assert_eq!(header.client_id, None);
    assert_eq!(decoded, Request::ApiVersions(request));
}

#[test]
fn unknown_tagged_fields_are_skipped_everywhere() {
    let frame =
        hex("0012 0003 00000001 ffff 02 05 01 aa 07 00 05 6b636174 06 312e372e31 01 63 02 beef");
    let (_, decoded) = decode_request(&frame).unwrap();
    let Request::ApiVersions(request) = decoded else {
        panic!("{decoded:?}")
    };
    assert_eq!(request.client_software_version, "1.7.1");
}

#[test]
fn an_answer_has_header_0_in_plain_and_header_1_in_flexible_versions() {
    let response = InitProducerIdResponse {
        producer_id: 5,
        ..Default::default()
    };
    let body = "00000000 0000 0000000000000005 0000";
    for (version, expected) in [
        (1, format!("00000009 {body}")),
        (2, format!("00000009 00 {body} 00")),
    ] {
        let frame = joined(&encode_response(version, 9, &response.clone().into()));
        assert_eq!(frame, hex(&expected), "version {version}");
        let decoded = decode_response(ApiKey::InitProducerId, version, &frame);
        assert_eq!(decoded, Ok((9, response.clone().into())));
    }
}

#[test]
fn an_api_versions_answer_has_header_0_in_every_version() {
    let ranges = vec![ApiVersionRange {
        api_key: 18,
        min_version: 0,
        max_version: 4,
    }];
    let response = ApiVersionsResponse {
        api_keys: ranges,
        ..Default::default()
    };
    for (version, expected) in [
        (0, "00000003 0000 00000001 0012 0000 0004"),
        (1, "00000003 0000 00000001 0012 0000 0004 00000000"),
        (3, "00000003 0000 02 0012 0000 0004 00 00000000 00"),
        (4, "00000003 0000 02 0012 0000 0004 00 00000000 00"),
    ] {
        let frame = joined(&encode_response(version, 3, &response.clone().into()));
        assert_eq!(frame, hex(expected), "version {version}");
        assert_eq!(
            decode_response(ApiKey::ApiVersions, version, &frame),
            Ok((3, response.clone().into())),
            "version {version}"
        );
    }
}

#[test]
fn features_are_tagged_fields_of_the_api_versions_answer() {
    let response = ApiVersionsResponse {
        finalized_features_epoch: 2,
        finalized_features: vec![FinalizedFeature {
            name: "f".into(),
            max_version_level: 1,
            min_version_level: 1,
        }],
        ..Default::default()
    };
    let frame = joined(&encode_response(3, 1, &response.into()));
    let expected =
        "00000001 0000 01 00000000 02 01 08 0000000000000002 02 08 02 02 66 0001 0001 00";
    assert_eq!(frame, hex(expected));
}

#[test]
fn api_versions_above_ours_is_answered_as_version_0_with_its_own_range() {
    let frame = hex("0012 7fff 0000002a ffff 00 deadbeef");
    let refused = decode_request(&frame).unwrap_err();
    assert_eq!(
        refused,
        Refused::UnsupportedApiVersions { correlation_id: 42 }
    );
    let answer = joined(&encode_unsupported_api_versions(42));
    assert_eq!(answer, hex("0000002a 0023 00000001 0012 0000 0004"));
    let (_, read) = decode_response(ApiKey::ApiVersions, 4, &answer).unwrap();
    let read = ApiVersionsRequest::response(read).unwrap();
    assert_eq!(read.error_code, ErrorCode::UnsupportedVersion);
    assert_eq!(read.api_keys[0].max_version, 4);
}

#[test]
fn an_api_or_version_not_served_is_told_apart_from_bad_bytes() {
    for (header, api_key, api_version) in [
        ("0000 0002 00000001 ffff", 0, 2),
        ("0001 0003 00000001 ffff", 1, 3),
        ("7fff 0000 00000001 ffff", i16::MAX, 0),
        ("0012 ffff 00000001 ffff", 18, -1),
    ] {
        let refused = decode_request(&hex(header)).unwrap_err();
        assert_eq!(
            refused,
            Refused::Unserved {
                api_key,
                api_version
            }
        );
    }
    for short in ["", "00", "0012 0000 000000", "0003 0001 00000007 0009 6162"] {
        let refused = decode_request(&hex(short)).unwrap_err();
        assert!(
            matches!(refused, Refused::Malformed(_)),
            "{short}: {refused:?}"
        );
    }
}

#[test]
fn a_client_id_in_a_foreign_encoding_is_read_with_replacements() {
    let (header, _) = decode_request(&hex("0003 0001 00000007 0002 61ff ffffffff")).unwrap();
    assert_eq!(header.client_id.unwrap(), "a\u{fffd}");
}

#[test]
fn null_and_empty_topics_of_metadata_are_kept_apart() {
    let named = |name: &str| MetadataRequestTopic {
        name: Some(name.into()),
        ..Default::default()
    };
    for (version, topics, body) in [
        (0, Some(vec![]), "00000000"),
        (1, None, "ffffffff"),
        (1, Some(vec![]), "00000000"),
        (1, Some(vec![named("")]), "00000001 0000"),
        (9, None, "00 01 00 00 00"),
        (9, Some(vec![]), "01 01 00 00 00"),
        (9, Some(vec![named("t")]), "02 02 74 00 01 00 00 00"),
    ] {
        let request = MetadataRequest {
            topics,
            ..Default::default()
        };
        let frame = joined(&encode_request(version, 0, None, &request.clone().into()));
        let tags = if version >= 9 { "00" } else { "" };
        let header = format!("0003 {version:04x} 00000000 ffff {tags}");
        assert_eq!(
            frame,
            hex(&(header + body)),
            "version {version} {request:?}"
        );
        assert_eq!(
            decode_request(&frame).unwrap().1,
            Request::Metadata(request)
        );
    }
}

#[test]
fn null_where_a_version_has_none_is_malformed() {
    for frame in [
        "0003 0000 00000000 ffff ffffffff",
        "0003 0001 00000000 ffff 00000001 ffff",
        "0003 0009 00000000 ffff 00 02 00 00 01 00 00 00",
        "0000 0003 00000000 ffff ffff 0001 00000000 ffffffff",
    ] {
        let refused = decode_request(&hex(frame)).unwrap_err();
        assert!(
            matches!(refused, Refused::Malformed(_)),
            "{frame}: {refused:?}"
        );
    }
}

#[test]
fn null_written_in_a_version_without_null_becomes_empty() {
    let frame = joined(&encode_request(
        0,
        0,
        None,
        &MetadataRequest::default().into(),
    ));
    assert_eq!(frame, hex("0003 0000 00000000 ffff 00000000"));
}

#[test]
fn null_and_empty_records_of_produce_are_kept_apart() {
    for (records, body) in [(None, "ffffffff"), (Some(Bytes::new()), "00000000")] {
        let partition = ProducePartition { index: 0, records };
        let topic = ProduceTopic {
            name: "t".into(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: 1,
            topics: vec![topic],
            ..Default::default()
        };
        let frame = joined(&encode_request(3, 0, None, &request.clone().into()));
        let start = "0000 0003 00000000 ffff ffff ffff 00000001 00000001 0001 74 00000001 00000000";
        assert_eq!(frame, hex(&format!("{start} {body}")));
        assert_eq!(decode_request(&frame).unwrap().1, Request::Produce(request));
    }
}

#[test]
fn produce_records_and_strings_share_the_memory_of_the_frame() {
    let records = Bytes::from(vec![7; 100]);
    let partition = ProducePartition {
        index: 0,
        records: Some(records),
    };
    let topic = ProduceTopic {
        name: "t".into(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = ProduceRequest {
        topics: vec![topic],
        ..Default::default()
    };
    let frame = joined(&encode_request(9, 0, None, &request.clone().into()));
    let (_, Request::Produce(decoded)) = decode_request(&frame).unwrap() else {
        panic!()
    };
    let range = frame.as_ptr_range();
    let topic = &decoded.topics[0];
    assert!(range.contains(&topic.partitions[0].records.as_ref().unwrap().as_ptr()));
    assert!(range.contains(&topic.name.as_ptr()));
    assert!(!range.contains(&topic.name.own().as_ptr()));
}

#[test]
fn fetched_records_are_sent_as_the_slices_they_are() {
    let slices = [
        vec![1; SHARED_BYTES_MIN],
        vec![2; 10],
        vec![3; 2 * SHARED_BYTES_MIN],
    ]
    .map(Bytes::from);
    let partition = FetchPartitionResponse {
        records: Some(Records(slices.to_vec())),
        ..Default::default()
    };
    let topic = FetchTopicResponse {
        topic: "t".into(),
        partitions: vec![partition],
        ..Default::default()
    };
    let response = FetchResponse {
        responses: vec![topic],
        ..Default::default()
    };
    let parts = encode_response(12, 1, &response.clone().into());
    assert_eq!(
        parts.len(),
        5,
        "header, slice, small slice copied, slice, tags"
    );
    assert_eq!(parts[1].as_ptr(), slices[0].as_ptr());
    assert_eq!(parts[3].as_ptr(), slices[2].as_ptr());
    let decoded = decode_response(ApiKey::Fetch, 12, &joined(&parts));
    assert_eq!(decoded, Ok((1, response.into())));
}

#[test]
fn bytes_after_an_answer_are_malformed() {
    let frame = hex("00000001 0000 00000000 00");
    let reason = "bytes follow the answer";
    assert_eq!(
        decode_response(ApiKey::ApiVersions, 0, &frame),
        Err(Malformed {
            position: 10,
            reason
        })
    );
}

#[test]
fn a_zero_topic_id_is_none() {
    assert_eq!(MetadataTopic::default().topic_id, Uuid::ZERO);
    let text = format!("{:?}", Uuid([0x0f; 16]));
    assert_eq!(text, "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f");
}

#[test]
fn varints_are_written_and_read_at_their_borders() {
    use crate::wire::{Limits, Reader};
    for (value, bytes) in [
        (0, "00"),
        (127, "7f"),
        (128, "8001"),
        (16383, "ff7f"),
        (u32::MAX, "ffffffff0f"),
    ] {
        let mut encoder = crate::wire::Encoder::with_room(0);
        encoder.unsigned_varint(value);
        let written = Bytes::from(encoder.into_parts().concat());
        assert_eq!(written, hex(bytes));
        let mut reader = Reader::new(&written, Limits::for_request(0));
        assert_eq!(reader.unsigned_varint(), Ok(value));
    }
    for (value, bytes) in [
        (0, "00"),
        (-1, "01"),
        (1, "02"),
        (-64, "7f"),
        (64, "8001"),
        (i64::MAX, "feffffffffffffffff01"),
        (i64::MIN, "ffffffffffffffffff01"),
    ] {
        let mut encoder = crate::wire::Encoder::with_room(0);
        encoder.varlong(value);
        let written = Bytes::from(encoder.into_parts().concat());
        assert_eq!(written, hex(bytes));
        let mut reader = Reader::new(&written, Limits::for_request(0));
        assert_eq!(reader.varlong(), Ok(value));
    }
    let limits = Limits::for_request(0);
    for bytes in ["ffffffff10", "8080808080", "80"] {
        assert!(
            Reader::new(&hex(bytes), limits).unsigned_varint().is_err(),
            "{bytes}"
        );
    }
    for bytes in ["ffffffffffffffffff02", "80808080808080808080", "80"] {
        assert!(
            Reader::new(&hex(bytes), limits).varlong().is_err(),
            "{bytes}"
        );
    }
}

#[test]
fn error_codes_have_kafkas_numbers_names_and_remedies() {
    for (code, error, name, retriable) in [
        (0, ErrorCode::None, "NONE", false),
        (
            -1,
            ErrorCode::UnknownServerError,
            "UNKNOWN_SERVER_ERROR",
            false,
        ),
        (
            3,
            ErrorCode::UnknownTopicOrPartition,
            "UNKNOWN_TOPIC_OR_PARTITION",
            true,
        ),
        (
            17,
            ErrorCode::InvalidTopicException,
            "INVALID_TOPIC_EXCEPTION",
            false,
        ),
        (
            133,
            ErrorCode::ShareSessionLimitReached,
            "SHARE_SESSION_LIMIT_REACHED",
            true,
        ),
        (9999, ErrorCode::Unlisted(9999), "UNLISTED", false),
    ] {
        assert_eq!(ErrorCode::from_code(code), error);
        assert_eq!(
            (error.code(), error.name(), error.is_retriable()),
            (code, name, retriable)
        );
    }
    let listed =
        (-1..=133).filter(|code| !matches!(ErrorCode::from_code(*code), ErrorCode::Unlisted(_)));
    assert_eq!(listed.count(), 134, "all but 99");
}

#[test]
fn offsets_by_topic_id_are_as_kafkas_own_classes_write_them() {
    let topic_id = Uuid(std::array::from_fn(|index| index as u8 + 1));
    let commit = OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: 3,
        member_id: "m".into(),
        topics: vec![OffsetCommitTopic {
            topic_id,
            partitions: vec![OffsetCommitPartition {
                partition_index: 1,
                committed_offset: 5,
                committed_leader_epoch: 2,
                committed_metadata: Some("x".into()),
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let fetch = OffsetFetchRequest {
        groups: vec![OffsetFetchGroup {
            group_id: "g".into(),
            member_id: Some("m".into()),
            member_epoch: 3,
            topics: Some(vec![OffsetFetchGroupTopic {
                topic_id,
                partition_indexes: vec![1],
                ..Default::default()
            }]),
        }],
        require_stable: true,
        ..Default::default()
    };
    let topic = "02 0102030405060708090a0b0c0d0e0f10 02 00000001";
    for (key, request, body) in [
        (
            8,
            commit.into(),
            format!("0267 00000003 026d 00 {topic} 0000000000000005 00000002 0278 00 00 00"),
        ),
        (
            9,
            fetch.into(),
            format!("02 0267 026d 00000003 {topic} 00 00 01 00"),
        ),
    ] {
        let frame = joined(&encode_request(10, 0, None, &request));
        assert_eq!(
            frame,
            hex(&format!("{key:04x} 000a 00000000 ffff 00 {body}"))
        );
    }
}
