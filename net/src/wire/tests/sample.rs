//! Random messages from a seed.
//!
//! Always: equal seeds give equal messages; a field outside its versions has its default.

use bytes::Bytes;

use crate::wire::{Dialect, Elements, ErrorCode, Field, Records, SHARED_BYTES_MIN, Str, Uuid};

/// A small random generator (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Random bytes, mostly few, now and then enough to be shared instead of copied.
    fn bytes(&mut self) -> Bytes {
        let length = match self.below(8) {
            0 => 0,
            1 => SHARED_BYTES_MIN as u64 + self.below(300),
            _ => self.below(200),
        };
        (0..length).map(|_| self.next() as u8).collect()
    }
}

/// A type with random values.
pub trait Sample: Sized {
    fn sample(random: &mut Random, dialect: Dialect) -> Self;
}

macro_rules! sample_numbers {
    ($($number:ty),*) => {$(
        impl Sample for $number {
            fn sample(random: &mut Random, _: Dialect) -> Self {
                match random.below(6) {
                    0 => 0,
                    1 => <$number>::MAX,
                    2 => <$number>::MIN,
                    _ => random.next() as $number,
                }
            }
        }
    )*};
}

sample_numbers!(i8, i16, u16, i32, u32, i64);

impl Sample for f64 {
    fn sample(random: &mut Random, _: Dialect) -> Self {
        random.next() as i64 as f64 / 16.0
    }
}

impl Sample for bool {
    fn sample(random: &mut Random, _: Dialect) -> Self {
        random.below(2) == 1
    }
}

impl Sample for ErrorCode {
    fn sample(random: &mut Random, dialect: Dialect) -> Self {
        Self::from_code(i16::sample(random, dialect))
    }
}

impl Sample for Uuid {
    fn sample(random: &mut Random, _: Dialect) -> Self {
        if random.below(3) == 0 {
            return Self::ZERO;
        }
        Self((u128::from(random.next()) << 64 | u128::from(random.next())).to_be_bytes())
    }
}

impl Sample for Str {
    fn sample(random: &mut Random, _: Dialect) -> Self {
        const LETTERS: [char; 8] = ['a', 'Z', '.', '_', '-', 'ä', '語', '🦀'];
        let length = if random.below(20) == 0 {
            200
        } else {
            random.below(20)
        };
        let letters = (0..length).map(|_| LETTERS[random.below(8) as usize]);
        Self::from(letters.collect::<String>())
    }
}

impl Sample for Bytes {
    fn sample(random: &mut Random, _: Dialect) -> Self {
        random.bytes()
    }
}

impl Sample for Records {
    fn sample(random: &mut Random, _: Dialect) -> Self {
        Self((0..random.below(4)).map(|_| random.bytes()).collect())
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(random: &mut Random, dialect: Dialect) -> Self {
        let count = if random.below(30) == 0 {
            150
        } else {
            random.below(4)
        };
        let count = if size_of::<T>() > 16 {
            count.min(4)
        } else {
            count
        };
        (0..count).map(|_| T::sample(random, dialect)).collect()
    }
}

impl<T: Sample + Field> Sample for Elements<T> {
    fn sample(random: &mut Random, dialect: Dialect) -> Self {
        Vec::sample(random, dialect).into()
    }
}

impl<T: Sample> Sample for Option<T> {
    fn sample(random: &mut Random, dialect: Dialect) -> Self {
        (random.below(3) > 0).then(|| T::sample(random, dialect))
    }
}
