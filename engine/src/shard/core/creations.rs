//! CreateTopics in pieces: a request for many topics is carried out over several turns, so that nobody waits long for it.
//!
//! Always: (1) the answer has the topics in the order of the pieces and leaves with the last of them; (2) one piece is under
//! way at a time.

use crate::shard::mail::RequestId;
use millstream_net::wire::api::{CreatableTopicResult, CreateTopicsResponse};
use millstream_storage::ids::ShardIndex;
use std::collections::BTreeMap;

/// A request whose pieces are not all answered.
struct Gathering {
    left: usize,
    topics: Vec<CreatableTopicResult>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Creations {
    gatherings: BTreeMap<(ShardIndex, RequestId), Gathering>,
    under_way: bool,
}

impl Creations {
    /// A request of so many pieces begins.
    pub(super) fn begin(&mut self, from: ShardIndex, request: RequestId, pieces: usize) {
        let gathering = Gathering {
            left: pieces,
            topics: Vec::new(),
        };
        self.gatherings.insert((from, request), gathering);
    }

    /// Whether the next piece may begin.
    pub(super) fn is_free(&self) -> bool {
        !self.under_way
    }

    /// A piece is under way.
    pub(super) fn occupy(&mut self) {
        self.under_way = true;
    }

    /// The piece that was under way is done.
    pub(super) fn release(&mut self) {
        self.under_way = false;
    }

    /// The answer to the next piece of a request; with the last one the whole answer.
    pub(super) fn take(
        &mut self,
        from: ShardIndex,
        request: RequestId,
        piece: CreateTopicsResponse,
    ) -> Option<CreateTopicsResponse> {
        let key = (from, request);
        let gathering = self.gatherings.get_mut(&key);
        let gathering = gathering.expect("a piece is of a request that has begun");
        gathering.left -= 1;
        gathering.topics.extend(piece.topics);
        if gathering.left > 0 {
            return None;
        }
        let whole = self.gatherings.remove(&key)?;
        Some(CreateTopicsResponse {
            topics: whole.topics,
            ..piece
        })
    }
}
