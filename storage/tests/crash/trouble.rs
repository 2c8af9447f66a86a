//! What befalls the shards: time that passes, a disk that is full for a while, operations that fail.

use crate::config::{HOUR_MS, reuses};
use crate::world::World;
use millstream_storage::sim::{Fault, OpKind, SimRng};

/// A fault of one of these kinds: mostly the next of its kind, or what is rare would hardly ever fail.
pub fn any_fault(rng: &mut SimRng, kinds: &[OpKind]) -> Fault {
    let kind = kinds[rng.index(kinds.len())];
    let after = match rng.percent(60) {
        true => 0,
        false => rng.below(20),
    };
    let errnos = kind.errnos();
    let errno = errnos[rng.index(errnos.len())];
    Fault { kind, after, errno }
}

impl World {
    /// Time for retention, a disk that is full for a while, now and then an operation that fails.
    pub fn trouble(&mut self) {
        match self.rng.below(10) {
            0..4 => self.pass_time(),
            4..6 => {
                let more = self.rng.below(200 << 10);
                let capacity = self.disk.used_bytes() + more;
                self.disk.limit_capacity(Some(capacity));
            }
            6..9 => self.disk.limit_capacity(None),
            _ => self.break_something(),
        }
    }

    /// An operation to come fails, of whichever kind.
    pub fn break_something(&mut self) {
        let fault = any_fault(&mut self.rng, &OpKind::WORK);
        self.disk.inject(fault);
    }

    /// The next operation of a kind that is seldom asked for fails.
    pub fn break_what_is_seldom(&mut self) {
        use OpKind::{Open, Read, RemoveDir, Rename, SyncFs};
        let kinds = [Open, Read, RemoveDir, Rename, Rename, SyncFs, SyncFs];
        let fault = any_fault(&mut self.rng, &kinds);
        self.disk.inject(Fault { after: 0, ..fault });
    }

    /// An hour goes by (or so much less that logs count as growing), in which everything came to be replicated; the next few steps are calm.
    fn pass_time(&mut self) {
        // A sync of the file system that is under way takes too long: from then on files are synced one by one.
        self.now.tick.0 += 1_100_000_000;
        self.now.wall.0 += HOUR_MS as i64 / if reuses(self.seed) { 20 } else { 1 };
        self.calm = self.rng.below(100);
        for log in self.logs.values_mut().filter(|log| log.expires) {
            let store = &mut self.shards[log.shard];
            if let Some(durable) = store.durable(log.number) {
                log.log_start_asked = log.log_start_asked.max(durable);
                store.set_high_watermark(log.number, durable);
            }
        }
    }
}
