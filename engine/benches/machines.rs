//! What the machines and the mail between shards cost: `cargo bench -p millstream-engine`. Plain timing, best of several
//! rounds; fails where a step of the hot path allocates.

use millstream_engine::machine::partition::producers::{BatchHead, BatchKind};
use millstream_engine::machine::partition::{
    Acks, Append, Effect, Leadership, LogState, Partition, PartitionConfig, Role, Ticket,
};
use millstream_engine::shard::rings::mailboxes;
use millstream_storage::ids::{
    LeaderEpoch, NodeId, Now, Offset, ProducerEpoch, ProducerId, ShardIndex,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const ROUNDS: usize = 20;
const CALLS: u64 = 20_000;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's layout, as it is.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: memory of `alloc`, with its layout.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Tells the nanoseconds of one call, the best of several rounds; none of them may allocate, once memory has its size.
fn tell(name: &str, mut call: impl FnMut()) {
    (0..CALLS).for_each(|_| call());
    let mut best = f64::INFINITY;
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        (0..CALLS).for_each(|_| call());
        best = best.min(begin.elapsed().as_nanos() as f64 / CALLS as f64);
    }
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    println!(
        "{name:<52} {best:>8.1} ns, {allocations} allocations in {} calls",
        CALLS * ROUNDS as u64
    );
    assert!(
        allocations < ROUNDS as u64,
        "{name} allocates on the hot path: {allocations}"
    );
}

fn leader() -> Partition {
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
    partition
}

fn head(records: i32, producer: i64, sequence: i32) -> BatchHead {
    BatchHead {
        base_offset: Offset(0),
        last_offset_delta: records - 1,
        leader_epoch: LeaderEpoch(0),
        max_timestamp: 5,
        producer: ProducerId(producer),
        producer_epoch: ProducerEpoch(if producer < 0 { -1 } else { 0 }),
        base_sequence: sequence,
        kind: BatchKind::Plain,
    }
}

/// An append and the moment it is durable, which answers it.
fn partition_step() {
    for records in [1, 1000] {
        for producer in [-1, 7] {
            let mut partition = leader();
            let mut effects: Vec<Effect> = Vec::with_capacity(16);
            let (mut ticket, mut end) = (0, 0i64);
            let name = format!(
                "append and answer a batch of {records}{}",
                if producer < 0 { "" } else { ", idempotent" }
            );
            tell(&name, || {
                let sequence = if producer < 0 {
                    -1
                } else {
                    (end & 0x7fff_ffff) as i32
                };
                let append = Append {
                    ticket: Ticket(ticket),
                    head: head(records, producer, sequence),
                    acks: Acks::All,
                    timeout_ms: 1_000,
                };
                ticket += 1;
                end += i64::from(records);
                partition.append(Now::default(), append, &mut effects);
                partition.durable(Offset(end), &mut effects);
                black_box(&effects);
                effects.clear();
            });
        }
    }
}

/// A letter from one shard to another, in bundles of different sizes.
fn mail() {
    for letters in [1u64, 32] {
        let mut boxes = mailboxes::<[u64; 2]>(2).expect("eventfds are there");
        let mut to = boxes.pop().expect("two were made");
        let mut from = boxes.pop().expect("two were made");
        tell(&format!("{letters} letters to another shard"), || {
            for letter in 0..letters {
                from.send(ShardIndex(1), [letter, 0]);
            }
            from.deliver();
            to.receive(|_, letter| {
                black_box(letter);
            });
        });
    }
}

fn main() {
    partition_step();
    mail();
}
