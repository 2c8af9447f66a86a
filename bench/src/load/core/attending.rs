//! The members of groups on a thread: what they ask, and what they read when they were told.

use super::Core;
use super::connection::{Attending, Connection, Role};
use super::moving::leader;
use crate::load::group::{Change, Churn, Effect, GroupPlan, Member, Ownership};
use crate::load::link::Link;
use crate::load::reader::{Place, Reader};
use crate::load::shared::SECOND_NS;
use crate::result::Stage;
use bytes::Bytes;
use std::time::Duration;

/// How long members may take to leave their groups at the end.
const PARTING_NS: u64 = 2 * SECOND_NS;

/// A group on this thread.
pub(super) struct Group {
    pub plan: GroupPlan,
    pub seats: Vec<Seat>,
    ownership: Ownership,
    churn: Option<Churn>,
}

/// A member and its connections.
pub(super) struct Seat {
    pub member: Member,
    /// To the coordinator.
    link: usize,
    /// To the brokers that lead what it reads.
    readers: Vec<usize>,
}

impl Core {
    pub(super) fn add_group(&mut self, plan: GroupPlan, timeout: Duration) -> Result<(), String> {
        let group = self.groups.len();
        let mut seats = Vec::new();
        for seat in 0..plan.members {
            seats.push(Seat {
                member: Member::new(plan.terms.clone()),
                link: self.connections.len(),
                readers: Vec::new(),
            });
            self.connections.push(Connection {
                link: Link::open(plan.coordinator, timeout)?,
                role: Role::Attends(Attending {
                    group,
                    seat,
                    request: Vec::new(),
                }),
            });
        }
        self.groups.push(Group {
            ownership: Ownership::new(&plan.places),
            churn: Churn::new(plan.churn, plan.members),
            seats,
            plan,
        });
        Ok(())
    }

    /// Lets members come and go, and ask what they have to.
    pub(super) fn attend(&mut self, now: u64) -> Result<(), String> {
        for group in 0..self.groups.len() {
            self.change_members(group, now);
            for seat in 0..self.groups[group].seats.len() {
                self.attend_seat(group, seat, now);
            }
        }
        Ok(())
    }

    fn change_members(&mut self, group: usize, now: u64) {
        let Group { churn, seats, .. } = &mut self.groups[group];
        if now >= self.shared.ends_ns {
            // What is left is read in peace, by a member that is there.
            if churn.take().is_some() && self.parting_since_ns.is_none() {
                seats.iter_mut().for_each(|seat| seat.member.join());
            }
            return;
        }
        while let Some((member, change)) = churn.as_mut().and_then(|churn| churn.due(now)) {
            match change {
                Change::Leave => seats[member].member.leave(),
                Change::Join => seats[member].member.join(),
            }
        }
    }

    fn attend_seat(&mut self, group: usize, seat: usize, now: u64) {
        let it = &mut self.groups[group].seats[seat];
        if it.member.deadline_ns() > now {
            return;
        }
        let Connection {
            link,
            role: Role::Attends(attending),
        } = &self.connections[it.link]
        else {
            unreachable!("a seat's link attends");
        };
        if !link.is_open() || !attending.request.is_empty() {
            return;
        }
        let (connections, readers) = (&self.connections, &it.readers);
        let positions = || {
            let places = readers
                .iter()
                .flat_map(|index| places(&connections[*index]));
            places
                .map(|place| (place.topic, place.partition, place.next))
                .collect()
        };
        let mut effects = Vec::new();
        let request = it.member.next(now, positions, &mut effects);
        let link = it.link;
        if let Some(request) = request
            && let Role::Attends(attending) = &mut self.connections[link].role
        {
            attending.request = request;
        }
        self.follow(group, seat, effects, now);
    }

    /// Takes what a coordinator says; how many bytes it was.
    pub(super) fn take_told(&mut self, index: usize) -> Result<usize, String> {
        let now = self.shared.clock().now_ns();
        let mut taken = 0;
        while let Some(frame) = self.connections[index].link.frame(taken)? {
            let frame = Bytes::copy_from_slice(frame);
            taken += 4 + frame.len();
            let Role::Attends(attending) = &self.connections[index].role else {
                unreachable!("the caller looked");
            };
            let (group, seat) = (attending.group, attending.seat);
            let mut effects = Vec::new();
            let member = &mut self.groups[group].seats[seat].member;
            member.answer(now, &frame, &mut effects)?;
            self.follow(group, seat, effects, now);
        }
        Ok(taken)
    }

    fn follow(&mut self, group: usize, seat: usize, effects: Vec<Effect>, now: u64) {
        for effect in effects {
            match effect {
                Effect::Assigned(positions) => {
                    let part = &mut self.part;
                    let ownership = &mut self.groups[group].ownership;
                    let places = ownership.assign(now, &positions, |ns| {
                        part.stage(Stage::Unavailable).record_ns(ns);
                    });
                    self.clear_places(group, seat);
                    self.deal_places(group, seat, places, now);
                }
                Effect::Revoked => {
                    for index in self.groups[group].seats[seat].readers.clone() {
                        let held = match &mut self.connections[index].role {
                            Role::Reads(reading) => reading.reader.pause(),
                            _ => continue,
                        };
                        if held {
                            let places: Vec<Place> =
                                places(&self.connections[index]).cloned().collect();
                            self.groups[group].ownership.release(now, &places);
                        }
                    }
                }
                Effect::Joined { after_ns } => {
                    self.part.stage(Stage::Rebalance).record_ns(after_ns);
                    self.last_progress_ns = now;
                }
                Effect::Left => self.clear_places(group, seat),
                Effect::LookUp => self.shared.scout.want(),
                Effect::Failed(failure) => self.part.failed(failure),
            }
        }
    }

    fn clear_places(&mut self, group: usize, seat: usize) {
        for index in &self.groups[group].seats[seat].readers {
            if let Role::Reads(reading) = &mut self.connections[*index].role {
                reading.reader.clear();
            }
        }
    }

    /// Lets a member read these, each from the broker that leads it.
    pub(super) fn deal_places(&mut self, group: usize, seat: usize, places: Vec<Place>, now: u64) {
        let routes = self.shared.scout.found();
        for place in places {
            let Some(to) = leader(&routes, place.topic, place.partition) else {
                self.groups[group].ownership.release(now, &[place]);
                continue;
            };
            let readers = &self.groups[group].seats[seat].readers;
            let known = readers
                .iter()
                .find(|index| self.connections[**index].link.address == to);
            let index = match known {
                Some(index) => *index,
                None => {
                    let plan = &self.groups[group].plan;
                    let (of, timed) = (plan.reader, plan.timed);
                    let reader = Reader::new(Vec::new(), false);
                    let index = self.add_reading(to, of, timed, reader, true);
                    self.groups[group].seats[seat].readers.push(index);
                    index
                }
            };
            self.put_place(index, place);
        }
    }

    pub(super) fn seat_of(&self, reader: usize) -> Option<(usize, usize)> {
        let mut groups = self.groups.iter().enumerate();
        groups.find_map(|(group, each)| {
            let mut seats = each.seats.iter();
            let seat = seats.position(|seat| seat.readers.contains(&reader))?;
            Some((group, seat))
        })
    }

    /// When a member or a change of members is due.
    pub(super) fn groups_deadline_ns(&self) -> u64 {
        let each = self.groups.iter().map(|group| {
            let churn = group.churn.as_ref().map_or(u64::MAX, Churn::next_ns);
            let members = group.seats.iter().map(|seat| seat.member.deadline_ns());
            members.min().unwrap_or(u64::MAX).min(churn)
        });
        each.min().unwrap_or(u64::MAX)
    }

    /// Whether all groups have read up to the ends.
    pub(super) fn groups_are_done(&mut self) -> bool {
        let Some(ends) = self.shared.ends.get() else {
            return self.groups.is_empty();
        };
        let connections = &self.connections;
        self.groups.iter_mut().all(|group| {
            for index in group.seats.iter().flat_map(|seat| &seat.readers) {
                let read: Vec<Place> = places(&connections[*index]).cloned().collect();
                group.ownership.read(&read);
            }
            group.ownership.unread(ends).next().is_none()
        })
    }

    pub(super) fn unread_by_groups(&self) -> Vec<(usize, u32, i32)> {
        let Some(ends) = self.shared.ends.get() else {
            return Vec::new();
        };
        let all = self.groups.iter().flat_map(|group| {
            let reader = group.plan.reader;
            let unread = group.ownership.unread(ends);
            unread.map(move |(topic, partition)| (reader, topic, partition))
        });
        all.collect()
    }

    /// Lets all members leave their groups; whether they have, or took too long.
    pub(super) fn has_parted(&mut self, now: u64) -> bool {
        let since = *self.parting_since_ns.get_or_insert(now);
        let mut all_out = true;
        for seat in self.groups.iter_mut().flat_map(|group| &mut group.seats) {
            seat.member.leave();
            all_out &= seat.member.is_out();
        }
        all_out || now.saturating_sub(since) > PARTING_NS
    }
}

fn places(connection: &Connection) -> impl Iterator<Item = &Place> {
    let places = match &connection.role {
        Role::Reads(reading) => reading.reader.places(),
        _ => &[],
    };
    places.iter()
}
