//! Batches against an independent implementation of the format: what it writes is accepted and read the same, and the reverse.

use super::*;
use crate::ids::{Offset, ProducerEpoch, ProducerId, WallMs};
use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records as oracle;

const NOW: i64 = 1_700_000_000_000;

fn codecs() -> [(Compression, oracle::Compression); 5] {
    [
        (Compression::None, oracle::Compression::None),
        (Compression::Gzip, oracle::Compression::Gzip),
        (Compression::Snappy, oracle::Compression::Snappy),
        (Compression::Lz4, oracle::Compression::Lz4),
        (Compression::Zstd, oracle::Compression::Zstd),
    ]
}

fn theirs(count: i32) -> Vec<oracle::Record> {
    let record = |index: i32| oracle::Record {
        transactional: false,
        control: false,
        partition_leader_epoch: 0,
        producer_id: 77,
        producer_epoch: 3,
        timestamp_type: oracle::TimestampType::Creation,
        offset: i64::from(index),
        sequence: 100 + index,
        timestamp: NOW + i64::from(index % 7),
        delete_horizon: false,
        key: (index % 3 != 0).then(|| Bytes::from(format!("key-{index}"))),
        value: (index % 5 != 0)
            .then(|| Bytes::from(vec![index as u8; (index * 37 % 5000) as usize])),
        headers: [(
            StrBytes::from_static_str("trace"),
            (index % 2 == 0).then(|| Bytes::from_static(b"abc")),
        )]
        .into(),
    };
    (0..count).map(record).collect()
}

fn rules() -> BatchRules {
    BatchRules {
        now: WallMs(NOW),
        bytes_max: 16 << 20,
        segment_bytes: 1 << 30,
        decompressed_bytes_max: 16 << 20,
        keys: Keys::Optional,
        timestamps: Timestamps::Created {
            before_ms: 1000,
            after_ms: 1000,
        },
        zstd: Zstd::Allowed,
    }
}

#[test]
fn what_another_implementation_writes_is_accepted_and_read_the_same() {
    for (codec, other) in codecs() {
        for count in [1, 2, 300] {
            let records = theirs(count);
            let options = oracle::RecordEncodeOptions {
                version: 2,
                compression: other,
            };
            let mut bytes = BytesMut::new();
            oracle::RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
            let head = validate(&bytes, &rules()).unwrap();
            assert_eq!(
                (head.record_count, head.producer_id, head.base_sequence),
                (count, ProducerId(77), 100)
            );
            assert_eq!(head.attributes.compression(), Some(codec));
            assert_eq!(
                head.max_timestamp,
                records.iter().map(|record| record.timestamp).max().unwrap()
            );
            let open = OpenBatch::new(&bytes, 16 << 20).unwrap();
            let mut read = open.records();
            for record in &records {
                let read = read.next().unwrap().unwrap();
                assert_eq!(
                    (read.offset.0, read.timestamp),
                    (record.offset, record.timestamp)
                );
                assert_eq!(
                    (read.key, read.value),
                    (record.key.as_deref(), record.value.as_deref())
                );
                let headers: Vec<_> = read
                    .headers
                    .iter()
                    .map(|header| (header.key, header.value))
                    .collect();
                let wanted: Vec<_> = record
                    .headers
                    .iter()
                    .map(|(key, value)| (key.as_bytes(), value.as_deref()))
                    .collect();
                assert_eq!(headers, wanted);
            }
            assert!(read.next().is_none());
        }
    }
}

#[test]
fn what_the_builder_writes_is_read_the_same_by_another_implementation() {
    for (codec, _) in codecs() {
        let mut builder = BatchBuilder::new(BatchHeader {
            base_offset: Offset(1 << 33),
            compression: codec,
            producer_id: ProducerId(5),
            producer_epoch: ProducerEpoch(1),
            base_sequence: 9,
            transactional: true,
            ..BatchHeader::default()
        });
        let value = vec![3; 100_000];
        builder.push(NOW, None, Some(&value), &[("h", None)]);
        builder.push(NOW - 5, Some(b"k"), None, &[]);
        let mut bytes = builder.finish();
        let read = oracle::RecordBatchDecoder::decode(&mut bytes)
            .unwrap()
            .records;
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].offset, read[1].offset), (1 << 33, (1 << 33) + 1));
        assert_eq!((read[0].timestamp, read[1].timestamp), (NOW, NOW - 5));
        assert_eq!((read[0].sequence, read[1].sequence), (9, 10));
        assert!(read[1].transactional && read[1].producer_id == 5 && read[1].producer_epoch == 1);
        assert_eq!(read[0].value.as_deref(), Some(&value[..]));
        assert_eq!(
            (
                read[0].key.as_deref(),
                read[1].key.as_deref(),
                read[1].value.as_deref()
            ),
            (None, Some(&b"k"[..]), None)
        );
        assert_eq!(read[0].headers.len(), 1);
    }
}
