//! The clock of a run: nanoseconds since it was made, of the monotonic clock, which all threads of a process share.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A clock that begins at 0.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    began: Instant,
    began_wall_ms: i64,
}

impl Clock {
    pub fn start() -> Clock {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        Clock {
            began: Instant::now(),
            began_wall_ms: wall.map_or(0, |since| since.as_millis() as i64),
        }
    }

    #[inline]
    pub fn now_ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// The wall clock at a moment of this one.
    #[inline]
    pub fn wall_ms(&self, now_ns: u64) -> i64 {
        self.began_wall_ms + (now_ns / 1_000_000) as i64
    }
}

/// Seconds as nanoseconds.
pub fn ns(seconds: f64) -> u64 {
    Duration::from_secs_f64(seconds.clamp(0.0, 1e9)).as_nanos() as u64
}
