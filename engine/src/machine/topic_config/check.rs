//! Whether a key may have a value, and what a client is told if not.

use super::keys::{KEYS, Key, Standing, key};
use crate::machine::nearest::nearest;

/// Keys that Kafka had once; they have no successor that means the same, so a near name would mislead.
const REMOVED: &[(&str, &str)] = &[
    (
        "message.format.version",
        "records have one format since Kafka 4.0",
    ),
    (
        "message.downconversion.enable",
        "records have one format since Kafka 4.0",
    ),
    (
        "message.timestamp.difference.max.ms",
        "since Kafka 4.0 these are message.timestamp.before.max.ms and message.timestamp.after.max.ms",
    ),
];

/// BOUND: what a client wrote is repeated to it so far.
const SHOWN_BYTES_MAX: usize = 200;
/// BOUND: a value must fit the oldest answers that tell it, which have 16 bits for its length.
const VALUE_BYTES_MAX: usize = i16::MAX as usize;

/// Why a key or a value is refused; the text is the client's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadConfig(pub String);

/// Judges one key and its value.
pub fn check(name: &str, value: &str) -> Result<(), BadConfig> {
    let Some(key) = key(name) else {
        return Err(BadConfig(unknown(name, value)));
    };
    let refused = |what: String| {
        Err(BadConfig(format!(
            "Invalid value {} for configuration {name}: {what}.",
            shown(value)
        )))
    };
    if value.len() > VALUE_BYTES_MAX {
        return refused(format!("it takes no more than {VALUE_BYTES_MAX} bytes"));
    }
    if key.standing == Standing::Fixed && value.trim() != key.default {
        let doc = key.doc.trim_end_matches('.');
        return refused(format!("{doc}, it takes only {}", key.default));
    }
    match key.kind.check(value) {
        Ok(()) => Ok(()),
        Err(range) => refused(format!("it takes {range}")),
    }
}

fn unknown(name: &str, value: &str) -> String {
    let removed = REMOVED.iter().find(|(removed, _)| *removed == name);
    let hint = match removed {
        Some((_, why)) => format!("; {why}"),
        None => nearest(name, KEYS.iter().map(|key| key.name))
            .map_or_else(String::new, |known| format!("; the nearest one is {known}")),
    };
    let (name, value) = (shown(name), shown(value));
    format!("Unknown topic config name: {name} (value {value}){hint}.")
}

/// The beginning of what a client wrote, to repeat it to the client.
pub fn shown(text: &str) -> &str {
    let cut = text.len().min(SHOWN_BYTES_MAX);
    let cut = (0..=cut).rev().find(|at| text.is_char_boundary(*at));
    &text[..cut.unwrap_or(0)]
}

/// A list value with more words in it; those that are there already stay where they are.
pub fn list_with(key: &Key, former: &str, more: &str) -> String {
    let mut words = words(key, former);
    for word in self::words(key, more) {
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words.join(",")
}

/// A list value without some words.
pub fn list_without(key: &Key, former: &str, fewer: &str) -> String {
    let mut words = words(key, former);
    let fewer = self::words(key, fewer);
    words.retain(|word| !fewer.contains(word));
    words.join(",")
}

fn words<'a>(key: &Key, list: &'a str) -> Vec<&'a str> {
    debug_assert!(key.kind.is_list());
    let words = list.split(',').map(str::trim);
    words.filter(|word| !word.is_empty()).collect()
}
