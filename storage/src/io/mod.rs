//! Real files: operations of a shard as submissions to its ring, and a disk that answers at once for recovery and tools.
//!
//! Always: (1) what the kernel reads or writes stays alive until its completion, and is leaked where that never comes; (2) nothing
//! is decided here: an operation is executed and its outcome told; (3) a write or sync that fails is not retried, only
//! what the kernel did not begin (EINTR, EAGAIN) is.
//! Leaves to others: the ring itself (the engine owns and enters it), and the order of operations.

mod check;
mod executor;
mod flight;
mod helper;
mod lock;
mod system;
#[cfg(test)]
mod tests;

pub use check::{DirectIoRefused, check_direct_io, explain, reserves_written_zeroes};
pub use executor::{CLASS, DirectIo, DiskExecutor};
pub use lock::{DataLock, LockRefused};
pub use system::SystemDisk;
