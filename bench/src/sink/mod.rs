//! The built-in sink: a broker that takes everything and keeps nothing, and has one batch to read everywhere, to measure what the
//! generator can do at most.
//!
//! Always: it costs less than the generator. Of a Produce request it reads what it needs for an answer and lets the kernel
//! drop the rest (`MSG_TRUNC`); it answers all requests of one read together. It listens on loopback only and ends with its
//! handle.
//! Leaves to others: being a broker. It knows Metadata, CreateTopics, ListOffsets and InitProducerId only as far as a run
//! asks for them.

mod fetch;

pub use fetch::Stock;

use bytes::Bytes;
use millstream_net::wire::api::*;
use millstream_net::wire::{
    ApiKey, ErrorCode, Request, Response, Str, decode_request, encode_response,
};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// What is read at once.
const READ_BYTES: usize = 256 << 10;
/// More than this of a request is dropped unread.
const DROP_BYTES_MIN: usize = 8 << 10;
/// BOUND: no request that is not produced is longer.
const REQUEST_BYTES_MAX: usize = 16 << 20;

/// A running sink.
pub struct Sink {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Sink {
    /// Starts it; `cpus` are the processors its connections are dealt to, if any, `stock` is what it answers to fetches.
    pub fn start(cpus: &[usize], stock: Option<Stock>) -> io::Result<Sink> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let cpus = cpus.to_vec();
        let acceptor = std::thread::spawn(move || {
            for (index, stream) in listener.incoming().enumerate() {
                if seen.load(Ordering::Relaxed) {
                    return;
                }
                let cpu = cpus.get(index % cpus.len().max(1)).copied();
                let stock = stock.clone();
                if let Ok(stream) = stream {
                    std::thread::spawn(move || serve(stream, address, cpu, stock));
                }
            }
        });
        Ok(Sink {
            address,
            stop,
            acceptor: Some(acceptor),
        })
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the acceptor, which then sees that it is over.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(acceptor) = self.acceptor.take() {
            // It has nothing to give.
            let _ = acceptor.join();
        }
    }
}

/// Serves one connection until it ends.
fn serve(stream: TcpStream, address: SocketAddr, cpu: Option<usize>, stock: Option<Stock>) {
    if let Some(cpu) = cpu {
        // Without its own processor it is only slower.
        let _ = crate::processor::pin(cpu);
    }
    // A connection that cannot be set up is seen by its other end.
    let _ = stream.set_nodelay(true);
    let mut connection = Connection {
        stream,
        address,
        inbox: vec![0; READ_BYTES],
        filled: 0,
        answers: Vec::new(),
        tail: None,
        stock,
    };
    while let Ok(true) = connection.turn() {}
}

struct Connection {
    stream: TcpStream,
    address: SocketAddr,
    inbox: Vec<u8>,
    filled: usize,
    answers: Vec<u8>,
    /// The answer to a Produce request, of which only the correlation id changes, with the topic and partition it is for.
    tail: Option<Vec<u8>>,
    stock: Option<Stock>,
}

impl Connection {
    /// Reads once and answers what is whole; whether it goes on.
    fn turn(&mut self) -> io::Result<bool> {
        let read = self.stream.read(&mut self.inbox[self.filled..])?;
        if read == 0 {
            return Ok(false);
        }
        self.filled += read;
        let mut taken = 0;
        while let Some(length) = self.stated(taken) {
            let left = self.filled - taken - 4;
            let is_produce = self.key(taken) == Some(ApiKey::Produce.code());
            if left >= length {
                self.answer(taken, length)?;
                taken += 4 + length;
            } else if is_produce && left >= 512 && length - left >= DROP_BYTES_MIN {
                self.answer(taken, left)?;
                self.drop_bytes(length - left)?;
                taken = self.filled;
            } else {
                break;
            }
        }
        self.inbox.copy_within(taken..self.filled, 0);
        self.filled -= taken;
        if let Some(length) = self.stated(0)
            && length + 4 > self.inbox.len()
        {
            if length > REQUEST_BYTES_MAX && self.key(0) != Some(ApiKey::Produce.code()) {
                return Ok(false);
            }
            let room = length.min(REQUEST_BYTES_MAX) + 4;
            self.inbox.resize(room.max(self.inbox.len()), 0);
        }
        self.stream.write_all(&self.answers)?;
        self.answers.clear();
        Ok(true)
    }

    fn stated(&self, at: usize) -> Option<usize> {
        let prefix = self.inbox[at..self.filled].first_chunk()?;
        Some(u32::from_be_bytes(*prefix) as usize)
    }

    fn key(&self, at: usize) -> Option<i16> {
        let key = self.inbox[at..self.filled].get(4..6)?;
        Some(i16::from_be_bytes([key[0], key[1]]))
    }

    /// Lets the kernel drop what is still to come of a request.
    fn drop_bytes(&mut self, mut bytes: usize) -> io::Result<()> {
        while bytes > 0 {
            // SAFETY: with MSG_TRUNC TCP writes nothing into the buffer.
            let dropped = unsafe {
                libc::recv(
                    self.stream.as_raw_fd(),
                    std::ptr::null_mut(),
                    bytes,
                    libc::MSG_TRUNC,
                )
            };
            match dropped {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                dropped if dropped < 0 => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
                dropped => bytes -= dropped as usize,
            }
        }
        Ok(())
    }

    /// Answers the request of which `length` bytes are there.
    fn answer(&mut self, at: usize, length: usize) -> io::Result<()> {
        let frame = &self.inbox[at + 4..at + 4 + length];
        let broken = || io::Error::from(io::ErrorKind::InvalidData);
        if frame.starts_with(&ApiKey::Produce.code().to_be_bytes()) {
            let correlation = frame.get(4..8).ok_or_else(broken)?;
            let tail = match &self.tail {
                Some(tail) => tail,
                None => self.tail.insert(produce_answer(frame).ok_or_else(broken)?),
            };
            let length = (tail.len() + 4) as u32;
            self.answers.extend(length.to_be_bytes());
            self.answers.extend(correlation);
            self.answers.extend(tail);
            return Ok(());
        }
        let frame = Bytes::copy_from_slice(frame);
        let (header, request) = decode_request(&frame).map_err(|_| broken())?;
        if let (Request::Fetch(asked), Some(stock)) = (&request, &self.stock) {
            self.stream.write_all(&self.answers)?;
            self.answers.clear();
            let id = header.correlation_id;
            return fetch::answer(&mut self.stream, id, asked, stock);
        }
        let response = respond(request, self.address).ok_or_else(broken)?;
        for part in encode_response(header.api_version, header.correlation_id, &response) {
            self.answers.extend(part);
        }
        Ok(())
    }
}

/// What follows the correlation id in an answer to Produce in version 8: success for one partition of one topic.
fn produce_answer(frame: &[u8]) -> Option<Vec<u8>> {
    let client = i16::from_be_bytes([*frame.get(8)?, *frame.get(9)?]).max(0) as usize;
    // Behind the client's name: no transaction, acks, time, one topic.
    let topic_at = 10 + client + 2 + 2 + 4 + 4;
    let length = i16::from_be_bytes([*frame.get(topic_at)?, *frame.get(topic_at + 1)?]);
    let topic = frame.get(topic_at..topic_at + 2 + length.max(0) as usize)?;
    let mut answer = 1i32.to_be_bytes().to_vec();
    answer.extend(topic);
    answer.extend(1i32.to_be_bytes());
    // Partition, no error, offset, time, log start, no errors of records, no message, no throttling.
    answer.extend([0; 4 + 2 + 8]);
    answer.extend((-1i64).to_be_bytes());
    answer.extend([0; 8 + 4]);
    answer.extend((-1i16).to_be_bytes());
    answer.extend([0; 4]);
    Some(answer)
}

/// The answer to a question that comes before a run.
fn respond(request: Request, address: SocketAddr) -> Option<Response> {
    Some(match request {
        Request::ApiVersions(_) => ApiVersionsResponse {
            api_keys: millstream_net::wire::advertised(),
            ..ApiVersionsResponse::default()
        }
        .into(),
        Request::CreateTopics(request) => CreateTopicsResponse {
            topics: request
                .topics
                .into_iter()
                .map(|topic| CreatableTopicResult {
                    name: topic.name,
                    ..CreatableTopicResult::default()
                })
                .collect(),
            ..CreateTopicsResponse::default()
        }
        .into(),
        Request::Metadata(request) => MetadataResponse {
            brokers: vec![MetadataBroker {
                node_id: 1,
                host: Str::from(address.ip().to_string().as_str()),
                port: i32::from(address.port()),
                ..MetadataBroker::default()
            }],
            controller_id: 1,
            topics: request
                .topics
                .unwrap_or_default()
                .into_iter()
                .map(topic)
                .collect(),
            ..MetadataResponse::default()
        }
        .into(),
        Request::ListOffsets(request) => ListOffsetsResponse {
            topics: request.topics.into_iter().map(offsets).collect(),
            ..ListOffsetsResponse::default()
        }
        .into(),
        Request::InitProducerId(_) => InitProducerIdResponse {
            producer_id: 1,
            ..InitProducerIdResponse::default()
        }
        .into(),
        _ => return None,
    })
}

/// Partitions that every topic has here.
pub const PARTITIONS: u32 = 1 << 14;

fn topic(topic: MetadataRequestTopic) -> MetadataTopic {
    let partitions = (0..PARTITIONS as i32).map(|partition_index| MetadataPartition {
        partition_index,
        leader_id: 1,
        ..MetadataPartition::default()
    });
    MetadataTopic {
        error_code: ErrorCode::None,
        name: topic.name,
        partitions: partitions.collect(),
        ..MetadataTopic::default()
    }
}

fn offsets(topic: ListOffsetsTopic) -> ListOffsetsTopicResponse {
    let partitions = topic.partitions.into_iter();
    ListOffsetsTopicResponse {
        name: topic.name,
        partitions: partitions
            .map(|partition| ListOffsetsPartitionResponse {
                partition_index: partition.partition_index,
                offset: 0,
                ..ListOffsetsPartitionResponse::default()
            })
            .collect(),
    }
}
