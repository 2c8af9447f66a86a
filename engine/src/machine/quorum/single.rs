//! A quorum of one: proposals become entries of a local log, committed when they are synced.
//!
//! Always: (1) one operation of the log is in flight at a time, and what is proposed meanwhile leaves together behind it;
//! (2) ORDER: frames written -> synced -> applied; a new log file and its name synced -> frames in it; snapshot synced under its
//! name -> files it covers unlinked; every write begins a block; (3) bytes go only into reserved room, so that a full disk makes proposals wait and breaks
//! nothing; (4) a failed write or sync is never retried.
//! The chores (snapshots, closing, unlinking) go beside the log, one operation at a time.

use super::format::{LogHead, encode_frame, encode_vouch, log_path, pad, snapshot_path};
use super::recover::Limits;
use super::{EncodedSnapshot, Quorum, QuorumEffect, Room};
use crate::machine::image::{Entry, Image, Member, Payload, Record};
use bytes::Bytes;
use millstream_storage::disk::{
    BLOCK_BYTES, Caching, DiskDone, DiskOp, DiskResult, FileSlot, OpId, OpenMode, Reservation,
    WriteSync,
};
use millstream_storage::ids::{MetadataIndex, NodeId, Now, Tick};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Slots from here on are the quorum's.
const SLOT_BASE: u32 = 1 << 30;
/// A log without new entries for so long is vouched for.
const QUIET_MS: u64 = 100;
/// How long to wait before room is asked for again.
const ROOM_RETRY_MS: u64 = 1000;

const ENOSPC: i32 = 28;
const EDQUOT: i32 = 122;

/// Where a log file ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LogEnd {
    /// The index of its first entry: its name.
    pub first: MetadataIndex,
    /// The index of the next entry.
    pub next: MetadataIndex,
    /// Where that goes.
    pub position: u64,
    /// The crc of the last frame.
    pub crc: u32,
    /// Bytes of the file: what lies behind `position` is room.
    pub bytes: u64,
}

/// What the log is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Its file is not open yet.
    Closed,
    Opening,
    Idle,
    Reserving {
        bytes: u64,
    },
    Writing,
    Syncing,
    /// A new file is being made; the steps left are in `roll`.
    Rolling,
    /// It has failed.
    Dead,
}

/// A quorum of one.
pub struct SingleNode {
    directory: PathBuf,
    me: Member,
    term: u64,
    recovered: Image,
    limits: Limits,

    stage: Stage,
    slot: FileSlot,
    next_slot: u32,
    end: LogEnd,
    synced: MetadataIndex,
    queue: Vec<Entry>,
    flying: Vec<Entry>,
    vouched: bool,
    quiet_since: Tick,
    full_until: Option<Tick>,
    /// Room that somebody waits for.
    wanted: u64,

    snapshot: Option<EncodedSnapshot>,
    snapshot_told: bool,
    /// It is due and has not come yet.
    snapshot_awaited: bool,
    snapshot_retry: Option<Tick>,
    snapshot_bytes: u64,
    unsnapshot_bytes: u64,
    roll: VecDeque<DiskOp>,
    rolled: Option<(FileSlot, LogEnd)>,
    chores: VecDeque<DiskOp>,
    logs: Vec<MetadataIndex>,
    snapshots: Vec<MetadataIndex>,

    next_op: u64,
    log_op: Option<OpId>,
    chore_op: Option<OpId>,
    effects: Vec<QuorumEffect>,
}

impl SingleNode {
    pub(super) fn new(
        directory: PathBuf,
        me: Member,
        limits: Limits,
        image: Image,
        end: LogEnd,
        (logs, snapshots): (Vec<MetadataIndex>, Vec<MetadataIndex>),
    ) -> Self {
        Self {
            directory,
            me,
            term: image.term(),
            limits,
            stage: Stage::Closed,
            slot: FileSlot(SLOT_BASE),
            next_slot: SLOT_BASE + 1,
            end,
            synced: image.index(),
            recovered: image,
            queue: Vec::new(),
            flying: Vec::new(),
            vouched: false,
            quiet_since: Tick(0),
            full_until: None,
            wanted: 0,
            snapshot: None,
            snapshot_told: false,
            snapshot_awaited: false,
            snapshot_retry: None,
            snapshot_bytes: 0,
            unsnapshot_bytes: end.position,
            roll: VecDeque::new(),
            rolled: None,
            chores: VecDeque::new(),
            logs,
            snapshots,
            next_op: 0,
            log_op: None,
            chore_op: None,
            effects: Vec::new(),
        }
    }

    fn op(&mut self, op: DiskOp) -> OpId {
        let id = OpId(self.next_op);
        self.next_op += 1;
        self.effects.push(QuorumEffect::Op(id, op));
        id
    }

    fn log_step(&mut self, stage: Stage, op: DiskOp) {
        self.stage = stage;
        self.log_op = Some(self.op(op));
    }

    fn fatal(&mut self, what: &str, errno: i32) {
        self.stage = Stage::Dead;
        let error = std::io::Error::from_raw_os_error(errno);
        self.effects.push(QuorumEffect::Fatal {
            reason: format!("{what} in {}: {error}", self.directory.display()),
        });
    }

    /// The next thing to do for the log, if it does nothing.
    fn drive(&mut self, now: Now) {
        self.full_until = self.full_until.filter(|until| now.tick < *until);
        match self.stage {
            Stage::Closed => {
                let open = DiskOp::Open {
                    slot: self.slot,
                    path: log_path(&self.directory, self.end.first).into(),
                    mode: OpenMode::ReadWrite,
                    caching: Caching::Buffered,
                };
                self.log_step(Stage::Opening, open);
            }
            // What has room is written though the disk is full: deletions, for instance.
            Stage::Idle if !self.queue.is_empty() && self.may_write() => self.write(),
            Stage::Idle if self.full_until.is_some() => {}
            Stage::Idle if self.snapshot.is_some() && self.chores.is_empty() => self.begin_roll(),
            Stage::Idle if self.room() < self.wanted.max(self.limits.room_bytes / 2) => {
                let missing = self.wanted.saturating_sub(self.room());
                self.reserve(missing.max(self.limits.room_bytes))
            }
            Stage::Idle if self.vouch_due(now) => self.vouch(),
            _ => {}
        }
    }

    fn room(&self) -> u64 {
        self.end.bytes.saturating_sub(self.end.position)
    }

    fn may_write(&self) -> bool {
        self.full_until.is_none() || self.queued_bytes() <= self.room()
    }

    /// What the proposals that wait take.
    fn queued_bytes(&self) -> u64 {
        if self.queue.is_empty() {
            return 0;
        }
        let mut frames = Vec::new();
        for entry in &self.queue {
            encode_frame(entry, self.synced, 0, &mut frames);
        }
        pad(&mut frames);
        frames.len() as u64
    }

    fn reserve(&mut self, bytes: u64) {
        let reserve = DiskOp::Reserve {
            slot: self.slot,
            position: self.end.bytes,
            bytes,
            reservation: Reservation::Unwritten,
        };
        self.log_step(Stage::Reserving { bytes }, reserve);
    }

    /// Everything that was proposed leaves as one write.
    fn write(&mut self) {
        let mut frames = Vec::new();
        let mut crc = self.end.crc;
        for entry in &self.queue {
            crc = encode_frame(entry, self.synced, crc, &mut frames);
        }
        pad(&mut frames);
        let bytes = frames.len() as u64;
        if bytes > self.room() {
            self.reserve(bytes + self.limits.room_bytes - self.room().min(self.limits.room_bytes));
            return;
        }
        let last = self.queue.last().expect("it was asked before");
        self.end.next = MetadataIndex(last.index.0 + 1);
        self.flying = std::mem::take(&mut self.queue);
        self.vouched = false;
        self.submit(frames, crc);
    }

    fn vouch_due(&self, now: Now) -> bool {
        let quiet = now.tick >= self.quiet_since.after_ms(QUIET_MS);
        !self.vouched && quiet && self.room() >= BLOCK_BYTES as u64
    }

    fn vouch(&mut self) {
        let mut frame = Vec::new();
        let crc = encode_vouch(self.synced, self.end.crc, &mut frame);
        pad(&mut frame);
        self.vouched = true;
        self.submit(frame, crc);
    }

    fn submit(&mut self, frames: Vec<u8>, crc: u32) {
        let position = self.end.position;
        self.end.position += frames.len() as u64;
        self.end.crc = crc;
        self.unsnapshot_bytes += frames.len() as u64;
        let write = DiskOp::Write {
            slot: self.slot,
            position,
            data: vec![Bytes::from(frames)],
            sync: WriteSync::None,
        };
        self.log_step(Stage::Writing, write);
    }

    fn log_done(&mut self, now: Now, result: DiskResult) {
        let failed = match result {
            DiskResult::Failed(error) => Some(error.errno),
            _ => None,
        };
        match (self.stage, failed) {
            (Stage::Reserving { .. }, Some(ENOSPC | EDQUOT)) => {
                self.full_until = Some(now.tick.after_ms(ROOM_RETRY_MS));
                self.wanted = 0;
                self.stage = Stage::Idle;
            }
            (Stage::Rolling, Some(ENOSPC | EDQUOT)) => self.give_up_roll(now),
            (Stage::Dead, _) => {}
            (_, Some(errno)) => self.fatal("an operation on the log failed", errno),
            (Stage::Reserving { bytes }, None) => {
                self.end.bytes += bytes;
                self.full_until = None;
                self.wanted = 0;
                self.stage = Stage::Idle;
            }
            (Stage::Writing, None) => {
                let slot = self.slot;
                self.log_step(Stage::Syncing, DiskOp::SyncData { slot });
                return;
            }
            (Stage::Syncing, None) => self.committed(now),
            (Stage::Rolling, None) => {
                self.roll_on();
                return;
            }
            (Stage::Opening, None) => self.stage = Stage::Idle,
            (Stage::Closed | Stage::Idle, None) => unreachable!("nothing was in flight"),
        }
        self.drive(now);
    }

    fn committed(&mut self, now: Now) {
        self.stage = Stage::Idle;
        if !self.flying.is_empty() {
            self.quiet_since = now.tick;
        }
        for entry in std::mem::take(&mut self.flying) {
            self.synced = entry.index;
            self.effects.push(QuorumEffect::Applied(entry));
        }
        let due = self
            .limits
            .snapshot_after_bytes
            .max(self.snapshot_bytes * 2);
        let may_retry = self.snapshot_retry.is_none_or(|retry| now.tick >= retry);
        if self.unsnapshot_bytes > due && !self.snapshot_told && may_retry {
            self.snapshot_told = true;
            self.snapshot_awaited = true;
            self.effects.push(QuorumEffect::SnapshotDue);
        }
    }

    /// The entries behind a snapshot go into a file of their own, so that those before it can be unlinked whole.
    fn begin_roll(&mut self) {
        let slot = FileSlot(self.next_slot);
        self.next_slot += 1;
        let first = self.end.next;
        let path: Arc<Path> = log_path(&self.directory, first).into();
        let head = LogHead {
            first,
            previous_crc: self.end.crc,
        };
        let (bytes, crc) = head.encode();
        let end = LogEnd {
            first,
            next: first,
            position: bytes.len() as u64,
            crc,
            bytes: self.limits.room_bytes,
        };
        self.rolled = Some((slot, end));
        self.roll = VecDeque::from([
            DiskOp::Open {
                slot,
                path,
                mode: OpenMode::Create,
                caching: Caching::Buffered,
            },
            DiskOp::Reserve {
                slot,
                position: 0,
                bytes: self.limits.room_bytes,
                reservation: Reservation::Unwritten,
            },
            DiskOp::Write {
                slot,
                position: 0,
                data: vec![Bytes::from(bytes)],
                sync: WriteSync::None,
            },
            DiskOp::SyncData { slot },
            DiskOp::SyncDir {
                path: self.directory.as_path().into(),
            },
        ]);
        self.roll_on();
    }

    fn roll_on(&mut self) {
        if let Some(op) = self.roll.pop_front() {
            self.log_step(Stage::Rolling, op);
            return;
        }
        self.stage = Stage::Idle;
        let (slot, end) = self.rolled.take().expect("a roll has a new file");
        let old = std::mem::replace(&mut self.slot, slot);
        self.end = end;
        self.vouched = true;
        self.logs.push(end.first);
        self.chores.push_back(DiskOp::Close { slot: old });
        self.write_snapshot();
        self.do_chores();
    }

    /// No room for a new file: the old one goes on, and the snapshot is taken another time.
    fn give_up_roll(&mut self, now: Now) {
        self.stage = Stage::Idle;
        let opened = self.roll.len() < 4;
        self.roll.clear();
        if let Some((slot, end)) = self.rolled.take() {
            let path = log_path(&self.directory, end.first).into();
            let close = opened.then_some(DiskOp::Close { slot });
            self.chores.extend(close);
            self.chores.push_back(DiskOp::Unlink { path });
        }
        self.give_up_snapshot(now);
        self.do_chores();
    }

    fn give_up_snapshot(&mut self, now: Now) {
        self.snapshot = None;
        self.snapshot_told = false;
        self.snapshot_retry = Some(now.tick.after_ms(10 * ROOM_RETRY_MS));
    }

    fn write_snapshot(&mut self) {
        let snapshot = self.snapshot.take().expect("a roll is for a snapshot");
        self.snapshot_bytes = snapshot.bytes.len() as u64;
        self.unsnapshot_bytes = 0;
        let slot = FileSlot(self.next_slot);
        self.next_slot += 1;
        let path: Arc<Path> = snapshot_path(&self.directory, snapshot.index).into();
        let temporary: Arc<Path> = path.with_extension("tmp").into();
        self.chores.extend([
            DiskOp::Open {
                slot,
                path: temporary.clone(),
                mode: OpenMode::Create,
                caching: Caching::Buffered,
            },
            DiskOp::Reserve {
                slot,
                position: 0,
                bytes: snapshot.bytes.len() as u64,
                reservation: Reservation::Unwritten,
            },
            DiskOp::Write {
                slot,
                position: 0,
                data: vec![snapshot.bytes],
                sync: WriteSync::None,
            },
            DiskOp::SyncData { slot },
            DiskOp::Close { slot },
            DiskOp::Rename {
                from: temporary,
                to: path,
            },
            DiskOp::SyncDir {
                path: self.directory.as_path().into(),
            },
        ]);
        self.unlink_covered(snapshot.index);
    }

    /// Snapshots before the new one, and log files all of whose entries it covers.
    fn unlink_covered(&mut self, index: MetadataIndex) {
        while self.logs.len() > 1 && self.logs[1].0 <= index.0 + 1 {
            let path = log_path(&self.directory, self.logs.remove(0)).into();
            self.chores.push_back(DiskOp::Unlink { path });
        }
        for old in std::mem::replace(&mut self.snapshots, vec![index]) {
            if old != index {
                let path = snapshot_path(&self.directory, old).into();
                self.chores.push_back(DiskOp::Unlink { path });
            }
        }
    }

    fn do_chores(&mut self) {
        if self.chore_op.is_none()
            && let Some(op) = self.chores.front().cloned()
        {
            self.chore_op = Some(self.op(op));
        }
    }

    fn chore_done(&mut self, now: Now, result: DiskResult) {
        let done = self.chores.pop_front();
        match (result, done) {
            (DiskResult::Failed(error), Some(DiskOp::Reserve { slot, .. }))
                if matches!(error.errno, ENOSPC | EDQUOT) =>
            {
                self.abandon_snapshot(now, slot);
            }
            (DiskResult::Failed(error), _) => {
                self.fatal("an operation on a snapshot failed", error.errno);
                return;
            }
            _ => {}
        }
        // ORDER: one snapshot after the other: a second one that came behind the roll for the first would roll to the file that is
        // the log already. Chores of a former one may end while it is awaited.
        let is_under_way = self.snapshot_awaited || self.snapshot.is_some();
        if self.chores.is_empty() && !is_under_way {
            self.snapshot_told = false;
        }
        self.do_chores();
        self.drive(now);
    }

    /// No room for the snapshot: what it would have replaced stays (and is counted again at the next start).
    fn abandon_snapshot(&mut self, now: Now, slot: FileSlot) {
        let temporary = self.chores.iter().find_map(|chore| match chore {
            DiskOp::Rename { from, .. } => Some(from.clone()),
            _ => None,
        });
        self.chores.clear();
        self.chores.push_back(DiskOp::Close { slot });
        let unlink = temporary.map(|path| DiskOp::Unlink { path });
        self.chores.extend(unlink);
        self.unsnapshot_bytes = self.snapshot_bytes.max(self.limits.snapshot_after_bytes) * 2;
        self.give_up_snapshot(now);
    }
}

impl Quorum for SingleNode {
    fn image(&self) -> &Image {
        &self.recovered
    }

    fn term(&self) -> u64 {
        self.term
    }

    fn leader(&self) -> Option<NodeId> {
        Some(self.me.node)
    }

    fn admit(&mut self, bytes: u64) -> Room {
        // A quarter stays for what frees space: deletions, registrations.
        let needed = self.queued_bytes() + bytes + self.limits.room_bytes / 4;
        if needed <= self.room() {
            return Room::Ready;
        }
        if self.full_until.is_some() {
            return Room::Full;
        }
        self.wanted = self.wanted.max(needed);
        Room::Coming
    }

    fn propose(&mut self, index: MetadataIndex, records: Vec<Record>) {
        let last = self.queue.last().or(self.flying.last());
        let next = last.map_or(self.synced, |entry| entry.index).0 + 1;
        assert_eq!(index.0, next, "a proposal for another index than the next");
        self.queue.push(Entry {
            term: self.term,
            index,
            payload: Payload::Records(records),
        });
    }

    fn snapshot(&mut self, snapshot: EncodedSnapshot) {
        assert!(
            snapshot.index <= self.synced,
            "a snapshot of what is not committed"
        );
        self.snapshot_awaited = false;
        self.snapshot = Some(snapshot);
    }

    fn done(&mut self, now: Now, done: DiskDone) {
        if self.log_op == Some(done.op) {
            self.log_op = None;
            self.log_done(now, done.result);
        } else {
            assert_eq!(
                self.chore_op,
                Some(done.op),
                "an operation that was not asked for"
            );
            self.chore_op = None;
            self.chore_done(now, done.result);
        }
    }

    fn turn(&mut self, now: Now) {
        self.drive(now);
    }

    fn deadline(&self) -> Option<Tick> {
        if self.stage == Stage::Closed {
            return Some(Tick(0));
        }
        if self.stage != Stage::Idle {
            return None;
        }
        let vouch = self.quiet_since.after_ms(QUIET_MS);
        let vouch = (!self.vouched && self.room() >= BLOCK_BYTES as u64).then_some(vouch);
        match self.full_until {
            Some(retry) => Some(retry),
            None => vouch,
        }
    }

    fn is_idle(&self) -> bool {
        let waits = !self.queue.is_empty() && self.full_until.is_none();
        let still = matches!(self.stage, Stage::Closed | Stage::Idle);
        still && !waits && self.flying.is_empty() && self.chore_op.is_none()
    }

    fn drain(&mut self, into: &mut Vec<QuorumEffect>) {
        into.append(&mut self.effects);
    }
}
