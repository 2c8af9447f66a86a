//! FindCoordinator (rule G1).

use super::groups::{offsets_topic, partition_of};
use super::settings::Settings;
use crate::machine::image::{Broker, Image};
use millstream_net::conn::ListenerIndex;
use millstream_net::wire::api::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};
use millstream_net::wire::{ErrorCode, Str};

/// Key type of groups.
const GROUP: i8 = 0;

/// What the request is answered, and whether the topic that coordinators live on must be made.
pub struct Answered {
    /// The answer.
    pub response: FindCoordinatorResponse,
    /// Whether the offsets topic is missing.
    pub wants_topic: bool,
}

/// Answers from the image.
pub fn answer(
    version: i16,
    request: &FindCoordinatorRequest,
    image: &Image,
    settings: &Settings,
    listener: Option<ListenerIndex>,
) -> Answered {
    let is_of_groups = request.key_type == GROUP;
    let wants_topic = is_of_groups && offsets_topic(image).is_none();
    let one = |key: &Str| match is_of_groups {
        true => find(key, image, settings, listener),
        false => Err((
            ErrorCode::InvalidRequest,
            "This version coordinates groups only: no transactions, no share groups.",
        )),
    };
    let response = match version {
        4.. => FindCoordinatorResponse {
            coordinators: request
                .coordinator_keys
                .iter()
                .map(|key| entry(key, one(key)))
                .collect(),
            ..FindCoordinatorResponse::default()
        },
        ..4 => {
            let found = entry(&request.key, one(&request.key));
            FindCoordinatorResponse {
                error_code: found.error_code,
                error_message: found.error_message,
                node_id: found.node_id,
                host: found.host,
                port: found.port,
                ..FindCoordinatorResponse::default()
            }
        }
    };
    Answered {
        response,
        wants_topic,
    }
}

type Refused = (ErrorCode, &'static str);

fn find<'a>(
    key: &Str,
    image: &'a Image,
    settings: &Settings,
    listener: Option<ListenerIndex>,
) -> Result<(&'a Broker, &'a str, u16), Refused> {
    let not_yet = |message| (ErrorCode::CoordinatorNotAvailable, message);
    let topic = offsets_topic(image).ok_or(not_yet("The coordinator is not available yet."))?;
    let partition = partition_of(key, topic.partitions.len());
    let record = image.partition(topic.id, partition);
    let leader = record.and_then(|record| record.leader);
    let broker = leader.and_then(|leader| image.broker(leader));
    let broker = broker.filter(|broker| !broker.fenced);
    let broker = broker.ok_or(not_yet("The coordinator has no leader."))?;
    let name = listener.and_then(|index| settings.listeners.get(usize::from(index.0)));
    let endpoint = name.and_then(|name| {
        let mut endpoints = broker.endpoints.iter();
        endpoints.find(|one| one.listener == *name)
    });
    let endpoint = endpoint.ok_or(not_yet(
        "The coordinator cannot be reached by this listener.",
    ))?;
    Ok((broker, &endpoint.host, endpoint.port))
}

fn entry(key: &Str, found: Result<(&Broker, &str, u16), Refused>) -> Coordinator {
    match found {
        Ok((broker, host, port)) => Coordinator {
            key: key.clone(),
            node_id: broker.node.0,
            host: host.into(),
            port: i32::from(port),
            ..Coordinator::default()
        },
        Err((code, message)) => Coordinator {
            key: key.clone(),
            node_id: -1,
            port: -1,
            error_code: code,
            error_message: Some(Str::from_static(message)),
            ..Coordinator::default()
        },
    }
}
