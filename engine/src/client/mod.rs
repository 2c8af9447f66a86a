//! A Kafka client: topics, producer, consumer. Works against any broker.
//!
//! Always:
//! 1. What decides (`links`, `wiring`, `producer`, `consumer`, `membership`, the core of `admin`) is pure; `driver` and `transport` connect it
//!    to the world.
//! 2. Versions are negotiated per connection, the highest that both sides have.
//!
//! Left to others: transactions, security.

mod address;
mod admin;
mod blocking;
mod cluster;
mod consumer;
mod driver;
mod error;
mod groups;
mod incoming;
mod lane;
mod links;
mod membership;
mod operate;
mod outgoing;
mod partitioner;
mod producer;
mod transport;
mod unpack;
mod wiring;

#[cfg(test)]
mod tests;

pub use address::{Address, parse_addresses};
pub use admin::{Admin, NewTopic};
pub use blocking::{Consumer, Producer};
pub use cluster::{Cluster, Partition, Topic};
pub use error::ClientError;
pub use groups::{Group, GroupMember, ListedGroup, Place};
pub use incoming::{ConsumerConfig, Isolation, Progress, StartAt};
pub use membership::{ClassicAssignor, GroupProtocol, MembershipConfig};
pub use operate::{Setting, SettingSource, Span};
pub use outgoing::{Acks, Delivery, ProducerConfig, Record, Ticket};
pub use partitioner::{murmur2, partition_of_key};
pub use unpack::ConsumedRecord;
