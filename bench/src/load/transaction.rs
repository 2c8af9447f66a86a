//! One transactional producer: when its transactions begin and end, what is asked of their coordinator. No sockets, no clock.
//!
//! Always: (1) a batch is sent only while its partition is in the open transaction; (2) a batch counts as acknowledged when its
//! transaction is committed, not before; (3) a transaction is never aborted: what would need that ends the run.

use super::answer::Cursor;
use super::part::Failure;
use super::producer::Flight;
use super::template::CLIENT_ID;
use millstream_net::wire::{ErrorCode, Str};
use std::net::SocketAddr;

/// The APIs that this project's own codec does not have, and the version of both.
const ADD_PARTITIONS: (i16, &str) = (24, "AddPartitionsToTxn");
const END: (i16, &str) = (26, "EndTxn");
pub const APIS: [(i16, &str); 2] = [ADD_PARTITIONS, END];
pub const VERSION: i16 = 2;
/// After a coordinator said that it cannot answer now: as a rule it is still writing the end of the transaction before.
const BACK_OFF_NS: u64 = 5_000_000;

/// What a transactional producer is.
#[derive(Clone, Debug)]
pub struct TransactionPlan {
    pub id: Str,
    /// Producer id and epoch.
    pub producer: (i64, i16),
    /// The coordinator when the load began, and its place among those that are looked up.
    pub coordinator: SocketAddr,
    pub key: usize,
}

/// The transactional id of a connection; all of a run are of the same length.
pub fn transactional_id(tag: u32, lane: usize) -> String {
    format!("bench-{tag:08x}-{lane:06}")
}

/// What follows from an answer.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Batches may be sent.
    Opened,
    /// These batches are committed, so long after the first of them was due.
    Committed {
        flights: Vec<Flight>,
        after_ns: u64,
    },
    /// Somebody else coordinates, or nobody now.
    LookUp,
    Failed(Failure),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// There is none.
    Closed,
    /// Its partitions are being told.
    Adding,
    Open,
    Ending,
}

/// A transactional producer.
#[derive(Debug)]
pub struct Transaction {
    pub plan: TransactionPlan,
    topics: Vec<(Str, Vec<i32>)>,
    batches_max: u32,
    state: State,
    /// Nothing more comes: what is open ends as it is.
    flushed: bool,
    /// Batches of this transaction, and those of them that the broker has.
    queued: u32,
    done: Vec<Flight>,
    since_ns: u64,
    asked: bool,
    correlation_id: i32,
    not_before_ns: u64,
}

impl Transaction {
    /// Transactions of so many batches to these partitions.
    pub fn new(
        plan: TransactionPlan,
        batches_max: u32,
        topics: Vec<(Str, Vec<i32>)>,
    ) -> Transaction {
        Transaction {
            plan,
            topics,
            batches_max,
            state: State::Closed,
            flushed: false,
            queued: 0,
            done: Vec::new(),
            since_ns: 0,
            asked: false,
            correlation_id: 0,
            not_before_ns: 0,
        }
    }

    /// Whether a batch that was due then belongs to the open transaction, and may be sent. Without one the next begins.
    pub fn admit(&mut self, due_ns: u64) -> bool {
        match self.state {
            State::Closed => {
                self.state = State::Adding;
                false
            }
            State::Open if self.queued < self.batches_max && !self.flushed => {
                if self.queued == 0 {
                    self.since_ns = due_ns;
                }
                self.queued += 1;
                true
            }
            _ => false,
        }
    }

    /// The broker has a batch.
    pub fn acknowledged(&mut self, flight: Flight) {
        self.done.push(flight);
    }

    /// Nothing more comes.
    pub fn flush(&mut self) {
        self.flushed = true;
    }

    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Whether an answer is to come.
    pub fn is_asking(&self) -> bool {
        self.asked
    }

    /// The connection is gone: what was asked is asked again.
    pub fn broken(&mut self) {
        self.asked = false;
    }

    /// When it next wants to ask something, if nothing happens before.
    pub fn deadline_ns(&self) -> u64 {
        match self.state {
            State::Adding | State::Ending if !self.asked => self.not_before_ns,
            _ => u64::MAX,
        }
    }

    /// The bytes of the next question, if there is one now.
    pub fn next(&mut self, now: u64) -> Option<Vec<u8>> {
        if self.asked || now < self.not_before_ns {
            return None;
        }
        let whole = self.queued >= self.batches_max || self.flushed;
        if self.state == State::Open && whole && self.done.len() == self.queued as usize {
            self.state = State::Ending;
        }
        let asked = match self.state {
            State::Closed | State::Open => return None,
            State::Adding => {
                let mut request = self.begin(ADD_PARTITIONS.0);
                request.extend((self.topics.len() as i32).to_be_bytes());
                for (topic, partitions) in &self.topics {
                    text(&mut request, topic);
                    request.extend((partitions.len() as i32).to_be_bytes());
                    for partition in partitions {
                        request.extend(partition.to_be_bytes());
                    }
                }
                request
            }
            State::Ending => {
                let mut request = self.begin(END.0);
                // Committed.
                request.push(1);
                request
            }
        };
        self.asked = true;
        let mut frame = (asked.len() as i32).to_be_bytes().to_vec();
        frame.extend(asked);
        Some(frame)
    }

    /// The header of a request, and who asks.
    fn begin(&mut self, key: i16) -> Vec<u8> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let mut request = Vec::new();
        request.extend(key.to_be_bytes());
        request.extend(VERSION.to_be_bytes());
        request.extend(self.correlation_id.to_be_bytes());
        text(&mut request, CLIENT_ID);
        text(&mut request, &self.plan.id);
        request.extend(self.plan.producer.0.to_be_bytes());
        request.extend(self.plan.producer.1.to_be_bytes());
        request
    }

    /// An answer came: a frame without its length prefix. An error is one that the run cannot go on with.
    pub fn answer(
        &mut self,
        now: u64,
        frame: &[u8],
        effects: &mut Vec<Effect>,
    ) -> Result<(), String> {
        if !std::mem::take(&mut self.asked) {
            return Err("the coordinator answers although nothing was asked".into());
        }
        let name = match self.state {
            State::Adding => ADD_PARTITIONS.1,
            _ => END.1,
        };
        let read = match self.state {
            State::Adding => read_added(frame),
            _ => read_ended(frame),
        };
        let code = match read {
            Some((correlation_id, code)) if correlation_id == self.correlation_id => code,
            _ => return Err(format!("the coordinator's answer to {name} cannot be read")),
        };
        let code = ErrorCode::from_code(code);
        if code != ErrorCode::None {
            return self.refused(now, name, code, effects);
        }
        if self.state == State::Adding {
            self.state = State::Open;
            effects.push(Effect::Opened);
            return Ok(());
        }
        self.state = State::Closed;
        let flights = std::mem::take(&mut self.done);
        if std::mem::take(&mut self.queued) > 0 {
            let after_ns = now.saturating_sub(self.since_ns);
            effects.push(Effect::Committed { flights, after_ns });
        }
        Ok(())
    }

    fn refused(
        &mut self,
        now: u64,
        name: &'static str,
        code: ErrorCode,
        effects: &mut Vec<Effect>,
    ) -> Result<(), String> {
        if !code.is_retriable() {
            return Err(format!(
                "the coordinator of the transactional id {} refuses {name}: {}",
                &*self.plan.id,
                code.name()
            ));
        }
        // Not a failure: the end of the transaction before is on its way.
        if code != ErrorCode::ConcurrentTransactions {
            effects.push(Effect::Failed((name, code.code(), code.name())));
            effects.push(Effect::LookUp);
        }
        self.not_before_ns = now + BACK_OFF_NS;
        Ok(())
    }
}

fn text(into: &mut Vec<u8>, text: &str) {
    into.extend((text.len() as i16).to_be_bytes());
    into.extend(text.as_bytes());
}

/// The correlation id, and the first error code of a partition or 0.
fn read_added(frame: &[u8]) -> Option<(i32, i16)> {
    let mut cursor = Cursor::new(frame);
    let correlation_id = cursor.i32()?;
    cursor.i32()?;
    let mut first = 0;
    for _ in 0..cursor.i32()? {
        cursor.text()?;
        for _ in 0..cursor.i32()? {
            cursor.i32()?;
            let code = cursor.i16()?;
            // What was not even tried, because another partition was refused, says nothing.
            if first == 0 || first == ErrorCode::OperationNotAttempted.code() {
                first = code;
            }
        }
    }
    Some((correlation_id, first))
}

/// The correlation id and the error code.
fn read_ended(frame: &[u8]) -> Option<(i32, i16)> {
    let mut cursor = Cursor::new(frame);
    let correlation_id = cursor.i32()?;
    cursor.i32()?;
    Some((correlation_id, cursor.i16()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transaction() -> Transaction {
        let plan = TransactionPlan {
            id: Str::from("id"),
            producer: (7, 0),
            coordinator: ([127, 0, 0, 1], 1).into(),
            key: 0,
        };
        Transaction::new(plan, 2, vec![(Str::from("topic"), vec![0, 3])])
    }

    fn added(correlation_id: i32, code: i16) -> Vec<u8> {
        let mut frame = correlation_id.to_be_bytes().to_vec();
        frame.extend(0i32.to_be_bytes());
        frame.extend(1i32.to_be_bytes());
        text(&mut frame, "topic");
        frame.extend(2i32.to_be_bytes());
        for partition in [0i32, 3] {
            frame.extend(partition.to_be_bytes());
            frame.extend(code.to_be_bytes());
        }
        frame
    }

    fn ended(correlation_id: i32, code: i16) -> Vec<u8> {
        let mut frame = correlation_id.to_be_bytes().to_vec();
        frame.extend(0i32.to_be_bytes());
        frame.extend(code.to_be_bytes());
        frame
    }

    fn flight(batch: u64) -> Flight {
        Flight {
            batch,
            ..Flight::default()
        }
    }

    #[test]
    fn batches_wait_for_the_transaction_and_count_when_it_is_committed() {
        let (mut it, mut effects) = (transaction(), Vec::new());
        assert!(!it.admit(10));
        assert_eq!(it.next(10).unwrap()[4..6], 24i16.to_be_bytes());
        assert!(it.next(10).is_none() && !it.admit(10));
        it.answer(20, &added(1, 0), &mut effects).unwrap();
        assert!(matches!(effects[..], [Effect::Opened]));
        assert!(it.admit(10) && it.admit(11) && !it.admit(12));
        it.acknowledged(flight(0));
        assert!(it.next(30).is_none());
        it.acknowledged(flight(1));
        assert_eq!(it.next(30).unwrap()[4..6], 26i16.to_be_bytes());
        effects.clear();
        it.answer(50, &ended(2, 0), &mut effects).unwrap();
        let [
            Effect::Committed {
                flights,
                after_ns: 40,
            },
        ] = &effects[..]
        else {
            panic!("{effects:?}");
        };
        assert_eq!(flights.len(), 2);
        assert!(it.is_closed());
    }

    #[test]
    fn a_part_of_a_transaction_is_committed_at_the_end() {
        let (mut it, mut effects) = (transaction(), Vec::new());
        it.admit(10);
        it.next(10).unwrap();
        it.answer(20, &added(1, 0), &mut effects).unwrap();
        assert!(it.admit(10));
        it.acknowledged(flight(0));
        assert!(it.next(30).is_none());
        it.flush();
        assert_eq!(it.next(30).unwrap()[4..6], 26i16.to_be_bytes());
    }

    #[test]
    fn what_passes_is_asked_again_and_what_does_not_ends_the_run() {
        let (mut it, mut effects) = (transaction(), Vec::new());
        it.admit(10);
        it.next(10).unwrap();
        let concurrent = ErrorCode::ConcurrentTransactions.code();
        it.answer(20, &added(1, concurrent), &mut effects).unwrap();
        assert!(effects.is_empty() && it.next(21).is_none());
        let again = it.deadline_ns();
        it.next(again).unwrap();
        it.broken();
        it.next(again).unwrap();
        let fenced = ErrorCode::ProducerFenced.code();
        let problem = it.answer(again, &added(3, fenced), &mut effects);
        let problem = problem.unwrap_err();
        assert!(
            problem.contains("AddPartitionsToTxn: PRODUCER_FENCED"),
            "{problem}"
        );
    }

    #[test]
    fn nonsense_is_said_to_be_that() {
        for frame in [&b""[..], b"\0\0\0\x09", &added(9, 0)] {
            let mut it = transaction();
            it.admit(10);
            it.next(10).unwrap();
            let problem = it.answer(20, frame, &mut Vec::new()).unwrap_err();
            assert!(problem.contains("cannot be read"), "{problem}");
        }
    }
}
