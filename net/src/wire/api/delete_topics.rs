//! DeleteTopics.

use crate::wire::{ErrorCode, Str, Uuid};

message! {
    /// Deletes topics.
    pub struct DeleteTopicsRequest {
        /// The topics, by name or id.
        topics: Vec<DeleteTopicState> => 6..;
        /// The topics by name.
        topic_names: Vec<Str> => 0..=5;
        /// How long to wait until all brokers have forgotten them.
        timeout_ms: i32 => 0..;
    }

    /// A topic to delete, by name or id.
    pub struct DeleteTopicState {
        /// The name; null if by id.
        name: Option<Str> => 6..;
        /// The id; zero if by name.
        topic_id: Uuid => 6..;
    }

    /// What became of the topics.
    pub struct DeleteTopicsResponse {
        /// How long the client is held back by a quota.
        throttle_time_ms: i32 => 1..;
        /// One entry per topic of the request.
        responses: Vec<DeletableTopicResult> => 0..;
    }

    /// What became of a topic.
    pub struct DeletableTopicResult {
        /// The name; null only for an id that is not known.
        name: Option<Str> => 0.., nullable 6..;
        /// The id.
        topic_id: Uuid => 6..;
        /// The error, if it was not deleted.
        error_code: ErrorCode => 0..;
        /// What was wrong, in words.
        error_message: Option<Str> => 5..;
    }
}
