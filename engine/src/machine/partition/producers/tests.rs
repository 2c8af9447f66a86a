//! Sequences, epochs and transactions against the rules (P7 to P10) and against a reference that reads the whole log.

use super::*;
use millstream_storage::ids::LeaderEpoch;
use millstream_storage::sim::SimRng;

fn batch(producer: i64, epoch: i16, sequence: i32, records: i32) -> BatchHead {
    BatchHead {
        base_offset: Offset(0),
        last_offset_delta: records - 1,
        leader_epoch: LeaderEpoch(0),
        max_timestamp: 0,
        producer: ProducerId(producer),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: sequence,
        kind: BatchKind::Plain,
    }
}

fn transactional(producer: i64, epoch: i16, sequence: i32, records: i32) -> BatchHead {
    BatchHead {
        kind: BatchKind::Transactional,
        ..batch(producer, epoch, sequence, records)
    }
}

fn marker(producer: i64, epoch: i16, outcome: Outcome, coordinator_epoch: i32) -> BatchHead {
    BatchHead {
        base_sequence: -1,
        kind: BatchKind::Marker {
            outcome,
            coordinator_epoch,
        },
        ..batch(producer, epoch, 0, 1)
    }
}

/// Producers with the log they stand for.
#[derive(Default)]
struct Log {
    producers: Producers,
    batches: Vec<BatchHead>,
    aborted: Vec<AbortedTransaction>,
}

impl Log {
    fn end(&self) -> Offset {
        self.batches.last().map_or(Offset(0), BatchHead::end)
    }

    fn append(&mut self, head: BatchHead) -> Result<Checked, ProducerRefusal> {
        let checked = self.producers.check(&head)?;
        if matches!(checked, Checked::Next | Checked::Unverified) {
            let head = BatchHead {
                base_offset: self.end(),
                max_timestamp: self.end().0 * 10,
                ..head
            };
            self.producers.append(&head, WallMs(self.end().0));
            self.batches.push(head);
        }
        Ok(checked)
    }

    fn settle(&mut self, to: Offset) {
        self.producers.settle(to, &mut self.aborted);
        self.producers.check_invariants();
    }

    fn settle_all(&mut self) {
        self.settle(self.end());
    }
}

#[test]
fn the_last_five_batches_are_told_from_new_ones_in_both_layers() {
    let mut log = Log::default();
    for sequence in 0..7 {
        assert_eq!(log.append(batch(1, 0, sequence, 1)), Ok(Checked::Next));
        if sequence == 3 {
            log.settle_all();
        }
    }
    for sequence in 0..7 {
        let checked = log.append(batch(1, 0, sequence, 1));
        if sequence < 2 {
            assert_eq!(checked, Err(ProducerRefusal::OutOfOrderSequence));
            continue;
        }
        let Ok(Checked::Duplicate(original)) = checked else {
            panic!("{checked:?}");
        };
        assert_eq!(original.base_offset, Offset(i64::from(sequence)));
        assert_eq!(original.timestamp, i64::from(sequence) * 10);
    }
}

#[test]
fn a_duplicate_has_the_same_first_and_last_sequence() {
    let mut log = Log::default();
    log.append(batch(1, 0, 0, 5)).expect("it is the first");
    let refused = Err(ProducerRefusal::OutOfOrderSequence);
    assert_eq!(log.append(batch(1, 0, 0, 4)), refused);
    assert_eq!(log.append(batch(1, 0, 1, 4)), refused);
    assert_eq!(log.append(batch(1, 0, 6, 1)), refused);
    assert_eq!(log.append(batch(1, 0, 5, 1)), Ok(Checked::Next));
}

#[test]
fn sequences_wrap_from_the_largest_number_to_zero() {
    let mut log = Log::default();
    let first = batch(1, 0, i32::MAX - 1, 2);
    assert_eq!(log.append(first), Ok(Checked::Next));
    assert_eq!(log.append(batch(1, 0, 0, 1)), Ok(Checked::Next));
    let across = batch(2, 0, i32::MAX, 3);
    assert_eq!(across.last_sequence(), 1);
    assert_eq!(log.append(across), Ok(Checked::Next));
    assert_eq!(log.append(batch(2, 0, 2, 1)), Ok(Checked::Next));
    assert!(matches!(log.append(across), Ok(Checked::Duplicate(_))));
}

#[test]
fn epochs_fence_and_begin_at_zero() {
    let mut log = Log::default();
    log.append(batch(1, 3, 0, 1)).expect("it is the first");
    assert_eq!(
        log.append(batch(1, 2, 1, 1)),
        Err(ProducerRefusal::InvalidProducerEpoch)
    );
    let refused = Err(ProducerRefusal::OutOfOrderSequence);
    assert_eq!(log.append(batch(1, 4, 1, 1)), refused);
    assert_eq!(log.append(batch(1, 4, 0, 1)), Ok(Checked::Next));
    log.settle_all();
    assert!(matches!(
        log.append(batch(1, 4, 0, 1)),
        Ok(Checked::Duplicate(_))
    ));
    assert_eq!(
        log.append(batch(1, 3, 0, 1)),
        Err(ProducerRefusal::InvalidProducerEpoch)
    );
}

#[test]
fn an_unknown_producer_may_begin_anywhere_and_an_expired_one_is_unknown() {
    let mut log = Log::default();
    assert_eq!(log.append(batch(1, 0, 41, 1)), Ok(Checked::Next));
    let mut producers = log.producers.clone();
    producers.expire_one(ProducerId(1), WallMs(1 << 40), 1000);
    assert_eq!(producers.count(), 1, "what is not settled does not expire");
    log.settle_all();
    log.producers.expire_one(ProducerId(1), WallMs(999), 1000);
    assert_eq!(
        log.append(batch(1, 0, 50, 1)),
        Err(ProducerRefusal::OutOfOrderSequence)
    );
    log.producers.expire_one(ProducerId(1), WallMs(1000), 1000);
    assert_eq!(log.append(batch(1, 0, 50, 1)), Ok(Checked::Next));
}

#[test]
fn transactions_hold_the_last_stable_offset_until_their_marker_is_settled() {
    let mut log = Log::default();
    log.append(batch(9, 0, 0, 10)).expect("it is the first");
    assert_eq!(
        log.append(transactional(1, 0, 0, 5)),
        Ok(Checked::Unverified)
    );
    assert_eq!(log.append(transactional(1, 0, 5, 5)), Ok(Checked::Next));
    assert_eq!(
        log.append(batch(1, 0, 10, 1)),
        Err(ProducerRefusal::InvalidTransactionState)
    );
    assert_eq!(log.producers.first_open(), None, "nothing is settled");
    log.settle(Offset(15));
    assert_eq!(log.producers.first_open(), Some(Offset(10)));
    assert_eq!(
        log.append(marker(1, 0, Outcome::Abort, 3)),
        Ok(Checked::Next)
    );
    assert_eq!(log.producers.first_open(), Some(Offset(10)));
    log.settle_all();
    assert_eq!(log.producers.first_open(), None);
    let expected = AbortedTransaction {
        producer: ProducerId(1),
        first: Offset(10),
        marker: Offset(20),
        last_stable_offset: Offset(21),
    };
    assert_eq!(log.aborted, [expected]);
    assert_eq!(
        log.append(marker(1, 0, Outcome::Abort, 3)),
        Ok(Checked::MarkerDone)
    );
    assert_eq!(
        log.append(marker(1, 0, Outcome::Commit, 2)),
        Err(ProducerRefusal::CoordinatorFenced)
    );
    assert_eq!(
        log.append(transactional(1, 0, 10, 1)),
        Ok(Checked::Unverified)
    );
    assert_eq!(
        log.append(marker(1, 1, Outcome::Commit, 3)),
        Ok(Checked::Next)
    );
    assert_eq!(
        log.append(transactional(1, 0, 11, 1)),
        Err(ProducerRefusal::InvalidProducerEpoch)
    );
    assert_eq!(
        log.append(transactional(1, 1, 3, 1)),
        Err(ProducerRefusal::OutOfOrderSequence)
    );
    assert_eq!(
        log.append(transactional(1, 1, 0, 1)),
        Ok(Checked::Unverified)
    );
    assert_eq!(log.producers.markers(ProducerId(1)), 2);
}

#[test]
fn hostile_snapshots_are_refused_without_harm() {
    let mut log = Log::default();
    for producer in 0..20 {
        for sequence in 0..6 {
            log.append(transactional(producer, 1, sequence, 1))
                .expect("it is the next one");
        }
    }
    log.settle_all();
    let mut bytes = Vec::new();
    let place = log.producers.encode(&mut bytes);
    assert_eq!(Producers::decode(place, &bytes), Ok(log.producers.clone()));
    for length in 0..bytes.len() {
        assert!(Producers::decode(place, &bytes[..length]).is_err());
    }
    let mut huge = bytes.clone();
    huge[1..5].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(Producers::decode(place, &huge).is_err());
    let mut rng = SimRng::new(1);
    for _ in 0..5000 {
        let mut hostile = bytes.clone();
        let at = rng.index(hostile.len());
        hostile[at] = rng.bits() as u8;
        if let Ok(decoded) = Producers::decode(place, &hostile) {
            decoded.check_invariants();
        }
    }
}

/// What the rules say about a batch, from the whole log.
fn reference(log: &[BatchHead], head: &BatchHead) -> Result<Checked, ProducerRefusal> {
    let mine: Vec<&BatchHead> = log
        .iter()
        .filter(|one| one.producer == head.producer)
        .collect();
    let is_marker = |one: &BatchHead| matches!(one.kind, BatchKind::Marker { .. });
    let newest = mine.last();
    let open = mine.iter().rev().find(|one| one.kind != BatchKind::Plain);
    let open = open.is_some_and(|one| !is_marker(one));
    if let Some(newest) = newest
        && head.producer_epoch < newest.producer_epoch
    {
        return Err(ProducerRefusal::InvalidProducerEpoch);
    }
    if is_marker(head) {
        let done = newest.is_some_and(|one| one.producer_epoch == head.producer_epoch) && !open;
        return Ok(if done {
            Checked::MarkerDone
        } else {
            Checked::Next
        });
    }
    let of_epoch: Vec<&&BatchHead> = mine
        .iter()
        .rev()
        .take_while(|one| one.producer_epoch == head.producer_epoch)
        .filter(|one| !is_marker(one))
        .take(5)
        .collect();
    let same = |one: &&&&BatchHead| {
        (one.base_sequence, one.last_offset_delta) == (head.base_sequence, head.last_offset_delta)
    };
    if let Some(one) = of_epoch.iter().find(same) {
        return Ok(Checked::Duplicate(Remembered {
            base_sequence: one.base_sequence,
            last_sequence: one.last_sequence(),
            base_offset: one.base_offset,
            end: one.end(),
            timestamp: one.max_timestamp,
        }));
    }
    if newest.is_some() {
        let next = of_epoch.first().map_or(0, |one| {
            (i64::from(one.last_sequence()) + 1) % (i64::from(i32::MAX) + 1)
        });
        if i64::from(head.base_sequence) != next {
            return Err(ProducerRefusal::OutOfOrderSequence);
        }
    }
    match (open, head.kind) {
        (true, BatchKind::Plain) => Err(ProducerRefusal::InvalidTransactionState),
        (false, BatchKind::Transactional) => Ok(Checked::Unverified),
        _ => Ok(Checked::Next),
    }
}

fn random_head(rng: &mut SimRng, log: &Log) -> BatchHead {
    let producer = rng.below(4) as i64;
    let newest = log
        .batches
        .iter()
        .rev()
        .find(|one| one.producer.0 == producer);
    let epoch = newest.map_or(0, |one| one.producer_epoch.0) + [0, 0, 0, 0, 0, 1, -1][rng.index(7)];
    let data = log.batches.iter().rev();
    let mut data = data.filter(|one| one.producer.0 == producer && one.base_sequence >= 0);
    let records = 1 + rng.below(3) as i32;
    let sequence = match (rng.below(10), data.next()) {
        (0, _) => rng.below(5) as i32,
        (1..=3, Some(_)) => {
            let skip = rng.index(7);
            let repeated = log
                .batches
                .iter()
                .rev()
                .filter(|one| one.producer.0 == producer && one.base_sequence >= 0)
                .nth(skip);
            return repeated.map_or(batch(producer, epoch, 0, records), |one| *one);
        }
        (_, Some(last)) if last.producer_epoch.0 == epoch => next_sequence(last.last_sequence()),
        (_, None) => i32::MAX - rng.below(8) as i32,
        _ => 0,
    };
    match rng.below(10) {
        0 | 1 => marker(producer, epoch, Outcome::Abort, 0),
        2..=4 => transactional(producer, epoch, sequence, records),
        _ => batch(producer, epoch, sequence, records),
    }
}

fn model_run(seed: u64) {
    let mut rng = SimRng::new(seed);
    let mut log = Log::default();
    for _ in 0..300 {
        match rng.below(20) {
            0..=14 => {
                let head = random_head(&mut rng, &log);
                let expected = reference(&log.batches, &head);
                let got = log.append(head);
                assert_eq!(got, expected, "{head:?}");
            }
            15 | 16 => {
                let settled = log.producers.settled_to();
                let above = log.batches.iter().map(BatchHead::end);
                let above: Vec<_> = above.filter(|end| *end > settled).collect();
                if !above.is_empty() {
                    log.settle(above[rng.index(above.len())]);
                }
            }
            17 => {
                let settled = log.producers.settled_to();
                let bases = log.batches.iter().map(|one| one.base_offset);
                let bases: Vec<_> = bases.filter(|base| *base >= settled).collect();
                if !bases.is_empty() {
                    let to = bases[rng.index(bases.len())];
                    log.producers.truncate(to);
                    log.batches.retain(|one| one.base_offset < to);
                }
            }
            _ => {
                let mut bytes = Vec::new();
                let place = log.producers.encode(&mut bytes);
                let mut rebuilt = Producers::decode(place, &bytes).expect("it was encoded");
                for head in log.batches.iter().filter(|one| one.base_offset >= place) {
                    rebuilt.append(head, WallMs(head.base_offset.0));
                }
                assert_eq!(rebuilt, log.producers);
            }
        }
        log.producers.check_invariants();
    }
}

#[test]
fn both_layers_together_judge_as_the_whole_log_does() {
    for seed in 0..300 {
        if let Err(panic) = std::panic::catch_unwind(|| model_run(seed)) {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
