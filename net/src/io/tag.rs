//! The `user_data` of submissions of this module.
//!
//! Layout, from the top: class (8 bits, `CLASS`), kind (8), generation (24), slot (24). BOUND: 2^24 connections of a shard.

/// The top byte of every `user_data` of this module.
pub const CLASS: u8 = 1;

/// What a submission was for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Accept = 1,
    /// Multishot receive into shared buffers.
    ReceiveMany = 2,
    /// One receive into a shared buffer.
    ReceiveShared = 3,
    /// One receive into the frame's own buffer.
    ReceiveDirect = 4,
    Send = 5,
    Cancel = 6,
}

const SLOT_BITS: u32 = 24;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;
/// Connections a shard can tell apart.
pub(super) const SLOTS_MAX: usize = 1 << SLOT_BITS;

pub(super) fn encode(kind: Kind, slot: u32, generation: u32) -> u64 {
    (CLASS as u64) << 56
        | (kind as u64) << 48
        | (generation as u64 & SLOT_MASK) << SLOT_BITS
        | slot as u64 & SLOT_MASK
}

/// The kind and the slot; `None` for a number this module did not make.
pub(super) fn decode(user_data: u64) -> Option<(Kind, u32)> {
    let kind = match user_data >> 48 & 0xff {
        1 => Kind::Accept,
        2 => Kind::ReceiveMany,
        3 => Kind::ReceiveShared,
        4 => Kind::ReceiveDirect,
        5 => Kind::Send,
        6 => Kind::Cancel,
        _ => return None,
    };
    (user_data >> 56 == CLASS as u64).then_some((kind, (user_data & SLOT_MASK) as u32))
}
