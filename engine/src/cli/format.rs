//! How `consume` prints a record: a format with `%` as kcat has it, or JSON.

use super::timestamp;
use crate::client::ConsumedRecord;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// A format, understood once.
#[derive(Debug, PartialEq, Eq)]
pub struct Format(Vec<Part>);

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Topic,
    Partition,
    Offset,
    TimestampMs,
    Key,
    Value,
}

impl Format {
    /// Understands a format; the error names what is not understood.
    pub fn parse(text: &str) -> Result<Format, String> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            let part = match (letter, letter == '%' || letter == '\\') {
                (_, false) => {
                    literal.extend(letter.encode_utf8(&mut [0; 4]).bytes());
                    continue;
                }
                ('%', _) => match letters.next() {
                    Some('t') => Part::Topic,
                    Some('p') => Part::Partition,
                    Some('o') => Part::Offset,
                    Some('T') => Part::TimestampMs,
                    Some('k') => Part::Key,
                    Some('s') => Part::Value,
                    Some('%') => Part::Text(b"%".to_vec()),
                    other => {
                        return Err(format!(
                            "%{} is no part of a record",
                            other.map_or(String::new(), String::from)
                        ));
                    }
                },
                _ => match letters.next() {
                    Some('n') => Part::Text(b"\n".to_vec()),
                    Some('t') => Part::Text(b"\t".to_vec()),
                    Some('\\') => Part::Text(b"\\".to_vec()),
                    other => {
                        return Err(format!(
                            "\\{} is no escape",
                            other.map_or(String::new(), String::from)
                        ));
                    }
                },
            };
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(part);
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Format(parts))
    }

    /// Prints a record.
    pub fn write(&self, record: &ConsumedRecord, into: &mut impl Write) -> io::Result<()> {
        let bytes = |bytes: &Option<Bytes>| bytes.clone().unwrap_or_default();
        for part in &self.0 {
            match part {
                Part::Text(text) => into.write_all(text)?,
                Part::Topic => into.write_all(record.topic.as_bytes())?,
                Part::Partition => write!(into, "{}", record.partition)?,
                Part::Offset => write!(into, "{}", record.offset)?,
                Part::TimestampMs => write!(into, "{}", record.timestamp_ms)?,
                Part::Key => into.write_all(&bytes(&record.key))?,
                Part::Value => into.write_all(&bytes(&record.value))?,
            }
        }
        Ok(())
    }
}

/// A record as one line of JSON. Bytes that are no UTF-8 come as `{"hex": ...}`.
pub fn write_json(record: &ConsumedRecord, into: &mut impl Write) -> io::Result<()> {
    let headers: Map<String, Value> = record
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), readable(value.as_ref())))
        .collect();
    let line = json!({
        "topic": &*record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "time": if record.timestamp_ms >= 0 { Value::from(timestamp::format(record.timestamp_ms)) } else { Value::Null },
        "key": readable(record.key.as_ref()),
        "value": readable(record.value.as_ref()),
        "headers": headers,
    });
    writeln!(into, "{line}")
}

fn readable(bytes: Option<&Bytes>) -> Value {
    match bytes.map(|bytes| std::str::from_utf8(bytes).map_err(|_| bytes)) {
        None => Value::Null,
        Some(Ok(text)) => Value::from(text),
        Some(Err(bytes)) => {
            json!({ "hex": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> ConsumedRecord {
        ConsumedRecord {
            topic: "words".into(),
            partition: 3,
            offset: 14,
            timestamp_ms: 1_700_000_000_000,
            key: Some(Bytes::from_static(b"k")),
            value: Some(Bytes::from_static(b"\xff\x01")),
            headers: vec![("h".into(), None)],
        }
    }

    #[test]
    fn a_format_prints_the_parts_of_a_record() {
        let format = Format::parse("%t-%p@%o %T %k=%s 100%%\\t\\n").unwrap();
        let mut text = Vec::new();
        format.write(&record(), &mut text).unwrap();
        assert_eq!(text, b"words-3@14 1700000000000 k=\xff\x01 100%\t\n");
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        assert_eq!(
            Format::parse("%x").unwrap_err(),
            "%x is no part of a record"
        );
        assert_eq!(Format::parse("a\\q").unwrap_err(), "\\q is no escape");
    }

    #[test]
    fn json_tells_text_bytes_and_null_apart() {
        let mut text = Vec::new();
        write_json(&record(), &mut text).unwrap();
        let line: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(line["key"], "k");
        assert_eq!(line["value"]["hex"], "ff01");
        assert_eq!(line["headers"]["h"], Value::Null);
        assert_eq!(line["time"], "2023-11-14T22:13:20.000Z");
    }
}
