//! Shard 0's part: the quorum's entries become images, the controller decides, new replicas get their shards, and every shard
//! is told.
//!
//! Always: (1) an image is published only once it holds the registration of this process; (2) an answer about topics leaves
//! when every shard acts by an image that has it (rule M9); (3) a replica has its place in the table before an image that
//! names it is published.

use super::Core;
use super::gatherings::Gatherings;
use super::routes::{Placer, Route};
use super::wishes::Wish;
use crate::api;
use crate::api::delete_topics::DeleteAnswer;
use crate::api::incremental_alter_configs::AlterAnswer;
use crate::api::settings::Settings;
use crate::machine::controller::{self, Controller, ControllerConfig, Effect, Intent};
use crate::machine::image::{Delta, Entry, Image, Record, Registration, Topic};
use crate::machine::quorum::{EncodedSnapshot, Quorum, QuorumEffect, Room};
use crate::machine::topic_config::TopicConfig;
use crate::shard::event::{FatalReason, ShardEffect};
use crate::shard::mail::{Ask, Mail, Published, RequestId};
use crate::shard::workshop;
use millstream_net::wire::Response;
use millstream_storage::disk::{DiskDone, OpId};
use millstream_storage::ids::{
    BrokerEpoch, LogNumber, MetadataIndex, NodeId, Now, PartitionIndex, ShardIndex, Tick, TopicId,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A source of random bits, for ids.
pub type RandomBits = Box<dyn FnMut() -> u128 + Send>;

/// What shard 0 begins with beside its own log.
pub struct ControlSeed {
    /// The metadata log as recovery found it.
    pub quorum: Box<dyn Quorum + Send>,
    /// What the controller is told of the configuration.
    pub controller: ControllerConfig,
    /// This start of this node.
    pub registration: Registration,
    /// The id of the cluster, should it have none yet.
    pub cluster_id: String,
    /// Where recovery found which replica.
    pub found: Vec<(TopicId, PartitionIndex, Route)>,
    /// Above every log number this node ever gave.
    pub first_log: LogNumber,
    /// For ids.
    pub random: RandomBits,
}

/// Who asked the controller.
enum Asker {
    /// A request of a shard, and what its answer is made with.
    Request(ShardIndex, RequestId, Form),
    /// A shard wants producer ids.
    ProducerIds(ShardIndex),
}

/// What an answer is made with beside the controller's word.
enum Form {
    Create,
    /// What the controller was not asked.
    Delete(DeleteAnswer),
    Grow,
    /// What the controller was not asked.
    Alter(AlterAnswer),
}

/// An answer that waits until every shard acts by its image.
struct Waiting {
    index: MetadataIndex,
    shard: ShardIndex,
    request: RequestId,
    response: Response,
}

/// Shard 0's part.
pub(super) struct Control {
    quorum: Box<dyn Quorum + Send>,
    image: Image,
    /// What changed since the last publication.
    delta: Delta,
    published: MetadataIndex,
    controller: Controller,
    effects: Vec<Effect>,
    placer: Placer,
    node: NodeId,
    /// The broker epoch of the former life, if there was one.
    former: Option<BrokerEpoch>,
    /// What was not decided yet, and whether there is anything new about it.
    wishes: VecDeque<Wish>,
    wished: bool,
    gatherings: Gatherings,
    /// `num.partitions`.
    partitions: i32,
    /// `offsets.topic.num.partitions`.
    offsets_partitions: i32,
    asks: BTreeMap<controller::Ask, Asker>,
    next_ask: u64,
    waiting: VecDeque<Waiting>,
    /// The image each shard acts by.
    applied: Vec<MetadataIndex>,
    random: RandomBits,
}

impl Control {
    pub(super) fn new(seed: ControlSeed, settings: &Settings, shard_count: u16) -> Control {
        let image = seed.quorum.image().clone();
        let term = seed.quorum.term();
        let node = seed.registration.node;
        let partitions = seed.controller.partitions;
        let offsets_partitions = seed.controller.offsets_partitions;
        let former = image.broker(node).map(|broker| broker.epoch);
        let mut control = Control {
            quorum: seed.quorum,
            delta: Delta::default(),
            published: MetadataIndex(0),
            controller: Controller::new(seed.controller, term, image.clone()),
            effects: Vec::new(),
            placer: Placer::new(shard_count, seed.first_log, seed.found),
            node,
            former,
            wishes: VecDeque::new(),
            wished: false,
            gatherings: Gatherings::default(),
            partitions,
            offsets_partitions,
            asks: BTreeMap::new(),
            next_ask: 0,
            waiting: VecDeque::new(),
            applied: vec![MetadataIndex(0); usize::from(shard_count)],
            random: seed.random,
            image,
        };
        control.placer.forget_absent(&control.image);
        for topic in control.image.topics().cloned().collect::<Vec<_>>() {
            control.place(settings, &topic);
        }
        let mut records = Vec::new();
        if control.image.cluster_id().is_none() {
            let id = seed.cluster_id;
            records.push(Record::Cluster { id });
        }
        records.push(Record::Registration(seed.registration));
        control.controller.propose(records, &mut control.effects);
        control
    }

    /// Whether an operation on the disk is the quorum's.
    pub(super) fn owns(op: OpId) -> bool {
        op.0 & QUORUM_OPS != 0
    }

    /// When it next wants a turn.
    pub(super) fn deadline(&self) -> Option<Tick> {
        match self.effects.is_empty() && !self.wished {
            true => self.quorum.deadline(),
            false => Some(Tick(0)),
        }
    }

    /// Whether nothing is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.quorum.is_idle() && self.effects.is_empty() && self.wishes.is_empty()
    }

    fn wish(&mut self, wish: Wish) {
        self.wished = true;
        match wish {
            Wish::Topics(from, id, Ask::Create(request)) => {
                let pieces = api::create_topics::pieces(request, self.partitions);
                self.gatherings.begin(from, id, pieces.len());
                let pieces = pieces.into_iter();
                let wishes = pieces.map(|piece| Wish::Topics(from, id, Ask::Create(piece)));
                self.wishes.extend(wishes);
            }
            Wish::Topics(from, id, Ask::Delete { version, request }) => {
                let pieces = api::delete_topics::pieces(request);
                self.gatherings.begin(from, id, pieces.len());
                let ask = |request| Ask::Delete { version, request };
                let wishes = pieces.into_iter().map(ask);
                self.wishes
                    .extend(wishes.map(|ask| Wish::Topics(from, id, ask)));
            }
            wish => self.wishes.push_back(wish),
        }
    }

    /// Decides what the disk has room for, in order; what it has none for is refused, except what frees space.
    fn decide(&mut self, settings: &Settings, letters: &mut Vec<(ShardIndex, Mail)>) {
        self.wished = false;
        let mut granted = 0;
        while let Some(wish) = self.wishes.pop_front() {
            if wish.is_piece() && !self.gatherings.is_free() {
                self.wishes.push_front(wish);
                return;
            }
            let bytes = wish.record_bytes(self.partitions, self.offsets_partitions);
            match bytes.map_or(Room::Ready, |bytes| self.quorum.admit(granted + bytes)) {
                Room::Ready => {
                    granted += bytes.unwrap_or(0);
                    self.grant(settings, wish);
                }
                Room::Full => letters.extend(wish.refused(&mut self.gatherings)),
                Room::Coming => {
                    self.wishes.push_front(wish);
                    return;
                }
            }
        }
    }

    fn grant(&mut self, settings: &Settings, wish: Wish) {
        let mut effects = std::mem::take(&mut self.effects);
        let random = &mut self.random;
        match wish {
            Wish::Topics(from, id, Ask::Create(request)) => {
                let plan = api::create_topics::plan(&request);
                let mut random = || random();
                let asker = Asker::Request(from, id, Form::Create);
                self.gatherings.occupy();
                let ask = name(&mut self.next_ask, &mut self.asks, asker);
                self.controller
                    .create_topics(ask, &plan, &mut random, &mut effects);
            }
            Wish::Topics(_, _, Ask::AutoCreate(names)) => {
                for name in names {
                    let mut random = || random();
                    // Who asked was told about its name already; what is on its way is no error.
                    let _ = self
                        .controller
                        .auto_create(&name, &mut random, &mut effects);
                }
            }
            Wish::Topics(from, id, Ask::Delete { version, request }) => {
                let (topics, answer) = api::delete_topics::plan(version, &request);
                let asker = Asker::Request(from, id, Form::Delete(answer));
                self.gatherings.occupy();
                let ask = name(&mut self.next_ask, &mut self.asks, asker);
                self.controller.delete_topics(ask, &topics, &mut effects);
            }
            Wish::Topics(from, id, Ask::Grow(request)) => {
                let plan = api::create_partitions::plan(&request);
                let asker = Asker::Request(from, id, Form::Grow);
                let ask = name(&mut self.next_ask, &mut self.asks, asker);
                self.controller.add_partitions(ask, &plan, &mut effects);
            }
            Wish::Topics(from, id, Ask::Alter(request)) => {
                let image = &self.image;
                let plan = api::incremental_alter_configs::plan(&request, settings, image);
                let (alterations, answer) = plan;
                let intent = match request.validate_only {
                    true => Intent::Validate,
                    false => Intent::Execute,
                };
                let asker = Asker::Request(from, id, Form::Alter(answer));
                let ask = name(&mut self.next_ask, &mut self.asks, asker);
                self.controller
                    .alter_configs(ask, &alterations, intent, &mut effects);
            }
            Wish::ProducerIds(from) => {
                let asker = Asker::ProducerIds(from);
                let ask = name(&mut self.next_ask, &mut self.asks, asker);
                self.controller.producer_ids(ask, &mut effects);
            }
        }
        self.effects = effects;
    }

    /// Whether the image holds the registration of this process.
    fn is_registered(&self) -> bool {
        let epoch = self.image.broker(self.node).map(|broker| broker.epoch);
        epoch.is_some() && epoch != self.former
    }

    fn place(&mut self, settings: &Settings, topic: &Topic) {
        let here = topic.partitions.iter().filter(|partition| {
            let mut replicas = partition.replicas.iter();
            replicas.any(|replica| replica.node == self.node)
        });
        self.placer
            .place(topic.id, here.map(|partition| partition.index));
        let brokers = settings.broker_values(&self.image);
        let config = TopicConfig::resolve(&topic.configs, brokers);
        self.placer.configure(topic.id, config);
    }

    /// An entry is committed.
    fn apply(&mut self, settings: &Settings, entry: &Entry) -> Result<(), String> {
        let delta = self.image.apply(entry).map_err(|error| error.to_string())?;
        for topic in &delta.removed {
            self.placer.forget(*topic);
        }
        let changed: Vec<Arc<Topic>> = match delta.broker_configs {
            true => self.image.topics().cloned().collect(),
            false => {
                let topics = delta.topics.iter();
                topics
                    .filter_map(|topic| self.image.topic(*topic).cloned())
                    .collect()
            }
        };
        for topic in changed {
            self.place(settings, &topic);
            self.delta.topics.insert(topic.id);
        }
        for topic in &delta.removed {
            self.delta.topics.remove(topic);
        }
        self.delta.removed.extend(delta.removed);
        self.delta.brokers |= delta.brokers;
        self.delta.broker_configs |= delta.broker_configs;
        self.controller.applied(&self.image, &mut self.effects);
        Ok(())
    }

    /// The newest image, if the shards have not got it yet.
    fn publication(&mut self) -> Option<Published> {
        if self.image.index() == self.published || !self.is_registered() {
            return None;
        }
        self.published = self.image.index();
        Some(Published {
            image: Arc::new(self.image.clone()),
            routes: Arc::new(self.placer.routes().clone()),
            delta: Arc::new(std::mem::take(&mut self.delta)),
        })
    }

    /// An answer leaves when every shard acts by the present image.
    fn wait_everywhere(&mut self, shard: ShardIndex, request: RequestId, response: Response) {
        self.waiting.push_back(Waiting {
            index: self.image.index(),
            shard,
            request,
            response,
        });
    }

    /// The next answer that every shard acts by.
    fn next_answer(&mut self) -> Option<Waiting> {
        let everywhere = self.applied.iter().min().copied().unwrap_or_default();
        self.waiting
            .pop_front_if(|waiting| waiting.index <= everywhere)
    }
}

/// The name of a question to the controller.
fn name(
    next: &mut u64,
    asks: &mut BTreeMap<controller::Ask, Asker>,
    asker: Asker,
) -> controller::Ask {
    *next += 1;
    let ask = controller::Ask(*next);
    asks.insert(ask, asker);
    ask
}

/// Operations of the quorum carry this bit; those of the store never do.
const QUORUM_OPS: u64 = 1 << 63;

impl Core {
    /// The controller's share of a turn.
    pub(super) fn turn_control(&mut self, now: Now) {
        let Some(mut control) = self.control.take() else {
            return;
        };
        let mut letters = Vec::new();
        self.settle_control(now, &mut control, &mut letters);
        self.control = Some(control);
        for (shard, mail) in letters {
            self.send(now, shard, mail);
        }
        self.answer_control(now);
    }

    /// An operation of the quorum ended.
    pub(super) fn control_disk(&mut self, now: Now, done: DiskDone) {
        if let Some(control) = &mut self.control {
            let op = OpId(done.op.0 & !QUORUM_OPS);
            control.quorum.done(now, DiskDone { op, ..done });
        }
    }

    /// The workshop has encoded a snapshot.
    pub(super) fn take_snapshot(&mut self, snapshot: EncodedSnapshot) {
        if let Some(control) = &mut self.control {
            control.quorum.snapshot(snapshot);
        }
    }

    /// A shard asks what only the controller decides.
    pub(super) fn asked(&mut self, from: ShardIndex, request: RequestId, ask: Ask) {
        let Some(control) = &mut self.control else {
            panic!("the controller lives on shard 0");
        };
        control.wish(Wish::Topics(from, request, ask));
    }

    /// A shard wants producer ids.
    pub(super) fn want_producer_ids(&mut self, from: ShardIndex) {
        let Some(control) = &mut self.control else {
            panic!("the controller lives on shard 0");
        };
        control.wish(Wish::ProducerIds(from));
    }

    /// A shard acts by an image.
    pub(super) fn applied(&mut self, from: ShardIndex, index: MetadataIndex) {
        if let Some(control) = &mut self.control {
            control.applied[usize::from(from.0)] = index;
        }
    }

    /// Carries out what the controller and the quorum effected, until they effect nothing more.
    fn settle_control(
        &mut self,
        now: Now,
        control: &mut Control,
        letters: &mut Vec<(ShardIndex, Mail)>,
    ) {
        let mut quorum = Vec::new();
        loop {
            control.decide(&self.settings, letters);
            for effect in std::mem::take(&mut control.effects) {
                match effect {
                    Effect::Propose { index, records } => control.quorum.propose(index, records),
                    Effect::Capped { wanted, replicas } => self.out.push(ShardEffect::Note(format!(
                        "default.replication.factor={wanted} cannot be reached: topics that come into being in passing get \
                         {replicas} replicas while there are no more brokers"
                    ))),
                    Effect::Answer { ask, answer } => {
                        letters.extend(self.controller_says(control, ask, answer))
                    }
                }
            }
            // ORDER: behind the proposals, so that those of one turn leave together and in it.
            control.quorum.turn(now);
            control.quorum.drain(&mut quorum);
            if quorum.is_empty() && control.effects.is_empty() {
                break;
            }
            for effect in quorum.drain(..) {
                match effect {
                    QuorumEffect::Op(op, disk) => {
                        let op = OpId(op.0 | QUORUM_OPS);
                        self.out.push(ShardEffect::Disk { op, disk });
                    }
                    QuorumEffect::Applied(entry) => {
                        if let Err(reason) = control.apply(&self.settings, &entry) {
                            self.fatal(FatalReason::Quorum(reason));
                        }
                    }
                    QuorumEffect::SnapshotDue => {
                        let workshop = workshop::address(self.shard_count);
                        let image = Box::new(control.image.clone());
                        letters.push((workshop, Mail::Snapshot(image)));
                    }
                    QuorumEffect::Lost => panic!("a quorum of one is not lost"),
                    QuorumEffect::Fatal { reason } => self.fatal(FatalReason::Quorum(reason)),
                }
            }
        }
        if let Some(published) = control.publication() {
            for shard in (0..self.shard_count).map(ShardIndex) {
                letters.push((shard, Mail::Published(published.clone())));
            }
        }
    }

    fn controller_says(
        &self,
        control: &mut Control,
        ask: controller::Ask,
        answer: controller::Answer,
    ) -> Option<(ShardIndex, Mail)> {
        let asker = control.asks.remove(&ask).expect("an ask is answered once");
        match (asker, answer) {
            (Asker::Request(shard, request, form), answer) => {
                let is_piece = matches!(form, Form::Create | Form::Delete(_));
                let mut response = self.response(&control.image, form, answer);
                if is_piece {
                    control.gatherings.release();
                    control.wished |= !control.wishes.is_empty();
                    response = control.gatherings.take(shard, request, response)?;
                }
                control.wait_everywhere(shard, request, response);
                None
            }
            (Asker::ProducerIds(shard), controller::Answer::ProducerIds { first, count }) => {
                Some((shard, Mail::ProducerIds(first..first + count)))
            }
            (Asker::ProducerIds(shard), _) => Some((shard, Mail::ProducerIds(0..0))),
        }
    }

    /// What goes to the client.
    fn response(&self, image: &Image, form: Form, answer: controller::Answer) -> Response {
        match (form, answer) {
            (Form::Create, controller::Answer::Created(topics)) => {
                api::create_topics::answer(&self.settings, image, topics).into()
            }
            (Form::Delete(rest), controller::Answer::Deleted(topics)) => {
                api::delete_topics::answer(rest, topics).into()
            }
            (Form::Grow, controller::Answer::Grown(topics)) => {
                api::create_partitions::answer(topics).into()
            }
            (Form::Alter(rest), controller::Answer::Configured(results)) => {
                api::incremental_alter_configs::answer(rest, results).into()
            }
            _ => panic!("an answer about topics belongs to a request about topics"),
        }
    }

    /// Answers what every shard acts by.
    fn answer_control(&mut self, now: Now) {
        while let Some(waiting) = self.control.as_mut().and_then(|one| one.next_answer()) {
            let answered = Mail::Answered {
                request: waiting.request,
                response: Box::new(waiting.response),
            };
            self.send(now, waiting.shard, answered);
        }
    }
}
