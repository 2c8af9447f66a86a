//! What is asked of the shards, at random, and noted in the reference.

use crate::config::{expires, is_cached, log_config, log_counts};
use crate::judge;
use crate::model::{Act, Life, ModelLog, Sent};
use crate::world::{World, tracing};
use bytes::Bytes;
use millstream_storage::batch::{BatchBuilder, BatchHead, BatchHeader, Stamp};
use millstream_storage::ids::{LogNumber, MetadataIndex, Offset, PartitionIndex, TopicId};
use millstream_storage::store::{OpenLog, Read, Store};

impl World {
    fn pick(&mut self) -> Option<LogNumber> {
        for log in self.logs.values_mut() {
            if self.shards[log.shard].log_end(log.number).is_none() {
                log.life = Life::Dropping;
            }
        }
        let live: Vec<LogNumber> = self
            .logs
            .values()
            .filter(|log| log.life != Life::Dropping)
            .map(|log| log.number)
            .collect();
        (!live.is_empty()).then(|| live[self.rng.index(live.len())])
    }

    fn batch(&mut self) -> Bytes {
        let mut builder = BatchBuilder::new(BatchHeader::default());
        let bytes = match self.rng.below(10) {
            0..6 => self.rng.range(1, 300),
            6..9 => self.rng.range(300, 6000),
            _ => self.rng.range(6000, 24_000),
        };
        for _ in 0..self.rng.range(1, 4) {
            self.next_record += 1;
            let mut value = vec![self.next_record as u8; bytes as usize];
            value.extend(self.next_record.to_le_bytes());
            builder.push(
                self.now.wall.0 + self.next_record as i64,
                None,
                Some(&value),
                &[],
            );
        }
        builder.finish()
    }

    pub fn append(&mut self) {
        let Some(number) = self.pick() else {
            return;
        };
        let batch = self.batch();
        if !self.store(number).admits(number, batch.len()) {
            return;
        }
        let raise = self.rng.percent(5);
        let log = self.logs.get_mut(&number).expect("picked");
        if raise {
            log.epoch.0 += 1;
        }
        let jump = if self.rng.percent(4) {
            self.rng.below(5) as i64
        } else {
            0
        };
        let stamp = Stamp {
            base_offset: Offset(log.end().0 + jump),
            leader_epoch: log.epoch,
            log_append_time: None,
        };
        let head = BatchHead::parse(&batch).expect("just built");
        let sent = Sent {
            base: stamp.base_offset,
            end: Offset(stamp.base_offset.0 + i64::from(head.last_offset_delta) + 1),
            epoch: log.epoch,
            crc: head.crc,
        };
        if tracing() {
            eprintln!("{} append {number} {sent:?}", self.steps);
        }
        log.acts.push(Act::Append(sent));
        let taken = self.shards[log.shard].append(self.now, number, &batch, stamp);
        taken.expect("it was admitted");
    }

    pub fn truncate(&mut self) {
        let Some(number) = self.pick() else {
            return;
        };
        let back = self.rng.index(4);
        let log = self.logs.get_mut(&number).expect("picked");
        let batches = log.batches();
        let keep = batches.len().saturating_sub(back);
        let to = match keep {
            0 => log.start,
            _ => batches[keep - 1].end,
        };
        if to < log.log_start_asked || to >= log.end() {
            return;
        }
        if tracing() {
            eprintln!("{} truncate {number} to {to}", self.steps);
        }
        log.acts.push(Act::Truncate(to));
        log.epoch.0 += 1;
        self.shards[log.shard].truncate(self.now, number, to);
    }

    /// A topic's partition that was never here, or was and returns; one that is here is replaced, on its shard or on another.
    fn open_with(&mut self, replaces: Option<LogNumber>) {
        let number = self.shards.iter().map(Store::next_log).max();
        let number = number.expect("a node has a shard");
        let shard = self.rng.index(self.shards.len());
        if tracing() {
            eprintln!(
                "{} open {number} on {shard} replaces {replaces:?}",
                self.steps
            );
        }
        let start = Offset(self.rng.below(3) as i64 * 100);
        let (topic, partition) = match replaces {
            Some(replaced) => (self.logs[&replaced].topic, self.logs[&replaced].partition),
            None => (
                TopicId(self.rng.range(6, 9).into()),
                PartitionIndex(self.rng.below(4) as i32),
            ),
        };
        let mut log = ModelLog::new(number, topic, partition, start);
        log.shard = shard;
        log.replaces = replaces;
        log.cached = is_cached(number);
        log.expires = expires(number);
        let open = OpenLog {
            log: number,
            topic: log.topic,
            partition: log.partition,
            metadata_index: MetadataIndex(number.0),
            start,
            replaces,
            config: log_config(self.seed, number),
        };
        let opened = self.shards[shard].open_log(self.now, open);
        opened.expect("a new number");
        // A number whose log left no trace at all is given out again.
        self.gone.remove(&number);
        self.logs.insert(number, log);
    }

    pub fn open(&mut self) {
        if self.logs.len() < log_counts(self.seed).1 {
            self.open_with(None);
        }
    }

    pub fn drop_one(&mut self) {
        if self.logs.len() < 3 {
            return;
        }
        let Some(number) = self.pick() else {
            return;
        };
        if tracing() {
            eprintln!("{} drop {number}", self.steps);
        }
        self.drop_log(number);
    }

    pub fn replace(&mut self) {
        let Some(number) = self.pick() else {
            return;
        };
        let replaced = self.logs.values().any(|log| log.replaces == Some(number));
        if !replaced && self.logs.len() < log_counts(self.seed).1 {
            self.open_with(Some(number));
        }
    }

    pub fn move_start(&mut self) {
        let Some(number) = self.pick() else {
            return;
        };
        let durable = self.store(number).durable(number).expect("it lives");
        let log = self.logs.get_mut(&number).expect("picked");
        let below: Vec<Offset> = log
            .batches()
            .iter()
            .map(|sent| sent.end)
            .filter(|end| *end <= durable)
            .collect();
        let chosen = below.get(self.rng.index(below.len().max(1))).copied();
        if log.expires {
            log.log_start_asked = log.log_start_asked.max(durable);
            self.shards[log.shard].set_high_watermark(number, durable);
            return;
        }
        if let Some(to) = chosen.filter(|to| *to > log.log_start_asked) {
            log.log_start_asked = to;
            let store = &mut self.shards[log.shard];
            store.set_high_watermark(number, durable);
            store.set_log_start(self.now, number, to);
        }
    }

    pub fn read(&mut self) {
        let Some(number) = self.pick() else {
            return;
        };
        let log = &self.logs[&number];
        let batches: Vec<Sent> = log
            .batches()
            .into_iter()
            .filter(|sent| sent.base >= log.log_start_asked)
            .collect();
        if batches.is_empty() {
            return;
        }
        let from = batches[self.rng.index(batches.len())].base;
        let max = self.rng.range(100, 60_000) as usize;
        let shard = log.shard;
        let read = self.shards[shard].read(self.now, number, from, max, Offset(i64::MAX), true);
        match read {
            Read::Ready { data, end } => self.shown(number, Some(from), &data, end),
            Read::Wait(ticket) => {
                self.reads.insert((shard, ticket.0), number);
            }
            Read::OutOfRange if self.log_end(number).is_none() => {}
            Read::Damaged if self.disk.has_failed() => {}
            other => self.fail(&format!("log {number} from {from}: {other:?}")),
        }
    }

    /// Whole batches, each as it was sent.
    pub fn shown(&self, number: LogNumber, from: Option<Offset>, data: &[Bytes], end: Offset) {
        let Some(log) = self.logs.get(&number) else {
            return;
        };
        let sent = log.batches();
        let found = judge::heads(&data.concat());
        if let Some(from) = from
            && found.first().is_some_and(|first| first.base != from)
        {
            self.fail(&format!("log {number}: asked for {from}, got {found:?}"));
        }
        for batch in &found {
            if !sent.contains(batch) {
                self.fail(&format!(
                    "log {number}: shows {batch:?}, which was not sent"
                ));
            }
        }
        if let Some(last) = found.last()
            && last.end != end
        {
            self.fail(&format!(
                "log {number}: says it ends at {end}, ends at {}",
                last.end
            ));
        }
    }
}
