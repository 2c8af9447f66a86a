//! The way of a call: to its coordinator, or where that is, and its answer back to the shard of the connection.

use super::super::Core;
use super::super::slots::SlotId;
use super::{Phase, Waiting};
use crate::machine::group::{Answer, Call, Caller, Ticket};
use crate::shard::mail::{GroupMail, GroupPart, GroupedMail, Hop, Mail, RequestId};
use millstream_net::wire::ErrorCode;
use millstream_storage::ids::{LogNumber, Now, ShardIndex};

impl Core {
    /// Calls for coordinators of this shard.
    pub(in super::super) fn coordinate(&mut self, now: Now, mut mail: GroupMail) {
        let mut elsewhere: Vec<(ShardIndex, Vec<GroupPart>)> = Vec::new();
        for part in std::mem::take(&mut mail.parts) {
            if self.coordinators.by_log.contains_key(&part.log) {
                self.coordinate_part(now, &mail, part);
                continue;
            }
            match self.forward(part.topic, part.partition, mail.hop) {
                Ok(shard) => match elsewhere.iter_mut().find(|group| group.0 == shard) {
                    Some(group) => group.1.push(part),
                    None => elsewhere.push((shard, vec![part])),
                },
                Err(_) => {
                    let answer = part.call.refuse(ErrorCode::NotCoordinator);
                    self.take_home(now, mail.home, mail.request, part.part, answer);
                }
            }
        }
        for (shard, parts) in elsewhere {
            let mail = GroupMail {
                hop: Hop::Forwarded,
                index: self.meta.image.index(),
                caller: mail.caller.clone(),
                parts,
                ..mail
            };
            self.send(now, shard, Mail::Group(Box::new(mail)));
        }
    }

    fn coordinate_part(&mut self, now: Now, mail: &GroupMail, part: GroupPart) {
        let found = self.coordinators.by_log.get(&part.log);
        let found = found.expect("it was looked for");
        let refusal = match found.phase {
            Phase::Loading(_) | Phase::Reading(..) => Some(ErrorCode::CoordinatorLoadInProgress),
            Phase::Damaged => Some(ErrorCode::CoordinatorNotAvailable),
            // What waits for room is bounded by nothing else.
            Phase::Active if found.stalled.is_some() => Some(ErrorCode::CoordinatorNotAvailable),
            Phase::Active => None,
        };
        if let Some(code) = refusal {
            let answer = part.call.refuse(code);
            return self.take_home(now, mail.home, mail.request, part.part, answer);
        }
        let id = self.coordinators.waiting.insert(Waiting {
            home: mail.home,
            request: mail.request,
            part: part.part,
        });
        let ticket = Ticket(id.to_bits());
        self.call_coordinator(now, part.log, ticket, &mail.caller, part.call);
    }

    fn call_coordinator(
        &mut self,
        now: Now,
        log: LogNumber,
        ticket: Ticket,
        caller: &Caller,
        call: Call,
    ) {
        let image = self.meta.image.clone();
        self.with_coordinator(now, log, |machine| {
            machine.call(now, &image, ticket, caller, call);
        });
    }

    /// A coordinator answered a call.
    pub(super) fn grouped(&mut self, now: Now, ticket: Ticket, answer: Answer) {
        let waiting = self
            .coordinators
            .waiting
            .remove(SlotId::from_bits(ticket.0));
        let waiting = waiting.expect("a call is answered once");
        self.take_home(now, waiting.home, waiting.request, waiting.part, answer);
    }

    /// Brings an answer to the shard of the connection.
    fn take_home(
        &mut self,
        now: Now,
        home: ShardIndex,
        request: RequestId,
        part: u32,
        answer: Answer,
    ) {
        let grouped = GroupedMail {
            request,
            part,
            answer,
        };
        self.send(now, home, Mail::Grouped(Box::new(grouped)));
    }
}
