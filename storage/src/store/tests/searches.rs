//! Searches for a time where batches take long to look through: who looks is the test.

use super::*;
use crate::batch::{Compression, RECORDS_AT};

const ALICE: Asker = Asker(1);
const BOB: Asker = Asker(2);
const END: Offset = Offset(1 << 40);

/// A compressed batch with records at these times.
fn compressed(times: &[i64]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchHeader {
        compression: Compression::Lz4,
        ..BatchHeader::default()
    });
    for time in times {
        builder.push(*time, None, Some(b"value"), &[]);
    }
    builder.finish().to_vec()
}

/// One that no reader can unpack, though its header tells of a time.
fn unreadable(time: i64) -> Vec<u8> {
    let mut batch = compressed(&[time]);
    batch[RECORDS_AT..].fill(b'x');
    let checksum = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&checksum.to_be_bytes());
    batch
}

fn at(offset: i64, timestamp: i64) -> Found {
    Found::At {
        offset: Offset(offset),
        timestamp,
        epoch: LeaderEpoch(3),
    }
}

impl Rig {
    fn append_batch(&mut self, log: LogNumber, batch: impl Into<Bytes>) {
        let batch = batch.into();
        while !self.store.admits(log, batch.len()) {
            self.work(1);
        }
        let stamp = Stamp {
            base_offset: self.store.log_end(log).expect("it is open"),
            leader_epoch: LeaderEpoch(3),
            log_append_time: None,
        };
        let taken = self.store.append(self.now, log, &batch, stamp);
        taken.expect("it was admitted");
    }

    /// Asks for a record that only a batch which takes long can tell.
    fn ask(&mut self, log: LogNumber, sought: Sought, asker: Asker) -> ReadTicket {
        let found = self.store.find(self.now, log, sought, END, asker);
        self.pump();
        match found {
            Found::Wait(ticket) => ticket,
            other => panic!("{other:?}"),
        }
    }

    /// Looks through the batch that was handed out; for whom.
    fn look(&mut self) -> ReadTicket {
        assert_eq!(self.looks.len(), 1, "one batch is handed out at a time");
        let (ticket, look) = self.looks.remove(0);
        self.store.looked(self.now, ticket, look.look());
        self.pump();
        ticket
    }

    fn found(&mut self) -> Vec<(ReadTicket, Found)> {
        std::mem::take(&mut self.found)
    }
}

#[test]
fn a_compressed_batch_is_handed_out_and_the_search_goes_on_with_the_answer() {
    let mut rig = Rig::new(1);
    let log = rig.open(1, LogConfig::default());
    rig.append_batch(log, compressed(&[10, 20, 30]));
    rig.append_batch(log, unreadable(40));
    rig.append_batch(log, compressed(&[35, 50]));

    let ticket = rig.ask(log, Sought::Since(15), ALICE);
    assert_eq!(rig.look(), ticket);
    assert_eq!(rig.found(), [(ticket, at(1, 20))]);

    let ticket = rig.ask(log, Sought::Since(31), ALICE);
    rig.look();
    assert_eq!(rig.found(), [], "what cannot be unpacked has no records");
    rig.look();
    assert_eq!(rig.found(), [(ticket, at(4, 35))]);

    let none = rig.store.find(rig.now, log, Sought::Since(51), END, ALICE);
    assert_eq!(none, Found::None, "headers suffice");
}

#[test]
fn the_newest_record_is_found_among_batches_that_are_handed_out() {
    let mut rig = Rig::new(1);
    let log = rig.open(1, LogConfig::default());
    rig.append_batch(log, compressed(&[10, 70, 30]));
    rig.append_batch(log, unreadable(90));
    let ticket = rig.ask(log, Sought::Newest, ALICE);
    for _ in 0..100 {
        if rig.found.is_empty() {
            rig.look();
        }
    }
    assert_eq!(rig.found(), [(ticket, at(1, 70))]);
}

#[test]
fn a_large_batch_is_handed_out_though_it_is_not_compressed() {
    let mut rig = Rig::new(1);
    let log = rig.open(1, LogConfig::default());
    let mut builder = BatchBuilder::new(BatchHeader::default());
    for time in 0..100 {
        builder.push(time, None, Some(&[7; 1_000]), &[]);
    }
    rig.append_batch(log, builder.finish());
    let ticket = rig.ask(log, Sought::Since(50), ALICE);
    rig.look();
    assert_eq!(rig.found(), [(ticket, at(50, 50))]);
}

#[test]
fn those_who_ask_take_turns() {
    let mut rig = Rig::new(1);
    let log = rig.open(1, LogConfig::default());
    rig.append_batch(log, compressed(&[10, 20, 30]));
    let of_alice = [10, 20, 30].map(|time| rig.ask(log, Sought::Since(time), ALICE));
    let of_bob = [10, 20].map(|time| rig.ask(log, Sought::Since(time), BOB));
    let order: Vec<_> = (0..5).map(|_| rig.look()).collect();
    let [a, b, c] = of_alice;
    let [d, e] = of_bob;
    assert_eq!(order, [a, d, b, e, c]);
    assert_eq!(rig.found().len(), 5);
    assert!(rig.looks.is_empty());
}

#[test]
fn a_search_whose_log_is_gone_is_answered_and_the_next_waits_for_who_still_looks() {
    let mut rig = Rig::new(1);
    let (gone, stays) = (
        rig.open(1, LogConfig::default()),
        rig.open(2, LogConfig::default()),
    );
    for log in [gone, stays] {
        rig.append_batch(log, compressed(&[10, 20]));
    }
    let first = rig.ask(gone, Sought::Since(15), ALICE);
    let second = rig.ask(gone, Sought::Since(15), ALICE);
    let third = rig.ask(stays, Sought::Since(15), ALICE);
    rig.store.drop_log(rig.now, gone);
    rig.pump();
    let mut answers = rig.found();
    answers.sort_by_key(|answer| answer.0);
    assert_eq!(answers, [(first, Found::None), (second, Found::None)]);
    assert_eq!(rig.look(), first, "its answer is of no use, but it counts");
    assert_eq!(rig.look(), third);
    assert_eq!(rig.found(), [(third, at(1, 20))]);
}

#[test]
fn a_search_in_a_log_that_was_cut_begins_again() {
    let mut rig = Rig::new(1);
    let log = rig.open(1, LogConfig::default());
    rig.append_batch(log, compressed(&[10]));
    rig.append_batch(log, compressed(&[20, 30]));
    let ticket = rig.ask(log, Sought::Since(15), ALICE);
    let parked = rig.ask(log, Sought::Since(25), BOB);
    rig.store.truncate(rig.now, log, Offset(1));
    rig.pump();
    assert_eq!(rig.store.log_end(log), Some(Offset(1)));
    rig.append_batch(log, compressed(&[40, 50]));
    for _ in 0..3 {
        rig.look();
    }
    let mut answers = rig.found();
    answers.sort_by_key(|answer| answer.0);
    assert_eq!(answers, [(ticket, at(1, 40)), (parked, at(1, 40))]);
    assert!(rig.looks.is_empty());
}

#[test]
fn a_start_that_moves_while_a_batch_is_looked_through_is_kept() {
    let mut rig = Rig::new(1);
    let log = rig.open(1, LogConfig::default());
    rig.append_batch(log, compressed(&[10, 20, 30]));
    let ticket = rig.ask(log, Sought::Since(15), ALICE);
    rig.store.set_high_watermark(log, Offset(3));
    rig.store.set_log_start(rig.now, log, Offset(2));
    rig.pump();
    rig.look();
    rig.look();
    assert_eq!(rig.found(), [(ticket, at(2, 30))]);
}

#[test]
fn what_is_on_disk_is_read_before_it_is_handed_out() {
    let mut rig = Rig::new(5);
    let log = rig.open(1, small_segments());
    let mut times = 0..;
    for _ in 0..200 {
        let times: Vec<i64> = times.by_ref().take(300).collect();
        rig.append_batch(log, compressed(&times));
        rig.work(5);
    }
    rig.stop();
    rig.store.cache.trim();
    let read = rig.blocks_read;
    let tickets = [7, 30_123, 59_999].map(|time| (time, rig.ask(log, Sought::Since(time), ALICE)));
    for _ in 0..2_000 {
        rig.work(1);
        if !rig.looks.is_empty() {
            rig.look();
        }
    }
    assert!(rig.blocks_read > read, "nothing of it was in memory");
    let mut answers = rig.found();
    answers.sort_by_key(|answer| answer.0);
    assert_eq!(
        answers,
        tickets.map(|(time, ticket)| (ticket, at(time, time)))
    );
}
