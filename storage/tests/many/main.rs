//! Very many logs of one shard: what each of them costs when all of them go, and how long the turn is that takes a checkpoint of them.
//!
//! Always: the processor time of this thread is compared, never the time on the wall.

use millstream_storage::batch::{BatchBuilder, BatchHeader, Stamp};
use millstream_storage::disk::{DiskDone, DiskOp, DiskResult};
use millstream_storage::format::JournalFileState;
use millstream_storage::ids::*;
use millstream_storage::recovery::Recovered;
use millstream_storage::store::{LogConfig, OpenLog, Store, StoreConfig, StoreEffect};
use std::time::Duration;

const JOURNAL_BYTES: u64 = 64 << 20;

/// What this thread has computed for.
fn thread_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the struct is ours and lives through the call.
    let read = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(read, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A store over a disk that does everything at once.
struct Rig {
    store: Store,
    tick: u64,
    removed: usize,
    longest: Duration,
}

impl Rig {
    fn new() -> Rig {
        let files = (0..2).map(|file| JournalFileState {
            file,
            bytes: JOURNAL_BYTES,
        });
        let recovered = Recovered::blank(NodeId(1), ShardIndex(0), files.collect(), 0);
        let config = StoreConfig::new(NodeId(1), ShardIndex(0));
        Rig {
            store: Store::new(config, recovered, Now::default()),
            tick: 0,
            removed: 0,
            longest: Duration::ZERO,
        }
    }

    fn now(&mut self) -> Now {
        self.tick += 1_000_000;
        Now {
            tick: Tick(self.tick),
            wall: WallMs(1_700_000_000_000),
        }
    }

    fn open(&mut self, logs: u64) {
        for number in 1..=logs {
            let open = OpenLog {
                log: LogNumber(number),
                topic: TopicId(number as u128 % 7),
                partition: PartitionIndex(number as i32),
                metadata_index: MetadataIndex(1),
                start: Offset(0),
                replaces: None,
                config: LogConfig::default(),
            };
            let now = self.now();
            self.store.open_log(now, open).expect("it is new");
        }
        self.work();
    }

    /// Every log gets a batch, which is flushed into a segment of its own.
    fn fill(&mut self, logs: u64) {
        let mut builder = BatchBuilder::new(BatchHeader::default());
        builder.push(1_700_000_000_000, None, Some(&[7; 100]), &[]);
        let batch = builder.finish();
        let mark = Stamp {
            base_offset: Offset(0),
            leader_epoch: LeaderEpoch(0),
            log_append_time: None,
        };
        for number in 1..=logs {
            let now = self.now();
            let appended = self.store.append(now, LogNumber(number), &batch, mark);
            appended.expect("there is room");
            if number % 1000 == 0 {
                self.work();
            }
        }
        let now = self.now();
        self.store.stop(now);
        self.work();
    }

    fn drop_all(&mut self, logs: u64) {
        for number in 1..=logs {
            let now = self.now();
            self.store.drop_log(now, LogNumber(number));
        }
        self.work();
    }

    /// Turns until nothing is asked of the disk any more.
    fn work(&mut self) {
        let mut quiet = 0;
        while quiet < 300 {
            quiet = match self.turn() {
                true => 0,
                false => quiet + 1,
            };
        }
    }

    /// One turn; whether it asked the disk for something.
    fn turn(&mut self) -> bool {
        let now = self.now();
        let before = thread_time();
        self.store.turn(now, &mut |_, _| None);
        self.longest = self.longest.max(thread_time() - before);
        let mut effects = Vec::new();
        self.store.drain(&mut effects);
        let mut asked = false;
        for effect in effects {
            match effect {
                StoreEffect::Op(op, what) => {
                    asked = true;
                    self.removed += usize::from(matches!(what, DiskOp::RemoveDir { .. }));
                    let result = DiskResult::Done;
                    self.store.done(now, DiskDone { op, result });
                }
                StoreEffect::Fatal { reason } => panic!("{reason}"),
                _ => {}
            }
        }
        asked
    }
}

/// The processor time in which so many logs go.
fn time_to_go(logs: u64) -> Duration {
    let mut rig = Rig::new();
    rig.open(logs);
    rig.fill(logs);
    let before = thread_time();
    rig.drop_all(logs);
    let took = thread_time() - before;
    // Their directories, and at last those of the seven topics.
    assert!(rig.removed as u64 >= logs + 7, "{}", rig.removed);
    assert_eq!(rig.store.next_log(), LogNumber(logs + 1));
    assert!((1..=logs).all(|number| rig.store.log_end(LogNumber(number)).is_none()));
    took
}

#[test]
fn a_log_that_goes_costs_the_same_among_many() {
    let few = (0..3).map(|_| time_to_go(1_000)).min().expect("three");
    let many = (0..2).map(|_| time_to_go(8_000)).min().expect("two");
    println!("1,000 logs go in {few:?}, 8,000 in {many:?}");
    // The square would be 64 times as much, and 8 times is what it should be; a busy machine may take twice the processor time for the same.
    assert!(many < few * 32, "1,000 in {few:?}, 8,000 in {many:?}");
}

#[test]
fn ten_thousand_logs_are_checkpointed() {
    let mut rig = Rig::new();
    rig.open(10_000);
    println!("the longest turn over 10,000 logs took {:?}", rig.longest);
}
