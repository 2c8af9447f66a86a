//! The simulator: whole nodes of the real machines in virtual time, over a simulated disk and a simulated network.
//!
//! `node` is one process: the cores of its shards, the mail between them, one disk. What happens when is up to the driver: tests of rules
//! let everything happen at once, `world` draws it from a seed.

pub mod broker;
pub mod churner;
pub mod clients;
pub mod link;
pub mod model;
pub mod node;
pub mod session_reader;
pub mod world;
