//! A table that grows without moving what it has.
//!
//! Always: an entry stays where it is in memory. A table of ten thousand logs in one piece would be copied as a whole, some of it again and
//! again, and everything else on the shard would wait for that.

use std::ops::{Index, IndexMut};

/// Entries of one piece.
const PIECE_ENTRIES: usize = 64;

/// The table.
#[derive(Clone, Debug)]
pub struct Pieces<T> {
    pieces: Vec<Vec<T>>,
}

impl<T> Default for Pieces<T> {
    fn default() -> Pieces<T> {
        Pieces { pieces: Vec::new() }
    }
}

impl<T> Pieces<T> {
    /// How many entries it has.
    pub fn len(&self) -> usize {
        match self.pieces.split_last() {
            Some((last, full)) => full.len() * PIECE_ENTRIES + last.len(),
            None => 0,
        }
    }

    /// Adds an entry behind all others.
    pub fn push(&mut self, entry: T) {
        match self.pieces.last_mut() {
            Some(last) if last.len() < PIECE_ENTRIES => last.push(entry),
            _ => {
                let mut piece = Vec::with_capacity(PIECE_ENTRIES);
                piece.push(entry);
                self.pieces.push(piece);
            }
        }
    }

    /// All entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.pieces.iter().flatten()
    }
}

impl<T> Index<usize> for Pieces<T> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        &self.pieces[at / PIECE_ENTRIES][at % PIECE_ENTRIES]
    }
}

impl<T> IndexMut<usize> for Pieces<T> {
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.pieces[at / PIECE_ENTRIES][at % PIECE_ENTRIES]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stay_where_they_are() {
        let mut table = Pieces::default();
        assert_eq!(table.len(), 0);
        table.push(0);
        let first = std::ptr::from_ref(&table[0]);
        for entry in 1..1_000 {
            table.push(entry);
            assert_eq!(table.len(), entry + 1);
        }
        assert_eq!(std::ptr::from_ref(&table[0]), first);
        assert!(table.iter().copied().eq(0..1_000));
        table[777] = 7;
        assert_eq!((table[776], table[777], table[778]), (776, 7, 778));
    }
}
