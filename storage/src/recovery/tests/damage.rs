//! Every file of a node truncated, zeroed, flipped: a clear message or a repair, never a panic, never a silent loss.

use super::super::{Item, dump, verify};
use super::*;
use crate::format::{Checkpoint, DIR_META, DirMeta, Producers, ProducersFile, checkpoint_path};

/// Up to where the producers in their own file are settled.
const SETTLED: Offset = Offset(60);

fn producers_state() -> Bytes {
    vec![7; 5000].into()
}

/// The producers of the log lie in a file of their own, and the newest checkpoint names it.
fn keep_producers(disk: &mut SimDisk, node: &RecoveredNode) {
    let slot = checkpoint_path(ShardIndex(0), node.shards[0].checkpoint.slot);
    let mut checkpoint =
        Checkpoint::decode(&disk.contents(&slot).expect("a slot")).expect("a checkpoint");
    let log = checkpoint.logs.iter_mut().find(|state| state.log == LOG);
    log.expect("a known log").producers = Producers::File {
        offset: SETTLED,
        from: place(0, 0, -1),
    };
    disk.overwrite(&slot, &checkpoint.encode());
    let file = ProducersFile {
        log: LOG,
        offset: SETTLED,
        state: &producers_state(),
    };
    let path = segment_path().with_file_name(segment_file(SETTLED, SegmentFile::Producers));
    disk.write(&path, 0, &file.encode()).expect("written");
}

/// A node whose logs lie in a checkpoint, in segments with and without marks, and in the journal; and the batches of its logs.
fn node() -> (SimDisk, Vec<Bytes>) {
    let mut bench = Bench::new();
    let batches: Vec<Bytes> = (0..40).map(|index| batch(index * 3, 3, 2)).collect();
    let mut position = 0;
    let mut previous = (0, -1);
    let mut control = vec![(open(LOG, None), Bytes::new()), (epoch(2, 0), Bytes::new())];
    for (index, batch) in batches.iter().enumerate() {
        let mut entries = std::mem::take(&mut control);
        let end = (index as i64 + 1) * 3;
        entries.push((append(position, previous, batch), batch.clone()));
        bench.window(&entries);
        if (20..30).contains(&index) {
            bench.segment(position, batch);
        }
        position += batch.len() as u64;
        previous = (end, 2);
        if index == 19 {
            // Flushes everything into the segment and takes checkpoints of a new layout.
            recovered(&bench.disk, 2);
            let node = recovered(&bench.disk, 1);
            keep_producers(&mut bench.disk, &node);
            bench = Bench::after(bench.disk, &node);
        }
        if index == 26 {
            let place = place(position, end, 2);
            bench.control([Entry::Mark { log: LOG, place }]);
        }
    }
    // One more window vouches for the last one with batches.
    bench.control([]);
    let identity = DirMeta {
        directory: DirectoryId(1),
        start_number: 3,
    };
    bench
        .disk
        .write(Path::new(DIR_META), 0, &identity.encode())
        .expect("written");
    bench.disk.sync_fs().expect("synced");
    (bench.disk, batches)
}

/// Whether every batch of the log can be had: from what recovery holds, or from the segment.
fn is_whole(disk: &SimDisk, node: &RecoveredNode, batches: &[Bytes]) -> bool {
    let logs = node.shards.iter().flat_map(|shard| &shard.logs);
    let Some(log) = logs.into_iter().find(|log| log.log == LOG) else {
        return false;
    };
    let mut bytes = disk
        .contents(&segment_path())
        .map(Vec::from)
        .unwrap_or_default();
    for piece in &log.unflushed {
        let from = piece.start.position as usize;
        bytes.resize(bytes.len().max(from + piece.bytes.len()), 0);
        bytes[from..from + piece.bytes.len()].copy_from_slice(&piece.bytes);
    }
    bytes.starts_with(&batches.concat()) && log.end.offset.0 >= 3 * batches.len() as i64
}

/// The settled producers are those of the file, or it is told, and the log is read from its start to build them anew.
fn judge_producers(node: &RecoveredNode, what: &str) {
    let mut logs = node.shards.iter().flat_map(|shard| &shard.logs);
    let Some(log) = logs.find(|log| log.log == LOG) else {
        return;
    };
    match &log.producers {
        Some(kept) => assert_eq!(*kept, (SETTLED, producers_state()), "{what}"),
        None => {
            assert!(!node.report.findings.is_empty(), "{what}");
            let first = log.heads.first().map(|placed| placed.head.base_offset);
            let whole = first == Some(Offset(0)) || !log.damage.is_empty();
            assert!(whole, "{what}: heads from {first:?} on");
        }
    }
}

/// What came of one damaged disk.
fn judge(disk: &SimDisk, batches: &[Bytes], what: &str) {
    let mut items = 0;
    dump(disk, &mut |item: Item| {
        assert!(!item.to_string().is_empty());
        items += 1;
    })
    .expect("the simulated disk answers");
    assert!(items > 0, "{what}");
    let sound = verify(disk).expect("the simulated disk answers").is_sound();
    let Some(meta) = disk
        .contents(Path::new(NODE_META))
        .map(|meta| NodeMeta::decode(&meta))
    else {
        return;
    };
    let Ok(meta) = meta else {
        return;
    };
    let copy = disk.clone();
    match recover(&copy, &config(1), meta) {
        Err(error) => assert!(error.to_string().contains('/'), "{what}: {error}"),
        Ok(node) => {
            let told = !sound || !damage(&node).is_empty();
            assert!(
                told || is_whole(&copy, &node, batches),
                "{what}: {:#?}",
                node.report
            );
            judge_producers(&node, what);
            if damage(&node).is_empty() {
                let again = recovered(&copy, 1);
                assert_eq!(
                    summary(&node),
                    summary(&again),
                    "{what}: recovery is idempotent"
                );
            }
        }
    }
}

fn damaged(path: &Path, act: impl Fn(&mut Vec<u8>), disk: &SimDisk) -> SimDisk {
    let mut copy = disk.clone();
    let mut bytes = copy.contents(path).expect("a file").to_vec();
    act(&mut bytes);
    copy.overwrite(path, &bytes);
    copy
}

#[test]
fn an_undamaged_node_is_sound_and_whole() {
    let (disk, batches) = node();
    let found = verify(&disk).expect("verified");
    assert!(found.is_sound(), "{found:#?}");
    let node = recovered(&disk, 1);
    assert!(is_whole(&disk, &node, &batches));
    assert!(node.shards[0].logs[0].producers.is_some());
    assert_eq!(damage(&node), Vec::<String>::new());
}

#[test]
fn no_damage_to_any_file_goes_unnoticed() {
    let (disk, batches) = node();
    let mut rng = SimRng::new(3);
    for path in disk.paths() {
        let length = disk.contents(&path).expect("a file").len();
        let name = path.display();
        judge(
            &damaged(&path, Vec::clear, &disk),
            &batches,
            &format!("{name} emptied"),
        );
        judge(
            &damaged(&path, |bytes| bytes.fill(0), &disk),
            &batches,
            &format!("{name} zeroed"),
        );
        for _ in 0..60 {
            let at = rng.index(length.max(1));
            let cut = damaged(&path, |bytes| bytes.truncate(at), &disk);
            judge(&cut, &batches, &format!("{name} cut at {at}"));
            let bit = 1 << rng.index(8);
            let flipped = damaged(&path, |bytes| bytes[at] ^= bit, &disk);
            judge(&flipped, &batches, &format!("{name} flipped at {at}"));
            let to = length.min(at + rng.index(5000));
            let zeroed = damaged(&path, |bytes| bytes[at..to].fill(0), &disk);
            judge(
                &zeroed,
                &batches,
                &format!("{name} zeroed from {at} to {to}"),
            );
            let garbage = damaged(&path, |bytes| bytes[at..to].fill(0xa5), &disk);
            judge(
                &garbage,
                &batches,
                &format!("{name} garbage from {at} to {to}"),
            );
        }
    }
}

#[test]
fn a_file_that_is_gone_does_not_go_unnoticed() {
    let (disk, batches) = node();
    for path in disk.paths() {
        let copy = disk.clone();
        copy.unlink(&path).expect("unlinked");
        judge(&copy, &batches, &format!("{} removed", path.display()));
    }
}

/// It could not be flushed into otherwise.
#[test]
fn a_segment_that_is_gone_is_made_again_where_the_log_goes_on_in_it() {
    let (disk, _) = node();
    disk.unlink(&segment_path()).expect("unlinked");
    for _ in 0..2 {
        let found = recovered(&disk, 1);
        let mut logs = found.shards.iter().flat_map(|shard| &shard.logs);
        let log = logs.find(|log| log.log == LOG).expect("a known log");
        assert!(!log.damage.is_empty() && log.suspect);
        assert!(disk.length(&segment_path()).expect("told").is_some());
    }
}
