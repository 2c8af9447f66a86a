//! A data directory with foreign bytes in its files is recovered or refused, and what was recovered once recovers again.
//! The input is a list of patches: a byte that chooses the file, two for the position, then a byte to write there.
#![no_main]
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
    if attempt(&disk) {
        assert!(attempt(&disk), "what was recovered recovers again");
    }
});
