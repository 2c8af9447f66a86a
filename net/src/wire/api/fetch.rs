//! Fetch: reads record batches from partitions.

use super::{CurrentLeader, NodeEndpoint};
use crate::wire::{ErrorCode, Records, Str, Uuid};

message! {
    /// Reads from partitions.
    pub struct FetchRequest {
        /// The cluster the client believes to talk to.
        cluster_id: Option<Str> => 12.., tag 0;
        /// The node of a fetching replica; -1 for a consumer.
        replica_id: i32 = -1 => 0..=14;
        /// The fetching replica.
        replica_state: ReplicaState => 15.., tag 1;
        /// How long to wait for `min_bytes`.
        max_wait_ms: i32 => 0..;
        /// How much must be there for an answer before that time.
        min_bytes: i32 => 0..;
        /// How much the answer should have at most.
        max_bytes: i32 = i32::MAX => 3..;
        /// 0 reads what is committed, 1 only what belongs to no open or aborted transaction.
        isolation_level: i8 => 4..;
        /// The fetch session; 0 for none.
        session_id: i32 => 7..;
        /// The number of the request in its session; -1 for none, 0 to open one.
        session_epoch: i32 = -1 => 7..;
        /// What to read; in a session, what changed since the last request.
        topics: Vec<FetchTopic> => 0..;
        /// What to drop from the session.
        forgotten_topics_data: Vec<ForgottenTopic> => 7..;
        /// The reader's rack.
        rack_id: Str => 11..;
    }

    /// A fetching replica.
    pub struct ReplicaState {
        /// Its node.
        replica_id: i32 = -1 => 15..;
        /// The epoch of its registration.
        replica_epoch: i64 = -1 => 15..;
    }

    /// A topic to read.
    pub struct FetchTopic {
        /// The topic by name.
        topic: Str => 0..=12;
        /// The topic by id.
        topic_id: Uuid => 13..;
        /// Its partitions.
        partitions: Vec<FetchPartition> => 0..;
    }

    /// A partition to read.
    pub struct FetchPartition {
        /// The partition.
        partition: i32 => 0..;
        /// The epoch the reader believes the leader has.
        current_leader_epoch: i32 = -1 => 9..;
        /// The offset of the first record wanted.
        fetch_offset: i64 => 0..;
        /// The epoch of the last record the reader has.
        last_fetched_epoch: i32 = -1 => 12..;
        /// The log start offset of a fetching replica.
        log_start_offset: i64 = -1 => 5..;
        /// How much to return at most, but for a first batch that is larger.
        partition_max_bytes: i32 => 0..;
        /// The directory of a fetching replica.
        replica_directory_id: Uuid => 17.., tag 0;
        /// The high watermark a fetching replica knows.
        high_watermark: i64 = i64::MAX => 18.., tag 1;
    }

    /// A topic of which partitions leave the session.
    pub struct ForgottenTopic {
        /// The topic by name.
        topic: Str => 7..=12;
        /// The topic by id.
        topic_id: Uuid => 13..;
        /// The partitions.
        partitions: Vec<i32> => 7..;
    }

    /// What was read.
    pub struct FetchResponse {
        /// How long the client is held back by a quota.
        throttle_time_ms: i32 => 1..;
        /// The error of the request as a whole.
        error_code: ErrorCode => 7..;
        /// The session; 0 for none.
        session_id: i32 => 7..;
        /// What was read, by topic.
        responses: Vec<FetchTopicResponse> => 0..;
        /// Where the leaders named in `current_leader` are.
        node_endpoints: Vec<NodeEndpoint> => 16.., tag 0;
    }

    /// What was read of a topic.
    pub struct FetchTopicResponse {
        /// The topic by name.
        topic: Str => 0..=12;
        /// The topic by id.
        topic_id: Uuid => 13..;
        /// Its partitions.
        partitions: Vec<FetchPartitionResponse> => 0..;
    }

    /// What was read of a partition.
    pub struct FetchPartitionResponse {
        /// The partition.
        partition_index: i32 => 0..;
        /// The error, if nothing could be read.
        error_code: ErrorCode => 0..;
        /// The end of what is committed.
        high_watermark: i64 = -1 => 0..;
        /// The offset of the first record of an open transaction, or the high watermark.
        last_stable_offset: i64 = -1 => 4..;
        /// The offset of the oldest record that can be read.
        log_start_offset: i64 = -1 => 5..;
        /// Where the reader's log leaves ours, if it does.
        diverging_epoch: EpochEnd => 12.., tag 0;
        /// Who leads, where this broker does not.
        current_leader: CurrentLeader => 12.., tag 1;
        /// A snapshot to begin with; for metadata replicas only.
        snapshot_id: SnapshotId => 12.., tag 2;
        /// The aborted transactions in what was read; null for a reader who did not ask to skip them.
        aborted_transactions: Option<Vec<AbortedTransaction>> => 4..;
        /// The replica to read from instead.
        preferred_read_replica: i32 = -1 => 11..;
        /// The record batches; empty rather than null where there are none, since some clients take null amiss.
        records: Option<Records> = Some(Records::default()) => 0..;
    }

    /// The end of an epoch in a log.
    pub struct EpochEnd {
        /// The epoch.
        epoch: i32 = -1 => 12..;
        /// The offset after its last record.
        end_offset: i64 = -1 => 12..;
    }

    /// A snapshot of a metadata log.
    pub struct SnapshotId {
        /// The offset after its last record.
        end_offset: i64 = -1 => 0..;
        /// The epoch of its last record.
        epoch: i32 = -1 => 0..;
    }

    /// An aborted transaction.
    pub struct AbortedTransaction {
        /// Its producer.
        producer_id: i64 => 4..;
        /// The offset of its first record in the partition.
        first_offset: i64 => 4..;
    }
}
