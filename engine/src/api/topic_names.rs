//! How requests name topics: by name, or by id from a version on (rules P2, F10).

pub use crate::machine::fetch_sessions::Naming;

use crate::machine::image::{Image, Topic};
use millstream_net::wire::{ErrorCode, Uuid};
use millstream_storage::ids::TopicId;
use std::sync::Arc;

impl Naming {
    /// That of Produce and Fetch in a version.
    pub fn of(version: i16) -> Naming {
        match version {
            13.. => Naming::Ids,
            _ => Naming::Names,
        }
    }

    /// The topic that a request names.
    pub fn find<'a>(
        self,
        image: &'a Image,
        name: &str,
        id: Uuid,
    ) -> Result<&'a Arc<Topic>, ErrorCode> {
        match self {
            Naming::Names => image
                .topic_named(name)
                .ok_or(ErrorCode::UnknownTopicOrPartition),
            Naming::Ids => image.topic(topic_id(id)).ok_or(ErrorCode::UnknownTopicId),
        }
    }

    /// The code for a client that names topics so.
    pub fn code(self, code: ErrorCode) -> ErrorCode {
        match (self, code) {
            (Naming::Names, ErrorCode::UnknownTopicId) => ErrorCode::UnknownTopicOrPartition,
            _ => code,
        }
    }
}

/// A topic id from the wire.
pub fn topic_id(id: Uuid) -> TopicId {
    TopicId(u128::from_be_bytes(id.0))
}

/// A topic id for the wire.
pub fn uuid(id: TopicId) -> Uuid {
    Uuid(id.0.to_be_bytes())
}
