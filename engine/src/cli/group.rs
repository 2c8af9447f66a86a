//! `millstream group list|describe|reset-offsets|delete`.

use super::args::{GroupArgs, GroupCommand};
use super::outcome::{Failure, Outcome};
use super::reset;
use crate::client::{Admin, Group, GroupMember, Place, parse_addresses};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long one operation may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// What a look-up of offsets takes for the end of a partition.
pub(super) const END: i64 = -1;

pub fn run(args: GroupArgs) -> Outcome {
    let mut admin = Admin::connect(&parse_addresses(&args.client.broker)?, TIMEOUT)?;
    admin.list_topics()?;
    match args.command {
        GroupCommand::List => list(&mut admin, args.client.json),
        GroupCommand::Describe { name } => describe(&mut admin, &name, args.client.json),
        GroupCommand::ResetOffsets(wanted) => reset::run(&mut admin, &wanted, args.client.json),
        GroupCommand::Delete { name } => {
            admin.delete_group(&name)?;
            match args.client.json {
                true => println!("{}", json!({ "deleted": name })),
                false => println!("{name} is deleted"),
            }
            Ok(())
        }
    }
}

fn list(admin: &mut Admin, json: bool) -> Outcome {
    let groups = admin.list_groups()?;
    if json {
        let groups: Vec<_> = groups
            .iter()
            .map(|one| json!({ "name": one.name, "state": one.state, "type": one.kind }))
            .collect();
        println!("{}", json!({ "groups": groups }));
        return Ok(());
    }
    if groups.is_empty() {
        println!("no groups yet: a consumer with a group.id makes one");
        return Ok(());
    }
    let names = groups.iter().map(|one| one.name.len());
    let width = names.max().unwrap_or(0).max(5);
    println!("{:<width$}  {:<8}  state", "group", "type");
    for one in groups {
        println!("{:<width$}  {:<8}  {}", one.name, one.kind, one.state);
    }
    Ok(())
}

/// Where a group stands in one partition.
struct Standing<'a> {
    place: Place,
    committed: Option<i64>,
    end: Option<i64>,
    member: Option<&'a GroupMember>,
}

impl Standing<'_> {
    fn lag(&self) -> Option<i64> {
        Some((self.end? - self.committed?).max(0))
    }
}

fn describe(admin: &mut Admin, name: &str, json: bool) -> Outcome {
    let Some(group) = admin.describe_group(name)? else {
        return Err(Failure::new(format!("there is no group `{name}`"))
            .next("`millstream group list` shows them"));
    };
    let committed = admin.committed(name)?;
    let assigned = group.members.iter().flat_map(|member| &member.partitions);
    let places: BTreeSet<Place> = committed.keys().chain(assigned).cloned().collect();
    let places: Vec<Place> = places.into_iter().collect();
    let ends = admin.offsets_at(&places, END)?;
    let standings = places.into_iter().map(|place| Standing {
        committed: committed.get(&place).copied(),
        end: ends.get(&place).copied(),
        member: group
            .members
            .iter()
            .find(|member| member.partitions.contains(&place)),
        place,
    });
    let standings: Vec<Standing<'_>> = standings.collect();
    match json {
        true => println!("{}", described(name, &group, &standings)),
        false => print(name, &group, &standings),
    }
    Ok(())
}

fn print(name: &str, group: &Group, standings: &[Standing<'_>]) {
    let assignor = match group.assignor.as_str() {
        "" => String::new(),
        assignor => format!(", assigned by {assignor}"),
    };
    let members = group.members.len();
    println!(
        "{name}: {}, {} group, members: {members}{assignor}",
        group.state, group.kind
    );
    let topics = standings.iter().map(|one| one.place.0.len());
    let width = topics.max().unwrap_or(0).max(5);
    if !standings.is_empty() {
        println!(
            "  {:<width$}  partition  {:>12}  {:>12}  {:>10}  member",
            "topic", "committed", "end", "lag"
        );
    }
    let number = |number: Option<i64>| number.map_or(String::from("-"), |one| one.to_string());
    for one in standings {
        println!(
            "  {:<width$}  {:>9}  {:>12}  {:>12}  {:>10}  {}",
            one.place.0,
            one.place.1,
            number(one.committed),
            number(one.end),
            number(one.lag()),
            one.member.map_or("-", |member| member.id.as_str())
        );
    }
    for member in &group.members {
        let instance = member.instance.as_ref();
        let instance = instance.map_or(String::new(), |name| format!(", static member {name}"));
        println!(
            "  {} at {} ({}), partitions: {}{instance}",
            member.id,
            member.host,
            member.client_id,
            member.partitions.len()
        );
    }
}

fn described(name: &str, group: &Group, standings: &[Standing<'_>]) -> serde_json::Value {
    let partitions = standings.iter().map(|one| {
        json!({
            "topic": one.place.0,
            "partition": one.place.1,
            "committed": one.committed,
            "end": one.end,
            "lag": one.lag(),
            "member": one.member.map(|member| &member.id),
        })
    });
    let members = group.members.iter().map(|member| {
        json!({
            "id": member.id,
            "instance": member.instance,
            "client": member.client_id,
            "host": member.host,
            "partitions": member.partitions.len(),
        })
    });
    json!({
        "name": name,
        "state": group.state,
        "type": group.kind,
        "assignor": group.assignor,
        "partitions": partitions.collect::<Vec<_>>(),
        "members": members.collect::<Vec<_>>(),
    })
}
