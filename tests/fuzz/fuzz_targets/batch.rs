//! Whatever a client sends as a batch is accepted or refused; what is accepted can be walked, searched and stamped.
#![no_main]
use libfuzzer_sys::fuzz_target;
use millstream_storage::batch::{
    BatchRules, Compression, HEADER_BYTES, Keys, OpenBatch, Timestamps, Zstd, check, find_timestamp, validate,
};
use millstream_storage::ids::{Offset, WallMs};

const RULES: BatchRules = BatchRules {
    now: WallMs(1_700_000_000_000),
    bytes_max: 1 << 20,
    segment_bytes: 1 << 20,
    decompressed_bytes_max: 1 << 20,
    keys: Keys::Optional,
    timestamps: Timestamps::Created { before_ms: i64::MAX, after_ms: 3_600_000 },
    zstd: Zstd::Allowed,
};

fuzz_target!(|input: &[u8]| {
    // The checksum would refuse nearly everything: set it right, so that what lies behind it is reached too.
    let mut batch = input.to_vec();
    if batch.len() >= HEADER_BYTES {
        let checksum = crc32c::crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&checksum.to_be_bytes());
    }
    let _ = check(&batch);
    let _ = find_timestamp(&batch, 1, Offset(0), 1 << 20);
    if let Ok(head) = validate(&batch, &RULES)
        && head.attributes.compression() == Some(Compression::None)
    {
        let open = OpenBatch::new(&batch, 1 << 20).expect("what was validated can be opened");
        assert_eq!(open.records().filter(Result::is_ok).count(), head.record_count as usize);
    }
});
