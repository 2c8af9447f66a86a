//! DescribeCluster: the brokers and who leads them (KIP-700).

use super::OPERATIONS_NOT_ASKED;
use crate::wire::{ErrorCode, Str};

message! {
    /// Asks for the cluster.
    pub struct DescribeClusterRequest {
        /// Whether to say what the client may do with the cluster.
        include_cluster_authorized_operations: bool => 0..;
        /// 1 for brokers, 2 for controllers.
        endpoint_type: i8 = 1 => 1..;
        /// Whether to show brokers that are fenced.
        include_fenced_brokers: bool => 2..;
    }

    /// The cluster.
    pub struct DescribeClusterResponse {
        /// How long the client is held back by a quota.
        throttle_time_ms: i32 => 0..;
        /// The error of the request as a whole.
        error_code: ErrorCode => 0..;
        /// What was wrong, in words.
        error_message: Option<Str> => 0..;
        /// 1 for brokers, 2 for controllers.
        endpoint_type: i8 = 1 => 1..;
        /// The cluster's id.
        cluster_id: Str => 0..;
        /// A broker that takes changes of metadata.
        controller_id: i32 = -1 => 0..;
        /// The brokers.
        brokers: Vec<DescribeClusterBroker> => 0..;
        /// What the client may do with the cluster, as bits.
        cluster_authorized_operations: i32 = OPERATIONS_NOT_ASKED => 0..;
    }

    /// A broker.
    pub struct DescribeClusterBroker {
        /// Its node.
        broker_id: i32 => 0..;
        /// Its advertised host.
        host: Str => 0..;
        /// Its advertised port.
        port: i32 => 0..;
        /// Its rack.
        rack: Option<Str> => 0..;
        /// Whether it is fenced.
        is_fenced: bool => 2..;
    }
}
