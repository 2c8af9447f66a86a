//! A client that creates a topic, uses it and deletes it, over and over under one name.
//!
//! Always: what it finds in the topic was sent since the topic was last created.

use super::broker::topic;
use super::link::Link;
use super::node::Node;
use crate::wire;
use bytes::Bytes;
use millstream_net::wire::ErrorCode;
use millstream_net::wire::api::{
    CreateTopicsRequest, DeleteTopicsRequest, FetchRequest, ProduceRequest,
};
use millstream_storage::sim::SimRng;

/// The topic.
pub const NAME: &str = "comes-and-goes";

/// What it does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Create,
    Produce,
    Fetch,
    Delete,
}

/// The client.
pub struct Churner {
    link: Link<Stage>,
    stage: Stage,
    round: u64,
    partition: i32,
}

impl Default for Churner {
    fn default() -> Churner {
        Churner {
            link: Link::default(),
            stage: Stage::Create,
            round: 0,
            partition: 0,
        }
    }
}

impl Churner {
    /// The node is gone.
    pub fn lost(&mut self) {
        self.link.end(None);
    }

    /// Ends its connection.
    pub fn leave(&mut self, node: &mut Node) {
        self.link.end(Some(node));
    }

    /// Does one thing.
    pub fn act(&mut self, node: &mut Node, rng: &mut SimRng) {
        if !self.link.is_up() {
            return self.link.connect(node, rng);
        }
        if self.link.open_count() == 0 {
            self.partition = rng.index(2) as i32;
            return self.ask(node);
        }
        self.link.deliver(node);
        let open = self.link.receive(node);
        if let Some((stage, frame)) = self.link.next_answer() {
            self.take(stage, &frame);
        } else if !open {
            self.link.end(None);
        }
    }

    fn ask(&mut self, node: &Node) {
        let stage = self.stage;
        match stage {
            Stage::Create => {
                let request = CreateTopicsRequest {
                    topics: vec![topic(NAME, 2, &[])],
                    ..CreateTopicsRequest::default()
                };
                self.link.ask(5, &request, stage);
            }
            Stage::Produce => {
                let value = format!("round {}", self.round);
                let batch = wire::batch(node.now().wall.0, &[&value]);
                let request = wire::produce(-1, NAME, self.partition, batch);
                self.link.ask(9, &request, stage);
            }
            Stage::Fetch => {
                let request = wire::fetch(NAME, self.partition, 0);
                self.link.ask(11, &request, stage);
            }
            Stage::Delete => {
                let request = DeleteTopicsRequest {
                    topic_names: vec![NAME.into()],
                    timeout_ms: 10_000,
                    ..DeleteTopicsRequest::default()
                };
                self.link.ask(4, &request, stage);
            }
        }
    }

    fn take(&mut self, stage: Stage, frame: &Bytes) {
        let good = |code| code == ErrorCode::None;
        match stage {
            Stage::Create => {
                let (_, response) = wire::answer::<CreateTopicsRequest>(5, frame);
                let code = response.topics[0].error_code;
                if good(code) || code == ErrorCode::TopicAlreadyExists {
                    self.stage = Stage::Produce;
                }
            }
            Stage::Produce => {
                let (_, response) = wire::answer::<ProduceRequest>(9, frame);
                if good(response.responses[0].partitions[0].error_code) {
                    self.stage = Stage::Fetch;
                }
            }
            Stage::Fetch => {
                let (_, response) = wire::answer::<FetchRequest>(11, frame);
                let answer = &response.responses[0].partitions[0];
                if good(answer.error_code) {
                    let records = answer.records.as_ref().expect("records are never null");
                    let expected = format!("round {}", self.round);
                    for (offset, value) in wire::values(&records.0) {
                        assert_eq!(value, expected, "offset {offset} is of a former life");
                    }
                    self.stage = Stage::Delete;
                }
            }
            Stage::Delete => {
                let (_, response) = wire::answer::<DeleteTopicsRequest>(4, frame);
                let code = response.responses[0].error_code;
                if good(code) || code == ErrorCode::UnknownTopicOrPartition {
                    self.stage = Stage::Create;
                    self.round += 1;
                }
            }
        }
    }
}
