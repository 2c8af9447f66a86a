//! A simulated disk: executes the same operations as the real one, remembers what a power cut may take, and takes it.
//!
//! `file` owns one file's sectors and their versions, `names` the directory tree and its unsynced changes, `disk` the queue
//! of operations, `faults` those that fail, `process` kills and power cuts, `blocking` the same disk as recovery sees it.

mod blocking;
mod disk;
mod faults;
mod file;
mod names;
mod process;
mod rng;

#[cfg(test)]
mod tests;

pub use disk::{SimDisk, SyncKind};
pub use faults::{Fault, OpKind};
pub use rng::SimRng;
