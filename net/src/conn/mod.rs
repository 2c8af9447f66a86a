//! Connections, as far as they can be decided without a socket: framing, the order of answers, budgets, deadlines.

mod ids;

pub use ids::{CloseReason, ConnId, ListenerIndex};
