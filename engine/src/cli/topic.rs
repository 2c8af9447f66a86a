//! `millstream topic create|list|delete`.

use super::args::{TopicArgs, TopicCommand};
use super::outcome::{Failure, Outcome};
use crate::client::{Admin, NewTopic, Topic, parse_addresses};
use serde_json::json;
use std::time::Duration;

/// How long one operation may take.
const TIMEOUT: Duration = Duration::from_secs(30);

pub fn run(args: TopicArgs) -> Outcome {
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
                configs: pairs(&configs)?,
            };
            let made = admin.create_topic(&topic)?;
            if args.client.json {
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
        TopicCommand::List => list(&mut admin, args.client.json)?,
        TopicCommand::Delete { name } => {
            admin.delete_topic(&name)?;
            if args.client.json {
                println!("{}", json!({ "deleted": name }));
            } else {
                println!("{name} is deleted");
            }
        }
    }
    Ok(())
}

fn pairs(configs: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let pair = |text: &String| {
        let (key, value) = text.split_once('=').ok_or_else(|| {
            Failure::new(format!("`--config {text}` has no `=`"))
                .next("write --config KEY=VALUE")
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
