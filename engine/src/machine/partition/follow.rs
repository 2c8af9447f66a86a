//! The follower's inputs: batches the leader has stamped, cuts, new logs, and where the leader is.

use super::Partition;
use super::producers::{BatchHead, Producers};
use super::types::{Assigned, Effect, LogState, Role, Ticket};
use millstream_storage::ids::{Now, Offset};

impl Partition {
    /// A stamped batch from the leader; offsets may jump (compacted topics).
    pub fn pushed(&mut self, now: Now, ticket: Ticket, head: BatchHead, effects: &mut Vec<Effect>) {
        assert!(
            matches!(self.role, Role::Follower(_)),
            "pushed to no follower"
        );
        assert!(head.base_offset >= self.log_end, "pushed below the log end");
        assert!(head.leader_epoch <= self.leader_epoch);
        self.log_end = head.end();
        self.producers.append(&head, now.wall);
        effects.push(Effect::Store {
            ticket,
            assigned: Assigned {
                base_offset: head.base_offset,
                leader_epoch: head.leader_epoch,
                log_append_time_ms: None,
            },
        });
        self.follow_high_watermark(effects);
    }

    /// The leader's high watermark; it counts here up to the own end.
    pub fn leader_moved(&mut self, high_watermark: Offset, effects: &mut Vec<Effect>) {
        assert!(matches!(self.role, Role::Follower(_)));
        self.leader_high_watermark = self.leader_high_watermark.max(high_watermark);
        self.follow_high_watermark(effects);
    }

    fn follow_high_watermark(&mut self, effects: &mut Vec<Effect>) {
        self.raise(self.leader_high_watermark.min(self.log_end), effects);
    }

    /// The leader's log parts from this one at `to`, a batch boundary. Below the high watermark only while the partition
    /// recovers from an election that was not clean.
    pub fn truncate(&mut self, to: Offset, effects: &mut Vec<Effect>) {
        let Role::Follower(following) = &self.role else {
            panic!("a cut of no follower");
        };
        assert!(to >= self.high_watermark || following.recovering.is_some());
        assert!(to >= self.log_start && to <= self.log_end);
        if to == self.log_end {
            return;
        }
        self.log_end = to;
        self.durable = self.durable.min(to);
        self.leader_high_watermark = self.leader_high_watermark.min(to);
        self.producers.truncate(to);
        self.high_watermark = self.high_watermark.min(to);
        effects.push(Effect::Truncate { to });
        self.raise(self.high_watermark, effects);
    }

    /// The leader's log begins above this one's end, or this one cannot go on: a new, empty log from `start` on.
    pub fn new_log(&mut self, start: Offset, effects: &mut Vec<Effect>) {
        assert!(
            matches!(self.role, Role::Follower(_)),
            "a new log of no follower"
        );
        let log = LogState::empty(start);
        self.log_start = log.log_start;
        self.log_end = log.log_end;
        self.durable = log.durable;
        self.high_watermark = log.high_watermark;
        self.leader_high_watermark = log.high_watermark;
        self.producers = Producers::new(start);
        effects.push(Effect::NewLog { start });
        self.raise(start, effects);
    }
}
