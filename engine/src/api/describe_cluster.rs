//! DescribeCluster (rule M13).

use super::brokers::View;
use super::metadata::operations;
use millstream_net::wire::api::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse, OPERATIONS_NOT_ASKED,
};
use millstream_net::wire::{ErrorCode, Str};

/// Brokers, as a kind of endpoint.
const BROKERS: i8 = 1;
/// Controllers, as a kind of endpoint.
const CONTROLLERS: i8 = 2;

/// Answers a request.
pub fn answer(request: &DescribeClusterRequest, view: View<'_>) -> DescribeClusterResponse {
    let refused = |error_code, message: &'static str| DescribeClusterResponse {
        error_code,
        error_message: Some(Str::from_static(message)),
        ..DescribeClusterResponse::default()
    };
    match request.endpoint_type {
        BROKERS => {}
        CONTROLLERS => {
            return refused(
                ErrorCode::MismatchedEndpointType,
                "This is a listener of brokers; controllers have no listener for clients.",
            );
        }
        _ => {
            return refused(
                ErrorCode::UnsupportedEndpointType,
                "There are endpoints of brokers (1) and of controllers (2).",
            );
        }
    }
    let shown = view.image.brokers().filter(|broker| {
        let live = !broker.fenced && !broker.stopping;
        live || (request.include_fenced_brokers && broker.fenced)
    });
    let brokers = shown.filter_map(|broker| {
        let reached = view.reach(broker)?;
        Some(DescribeClusterBroker {
            broker_id: reached.node_id,
            host: reached.host,
            port: reached.port,
            rack: reached.rack,
            is_fenced: broker.fenced,
        })
    });
    let brokers: Vec<_> = brokers.collect();
    DescribeClusterResponse {
        cluster_id: view.image.cluster_id().map(Str::from).unwrap_or_default(),
        controller_id: brokers.first().map_or(-1, |_| view.settings.node.0),
        brokers,
        cluster_authorized_operations: match request.include_cluster_authorized_operations {
            true => operations::CLUSTER,
            false => OPERATIONS_NOT_ASKED,
        },
        ..DescribeClusterResponse::default()
    }
}
