//! Kafka wire protocol, connections and sockets.
//!
//! Modules import only to the left: wire < conn < io.

pub mod conn;
pub mod io;
pub mod wire;
