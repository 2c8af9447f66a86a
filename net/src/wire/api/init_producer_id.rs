//! InitProducerId: the identity of an idempotent or transactional producer.

use crate::wire::{ErrorCode, Str};

message! {
    /// Asks for a producer id.
    pub struct InitProducerIdRequest {
        /// Set by a transactional producer.
        transactional_id: Option<Str> => 0..;
        /// After how long an open transaction is aborted.
        transaction_timeout_ms: i32 => 0..;
        /// The id the producer has, if it asks for a new epoch of it.
        producer_id: i64 = -1 => 3..;
        /// The epoch the producer has.
        producer_epoch: i16 = -1 => 3..;
    }

    /// A producer id.
    pub struct InitProducerIdResponse {
        /// How long the client is held back by a quota.
        throttle_time_ms: i32 => 0..;
        /// The error, if there is no id.
        error_code: ErrorCode => 0..;
        /// The id.
        producer_id: i64 = -1 => 0..;
        /// Its epoch.
        producer_epoch: i16 => 0..;
    }
}
