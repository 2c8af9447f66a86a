//! Fetch sessions (KIP-227): what readers go on reading without naming it again, and what of it may have something to tell.
//!
//! Always:
//! 1. A session goes on with the request of the next number and no other. Ids and numbers are positive.
//! 2. A partition that is not *due* had nothing to tell when it was last read, and whoever owns it tells of the next change.
//!    So a request costs what has changed, however much its session holds.
//! 3. Sessions, and the partitions in all of them, are bounded.
//!
//! Leaves to others: reading, watching for changes, and when a request waits (the core).

mod session;
#[cfg(test)]
mod tests;

pub use session::{EntryId, Naming, PartitionKey, Scope, Seen, Session, TopicKey, Wants};

use millstream_storage::ids::{LogNumber, Now, ShardIndex, Tick};
use std::collections::{BTreeMap, BTreeSet};

/// A full table gives up the session that was idle longest, once it has been idle for so long.
const IDLE_MS: u64 = 120_000;

/// The name of a session on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionId(pub i32);

/// What a shard keeps at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sessions.
    pub sessions_max: usize,
    /// Partitions of all sessions.
    pub partitions_max: usize,
}

/// Why a request does not go on with a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// [70] There is no such session, or it has become too large.
    NotFound,
    /// [71] Another number is due.
    WrongNumber,
    /// [106] The session names topics by name and the request by id, or the other way round.
    OtherNaming,
}

/// What a request that names a session has left of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GoneOn {
    /// The session goes on.
    Session,
    /// Nothing was left in it, so it has ended.
    Ended,
}

/// A session that ended: the shards that watch partitions for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// The session.
    pub id: SessionId,
    /// The shards.
    pub shards: BTreeSet<ShardIndex>,
}

/// The sessions of the connections of one shard.
pub struct Sessions {
    limits: Limits,
    table: BTreeMap<SessionId, Session>,
    partition_count: usize,
    /// Where ids come from: a reader that comes back to another shard, or after a restart, is not to meet a stranger's session.
    random: u64,
    ended: Vec<Ended>,
}

impl Sessions {
    /// No sessions yet. Equal seeds give equal ids.
    pub fn new(limits: Limits, seed: u64) -> Sessions {
        Sessions {
            limits,
            table: BTreeMap::new(),
            partition_count: 0,
            random: seed,
            ended: Vec::new(),
        }
    }

    /// Opens a session with these partitions; `None` where there is no room for it (rule F13).
    pub fn open(
        &mut self,
        now: Now,
        naming: Naming,
        partitions: impl Iterator<Item = (PartitionKey, Wants)>,
    ) -> Option<SessionId> {
        let mut session = Session::new(now.tick, naming);
        for (key, wants) in partitions {
            session.set(key, wants);
        }
        let has_room = |all: &Sessions| {
            all.table.len() < all.limits.sessions_max
                && all.partition_count + session.len() <= all.limits.partitions_max
        };
        if !has_room(self)
            && let Some(idle) = self.longest_idle(now.tick)
        {
            self.end(idle);
        }
        if !has_room(self) {
            return None;
        }
        self.partition_count += session.len();
        let id = self.fresh_id();
        self.table.insert(id, session);
        Some(id)
    }

    /// A request goes on with a session: these partitions are new or wanted otherwise, those are no longer wanted. The logs of the
    /// latter, as far as they are watched, go to `unwatched`.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are the parts of one request"
    )]
    pub fn go_on(
        &mut self,
        now: Now,
        id: SessionId,
        number: i32,
        naming: Naming,
        changed: impl Iterator<Item = (PartitionKey, Wants)>,
        forgotten: impl Iterator<Item = PartitionKey>,
        unwatched: &mut Vec<LogNumber>,
    ) -> Result<GoneOn, Refusal> {
        let session = self.table.get_mut(&id).ok_or(Refusal::NotFound)?;
        session.judge(number, naming)?;
        let before = session.len();
        for (key, wants) in changed {
            session.set(key, wants);
        }
        for key in forgotten {
            unwatched.extend(session.forget(&key));
        }
        session.advance(now.tick);
        let after = session.len();
        self.partition_count = self.partition_count - before + after;
        if after == 0 {
            self.end(id);
            return Ok(GoneOn::Ended);
        }
        if self.partition_count > self.limits.partitions_max && after > before {
            self.end(id);
            return Err(Refusal::NotFound);
        }
        Ok(GoneOn::Session)
    }

    /// Ends a session, if it is there.
    pub fn end(&mut self, id: SessionId) {
        if let Some(session) = self.table.remove(&id) {
            self.partition_count -= session.len();
            let shards = session.into_shards();
            self.ended.push(Ended { id, shards });
        }
    }

    /// Takes out one of the sessions that ended.
    pub fn take_ended(&mut self) -> Option<Ended> {
        self.ended.pop()
    }

    /// A session.
    pub fn find_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.table.get_mut(&id)
    }

    /// Whether a request of a session is under way.
    pub fn is_busy(&self, id: SessionId) -> bool {
        self.table.get(&id).is_some_and(Session::is_busy)
    }

    /// How many sessions there are.
    pub fn count(&self) -> usize {
        self.table.len()
    }

    /// Asserts the invariants.
    pub fn check(&self) {
        let partitions = self.table.values().map(Session::len).sum::<usize>();
        assert_eq!(partitions, self.partition_count);
        assert!(self.table.len() <= self.limits.sessions_max);
        assert!(partitions <= self.limits.partitions_max);
        for (id, session) in &self.table {
            assert!(id.0 > 0);
            session.check();
        }
    }

    /// The session that may make room for another.
    fn longest_idle(&self, now: Tick) -> Option<SessionId> {
        let idle = self
            .table
            .iter()
            .filter(|(_, session)| !session.is_busy() && session.used().after_ms(IDLE_MS) <= now);
        let longest = idle.min_by_key(|(_, session)| session.used());
        longest.map(|(id, _)| *id)
    }

    fn fresh_id(&mut self) -> SessionId {
        loop {
            // The steps of splitmix64 (Steele, Lea, Flood 2014).
            self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.random;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let id = SessionId(((mixed ^ (mixed >> 31)) >> 33) as i32);
            if id.0 > 0 && !self.table.contains_key(&id) {
                return id;
            }
        }
    }
}
