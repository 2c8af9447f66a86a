//! Brokers and leaders as a client sees them: with their address on the listener it came in on (rule C10).

use super::settings::Settings;
use crate::machine::image::{Broker, Image, Topic};
use millstream_net::conn::ListenerIndex;
use millstream_net::wire::api::{CurrentLeader, MetadataBroker, NodeEndpoint};
use millstream_storage::ids::NodeId;

/// Metadata in the eyes of one client.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The metadata.
    pub image: &'a Image,
    /// The broker's configuration.
    pub settings: &'a Settings,
    /// The listener the client came in on.
    pub listener: Option<ListenerIndex>,
}

impl<'a> View<'a> {
    /// The brokers that are up and can be reached by this client.
    pub fn brokers(self) -> impl Iterator<Item = MetadataBroker> {
        let live = self.image.live_brokers();
        live.filter_map(move |broker| self.reach(broker))
    }

    /// Who leads a partition, for a client that asked the wrong broker or knows an old epoch (rules P5, F11). The leader's
    /// address goes into `endpoints`, once.
    pub fn leader(
        self,
        topic: &Topic,
        partition: i32,
        endpoints: &mut Vec<NodeEndpoint>,
    ) -> CurrentLeader {
        let index = usize::try_from(partition).unwrap_or(usize::MAX);
        let Some(record) = topic.partitions.get(index) else {
            return CurrentLeader::default();
        };
        let leader = record.leader.and_then(|leader| self.live(leader));
        let Some(broker) = leader.and_then(|leader| self.reach(leader)) else {
            return CurrentLeader {
                leader_epoch: record.leader_epoch.0,
                ..CurrentLeader::default()
            };
        };
        let leader_id = broker.node_id;
        if !endpoints.iter().any(|one| one.node_id == leader_id) {
            endpoints.push(NodeEndpoint {
                node_id: leader_id,
                host: broker.host,
                port: broker.port,
                rack: broker.rack,
            });
        }
        CurrentLeader {
            leader_id,
            leader_epoch: record.leader_epoch.0,
        }
    }

    fn live(self, node: NodeId) -> Option<&'a Broker> {
        let broker = self.image.broker(node);
        broker.filter(|broker| !broker.fenced && !broker.stopping)
    }

    /// A broker with its address; none where it has not this listener, and so cannot be reached.
    pub(super) fn reach(self, broker: &Broker) -> Option<MetadataBroker> {
        let listener = usize::from(self.listener?.0);
        let name = self.settings.listeners.get(listener)?;
        let mut endpoints = broker.endpoints.iter();
        let endpoint = endpoints.find(|one| one.listener == *name)?;
        Some(MetadataBroker {
            node_id: broker.node.0,
            host: endpoint.host.as_str().into(),
            port: i32::from(endpoint.port),
            rack: broker.rack.as_deref().map(Into::into),
        })
    }
}
