//! Whatever claims to be compressed gives bytes within the limit or an error. The first byte chooses the codec.
#![no_main]
use libfuzzer_sys::fuzz_target;
use millstream_storage::batch::{Compression, decompress};

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else { return };
    let Some(codec) = Compression::from_number(i16::from(choice % 5)) else { return };
    if let Ok(out) = decompress(codec, bytes, 1 << 20) {
        assert!(out.len() <= 1 << 20);
    }
});
