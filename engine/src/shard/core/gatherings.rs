//! Requests about many topics in pieces: carried out over several turns, so that nobody waits long for them.
//!
//! Always: (1) the answer has the topics in the order of the pieces and leaves with the last of them; (2) one piece is under
//! way at a time.

use crate::shard::mail::RequestId;
use millstream_net::wire::Response;
use millstream_storage::ids::ShardIndex;
use std::collections::BTreeMap;

/// A request whose pieces are not all answered.
struct Gathering {
    left: usize,
    whole: Option<Response>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Gatherings {
    requests: BTreeMap<(ShardIndex, RequestId), Gathering>,
    under_way: bool,
}

impl Gatherings {
    /// A request of so many pieces begins.
    pub(super) fn begin(&mut self, from: ShardIndex, request: RequestId, pieces: usize) {
        let gathering = Gathering {
            left: pieces,
            whole: None,
        };
        self.requests.insert((from, request), gathering);
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
        piece: Response,
    ) -> Option<Response> {
        let key = (from, request);
        let gathering = self.requests.get_mut(&key);
        let gathering = gathering.expect("a piece is of a request that has begun");
        gathering.left -= 1;
        match &mut gathering.whole {
            None => gathering.whole = Some(piece),
            Some(whole) => join(whole, piece),
        }
        if gathering.left > 0 {
            return None;
        }
        self.requests.remove(&key)?.whole
    }
}

/// Puts the topics of a piece behind those of the pieces before it.
fn join(whole: &mut Response, piece: Response) {
    match (whole, piece) {
        (Response::CreateTopics(whole), Response::CreateTopics(piece)) => {
            whole.topics.extend(piece.topics);
        }
        (Response::DeleteTopics(whole), Response::DeleteTopics(piece)) => {
            whole.responses.extend(piece.responses);
        }
        _ => panic!("the pieces of one request are answered alike"),
    }
}
