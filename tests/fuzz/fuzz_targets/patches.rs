//! Foreign bytes for the files of a simulated disk.

use millstream_storage::sim::SimDisk;

/// Chunks of four bytes: the file, two for the position, and what to write there; a position behind its end cuts the file.
pub fn apply(disk: &mut SimDisk, input: &[u8]) {
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
}
