//! One consuming connection: where it is in each of its partitions, what it asks next, what it makes of the answers. No
//! sockets, no clock.
//!
//! Always: (1) every batch is checked (CRC, records, sequence numbers) before it counts; (2) records before the position that
//! was asked for are passed over, as any client does.

use super::answer::{FetchedPartition, read_fetch};
use super::ledger::Received;
use super::stamp::{Stamp, UNTIMED, has_index};
use super::template::CLIENT_ID;
use crate::result::Flow;
use crate::workload::{Isolation, Workload};
use millstream_net::wire::api::{FetchPartition, FetchRequest, FetchTopic};
use millstream_net::wire::{ErrorCode, Str, encode_request};
use millstream_storage::batch::{OpenBatch, check};
use std::collections::HashMap;

/// The last version of Fetch whose fields have fixed widths.
pub const FETCH_VERSION: i16 = 11;
/// BOUND: what a batch may decompress to.
const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

/// A partition and how far it is read.
#[derive(Clone, Debug)]
pub struct Place {
    /// The topic, as an index into the run's topics.
    pub topic: u32,
    pub partition: i32,
    pub start: i64,
    pub next: i64,
    /// Where it ended when reading began: a reader that replays begins again there.
    pub known_end: i64,
    /// The offset at which it is read to its end, once that is known.
    pub target: i64,
}

/// One connection's reading.
#[derive(Debug)]
pub struct Reader {
    places: Vec<Place>,
    /// Where a topic's partition stands in `places`.
    index: HashMap<(u32, i32), usize>,
    /// The place that the next request names first, so that all get their turn.
    turn: usize,
    correlation_id: i32,
    asked_ns: Option<u64>,
    replay: bool,
    /// A reader that replays was told to stop.
    stopped: bool,
    /// Its places may not be read now.
    paused: bool,
    /// The answer that comes is to places that it has no longer.
    void: bool,
}

/// What an answer brought.
#[derive(Debug, Default)]
pub struct Brought {
    pub flow: Flow,
    /// When the request was sent.
    pub asked_ns: u64,
}

impl Reader {
    pub fn new(places: Vec<Place>, replay: bool) -> Reader {
        let keys = places.iter().map(|place| (place.topic, place.partition));
        Reader {
            index: keys.zip(0..).collect(),
            places,
            turn: 0,
            correlation_id: 0,
            asked_ns: None,
            replay,
            stopped: false,
            paused: false,
            void: false,
        }
    }

    /// Its places, as far as they are read.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    pub fn has_places(&self) -> bool {
        !self.places.is_empty()
    }

    pub fn replays(&self) -> bool {
        self.replay
    }

    /// Whether a request can be made now.
    pub fn may_ask(&self) -> bool {
        self.asked_ns.is_none() && !self.paused && !self.places.is_empty()
    }

    /// Whether an answer is to come.
    pub fn is_asking(&self) -> bool {
        self.asked_ns.is_some()
    }

    /// Stops reading; whether it did read.
    pub fn pause(&mut self) -> bool {
        self.void = self.asked_ns.is_some();
        !std::mem::replace(&mut self.paused, true)
    }

    /// Forgets its places, and reads again what it gets.
    pub fn clear(&mut self) {
        self.places.clear();
        self.paused = false;
        self.number_places();
    }

    /// Gives away the places that are not to be read here any more.
    pub fn take_places(&mut self, leaving: impl Fn(&Place) -> bool) -> Vec<Place> {
        if self.paused {
            return Vec::new();
        }
        let (leave, stay): (Vec<Place>, Vec<Place>) = std::mem::take(&mut self.places)
            .into_iter()
            .partition(leaving);
        self.places = stay;
        if !leave.is_empty() {
            self.number_places();
        }
        leave
    }

    /// Reads one more place.
    pub fn put_place(&mut self, place: Place) {
        self.places.push(place);
        self.number_places();
    }

    fn number_places(&mut self) {
        self.void = self.asked_ns.is_some();
        self.turn = 0;
        let keys = self
            .places
            .iter()
            .map(|place| (place.topic, place.partition));
        self.index = keys.zip(0..).collect();
    }

    /// Topic and partition of what is not read to its end.
    pub fn unread(&self) -> impl Iterator<Item = (u32, i32)> {
        let unread = self.places.iter().filter(|place| place.next < place.target);
        unread.map(|place| (place.topic, place.partition))
    }

    /// Tells where each of its partitions ends: reading stops there.
    pub fn end_at(&mut self, end_of: impl Fn(u32, i32) -> i64) {
        self.stopped = self.replay;
        for place in &mut self.places {
            place.target = end_of(place.topic, place.partition);
        }
    }

    /// Whether everything up to the ends is read.
    pub fn is_done(&self) -> bool {
        self.stopped || self.places.iter().all(|place| place.next >= place.target)
    }

    /// The connection is gone; what was asked is asked again.
    pub fn abandon(&mut self) {
        self.asked_ns = None;
        self.void = false;
    }

    /// The bytes of the next request.
    pub fn ask(&mut self, workload: &Workload, topics: &[Str], now_ns: u64) -> Vec<u8> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        self.asked_ns = Some(now_ns);
        let count = self.places.len();
        let mut asked: Vec<FetchTopic> = Vec::new();
        for index in (0..count).map(|index| (self.turn + index) % count) {
            let place = &self.places[index];
            let topic = &topics[place.topic as usize];
            if asked.last().is_none_or(|last| last.topic != *topic) {
                asked.push(FetchTopic {
                    topic: topic.clone(),
                    ..FetchTopic::default()
                });
            }
            let last = asked.last_mut().expect("one was just pushed");
            last.partitions.push(FetchPartition {
                partition: place.partition,
                fetch_offset: place.next,
                partition_max_bytes: workload.fetch_bytes,
                ..FetchPartition::default()
            });
        }
        self.turn = (self.turn + 1) % count;
        let request = FetchRequest {
            max_wait_ms: workload.fetch_wait_ms,
            min_bytes: workload.fetch_min_bytes,
            max_bytes: workload.fetch_max_bytes,
            isolation_level: i8::from(workload.isolation == Isolation::Committed),
            topics: asked,
            ..FetchRequest::default()
        };
        let client = Str::from(CLIENT_ID);
        encode_request(
            FETCH_VERSION,
            self.correlation_id,
            Some(&client),
            &request.into(),
        )
        .concat()
    }

    /// An answer came: a frame without its length prefix. `timed` gets the due time of each batch of this run, `failed` each
    /// error code.
    pub fn answer(
        &mut self,
        frame: &[u8],
        topics: &[Str],
        tag: u32,
        received: &mut Received,
        mut timed: impl FnMut(u64),
        mut failed: impl FnMut(i16),
    ) -> Result<Brought, String> {
        let asked_ns = self
            .asked_ns
            .take()
            .ok_or("the broker answers although nothing was asked")?;
        if std::mem::take(&mut self.void) {
            return Ok(Brought {
                asked_ns,
                ..Brought::default()
            });
        }
        let mut flow = Flow::default();
        let mut stray = false;
        let (places, index) = (&mut self.places, &self.index);
        let code = read_fetch(frame, self.correlation_id, |fetched| {
            let topic = topics
                .iter()
                .position(|topic| topic.as_bytes() == fetched.topic);
            let found = topic.and_then(|topic| index.get(&(topic as u32, fetched.partition)));
            match found.map(|found| &mut places[*found]) {
                None => stray = true,
                Some(place) if fetched.code != 0 => {
                    failed(fetched.code);
                    if fetched.code == ErrorCode::OffsetOutOfRange.code() {
                        place.next = place.next.max(fetched.log_start);
                    }
                }
                Some(place) => take(place, fetched, tag, received, &mut flow, &mut timed),
            }
        });
        match code {
            None => return Err("the broker's answer to a fetch request cannot be read".into()),
            Some(_) if stray => {
                return Err(
                    "the broker answers a fetch with a partition that was not asked for".into(),
                );
            }
            Some(0) => {}
            Some(code) => failed(code),
        }
        flow.requests = u64::from(flow.records > 0);
        let at_end = |place: &Place| place.next >= place.known_end;
        if self.replay && self.places.iter().all(at_end) {
            received.restart();
            for place in &mut self.places {
                place.next = place.start;
            }
        }
        Ok(Brought { flow, asked_ns })
    }
}

/// Takes the whole batches of one partition.
fn take(
    place: &mut Place,
    fetched: FetchedPartition<'_>,
    tag: u32,
    received: &mut Received,
    flow: &mut Flow,
    timed: &mut impl FnMut(u64),
) {
    let mut rest = fetched.batches;
    while let Some(length) = rest.get(8..12) {
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize + 12;
        let Some(batch) = rest.get(..length) else {
            return;
        };
        rest = &rest[length..];
        let head = match check(batch) {
            Ok(head) => head,
            Err(_) => {
                received.corrupt();
                continue;
            }
        };
        if head.last_offset().0 < place.next {
            continue;
        }
        place.next = head.end_offset().0;
        flow.bytes += length as u64;
        flow.records += head.record_count.max(0) as u64;
        if head.attributes.is_control() {
            continue;
        }
        match stamp_of(batch, tag) {
            Ok(Some(stamp)) => {
                received.take(&stamp, head.end_offset().0);
                if stamp.due_ns != UNTIMED {
                    timed(stamp.due_ns);
                }
            }
            Ok(None) => {}
            Err(()) => received.corrupt(),
        }
    }
}

/// The stamp of a batch whose records are all there; nothing if it is of another run.
fn stamp_of(batch: &[u8], tag: u32) -> Result<Option<Stamp>, ()> {
    let open = OpenBatch::new(batch, DECOMPRESSED_BYTES_MAX).map_err(|_| ())?;
    let mut records = open.records();
    let first = records.next().ok_or(())?.map_err(|_| ())?;
    let Some(stamp) = first.value.and_then(|value| Stamp::read(tag, value)) else {
        return Ok(None);
    };
    let mut count = 1;
    for record in records {
        let value = record.map_err(|_| ())?.value.ok_or(())?;
        if !has_index(tag, count, value) {
            return Err(());
        }
        count += 1;
    }
    if count == stamp.records {
        Ok(Some(stamp))
    } else {
        Err(())
    }
}
