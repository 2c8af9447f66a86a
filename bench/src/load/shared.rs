//! What all threads of a load know: the workload, the clock, where to stop, and why it ended early.
//!
//! Always: (1) flags only go one way; (2) the first reason for an early end is kept.

use super::clock::Clock;
use super::part::Spares;
use super::pool::Pool;
use super::scout::Scout;
use crate::workload::Workload;
use millstream_net::wire::Str;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

pub const SECOND_NS: u64 = 1_000_000_000;

/// What all threads of a load know.
pub struct Shared {
    pub workload: Workload,
    pub pool: Arc<Pool>,
    pub topics: Vec<Str>,
    pub tag: u32,
    /// Who leads and who coordinates.
    pub scout: Arc<Scout>,
    clock: OnceLock<Clock>,
    /// When production ends, or reading back.
    pub ends_ns: u64,
    /// Bytes after which it ends, for a preload.
    pub bytes_max: u64,
    /// Whether latencies are of interest: not in a preload, nor when reading back.
    pub timed: bool,
    /// Set from outside: stop now.
    pub stop: AtomicBool,
    /// Threads whose producers are not done.
    pub producing: AtomicUsize,
    /// What threads count their seconds in.
    pub spares: Spares,
    /// Where the partitions end, once production is over: by topic and partition.
    pub(super) ends: OnceLock<Vec<Vec<i64>>>,
    /// Whether the ends were known from the beginning.
    reads_back: bool,
    /// The first thing that ended the load early.
    failure: Mutex<Option<String>>,
}

impl Shared {
    /// Of a load that lasts so many seconds.
    pub fn new(
        workload: Workload,
        pool: Arc<Pool>,
        topics: Vec<Str>,
        tag: u32,
        lasts_s: u64,
        timed: bool,
        scout: Arc<Scout>,
    ) -> Shared {
        Shared {
            workload,
            pool,
            topics,
            tag,
            scout,
            clock: OnceLock::new(),
            ends_ns: lasts_s * SECOND_NS,
            bytes_max: u64::MAX,
            timed,
            stop: AtomicBool::new(false),
            producing: AtomicUsize::new(0),
            spares: Spares::default(),
            ends: OnceLock::new(),
            reads_back: false,
            failure: Mutex::new(None),
        }
    }

    /// Starts the clock.
    pub fn start(&self) {
        self.clock.get_or_init(Clock::start);
    }

    /// The clock, which was started before any thread ran.
    #[inline]
    pub fn clock(&self) -> &Clock {
        self.clock.get().expect("threads run when the clock does")
    }

    /// Tells readers where to stop.
    pub fn set_ends(&self, ends: Vec<Vec<i64>>) {
        self.ends.get_or_init(|| ends);
    }

    /// Makes it a load that only reads up to these ends.
    pub fn read_back_to(&mut self, ends: Vec<Vec<i64>>) {
        self.set_ends(ends);
        self.reads_back = true;
    }

    /// Whether it only reads, up to ends that were known before.
    pub fn reads_back(&self) -> bool {
        self.reads_back
    }

    /// What ended it early, if something did.
    pub fn failure(&self) -> Option<String> {
        self.failure
            .lock()
            .expect("no thread panics with it")
            .clone()
    }

    /// Ends the load early; the first reason is kept.
    pub fn fail(&self, reason: String) {
        let mut failure = self.failure.lock().expect("no thread panics with it");
        failure.get_or_insert(reason);
        self.stop.store(true, Ordering::Relaxed);
    }
}
