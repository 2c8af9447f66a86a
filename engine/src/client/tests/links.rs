//! Connections, call by call.

use bytes::Bytes;
use millstream_net::wire::api::{
    ApiVersionRange, ApiVersionsResponse, MetadataRequest, MetadataResponse,
};
use millstream_net::wire::{
    ApiKey, Request, Response, encode_response, encode_unsupported_api_versions,
};
use millstream_storage::ids::{Now, Tick};

use super::fake::address;
use crate::client::links::{CallId, Channel, LinkEffect, LinkEvent, LinkId, Links, Loss, Outcome};

fn at(ms: u64) -> Now {
    Now {
        tick: Tick(0).after_ms(ms),
        ..Now::default()
    }
}

fn frame(parts: Vec<Bytes>) -> Bytes {
    Bytes::from(parts.concat()).slice(4..)
}

fn versions(correlation_id: i32, version: i16, key: ApiKey, max: i16) -> Bytes {
    let range = ApiVersionRange {
        api_key: key.code(),
        min_version: 0,
        max_version: max,
    };
    let response = ApiVersionsResponse {
        api_keys: vec![range],
        ..Default::default()
    };
    frame(encode_response(version, correlation_id, &response.into()))
}

fn metadata_request() -> Request {
    MetadataRequest::default().into()
}

/// A request frame that was sent: key, version, correlation id.
fn sent(effects: &[LinkEffect]) -> Vec<(i16, i16, i32)> {
    let sends = effects.iter().filter_map(|effect| match effect {
        LinkEffect::Send(_, parts) => Some(frame(parts.clone())),
        _ => None,
    });
    sends
        .map(|frame| {
            let short = |at: usize| i16::from_be_bytes([frame[at], frame[at + 1]]);
            (
                short(0),
                short(2),
                i32::from_be_bytes(frame[4..8].try_into().unwrap()),
            )
        })
        .collect()
}

/// Links with one call to broker 1, opened and with its first ApiVersions request sent.
fn negotiating() -> (Links, CallId, LinkId) {
    let mut links = Links::new("test");
    let call = links.call(
        at(0),
        &address(1),
        Channel::Common,
        metadata_request(),
        1_000,
    );
    let effects = links.take_effects();
    let [LinkEffect::Open(link, opened)] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(*opened, address(1));
    links.step(at(1), LinkEvent::Opened(*link));
    assert_eq!(sent(&links.take_effects()), [(18, 4, 1)]);
    (links, call, *link)
}

#[test]
fn a_call_waits_for_the_versions_and_speaks_the_highest_common_one() {
    let (mut links, call, link) = negotiating();
    links.step(
        at(2),
        LinkEvent::Frame(link, versions(1, 4, ApiKey::Metadata, 5)),
    );
    assert_eq!(sent(&links.take_effects()), [(3, 5, 2)]);
    let answer = frame(encode_response(5, 2, &MetadataResponse::default().into()));
    links.step(at(3), LinkEvent::Frame(link, answer));
    let (answered, outcome) = links.take_outcome().unwrap();
    assert_eq!(answered, call);
    assert!(
        matches!(outcome, Outcome::Answered(Response::Metadata(_))),
        "{outcome:?}"
    );
}

#[test]
fn a_broker_with_older_api_versions_is_asked_again_in_its_own() {
    let (mut links, _, link) = negotiating();
    links.step(
        at(2),
        LinkEvent::Frame(link, frame(encode_unsupported_api_versions(1))),
    );
    assert_eq!(
        sent(&links.take_effects()),
        [(18, 3, 2)],
        "its range goes to 4, so 4 is not asked for again"
    );
    links.step(
        at(3),
        LinkEvent::Frame(link, versions(2, 3, ApiKey::Metadata, 9)),
    );
    assert_eq!(sent(&links.take_effects()), [(3, 9, 3)]);
}

#[test]
fn a_request_the_broker_does_not_know_is_lost_and_the_connection_stays() {
    let (mut links, call, link) = negotiating();
    links.step(
        at(2),
        LinkEvent::Frame(link, versions(1, 4, ApiKey::Fetch, 11)),
    );
    let (lost, outcome) = links.take_outcome().unwrap();
    assert_eq!(lost, call);
    let Outcome::Lost(loss) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(loss, Loss::Unsupported(ApiKey::Metadata));
    assert_eq!(links.take_effects(), []);
}

#[test]
fn an_answer_to_another_request_ends_the_connection_and_its_calls() {
    let (mut links, call, link) = negotiating();
    links.step(
        at(2),
        LinkEvent::Frame(link, versions(1, 4, ApiKey::Metadata, 5)),
    );
    links.take_effects();
    let other = frame(encode_response(5, 77, &MetadataResponse::default().into()));
    links.step(at(3), LinkEvent::Frame(link, other));
    assert_eq!(links.take_effects(), [LinkEffect::Close(link)]);
    let (lost, outcome) = links.take_outcome().unwrap();
    assert_eq!(lost, call);
    assert!(
        matches!(outcome, Outcome::Lost(Loss::Broken(_))),
        "{outcome:?}"
    );
    assert!(links.take_outcome().is_none());
}

#[test]
fn a_call_without_an_answer_in_time_is_lost_with_its_connection() {
    let (mut links, call, link) = negotiating();
    links.step(
        at(2),
        LinkEvent::Frame(link, versions(1, 4, ApiKey::Metadata, 5)),
    );
    links.take_effects();
    assert_eq!(links.deadline(), Some(at(1_000).tick));
    links.tick(at(999));
    assert!(links.take_outcome().is_none());
    links.tick(at(1_000));
    assert_eq!(links.take_effects(), [LinkEffect::Close(link)]);
    let (lost, outcome) = links.take_outcome().unwrap();
    assert_eq!(lost, call);
    let Outcome::Lost(loss) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(loss.to_string(), "no answer in time");
}

#[test]
fn a_broken_connection_is_opened_again_after_growing_pauses() {
    let mut links = Links::new("test");
    let mut now = 0;
    let mut pauses = Vec::new();
    for _ in 0..7 {
        let call = links.call(
            at(now),
            &address(1),
            Channel::Common,
            metadata_request(),
            60_000,
        );
        let due = links.deadline().unwrap();
        if links.take_effects().is_empty() {
            pauses.push(due.ms_since(at(now).tick));
            now += due.ms_since(at(now).tick);
            links.tick(at(now));
        }
        let link = LinkId(call.0 + 1);
        links.step(at(now), LinkEvent::Closed(link, "refused".into()));
        links.take_effects();
        assert_eq!(links.take_outcome().unwrap().0, call);
    }
    assert_eq!(pauses, [50, 100, 200, 400, 800, 1_000]);
}
