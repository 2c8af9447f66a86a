//! Little-endian fields out of and into bytes, bounded.

use crate::ids::{LeaderEpoch, Offset};
use std::fmt;

use super::place::{EpochStart, Place};

/// Bytes of an encoded [`Place`].
pub(super) const PLACE_BYTES: usize = 32;
/// Bytes of an encoded [`EpochStart`].
pub(super) const EPOCH_BYTES: usize = 16;

/// Bytes that do not decode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed {
    /// Where in the bytes given.
    pub position: usize,
    /// What is wrong there.
    pub reason: &'static str,
    /// Set where nothing needs to be wrong: another version of the program wrote this.
    pub versions: Option<Versions>,
}

/// The version of a format that was found, and the one that this program knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Versions {
    /// What the bytes state.
    pub found: u32,
    /// What this program reads and writes.
    pub known: u32,
}

impl Malformed {
    /// Bytes that are wrong.
    pub(crate) fn new(position: usize, reason: &'static str) -> Malformed {
        Malformed {
            position,
            reason,
            versions: None,
        }
    }

    /// Bytes of another format version.
    pub(super) fn of_version(position: usize, found: u32, known: u32) -> Malformed {
        Malformed {
            position,
            reason: "another format version",
            versions: Some(Versions { found, known }),
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.versions {
            Some(Versions { found, known }) => write!(
                f,
                "format version {found}, and this program knows version {known}"
            ),
            None => write!(f, "{} at byte {}", self.reason, self.position),
        }
    }
}

impl std::error::Error for Malformed {}

/// Reads fields from the front of some bytes.
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Fields<'a> {
        Fields { bytes, position: 0 }
    }

    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.position
    }

    pub(super) fn fail(&self, reason: &'static str) -> Malformed {
        Malformed::new(self.position, reason)
    }

    /// Takes the version that stands here, which must be `known`.
    pub(super) fn version(&mut self, known: u16) -> Result<(), Malformed> {
        let position = self.position;
        match self.u16()? {
            found if found == known => Ok(()),
            found => Err(Malformed::of_version(position, found.into(), known.into())),
        }
    }

    pub(super) fn take(&mut self, bytes: usize) -> Result<&'a [u8], Malformed> {
        let rest = &self.bytes[self.position..];
        let taken = rest.get(..bytes).ok_or(self.fail("bytes end early"))?;
        self.position += bytes;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        Ok(*self.take(N)?.first_chunk().expect("just taken"))
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(i32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn i64(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    pub(super) fn u128(&mut self) -> Result<u128, Malformed> {
        Ok(u128::from_le_bytes(self.array()?))
    }

    pub(super) fn offset(&mut self) -> Result<Offset, Malformed> {
        match self.i64()? {
            offset if offset >= 0 => Ok(Offset(offset)),
            _ => Err(self.fail("an offset is negative")),
        }
    }

    pub(super) fn zero(&mut self, bytes: usize) -> Result<(), Malformed> {
        match self.take(bytes)?.iter().all(|byte| *byte == 0) {
            true => Ok(()),
            false => Err(self.fail("a reserved field is not zero")),
        }
    }

    /// A count of things of which each takes at least `each` bytes: never more than there are bytes for.
    pub(super) fn count(&mut self, each: usize) -> Result<usize, Malformed> {
        let count = self.u32()? as usize;
        match count.checked_mul(each) {
            Some(bytes) if bytes <= self.left() => Ok(count),
            _ => Err(self.fail("a count is larger than the bytes that are left")),
        }
    }

    pub(super) fn place(&mut self) -> Result<Place, Malformed> {
        let place = Place {
            segment: self.offset()?,
            position: self.u64()?,
            offset: self.offset()?,
            epoch: LeaderEpoch(self.i32()?),
        };
        self.zero(4)?;
        match place.segment <= place.offset && place.position <= i64::MAX as u64 {
            true => Ok(place),
            false => Err(self.fail("a place lies outside its segment")),
        }
    }

    pub(super) fn epoch_start(&mut self) -> Result<EpochStart, Malformed> {
        let epoch = LeaderEpoch(self.i32()?);
        self.zero(4)?;
        Ok(EpochStart {
            epoch,
            start: self.offset()?,
        })
    }

    /// `count` epochs, ascending in epoch and start.
    pub(super) fn epochs(&mut self, count: usize) -> Result<Vec<EpochStart>, Malformed> {
        let mut epochs: Vec<EpochStart> = Vec::with_capacity(count.min(self.left() / EPOCH_BYTES));
        for _ in 0..count {
            let next = self.epoch_start()?;
            if let Some(last) = epochs.last()
                && (last.epoch >= next.epoch || last.start > next.start)
            {
                return Err(self.fail("epochs do not ascend"));
            }
            epochs.push(next);
        }
        Ok(epochs)
    }
}

/// Appends fields to bytes.
pub(super) trait Put {
    fn put(&mut self, bytes: &[u8]);

    fn put_place(&mut self, place: &Place) {
        self.put(&place.segment.0.to_le_bytes());
        self.put(&place.position.to_le_bytes());
        self.put(&place.offset.0.to_le_bytes());
        self.put(&place.epoch.0.to_le_bytes());
        self.put(&[0; 4]);
    }

    fn put_epoch(&mut self, epoch: &EpochStart) {
        self.put(&epoch.epoch.0.to_le_bytes());
        self.put(&[0; 4]);
        self.put(&epoch.start.0.to_le_bytes());
    }
}

impl Put for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}
