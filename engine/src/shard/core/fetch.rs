//! Fetch at the shard of the connection: splitting, waiting, joining.
//!
//! Always: (1) a fetch answers at once if it may not wait, if a partition has an error, or if there is enough (rule F3);
//! otherwise when enough has come, something changed, or its time is up; (2) while it waits it holds no data; (3) the
//! requests behind it take effect, only their answers wait (rule C6); (4) a connection has at most two answers of the largest
//! size made or promised that it has not taken, and while the shard has too many bytes untaken only a small one for who has none.

use super::Core;
use super::requests::{FetchPhase, Fetching, Request, Work};
use super::timers::TimerId;
use crate::api::fetch::{FetchAnswer, PartRead, ReadPart, isolation_of};
use crate::api::topic_names::Naming;
use crate::machine::image::Topic;
use crate::shard::core::Due;
use crate::shard::mail::{FetchMail, FetchedMail, GrownMail, Hop, Mail, RequestId, Urgency, Watch};
use millstream_net::conn::{ConnId, RequestSlot};
use millstream_net::wire::api::{FetchPartition, FetchRequest};
use millstream_net::wire::{ErrorCode, RequestHeader};
use millstream_storage::batch::Compression;
use millstream_storage::ids::{LeaderEpoch, Now, Offset, PartitionIndex, ShardIndex};

/// BOUND: bytes one answer holds, whatever was asked for; a client asks again for the rest (rule F1).
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// BOUND: the same while the shard has too many bytes untaken, and only for who has taken everything before.
const CROWDED_ANSWER_BYTES_MAX: usize = 64 << 10;

/// A count on the wire that cannot be negative.
fn count(number: i32) -> usize {
    usize::try_from(number).unwrap_or(0)
}

impl Core {
    /// A Fetch request arrived. It begins when what its connection has not taken yet leaves room for its answer.
    pub(super) fn fetch(
        &mut self,
        now: Now,
        slot: RequestSlot,
        header: RequestHeader,
        request: FetchRequest,
    ) {
        let later = self.later.entry(slot.conn).or_default();
        later.push_back((slot, header, request));
        if later.len() == 1 {
            self.begin_fetches(now, slot.conn);
        }
    }

    /// Begins the fetches that wait for room, where there is some now.
    pub(super) fn begin_all_fetches(&mut self, now: Now) {
        if self.later.is_empty() || self.conns.is_crowded() {
            return;
        }
        for conn in self.later.keys().copied().collect::<Vec<_>>() {
            self.begin_fetches(now, conn);
        }
    }

    pub(super) fn begin_fetches(&mut self, now: Now, conn: ConnId) {
        while self.has_room(conn)
            && let Some(later) = self.later.get_mut(&conn)
        {
            let next = later.pop_front();
            if later.is_empty() {
                self.later.remove(&conn);
            }
            if let Some((slot, header, request)) = next {
                self.begin_fetch(now, slot, header, request);
            }
        }
    }

    /// Whether the next fetch of a connection may begin.
    fn has_room(&mut self, conn: ConnId) -> bool {
        let next = self.later.get(&conn).and_then(|later| later.front());
        let Some((_, _, next)) = next else {
            return false;
        };
        if self.stopping.has_begun() {
            return true;
        }
        let wanted = self.answer_bytes(next);
        let outgoing_bytes = self.conns.outgoing_bytes(conn);
        let mut under_way = 0;
        for id in self.requests.fetches_of(conn) {
            let fetching = self.requests.fetching(id);
            under_way += fetching.map_or(0, |fetching| fetching.max_bytes);
        }
        match self.conns.is_crowded() {
            true => under_way == 0 && outgoing_bytes == 0,
            false => under_way + outgoing_bytes + wanted <= 2 * ANSWER_BYTES_MAX,
        }
    }

    /// The most that the answer to a request holds.
    fn answer_bytes(&self, request: &FetchRequest) -> usize {
        let most_bytes = match self.conns.is_crowded() {
            true => CROWDED_ANSWER_BYTES_MAX,
            false => ANSWER_BYTES_MAX,
        };
        let allowed_bytes = self.settings.fetch_max_bytes.min(most_bytes);
        count(request.max_bytes).min(allowed_bytes)
    }

    /// Sessions are not kept: the answer says session 0 (rule F14).
    fn begin_fetch(
        &mut self,
        now: Now,
        slot: RequestSlot,
        header: RequestHeader,
        request: FetchRequest,
    ) {
        if let Some(code) = session_error(&request) {
            let response = millstream_net::wire::api::FetchResponse {
                error_code: code,
                ..Default::default()
            };
            return self.respond(slot, &header, response);
        }
        let max_bytes = self.answer_bytes(&request);
        let mut fetching = Fetching {
            answer: FetchAnswer::new(header.api_version, &request),
            isolation: isolation_of(request.isolation_level),
            // BOUND: nobody waits for more than an answer can hold.
            min_bytes: count(request.min_bytes).min(max_bytes),
            max_bytes,
            groups: Vec::new(),
            passed_on: Vec::new(),
            refused: Vec::new(),
            round: 0,
            phase: FetchPhase::First,
            bytes: 0,
            timer: None,
        };
        let mut part = 0;
        let naming = Naming::of(header.api_version);
        for topic in &request.topics {
            let named = naming.find(&self.meta.image, &topic.topic, topic.topic_id);
            for partition in &topic.partitions {
                let routed = named
                    .and_then(|topic| self.route_read(part, header.api_version, topic, partition));
                match routed {
                    Ok((shard, read)) => fetching.add(shard, read),
                    Err(code) => fetching.refused.push((part, code)),
                }
                part += 1;
            }
        }
        let waits = request.max_wait_ms > 0
            && fetching.min_bytes > 0
            && part > 0
            && fetching.refused.is_empty()
            && !self.stopping.has_begun();
        if !waits {
            fetching.phase = FetchPhase::Last;
        }
        let id = self.requests.insert(Request {
            slot,
            version: header.api_version,
            correlation_id: header.correlation_id,
            work: Work::Fetch(Box::new(fetching)),
        });
        if waits {
            let at = now.tick.after_ms(request.max_wait_ms as u64);
            let timer = self.timers.set(at, Due::Fetch(id));
            self.keep_timer(id, timer);
        }
        self.read_round(now, id);
    }

    fn keep_timer(&mut self, id: RequestId, timer: TimerId) {
        if let Some(fetching) = self.requests.fetching(id) {
            fetching.timer = Some(timer);
        }
    }

    fn route_read(
        &self,
        part: u32,
        version: i16,
        topic: &Topic,
        partition: &FetchPartition,
    ) -> Result<(ShardIndex, ReadPart), ErrorCode> {
        let index = PartitionIndex(partition.partition);
        let route = self.meta.routes.find(topic.id, index);
        let route = route.ok_or(ErrorCode::UnknownTopicOrPartition)?;
        // Rule R4: clients before version 10 cannot read zstd.
        let config = self.meta.routes.config(topic.id);
        if version < 10 && config.is_some_and(|one| one.compression == Some(Compression::Zstd)) {
            return Err(ErrorCode::UnsupportedCompressionType);
        }
        let read = ReadPart {
            part,
            topic: topic.id,
            partition: index,
            log: route.log,
            offset: Offset(partition.fetch_offset),
            max_bytes: count(partition.partition_max_bytes),
            leader_epoch: LeaderEpoch(partition.current_leader_epoch),
            last_epoch: LeaderEpoch(partition.last_fetched_epoch),
        };
        Ok((route.shard, read))
    }

    /// Asks every shard for its part.
    fn read_round(&mut self, now: Now, id: RequestId) {
        let Some(fetching) = self.requests.fetching(id) else {
            return;
        };
        fetching.round += 1;
        fetching.answer.clear();
        for &(part, code) in &fetching.refused {
            fetching.answer.take(PartRead::refused(part, code));
        }
        if fetching.answer.is_complete() {
            return self.finish_fetch(now, id);
        }
        let (round, max_bytes) = (fetching.round, fetching.max_bytes);
        let (isolation, phase) = (fetching.isolation, fetching.phase);
        let groups = match phase {
            // Nothing comes after the last round.
            FetchPhase::Last => std::mem::take(&mut fetching.groups),
            _ => fetching.groups.clone(),
        };
        let watch = match phase {
            FetchPhase::Last => Watch::No,
            _ => Watch::Yes,
        };
        for (shard, parts) in groups {
            let mail = FetchMail {
                home: self.me,
                request: id,
                round,
                index: self.meta.image.index(),
                hop: Hop::First,
                max_bytes,
                isolation,
                watch,
                parts,
            };
            self.send(now, shard, Mail::Fetch(Box::new(mail)));
        }
    }

    /// A shard has read its part.
    pub(super) fn take_fetched(&mut self, now: Now, from: ShardIndex, fetched: FetchedMail) {
        let fetching = self.requests.fetching(fetched.request);
        let Some(fetching) = fetching.filter(|fetching| fetching.round == fetched.round) else {
            // It was passed on to that shard, which watches for what has been answered by now.
            return self.send(now, from, Mail::Unwatch(fetched.request));
        };
        fetching.note_watcher(from);
        for read in fetched.parts {
            fetching.answer.take(read);
        }
        if !fetching.answer.is_complete() {
            return;
        }
        fetching.bytes += fetching.answer.bytes();
        let enough = fetching.bytes >= fetching.min_bytes;
        match fetching.phase {
            FetchPhase::Last => self.finish_fetch(now, fetched.request),
            _ if fetching.answer.is_urgent() || fetching.answer.bytes() >= fetching.min_bytes => {
                self.finish_fetch(now, fetched.request)
            }
            FetchPhase::FirstAndNews => self.read_last(now, fetched.request),
            FetchPhase::First | FetchPhase::Waiting if enough => {
                self.read_last(now, fetched.request)
            }
            FetchPhase::First | FetchPhase::Waiting => {
                fetching.phase = FetchPhase::Waiting;
                fetching.answer.clear();
            }
        }
    }

    /// News from a shard that watches.
    pub(super) fn take_grown(&mut self, now: Now, grown: GrownMail) {
        let Some(fetching) = self.requests.fetching(grown.request) else {
            return;
        };
        if fetching.round != grown.round {
            return;
        }
        fetching.bytes += grown.bytes;
        let due = grown.urgency == Urgency::Now || fetching.bytes >= fetching.min_bytes;
        match fetching.phase {
            FetchPhase::First if grown.urgency == Urgency::Now => {
                fetching.phase = FetchPhase::FirstAndNews;
            }
            FetchPhase::Waiting if due => self.read_last(now, grown.request),
            _ => {}
        }
    }

    /// The time of a fetch is up, or it may wait no longer.
    pub(super) fn fetch_due(&mut self, now: Now, id: RequestId) {
        let Some(fetching) = self.requests.fetching(id) else {
            return;
        };
        match fetching.phase {
            FetchPhase::First => fetching.phase = FetchPhase::FirstAndNews,
            FetchPhase::Waiting => self.read_last(now, id),
            FetchPhase::FirstAndNews | FetchPhase::Last => {}
        }
    }

    fn read_last(&mut self, now: Now, id: RequestId) {
        self.unwatch_all(now, id);
        if let Some(fetching) = self.requests.fetching(id) {
            fetching.phase = FetchPhase::Last;
        }
        self.read_round(now, id);
    }

    /// The connection of a fetch is gone.
    pub(super) fn abandon_fetch(&mut self, now: Now, id: RequestId) {
        self.unwatch_all(now, id);
        self.forget_fetch(id);
    }

    fn finish_fetch(&mut self, now: Now, id: RequestId) {
        self.unwatch_all(now, id);
        let Some(request) = self.forget_fetch(id) else {
            return;
        };
        let Work::Fetch(fetching) = request.work else {
            return;
        };
        let response = fetching
            .answer
            .finish(fetching.max_bytes, self.view(request.slot.conn));
        self.answer(
            request.slot,
            request.version,
            request.correlation_id,
            response,
        );
    }

    fn forget_fetch(&mut self, id: RequestId) -> Option<Request> {
        let request = self.requests.remove(id)?;
        if let Work::Fetch(fetching) = &request.work
            && let Some(timer) = fetching.timer
        {
            self.timers.clear(timer);
        }
        Some(request)
    }

    /// Tells the shards that watch for it to stop.
    fn unwatch_all(&mut self, now: Now, id: RequestId) {
        let Some(fetching) = self.requests.fetching(id) else {
            return;
        };
        if fetching.phase == FetchPhase::Last {
            return;
        }
        let asked = fetching.groups.iter().map(|group| group.0);
        let passed_on = fetching.passed_on.drain(..);
        let shards: Vec<ShardIndex> = asked.chain(passed_on).collect();
        for shard in shards {
            self.send(now, shard, Mail::Unwatch(id));
        }
    }
}

impl Fetching {
    /// A shard that answers and was not asked was passed the request on; it watches like those that were.
    fn note_watcher(&mut self, shard: ShardIndex) {
        let asked = self.groups.iter().any(|group| group.0 == shard);
        if self.phase != FetchPhase::Last && !asked && !self.passed_on.contains(&shard) {
            self.passed_on.push(shard);
        }
    }

    fn add(&mut self, shard: ShardIndex, read: ReadPart) {
        match self.groups.iter_mut().find(|group| group.0 == shard) {
            Some(group) => group.1.push(read),
            None => self.groups.push((shard, vec![read])),
        }
    }
}

/// A client that goes on with a session we never gave is told so (rule F13).
fn session_error(request: &FetchRequest) -> Option<ErrorCode> {
    match (request.session_id, request.session_epoch) {
        (_, ..=0) => None,
        (0, _) => Some(ErrorCode::InvalidFetchSessionEpoch),
        (_, _) => Some(ErrorCode::FetchSessionIdNotFound),
    }
}
