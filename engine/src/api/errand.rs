//! Requests that want one thing of each of their partitions, from its leader: DeleteRecords (rule O5) and DescribeProducers.
//!
//! Always: (1) the answer has the partitions of the request in its order; (2) an error of one partition leaves the others
//! alone.
//! Leaves to others: which shard has a partition, and the errand itself.

use super::places::Places;
use crate::machine::partition::producers::KnownProducer;
use millstream_net::wire::api::{
    ActiveProducer, DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteRecordsTopicResult, DescribeProducersPartitionResult, DescribeProducersRequest,
    DescribeProducersResponse, DescribeProducersTopicResult,
};
use millstream_net::wire::{ErrorCode, Response};
use millstream_storage::ids::{LogNumber, Offset, PartitionIndex, TopicId};

/// What is wanted of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Errand {
    /// Everything below gone; -1: everything that is committed.
    DeleteBefore(Offset),
    /// The producers it knows.
    Producers,
}

/// An errand on its way to its partition.
#[derive(Clone, Copy, Debug)]
pub struct ErrandPart {
    /// Its place in the request.
    pub part: u32,
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
    /// The replica by the asking shard's table.
    pub log: LogNumber,
    /// What is wanted.
    pub errand: Errand,
}

/// What an errand brings back.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The log starts here now.
    LogStart(Offset),
    /// The producers.
    Producers(Vec<KnownProducer>),
}

/// What became of an errand.
#[derive(Clone, Debug)]
pub struct PartDone {
    /// Its place in the request.
    pub part: u32,
    /// The outcome.
    pub result: Result<Outcome, ErrorCode>,
}

#[derive(Debug)]
enum Form {
    Delete(DeleteRecordsResponse),
    Producers(DescribeProducersResponse),
}

/// The answer of one request as it comes together.
#[derive(Debug)]
pub struct ErrandAnswer {
    form: Form,
    places: Places,
}

impl ErrandAnswer {
    /// An answer to DeleteRecords in which nothing is known yet.
    pub fn of_delete(request: &DeleteRecordsRequest) -> ErrandAnswer {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter();
            let partitions = partitions.map(|partition| DeleteRecordsPartitionResult {
                partition_index: partition.partition_index,
                ..DeleteRecordsPartitionResult::default()
            });
            DeleteRecordsTopicResult {
                name: topic.name.clone(),
                partitions: partitions.collect(),
            }
        });
        let response = DeleteRecordsResponse {
            topics: topics.collect(),
            ..DeleteRecordsResponse::default()
        };
        let counts = request.topics.iter().map(|topic| topic.partitions.len());
        ErrandAnswer {
            form: Form::Delete(response),
            places: Places::new(counts),
        }
    }

    /// An answer to DescribeProducers in which nothing is known yet.
    pub fn of_producers(request: &DescribeProducersRequest) -> ErrandAnswer {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partition_indexes.iter();
            let partitions = partitions.map(|index| DescribeProducersPartitionResult {
                partition_index: *index,
                ..DescribeProducersPartitionResult::default()
            });
            DescribeProducersTopicResult {
                name: topic.name.clone(),
                partitions: partitions.collect(),
            }
        });
        let response = DescribeProducersResponse {
            topics: topics.collect(),
            ..DescribeProducersResponse::default()
        };
        let counts = request.topics.iter();
        ErrandAnswer {
            form: Form::Producers(response),
            places: Places::new(counts.map(|topic| topic.partition_indexes.len())),
        }
    }

    /// Takes what became of an errand.
    pub fn take(&mut self, done: PartDone) {
        let Some((topic, partition)) = self.places.take(done.part) else {
            return;
        };
        match &mut self.form {
            Form::Delete(response) => {
                let entry = &mut response.topics[topic].partitions[partition];
                match done.result {
                    Ok(Outcome::LogStart(start)) => entry.low_watermark = start.0,
                    Ok(Outcome::Producers(_)) => unreachable!("nobody asked for producers"),
                    Err(code) => {
                        entry.low_watermark = -1;
                        entry.error_code = code;
                    }
                }
            }
            Form::Producers(response) => {
                let entry = &mut response.topics[topic].partitions[partition];
                match done.result {
                    Ok(Outcome::Producers(producers)) => {
                        entry.active_producers = producers.iter().map(told).collect();
                    }
                    Ok(Outcome::LogStart(_)) => unreachable!("nothing was to be deleted"),
                    Err(code) => entry.error_code = code,
                }
            }
        }
    }

    /// What is not done yet has taken too long.
    pub fn time_out(&mut self) {
        for part in 0..self.places.count() {
            self.take(PartDone {
                part,
                result: Err(ErrorCode::RequestTimedOut),
            });
        }
    }

    /// Whether every partition is done.
    pub fn is_complete(&self) -> bool {
        self.places.is_complete()
    }

    /// The answer.
    pub fn finish(self) -> Response {
        match self.form {
            Form::Delete(response) => response.into(),
            Form::Producers(response) => response.into(),
        }
    }
}

fn told(producer: &KnownProducer) -> ActiveProducer {
    ActiveProducer {
        producer_id: producer.producer.0,
        producer_epoch: i32::from(producer.epoch.0),
        last_sequence: producer.last_sequence,
        last_timestamp: producer.last_timestamp,
        coordinator_epoch: producer.coordinator_epoch,
        current_txn_start_offset: producer.open.map_or(-1, |first| first.0),
    }
}
