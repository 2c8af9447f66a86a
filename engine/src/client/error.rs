//! What can go wrong for a client: what, where, and what to do about it.

use std::fmt;

use millstream_net::wire::ErrorCode;

use super::address::Address;

/// Why a client gave up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientError {
    /// Text that is no address.
    BadAddress {
        /// The text.
        text: String,
    },
    /// No broker could be reached.
    Unreachable {
        /// Each address that was tried, and why it failed.
        tried: Vec<(Address, String)>,
    },
    /// It took too long.
    TimedOut {
        /// What was being done.
        doing: String,
        /// For how long.
        waited_ms: u64,
        /// The last thing that stood in the way.
        because: Option<String>,
    },
    /// A broker said no.
    Refused {
        /// What was being done.
        doing: String,
        /// Its reason.
        code: ErrorCode,
        /// Its reason in words.
        message: Option<String>,
    },
    /// A broker does not know a request, or none of the versions we speak.
    Unsupported {
        /// The broker.
        address: Address,
        /// The request.
        api: &'static str,
    },
    /// A topic without the partition.
    NoPartition {
        /// The topic.
        topic: String,
        /// The partition asked for.
        partition: i32,
        /// How many it has.
        partition_count: usize,
    },
    /// An offset outside the log.
    OffsetOutOfRange {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset asked for.
        offset: i64,
    },
    /// Records that cannot be read.
    Damaged {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Where the batch was to begin.
        offset: i64,
        /// What is wrong with it.
        reason: String,
    },
}

impl ClientError {
    /// What to try next, as a sentence.
    pub fn remedy(&self) -> String {
        match self {
            Self::BadAddress { .. } => "write it as HOST:PORT, several between commas".into(),
            Self::Unreachable { .. } => {
                "check that the broker runs and listens there (`millstream serve` starts one)"
                    .into()
            }
            Self::TimedOut { .. } => "look at the broker's log, then try again".into(),
            // A policy in words is one of a request; records are deleted without a word.
            Self::Refused {
                code: ErrorCode::PolicyViolation,
                message: Some(_),
                ..
            } => "ask for less at once: a topic grows later with `millstream topic add-partitions`"
                .into(),
            Self::Refused { code, .. } => refusal_remedy(*code).into(),
            Self::Unsupported { .. } => "use a newer broker".into(),
            Self::NoPartition {
                partition_count, ..
            } => {
                format!("choose one from 0 to {}", partition_count.saturating_sub(1))
            }
            Self::OffsetOutOfRange { .. } => {
                "choose an offset between the log's beginning and end, or `beginning`".into()
            }
            Self::Damaged { .. } => {
                "run `millstream log verify` on the broker's data directory".into()
            }
        }
    }
}

fn refusal_remedy(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::UnknownTopicOrPartition => {
            "check the name with `millstream topic list`, or create it with `millstream topic create`"
        }
        ErrorCode::TopicAlreadyExists => "use it as it is, or choose another name",
        ErrorCode::InvalidTopicException => {
            "use 1 to 249 letters, digits, `.`, `_` or `-`; the cluster's internal topics are its own"
        }
        ErrorCode::InvalidReplicationFactor => "ask for no more replicas than there are brokers",
        ErrorCode::InvalidPartitions => {
            "ask for at least one partition, and for more than the topic has: it cannot shrink"
        }
        ErrorCode::InvalidConfig => {
            "check key and value: `millstream topic config --help-keys` lists them"
        }
        ErrorCode::PolicyViolation => {
            "records are deleted by hand where cleanup.policy is not compact alone"
        }
        ErrorCode::OffsetOutOfRange => "`millstream topic describe` tells the offsets there are",
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => {
            "raise the topic's `max.message.bytes`, or send smaller records"
        }
        ErrorCode::KafkaStorageError => "the broker's disk is full or failing: look at its log",
        ErrorCode::NotEnoughReplicas | ErrorCode::NotEnoughReplicasAfterAppend => {
            "bring the missing brokers back, or lower `min.insync.replicas`"
        }
        ErrorCode::TopicAuthorizationFailed
        | ErrorCode::ClusterAuthorizationFailed
        | ErrorCode::GroupAuthorizationFailed => "ask the cluster's owner for the permission",
        ErrorCode::InconsistentGroupProtocol => {
            "the other members of the group assign in another way: choose theirs, or another group"
        }
        ErrorCode::GroupMaxSizeReached => {
            "the group is full: choose another, or raise `group.max.size`"
        }
        ErrorCode::FencedInstanceId | ErrorCode::UnreleasedInstanceId => {
            "another member runs under the same name: end it, or choose another name"
        }
        ErrorCode::InvalidGroupId => "give the group a name",
        ErrorCode::NonEmptyGroup => "stop its members first",
        ErrorCode::TopicDeletionDisabled => "set `delete.topic.enable=true` on the broker",
        _ => "look the code up in Kafka's list of error codes, and at the broker's log",
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadAddress { text } => write!(f, "`{text}` is no broker address"),
            Self::Unreachable { tried } => {
                write!(f, "no broker can be reached")?;
                let mut before = ": ";
                for (address, reason) in tried {
                    write!(f, "{before}{address}: {reason}")?;
                    before = "; ";
                }
                Ok(())
            }
            Self::TimedOut {
                doing,
                waited_ms,
                because,
            } => {
                write!(f, "{doing} took longer than {waited_ms} ms")?;
                match because {
                    Some(because) => write!(f, " ({because})"),
                    None => Ok(()),
                }
            }
            Self::Refused {
                doing,
                code,
                message,
            } => {
                write!(f, "{doing} was refused with {code}")?;
                match message {
                    Some(message) => write!(f, ": {message}"),
                    None => Ok(()),
                }
            }
            Self::Unsupported { address, api } => {
                write!(
                    f,
                    "the broker at {address} has no version of {api} that we speak"
                )
            }
            Self::NoPartition {
                topic,
                partition,
                partition_count,
            } => {
                write!(
                    f,
                    "topic `{topic}` has {partition_count} partitions, and no {partition}"
                )
            }
            Self::OffsetOutOfRange {
                topic,
                partition,
                offset,
            } => {
                write!(f, "`{topic}` partition {partition} has no offset {offset}")
            }
            Self::Damaged {
                topic,
                partition,
                offset,
                reason,
            } => {
                write!(
                    f,
                    "`{topic}` partition {partition} cannot be read at offset {offset}: {reason}"
                )
            }
        }
    }
}

impl std::error::Error for ClientError {}
