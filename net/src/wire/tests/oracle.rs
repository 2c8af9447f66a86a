//! Every API and version against the crate `kafka-protocol`, both ways.

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable, Message};

use super::sample::{Random, Sample};
use crate::wire::api as ours;
use crate::wire::table::with_apis;
use crate::wire::{API_TABLE, Api, ApiKey, Count, Dialect, Encoder, Field, Limits, Reader};

const SAMPLES_COUNT: u64 = 60;

/// What the crate does about a version above those it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Newer {
    /// The version has the fields of the one before, so that one is compared.
    LikeTheOneBefore,
    /// The version has other fields; `frames.rs` has bytes of it.
    OtherFields,
}

const NEWER_THAN_ORACLE: [(ApiKey, i16, Newer); 3] = [
    (ApiKey::ListOffsets, 11, Newer::LikeTheOneBefore),
    (ApiKey::OffsetCommit, 10, Newer::OtherFields),
    (ApiKey::OffsetFetch, 10, Newer::OtherFields),
];

fn encode(message: &impl Field, dialect: Dialect) -> Bytes {
    let mut size = Count::default();
    message.write(&mut size, dialect);
    let mut encoder = Encoder::with_room(size.copied_bytes);
    message.write(&mut encoder, dialect);
    let bytes = Bytes::from(encoder.into_parts().concat());
    assert_eq!(
        bytes.len(),
        size.total_bytes(),
        "the counted size is the written size"
    );
    bytes
}

fn decode<T: Field>(bytes: &Bytes, dialect: Dialect) -> T {
    let limits = Limits {
        array_bytes_max: usize::MAX,
    };
    let mut reader = Reader::new(bytes, limits);
    let message = T::read(&mut reader, dialect).unwrap();
    assert_eq!(reader.remaining(), 0, "everything is read");
    message
}

/// Random values of ours go through their decoder and encoder and come back as they were.
fn round_trip<O, T>(key: ApiKey)
where
    O: Field + Sample + PartialEq + std::fmt::Debug,
    T: Decodable + Encodable + Message + std::fmt::Debug,
{
    let api = key.api();
    for version in api.schema.min..=api.schema.max {
        let dialect = api.dialect(version);
        let listed = NEWER_THAN_ORACLE
            .iter()
            .find(|(newer, from, _)| (*newer, *from) == (key, version));
        let newer = (version > T::VERSIONS.max).then(|| {
            listed
                .unwrap_or_else(|| panic!("the crate does not know {} version {version}", api.name))
                .2
        });
        let their_version = if newer.is_some() {
            version - 1
        } else {
            version
        };
        for seed in 0..SAMPLES_COUNT {
            let context = format!("{} version {version} seed {seed}", api.name);
            let message = O::sample(&mut Random(seed), dialect);
            let bytes = encode(&message, dialect);
            assert!(
                bytes.len() >= O::bytes_min(dialect),
                "{context}: the minimum is one"
            );
            assert_eq!(decode::<O>(&bytes, dialect), message, "{context}: ours");

            if newer == Some(Newer::OtherFields) {
                continue;
            }
            let mut rest = bytes.clone();
            let their_message = T::decode(&mut rest, their_version)
                .unwrap_or_else(|error| panic!("{context}: {error}\n{message:#?}"));
            assert!(
                !rest.has_remaining(),
                "{context}: they read everything of {message:#?}"
            );
            let mut their_bytes = BytesMut::new();
            their_message
                .encode(&mut their_bytes, their_version)
                .unwrap_or_else(|error| panic!("{context}: {error}\n{message:#?}"));
            assert_eq!(
                their_bytes, bytes,
                "{context}: {message:#?}\n{their_message:#?}"
            );
        }
    }
}

/// Random messages of one type in every version, a line of text each: key, version, kind and the bytes in hexadecimal.
fn samples<O: Field + Sample>(key: ApiKey, kind: &str, lines: &mut String) {
    let api = key.api();
    for version in api.schema.min..=api.schema.max {
        let dialect = api.dialect(version);
        for seed in 0..SAMPLES_COUNT {
            let bytes = encode(&O::sample(&mut Random(seed), dialect), dialect);
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            *lines += &format!("{} {version} {kind} {hex}\n", key.code());
        }
    }
}

macro_rules! test_apis {
    ($(
        $key:literal $name:ident: $request:ident, $response:ident, $min:literal to $max:literal, flexible $flexible:expr
            $(, served $served_min:literal to $served_max:literal
                $(, advertised $advertised_min:literal to $advertised_max:literal)?)?;
    )+) => {
        #[test]
        fn every_request_is_as_the_oracle_reads_and_writes_it() {
            $(round_trip::<ours::$request, theirs::$request>(ApiKey::$name);)+
        }

        #[test]
        fn every_response_is_as_the_oracle_reads_and_writes_it() {
            $(round_trip::<ours::$response, theirs::$response>(ApiKey::$name);)+
        }

        #[test]
        fn samples_of_every_message_are_given_to_kafkas_own_classes() {
            let mut lines = String::new();
            $(
                samples::<ours::$request>(ApiKey::$name, "request", &mut lines);
                samples::<ours::$response>(ApiKey::$name, "response", &mut lines);
            )+
            let versions = |api: &Api| u64::try_from(api.schema.max - api.schema.min + 1).unwrap();
            let kinds: u64 = API_TABLE.iter().map(|api| 2 * versions(api)).sum();
            assert_eq!(lines.lines().count() as u64, kinds * SAMPLES_COUNT);
            // `tests/interop/messages.py` sets it, and lets those classes read the file.
            if let Ok(path) = std::env::var("MESSAGE_SAMPLES") {
                std::fs::write(path, lines).expect("the file can be written");
            }
        }
    };
}

with_apis!(test_apis);
