//! The keys of a run: how often each is drawn, and which partition it belongs to.
//!
//! Always: a key goes to the partition to which Kafka's clients would send it, and is drawn there as often as its weight says.

use super::random::Random;
use crate::workload::{Keys, Workload};

/// Bytes of a key: `key-` and its rank.
pub const KEY_BYTES: usize = 12;

/// All keys, by partition.
#[derive(Debug)]
pub struct Keyring(Vec<Bunch>);

/// The keys of one partition: their ranks, and their weights cumulated.
#[derive(Clone, Debug, Default)]
struct Bunch {
    ranks: Vec<u32>,
    sums: Vec<f64>,
}

impl Keyring {
    /// Those of a workload, if its records have keys.
    pub fn of(workload: &Workload) -> Option<Keyring> {
        let exponent = match workload.keys {
            Keys::None => return None,
            Keys::Uniform => 0.0,
            Keys::Zipf => workload.zipf_exponent,
        };
        let mut bunches = vec![Bunch::default(); workload.partitions as usize];
        for rank in 0..workload.key_count as u32 {
            let hash = murmur2(&key_name(rank)) & 0x7fff_ffff;
            let bunch = &mut bunches[(hash % workload.partitions) as usize];
            let before = bunch.sums.last().copied().unwrap_or(0.0);
            bunch.ranks.push(rank);
            bunch
                .sums
                .push(before + f64::from(rank + 1).powf(-exponent));
        }
        Some(Keyring(bunches))
    }

    /// How often a partition is chosen.
    pub fn weight(&self, partition: i32) -> f64 {
        let bunch = &self.0[partition as usize];
        bunch.sums.last().copied().unwrap_or(0.0)
    }

    /// A key of a partition; of one without keys, which is never chosen, the first of all.
    #[inline]
    pub fn draw(&self, partition: i32, random: &mut Random) -> [u8; KEY_BYTES] {
        let bunch = &self.0[partition as usize];
        let drawn = random.fraction() * bunch.sums.last().copied().unwrap_or(0.0);
        let at = bunch.sums.partition_point(|sum| *sum <= drawn);
        let last = bunch.ranks.len().saturating_sub(1);
        key_name(bunch.ranks.get(at.min(last)).copied().unwrap_or(0))
    }
}

/// The key of this rank: `key-` and eight digits.
#[inline]
fn key_name(rank: u32) -> [u8; KEY_BYTES] {
    let mut name = *b"key-00000000";
    let mut rest = rank;
    for place in (4..KEY_BYTES).rev() {
        name[place] += (rest % 10) as u8;
        rest /= 10;
    }
    name
}

/// The hash by which Kafka's clients choose partitions (MurmurHash 2, 32 bits, seed 0x9747b28c).
fn murmur2(bytes: &[u8]) -> u32 {
    const FACTOR: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ bytes.len() as u32;
    let chunks = bytes.chunks_exact(4);
    let tail = chunks.remainder();
    for chunk in chunks {
        let mut word = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        word = word.wrapping_mul(FACTOR);
        word = (word ^ (word >> 24)).wrapping_mul(FACTOR);
        hash = hash.wrapping_mul(FACTOR) ^ word;
    }
    for (place, byte) in tail.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * place);
    }
    if !tail.is_empty() {
        hash = hash.wrapping_mul(FACTOR);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(FACTOR);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::{Keyring, key_name, murmur2};
    use crate::load::random::Random;
    use crate::workload::{Keys, Settings};
    use std::collections::BTreeMap;

    #[test]
    fn keys_hash_as_kafkas_clients_do() {
        // From the tests of Apache Kafka's own client.
        for (key, hash) in [
            ("21", -973_932_308i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    #[test]
    fn keys_are_drawn_as_often_as_stated_and_in_their_partition() {
        let settings = Settings {
            closed: Some(true),
            partitions: Some(4),
            keys: Some(Keys::Zipf),
            key_count: Some(1_000),
            ..Settings::default()
        };
        let workload = settings.resolve("test", Vec::new()).unwrap();
        let ring = Keyring::of(&workload).unwrap();
        let mut random = Random::new(1);
        let whole: f64 = (0..4).map(|partition| ring.weight(partition)).sum();
        let mut counts: BTreeMap<[u8; 12], f64> = BTreeMap::new();
        for partition in 0..4 {
            // As many of each partition as are sent there.
            let draws = (ring.weight(partition) / whole * 400_000.0) as usize;
            for _ in 0..draws {
                let key = ring.draw(partition, &mut random);
                assert_eq!((murmur2(&key) & 0x7fff_ffff) % 4, partition as u32);
                *counts.entry(key).or_default() += 1.0;
            }
        }
        let harmonic: f64 = (1..=1_000).map(|rank| f64::from(rank).powf(-0.99)).sum();
        for rank in [0u32, 1, 2, 9, 49] {
            let expected = 400_000.0 * f64::from(rank + 1).powf(-0.99) / harmonic;
            let found = counts[&key_name(rank)];
            assert!(
                (found / expected - 1.0).abs() < 0.15,
                "{rank}: {found}, not {expected}"
            );
        }
        assert!(counts.len() > 990, "{}", counts.len());
    }
}
