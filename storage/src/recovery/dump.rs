//! Everything a data directory holds, told item by item, without changing it. For humans and tests, not for recovery.
//!
//! Always: what cannot be understood is told with its file and position, and the telling goes on behind it.

use super::journal::Journal;
use super::layout::shard_dirs;
use super::node::directories;
use super::reader::{io_at, read_small};
use super::segments::{Found, Segments};
use super::types::RecoveryError;
use crate::batch::BatchHead;
use crate::disk::{BLOCK_BYTES, BlockingDisk};
use crate::format::{
    Checkpoint, CheckpointSlot, DIR_META, DirMeta, Entry, LogPath, Malformed, NODE_META, NodeMeta,
    WindowAt, WindowFront, checkpoint_path, journal_path, log_dir, padded,
};
use crate::ids::ShardIndex;
use std::fmt;
use std::path::{Path, PathBuf};

/// Small files are not read beyond this.
const META_BYTES_MAX: u64 = 64 << 10;
/// BOUND: a checkpoint is not read beyond this.
const CHECKPOINT_BYTES_MAX: u64 = 1 << 30;

/// One thing that a data directory holds.
#[derive(Clone, Debug)]
pub enum Item {
    /// `node.meta`
    Node(NodeMeta),
    /// `dir.meta`
    Directory(DirMeta),
    /// A checkpoint, in a slot of a shard.
    Checkpoint(PathBuf, Box<Checkpoint>),
    /// A window of a journal file; its entries follow.
    Window(PathBuf, WindowAt, WindowFront),
    /// An entry of the window before it.
    Entry(Entry),
    /// A log that has a directory; its segments follow.
    Log(LogPath),
    /// A segment file, and its length.
    Segment(PathBuf, u64),
    /// A batch of the segment before it, and where it lies.
    Batch(u64, BatchHead),
    /// Bytes that cannot be understood.
    Bad(PathBuf, Malformed),
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::Node(meta) => write!(
                f,
                "node {} of cluster {}, {} shards, layout {}",
                meta.node, meta.cluster_id, meta.shards, meta.layout
            ),
            Item::Directory(meta) => write!(
                f,
                "directory {:032x}, start number {}",
                meta.directory.0, meta.start_number
            ),
            Item::Checkpoint(path, checkpoint) => checkpoint_line(f, path, checkpoint),
            Item::Window(path, at, front) => window_line(f, path, at, front),
            Item::Entry(entry) => entry_line(f, entry),
            Item::Log(path) => write!(f, "log {} in {}", path.log, log_dir(path).display()),
            Item::Segment(path, bytes) => write!(f, "{}: {bytes} bytes", path.display()),
            Item::Batch(position, head) => write!(
                f,
                "  {position}: offsets {}..{} epoch {} {} bytes, {} records, newest {}",
                head.base_offset,
                head.end_offset(),
                head.leader_epoch,
                head.bytes,
                head.record_count,
                head.max_timestamp
            ),
            Item::Bad(path, malformed) => write!(f, "{}: {malformed}", path.display()),
        }
    }
}

fn checkpoint_line(
    f: &mut fmt::Formatter<'_>,
    path: &Path,
    checkpoint: &Checkpoint,
) -> fmt::Result {
    write!(
        f,
        "{}: checkpoint {} of layout {}, run {}, R {}, C {}, next log {}",
        path.display(),
        checkpoint.sequence,
        checkpoint.layout,
        checkpoint.run,
        checkpoint.from.sequence,
        checkpoint.at.sequence,
        checkpoint.next_log
    )?;
    for log in &checkpoint.logs {
        write!(
            f,
            "\n  log {} topic {} partition {} {:?}: start {} synced {} durable {} high watermark {}, {} segments",
            log.log,
            log.topic,
            log.partition,
            log.life,
            log.log_start,
            log.synced_end.offset,
            log.durable_end.offset,
            log.high_watermark,
            log.segments.len()
        )?;
        if !log.damage.is_empty() {
            write!(f, ", {} damaged ranges", log.damage.len())?;
        }
    }
    Ok(())
}

fn window_line(
    f: &mut fmt::Formatter<'_>,
    path: &Path,
    at: &WindowAt,
    front: &WindowFront,
) -> fmt::Result {
    write!(
        f,
        "{} at {}: window {} run {}, {} bytes, {} entries, known synced {}, checkpoint {}",
        path.display(),
        at.position,
        at.sequence,
        front.header.run,
        front.bytes,
        front.entries,
        front.header.known_synced,
        front.header.checkpoint
    )
}

fn entry_line(f: &mut fmt::Formatter<'_>, entry: &Entry) -> fmt::Result {
    let log = entry.log();
    match entry {
        Entry::Open(open) => write!(
            f,
            "  log {log}: open topic {} partition {} at offset {}",
            open.topic, open.partition, open.start.offset
        ),
        Entry::Append(append) => write!(
            f,
            "  log {log}: append {}..{} epoch {} behind {} epoch {}, {} bytes at {} of segment {}",
            append.base,
            append.end,
            append.epoch,
            append.previous_end,
            append.previous_epoch,
            append.bytes,
            append.position,
            append.segment
        ),
        Entry::Truncate { place, .. } => write!(f, "  log {log}: truncate to {}", place.offset),
        Entry::Epoch { epoch, .. } => {
            write!(f, "  log {log}: epoch {} from {}", epoch.epoch, epoch.start)
        }
        Entry::Start { log_start, .. } => write!(f, "  log {log}: log start {log_start}"),
        Entry::Mark { place, .. } => write!(
            f,
            "  log {log}: synced up to {} (byte {} of segment {})",
            place.offset, place.position, place.segment
        ),
        Entry::Image(image) => write!(
            f,
            "  log {log}: image of {} bytes at {} of segment {}",
            image.bytes, image.position, image.segment
        ),
        Entry::Drop { .. } => write!(f, "  log {log}: drop"),
    }
}

/// Tells everything: identities, checkpoints, journals, segments.
pub fn dump(disk: &dyn BlockingDisk, tell: &mut dyn FnMut(Item)) -> Result<(), RecoveryError> {
    let node = identities(disk, tell)?;
    for (shard, _) in shard_dirs(disk)? {
        checkpoints(disk, shard, tell)?;
        if let Some(node) = &node {
            journals(disk, node, shard, tell)?;
        }
    }
    for path in directories(disk)? {
        tell(Item::Log(path));
        segments(disk, &path, tell)?;
    }
    Ok(())
}

/// Reads `node.meta` and `dir.meta`.
pub(super) fn identities(
    disk: &dyn BlockingDisk,
    tell: &mut dyn FnMut(Item),
) -> Result<Option<NodeMeta>, RecoveryError> {
    let missing = Malformed::new(0, "it is missing, too large, or cannot be read");
    let mut read = |name: &str, decode: &mut dyn FnMut(&[u8]) -> Result<Item, Malformed>| {
        let path = Path::new(name);
        let content = read_small(disk, path, META_BYTES_MAX)?;
        let item = content.ok_or(missing).and_then(|content| decode(&content));
        tell(item.unwrap_or_else(|malformed| Item::Bad(path.to_path_buf(), malformed)));
        Ok::<(), RecoveryError>(())
    };
    let mut node = None;
    read(NODE_META, &mut |content| {
        let meta = NodeMeta::decode(content)?;
        node = Some(meta.clone());
        Ok(Item::Node(meta))
    })?;
    read(DIR_META, &mut |content| {
        DirMeta::decode(content).map(Item::Directory)
    })?;
    Ok(node)
}

fn checkpoints(
    disk: &dyn BlockingDisk,
    shard: ShardIndex,
    tell: &mut dyn FnMut(Item),
) -> Result<(), RecoveryError> {
    for slot in CheckpointSlot::ALL {
        let path = checkpoint_path(shard, slot);
        let length = disk.length(&path).map_err(|error| io_at(&path, error))?;
        if length.is_none() {
            continue;
        }
        let content = read_small(disk, &path, CHECKPOINT_BYTES_MAX)?.unwrap_or_default();
        tell(match Checkpoint::decode(&content) {
            Ok(checkpoint) => Item::Checkpoint(path, Box::new(checkpoint)),
            Err(malformed) => Item::Bad(path, malformed),
        });
    }
    Ok(())
}

/// Every valid window, wherever it lies; what older uses of the file left is told too.
fn journals(
    disk: &dyn BlockingDisk,
    node: &NodeMeta,
    shard: ShardIndex,
    tell: &mut dyn FnMut(Item),
) -> Result<(), RecoveryError> {
    let mut journal = Journal::open(disk, node.node, shard)?;
    for file in journal.sizes() {
        let path = journal_path(shard, file.file);
        let mut position = 0;
        while position < file.bytes {
            let Some((front, bytes)) = journal.window(file.file, position)? else {
                position += BLOCK_BYTES as u64;
                continue;
            };
            let at = WindowAt {
                file: file.file,
                position,
                sequence: front.header.sequence,
            };
            tell(Item::Window(path.clone(), at, front));
            for entry in front
                .verify(&bytes)
                .expect("it was verified when it was read")
            {
                tell(match entry {
                    Ok(entry) => Item::Entry(entry.entry),
                    Err(malformed) => Item::Bad(path.clone(), malformed),
                });
            }
            position += padded(front.bytes as u64);
        }
    }
    Ok(())
}

fn segments(
    disk: &dyn BlockingDisk,
    path: &LogPath,
    tell: &mut dyn FnMut(Item),
) -> Result<(), RecoveryError> {
    let mut segments = Segments::open(disk, log_dir(path))?;
    let bases: Vec<_> = segments.bases().collect();
    for base in bases {
        let path = segments.path(base);
        tell(Item::Segment(
            path.clone(),
            segments.length(base).unwrap_or(0),
        ));
        let mut position = 0;
        loop {
            match segments.batch(base, position)?.0 {
                Found::Batch(head) => {
                    tell(Item::Batch(position, head));
                    position += head.bytes as u64;
                }
                Found::Nothing => break,
                Found::Other => {
                    let malformed = Malformed::new(
                        usize::try_from(position).unwrap_or(usize::MAX),
                        "no batch that checks",
                    );
                    tell(Item::Bad(path, malformed));
                    break;
                }
            }
        }
    }
    Ok(())
}
