//! Whatever a client sends as a frame is decoded or refused; what is decoded is encoded again to the same meaning.
#![no_main]
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use millstream_net::wire::{decode_request, encode_request};

fuzz_target!(|frame: &[u8]| {
    let Ok((header, request)) = decode_request(&Bytes::copy_from_slice(frame)) else { return };
    let again = encode_request(header.api_version, header.correlation_id, None, &request).concat();
    let (header_again, request_again) = decode_request(&Bytes::from(again).slice(4..)).expect("just written");
    assert_eq!(header_again.correlation_id, header.correlation_id);
    assert_eq!(request_again, request);
});
