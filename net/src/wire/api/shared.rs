//! Structs that several APIs have.

use crate::wire::Str;

/// "Not asked for", in a field of operations the client is allowed.
pub const OPERATIONS_NOT_ASKED: i32 = i32::MIN;

message! {
    /// Who leads a partition now, so that the client need not ask (KIP-951).
    pub struct CurrentLeader {
        /// Its node.
        leader_id: i32 = -1 => 0..;
        /// The epoch it leads under.
        leader_epoch: i32 = -1 => 0..;
    }

    /// Where to reach a node that a `CurrentLeader` names.
    pub struct NodeEndpoint {
        /// The node.
        node_id: i32 => 0..;
        /// Its advertised host.
        host: Str => 0..;
        /// Its advertised port.
        port: i32 => 0..;
        /// Its rack.
        rack: Option<Str> => 0..;
    }
}
