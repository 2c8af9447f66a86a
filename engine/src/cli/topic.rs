//! `millstream topic create|list|describe|config|add-partitions|delete-records|delete`.

use super::args::{TopicArgs, TopicCommand};
use super::outcome::{Failure, Outcome};
use super::topic_keys;
use crate::client::{Admin, NewTopic, Setting, SettingSource, Span, Topic, parse_addresses};
use millstream_net::wire::Uuid;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long one operation may take.
const TIMEOUT: Duration = Duration::from_secs(30);

pub fn run(args: TopicArgs) -> Outcome {
    if let TopicCommand::Config {
        help_keys: true, ..
    } = args.command
    {
        print!("{}", topic_keys::reference());
        return Ok(());
    }
    let json = args.client.json;
    let mut admin = Admin::connect(&parse_addresses(&args.client.broker)?, TIMEOUT)?;
    match args.command {
        TopicCommand::Create {
            name,
            partitions,
            replicas,
            configs,
        } => {
            let topic = NewTopic {
                name,
                partitions,
                replicas,
                configs: pairs("--config", &configs)?,
            };
            let made = admin.create_topic(&topic)?;
            if json {
                println!("{}", described(&topic.name, &made));
            } else {
                println!(
                    "{} is there with {} partitions",
                    topic.name,
                    made.partitions.len()
                );
                println!("  next: millstream produce {}", topic.name);
            }
        }
        TopicCommand::List => list(&mut admin, json)?,
        TopicCommand::Describe { name } => describe(&mut admin, &name, json)?,
        TopicCommand::Config {
            name,
            set,
            unset,
            all,
            ..
        } => {
            let name = name.unwrap_or_default();
            let changes = changes(&set, unset)?;
            if !changes.is_empty() {
                admin.configure_topic(&name, &changes)?;
            }
            config(&mut admin, &name, all, json)?;
        }
        TopicCommand::AddPartitions { name, count } => {
            let topic = admin.grow_topic(&name, count)?;
            match json {
                true => println!("{}", described(&name, &topic)),
                false => println!("{name} has {} partitions", topic.partitions.len()),
            }
        }
        TopicCommand::DeleteRecords {
            name,
            before,
            partition,
        } => {
            let starts = admin.delete_records(&name, &partition, offset(&before)?)?;
            if json {
                println!("{}", json!({ "name": name, "begin": starts }));
            } else {
                for (partition, start) in starts {
                    println!("{name} partition {partition} begins at {start}");
                }
            }
        }
        TopicCommand::Delete { name } => {
            admin.delete_topic(&name)?;
            if json {
                println!("{}", json!({ "deleted": name }));
            } else {
                println!("{name} is deleted");
            }
        }
    }
    Ok(())
}

/// `end` is everything that is committed.
fn offset(before: &str) -> Result<Option<i64>, Failure> {
    match before.parse() {
        Ok(offset) if offset >= 0 => Ok(Some(offset)),
        _ if before == "end" => Ok(None),
        _ => Err(Failure::new(format!("`--before {before}` is no offset"))
            .next("write a whole number from 0, or `end`")
            .code(2)),
    }
}

/// What is set and what is given up.
fn changes(set: &[String], unset: Vec<String>) -> Result<Vec<(String, Option<String>)>, Failure> {
    let set = pairs("--set", set)?.into_iter();
    let set = set.map(|(key, value)| (key, Some(value)));
    Ok(set
        .chain(unset.into_iter().map(|key| (key, None)))
        .collect())
}

fn pairs(option: &str, configs: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let pair = |text: &String| {
        let (key, value) = text.split_once('=').ok_or_else(|| {
            Failure::new(format!("`{option} {text}` has no `=`"))
                .next(format!("write {option} KEY=VALUE"))
                .code(2)
        })?;
        Ok((key.to_owned(), value.to_owned()))
    };
    configs.iter().map(pair).collect()
}

fn list(admin: &mut Admin, json: bool) -> Outcome {
    let topics = admin.list_topics()?;
    if json {
        let topics: Vec<_> = topics
            .iter()
            .map(|(name, topic)| described(name, topic))
            .collect();
        println!("{}", json!({ "topics": topics }));
        return Ok(());
    }
    if topics.is_empty() {
        println!("no topics yet\n  next: millstream topic create words");
        return Ok(());
    }
    let width = topics.keys().map(String::len).max().unwrap_or(0).max(5);
    println!("{:<width$}  partitions  replicas  state", "topic");
    for (name, topic) in topics {
        let leaderless = topic
            .partitions
            .values()
            .filter(|partition| partition.leader.is_none())
            .count();
        let state = match leaderless {
            0 => String::from("ready"),
            count => format!("{count} without leader"),
        };
        println!(
            "{name:<width$}  {:>10}  {:>8}  {state}",
            topic.partitions.len(),
            replicas(topic)
        );
    }
    Ok(())
}

fn describe(admin: &mut Admin, name: &str, json: bool) -> Outcome {
    let topic = admin.describe_topic(name)?;
    let spans = admin.topic_spans(name)?;
    let settings = admin.topic_settings(name)?;
    let own = settings
        .iter()
        .filter(|setting| setting.source == SettingSource::Topic);
    if json {
        println!("{}", in_full(name, &topic, &spans, own));
        return Ok(());
    }
    let kind = if topic.is_internal { ", internal" } else { "" };
    println!(
        "{name}: {} partitions, {} replicas each{kind}",
        topic.partitions.len(),
        replicas(&topic)
    );
    if let Some(id) = id(&topic) {
        println!("  id {id}");
    }
    println!(
        "{:>9}  {:>6}  {:<12}  {:<12}  offsets",
        "partition", "leader", "replicas", "in sync"
    );
    for (index, partition) in &topic.partitions {
        let leader = partition
            .leader
            .map_or("none".into(), |leader| leader.to_string());
        let offsets = match spans.get(index) {
            Some(span) => format!("{} to {}", span.begin, span.end),
            None => "unknown".into(),
        };
        println!(
            "{index:>9}  {leader:>6}  {:<12}  {:<12}  {offsets}",
            nodes(&partition.replicas),
            nodes(&partition.isr)
        );
    }
    for setting in own {
        println!("{} = {}", setting.key, shown(setting));
    }
    Ok(())
}

fn config(admin: &mut Admin, name: &str, all: bool, json: bool) -> Outcome {
    let mut settings = admin.topic_settings(name)?;
    if !all {
        settings.retain(|setting| setting.source != SettingSource::Default);
    }
    if json {
        let told = settings.iter().map(|setting| {
            let source = source(setting.source);
            (
                setting.key.clone(),
                json!({ "value": setting.value, "source": source }),
            )
        });
        let told: serde_json::Map<_, _> = told.collect();
        println!("{}", json!({ "name": name, "config": told }));
        return Ok(());
    }
    if settings.is_empty() {
        println!("{name} says nothing of its own; `--all` shows the defaults");
        return Ok(());
    }
    let width = settings.iter().map(|setting| setting.key.len()).max();
    let width = width.unwrap_or(0);
    for setting in &settings {
        println!(
            "{:<width$}  {}  ({})",
            setting.key,
            shown(setting),
            source(setting.source)
        );
    }
    Ok(())
}

fn shown(setting: &Setting) -> &str {
    setting.value.as_deref().unwrap_or("(kept back)")
}

fn source(source: SettingSource) -> &'static str {
    match source {
        SettingSource::Topic => "topic",
        SettingSource::Broker => "broker",
        SettingSource::Default => "default",
    }
}

fn nodes(nodes: &[i32]) -> String {
    let nodes: Vec<String> = nodes.iter().map(i32::to_string).collect();
    nodes.join(",")
}

/// The id in the form of a UUID; none where the broker does not tell it.
fn id(topic: &Topic) -> Option<String> {
    if topic.id == Uuid::ZERO {
        return None;
    }
    let hex: String = topic
        .id
        .0
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    Some(parts.join("-"))
}

fn in_full<'a>(
    name: &str,
    topic: &Topic,
    spans: &BTreeMap<i32, Span>,
    own: impl Iterator<Item = &'a Setting>,
) -> serde_json::Value {
    let partitions = topic.partitions.iter().map(|(index, partition)| {
        let span = spans.get(index);
        json!({
            "partition": index,
            "leader": partition.leader,
            "leader_epoch": partition.leader_epoch,
            "replicas": partition.replicas,
            "isr": partition.isr,
            "begin": span.map(|span| span.begin),
            "end": span.map(|span| span.end),
        })
    });
    let own = own.map(|setting| (setting.key.clone(), json!(setting.value)));
    json!({
        "name": name,
        "id": id(topic),
        "internal": topic.is_internal,
        "partitions": partitions.collect::<Vec<_>>(),
        "config": own.collect::<serde_json::Map<_, _>>(),
    })
}

fn replicas(topic: &Topic) -> usize {
    topic
        .partitions
        .values()
        .map(|partition| partition.replicas.len())
        .max()
        .unwrap_or(0)
}

fn described(name: &str, topic: &Topic) -> serde_json::Value {
    let leaders: Vec<Option<i32>> = topic
        .partitions
        .values()
        .map(|partition| partition.leader)
        .collect();
    json!({
        "name": name,
        "internal": topic.is_internal,
        "partitions": topic.partitions.len(),
        "replicas": replicas(topic),
        "leaders": leaders,
    })
}
