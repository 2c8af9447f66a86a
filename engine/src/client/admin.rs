//! Topics: create, list, delete; and how anything is asked of the broker that can answer it (`operate` asks more).
//!
//! Always: a request that may have been carried out before its connection broke is repeated only if repeating it does no harm,
//! and then "it exists already" counts as its success.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream_net::wire::api::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, DeleteTopicState,
    DeleteTopicsRequest,
};
use millstream_net::wire::{Call, ErrorCode, Request, Response, Str};
use millstream_storage::ids::{Now, Tick};

use super::address::Address;
use super::cluster::{Cluster, Topic};
use super::driver::{Core, Driver};
use super::error::ClientError;
use super::links::{CallId, LinkEffect, LinkEvent, Loss, Outcome};
use super::wiring::{MissingTopic, Wiring};

/// How long the broker may take to have all brokers know of a change.
pub(super) const CHANGE_TIMEOUT_MS: i32 = 15_000;
const CALL_TIMEOUT_MS: u64 = 20_000;
const RETRY_MS: u64 = 100;

/// A topic to create.
#[derive(Debug, Clone, Default)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; none for the broker's default.
    pub partitions: Option<i32>,
    /// How many replicas of each; none for the broker's default.
    pub replicas: Option<i16>,
    /// Its own settings.
    pub configs: Vec<(String, String)>,
}

/// Which broker a request goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum To {
    /// The one that changes metadata, or any while that one is not known.
    Controller,
    /// The leader of a partition.
    Leader(String, i32),
    /// This one.
    Broker(Address),
}

/// The call that an `Admin` makes.
struct Task {
    request: Request,
    to: To,
    state: TaskState,
    attempts: u32,
}

enum TaskState {
    Due(Tick),
    Called(CallId, Address),
    Done(Result<Response, ClientError>),
}

/// The pure part: one call at a time, repeated until it is answered.
struct AdminCore {
    wiring: Wiring,
    task: Option<Task>,
    because: Option<String>,
}

impl AdminCore {
    fn begin(&mut self, now: Now, request: Request, to: To) {
        self.task = Some(Task {
            request,
            to,
            state: TaskState::Due(now.tick),
            attempts: 0,
        });
    }

    /// Calls again after a moment.
    fn again(&mut self, now: Now, because: String) {
        self.because = Some(because);
        self.wiring.refresh(now);
        if let Some(task) = &mut self.task {
            task.state = TaskState::Due(now.tick.after_ms(RETRY_MS));
        }
    }

    fn outcome(&mut self, now: Now, call: CallId, outcome: Outcome) {
        let Some(task) = &mut self.task else { return };
        let TaskState::Called(called, address) = &task.state else {
            return;
        };
        if *called != call {
            return;
        }
        match outcome {
            Outcome::Answered(response) => task.state = TaskState::Done(Ok(response)),
            Outcome::Lost(Loss::Unsupported(key)) => {
                let (address, api) = (address.clone(), key.api().name);
                task.state = TaskState::Done(Err(ClientError::Unsupported { address, api }));
            }
            Outcome::Lost(Loss::Broken(reason)) => {
                let because = format!("{address}: {reason}");
                self.again(now, because);
            }
            Outcome::Unanswered => unreachable!("every request for topics is answered"),
        }
    }
}

impl Core for AdminCore {
    fn step(&mut self, now: Now, event: LinkEvent) {
        self.wiring.step(now, event);
    }

    fn turn(&mut self, now: Now) {
        self.wiring.turn(now);
        for (call, outcome) in self.wiring.take_outcomes(now) {
            self.outcome(now, call, outcome);
        }
        let Some(task) = &mut self.task else { return };
        match task.state {
            TaskState::Due(at) if at <= now.tick && self.wiring.refresh_count() > 0 => {
                let cluster = &self.wiring.cluster;
                let address = match &task.to {
                    To::Controller => {
                        let controller = cluster.controller();
                        Some(
                            controller
                                .unwrap_or_else(|| self.wiring.any_broker())
                                .clone(),
                        )
                    }
                    To::Leader(topic, partition) => {
                        let leader = cluster.leader(topic, *partition);
                        leader.map(|(address, _)| address.clone())
                    }
                    To::Broker(address) => Some(address.clone()),
                };
                let Some(address) = address else {
                    return self.again(now, "a partition has no leader".into());
                };
                let call = self
                    .wiring
                    .call(now, &address, task.request.clone(), CALL_TIMEOUT_MS);
                task.attempts += 1;
                task.state = TaskState::Called(call, address);
            }
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Tick> {
        let due = match self.task.as_ref().map(|task| &task.state) {
            Some(TaskState::Due(at)) if self.wiring.refresh_count() > 0 => Some(*at),
            _ => None,
        };
        due.into_iter().chain(self.wiring.deadline()).min()
    }

    fn take_effects(&mut self) -> Vec<LinkEffect> {
        self.wiring.take_effects()
    }
}

/// Whether an answer is a success; else the broker's reason.
pub(super) type Judged = Result<(), (ErrorCode, Option<String>)>;

/// Judges one entry of an answer; one that is missing is a bug of the broker.
pub(super) fn judged(entry: Option<(ErrorCode, Option<&Str>)>) -> Judged {
    match entry {
        Some((ErrorCode::None, _)) => Ok(()),
        Some((code, message)) => {
            let message = message.map(|message| message.as_str().to_owned());
            Err((code, message.filter(|message| !message.is_empty())))
        }
        None => Err((ErrorCode::UnknownServerError, None)),
    }
}

/// A client for topics. Blocks the calling thread.
pub struct Admin {
    driver: Driver<AdminCore>,
    timeout: Duration,
}

impl Admin {
    /// Connects to a cluster by some of its brokers. Every operation may then take `timeout`.
    pub fn connect(bootstrap: &[Address], timeout: Duration) -> Result<Self, ClientError> {
        let wiring = Wiring::new(
            "millstream-admin",
            bootstrap.to_vec(),
            MissingTopic::IsNotCreated,
        );
        let core = AdminCore {
            wiring,
            task: None,
            because: None,
        };
        let mut admin = Self {
            driver: Driver::new(core),
            timeout,
        };
        admin.refreshed("reaching the cluster")?;
        Ok(admin)
    }

    /// What is known of the cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.driver.core.wiring.cluster
    }

    /// All topics by name, those of the cluster itself included.
    pub fn list_topics(&mut self) -> Result<&BTreeMap<String, Topic>, ClientError> {
        let now = self.driver.now();
        self.driver.core.wiring.want_all(now);
        self.refreshed("listing topics")?;
        Ok(self.cluster().topics())
    }

    /// Creates a topic and returns once all its partitions have leaders.
    pub fn create_topic(&mut self, topic: &NewTopic) -> Result<Topic, ClientError> {
        let doing = format!("creating topic `{}`", topic.name);
        let configs = topic
            .configs
            .iter()
            .map(|(name, value)| CreatableTopicConfig {
                name: Str::from(name.as_str()),
                value: Some(Str::from(value.as_str())),
            });
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: Str::from(topic.name.as_str()),
                num_partitions: topic.partitions.unwrap_or(-1),
                replication_factor: topic.replicas.unwrap_or(-1),
                configs: configs.collect(),
                ..Default::default()
            }],
            timeout_ms: CHANGE_TIMEOUT_MS,
            ..Default::default()
        };
        let done_before = Some(ErrorCode::TopicAlreadyExists);
        self.ask(&doing, request, To::Controller, done_before, |response| {
            let result = response.topics.first();
            judged(result.map(|one| (one.error_code, one.error_message.as_ref())))
        })?;
        self.led(&topic.name, &doing, 1)
    }

    /// Deletes a topic.
    pub fn delete_topic(&mut self, name: &str) -> Result<(), ClientError> {
        let request = DeleteTopicsRequest {
            topics: vec![DeleteTopicState {
                name: Some(Str::from(name)),
                ..Default::default()
            }],
            topic_names: vec![Str::from(name)],
            timeout_ms: CHANGE_TIMEOUT_MS,
        };
        let doing = format!("deleting topic `{name}`");
        let done_before = Some(ErrorCode::UnknownTopicOrPartition);
        self.ask(&doing, request, To::Controller, done_before, |response| {
            let result = response.responses.first();
            judged(result.map(|one| (one.error_code, one.error_message.as_ref())))
        })
        .map(drop)
    }

    /// Asks again and again until it is answered. Once a request was lost, `done_before` is the answer to one that had been
    /// carried out.
    pub(super) fn ask<C: Call + Clone>(
        &mut self,
        doing: &str,
        request: C,
        to: To,
        done_before: Option<ErrorCode>,
        judge: impl Fn(&C::Response) -> Judged,
    ) -> Result<C::Response, ClientError> {
        let now = self.driver.now();
        let deadline = self.deadline(now);
        self.driver.core.begin(now, request.into(), to);
        loop {
            let response = self.answer(doing, deadline)?;
            let response = C::response(response).expect("an answer is of its request's API");
            let Err((code, message)) = judge(&response) else {
                return Ok(response);
            };
            let task = self.driver.core.task.as_ref();
            let repeated = task.is_some_and(|task| task.attempts > 1);
            // Retriable elsewhere, but here it is the answer.
            let unknown = code == ErrorCode::UnknownTopicOrPartition;
            if repeated && Some(code) == done_before {
                return Ok(response);
            }
            if !code.is_retriable() || unknown {
                return Err(ClientError::Refused {
                    doing: doing.to_owned(),
                    code,
                    message,
                });
            }
            let now = self.driver.now();
            self.driver.core.again(now, code.to_string());
        }
    }

    /// Some broker.
    pub(super) fn any_broker(&self) -> Address {
        self.driver.core.wiring.any_broker().clone()
    }

    /// What is known of a topic now, with or without leaders.
    pub(super) fn look_up(&mut self, name: &str, doing: &str) -> Result<Topic, ClientError> {
        let now = self.driver.now();
        let wiring = &mut self.driver.core.wiring;
        wiring.want_topic(now, name);
        wiring.refresh(now);
        self.refreshed(doing)?;
        let found = self.cluster().topic(name).cloned().unwrap_or_default();
        match found.error {
            ErrorCode::None | ErrorCode::LeaderNotAvailable => Ok(found),
            code => Err(ClientError::Refused {
                doing: doing.to_owned(),
                code,
                message: None,
            }),
        }
    }

    /// Runs until the task has its answer.
    fn answer(&mut self, doing: &str, deadline: Tick) -> Result<Response, ClientError> {
        loop {
            let core = &mut self.driver.core;
            if let Some(task) = &mut core.task
                && let TaskState::Done(_) = task.state
            {
                let idle = TaskState::Due(Tick(u64::MAX));
                let TaskState::Done(result) = std::mem::replace(&mut task.state, idle) else {
                    unreachable!("just seen to be done")
                };
                return result;
            }
            self.wait(doing, deadline)?;
        }
    }

    /// Runs until metadata is newer than now.
    fn refreshed(&mut self, doing: &str) -> Result<(), ClientError> {
        let now = self.driver.now();
        let before = self.driver.core.wiring.refresh_count();
        while self.driver.core.wiring.refresh_count() == before {
            self.wait(doing, self.deadline(now))?;
        }
        Ok(())
    }

    /// Runs until a topic has so many partitions at least, and every one has a leader.
    pub(super) fn led(
        &mut self,
        name: &str,
        doing: &str,
        partitions: usize,
    ) -> Result<Topic, ClientError> {
        let now = self.driver.now();
        self.driver.core.wiring.want_topic(now, name);
        loop {
            if let Some(topic) = self.cluster().topic(name)
                && topic.error == ErrorCode::None
                && topic.partitions.len() >= partitions
                && topic
                    .partitions
                    .values()
                    .all(|partition| partition.leader.is_some())
            {
                return Ok(topic.clone());
            }
            let now_later = self.driver.now();
            self.driver.core.wiring.refresh(now_later);
            self.wait(doing, self.deadline(now))?;
        }
    }

    fn deadline(&self, start: Now) -> Tick {
        start.tick.after_ms(self.timeout.as_millis() as u64)
    }

    fn wait(&mut self, doing: &str, deadline: Tick) -> Result<(), ClientError> {
        self.driver.round(deadline);
        if let Some(error) = self.driver.core.wiring.unreachable() {
            return Err(error);
        }
        if self.driver.now().tick >= deadline {
            let core = &self.driver.core;
            return Err(ClientError::TimedOut {
                doing: doing.to_owned(),
                waited_ms: self.timeout.as_millis() as u64,
                because: core.because.clone().or_else(|| core.wiring.trouble()),
            });
        }
        Ok(())
    }
}
