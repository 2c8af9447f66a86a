//! Keys and values as they were given: from a TOML file, then from the command line.
//!
//! Always: (1) every value here is inside the range of its key; (2) what is said later wins, and the command line comes
//! after the file.
//! Leaves to others: the table of keys (`keys`), what the values mean (`Config`).

use super::keys::{self, Key, Standing};
use crate::machine::topic_config::Values;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The configuration file.
    File,
    /// `--set` or an option of its own.
    CommandLine,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::File => "configuration file",
            Source::CommandLine => "command line",
        })
    }
}

/// Why a configuration is refused. The text names key, value, accepted range and, for an unknown key, the nearest one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// The values that were set, by key.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    values: BTreeMap<&'static str, (String, Source)>,
}

impl Settings {
    /// Reads a TOML file over what is there. Keys may be written flat or as tables; lists become comma-separated.
    pub fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            ConfigError(format!(
                "cannot read the configuration file {}: {error}",
                path.display()
            ))
        })?;
        self.read_toml(&text)
            .map_err(|error| ConfigError(format!("{}: {error}", path.display())))
    }

    /// Takes the keys of a TOML text over what is there.
    pub fn read_toml(&mut self, text: &str) -> Result<(), ConfigError> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            ConfigError(error.to_string().trim_end().to_owned())
        })?;
        let mut flat = Vec::new();
        flatten("", &toml::Value::Table(table), &mut flat)?;
        for (name, value) in flat {
            self.set(&name, &value, Source::File)?;
        }
        Ok(())
    }

    /// Takes one `KEY=VALUE`.
    pub fn set_pair(&mut self, pair: &str) -> Result<(), ConfigError> {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(ConfigError(format!(
                "`--set {pair}` has no `=`: write --set KEY=VALUE"
            )));
        };
        self.set(name.trim(), value.trim(), Source::CommandLine)
    }

    /// Takes one value.
    pub fn set(&mut self, name: &str, value: &str, source: Source) -> Result<(), ConfigError> {
        let value = value.trim();
        let Some(key) = keys::find(name) else {
            let hint = match keys::nearest(name) {
                Some(known) => format!("; did you mean `{known}`?"),
                None => String::new(),
            };
            return Err(ConfigError(format!(
                "unknown key `{name}` (value `{value}`){hint}"
            )));
        };
        key.kind.check(value).map_err(|range| {
            ConfigError(format!("`{name}` cannot be `{value}`: it takes {range}"))
        })?;
        self.values.insert(key.name, (value.to_owned(), source));
        Ok(())
    }

    /// The value of a key and where it comes from, or its default.
    pub fn value(&self, name: &str) -> (Option<&str>, Option<Source>) {
        match self.values.get(name) {
            Some((value, source)) => (Some(value), Some(*source)),
            None => (known(name).default, None),
        }
    }

    /// Whether somebody set a key.
    pub fn is_set(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The text of a key, where it has one.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.value(name).0.filter(|text| !text.is_empty())
    }

    /// The number of a key, where it has one.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.text(name).map(|text| {
            text.parse()
                .expect("a set value was checked and a default is a number")
        })
    }

    /// The number of a key that has a default.
    pub fn number_or_default(&self, name: &str) -> i64 {
        self.number(name).expect("the key has a default")
    }

    /// The truth of a key that has a default.
    pub fn flag(&self, name: &str) -> bool {
        self.text(name)
            .is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }

    /// The values that were set, by key: what a topic's defaults are taken from.
    pub fn values(&self) -> Values {
        let own = self.values.iter();
        own.map(|(name, (value, _))| ((*name).to_owned(), value.clone()))
            .collect()
    }

    /// The keys that were set and have no effect in this version.
    pub fn inert(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.values
            .keys()
            .copied()
            .filter(|name| known(name).standing == Standing::Inert)
    }
}

fn known(name: &str) -> Key {
    keys::find(name).expect("the code asks for keys of the table only")
}

/// The processors of a list such as `0-3,6`, in its order; `None` where it is none.
pub fn parse_cpus(list: &str) -> Option<Vec<usize>> {
    /// BOUND: processor numbers; a range cannot ask for more than this.
    const CPU_MAX: usize = 4096;
    let mut cpus = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= CPU_MAX {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

fn flatten(
    prefix: &str,
    value: &toml::Value,
    into: &mut Vec<(String, String)>,
) -> Result<(), ConfigError> {
    let text = match value {
        toml::Value::Table(table) => {
            for (name, inner) in table {
                let path = if prefix.is_empty() {
                    name.clone()
                } else {
                    format!("{prefix}.{name}")
                };
                flatten(&path, inner, into)?;
            }
            return Ok(());
        }
        toml::Value::Array(items) => {
            let words: Option<Vec<String>> = items.iter().map(scalar).collect();
            words.map(|words| words.join(","))
        }
        other => scalar(other),
    };
    let Some(text) = text else {
        return Err(ConfigError(format!(
            "`{prefix}` cannot be `{value}`: it takes a text, a number, true, false or a list of them"
        )));
    };
    into.push((prefix.to_owned(), text));
    Ok(())
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => None,
    }
}
