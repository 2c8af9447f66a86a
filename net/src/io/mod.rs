//! Sockets on the shard's io_uring.
//!
//! Here connections touch the kernel. `Sockets` makes submissions and takes completions; the ring itself is its owner's.
//! User data of submissions carries `CLASS` in its top byte.

mod listen;
mod outgoing;
mod pool;
mod socket;
mod sockets;
mod tag;

#[cfg(test)]
mod tests;

pub use listen::{Bound, Family, bind};
pub use sockets::{SocketEvent, SocketLimits, Sockets};
pub use tag::CLASS;
