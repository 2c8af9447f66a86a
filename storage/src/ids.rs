//! Names of things: newtypes for ids, epochs and offsets.
//!
//! Always: a number of one kind is never mixed with a number of another.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// A place in a log: the number of a record.
    Offset(i64)
);
number!(
    /// The epoch under which a leader appends; -1 where there is none.
    LeaderEpoch(i32)
);
number!(
    /// The number of a partition within its topic.
    PartitionIndex(i32)
);
number!(
    /// A node-local number for one life of one replica, never reused.
    LogNumber(u64)
);
number!(
    /// The number of a shard within its node.
    ShardIndex(u16)
);
number!(
    /// A producer id; -1 where a batch has none.
    ProducerId(i64)
);
number!(
    /// The epoch of a producer id.
    ProducerEpoch(i16)
);
number!(
    /// A node of the cluster.
    NodeId(i32)
);
number!(
    /// The index of a registration in the metadata log: one incarnation of a broker.
    BrokerEpoch(i64)
);
number!(
    /// The index of an entry in the metadata log.
    MetadataIndex(u64)
);

/// A map by numbers that the node itself gives out, for look-ups on every request. Equal histories iterate in equal order.
pub type NumberMap<K, V> = HashMap<K, V, BuildHasherDefault<NumberHasher>>;

/// Spreads numbers by one multiplication. No peer chooses them, so none can make them collide.
#[derive(Clone, Copy, Debug, Default)]
pub struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        // 2^64 divided by the golden ratio.
        self.0 = (self.0.rotate_left(29) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The id of a topic: a random UUID, never reused. All zero means "no id".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TopicId(pub u128);

impl TopicId {
    /// No topic.
    pub const NONE: TopicId = TopicId(0);
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicId({:032x})", self.0)
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The id of a data directory: random, made once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct DirectoryId(pub u128);

/// Milliseconds since the Unix epoch: the clock that records carry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct WallMs(pub i64);

/// Nanoseconds of a clock that never goes back, from an arbitrary start: the clock that timers use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Tick(pub u64);

impl Tick {
    /// This tick moved by a number of milliseconds.
    pub fn after_ms(self, ms: u64) -> Tick {
        Tick(self.0.saturating_add(ms.saturating_mul(1_000_000)))
    }

    /// Whole milliseconds between an earlier tick and this one.
    pub fn ms_since(self, earlier: Tick) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000_000
    }
}

/// What every machine is told about time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The clock of timers.
    pub tick: Tick,
    /// The clock of records.
    pub wall: WallMs,
}
