//! A shard's supply of producer ids: blocks reserved by the controller, handed out one by one.
//!
//! Always: (1) an id is handed out at most once; (2) a rest that is not handed out before a stop is lost, never reused; (3) who
//! asks while there is none waits, in order.

use std::collections::VecDeque;

/// With fewer left the next block is asked for.
const LOW: i64 = 100;

/// The supply; `T` names who waits.
#[derive(Debug)]
pub struct ProducerIdSupply<T> {
    blocks: VecDeque<(i64, i64)>,
    waiting: VecDeque<T>,
    asked: bool,
}

impl<T> Default for ProducerIdSupply<T> {
    fn default() -> Self {
        Self {
            blocks: VecDeque::new(),
            waiting: VecDeque::new(),
            asked: false,
        }
    }
}

impl<T> ProducerIdSupply<T> {
    /// An id for `asker`, or `None`: then `granted` or `refused` gives the asker back.
    pub fn take(&mut self, asker: T) -> Option<(T, i64)> {
        match self.next() {
            Some(id) => Some((asker, id)),
            None => {
                self.waiting.push_back(asker);
                None
            }
        }
    }

    /// Whether a block must be asked for now; true once per block.
    pub fn wants_block(&mut self) -> bool {
        let left: i64 = self.blocks.iter().map(|(first, end)| end - first).sum();
        let wants = !self.asked && (left < LOW || !self.waiting.is_empty());
        self.asked |= wants;
        wants
    }

    /// The controller has reserved a block: those who waited get their ids.
    pub fn granted(&mut self, first: i64, count: i64, served: &mut Vec<(T, i64)>) {
        self.asked = false;
        self.blocks.push_back((first, first + count));
        while !self.waiting.is_empty()
            && let Some(id) = self.next()
        {
            served.extend(self.waiting.pop_front().map(|asker| (asker, id)));
        }
    }

    /// The controller cannot give one now: those who wait are given back, to be refused.
    pub fn refused(&mut self) -> impl Iterator<Item = T> {
        self.asked = false;
        std::mem::take(&mut self.waiting).into_iter()
    }

    fn next(&mut self) -> Option<i64> {
        while let Some((first, end)) = self.blocks.front_mut() {
            if first < end {
                *first += 1;
                return Some(*first - 1);
            }
            self.blocks.pop_front();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_handed_out_once_and_in_order_of_asking() {
        let mut supply = ProducerIdSupply::default();
        assert_eq!(supply.take("a"), None);
        assert_eq!(supply.take("b"), None);
        assert!(supply.wants_block());
        assert!(!supply.wants_block());
        let mut served = Vec::new();
        supply.granted(1000, 101, &mut served);
        assert_eq!(served, [("a", 1000), ("b", 1001)]);
        assert!(supply.wants_block());
        for expected in 1002..1101 {
            assert_eq!(supply.take("c"), Some(("c", expected)));
        }
        assert_eq!(supply.take("d"), None);
        assert_eq!(supply.refused().collect::<Vec<_>>(), ["d"]);
        assert!(supply.wants_block());
    }
}
