//! Reads at the owner of partitions: judged by the machine, taken from the store, watched where the reader waits.
//!
//! Always: (1) a reader sees nothing above what its isolation allows at the moment of the read (rule F4); (2) a watch counts
//! every byte that became visible behind that moment, so nothing is missed between a read and the wait; (3) one partition's
//! damage [56] is that partition's error alone; (4) a turn reads little more than `PIECE_PARTITIONS` for each request of that turn, and so
//! many of what is left of former ones.
//! Leaves to others: what a reader does with it (`fetch`).

use super::Core;
use super::slots::SlotId;
use crate::api::errors;
use crate::api::fetch::{PartRead, ReadPart};
use crate::machine::fetch_sessions::SessionId;
use crate::machine::partition::{Isolation, Readable, Reader};
use crate::shard::mail::{
    FetchMail, FetchedMail, Forget, GrownMail, Hop, Mail, RequestId, Subscription, Urgency, Watch,
};
use bytes::Bytes;
use millstream_net::wire::ErrorCode;
use millstream_storage::ids::{LogNumber, Now, ShardIndex, Tick};
use millstream_storage::store::{Read, ReadTicket};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Partitions that are read for one request in one turn; some 100 us.
const PIECE_PARTITIONS: usize = 256;

/// One request's reads at this shard.
pub(super) struct Reading {
    home: ShardIndex,
    request: RequestId,
    round: u32,
    /// What has been read, in the order asked; without records while those wait for the disk.
    done: Vec<PartRead>,
    /// Parts that wait for the disk, and one more while there are parts left to read.
    open: usize,
    /// Logs it watches.
    watched: Vec<LogNumber>,
    watching: bool,
    grown_bytes: usize,
    urgency: Urgency,
    /// Whether it stands in the list of news.
    noted: bool,
}

/// All reads of a shard.
#[derive(Default)]
pub(super) struct Readings {
    table: super::slots::Slots<Reading>,
    /// Which part of which reading waits for the store.
    waiting: BTreeMap<ReadTicket, (SlotId, usize)>,
    /// The reading that watches for a request.
    watching: BTreeMap<(ShardIndex, RequestId), SlotId>,
    /// Readings with news.
    noted: Vec<SlotId>,
    /// What is left of requests for very many partitions. BOUND: by the bounds of their connections.
    later: VecDeque<Rest>,
}

/// What is left of the reads of one request.
struct Rest {
    id: SlotId,
    /// The request without its parts.
    mail: FetchMail,
    parts: std::vec::IntoIter<ReadPart>,
    budget: Budget,
    /// Parts that are to be passed on.
    elsewhere: Vec<(ShardIndex, Vec<ReadPart>)>,
    /// Logs that its session has stopped to watch in the meantime.
    unwanted: BTreeSet<LogNumber>,
}

impl Readings {
    /// Reads that are not answered and watches that stand.
    pub(super) fn count(&self) -> usize {
        self.table.count()
    }

    /// When the next piece is due.
    pub(super) fn deadline(&self) -> Option<Tick> {
        (!self.later.is_empty()).then_some(Tick(0))
    }

    /// A session no longer watches; what is still to be read for it must not begin to.
    pub(super) fn forget(&mut self, home: ShardIndex, session: SessionId, forget: &Forget) {
        for rest in &mut self.later {
            let reads_for = |one: &Subscription| one.session == session;
            if rest.mail.home != home || !rest.mail.session.as_ref().is_some_and(reads_for) {
                continue;
            }
            match forget {
                Forget::All => rest.mail.session = None,
                Forget::Logs(logs) => rest.unwanted.extend(logs),
            }
        }
    }
}

impl Core {
    /// Another shard, or this one, wants partitions read.
    pub(super) fn read(&mut self, now: Now, mut mail: FetchMail) {
        let parts = std::mem::take(&mut mail.parts);
        // Where all of it is passed on, who has it watches.
        let is_here = |part: &ReadPart| self.hosts.find(part.log).is_some();
        let watching = mail.watch == Watch::Yes && parts.iter().any(is_here);
        let id = self.readings.table.insert(Reading {
            home: mail.home,
            request: mail.request,
            round: mail.round,
            done: Vec::with_capacity(parts.len().min(PIECE_PARTITIONS)),
            open: 1,
            watched: Vec::new(),
            watching,
            grown_bytes: 0,
            urgency: Urgency::Normal,
            noted: false,
        });
        if watching {
            let name = (mail.home, mail.request);
            let former = self.readings.watching.insert(name, id);
            assert!(former.is_none(), "a request watches once");
        }
        let budget = Budget {
            left: mail.max_bytes,
            first: true,
        };
        let rest = Rest {
            id,
            mail,
            parts: parts.into_iter(),
            budget,
            elsewhere: Vec::new(),
            unwanted: BTreeSet::new(),
        };
        self.read_some(now, rest);
    }

    /// Reads some of the partitions that are left.
    pub(super) fn turn_reads(&mut self, now: Now) {
        if let Some(rest) = self.readings.later.pop_front() {
            self.read_some(now, rest);
        }
    }

    fn read_some(&mut self, now: Now, mut rest: Rest) {
        let mail = &rest.mail;
        for part in rest.parts.by_ref().take(PIECE_PARTITIONS) {
            if self.hosts.find(part.log).is_none()
                && let Ok(shard) = self.forward(part.topic, part.partition, mail.hop)
            {
                match rest.elsewhere.iter_mut().find(|group| group.0 == shard) {
                    Some(group) => group.1.push(part),
                    None => rest.elsewhere.push((shard, vec![part])),
                }
                continue;
            }
            // ORDER: first it watches, then it reads, so that no change falls between.
            self.watch(rest.id, part.log);
            if let Some(subscription) = mail.session
                && !rest.unwanted.contains(&part.log)
            {
                self.subscribe(part.log, mail.home, subscription);
            }
            let read = self.read_part(now, &part, mail.isolation, &mut rest.budget);
            self.keep_read(rest.id, part.part, read);
        }
        if rest.parts.len() > 0 {
            // ORDER: it stands in the row before its reader hears of it, who may end the session at once.
            let id = rest.id;
            self.readings.later.push_back(rest);
            self.tell_read(now, id);
            return;
        }
        for (shard, parts) in rest.elsewhere {
            let mail = FetchMail {
                hop: Hop::Forwarded,
                index: self.meta.image.index(),
                parts,
                ..rest.mail
            };
            self.send(now, shard, Mail::Fetch(Box::new(mail)));
        }
        if let Some(reading) = self.readings.table.find_mut(rest.id) {
            reading.open -= 1;
        }
        self.finish_read(now, rest.id);
    }

    /// A reading watches a log from now on, unless nobody waits for it any more.
    fn watch(&mut self, id: SlotId, log: LogNumber) {
        if let Some(reading) = self.readings.table.find_mut(id)
            && reading.watching
            && let Some(host) = self.hosts.find_mut(log)
        {
            host.watches.insert(id);
            reading.watched.push(log);
        }
    }

    fn read_part(
        &mut self,
        now: Now,
        part: &ReadPart,
        isolation: Isolation,
        budget: &mut Budget,
    ) -> Result<(PartRead, Option<ReadTicket>), ErrorCode> {
        let Some(host) = self.hosts.find(part.log) else {
            return Err(self.absent(part.topic, part.partition));
        };
        let machine = &host.machine;
        let reader = Reader {
            leader_epoch: part.leader_epoch,
            from: part.offset,
            last_epoch: part.last_epoch,
            isolation,
        };
        let stored = |epoch| self.store.epoch_end(part.log, epoch);
        let readable = machine.readable(&reader, stored);
        let mut read = PartRead {
            part: part.part,
            error: ErrorCode::None,
            high_watermark: machine.high_watermark(),
            last_stable_offset: machine.last_stable_offset(),
            log_start: machine.log_start(),
            diverging: None,
            at_end: false,
            records: Vec::new(),
        };
        let up_to = match readable.map_err(errors::of_read_refusal)? {
            Readable::Below(up_to) => up_to,
            Readable::Diverging { epoch, end } => {
                read.diverging = Some((epoch, end));
                return Ok((read, None));
            }
        };
        let max_bytes = part.max_bytes.min(budget.left);
        read.at_end = part.offset >= up_to;
        if read.at_end || (max_bytes == 0 && !budget.first) {
            return Ok((read, None));
        }
        let first = budget.first;
        match self
            .store
            .read(now, part.log, part.offset, max_bytes, up_to, first)
        {
            Read::Ready { data, .. } => {
                budget.take(data.iter().map(Bytes::len).sum());
                read.records = data;
                Ok((read, None))
            }
            Read::Wait(ticket) => {
                // How much it will be is not known: it may be all it asked for.
                budget.take(max_bytes.max(1));
                Ok((read, Some(ticket)))
            }
            Read::Damaged => Err(ErrorCode::KafkaStorageError),
            Read::OutOfRange => Err(ErrorCode::OffsetOutOfRange),
        }
    }

    fn keep_read(
        &mut self,
        id: SlotId,
        part: u32,
        read: Result<(PartRead, Option<ReadTicket>), ErrorCode>,
    ) {
        let reading = self.readings.table.find_mut(id);
        let reading = reading.expect("it was made for these parts");
        let (read, ticket) = read.unwrap_or_else(|code| (PartRead::refused(part, code), None));
        if let Some(ticket) = ticket {
            reading.open += 1;
            let at = reading.done.len();
            self.readings.waiting.insert(ticket, (id, at));
        }
        reading.done.push(read);
    }

    /// The store has read what was not in memory.
    pub(super) fn read_ready(&mut self, now: Now, ticket: ReadTicket, read: Read) {
        let Some((id, at)) = self.readings.waiting.remove(&ticket) else {
            return;
        };
        let Some(reading) = self.readings.table.find_mut(id) else {
            return;
        };
        let part = &mut reading.done[at];
        match read {
            Read::Ready { data, .. } => part.records = data,
            Read::OutOfRange => *part = PartRead::refused(part.part, ErrorCode::OffsetOutOfRange),
            Read::Damaged | Read::Wait(_) => {
                *part = PartRead::refused(part.part, ErrorCode::KafkaStorageError)
            }
        }
        reading.open -= 1;
        self.finish_read(now, id);
    }

    /// Tells what has been read so far, where all of it is there: who asked has less to do at once.
    fn tell_read(&mut self, now: Now, id: SlotId) {
        let Some(reading) = self.readings.table.find_mut(id) else {
            return;
        };
        if reading.open > 1 || reading.done.is_empty() {
            return;
        }
        let fetched = reading.take_done();
        let home = reading.home;
        self.send(now, home, Mail::Fetched(Box::new(fetched)));
    }

    fn finish_read(&mut self, now: Now, id: SlotId) {
        let Some(reading) = self.readings.table.find_mut(id) else {
            return;
        };
        if reading.open > 0 {
            return;
        }
        let fetched = reading.take_done();
        let home = reading.home;
        if !reading.watching {
            self.readings.table.remove(id);
        }
        if !fetched.parts.is_empty() {
            self.send(now, home, Mail::Fetched(Box::new(fetched)));
        }
    }

    /// A reader no longer waits.
    pub(super) fn unwatch(&mut self, home: ShardIndex, request: RequestId) {
        let Some(id) = self.readings.watching.remove(&(home, request)) else {
            return;
        };
        let Some(reading) = self.readings.table.find_mut(id) else {
            return;
        };
        reading.watching = false;
        for log in std::mem::take(&mut reading.watched) {
            if let Some(host) = self.hosts.find_mut(log) {
                host.watches.remove(&id);
            }
        }
        if reading.open == 0 {
            self.readings.table.remove(id);
        }
    }

    /// Readers of a partition have news.
    pub(super) fn note_watches(&mut self, log: LogNumber, bytes: usize, urgency: Urgency) {
        let Some(host) = self.hosts.find(log) else {
            return;
        };
        for id in &host.watches {
            if let Some(reading) = self.readings.table.find_mut(*id) {
                reading.note(*id, bytes, urgency, &mut self.readings.noted);
            }
        }
        self.tell_subscribers(log, bytes, urgency);
    }

    /// Tells the readers that have news, once per turn.
    pub(super) fn tell_watches(&mut self, now: Now) {
        let mut here = Vec::new();
        for id in std::mem::take(&mut self.readings.noted) {
            let Some(reading) = self.readings.table.find_mut(id) else {
                continue;
            };
            reading.noted = false;
            if !reading.watching {
                continue;
            }
            let grown = GrownMail {
                request: reading.request,
                round: reading.round,
                bytes: std::mem::take(&mut reading.grown_bytes),
                urgency: reading.urgency,
            };
            match reading.home {
                home if home == self.me => here.push(grown),
                home => self.outbox.grown(home, grown),
            }
        }
        for grown in here {
            self.take_grown(now, grown);
        }
        for news in self.subscribers.take_news() {
            self.take_news(now, news);
        }
    }
}

impl Reading {
    fn take_done(&mut self) -> FetchedMail {
        FetchedMail {
            request: self.request,
            round: self.round,
            parts: std::mem::take(&mut self.done),
        }
    }

    fn note(&mut self, id: SlotId, bytes: usize, urgency: Urgency, noted: &mut Vec<SlotId>) {
        self.grown_bytes += bytes;
        self.urgency = self.urgency.max(urgency);
        if !self.noted {
            self.noted = true;
            noted.push(id);
        }
    }
}

/// What one request may still read here.
struct Budget {
    left: usize,
    /// Whether nothing was read yet: then one batch is, however large (rule F1).
    first: bool,
}

impl Budget {
    fn take(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
        self.first &= bytes == 0;
    }
}
