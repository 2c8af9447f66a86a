//! A data directory with foreign bytes in its files is recovered or refused, and what was recovered once recovers again.
//! The input is a list of `patches`.
#![no_main]
mod patches;
use libfuzzer_sys::fuzz_target;
use millstream_storage::format::{NODE_META, NodeMeta};
use millstream_storage::ids::{DirectoryId, NodeId};
use millstream_storage::recovery::{RecoveryConfig, recover};
use millstream_storage::sim::SimDisk;
use std::path::Path;

fn attempt(disk: &SimDisk) -> bool {
    let config = RecoveryConfig { shards: 1, journal_file_bytes: 16 << 10, journal_files_min: 2 };
    let blank = NodeMeta {
        cluster_id: "fuzz".into(),
        node: NodeId(1),
        layout: 0,
        shards: 1,
        directories: vec![DirectoryId(1)],
    };
    let meta = match disk.contents(Path::new(NODE_META)) {
        Some(bytes) => match NodeMeta::decode(&bytes) {
            Ok(meta) => meta,
            Err(_) => return false,
        },
        None => blank,
    };
    meta.shards <= 4 && recover(disk, &config, meta).is_ok()
}

fuzz_target!(|input: &[u8]| {
    let mut disk = SimDisk::new();
    assert!(attempt(&disk), "an empty directory becomes a node");
    patches::apply(&mut disk, input);
    if attempt(&disk) {
        assert!(attempt(&disk), "what was recovered recovers again");
    }
});
