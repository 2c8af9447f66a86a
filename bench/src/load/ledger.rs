//! Which batches were sent, acknowledged and received, each of them.
//!
//! Always: counts follow from sets of batches, so they are exact; a batch is lost if it was acknowledged and a reader that had
//! to see it did not.

use super::stamp::Stamp;
use crate::result::Integrity;
use std::collections::VecDeque;

/// A set of numbers from 0. What is there without a gap from the beginning takes no memory, so that a run of days, in which all
/// arrives, has small sets; behind a number that is missing it is a bit for each.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    /// Words before these are full.
    full: u64,
    words: VecDeque<u64>,
}

impl Numbers {
    /// Adds one; whether it was there.
    #[inline]
    pub fn insert(&mut self, number: u64) -> bool {
        let (word, bit) = (number / 64, 1 << (number % 64));
        let Some(word) = word.checked_sub(self.full) else {
            return true;
        };
        let word = word as usize;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let had = self.words[word] & bit != 0;
        self.words[word] |= bit;
        while self.words.front() == Some(&u64::MAX) {
            self.words.pop_front();
            self.full += 1;
        }
        had
    }

    pub fn contains(&self, number: u64) -> bool {
        let Some(word) = (number / 64).checked_sub(self.full) else {
            return true;
        };
        let word = self.words.get(word as usize);
        word.is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    /// Words that take memory.
    #[cfg(test)]
    pub fn words(&self) -> usize {
        self.words.len()
    }
}

/// The batches of one stream.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// Batches numbered so far.
    pub batches: u64,
    pub acknowledged: Numbers,
    /// Where the measured load began; what came before was preloaded.
    pub began_at: u64,
}

/// What a reader has to see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Span {
    /// Every batch of the run.
    All,
    /// What was produced after it began to read.
    SinceItBegan,
    /// It reads again and again: what it sees is checked, what it misses is not.
    Whatever,
}

/// What one reader of all partitions received.
#[derive(Clone, Debug)]
pub struct Received {
    pub span: Span,
    streams: Vec<Stream>,
    received: u64,
    duplicated: u64,
    redelivered: u64,
    out_of_order: u64,
    corrupt: u64,
}

#[derive(Clone, Debug, Default)]
struct Stream {
    seen: Numbers,
    /// The batch after the last one.
    next: u64,
    /// The end of its batch that stands last in the log, of those that came. All batches of a stream are in one partition: what comes from
    /// before this place was read before.
    read_to: i64,
    /// Reading ended before the end of its partition: what is not seen may be there.
    unread: bool,
}

impl Received {
    pub fn new(span: Span, streams: usize) -> Received {
        Received {
            span,
            streams: vec![Stream::default(); streams],
            received: 0,
            duplicated: 0,
            redelivered: 0,
            out_of_order: 0,
            corrupt: 0,
        }
    }

    /// A batch came that begins with this stamp and ends at this offset. One that came before is doubled if it stands in the log once more,
    /// and delivered again if it is the same one, which a group does whose partitions move.
    #[inline]
    pub fn take(&mut self, stamp: &Stamp, end_offset: i64) {
        let Some(stream) = self.streams.get_mut(stamp.stream as usize) else {
            self.corrupt += 1;
            return;
        };
        let records = u64::from(stamp.records);
        self.received += records;
        let again = end_offset <= stream.read_to;
        stream.read_to = stream.read_to.max(end_offset);
        if stamp.batch > MAX_BATCH {
            self.corrupt += 1;
        } else if stream.seen.insert(stamp.batch) {
            if again {
                self.redelivered += records;
            } else {
                self.duplicated += records;
            }
        } else if stamp.batch < stream.next {
            self.out_of_order += records;
        } else {
            stream.next = stamp.batch + 1;
        }
    }

    /// A batch came that is not what was sent.
    pub fn corrupt(&mut self) {
        self.corrupt += 1;
    }

    /// Reading ended before the end of the stream's partition.
    pub fn not_read_to_the_end(&mut self, stream: u32) {
        if let Some(stream) = self.streams.get_mut(stream as usize) {
            stream.unread = true;
        }
    }

    /// It begins again.
    pub fn restart(&mut self) {
        self.streams.fill(Stream::default());
    }

    /// Adds what another thread received for the same reader; their partitions are not the same.
    pub fn merge(&mut self, other: Received) {
        for (mine, theirs) in self.streams.iter_mut().zip(other.streams) {
            if theirs.next > 0 {
                *mine = theirs;
            }
        }
        self.received += other.received;
        self.duplicated += other.duplicated;
        self.redelivered += other.redelivered;
        self.out_of_order += other.out_of_order;
        self.corrupt += other.corrupt;
    }
}

/// BOUND: a stamp with a higher number is damaged; the set of seen batches would take a GiB.
const MAX_BATCH: u64 = 1 << 33;

/// Compares what was sent with what was received. `records_of` gives the records of a batch by its stream and
/// number.
pub fn reconcile(
    sent: &[Sent],
    readers: &[Received],
    records_of: impl Fn(usize, u64) -> u64,
) -> Integrity {
    let mut integrity = Integrity {
        readers: readers.len(),
        ..Integrity::default()
    };
    let checks_all = readers.iter().any(|reader| reader.span == Span::All);
    let checks_new = readers.iter().any(|reader| reader.span != Span::Whatever);
    for (index, stream) in sent.iter().enumerate() {
        for batch in 0..stream.batches {
            let records = records_of(index, batch);
            integrity.sent += records;
            if !stream.acknowledged.contains(batch) {
                integrity.unresolved += records;
                continue;
            }
            integrity.acknowledged += records;
            let preloaded = batch < stream.began_at;
            if !checks_all && (preloaded || !checks_new) {
                integrity.unchecked += records;
            }
            let missed = readers.iter().filter(|reader| {
                let has_to = match reader.span {
                    Span::All => true,
                    Span::SinceItBegan => !preloaded,
                    Span::Whatever => false,
                };
                has_to && !reader.streams[index].seen.contains(batch)
            });
            let (unread, lost): (Vec<_>, Vec<_>) =
                missed.partition(|reader| reader.streams[index].unread);
            integrity.lost += records * lost.len() as u64;
            integrity.unchecked += records * unread.len() as u64;
        }
    }
    for reader in readers {
        integrity.received += reader.received;
        integrity.duplicated += reader.duplicated;
        integrity.redelivered += reader.redelivered;
        integrity.out_of_order += reader.out_of_order;
        integrity.corrupt += reader.corrupt;
    }
    integrity
}
