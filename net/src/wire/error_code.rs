//! Kafka's error codes: number, name, and what a client does about each.
//!
//! Always: a number that is not listed survives a round trip.

use std::fmt;

macro_rules! error_codes {
    ($($code:literal $variant:ident $name:ident $remedy:ident;)+) => {
        /// What an answer says went wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub enum ErrorCode {
            /// Nothing.
            #[default]
            None,
            $(
                #[doc = concat!("`", stringify!($name), "`, ", $code, ".")]
                $variant,
            )+
            /// A code of a newer protocol.
            Unlisted(i16),
        }

        impl ErrorCode {
            /// The number on the wire.
            pub fn code(self) -> i16 {
                match self {
                    Self::None => 0,
                    $(Self::$variant => $code,)+
                    Self::Unlisted(code) => code,
                }
            }

            /// The error with that number.
            pub fn from_code(code: i16) -> Self {
                match code {
                    0 => Self::None,
                    $($code => Self::$variant,)+
                    _ => Self::Unlisted(code),
                }
            }

            /// Kafka's name of it.
            pub fn name(self) -> &'static str {
                match self {
                    Self::None => "NONE",
                    $(Self::$variant => stringify!($name),)+
                    Self::Unlisted(_) => "UNLISTED",
                }
            }

            /// What a client does about it.
            pub fn remedy(self) -> Remedy {
                match self {
                    $(Self::$variant => error_codes!(@$remedy),)+
                    Self::None | Self::Unlisted(_) => Remedy::GiveUp,
                }
            }
        }
    };
    (@retry) => { Remedy::Retry };
    (@rejoin) => { Remedy::Rejoin };
    (@give_up) => { Remedy::GiveUp };
}

/// What a client does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Back off, look where the leader is now, and send it again.
    Retry,
    /// A member of a group joins again.
    Rejoin,
    /// Tell the caller.
    GiveUp,
}

impl ErrorCode {
    /// Whether the same request may succeed later.
    pub fn is_retriable(self) -> bool {
        self.remedy() == Remedy::Retry
    }

    /// Nothing, or the error.
    pub fn ok(self) -> Result<(), Self> {
        if self == Self::None {
            Ok(())
        } else {
            Err(self)
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.name(), self.code())
    }
}

error_codes! {
    -1 UnknownServerError UNKNOWN_SERVER_ERROR give_up;
    1 OffsetOutOfRange OFFSET_OUT_OF_RANGE give_up;
    2 CorruptMessage CORRUPT_MESSAGE retry;
    3 UnknownTopicOrPartition UNKNOWN_TOPIC_OR_PARTITION retry;
    4 InvalidFetchSize INVALID_FETCH_SIZE give_up;
    5 LeaderNotAvailable LEADER_NOT_AVAILABLE retry;
    6 NotLeaderOrFollower NOT_LEADER_OR_FOLLOWER retry;
    7 RequestTimedOut REQUEST_TIMED_OUT retry;
    8 BrokerNotAvailable BROKER_NOT_AVAILABLE give_up;
    9 ReplicaNotAvailable REPLICA_NOT_AVAILABLE retry;
    10 MessageTooLarge MESSAGE_TOO_LARGE give_up;
    11 StaleControllerEpoch STALE_CONTROLLER_EPOCH give_up;
    12 OffsetMetadataTooLarge OFFSET_METADATA_TOO_LARGE give_up;
    13 NetworkException NETWORK_EXCEPTION retry;
    14 CoordinatorLoadInProgress COORDINATOR_LOAD_IN_PROGRESS retry;
    15 CoordinatorNotAvailable COORDINATOR_NOT_AVAILABLE retry;
    16 NotCoordinator NOT_COORDINATOR retry;
    17 InvalidTopicException INVALID_TOPIC_EXCEPTION give_up;
    18 RecordListTooLarge RECORD_LIST_TOO_LARGE give_up;
    19 NotEnoughReplicas NOT_ENOUGH_REPLICAS retry;
    20 NotEnoughReplicasAfterAppend NOT_ENOUGH_REPLICAS_AFTER_APPEND retry;
    21 InvalidRequiredAcks INVALID_REQUIRED_ACKS give_up;
    22 IllegalGeneration ILLEGAL_GENERATION rejoin;
    23 InconsistentGroupProtocol INCONSISTENT_GROUP_PROTOCOL give_up;
    24 InvalidGroupId INVALID_GROUP_ID give_up;
    25 UnknownMemberId UNKNOWN_MEMBER_ID rejoin;
    26 InvalidSessionTimeout INVALID_SESSION_TIMEOUT give_up;
    27 RebalanceInProgress REBALANCE_IN_PROGRESS rejoin;
    28 InvalidCommitOffsetSize INVALID_COMMIT_OFFSET_SIZE give_up;
    29 TopicAuthorizationFailed TOPIC_AUTHORIZATION_FAILED give_up;
    30 GroupAuthorizationFailed GROUP_AUTHORIZATION_FAILED give_up;
    31 ClusterAuthorizationFailed CLUSTER_AUTHORIZATION_FAILED give_up;
    32 InvalidTimestamp INVALID_TIMESTAMP give_up;
    33 UnsupportedSaslMechanism UNSUPPORTED_SASL_MECHANISM give_up;
    34 IllegalSaslState ILLEGAL_SASL_STATE give_up;
    35 UnsupportedVersion UNSUPPORTED_VERSION give_up;
    36 TopicAlreadyExists TOPIC_ALREADY_EXISTS give_up;
    37 InvalidPartitions INVALID_PARTITIONS give_up;
    38 InvalidReplicationFactor INVALID_REPLICATION_FACTOR give_up;
    39 InvalidReplicaAssignment INVALID_REPLICA_ASSIGNMENT give_up;
    40 InvalidConfig INVALID_CONFIG give_up;
    41 NotController NOT_CONTROLLER retry;
    42 InvalidRequest INVALID_REQUEST give_up;
    43 UnsupportedForMessageFormat UNSUPPORTED_FOR_MESSAGE_FORMAT give_up;
    44 PolicyViolation POLICY_VIOLATION give_up;
    45 OutOfOrderSequenceNumber OUT_OF_ORDER_SEQUENCE_NUMBER give_up;
    46 DuplicateSequenceNumber DUPLICATE_SEQUENCE_NUMBER give_up;
    47 InvalidProducerEpoch INVALID_PRODUCER_EPOCH give_up;
    48 InvalidTxnState INVALID_TXN_STATE give_up;
    49 InvalidProducerIdMapping INVALID_PRODUCER_ID_MAPPING give_up;
    50 InvalidTransactionTimeout INVALID_TRANSACTION_TIMEOUT give_up;
    51 ConcurrentTransactions CONCURRENT_TRANSACTIONS retry;
    52 TransactionCoordinatorFenced TRANSACTION_COORDINATOR_FENCED give_up;
    53 TransactionalIdAuthorizationFailed TRANSACTIONAL_ID_AUTHORIZATION_FAILED give_up;
    54 SecurityDisabled SECURITY_DISABLED give_up;
    55 OperationNotAttempted OPERATION_NOT_ATTEMPTED give_up;
    56 KafkaStorageError KAFKA_STORAGE_ERROR retry;
    57 LogDirNotFound LOG_DIR_NOT_FOUND give_up;
    58 SaslAuthenticationFailed SASL_AUTHENTICATION_FAILED give_up;
    59 UnknownProducerId UNKNOWN_PRODUCER_ID give_up;
    60 ReassignmentInProgress REASSIGNMENT_IN_PROGRESS give_up;
    61 DelegationTokenAuthDisabled DELEGATION_TOKEN_AUTH_DISABLED give_up;
    62 DelegationTokenNotFound DELEGATION_TOKEN_NOT_FOUND give_up;
    63 DelegationTokenOwnerMismatch DELEGATION_TOKEN_OWNER_MISMATCH give_up;
    64 DelegationTokenRequestNotAllowed DELEGATION_TOKEN_REQUEST_NOT_ALLOWED give_up;
    65 DelegationTokenAuthorizationFailed DELEGATION_TOKEN_AUTHORIZATION_FAILED give_up;
    66 DelegationTokenExpired DELEGATION_TOKEN_EXPIRED give_up;
    67 InvalidPrincipalType INVALID_PRINCIPAL_TYPE give_up;
    68 NonEmptyGroup NON_EMPTY_GROUP give_up;
    69 GroupIdNotFound GROUP_ID_NOT_FOUND give_up;
    70 FetchSessionIdNotFound FETCH_SESSION_ID_NOT_FOUND retry;
    71 InvalidFetchSessionEpoch INVALID_FETCH_SESSION_EPOCH retry;
    72 ListenerNotFound LISTENER_NOT_FOUND retry;
    73 TopicDeletionDisabled TOPIC_DELETION_DISABLED give_up;
    74 FencedLeaderEpoch FENCED_LEADER_EPOCH retry;
    75 UnknownLeaderEpoch UNKNOWN_LEADER_EPOCH retry;
    76 UnsupportedCompressionType UNSUPPORTED_COMPRESSION_TYPE give_up;
    77 StaleBrokerEpoch STALE_BROKER_EPOCH give_up;
    78 OffsetNotAvailable OFFSET_NOT_AVAILABLE retry;
    79 MemberIdRequired MEMBER_ID_REQUIRED rejoin;
    80 PreferredLeaderNotAvailable PREFERRED_LEADER_NOT_AVAILABLE retry;
    81 GroupMaxSizeReached GROUP_MAX_SIZE_REACHED give_up;
    82 FencedInstanceId FENCED_INSTANCE_ID give_up;
    83 EligibleLeadersNotAvailable ELIGIBLE_LEADERS_NOT_AVAILABLE retry;
    84 ElectionNotNeeded ELECTION_NOT_NEEDED retry;
    85 NoReassignmentInProgress NO_REASSIGNMENT_IN_PROGRESS give_up;
    86 GroupSubscribedToTopic GROUP_SUBSCRIBED_TO_TOPIC give_up;
    87 InvalidRecord INVALID_RECORD give_up;
    88 UnstableOffsetCommit UNSTABLE_OFFSET_COMMIT retry;
    89 ThrottlingQuotaExceeded THROTTLING_QUOTA_EXCEEDED retry;
    90 ProducerFenced PRODUCER_FENCED give_up;
    91 ResourceNotFound RESOURCE_NOT_FOUND give_up;
    92 DuplicateResource DUPLICATE_RESOURCE give_up;
    93 UnacceptableCredential UNACCEPTABLE_CREDENTIAL give_up;
    94 InconsistentVoterSet INCONSISTENT_VOTER_SET give_up;
    95 InvalidUpdateVersion INVALID_UPDATE_VERSION give_up;
    96 FeatureUpdateFailed FEATURE_UPDATE_FAILED give_up;
    97 PrincipalDeserializationFailure PRINCIPAL_DESERIALIZATION_FAILURE give_up;
    98 SnapshotNotFound SNAPSHOT_NOT_FOUND give_up;
    100 UnknownTopicId UNKNOWN_TOPIC_ID retry;
    101 DuplicateBrokerRegistration DUPLICATE_BROKER_REGISTRATION give_up;
    102 BrokerIdNotRegistered BROKER_ID_NOT_REGISTERED give_up;
    103 InconsistentTopicId INCONSISTENT_TOPIC_ID retry;
    104 InconsistentClusterId INCONSISTENT_CLUSTER_ID give_up;
    105 TransactionalIdNotFound TRANSACTIONAL_ID_NOT_FOUND give_up;
    106 FetchSessionTopicIdError FETCH_SESSION_TOPIC_ID_ERROR retry;
    107 IneligibleReplica INELIGIBLE_REPLICA give_up;
    108 NewLeaderElected NEW_LEADER_ELECTED give_up;
    109 OffsetMovedToTieredStorage OFFSET_MOVED_TO_TIERED_STORAGE give_up;
    110 FencedMemberEpoch FENCED_MEMBER_EPOCH rejoin;
    111 UnreleasedInstanceId UNRELEASED_INSTANCE_ID give_up;
    112 UnsupportedAssignor UNSUPPORTED_ASSIGNOR give_up;
    113 StaleMemberEpoch STALE_MEMBER_EPOCH rejoin;
    114 MismatchedEndpointType MISMATCHED_ENDPOINT_TYPE give_up;
    115 UnsupportedEndpointType UNSUPPORTED_ENDPOINT_TYPE give_up;
    116 UnknownControllerId UNKNOWN_CONTROLLER_ID give_up;
    117 UnknownSubscriptionId UNKNOWN_SUBSCRIPTION_ID give_up;
    118 TelemetryTooLarge TELEMETRY_TOO_LARGE give_up;
    119 InvalidRegistration INVALID_REGISTRATION give_up;
    120 TransactionAbortable TRANSACTION_ABORTABLE give_up;
    121 InvalidRecordState INVALID_RECORD_STATE give_up;
    122 ShareSessionNotFound SHARE_SESSION_NOT_FOUND retry;
    123 InvalidShareSessionEpoch INVALID_SHARE_SESSION_EPOCH retry;
    124 FencedStateEpoch FENCED_STATE_EPOCH give_up;
    125 InvalidVoterKey INVALID_VOTER_KEY give_up;
    126 DuplicateVoter DUPLICATE_VOTER give_up;
    127 VoterNotFound VOTER_NOT_FOUND give_up;
    128 InvalidRegularExpression INVALID_REGULAR_EXPRESSION give_up;
    129 RebootstrapRequired REBOOTSTRAP_REQUIRED give_up;
    130 StreamsInvalidTopology STREAMS_INVALID_TOPOLOGY give_up;
    131 StreamsInvalidTopologyEpoch STREAMS_INVALID_TOPOLOGY_EPOCH give_up;
    132 StreamsTopologyFenced STREAMS_TOPOLOGY_FENCED give_up;
    133 ShareSessionLimitReached SHARE_SESSION_LIMIT_REACHED retry;
}
