//! The types of settings that are more than a number.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Reads a type of settings from a string, and where TOML has them from numbers and lists, by its `FromStr`.
macro_rules! by_text {
    ($($type:ty),+) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                text_of(toml::Value::deserialize(deserializer)?)
                    .parse()
                    .map_err(serde::de::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.to_string())
            }
        }
    )+};
}

by_text!(Acks, Codec, Isolation, Keys, List, Position, Rate);

fn text_of(value: toml::Value) -> String {
    match value {
        toml::Value::String(text) => text,
        toml::Value::Array(values) => {
            let parts: Vec<String> = values.into_iter().map(text_of).collect();
            parts.join(",")
        }
        other => other.to_string(),
    }
}

/// Names separated by commas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List(pub Vec<String>);

impl FromStr for List {
    type Err = String;

    fn from_str(text: &str) -> Result<List, String> {
        let parts = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        Ok(List(parts.map(str::to_owned).collect()))
    }
}

impl fmt::Display for List {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0.join(","))
    }
}

/// What a produce request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acks(pub i16);

impl FromStr for Acks {
    type Err = String;

    fn from_str(text: &str) -> Result<Acks, String> {
        match text {
            "all" | "-1" => Ok(Acks(-1)),
            "0" => Ok(Acks(0)),
            "1" => Ok(Acks(1)),
            _ => Err(format!("`{text}` is none of 0, 1, all")),
        }
    }
}

impl fmt::Display for Acks {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            -1 => out.write_str("all"),
            acks => write!(out, "{acks}"),
        }
    }
}

/// Declares an enum of words.
macro_rules! words {
    ($(#[doc = $doc:literal])+ $name:ident { $( $(#[doc = $word_doc:literal])+ $variant:ident = $word:literal; )+ }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $( $(#[doc = $word_doc])+ $variant, )+ }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<$name, String> {
                match text {
                    $( $word => Ok($name::$variant), )+
                    _ => Err(format!("`{text}` is none of {}", [$( $word, )+].join(", "))),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(match self { $( $name::$variant => $word, )+ })
            }
        }
    };
}

words! {
    /// How batches are compressed.
    Codec {
        /// Not at all.
        None = "none";
        /// Deflate.
        Gzip = "gzip";
        /// Snappy blocks in Xerial's frame.
        Snappy = "snappy";
        /// LZ4 frames.
        Lz4 = "lz4";
        /// Zstandard.
        Zstd = "zstd";
    }
}

words! {
    /// How partitions and keys are drawn.
    Keys {
        /// Partitions in turn, no keys.
        None = "none";
        /// All keys alike.
        Uniform = "uniform";
        /// Few keys often.
        Zipf = "zipf";
    }
}

words! {
    /// Where consumers begin.
    Position {
        /// At the end.
        Latest = "latest";
        /// At the beginning.
        Earliest = "earliest";
    }
}

words! {
    /// What consumers see of transactions.
    Isolation {
        /// Everything.
        Uncommitted = "uncommitted";
        /// What is committed.
        Committed = "committed";
    }
}

/// How many requests become due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// As answers come.
    Unpaced,
    /// So many per second, evenly.
    Constant(f64),
    /// So many per second on average, at random.
    Poisson(f64),
    /// From one rate to another over the duration.
    Ramp(f64, f64),
    /// One rate after another.
    Sweep(f64, f64),
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        let number = |text: &str| match text.trim().parse::<f64>() {
            Ok(rate) if rate > 0.0 && rate <= 1e9 => Ok(rate),
            _ => Err(format!(
                "`{text}` is not a rate: requests per second above 0"
            )),
        };
        let range = |text: &str| {
            let (from, to) = text
                .split_once("..")
                .ok_or(format!("`{text}` is not a range: FROM..TO"))?;
            Ok::<_, String>((number(from)?, number(to)?))
        };
        match text.split_once(':') {
            None if text == "none" => Ok(Rate::Unpaced),
            None => Ok(Rate::Constant(number(text)?)),
            Some(("poisson", rate)) => Ok(Rate::Poisson(number(rate)?)),
            Some(("ramp", rates)) => range(rates).map(|(from, to)| Rate::Ramp(from, to)),
            Some(("sweep", rates)) => range(rates).map(|(from, to)| Rate::Sweep(from, to)),
            Some(_) => Err(format!(
                "`{text}` is none of N, poisson:N, ramp:N..M, sweep:N..M, none"
            )),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rate::Unpaced => out.write_str("none"),
            Rate::Constant(rate) => write!(out, "{rate}"),
            Rate::Poisson(rate) => write!(out, "poisson:{rate}"),
            Rate::Ramp(from, to) => write!(out, "ramp:{from}..{to}"),
            Rate::Sweep(from, to) => write!(out, "sweep:{from}..{to}"),
        }
    }
}

/// A command to run while the load runs.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Seconds since the measured time began.
    pub at: f64,
    /// For the shell.
    pub run: String,
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Fault, String> {
        let parts = text.split_once(':').and_then(|(at, run)| {
            let at = at.parse().ok().filter(|at| (0.0..1e7).contains(at))?;
            Some((at, run.to_owned()))
        });
        let (at, run) = parts.ok_or(format!("`{text}` is not SECONDS:COMMAND"))?;
        Ok(Fault { at, run })
    }
}
