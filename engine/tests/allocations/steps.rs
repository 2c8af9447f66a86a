//! Steps of the hot path, again and again: an append with its answer, a letter with its receipt.

use millstream_engine::machine::partition::producers::{BatchHead, BatchKind};
use millstream_engine::machine::partition::{
    Acks, Append, Effect, Leadership, LogState, Partition, PartitionConfig, Role, Ticket,
};
use millstream_engine::shard::rings::{Mailbox, mailboxes};
use millstream_storage::ids::{
    LeaderEpoch, NodeId, Now, Offset, ProducerEpoch, ProducerId, ShardIndex,
};

/// A leader that is alone, and what it said last.
pub struct Appending {
    partition: Partition,
    effects: Vec<Effect>,
    producer: i64,
    records: i32,
    ticket: u64,
    end: i64,
}

impl Appending {
    /// Batches of so many records of a producer; of none with -1.
    pub fn new(producer: i64, records: i32) -> Appending {
        let log = LogState::empty(Offset(0));
        let mut partition = Partition::new(NodeId(1), PartitionConfig::default(), log);
        let leadership = Leadership {
            leader_epoch: LeaderEpoch(1),
            partition_epoch: 0,
            isr: [NodeId(1)].into(),
            joining: Default::default(),
            min_isr: 1,
            recovering: None,
        };
        partition.role(Role::Leader(leadership), &mut Vec::new());
        Appending {
            partition,
            effects: Vec::with_capacity(16),
            producer,
            records,
            ticket: 0,
            end: 0,
        }
    }

    /// An append and the moment it is durable, which answers it; how many effects that has.
    pub fn step(&mut self) -> usize {
        let sequence = match self.producer {
            -1 => -1,
            _ => (self.end & 0x7fff_ffff) as i32,
        };
        let append = Append {
            ticket: Ticket(self.ticket),
            head: BatchHead {
                base_offset: Offset(0),
                last_offset_delta: self.records - 1,
                leader_epoch: LeaderEpoch(0),
                max_timestamp: 5,
                producer: ProducerId(self.producer),
                producer_epoch: ProducerEpoch(if self.producer < 0 { -1 } else { 0 }),
                base_sequence: sequence,
                kind: BatchKind::Plain,
            },
            acks: Acks::All,
            timeout_ms: 1_000,
        };
        self.ticket += 1;
        self.end += i64::from(self.records);
        let effects = &mut self.effects;
        self.partition.append(Now::default(), append, effects);
        self.partition.durable(Offset(self.end), effects);
        let count = effects.len();
        effects.clear();
        count
    }
}

/// Two shards that write to each other.
pub struct Mail {
    from: Mailbox<[u64; 2]>,
    to: Mailbox<[u64; 2]>,
}

impl Mail {
    pub fn new() -> Mail {
        let mut boxes = mailboxes(2).expect("eventfds are there");
        let to = boxes.pop().expect("two were made");
        let from = boxes.pop().expect("two were made");
        Mail { from, to }
    }

    /// So many letters in one bundle; the sum of what was in them.
    pub fn step(&mut self, letters: u64) -> u64 {
        for letter in 0..letters {
            self.from.send(ShardIndex(1), [letter, 0]);
        }
        self.from.deliver();
        let mut sum = 0;
        self.to.receive(|_, letter| sum += letter[0]);
        sum
    }
}
