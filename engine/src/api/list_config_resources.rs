//! ListConfigResources: what has a configuration.

use super::describe_configs::{BROKER, GROUP, TOPIC};
use crate::machine::image::Image;
use millstream_net::wire::api::{
    ConfigResourceListed, ListConfigResourcesRequest, ListConfigResourcesResponse,
};
use millstream_net::wire::{ErrorCode, Str};

/// The levels of a broker's log, as a kind of resource. There are none to change here, but every broker has a log.
const BROKER_LOGGER: i8 = 8;
/// What clients are asked to tell of themselves. Nobody is asked here.
const CLIENT_METRICS: i8 = 16;
const KINDS: [i8; 5] = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];

/// Answers a request; version 0 knows client metrics only.
pub fn answer(
    version: i16,
    request: &ListConfigResourcesRequest,
    image: &Image,
) -> ListConfigResourcesResponse {
    let wanted: &[i8] = match (version, &request.resource_types[..]) {
        (0, _) => &[CLIENT_METRICS],
        (_, []) => &KINDS,
        (_, some) => some,
    };
    if wanted.iter().any(|kind| !KINDS.contains(kind)) {
        return ListConfigResourcesResponse {
            error_code: ErrorCode::UnsupportedVersion,
            ..ListConfigResourcesResponse::default()
        };
    }
    let mut config_resources = Vec::new();
    // Each kind once, however often it is named.
    for kind in KINDS.into_iter().filter(|kind| wanted.contains(kind)) {
        let mut push = |name: Str| {
            config_resources.push(ConfigResourceListed {
                resource_name: name,
                resource_type: kind,
            });
        };
        match kind {
            TOPIC => image
                .topics()
                .for_each(|topic| push(Str::from(&*topic.name))),
            BROKER | BROKER_LOGGER => {
                image
                    .brokers()
                    .for_each(|one| push(one.node.0.to_string().into()));
            }
            GROUP => image
                .configured_groups()
                .for_each(|(name, _)| push(Str::from(&**name))),
            _ => {}
        }
    }
    ListConfigResourcesResponse {
        config_resources,
        ..ListConfigResourcesResponse::default()
    }
}
