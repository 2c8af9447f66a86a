//! `millstream group reset-offsets`: where a group would go on, and sending it there.

use super::args::ResetArgs;
use super::group::END;
use super::outcome::{Failure, Outcome};
use super::timestamp;
use crate::client::{Admin, Place};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// What a look-up of offsets takes for the beginning of a partition.
const BEGINNING: i64 = -2;

/// Shows where a group would be, and moves it if it is told to.
pub(super) fn run(admin: &mut Admin, wanted: &ResetArgs, json: bool) -> Outcome {
    let group = admin.describe_group(&wanted.name)?;
    if let Some(group) = group.filter(|group| !group.members.is_empty()) {
        let count = group.members.len();
        return Err(Failure::new(format!(
            "group `{}` has members ({count}): their commits would undo it",
            wanted.name
        ))
        .next("stop its consumers first"));
    }
    let committed = admin.committed(&wanted.name)?;
    let places = places(admin, wanted, &committed)?;
    let targets = targets(admin, wanted, &committed, &places)?;
    let execute = wanted.execute && !wanted.dry_run;
    if execute {
        admin.commit(&wanted.name, &targets)?;
    }
    if json {
        let partitions = targets.iter().map(|(place, to)| {
            let from = committed.get(place);
            json!({ "topic": place.0, "partition": place.1, "from": from, "to": to })
        });
        let partitions: Vec<_> = partitions.collect();
        println!(
            "{}",
            json!({ "executed": execute, "partitions": partitions })
        );
        return Ok(());
    }
    for (place, to) in &targets {
        let from = committed.get(place);
        let from = from.map_or(String::from("-"), |from| from.to_string());
        println!("{} {}: {from} -> {to}", place.0, place.1);
    }
    if !execute {
        println!("nothing is done yet\n  next: the same with --execute");
    }
    Ok(())
}

/// The partitions that are meant.
fn places(
    admin: &Admin,
    wanted: &ResetArgs,
    committed: &BTreeMap<Place, i64>,
) -> Result<Vec<Place>, Failure> {
    let meant = |one: &i32| wanted.partition.is_empty() || wanted.partition.contains(one);
    if wanted.topic.is_empty() {
        let places = committed.keys().filter(|place| meant(&place.1));
        let places: Vec<Place> = places.cloned().collect();
        if places.is_empty() {
            let problem = format!("group `{}` has no offsets", wanted.name);
            return Err(Failure::new(problem).next("say where with --topic TOPIC"));
        }
        return Ok(places);
    }
    let mut places = Vec::new();
    for name in &wanted.topic {
        let topic = admin.cluster().topic(name);
        let topic = topic.ok_or_else(|| {
            Failure::new(format!("there is no topic `{name}`"))
                .next("`millstream topic list` shows them")
        })?;
        let mut numbers = wanted.partition.iter();
        if let Some(missing) = numbers.find(|one| !topic.partitions.contains_key(one)) {
            let count = topic.partitions.len();
            return Err(Failure::new(format!(
                "topic `{name}` has no partition {missing}: it has {count}"
            )));
        }
        let partitions = topic.partitions.keys().filter(|one| meant(one));
        places.extend(partitions.map(|one| (name.clone(), *one)));
    }
    Ok(places)
}

/// Where each partition goes: never outside of what there is.
fn targets(
    admin: &mut Admin,
    wanted: &ResetArgs,
    committed: &BTreeMap<Place, i64>,
    places: &[Place],
) -> Result<BTreeMap<Place, i64>, Failure> {
    let beginnings = admin.offsets_at(places, BEGINNING)?;
    let ends = admin.offsets_at(places, END)?;
    let found = match time_ms(wanted)? {
        Some(time_ms) => admin.offsets_at(places, time_ms.max(0))?,
        None => BTreeMap::new(),
    };
    let mut targets = BTreeMap::new();
    for place in places {
        let (Some(beginning), Some(end)) = (beginnings.get(place), ends.get(place)) else {
            let problem = format!("{} {} has no leader", place.0, place.1);
            return Err(Failure::new(problem).next("try again when the cluster has recovered"));
        };
        let from = committed.get(place).copied().unwrap_or(*beginning);
        let to = if wanted.to_earliest {
            *beginning
        } else if let Some(offset) = wanted.to_offset {
            offset
        } else if let Some(count) = wanted.shift_by {
            from.saturating_add(count)
        } else {
            // The end, also where no record is as young as was asked for.
            let found = found.get(place).copied();
            found.filter(|offset| *offset >= 0).unwrap_or(*end)
        };
        targets.insert(place.clone(), to.clamp(*beginning, *end));
    }
    Ok(targets)
}

/// The time that is asked for, where one is.
fn time_ms(wanted: &ResetArgs) -> Result<Option<i64>, Failure> {
    match (&wanted.to_datetime, &wanted.by_duration) {
        (Some(text), _) => timestamp::parse(text).map(Some).ok_or_else(|| {
            Failure::new(format!("`--to-datetime {text}` is no time"))
                .next("write it as 2026-01-31T12:00:00Z")
                .code(2)
        }),
        (_, Some(text)) => {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            let now_ms = since.map_or(0, |since| since.as_millis() as i64);
            Ok(Some(now_ms - duration_ms(text)?))
        }
        _ => Ok(None),
    }
}

/// A duration such as `90s`, `15m`, `12h` or `7d`.
fn duration_ms(text: &str) -> Result<i64, Failure> {
    let units = [
        ("ms", 1),
        ("s", 1_000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
    ];
    let parsed = units.iter().find_map(|(unit, ms)| {
        let count: i64 = text.strip_suffix(unit)?.parse().ok()?;
        count.checked_mul(*ms).filter(|ms| *ms >= 0)
    });
    parsed.ok_or_else(|| {
        Failure::new(format!("`--by-duration {text}` is no duration"))
            .next("write it as 90s, 15m, 12h or 7d")
            .code(2)
    })
}

#[cfg(test)]
mod tests {
    use super::duration_ms;

    #[test]
    fn durations_have_a_unit() {
        let cases = [
            ("90s", Some(90_000)),
            ("250ms", Some(250)),
            ("7d", Some(7 * 86_400_000)),
            ("7", None),
            ("-7d", None),
            ("d", None),
            ("99999999999999999d", None),
        ];
        for (text, expected) in cases {
            assert_eq!(duration_ms(text).ok(), expected, "{text}");
        }
    }
}
