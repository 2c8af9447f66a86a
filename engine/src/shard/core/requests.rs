//! Requests under way at the shard of their connection.
//!
//! Always: (1) a request in the table is answered, refused or abandoned exactly once; (2) one that was abandoned (its
//! connection is gone) still takes the answers of other shards, and drops them.

use super::slots::{SlotId, Slots};
use super::timers::TimerId;
use super::topics::Topics;
use crate::api::errand::ErrandAnswer;
use crate::api::fetch::{FetchAnswer, ReadPart};
use crate::api::groups::GroupsAnswer;
use crate::api::list_offsets::ListOffsetsAnswer;
use crate::api::offset_for_leader_epoch::EpochEndsAnswer;
use crate::api::produce::ProduceAnswer;
use crate::machine::fetch_sessions::{EntryId, Scope, SessionId};
use crate::machine::partition::Isolation;
use millstream_net::conn::{ConnId, RequestSlot};
use millstream_net::wire::ErrorCode;
use millstream_storage::ids::ShardIndex;
use std::collections::BTreeSet;

/// One request.
pub(super) struct Request {
    /// Where its answer goes.
    pub(super) slot: RequestSlot,
    pub(super) version: i16,
    pub(super) correlation_id: i32,
    pub(super) work: Work,
}

/// What a request waits for.
pub(super) enum Work {
    /// Appends.
    Produce(ProduceAnswer),
    /// Reads.
    Fetch(Box<Fetching>),
    /// Offsets.
    ListOffsets(ListOffsetsAnswer),
    /// Ends of epochs.
    EpochEnds(EpochEndsAnswer),
    /// Coordinators of groups.
    Groups(GroupsAnswer),
    /// The controller's word on topics.
    Topics(Topics),
    /// Errands, and when they have taken too long.
    Errand(ErrandAnswer, Option<TimerId>),
    /// A producer id.
    ProducerId,
}

/// A fetch: rounds of reads until there is enough or the time is up.
pub(super) struct Fetching {
    pub(super) answer: FetchAnswer,
    pub(super) isolation: Isolation,
    pub(super) min_bytes: usize,
    pub(super) max_bytes: usize,
    pub(super) source: Source,
    /// Shards that watch because another one passed the request on to them.
    pub(super) passed_on: Vec<ShardIndex>,
    pub(super) round: u32,
    pub(super) phase: FetchPhase,
    /// Bytes that were there in the first round and came since.
    pub(super) bytes: usize,
    pub(super) timer: Option<TimerId>,
}

/// Where a fetch has its partitions from.
pub(super) enum Source {
    /// The request names them.
    Request(Parts),
    /// Its session has them.
    Session(InSession),
}

/// What is read.
#[derive(Clone, Default)]
pub(super) struct Parts {
    /// What is asked of each shard, in order of shards.
    pub(super) groups: Vec<(ShardIndex, Vec<ReadPart>)>,
    /// What needs no shard to be refused.
    pub(super) refused: Vec<(u32, ErrorCode)>,
}

/// A fetch in a session.
pub(super) struct InSession {
    pub(super) id: SessionId,
    pub(super) scope: Scope,
    /// The partitions of the present round, by part.
    pub(super) entries: Vec<EntryId>,
}

/// Where a fetch stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FetchPhase {
    /// The first reads are under way; the shards watch.
    First,
    /// News came in the meantime that the answer must not miss.
    FirstAndNews,
    /// Everything was read and there is not enough; the shards watch.
    Waiting,
    /// The last reads are under way.
    Last,
}

/// The table.
#[derive(Default)]
pub(super) struct Requests {
    table: Slots<Request>,
    /// The fetches of each connection: they end with it, while appends go on.
    fetches: BTreeSet<(ConnId, SlotId)>,
}

impl Requests {
    pub(super) fn insert(&mut self, request: Request) -> SlotId {
        let fetch = matches!(request.work, Work::Fetch(_)).then_some(request.slot.conn);
        let id = self.table.insert(request);
        if let Some(conn) = fetch {
            self.fetches.insert((conn, id));
        }
        id
    }

    pub(super) fn find_mut(&mut self, id: SlotId) -> Option<&mut Request> {
        self.table.find_mut(id)
    }

    pub(super) fn remove(&mut self, id: SlotId) -> Option<Request> {
        let request = self.table.remove(id)?;
        if matches!(request.work, Work::Fetch(_)) {
            self.fetches.remove(&(request.slot.conn, id));
        }
        Some(request)
    }

    /// The fetch of that name, if it is one and under way.
    pub(super) fn fetching(&mut self, id: SlotId) -> Option<&mut Fetching> {
        match &mut self.table.find_mut(id)?.work {
            Work::Fetch(fetching) => Some(fetching),
            _ => None,
        }
    }

    /// The fetches of a connection.
    pub(super) fn fetches_of(&self, conn: ConnId) -> Vec<SlotId> {
        let first = SlotId {
            index: 0,
            generation: 0,
        };
        let all = self.fetches.range((conn, first)..);
        all.take_while(|(of, _)| *of == conn)
            .map(|(_, id)| *id)
            .collect()
    }

    /// All fetches.
    pub(super) fn fetches(&self) -> Vec<SlotId> {
        self.fetches.iter().map(|(_, id)| *id).collect()
    }

    /// All requests that wait for the controller's word on topics.
    pub(super) fn about_topics(&self) -> Vec<SlotId> {
        let about = self.table.iter();
        let about = about.filter(|(_, request)| matches!(request.work, Work::Topics(_)));
        about.map(|(id, _)| id).collect()
    }

    pub(super) fn count(&self) -> usize {
        self.table.count()
    }
}
