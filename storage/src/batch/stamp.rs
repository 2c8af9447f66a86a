//! What the broker writes into the header of a batch it appends (R2, R7).
//!
//! Always: the CRC is that of the content afterwards; it is patched from the bytes that change, not computed again: CRC-32C is linear, so
//! the CRC of a change is the CRC of its difference, moved over the zeros behind it.

use super::head::{ATTRIBUTES_AT, Attributes, BatchHead, CRC_AT, EPOCH_AT, MAX_TIMESTAMP_AT};
use crate::ids::{LeaderEpoch, Offset, WallMs};

/// What a batch gets when it is appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The epoch under which it is appended.
    pub leader_epoch: LeaderEpoch,
    /// The time that replaces those of its records; `None` where the producer's count.
    pub log_append_time: Option<WallMs>,
}

/// Behind the last byte that a stamp changes and the CRC covers.
const CHANGED_END: usize = MAX_TIMESTAMP_AT + 8;

impl Stamp {
    /// The head of a batch as it is when it is stamped, but for the CRC.
    #[inline]
    pub fn head(&self, head: BatchHead) -> BatchHead {
        let mut stamped = BatchHead {
            base_offset: self.base_offset,
            leader_epoch: self.leader_epoch,
            ..head
        };
        if let Some(time) = self.log_append_time {
            stamped.attributes.0 |= Attributes::LOG_APPEND_TIME;
            stamped.max_timestamp = time.0;
        }
        stamped
    }
}

/// Stamps a whole, valid batch in place.
pub fn stamp(batch: &mut [u8], stamp: &Stamp) {
    batch[..8].copy_from_slice(&stamp.base_offset.0.to_be_bytes());
    batch[EPOCH_AT..EPOCH_AT + 4].copy_from_slice(&stamp.leader_epoch.0.to_be_bytes());
    if let Some(time) = stamp.log_append_time {
        let head = BatchHead::parse(batch).expect("a batch is stamped after it was validated");
        let attributes = head.attributes.0 | Attributes::LOG_APPEND_TIME;
        patch(batch, attributes, time.0, head.crc);
    }
}

fn patch(batch: &mut [u8], attributes: i16, max_timestamp: i64, crc: u32) {
    let mut difference = [0u8; CHANGED_END - ATTRIBUTES_AT];
    difference.copy_from_slice(&batch[ATTRIBUTES_AT..CHANGED_END]);
    batch[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&attributes.to_be_bytes());
    batch[MAX_TIMESTAMP_AT..CHANGED_END].copy_from_slice(&max_timestamp.to_be_bytes());
    for (old, new) in difference.iter_mut().zip(&batch[ATTRIBUTES_AT..]) {
        *old ^= new;
    }
    // The inversions before and after cancel out between two messages of one length.
    let change = crc32c::crc32c(&difference) ^ crc32c::crc32c(&[0; CHANGED_END - ATTRIBUTES_AT]);
    let patched = crc ^ over_zeros(change, batch.len() - CHANGED_END);
    batch[CRC_AT..CRC_AT + 4].copy_from_slice(&patched.to_be_bytes());
}

/// The reflected polynomial of CRC-32C.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// x to the power of 8 * 2^k, modulo the polynomial, for each k.
const BYTE_POWERS: [u32; 32] = {
    let mut powers = [0; 32];
    let mut power = 1 << 23;
    let mut k = 0;
    while k < 32 {
        powers[k] = power;
        power = times(power, power);
        k += 1;
    }
    powers
};

/// What a CRC without inversions becomes when so many zero bytes follow.
fn over_zeros(mut crc: u32, bytes: usize) -> u32 {
    let mut left = u32::try_from(bytes).expect("a batch is smaller than 4 GiB");
    while left != 0 {
        crc = times(crc, BYTE_POWERS[left.trailing_zeros() as usize]);
        left &= left - 1;
    }
    crc
}

/// Multiplies two polynomials over GF(2), modulo the polynomial; bit 31 is the coefficient of x^0.
const fn times(a: u32, b: u32) -> u32 {
    let mut product = 0;
    let mut shifted = b;
    let mut bit = 32;
    while bit > 0 {
        bit -= 1;
        if a >> bit & 1 == 1 {
            product ^= shifted;
        }
        shifted = shifted >> 1 ^ if shifted & 1 == 1 { POLYNOMIAL } else { 0 };
    }
    product
}
