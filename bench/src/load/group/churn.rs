//! Members that come and go: at even distances one leaves, then the same one joins again as a new member, then the next.

/// What a member shall do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    Leave,
    Join,
}

/// The changes of a group.
#[derive(Clone, Debug)]
pub struct Churn {
    period_ns: u64,
    members: usize,
    done: u64,
}

impl Churn {
    /// So many changes per second; none for 0.
    pub fn new(per_second: f64, members: usize) -> Option<Churn> {
        (per_second > 0.0).then(|| Churn {
            period_ns: (1e9 / per_second) as u64,
            members,
            done: 0,
        })
    }

    /// When the next change is due.
    pub fn next_ns(&self) -> u64 {
        (self.done + 1).saturating_mul(self.period_ns.max(1))
    }

    /// The next change, if it is due: the member and what it shall do.
    pub fn due(&mut self, now: u64) -> Option<(usize, Change)> {
        if now < self.next_ns() {
            return None;
        }
        let member = (self.done / 2) as usize % self.members;
        let change = if self.done.is_multiple_of(2) {
            Change::Leave
        } else {
            Change::Join
        };
        self.done += 1;
        Some((member, change))
    }
}
