//! The machine alone: a disk that completes in any order, every invariant after every step.

use super::*;
use crate::format::Place;
use crate::ids::{LeaderEpoch, LogNumber, Offset, Tick};
use std::collections::HashMap;

/// A small generator, so that a seed gives the same run everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn small() -> CommitConfig {
    CommitConfig {
        file_bytes: 64 << 10,
        files_min: 2,
        files_max: 4,
        slow_extent_bytes: 8 << 10,
        fast_extent_bytes: 4 << 10,
        trickle_bytes: 20 << 10,
        pace_bytes: 128 << 10,
        fast_rate_bytes: 32 << 10,
        window_bytes: 16 << 10,
        run_bytes: 4 << 10,
        windows_in_flight: 3,
        pressure_flights: 4,
        unmarked_bytes: 64 << 10,
        checkpoint_bytes: 256 << 10,
        checkpoint_ms: 50,
    }
}

fn origin() -> Place {
    Place {
        segment: Offset(0),
        position: 0,
        offset: Offset(0),
        epoch: LeaderEpoch(-1),
    }
}

/// One log as its owner knows it, with the batch ends a truncation may name.
struct Owner {
    slot: LogSlot,
    ends: Vec<Place>,
    durable: Offset,
    epoch: LeaderEpoch,
}

impl Owner {
    fn end(&self) -> Place {
        self.ends[self.ends.len() - 1]
    }
}

struct Rig {
    commit: Commit,
    owners: Vec<Owner>,
    waiting: Vec<Effect>,
    /// Writes of the extent in flight that have not ended.
    flights: HashMap<LogSlot, u32>,
    images: u64,
    /// Images of the ends of extents in flight.
    tails: u64,
    /// Extents that begin within a block and wait for nothing.
    along: u64,
    now: Tick,
    dice: Dice,
    windows: u64,
    extents: u64,
    checkpoints: u64,
}

impl Rig {
    fn new(seed: u64, logs: u32) -> Rig {
        let mut commit = Commit::new(small(), &JournalSeed::default(), &[], Tick(0));
        let owners = (0..logs).map(|number| Owner {
            slot: commit.open(LogNumber(number.into()), origin()),
            ends: vec![origin()],
            durable: Offset(0),
            epoch: LeaderEpoch(1),
        });
        let owners = owners.collect();
        Rig {
            commit,
            owners,
            waiting: Vec::new(),
            flights: HashMap::new(),
            now: Tick(0),
            dice: Dice(seed | 1),
            windows: 0,
            extents: 0,
            images: 0,
            tails: 0,
            along: 0,
            checkpoints: 0,
        }
    }

    fn owner(&mut self, slot: LogSlot) -> &mut Owner {
        self.owners
            .iter_mut()
            .find(|owner| owner.slot == slot)
            .expect("a known log")
    }

    fn append(&mut self, index: usize, bytes: u64) {
        if !self.commit.admits(bytes) {
            return;
        }
        let roll = self.dice.below(20) == 0;
        let owner = &mut self.owners[index];
        let end = owner.end();
        let roll = roll && end.position > 0;
        let run = Run {
            segment: if roll { end.offset } else { end.segment },
            position: if roll { 0 } else { end.position },
            bytes,
            previous_end: end.offset,
            previous_epoch: end.epoch,
            base: end.offset,
            end: Offset(end.offset.0 + 3),
            epoch: owner.epoch,
        };
        owner.ends.push(run.end_place());
        self.commit.append(owner.slot, run, self.now);
    }

    fn truncate(&mut self, index: usize) {
        let keep = self.dice.below(4) as usize;
        let owner = &mut self.owners[index];
        let keep = owner.ends.len().saturating_sub(keep).max(1);
        owner.ends.truncate(keep);
        owner.epoch.0 += 1;
        owner.durable = owner.durable.min(owner.end().offset);
        self.commit.truncate(owner.slot, owner.end());
    }

    fn pump(&mut self) {
        while let Some(effect) = self.commit.next_effect() {
            match effect {
                Effect::Durable { slot, end } => {
                    let owner = self.owner(slot);
                    assert!(end > owner.durable && end <= owner.end().offset);
                    owner.durable = end;
                }
                Effect::Extent {
                    slot,
                    from,
                    to,
                    first,
                    ..
                } => {
                    self.extents += 1;
                    let held = first == FirstBlock::Held;
                    let rest = !held || to > from.next_multiple_of(4096);
                    assert!(
                        self.flights.insert(slot, rest.into()).unwrap_or(0) == 0,
                        "one extent of a log at a time"
                    );
                    self.images += u64::from(held);
                    self.along += u64::from(!held && from % 4096 != 0);
                    if rest {
                        self.waiting.push(effect);
                    }
                }
                Effect::FirstBlock { slot } => {
                    *self
                        .flights
                        .get_mut(&slot)
                        .expect("its extent is in flight") += 1;
                    self.waiting.push(effect);
                }
                Effect::Checkpoint { .. } => {
                    self.checkpoints += 1;
                    self.waiting.push(effect);
                }
                Effect::Window(ref plan) => {
                    assert!(plan.bytes > 0 && plan.position + plan.bytes <= small().file_bytes);
                    self.windows += 1;
                    let tail = |entry: &&(_, Planned)| matches!(entry.1, Planned::Tail(_));
                    self.tails += plan.entries.iter().filter(tail).count() as u64;
                    self.waiting.push(effect);
                }
                Effect::Marked { .. }
                | Effect::Flushed { .. }
                | Effect::Opened { .. }
                | Effect::Truncated { .. } => {}
                Effect::Started { .. } | Effect::Dropped { .. } => {}
                other => self.waiting.push(other),
            }
        }
        self.commit.check();
    }

    fn complete_one(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let chosen = self.dice.below(self.waiting.len() as u64) as usize;
        match self.waiting.swap_remove(chosen) {
            Effect::Window(plan) => self.commit.window_done(plan.sequence),
            Effect::Extent { slot, .. } | Effect::FirstBlock { slot } => {
                let writes = self.flights.get_mut(&slot).expect("it is in flight");
                *writes -= 1;
                if *writes == 0 {
                    self.commit.extent_written(slot);
                }
            }
            Effect::SyncExtent { slot, .. } => self.commit.extent_synced(slot),
            Effect::SyncShared => self.commit.shared_synced(),
            Effect::Prepare {
                slot,
                place,
                bytes,
                round,
                ..
            } => self
                .commit
                .ready(slot, place.segment, bytes * 2 + 4096, round),
            Effect::CreateFile { file } => self.commit.file_ready(file),
            Effect::Checkpoint { .. } => self.commit.checkpoint_done(),
            other => panic!("{other:?} does not complete"),
        }
        self.pump();
    }

    fn turn(&mut self) {
        self.commit.turn(self.now);
        self.pump();
    }

    fn settle(&mut self) {
        self.commit.stop();
        for _ in 0..100_000 {
            self.now = Tick(self.now.0 + 1_000_000);
            self.turn();
            if self.commit.idle() && self.waiting.is_empty() {
                return;
            }
            self.complete_one();
        }
        panic!("a shard that stops comes to rest: {:#?}", self.commit);
    }
}

#[test]
fn random_work_keeps_every_invariant_and_comes_to_rest_durable() {
    for seed in 1..200 {
        let mut rig = Rig::new(seed * 7919, 5);
        for _ in 0..600 {
            match rig.dice.below(10) {
                0..=4 => {
                    let (index, bytes) = (rig.dice.below(5) as usize, 70 + rig.dice.below(6000));
                    rig.append(index, bytes);
                }
                5 if rig.dice.below(6) == 0 => {
                    let index = rig.dice.below(5) as usize;
                    rig.truncate(index);
                }
                6 => rig.now = Tick(rig.now.0 + rig.dice.below(5_000_000)),
                7 => rig.turn(),
                _ => rig.complete_one(),
            }
            rig.commit.check();
        }
        rig.settle();
        for owner in &rig.owners {
            assert_eq!(owner.durable, owner.end().offset, "seed {seed}");
            assert_eq!(rig.commit.durable(owner.slot), owner.durable);
        }
        assert!(rig.windows > 0 && rig.extents > 0 && rig.images > 0 && rig.checkpoints > 0);
        assert!(rig.tails > 0 && rig.along > 0, "seed {seed}");
    }
}
