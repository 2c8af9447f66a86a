//! Topic configuration: the one table of keys, what a value may be, which value is in force and why, and what a shard acts on.
//!
//! Always: what was checked when it was set resolves without error later.
//! Leaves to others: where values are kept (the image, the node's configuration).

mod check;
mod effective;
pub mod keys;
mod resolve;
#[cfg(test)]
mod tests;

pub use check::{BadConfig, check, list_with, list_without, shown};
pub use effective::{BrokerValues, Effective, Source, Synonym, Values, effective, synonyms};
pub use keys::{KEYS, Key, Kind, Standing, key};
pub use resolve::TopicConfig;
