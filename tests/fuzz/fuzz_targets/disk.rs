//! Whatever lies on a disk as a window, checkpoint or small file is decoded or refused, and what is decoded is bounded by its bytes.
#![no_main]
use libfuzzer_sys::fuzz_target;
use millstream_storage::format::{
    Checkpoint, DirMeta, NodeMeta, ProducersFile, WINDOW_HEADER_BYTES, WindowFront,
};

/// Sets a checksum right, so that what lies behind it is reached too: it covers everything but itself.
fn seal(bytes: &mut [u8], at: usize, from: usize) {
    if bytes.len() >= from {
        let checksum = crc32c::crc32c(&bytes[..at]);
        let checksum = crc32c::crc32c_append(checksum, &bytes[from..]);
        bytes[at..at + 4].copy_from_slice(&checksum.to_le_bytes());
    }
}

/// The input with the first bytes of a kind, so that not all of it is refused at once.
fn with_front(front: &[u8], input: &[u8]) -> Vec<u8> {
    [front, input.get(front.len()..).unwrap_or_default()].concat()
}

fuzz_target!(|input: &[u8]| {
    let _ = NodeMeta::decode(input);
    let _ = DirMeta::decode(input);

    let mut window = with_front(b"MSwindow\x01\x00", input);
    if window.len() >= WINDOW_HEADER_BYTES {
        let bytes = (window.len() as u32).to_le_bytes();
        window[48..52].copy_from_slice(&bytes);
        seal(&mut window, 60, WINDOW_HEADER_BYTES);
        if let Ok(front) = WindowFront::decode(&window) {
            let entries = front.verify(&window).expect("the checksum was set right");
            let payload: usize = entries.flatten().map(|at| at.payload.len()).sum();
            assert!(payload <= window.len());
        }
    }

    let mut checkpoint = with_front(b"MSchkpnt\x01\x00", input);
    if checkpoint.len() >= 24 {
        let bytes = (checkpoint.len() as u64).to_le_bytes();
        checkpoint[16..24].copy_from_slice(&bytes);
        seal(&mut checkpoint, 12, 16);
        if let Ok(decoded) = Checkpoint::decode(&checkpoint) {
            assert_eq!(decoded.encode(), checkpoint, "one content has one encoding");
        }
    }

    let mut producers = with_front(b"MSprodcr\x01\x00\x00\x00", input);
    seal(&mut producers, 12, 16);
    let _ = ProducersFile::decode(&producers);
});
