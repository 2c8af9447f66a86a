//! A node in which everything happens at once: for tests that are about what is answered, not when.

use super::node::{Conn, Node, NodeConfig};
use crate::wire;
use bytes::{Bytes, BytesMut};
use millstream_net::wire::api::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, FetchPartitionResponse,
    FetchRequest, ListOffsetsPartitionResponse, ListOffsetsRequest, ProducePartitionResponse,
    ProduceRequest,
};
use millstream_net::wire::{Call, ErrorCode, Str, Uuid};
use millstream_storage::ids::{Now, ShardIndex, Tick, WallMs};
use millstream_storage::sim::SimDisk;
use std::collections::BTreeMap;

/// The wall clock at which simulations begin (ms).
pub const EPOCH_MS: i64 = 1_700_000_000_000;

/// A running node with some connections.
pub struct Broker {
    /// The node.
    pub node: Node,
    config: NodeConfig,
    starts: u64,
    conn: Conn,
    streams: BTreeMap<Conn, BytesMut>,
    correlation_id: i32,
}

impl Default for Broker {
    fn default() -> Broker {
        Broker::new(NodeConfig::default())
    }
}

impl Broker {
    /// A blank node.
    pub fn new(config: NodeConfig) -> Broker {
        let now = Now {
            tick: Tick(1_000_000_000),
            wall: WallMs(EPOCH_MS),
        };
        Broker::on(config, SimDisk::new(), 1, now)
    }

    fn on(config: NodeConfig, disk: SimDisk, starts: u64, now: Now) -> Broker {
        let mut broker = Broker::beginning(config, disk, starts, now);
        broker.node.settle();
        broker
    }

    fn beginning(config: NodeConfig, disk: SimDisk, starts: u64, now: Now) -> Broker {
        let mut node = Node::start(&config, disk, starts, now, starts);
        let conn = node.connect(ShardIndex(0));
        Broker {
            node,
            config,
            starts,
            conn,
            streams: BTreeMap::new(),
            correlation_id: 0,
        }
    }

    /// Stops the process with `kill -9` and starts another one on its disk.
    pub fn restart(self) -> Broker {
        let mut broker = self.begin_again();
        broker.node.settle();
        broker
    }

    /// The same, to look at while it begins: `go_on` lets it.
    pub fn begin_again(self) -> Broker {
        let now = self.node.now();
        let mut rng = millstream_storage::sim::SimRng::new(self.starts);
        let disk = self.node.kill(&mut rng);
        Broker::beginning(self.config, disk, self.starts + 1, now)
    }

    /// One turn of each shard, then one letter of each way, and what the disk has in flight.
    pub fn go_on(&mut self) {
        for shard in self.node.shards() {
            self.node.turn(shard);
        }
        for (from, to) in self.node.mail_routes() {
            self.node.deliver(from, to);
        }
        while self.node.disk_pending() > 0 {
            self.node.complete(0);
        }
    }

    /// The connection that `call` uses, on shard 0.
    pub fn conn(&self) -> Conn {
        self.conn
    }

    /// Another connection.
    pub fn connect(&mut self, shard: u16) -> Conn {
        self.node.connect(ShardIndex(shard))
    }

    /// Lets everything happen but what the workshop does.
    pub fn run_without_workshop(&mut self) {
        let workshop = ShardIndex(self.node.shard_count());
        for _ in 0..20 {
            for shard in self.node.shards() {
                self.node.turn(shard);
            }
            for (from, to) in self.node.mail_routes() {
                if to != workshop {
                    self.node.deliver(from, to);
                }
            }
            while self.node.disk_pending() > 0 {
                self.node.complete(0);
            }
        }
    }

    /// Sends a request and lets everything happen.
    pub fn send<C: Call + Clone>(&mut self, conn: Conn, version: i16, request: &C) -> i32 {
        let id = self.post(conn, version, request);
        self.node.settle();
        id
    }

    /// Sends a request, and nothing else happens.
    pub fn post<C: Call + Clone>(&mut self, conn: Conn, version: i16, request: &C) -> i32 {
        self.correlation_id += 1;
        let frame = wire::frame(version, self.correlation_id, request);
        self.node.request(conn, frame);
        self.correlation_id
    }

    /// Sends bytes as one frame, without its length prefix.
    pub fn send_bytes(&mut self, conn: Conn, frame: &[u8]) {
        self.node.request(conn, Bytes::copy_from_slice(frame));
        self.node.settle();
    }

    /// The next whole answer on a connection, without its length prefix.
    pub fn next(&mut self, conn: Conn) -> Option<Bytes> {
        let next = self.arrived(conn);
        self.node.settle();
        next
    }

    /// The same, and nothing else happens.
    pub fn arrived(&mut self, conn: Conn) -> Option<Bytes> {
        let received = self.node.receive(conn);
        let stream = self.streams.entry(conn).or_default();
        stream.extend_from_slice(&received);
        wire::next_frame(stream)
    }

    /// Whether the node has closed a connection; what it sent before is taken.
    pub fn is_closed(&mut self, conn: Conn) -> bool {
        let received = self.node.receive(conn);
        self.streams
            .entry(conn)
            .or_default()
            .extend_from_slice(&received);
        self.node.settle();
        !self.node.is_open(conn)
    }

    /// The next answer, which must be to `correlation_id`.
    pub fn expect<C: Call + Clone>(
        &mut self,
        conn: Conn,
        version: i16,
        correlation_id: i32,
    ) -> C::Response {
        let frame = self.next(conn);
        let frame = frame.unwrap_or_else(|| panic!("no answer; {:?}", self.node.fatal()));
        let (id, response) = wire::answer::<C>(version, &frame);
        assert_eq!(id, correlation_id, "answers come in the order of requests");
        response
    }

    /// A request and its answer.
    pub fn call<C: Call + Clone>(&mut self, version: i16, request: &C) -> C::Response {
        let conn = self.conn;
        let id = self.send(conn, version, request);
        self.expect::<C>(conn, version, id)
    }

    /// Creates a topic.
    pub fn create(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let request = CreateTopicsRequest {
            topics: vec![topic(name, partitions, configs)],
            ..CreateTopicsRequest::default()
        };
        let response = self.call(5, &request);
        let result = &response.topics[0];
        assert_eq!(
            result.error_code,
            ErrorCode::None,
            "{:?}",
            result.error_message
        );
    }

    /// Produces to one partition.
    pub fn produce(&mut self, version: i16, request: &ProduceRequest) -> ProducePartitionResponse {
        let mut response = self.call(version, request);
        response.responses.remove(0).partitions.remove(0)
    }

    /// Appends values to a partition with acks=-1 and gives the base offset.
    pub fn append(&mut self, topic: &str, partition: i32, values: &[&str]) -> i64 {
        let batch = wire::batch(self.node.now().wall.0, values);
        let response = self.produce(9, &wire::produce(-1, topic, partition, batch));
        assert_eq!(response.error_code, ErrorCode::None);
        response.base_offset
    }

    /// The id of a topic; zero where there is none of that name.
    pub fn topic_id(&mut self, name: &str) -> Uuid {
        let mut request = wire::metadata(&[name]);
        request.allow_auto_topic_creation = false;
        self.call(12, &request).topics[0].topic_id
    }

    /// The request with the ids of its topics beside their names, fit for every version.
    pub fn with_ids<C: NamesTopics>(&mut self, mut request: C) -> C {
        for (name, id) in request.topics_mut() {
            *id = self.topic_id(name);
        }
        request
    }

    /// Fetches from one partition.
    pub fn fetch(&mut self, version: i16, request: &FetchRequest) -> FetchPartitionResponse {
        let mut response = self.call(version, request);
        response.responses.remove(0).partitions.remove(0)
    }

    /// Looks up an offset in one partition.
    pub fn list_offsets(
        &mut self,
        version: i16,
        request: &ListOffsetsRequest,
    ) -> ListOffsetsPartitionResponse {
        let mut response = self.call(version, request);
        response.topics.remove(0).partitions.remove(0)
    }
}

/// A request that names topics by name or by id.
pub trait NamesTopics {
    /// Names and ids of its topics.
    fn topics_mut(&mut self) -> Vec<(&Str, &mut Uuid)>;
}

impl NamesTopics for FetchRequest {
    fn topics_mut(&mut self) -> Vec<(&Str, &mut Uuid)> {
        let topics = self.topics.iter_mut();
        let topics = topics.map(|one| (&one.topic, &mut one.topic_id));
        let forgotten = self.forgotten_topics_data.iter_mut();
        let forgotten = forgotten.map(|one| (&one.topic, &mut one.topic_id));
        topics.chain(forgotten).collect()
    }
}

impl NamesTopics for ProduceRequest {
    fn topics_mut(&mut self) -> Vec<(&Str, &mut Uuid)> {
        let topics = self.topics.iter_mut();
        topics.map(|one| (&one.name, &mut one.topic_id)).collect()
    }
}

/// A topic to create.
pub fn topic(name: &str, partitions: i32, configs: &[(&str, &str)]) -> CreatableTopic {
    let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
        name: (*name).into(),
        value: Some((*value).into()),
    });
    CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: -1,
        configs: configs.collect(),
        ..CreatableTopic::default()
    }
}

/// The values of the records in an answer, with their offsets.
pub fn values(answer: &FetchPartitionResponse) -> Vec<(i64, String)> {
    let records = answer
        .records
        .as_ref()
        .expect("records are empty, never null");
    wire::values(&records.0)
}
