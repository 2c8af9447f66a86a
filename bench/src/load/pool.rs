//! The batches of a run: built before its clock runs, and sent again and again.
//!
//! Where all records are alike there is one. Where they differ - keys, sizes that spread, lines of a file - there are as many as
//! `pool-bytes` holds, and with keys each partition has its own. Always: (1) which batch of the pool a request has follows from its
//! partition and its number in its stream, so that one that is sent again is the same; (2) so does the key of its first record,
//! which is drawn anew for every request: with one record in a batch every key is.

use super::keyring::{KEY_BYTES, Keyring};
use super::random::Random;
use super::template::{Template, Values};
use crate::workload::{Keys, Workload};

/// Batches where records differ are at least so many, however long they are.
const VARIANTS_MIN: u64 = 8;
const VARIANTS_MAX: u64 = 1 << 18;
/// BOUND: with keys every partition has a batch of its own.
const KEYED_BYTES_MAX: u64 = 1 << 30;

/// The batches of a run.
#[derive(Debug, Default)]
pub struct Pool {
    templates: Vec<Template>,
    /// How many each partition has, or all have together.
    variants: u64,
    by_partition: bool,
    keyring: Option<Keyring>,
    head_bytes: usize,
    /// Records before each template among those of its partition.
    records_before: Vec<u64>,
}

impl Pool {
    /// The batches of a workload, for Produce in `version`, which is not flexible.
    pub fn build(
        workload: &Workload,
        version: i16,
        tag: u32,
        keyring: Option<Keyring>,
    ) -> Result<Pool, String> {
        let mut values = Values::new(workload)?;
        let batch_bytes = u64::from(workload.batch_bytes).max(1);
        let groups = match keyring {
            Some(_) => u64::from(workload.partitions),
            None => 1,
        };
        if groups * batch_bytes > KEYED_BYTES_MAX {
            return Err(
                "with `keys` every partition has batches of its own: `partitions` times `batch-bytes` is at most 1 GiB"
                    .into(),
            );
        }
        let alike = workload.record_spread == 0.0 && workload.payload_file.is_empty();
        let held = workload.pool_bytes / (groups * batch_bytes);
        let variants = match workload.keys {
            Keys::None if alike => 1,
            Keys::None => held.clamp(VARIANTS_MIN, VARIANTS_MAX),
            // Where partitions are many one of each is variety enough.
            _ if groups >= VARIANTS_MIN => held.clamp(1, VARIANTS_MAX),
            _ => held.clamp(VARIANTS_MIN, VARIANTS_MAX),
        };
        let mut pool = Pool {
            variants,
            by_partition: keyring.is_some(),
            ..Pool::default()
        };
        for partition in 0..groups {
            let mut records = 0;
            for _ in 0..variants {
                let keys = keyring.as_ref().map(|ring| (ring, partition as i32));
                let template = Template::new(workload, version, tag, &mut values, keys);
                pool.records_before.push(records);
                records += u64::from(template.records);
                // Sizes of records differ by a byte or two in their varints.
                pool.head_bytes = pool.head_bytes.max(template.head_bytes());
                pool.templates.push(template);
            }
        }
        pool.keyring = keyring;
        Ok(pool)
    }

    /// Bytes of the longest head.
    pub fn head_bytes(&self) -> usize {
        self.head_bytes
    }

    /// Which template a batch has.
    #[inline]
    pub fn index(&self, partition: i32, batch: u64) -> u32 {
        (self.begin(partition) + batch % self.variants) as u32
    }

    /// The template of an index.
    #[inline]
    pub fn template(&self, index: u32) -> &Template {
        &self.templates[index as usize]
    }

    /// Records of a batch.
    pub fn records(&self, partition: i32, batch: u64) -> u64 {
        u64::from(self.template(self.index(partition, batch)).records)
    }

    /// The sequence number of an idempotent producer at a batch of a stream: as many records come before it.
    pub fn sequence(&self, partition: i32, batch: u64) -> i32 {
        let last = (self.begin(partition) + self.variants - 1) as usize;
        let whole = self.records_before[last] + u64::from(self.templates[last].records);
        let before = self.records_before[self.index(partition, batch) as usize];
        ((batch / self.variants * whole + before) & 0x7fff_ffff) as i32
    }

    /// The key of the first record of a batch, where records have keys.
    #[inline]
    pub fn first_key(&self, stream: u32, partition: i32, batch: u64) -> Option<[u8; KEY_BYTES]> {
        let ring = self.keyring.as_ref()?;
        let mut random = Random::new((u64::from(stream) << 40) ^ batch);
        Some(ring.draw(partition, &mut random))
    }

    fn begin(&self, partition: i32) -> u64 {
        if self.by_partition {
            partition as u64 * self.variants
        } else {
            0
        }
    }
}
