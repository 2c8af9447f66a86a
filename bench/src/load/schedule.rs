//! When requests are due.
//!
//! Always: (1) due times never go back; (2) a schedule of several threads is one schedule dealt out, so that their sum has the
//! stated rate; (3) a due time follows from the number of the request, never from when anything was sent.

use super::random::Random;

/// How due times are spread.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Pace {
    /// So many per second, evenly.
    Constant(f64),
    /// So many per second on average; gaps are exponential.
    Poisson(f64),
    /// The first rate until `begins_s`, then to the second over `lasts_s` seconds.
    Ramp {
        from: f64,
        to: f64,
        begins_s: f64,
        lasts_s: f64,
    },
}

/// The due times of one thread.
#[derive(Clone, Debug)]
pub struct Schedule {
    pace: Pace,
    /// This thread's part of all requests.
    share: f64,
    /// Where in the stride of an even schedule this thread comes, between 0 and 1.
    phase: f64,
    issued: u64,
    random: Random,
    last_s: f64,
    next_ns: u64,
}

impl Schedule {
    /// `share` of the requests of `pace`, `phase` of a stride later than the first thread.
    pub fn new(pace: Pace, share: f64, phase: f64, seed: u64) -> Schedule {
        let mut schedule = Schedule {
            pace,
            share,
            phase,
            issued: 0,
            random: Random::new(seed),
            last_s: 0.0,
            next_ns: 0,
        };
        schedule.next_ns = schedule.due();
        schedule
    }

    /// When the next request is due, in nanoseconds since the load began; `u64::MAX` if there is none.
    #[inline]
    pub fn next_ns(&self) -> u64 {
        self.next_ns
    }

    /// Goes on to the request after it.
    #[inline]
    pub fn advance(&mut self) {
        self.issued += 1;
        self.next_ns = self.due();
    }

    fn due(&mut self) -> u64 {
        let number = (self.issued as f64 + self.phase) / self.share;
        let seconds = match self.pace {
            Pace::Constant(rate) => number / rate,
            Pace::Poisson(rate) => {
                self.last_s += self.random.exponential() / (rate * self.share);
                self.last_s
            }
            Pace::Ramp {
                from,
                to,
                begins_s,
                lasts_s,
            } => ramp(number, from, to, begins_s, lasts_s),
        };
        if seconds.is_finite() {
            (seconds * 1e9) as u64
        } else {
            u64::MAX
        }
    }
}

/// When the request of this number is due: the rate is the derivative, so its integral has to be the number.
fn ramp(number: f64, from: f64, to: f64, begins_s: f64, lasts_s: f64) -> f64 {
    let left = number - from * begins_s;
    if left <= 0.0 {
        return number / from;
    }
    let slope = (to - from) / lasts_s;
    let whole = (from + to) / 2.0 * lasts_s;
    if left >= whole {
        return begins_s + lasts_s + (left - whole) / to;
    }
    if slope == 0.0 {
        return begins_s + left / from;
    }
    begins_s + ((from * from + 2.0 * slope * left).sqrt() - from) / slope
}
