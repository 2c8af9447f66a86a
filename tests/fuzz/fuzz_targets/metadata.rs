//! The metadata log and the producers of a checkpoint: foreign bytes are refused with a reason or read to something that can be
//! written again; a quorum's directory with foreign bytes in it is recovered or refused.
#![no_main]
mod patches;
use libfuzzer_sys::fuzz_target;
use millstream_engine::machine::image::{Entry, Member, Snapshot};
use millstream_engine::machine::partition::producers::Producers;
use millstream_engine::machine::quorum::{Limits, recover};
use millstream_storage::ids::{NodeId, Offset};
use millstream_storage::sim::SimDisk;
use std::path::Path;

const LIMITS: Limits = Limits { room_bytes: 16 << 10, snapshot_after_bytes: 64 << 10 };

fn recovers(disk: &SimDisk) -> bool {
    let me = Member { id: 77, node: NodeId(1), voter: true };
    recover(disk, Path::new("quorum"), me, LIMITS).is_ok()
}

fn patched(input: &[u8]) {
    let mut disk = SimDisk::new();
    assert!(recovers(&disk) && recovers(&disk), "a quorum of one begins and goes on");
    patches::apply(&mut disk, input);
    if recovers(&disk) {
        assert!(recovers(&disk), "what was recovered recovers again");
    }
}

fuzz_target!(|input: &[u8]| {
    if let Ok(entry) = Entry::decode(input) {
        assert_eq!(Entry::decode(&entry.encode()).expect("just written"), entry);
    }
    if let Ok(snapshot) = Snapshot::decode(input) {
        assert_eq!(Snapshot::decode(&snapshot.encode()).expect("just written"), snapshot);
    }
    if let Ok(producers) = Producers::decode(Offset(1 << 40), input) {
        let mut bytes = Vec::new();
        producers.encode(&mut bytes);
        assert_eq!(bytes, input, "one state has one form");
    }
    patched(input);
});
