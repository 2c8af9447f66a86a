//! Where the parts of a request stand in its answer: topics, and partitions in them.

/// The places of all parts, in the order of the request, and how many of them are open. A part that was taken has none.
#[derive(Debug)]
pub(super) struct Places {
    places: Vec<Option<(u32, u32)>>,
    open: usize,
}

impl Places {
    /// The places in an answer whose topics have so many partitions each.
    pub(super) fn new(counts: impl Iterator<Item = usize>) -> Places {
        let of_topic = |(topic, count): (usize, usize)| {
            (0..count as u32).map(move |partition| Some((topic as u32, partition)))
        };
        let places: Vec<_> = counts.enumerate().flat_map(of_topic).collect();
        Places {
            open: places.len(),
            places,
        }
    }

    /// Topic and partition of a part, which is open no longer; nothing if it was not.
    pub(super) fn take(&mut self, part: u32) -> Option<(usize, usize)> {
        let (topic, partition) = self.places[part as usize].take()?;
        self.open -= 1;
        Some((topic as usize, partition as usize))
    }

    /// How many parts there are, open or not.
    pub(super) fn count(&self) -> u32 {
        self.places.len() as u32
    }

    /// Whether every part was taken.
    pub(super) fn is_complete(&self) -> bool {
        self.open == 0
    }
}
