//! The records of `__consumer_offsets` as Kafka's group coordinator writes them: keys and values by kind and version.
//!
//! Always: (1) what is written is read back equal; (2) kinds of other coordinators (share and streams groups) are passed over,
//! not refused; (3) reading never panics and shares strings with the record.
//! A key begins with its kind, a value with its version; the fields follow.

use bytes::{BufMut, Bytes, BytesMut};

use super::field::{Field, Uuid};
use super::message::Dialect;
use super::read::{Limits, Malformed, Reader};
use super::text::Str;
use super::write::{Encoder, Sink};

message! {
    /// A group's place in a partition.
    pub struct OffsetCommitKey {
        /// The group.
        group: Str => 0..;
        /// The topic.
        topic: Str => 0..;
        /// The partition.
        partition: i32 => 0..;
    }

    /// The offset committed there.
    pub struct OffsetCommitValue {
        /// The offset of the next record to be read.
        offset: i64 => 0..;
        /// The leader epoch of the last record that was read.
        leader_epoch: i32 = -1 => 3..;
        /// Whatever the client wants to find again.
        metadata: Str => 0..;
        /// When it was committed, in ms.
        commit_timestamp: i64 => 0..;
        /// When it expires, in ms, where the client said so.
        expire_timestamp: i64 = -1 => 1..=1;
        /// The topic by id; zero where it was not known.
        topic_id: Uuid => 4.., tag 0;
    }

    /// A group; its members or epochs are the value.
    pub struct GroupKey {
        /// The group.
        group: Str => 0..;
    }

    /// A member of a group.
    pub struct GroupMemberKey {
        /// The group.
        group: Str => 0..;
        /// The member.
        member_id: Str => 0..;
    }

    /// A generation of a classic group.
    pub struct GroupMetadataValue {
        /// What the group is for.
        protocol_type: Str => 0..;
        /// The generation.
        generation: i32 => 0..;
        /// The protocol that all speak.
        protocol: Option<Str> => 0..;
        /// The member that assigns.
        leader: Option<Str> => 0..;
        /// Since when the group is in this state, in ms.
        current_state_timestamp: i64 = -1 => 2..;
        /// Its members.
        members: Vec<GroupMetadataMember> => 0..;
    }

    /// A member of that generation.
    pub struct GroupMetadataMember {
        /// The member.
        member_id: Str => 0..;
        /// The name of a static member.
        group_instance_id: Option<Str> => 3..;
        /// What its client calls itself.
        client_id: Str => 0..;
        /// Where its client is.
        client_host: Str => 0..;
        /// How long it may take to join again, in ms.
        rebalance_timeout: i32 = -1 => 1..;
        /// After how long without a sign of life it is taken for dead, in ms.
        session_timeout: i32 => 0..;
        /// What it tells the leader.
        subscription: Bytes => 0..;
        /// Its assignment.
        assignment: Bytes => 0..;
    }

    /// The epoch of a consumer group.
    pub struct ConsumerGroupMetadataValue {
        /// The epoch.
        epoch: i32 => 0..;
        /// A hash over the topics it is subscribed to; 0 where none was taken.
        metadata_hash: i64 => 0.., tag 0;
    }

    /// What a member of a consumer group wants.
    pub struct ConsumerGroupMemberMetadataValue {
        /// The name of a static member.
        instance_id: Option<Str> => 0..;
        /// Its rack.
        rack_id: Option<Str> => 0..;
        /// What its client calls itself.
        client_id: Str => 0..;
        /// Where its client is.
        client_host: Str => 0..;
        /// The topics it wants.
        subscribed_topic_names: Vec<Str> => 0..;
        /// The pattern of topics it wants.
        subscribed_topic_regex: Option<Str> => 0..;
        /// How long it may take to let go of partitions, in ms.
        rebalance_timeout_ms: i32 = -1 => 0..;
        /// The assignor it wants.
        server_assignor: Option<Str> => 0..;
        /// Set where it speaks the classic protocol. Kafka's schema means null as its default and says an empty one: null is written.
        classic_member_metadata: Option<ClassicMemberMetadata> = Some(ClassicMemberMetadata::default()) => 0.., tag 0;
    }

    /// What a classic member of a consumer group joined with.
    pub struct ClassicMemberMetadata {
        /// After how long without a sign of life it is taken for dead, in ms.
        session_timeout_ms: i32 => 0..;
        /// The protocols it speaks.
        supported_protocols: Vec<ClassicProtocol> => 0..;
    }

    /// A protocol of a classic member.
    pub struct ClassicProtocol {
        /// Its name.
        name: Str => 0..;
        /// What the member tells the leader.
        metadata: Bytes => 0..;
    }

    /// The epoch of the target assignment.
    pub struct TargetAssignmentMetadataValue {
        /// The epoch of the group it was made for.
        assignment_epoch: i32 => 0..;
        /// When it was made, in ms.
        assignment_timestamp: i64 => 0.., tag 0;
    }

    /// What a member shall have.
    pub struct TargetAssignmentMemberValue {
        /// The partitions.
        topic_partitions: Vec<RecordedPartitions> => 0..;
    }

    /// Partitions of a topic.
    pub struct RecordedPartitions {
        /// The topic.
        topic_id: Uuid => 0..;
        /// Its partitions.
        partitions: Vec<i32> => 0..;
    }

    /// What a member has.
    pub struct CurrentMemberAssignmentValue {
        /// Its epoch.
        member_epoch: i32 => 0..;
        /// The one before.
        previous_member_epoch: i32 => 0..;
        /// Where its reconciliation stands.
        state: i8 => 0..;
        /// The partitions it has.
        assigned_partitions: Vec<AssignedPartitions> => 0..;
        /// The partitions it has still to let go.
        partitions_pending_revocation: Vec<AssignedPartitions> => 0..;
    }

    /// Partitions of a topic, with the epochs they were given in.
    pub struct AssignedPartitions {
        /// The topic.
        topic_id: Uuid => 0..;
        /// Its partitions.
        partitions: Vec<i32> => 0..;
        /// One epoch per partition.
        assignment_epochs: Option<Vec<i32>> => 0.., tag 0;
    }

    /// A pattern of a consumer group.
    pub struct RegularExpressionKey {
        /// The group.
        group: Str => 0..;
        /// The pattern.
        regular_expression: Str => 0..;
    }

    /// The topics it matches.
    pub struct RegularExpressionValue {
        /// Their names.
        topics: Vec<Str> => 0..;
        /// The metadata they were found in.
        version: i64 => 0..;
        /// When, in ms.
        timestamp: i64 => 0..;
    }
}

/// How keys are written.
const KEY: Dialect = Dialect {
    version: 0,
    flexible: false,
};

/// Why a record is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordRefused {
    /// It does not have the form of its kind.
    Malformed(Malformed),
    /// A version above those known here: something newer wrote it.
    UnknownVersion(i16),
}

impl From<Malformed> for RecordRefused {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl std::fmt::Display for RecordRefused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed(malformed) => malformed.fmt(f),
            Self::UnknownVersion(version) => write!(f, "version {version} is not known"),
        }
    }
}

/// The kinds. A row is `kind Name: key, value, highest version, version written [unless the value wants another], flexible from;`.
macro_rules! define_records {
    ($($kind:literal $name:ident: $key:ident, $value:ident, to $max:literal, written $written:literal $(unless $unless:expr)?,
        flexible $flexible:literal;)+) => {
        /// A record: a key, and a value or none where what the key names is gone.
        #[derive(Debug, Clone, PartialEq)]
        pub enum GroupRecord {$(
            #[doc = concat!("Kind ", stringify!($kind), ".")]
            $name($key, Option<$value>),
        )+}

        impl GroupRecord {
            /// The bytes of key and value.
            pub fn encode(&self) -> (Bytes, Option<Bytes>) {
                match self {
                    $(Self::$name(key, value) => {
                        let value = value.as_ref().map(|value| {
                            let version = $written;
                            $(let version = $unless(value).unwrap_or(version);)?
                            write(version, value, Dialect { version, flexible: version >= $flexible })
                        });
                        (write($kind, key, KEY), value)
                    })+
                }
            }

            /// Reads a record; `None` where it is of another coordinator.
            pub fn decode(key: &Bytes, value: Option<&Bytes>) -> Result<Option<Self>, RecordRefused> {
                let (kind, key) = split(key)?;
                Ok(match kind {
                    $($kind => {
                        let key = read(&key, KEY)?;
                        let value = match value {
                            None => None,
                            Some(value) => {
                                let (version, value) = split(value)?;
                                if !(0..=$max).contains(&version) {
                                    return Err(RecordRefused::UnknownVersion(version));
                                }
                                let flexible = version >= $flexible;
                                Some(read(&value, Dialect { version, flexible })?)
                            }
                        };
                        Some(Self::$name(key, value))
                    })+
                    _ => None,
                })
            }
        }

        #[cfg(test)]
        mod tests {
            use super::*;
            use crate::wire::tests::sample::{Random, Sample};

            #[test]
            fn a_member_that_speaks_no_classic_protocol_is_written_as_kafka_writes_it() {
                let value = ConsumerGroupMemberMetadataValue {
                    client_id: "c".into(),
                    client_host: "h".into(),
                    subscribed_topic_regex: Some(Str::default()),
                    classic_member_metadata: None,
                    ..ConsumerGroupMemberMetadataValue::default()
                };
                let record = GroupRecord::Member(GroupMemberKey::default(), Some(value));
                let (_, value) = record.encode();
                // By Kafka 4.3.1's own class.
                let kafkas = b"\0\0\0\0\x02c\x02h\x01\x01\xff\xff\xff\xff\0\x01\0\x01\0";
                assert_eq!(value.as_deref(), Some(&kafkas[..]));
            }

            #[test]
            fn records_are_read_back_as_they_were_written() {
                let mut random = Random(7);
                for _ in 0..200 {
                    $({
                        let key = $key::sample(&mut random, KEY);
                        let dialect = Dialect { version: $written, flexible: $written >= $flexible };
                        let value = Some($value::sample(&mut random, dialect));
                        for value in [value, None] {
                            let record = GroupRecord::$name(key.clone(), value);
                            let (key, value) = record.encode();
                            assert_eq!(GroupRecord::decode(&key, value.as_ref()), Ok(Some(record)));
                        }
                    })+
                }
            }

            #[test]
            fn every_version_of_a_value_is_read() {
                let mut random = Random(8);
                $(for version in 0..=$max {
                    let dialect = Dialect { version, flexible: version >= $flexible };
                    let value = $value::sample(&mut random, dialect);
                    let bytes = write(version, &value, dialect);
                    let key = write($kind, &$key::default(), KEY);
                    let read = GroupRecord::decode(&key, Some(&bytes));
                    assert_eq!(read, Ok(Some(GroupRecord::$name($key::default(), Some(value)))));
                })+
            }

            #[test]
            fn bytes_that_are_cut_short_are_refused_and_other_kinds_passed_over() {
                let mut random = Random(9);
                $({
                    let dialect = Dialect { version: $written, flexible: $written >= $flexible };
                    let value = $value::sample(&mut random, dialect);
                    let (key, value) = GroupRecord::$name($key::default(), Some(value)).encode();
                    let value = value.expect("it has one");
                    for end in 0..value.len() {
                        let cut = value.slice(..end);
                        assert!(GroupRecord::decode(&key, Some(&cut)).is_err(), "{end}");
                    }
                })+
                let share = write(11, &GroupKey::default(), KEY);
                assert_eq!(GroupRecord::decode(&share, None), Ok(None));
                let newer = write(99, &GroupMetadataValue::default(), KEY);
                let key = write(2, &GroupKey::default(), KEY);
                assert_eq!(
                    GroupRecord::decode(&key, Some(&newer)),
                    Err(RecordRefused::UnknownVersion(99))
                );
            }
        }
    };
}

define_records! {
    0 LegacyOffsetCommit: OffsetCommitKey, OffsetCommitValue, to 4, written 1, flexible 4;
    1 OffsetCommit: OffsetCommitKey, OffsetCommitValue, to 4, written 4 unless expiring, flexible 4;
    2 GroupMetadata: GroupKey, GroupMetadataValue, to 4, written 3, flexible 4;
    3 ConsumerGroup: GroupKey, ConsumerGroupMetadataValue, to 0, written 0, flexible 0;
    5 Member: GroupMemberKey, ConsumerGroupMemberMetadataValue, to 0, written 0, flexible 0;
    6 TargetEpoch: GroupKey, TargetAssignmentMetadataValue, to 0, written 0, flexible 0;
    7 TargetMember: GroupMemberKey, TargetAssignmentMemberValue, to 0, written 0, flexible 0;
    8 CurrentMember: GroupMemberKey, CurrentMemberAssignmentValue, to 0, written 0, flexible 0;
    16 RegularExpression: RegularExpressionKey, RegularExpressionValue, to 0, written 0, flexible 0;
}

/// The only version of an offset's value that has a time of expiry.
fn expiring(value: &OffsetCommitValue) -> Option<i16> {
    (value.expire_timestamp >= 0).then_some(1)
}

fn split(bytes: &Bytes) -> Result<(i16, Bytes), Malformed> {
    let Some(number) = bytes.first_chunk::<2>() else {
        return Err(Malformed {
            position: 0,
            reason: "a record of this topic begins with two bytes of kind or version",
        });
    };
    Ok((i16::from_be_bytes(*number), bytes.slice(2..)))
}

fn read<T: Field>(bytes: &Bytes, dialect: Dialect) -> Result<T, Malformed> {
    let mut reader = Reader::new(bytes, Limits::for_response(bytes.len()));
    T::read(&mut reader, dialect)
}

fn write<T: Field>(number: i16, field: &T, dialect: Dialect) -> Bytes {
    let mut encoder = Encoder::with_room(128);
    encoder.put(&number.to_be_bytes());
    field.write(&mut encoder, dialect);
    let mut parts = encoder.into_parts();
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let mut whole = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
    parts.iter().for_each(|part| whole.put_slice(part));
    whole.freeze()
}
