//! What has to be asked before a run: a topic, and where its partitions begin and end.

use bytes::Bytes;
use millstream_net::wire::api::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, ListOffsetsPartition,
    ListOffsetsRequest, ListOffsetsTopic, MetadataRequest, MetadataRequestTopic,
};
use millstream_net::wire::{ErrorCode, Request, Response, Str, decode_response, encode_request};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long a new topic may take until it has leaders.
const READY: Duration = Duration::from_secs(60);

const UNASKED: &str = "the answer is one to another question";

/// A connection that asks one thing at a time.
pub struct Admin {
    stream: TcpStream,
}

impl Admin {
    pub fn connect(broker: &str) -> Result<Admin, String> {
        let stream = TcpStream::connect(broker)
            .map_err(|error| format!("no broker at {broker}: {error}"))?;
        stream
            .set_nodelay(true)
            .map_err(|error| error.to_string())?;
        Ok(Admin { stream })
    }

    fn ask(&mut self, version: i16, request: impl Into<Request>) -> Result<Response, String> {
        let request = request.into();
        let name = Str::from("millstream-bench");
        let frame = encode_request(version, 1, Some(&name), &request).concat();
        let mut exchange = || -> std::io::Result<Vec<u8>> {
            self.stream.write_all(&frame)?;
            let mut length = [0; 4];
            self.stream.read_exact(&mut length)?;
            let mut answer = vec![0; u32::from_be_bytes(length) as usize];
            self.stream.read_exact(&mut answer)?;
            Ok(answer)
        };
        let answer = exchange().map_err(|error| format!("the broker does not answer: {error}"))?;
        let (_, response) = decode_response(request.key(), version, &Bytes::from(answer))
            .map_err(|error| format!("the answer cannot be read: {error:?}"))?;
        Ok(response)
    }

    /// Makes the topic if it is not there and waits until every partition has a leader.
    pub fn ensure_topic(
        &mut self,
        topic: &str,
        partitions: i32,
        configs: &[String],
    ) -> Result<(), String> {
        let configs = configs.iter().map(|pair| {
            let (name, value) = pair.split_once('=').ok_or(format!("`{pair}` has no `=`"))?;
            Ok(CreatableTopicConfig {
                name: Str::from(name),
                value: Some(Str::from(value)),
            })
        });
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: Str::from(topic),
                num_partitions: partitions,
                replication_factor: 1,
                configs: configs.collect::<Result<_, String>>()?,
                ..CreatableTopic::default()
            }],
            ..CreateTopicsRequest::default()
        };
        let Response::CreateTopics(response) = self.ask(4, request)? else {
            return Err(UNASKED.into());
        };
        for result in &response.topics {
            if !matches!(
                result.error_code,
                ErrorCode::None | ErrorCode::TopicAlreadyExists
            ) {
                return Err(format!(
                    "the topic cannot be made: {}",
                    result.error_code.name()
                ));
            }
        }
        let began = Instant::now();
        while !self.is_ready(topic, partitions)? {
            if began.elapsed() > READY {
                return Err(format!("{topic} has no leaders after {READY:?}"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn is_ready(&mut self, topic: &str, partitions: i32) -> Result<bool, String> {
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some(Str::from(topic)),
                ..MetadataRequestTopic::default()
            }]),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        let Response::Metadata(response) = self.ask(5, request)? else {
            return Err(UNASKED.into());
        };
        let Some(found) = response
            .topics
            .first()
            .filter(|topic| topic.error_code == ErrorCode::None)
        else {
            return Ok(false);
        };
        if !found.partitions.is_empty() && found.partitions.len() < partitions as usize {
            return Err(format!(
                "{topic} has {} partitions: name another topic",
                found.partitions.len()
            ));
        }
        Ok(!found.partitions.is_empty()
            && found
                .partitions
                .iter()
                .all(|partition| partition.leader_id >= 0))
    }

    /// The offset of each of the first `partitions` partitions: `timestamp` -2 for the start, -1 for the end.
    pub fn offsets(
        &mut self,
        topic: &str,
        partitions: i32,
        timestamp: i64,
    ) -> Result<Vec<i64>, String> {
        let request = ListOffsetsRequest {
            topics: vec![ListOffsetsTopic {
                name: Str::from(topic),
                partitions: (0..partitions)
                    .map(|partition_index| ListOffsetsPartition {
                        partition_index,
                        timestamp,
                        ..ListOffsetsPartition::default()
                    })
                    .collect(),
            }],
            ..ListOffsetsRequest::default()
        };
        let Response::ListOffsets(response) = self.ask(2, request)? else {
            return Err(UNASKED.into());
        };
        let mut offsets = vec![0; partitions as usize];
        for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
            if partition.error_code != ErrorCode::None {
                return Err(format!(
                    "no offset of {topic}-{}: {}",
                    partition.partition_index,
                    partition.error_code.name()
                ));
            }
            offsets[partition.partition_index as usize] = partition.offset;
        }
        Ok(offsets)
    }
}
