//! The codecs of record batches (R8, R9), bounded against bombs.
//!
//! Always: (1) decompression stops as soon as it has given more than its limit, and reserves nothing from a stated size that is above it;
//! (2) snappy is read raw and in the framing of xerial (what Java writes), and written in the latter; lz4 is the frame format.

use std::io::{Read, Write};

/// How the records of a batch are compressed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy blocks.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard frames.
    Zstd,
}

impl Compression {
    /// All of them, in the order of their numbers.
    pub const ALL: [Compression; 5] = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];

    /// The codec of a number in the attributes.
    pub fn from_number(number: i16) -> Option<Compression> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// Its number in the attributes.
    pub fn number(self) -> i16 {
        self as i16
    }

    /// Its name in `compression.type`.
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }

    /// The codec of a name in `compression.type`.
    pub fn from_name(name: &str) -> Option<Compression> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }
}

/// Why compressed bytes give nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecompressError {
    /// They would give more than the limit.
    TooLarge,
    /// They are not of this codec.
    Corrupt,
}

const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Magic, then the version that wrote it and the oldest that can read it.
const XERIAL_HEADER_BYTES: usize = 16;
const XERIAL_BLOCK_BYTES: usize = 32 << 10;

/// Decompresses `bytes` to at most `limit_bytes` bytes.
pub fn decompress(
    codec: Compression,
    bytes: &[u8],
    limit_bytes: usize,
) -> Result<Vec<u8>, DecompressError> {
    match codec {
        Compression::None if bytes.len() > limit_bytes => Err(DecompressError::TooLarge),
        Compression::None => Ok(bytes.to_vec()),
        Compression::Gzip => read_bounded(
            flate2::read::MultiGzDecoder::new(bytes),
            bytes.len(),
            limit_bytes,
        ),
        Compression::Snappy => snappy(bytes, limit_bytes),
        Compression::Lz4 => read_bounded(
            lz4_flex::frame::FrameDecoder::new(bytes),
            bytes.len(),
            limit_bytes,
        ),
        Compression::Zstd => match zstd::Decoder::with_buffer(bytes) {
            Ok(decoder) => read_bounded(decoder, bytes.len(), limit_bytes),
            Err(_) => Err(DecompressError::Corrupt),
        },
    }
}

fn read_bounded(
    reader: impl Read,
    bytes: usize,
    limit_bytes: usize,
) -> Result<Vec<u8>, DecompressError> {
    // BOUND: the first reservation follows from bytes that are there, what comes later from bytes that came out.
    let mut out = Vec::with_capacity(bytes.saturating_mul(3).min(limit_bytes));
    let read = reader.take(limit_bytes as u64 + 1).read_to_end(&mut out);
    if out.len() > limit_bytes {
        return Err(DecompressError::TooLarge);
    }
    match read {
        Ok(_) => Ok(out),
        Err(_) => Err(DecompressError::Corrupt),
    }
}

fn snappy(bytes: &[u8], limit_bytes: usize) -> Result<Vec<u8>, DecompressError> {
    let mut out = Vec::new();
    if !bytes.starts_with(&XERIAL_MAGIC) {
        snappy_block(bytes, limit_bytes, &mut out)?;
        return Ok(out);
    }
    let mut rest = bytes
        .get(XERIAL_HEADER_BYTES..)
        .ok_or(DecompressError::Corrupt)?;
    while !rest.is_empty() {
        // Streams that were joined repeat the header.
        if rest.starts_with(&XERIAL_MAGIC) {
            rest = rest
                .get(XERIAL_HEADER_BYTES..)
                .ok_or(DecompressError::Corrupt)?;
            continue;
        }
        let (length, behind) = rest.split_first_chunk().ok_or(DecompressError::Corrupt)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (block, behind) = behind
            .split_at_checked(length)
            .ok_or(DecompressError::Corrupt)?;
        snappy_block(block, limit_bytes, &mut out)?;
        rest = behind;
    }
    Ok(out)
}

fn snappy_block(
    block: &[u8],
    limit_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecompressError> {
    let bytes = snap::raw::decompress_len(block).map_err(|_| DecompressError::Corrupt)?;
    if bytes > limit_bytes - out.len() {
        return Err(DecompressError::TooLarge);
    }
    // BOUND: one compressed byte stands for at most 64 bytes, so a block that states more is corrupt and reserves nothing.
    if bytes > block.len().saturating_mul(64) {
        return Err(DecompressError::Corrupt);
    }
    let at = out.len();
    out.resize(at + bytes, 0);
    let written = snap::raw::Decoder::new().decompress(block, &mut out[at..]);
    match written {
        Ok(written) if written == bytes => Ok(()),
        _ => Err(DecompressError::Corrupt),
    }
}

/// Compresses `bytes`, appending to `out`.
pub fn compress(codec: Compression, bytes: &[u8], out: &mut Vec<u8>) {
    let written = match codec {
        Compression::None => out.write_all(bytes),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::default());
            encoder
                .write_all(bytes)
                .and_then(|()| encoder.finish().map(drop))
        }
        Compression::Snappy => xerial(bytes, out),
        Compression::Lz4 => {
            let mut frame = lz4_flex::frame::FrameEncoder::new(out);
            frame
                .write_all(bytes)
                .and_then(|()| frame.finish().map(drop).map_err(Into::into))
        }
        Compression::Zstd => zstd::stream::copy_encode(bytes, out, zstd::DEFAULT_COMPRESSION_LEVEL),
    };
    written.expect("memory takes every write");
}

fn xerial(bytes: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
    out.write_all(&XERIAL_MAGIC)?;
    out.write_all(&1i32.to_be_bytes())?;
    out.write_all(&1i32.to_be_bytes())?;
    let mut encoder = snap::raw::Encoder::new();
    for block in bytes.chunks(XERIAL_BLOCK_BYTES) {
        let compressed = encoder.compress_vec(block)?;
        out.write_all(&(compressed.len() as u32).to_be_bytes())?;
        out.write_all(&compressed)?;
    }
    Ok(())
}
