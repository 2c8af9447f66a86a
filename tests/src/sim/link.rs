//! A client's end of one simulated connection: frames under way to the node, bytes under way back.
//!
//! Always: (1) both directions keep their order; (2) what is under way is lost when the connection ends; (3) an answer must be the
//! one to the oldest request.

use super::node::{Conn, Node};
use crate::wire;
use bytes::{Bytes, BytesMut};
use millstream_net::wire::Call;
use millstream_storage::ids::ShardIndex;
use millstream_storage::sim::SimRng;
use std::collections::VecDeque;

/// One connection, or none; `T` is what a client remembers of a request.
pub struct Link<T> {
    conn: Option<Conn>,
    sending: VecDeque<Bytes>,
    stream: BytesMut,
    asked: VecDeque<(i32, T)>,
    next_id: i32,
}

/// What is left to do for one who uses a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Ask the next question.
    Ask,
    /// Take an answer.
    Receive,
    /// It is done.
    Nothing,
}

impl<T> Default for Link<T> {
    fn default() -> Link<T> {
        Link {
            conn: None,
            sending: VecDeque::new(),
            stream: BytesMut::new(),
            asked: VecDeque::new(),
            next_id: 0,
        }
    }
}

impl<T> Link<T> {
    /// Whether there is a connection.
    pub fn is_up(&self) -> bool {
        self.conn.is_some()
    }

    /// Requests without an answer.
    pub fn open_count(&self) -> usize {
        self.asked.len()
    }

    /// What one who has one question open at a time does next; its connection and what is on the way are done here.
    pub fn next(&mut self, node: &mut Node, rng: &mut SimRng) -> Next {
        if !self.is_up() {
            self.connect(node, rng);
        } else if self.open_count() == 0 {
            return Next::Ask;
        } else if rng.percent(30) {
            self.deliver(node);
        } else {
            return Next::Receive;
        }
        Next::Nothing
    }

    /// Connects to any shard.
    pub fn connect(&mut self, node: &mut Node, rng: &mut SimRng) {
        let shard = rng.below(u64::from(node.shard_count())) as u16;
        self.conn = Some(node.connect(ShardIndex(shard)));
    }

    /// Forgets the connection, with the node or without it: gives back what was asked.
    pub fn end(&mut self, node: Option<&mut Node>) -> Vec<T> {
        if let (Some(conn), Some(node)) = (self.conn.take(), node) {
            node.disconnect(conn);
        }
        self.conn = None;
        self.sending.clear();
        self.stream.clear();
        self.asked.drain(..).map(|(_, asked)| asked).collect()
    }

    /// Puts a request on its way.
    pub fn ask<C: Call + Clone>(&mut self, version: i16, request: &C, asked: T) {
        self.tell(version, request);
        self.asked.push_back((self.next_id, asked));
    }

    /// Puts a request on its way that has no answer.
    pub fn tell<C: Call + Clone>(&mut self, version: i16, request: &C) {
        self.next_id += 1;
        self.sending
            .push_back(wire::frame(version, self.next_id, request));
    }

    /// Lets the oldest request arrive, if the node takes it.
    pub fn deliver(&mut self, node: &mut Node) {
        if let Some(conn) = self.conn
            && node.is_listening(conn)
            && let Some(frame) = self.sending.pop_front()
        {
            node.request(conn, frame);
        }
    }

    /// Takes what the node sent. False if it has closed the connection.
    pub fn receive(&mut self, node: &mut Node) -> bool {
        let Some(conn) = self.conn else {
            return true;
        };
        let received = node.receive(conn);
        self.stream.extend_from_slice(&received);
        node.is_open(conn)
    }

    /// The next answer, with what was asked.
    ///
    /// Panics where it is to another request.
    pub fn next_answer(&mut self) -> Option<(T, Bytes)> {
        let frame = wire::next_frame(&mut self.stream)?;
        let (id, asked) = self.asked.pop_front().expect("nothing is answered unasked");
        let found = i32::from_be_bytes(*frame.first_chunk().expect("an answer has an id"));
        assert_eq!(found, id, "answers come in the order of requests");
        Some((asked, frame))
    }
}
