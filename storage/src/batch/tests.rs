use super::head::{ATTRIBUTES_AT, CRC_AT, MAX_TIMESTAMP_AT, RECORDS_AT};
use super::varint::{Cursor, put_varlong, varlong_bytes};
use super::*;
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, WallMs};
use bytes::Bytes;
use proptest::prelude::*;

const NOW: i64 = 1_700_000_000_000;
const HOUR_MS: i64 = 3_600_000;

fn rules() -> BatchRules {
    BatchRules {
        now: WallMs(NOW),
        bytes_max: 1 << 20,
        segment_bytes: 1 << 30,
        decompressed_bytes_max: 16 << 20,
        keys: Keys::Optional,
        timestamps: Timestamps::Created {
            before_ms: i64::MAX,
            after_ms: HOUR_MS,
        },
        zstd: Zstd::Allowed,
    }
}

fn batch(codec: Compression, count: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchHeader {
        compression: codec,
        ..BatchHeader::default()
    });
    for index in 0..count {
        let value = vec![index as u8; 20 + index % 200];
        let headers: &[(&str, Option<&[u8]>)] = &[("trace", Some(b"abc")), ("empty", None)];
        let headers = if index % 3 == 0 { headers } else { &[] };
        builder.push(NOW + index as i64, Some(b"key"), Some(&value), headers);
    }
    builder.finish().to_vec()
}

/// Changes a header field and makes the CRC right again.
fn with(mut batch: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = crc32c::crc32c(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
    batch
}

fn refused(batch: &[u8]) -> BatchRefusal {
    validate(batch, &rules()).unwrap_err()
}

#[test]
fn a_whole_batch_of_every_codec_is_accepted() {
    for codec in Compression::ALL {
        for count in [1, 2, 100] {
            let batch = batch(codec, count);
            let head = validate(&batch, &rules()).unwrap();
            assert_eq!((head.bytes, head.record_count), (batch.len(), count as i32));
            assert_eq!(head.attributes.compression(), Some(codec));
            assert_eq!(check(&batch), Ok(head));
        }
    }
}

#[test]
fn r1_only_one_batch_of_version_2_is_accepted() {
    let good = batch(Compression::None, 3);
    assert!(matches!(refused(&[]), BatchRefusal::Invalid(_)));
    assert!(matches!(refused(&good[..60]), BatchRefusal::Invalid(_)));
    assert!(matches!(
        refused(&good[..good.len() - 1]),
        BatchRefusal::Invalid(_)
    ));
    assert!(matches!(
        refused(&[&good[..], &good[..]].concat()),
        BatchRefusal::Invalid(_)
    ));
    let mut old = good.clone();
    old[16] = 1;
    assert!(matches!(refused(&old), BatchRefusal::Invalid(_)));
}

#[test]
fn r3_rules_are_applied_in_their_order() {
    // Each batch breaks one rule and all that come after it.
    let mut broken = batch(Compression::None, 3);
    broken[0] = 1;
    broken[CRC_AT] ^= 1;
    let small = BatchRules {
        bytes_max: 50,
        ..rules()
    };
    assert!(matches!(
        validate(&broken, &small),
        Err(BatchRefusal::Invalid(_))
    ));
    broken[0] = 0;
    assert_eq!(validate(&broken, &small), Err(BatchRefusal::TooLarge));
    assert!(matches!(refused(&broken), BatchRefusal::Corrupt(_)));
}

#[test]
fn r3_size_counts_the_whole_compressed_batch() {
    let batch = batch(Compression::Zstd, 100);
    let exact = BatchRules {
        bytes_max: batch.len(),
        ..rules()
    };
    assert!(validate(&batch, &exact).is_ok());
    let less = BatchRules {
        bytes_max: batch.len() - 1,
        ..rules()
    };
    assert_eq!(validate(&batch, &less), Err(BatchRefusal::TooLarge));
}

#[test]
fn r3_a_record_count_is_above_zero_and_agrees_with_the_last_offset_delta() {
    for (count, delta) in [
        (0i32, -1i32),
        (-1, -2),
        (3, 3),
        (4, 2),
        (i32::MAX, i32::MAX),
        (i32::MIN, i32::MAX),
    ] {
        let batch = with(batch(Compression::None, 3), 57, &count.to_be_bytes());
        let batch = with(batch, 23, &delta.to_be_bytes());
        assert!(
            matches!(refused(&batch), BatchRefusal::Invalid(_)),
            "{count} {delta}"
        );
    }
}

#[test]
fn r3_clients_write_no_control_batches() {
    let control = BatchBuilder::control(BatchHeader::default(), ControlKind::Commit, 3, NOW);
    assert!(matches!(refused(&control), BatchRefusal::Invalid(_)));
    assert!(check(&control).is_ok());
}

#[test]
fn r3_an_idempotent_producer_has_sequences() {
    let header = BatchHeader {
        producer_id: ProducerId(4),
        producer_epoch: ProducerEpoch(0),
        base_sequence: -1,
        ..BatchHeader::default()
    };
    let mut builder = BatchBuilder::new(header);
    builder.push(NOW, None, Some(b"v"), &[]);
    let batch = builder.finish().to_vec();
    assert!(matches!(refused(&batch), BatchRefusal::Invalid(_)));
    assert!(validate(&with(batch, 53, &[0; 4]), &rules()).is_ok());
}

#[test]
fn r3_a_batch_larger_than_a_segment_is_refused() {
    let batch = batch(Compression::None, 3);
    let rules = BatchRules {
        segment_bytes: batch.len() - 1,
        ..rules()
    };
    assert_eq!(
        validate(&batch, &rules),
        Err(BatchRefusal::LargerThanSegment)
    );
}

#[test]
fn r4_zstd_is_refused_where_the_version_does_not_know_it() {
    let rules = BatchRules {
        zstd: Zstd::Refused,
        ..rules()
    };
    assert_eq!(
        validate(&batch(Compression::Zstd, 1), &rules),
        Err(BatchRefusal::Compression)
    );
    assert!(validate(&batch(Compression::Lz4, 1), &rules).is_ok());
}

#[test]
fn r5_records_without_key_are_named() {
    for codec in Compression::ALL {
        let mut builder = BatchBuilder::new(BatchHeader {
            compression: codec,
            ..BatchHeader::default()
        });
        for key in [Some(&b"a"[..]), None, Some(b""), None] {
            builder.push(NOW, key, None, &[]);
        }
        let rules = BatchRules {
            keys: Keys::Required,
            ..rules()
        };
        let refusal = validate(&builder.finish(), &rules).unwrap_err();
        assert_eq!(
            refusal,
            BatchRefusal::KeyMissing {
                records: vec![1, 3]
            }
        );
    }
}

#[test]
fn r6_timestamps_out_of_bounds_are_named() {
    for codec in Compression::ALL {
        let mut builder = BatchBuilder::new(BatchHeader {
            compression: codec,
            ..BatchHeader::default()
        });
        for timestamp in [NOW, NOW + HOUR_MS, NOW + HOUR_MS + 1, -1, NOW - 11] {
            builder.push(timestamp, None, None, &[]);
        }
        let batch = builder.finish();
        let refusal = validate(&batch, &rules()).unwrap_err();
        assert_eq!(refusal, BatchRefusal::Timestamp { records: vec![2] });
        let bounded = BatchRules {
            timestamps: Timestamps::Created {
                before_ms: 10,
                after_ms: 2 * HOUR_MS,
            },
            ..rules()
        };
        let refusal = validate(&batch, &bounded).unwrap_err();
        assert_eq!(refusal, BatchRefusal::Timestamp { records: vec![4] });
        let appended = BatchRules {
            timestamps: Timestamps::Appended,
            ..rules()
        };
        assert!(validate(&batch, &appended).is_ok());
    }
}

#[test]
fn r6_a_header_that_promises_a_later_record_is_refused() {
    for codec in Compression::ALL {
        let late = (NOW + 2 * HOUR_MS).to_be_bytes();
        let batch = with(batch(codec, 3), MAX_TIMESTAMP_AT, &late);
        assert_eq!(refused(&batch), BatchRefusal::Timestamp { records: vec![] });
    }
}

#[test]
fn r6_the_log_append_bit_of_a_client_is_refused() {
    let batch = with(
        batch(Compression::None, 3),
        ATTRIBUTES_AT,
        &8i16.to_be_bytes(),
    );
    assert_eq!(refused(&batch), BatchRefusal::Timestamp { records: vec![] });
}

#[test]
fn r8_unknown_codecs_and_delete_horizons_are_refused() {
    for codec in 5..8i16 {
        let batch = with(
            batch(Compression::None, 1),
            ATTRIBUTES_AT,
            &codec.to_be_bytes(),
        );
        assert_eq!(refused(&batch), BatchRefusal::Compression);
    }
    let horizon = with(
        batch(Compression::None, 1),
        ATTRIBUTES_AT,
        &64i16.to_be_bytes(),
    );
    assert!(matches!(refused(&horizon), BatchRefusal::Invalid(_)));
}

#[test]
fn the_walk_finds_records_that_are_not_what_the_header_says() {
    let good = batch(Compression::None, 4);
    // One more and one fewer record than there are bytes for.
    for count in [3i32, 5] {
        let batch = with(good.clone(), 57, &count.to_be_bytes());
        let batch = with(batch, 23, &(count - 1).to_be_bytes());
        assert!(matches!(refused(&batch), BatchRefusal::Invalid(_)));
    }
    // The offset delta of the first record: behind a length of one byte or two, the attributes and the timestamp delta.
    let delta_at = RECORDS_AT + if good[RECORDS_AT] >= 0x80 { 4 } else { 3 };
    assert_eq!(good[delta_at], 0);
    assert!(matches!(
        refused(&with(good, delta_at, &[2])),
        BatchRefusal::Invalid(_)
    ));
}

#[test]
fn r9_snappy_is_read_raw_and_framed() {
    let bytes = vec![7u8; 100_000];
    let raw = snap::raw::Encoder::new().compress_vec(&bytes).unwrap();
    assert_eq!(
        decompress(Compression::Snappy, &raw, 100_000).unwrap(),
        bytes
    );
    let mut framed = Vec::new();
    compress(Compression::Snappy, &bytes, &mut framed);
    assert_eq!(
        decompress(Compression::Snappy, &framed, 100_000).unwrap(),
        bytes
    );
}

#[test]
fn bombs_stop_at_the_limit() {
    let zeros = vec![0u8; 8 << 20];
    for codec in Compression::ALL {
        let mut bomb = Vec::new();
        compress(codec, &zeros, &mut bomb);
        assert_eq!(
            decompress(codec, &bomb, zeros.len()).unwrap().len(),
            zeros.len()
        );
        for limit in [0, 1, 100_000, zeros.len() - 1] {
            assert_eq!(
                decompress(codec, &bomb, limit),
                Err(DecompressError::TooLarge),
                "{codec:?}"
            );
        }
    }
    // A raw block that states 4 GiB in a few bytes.
    let liar = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0];
    assert!(decompress(Compression::Snappy, &liar, usize::MAX).is_err());
}

#[test]
fn r10_a_control_batch_has_one_record_with_kind_and_epoch() {
    for (kind, number) in [(ControlKind::Abort, 0), (ControlKind::Commit, 1)] {
        let header = BatchHeader {
            producer_id: ProducerId(9),
            producer_epoch: ProducerEpoch(2),
            ..BatchHeader::default()
        };
        let bytes = BatchBuilder::control(header, kind, 5, NOW);
        let open = OpenBatch::new(&bytes, 0).unwrap();
        assert!(open.head.attributes.is_control() && open.head.attributes.is_transactional());
        assert_eq!(open.head.base_sequence, -1);
        let record = open.records().next().unwrap().unwrap();
        assert_eq!(record.key, Some(&[0, 0, 0, number][..]));
        assert_eq!(record.value, Some(&[0, 0, 0, 0, 0, 5][..]));
    }
}

#[test]
fn r7_log_append_time_counts_for_every_record() {
    for codec in Compression::ALL {
        let mut bytes = batch(codec, 10);
        let mark = Stamp {
            base_offset: Offset(1000),
            leader_epoch: LeaderEpoch(4),
            log_append_time: Some(WallMs(NOW + 77)),
        };
        stamp(&mut bytes, &mark);
        let head = check(&bytes).unwrap();
        assert_eq!(
            (head.base_offset, head.leader_epoch),
            (Offset(1000), LeaderEpoch(4))
        );
        assert_eq!((head.base_timestamp, head.max_timestamp), (NOW, NOW + 77));
        let open = OpenBatch::new(&bytes, 1 << 20).unwrap();
        assert!(
            open.records()
                .all(|record| record.unwrap().timestamp == NOW + 77)
        );
        let found = find_timestamp(&bytes, NOW + 3, Offset(0), 1 << 20)
            .unwrap()
            .unwrap();
        assert_eq!((found.offset, found.timestamp), (Offset(1000), NOW + 77));
    }
}

#[test]
fn r2_stamping_offset_and_epoch_leaves_the_crc_alone() {
    let mut bytes = batch(Compression::None, 2);
    let before = check(&bytes).unwrap();
    let mark = Stamp {
        base_offset: Offset(1 << 40),
        leader_epoch: LeaderEpoch(12),
        log_append_time: None,
    };
    stamp(&mut bytes, &mark);
    let after = check(&bytes).unwrap();
    assert_eq!(after.crc, before.crc);
    assert_eq!(after.end_offset(), Offset((1 << 40) + 2));
}

#[test]
fn find_timestamp_passes_what_nobody_can_read_and_takes_what_is_too_large_as_a_whole() {
    let mut builder = BatchBuilder::new(BatchHeader {
        compression: Compression::Gzip,
        base_offset: Offset(50),
        ..BatchHeader::default()
    });
    builder.push(10, None, Some(&[7; 1_000]), &[]);
    builder.push(30, None, None, &[]);
    let mut bytes = builder.finish().to_vec();
    let whole = Found {
        offset: Offset(50),
        timestamp: 30,
    };
    assert_eq!(find_timestamp(&bytes, 20, Offset(0), 100), Ok(Some(whole)));
    bytes[RECORDS_AT..].fill(b'x');
    assert_eq!(find_timestamp(&bytes, 20, Offset(0), 1 << 20), Ok(None));
}

#[test]
fn find_timestamp_gives_the_first_record_at_or_after_a_time() {
    for codec in Compression::ALL {
        let mut builder = BatchBuilder::new(BatchHeader {
            compression: codec,
            base_offset: Offset(50),
            ..BatchHeader::default()
        });
        for timestamp in [10, 30, 20, 40] {
            builder.push(timestamp, None, None, &[]);
        }
        let bytes = builder.finish();
        let find = |timestamp| {
            find_timestamp(&bytes, timestamp, Offset(0), 1 << 20)
                .unwrap()
                .map(|found| found.offset.0)
        };
        assert_eq!(
            [find(0), find(10), find(11), find(31), find(41)],
            [Some(50), Some(50), Some(51), Some(53), None]
        );
    }
}

#[test]
fn iteration_ends_after_its_first_error() {
    let good = batch(Compression::None, 5);
    let cut = with(good, 57, &9i32.to_be_bytes());
    let open = OpenBatch::new(&cut, 0).unwrap();
    let records: Vec<_> = open.records().collect();
    assert_eq!(records.len(), 6);
    assert!(records[5].is_err());
}

#[derive(Clone, Debug)]
struct AnyRecord {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

fn any_record() -> impl Strategy<Value = AnyRecord> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300));
    let headers = proptest::collection::vec(("[a-z]{0,9}", bytes()), 0..3);
    (-1..NOW, bytes(), bytes(), headers).prop_map(|(timestamp, key, value, headers)| AnyRecord {
        timestamp,
        key,
        value,
        headers,
    })
}

fn build(codec: Compression, records: &[AnyRecord]) -> Bytes {
    let mut builder = BatchBuilder::new(BatchHeader {
        compression: codec,
        ..BatchHeader::default()
    });
    for record in records {
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_deref()))
            .collect();
        builder.push(
            record.timestamp,
            record.key.as_deref(),
            record.value.as_deref(),
            &headers,
        );
    }
    builder.finish()
}

fn any_codec() -> impl Strategy<Value = Compression> {
    (0..5i16).prop_map(|number| Compression::from_number(number).unwrap())
}

proptest! {
    #[test]
    fn records_come_back_as_they_were_built(codec in any_codec(), records in proptest::collection::vec(any_record(), 1..20)) {
        let bytes = build(codec, &records);
        prop_assert!(validate(&bytes, &rules()).is_ok());
        let open = OpenBatch::new(&bytes, 1 << 20).unwrap();
        let read: Vec<_> = open.records().map(Result::unwrap).collect();
        prop_assert_eq!(read.len(), records.len());
        for (index, (read, built)) in read.iter().zip(&records).enumerate() {
            prop_assert_eq!(read.offset, Offset(index as i64));
            prop_assert_eq!(read.timestamp, built.timestamp);
            prop_assert_eq!(read.key, built.key.as_deref());
            prop_assert_eq!(read.value, built.value.as_deref());
            let headers: Vec<_> = read.headers.iter().map(|header| (header.key, header.value)).collect();
            let built: Vec<_> = built.headers.iter().map(|(key, value)| (key.as_bytes(), value.as_deref())).collect();
            prop_assert_eq!(headers, built);
        }
    }

    #[test]
    fn a_changed_byte_is_refused(codec in any_codec(), count in 1..30usize, at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let mut bytes = batch(codec, count);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let result = validate(&bytes, &rules());
        // The leader epoch is the broker's to set, so a client may write anything there (R2).
        prop_assert_eq!(result.is_ok(), (12..16).contains(&at));
    }

    #[test]
    fn foreign_bytes_with_a_good_crc_never_panic(codec in any_codec(), count in 1..30usize,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = batch(codec, count);
        for (at, value) in changes {
            let at = ATTRIBUTES_AT + at.index(bytes.len() - ATTRIBUTES_AT);
            bytes = with(bytes, at, &[value]);
        }
        let strict = BatchRules { keys: Keys::Required, ..rules() };
        let accepted = validate(&bytes, &strict).is_ok();
        let _ = find_timestamp(&bytes, NOW, Offset(0), 1 << 20);
        if let Ok(open) = OpenBatch::new(&bytes, 1 << 20) {
            let whole = open.records().all(|record| record.is_ok());
            prop_assert!(!accepted || whole);
        }
    }

    #[test]
    fn decompression_of_noise_never_panics(codec in any_codec(), noise in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = decompress(codec, &noise, 1 << 16);
        let mut framed = vec![0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
        framed.extend_from_slice(&noise);
        let _ = decompress(Compression::Snappy, &framed, 1 << 16);
    }

    #[test]
    fn a_patched_crc_is_the_one_of_the_content(count in 1..200usize, time in any::<i64>()) {
        let mut bytes = batch(Compression::None, count);
        let mark = Stamp { base_offset: Offset(5), leader_epoch: LeaderEpoch(1), log_append_time: Some(WallMs(time)) };
        stamp(&mut bytes, &mark);
        let head = BatchHead::parse(&bytes).unwrap();
        prop_assert_eq!(head.crc, crc32c::crc32c(&bytes[ATTRIBUTES_AT..]));
        prop_assert_eq!(&bytes[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8], &time.to_be_bytes());
    }

    #[test]
    fn numbers_come_back_as_they_were_written(value in any::<i64>(), small in any::<i32>()) {
        let mut out = Vec::new();
        put_varlong(&mut out, value);
        prop_assert_eq!(out.len(), varlong_bytes(value));
        prop_assert_eq!(Cursor::new(&out).varlong(), Some(value));
        for short in [i64::from(small), i64::from(small % 8192), i64::from(small % 64)] {
            let mut out = Vec::new();
            put_varlong(&mut out, short);
            prop_assert_eq!(Cursor::new(&out).varint(), Some(short as i32));
            prop_assert_eq!(Cursor::new(&out[..out.len() - 1]).varint(), None);
        }
    }

    #[test]
    fn a_header_comes_back_as_it_was_written(header in proptest::array::uniform32(any::<u8>()), rest in proptest::array::uniform29(any::<u8>())) {
        let mut bytes: [u8; HEADER_BYTES] = [&header[..], &rest[..]].concat().try_into().unwrap();
        bytes[16] = 2;
        bytes[8] &= 0x7f;
        if let Ok(head) = BatchHead::parse(&bytes) {
            let mut again = [0; HEADER_BYTES];
            head.write(&mut again);
            prop_assert_eq!(again, bytes);
        }
    }
}
