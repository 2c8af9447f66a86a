//! Who shall have what: the assignors `uniform` and `range`.
//!
//! Always: (1) every partition of a topic that somebody wants has one owner, and nobody has what he does not want; (2) equal
//! inputs give equal assignments; (3) `uniform` moves no partition that balance does not ask for; what is free goes to a
//! member in one of its racks, as far as that leaves the numbers even; racks move nothing by themselves.

use super::partitions::{Partitions, Place};
use millstream_net::wire::Str;
use millstream_storage::ids::TopicId;
use std::collections::{BTreeMap, BTreeSet};

/// The assignors by name, the default first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in super::super) enum Assignor {
    /// Even numbers, few moves.
    Uniform,
    /// Neighbouring partitions of each topic, equal numbers of all topics to the same member.
    Range,
}

impl Assignor {
    pub(super) fn named(name: &str) -> Option<Assignor> {
        match name {
            "uniform" => Some(Assignor::Uniform),
            "range" => Some(Assignor::Range),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    /// Assigns.
    pub(super) fn assign(self, wishes: &Wishes) -> BTreeMap<Str, Partitions> {
        match self {
            Assignor::Uniform => uniform(wishes),
            Assignor::Range => range(wishes),
        }
    }
}

/// BOUND: members and partitions that `uniform` looks at for moves, at the least and for each of them.
const LOOKS_MIN: usize = 100_000;
const LOOKS_PER_PLACE: usize = 100;

/// What an assignor goes by.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// What each member wants. Static members go by their static names, so that a restart changes nothing.
    pub(super) members: BTreeMap<Str, Wish>,
    /// The partitions of each topic.
    pub(super) topics: BTreeMap<TopicId, i32>,
    /// The racks that have a replica of each partition; left out where nobody says where he is.
    pub(super) racks: BTreeMap<TopicId, Vec<BTreeSet<Str>>>,
}

/// What one member wants.
#[derive(Debug, Default)]
pub(super) struct Wish {
    pub(super) instance: Option<Str>,
    pub(super) rack: Option<Str>,
    pub(super) topics: BTreeSet<TopicId>,
    /// What it was to have before.
    pub(super) former: Partitions,
}

fn range(wishes: &Wishes) -> BTreeMap<Str, Partitions> {
    let members = wishes.members.iter();
    let mut assigned: BTreeMap<Str, Partitions> = members
        .map(|(id, _)| (id.clone(), Partitions::default()))
        .collect();
    for (topic, count) in &wishes.topics {
        let members = wishes.members.iter();
        let wanting = members.filter(|(_, wish)| wish.topics.contains(topic));
        // Static members first, so that their places do not depend on ids that change.
        let mut wanting: Vec<(bool, Option<&Str>, &Str)> = wanting
            .map(|(id, wish)| (wish.instance.is_none(), wish.instance.as_ref(), id))
            .collect();
        wanting.sort_unstable();
        let members = wanting.len() as i32;
        let mut next = 0;
        for (at, (_, _, id)) in wanting.into_iter().enumerate() {
            let more = i32::from((at as i32) < count % members);
            let owned = assigned.get_mut(id).expect("it is a member");
            for partition in next..next + count / members + more {
                owned.insert((*topic, partition));
            }
            next += count / members + more;
        }
    }
    assigned
}

fn uniform(wishes: &Wishes) -> BTreeMap<Str, Partitions> {
    let mut plan = Plan::keeping(wishes);
    plan.give_away();
    plan.level();
    plan.owned
        .into_iter()
        .map(|(id, places)| (id, places.into_iter().collect()))
        .collect()
}

/// A uniform assignment in the making.
struct Plan<'a> {
    wishes: &'a Wishes,
    owned: BTreeMap<Str, BTreeSet<Place>>,
    /// Members by what they own, the poorest first.
    by_count: BTreeSet<(usize, Str)>,
    free: Vec<Place>,
}

impl<'a> Plan<'a> {
    /// Begins with what every member had and may keep.
    fn keeping(wishes: &'a Wishes) -> Plan<'a> {
        let mut taken = BTreeSet::new();
        let mut owned = BTreeMap::new();
        for (id, wish) in &wishes.members {
            let kept = wish.former.iter().filter(|(topic, partition)| {
                let count = wishes.topics.get(topic).copied().unwrap_or(0);
                wish.topics.contains(topic) && (0..count).contains(partition)
            });
            let kept: BTreeSet<Place> = kept.filter(|place| taken.insert(*place)).collect();
            owned.insert(id.clone(), kept);
        }
        let all = wishes.topics.iter();
        let all = all.flat_map(|(topic, count)| (0..*count).map(move |one| (*topic, one)));
        Plan {
            wishes,
            by_count: owned
                .iter()
                .map(|(id, places)| (places.len(), id.clone()))
                .collect(),
            free: all.filter(|place| !taken.contains(place)).collect(),
            owned,
        }
    }

    /// Gives every free partition to the poorest member who wants its topic; topics that few want come first.
    fn give_away(&mut self) {
        let mut wanting: BTreeMap<TopicId, Vec<&'a Str>> = BTreeMap::new();
        for (id, wish) in &self.wishes.members {
            for topic in &wish.topics {
                wanting.entry(*topic).or_default().push(id);
            }
        }
        let mut free: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in std::mem::take(&mut self.free) {
            free.entry(topic).or_default().push(partition);
        }
        let mut free: Vec<(TopicId, Vec<i32>)> = free.into_iter().collect();
        free.sort_by_key(|(topic, _)| (wanting.get(topic).map_or(0, Vec::len), *topic));
        for (topic, partitions) in free {
            let members = wanting.get(&topic).map_or(&[][..], Vec::as_slice);
            self.give_topic(topic, &partitions, members);
        }
    }

    fn give_topic(&mut self, topic: TopicId, partitions: &[i32], members: &[&'a Str]) {
        if members.is_empty() {
            return;
        }
        let mut queue = Queue::new(self, members, partitions.len());
        let racks = self.wishes.racks.get(&topic);
        let mut left = Vec::new();
        for partition in partitions {
            let racks = racks.and_then(|racks| racks.get(*partition as usize));
            match racks.and_then(|racks| queue.near(racks)) {
                Some(id) => self.give(id, (topic, *partition)),
                None => left.push(*partition),
            }
        }
        for partition in left {
            let id = queue.poorest();
            self.give(id, (topic, partition));
        }
    }

    /// Moves partitions from rich to poor while that makes the numbers more even.
    fn level(&mut self) {
        let mut settled = BTreeSet::new();
        let partitions: usize = self.by_count.iter().map(|(count, _)| count).sum();
        // BOUND: every move lowers the sum of squares. Where members want very different topics, finding the next one takes long:
        // what is not even by then stays so.
        let mut looks = LOOKS_MIN + LOOKS_PER_PLACE * (partitions + self.by_count.len());
        while let Some((count, rich)) = self
            .by_count
            .iter()
            .rev()
            .find(|(_, id)| !settled.contains(id))
            .cloned()
        {
            let (gift, looked) = self.gift(&rich, count);
            let looked = looked + settled.len();
            if looked >= looks {
                return;
            }
            looks -= looked;
            match gift {
                Some((place, poor)) => {
                    self.take(&rich, place);
                    self.give(&poor, place);
                    settled.clear();
                }
                None => {
                    settled.insert(rich);
                }
            }
            let least = self.by_count.first().map_or(0, |(count, _)| *count);
            if settled.is_empty() && count <= least + 1 {
                return;
            }
        }
    }

    /// What a member can give, and the poorest member who gains by it; and how many members and partitions were looked at.
    fn gift(&self, rich: &Str, count: usize) -> (Option<(Place, Str)>, usize) {
        let mut looked = 0;
        let poorer = self.by_count.iter();
        let poorer = poorer.take_while(|(poor, _)| poor + 2 <= count);
        for (_, poor) in poorer {
            let wish = &self.wishes.members[poor];
            // The last ones go first: who came with neighbouring partitions keeps neighbouring ones.
            for place in self.owned[rich].iter().rev() {
                looked += 1;
                if wish.topics.contains(&place.0) {
                    return (Some((*place, poor.clone())), looked);
                }
            }
            looked += 1;
        }
        (None, looked)
    }

    fn give(&mut self, id: &Str, place: Place) {
        let owned = self.owned.get_mut(id).expect("it is a member");
        self.by_count.remove(&(owned.len(), id.clone()));
        owned.insert(place);
        self.by_count.insert((owned.len(), id.clone()));
    }

    fn take(&mut self, id: &Str, place: Place) {
        let owned = self.owned.get_mut(id).expect("it is a member");
        self.by_count.remove(&(owned.len(), id.clone()));
        owned.remove(&place);
        self.by_count.insert((owned.len(), id.clone()));
    }
}

/// The members who want a topic, the poorest first, all and by rack.
struct Queue<'a> {
    all: BTreeSet<(usize, &'a Str)>,
    by_rack: BTreeMap<&'a Str, BTreeSet<(usize, &'a Str)>>,
    racks: BTreeMap<&'a Str, &'a Str>,
    /// As many as everybody gets at the least, if all is given to the poorest.
    level: usize,
}

impl<'a> Queue<'a> {
    fn new(plan: &Plan<'a>, members: &[&'a Str], partitions: usize) -> Queue<'a> {
        let mut queue = Queue {
            all: BTreeSet::new(),
            by_rack: BTreeMap::new(),
            racks: BTreeMap::new(),
            level: 0,
        };
        for id in members {
            let entry = (plan.owned[*id].len(), *id);
            queue.all.insert(entry);
            if let Some(rack) = &plan.wishes.members[*id].rack {
                queue.racks.insert(id, rack);
                queue.by_rack.entry(rack).or_default().insert(entry);
            }
        }
        let mut counted = 0;
        for (at, (count, _)) in queue.all.iter().enumerate() {
            // All members before this one could be raised to what it has.
            if at * count > counted + partitions {
                break;
            }
            counted += count;
            queue.level = (counted + partitions) / (at + 1);
        }
        queue
    }

    /// Takes the poorest member in one of these racks, unless it has its part already.
    fn near(&mut self, racks: &BTreeSet<Str>) -> Option<&'a Str> {
        let firsts = racks
            .iter()
            .filter_map(|rack| self.by_rack.get(rack)?.first().copied());
        let (count, id) = firsts.min()?;
        (count < self.level).then(|| self.take(count, id))
    }

    /// Takes the poorest member of all.
    fn poorest(&mut self) -> &'a Str {
        let first = self.all.first().copied();
        let (count, id) = first.expect("somebody wants the topic");
        self.take(count, id)
    }

    /// A member gets one more.
    fn take(&mut self, count: usize, id: &'a Str) -> &'a Str {
        self.all.remove(&(count, id));
        self.all.insert((count + 1, id));
        let rack = self.racks.get(id);
        if let Some(of_rack) = rack.and_then(|rack| self.by_rack.get_mut(*rack)) {
            of_rack.remove(&(count, id));
            of_rack.insert((count + 1, id));
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `member: topics; former` lines, topics as `letter` + partitions.
    fn wishes(topics: &[(u128, i32)], members: &[(&str, &[u128])]) -> Wishes {
        let members = members.iter().map(|(id, topics)| {
            let wish = Wish {
                topics: topics.iter().map(|id| TopicId(*id)).collect(),
                ..Wish::default()
            };
            (Str::from(*id), wish)
        });
        Wishes {
            members: members.collect(),
            topics: topics
                .iter()
                .map(|(id, count)| (TopicId(*id), *count))
                .collect(),
            racks: BTreeMap::new(),
        }
    }

    fn counts(assigned: &BTreeMap<Str, Partitions>) -> Vec<usize> {
        assigned.values().map(Partitions::count).collect()
    }

    fn check(wishes: &Wishes, assigned: &BTreeMap<Str, Partitions>) {
        let mut owners: BTreeMap<Place, &Str> = BTreeMap::new();
        for (id, partitions) in assigned {
            for place in partitions.iter() {
                assert!(wishes.members[id].topics.contains(&place.0));
                assert_eq!(owners.insert(place, id), None, "{place:?} has one owner");
            }
        }
        for (topic, count) in &wishes.topics {
            let wanted = wishes
                .members
                .values()
                .any(|wish| wish.topics.contains(topic));
            for partition in 0..*count {
                assert_eq!(owners.contains_key(&(*topic, partition)), wanted);
            }
        }
    }

    #[test]
    fn both_give_every_wanted_partition_one_owner() {
        let cases = [
            wishes(&[(1, 7)], &[("a", &[1]), ("b", &[1]), ("c", &[1])]),
            wishes(
                &[(1, 2), (2, 5)],
                &[("a", &[1, 2]), ("b", &[2]), ("c", &[])],
            ),
            wishes(&[(1, 1)], &[("a", &[1]), ("b", &[1])]),
            wishes(
                &[(1, 4), (2, 4), (3, 9)],
                &[("a", &[1]), ("b", &[2, 1]), ("c", &[2])],
            ),
            wishes(&[(1, 4)], &[]),
        ];
        for wishes in &cases {
            for assignor in [Assignor::Uniform, Assignor::Range] {
                check(wishes, &assignor.assign(wishes));
            }
        }
    }

    #[test]
    fn range_gives_neighbours_and_the_same_of_every_topic() {
        let wishes = wishes(&[(1, 5), (2, 5)], &[("a", &[1, 2]), ("b", &[1, 2])]);
        let assigned = Assignor::Range.assign(&wishes);
        let of_a: Vec<Place> = assigned["a"].iter().collect();
        let expected = [1, 2].map(|topic| (0..3).map(move |one| (TopicId(topic), one)));
        assert_eq!(of_a, expected.into_iter().flatten().collect::<Vec<_>>());
    }

    #[test]
    fn uniform_is_even_and_moves_as_little_as_that_takes() {
        let mut wishes = wishes(&[(1, 100)], &[("a", &[1]), ("b", &[1]), ("c", &[1])]);
        let first = Assignor::Uniform.assign(&wishes);
        assert_eq!(counts(&first), [34, 33, 33]);
        for (id, wish) in &mut wishes.members {
            wish.former = first[id].clone();
        }
        assert_eq!(
            Assignor::Uniform.assign(&wishes),
            first,
            "nothing moves for nothing"
        );
        let mut more = Wish::default();
        more.topics.insert(TopicId(1));
        wishes.members.insert("d".into(), more);
        let second = Assignor::Uniform.assign(&wishes);
        assert_eq!(counts(&second), [25, 25, 25, 25]);
        let moved = |id: &str| {
            let before = first[id].iter();
            before.filter(|place| !second[id].contains(*place)).count()
        };
        assert_eq!(moved("a") + moved("b") + moved("c"), 25);
        wishes.members.remove("a");
        for (id, wish) in &mut wishes.members {
            wish.former = second[id].clone();
        }
        let third = Assignor::Uniform.assign(&wishes);
        let mut shares = counts(&third);
        shares.sort_unstable();
        assert_eq!(shares, [33, 33, 34]);
        for id in ["b", "c", "d"] {
            assert!(second[id].iter().all(|place| third[id].contains(place)));
        }
    }

    #[test]
    fn uniform_is_even_where_members_want_different_topics() {
        let wishes = wishes(
            &[(1, 10), (2, 2)],
            &[("a", &[1, 2]), ("b", &[1]), ("c", &[2])],
        );
        let assigned = Assignor::Uniform.assign(&wishes);
        assert_eq!(counts(&assigned), [5, 5, 2]);
    }

    #[test]
    fn a_large_group_is_assigned_at_once() {
        let ids: Vec<String> = (0..2_000).map(|id| format!("m{id:05}")).collect();
        let members: Vec<(&str, &[u128])> = ids.iter().map(|id| (id.as_str(), &[1][..])).collect();
        let wishes = wishes(&[(1, 10_000)], &members);
        let assigned = Assignor::Uniform.assign(&wishes);
        assert!(assigned.values().all(|one| one.count() == 5));
    }

    #[test]
    fn uniform_prefers_a_member_in_the_rack_of_a_partition_and_stays_even() {
        let mut wishes = wishes(&[(1, 6)], &[("a", &[1]), ("b", &[1]), ("c", &[1])]);
        for (id, rack) in [("a", "x"), ("b", "y")] {
            wishes.members.get_mut(id).unwrap().rack = Some(rack.into());
        }
        let rack = |of: &'static str| BTreeSet::from([Str::from_static(of)]);
        let racks = ["y", "y", "x", "x", "z", "z"].map(rack);
        wishes.racks.insert(TopicId(1), racks.into());
        let assigned = Assignor::Uniform.assign(&wishes);
        check(&wishes, &assigned);
        assert_eq!(counts(&assigned), [2, 2, 2]);
        let of = |id: &str| -> Vec<i32> { assigned[id].iter().map(|one| one.1).collect() };
        assert_eq!([of("a"), of("b"), of("c")], [[2, 3], [0, 1], [4, 5]]);
        // Racks move nothing that somebody has.
        let before = assigned.clone();
        for (id, wish) in &mut wishes.members {
            wish.former = assigned[id].clone();
        }
        let racks = ["x", "x", "y", "y", "y", "y"].map(rack);
        wishes.racks.insert(TopicId(1), racks.into());
        assert_eq!(Assignor::Uniform.assign(&wishes), before);
    }

    #[test]
    fn members_that_want_everything_and_nothing_do_not_make_it_slow() {
        let all: Vec<u128> = (0..1_000).collect();
        let topics: Vec<(u128, i32)> = all.iter().map(|id| (*id, 10)).collect();
        let ids: Vec<String> = (0..2_000).map(|id| format!("m{id:05}")).collect();
        let wanted = |at: usize| match at {
            0..1_000 => &[][..],
            1_000..1_990 => &all[at - 1_000..at - 999],
            _ => &all[..],
        };
        let members: Vec<(&str, &[u128])> = ids
            .iter()
            .enumerate()
            .map(|(at, id)| (id.as_str(), wanted(at)))
            .collect();
        let mut wishes = wishes(&topics, &members);
        let first = Assignor::Uniform.assign(&wishes);
        check(&wishes, &first);
        // All at one member, as if it had been alone.
        for (id, wish) in &mut wishes.members {
            if id == "m01999" {
                let places = topics.iter();
                let places =
                    places.flat_map(|(id, count)| (0..*count).map(|one| (TopicId(*id), one)));
                wish.former = places.collect();
            }
        }
        let began = std::time::Instant::now();
        check(&wishes, &Assignor::Uniform.assign(&wishes));
        assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    }
}
