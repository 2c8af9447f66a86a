//! What partition machines and the store effect, carried out.
//!
//! Always: (1) effects of one machine are carried out in their order; (2) what the store tells reaches the machine of its
//! log, or nobody where the log is gone.

use super::Core;
use crate::machine::partition::{Effect, Refusal, Verdict};
use crate::shard::event::{FatalReason, ShardEffect};
use crate::shard::mail::{LookMail, Mail, Urgency};
use crate::shard::workshop;
use millstream_net::wire::ErrorCode;
use millstream_storage::ids::{LogNumber, Now, Offset};
use millstream_storage::store::StoreEffect;

impl Core {
    /// Carries out what the machine of a log effected, and what follows from it.
    pub(super) fn carry_out(&mut self, now: Now, log: LogNumber, effects: &mut Vec<Effect>) {
        let mut at = 0;
        while at < effects.len() {
            match effects[at].clone() {
                Effect::Store { ticket, assigned } => self.store_batch(now, ticket, assigned),
                Effect::Reply { ticket, result } => self.reply(now, ticket, result),
                Effect::Visible { high_watermark, .. } => self.visible(now, log, high_watermark),
                Effect::RoleChanged => {
                    self.note_watches(log, 0, Urgency::Now);
                    self.coordinator_role(now, log);
                    self.refuse_trims(now, log, ErrorCode::NotLeaderOrFollower);
                }
                Effect::Truncate { to } => self.store.truncate(now, log, to),
                Effect::MoveStart { log_start } => self.store.set_log_start(now, log, log_start),
                Effect::Ask(question) => {
                    // There is no transaction coordinator, so nobody is part of a transaction.
                    let verdict = Verdict::Refused(Refusal::InvalidTransactionState);
                    if let Some(host) = self.hosts.find_mut(log) {
                        host.machine.answered(now, question, verdict, effects);
                    }
                }
                Effect::NewLog { .. } | Effect::Ack { .. } => {
                    panic!("a single node follows nobody")
                }
                Effect::Aborted { .. } => {}
            }
            at += 1;
        }
        effects.clear();
    }

    fn visible(&mut self, now: Now, log: LogNumber, high_watermark: Offset) {
        self.store.set_high_watermark(log, high_watermark);
        self.coordinator_committed(now, log);
        let Some(host) = self.hosts.find_mut(log) else {
            return;
        };
        let bytes = host.seen(high_watermark);
        if host.is_watched() {
            self.note_watches(log, bytes, Urgency::Normal);
        }
    }

    /// Carries out what the store effected, until it effects nothing more.
    pub(super) fn settle_store(&mut self, now: Now) {
        let mut effects = std::mem::take(&mut self.store_effects);
        loop {
            self.store.drain(&mut effects);
            if effects.is_empty() {
                break;
            }
            if effects.len() > 1 {
                self.hosts
                    .warm(effects.iter().filter_map(|effect| match effect {
                        StoreEffect::Durable { log, .. } => Some(*log),
                        _ => None,
                    }));
            }
            for effect in effects.drain(..) {
                self.store_effect(now, effect);
            }
        }
        self.store_effects = effects;
    }

    fn store_effect(&mut self, now: Now, effect: StoreEffect) {
        match effect {
            StoreEffect::Op(op, disk) => self.out.push(ShardEffect::Disk { op, disk }),
            StoreEffect::Durable { log, end } => {
                self.with_host(now, log, |machine, effects| machine.durable(end, effects));
            }
            StoreEffect::ReadReady { ticket, read } => {
                if !self.coordinator_read(ticket, &read) {
                    self.read_ready(now, ticket, read);
                }
            }
            StoreEffect::FindReady { ticket, found } => self.find_ready(now, ticket, found),
            StoreEffect::Look { ticket, look } => {
                let to = workshop::address(self.shard_count);
                self.send(now, to, Mail::Look(Box::new(LookMail { ticket, look })));
            }
            StoreEffect::StartMoved { log, log_start } => {
                self.start_moved(now, log, log_start);
                self.note_watches(log, 0, Urgency::Normal);
            }
            StoreEffect::Fatal { reason } => self.fatal(FatalReason::Disk(reason)),
        }
    }

    /// The end of a turn for the store: it gathers windows, picks flushes, takes a due checkpoint.
    pub(super) fn turn_store(&mut self, now: Now) {
        let hosts = &self.hosts;
        self.store.turn(now, &mut |log, into| {
            let host = hosts.find(log)?;
            Some(host.machine.encode_producers(into))
        });
    }
}
