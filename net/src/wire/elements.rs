//! An array of a message, of which a part may have been encoded before: a long answer is made in pieces, and may be sent to many.
//!
//! Always: what was encoded stands behind the elements that are not, and was encoded in the dialect of the message.

use bytes::Bytes;

use super::field::{Field, write_length};
use super::message::Dialect;
use super::read::{Malformed, Reader};
use super::write::{Count, Encoder, Sink};

/// The array. Reading one gives elements only.
#[derive(Debug, Clone, PartialEq)]
pub struct Elements<T> {
    /// Elements.
    pub list: Vec<T>,
    /// Those behind them.
    pub encoded: Encoded,
}

/// Elements that are encoded; copies share them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Encoded {
    count: usize,
    bytes: Vec<Bytes>,
}

impl Encoded {
    /// Encodes more elements.
    pub fn push<T: Field>(&mut self, elements: &[T], dialect: Dialect) {
        let mut size = Count::default();
        elements
            .iter()
            .for_each(|element| element.write(&mut size, dialect));
        let mut encoder = Encoder::with_room(size.copied_bytes);
        elements
            .iter()
            .for_each(|element| element.write(&mut encoder, dialect));
        self.count += elements.len();
        self.bytes.append(&mut encoder.into_parts());
    }
}

impl<T> Default for Elements<T> {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl<T> From<Vec<T>> for Elements<T> {
    fn from(list: Vec<T>) -> Self {
        let encoded = Encoded::default();
        Self { list, encoded }
    }
}

impl<T> FromIterator<T> for Elements<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        elements.into_iter().collect::<Vec<_>>().into()
    }
}

impl<T> std::ops::Deref for Elements<T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        &self.list
    }
}

impl<T> std::ops::DerefMut for Elements<T> {
    fn deref_mut(&mut self) -> &mut Vec<T> {
        &mut self.list
    }
}

impl<'a, T> IntoIterator for &'a Elements<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

impl<T: Field> Field for Elements<T> {
    fn bytes_min(dialect: Dialect) -> usize {
        Vec::<T>::bytes_min(dialect)
    }

    fn read(reader: &mut Reader<'_>, dialect: Dialect) -> Result<Self, Malformed> {
        Vec::read(reader, dialect).map(Self::from)
    }

    fn write<S: Sink>(&self, sink: &mut S, dialect: Dialect) {
        let count = self.list.len() + self.encoded.count;
        write_length(sink, dialect, Some(count));
        for element in &self.list {
            element.write(sink, dialect);
        }
        for bytes in &self.encoded.bytes {
            sink.payload(bytes);
        }
    }
}
