//! Compressed streams whose beginning is stored as it is, so that it can be changed afterwards.
//!
//! Every codec has blocks that are not compressed. A stream made here has one such block in front and compressed ones behind
//! it: any decoder reads it, and the first bytes may be overwritten in place.

use crate::workload::Codec;
use std::io::Write;

/// A stream that decompresses to `front` and `rest`, and where `front` begins in it.
pub fn compress(codec: Codec, front: &[u8], rest: &[u8]) -> (Vec<u8>, usize) {
    assert!(front.len() < 256, "a stamp and little more is stored");
    match codec {
        Codec::None => ([front, rest].concat(), 0),
        Codec::Gzip => gzip(front, rest),
        Codec::Snappy => snappy(front, rest),
        Codec::Lz4 => lz4(front, rest),
        Codec::Zstd => zstd(front, rest),
    }
}

const MEMORY: &str = "memory takes every write";

fn gzip(front: &[u8], rest: &[u8]) -> (Vec<u8>, usize) {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let length = front.len() as u16;
    out.push(0);
    out.extend(length.to_le_bytes());
    out.extend((!length).to_le_bytes());
    let at = out.len();
    out.extend(front);
    let mut encoder = flate2::write::DeflateEncoder::new(out, flate2::Compression::default());
    encoder.write_all(rest).expect(MEMORY);
    let mut out = encoder.finish().expect(MEMORY);
    let mut crc = flate2::Crc::new();
    crc.update(front);
    crc.update(rest);
    out.extend(crc.sum().to_le_bytes());
    out.extend(crc.amount().to_le_bytes());
    (out, at)
}

const XERIAL_HEADER: [u8; 16] = [
    0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1,
];
const XERIAL_BLOCK_BYTES: usize = 32 << 10;

fn snappy(front: &[u8], rest: &[u8]) -> (Vec<u8>, usize) {
    let mut out = XERIAL_HEADER.to_vec();
    let mut block = Vec::new();
    let mut length = front.len();
    while length >= 0x80 {
        block.push(length as u8 | 0x80);
        length >>= 7;
    }
    block.push(length as u8);
    // A literal whose length is in the next byte.
    block.extend([60 << 2, (front.len() - 1) as u8]);
    out.extend(((block.len() + front.len()) as u32).to_be_bytes());
    out.extend(&block);
    let at = out.len();
    out.extend(front);
    let mut encoder = snap::raw::Encoder::new();
    for chunk in rest.chunks(XERIAL_BLOCK_BYTES) {
        let compressed = encoder.compress_vec(chunk).expect(MEMORY);
        out.extend((compressed.len() as u32).to_be_bytes());
        out.extend(compressed);
    }
    (out, at)
}

/// Version 1, independent blocks of up to 64 KiB, no checksums; the last byte is the checksum of the two before it.
const LZ4_HEADER: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
const LZ4_BLOCK_BYTES: usize = 64 << 10;
const LZ4_STORED: u32 = 1 << 31;

fn lz4(front: &[u8], rest: &[u8]) -> (Vec<u8>, usize) {
    let mut out = LZ4_HEADER.to_vec();
    out.extend((front.len() as u32 | LZ4_STORED).to_le_bytes());
    let at = out.len();
    out.extend(front);
    for chunk in rest.chunks(LZ4_BLOCK_BYTES) {
        let compressed = lz4_flex::block::compress(chunk);
        if compressed.len() < chunk.len() {
            out.extend((compressed.len() as u32).to_le_bytes());
            out.extend(compressed);
        } else {
            out.extend((chunk.len() as u32 | LZ4_STORED).to_le_bytes());
            out.extend(chunk);
        }
    }
    out.extend(0u32.to_le_bytes());
    (out, at)
}

/// Magic, a descriptor without content size, a window of 8 MiB.
const ZSTD_HEADER: [u8; 6] = [0x28, 0xb5, 0x2f, 0xfd, 0, (23 - 10) << 3];

fn zstd(front: &[u8], rest: &[u8]) -> (Vec<u8>, usize) {
    let mut out = ZSTD_HEADER.to_vec();
    // Size, type 0 (raw), not the last one.
    out.extend(&((front.len() as u32) << 3).to_le_bytes()[..3]);
    let at = out.len();
    out.extend(front);
    let frame = ::zstd::stream::encode_all(rest, ::zstd::DEFAULT_COMPRESSION_LEVEL).expect(MEMORY);
    let descriptor = frame[4];
    let single = descriptor >> 5 & 1;
    let sizes = [usize::from(single), 2, 4, 8];
    let header = 5 + usize::from(1 - single) + [0, 1, 2, 4][usize::from(descriptor & 3)];
    out.extend(&frame[header + sizes[usize::from(descriptor >> 6)]..]);
    (out, at)
}
