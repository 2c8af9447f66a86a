//! Fetch at the shard of the connection: splitting, waiting, joining.
//!
//! Always: (1) a fetch answers at once if it may not wait, if a partition has an error, or if there is enough (rule F3);
//! otherwise when enough has come, something changed, or its time is up; (2) while it waits it holds no data; (3) the
//! requests behind it take effect, only their answers wait (rule C6); (4) a connection has at most two answers of the largest
//! size made or promised that it has not taken, and while the shard has too many bytes untaken only a small one for who has none.

use super::Core;
use super::requests::{FetchPhase, Fetching, InSession, Parts, Request, Source, Work};
use super::sessions::{note_reads, report};
use super::timers::TimerId;
use crate::api::fetch::{FetchAnswer, PartRead, ReadPart, isolation_of};
use crate::api::topic_names::Naming;
use crate::machine::fetch_sessions::Wants;
use crate::machine::image::Topic;
use crate::shard::core::Due;
use crate::shard::mail::{FetchMail, FetchedMail, GrownMail, Hop, Mail, RequestId, Urgency, Watch};
use millstream_net::conn::{ConnId, RequestSlot};
use millstream_net::wire::api::{FetchPartition, FetchRequest, FetchResponse};
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
        if self.is_session_busy(next) {
            return false;
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

    fn begin_fetch(
        &mut self,
        now: Now,
        slot: RequestSlot,
        header: RequestHeader,
        request: FetchRequest,
    ) {
        let session = match self.enter_session(now, &header, &request) {
            Ok(session) => session,
            Err(code) => return self.respond(slot, &header, refused(code)),
        };
        let max_bytes = self.answer_bytes(&request);
        let mut fetching = Fetching {
            answer: FetchAnswer::new(header.api_version, &request),
            isolation: isolation_of(request.isolation_level),
            // BOUND: nobody waits for more than an answer can hold.
            min_bytes: count(request.min_bytes).min(max_bytes),
            max_bytes,
            source: Source::Request(Parts::default()),
            passed_on: Vec::new(),
            round: 0,
            phase: FetchPhase::First,
            bytes: 0,
            timer: None,
        };
        let has_cause_to_wait = match session {
            Some((id, scope)) => {
                fetching.source = Source::Session(InSession {
                    id,
                    scope,
                    entries: Vec::new(),
                });
                true
            }
            None => {
                let parts = self.parts_of(header.api_version, &request);
                let waits = !parts.groups.is_empty() && parts.refused.is_empty();
                fetching.source = Source::Request(parts);
                waits
            }
        };
        let waits = request.max_wait_ms > 0
            && fetching.min_bytes > 0
            && has_cause_to_wait
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
        if let Some((session, _)) = session {
            self.begin_poll(session, id);
        }
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

    /// Where the partitions that a request names are to be read.
    fn parts_of(&self, version: i16, request: &FetchRequest) -> Parts {
        let mut parts = Parts::default();
        let mut part = 0;
        let naming = Naming::of(version);
        for topic in &request.topics {
            let named = naming.find(&self.meta.image, &topic.topic, topic.topic_id);
            for partition in &topic.partitions {
                let index = PartitionIndex(partition.partition);
                let wants = wants_of(partition);
                let routed =
                    named.and_then(|topic| self.route_read(part, version, topic, index, &wants));
                parts.add(part, routed);
                part += 1;
            }
        }
        parts
    }

    pub(super) fn route_read(
        &self,
        part: u32,
        version: i16,
        topic: &Topic,
        index: PartitionIndex,
        wants: &Wants,
    ) -> Result<(ShardIndex, ReadPart), ErrorCode> {
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
            offset: wants.offset,
            max_bytes: wants.max_bytes,
            leader_epoch: wants.leader_epoch,
            last_epoch: wants.last_epoch,
        };
        Ok((route.shard, read))
    }

    /// Asks every shard for its part.
    pub(super) fn read_round(&mut self, now: Now, id: RequestId) {
        let in_session = self.session_round(now, id);
        let Some(fetching) = self.requests.fetching(id) else {
            return;
        };
        fetching.round += 1;
        let phase = fetching.phase;
        let (parts, watch, session) = match (&mut fetching.source, in_session) {
            (Source::Session(_), Some((parts, session))) => (parts, Watch::No, Some(session)),
            // It has been given up for another one.
            (Source::Session(_), None) => return self.refuse_fetch(id),
            // Nothing comes after the last round.
            (Source::Request(parts), _) if phase == FetchPhase::Last => {
                fetching.answer.clear();
                (std::mem::take(parts), Watch::No, None)
            }
            (Source::Request(parts), _) => {
                fetching.answer.clear();
                (parts.clone(), Watch::Yes, None)
            }
        };
        for (part, code) in parts.refused {
            fetching.answer.take(PartRead::refused(part, code));
        }
        if fetching.answer.is_complete() {
            return self.complete_round(now, id);
        }
        let (round, max_bytes) = (fetching.round, fetching.max_bytes);
        let isolation = fetching.isolation;
        for (shard, parts) in parts.groups {
            let mail = FetchMail {
                home: self.me,
                request: id,
                round,
                index: self.meta.image.index(),
                hop: Hop::First,
                max_bytes,
                isolation,
                watch,
                session,
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
        match &fetching.source {
            Source::Request(_) => fetching.note_watcher(from),
            Source::Session(in_session) => {
                if let Some(session) = self.sessions.find_mut(in_session.id) {
                    note_reads(session, in_session, from, &fetched.parts);
                }
            }
        }
        for read in fetched.parts {
            fetching.answer.take(read);
        }
        if fetching.answer.is_complete() {
            self.complete_round(now, fetched.request);
        }
    }

    /// Everything that was asked is read: answers, waits or looks again.
    fn complete_round(&mut self, now: Now, id: RequestId) {
        let Some(fetching) = self.requests.fetching(id) else {
            return;
        };
        fetching.bytes += fetching.answer.bytes();
        let enough = fetching.bytes >= fetching.min_bytes;
        match fetching.phase {
            FetchPhase::Last => self.finish_fetch(now, id),
            _ if fetching.answer.is_urgent() || fetching.answer.bytes() >= fetching.min_bytes => {
                self.finish_fetch(now, id)
            }
            FetchPhase::FirstAndNews => self.read_last(now, id),
            FetchPhase::First | FetchPhase::Waiting if enough => self.look_again(now, id),
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
        if fetching.round == grown.round {
            self.wake_fetch(now, grown.request, grown.bytes, grown.urgency);
        }
    }

    /// There is news for a fetch.
    pub(super) fn wake_fetch(&mut self, now: Now, id: RequestId, bytes: usize, urgency: Urgency) {
        let Some(fetching) = self.requests.fetching(id) else {
            return;
        };
        fetching.bytes += bytes;
        let due = urgency == Urgency::Now || fetching.bytes >= fetching.min_bytes;
        match fetching.phase {
            FetchPhase::First if urgency == Urgency::Now => {
                fetching.phase = FetchPhase::FirstAndNews;
            }
            FetchPhase::Waiting if due => self.look_again(now, id),
            _ => {}
        }
    }

    /// There should be enough now. A session watches on, so it may find that there is not and wait again.
    fn look_again(&mut self, now: Now, id: RequestId) {
        let Some(fetching) = self.requests.fetching(id) else {
            return;
        };
        match fetching.source {
            Source::Request(_) => self.read_last(now, id),
            Source::Session(_) => {
                fetching.phase = FetchPhase::First;
                fetching.bytes = 0;
                self.read_round(now, id);
            }
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
        let view = self.view(request.slot.conn);
        let mut response = fetching.answer.finish(fetching.max_bytes, view);
        if let Source::Session(in_session) = &fetching.source {
            match self.sessions.find_mut(in_session.id) {
                Some(session) => report(session, in_session, &mut response),
                None => response = refused(ErrorCode::FetchSessionIdNotFound),
            }
        }
        self.answer(
            request.slot,
            request.version,
            request.correlation_id,
            response,
        );
    }

    /// The session of a fetch is gone.
    fn refuse_fetch(&mut self, id: RequestId) {
        if let Some(request) = self.forget_fetch(id) {
            let (version, correlation_id) = (request.version, request.correlation_id);
            let response = refused(ErrorCode::FetchSessionIdNotFound);
            self.answer(request.slot, version, correlation_id, response);
        }
    }

    fn forget_fetch(&mut self, id: RequestId) -> Option<Request> {
        let request = self.requests.remove(id)?;
        if let Work::Fetch(fetching) = &request.work {
            if let Some(timer) = fetching.timer {
                self.timers.clear(timer);
            }
            if let Source::Session(in_session) = &fetching.source {
                self.end_poll(in_session.id, id);
            }
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
        let Source::Request(parts) = &fetching.source else {
            return;
        };
        let asked = parts.groups.iter().map(|group| group.0);
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
        let Source::Request(parts) = &self.source else {
            return;
        };
        let asked = parts.groups.iter().any(|group| group.0 == shard);
        if self.phase != FetchPhase::Last && !asked && !self.passed_on.contains(&shard) {
            self.passed_on.push(shard);
        }
    }
}

impl Parts {
    pub(super) fn add(&mut self, part: u32, routed: Result<(ShardIndex, ReadPart), ErrorCode>) {
        let (shard, read) = match routed {
            Ok(routed) => routed,
            Err(code) => return self.refused.push((part, code)),
        };
        match self.groups.iter_mut().find(|group| group.0 == shard) {
            Some(group) => group.1.push(read),
            None => self.groups.push((shard, vec![read])),
        }
    }
}

/// What a request wants of a partition.
pub(super) fn wants_of(partition: &FetchPartition) -> Wants {
    Wants {
        offset: Offset(partition.fetch_offset),
        max_bytes: count(partition.partition_max_bytes),
        leader_epoch: LeaderEpoch(partition.current_leader_epoch),
        last_epoch: LeaderEpoch(partition.last_fetched_epoch),
    }
}

/// The answer of a request that is refused as a whole.
fn refused(error_code: ErrorCode) -> FetchResponse {
    FetchResponse {
        error_code,
        ..FetchResponse::default()
    }
}
