//! The leader's appends: received, parked, assigned.

use super::parked::ParkedAppend;
use super::producers::{BatchKind, Checked, ProducerRefusal, Remembered};
use super::types::{
    Acks, Append, Appended, Assigned, Effect, Question, Refusal, Role, TimestampType, Verdict,
};
use super::waiting::Waiter;
use super::{Partition, Ticket};
use millstream_storage::ids::{Now, Offset};

/// Whether a coordinator has said that the batch belongs to its transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verified {
    Yes,
    NotYet,
}

impl Partition {
    /// A producer wants a batch appended. The store has admitted its bytes: `Effect::Store` does not fail.
    pub fn append(&mut self, now: Now, append: Append, effects: &mut Vec<Effect>) {
        if self.parked.holds(append.head.producer) && append.head.kind == BatchKind::Transactional {
            let question = self.question(&append);
            self.park(now, append, question, effects);
            return;
        }
        self.try_append(now, append, Verified::NotYet, effects);
        if matches!(append.head.kind, BatchKind::Marker { .. }) {
            self.ask_again(now, &append, effects);
        }
    }

    /// The coordinator has answered.
    pub fn answered(
        &mut self,
        now: Now,
        question: Question,
        verdict: Verdict,
        effects: &mut Vec<Effect>,
    ) {
        let mut verified = Verified::Yes;
        for parked in self.parked.answered(question) {
            match verdict {
                Verdict::Member => self.try_append(now, parked.append, verified, effects),
                Verdict::Refused(refusal) => refuse(parked.append.ticket, refusal, effects),
            }
            verified = Verified::NotYet;
        }
    }

    fn try_append(
        &mut self,
        now: Now,
        append: Append,
        verified: Verified,
        effects: &mut Vec<Effect>,
    ) {
        let Role::Leader(leadership) = &self.role else {
            return refuse(append.ticket, Refusal::NotLeader, effects);
        };
        if append.acks == Acks::All && leadership.isr.len() < leadership.min_isr {
            return refuse(append.ticket, Refusal::NotEnoughReplicas, effects);
        }
        let expiration_ms = self.config.producer_expiration_ms;
        self.producers
            .expire_one(append.head.producer, now.wall, expiration_ms);
        match (self.producers.check(&append.head), verified) {
            (Ok(Checked::Next), _) | (Ok(Checked::Unverified), Verified::Yes) => {
                self.assign(now, append, effects)
            }
            (Ok(Checked::Unverified), Verified::NotYet) => {
                let question = self.question(&append);
                let first = !self.parked.holds(append.head.producer);
                if self.park(now, append, question, effects) && first {
                    effects.push(Effect::Ask(question));
                }
            }
            (Ok(Checked::Duplicate(original)), _) => self.repeat(now, append, original, effects),
            (Ok(Checked::MarkerDone), _) => effects.push(Effect::Reply {
                ticket: append.ticket,
                result: Ok(self.appended(Offset(-1), -1)),
            }),
            (Err(refusal), _) => refuse(append.ticket, refusal.into(), effects),
        }
    }

    /// Gives the batch its offsets: from here on it is in the log.
    fn assign(&mut self, now: Now, append: Append, effects: &mut Vec<Effect>) {
        let mut head = append.head;
        head.base_offset = self.log_end;
        head.leader_epoch = self.leader_epoch;
        let log_append_time_ms = match self.config.timestamp_type {
            TimestampType::CreateTime => None,
            TimestampType::LogAppendTime => Some(now.wall.0),
        };
        head.max_timestamp = log_append_time_ms.unwrap_or(head.max_timestamp);
        self.log_end = head.end();
        self.producers.append(&head, now.wall);
        effects.push(Effect::Store {
            ticket: append.ticket,
            assigned: Assigned {
                base_offset: head.base_offset,
                leader_epoch: self.leader_epoch,
                log_append_time_ms,
            },
        });
        let waiter = Waiter {
            ticket: append.ticket,
            end: self.log_end,
            base_offset: head.base_offset,
            log_append_time_ms: log_append_time_ms.unwrap_or(-1),
            deadline: None,
        };
        self.wait(now, append, waiter, append.acks, effects);
    }

    /// A retry of a batch that is in the log: answered as the original, and only once that is committed.
    fn repeat(
        &mut self,
        now: Now,
        append: Append,
        original: Remembered,
        effects: &mut Vec<Effect>,
    ) {
        let waiter = Waiter {
            ticket: append.ticket,
            end: original.end,
            base_offset: original.base_offset,
            log_append_time_ms: original.timestamp,
            deadline: None,
        };
        let acks = match append.acks {
            Acks::None => Acks::None,
            _ if original.end <= self.high_watermark => Acks::None,
            _ => Acks::All,
        };
        self.wait(now, append, waiter, acks, effects);
    }

    fn wait(
        &mut self,
        now: Now,
        append: Append,
        mut waiter: Waiter,
        acks: Acks,
        effects: &mut Vec<Effect>,
    ) {
        match acks {
            Acks::None => self.reply_appended(waiter, effects),
            Acks::Leader => self.for_durable.push(waiter),
            Acks::All => {
                waiter.deadline = Some(now.tick.after_ms(u64::from(append.timeout_ms)));
                self.for_committed.push(waiter);
            }
        }
    }

    /// Whether it was parked; if not it was refused.
    fn park(
        &mut self,
        now: Now,
        append: Append,
        question: Question,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let deadline = now.tick.after_ms(u64::from(append.timeout_ms));
        let parked = ParkedAppend { append, deadline };
        let fits = self.parked.park(parked, question).is_ok();
        if !fits {
            refuse(append.ticket, Refusal::CoordinatorSilent, effects);
        }
        fits
    }

    /// A marker has made the open question of its producer void.
    fn ask_again(&mut self, now: Now, marker: &Append, effects: &mut Vec<Effect>) {
        for parked in self.parked.take(marker.head.producer) {
            self.append(now, parked.append, effects);
        }
    }

    fn question(&self, append: &Append) -> Question {
        Question {
            producer: append.head.producer,
            epoch: append.head.producer_epoch,
            markers: self.producers.markers(append.head.producer),
            leader_epoch: self.leader_epoch,
        }
    }

    fn appended(&self, base_offset: Offset, log_append_time_ms: i64) -> Appended {
        Appended {
            base_offset,
            log_append_time_ms,
            log_start: self.log_start,
        }
    }
}

fn refuse(ticket: Ticket, refusal: Refusal, effects: &mut Vec<Effect>) {
    effects.push(Effect::Reply {
        ticket,
        result: Err(refusal),
    });
}

impl From<ProducerRefusal> for Refusal {
    fn from(refusal: ProducerRefusal) -> Self {
        match refusal {
            ProducerRefusal::OutOfOrderSequence => Refusal::OutOfOrderSequence,
            ProducerRefusal::InvalidProducerEpoch => Refusal::InvalidProducerEpoch,
            ProducerRefusal::InvalidTransactionState => Refusal::InvalidTransactionState,
            ProducerRefusal::CoordinatorFenced => Refusal::TransactionCoordinatorFenced,
        }
    }
}
