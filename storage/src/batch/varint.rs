//! Zigzag variable-length integers of records, and a bounded cursor that reads them.
//!
//! Always: (1) reading never goes beyond the bytes; (2) at most 5 bytes make an `i32` and 10 an `i64`.

/// Reads forward through bytes; `None` means they end too early or make no number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: bytes }
    }

    #[inline]
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    #[inline]
    pub(super) fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken)
    }

    /// A length and so many bytes; a negative length stands for null.
    #[inline]
    pub(super) fn nullable(&mut self) -> Option<Option<&'a [u8]>> {
        match self.varint()? {
            length if length < 0 => Some(None),
            length => self.take(length as usize).map(Some),
        }
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Option<i32> {
        let value = match *self.rest {
            [first, ..] if first < 0x80 => {
                self.rest = &self.rest[1..];
                u32::from(first)
            }
            [first, second, ..] if second < 0x80 => {
                self.rest = &self.rest[2..];
                u32::from(first & 0x7f) | u32::from(second) << 7
            }
            _ => self.unsigned(5)? as u32,
        };
        Some((value >> 1) as i32 ^ -((value & 1) as i32))
    }

    #[inline]
    pub(super) fn varlong(&mut self) -> Option<i64> {
        let value = match *self.rest {
            [first, ..] if first < 0x80 => {
                self.rest = &self.rest[1..];
                u64::from(first)
            }
            _ => self.unsigned(10)?,
        };
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn unsigned(&mut self, bytes_max: usize) -> Option<u64> {
        let mut value = 0;
        for (index, byte) in self.rest.iter().take(bytes_max).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Some(value);
            }
        }
        None
    }
}

/// Appends an `i64` (or an `i32`, which has the same encoding).
pub(super) fn put_varlong(out: &mut Vec<u8>, value: i64) {
    let mut left = (value << 1) as u64 ^ (value >> 63) as u64;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

/// How many bytes `put_varlong` appends.
pub(super) fn varlong_bytes(value: i64) -> usize {
    let zigzag = (value << 1) as u64 ^ (value >> 63) as u64;
    (64 - (zigzag | 1).leading_zeros() as usize).div_ceil(7)
}
