//! Letters that gather during a turn: what became of appends, and news for reads that wait.
//!
//! Always: a letter gathered in a turn leaves in that turn, in the order of gathering.

use crate::shard::event::ShardEffect;
use crate::shard::mail::{AppendedMail, GrownMail, Mail, News};
use millstream_storage::ids::ShardIndex;

#[derive(Default)]
struct Pigeonhole {
    appended: Vec<AppendedMail>,
    grown: Vec<GrownMail>,
    news: Vec<News>,
}

/// What waits to be mailed, per shard.
pub(super) struct Outbox {
    to: Vec<Pigeonhole>,
}

impl Outbox {
    pub(super) fn new(shard_count: u16) -> Outbox {
        Outbox {
            to: (0..shard_count).map(|_| Pigeonhole::default()).collect(),
        }
    }

    pub(super) fn appended(&mut self, to: ShardIndex, appended: AppendedMail) {
        self.to[usize::from(to.0)].appended.push(appended);
    }

    pub(super) fn grown(&mut self, to: ShardIndex, grown: GrownMail) {
        self.to[usize::from(to.0)].grown.push(grown);
    }

    pub(super) fn news(&mut self, to: ShardIndex, news: News) {
        self.to[usize::from(to.0)].news.push(news);
    }

    /// Turns everything into letters.
    pub(super) fn drain(&mut self, effects: &mut Vec<ShardEffect>) {
        for (shard, waiting) in self.to.iter_mut().enumerate() {
            let to = ShardIndex(shard as u16);
            if !waiting.appended.is_empty() {
                let mail = Mail::Appended(std::mem::take(&mut waiting.appended));
                effects.push(ShardEffect::Mail { to, mail });
            }
            if !waiting.grown.is_empty() {
                let mail = Mail::Grown(std::mem::take(&mut waiting.grown));
                effects.push(ShardEffect::Mail { to, mail });
            }
            if !waiting.news.is_empty() {
                let mail = Mail::News(std::mem::take(&mut waiting.news));
                effects.push(ShardEffect::Mail { to, mail });
            }
        }
    }
}
