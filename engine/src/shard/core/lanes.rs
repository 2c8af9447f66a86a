//! Batches on their way to their partitions, where one before them is still in the workshop.
//!
//! Always: batches of one connection and partition go on in the order in which they arrived (rule C6), however long one of them
//! takes; those of other connections or partitions pass it.

use super::Core;
use crate::api::batches::{self, Budget, Prepared, Unprepared};
use crate::api::produce::{AppendPart, BatchRefused};
use crate::machine::partition::Acks;
use crate::shard::mail::{AppendMail, Hop, Mail, PrepareMail, PreparedMail, RequestId};
use crate::shard::workshop;
use millstream_net::conn::ConnId;
use millstream_net::wire::ErrorCode;
use millstream_storage::ids::{LogNumber, Now, PartitionIndex, ShardIndex, TopicId};
use std::collections::{BTreeMap, VecDeque};

/// Where a batch goes once it is prepared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passage {
    pub(super) part: u32,
    pub(super) topic: TopicId,
    pub(super) partition: PartitionIndex,
    pub(super) shard: ShardIndex,
    pub(super) log: LogNumber,
    /// Whether its request is a transaction's.
    pub(super) transactional: bool,
}

impl Passage {
    /// The append of the prepared batch.
    pub(super) fn append(self, prepared: &Prepared) -> Result<AppendPart, BatchRefused> {
        let is_transactional = prepared.head.attributes.is_transactional();
        if is_transactional != self.transactional {
            return Err(ErrorCode::InvalidTxnState.into());
        }
        Ok(AppendPart {
            part: self.part,
            topic: self.topic,
            partition: self.partition,
            log: self.log,
            head: batches::head_of(&prepared.head),
            batch: prepared.batch.clone(),
        })
    }
}

/// What a request asks of all its appends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking {
    pub(super) request: RequestId,
    pub(super) acks: Acks,
    pub(super) timeout_ms: u32,
}

enum Stage {
    /// In the workshop.
    Preparing(Passage),
    Ready(AppendPart),
}

struct Held {
    asking: Asking,
    part: u32,
    shard: ShardIndex,
    stage: Stage,
}

/// Who appends, and where.
type LaneName = (ConnId, LogNumber);

/// All lanes with something in the workshop.
#[derive(Default)]
pub(super) struct Lanes {
    lanes: BTreeMap<LaneName, VecDeque<Held>>,
    preparing: BTreeMap<(RequestId, u32), LaneName>,
}

impl Lanes {
    /// Whether a batch must wait for those before it.
    pub(super) fn is_held_up(&self, conn: ConnId, log: LogNumber) -> bool {
        self.lanes.contains_key(&(conn, log))
    }

    /// Keeps the place of a batch that goes to the workshop.
    pub(super) fn prepare(&mut self, conn: ConnId, asking: Asking, passage: Passage) {
        let name = (conn, passage.log);
        self.preparing.insert((asking.request, passage.part), name);
        self.hold(name, asking, passage, Stage::Preparing(passage));
    }

    /// Keeps a batch that waits for those before it.
    pub(super) fn wait(
        &mut self,
        conn: ConnId,
        asking: Asking,
        passage: Passage,
        append: AppendPart,
    ) {
        self.hold((conn, passage.log), asking, passage, Stage::Ready(append));
    }

    fn hold(&mut self, name: LaneName, asking: Asking, passage: Passage, stage: Stage) {
        self.lanes.entry(name).or_default().push_back(Held {
            asking,
            part: passage.part,
            shard: passage.shard,
            stage,
        });
    }

    /// A batch is prepared: with its append it is ready, else it leaves. Gives what may go on now.
    fn settle(
        &mut self,
        request: RequestId,
        part: u32,
        settled: impl FnOnce(Passage) -> Option<AppendPart>,
    ) -> Vec<(ShardIndex, Asking, AppendPart)> {
        let name = self.preparing.remove(&(request, part));
        let name = name.expect("the workshop answers what it was asked");
        let lane = self.lanes.get_mut(&name);
        let lane = lane.expect("a lane stays while one of its batches is prepared");
        let mut held = lane.iter();
        let at = held.position(|held| (held.asking.request, held.part) == (request, part));
        let at = at.expect("a batch keeps its place until it is prepared");
        let Stage::Preparing(passage) = lane[at].stage else {
            panic!("a batch is prepared once");
        };
        match settled(passage) {
            Some(append) => lane[at].stage = Stage::Ready(append),
            None => {
                lane.remove(at);
            }
        }
        let mut going = Vec::new();
        while let Some(held) = lane.pop_front_if(|held| matches!(held.stage, Stage::Ready(_))) {
            if let Stage::Ready(append) = held.stage {
                going.push((held.shard, held.asking, append));
            }
        }
        if lane.is_empty() {
            self.lanes.remove(&name);
        }
        going
    }
}

impl Core {
    /// Sends what takes long to the workshop.
    pub(super) fn send_to_workshop(
        &mut self,
        now: Now,
        request: RequestId,
        budget: Budget,
        batches: VecDeque<(u32, Unprepared)>,
    ) {
        if batches.is_empty() {
            return;
        }
        let mail = PrepareMail {
            request,
            budget,
            batches,
        };
        let to = workshop::address(self.shard_count);
        self.send(now, to, Mail::Prepare(Box::new(mail)));
    }

    /// A batch comes from the workshop.
    pub(super) fn take_prepared(&mut self, now: Now, mail: PreparedMail) {
        let PreparedMail {
            request,
            part,
            result,
        } = mail;
        if let Ok(prepared) = &result
            && let Some(found) = self.requests.find_mut(request)
        {
            let (slot, bytes) = (found.slot, prepared.rewritten_bytes);
            self.conns.charge(slot, bytes, &mut self.conn_effects);
        }
        let mut refused = None;
        let going = self.lanes.settle(request, part, |passage| {
            let append = result.and_then(|prepared| passage.append(&prepared));
            append.map_err(|refusal| refused = Some(refusal)).ok()
        });
        for (shard, asking, append) in going {
            let mail = AppendMail {
                home: self.me,
                request: asking.request,
                index: self.meta.image.index(),
                hop: Hop::First,
                acks: asking.acks,
                timeout_ms: asking.timeout_ms,
                parts: vec![append],
            };
            self.send(now, shard, Mail::Append(Box::new(mail)));
        }
        if let Some(refused) = refused {
            self.refuse_append(request, part, refused);
        }
    }
}
