//! One shard's decisions: connections, requests, partitions, the log and, on shard 0, the controller, composed.
//!
//! Always: (1) it touches nothing: events in, effects out, time as an argument; (2) effects per connection and partition
//! happen in the order of arrival, answers leave in the order of requests (rule C6); (3) an answer leaves after what it
//! waits for: durability, the high watermark, or the time that was given; (4) every question of another shard is answered
//! exactly once.
//! View: shard; of the node it knows the table of routes, of the cluster the image.

mod control;
mod coordinators;
mod effects;
mod errands;
mod fetch;
mod find;
mod gatherings;
mod groups;
mod hosts;
mod lanes;
mod listings;
mod meta;
mod outbox;
mod produce;
mod reads;
mod requests;
pub mod routes;
mod seed;
mod sessions;
pub mod slots;
mod stall;
mod stop;
mod subscribers;
mod timers;
mod topics;
mod wishes;

pub use control::ControlSeed;
pub use seed::CoreSeed;

use crate::api;
use crate::api::brokers::View;
use crate::api::settings::Settings;
use crate::machine::fetch_sessions::{SessionId, Sessions};
use crate::machine::partition::{Effect, Partition};
use crate::machine::producer_ids::ProducerIdSupply;
use crate::shard::event::{FatalReason, ShardCore, ShardEffect, ShardEvent};
use crate::shard::mail::{AppendMail, Hop, Mail, Published, RequestId};
use control::Control;
use coordinators::Coordinators;
use find::Findings;
use hosts::Hosts;
use lanes::Lanes;
use listings::Listings;
use meta::{Awaiting, Held};
use millstream_net::conn::{ConnEffect, ConnId, Connections, ListenerIndex, RequestSlot};
use millstream_net::wire::api::FetchRequest;
use millstream_net::wire::{
    ErrorCode, Refused, Request as WireRequest, RequestHeader, Response, decode_request,
    encode_response, encode_unsupported_api_versions,
};
use millstream_storage::cache::SlabPool;
use millstream_storage::disk::DiskDone;
use millstream_storage::ids::{LogNumber, Now, PartitionIndex, ShardIndex, Tick, TopicId};
use millstream_storage::store::{Store, StoreEffect};
use outbox::Outbox;
use produce::Origin;
use reads::Readings;
use requests::Requests;
use slots::Slots;
use stall::Stalled;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use stop::Stopping;
use subscribers::Subscribers;
use timers::Timers;

/// What a timer is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Due {
    /// A fetch has waited long enough.
    Fetch(RequestId),
    /// A partition machine wants its tick.
    Host(LogNumber),
    /// The controller's word on topics has not come in time.
    Topics(RequestId),
    /// Errands have not been done in time.
    Errand(RequestId),
    /// A group coordinator wants its tick.
    Coordinator(LogNumber),
    /// Producers nobody uses are forgotten.
    ExpireProducers,
}

/// The core of one shard.
pub struct Core {
    me: ShardIndex,
    shard_count: u16,
    settings: Arc<Settings>,
    meta: Published,
    awaiting: Awaiting,
    conns: Connections,
    conn_effects: Vec<ConnEffect>,
    listeners: BTreeMap<ConnId, ListenerIndex>,
    /// The other end of each connection.
    peers: BTreeMap<ConnId, IpAddr>,
    requests: Requests,
    /// Fetches that wait until their connection has taken what it asked for before. BOUND: by the bounds of connections.
    later: BTreeMap<ConnId, VecDeque<(RequestSlot, RequestHeader, FetchRequest)>>,
    lanes: Lanes,
    /// Batches for this shard that arrived since anything else happened.
    arrived: Vec<AppendMail>,
    origins: Slots<Origin>,
    stalled: Stalled,
    hosts: Hosts,
    listings: Listings,
    coordinators: Coordinators,
    store: Store,
    store_effects: Vec<StoreEffect>,
    readings: Readings,
    sessions: Sessions,
    /// The fetch under way of each session that has one.
    polls: BTreeMap<SessionId, RequestId>,
    subscribers: Subscribers,
    findings: Findings,
    timers: Timers<Due>,
    outbox: Outbox,
    /// Questions that name an image this shard has not got yet, per sender.
    early: Vec<VecDeque<Mail>>,
    producer_ids: ProducerIdSupply<RequestId>,
    /// Shard 0 only.
    control: Option<Box<Control>>,
    stopping: Stopping,
    out: Vec<ShardEffect>,
}

impl ShardCore for Core {
    fn step(&mut self, now: Now, event: ShardEvent, effects: &mut Vec<ShardEffect>) {
        if !matches!(event, ShardEvent::Frame { .. } | ShardEvent::Sent { .. }) {
            self.append_arrived(now);
        }
        match event {
            ShardEvent::Opened {
                conn,
                listener,
                peer,
            } => {
                self.conns.opened(now_ms(now), conn);
                self.listeners.insert(conn, listener);
                self.peers.insert(conn, peer.ip());
            }
            ShardEvent::Frame { conn, bytes } => self.frame(now, conn, bytes),
            ShardEvent::Sent { conn, bytes } => {
                let effects = &mut self.conn_effects;
                self.conns.sent(now_ms(now), conn, bytes, effects);
                self.begin_fetches(now, conn);
            }
            ShardEvent::Closed { conn, .. } => self.closed(now, conn),
            ShardEvent::Mail { from, mail } => self.mail(now, from, mail),
            ShardEvent::Disk(done) => self.disk(now, done),
            ShardEvent::Stop => self.stop(now),
        }
        self.settle(now, effects);
    }

    fn turn(&mut self, now: Now, effects: &mut Vec<ShardEffect>) {
        self.append_arrived(now);
        while let Some(due) = self.timers.due(now.tick) {
            self.due(now, due);
        }
        self.conns.sweep(now_ms(now), &mut self.conn_effects);
        self.begin_all_fetches(now);
        self.open_again(now);
        self.turn_meta(now);
        self.retry_stalled(now);
        self.turn_listings(now);
        self.turn_finds(now);
        self.turn_reads(now);
        self.tell_watches(now);
        self.turn_control(now);
        self.turn_coordinators(now);
        self.turn_store(now);
        self.settle(now, effects);
        self.step_stop(now, effects);
        self.settle(now, effects);
        self.outbox.drain(effects);
    }

    fn deadline(&self) -> Option<Tick> {
        let conns = self.conns.deadline_ms().map(|ms| Tick(ms * 1_000_000));
        let control = self.control.as_ref().and_then(|control| control.deadline());
        let stalled = self.stalled.deadline();
        let store = self.store.deadline();
        let stopping = self.stopping.deadline();
        let listings = self.listings.deadline();
        let awaiting = self.awaiting.deadline();
        let findings = self.findings.deadline();
        let readings = self.readings.deadline();
        let coordinators = self.coordinators.deadline();
        let deadlines = [
            self.timers.next(),
            store,
            conns,
            control,
            stalled,
            stopping,
            listings,
            awaiting,
            findings,
            readings,
            coordinators,
        ];
        deadlines.into_iter().flatten().min()
    }
}

/// The clock of connections.
fn now_ms(now: Now) -> u64 {
    now.tick.0 / 1_000_000
}

impl Core {
    /// What its chunks come from.
    pub fn memory(&self) -> &SlabPool {
        self.store.pool()
    }

    /// A whole request.
    fn frame(&mut self, now: Now, conn: ConnId, bytes: bytes::Bytes) {
        let effects = &mut self.conn_effects;
        let slot = self.conns.request(now_ms(now), conn, bytes.len(), effects);
        let Some(slot) = slot else {
            return;
        };
        match decode_request(&bytes) {
            Ok((header, body)) if !self.is_ready() => {
                let held = Held { slot, header, body };
                self.awaiting.held.push_back(held);
            }
            Ok((header, body)) => self.request(now, slot, header, body),
            Err(Refused::UnsupportedApiVersions { correlation_id }) => {
                let parts = encode_unsupported_api_versions(correlation_id);
                self.conns.answer(slot, parts, &mut self.conn_effects);
            }
            // Rule C5: there is no error frame.
            Err(Refused::Unserved { .. } | Refused::Malformed(_)) => {
                self.conns.close_at(slot, &mut self.conn_effects);
            }
        }
    }

    fn request(&mut self, now: Now, slot: RequestSlot, header: RequestHeader, body: WireRequest) {
        if !matches!(body, WireRequest::Produce(_)) {
            self.append_arrived(now);
        }
        match body {
            WireRequest::Produce(request) => self.produce(now, slot, header, request),
            WireRequest::Fetch(request) => self.fetch(now, slot, header, request),
            WireRequest::ListOffsets(request) => self.list_offsets(now, slot, header, request),
            WireRequest::Metadata(request) => self.metadata(now, slot, header, request),
            WireRequest::ApiVersions(request) => {
                let index = self.meta.image.index();
                let response = api::api_versions::answer(header.api_version, &request, index);
                self.respond(slot, &header, response);
            }
            WireRequest::CreateTopics(request) => self.create_topics(now, slot, header, request),
            WireRequest::DeleteTopics(request) => self.delete_topics(now, slot, header, request),
            WireRequest::CreatePartitions(request) => {
                self.create_partitions(now, slot, header, request)
            }
            WireRequest::IncrementalAlterConfigs(request) => {
                self.alter_configs(now, slot, header, request)
            }
            WireRequest::DeleteRecords(request) => self.delete_records(now, slot, header, request),
            WireRequest::DescribeProducers(request) => {
                self.describe_producers(now, slot, header, request)
            }
            WireRequest::DescribeConfigs(request) => {
                let image = &self.meta.image;
                let response = api::describe_configs::answer(&request, image, &self.settings);
                self.respond(slot, &header, response);
            }
            WireRequest::DescribeCluster(request) => {
                let view = self.view(slot.conn);
                let response = api::describe_cluster::answer(&request, view);
                self.respond(slot, &header, response);
            }
            WireRequest::ListConfigResources(request) => {
                let (version, image) = (header.api_version, &self.meta.image);
                let response = api::list_config_resources::answer(version, &request, image);
                self.respond(slot, &header, response);
            }
            WireRequest::DescribeTopicPartitions(request) => {
                let image = &self.meta.image;
                let most = self.settings.described_partitions_max;
                let response = api::describe_topic_partitions::answer(&request, most, image);
                self.respond(slot, &header, response);
            }
            WireRequest::InitProducerId(request) => {
                self.init_producer_id(now, slot, header, request)
            }
            WireRequest::OffsetForLeaderEpoch(request) => {
                self.offset_for_leader_epoch(now, slot, header, request)
            }
            WireRequest::FindCoordinator(request) => {
                self.find_coordinator(now, slot, header, request)
            }
            other => self.groups(now, slot, header, other),
        }
    }

    fn closed(&mut self, now: Now, conn: ConnId) {
        self.conns.closed(conn);
        self.listeners.remove(&conn);
        self.peers.remove(&conn);
        self.later.remove(&conn);
        for id in self.requests.fetches_of(conn) {
            self.abandon_fetch(now, id);
        }
    }

    /// The metadata as a connection's peer sees it.
    fn view(&self, conn: ConnId) -> View<'_> {
        View {
            image: &self.meta.image,
            settings: &self.settings,
            listener: self.listeners.get(&conn).copied(),
        }
    }

    /// Answers a request that is not in the table.
    fn respond(
        &mut self,
        slot: RequestSlot,
        header: &RequestHeader,
        response: impl Into<Response>,
    ) {
        self.answer(slot, header.api_version, header.correlation_id, response);
    }

    fn answer(
        &mut self,
        slot: RequestSlot,
        version: i16,
        correlation_id: i32,
        response: impl Into<Response>,
    ) {
        let parts = encode_response(version, correlation_id, &response.into());
        self.conns.answer(slot, parts, &mut self.conn_effects);
    }

    /// Mails, or hands to this shard at once.
    fn send(&mut self, now: Now, to: ShardIndex, mail: Mail) {
        if to == self.me {
            self.mail(now, to, mail);
        } else {
            self.out.push(ShardEffect::Mail { to, mail });
        }
    }

    fn mail(&mut self, now: Now, from: ShardIndex, mail: Mail) {
        let early = &mut self.early[usize::from(from.0)];
        let decided_by = match &mail {
            Mail::Append(mail) => Some(mail.index),
            Mail::Fetch(mail) => Some(mail.index),
            Mail::Find(mail) => Some(mail.index),
            Mail::Errand(mail) => Some(mail.index),
            Mail::Group(mail) => Some(mail.index),
            _ => None,
        };
        // ORDER: questions behind one that waits wait too, or a batch would pass the one before it.
        let waits = decided_by.is_some_and(|index| index > self.meta.image.index());
        if waits || (decided_by.is_some() && !early.is_empty()) {
            early.push_back(mail);
            return;
        }
        self.open(now, from, mail);
    }

    fn open(&mut self, now: Now, from: ShardIndex, mail: Mail) {
        match mail {
            Mail::Append(mail) => self.append(now, *mail),
            Mail::Prepare(_) | Mail::Look(_) | Mail::Snapshot(_) => {
                panic!("this is for the workshop")
            }
            Mail::Snapshotted(snapshot) => self.take_snapshot(*snapshot),
            Mail::Prepared(prepared) => self.take_prepared(now, *prepared),
            Mail::Looked(looked) => self.store.looked(now, looked.ticket, looked.looked),
            Mail::Appended(all) => {
                for appended in all {
                    self.take_appended(appended);
                }
            }
            Mail::Fetch(mail) => self.read(now, *mail),
            Mail::Fetched(mail) => self.take_fetched(now, from, *mail),
            Mail::Grown(all) => {
                for grown in all {
                    self.take_grown(now, grown);
                }
            }
            Mail::Unwatch(request) => self.unwatch(from, request),
            Mail::News(all) => {
                for news in all {
                    self.take_news(now, news);
                }
            }
            Mail::Unsubscribe { session, forget } => self.unsubscribe(from, session, forget),
            Mail::Find(mail) => self.find(now, *mail),
            Mail::Found(mail) => self.take_found(*mail),
            Mail::Errand(mail) => self.run_errands(now, *mail),
            Mail::ErrandDone { request, parts } => self.take_errands(request, parts),
            Mail::Group(mail) => self.coordinate(now, *mail),
            Mail::Grouped(grouped) => self.take_grouped(*grouped),
            Mail::Ask { request, ask } => self.asked(from, request, *ask),
            Mail::Answered { request, response } => self.take_answered(request, *response),
            Mail::Published(published) => self.published(now, published),
            Mail::Applied(index) => self.applied(from, index),
            Mail::WantProducerIds => self.want_producer_ids(from),
            Mail::ProducerIds(ids) => self.take_producer_ids(now, ids),
            Mail::Drained => self.take_drained(),
        }
    }

    /// Opens the letters that the present image was waited for by.
    fn open_early(&mut self, now: Now) {
        for from in 0..self.early.len() {
            for mail in std::mem::take(&mut self.early[from]) {
                self.mail(now, ShardIndex(from as u16), mail);
            }
        }
    }

    /// Where a question goes that came to the wrong shard: on to the right one, once.
    fn forward(
        &self,
        topic: TopicId,
        partition: PartitionIndex,
        hop: Hop,
    ) -> Result<ShardIndex, ErrorCode> {
        match self.meta.routes.find(topic, partition) {
            Some(route) if route.shard != self.me && hop == Hop::First => Ok(route.shard),
            _ => Err(self.absent(topic, partition)),
        }
    }

    /// Why a partition is not here: it is gone, or it is elsewhere.
    fn absent(&self, topic: TopicId, partition: PartitionIndex) -> ErrorCode {
        match self.meta.routes.find(topic, partition) {
            Some(_) => ErrorCode::NotLeaderOrFollower,
            None if self.meta.image.topic(topic).is_none() => ErrorCode::UnknownTopicId,
            None => ErrorCode::UnknownTopicOrPartition,
        }
    }

    fn due(&mut self, now: Now, due: Due) {
        match due {
            Due::Fetch(id) => self.fetch_due(now, id),
            Due::Host(log) => {
                if let Some(host) = self.hosts.find_mut(log) {
                    host.timer = None;
                }
                self.with_host(now, log, |machine, effects| machine.tick(now, effects));
            }
            Due::Topics(id) => self.topics_due(id),
            Due::Errand(id) => self.errand_due(id),
            Due::Coordinator(log) => self.coordinator_due(now, log),
            Due::ExpireProducers => self.expire_producers(now),
        }
    }

    /// Lets a machine act and carries out what it effects.
    fn with_host(
        &mut self,
        now: Now,
        log: LogNumber,
        act: impl FnOnce(&mut Partition, &mut Vec<Effect>),
    ) {
        let mut effects = std::mem::take(&mut self.hosts.effects);
        if let Some(host) = self.hosts.find_mut(log) {
            act(&mut host.machine, &mut effects);
        }
        self.carry_out(now, log, &mut effects);
        self.hosts.effects = effects;
        self.set_host_timer(log);
    }

    fn set_host_timer(&mut self, log: LogNumber) {
        let Some(host) = self.hosts.find_mut(log) else {
            return;
        };
        let Some(deadline) = host.machine.deadline() else {
            return;
        };
        match host.timer {
            // It may come early: then it is set anew.
            Some((at, _)) if at <= deadline => {}
            former => {
                if let Some((_, timer)) = former {
                    self.timers.clear(timer);
                }
                let timer = self.timers.set(deadline, Due::Host(log));
                host.timer = Some((deadline, timer));
            }
        }
    }

    fn disk(&mut self, now: Now, done: DiskDone) {
        match Control::owns(done.op) {
            true => self.control_disk(now, done),
            false => self.store.done(now, done),
        }
    }

    /// Carries out what the store effected, until it effects nothing more, and hands out what is to be done.
    fn settle(&mut self, now: Now, effects: &mut Vec<ShardEffect>) {
        self.settle_store(now);
        effects.append(&mut self.out);
        for effect in self.conn_effects.drain(..) {
            effects.push(match effect {
                ConnEffect::Send { conn, parts } => ShardEffect::Send { conn, parts },
                ConnEffect::Close { conn } => ShardEffect::Close { conn },
                ConnEffect::Pause { conn } => ShardEffect::Pause { conn },
                ConnEffect::Resume { conn } => ShardEffect::Resume { conn },
            });
        }
    }

    fn expire_producers(&mut self, now: Now) {
        for log in self.hosts.logs() {
            if let Some(host) = self.hosts.find_mut(log) {
                host.machine.expire_producers(now);
            }
        }
        let at = now.tick.after_ms(seed::EXPIRE_PRODUCERS_MS);
        self.timers.set(at, Due::ExpireProducers);
    }

    fn fatal(&mut self, reason: FatalReason) {
        self.out.push(ShardEffect::Fatal { reason });
    }
}
