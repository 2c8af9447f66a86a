//! What shards send to each other.
//!
//! Always: (1) mail carries handles and headers, never copies of payload; (2) from one shard to another it arrives first
//! in, first out; (3) every question (`Append`, `Fetch`, `Find`, `Errand`, `Group`, `Ask`) is answered exactly once, to the shard it came from;
//! (4) a question that was decided by a metadata image names that image, and waits at a shard that has not got it yet.

use crate::api::batches::{Budget, Prepared, Unprepared};
use crate::api::errand::{ErrandPart, PartDone};
use crate::api::fetch::{PartRead, ReadPart};
use crate::api::list_offsets::{FindPart, PartFound};
use crate::api::produce::{AppendPart, BatchRefused, PartAppended};
use crate::machine::fetch_sessions::SessionId;
use crate::machine::group::{Answer as GroupAnswer, Call, Caller};
use crate::machine::image::{Delta, Image};
use crate::machine::partition::{Acks, Isolation};
use crate::machine::quorum::EncodedSnapshot;
use crate::shard::core::routes::Routes;
use crate::shard::core::slots::SlotId;
use millstream_net::conn::ConnId;
use millstream_net::wire::Response;
use millstream_net::wire::api::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    IncrementalAlterConfigsRequest,
};
use millstream_storage::ids::{LogNumber, MetadataIndex, PartitionIndex, ShardIndex, TopicId};
use millstream_storage::store::{Look, Looked, ReadTicket};
use std::collections::VecDeque;
use std::sync::Arc;

/// The name of a request at the shard of its connection.
pub type RequestId = SlotId;

/// Whether a question came straight or by a shard that no longer owned the partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hop {
    /// By the asking shard's own table.
    First,
    /// Passed on once; a table that is wrong again is answered with an error.
    Forwarded,
}

/// One letter from one shard to another.
#[derive(Debug)]
pub enum Mail {
    /// Append batches.
    Append(Box<AppendMail>),
    /// Prepare batches of one request, to the workshop.
    Prepare(Box<PrepareMail>),
    /// A batch that is prepared, or refused.
    Prepared(Box<PreparedMail>),
    /// Look through a batch for a search, to the workshop.
    Look(Box<LookMail>),
    /// What was found in it.
    Looked(Box<LookedMail>),
    /// Encode the metadata as a snapshot, to the workshop.
    Snapshot(Box<Image>),
    /// The snapshot.
    Snapshotted(Box<EncodedSnapshot>),
    /// What became of appends; many requests' in one letter.
    Appended(Vec<AppendedMail>),
    /// Read partitions.
    Fetch(Box<FetchMail>),
    /// What was read.
    Fetched(Box<FetchedMail>),
    /// News for reads that wait.
    Grown(Vec<GrownMail>),
    /// The request no longer waits.
    Unwatch(RequestId),
    /// Changes in partitions that sessions watch.
    News(Vec<News>),
    /// A session no longer watches.
    Unsubscribe {
        /// The session, one of the sender's.
        session: SessionId,
        /// What.
        forget: Forget,
    },
    /// Look up offsets.
    Find(Box<FindMail>),
    /// The offsets.
    Found(Box<FoundMail>),
    /// Do something at partitions.
    Errand(Box<ErrandMail>),
    /// What became of some of the errands of a request.
    ErrandDone {
        /// The request.
        request: RequestId,
        /// The errands.
        parts: Vec<PartDone>,
    },
    /// Ask coordinators of groups.
    Group(Box<GroupMail>),
    /// A coordinator's answer.
    Grouped(Box<GroupedMail>),
    /// Something only shard 0 decides.
    Ask {
        /// Who asks.
        request: RequestId,
        /// What.
        ask: Box<Ask>,
    },
    /// Shard 0's answer.
    Answered {
        /// To whom.
        request: RequestId,
        /// What goes to the client.
        response: Box<Response>,
    },
    /// A newer image of the metadata, from shard 0.
    Published(Published),
    /// The sender acts by the image of this index, to shard 0.
    Applied(MetadataIndex),
    /// The sender asks shard 0 for producer ids.
    WantProducerIds,
    /// Producer ids for the receiver alone; empty if there are none for now.
    ProducerIds(std::ops::Range<i64>),
    /// The sender stops and asks nothing any more.
    Drained,
}

/// Batches of one request that take long to prepare.
#[derive(Debug)]
pub struct PrepareMail {
    /// The request.
    pub request: RequestId,
    /// What they may cost together.
    pub budget: Budget,
    /// Each with its place in the request.
    pub batches: VecDeque<(u32, Unprepared)>,
}

/// What became of one of them.
#[derive(Debug)]
pub struct PreparedMail {
    /// The request.
    pub request: RequestId,
    /// The place of the batch in it.
    pub part: u32,
    /// What is to be stored.
    pub result: Result<Prepared, BatchRefused>,
}

/// A batch to look through for a search of the sender.
#[derive(Debug)]
pub struct LookMail {
    /// The search.
    pub ticket: ReadTicket,
    /// The batch.
    pub look: Look,
}

/// What was found in it.
#[derive(Debug)]
pub struct LookedMail {
    /// The search.
    pub ticket: ReadTicket,
    /// The record, if there is one.
    pub looked: Looked,
}

/// Batches to append to partitions of the receiver.
#[derive(Debug)]
pub struct AppendMail {
    /// The shard of the connection.
    pub home: ShardIndex,
    /// Its request.
    pub request: RequestId,
    /// The image by which it was routed.
    pub index: MetadataIndex,
    /// How it came.
    pub hop: Hop,
    /// What to wait for.
    pub acks: Acks,
    /// How long, in ms.
    pub timeout_ms: u32,
    /// The batches, in the order of the request.
    pub parts: Vec<AppendPart>,
}

/// What became of one batch.
#[derive(Debug)]
pub struct AppendedMail {
    /// The request.
    pub request: RequestId,
    /// The batch and its outcome.
    pub part: PartAppended,
}

/// Partitions of the receiver to read.
#[derive(Debug)]
pub struct FetchMail {
    /// The shard of the connection.
    pub home: ShardIndex,
    /// Its request.
    pub request: RequestId,
    /// Raised with every time the request asks again.
    pub round: u32,
    /// The image by which it was routed.
    pub index: MetadataIndex,
    /// How it came.
    pub hop: Hop,
    /// Bytes wanted at most.
    pub max_bytes: usize,
    /// What may be seen.
    pub isolation: Isolation,
    /// Whether to send `Grown` from now on.
    pub watch: Watch,
    /// The session it reads for, to be told `News` from now on.
    pub session: Option<Subscription>,
    /// The partitions, in the order of the request.
    pub parts: Vec<ReadPart>,
}

/// Whether a reader wants to hear of what comes later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watch {
    /// Until `Unwatch` or another round.
    Yes,
    /// It answers now whatever there is.
    No,
}

/// That a session watches what it reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subscription {
    /// The session, one of the asking shard's.
    pub session: SessionId,
    /// How often it is told.
    pub telling: Telling,
}

/// How often a session is told of changes in a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Telling {
    /// Once: then it reads.
    Once,
    /// Every time: it counts bytes until they are enough.
    Always,
}

/// A change in a partition that a session watches.
#[derive(Clone, Copy, Debug)]
pub struct News {
    /// The session.
    pub session: SessionId,
    /// The partition's log.
    pub log: LogNumber,
    /// Bytes that became visible.
    pub bytes: usize,
    /// Whether something happened that its reader must answer for at once.
    pub urgency: Urgency,
}

/// What a session no longer watches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Forget {
    /// Anything: it has ended.
    All,
    /// These logs.
    Logs(Vec<LogNumber>),
}

/// What was read.
#[derive(Debug)]
pub struct FetchedMail {
    /// The request.
    pub request: RequestId,
    /// Its round.
    pub round: u32,
    /// One for each part asked for.
    pub parts: Vec<PartRead>,
}

/// News for a read that waits.
#[derive(Clone, Copy, Debug)]
pub struct GrownMail {
    /// The request.
    pub request: RequestId,
    /// Its round.
    pub round: u32,
    /// Bytes that became visible in the partitions it watches.
    pub bytes: usize,
    /// Whether something happened that it must answer for at once.
    pub urgency: Urgency,
}

/// How soon a reader must look again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Urgency {
    /// When enough bytes are there.
    Normal,
    /// Now: a partition changed its role or is gone.
    Now,
}

/// Offsets to look up in partitions of the receiver.
#[derive(Debug)]
pub struct FindMail {
    /// The shard of the connection.
    pub home: ShardIndex,
    /// The connection.
    pub conn: ConnId,
    /// Its request.
    pub request: RequestId,
    /// The image by which it was routed.
    pub index: MetadataIndex,
    /// How it came.
    pub hop: Hop,
    /// What may be seen.
    pub isolation: Isolation,
    /// What to look up.
    pub parts: Vec<FindPart>,
}

/// The offsets.
#[derive(Debug)]
pub struct FoundMail {
    /// The request.
    pub request: RequestId,
    /// One for each part asked for.
    pub parts: Vec<PartFound>,
}

/// Errands for partitions of the receiver.
#[derive(Debug)]
pub struct ErrandMail {
    /// The shard of the connection.
    pub home: ShardIndex,
    /// Its request.
    pub request: RequestId,
    /// The image by which it was routed.
    pub index: MetadataIndex,
    /// How it came.
    pub hop: Hop,
    /// The errands, in the order of the request.
    pub parts: Vec<ErrandPart>,
}

/// Calls for coordinators of the receiver.
#[derive(Debug)]
pub struct GroupMail {
    /// The shard of the connection.
    pub home: ShardIndex,
    /// Its request.
    pub request: RequestId,
    /// The image by which it was routed.
    pub index: MetadataIndex,
    /// How it came.
    pub hop: Hop,
    /// Who calls.
    pub caller: Caller,
    /// The calls, in the order of the request.
    pub parts: Vec<GroupPart>,
}

/// A call for one coordinator.
#[derive(Debug)]
pub struct GroupPart {
    /// Its place in the request.
    pub part: u32,
    /// The offsets topic.
    pub topic: TopicId,
    /// The partition the group belongs to.
    pub partition: PartitionIndex,
    /// Its log at the receiver.
    pub log: LogNumber,
    /// The call.
    pub call: Call,
}

/// A coordinator's answer.
#[derive(Debug)]
pub struct GroupedMail {
    /// The request.
    pub request: RequestId,
    /// The call's place in it.
    pub part: u32,
    /// The answer.
    pub answer: GroupAnswer,
}

/// What only the shard of the controller decides.
#[derive(Debug)]
pub enum Ask {
    /// Create topics.
    Create(CreateTopicsRequest),
    /// Create topics that somebody named (rule M2); not answered.
    AutoCreate(Vec<String>),
    /// Delete topics.
    Delete {
        /// The version of the request.
        version: i16,
        /// The request.
        request: DeleteTopicsRequest,
    },
    /// Add partitions to topics.
    Grow(CreatePartitionsRequest),
    /// Change values of topics.
    Alter(IncrementalAlterConfigsRequest),
}

/// The metadata every shard acts by.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// The image.
    pub image: Arc<Image>,
    /// Which shard has what.
    pub routes: Arc<Routes>,
    /// What has changed since the one before; of no use in the first.
    pub delta: Arc<Delta>,
}
