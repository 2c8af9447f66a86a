//! The naive reference: what was done to each log, in order, and which of it must have survived.

use millstream_storage::ids::{LeaderEpoch, LogNumber, Offset, PartitionIndex, TopicId};

/// A batch as it was sent: where, under which epoch, and its CRC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    pub base: Offset,
    pub end: Offset,
    pub epoch: LeaderEpoch,
    pub crc: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    Append(Sent),
    Truncate(Offset),
}

/// Whether a log must, may, or must not be there after a crash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// Its opening may not be durable yet.
    Opening,
    /// Something of it was told as durable.
    Live,
    /// It was dropped; that may not be durable yet.
    Dropping,
}

/// One log.
#[derive(Clone, Debug)]
pub struct ModelLog {
    pub number: LogNumber,
    /// The shard that has it, in this life of the process.
    pub shard: usize,
    pub topic: TopicId,
    pub partition: PartitionIndex,
    pub start: Offset,
    pub life: Life,
    /// The batches that must be there unless a later act took them.
    pub settled: Vec<Sent>,
    /// What followed, in order; any beginning of it may have survived.
    pub acts: Vec<Act>,
    pub log_start_told: Offset,
    pub log_start_asked: Offset,
    pub epoch: LeaderEpoch,
    pub replaces: Option<LogNumber>,
    /// Appends are acknowledged from memory.
    pub cached: bool,
    /// The durable end last seen, where appends are acknowledged from memory.
    pub durable_seen: Offset,
    /// Segments go by themselves below the high watermark.
    pub expires: bool,
}

fn apply(batches: &mut Vec<Sent>, act: &Act) {
    match act {
        Act::Append(sent) => batches.push(*sent),
        Act::Truncate(to) => batches.retain(|sent| sent.end <= *to),
    }
}

impl ModelLog {
    pub fn new(
        number: LogNumber,
        topic: TopicId,
        partition: PartitionIndex,
        start: Offset,
    ) -> ModelLog {
        ModelLog {
            number,
            shard: 0,
            topic,
            partition,
            start,
            life: Life::Opening,
            settled: Vec::new(),
            acts: Vec::new(),
            log_start_told: start,
            log_start_asked: start,
            epoch: LeaderEpoch(0),
            replaces: None,
            cached: false,
            durable_seen: start,
            expires: false,
        }
    }

    /// Up to where producers are settled: the state that a checkpoint keeps stands for an offset.
    pub fn settled_end(&self) -> Offset {
        let settled = self.settled.last().map_or(self.start, |sent| sent.end);
        settled.min(self.end())
    }

    /// All batches, as of the last act.
    pub fn batches(&self) -> Vec<Sent> {
        let mut batches = self.settled.clone();
        self.acts.iter().for_each(|act| apply(&mut batches, act));
        batches
    }

    pub fn end(&self) -> Offset {
        self.batches().last().map_or(self.start, |sent| sent.end)
    }

    /// Everything below `end` is durable: the acts up to the append that ends there have survived.
    pub fn durable(&mut self, end: Offset) {
        self.life = if self.life == Life::Opening {
            Life::Live
        } else {
            self.life
        };
        let reaches = |act: &Act| matches!(act, Act::Append(sent) if sent.end == end);
        // The newest append that ends there is the one that still stands.
        if let Some(index) = self.acts.iter().rposition(reaches) {
            let later = self.acts.split_off(index + 1);
            for act in std::mem::replace(&mut self.acts, later) {
                apply(&mut self.settled, &act);
            }
            return;
        }
        // A truncation was durable: its place is the end of what was settled before.
        let cut = |act: &Act| matches!(act, Act::Truncate(to) if *to == end);
        if let Some(index) = self.acts.iter().position(cut) {
            let later = self.acts.split_off(index + 1);
            for act in std::mem::replace(&mut self.acts, later) {
                apply(&mut self.settled, &act);
            }
        }
    }

    /// Checks what a crash left, above the log start it left. Takes it as the new beginning.
    pub fn survives(
        &mut self,
        found: &[Sent],
        log_start: Offset,
        end: Offset,
    ) -> Result<(), String> {
        if log_start < self.log_start_told || log_start > self.log_start_asked {
            return Err(format!(
                "log {}: log start {log_start}, told {}, asked {}",
                self.number, self.log_start_told, self.log_start_asked
            ));
        }
        let mut batches = self.settled.clone();
        let shown = |batches: &[Sent]| -> Vec<Sent> {
            batches
                .iter()
                .copied()
                .filter(|sent| sent.end > log_start)
                .collect()
        };
        let start = self.start;
        let same = |batches: &[Sent]| {
            let ends = batches.last().map_or(start, |sent| sent.end);
            shown(batches) == found && (ends == end || found.is_empty())
        };
        let mut acts = self.acts.iter();
        let survived = loop {
            if same(&batches) {
                break true;
            }
            let Some(act) = acts.next() else {
                break false;
            };
            apply(&mut batches, act);
        };
        if survived {
            self.settled = batches;
            self.acts.clear();
            return Ok(());
        }
        Err(format!(
            "log {}: found {found:?} from {log_start} to {end}; settled {:?}, then {:?}",
            self.number, self.settled, self.acts
        ))
    }
}
