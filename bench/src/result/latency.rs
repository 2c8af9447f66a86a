//! Latencies of one stage: an HDR histogram from 1 us to 60 s with three significant digits.
//!
//! Always: a latency outside of the range is told as the end of the range, never dropped. In JSON it is the compressed
//! form (V2, deflate, base64) that HdrHistogram's tools read.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer, V2Serializer};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer as Read, Serialize, Serializer as Write};

/// Latencies above this are told as this.
pub const LATENCY_MAX_US: u64 = 60_000_000;
/// Significant decimal digits.
const DIGITS: u8 = 3;

/// A histogram of microseconds.
#[derive(Clone, PartialEq, Debug)]
pub struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Latency {
        let histogram = Histogram::new_with_bounds(1, LATENCY_MAX_US, DIGITS);
        Latency(histogram.expect("1, a minute and three digits are bounds"))
    }
}

impl Latency {
    /// Counts one latency.
    #[inline]
    pub fn record_ns(&mut self, nanoseconds: u64) {
        self.record_us(nanoseconds.div_ceil(1000));
    }

    /// Counts one latency.
    #[inline]
    pub fn record_us(&mut self, microseconds: u64) {
        self.0
            .saturating_record(microseconds.clamp(1, LATENCY_MAX_US));
    }

    /// Adds the counts of another.
    pub fn add(&mut self, other: &Latency) {
        let added = self.0.add(&other.0);
        added.expect("all have the same bounds");
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency at a quantile between 0 and 1; 0 where nothing was counted.
    pub fn at(&self, quantile: f64) -> u64 {
        if self.0.is_empty() {
            return 0;
        }
        self.0.value_at_quantile(quantile).min(self.0.max())
    }

    pub fn max_us(&self) -> u64 {
        self.0.max()
    }

    pub fn mean_us(&self) -> f64 {
        self.0.mean()
    }

    /// How many were longer than this.
    pub fn count_above_us(&self, microseconds: u64) -> u64 {
        self.0.len() - self.0.count_between(0, microseconds)
    }

    /// For formats that are made from the counts themselves.
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }

    /// As it is kept for every interval of a run.
    pub fn packed(&self) -> Packed {
        let mut bytes = Vec::new();
        V2Serializer::new()
            .serialize(&self.0, &mut bytes)
            .expect("memory takes every write, and counts are below 2^63");
        bytes.shrink_to_fit();
        Packed(bytes)
    }

    fn encoded(&self) -> Result<String, String> {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&self.0, &mut bytes)
            .map_err(|error| error.to_string())?;
        Ok(STANDARD.encode(bytes))
    }

    fn decoded(text: &str) -> Result<Latency, String> {
        let bytes = STANDARD.decode(text).map_err(|error| error.to_string())?;
        let read: Histogram<u64> = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| error.to_string())?;
        let mut latency = Latency::default();
        latency.0.add(&read).map_err(|error| error.to_string())?;
        Ok(latency)
    }
}

impl Serialize for Latency {
    fn serialize<S: Write>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.encoded().map_err(S::Error::custom)?;
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: Read<'de>>(deserializer: D) -> Result<Latency, D::Error> {
        let text = String::deserialize(deserializer)?;
        Latency::decoded(&text).map_err(D::Error::custom)
    }
}

/// A histogram that is kept and not counted in: its counts in the form V2 of HdrHistogram, a byte or two for each value that was seen, where a
/// [`Latency`] takes 140 KB. A run has one for every interval and stage.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Packed(Vec<u8>);

impl Packed {
    /// To be looked at.
    pub fn latency(&self) -> Latency {
        if self.0.is_empty() {
            return Latency::default();
        }
        let read = Deserializer::new().deserialize(&mut self.0.as_slice());
        Latency(read.expect("it was packed here, with the same bounds"))
    }

    /// Adds the counts of another.
    pub fn join(&mut self, other: &Packed) {
        let mut both = self.latency();
        both.add(&other.latency());
        *self = both.packed();
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.0.len()
    }
}

impl Serialize for Packed {
    fn serialize<S: Write>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.latency().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Read<'de>>(deserializer: D) -> Result<Packed, D::Error> {
        Latency::deserialize(deserializer).map(|latency| latency.packed())
    }
}
