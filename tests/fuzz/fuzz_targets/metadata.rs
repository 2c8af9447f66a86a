//! The metadata log and the producers of a checkpoint: foreign bytes are refused with a reason or read to something that can be
//! written again; a quorum's directory with foreign bytes in it is recovered or refused.
#![no_main]
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

/// Chunks of four bytes: the file, two for the position, and what to write there; a position behind its end cuts the file.
fn patched(input: &[u8]) {
    let mut disk = SimDisk::new();
    assert!(recovers(&disk) && recovers(&disk), "a quorum of one begins and goes on");
    let paths = disk.paths();
    for patch in input.chunks_exact(4) {
        let path = &paths[usize::from(patch[0]) % paths.len()];
        let Some(bytes) = disk.contents(path) else { continue };
        let mut bytes = bytes.to_vec();
        let position = usize::from(u16::from_le_bytes([patch[1], patch[2]]));
        match bytes.get_mut(position) {
            Some(byte) => *byte = patch[3],
            None => bytes.truncate(position / 2),
        }
        disk.overwrite(path, &bytes);
    }
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
