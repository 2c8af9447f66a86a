//! Who gets what, where the leader of a group decides: the assignors `range` and `cooperative-sticky` as other clients have them.
//!
//! Always: (1) every partition of a topic that somebody wants has one owner, save one that `cooperative-sticky` moves: it has
//! none until its owner let go and joined again; (2) equal inputs give equal assignments.

use std::collections::{BTreeMap, BTreeSet};

use super::super::groups::Place;

/// What a member wants and has.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Subscribed {
    /// The name of a static member.
    pub instance: Option<String>,
    /// The topics it wants.
    pub topics: BTreeSet<String>,
    /// What it says it has.
    pub owned: BTreeSet<Place>,
    /// The generation it has that of; -1 where it does not say.
    pub generation: i32,
}

type Members = BTreeMap<String, Subscribed>;
type Assignment = BTreeMap<String, BTreeSet<Place>>;

/// Neighbouring partitions of each topic to each member; the first members have one more where they do not come out even.
pub(in super::super) fn range(topics: &BTreeMap<String, usize>, members: &Members) -> Assignment {
    let mut assigned: Assignment = nothing(members);
    for (topic, count) in topics {
        let wanting = members.iter().filter(|(_, one)| one.topics.contains(topic));
        // Static members first, so that their places do not depend on ids that change.
        let mut wanting: Vec<(bool, Option<&String>, &String)> = wanting
            .map(|(id, one)| (one.instance.is_none(), one.instance.as_ref(), id))
            .collect();
        wanting.sort_unstable();
        let mut next = 0;
        for (at, (_, _, id)) in wanting.iter().enumerate() {
            let more = usize::from(at < count % wanting.len());
            let end = next + count / wanting.len() + more;
            let places = (next..end).map(|one| (topic.clone(), one as i32));
            assigned.entry((*id).clone()).or_default().extend(places);
            next = end;
        }
    }
    assigned
}

/// Even numbers with few moves. What moves from a living owner is given to nobody this time.
pub(in super::super) fn cooperative_sticky(
    topics: &BTreeMap<String, usize>,
    members: &Members,
) -> Assignment {
    let owners = owners(topics, members);
    let mut assigned = nothing(members);
    for (place, owner) in &owners {
        assigned
            .entry(owner.clone())
            .or_default()
            .insert(place.clone());
    }
    let all = topics.iter();
    let all = all.flat_map(|(topic, count)| (0..*count).map(|one| (topic.clone(), one as i32)));
    let free: Vec<Place> = all.filter(|place| !owners.contains_key(place)).collect();
    for place in free {
        let poorest = poorest(&assigned, members, &place.0);
        if let Some(id) = poorest {
            assigned.entry(id).or_default().insert(place);
        }
    }
    level(&mut assigned, members);
    for (id, places) in &mut assigned {
        places.retain(|place| owners.get(place).is_none_or(|owner| owner == id));
    }
    assigned
}

fn nothing(members: &Members) -> Assignment {
    members
        .keys()
        .map(|id| (id.clone(), BTreeSet::new()))
        .collect()
}

/// Who has what and may keep it: where two say so, who is of the later generation; of the same one, nobody.
fn owners(topics: &BTreeMap<String, usize>, members: &Members) -> BTreeMap<Place, String> {
    let mut claims: BTreeMap<Place, (i32, Option<String>)> = BTreeMap::new();
    for (id, member) in members {
        for place in &member.owned {
            let count = topics.get(&place.0).copied().unwrap_or(0);
            let exists = usize::try_from(place.1).is_ok_and(|partition| partition < count);
            if !exists || !member.topics.contains(&place.0) {
                continue;
            }
            let claim = (member.generation, Some(id.clone()));
            match claims.get_mut(place) {
                None => {
                    claims.insert(place.clone(), claim);
                }
                Some(other) if other.0 < claim.0 => *other = claim,
                Some(other) if other.0 == claim.0 => other.1 = None,
                Some(_) => {}
            }
        }
    }
    let claims = claims.into_iter();
    claims
        .filter_map(|(place, (_, id))| Some((place, id?)))
        .collect()
}

fn poorest(assigned: &Assignment, members: &Members, topic: &str) -> Option<String> {
    let wanting = members.iter().filter(|(_, one)| one.topics.contains(topic));
    let counted = wanting.map(|(id, _)| (assigned[id].len(), id));
    counted.min().map(|(_, id)| id.clone())
}

/// Moves partitions from rich to poor while that makes the numbers more even.
fn level(assigned: &mut Assignment, members: &Members) {
    while let Some((from, to, place)) = gift(assigned, members) {
        assigned.entry(from).or_default().remove(&place);
        assigned.entry(to).or_default().insert(place);
    }
}

/// The next move that makes numbers more even, from the richest who can give.
fn gift(assigned: &Assignment, members: &Members) -> Option<(String, String, Place)> {
    let mut by_count: Vec<(usize, &String)> = assigned
        .iter()
        .map(|(id, places)| (places.len(), id))
        .collect();
    by_count.sort_unstable();
    for (count, rich) in by_count.iter().rev() {
        for (_, poor) in by_count.iter().take_while(|(poor, _)| poor + 2 <= *count) {
            let wanted = &members[*poor].topics;
            let mut places = assigned[*rich].iter().rev();
            if let Some(place) = places.find(|place| wanted.contains(&place.0)) {
                return Some(((*rich).clone(), (*poor).clone(), place.clone()));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(of: &[(&str, &[&str])]) -> Members {
        let members = of.iter().map(|(id, topics)| {
            let member = Subscribed {
                topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
                generation: -1,
                ..Subscribed::default()
            };
            ((*id).to_owned(), member)
        });
        members.collect()
    }

    fn topics(of: &[(&str, usize)]) -> BTreeMap<String, usize> {
        of.iter()
            .map(|(topic, count)| ((*topic).to_owned(), *count))
            .collect()
    }

    fn counts(assigned: &Assignment) -> Vec<usize> {
        assigned.values().map(BTreeSet::len).collect()
    }

    /// The members again, as they join when they follow an assignment.
    fn following(members: &Members, assigned: &Assignment, generation: i32) -> Members {
        let members = members.iter().map(|(id, member)| {
            let owned = assigned.get(id).cloned().unwrap_or_default();
            let member = Subscribed {
                owned,
                generation,
                ..member.clone()
            };
            (id.clone(), member)
        });
        members.collect()
    }

    #[test]
    fn range_gives_neighbours_and_puts_static_members_first() {
        let mut members = members(&[("a", &["t"]), ("b", &["t", "u"]), ("c", &["u"])]);
        members.get_mut("b").unwrap().instance = Some("first".into());
        let assigned = range(&topics(&[("t", 3), ("u", 1)]), &members);
        let t = |partitions: &[i32]| -> BTreeSet<Place> {
            partitions
                .iter()
                .map(|one| ("t".to_owned(), *one))
                .collect()
        };
        assert_eq!(assigned["a"], t(&[2]));
        assert_eq!(counts(&assigned), [1, 3, 0]);
        assert!(assigned["b"].is_superset(&t(&[0, 1])));
    }

    #[test]
    fn what_moves_has_no_owner_until_the_next_round() {
        let topics = topics(&[("t", 9)]);
        let two = members(&[("a", &["t"]), ("b", &["t"])]);
        let first = cooperative_sticky(&topics, &two);
        assert_eq!(counts(&first), [5, 4]);
        let three = members(&[("a", &["t"]), ("b", &["t"]), ("c", &["t"])]);
        let joining = following(&three, &first, 1);
        let second = cooperative_sticky(&topics, &joining);
        assert_eq!(
            counts(&second),
            [3, 3, 0],
            "what is let go of is nobody's yet"
        );
        assert!(second["a"].is_subset(&first["a"]) && second["b"].is_subset(&first["b"]));
        let third = cooperative_sticky(&topics, &following(&three, &second, 2));
        assert_eq!(counts(&third), [3, 3, 3]);
        assert_eq!((&third["a"], &third["b"]), (&second["a"], &second["b"]));
        assert_eq!(
            cooperative_sticky(&topics, &following(&three, &third, 3)),
            third
        );
    }

    #[test]
    fn of_two_who_say_they_have_it_the_later_generation_counts() {
        let topics = topics(&[("t", 2)]);
        let mut members = members(&[("a", &["t"]), ("b", &["t"])]);
        for (id, generation) in [("a", 4), ("b", 5)] {
            let member = members.get_mut(id).unwrap();
            member.owned.extend([("t".to_owned(), 0)]);
            member.generation = generation;
        }
        let assigned = cooperative_sticky(&topics, &members);
        assert!(assigned["b"].contains(&("t".to_owned(), 0)));
        members.get_mut("a").unwrap().generation = 5;
        let assigned = cooperative_sticky(&topics, &members);
        assert_eq!(counts(&assigned), [1, 1], "equal claims are none");
    }

    #[test]
    fn members_that_want_different_topics_come_out_as_even_as_that_allows() {
        let topics = topics(&[("t", 10), ("u", 2), ("gone", 0)]);
        let members = members(&[("a", &["t", "u", "gone"]), ("b", &["t"]), ("c", &["u"])]);
        assert_eq!(counts(&cooperative_sticky(&topics, &members)), [5, 5, 2]);
    }
}
