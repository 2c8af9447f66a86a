//! Names of files and directories, relative to the data directory.
//!
//! Always: a name that is made parses back to what it was made from; every other spelling is refused.

use super::checkpoint::CheckpointSlot;
use crate::ids::{LogNumber, Offset, PartitionIndex, ShardIndex, TopicId};
use std::path::{Path, PathBuf};

/// Held by flock while a process uses the data directory.
pub const LOCK: &str = "lock";
/// The node's identity and shard layout.
pub const NODE_META: &str = "node.meta";
/// The identity of one data directory.
pub const DIR_META: &str = "dir.meta";
/// Metadata log and snapshots.
pub const QUORUM: &str = "quorum";
/// The first slot for checkpoints.
pub const CHECKPOINT_A: &str = "checkpoint-a";
/// The second slot for checkpoints.
pub const CHECKPOINT_B: &str = "checkpoint-b";

const SHARD: &str = "shard-";
const JOURNAL: &str = "journal-";
/// Digits of an offset in a file name, as Kafka has it.
const OFFSET_DIGITS: usize = 20;
const TOPIC_DIGITS: usize = 32;

/// The directory of a shard.
pub fn shard_dir(shard: ShardIndex) -> PathBuf {
    PathBuf::from(format!("{SHARD}{}", shard.0))
}

/// The shard of a directory's name.
pub fn parse_shard_dir(name: &Path) -> Option<ShardIndex> {
    number(name.to_str()?.strip_prefix(SHARD)?).map(ShardIndex)
}

/// A journal file of a shard.
pub fn journal_path(shard: ShardIndex, file: u32) -> PathBuf {
    shard_dir(shard).join(format!("{JOURNAL}{file}"))
}

/// The number of a journal file's name.
pub fn parse_journal(name: &Path) -> Option<u32> {
    number(name.to_str()?.strip_prefix(JOURNAL)?)
}

/// A checkpoint slot of a shard.
pub fn checkpoint_path(shard: ShardIndex, slot: CheckpointSlot) -> PathBuf {
    shard_dir(shard).join(match slot {
        CheckpointSlot::A => CHECKPOINT_A,
        CheckpointSlot::B => CHECKPOINT_B,
    })
}

/// The directory of a topic's logs in a shard.
pub fn topic_dir(home: ShardIndex, topic: TopicId) -> PathBuf {
    shard_dir(home).join(format!("{topic}"))
}

/// The topic of a directory's name.
pub fn parse_topic_dir(name: &Path) -> Option<TopicId> {
    let name = name.to_str()?;
    let lawful = name.len() == TOPIC_DIGITS
        && name
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    lawful
        .then(|| u128::from_str_radix(name, 16).ok().map(TopicId))
        .flatten()
}

/// Everything that names a log's directory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LogPath {
    /// The shard whose directory holds it: the one it was opened on, whoever owns it now.
    pub home: ShardIndex,
    /// Its topic.
    pub topic: TopicId,
    /// Its partition.
    pub partition: PartitionIndex,
    /// Its number.
    pub log: LogNumber,
}

/// The directory of a log.
pub fn log_dir(path: &LogPath) -> PathBuf {
    topic_dir(path.home, path.topic).join(format!("{}-{}", path.partition, path.log))
}

/// Partition and log of a directory's name.
pub fn parse_log_dir(name: &Path) -> Option<(PartitionIndex, LogNumber)> {
    let (partition, log) = name.to_str()?.split_once('-')?;
    Some((PartitionIndex(number(partition)?), LogNumber(number(log)?)))
}

/// What a file of a segment holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SegmentFile {
    /// Record batches.
    Log,
    /// Offsets to positions.
    Index,
    /// Timestamps to offsets.
    Time,
    /// Settled producers.
    Producers,
    /// Batches that no chain reaches, kept for a human to look at.
    Aside,
}

impl SegmentFile {
    const ALL: [(SegmentFile, &'static str); 5] = [
        (SegmentFile::Log, "log"),
        (SegmentFile::Index, "index"),
        (SegmentFile::Time, "time"),
        (SegmentFile::Producers, "producers"),
        (SegmentFile::Aside, "aside"),
    ];

    fn extension(self) -> &'static str {
        let named = Self::ALL.iter().find(|(kind, _)| *kind == self);
        named.expect("every kind has a name").1
    }
}

/// The name of a segment's file within the directory of its log.
pub fn segment_file(base: Offset, kind: SegmentFile) -> String {
    format!("{:0OFFSET_DIGITS$}.{}", base.0, kind.extension())
}

/// What a file's name in a log's directory stands for.
pub fn parse_segment(name: &Path) -> Option<(Offset, SegmentFile)> {
    let (digits, extension) = name.to_str()?.split_once('.')?;
    let kind = SegmentFile::ALL
        .iter()
        .find(|(_, name)| *name == extension)?
        .0;
    let lawful = digits.len() == OFFSET_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    let base = lawful.then(|| digits.parse().ok()).flatten()?;
    Some((Offset(base), kind))
}

/// The name of the file that is made ready for a log before it rolls: it becomes the next segment by a rename.
pub fn successor_file() -> &'static str {
    "successor.new"
}

/// Its name when a restart has found it: it goes.
pub fn spare_file() -> &'static str {
    "successor.tmp"
}

/// A decimal number in its one spelling.
fn number<T: std::str::FromStr + ToString>(digits: &str) -> Option<T> {
    let value: T = digits.parse().ok()?;
    (value.to_string() == digits).then_some(value)
}
