//! The one table from what machines refuse to Kafka's error codes.

use crate::machine::controller::RefusalKind;
use crate::machine::fetch_sessions;
use crate::machine::partition::{ReadRefusal, Refusal};
use millstream_net::wire::ErrorCode;

/// The code a client sees for what a partition refused.
pub fn of_refusal(refusal: Refusal) -> ErrorCode {
    match refusal {
        Refusal::NotLeader => ErrorCode::NotLeaderOrFollower,
        Refusal::NotEnoughReplicas | Refusal::CoordinatorSilent => ErrorCode::NotEnoughReplicas,
        Refusal::NotEnoughReplicasAfterAppend => ErrorCode::NotEnoughReplicasAfterAppend,
        Refusal::TimedOut => ErrorCode::RequestTimedOut,
        Refusal::OutOfOrderSequence => ErrorCode::OutOfOrderSequenceNumber,
        Refusal::InvalidProducerEpoch => ErrorCode::InvalidProducerEpoch,
        Refusal::InvalidTransactionState => ErrorCode::InvalidTxnState,
        Refusal::TransactionCoordinatorFenced => ErrorCode::TransactionCoordinatorFenced,
    }
}

/// The code a client sees for a read that a partition refused.
pub fn of_read_refusal(refusal: ReadRefusal) -> ErrorCode {
    match refusal {
        ReadRefusal::NotLeader => ErrorCode::NotLeaderOrFollower,
        ReadRefusal::FencedLeaderEpoch => ErrorCode::FencedLeaderEpoch,
        ReadRefusal::UnknownLeaderEpoch => ErrorCode::UnknownLeaderEpoch,
        ReadRefusal::OffsetOutOfRange => ErrorCode::OffsetOutOfRange,
        ReadRefusal::OffsetNotAvailable => ErrorCode::OffsetNotAvailable,
    }
}

/// The code a client sees for a session that does not go on (rule F13).
pub fn of_session_refusal(refusal: fetch_sessions::Refusal) -> ErrorCode {
    match refusal {
        fetch_sessions::Refusal::NotFound => ErrorCode::FetchSessionIdNotFound,
        fetch_sessions::Refusal::WrongNumber => ErrorCode::InvalidFetchSessionEpoch,
        fetch_sessions::Refusal::OtherNaming => ErrorCode::FetchSessionTopicIdError,
    }
}

/// The code a client sees for what the controller refused about a topic.
pub fn of_topic_refusal(kind: RefusalKind) -> ErrorCode {
    match kind {
        RefusalKind::UnknownTopic => ErrorCode::UnknownTopicOrPartition,
        RefusalKind::UnknownTopicId => ErrorCode::UnknownTopicId,
        RefusalKind::InvalidTopicName => ErrorCode::InvalidTopicException,
        RefusalKind::TopicExists => ErrorCode::TopicAlreadyExists,
        RefusalKind::InvalidPartitions => ErrorCode::InvalidPartitions,
        RefusalKind::InvalidReplicationFactor => ErrorCode::InvalidReplicationFactor,
        RefusalKind::InvalidReplicaAssignment => ErrorCode::InvalidReplicaAssignment,
        RefusalKind::InvalidConfig => ErrorCode::InvalidConfig,
        RefusalKind::NotController => ErrorCode::NotController,
        RefusalKind::InvalidRequest => ErrorCode::InvalidRequest,
        RefusalKind::PolicyViolation => ErrorCode::PolicyViolation,
        RefusalKind::ReassignmentInProgress => ErrorCode::ReassignmentInProgress,
        RefusalKind::DeletionDisabled => ErrorCode::TopicDeletionDisabled,
    }
}
