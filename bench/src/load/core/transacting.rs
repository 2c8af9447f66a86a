//! The transactional producers of a thread: what they ask their coordinators, and what they send when they were told.

use super::Core;
use super::connection::{Connection, Role, Transacting};
use crate::cluster::Routes;
use crate::load::link::Link;
use crate::load::transaction::{Effect, Transaction};
use crate::result::Stage;
use std::time::Duration;

impl Core {
    /// Opens the connection of a lane's transactions to their coordinator.
    pub(super) fn add_transactions(
        &mut self,
        lane: usize,
        timeout: Duration,
    ) -> Result<(), String> {
        let Some(transaction) = self.transaction(lane) else {
            return Ok(());
        };
        let coordinator = transaction.plan.coordinator;
        self.connections.push(Connection {
            link: Link::open(coordinator, timeout)?,
            role: Role::Transacts(Transacting {
                lane,
                request: Vec::new(),
            }),
        });
        Ok(())
    }

    pub(super) fn transaction(&mut self, lane: usize) -> Option<&mut Transaction> {
        let producing = self.connections[lane].producing()?;
        producing.transaction.as_mut()
    }

    /// What was asked is asked again: its connection is gone.
    pub(super) fn ask_again(&mut self, index: usize) {
        if let Role::Transacts(transacting) = &mut self.connections[index].role {
            transacting.request.clear();
            let lane = transacting.lane;
            self.transaction(lane)
                .into_iter()
                .for_each(Transaction::broken);
        }
    }

    /// Follows coordinators that are somewhere else now.
    pub(super) fn move_transactions(&mut self, routes: &Routes) {
        for index in 0..self.connections.len() {
            let Role::Transacts(Transacting { lane, .. }) = self.connections[index].role else {
                continue;
            };
            let key = self
                .transaction(lane)
                .map(|transaction| transaction.plan.key);
            let to = key.and_then(|key| routes.coordinators.get(key).copied().flatten());
            let link = &mut self.connections[index].link;
            if let Some(to) = to.filter(|to| *to != link.address) {
                link.turn_to(to);
                self.ask_again(index);
            }
        }
    }

    /// Lets transactions begin and end.
    pub(super) fn transact(&mut self, now: u64) {
        if !self.transactional {
            return;
        }
        for index in 0..self.connections.len() {
            let Connection {
                link,
                role: Role::Transacts(transacting),
            } = &self.connections[index]
            else {
                continue;
            };
            if !link.is_open() || !transacting.request.is_empty() {
                continue;
            }
            let lane = transacting.lane;
            let request = self.transaction(lane).and_then(|it| it.next(now));
            if let (Role::Transacts(transacting), Some(request)) =
                (&mut self.connections[index].role, request)
            {
                transacting.request = request;
            }
        }
    }

    /// Takes what a coordinator says; how many bytes it was.
    pub(super) fn take_transacted(&mut self, index: usize) -> Result<usize, String> {
        let now = self.shared.clock().now_ns();
        let Role::Transacts(Transacting { lane, .. }) = self.connections[index].role else {
            unreachable!("the caller looked");
        };
        let (mut taken, mut effects) = (0, Vec::new());
        while let Some(frame) = self.connections[index].link.frame(taken)? {
            let frame = frame.to_vec();
            taken += 4 + frame.len();
            let transaction = self.transaction(lane);
            let transaction = transaction.expect("a lane with a coordinator has one");
            transaction.answer(now, &frame, &mut effects)?;
        }
        for effect in effects {
            match effect {
                Effect::Opened => self.go_on(lane),
                Effect::Committed { flights, after_ns } => {
                    for flight in flights {
                        let sent = &mut self.streams[flight.stream as usize].sent;
                        sent.acknowledged.insert(flight.batch);
                    }
                    if self.shared.timed {
                        self.part.stage(Stage::Transaction).record_ns(after_ns);
                    }
                    self.go_on(lane);
                }
                Effect::LookUp => self.shared.scout.want(),
                Effect::Failed(failure) => self.part.failed(failure),
            }
        }
        Ok(taken)
    }

    /// Whether every transaction is committed; `flush` says that nothing more comes.
    pub(super) fn transactions_are_closed(&mut self, flush: bool) -> bool {
        let mut all = true;
        for transaction in self.transactions() {
            if flush {
                transaction.flush();
            }
            all &= transaction.is_closed();
        }
        all
    }

    /// When a transaction wants to ask again.
    pub(super) fn transactions_deadline_ns(&mut self) -> u64 {
        let each = self.transactions().map(|each| each.deadline_ns());
        each.min().unwrap_or(u64::MAX)
    }

    fn transactions(&mut self) -> impl Iterator<Item = &mut Transaction> {
        let lanes = if self.transactional {
            &mut self.connections[..]
        } else {
            &mut []
        };
        let producing = lanes.iter_mut().filter_map(Connection::producing);
        producing.filter_map(|producing| producing.transaction.as_mut())
    }
}
