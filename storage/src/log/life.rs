//! When a log begins a segment and when it lets segments go. Decides; does nothing.

use super::layout::Layout;
use super::segment::Segment;
use crate::batch::BatchHead;
use crate::ids::{Offset, WallMs};

/// When a segment is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RollLimits {
    /// `segment.bytes`: no segment grows beyond it.
    pub segment_bytes: u64,
    /// `segment.ms`: between its first batch and the next one.
    pub segment_ms: u64,
}

/// How much of a log is kept; `None` is all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RetentionLimits {
    /// `retention.ms`.
    pub ms: Option<u64>,
    /// `retention.bytes`.
    pub bytes: Option<u64>,
}

/// What retention asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// The log start at least: the base of the first segment that stays, or the log's end.
    pub log_start: Offset,
    /// Whether the segment that grows is to go too: the log rolls first.
    pub roll: bool,
}

impl Layout {
    /// Whether the log rolls before it takes this batch (by size, by time, or because the offset is too far from the base).
    pub fn rolls_before(&self, head: &BatchHead, now: WallMs, limits: &RollLimits) -> bool {
        let active = self.active();
        if active.is_empty() {
            return false;
        }
        let bytes = active.bytes.saturating_add(head.bytes as u64);
        bytes > limits.segment_bytes.min(u64::from(u32::MAX))
            || waited_ms(active, head, now) > i64::try_from(limits.segment_ms).unwrap_or(i64::MAX)
            || !active.reaches(head.last_offset())
    }

    /// Which segments are past their time, too many, or below the log start already, from the oldest on; none that holds offsets at
    /// or above `up_to` (the high watermark).
    pub fn expired(
        &self,
        now: WallMs,
        limits: &RetentionLimits,
        up_to: Offset,
    ) -> Option<Retention> {
        let mut surplus = limits
            .bytes
            .map_or(0, |bytes| self.bytes().saturating_sub(bytes));
        let mut retention = None;
        let mut segments = self.segments().peekable();
        while let Some(held) = segments.next() {
            let next = segments.peek().map(|next| next.base);
            let end = next.unwrap_or(held.end);
            let by_time = limits
                .ms
                .is_some_and(|ms| age_ms(held, now) > i64::try_from(ms).unwrap_or(i64::MAX));
            let by_size = surplus > 0 && surplus >= held.bytes;
            let below = end <= self.log_start();
            let empty_last = next.is_none() && held.is_empty();
            if end > up_to || empty_last || !(below || by_time || by_size) {
                break;
            }
            surplus = surplus.saturating_sub(held.bytes);
            retention = Some(Retention {
                log_start: end,
                roll: next.is_none(),
            });
        }
        retention
    }
}

/// How long a segment waits for its end: between its first batch and this one by their timestamps, or since it was begun.
fn waited_ms(active: &Segment, head: &BatchHead, now: WallMs) -> i64 {
    if active.first_timestamp >= 0 && head.max_timestamp >= 0 {
        head.max_timestamp.saturating_sub(active.first_timestamp)
    } else {
        now.0.saturating_sub(active.created.0)
    }
}

fn age_ms(segment: &Segment, now: WallMs) -> i64 {
    now.0.saturating_sub(segment.newest_ms())
}
