//! What only shard 0 decides, seen from the shard of the connection: topics that come and go, and producer ids.
//!
//! Always: a request about topics is answered by the controller's word or, when that takes longer than the client waits, by
//! [7]; whichever comes second is dropped.

use super::Core;
use super::Due;
use super::requests::{Request, Work};
use super::timers::TimerId;
use crate::api;
use crate::shard::mail::{Ask, Mail, RequestId};
use millstream_net::conn::RequestSlot;
use millstream_net::wire::api::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    IncrementalAlterConfigsRequest, InitProducerIdRequest, InitProducerIdResponse,
};
use millstream_net::wire::{ErrorCode, RequestHeader, Response};
use millstream_storage::ids::{Now, ShardIndex};
use std::ops::Range;

/// The shard of the controller.
pub(super) const CONTROLLER: ShardIndex = ShardIndex(0);

/// How long a change of configuration may take; its request does not say.
const ALTER_TIMEOUT_MS: i32 = 30_000;

/// A request that waits for the controller.
pub(super) struct Topics {
    /// What it is answered when the time is up.
    late: Response,
    timer: Option<TimerId>,
}

impl Core {
    /// A CreateTopics request arrived.
    pub(super) fn create_topics(
        &mut self,
        now: Now,
        slot: RequestSlot,
        header: RequestHeader,
        request: CreateTopicsRequest,
    ) {
        let late = api::create_topics::refuse_all(&request, ErrorCode::RequestTimedOut, None);
        let timeout_ms = request.timeout_ms;
        let ask = Ask::Create(request);
        self.ask(now, slot, &header, timeout_ms, late.into(), ask);
    }

    /// A DeleteTopics request arrived.
    pub(super) fn delete_topics(
        &mut self,
        now: Now,
        slot: RequestSlot,
        header: RequestHeader,
        request: DeleteTopicsRequest,
    ) {
        let version = header.api_version;
        let late = api::delete_topics::refuse_all(&request, ErrorCode::RequestTimedOut);
        let timeout_ms = request.timeout_ms;
        let ask = Ask::Delete { version, request };
        self.ask(now, slot, &header, timeout_ms, late.into(), ask);
    }

    /// A CreatePartitions request arrived.
    pub(super) fn create_partitions(
        &mut self,
        now: Now,
        slot: RequestSlot,
        header: RequestHeader,
        request: CreatePartitionsRequest,
    ) {
        let late = api::create_partitions::refuse_all(&request, ErrorCode::RequestTimedOut, None);
        let timeout_ms = request.timeout_ms;
        let ask = Ask::Grow(request);
        self.ask(now, slot, &header, timeout_ms, late.into(), ask);
    }

    /// An IncrementalAlterConfigs request arrived.
    pub(super) fn alter_configs(
        &mut self,
        now: Now,
        slot: RequestSlot,
        header: RequestHeader,
        request: IncrementalAlterConfigsRequest,
    ) {
        let refuse =
            |code, message| api::incremental_alter_configs::refuse_all(&request, code, message);
        if request.resources.len() > api::incremental_alter_configs::RESOURCES_MAX {
            let refused = refuse(ErrorCode::PolicyViolation, Some("Too many resources."));
            return self.respond(slot, &header, refused);
        }
        let late = refuse(ErrorCode::RequestTimedOut, None);
        let ask = Ask::Alter(request);
        self.ask(now, slot, &header, ALTER_TIMEOUT_MS, late.into(), ask);
    }

    fn ask(
        &mut self,
        now: Now,
        slot: RequestSlot,
        header: &RequestHeader,
        timeout_ms: i32,
        late: Response,
        ask: Ask,
    ) {
        let id = self.requests.insert(Request {
            slot,
            version: header.api_version,
            correlation_id: header.correlation_id,
            work: Work::Topics(Topics { late, timer: None }),
        });
        let at = now.tick.after_ms(u64::try_from(timeout_ms).unwrap_or(0));
        let timer = self.timers.set(at, Due::Topics(id));
        if let Some(request) = self.requests.find_mut(id)
            && let Work::Topics(topics) = &mut request.work
        {
            topics.timer = Some(timer);
        }
        let ask = Box::new(ask);
        self.send(now, CONTROLLER, Mail::Ask { request: id, ask });
    }

    /// The controller's word came.
    pub(super) fn take_answered(&mut self, id: RequestId, response: Response) {
        let Some(request) = self.requests.remove(id) else {
            return;
        };
        let Work::Topics(topics) = request.work else {
            panic!("the controller answers requests about topics");
        };
        if let Some(timer) = topics.timer {
            self.timers.clear(timer);
        }
        self.answer(
            request.slot,
            request.version,
            request.correlation_id,
            response,
        );
    }

    /// The controller's word did not come in time.
    pub(super) fn topics_due(&mut self, id: RequestId) {
        let Some(request) = self.requests.remove(id) else {
            return;
        };
        if let Work::Topics(topics) = request.work {
            let (version, correlation_id) = (request.version, request.correlation_id);
            self.answer(request.slot, version, correlation_id, topics.late);
        }
    }

    /// An InitProducerId request arrived (rule P6).
    pub(super) fn init_producer_id(
        &mut self,
        now: Now,
        slot: RequestSlot,
        header: RequestHeader,
        request: InitProducerIdRequest,
    ) {
        let known = (request.producer_id == -1, request.producer_epoch == -1);
        let refused = match &request.transactional_id {
            Some(id) if id.as_str().is_empty() => Some(ErrorCode::InvalidRequest),
            _ if known.0 != known.1 => Some(ErrorCode::InvalidRequest),
            // There is no transaction coordinator.
            Some(_) => Some(ErrorCode::UnsupportedVersion),
            None => None,
        };
        if let Some(error_code) = refused {
            let response = InitProducerIdResponse {
                error_code,
                producer_epoch: -1,
                ..InitProducerIdResponse::default()
            };
            return self.respond(slot, &header, response);
        }
        let id = self.requests.insert(Request {
            slot,
            version: header.api_version,
            correlation_id: header.correlation_id,
            work: Work::ProducerId,
        });
        if let Some((id, producer_id)) = self.producer_ids.take(id) {
            self.answer_producer_id(id, Ok(producer_id));
        }
        self.want_block(now);
    }

    /// Ids for this shard came from the controller.
    pub(super) fn take_producer_ids(&mut self, now: Now, ids: Range<i64>) {
        if ids.is_empty() {
            let refused: Vec<_> = self.producer_ids.refused().collect();
            for id in refused {
                self.answer_producer_id(id, Err(ErrorCode::CoordinatorNotAvailable));
            }
            return;
        }
        let mut served = Vec::new();
        self.producer_ids
            .granted(ids.start, ids.end - ids.start, &mut served);
        for (id, producer_id) in served {
            self.answer_producer_id(id, Ok(producer_id));
        }
        self.want_block(now);
    }

    fn want_block(&mut self, now: Now) {
        if self.producer_ids.wants_block() {
            self.send(now, CONTROLLER, Mail::WantProducerIds);
        }
    }

    fn answer_producer_id(&mut self, id: RequestId, producer_id: Result<i64, ErrorCode>) {
        let Some(request) = self.requests.remove(id) else {
            return;
        };
        let response = InitProducerIdResponse {
            error_code: producer_id.err().unwrap_or_default(),
            producer_id: producer_id.unwrap_or(-1),
            producer_epoch: producer_id.map_or(-1, |_| 0),
            ..InitProducerIdResponse::default()
        };
        self.answer(
            request.slot,
            request.version,
            request.correlation_id,
            response,
        );
    }
}
