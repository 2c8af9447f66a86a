//! DeleteTopics (rule M10).

use super::errors;
use super::topic_names::{topic_id, uuid};
use crate::machine::controller::{Deleted, PerTopic, TopicName};
use millstream_net::wire::api::{DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse};
use millstream_net::wire::{ErrorCode, Str, Uuid};
use std::collections::BTreeMap;

/// The answer where every topic has the same error.
pub fn refuse_all(request: &DeleteTopicsRequest, code: ErrorCode) -> DeleteTopicsResponse {
    let refused = |name: Option<Str>, topic_id| DeletableTopicResult {
        name,
        topic_id,
        error_code: code,
        ..DeletableTopicResult::default()
    };
    let by_name = request.topic_names.iter();
    let by_name = by_name.map(|name| refused(Some(name.clone()), Uuid::default()));
    let by_state = request.topics.iter();
    let by_state = by_state.map(|topic| refused(topic.name.clone(), topic.topic_id));
    DeleteTopicsResponse {
        responses: by_name.chain(by_state).collect(),
        ..DeleteTopicsResponse::default()
    }
}

/// The answer as far as the controller is not needed for it.
#[derive(Debug)]
pub struct DeleteAnswer {
    version: i16,
    response: DeleteTopicsResponse,
    /// The places of the topics that the controller is asked about, in its order.
    asked: Vec<usize>,
}

/// What the controller is asked, and the answer to the rest. A topic that is named twice is answered once.
pub fn plan(version: i16, request: &DeleteTopicsRequest) -> (Vec<TopicName>, DeleteAnswer) {
    let by_name = request.topic_names.iter();
    let by_name = by_name.map(|name| (Some(name.clone()), Uuid::default()));
    let by_state = request.topics.iter();
    let by_state = by_state.map(|topic| (topic.name.clone(), topic.topic_id));
    let mut counts: BTreeMap<(Option<Str>, [u8; 16]), usize> = BTreeMap::new();
    let mut distinct = Vec::new();
    for (name, id) in by_name.chain(by_state) {
        let count = counts.entry((name.clone(), id.0)).or_default();
        *count += 1;
        if *count == 1 {
            distinct.push((name, id));
        }
    }
    let mut response = DeleteTopicsResponse::default();
    let (mut topics, mut asked) = (Vec::new(), Vec::new());
    for (at, (name, topic_id)) in distinct.into_iter().enumerate() {
        let twice = counts[&(name.clone(), topic_id.0)] > 1;
        let mut result = DeletableTopicResult {
            name: name.clone(),
            topic_id,
            ..DeletableTopicResult::default()
        };
        match named(name, topic_id, twice) {
            Ok(topic) => {
                topics.push(topic);
                asked.push(at);
            }
            Err(message) => {
                result.error_code = ErrorCode::InvalidRequest;
                result.error_message = Some(Str::from_static(message));
            }
        }
        response.responses.push(result);
    }
    let answer = DeleteAnswer {
        version,
        response,
        asked,
    };
    (topics, answer)
}

fn named(name: Option<Str>, id: Uuid, twice: bool) -> Result<TopicName, &'static str> {
    match (name, id) {
        _ if twice => Err("The topic is named more than once."),
        (Some(name), id) if id == Uuid::ZERO => Ok(TopicName::Name(name.to_string())),
        (None, id) if id != Uuid::ZERO => Ok(TopicName::Id(topic_id(id))),
        (Some(_), _) => Err("A topic is named by its name or by its id, not by both."),
        (None, _) => Err("The topic has neither name nor id."),
    }
}

/// The whole answer, with what the controller says.
pub fn answer(plan: DeleteAnswer, topics: PerTopic<TopicName, Deleted>) -> DeleteTopicsResponse {
    let mut response = plan.response;
    for (at, (_, result)) in plan.asked.into_iter().zip(topics) {
        let entry = &mut response.responses[at];
        match result {
            Ok(deleted) => {
                entry.name = Some(deleted.name.into());
                entry.topic_id = uuid(deleted.id);
            }
            Err(refused) => {
                entry.error_code = code_of(plan.version, errors::of_topic_refusal(refused.kind));
                entry.error_message = Some(refused.message.into());
            }
        }
    }
    response
}

/// Older clients do not know the newer code.
fn code_of(version: i16, code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::TopicDeletionDisabled if version < 3 => ErrorCode::InvalidRequest,
        code => code,
    }
}
