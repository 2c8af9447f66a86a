//! The end of one log: the walk through its segments, the verdict on it, and what the store begins with.
//!
//! Always: (1) what is accepted is unbroken from the synced end on; (2) a range that cannot be read is told, and the log goes
//! on behind it; (3) files are only listed here for removal, which follows the verdict.

use super::images::is_behind;
use super::pieces::Piece;
use super::replay::Replayed;
use super::segments::{Found, Segments, behind};
use super::types::{Finding, PlacedHead, RecoveredLog, RecoveryError, Report, Severity, Unflushed};
use super::verdict::Said;
use crate::batch::BatchHead;
use crate::disk::BLOCK_BYTES;
use crate::format::{DamagedRange, Entry, Image, Place, Producers, ProducersFile, SegmentState};
use crate::format::{SegmentFile, segment_file, spare_file, successor_file};
use crate::ids::{LogNumber, Offset};
use bytes::Bytes;
use std::path::{Path, PathBuf};

/// BOUND: a `.producers` file is not read beyond this.
const PRODUCERS_BYTES_MAX: u64 = 256 << 20;

/// A file to remove or to rename once the verdict is durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Tidy {
    /// Nothing of the log is in it.
    Unlink(PathBuf),
    /// Batches that no chain reaches.
    Aside(PathBuf, PathBuf),
}

/// What follows the verdict.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// The shards start.
    Start,
    /// What is unflushed is written into the segments: blocks with synced bytes are written again.
    Flush,
}

/// A log with its verdict.
pub(super) struct Settled {
    pub(super) log: RecoveredLog,
    /// For the first windows of the new run.
    pub(super) verdict: Vec<Said>,
    pub(super) tidy: Vec<Tidy>,
}

/// One log being settled.
pub(super) struct Settling<'a, 'r> {
    log: Replayed,
    segments: Segments<'a>,
    report: &'r mut Report,
    heads: Vec<PlacedHead>,
    unflushed: Vec<Piece>,
    tail: Bytes,
    /// There are batches behind the end that are not part of the log: a `truncate` says so to the next start.
    stale_behind: bool,
    /// The length of a file that goes when the node runs.
    spare_bytes: u64,
}

impl<'a, 'r> Settling<'a, 'r> {
    pub(super) fn new(log: Replayed, segments: Segments<'a>, report: &'r mut Report) -> Self {
        Settling {
            log,
            segments,
            report,
            heads: Vec::new(),
            unflushed: Vec::new(),
            tail: Bytes::new(),
            stale_behind: false,
            spare_bytes: 0,
        }
    }

    pub(super) fn settle(mut self, next: Next) -> Result<Settled, RecoveryError> {
        self.restore_last_block()?;
        let reached = self.walk_on()?;
        self.conclude(reached);
        self.weigh_gaps(reached)?;
        self.check_segments()?;
        let producers = self.producers()?;
        self.survey(producers.is_some())?;
        let tidy = self.tidy()?;
        self.read_tail()?;
        Ok(self.hand_over(producers, tidy, next))
    }

    fn number(&self) -> LogNumber {
        self.log.state.log
    }

    fn tell(&mut self, severity: Severity, segment: Offset, position: u64, message: String) {
        self.report.findings.push(Finding {
            severity,
            path: self.segments.path(segment),
            position,
            log: Some(self.log.state.log),
            message,
        });
    }

    /// The block of the synced end may have been in flight again: it is written back where it does not read as it must.
    fn restore_last_block(&mut self) -> Result<(), RecoveryError> {
        let synced = self.log.state.synced_end;
        let block = synced.position - synced.position % BLOCK_BYTES as u64;
        if block == synced.position {
            return Ok(());
        }
        let image = self.log.images.of(synced.segment, block);
        let held = self.log.pieces.last_block(&synced, image);
        let wanted = (synced.position - block) as usize;
        let found = self.segments.bytes(synced.segment, block, wanted)?;
        let mut bytes = match (held, found) {
            (Some(held), found) if found != Some(&held[..]) => held,
            (None, None) => return self.lose_last_block(&synced),
            _ => return Ok(()),
        };
        // The whole block: a part of one that cannot be read cannot be written either.
        bytes.resize(BLOCK_BYTES, 0);
        self.segments.write(synced.segment, block, &bytes)?;
        let message = "the last block did not read and is written back from the journal";
        self.tell(Severity::Repaired, synced.segment, block, message.into());
        Ok(())
    }

    /// The last block does not read, and nothing in the journal brings it back.
    fn lose_last_block(&mut self, synced: &Place) -> Result<(), RecoveryError> {
        let from = self.beginning(synced.segment);
        let from = self.readable_until(&from, synced)?;
        self.damage(DamagedRange { from, to: *synced });
        Ok(())
    }

    /// From the synced end on, over blocks that the journal brings back where the walk stops at them: an extent was synced, its
    /// mark was in no window yet, and the next one was writing its last block again.
    fn walk_on(&mut self) -> Result<Place, RecoveryError> {
        let mut at = self.walk(self.log.state.synced_end)?;
        for (image, bytes) in self.log.images.behind(&at) {
            if !is_behind(&image, &at) || !self.restore_block(&image, &bytes, &at)? {
                continue;
            }
            let reached = self.walk(at)?;
            if reached.offset > at.offset {
                let message = "a last block did not read and is written back from the journal";
                let (segment, position) = (image.segment, image.position);
                self.tell(Severity::Repaired, segment, position, message.into());
            }
            at = reached;
        }
        Ok(at)
    }

    /// Writes a block back where it differs from its image, but for an image that begins with other bytes than the walk has passed. Where
    /// the extent that ends in it was not synced, this is one more block of it that landed.
    fn restore_block(
        &mut self,
        image: &Image,
        bytes: &[u8],
        walked: &Place,
    ) -> Result<bool, RecoveryError> {
        let block_end = image.position + BLOCK_BYTES as u64;
        let length = self.segments.length(image.segment);
        if length.is_none_or(|length| length < block_end) {
            return Ok(false);
        }
        let found = self
            .segments
            .bytes(image.segment, image.position, bytes.len())?;
        let passed = match walked.segment == image.segment {
            true => walked.position.saturating_sub(image.position) as usize,
            false => 0,
        };
        let another = |found: &[u8]| found[..passed] != bytes[..passed];
        if found == Some(bytes) || found.is_some_and(another) {
            return Ok(false);
        }
        let mut block = bytes.to_vec();
        block.resize(BLOCK_BYTES, 0);
        self.segments.write(image.segment, image.position, &block)?;
        Ok(true)
    }

    /// As far as batches go on without a break.
    fn walk(&mut self, mut at: Place) -> Result<Place, RecoveryError> {
        loop {
            let below_end = at.offset < self.log.state.durable_end.offset;
            if !below_end && self.log.state.barred {
                return Ok(at);
            }
            if let Some(next) = self.step(&at)? {
                at = next;
                continue;
            }
            let Some(rolled) = self.roll(&at)? else {
                return Ok(at);
            };
            match self.step(&rolled)? {
                Some(next) => at = next,
                None => return Ok(at),
            }
        }
    }

    /// The place behind the batch here, if it is the log's.
    fn step(&mut self, at: &Place) -> Result<Option<Place>, RecoveryError> {
        let (found, bytes) = self.segments.batch(at.segment, at.position)?;
        let Found::Batch(head) = found else {
            return Ok(None);
        };
        let journaled = self.log.pieces.at(at.segment, at.position);
        let same = journaled.iter().zip(bytes).all(|(a, b)| a == b);
        let epoch = head.leader_epoch;
        let fits = head.base_offset >= at.offset
            && epoch == self.log.epoch_at(head.base_offset)
            && epoch == self.log.epoch_at(head.last_offset());
        Ok((same && fits).then(|| behind(at, &head)))
    }

    /// The beginning of the next segment, if the log goes on there.
    fn roll(&mut self, at: &Place) -> Result<Option<Place>, RecoveryError> {
        let next = Place { position: 0, ..*at };
        let journaled = self
            .log
            .pieces
            .iter()
            .find(|piece| piece.start.offset == at.offset && piece.start.segment > at.segment);
        if let Some(piece) = journaled {
            let segment = piece.start.segment;
            return Ok(Some(Place { segment, ..next }));
        }
        if self.segments.head(at.segment, at.position)? != Found::Nothing {
            return Ok(None);
        }
        let segment = self.segments.after(at.segment);
        let segment = segment.filter(|base| self.continues(at, *base));
        Ok(segment.map(|segment| Place { segment, ..next }))
    }

    /// Whether a segment can be the next one behind a place.
    fn continues(&self, at: &Place, base: Offset) -> bool {
        let sealed = |segment: &SegmentState| {
            segment.base == at.segment && segment.bytes == at.position && segment.bytes > 0
        };
        let state = &self.log.state;
        let newest = state.segments.last().map(|segment| segment.base);
        base == at.offset
            || (base > at.offset && state.purged > at.offset)
            || (base > at.offset && newest != Some(at.segment) && state.segments.iter().any(sealed))
    }

    /// The two ends, from how far the walk came.
    fn conclude(&mut self, reached: Place) {
        let state = &mut self.log.state;
        let walked_from = state.synced_end.offset.max(state.durable_end.offset);
        state.synced_end = reached;
        if reached.offset >= state.durable_end.offset {
            if reached.offset > walked_from {
                self.report.walked_offsets += (reached.offset.0 - walked_from.0) as u64;
            }
            state.durable_end = reached;
        }
        self.unflushed = self.log.pieces.behind(&reached);
    }

    /// What missing windows should have told is in the segments, or it is damage.
    fn weigh_gaps(&mut self, reached: Place) -> Result<(), RecoveryError> {
        let mut open = false;
        for gap in std::mem::take(&mut self.log.gaps) {
            let from = match gap.from.offset >= reached.offset {
                true => gap.from,
                false => self.readable_until(&gap.from, &gap.to)?,
            };
            if from.offset >= gap.to.offset {
                continue;
            }
            open |= gap.to.offset > reached.offset;
            self.damage(DamagedRange { from, to: gap.to });
        }
        match open {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// How far batches check between two places.
    fn readable_until(&mut self, from: &Place, to: &Place) -> Result<Place, RecoveryError> {
        let mut at = *from;
        while at.offset < to.offset {
            if let Some(next) = self.above(&at) {
                at = next;
                continue;
            }
            let (found, _) = self.segments.batch(at.segment, at.position)?;
            match found {
                Found::Batch(head) if head.base_offset >= at.offset => at = behind(&at, &head),
                Found::Nothing => match self.segments.after(at.segment) {
                    Some(segment) if segment == at.offset => {
                        at = Place {
                            segment,
                            position: 0,
                            ..at
                        }
                    }
                    _ => break,
                },
                _ => break,
            }
        }
        Ok(at)
    }

    /// The beginning of the next segment, where this one lies wholly below the log start: it may have been cut anywhere.
    fn above(&self, at: &Place) -> Option<Place> {
        let next = self.segments.after(at.segment)?;
        (next <= self.log.state.log_start).then(|| self.beginning(next))
    }

    /// Below the log start nothing is damage: segments there may be gone.
    fn damage(&mut self, range: DamagedRange) {
        if range.to.offset <= self.log.state.log_start {
            return;
        }
        let known = &mut self.log.state.damage;
        let covered = |old: &DamagedRange| {
            old.from.offset <= range.from.offset && range.to.offset <= old.to.offset
        };
        if known.iter().any(covered) {
            return;
        }
        known.push(range);
        known.sort_by_key(|range| range.from.offset);
        self.log.state.suspect = true;
        let message = format!(
            "offsets {} to {} cannot be read",
            range.from.offset, range.to.offset
        );
        let (segment, position) = (range.from.segment, range.from.position);
        self.tell(Severity::Damage, segment, position, message);
    }

    /// Writes everything unflushed into the segments, so that the log is complete in them (but for damage). Not synced.
    pub(super) fn flush(&mut self) -> Result<(), RecoveryError> {
        for piece in std::mem::take(&mut self.unflushed) {
            let start = piece.start;
            self.segments
                .write(start.segment, start.position, &piece.bytes)?;
            self.segments.end_at(start.segment, piece.end.position)?;
        }
        self.log.state.synced_end = self.log.state.durable_end;
        Ok(())
    }

    /// Segments that the checkpoint lists are there, and as long as it says.
    fn check_segments(&mut self) -> Result<(), RecoveryError> {
        let state = &self.log.state;
        let known = self.log.known;
        let mut listed: Vec<(SegmentState, Place)> = Vec::new();
        for pair in state.segments.windows(2) {
            let next = self.beginning(pair[1].base);
            listed.push((pair[0], next));
        }
        if let Some(last) = state.segments.last() {
            listed.push((*last, known));
        }
        for (segment, end) in listed {
            let above_start = end.offset > self.log.state.log_start;
            let length = self.segments.length(segment.base).unwrap_or(0);
            if above_start && length < segment.bytes {
                let from = self.beginning(segment.base);
                let reached = self.readable_until(&from, &end)?;
                if reached.offset < end.offset {
                    self.damage(DamagedRange {
                        from: reached,
                        to: end,
                    });
                }
            }
        }
        self.make_last()
    }

    /// The segment that the log goes on in is gone: it goes on in an empty file of that name.
    fn make_last(&mut self) -> Result<(), RecoveryError> {
        let last = self.log.state.synced_end;
        match last.position > 0 && self.segments.length(last.segment).is_none() {
            true => self.segments.make(last.segment),
            false => Ok(()),
        }
    }

    fn beginning(&self, segment: Offset) -> Place {
        Place {
            segment,
            position: 0,
            offset: segment,
            epoch: self.log.epoch_at(Offset(segment.0 - 1)),
        }
    }

    /// The settled producers, if they can be had.
    fn producers(&mut self) -> Result<Option<(Offset, Bytes)>, RecoveryError> {
        let offset = match &self.log.state.producers {
            Producers::Unknown => return Ok(None),
            Producers::Inline { offset, state, .. } => return Ok(Some((*offset, state.clone()))),
            Producers::File { offset, .. } => *offset,
        };
        let name = segment_file(offset, SegmentFile::Producers);
        let path = self.segments.dir().join(name);
        let content = self.segments.small_file(&path, PRODUCERS_BYTES_MAX)?;
        let content = content.unwrap_or_default();
        let message = match ProducersFile::decode(&content) {
            Ok(file) if (file.log, file.offset) == (self.number(), offset) => {
                return Ok(Some((offset, Bytes::copy_from_slice(file.state))));
            }
            Ok(_) => "belongs to another log or offset".to_owned(),
            Err(malformed) => malformed.to_string(),
        };
        self.report.findings.push(Finding {
            severity: Severity::Repaired,
            path,
            position: 0,
            log: Some(self.number()),
            message: format!("{message}: producers are built from the log start on"),
        });
        Ok(None)
    }

    /// Heads of batches and states of segments, from where they are needed to the end.
    fn survey(&mut self, settled: bool) -> Result<(), RecoveryError> {
        let known = self.survey_known();
        let mut at = match &self.log.state.producers {
            Producers::Inline { from, .. } | Producers::File { from, .. } if settled => *from,
            _ => self.first_place(),
        };
        if spot(&at) > spot(&known) {
            at = known;
        }
        let to = self.log.state.synced_end;
        while at.offset < to.offset && spot(&at) < spot(&to) {
            let damaged = self.log.state.damage.iter();
            let mut around = damaged
                .filter(|range| range.from.offset <= at.offset && at.offset < range.to.offset);
            if let Some(range) = around.next() {
                at = range.to;
                continue;
            }
            at = self.survey_step(at, &to)?;
        }
        let unflushed = std::mem::take(&mut self.unflushed);
        for piece in &unflushed {
            self.survey_piece(piece);
        }
        self.unflushed = unflushed;
        Ok(())
    }

    /// Up to where the states of segments are known; below the log start they do not matter, and the files may be gone though
    /// the checkpoint lists them.
    fn survey_known(&self) -> Place {
        let (known, marked) = (self.log.known, self.log.marked);
        let log_start = self.log.state.log_start;
        let below = |base: &Offset| *base <= log_start && *base <= marked.segment;
        match self.segments.bases().rfind(below) {
            Some(base) if base > known.segment => self.beginning(base),
            _ => known,
        }
    }

    /// Where the oldest segment begins that holds something above the log start.
    fn first_place(&self) -> Place {
        let state = &self.log.state;
        let known = self.survey_known();
        if known.segment <= state.log_start {
            return self.beginning(known.segment);
        }
        let listed = state.segments.iter().map(|segment| segment.base);
        let first = listed.rev().find(|base| *base <= state.log_start);
        let first = first.or(state.segments.first().map(|segment| segment.base));
        match first.filter(|base| *base < known.offset) {
            Some(base) => self.beginning(base),
            None => known,
        }
    }

    fn survey_step(&mut self, at: Place, to: &Place) -> Result<Place, RecoveryError> {
        let found = match self.log.sealed.get(&at.segment) {
            Some(end) if at.position >= *end => Found::Nothing,
            _ => self.segments.head(at.segment, at.position)?,
        };
        if let Found::Batch(head) = found
            && head.base_offset >= at.offset
            && head.end_offset() <= to.offset
        {
            self.note(&at, &head);
            return Ok(behind(&at, &head));
        }
        let next = self.segments.after(at.segment);
        let next = next.filter(|base| *base <= to.segment);
        if next.is_some()
            && let Some(above) = self.above(&at)
        {
            return Ok(above);
        }
        if let Some(base) = next
            && found == Found::Nothing
            && self.continues(&at, base)
        {
            return Ok(Place {
                segment: base,
                position: 0,
                ..at
            });
        }
        let onward = match next {
            Some(base) if base > at.offset => self.beginning(base),
            _ => *to,
        };
        self.damage(DamagedRange {
            from: at,
            to: onward,
        });
        Ok(onward)
    }

    fn survey_piece(&mut self, piece: &Piece) {
        let mut at = piece.start;
        let mut rest = &piece.bytes[..];
        while let Ok(head) = BatchHead::parse(rest)
            && head.bytes <= rest.len()
        {
            self.heads.push(PlacedHead {
                segment: at.segment,
                position: at.position,
                head,
            });
            rest = &rest[head.bytes..];
            at = behind(&at, &head);
        }
    }

    /// Takes a batch of a segment into the heads and the segment's state.
    fn note(&mut self, at: &Place, head: &BatchHead) {
        let placed = PlacedHead {
            segment: at.segment,
            position: at.position,
            head: *head,
        };
        self.heads.push(placed);
        note_segment(&mut self.log.state.segments, &placed);
    }

    /// Files that are not part of the log any more, or never were.
    fn tidy(&mut self) -> Result<Vec<Tidy>, RecoveryError> {
        let mut tidy = Vec::new();
        let state = &self.log.state;
        let (synced, end) = (state.synced_end, state.durable_end);
        // An image of bytes that did not come to be must not be written over those that come in their place: the `truncate` takes it.
        self.stale_behind = self.segments.head(end.segment, end.position)? != Found::Nothing
            || !self.log.images.behind(&end).is_empty();
        let bases: Vec<Offset> = self.segments.bases().collect();
        self.forget_gone(&bases);
        self.spare_bytes = self.tidy_spare(&mut tidy)?;
        let indexed = self.segments.indexed.iter();
        let orphans = indexed.filter(|base| !bases.contains(base));
        orphans.for_each(|base| self.unlink_index(*base, &mut tidy));
        for base in bases {
            let path = self.segments.path(base);
            let state = &self.log.state;
            // A segment that is still empty may have no file: the log goes on in it all the same.
            let next = self.segments.after(base).unwrap_or(synced.segment);
            let below = next.min(synced.segment) <= state.log_start && base < synced.segment;
            let listed = state.segments.iter().any(|segment| segment.base == base);
            let damaged = state
                .damage
                .iter()
                .any(|range| range.from.segment <= base && base <= range.to.segment);
            let used = listed || damaged || base == synced.segment;
            if below {
                self.log
                    .state
                    .segments
                    .retain(|segment| segment.base != base);
                self.unlink(base, &mut tidy);
                continue;
            }
            // One made ready before a truncation would stand in the way of what is flushed behind it.
            let mut pieces = self.unflushed.iter();
            let awaited = base == end.segment || pieces.any(|piece| piece.start.segment == base);
            if used || (base > synced.segment && awaited) {
                continue;
            }
            let explained = self.log.cuts.iter().any(|cut| *cut <= base);
            let found = self.segments.head(base, 0)?;
            self.stale_behind |= found != Found::Nothing;
            if explained || found == Found::Nothing {
                self.unlink(base, &mut tidy);
                continue;
            }
            self.unlink_index(base, &mut tidy);
            let aside = segment_file(base, SegmentFile::Aside);
            tidy.push(Tidy::Aside(path, self.segments.dir().join(aside)));
            let message = "no chain of batches reaches this file; it is set aside";
            let severity = match base < end.segment {
                true => Severity::Damage,
                false => Severity::Torn,
            };
            self.tell(severity, base, 0, message.into());
        }
        Ok(tidy)
    }

    /// What waited to be the next segment goes, when the node runs: to remove a large file takes long. Its length.
    fn tidy_spare(&self, tidy: &mut Vec<Tidy>) -> Result<u64, RecoveryError> {
        let strangers = &self.segments.strangers;
        let found = |name| strangers.iter().any(|stranger| stranger == Path::new(name));
        let [successor, spare] = [successor_file(), spare_file()];
        let at = |name| self.segments.dir().join(name);
        let name = match (found(successor), found(spare)) {
            (false, false) => return Ok(0),
            (false, true) => spare,
            (true, _) => {
                // A rename would take what is there in one go too.
                if found(spare) {
                    tidy.push(Tidy::Unlink(at(spare)));
                }
                tidy.push(Tidy::Aside(at(successor), at(spare)));
                successor
            }
        };
        Ok(self.segments.length_of(&at(name))?.max(1))
    }

    /// The part of the block that the next extent writes again.
    fn read_tail(&mut self) -> Result<(), RecoveryError> {
        let synced = self.log.state.synced_end;
        let bytes = (synced.position % BLOCK_BYTES as u64) as usize;
        let from = synced.position - bytes as u64;
        match self.segments.bytes(synced.segment, from, bytes)? {
            Some(tail) => self.tail = Bytes::copy_from_slice(tail),
            // They are told as damaged; what follows them in the block is written with zeros in their place.
            None if !self.unflushed.is_empty() => self.tail = vec![0; bytes].into(),
            None => {}
        }
        Ok(())
    }

    /// A checkpoint may list segments that went below the log start since.
    fn forget_gone(&mut self, bases: &[Offset]) {
        let state = &mut self.log.state;
        let listed = state.segments.iter().map(|segment| segment.base);
        let next: Vec<Offset> = listed.skip(1).chain([state.synced_end.segment]).collect();
        let mut next = next.into_iter();
        let log_start = state.log_start;
        state.segments.retain(|segment| {
            let next = next.next().expect("every segment has a next one");
            let below = next <= log_start && next > segment.base;
            !below || bases.contains(&segment.base)
        });
    }

    /// A segment and what was derived from it.
    fn unlink(&self, base: Offset, tidy: &mut Vec<Tidy>) {
        tidy.push(Tidy::Unlink(self.segments.path(base)));
        self.unlink_index(base, tidy);
    }

    fn unlink_index(&self, base: Offset, tidy: &mut Vec<Tidy>) {
        if !self.segments.indexed.contains(&base) {
            return;
        }
        for kind in [SegmentFile::Index, SegmentFile::Time] {
            let name = segment_file(base, kind);
            tidy.push(Tidy::Unlink(self.segments.dir().join(name)));
        }
    }

    fn hand_over(
        mut self,
        producers: Option<(Offset, Bytes)>,
        tidy: Vec<Tidy>,
        next: Next,
    ) -> Settled {
        let log = self.number();
        let state = &mut self.log.state;
        state
            .epochs
            .retain(|epoch| epoch.start <= state.durable_end.offset);
        let mut verdict = Vec::new();
        if state.synced_end.offset > self.log.marked.offset {
            let place = state.synced_end;
            verdict.push((Entry::Mark { log, place }, Bytes::new()));
        }
        if self.stale_behind {
            let place = state.durable_end;
            verdict.push((Entry::Truncate { log, place }, Bytes::new()));
        }
        if next == Next::Flush && !self.unflushed.is_empty() && !self.tail.is_empty() {
            let synced = state.synced_end;
            let image = Image {
                log,
                segment: synced.segment,
                position: synced.position - self.tail.len() as u64,
                bytes: self.tail.len() as u32,
            };
            verdict.push((Entry::Image(image), self.tail.clone()));
        }
        // A survey that was led around damage may have come by twice.
        self.heads
            .sort_by_key(|placed| (placed.segment, placed.position));
        self.heads
            .dedup_by_key(|placed| (placed.segment, placed.position));
        let state = self.log.state;
        let mut indexed = self.segments.indexed;
        indexed.retain(|base| state.segments.iter().any(|segment| segment.base == *base));
        let high_watermark = state.high_watermark.min(state.durable_end.offset);
        Settled {
            verdict,
            tidy,
            log: RecoveredLog {
                log,
                topic: state.topic,
                partition: state.partition,
                home: state.home,
                metadata_index: state.metadata_index,
                log_start: state.log_start,
                high_watermark: high_watermark.max(state.log_start),
                purged: state.purged,
                synced_end: state.synced_end,
                end: state.durable_end,
                epochs: state.epochs,
                segments: state.segments,
                indexed: indexed.into_iter().collect(),
                spare_bytes: self.spare_bytes,
                tail: self.tail,
                unflushed: self.unflushed.into_iter().map(Unflushed::from).collect(),
                damage: state.damage,
                suspect: state.suspect,
                producers,
                heads: self.heads,
            },
        }
    }
}

/// Where a place lies in the files.
fn spot(place: &Place) -> (Offset, u64) {
    (place.segment, place.position)
}

/// Takes a batch into the states of segments; ones that are known to hold it do not change.
pub(super) fn note_segment(segments: &mut Vec<SegmentState>, placed: &PlacedHead) {
    let index = segments.partition_point(|segment| segment.base < placed.segment);
    if segments
        .get(index)
        .is_none_or(|found| found.base != placed.segment)
    {
        segments.insert(
            index,
            SegmentState {
                base: placed.segment,
                bytes: 0,
                first_timestamp: -1,
                max_timestamp: -1,
            },
        );
    }
    let segment = &mut segments[index];
    if placed.position == 0 {
        segment.first_timestamp = placed.head.max_timestamp;
    }
    segment.bytes = segment
        .bytes
        .max(placed.position + placed.head.bytes as u64);
    segment.max_timestamp = segment.max_timestamp.max(placed.head.max_timestamp);
}
