//! How shards and logs of the crash model are configured; everything follows from the seed and the number of the log.

use millstream_storage::commit::CommitConfig;
use millstream_storage::ids::{LogNumber, NodeId, Offset, ShardIndex};
use millstream_storage::recovery::RecoveryConfig;
use millstream_storage::store::{Acknowledge, LogConfig, StoreConfig};

pub const NODE: NodeId = NodeId(1);
/// A node has at most so many shards.
pub const SHARDS_MAX: u64 = 3;
/// Some logs keep what is younger.
pub const HOUR_MS: u64 = 3_600_000;

/// Logs that a node begins with, and how many it may have: few of them, which stay, come to many segments.
pub fn log_counts(seed: u64) -> (usize, usize) {
    match seed % 5 {
        _ if breaks(seed) == Breaks::WhatIsSeldom => (3, 3),
        0 => (20, 40),
        _ => (3, 8),
    }
}

/// What fails often in a world. Where nothing does there is the quiet that it takes to come far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Breaks {
    Nothing,
    Anything,
    WhatIsSeldom,
}

pub fn breaks(seed: u64) -> Breaks {
    match seed % 6 {
        2 => Breaks::Anything,
        4 => Breaks::WhatIsSeldom,
        _ => Breaks::Nothing,
    }
}

pub fn recovery_config(shards: u16) -> RecoveryConfig {
    RecoveryConfig {
        journal_file_bytes: 128 << 10,
        journal_files_min: 2,
        ..RecoveryConfig::new(shards)
    }
}

/// Some seeds go by the journal mostly, some by extents, many of which begin in the middle of a block.
pub fn store_config(seed: u64, shard: ShardIndex) -> StoreConfig {
    let large_bytes = [12 << 10, 6 << 10, 2 << 10][seed as usize % 3];
    StoreConfig {
        journal_file_bytes: 128 << 10,
        journal_files_min: 2,
        journal_files_max: 4,
        large_bytes,
        unflushed_bytes_max: 1 << 20,
        clean_bytes_max: 64 << 10,
        cold_bytes_max: 1 << 20,
        index_bytes_max: [0, 16 << 20][seed as usize / 2 % 2],
        discard_bytes: match reuses(seed) {
            true => 4 << 10,
            false => [4 << 10, 16 << 20][seed as usize / 27 % 2],
        },
        open_files_max: 4,
        shared_sync_files_min: 2 + seed as usize % 2 * 15,
        commit: CommitConfig {
            fast_extent_bytes: large_bytes / 3,
            pace_bytes: [40 << 10, 200 << 10, 1 << 30][seed as usize / 9 % 3],
            trickle_bytes: [5 << 10, 30 << 10, 512 << 10][seed as usize / 3 % 3],
            fast_rate_bytes: 64 << 10,
            window_bytes: 24 << 10,
            run_bytes: 8 << 10,
            windows_in_flight: 3,
            pressure_flights: 4,
            unmarked_bytes: 64 << 10,
            checkpoint_bytes: 512 << 10,
            checkpoint_ms: 200,
            ..CommitConfig::default()
        },
        ..StoreConfig::new(NODE, shard)
    }
}

pub fn log_config(seed: u64, log: LogNumber) -> LogConfig {
    let segment_bytes = match breaks(seed) {
        _ if reuses(seed) => 16 << 10,
        Breaks::WhatIsSeldom => 40 << 10,
        _ => [40 << 10, 400 << 10, 90 << 10][log.0 as usize % 3],
    };
    LogConfig {
        segment_bytes,
        index_interval_bytes: 2048,
        acknowledge: match is_cached(log) {
            true => Acknowledge::Memory,
            false => Acknowledge::Durable,
        },
        retention_bytes: expires(log).then_some(match reuses(seed) {
            true => 20 << 10,
            false => 50 << 10,
        }),
        retention_ms: (log.0 % 8 == 7).then_some(HOUR_MS),
        ..LogConfig::default()
    }
}

/// Whether a log's appends are acknowledged from memory.
pub fn is_cached(log: LogNumber) -> bool {
    log.0 % 5 == 4
}

/// Segments go early, and mostly become the next ones of their logs. (Seeds that are kept are below.)
pub fn reuses(seed: u64) -> bool {
    seed > 100 && seed % 3 == 1
}

/// Whether a log's segments go by themselves.
pub fn expires(log: LogNumber) -> bool {
    log.0 % 4 == 3
}

/// What stands for the settled producers of a log as of an offset.
pub fn producers_of(log: LogNumber, offset: Offset) -> Vec<u8> {
    let bytes = (log.0 * 977 + offset.0 as u64 * 131) % 9000;
    vec![(log.0 + offset.0 as u64) as u8; bytes as usize]
}
