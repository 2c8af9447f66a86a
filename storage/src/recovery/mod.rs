//! From the files that a crash left to the state that shards begin with; `FORMAT.md` has the argument why nothing is lost.
//!
//! Always: (1) it is idempotent: a crash in the middle of it, or right behind it, gives the same logs again; (2) nothing
//! below a synced end is ever cut; (3) what is handed over is durable.
//! Leaves to others: the lock, which is held before the first file of a log is read.

mod doubts;
mod dump;
mod images;
mod journal;
mod layout;
mod node;
mod pieces;
mod reader;
mod replay;
mod segments;
mod settle;
mod shard;
#[cfg(test)]
mod tests;
mod types;
mod verdict;
mod verify;

pub use doubts::{Doubt, Doubts, doubts};
pub use dump::{Item, dump};
pub use node::recover;
pub use types::{
    DroppedLog, Finding, PlacedHead, Recovered, RecoveredCheckpoint, RecoveredJournal,
    RecoveredLog, RecoveredNode, RecoveryConfig, RecoveryError, Report, Severity, Unflushed,
};
pub use verify::{Verification, verify};
