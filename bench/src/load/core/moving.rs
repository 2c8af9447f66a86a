//! Following leaders and coordinators that are somewhere else now.
//!
//! Always: (1) what moves keeps its place, its numbers and its due times; (2) a stream of an idempotent producer moves only with
//! everything of it that has no answer.

use super::Core;
use super::connection::{Connection, Producing, Reading, Role};
use crate::cluster::Routes;
use crate::load::link::Link;
use crate::load::producer::Producer;
use crate::load::reader::{Place, Reader};
use std::net::SocketAddr;
use std::sync::Arc;

impl Core {
    /// Takes what was looked up.
    pub(super) fn move_on(&mut self, now: u64) -> Result<(), String> {
        self.routes_version = self.shared.scout.version();
        let routes = self.shared.scout.found();
        for connection in &mut self.connections {
            match &mut connection.role {
                Role::Produces(producing) => producing.hold_until_ns = 0,
                Role::Reads(reading) => reading.hold_until_ns = 0,
                Role::Attends(_) | Role::Transacts(_) => {}
            }
        }
        self.move_streams(&routes)?;
        self.move_places(&routes, now);
        self.move_members(&routes);
        self.move_transactions(&routes);
        Ok(())
    }

    fn move_streams(&mut self, routes: &Arc<Routes>) -> Result<(), String> {
        let mut moved = false;
        for index in 0..self.connections.len() {
            let address = self.connections[index].link.address;
            let Role::Produces(producing) = &self.connections[index].role else {
                continue;
            };
            let leader_of = |stream: &u32| {
                let plan = &self.streams[*stream as usize];
                leader(routes, plan.topic, plan.partition)
            };
            let elsewhere = |stream: &&u32| leader_of(stream).is_some_and(|to| to != address);
            let leaving: Vec<(u32, SocketAddr)> = producing
                .streams
                .iter()
                .filter(elsewhere)
                .filter_map(|stream| Some((*stream, leader_of(stream)?)))
                .collect();
            if leaving.is_empty() {
                continue;
            }
            if producing.transaction.is_some() {
                return Err(format!(
                    "a partition that {address} led moved to another broker: transactions of this generator stay with one"
                ));
            }
            moved = true;
            let idempotent =
                |(stream, _): &(u32, SocketAddr)| self.streams[*stream as usize].producer.is_some();
            // A connection that is not open has sent nothing of what it numbered.
            if leaving.iter().any(idempotent) || !self.connections[index].link.is_open() {
                self.take_back(index, None);
            }
            for (stream, to) in leaving {
                self.move_stream(index, stream, to);
            }
            self.go_on(index);
        }
        if moved {
            self.weigh();
        }
        Ok(())
    }

    fn move_stream(&mut self, from: usize, stream: u32, to: SocketAddr) {
        let target = self.producing_connection(to);
        let leaving = self.connections[from].producing().expect("it produces");
        leaving.streams.retain(|each| *each != stream);
        let waiting = leaving.producer.take_waiting(stream);
        let taking = self.connections[target].producing().expect("it produces");
        taking.streams.push(stream);
        waiting
            .into_iter()
            .for_each(|due| taking.producer.wait(due));
        self.go_on(target);
    }

    /// The connection to a broker with the fewest streams; a new one where there is none.
    fn producing_connection(&mut self, to: SocketAddr) -> usize {
        let here = self.connections.iter().enumerate();
        let here = here.filter_map(|(index, each)| match &each.role {
            Role::Produces(producing) if each.link.address == to => {
                Some((producing.streams.len(), index))
            }
            _ => None,
        });
        if let Some((_, index)) = here.min() {
            return index;
        }
        let slots = self.shared.workload.in_flight as usize;
        self.connections.push(Connection {
            link: Link::later(to),
            role: Role::Produces(Producing {
                producer: Producer::new(slots, self.shared.pool.head_bytes()),
                streams: Vec::new(),
                weights: Vec::new(),
                turn: 0,
                transaction: None,
                hold_until_ns: 0,
            }),
        });
        self.connections.len() - 1
    }

    fn move_places(&mut self, routes: &Arc<Routes>, now: u64) {
        for index in 0..self.connections.len() {
            let connection = &mut self.connections[index];
            let address = connection.link.address;
            let Role::Reads(reading) = &mut connection.role else {
                continue;
            };
            let leaving = reading.reader.take_places(|place| {
                leader(routes, place.topic, place.partition).is_some_and(|to| to != address)
            });
            if reading.of_member {
                // It goes on where the members' places are dealt out.
                let group_seat = self.seat_of(index);
                if let Some((group, seat)) = group_seat {
                    self.deal_places(group, seat, leaving, now);
                }
                continue;
            }
            let (of, timed, replay) = (reading.of, reading.timed, reading.reader.replays());
            for place in leaving {
                let to =
                    leader(routes, place.topic, place.partition).expect("it was just looked up");
                let target = self.reading_connection(to, of, timed, replay);
                self.put_place(target, place);
            }
        }
    }

    pub(super) fn put_place(&mut self, index: usize, place: Place) {
        if let Role::Reads(reading) = &mut self.connections[index].role {
            reading.reader.put_place(place);
        }
    }

    /// The connection of a reader to a broker; a new one where there is none.
    fn reading_connection(
        &mut self,
        to: SocketAddr,
        of: usize,
        timed: bool,
        replay: bool,
    ) -> usize {
        let same = |each: &Connection| {
            matches!(&each.role, Role::Reads(reading)
                if each.link.address == to && reading.of == of && !reading.of_member)
        };
        if let Some(index) = self.connections.iter().position(same) {
            return index;
        }
        self.add_reading(to, of, timed, Reader::new(Vec::new(), replay), false)
    }

    pub(super) fn add_reading(
        &mut self,
        to: SocketAddr,
        of: usize,
        timed: bool,
        reader: Reader,
        of_member: bool,
    ) -> usize {
        self.connections.push(Connection {
            link: Link::later(to),
            role: Role::Reads(Reading {
                reader,
                of,
                timed,
                of_member,
                request: Vec::new(),
                hold_until_ns: 0,
            }),
        });
        self.connections.len() - 1
    }

    fn move_members(&mut self, routes: &Arc<Routes>) {
        for connection in &mut self.connections {
            let Role::Attends(attending) = &mut connection.role else {
                continue;
            };
            let group = &mut self.groups[attending.group];
            let to = routes.coordinators.get(group.plan.key).copied().flatten();
            if let Some(to) = to.filter(|to| *to != connection.link.address) {
                connection.link.turn_to(to);
                attending.request.clear();
                group.seats[attending.seat].member.broken();
            }
        }
    }
}

/// Who leads a partition, where that is known.
pub(super) fn leader(routes: &Routes, topic: u32, partition: i32) -> Option<SocketAddr> {
    let leaders = routes.leaders.get(topic as usize)?;
    *leaders.get(usize::try_from(partition).ok()?)?
}
