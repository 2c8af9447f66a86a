//! Where new replicas go.

use crate::machine::image::{Broker, Image, Replica};
use millstream_storage::ids::TopicId;

/// A layout over the live brokers: leaders in turn, followers on the brokers behind, shifted by one each time round, so that
/// the load of a broker that fails spreads. Racks alternate in the turn. `replicas` is at most the number of live brokers.
pub(super) fn place(
    image: &Image,
    topic: TopicId,
    partitions: usize,
    replicas: usize,
) -> Vec<Vec<Replica>> {
    place_more(image, topic, 0, partitions, replicas)
}

/// The layout of `added` partitions behind the first `there` of a topic: the turn goes on.
pub(super) fn place_more(
    image: &Image,
    topic: TopicId,
    there: usize,
    added: usize,
    replicas: usize,
) -> Vec<Vec<Replica>> {
    let brokers = alternate_racks(image.live_brokers().collect());
    let start = (topic.0 % brokers.len() as u128) as usize;
    let one = |partition: usize| -> Vec<Replica> {
        let leader = (start + partition) % brokers.len();
        let round = partition / brokers.len();
        (0..replicas)
            .map(|number| replica(brokers[step(leader, number, round, brokers.len())]))
            .collect()
    };
    (there..there + added).map(one).collect()
}

/// The place of a partition's replica in the turn: the leader, then the others in order, begun at a place that moves on with
/// every round.
fn step(leader: usize, number: usize, round: usize, brokers: usize) -> usize {
    if number == 0 {
        return leader;
    }
    let others = brokers - 1;
    (leader + 1 + (round + number - 1) % others) % brokers
}

fn replica(broker: &Broker) -> Replica {
    let directory = broker.directories.first();
    Replica {
        node: broker.node,
        directory: directory.map(|one| one.id).unwrap_or_default(),
    }
}

/// The brokers in an order in which neighbours are in different racks where that is possible.
fn alternate_racks(brokers: Vec<&Broker>) -> Vec<&Broker> {
    let mut ranked: Vec<(usize, Option<&str>, &Broker)> = Vec::with_capacity(brokers.len());
    for broker in brokers {
        let rack = broker.rack.as_deref();
        let before = ranked.iter().filter(|(_, other, _)| *other == rack).count();
        ranked.push((before, rack, broker));
    }
    ranked.sort_by_key(|(before, rack, broker)| (*before, *rack, broker.node));
    ranked.into_iter().map(|(_, _, broker)| broker).collect()
}
