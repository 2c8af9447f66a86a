//! What a run of the crash model did, so that nobody takes a run that did nothing for one that found nothing.

use std::ops::AddAssign;

#[derive(Clone, Copy, Default, Debug)]
pub struct Counts {
    /// Moments at which a crash was looked at.
    pub points: u64,
    pub kills: u64,
    pub power_cuts: u64,
    /// Recoveries that died half-way.
    pub recoveries_ended: u64,
    /// Recoveries one call of which failed, and that refused therefore.
    pub recoveries_failed: u64,
    /// Requests of dead processes that ended while the next one waited for the lock.
    pub late_requests: u64,
    /// Processes of another number of shards than the one before.
    pub layouts_changed: u64,
    /// Power cuts behind a kill, with work between.
    pub cut_after_kill: u64,
    /// Processes that an operation that failed put an end to.
    pub faults: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        let sum = |one: &mut u64, other: u64| *one += other;
        sum(&mut self.points, other.points);
        sum(&mut self.kills, other.kills);
        sum(&mut self.power_cuts, other.power_cuts);
        sum(&mut self.recoveries_ended, other.recoveries_ended);
        sum(&mut self.recoveries_failed, other.recoveries_failed);
        sum(&mut self.late_requests, other.late_requests);
        sum(&mut self.layouts_changed, other.layouts_changed);
        sum(&mut self.cut_after_kill, other.cut_after_kill);
        sum(&mut self.faults, other.faults);
    }
}

impl Counts {
    /// Everything that a run is to do was done.
    pub fn is_complete(&self) -> bool {
        let all = [
            self.kills,
            self.power_cuts,
            self.recoveries_ended,
            self.recoveries_failed,
            self.late_requests,
            self.layouts_changed,
            self.cut_after_kill,
            self.faults,
        ];
        all.iter().all(|count| *count > 0)
    }
}
