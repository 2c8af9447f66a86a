//! What groups need of their coordinator while they act: the time, the image, the configuration, and where records, answers and
//! alarms go.

use super::call::{Answer, Ticket};
use super::config::GroupConfig;
use super::timers::Timers;
use crate::machine::image::Image;
use millstream_net::wire::Str;
use millstream_net::wire::offsets_topic::GroupRecord;
use millstream_storage::ids::Now;
use std::sync::Arc;

/// What the composer must do, in order.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Append a record to the partition.
    Append(GroupRecord),
    /// Answer a call, once everything appended so far is committed.
    Answer {
        /// Which.
        ticket: Ticket,
        /// The answer.
        answer: Answer,
    },
}

pub(super) struct Desk {
    pub(super) config: Arc<GroupConfig>,
    pub(super) now: Now,
    pub(super) image: Arc<Image>,
    pub(super) timers: Timers,
    pub(super) effects: Vec<Effect>,
    random: u64,
}

impl Desk {
    pub(super) fn new(config: Arc<GroupConfig>, seed: u64) -> Desk {
        Desk {
            config,
            now: Now::default(),
            image: Arc::default(),
            timers: Timers::default(),
            effects: Vec::new(),
            random: seed,
        }
    }

    pub(super) fn append(&mut self, record: GroupRecord) {
        self.effects.push(Effect::Append(record));
    }

    pub(super) fn answer(&mut self, ticket: Ticket, answer: Answer) {
        self.effects.push(Effect::Answer { ticket, answer });
    }

    /// A member id nobody has: the name it begins with, then a random UUID.
    pub(super) fn member_id(&mut self, name: &str) -> Str {
        let bits = u128::from(self.bits()) << 64 | u128::from(self.bits());
        let hex = format!("{bits:032x}");
        let (a, b, c) = (&hex[..8], &hex[8..12], &hex[12..16]);
        let (d, e) = (&hex[16..20], &hex[20..]);
        format!("{name}-{a}-{b}-{c}-{d}-{e}").into()
    }

    /// A random UUID as clients write it.
    pub(super) fn uuid(&mut self) -> Str {
        let named = self.member_id("");
        named[1..].into()
    }

    /// The next random number (splitmix64).
    fn bits(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
