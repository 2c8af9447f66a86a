//! Recovery of the quorum's files before the node starts, and the first entry of the new term.
//!
//! ORDER: at the very beginning the log with its first entry is synced, then the vote: a vote beside an empty log is damage.
//! Later the vote of a new term is synced before its first entry is written, so that the log is behind the vote by one term at
//! most. A torn end is zeroed and synced before anything is written behind it.
//! Always: what was acknowledged is there, or recovery refuses with file and position; it is idempotent, a crash within it
//! included.

use super::format::{
    Bad, FileKind, Frame, HEAD_BYTES, LogHead, VOTE_BYTES, Vote, decode_snapshot, encode_frame,
    log_path, pad, snapshot_path,
};
use super::look_only::LookOnly;
use super::single::{LogEnd, SingleNode};
use crate::machine::image::{Entry, Image, Member, Payload, Snapshot};
use millstream_storage::disk::{BLOCK_BYTES, BlockingDisk};
use millstream_storage::ids::MetadataIndex;
use std::io;
use std::path::{Path, PathBuf};

/// What an unreadable block is taken for.
const UNREADABLE: u8 = 0xA5;

/// Why the quorum's files do not serve.
#[derive(Debug)]
pub enum RecoverError {
    /// The operating system's.
    Io(PathBuf, io::Error),
    /// Acknowledged bytes are gone.
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where in it.
        position: u64,
        /// What is wrong.
        reason: String,
    },
    /// A newer program wrote this.
    Newer {
        /// The file.
        file: PathBuf,
        /// The version it states.
        version: u16,
    },
}

impl std::fmt::Display for RecoverError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RecoverError::Io(file, error) => write!(f, "{}: {error}", file.display()),
            RecoverError::Damaged {
                file,
                position,
                reason,
            } => write!(
                f,
                "the metadata log is damaged: {reason} ({} at byte {position}); nothing was changed",
                file.display()
            ),
            RecoverError::Newer { file, version } => write!(
                f,
                "{} has format version {version}, and this program knows version {}",
                file.display(),
                super::format::VERSION
            ),
        }
    }
}

impl std::error::Error for RecoverError {}

/// How the quorum's files grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The log file is kept so much longer than its frames, so that a full disk takes deletions.
    pub room_bytes: u64,
    /// A snapshot is due after so many bytes of frames, or twice the size of the last one.
    pub snapshot_after_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            room_bytes: 1 << 20,
            snapshot_after_bytes: 4 << 20,
        }
    }
}

/// What recovery found and did, for the banner and the log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recovery {
    /// There was nothing: the quorum begins here.
    pub begun: bool,
    /// The snapshot it started from.
    pub snapshot: Option<MetadataIndex>,
    /// Entries replayed.
    pub entries: u64,
    /// Bytes of a torn end that were dropped; nothing in them was acknowledged.
    pub torn_bytes: u64,
}

/// Recovers the quorum of one whose files are in `directory`, and begins a new term. `me` is this node in it.
pub fn recover(
    disk: &dyn BlockingDisk,
    directory: &Path,
    me: Member,
    limits: Limits,
) -> Result<(SingleNode, Recovery), RecoverError> {
    let mut recoverer = Recoverer {
        disk,
        directory,
        limits,
        recovery: Recovery::default(),
    };
    recoverer.run(me)
}

/// What a start would find in the quorum's files. Nothing is changed.
pub fn verify(
    disk: &dyn BlockingDisk,
    directory: &Path,
    me: Member,
) -> Result<Recovery, RecoverError> {
    let disk = LookOnly(disk);
    recover(&disk, directory, me, Limits::default()).map(|(_, found)| found)
}

/// Whether there is nothing of a metadata log: no vote, no log, no snapshot.
pub fn is_blank(disk: &dyn BlockingDisk, directory: &Path) -> io::Result<bool> {
    let entries = disk.list(directory)?;
    let counts = |name: &Path| {
        use FileKind::{Log, Snapshot, Vote};
        matches!(FileKind::of(name), Some(Vote | Log(_) | Snapshot(_)))
    };
    Ok(!entries.iter().any(|entry| counts(&entry.name)))
}

struct Recoverer<'a> {
    disk: &'a dyn BlockingDisk,
    directory: &'a Path,
    limits: Limits,
    recovery: Recovery,
}

/// The files that are there, by kind, ascending.
#[derive(Default)]
struct Files {
    vote: bool,
    logs: Vec<MetadataIndex>,
    snapshots: Vec<MetadataIndex>,
    temporary: Vec<PathBuf>,
}

impl Recoverer<'_> {
    fn run(&mut self, me: Member) -> Result<(SingleNode, Recovery), RecoverError> {
        self.io(self.directory, self.disk.make_dirs(self.directory))?;
        let parent = self.directory.parent().unwrap_or(Path::new(""));
        self.io(parent, self.disk.sync_dir(parent))?;
        let files = self.files()?;
        let node = match self.vote(&files)? {
            Some(vote) => self.go_on(&files, vote, me)?,
            None => self.begin(&files, me)?,
        };
        for path in &files.temporary {
            self.io(path, self.disk.unlink(path))?;
        }
        Ok((node, std::mem::take(&mut self.recovery)))
    }

    /// The first start, or one that never got as far as its vote.
    fn begin(&mut self, files: &Files, me: Member) -> Result<SingleNode, RecoverError> {
        let begun = files.snapshots.is_empty()
            && files.logs.iter().all(|first| first.0 == 1)
            && self.image_of_first_log(files)?.index().0 <= 1;
        if !begun {
            let path = self.directory.join("vote");
            return Err(damaged(&path, 0, "the vote is missing beside a log"));
        }
        self.recovery = Recovery {
            begun: true,
            ..Recovery::default()
        };
        let first = Entry {
            term: 1,
            index: MetadataIndex(1),
            payload: Payload::Membership(vec![me]),
        };
        let mut end = self.make_log(first.index)?;
        self.append(&mut end, &first)?;
        self.write_vote(1, me)?;
        let mut image = Image::default();
        image.apply(&first).expect("it is the first entry");
        Ok(self.node(me, image, end, vec![MetadataIndex(1)], Vec::new()))
    }

    fn image_of_first_log(&mut self, files: &Files) -> Result<Image, RecoverError> {
        if files.logs.is_empty() {
            return Ok(Image::default());
        }
        let (image, _) = self.replay(files, Image::default())?;
        Ok(image)
    }

    fn go_on(&mut self, files: &Files, vote: Vote, me: Member) -> Result<SingleNode, RecoverError> {
        let image = self.newest_snapshot(files)?;
        let (mut image, end) = self.replay(files, image)?;
        let Some(mut end) = end.filter(|end| end.next.0 == image.index().0 + 1) else {
            let reason = "the log ends before the snapshot, or is empty";
            return Err(damaged(self.directory, 0, reason));
        };
        if image.index().0 == 0 || image.term() + 1 < vote.term {
            let path = log_path(self.directory, end.first);
            let reason = "entries of later terms are missing";
            return Err(damaged(&path, end.position, reason));
        }
        let mut logs = files.logs.clone();
        if let Some(first) = logs.pop_if(|last| *last > end.first) {
            let path = log_path(self.directory, first);
            self.io(&path, self.disk.unlink(&path))?;
            self.io(self.directory, self.disk.sync_dir(self.directory))?;
        }
        // ORDER: what a killed process left unsynced is synced before a frame vouches for it.
        let path = log_path(self.directory, end.first);
        self.io(&path, self.disk.sync_data(&path))?;
        let term = image.term() + 1;
        self.write_vote(term, me)?;
        let first = Entry {
            term,
            index: end.next,
            payload: Payload::Blank,
        };
        self.append(&mut end, &first)?;
        image.apply(&first).expect("it is the next entry");
        Ok(self.node(me, image, end, logs, files.snapshots.clone()))
    }

    fn node(
        &self,
        me: Member,
        image: Image,
        end: LogEnd,
        logs: Vec<MetadataIndex>,
        snapshots: Vec<MetadataIndex>,
    ) -> SingleNode {
        let directory = self.directory.to_path_buf();
        let files = (logs, snapshots);
        SingleNode::new(directory, me, self.limits, image, end, files)
    }

    fn files(&self) -> Result<Files, RecoverError> {
        let mut files = Files::default();
        for entry in self.io(self.directory, self.disk.list(self.directory))? {
            match FileKind::of(&entry.name) {
                Some(FileKind::Vote) => files.vote = true,
                Some(FileKind::Log(first)) => files.logs.push(first),
                Some(FileKind::Snapshot(index)) => files.snapshots.push(index),
                Some(FileKind::Temporary) => files.temporary.push(self.directory.join(entry.name)),
                Some(FileKind::SpareVote) | None => {}
            }
        }
        files.logs.sort();
        files.snapshots.sort();
        Ok(files)
    }

    fn vote(&self, files: &Files) -> Result<Option<Vote>, RecoverError> {
        if !files.vote {
            return Ok(None);
        }
        let path = self.directory.join("vote");
        let bytes = self.read(&path)?;
        match Vote::decode(&bytes[..bytes.len().min(VOTE_BYTES)]) {
            Ok(vote) => Ok(Some(vote)),
            Err(bad) => Err(refuse(&path, bad, "the vote does not check")),
        }
    }

    /// The image of the newest snapshot; an older one only serves where the log behind it is still whole, which `replay`
    /// finds out.
    fn newest_snapshot(&mut self, files: &Files) -> Result<Image, RecoverError> {
        let mut refused = None;
        for index in files.snapshots.iter().rev() {
            match self.snapshot(*index) {
                Ok(image) => {
                    self.recovery.snapshot = Some(*index);
                    return Ok(image);
                }
                Err(error @ RecoverError::Damaged { .. }) => refused = refused.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        match refused {
            Some(error) if files.logs.first() != Some(&MetadataIndex(1)) => Err(error),
            _ => Ok(Image::default()),
        }
    }

    fn snapshot(&self, index: MetadataIndex) -> Result<Image, RecoverError> {
        let path = snapshot_path(self.directory, index);
        let bytes = self.read(&path)?;
        let (stated, payload) = decode_snapshot(&bytes)
            .map_err(|bad| refuse(&path, bad, "the snapshot does not check"))?;
        if stated != index {
            return Err(damaged(&path, 8, "the snapshot is of another index"));
        }
        let snapshot = Snapshot::decode(payload)
            .map_err(|error| damaged(&path, HEAD_BYTES as u64, &error.to_string()))?;
        Image::from_snapshot(&snapshot)
            .map_err(|error| damaged(&path, HEAD_BYTES as u64, &error.to_string()))
    }

    /// Applies the entries behind the image and finds the end of the log.
    fn replay(
        &mut self,
        files: &Files,
        mut image: Image,
    ) -> Result<(Image, Option<LogEnd>), RecoverError> {
        let behind = files
            .logs
            .partition_point(|first| first.0 <= image.index().0 + 1);
        let Some(from) = behind.checked_sub(1) else {
            return match files.logs.first() {
                Some(first) => Err(damaged(
                    &log_path(self.directory, *first),
                    0,
                    "entries before this file are missing",
                )),
                None if image.index().0 == 0 => Ok((image, None)),
                None => Err(damaged(
                    self.directory,
                    0,
                    "the log behind the snapshot is missing",
                )),
            };
        };
        let mut end = None;
        for (at, first) in files.logs.iter().enumerate().skip(from) {
            let is_last = at + 1 == files.logs.len();
            end = self.replay_file(*first, is_last, end, &mut image)?;
            if end.is_none() && !is_last {
                let path = log_path(self.directory, *first);
                return Err(damaged(
                    &path,
                    0,
                    "the file does not check, and others follow",
                ));
            }
        }
        Ok((image, end))
    }

    /// One log file. Without an end there is no file worth keeping: it was being made when a process ended.
    fn replay_file(
        &mut self,
        first: MetadataIndex,
        is_last: bool,
        before: Option<LogEnd>,
        image: &mut Image,
    ) -> Result<Option<LogEnd>, RecoverError> {
        let path = log_path(self.directory, first);
        let bytes = self.read(&path)?;
        let (head, head_crc) = match LogHead::decode(&bytes) {
            Ok(head) => head,
            Err(Bad::Broken) if is_last && Frame::find(&bytes).is_none() => {
                self.recovery.torn_bytes += bytes.len() as u64;
                return Ok(before);
            }
            Err(bad) => return Err(refuse(&path, bad, "the head does not check")),
        };
        let follows = before
            .as_ref()
            .is_none_or(|end| head.previous_crc == end.crc && end.next == first);
        if head.first != first || !follows {
            return Err(damaged(
                &path,
                0,
                "the file does not follow the one before it",
            ));
        }
        let mut end = LogEnd {
            first,
            next: first,
            position: BLOCK_BYTES as u64,
            crc: head_crc,
            bytes: bytes.len() as u64,
        };
        let mut behind = end.position;
        while let Some((at, frame)) = next_frame(&bytes, behind, &end) {
            if !frame.payload.is_empty() {
                self.replay_frame(&path, &frame, at, image)?;
                end.next = MetadataIndex(frame.index.0 + 1);
            }
            behind = at + frame.bytes() as u64;
            end.crc = frame.crc;
        }
        end.position = behind.next_multiple_of(BLOCK_BYTES as u64);
        self.judge_rest(&path, &bytes, behind, &end, is_last)?;
        Ok(Some(end))
    }

    fn replay_frame(
        &mut self,
        path: &Path,
        frame: &Frame<'_>,
        position: u64,
        image: &mut Image,
    ) -> Result<(), RecoverError> {
        if frame.index <= image.index() {
            return Ok(());
        }
        let aligned = frame.payload.to_vec();
        let entry =
            Entry::decode(&aligned).map_err(|error| damaged(path, position, &error.to_string()))?;
        if entry.index != frame.index {
            return Err(damaged(path, position, "an entry is of another index"));
        }
        image
            .apply(&entry)
            .map_err(|error| damaged(path, position, &error.to_string()))?;
        self.recovery.entries += 1;
        Ok(())
    }

    /// What lies behind the last good frame is zeros, a torn end, or damage. A torn end is zeroed, from the next block on.
    fn judge_rest(
        &mut self,
        path: &Path,
        bytes: &[u8],
        behind: u64,
        end: &LogEnd,
        is_last: bool,
    ) -> Result<(), RecoverError> {
        let rest = bytes.get(behind as usize..).unwrap_or_default();
        let mut later = Frame::decode(rest).map(|frame| (0, frame));
        let mut searched = 0;
        while let Some((at, frame)) = later.or_else(|| Frame::find(&rest[searched..])) {
            if frame.synced >= end.next {
                let reason = "an entry that was acknowledged does not check";
                return Err(damaged(path, behind, reason));
            }
            searched += at;
            later = None;
        }
        let torn = bytes.get(end.position as usize..).unwrap_or_default();
        let Some(last) = torn.iter().rposition(|byte| *byte != 0) else {
            return Ok(());
        };
        if !is_last {
            let reason = "a frame does not check, and other files follow";
            return Err(damaged(path, behind, reason));
        }
        let zeros = vec![0; (last + 1).next_multiple_of(BLOCK_BYTES)];
        self.recovery.torn_bytes += last as u64 + 1;
        self.io(path, self.disk.write(path, end.position, &zeros))?;
        self.io(path, self.disk.sync_data(path))
    }

    fn write_vote(&self, term: u64, me: Member) -> Result<(), RecoverError> {
        let candidate = me.id;
        let vote = Vote { term, candidate };
        let path = self.directory.join("vote");
        let replaced = self.disk.replace(&path, &vote.encode());
        replaced.map_err(|failed| RecoverError::Io(failed.path, failed.error))
    }

    /// Writes and syncs one entry, and gives the file its room.
    fn append(&self, end: &mut LogEnd, entry: &Entry) -> Result<(), RecoverError> {
        let path = log_path(self.directory, end.first);
        let synced = MetadataIndex(entry.index.0 - 1);
        let mut frame = Vec::new();
        end.crc = encode_frame(entry, synced, end.crc, &mut frame);
        pad(&mut frame);
        self.io(&path, self.disk.write(&path, end.position, &frame))?;
        end.position += frame.len() as u64;
        end.next = MetadataIndex(entry.index.0 + 1);
        end.bytes = end.bytes.max(end.position);
        let wanted = end.position + self.limits.room_bytes;
        if end.bytes < wanted {
            let zeros = vec![0; (wanted - end.bytes) as usize];
            // A full disk gives no room; appends then wait for it, and the node starts.
            if self.disk.write(&path, end.bytes, &zeros).is_ok() {
                end.bytes = wanted;
            }
        }
        self.io(&path, self.disk.sync_data(&path))
    }

    fn make_log(&self, first: MetadataIndex) -> Result<LogEnd, RecoverError> {
        let path = log_path(self.directory, first);
        let head = LogHead {
            first,
            previous_crc: 0,
        };
        let (bytes, crc) = head.encode();
        self.io(&path, self.disk.set_length(&path, 0))?;
        self.io(&path, self.disk.write(&path, 0, &bytes))?;
        self.io(&path, self.disk.sync_data(&path))?;
        self.io(self.directory, self.disk.sync_dir(self.directory))?;
        Ok(LogEnd {
            first,
            next: first,
            position: bytes.len() as u64,
            crc,
            bytes: bytes.len() as u64,
        })
    }

    /// A whole file. A block the device cannot read (one that was in flight when the power failed) reads as bytes that do not
    /// check.
    fn read(&self, path: &Path) -> Result<Vec<u8>, RecoverError> {
        let length = self.io(path, self.disk.length(path))?.unwrap_or(0);
        let mut bytes = vec![0; length as usize];
        if let Ok(count) = self.disk.read(path, 0, &mut bytes) {
            bytes.truncate(count);
            return Ok(bytes);
        }
        for (at, block) in bytes.chunks_mut(BLOCK_BYTES).enumerate() {
            let position = (at * BLOCK_BYTES) as u64;
            if self.disk.read(path, position, block).is_err() {
                block.fill(UNREADABLE);
            }
        }
        Ok(bytes)
    }

    fn io<T>(&self, path: &Path, result: io::Result<T>) -> Result<T, RecoverError> {
        result.map_err(|error| RecoverError::Io(path.to_path_buf(), error))
    }
}

/// The frame that follows: directly behind the last one, or at the next block.
fn next_frame<'a>(bytes: &'a [u8], behind: u64, end: &LogEnd) -> Option<(u64, Frame<'a>)> {
    [behind, behind.next_multiple_of(BLOCK_BYTES as u64)]
        .into_iter()
        .filter_map(|at| Some((at, Frame::decode(bytes.get(at as usize..)?)?)))
        .find(|(_, frame)| frame.index == end.next && frame.previous_crc == end.crc)
}

fn damaged(file: &Path, position: u64, reason: &str) -> RecoverError {
    RecoverError::Damaged {
        file: file.to_path_buf(),
        position,
        reason: reason.to_owned(),
    }
}

fn refuse(file: &Path, bad: Bad, reason: &str) -> RecoverError {
    match bad {
        Bad::Broken => damaged(file, 0, reason),
        Bad::Newer(version) => RecoverError::Newer {
            file: file.to_path_buf(),
            version,
        },
    }
}
