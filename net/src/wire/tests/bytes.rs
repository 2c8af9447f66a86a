//! Bytes written down by hand, for tests of frames.

use ::bytes::Bytes;

/// Hexadecimal digits, blanks between them as one likes.
pub fn hex(digits: &str) -> Bytes {
    let digits: Vec<u8> = digits
        .bytes()
        .filter(|digit| !digit.is_ascii_whitespace())
        .collect();
    let pairs = digits
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).unwrap());
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

/// The parts of a frame as one, without the length prefix, which must be right.
pub fn joined(parts: &[Bytes]) -> Bytes {
    let mut frame = Bytes::from(parts.concat());
    let length = frame.split_to(4);
    assert_eq!(
        length[..],
        (frame.len() as u32).to_be_bytes(),
        "the prefix is the length"
    );
    frame
}
