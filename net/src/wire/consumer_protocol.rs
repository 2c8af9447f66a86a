//! What classic consumers tell each other in the opaque bytes of a group: subscriptions and assignments.
//!
//! Always: bytes that are not of this form give an error, never a panic; a version above those known here is read as the highest.

use bytes::{BufMut, Bytes, BytesMut};

use super::field::Field;
use super::message::Dialect;
use super::read::{Limits, Malformed, Reader};
use super::text::Str;
use super::write::Encoder;

message! {
    /// What a consumer wants and has.
    pub struct ConsumerSubscription {
        /// The topics it wants.
        topics: Vec<Str> => 0..;
        /// Whatever its assignor wants to tell.
        user_data: Option<Bytes> => 0..;
        /// The partitions it has.
        owned_partitions: Vec<ConsumerPartitions> => 1..;
        /// The generation it has them of.
        generation_id: i32 = -1 => 2..;
        /// Its rack.
        rack_id: Option<Str> => 3..;
    }

    /// What a consumer shall have.
    pub struct ConsumerAssignment {
        /// The partitions.
        assigned_partitions: Vec<ConsumerPartitions> => 0..;
        /// Whatever the assignor wants to tell.
        user_data: Option<Bytes> => 0..;
    }

    /// Partitions of a topic.
    pub struct ConsumerPartitions {
        /// The topic.
        topic: Str => 0..;
        /// Its partitions.
        partitions: Vec<i32> => 0..;
    }
}

/// The highest version known here.
const VERSION_MAX: i16 = 3;

impl ConsumerSubscription {
    /// Reads the metadata of a member.
    pub fn decode(bytes: &Bytes) -> Result<ConsumerSubscription, Malformed> {
        decode(bytes)
    }

    /// The bytes of it.
    pub fn encode(&self, version: i16) -> Bytes {
        encode(self, version)
    }
}

impl ConsumerAssignment {
    /// Reads an assignment.
    pub fn decode(bytes: &Bytes) -> Result<ConsumerAssignment, Malformed> {
        decode(bytes)
    }

    /// The bytes of it.
    pub fn encode(&self, version: i16) -> Bytes {
        encode(self, version)
    }
}

/// The version that bytes of this protocol begin with.
pub fn version_of(bytes: &Bytes) -> Option<i16> {
    bytes.first_chunk::<2>().map(|two| i16::from_be_bytes(*two))
}

fn decode<T: Field>(bytes: &Bytes) -> Result<T, Malformed> {
    let mut reader = Reader::new(bytes, Limits::for_response(bytes.len()));
    let version = i16::from_be_bytes(reader.array()?).min(VERSION_MAX);
    if version < 0 {
        return Err(reader.malformed("a version of the consumer protocol is not negative"));
    }
    T::read(&mut reader, plain(version))
}

fn encode<T: Field>(message: &T, version: i16) -> Bytes {
    let version = version.clamp(0, VERSION_MAX);
    let mut encoder = Encoder::with_room(256);
    version.write(&mut encoder, plain(version));
    message.write(&mut encoder, plain(version));
    let mut whole = BytesMut::new();
    encoder
        .into_parts()
        .iter()
        .for_each(|part| whole.put_slice(part));
    whole.freeze()
}

fn plain(version: i16) -> Dialect {
    Dialect {
        version,
        flexible: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::sample::{Random, Sample};

    #[test]
    fn every_version_is_read_back_as_it_was_written() {
        let mut random = Random(3);
        for version in 0..=VERSION_MAX {
            for _ in 0..100 {
                let subscription = ConsumerSubscription::sample(&mut random, plain(version));
                let bytes = subscription.encode(version);
                assert_eq!(ConsumerSubscription::decode(&bytes), Ok(subscription));
                let assignment = ConsumerAssignment::sample(&mut random, plain(version));
                let bytes = assignment.encode(version);
                assert_eq!(ConsumerAssignment::decode(&bytes), Ok(assignment));
                assert_eq!(version_of(&bytes), Some(version));
            }
        }
    }

    #[test]
    fn garbage_is_refused() {
        for bytes in [
            &b""[..],
            b"x",
            b"\xff\xff",
            b"\0\0\xff\xff\xff\x7f",
            b"\0\x01\0\0\0\x09a",
        ] {
            let bytes = Bytes::copy_from_slice(bytes);
            assert!(ConsumerSubscription::decode(&bytes).is_err());
            assert!(ConsumerAssignment::decode(&bytes).is_err());
        }
    }
}
