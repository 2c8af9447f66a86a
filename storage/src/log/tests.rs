use super::*;
use crate::batch::{Attributes, BatchHead};
use crate::ids::{LeaderEpoch, LogNumber, Offset, ProducerEpoch, ProducerId, WallMs};
use proptest::prelude::*;

const INTERVAL_BYTES: u64 = 4096;
const ID: IndexIdentity = IndexIdentity {
    log: LogNumber(3),
    segment: Offset(0),
};

fn head(base: i64, count: i32, bytes: usize, max_timestamp: i64, epoch: i32) -> BatchHead {
    BatchHead {
        base_offset: Offset(base),
        bytes,
        leader_epoch: LeaderEpoch(epoch),
        crc: 0,
        attributes: Attributes(0),
        last_offset_delta: count - 1,
        base_timestamp: max_timestamp,
        max_timestamp,
        producer_id: ProducerId(-1),
        producer_epoch: ProducerEpoch(-1),
        base_sequence: -1,
        record_count: count,
    }
}

fn layout() -> Layout {
    Layout::new(Offset(0), WallMs(0), INTERVAL_BYTES)
}

/// A layout and, beside it, every batch with its place.
struct Model {
    layout: Layout,
    batches: Vec<(Offset, u64, BatchHead)>,
}

impl Model {
    fn new() -> Model {
        Model {
            layout: layout(),
            batches: Vec::new(),
        }
    }

    fn append(&mut self, head: BatchHead, roll: bool) {
        if roll && !self.layout.active().is_empty() {
            self.layout.roll(WallMs(0));
        }
        let active = self.layout.active();
        self.batches.push((active.base, active.bytes, head));
        self.layout.append(&head, WallMs(0));
        self.layout.check();
    }

    /// Walks from a place to the first batch that is wanted, as a reader does.
    fn walk(&self, located: Located, wanted: impl Fn(&BatchHead) -> bool) -> Option<BatchHead> {
        let Located::At {
            segment, position, ..
        } = located
        else {
            return None;
        };
        assert!(
            self.batches
                .iter()
                .any(|(base, at, _)| (*base, *at) == (segment, position)),
            "a place is that of a batch"
        );
        let behind = self
            .batches
            .iter()
            .filter(|(base, at, _)| (*base, *at) >= (segment, position));
        behind.map(|(_, _, head)| *head).find(|head| wanted(head))
    }

    fn check_lookups(&self) {
        for probe in -1..=self.layout.end().0 {
            let probe = Offset(probe);
            let wanted = |head: &BatchHead| head.end_offset() > probe;
            let found = self.walk(self.layout.locate(probe), wanted);
            let exact = self.batches.iter().map(|(_, _, head)| *head).find(wanted);
            let inside = probe >= self.layout.log_start() && probe < self.layout.end();
            assert_eq!(found, exact.filter(|_| inside), "{probe}");
        }
        for timestamp in -1..120 {
            let wanted = |head: &BatchHead| {
                head.max_timestamp >= timestamp && head.end_offset() > self.layout.log_start()
            };
            let found = self.walk(self.layout.locate_time(timestamp), wanted);
            assert_eq!(
                found,
                self.batches.iter().map(|(_, _, head)| *head).find(wanted),
                "{timestamp}"
            );
        }
    }
}

fn any_batch() -> impl Strategy<Value = (i64, i32, usize, i64, bool, bool)> {
    let jump = prop_oneof![9 => Just(0i64), 1 => 1..5i64];
    let roll = prop::bool::weighted(0.1);
    (
        jump,
        1..6i32,
        61..3000usize,
        -1..100i64,
        roll,
        prop::bool::weighted(0.1),
    )
}

fn built(batches: &[(i64, i32, usize, i64, bool, bool)]) -> Model {
    let mut model = Model::new();
    let mut epoch = 0;
    for (jump, count, bytes, timestamp, roll, next_epoch) in batches {
        epoch += i32::from(*next_epoch);
        let base = model.layout.end().0 + jump;
        model.append(head(base, *count, *bytes, *timestamp, epoch), *roll);
    }
    model
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn lookups_find_what_a_walk_over_everything_finds(batches in prop::collection::vec(any_batch(), 0..60)) {
        built(&batches).check_lookups();
    }

    #[test]
    fn lookups_stay_right_after_a_truncation(batches in prop::collection::vec(any_batch(), 1..60),
        more in prop::collection::vec(any_batch(), 0..20), at in any::<prop::sample::Index>()) {
        let mut model = built(&batches);
        let (segment, position, cut) = model.batches[at.index(model.batches.len())];
        let keep = model.batches.partition_point(|(base, at, _)| (*base, *at) < (segment, position));
        let end = if position == 0 { segment } else { model.batches[keep - 1].2.end_offset() };
        model.batches.truncate(keep);
        model.layout.truncate(segment, position, end);
        model.layout.check();
        prop_assert_eq!(model.layout.end(), end);
        for (index, (jump, count, bytes, timestamp, roll, _)) in more.iter().enumerate() {
            let base = model.layout.end().0 + jump + i64::from(index == 0);
            model.append(head(base, *count, *bytes, *timestamp, cut.leader_epoch.0 + 1), *roll);
        }
        model.check_lookups();
    }

    #[test]
    fn lookups_are_right_while_walks_index_what_was_not_known(batches in prop::collection::vec(any_batch(), 1..60),
        known in 0..60usize, walked in 0..60usize, cut in 0..60usize) {
        let mut model = built(&batches);
        let whole = model.layout.clone();
        let mut behind: Vec<_> = whole.segments().map(|held| (held.base, held.bytes, held.max_timestamp)).collect();
        for (base, position, _) in model.batches.iter().skip(known).rev() {
            let held = behind.iter_mut().find(|held| held.0 == *base).unwrap();
            held.1 = *position;
        }
        for (base, position, newest) in behind {
            model.layout.install(base, SegmentIndex::behind(position, newest));
        }
        for (base, position, head) in model.batches.iter().skip(known) {
            model.layout.reindex(*base, *position, head);
        }
        model.check_lookups();
        for (base, position, head) in model.batches.iter().take(walked) {
            model.layout.walked(*base, *position, head);
        }
        model.check_lookups();
        let cut = cut.min(model.batches.len() - 1);
        let (segment, position, head) = model.batches[cut];
        model.layout.truncate(segment, position + head.bytes as u64, head.end_offset());
        model.batches.truncate(cut + 1);
        model.check_lookups();
    }

    #[test]
    fn any_choice_of_entries_is_an_index(batches in prop::collection::vec(any_batch(), 1..60), entries_max in 1..8usize) {
        let mut model = built(&batches);
        let bases: Vec<Offset> = model.layout.segments().map(|held| held.base).collect();
        for base in bases {
            model.layout.thin(base, entries_max);
            let index = model.layout.segment(base).unwrap().index.as_ref().unwrap();
            prop_assert!(index.offsets.len() <= entries_max && index.times.len() <= entries_max);
        }
        model.check_lookups();
    }

    #[test]
    fn index_files_give_back_the_index(batches in prop::collection::vec(any_batch(), 0..60)) {
        let model = built(&batches);
        for segment in model.layout.segments() {
            let identity = IndexIdentity { segment: segment.base, ..ID };
            let index = segment.index.clone().unwrap();
            let covered = model.layout.covered(segment.base).unwrap();
            let offsets = encode_offsets(&index, identity, covered);
            let times = encode_times(&index, identity, covered);
            let (read, read_covered) = decode_index(&offsets, &times, identity).unwrap();
            prop_assert_eq!((read, read_covered), (index, covered));
            prop_assert!(model.layout.has(segment.base, &covered));
            let other = IndexIdentity { log: LogNumber(4), ..identity };
            prop_assert_eq!(decode_index(&offsets, &times, other), Err(IndexUnfit::Foreign));
        }
    }

    #[test]
    fn damaged_index_files_are_refused(batches in prop::collection::vec(any_batch(), 1..60),
        at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let model = built(&batches);
        let segment = model.layout.segments().next().unwrap();
        let index = segment.index.as_ref().unwrap();
        let covered = model.layout.covered(segment.base).unwrap();
        let mut offsets = encode_offsets(index, ID, covered);
        let times = encode_times(index, ID, covered);
        let at = at.index(offsets.len());
        prop_assert!(decode_index(&offsets[..at], &times, ID).is_err());
        prop_assert!(decode_index(&times, &offsets, ID).is_err());
        offsets[at] ^= flip;
        prop_assert!(decode_index(&offsets, &times, ID).is_err());
    }
}

#[test]
fn one_batch_per_interval_is_indexed() {
    let mut model = Model::new();
    for index in 0..1000 {
        model.append(head(index, 1, 100, index, 0), false);
    }
    let held = model.layout.active();
    let index = held.index.as_ref().unwrap();
    assert_eq!(index.offsets.len(), 100_000 / 4100);
    assert_eq!(index.floor(Offset(0), Offset(0)), 0);
    assert_eq!(index.floor(Offset(0), Offset(41)), 4100);
    assert_eq!(index.floor(Offset(0), Offset(40)), 0);
    assert_eq!(index.floor_time(Offset(0), 41), 4100);
}

#[test]
fn a_segment_without_its_index_says_so() {
    let mut model = Model::new();
    for index in 0..100 {
        model.append(head(index, 1, 500, index, 0), index == 50);
    }
    let index = model
        .layout
        .segment(Offset(0))
        .unwrap()
        .index
        .clone()
        .unwrap();
    model.layout.unload(Offset(0));
    model.layout.unload(Offset(50));
    assert_eq!(
        model.layout.locate(Offset(3)),
        Located::NeedsIndex { segment: Offset(0) }
    );
    assert_eq!(
        model.layout.locate_time(3),
        Located::NeedsIndex { segment: Offset(0) }
    );
    assert!(matches!(
        model.layout.locate(Offset(60)),
        Located::At { .. }
    ));
    model.layout.install(Offset(0), index);
    model.check_lookups();
}

#[test]
fn an_index_can_be_built_again_from_batch_heads() {
    let mut model = Model::new();
    for index in 0..100 {
        model.append(head(index * 2, 2, 700, index % 50, 0), index == 60);
    }
    let mut again = model.layout.clone();
    for base in [Offset(0), Offset(120)] {
        again.install(base, SegmentIndex::new());
    }
    for (segment, position, head) in &model.batches {
        again.reindex(*segment, *position, head);
    }
    for (built, rebuilt) in model.layout.segments().zip(again.segments()) {
        assert_eq!(built.index, rebuilt.index);
    }
}

#[test]
fn an_index_of_truncated_and_newer_batches_is_told_by_its_epoch() {
    let mut model = Model::new();
    for index in 0..10 {
        model.append(head(index, 1, 5000, 0, 0), false);
    }
    let covered = model.layout.covered(Offset(0)).unwrap();
    assert!(model.layout.has(Offset(0), &covered));
    model.layout.truncate(Offset(0), 25_000, Offset(5));
    assert!(!model.layout.has(Offset(0), &covered));
    for index in 5..20 {
        model.layout.append(&head(index, 1, 5000, 0, 1), WallMs(0));
    }
    assert!(!model.layout.has(Offset(0), &covered));
}

#[test]
fn an_epoch_ends_where_the_next_one_starts() {
    let epochs = Epochs::new(vec![
        (LeaderEpoch(2), Offset(0)),
        (LeaderEpoch(5), Offset(10)),
        (LeaderEpoch(6), Offset(30)),
    ]);
    let end_of = |epoch| {
        epochs
            .end_of(LeaderEpoch(epoch), Offset(40))
            .map(|(epoch, end)| (epoch.0, end.0))
    };
    assert_eq!(end_of(1), None);
    assert_eq!(end_of(2), Some((2, 10)));
    assert_eq!(end_of(4), Some((2, 10)));
    assert_eq!(end_of(5), Some((5, 30)));
    assert_eq!(end_of(9), Some((6, 40)));
    assert_eq!(epochs.at(Offset(29)), Some(LeaderEpoch(5)));
}

#[test]
fn epochs_follow_the_start_and_the_end_of_their_log() {
    let mut epochs = Epochs::default();
    for (epoch, start) in [(0, 0), (0, 5), (1, 10), (4, 20)] {
        epochs.note(LeaderEpoch(epoch), Offset(start));
    }
    epochs.truncate(Offset(20));
    assert_eq!(epochs.latest(), Some(LeaderEpoch(1)));
    epochs.start_at(Offset(12));
    assert_eq!(epochs.starts(), [(LeaderEpoch(1), Offset(12))]);
    epochs.truncate(Offset(12));
    assert_eq!(epochs.latest(), None);
}

#[test]
fn a_log_rolls_by_size_time_and_distance() {
    let limits = RollLimits {
        segment_bytes: 1000,
        segment_ms: 50,
    };
    let mut log = layout();
    let rolls = |log: &Layout, next: BatchHead, now| log.rolls_before(&next, WallMs(now), &limits);
    assert!(
        !rolls(&log, head(0, 1, 2000, 0, 0), 99),
        "an empty segment takes any batch"
    );
    log.append(&head(0, 1, 600, 10, 0), WallMs(0));
    assert!(!rolls(&log, head(1, 1, 400, 60, 0), 99));
    assert!(rolls(&log, head(1, 1, 401, 60, 0), 99));
    assert!(rolls(&log, head(1, 1, 400, 61, 0), 99));
    assert!(
        rolls(&log, head(1, 1, 400, -1, 0), 51),
        "without timestamps the clock counts"
    );
    assert!(rolls(&log, head(1 << 32, 1, 100, 10, 0), 0));
    assert_eq!(log.roll(WallMs(7)), Offset(1));
}

/// Four segments of ten records and 1000 bytes; the newest timestamp of each is its end offset.
fn four_segments() -> Layout {
    let mut log = layout();
    for index in 0..4 {
        if index > 0 {
            log.roll(WallMs(0));
        }
        log.append(&head(index * 10, 10, 1000, index * 10 + 10, 0), WallMs(0));
    }
    log
}

#[test]
fn retention_by_time_lets_old_segments_go_up_to_the_high_watermark() {
    let log = four_segments();
    let limits = RetentionLimits {
        ms: Some(100),
        bytes: None,
    };
    let expired = |now, up_to| {
        log.expired(WallMs(now), &limits, Offset(up_to))
            .map(|gone| (gone.log_start.0, gone.roll))
    };
    assert_eq!(expired(110, 40), None);
    assert_eq!(expired(111, 40), Some((10, false)));
    assert_eq!(expired(135, 40), Some((30, false)));
    assert_eq!(expired(135, 25), Some((20, false)));
    assert_eq!(expired(500, 40), Some((40, true)));
    assert_eq!(expired(500, 39), Some((30, false)));
}

#[test]
fn retention_by_size_keeps_at_least_the_limit() {
    let log = four_segments();
    let expired = |bytes| {
        let limits = RetentionLimits {
            ms: None,
            bytes: Some(bytes),
        };
        log.expired(WallMs(0), &limits, Offset(40))
            .map(|gone| gone.log_start.0)
    };
    assert_eq!(
        [expired(4000), expired(3001), expired(3000), expired(1500)],
        [None, None, Some(10), Some(20)]
    );
}

#[test]
fn segments_below_the_log_start_go_and_the_last_one_stays() {
    let mut log = four_segments();
    log.set_log_start(Offset(25));
    assert_eq!(log.drop_below(Offset(i64::MAX)), [Offset(0), Offset(10)]);
    assert_eq!(log.locate(Offset(24)), Located::Nowhere);
    log.set_log_start(Offset(99));
    assert_eq!(
        (log.log_start(), log.drop_below(Offset(i64::MAX))),
        (Offset(40), vec![Offset(20)])
    );
    log.check();
}

#[test]
fn a_truncation_names_the_segments_that_go() {
    let mut log = four_segments();
    assert_eq!(
        log.truncate(Offset(10), 1000, Offset(20)),
        [Offset(20), Offset(30)]
    );
    assert_eq!((log.end(), log.bytes()), (Offset(20), 2000));
    assert!(log.truncate(Offset(10), 0, Offset(10)).is_empty());
    assert!(log.active().is_empty());
    log.check();
}
