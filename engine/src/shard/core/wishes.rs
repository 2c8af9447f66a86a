//! What shards want of the controller, and what is said where the disk has no room for it.

use crate::api;
use crate::shard::mail::{Answer, Ask, Mail, RequestId};
use millstream_net::wire::ErrorCode;
use millstream_storage::ids::ShardIndex;

/// What a client is told where the metadata log finds no room.
const DISK_FULL: &str = "The disk of the controller is full; deleting topics makes room.";
/// What a block of producer ids takes in the metadata log, at the most.
const PRODUCER_IDS_BYTES: u64 = 1024;

/// What a shard wants, in the order of arrival: the disk may have to make room first.
pub(super) enum Wish {
    Topics(ShardIndex, RequestId, Ask),
    ProducerIds(ShardIndex),
}

impl Wish {
    /// What a wish adds to the metadata log; `None` where it is granted on a full disk too, because it frees space.
    /// A topic that names no number of partitions gets `partitions`.
    pub(super) fn record_bytes(&self, partitions: i32) -> Option<u64> {
        match self {
            Wish::Topics(_, _, Ask::Create { request, .. }) => {
                Some(api::create_topics::record_bytes(request, partitions))
            }
            Wish::Topics(_, _, Ask::AutoCreate(names)) => {
                let bytes = api::create_topics::auto_record_bytes(partitions);
                Some(bytes * names.len() as u64)
            }
            Wish::Topics(_, _, Ask::Delete { .. }) => None,
            Wish::ProducerIds(_) => Some(PRODUCER_IDS_BYTES),
        }
    }

    /// The answer on a full disk, if it is answered at all.
    pub(super) fn refused(self) -> Option<(ShardIndex, Mail)> {
        match self {
            Wish::Topics(from, id, Ask::Create { request, .. }) => {
                let code = ErrorCode::KafkaStorageError;
                let answer = api::create_topics::refuse_all(&request, code, Some(DISK_FULL));
                let answered = Mail::Answered {
                    request: id,
                    answer: Box::new(Answer::Created(answer)),
                };
                Some((from, answered))
            }
            Wish::ProducerIds(from) => Some((from, Mail::ProducerIds(0..0))),
            Wish::Topics(_, _, Ask::AutoCreate(_) | Ask::Delete { .. }) => None,
        }
    }
}
