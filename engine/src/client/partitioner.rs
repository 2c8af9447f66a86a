//! Which partition a record goes to, as Kafka's own producer decides it: equal keys meet, whichever client wrote them.

/// The partition of a key: murmur2 of it, made positive, modulo the number of partitions.
pub fn partition_of_key(key: &[u8], partition_count: usize) -> i32 {
    let hash = murmur2(key) & 0x7fff_ffff;
    (hash as usize % partition_count) as i32
}

/// MurmurHash2 with the seed that Kafka uses (Austin Appleby, public domain).
pub fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MULTIPLIER: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ bytes.len() as u32;
    let mut chunks = bytes.chunks_exact(4);
    for chunk in &mut chunks {
        let mut word = u32::from_le_bytes(chunk.try_into().expect("a chunk has four bytes"));
        word = word.wrapping_mul(MULTIPLIER);
        word ^= word >> 24;
        word = word.wrapping_mul(MULTIPLIER);
        hash = hash.wrapping_mul(MULTIPLIER) ^ word;
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}
