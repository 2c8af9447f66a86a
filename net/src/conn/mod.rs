//! Connections, as far as they can be decided without a socket: framing, the order of answers, budgets, deadlines.
//!
//! Times are milliseconds of a clock that never goes back.

mod answers;
mod frame;
mod ids;
mod transport;

#[cfg(test)]
mod answers_tests;
#[cfg(test)]
mod frame_tests;

pub use answers::{ConnEffect, ConnLimits, Connections, RequestSlot};
pub use frame::{FrameRefused, Framer, Loan, PREFIX_BYTES, Traffic};
pub use ids::{CloseReason, ConnId, ListenerIndex};
pub use transport::{Room, Transport};
