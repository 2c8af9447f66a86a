//! Fetch sessions at the shard of the connection: what a request of one reads, and what of it is answered (rules F13, F14).
//!
//! Always: (1) of one session one request is under way, the next one waits for its end; (2) a partition that is not due is
//! watched by its owner, whose news makes it due again; (3) what a session no longer wants, nobody watches.

use super::Core;
use super::fetch::wants_of;
use super::requests::{InSession, Parts, Source};
use crate::api::errors;
use crate::api::fetch::{Asked, FetchAnswer, PartRead};
use crate::api::topic_names::{Naming, topic_id, uuid};
use crate::machine::fetch_sessions::{
    GoneOn, PartitionKey, Scope, Seen, Session, SessionId, TopicKey, Wants,
};
use crate::shard::mail::{Forget, Mail, News, RequestId, Subscription, Telling};
use millstream_net::wire::api::{FetchRequest, FetchResponse};
use millstream_net::wire::{ErrorCode, Records, RequestHeader, Str, Uuid};
use millstream_storage::ids::{LogNumber, Now, Offset, PartitionIndex, ShardIndex};
use std::sync::Arc;

impl Core {
    /// What a request says of sessions: the one it goes on with or begins, and what its answer is about; `None` if it is by
    /// itself.
    pub(super) fn enter_session(
        &mut self,
        now: Now,
        header: &RequestHeader,
        request: &FetchRequest,
    ) -> Result<Option<(SessionId, Scope)>, ErrorCode> {
        let naming = Naming::of(header.api_version);
        let id = SessionId(request.session_id);
        let mut unwatched = Vec::new();
        let is_bounded = request
            .topics
            .iter()
            .all(|one| one.topic.len() <= crate::machine::TOPIC_NAME_BYTES_MAX);
        let entered = match request.session_epoch {
            0 if !is_bounded => {
                self.sessions.end(id);
                Ok(None)
            }
            1.. if !is_bounded => {
                self.sessions.end(id);
                Err(ErrorCode::FetchSessionIdNotFound)
            }
            -1 => {
                self.sessions.end(id);
                Ok(None)
            }
            0 => {
                self.sessions.end(id);
                let opened = self.sessions.open(now, naming, wanted(naming, request));
                Ok(opened.map(|id| (id, Scope::All)))
            }
            number => {
                let (changed, forgotten) = (wanted(naming, request), forgotten(naming, request));
                let gone_on = self.sessions.go_on(
                    now,
                    id,
                    number,
                    naming,
                    changed,
                    forgotten,
                    &mut unwatched,
                );
                match gone_on {
                    Ok(GoneOn::Session) => Ok(Some((id, Scope::Due))),
                    Ok(GoneOn::Ended) => Ok(None),
                    Err(refusal) => Err(errors::of_session_refusal(refusal)),
                }
            }
        };
        self.unwatch_logs(now, id, unwatched);
        while let Some(ended) = self.sessions.take_ended() {
            for shard in ended.shards {
                self.unsubscribe_at(now, shard, ended.id, Forget::All);
            }
        }
        entered
    }

    /// Whether a request must wait for the end of another one of its session.
    pub(super) fn is_session_busy(&self, request: &FetchRequest) -> bool {
        request.session_epoch > 0 && self.sessions.is_busy(SessionId(request.session_id))
    }

    /// A fetch of a session is under way from now on.
    pub(super) fn begin_poll(&mut self, session: SessionId, request: RequestId) {
        if let Some(found) = self.sessions.find_mut(session) {
            found.begin();
            self.polls.insert(session, request);
        }
    }

    /// The fetch of a session has ended.
    pub(super) fn end_poll(&mut self, session: SessionId, request: RequestId) {
        if self.polls.get(&session) == Some(&request) {
            self.polls.remove(&session);
        }
        if let Some(session) = self.sessions.find_mut(session) {
            session.end();
        }
    }

    /// The partitions that a fetch of a session reads next; `None` where it has none, or that has ended.
    pub(super) fn session_round(
        &mut self,
        now: Now,
        id: RequestId,
    ) -> Option<(Parts, Subscription)> {
        let request = self.requests.find_mut(id)?;
        let version = request.version;
        let fetching = self.requests.fetching(id)?;
        let isolation = fetching.isolation;
        let telling = match fetching.min_bytes {
            ..=1 => Telling::Once,
            _ => Telling::Always,
        };
        let Source::Session(in_session) = &fetching.source else {
            return None;
        };
        let (session_id, scope) = (in_session.id, in_session.scope);
        let session = self.sessions.find_mut(session_id)?;
        let entries = session.to_read(scope);
        let wanted: Vec<(PartitionKey, Wants)> = entries
            .iter()
            .filter_map(|entry| session.entry(*entry))
            .map(|(key, wants)| (key.clone(), *wants))
            .collect();
        let mut parts = Parts::default();
        let mut replaced = Vec::new();
        let mut asked = Vec::with_capacity(wanted.len());
        // Partitions of one topic mostly stand together: it is looked up once for them.
        for together in wanted.chunk_by(|(one, _), (next, _)| one.topic == next.topic) {
            let (topic_name, topic_id) = wire_name(&together[0].0.topic);
            let topic = Naming::of(version).find(&self.meta.image, &topic_name, topic_id);
            let topic = topic.cloned();
            for (key, wants) in together {
                let at = asked.len();
                let part = at as u32;
                let routed = topic
                    .as_ref()
                    .map_err(|code| *code)
                    .and_then(|topic| self.route_read(part, version, topic, key.partition, wants));
                if let Ok((shard, read)) = &routed
                    && let Some(session) = self.sessions.find_mut(session_id)
                {
                    replaced.extend(session.watched(entries[at], *shard, read.log));
                }
                parts.add(part, routed);
                asked.push(Asked {
                    topic: topic_name.clone(),
                    topic_id,
                    partition: key.partition.0,
                    max_bytes: wants.max_bytes,
                });
            }
        }
        let answer = FetchAnswer::of_session(version, isolation, asked);
        if let Some(fetching) = self.requests.fetching(id) {
            fetching.answer = answer;
            if let Source::Session(in_session) = &mut fetching.source {
                in_session.entries = entries;
            }
        }
        self.unwatch_logs(now, session_id, replaced);
        let subscription = Subscription {
            session: session_id,
            telling,
        };
        Some((parts, subscription))
    }

    /// A partition of a session has changed.
    pub(super) fn take_news(&mut self, now: Now, news: News) {
        let Some(session) = self.sessions.find_mut(news.session) else {
            return;
        };
        if session.tell(news.log)
            && let Some(request) = self.polls.get(&news.session)
        {
            self.wake_fetch(now, *request, news.bytes, news.urgency);
        }
    }

    fn unwatch_logs(&mut self, now: Now, id: SessionId, logs: Vec<LogNumber>) {
        if logs.is_empty() {
            return;
        }
        let session = self.sessions.find_mut(id);
        // BOUND: a session that has ended is forgotten as a whole.
        let shards: Vec<ShardIndex> = session.map_or(Vec::new(), |one| one.shards().collect());
        for shard in shards {
            self.unsubscribe_at(now, shard, id, Forget::Logs(logs.clone()));
        }
    }

    fn unsubscribe_at(&mut self, now: Now, shard: ShardIndex, session: SessionId, forget: Forget) {
        self.send(now, shard, Mail::Unsubscribe { session, forget });
    }
}

/// Notes in a session what a shard has read for it.
pub(super) fn note_reads(
    session: &mut Session,
    in_session: &InSession,
    from: ShardIndex,
    reads: &[PartRead],
) {
    // A shard that answers and was not asked had the question passed on to it; it watches like the others.
    session.watched_by(from);
    for read in reads {
        let seen = Seen {
            high_watermark: read.high_watermark,
            log_start: read.log_start,
        };
        session.read(
            in_session.entries[read.part as usize],
            read.at_end.then_some(seen),
        );
    }
}

/// Makes the answer of a session: it names what has something to tell, the first one everything.
pub(super) fn report(session: &mut Session, in_session: &InSession, response: &mut FetchResponse) {
    response.session_id = in_session.id.0;
    let mut entries = in_session.entries.iter();
    for topic in &mut response.responses {
        topic.partitions.retain(|answer| {
            let entry = entries
                .next()
                .expect("the answer has a part for each entry");
            let is_refused = answer.error_code != ErrorCode::None;
            let seen = (!is_refused).then_some(Seen {
                high_watermark: Offset(answer.high_watermark),
                log_start: Offset(answer.log_start_offset),
            });
            let bytes = answer.records.as_ref().map_or(0, Records::total_bytes);
            let diverges = answer.diverging_epoch.epoch >= 0;
            let has_something = session.answer(*entry, seen, bytes);
            has_something || diverges || in_session.scope == Scope::All
        });
    }
    response
        .responses
        .retain(|topic| !topic.partitions.is_empty());
}

fn topic_key(naming: Naming, name: &Str, id: Uuid) -> TopicKey {
    match naming {
        Naming::Names => TopicKey::Name(Arc::from(name.as_str())),
        Naming::Ids => TopicKey::Id(topic_id(id)),
    }
}

fn wire_name(topic: &TopicKey) -> (Str, Uuid) {
    match topic {
        TopicKey::Name(name) => (Str::from(&**name), Uuid::ZERO),
        TopicKey::Id(id) => (Str::default(), uuid(*id)),
    }
}

fn wanted(
    naming: Naming,
    request: &FetchRequest,
) -> impl Iterator<Item = (PartitionKey, Wants)> + '_ {
    request.topics.iter().flat_map(move |topic| {
        let name = topic_key(naming, &topic.topic, topic.topic_id);
        topic.partitions.iter().map(move |partition| {
            let key = PartitionKey {
                topic: name.clone(),
                partition: PartitionIndex(partition.partition),
            };
            (key, wants_of(partition))
        })
    })
}

fn forgotten(naming: Naming, request: &FetchRequest) -> impl Iterator<Item = PartitionKey> + '_ {
    request.forgotten_topics_data.iter().flat_map(move |topic| {
        let name = topic_key(naming, &topic.topic, topic.topic_id);
        topic.partitions.iter().map(move |partition| PartitionKey {
            topic: name.clone(),
            partition: PartitionIndex(*partition),
        })
    })
}
