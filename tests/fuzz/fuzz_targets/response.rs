//! Whatever a broker answers is decoded or refused. The first two bytes choose the key and the version.
#![no_main]
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use millstream_net::wire::{ApiKey, decode_response};

fuzz_target!(|input: &[u8]| {
    let Some((choice, frame)) = input.split_first_chunk::<2>() else { return };
    let Some(key) = ApiKey::from_code(i16::from(choice[0])) else { return };
    let schema = key.api().schema;
    let version = schema.min + i16::from(choice[1]) % (schema.max - schema.min + 1);
    let _ = decode_response(key, version, &Bytes::copy_from_slice(frame));
});
