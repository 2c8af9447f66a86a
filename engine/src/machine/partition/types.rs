//! What goes into and comes out of a partition.

use super::producers::BatchHead;
use millstream_storage::ids::{LeaderEpoch, NodeId, Offset, ProducerEpoch, ProducerId};
use std::collections::BTreeSet;

/// The composer's name for one append; every append is answered exactly once under it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// What a partition leader needs to know to lead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leadership {
    /// Raised with every election and every registration of the leader.
    pub leader_epoch: LeaderEpoch,
    /// Raised with every change of the partition record.
    pub partition_epoch: i32,
    /// The committed in-sync replicas, this node among them.
    pub isr: BTreeSet<NodeId>,
    /// Members that a change in flight would add; they count for the high watermark, not for min ISR.
    pub joining: BTreeSet<NodeId>,
    /// min(`min.insync.replicas`, replicas), at least 1.
    pub min_isr: usize,
    /// Set while the consequences of an election that was not clean last: since this epoch.
    pub recovering: Option<LeaderEpoch>,
}

/// What a follower needs to know to follow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Following {
    /// The epoch it follows in.
    pub leader_epoch: LeaderEpoch,
    /// Raised with every change of the partition record.
    pub partition_epoch: i32,
    /// The leader, where there is one.
    pub leader: Option<NodeId>,
    /// Set while the consequences of an election that was not clean last: under it a cut may go below the high watermark.
    pub recovering: Option<LeaderEpoch>,
}

/// What this replica is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Role {
    /// Neither lead nor follow: the image does not (yet) say so, or the log is damaged.
    Offline,
    /// Assign offsets, count acknowledgements.
    Leader(Leadership),
    /// Take what the leader assigned.
    Follower(Following),
}

/// What a producer wants to wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acks {
    /// 0: nothing. The ticket is answered at once, for the books.
    None,
    /// 1: the leader's own durability.
    Leader,
    /// -1: the high watermark.
    All,
}

impl Acks {
    /// The value on the wire; `None` for anything else (rule P1, [21]).
    pub fn from_wire(acks: i16) -> Option<Acks> {
        match acks {
            0 => Some(Acks::None),
            1 => Some(Acks::Leader),
            -1 => Some(Acks::All),
            _ => None,
        }
    }
}

/// One batch a producer wants appended. It is validated already (size, CRC, counts), and the store admits its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Append {
    /// Its name.
    pub ticket: Ticket,
    /// Its header; base offset and leader epoch in it mean nothing yet.
    pub head: BatchHead,
    /// What to wait for.
    pub acks: Acks,
    /// How long to wait for it: `timeout_ms` of the request.
    pub timeout_ms: u32,
}

/// The answer to an append that is in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Milliseconds; with CreateTime -1 (a duplicate carries the timestamp of the original).
    pub log_append_time_ms: i64,
    /// First offset of the log.
    pub log_start: Offset,
}

/// Why an append was not (or not surely) done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// [6] This replica does not lead, or no longer.
    NotLeader,
    /// [19] Fewer in sync than `min.insync.replicas`; nothing was appended.
    NotEnoughReplicas,
    /// [20] The same, found after the append.
    NotEnoughReplicasAfterAppend,
    /// [7] Appended, but not committed in time.
    TimedOut,
    /// [45] The sequence is not the next one.
    OutOfOrderSequence,
    /// [47] A newer epoch of the producer id is known.
    InvalidProducerEpoch,
    /// [48] The batch does not fit the state of the producer's transaction.
    InvalidTransactionState,
    /// [52] A newer epoch of the transaction coordinator is known.
    TransactionCoordinatorFenced,
    /// [19] The coordinator gave no answer; nothing was appended.
    CoordinatorSilent,
}

/// What a coordinator is asked about a transactional batch (KIP-890): whether the partition is part of the transaction.
/// The answer is void when the count of markers seen or the leader epoch has changed meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Question {
    /// The producer.
    pub producer: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// Markers of this producer seen so far.
    pub markers: u32,
    /// The epoch it was asked in.
    pub leader_epoch: LeaderEpoch,
}

/// A coordinator's answer to a `Question`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The partition is in the transaction.
    Member,
    /// It is not: what is parked under the question is refused.
    Refused(Refusal),
}

/// How the store is to stamp a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Assigned {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// The epoch it is appended under.
    pub leader_epoch: LeaderEpoch,
    /// With LogAppendTime: the time of all its records, in ms.
    pub log_append_time_ms: Option<i64>,
}

/// What the composer must do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Append the batch of this ticket to the store, stamped so. In order.
    Store {
        /// Whose batch.
        ticket: Ticket,
        /// Its stamp.
        assigned: Assigned,
    },
    /// Cut the log to this offset (never below it).
    Truncate {
        /// The new end.
        to: Offset,
    },
    /// Replace the log by a new, empty one that starts here.
    NewLog {
        /// Its start.
        start: Offset,
    },
    /// Move the log start; the store's `StartMoved` comes back as `start_moved`.
    MoveStart {
        /// The first offset that may be read.
        log_start: Offset,
    },
    /// The answer to an append.
    Reply {
        /// Which.
        ticket: Ticket,
        /// How it ended.
        result: Result<Appended, Refusal>,
    },
    /// What readers may see has moved; the composer tells the store and wakes fetches.
    Visible {
        /// Everything below is committed.
        high_watermark: Offset,
        /// Everything below is decided.
        last_stable_offset: Offset,
    },
    /// The role or its epoch changed: waiting fetches must be answered anew.
    RoleChanged,
    /// Ask the coordinator; `answered` comes back.
    Ask(Question),
    /// A follower's acknowledgement to its leader.
    Ack {
        /// Everything below is durable here.
        durable: Offset,
    },
    /// An aborted transaction has ended for good: the store's aborted index takes it.
    Aborted {
        /// Whose.
        producer: ProducerId,
        /// First offset of the transaction.
        first: Offset,
        /// Offset of its marker.
        marker: Offset,
        /// The last stable offset behind it.
        last_stable_offset: Offset,
    },
}

/// The state of a log when its partition machine is made.
#[derive(Clone, Debug)]
pub struct LogState {
    /// First offset that may be read.
    pub log_start: Offset,
    /// Offset of the next append.
    pub log_end: Offset,
    /// End of what survives a power cut; recovery synced everything, so after it this is the log end.
    pub durable: Offset,
    /// The newest high watermark known.
    pub high_watermark: Offset,
}

impl LogState {
    /// A log that was just made.
    pub fn empty(start: Offset) -> Self {
        Self {
            log_start: start,
            log_end: start,
            durable: start,
            high_watermark: start,
        }
    }
}

/// How timestamps of records come about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TimestampType {
    /// The producer's.
    #[default]
    CreateTime,
    /// The leader's clock at the append.
    LogAppendTime,
}

/// The part of the configuration a partition acts on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartitionConfig {
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `producer.id.expiration.ms`.
    pub producer_expiration_ms: i64,
}

impl Default for PartitionConfig {
    fn default() -> Self {
        Self {
            timestamp_type: TimestampType::CreateTime,
            producer_expiration_ms: 86_400_000,
        }
    }
}
