//! What clients were told and have seen, and what must follow from it.
//!
//! Always: (1) an offset shows one record for ever; (2) an acknowledged record is at its offset; (3) a numbered record is in its
//! partition once, and behind those its producer sent before it; (4) a high watermark never falls.

use std::collections::BTreeMap;

/// A partition of a topic.
pub type Place = (String, i32);

/// What is known of one partition.
#[derive(Debug, Default)]
struct Partition {
    /// Value by offset, of records that were shown or acknowledged.
    records: BTreeMap<i64, String>,
    /// Offset by value, of numbered records.
    numbered: BTreeMap<String, i64>,
    /// Records that were acknowledged and not shown since the last look from the start.
    acknowledged: BTreeMap<i64, String>,
    high_watermark: i64,
}

/// What all clients know together.
#[derive(Debug, Default)]
pub struct Model {
    partitions: BTreeMap<Place, Partition>,
    /// Records acknowledged.
    pub acknowledged_count: u64,
    /// Records shown.
    pub shown_count: u64,
}

/// Whether a value carries a producer's number: `n<producer>.<number>`.
fn number_of(value: &str) -> Option<(u64, u64)> {
    let (producer, number) = value.strip_prefix('n')?.split_once('.')?;
    Some((producer.parse().ok()?, number.parse().ok()?))
}

impl Model {
    /// A producer was told that its record is at this offset.
    pub fn acknowledged(&mut self, place: &Place, offset: i64, value: &str) {
        self.acknowledged_count += 1;
        let partition = self.partitions.entry(place.clone()).or_default();
        partition.know(place, offset, value);
        partition.acknowledged.insert(offset, value.to_owned());
    }

    /// A consumer was shown a record.
    pub fn shown(&mut self, place: &Place, offset: i64, value: &str) {
        self.shown_count += 1;
        let partition = self.partitions.entry(place.clone()).or_default();
        partition.know(place, offset, value);
        partition.acknowledged.remove(&offset);
    }

    /// The high watermark a consumer knows when it asks.
    pub fn high_watermark(&self, place: &Place) -> i64 {
        self.partitions
            .get(place)
            .map_or(0, |partition| partition.high_watermark)
    }

    /// A consumer that knew `before` when it asked was told a high watermark.
    pub fn told_high_watermark(&mut self, place: &Place, before: i64, told: i64) {
        assert!(
            told >= before,
            "{place:?}: the high watermark fell from {before} to {told}"
        );
        let partition = self.partitions.entry(place.clone()).or_default();
        partition.high_watermark = partition.high_watermark.max(told);
    }

    /// Everything below `end` of a partition was read from the start: what was acknowledged must have been in it.
    pub fn read_through(&mut self, place: &Place, end: i64) {
        let Some(partition) = self.partitions.get(place) else {
            return;
        };
        let last = partition.records.last_key_value();
        assert!(
            last.is_none_or(|(offset, _)| *offset < end),
            "{place:?} ends at {end} before {last:?}"
        );
        let lost: Vec<_> = partition.acknowledged.iter().take(3).collect();
        assert!(
            lost.is_empty(),
            "{place:?} ends at {end}: acknowledged and lost {lost:?}"
        );
    }
}

impl Partition {
    fn know(&mut self, place: &Place, offset: i64, value: &str) {
        let known = self
            .records
            .entry(offset)
            .or_insert_with(|| value.to_owned());
        assert_eq!(
            known, value,
            "{place:?}: offset {offset} has shown another record before"
        );
        let Some((producer, number)) = number_of(value) else {
            return;
        };
        let at = *self.numbered.entry(value.to_owned()).or_insert(offset);
        assert_eq!(at, offset, "{place:?}: {value} is there twice");
        let before = self.numbered_before(producer, number);
        assert!(
            before.is_none_or(|other| other < offset),
            "{place:?}: {value} overtook an earlier record"
        );
    }

    /// The offset of the record its producer sent to this partition before that number, if it is known.
    fn numbered_before(&self, producer: u64, number: u64) -> Option<i64> {
        let before = number.checked_sub(1)?;
        self.numbered.get(&format!("n{producer}.{before}")).copied()
    }
}
