//! Groups of both protocols: clients of each come, go and change sides while the group lives, so that it becomes one of
//! consumers and classic again and again, over a coordinator that is reloaded.

use super::classic::{self, Doing};
use super::consumer;
use super::leader::{Rebalancing, assign, subscription};
use super::{Random, World, group};
use crate::machine::group::consumer::partitions::Place;
use crate::machine::group::{Body, GroupConfig};
use millstream_net::wire::consumer_protocol::ConsumerAssignment;
use millstream_net::wire::{ErrorCode, Str};
use std::collections::{BTreeMap, BTreeSet};

/// What a client speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Classic,
    Consumer,
}

impl Side {
    fn other(self) -> Side {
        match self {
            Side::Classic => Side::Consumer,
            Side::Consumer => Side::Classic,
        }
    }
}

#[derive(Debug)]
enum Client {
    Classic {
        client: classic::Client,
        /// The partitions it takes for its own.
        owned: BTreeSet<Place>,
        /// The last generation it worked in.
        largest: i32,
    },
    Consumer(consumer::Client),
}

/// The place of a client, which others of either side may take after it.
#[derive(Debug)]
struct Seat {
    number: usize,
    client: Client,
    topics: &'static [&'static str],
    /// Whether it shows signs of life.
    awake: bool,
}

impl Seat {
    fn new(number: usize, incarnation: i64, side: Side, topics: &'static [&'static str]) -> Seat {
        let client = match side {
            Side::Classic => Client::Classic {
                client: classic::Client::new(number),
                owned: BTreeSet::new(),
                largest: -1,
            },
            Side::Consumer => {
                let mut client = consumer::Client::new(number);
                client.id = format!("member-{number}-{incarnation}").into();
                Client::Consumer(client)
            }
        };
        Seat {
            number,
            client,
            topics,
            awake: true,
        }
    }

    fn id(&self) -> &Str {
        match &self.client {
            Client::Classic { client, .. } => &client.id,
            Client::Consumer(client) => &client.id,
        }
    }

    /// Its generation or epoch.
    fn epoch(&self) -> i32 {
        match &self.client {
            Client::Classic { client, .. } => client.generation,
            Client::Consumer(client) => client.epoch,
        }
    }

    fn owned(&self) -> &BTreeSet<Place> {
        match &self.client {
            Client::Classic { owned, .. } => owned,
            Client::Consumer(client) => &client.owned,
        }
    }

    fn act(&mut self, world: &mut World, rebalancing: Rebalancing, obeys: bool) {
        match &mut self.client {
            Client::Classic { client, owned, .. } => {
                if matches!(client.doing, Doing::Outside) && rebalancing == Rebalancing::Eager {
                    owned.clear();
                }
                let metadata = subscription(self.topics, owned, client.generation);
                let image = world.image.clone();
                classic::act(world, client, metadata, |client| {
                    assign(&image, &client.members, rebalancing)
                });
            }
            Client::Consumer(client) => {
                let answer = consumer::heartbeat(world, client.request(self.topics));
                consumer::take(client, &answer);
                if obeys {
                    client.obey();
                }
            }
        }
    }

    /// Takes the answers that have come.
    fn listen(&mut self, world: &mut World) {
        let Client::Classic {
            client,
            owned,
            largest,
        } = &mut self.client
        else {
            return;
        };
        let (id, synced) = (client.id.clone(), client.share.is_some());
        classic::listen(world, client);
        if client.id != id {
            *largest = -1;
        }
        if client.generation < 0 {
            owned.clear();
        }
        let Some(share) = client.share.as_ref().filter(|_| !synced) else {
            return;
        };
        assert!(client.generation >= *largest, "generations only rise");
        *largest = client.generation;
        let given = match share.is_empty() {
            // Its leader knew nothing of it.
            true => ConsumerAssignment::default(),
            false => {
                ConsumerAssignment::decode(share).expect("a leader or the coordinator made it")
            }
        };
        let mut now = BTreeSet::new();
        for topic in given.assigned_partitions {
            let id = world
                .image
                .topic_named(&topic.topic)
                .expect("it is there")
                .id;
            now.extend(topic.partitions.iter().map(|one| (id, *one)));
        }
        // Who had to let go of something joins again, so that others may have it.
        if owned.difference(&now).next().is_some() {
            client.doing = Doing::Outside;
        }
        *owned = now;
    }

    fn leave(&mut self, world: &mut World) {
        match &mut self.client {
            Client::Classic { client, .. } => classic::leave(world, client),
            Client::Consumer(client) if client.epoch > 0 => {
                let mut request = client.request(&[]);
                request.member_epoch = match client.instance {
                    Some(_) => -2,
                    None => -1,
                };
                let answer = consumer::heartbeat(world, request);
                assert_ne!(answer.error_code, ErrorCode::InvalidRequest);
            }
            Client::Consumer(_) => {}
        }
    }

    /// A consumer joins again under a static name that it did not have.
    fn rename(&mut self, step: i64) {
        if let Client::Consumer(client) = &mut self.client {
            client.start_over();
            client.instance = Some(format!("static-{}-{step}", self.number).into());
        }
    }

    /// The answer to what it asked is lost; it asks again.
    fn lose_answer(&mut self, world: &mut World) {
        match &mut self.client {
            Client::Classic { client, .. } => {
                if !matches!(client.doing, Doing::Working) {
                    client.doing = Doing::Outside;
                }
            }
            Client::Consumer(client) => {
                if client.epoch > 0 {
                    consumer::heartbeat(world, client.request(self.topics));
                    client.told = None;
                }
            }
        }
    }

    /// Commits the first partition it takes for its own, as of an epoch.
    fn commit(&self, world: &mut World, epoch: i32, offset: i64) -> Option<(ErrorCode, Place)> {
        let place = *self.owned().first()?;
        match &self.client {
            Client::Classic { client, .. } => {
                let name = world
                    .image
                    .topic(place.0)
                    .expect("it is there")
                    .name
                    .clone();
                let at = (&*name, place.1);
                let code = classic::commit(world, client, epoch, at, offset);
                Some((code, place))
            }
            Client::Consumer(client) => consumer::commit(world, client, epoch, offset),
        }
    }

    /// Whether the coordinator takes it for what it takes itself for. A static member stays while others go on, and what it
    /// has of a former generation is not its own any more.
    fn is_known(&self, world: &World) -> bool {
        let Some(group) = world.coordinator.groups.get(&group()) else {
            return false;
        };
        match (&self.client, &group.body) {
            (Client::Classic { client, .. }, Body::Classic(body)) => {
                let present = client.generation == body.generation;
                body.members.contains_key(&client.id) && (client.instance.is_none() || present)
            }
            (Client::Classic { client, .. }, Body::Consumer(body)) => {
                let known = body.members.get(&client.id);
                known.is_some_and(|one| client.instance.is_none() || client.generation == one.epoch)
            }
            (Client::Consumer(client), Body::Consumer(body)) => {
                body.members.contains_key(&client.id)
            }
            (Client::Consumer(_), Body::Classic(_)) => false,
        }
    }
}

/// Whether a commit of this member and epoch is to be taken.
fn is_present(world: &World, id: &Str, epoch: i32) -> bool {
    match &world.coordinator.groups[&group()].body {
        Body::Classic(body) => body.members.contains_key(id) && body.generation == epoch,
        Body::Consumer(body) => body.members.get(id).is_some_and(|one| one.epoch == epoch),
    }
}

/// What the group is, if there is one.
fn side(world: &World) -> Option<Side> {
    let group = world.coordinator.groups.get(&group())?;
    Some(match group.body {
        Body::Classic(_) => Side::Classic,
        Body::Consumer(_) => Side::Consumer,
    })
}

/// How often groups with members went from one side to the other.
#[derive(Default, Debug)]
struct Crossings {
    up: usize,
    down: usize,
}

/// The group, the clients around it, and what was seen of them.
struct Play {
    world: World,
    random: Random,
    seats: Vec<Seat>,
    rebalancing: Rebalancing,
    /// To whom a partition was given last.
    latest: BTreeMap<Place, usize>,
    committed: BTreeMap<Place, i64>,
    crossings: Crossings,
    partitions: i32,
}

impl Play {
    fn new(seed: u64) -> Play {
        let mut random = Random(seed * 2 + 1);
        let mut world = World::new(GroupConfig {
            initial_delay_ms: [0, 3_000][random.below(2)],
            consumer_assignment_ms: [0, 1_000][random.below(2)],
            // As short as those of classic members, so that either kind may be the last one.
            consumer_session_ms: 10_000,
            ..GroupConfig::default()
        });
        let partitions = 4 + random.below(8) as i32;
        world.topic(1, "a", partitions);
        world.topic(2, "b", 3);
        let count = 2 + random.below(4);
        let mut play = Play {
            world,
            rebalancing: [Rebalancing::Eager, Rebalancing::Cooperative][random.below(2)],
            random,
            seats: Vec::new(),
            latest: BTreeMap::new(),
            committed: BTreeMap::new(),
            crossings: Crossings::default(),
            partitions,
        };
        for number in 0..count {
            let topics = play.topics();
            play.seats.push(Seat::new(number, 0, Side::Classic, topics));
        }
        play
    }

    fn topics(&mut self) -> &'static [&'static str] {
        match self.random.below(3) {
            0 => &["a"],
            _ => &["a", "b"],
        }
    }

    /// One thing happens; most clients that come are of this side.
    fn step(&mut self, step: i64, tide: Side) {
        let at = self.random.below(self.seats.len());
        let seat = &mut self.seats[at];
        match self.random.below(24) {
            0 => seat.awake = !seat.awake,
            1 => self.world.pass_ms(self.random.below(12_000) as u64),
            2 if self.random.below(3) == 0 => self.world.reload(),
            3 if self.partitions < 20 => {
                self.partitions += 1;
                self.world.topic(1, "a", self.partitions);
            }
            4 | 10 => {
                seat.leave(&mut self.world);
                self.replace(at, step, tide);
            }
            // Its former self stays until its session ends.
            5 => self.replace(at, step, tide),
            6 => {
                let epoch = seat.epoch();
                self.commit(at, epoch, step);
            }
            7 if seat.epoch() > 0 => {
                let former = (seat.epoch() - 1 - self.random.below(2) as i32).max(0);
                self.commit(at, former, step);
            }
            // It takes a static name, or another one.
            9 => seat.rename(step),
            8 if seat.awake => seat.lose_answer(&mut self.world),
            _ if seat.awake => {
                let obeys = self.random.below(3) > 0;
                seat.act(&mut self.world, self.rebalancing, obeys);
            }
            _ => {}
        }
        if step % 5 == 0 {
            self.world.pass_ms(1_000);
        }
    }

    fn replace(&mut self, at: usize, step: i64, tide: Side) {
        let side = match self.random.below(5) {
            0 => tide.other(),
            _ => tide,
        };
        let topics = self.topics();
        let number = self.seats[at].number;
        self.seats[at] = Seat::new(number, step + 1, side, topics);
    }

    fn commit(&mut self, at: usize, epoch: i32, offset: i64) {
        let seat = &self.seats[at];
        let Some((code, place)) = seat.commit(&mut self.world, epoch, offset) else {
            return;
        };
        if code == ErrorCode::None {
            assert!(
                is_present(&self.world, seat.id(), epoch),
                "it was not fenced"
            );
            assert_eq!(self.latest.get(&place), Some(&at), "nobody has it after it");
            self.committed.insert(place, offset);
        }
    }

    /// What holds at all times.
    fn look(&mut self) {
        for (at, seat) in self.seats.iter_mut().enumerate() {
            let before = seat.owned().clone();
            seat.listen(&mut self.world);
            let taken = seat.owned().difference(&before);
            self.latest.extend(taken.map(|place| (*place, at)));
        }
        let mut owners: BTreeMap<Place, &Seat> = BTreeMap::new();
        let known = self.seats.iter().filter(|seat| seat.is_known(&self.world));
        for seat in known {
            for place in seat.owned() {
                if let Some(other) = owners.insert(*place, seat) {
                    panic!("{place:?} is owned by {other:#?} and {seat:#?}");
                }
            }
        }
        let offsets = consumer::offsets(&mut self.world);
        assert_eq!(offsets, self.committed, "acknowledged commits stay");
    }

    /// Left alone, the clients share everything.
    fn converges(&mut self) {
        for _ in 0..400 {
            for at in 0..self.seats.len() {
                let before = self.seats[at].owned().clone();
                self.seats[at].act(&mut self.world, self.rebalancing, true);
                self.note(at, &before);
                self.look();
            }
            self.world.pass_ms(500);
        }
        let sides: BTreeSet<bool> = self
            .seats
            .iter()
            .map(|seat| matches!(seat.client, Client::Consumer(_)))
            .collect();
        let expected = match sides.contains(&true) {
            true => Side::Consumer,
            false => Side::Classic,
        };
        assert_eq!(side(&self.world), Some(expected), "{:#?}", self.seats);
        let state = match &self.world.coordinator.groups[&group()].body {
            Body::Classic(body) => body.state.name(),
            Body::Consumer(body) => body.state(),
        };
        assert_eq!(state, "Stable", "{:#?}", self.seats);
        let owned: usize = self.seats.iter().map(|seat| seat.owned().len()).sum();
        let wants_b = self.seats.iter().any(|seat| seat.topics.contains(&"b"));
        let wanted = self.partitions as usize + if wants_b { 3 } else { 0 };
        assert_eq!(
            owned, wanted,
            "every partition has its owner: {:#?}",
            self.seats
        );
    }

    /// Whoever has more than before was given it last.
    fn note(&mut self, at: usize, before: &BTreeSet<Place>) {
        let taken = self.seats[at].owned().difference(before);
        self.latest.extend(taken.map(|place| (*place, at)));
    }

    fn go_on(&mut self, step: i64, tide: Side) {
        let before: Vec<BTreeSet<Place>> =
            self.seats.iter().map(|seat| seat.owned().clone()).collect();
        self.step(step, tide);
        for (at, before) in before.iter().enumerate() {
            self.note(at, before);
        }
        self.look();
    }

    fn run(mut self) -> Crossings {
        let mut tide = Side::Classic;
        for step in 0..800 {
            if step % 80 == 79 {
                tide = tide.other();
            }
            let former = side(&self.world);
            self.go_on(step, tide);
            match (former, side(&self.world)) {
                (Some(Side::Classic), Some(Side::Consumer)) => self.crossings.up += 1,
                (Some(Side::Consumer), Some(Side::Classic)) => self.crossings.down += 1,
                _ => {}
            }
        }
        let end = [None, Some(Side::Classic), Some(Side::Consumer)][self.random.below(3)];
        for seat in &mut self.seats {
            seat.awake = true;
            if let Some(side) = end {
                *seat = Seat::new(seat.number, 1_000, side, seat.topics);
            }
        }
        self.converges();
        self.crossings
    }
}

/// A world in which clients of both protocols did so many things.
pub(super) fn lived(seed: u64, steps: i64) -> World {
    let mut play = Play::new(seed);
    for step in 0..steps {
        let tide = match step / 80 % 2 {
            0 => Side::Classic,
            _ => Side::Consumer,
        };
        play.go_on(step, tide);
    }
    play.world
}

#[test]
fn whatever_clients_of_both_protocols_do_no_partition_has_two_owners_and_all_find_one() {
    let mut crossings = Crossings::default();
    for seed in 1..=150 {
        println!("seed {seed}");
        let one = Play::new(seed).run();
        crossings.up += one.up;
        crossings.down += one.down;
    }
    assert!(crossings.up > 150, "{crossings:?}");
    assert!(crossings.down > 150, "{crossings:?}");
}
