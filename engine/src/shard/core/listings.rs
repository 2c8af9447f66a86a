//! Metadata: short answers at once, long ones in pieces over many turns, so that nobody waits for one.
//!
//! Always: (1) a turn encodes `PIECE_PARTITIONS` at the most, also of one topic, besides a few partitions for each request of that turn; (2) those
//! who ask for all topics as of one image have one answer in common; (3) an answer tells of an image that is not older than its
//! request.

use super::Core;
use crate::api::metadata::{Common, Listing};
use crate::shard::mail::{Ask, Mail, RequestId};
use millstream_net::conn::RequestSlot;
use millstream_net::wire::api::MetadataRequest;
use millstream_net::wire::{Encoded, RequestHeader};
use millstream_storage::ids::{Now, Tick};
use std::collections::VecDeque;

/// Partitions that are encoded for a request as it arrives.
const FIRST_PARTITIONS: usize = 64;
/// Partitions that are encoded in a turn for those that need more; some 100 us.
const PIECE_PARTITIONS: usize = 256;
/// BOUND: answers about all topics that are kept while their image is the newest: one per version in use.
const KEPT_MAX: usize = 4;

/// A request and where its answer goes.
struct Waiting {
    slot: RequestSlot,
    version: i16,
    correlation_id: i32,
}

struct UnderWay {
    listing: Listing,
    /// BOUND: by the bounds of connections.
    waiting: Vec<Waiting>,
}

/// The long answers of a shard.
#[derive(Default)]
pub(super) struct Listings {
    under_way: VecDeque<UnderWay>,
    kept: VecDeque<(Common, Encoded)>,
}

impl Listings {
    /// When the next piece is due.
    pub(super) fn deadline(&self) -> Option<Tick> {
        (!self.under_way.is_empty()).then_some(Tick(0))
    }

    /// How many answers are not whole yet.
    pub(super) fn count(&self) -> usize {
        self.under_way.len()
    }
}

impl Core {
    /// A Metadata request arrived.
    pub(super) fn metadata(
        &mut self,
        now: Now,
        slot: RequestSlot,
        header: RequestHeader,
        request: MetadataRequest,
    ) {
        let image = &self.meta.image;
        let listing = Listing::new(header.api_version, request, image);
        let waiting = Waiting {
            slot,
            version: header.api_version,
            correlation_id: header.correlation_id,
        };
        let mut one = UnderWay {
            listing,
            waiting: vec![waiting],
        };
        let Some(common) = one.listing.common() else {
            return self.list(now, one, FIRST_PARTITIONS);
        };
        let mut kept = self.listings.kept.iter();
        if let Some((_, encoded)) = kept.find(|(kept, _)| *kept == common) {
            let encoded = encoded.clone();
            return self.answer_listing(one, encoded);
        }
        let mut under_way = self.listings.under_way.iter_mut();
        match under_way.find(|other| other.listing.common() == Some(common)) {
            Some(other) => other.waiting.append(&mut one.waiting),
            None if image.partition_count() + image.topic_count() <= FIRST_PARTITIONS => {
                self.list(now, one, FIRST_PARTITIONS)
            }
            None => self.listings.under_way.push_back(one),
        }
    }

    /// Encodes the next piece of a long answer.
    pub(super) fn turn_listings(&mut self, now: Now) {
        if let Some(next) = self.listings.under_way.pop_front() {
            self.list(now, next, PIECE_PARTITIONS);
        }
    }

    fn list(&mut self, now: Now, mut one: UnderWay, partitions: usize) {
        if !one.listing.go_on(&self.settings, partitions) {
            return self.listings.under_way.push_back(one);
        }
        let create = one.listing.take_create();
        if !create.is_empty() {
            let ask = Box::new(Ask::AutoCreate(create));
            let request = NOBODY;
            self.send(now, super::topics::CONTROLLER, Mail::Ask { request, ask });
        }
        let encoded = one.listing.encoded().clone();
        if let Some(common) = one.listing.common() {
            self.listings.kept.truncate(KEPT_MAX - 1);
            self.listings.kept.push_front((common, encoded.clone()));
        }
        self.answer_listing(one, encoded);
    }

    fn answer_listing(&mut self, one: UnderWay, encoded: Encoded) {
        for waiting in one.waiting {
            let listener = self.listeners.get(&waiting.slot.conn).copied();
            let settings = &self.settings;
            let response = one.listing.answer(encoded.clone(), settings, listener);
            let (version, correlation_id) = (waiting.version, waiting.correlation_id);
            self.answer(waiting.slot, version, correlation_id, response);
        }
    }
}

/// The name of no request, for what is not answered.
pub(super) const NOBODY: RequestId = RequestId {
    index: u32::MAX,
    generation: u32::MAX,
};
