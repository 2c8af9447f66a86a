//! The loop that every driver in Rust runs (see ../README.md), and what goes over it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::Future;
use std::io::BufRead;

/// A record, as it is sent or as it was read.
#[derive(Serialize, Deserialize)]
pub struct Record {
    pub partition: i32,
    #[serde(default, skip_deserializing)]
    pub offset: i64,
    pub key: Option<String>,
    pub value: Option<String>,
    pub headers: Vec<(String, Option<String>)>,
    pub timestamp: Option<i64>,
}

/// What a driver is told to do.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Command {
    Create {
        topic: String,
        partitions: i32,
        configs: BTreeMap<String, String>,
    },
    Delete {
        topic: String,
    },
    Produce {
        topic: String,
        codec: String,
        acks: String,
        records: Vec<Record>,
    },
    Consume {
        topic: String,
        from: Vec<(i32, i64)>,
        count: usize,
        seconds: f64,
    },
    Search {
        topic: String,
        partition: i32,
        timestamp: i64,
    },
}

/// An answer, or why there is none.
pub type Answer = Result<Value, String>;

/// The answer that only says that it is done.
pub fn done() -> Answer {
    Ok(json!({}))
}

/// The answer with what was read.
pub fn read(records: Vec<Record>) -> Answer {
    Ok(json!({ "records": records }))
}

/// An error of a client as the text of an answer.
pub fn no(error: impl Display) -> String {
    error.to_string()
}

/// Bytes as the text they came from.
pub fn text(bytes: Option<&[u8]>) -> Option<String> {
    bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// The version of a client by the lock file.
pub fn version_of(package: &str) -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let entry = lock.split_once(&format!("name = \"{package}\"\nversion = \"")).expect("it is a dependency").1;
    entry.split('"').next().expect("a version ends")
}

/// Says what the client is, then does what it is told until its input ends.
pub fn run<F: Future<Output = Answer>>(about: Value, act: impl Fn(Command) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    println!("{about}");
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("the input is text");
        let answer = match serde_json::from_str(&line) {
            Ok(command) => runtime.block_on(act(command)),
            Err(error) => Err(format!("{error}: {line}")),
        };
        println!("{}", answer.unwrap_or_else(|error| json!({ "error": error })));
    }
}
