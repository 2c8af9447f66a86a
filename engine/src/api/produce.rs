//! Produce: what a request asks of each partition, and the answer as it comes together.
//!
//! Always: (1) the answer has the partitions of the request in its order; (2) an error of one partition leaves the others
//! alone (rule P2).
//! Leaves to others: checking batches (`batches`), offsets, sequences and durability.

use super::brokers::View;
use super::topic_names::Naming;
use crate::machine::partition::producers::BatchHead;
use crate::machine::partition::{Acks, Appended};
use bytes::Bytes;
use millstream_net::wire::api::{
    ProducePartitionResponse, ProduceRequest, ProduceResponse, ProduceTopicResponse, RecordError,
};
use millstream_net::wire::{ErrorCode, Str};
use millstream_storage::ids::{LogNumber, PartitionIndex, TopicId};

/// One batch on its way to its partition.
#[derive(Debug)]
pub struct AppendPart {
    /// Its place in the request.
    pub part: u32,
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
    /// The replica by the asking shard's table.
    pub log: LogNumber,
    /// The batch as it came.
    pub batch: Bytes,
    /// Its header.
    pub head: BatchHead,
}

/// What became of one batch.
#[derive(Clone, Copy, Debug)]
pub struct PartAppended {
    /// Its place in the request.
    pub part: u32,
    /// Where it is, or what went wrong.
    pub result: Result<Appended, ErrorCode>,
}

/// Why a batch was refused before it reached a partition.
#[derive(Clone, PartialEq, Debug)]
pub struct BatchRefused {
    /// The code.
    pub code: ErrorCode,
    /// In words, for clients that show them.
    pub message: Option<Str>,
    /// The records that are to blame.
    pub records: Vec<RecordError>,
}

impl From<ErrorCode> for BatchRefused {
    fn from(code: ErrorCode) -> BatchRefused {
        BatchRefused {
            code,
            message: None,
            records: Vec::new(),
        }
    }
}

/// What leaves when all partitions are done.
#[derive(Debug)]
pub enum Outcome {
    /// The answer.
    Answer(ProduceResponse),
    /// acks=0: none (rule P1).
    Silence,
    /// acks=0 and something failed: the client learns of it by the connection (rule P1).
    Close,
}

/// The answer of one request as it comes together.
#[derive(Debug)]
pub struct ProduceAnswer {
    version: i16,
    acks: Acks,
    response: ProduceResponse,
    /// Topic and partition in the response of each part.
    places: Vec<(u32, u32)>,
    open: usize,
    refused: bool,
    /// A partition has its leader elsewhere.
    misled: bool,
}

impl ProduceAnswer {
    /// An answer in which nothing is known yet.
    pub fn new(version: i16, acks: Acks, request: &ProduceRequest) -> ProduceAnswer {
        let (response, places) = outline(request);
        ProduceAnswer {
            version,
            acks,
            response,
            open: places.len(),
            places,
            refused: false,
            misled: false,
        }
    }

    /// Takes the outcome at a partition.
    pub fn take(&mut self, appended: PartAppended) {
        match appended.result {
            Ok(result) => {
                let entry = self.entry(appended.part);
                entry.base_offset = result.base_offset.0;
                entry.log_append_time_ms = result.log_append_time_ms;
                entry.log_start_offset = result.log_start.0;
                self.open -= 1;
            }
            Err(code) => self.refuse(appended.part, code.into()),
        }
    }

    /// Takes the refusal of a batch that goes to no partition.
    pub fn refuse(&mut self, part: u32, refused: BatchRefused) {
        let code = Naming::of(self.version).code(refused.code);
        let entry = self.entry(part);
        entry.error_code = code;
        entry.error_message = refused.message;
        entry.record_errors = refused.records;
        self.refused = true;
        self.misled |= code == ErrorCode::NotLeaderOrFollower;
        self.open -= 1;
    }

    /// Whether every partition is done.
    pub fn is_complete(&self) -> bool {
        self.open == 0
    }

    /// What leaves.
    pub fn finish(mut self, view: View<'_>) -> Outcome {
        if self.misled && self.version >= 10 {
            self.name_leaders(view);
        }
        match self.acks {
            Acks::None if self.refused => Outcome::Close,
            Acks::None => Outcome::Silence,
            Acks::Leader | Acks::All => Outcome::Answer(self.response),
        }
    }

    /// Rule P5.
    fn name_leaders(&mut self, view: View<'_>) {
        let naming = Naming::of(self.version);
        let ProduceResponse {
            responses,
            node_endpoints,
            ..
        } = &mut self.response;
        for topic in responses {
            let Ok(named) = naming.find(view.image, &topic.name, topic.topic_id) else {
                continue;
            };
            for entry in &mut topic.partitions {
                if entry.error_code == ErrorCode::NotLeaderOrFollower {
                    entry.current_leader = view.leader(named, entry.index, node_endpoints);
                }
            }
        }
    }

    fn entry(&mut self, part: u32) -> &mut ProducePartitionResponse {
        let (topic, partition) = self.places[part as usize];
        &mut self.response.responses[topic as usize].partitions[partition as usize]
    }
}

/// The answer where every partition has the same error.
pub fn refuse_all(request: &ProduceRequest, code: ErrorCode) -> ProduceResponse {
    let (mut response, _) = outline(request);
    for topic in &mut response.responses {
        for partition in &mut topic.partitions {
            partition.error_code = code;
        }
    }
    response
}

fn outline(request: &ProduceRequest) -> (ProduceResponse, Vec<(u32, u32)>) {
    let mut places = Vec::new();
    let mut responses = Vec::with_capacity(request.topics.len());
    for (topic_index, topic) in request.topics.iter().enumerate() {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for (index, partition) in topic.partitions.iter().enumerate() {
            places.push((topic_index as u32, index as u32));
            partitions.push(ProducePartitionResponse {
                index: partition.index,
                ..ProducePartitionResponse::default()
            });
        }
        responses.push(ProduceTopicResponse {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions,
        });
    }
    let response = ProduceResponse {
        responses,
        ..ProduceResponse::default()
    };
    (response, places)
}
