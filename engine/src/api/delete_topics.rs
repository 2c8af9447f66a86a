//! DeleteTopics (rule M10).

use super::errors;
use crate::machine::controller::{Deleted, PerTopic, TopicName};
use millstream_net::wire::api::{DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse};
use millstream_net::wire::{ErrorCode, Str};

/// The answer where every topic has the same error.
pub fn refuse_all(request: &DeleteTopicsRequest, code: ErrorCode) -> DeleteTopicsResponse {
    let results = request.topic_names.iter().map(|name| DeletableTopicResult {
        name: Some(name.clone()),
        error_code: code,
        ..DeletableTopicResult::default()
    });
    DeleteTopicsResponse {
        responses: results.collect(),
        ..DeleteTopicsResponse::default()
    }
}

/// What the controller is asked.
pub fn plan(request: &DeleteTopicsRequest) -> Vec<TopicName> {
    let names = request.topic_names.iter();
    names
        .map(|name| TopicName::Name(name.to_string()))
        .collect()
}

/// The answer to what the controller says.
pub fn answer(version: i16, topics: PerTopic<TopicName, Deleted>) -> DeleteTopicsResponse {
    let results = topics.into_iter().map(|(asked, result)| {
        let name = match asked {
            TopicName::Name(name) => Some(Str::from(name)),
            TopicName::Id(_) => None,
        };
        match result {
            Ok(_) => DeletableTopicResult {
                name,
                ..DeletableTopicResult::default()
            },
            Err(refused) => DeletableTopicResult {
                name,
                error_code: code_of(version, errors::of_topic_refusal(refused.kind)),
                error_message: Some(refused.message.into()),
                ..DeletableTopicResult::default()
            },
        }
    });
    DeleteTopicsResponse {
        responses: results.collect(),
        ..DeleteTopicsResponse::default()
    }
}

/// Older clients do not know the newer code.
fn code_of(version: i16, code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::TopicDeletionDisabled if version < 3 => ErrorCode::InvalidRequest,
        code => code,
    }
}
