//! One producing connection: which requests wait, which are in flight, what the bytes on the wire are. No sockets, no clock.
//!
//! Always: (1) answers come in the order of requests; anything else is an error of the broker; (2) at most `slots` requests are
//! in flight, later ones wait and keep their due time.

use super::answer::Cursor;
use super::template::{Numbers, Template};
use std::collections::VecDeque;

/// Bytes that one send takes at most; more would only wait in the socket.
const SEND_BYTES_MAX: usize = 1 << 20;
/// Pieces of one send: the kernel takes 1024.
pub const PIECES_MAX: usize = 256;

/// A request in flight.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flight {
    /// When it was due.
    pub due_ns: u64,
    /// Its stream, as an index into those of the thread.
    pub stream: u32,
    /// Its batch in the stream.
    pub batch: u64,
    /// Its template in the pool.
    pub template: u32,
}

/// A request that waits for a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Due {
    pub stream: u32,
    pub due_ns: u64,
    /// The batch that is sent again; without it the next one of the stream.
    pub again: Option<u64>,
}

/// What a broker said to a request.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub flight: Flight,
    /// The error code of the protocol; 0 for none.
    pub code: i16,
}

/// One connection's requests.
#[derive(Debug)]
pub struct Producer {
    head_bytes: usize,
    heads: Vec<u8>,
    flights: Vec<Flight>,
    /// Requests numbered, sent whole, and answered, since the beginning.
    queued: u64,
    sent: u64,
    answered: u64,
    /// Bytes of the next request that were sent.
    sent_bytes: usize,
    /// Requests that are due and have no slot.
    waiting: VecDeque<Due>,
}

impl Producer {
    /// With so many slots for heads that are at most so long.
    pub fn new(slots: usize, head_bytes: usize) -> Producer {
        Producer {
            head_bytes,
            heads: vec![0; head_bytes * slots],
            flights: vec![Flight::default(); slots],
            queued: 0,
            sent: 0,
            answered: 0,
            sent_bytes: 0,
            waiting: VecDeque::new(),
        }
    }

    /// Whether a request may be sent now.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.queued - self.answered < self.flights.len() as u64
    }

    /// Whether something is to be sent.
    #[inline]
    pub fn has_unsent(&self) -> bool {
        self.queued > self.sent
    }

    pub fn in_flight(&self) -> u64 {
        self.queued - self.answered
    }

    /// A request is due that has no slot.
    #[inline]
    pub fn wait(&mut self, due: Due) {
        self.waiting.push_back(due);
    }

    /// Requests that were in flight, in their order, are to be sent again before anything else.
    pub fn wait_again(&mut self, flights: Vec<Flight>) {
        for flight in flights.into_iter().rev() {
            self.waiting.push_front(Due {
                stream: flight.stream,
                due_ns: flight.due_ns,
                again: Some(flight.batch),
            });
        }
    }

    /// What waits of a stream, which is carried by another connection from now on.
    pub fn take_waiting(&mut self, stream: u32) -> Vec<Due> {
        let (leaving, staying) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|due| due.stream == stream);
        self.waiting = staying;
        Vec::from(leaving as VecDeque<Due>)
    }

    /// Requests that are due and have no slot.
    pub fn backlog(&self) -> usize {
        self.waiting.len()
    }

    /// The one that waits longest, if there is a slot for it; it goes on waiting.
    #[inline]
    pub fn first_waiting(&self) -> Option<Due> {
        self.waiting.front().filter(|_| self.has_room()).copied()
    }

    /// The one that waits longest, if there is a slot for it.
    #[inline]
    pub fn next_waiting(&mut self) -> Option<Due> {
        if !self.has_room() {
            return None;
        }
        self.waiting.pop_front()
    }

    /// Numbers a request into a free slot.
    #[inline]
    pub fn queue(&mut self, template: &Template, flight: Flight, mut numbers: Numbers<'_>) {
        assert!(self.has_room(), "the caller asked for room");
        let slot = (self.queued % self.flights.len() as u64) as usize;
        numbers.correlation_id = self.queued as i32;
        let head = &mut self.heads[slot * self.head_bytes..][..template.head_bytes()];
        template.write_head(head, &numbers);
        self.flights[slot] = flight;
        self.queued += 1;
    }

    /// The pieces of what is to be sent next, in order. `template_of` gives a template of the pool.
    #[inline]
    pub fn gather<'a>(
        &'a self,
        template_of: impl Fn(u32) -> &'a Template,
        mut piece: impl FnMut(&'a [u8]),
    ) {
        let (mut bytes, mut pieces, mut skip) = (0, 0, self.sent_bytes);
        for number in self.sent..self.queued {
            let slot = (number % self.flights.len() as u64) as usize;
            let template = template_of(self.flights[slot].template);
            let head = &self.heads[slot * self.head_bytes..][..template.head_bytes()];
            for part in [head, template.tail()] {
                let skipped = skip.min(part.len());
                skip -= skipped;
                if skipped < part.len() {
                    piece(&part[skipped..]);
                    pieces += 1;
                    bytes += part.len() - skipped;
                }
            }
            if bytes >= SEND_BYTES_MAX || pieces + 2 > PIECES_MAX {
                return;
            }
        }
    }

    /// The socket took so many bytes of what was gathered.
    pub fn sent<'a>(&mut self, bytes: usize, template_of: impl Fn(u32) -> &'a Template) {
        self.sent_bytes += bytes;
        while self.sent < self.queued {
            let slot = (self.sent % self.flights.len() as u64) as usize;
            let template = template_of(self.flights[slot].template);
            let whole = template.head_bytes() + template.tail().len();
            if self.sent_bytes < whole {
                return;
            }
            self.sent_bytes -= whole;
            self.sent += 1;
        }
    }

    /// An answer came: a frame without its length prefix.
    #[inline]
    pub fn answer(&mut self, frame: &[u8]) -> Result<Answer, String> {
        let (correlation_id, code) =
            read_answer(frame).ok_or("the broker's answer to a produce request cannot be read")?;
        if self.sent == self.answered {
            return Err("the broker answers although nothing was asked".into());
        }
        if correlation_id != self.answered as i32 {
            return Err(format!(
                "the broker answers request {correlation_id} where {} is the next one",
                self.answered as i32
            ));
        }
        Ok(Answer {
            flight: self.take_flight(),
            code,
        })
    }

    /// Without acknowledgements: the oldest request that was sent whole, which is done by that.
    pub fn unacknowledged(&mut self) -> Option<Flight> {
        (self.answered < self.sent).then(|| self.take_flight())
    }

    /// The connection is gone: a request that was in flight, or nothing if there are no more.
    pub fn abandon(&mut self) -> Option<Flight> {
        if self.answered == self.queued {
            self.sent = self.queued;
            self.sent_bytes = 0;
            return None;
        }
        Some(self.take_flight())
    }

    fn take_flight(&mut self) -> Flight {
        let slot = (self.answered % self.flights.len() as u64) as usize;
        self.answered += 1;
        self.flights[slot]
    }
}

/// The correlation id and the error code of an answer with one topic and one partition, versions 3 to 8.
fn read_answer(frame: &[u8]) -> Option<(i32, i16)> {
    let mut cursor = Cursor::new(frame);
    let correlation_id = cursor.i32()?;
    if cursor.i32()? != 1 {
        return None;
    }
    let name = cursor.i16()?;
    cursor.skip(usize::try_from(name).ok()?)?;
    if cursor.i32()? != 1 {
        return None;
    }
    cursor.i32()?;
    Some((correlation_id, cursor.i16()?))
}
