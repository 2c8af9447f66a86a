//! One shard's logs on one disk, as the engine sees them: appends in, durable offsets out, reads from memory or disk.
//!
//! Pure: disk operations go out as effects (`StoreEffect::Op`) and come back through `done`; time is an argument. View:
//! shard.
//!
//! Always: (1) `Durable` is told only for bytes that survive a power cut; (2) every operation is told exactly once and
//! waits for its completion; (3) a read never shows what it was not asked for (`up_to`).
//! Leaves to others: what a partition may append or show (the engine), executing operations (`io`, `sim`).

mod blocks;
mod checkpoint;
mod discards;
mod files;
mod indexes;
mod journal;
mod leftovers;
mod log_state;
mod names;
mod ops;
mod pump;
mod reads;
mod rest;
mod retention;
mod reuse;
mod search;
mod shard_store;
mod tasks;
#[cfg(test)]
mod tests;
mod types;

pub use crate::batch::Stamp;
pub use crate::recovery::{Recovered, RecoveredLog};
pub use search::{Look, Looked};
pub use shard_store::{SettledProducers, Store};
pub use types::{
    Acknowledge, AppendRefused, Asker, Found, LogConfig, OpenLog, OpenRefused, Read, ReadTicket,
    Sought, StoreConfig, StoreEffect,
};
