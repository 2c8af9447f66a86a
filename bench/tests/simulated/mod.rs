//! A broker in memory for tests of the generator: one node, partitions as lists of batches, and whatever misbehaviour a test
//! wants. One thread per connection and one that sends its answers at their times.

use bytes::{Bytes, BytesMut};
use millstream_net::wire::api::*;
use millstream_net::wire::{
    ErrorCode, Records, Request, Response, Str, advertised, decode_request, encode_response,
};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// What becomes of one Produce request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Fate {
    #[default]
    Append,
    /// Acknowledged and forgotten.
    Lose,
    /// Appended twice.
    Double,
    /// Appended after the next one of its partition.
    Swap,
    /// Refused with this code.
    Refuse(i16),
    /// The connection is closed instead.
    Close,
    /// Nothing comes on this connection any more, nor is anything read from it.
    Mute,
    /// The answer is nonsense.
    Babble,
}

/// How the broker behaves.
pub struct Behaviour {
    /// By the number of the Produce request, from 0.
    pub fate: Box<dyn Fn(u64) -> Fate + Send + Sync>,
    /// When the answer to a Produce request leaves: by its number and the time it came, since the broker's first one.
    pub answer_at: Box<dyn Fn(u64, Duration) -> Duration + Send + Sync>,
    /// What becomes of every Fetch request: refused, or the connection is closed instead.
    pub fetch: Fate,
    /// Keys of APIs that are not advertised.
    pub without: Vec<i16>,
}

impl Default for Behaviour {
    fn default() -> Behaviour {
        Behaviour {
            fate: Box::new(|_| Fate::Append),
            answer_at: Box::new(|_, came| came),
            fetch: Fate::Append,
            without: Vec::new(),
        }
    }
}

struct State {
    behaviour: Behaviour,
    address: SocketAddr,
    produced: AtomicU64,
    /// The connection that ends is to be kept, and mute.
    mute: AtomicBool,
    began: Mutex<Option<Instant>>,
    logs: Mutex<Logs>,
    grown: Condvar,
}

#[derive(Default)]
struct Logs {
    topics: Vec<(String, Vec<Log>)>,
}

#[derive(Default)]
struct Log {
    batches: Vec<(i64, Bytes)>,
    end: i64,
    held: Option<Bytes>,
    /// The next sequence number of each producer.
    sequences: BTreeMap<i64, i32>,
}

impl Log {
    /// What a broker says to the sequence number of a batch: nothing of one without a producer, or of the next one.
    fn refusal(&mut self, batch: &[u8]) -> Option<ErrorCode> {
        let at = |from: usize| i32::from_be_bytes(batch[from..from + 4].try_into().unwrap());
        let producer = i64::from_be_bytes(batch[43..51].try_into().unwrap());
        if producer < 0 {
            return None;
        }
        let next = self.sequences.entry(producer).or_default();
        match at(53).cmp(next) {
            std::cmp::Ordering::Less => Some(ErrorCode::DuplicateSequenceNumber),
            std::cmp::Ordering::Greater => Some(ErrorCode::OutOfOrderSequenceNumber),
            std::cmp::Ordering::Equal => {
                *next += at(57);
                None
            }
        }
    }

    fn append(&mut self, batch: &Bytes) {
        let mut bytes = BytesMut::from(&batch[..]);
        bytes[..8].copy_from_slice(&self.end.to_be_bytes());
        let records = i32::from_be_bytes(bytes[23..27].try_into().unwrap()) + 1;
        self.batches.push((self.end, bytes.freeze()));
        self.end += i64::from(records);
        if let Some(held) = self.held.take() {
            self.append(&held);
        }
    }
}

/// Starts a broker; its address.
pub fn start(behaviour: Behaviour) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let state = Arc::new(State {
        behaviour,
        address,
        produced: AtomicU64::new(0),
        mute: AtomicBool::new(false),
        began: Mutex::new(None),
        logs: Mutex::default(),
        grown: Condvar::new(),
    });
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let state = Arc::clone(&state);
            std::thread::spawn(move || serve(stream.unwrap(), &state));
        }
    });
    address
}

type Answer = (Option<Instant>, Vec<u8>);

fn serve(mut stream: TcpStream, state: &State) {
    stream.set_nodelay(true).unwrap();
    let (answers, queue): (Sender<Answer>, Receiver<Answer>) = channel();
    let mut writer = stream.try_clone().unwrap();
    std::thread::spawn(move || {
        for (at, bytes) in queue {
            if let Some(at) = at {
                std::thread::sleep(at.saturating_duration_since(Instant::now()));
            }
            if writer.write_all(&bytes).is_err() {
                return;
            }
        }
    });
    while let Ok(frame) = read_frame(&mut stream) {
        let (header, request) = decode_request(&frame).unwrap();
        let silent = matches!(&request, Request::Produce(request) if request.acks == 0);
        let (at, response) = match request {
            Request::Produce(request) => match state.produce(request) {
                Some((at, response)) => (Some(at), response),
                None if state.mute.swap(false, Ordering::SeqCst) => loop {
                    std::thread::park();
                },
                None => {
                    stream.shutdown(std::net::Shutdown::Both).unwrap();
                    return;
                }
            },
            Request::Fetch(_) if state.behaviour.fetch == Fate::Close => {
                // It may be closed already.
                let _ = stream.shutdown(std::net::Shutdown::Both);
                return;
            }
            other => (None, state.answer(other)),
        };
        if silent {
            continue;
        }
        let babbles =
            matches!(&response, Response::Produce(response) if response.responses.is_empty());
        let mut bytes =
            encode_response(header.api_version, header.correlation_id, &response).concat();
        if babbles {
            bytes = b"\0\0\0\x05hello".to_vec();
        }
        if answers.send((at, bytes)).is_err() {
            return;
        }
    }
}

fn read_frame(stream: &mut TcpStream) -> io::Result<Bytes> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame)?;
    Ok(frame.into())
}

impl State {
    /// Appends; when the answer leaves, and the answer. Nothing if the connection is to be closed.
    fn produce(&self, request: ProduceRequest) -> Option<(Instant, Response)> {
        let number = self.produced.fetch_add(1, Ordering::SeqCst);
        let began = *self.began.lock().unwrap().get_or_insert_with(Instant::now);
        let at = began + (self.behaviour.answer_at)(number, began.elapsed());
        let topic = &request.topics[0];
        let partition = &topic.partitions[0];
        let batch = partition.records.clone().unwrap();
        let fate = (self.behaviour.fate)(number);
        if matches!(fate, Fate::Close | Fate::Mute) {
            self.mute.store(fate == Fate::Mute, Ordering::SeqCst);
            return None;
        }
        let mut logs = self.logs.lock().unwrap();
        let log = logs.log(&topic.name, partition.index);
        let mut code = match fate {
            Fate::Refuse(code) => ErrorCode::from_code(code),
            _ => ErrorCode::None,
        };
        match fate {
            Fate::Append => match log.refusal(&batch) {
                None => log.append(&batch),
                Some(refusal) => code = refusal,
            },
            Fate::Double => {
                log.append(&batch);
                log.append(&batch);
            }
            Fate::Swap => log.held = Some(batch),
            Fate::Lose | Fate::Refuse(_) | Fate::Close | Fate::Mute | Fate::Babble => {}
        }
        self.grown.notify_all();
        let answer = ProduceTopicResponse {
            name: topic.name.clone(),
            partitions: vec![ProducePartitionResponse {
                index: partition.index,
                error_code: code,
                ..ProducePartitionResponse::default()
            }],
            ..ProduceTopicResponse::default()
        };
        let response = ProduceResponse {
            responses: if fate == Fate::Babble {
                Vec::new()
            } else {
                vec![answer]
            },
            ..ProduceResponse::default()
        };
        Some((at, response.into()))
    }

    fn answer(&self, request: Request) -> Response {
        match request {
            Request::ApiVersions(_) => {
                let mut api_keys = advertised();
                api_keys.retain(|range| !self.behaviour.without.contains(&range.api_key));
                ApiVersionsResponse {
                    api_keys,
                    ..ApiVersionsResponse::default()
                }
                .into()
            }
            Request::CreateTopics(request) => {
                let mut logs = self.logs.lock().unwrap();
                for topic in &request.topics {
                    logs.create(&topic.name, topic.num_partitions as usize);
                }
                let topics = request
                    .topics
                    .into_iter()
                    .map(|topic| CreatableTopicResult {
                        name: topic.name,
                        ..CreatableTopicResult::default()
                    });
                CreateTopicsResponse {
                    topics: topics.collect(),
                    ..CreateTopicsResponse::default()
                }
                .into()
            }
            Request::Metadata(request) => self.metadata(request).into(),
            Request::ListOffsets(request) => self.offsets(request).into(),
            Request::InitProducerId(_) => InitProducerIdResponse {
                producer_id: 7,
                ..InitProducerIdResponse::default()
            }
            .into(),
            Request::Fetch(request) => self.fetch(request).into(),
            other => panic!("{other:?}"),
        }
    }

    fn metadata(&self, request: MetadataRequest) -> MetadataResponse {
        let mut logs = self.logs.lock().unwrap();
        let topics = request.topics.unwrap_or_default().into_iter().map(|topic| {
            let name = topic.name.clone().unwrap();
            let count = logs.find(&name).map_or(0, |logs| logs.len());
            let partitions = (0..count as i32).map(|partition_index| MetadataPartition {
                partition_index,
                leader_id: 1,
                ..MetadataPartition::default()
            });
            MetadataTopic {
                error_code: if count == 0 {
                    ErrorCode::UnknownTopicOrPartition
                } else {
                    ErrorCode::None
                },
                name: topic.name,
                partitions: partitions.collect(),
                ..MetadataTopic::default()
            }
        });
        MetadataResponse {
            topics: topics.collect(),
            brokers: vec![MetadataBroker {
                node_id: 1,
                host: Str::from("127.0.0.1"),
                port: i32::from(self.address.port()),
                ..MetadataBroker::default()
            }],
            controller_id: 1,
            ..MetadataResponse::default()
        }
    }

    fn offsets(&self, request: ListOffsetsRequest) -> ListOffsetsResponse {
        let mut logs = self.logs.lock().unwrap();
        let topics = request
            .topics
            .into_iter()
            .map(|topic| ListOffsetsTopicResponse {
                partitions: topic
                    .partitions
                    .iter()
                    .map(|partition| {
                        let end = logs.log(&topic.name, partition.partition_index).end;
                        ListOffsetsPartitionResponse {
                            partition_index: partition.partition_index,
                            offset: if partition.timestamp == -2 { 0 } else { end },
                            ..ListOffsetsPartitionResponse::default()
                        }
                    })
                    .collect(),
                name: topic.name,
            });
        ListOffsetsResponse {
            topics: topics.collect(),
            ..ListOffsetsResponse::default()
        }
    }

    fn fetch(&self, request: FetchRequest) -> FetchResponse {
        let deadline = Instant::now() + Duration::from_millis(request.max_wait_ms as u64);
        let mut logs = self.logs.lock().unwrap();
        loop {
            let mut bytes = 0;
            let topics = request.topics.iter().map(|topic| FetchTopicResponse {
                topic: topic.topic.clone(),
                partitions: topic
                    .partitions
                    .iter()
                    .map(|partition| {
                        let log = logs.log(&topic.topic, partition.partition);
                        let from = log
                            .batches
                            .partition_point(|(base, _)| *base < partition.fetch_offset);
                        let found: Vec<Bytes> = log.batches[from..]
                            .iter()
                            .take(100)
                            .map(|(_, batch)| batch.clone())
                            .collect();
                        bytes += found.iter().map(Bytes::len).sum::<usize>();
                        if let Fate::Refuse(code) = self.behaviour.fetch {
                            bytes = 1;
                            return FetchPartitionResponse {
                                partition_index: partition.partition,
                                error_code: ErrorCode::from_code(code),
                                ..FetchPartitionResponse::default()
                            };
                        }
                        FetchPartitionResponse {
                            partition_index: partition.partition,
                            high_watermark: log.end,
                            records: Some(Records(found)),
                            ..FetchPartitionResponse::default()
                        }
                    })
                    .collect(),
                ..FetchTopicResponse::default()
            });
            let responses: Vec<_> = topics.collect();
            let left = deadline.saturating_duration_since(Instant::now());
            if bytes > 0 || left.is_zero() {
                return FetchResponse {
                    responses,
                    ..FetchResponse::default()
                };
            }
            logs = self.grown.wait_timeout(logs, left).unwrap().0;
        }
    }
}

impl Logs {
    fn find(&mut self, topic: &str) -> Option<&mut Vec<Log>> {
        let found = self.topics.iter_mut().find(|(name, _)| name == topic);
        found.map(|(_, logs)| logs)
    }

    fn create(&mut self, topic: &str, partitions: usize) {
        if self.find(topic).is_none() {
            let logs = (0..partitions).map(|_| Log::default()).collect();
            self.topics.push((topic.to_owned(), logs));
        }
    }

    fn log(&mut self, topic: &str, partition: i32) -> &mut Log {
        &mut self.find(topic).unwrap()[partition as usize]
    }
}
