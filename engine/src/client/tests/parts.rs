//! Addresses, partitions of keys, lanes.

use millstream_storage::batch::{BatchHead, BatchHeader};
use millstream_storage::ids::{ProducerEpoch, ProducerId, Tick};

use crate::client::lane::Lane;
use crate::client::outgoing::{Record, Ticket};
use crate::client::{Address, murmur2, parse_addresses, partition_of_key};

#[test]
fn addresses_are_read_as_people_write_them() {
    for (text, host, port) in [
        ("localhost", "localhost", 9092),
        ("localhost:1", "localhost", 1),
        ("127.0.0.1:9093", "127.0.0.1", 9093),
        ("[::1]:9094", "::1", 9094),
        ("[::1]", "::1", 9092),
        ("::1", "::1", 9092),
    ] {
        let address: Address = text.parse().unwrap();
        assert_eq!(
            (address.host.as_str(), address.port),
            (host, port),
            "{text}"
        );
        let again: Address = address.to_string().parse().unwrap();
        assert_eq!(again, address);
    }
    for text in [
        "", ":9092", "a:b", "a:0", "a:70000", "[::1", "[::1]x", "http://a", "a b:1",
    ] {
        assert!(text.parse::<Address>().is_err(), "{text}");
    }
    assert_eq!(parse_addresses("a, b:1,").unwrap().len(), 2);
    let error = parse_addresses(" , ").unwrap_err();
    assert_eq!(error.to_string(), "` , ` is no broker address");
}

#[test]
fn keys_hash_as_in_kafkas_own_client() {
    // What Kafka's own implementation gives for these keys.
    for (key, hash) in [
        ("21", -973_932_308_i32),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        (
            "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
            -58_897_971,
        ),
        ("abc", 479_470_107),
    ] {
        assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
    }
    assert_eq!(partition_of_key(b"abc", 7), 479_470_107 % 7);
}

fn header() -> BatchHeader {
    BatchHeader {
        producer_id: ProducerId(1),
        producer_epoch: ProducerEpoch(0),
        ..BatchHeader::default()
    }
}

fn push(lane: &mut Lane, ticket: u64) {
    let record = Record {
        timestamp_ms: Some(1),
        ..Record::default()
    };
    lane.push(Tick(0), Tick(9), header(), 61, Ticket(ticket), &record);
}

#[test]
fn a_batch_that_comes_back_leaves_first_and_alone() {
    let mut lane = Lane::default();
    for ticket in 0..4 {
        push(&mut lane, ticket);
    }
    let first = lane.take();
    let second = lane.take();
    assert!(lane.sendable(Tick(0), 5).is_some());
    lane.give_back(Tick(10), second);
    lane.give_back(Tick(10), first);
    assert!(lane.sendable(Tick(9), 5).is_none(), "not before its time");
    assert!(lane.sendable(Tick(10), 5).is_some());
    let again = lane.take();
    assert_eq!(again.tickets, [Ticket(0)]);
    assert!(
        lane.sendable(Tick(10), 5).is_none(),
        "the second one was tried before: it waits for the first"
    );
}

#[test]
fn sequence_numbers_follow_each_other_from_batch_to_batch() {
    let mut lane = Lane::default();
    for ticket in 0..3 {
        push(&mut lane, ticket);
        let head = BatchHead::parse(&lane.ready[ticket as usize].bytes).unwrap();
        assert_eq!(head.base_sequence, ticket as i32);
    }
}
