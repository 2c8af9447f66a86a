//! What a run of the crash model did, so that nobody takes a run that did nothing for one that found nothing.

use millstream_storage::sim::OpKind;
use std::collections::BTreeMap;
use std::ops::AddAssign;

/// Crash points on which each kind of operation fails once at least.
const POINTS_PER_FAULT: u64 = 20_000;

#[derive(Clone, Default, Debug)]
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
    /// Crashes behind a crash, with work between.
    pub crash_after_crash: u64,
    /// Processes that an operation that failed put an end to.
    pub ends_by_fault: u64,
    /// Segments that became the next ones of their logs.
    pub reused: u64,
    /// Indexes of full segments that were read.
    pub indexes_read: u64,
    /// Operations that failed, by kind.
    pub faults: BTreeMap<OpKind, u64>,
    /// Calls of recovery that failed, by kind.
    pub recovery_faults: BTreeMap<OpKind, u64>,
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
        sum(&mut self.crash_after_crash, other.crash_after_crash);
        sum(&mut self.ends_by_fault, other.ends_by_fault);
        sum(&mut self.reused, other.reused);
        sum(&mut self.indexes_read, other.indexes_read);
        let sum_all = |ours: &mut BTreeMap<OpKind, u64>, theirs: BTreeMap<OpKind, u64>| {
            let each = theirs.into_iter();
            each.for_each(|(kind, count)| *ours.entry(kind).or_default() += count);
        };
        sum_all(&mut self.faults, other.faults);
        sum_all(&mut self.recovery_faults, other.recovery_faults);
    }
}

impl Counts {
    /// Everything that a run is to do was done, and each kind of operation failed as often as the run is long.
    pub fn is_complete(&self) -> bool {
        let all = [
            self.kills,
            self.power_cuts,
            self.recoveries_ended,
            self.recoveries_failed,
            self.late_requests,
            self.layouts_changed,
            self.crash_after_crash,
            self.ends_by_fault,
            self.reused,
            self.indexes_read,
        ];
        let often = |counts: &BTreeMap<OpKind, u64>, kind: &OpKind| {
            counts.get(kind).copied().unwrap_or(0) >= self.points / POINTS_PER_FAULT
        };
        let mut work = OpKind::WORK.iter();
        let mut recovery = OpKind::RECOVERY.iter();
        all.iter().all(|count| *count > 0)
            && work.all(|kind| often(&self.faults, kind))
            && recovery.all(|kind| often(&self.recovery_faults, kind))
    }
}
