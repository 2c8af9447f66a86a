//! What shards want of the controller, and what is said where the disk has no room for it.

use super::gatherings::Gatherings;
use crate::api;
use crate::shard::mail::{Ask, Mail, RequestId};
use millstream_net::wire::{ErrorCode, Response};
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
    /// A topic that names no number of partitions gets `partitions`, one the broker lives on `internal`.
    pub(super) fn record_bytes(&self, partitions: i32, internal: i32) -> Option<u64> {
        match self {
            Wish::Topics(_, _, Ask::Create(request)) => {
                Some(api::create_topics::record_bytes(request, partitions))
            }
            Wish::Topics(_, _, Ask::AutoCreate(names)) => {
                let bytes = api::create_topics::auto_record_bytes(names, partitions, internal);
                Some(bytes)
            }
            Wish::Topics(_, _, Ask::Delete { .. }) => None,
            Wish::Topics(_, _, Ask::Grow(request)) => {
                Some(api::create_partitions::record_bytes(request))
            }
            Wish::Topics(_, _, Ask::Alter(request)) => {
                Some(api::incremental_alter_configs::record_bytes(request))
            }
            Wish::ProducerIds(_) => Some(PRODUCER_IDS_BYTES),
        }
    }

    /// Whether it is a piece of a request that is carried out in pieces.
    pub(super) fn is_piece(&self) -> bool {
        matches!(
            self,
            Wish::Topics(_, _, Ask::Create(_) | Ask::Delete { .. })
        )
    }

    /// The answer on a full disk, if it is answered at all.
    pub(super) fn refused(self, gatherings: &mut Gatherings) -> Option<(ShardIndex, Mail)> {
        let (code, message) = (ErrorCode::KafkaStorageError, Some(DISK_FULL));
        let (from, request, response): (_, _, Response) = match self {
            Wish::Topics(from, id, Ask::Create(request)) => {
                let piece = api::create_topics::refuse_all(&request, code, message);
                (from, id, gatherings.take(from, id, piece.into())?)
            }
            Wish::Topics(from, id, Ask::Grow(request)) => {
                let response = api::create_partitions::refuse_all(&request, code, message);
                (from, id, response.into())
            }
            Wish::Topics(from, id, Ask::Alter(request)) => {
                let response = api::incremental_alter_configs::refuse_all(&request, code, message);
                (from, id, response.into())
            }
            Wish::ProducerIds(from) => return Some((from, Mail::ProducerIds(0..0))),
            Wish::Topics(_, _, Ask::AutoCreate(_) | Ask::Delete { .. }) => return None,
        };
        let response = Box::new(response);
        Some((from, Mail::Answered { request, response }))
    }
}
