//! DeleteTopics (rule M10).

use super::errors;
use super::topic_names::{topic_id, uuid};
use crate::machine::controller::{Deleted, PerTopic, TopicName};
use millstream_net::wire::api::{DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse};
use millstream_net::wire::{ErrorCode, Str, Uuid};
use std::collections::{BTreeMap, BTreeSet};

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

/// BOUND: topics that are deleted in one turn; a request for more of them is carried out in pieces.
const PIECE_TOPICS: usize = 16;

/// The request in pieces, in its order, so that nobody waits long for it. Where topics may be named more than once, which is told of
/// all of them, it stays whole: the same name or id twice, or ids beside names.
pub fn pieces(request: DeleteTopicsRequest) -> Vec<DeleteTopicsRequest> {
    let count = request.topic_names.len() + request.topics.len();
    let has_ids = request.topics.iter().any(|one| one.topic_id != Uuid::ZERO);
    let has_names =
        !request.topic_names.is_empty() || request.topics.iter().any(|one| one.name.is_some());
    if count <= PIECE_TOPICS || (has_ids && has_names) || !are_distinct(&request) {
        return vec![request];
    }
    let timeout_ms = request.timeout_ms;
    let names = request.topic_names.chunks(PIECE_TOPICS);
    let names = names.map(|names| DeleteTopicsRequest {
        topic_names: names.to_vec(),
        timeout_ms,
        ..DeleteTopicsRequest::default()
    });
    let topics = request.topics.chunks(PIECE_TOPICS);
    let topics = topics.map(|topics| DeleteTopicsRequest {
        topics: topics.to_vec(),
        timeout_ms,
        ..DeleteTopicsRequest::default()
    });
    names.chain(topics).collect()
}

fn are_distinct(request: &DeleteTopicsRequest) -> bool {
    let by_name = request.topic_names.iter();
    let by_name = by_name.map(|name| (Some(name), [0; 16]));
    let by_state = request.topics.iter();
    let by_state = by_state.map(|topic| (topic.name.as_ref(), topic.topic_id.0));
    let mut seen = BTreeSet::new();
    by_name.chain(by_state).all(|one| seen.insert(one))
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

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_net::wire::api::DeleteTopicState;

    fn by_names(count: usize) -> DeleteTopicsRequest {
        let name = |number| Str::from(format!("t{number}"));
        DeleteTopicsRequest {
            topic_names: (0..count).map(name).collect(),
            timeout_ms: 7,
            ..DeleteTopicsRequest::default()
        }
    }

    #[test]
    fn a_request_for_many_topics_comes_apart_in_its_order() {
        let request = by_names(2 * PIECE_TOPICS + 1);
        let pieces = pieces(request.clone());
        let sizes: Vec<usize> = pieces.iter().map(|piece| piece.topic_names.len()).collect();
        assert_eq!(sizes, [PIECE_TOPICS, PIECE_TOPICS, 1]);
        assert!(pieces.iter().all(|piece| piece.timeout_ms == 7));
        let names = pieces.into_iter().flat_map(|piece| piece.topic_names);
        assert!(names.eq(request.topic_names));
    }

    #[test]
    fn what_may_be_named_twice_stays_together() {
        let mut twice = by_names(2 * PIECE_TOPICS);
        twice.topic_names[0] = twice.topic_names[PIECE_TOPICS].clone();
        assert_eq!(pieces(twice).len(), 1);
        let name = |number: usize| DeleteTopicState {
            name: Some(Str::from(format!("t{number}"))),
            ..DeleteTopicState::default()
        };
        let mut mixed = DeleteTopicsRequest {
            topics: (0..2 * PIECE_TOPICS).map(name).collect(),
            ..DeleteTopicsRequest::default()
        };
        assert_eq!(pieces(mixed.clone()).len(), 2);
        mixed.topics[3] = DeleteTopicState {
            topic_id: Uuid([1; 16]),
            ..DeleteTopicState::default()
        };
        assert_eq!(pieces(mixed).len(), 1);
    }
}
