//! Steps of a batch's way into a log, for tests and benchmarks: built batches, the rules they are checked by, an index of a GiB, and
//! a store over a disk that does everything at once.

use bytes::Bytes;
use millstream_storage::batch::{
    BatchBuilder, BatchHead, BatchHeader, BatchRules, Compression, Keys, Stamp, Timestamps, Zstd,
};
use millstream_storage::disk::{DiskDone, DiskResult};
use millstream_storage::format::JournalFileState;
use millstream_storage::ids::*;
use millstream_storage::log::Layout;
use millstream_storage::recovery::Recovered;
use millstream_storage::store::{LogConfig, OpenLog, Store, StoreConfig, StoreEffect};

pub const WALL_MS: i64 = 1_700_000_000_000;
const JOURNAL_BYTES: u64 = 64 << 20;

pub fn batch(records: usize, value_bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchHeader {
        compression: Compression::None,
        ..BatchHeader::default()
    });
    for index in 0..records {
        let byte = |at: usize| (index * 31 + at * 7) as u8;
        let value: Vec<u8> = (0..value_bytes).map(byte).collect();
        let time = WALL_MS + index as i64;
        builder.push(time, Some(b"key-0001"), Some(&value), &[]);
    }
    builder.finish().to_vec()
}

pub fn rules() -> BatchRules {
    BatchRules {
        now: WallMs(WALL_MS),
        bytes_max: 16 << 20,
        segment_bytes: 1 << 30,
        decompressed_bytes_max: 64 << 20,
        keys: Keys::Optional,
        timestamps: Timestamps::Created {
            before_ms: i64::MAX,
            after_ms: 3_600_000,
        },
        zstd: Zstd::Allowed,
    }
}

/// A log of a million batches of 1 KiB.
pub fn layout() -> Layout {
    let head = BatchHead::parse(&batch(1, 1000)).expect("a good batch");
    let mut layout = Layout::new(Offset(0), WallMs(0), 4096);
    for offset in 0..1_000_000 {
        let head = BatchHead {
            base_offset: Offset(offset),
            ..head
        };
        layout.append(&head, WallMs(0));
    }
    layout
}

/// One log of a store whose disk does everything at once.
pub struct Journaling {
    store: Store,
    effects: Vec<StoreEffect>,
    batch: Bytes,
    records: i64,
    end: i64,
    tick: u64,
}

impl Journaling {
    /// Appends this batch, of so many records, again and again.
    pub fn new(batch: Vec<u8>, records: i64) -> Journaling {
        let files = (0..2).map(|file| JournalFileState {
            file,
            bytes: JOURNAL_BYTES,
        });
        let recovered = Recovered::blank(NodeId(1), ShardIndex(0), files.collect(), 0);
        let config = StoreConfig::new(NodeId(1), ShardIndex(0));
        let mut store = Store::new(config, recovered, Now::default());
        let open = OpenLog {
            log: LogNumber(1),
            topic: TopicId(1),
            partition: PartitionIndex(0),
            metadata_index: MetadataIndex(1),
            start: Offset(0),
            replaces: None,
            config: LogConfig::default(),
        };
        store.open_log(Now::default(), open).expect("it is new");
        Journaling {
            store,
            effects: Vec::new(),
            batch: batch.into(),
            records,
            end: 0,
            tick: 0,
        }
    }

    /// An append, and what follows until it is durable.
    pub fn step(&mut self) {
        let mark = Stamp {
            base_offset: Offset(self.end),
            leader_epoch: LeaderEpoch(0),
            log_append_time: None,
        };
        let now = self.now();
        let appended = self.store.append(now, LogNumber(1), &self.batch, mark);
        appended.expect("there is room: the disk is never behind");
        self.end += self.records;
        while !self.turn() {}
    }

    fn now(&mut self) -> Now {
        self.tick += 1_000;
        Now {
            tick: Tick(self.tick),
            wall: WallMs(WALL_MS),
        }
    }

    /// Whether what was appended is durable.
    fn turn(&mut self) -> bool {
        let now = self.now();
        self.store.turn(now, &mut |_, _| None);
        let mut effects = std::mem::take(&mut self.effects);
        self.store.drain(&mut effects);
        let mut durable = false;
        for effect in effects.drain(..) {
            match effect {
                StoreEffect::Op(op, _) => {
                    let result = DiskResult::Done;
                    self.store.done(now, DiskDone { op, result });
                }
                StoreEffect::Durable { end, .. } => durable |= end.0 >= self.end,
                StoreEffect::Fatal { reason } => panic!("{reason}"),
                _ => {}
            }
        }
        self.effects = effects;
        durable
    }
}
