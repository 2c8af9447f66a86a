//! What clients keep with their group, and what a log says of groups: foreign bytes are refused or read to something that can be
//! written again, and a coordinator that replays them, in whatever order, has sound groups.
#![no_main]
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use millstream_engine::machine::group::{Coordinator, GroupConfig};
use millstream_engine::machine::image::Image;
use millstream_net::wire::consumer_protocol::{ConsumerAssignment, ConsumerSubscription, version_of};
use millstream_net::wire::offsets_topic::GroupRecord;
use millstream_storage::ids::{Now, Tick, WallMs};
use std::sync::Arc;

/// The highest version of what members keep.
const PROTOCOL_VERSION_MAX: i16 = 3;

fn protocol(bytes: &Bytes) {
    let version = version_of(bytes).unwrap_or(0).min(PROTOCOL_VERSION_MAX);
    if let Ok(subscription) = ConsumerSubscription::decode(bytes) {
        let again = ConsumerSubscription::decode(&subscription.encode(version));
        assert_eq!(again.expect("just written"), subscription);
    }
    if let Ok(assignment) = ConsumerAssignment::decode(bytes) {
        let again = ConsumerAssignment::decode(&assignment.encode(version));
        assert_eq!(again.expect("just written"), assignment);
    }
}

/// A key and a value: each has its length in front; a length of 255 is no value.
fn piece(input: &mut &[u8]) -> Option<Option<Bytes>> {
    let (length, rest) = input.split_first()?;
    if *length == u8::MAX {
        *input = rest;
        return Some(None);
    }
    let (piece, rest) = rest.split_at_checked(usize::from(*length))?;
    *input = rest;
    Some(Some(Bytes::copy_from_slice(piece)))
}

fn rewritten(record: &GroupRecord) -> GroupRecord {
    let (key, value) = record.encode();
    let again = GroupRecord::decode(&key, value.as_ref()).expect("just written");
    again.expect("a record of a known kind")
}

fn replayed(mut input: &[u8]) {
    let mut coordinator = Coordinator::new(Arc::new(GroupConfig::default()), 7);
    while let Some(key) = piece(&mut input)
        && let Some(value) = piece(&mut input)
    {
        let Ok(Some(record)) = GroupRecord::decode(&key.unwrap_or_default(), value.as_ref()) else { continue };
        // What is written has one version, which may lack a field of a former one; from then on it stays as it is.
        let written = rewritten(&record);
        assert_eq!(rewritten(&written), written);
        coordinator.replay(record);
    }
    let mut now = Now { tick: Tick(1), wall: WallMs(1_700_000_000_000) };
    let image = Arc::new(Image::default());
    coordinator.loaded(now, &image);
    coordinator.check();
    for _ in 0..4 {
        let Some(deadline) = coordinator.deadline() else { return };
        now.tick = deadline.max(now.tick);
        coordinator.tick(now, &image);
        coordinator.check();
        coordinator.drain(&mut Vec::new());
    }
}

fuzz_target!(|input: &[u8]| {
    protocol(&Bytes::copy_from_slice(input));
    replayed(input);
});
