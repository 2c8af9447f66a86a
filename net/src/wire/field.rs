//! The types a field can have, and how each looks on the wire.
//!
//! Always: `read` and `write` are inverse for every dialect, and `bytes_min` is never above what `write` writes.

use std::fmt;

use bytes::Bytes;

use super::error_code::ErrorCode;
use super::message::Dialect;
use super::read::{Malformed, Reader};
use super::text::Str;
use super::write::{Sink, frame_number};

/// Something that stands in a message.
pub trait Field: Sized {
    /// The fewest bytes a value takes.
    fn bytes_min(dialect: Dialect) -> usize;

    /// Reads a value.
    fn read(reader: &mut Reader<'_>, dialect: Dialect) -> Result<Self, Malformed>;

    /// Writes a value.
    fn write<S: Sink>(&self, sink: &mut S, dialect: Dialect);

    /// Reads a value that stands among the tagged fields.
    fn read_tagged(reader: &mut Reader<'_>, dialect: Dialect) -> Result<Self, Malformed> {
        Self::read(reader, dialect)
    }

    /// Writes a value among the tagged fields.
    fn write_tagged<S: Sink>(&self, sink: &mut S, dialect: Dialect) {
        self.write(sink, dialect);
    }
}

/// A field that can be null; `Option` of it is a field.
pub trait Nullable: Field {
    /// The fewest bytes a value or null takes.
    fn nullable_bytes_min(dialect: Dialect) -> usize;

    /// Reads a value or null.
    fn read_nullable(reader: &mut Reader<'_>, dialect: Dialect) -> Result<Option<Self>, Malformed>;

    /// Writes a value that is not null, where null would be lawful.
    fn write_present<S: Sink>(&self, sink: &mut S, dialect: Dialect);

    /// Writes null.
    fn write_null<S: Sink>(sink: &mut S, dialect: Dialect);

    /// Reads a value or null that stands among the tagged fields.
    fn read_tagged_nullable(
        reader: &mut Reader<'_>,
        dialect: Dialect,
    ) -> Result<Option<Self>, Malformed> {
        Self::read_nullable(reader, dialect)
    }

    /// Writes null among the tagged fields.
    fn write_tagged_null<S: Sink>(sink: &mut S, dialect: Dialect) {
        Self::write_null(sink, dialect);
    }
}

impl<T: Nullable> Field for Option<T> {
    fn bytes_min(dialect: Dialect) -> usize {
        T::nullable_bytes_min(dialect)
    }

    fn read(reader: &mut Reader<'_>, dialect: Dialect) -> Result<Self, Malformed> {
        T::read_nullable(reader, dialect)
    }

    fn write<S: Sink>(&self, sink: &mut S, dialect: Dialect) {
        match self {
            Some(value) => value.write_present(sink, dialect),
            None => T::write_null(sink, dialect),
        }
    }

    fn read_tagged(reader: &mut Reader<'_>, dialect: Dialect) -> Result<Self, Malformed> {
        T::read_tagged_nullable(reader, dialect)
    }

    fn write_tagged<S: Sink>(&self, sink: &mut S, dialect: Dialect) {
        match self {
            Some(value) => value.write_present(sink, dialect),
            None => T::write_tagged_null(sink, dialect),
        }
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Field for $number {
            fn bytes_min(_: Dialect) -> usize {
                size_of::<$number>()
            }

            fn read(reader: &mut Reader<'_>, _: Dialect) -> Result<Self, Malformed> {
                Ok(<$number>::from_be_bytes(reader.array()?))
            }

            fn write<S: Sink>(&self, sink: &mut S, _: Dialect) {
                sink.put(&self.to_be_bytes());
            }
        }
    )*};
}

numbers!(i8, i16, u16, i32, u32, i64, f64);

impl Field for bool {
    fn bytes_min(_: Dialect) -> usize {
        1
    }

    fn read(reader: &mut Reader<'_>, _: Dialect) -> Result<Self, Malformed> {
        let [byte] = reader.array()?;
        Ok(byte != 0)
    }

    fn write<S: Sink>(&self, sink: &mut S, _: Dialect) {
        sink.put(&[u8::from(*self)]);
    }
}

impl Field for ErrorCode {
    fn bytes_min(dialect: Dialect) -> usize {
        i16::bytes_min(dialect)
    }

    fn read(reader: &mut Reader<'_>, dialect: Dialect) -> Result<Self, Malformed> {
        i16::read(reader, dialect).map(ErrorCode::from_code)
    }

    fn write<S: Sink>(&self, sink: &mut S, dialect: Dialect) {
        self.code().write(sink, dialect);
    }
}

/// A topic id or directory id; all zero where there is none.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// No id.
    pub const ZERO: Self = Self([0; 16]);
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl Field for Uuid {
    fn bytes_min(_: Dialect) -> usize {
        16
    }

    fn read(reader: &mut Reader<'_>, _: Dialect) -> Result<Self, Malformed> {
        reader.array().map(Self)
    }

    fn write<S: Sink>(&self, sink: &mut S, _: Dialect) {
        sink.put(&self.0);
    }
}

/// Implements `Field` for a nullable type: there, null is malformed.
macro_rules! field_from_nullable {
    (impl [$($generics:tt)*] $type:ty) => {
        impl<$($generics)*> Field for $type {
            fn bytes_min(dialect: Dialect) -> usize {
                <$type as Nullable>::nullable_bytes_min(dialect)
            }

            fn read(reader: &mut Reader<'_>, dialect: Dialect) -> Result<Self, Malformed> {
                match Self::read_nullable(reader, dialect)? {
                    Some(value) => Ok(value),
                    None => Err(reader.malformed("null where the field has none")),
                }
            }

            fn write<S: Sink>(&self, sink: &mut S, dialect: Dialect) {
                self.write_present(sink, dialect);
            }
        }
    };
}

field_from_nullable!(impl [] Str);
field_from_nullable!(impl [] Bytes);
field_from_nullable!(impl [] Records);
field_from_nullable!(impl [T: Field] Vec<T>);

/// The length before a string, whose plain form has 16 bits; none for null.
fn read_text_length(reader: &mut Reader<'_>, dialect: Dialect) -> Result<Option<usize>, Malformed> {
    if dialect.flexible {
        return reader.compact_length();
    }
    match i16::from_be_bytes(reader.array()?) {
        -1 => Ok(None),
        length => match usize::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) => Err(reader.malformed("a length is negative")),
        },
    }
}

/// The length before bytes or an array, whose plain form has 32 bits; none for null.
fn read_length(reader: &mut Reader<'_>, dialect: Dialect) -> Result<Option<usize>, Malformed> {
    if dialect.flexible {
        return reader.compact_length();
    }
    match i32::from_be_bytes(reader.array()?) {
        -1 => Ok(None),
        length => match usize::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) => Err(reader.malformed("a length is negative")),
        },
    }
}

pub(super) fn write_length<S: Sink>(sink: &mut S, dialect: Dialect, length: Option<usize>) {
    if dialect.flexible {
        sink.compact_length(length);
    } else {
        length.map_or(-1, frame_number).write(sink, dialect);
    }
}

fn length_bytes_min(dialect: Dialect, plain: usize) -> usize {
    if dialect.flexible { 1 } else { plain }
}

impl Nullable for Str {
    fn nullable_bytes_min(dialect: Dialect) -> usize {
        length_bytes_min(dialect, 2)
    }

    fn read_nullable(reader: &mut Reader<'_>, dialect: Dialect) -> Result<Option<Self>, Malformed> {
        let Some(length) = read_text_length(reader, dialect)? else {
            return Ok(None);
        };
        match Str::from_utf8(reader.share(length)?) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(reader.malformed("a string is not UTF-8")),
        }
    }

    fn write_present<S: Sink>(&self, sink: &mut S, dialect: Dialect) {
        let bytes = self.as_bytes();
        if dialect.flexible {
            sink.compact_length(Some(bytes.len()));
        } else {
            let length = i16::try_from(bytes.len());
            length
                .expect("a string is below 32 KiB, as everything that makes one checks")
                .write(sink, dialect);
        }
        sink.put(bytes);
    }

    fn write_null<S: Sink>(sink: &mut S, dialect: Dialect) {
        if dialect.flexible {
            sink.compact_length(None);
        } else {
            (-1i16).write(sink, dialect);
        }
    }
}

impl Nullable for Bytes {
    fn nullable_bytes_min(dialect: Dialect) -> usize {
        length_bytes_min(dialect, 4)
    }

    fn read_nullable(reader: &mut Reader<'_>, dialect: Dialect) -> Result<Option<Self>, Malformed> {
        read_length(reader, dialect)?
            .map(|length| reader.share(length))
            .transpose()
    }

    fn write_present<S: Sink>(&self, sink: &mut S, dialect: Dialect) {
        write_length(sink, dialect, Some(self.len()));
        sink.payload(self);
    }

    fn write_null<S: Sink>(sink: &mut S, dialect: Dialect) {
        write_length(sink, dialect, None);
    }
}

/// Record batches of an answer, as slices in order; on the wire they are one run of bytes.
#[derive(Debug, Clone, Default)]
pub struct Records(pub Vec<Bytes>);

impl Records {
    /// The length of all slices.
    pub fn total_bytes(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }
}

/// Equal bytes are equal records, however they are cut.
impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().flatten().eq(other.0.iter().flatten())
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            Self::default()
        } else {
            Self(vec![bytes])
        }
    }
}

impl Nullable for Records {
    fn nullable_bytes_min(dialect: Dialect) -> usize {
        length_bytes_min(dialect, 4)
    }

    fn read_nullable(reader: &mut Reader<'_>, dialect: Dialect) -> Result<Option<Self>, Malformed> {
        Ok(Bytes::read_nullable(reader, dialect)?.map(Self::from))
    }

    fn write_present<S: Sink>(&self, sink: &mut S, dialect: Dialect) {
        write_length(sink, dialect, Some(self.total_bytes()));
        for slice in &self.0 {
            sink.payload(slice);
        }
    }

    fn write_null<S: Sink>(sink: &mut S, dialect: Dialect) {
        write_length(sink, dialect, None);
    }
}

impl<T: Field> Nullable for Vec<T> {
    fn nullable_bytes_min(dialect: Dialect) -> usize {
        length_bytes_min(dialect, 4)
    }

    fn read_nullable(reader: &mut Reader<'_>, dialect: Dialect) -> Result<Option<Self>, Malformed> {
        let Some(count) = read_length(reader, dialect)? else {
            return Ok(None);
        };
        let mut elements = reader.room_for(count, T::bytes_min(dialect))?;
        for _ in 0..count {
            elements.push(T::read(reader, dialect)?);
        }
        Ok(Some(elements))
    }

    fn write_present<S: Sink>(&self, sink: &mut S, dialect: Dialect) {
        write_length(sink, dialect, Some(self.len()));
        for element in self {
            element.write(sink, dialect);
        }
    }

    fn write_null<S: Sink>(sink: &mut S, dialect: Dialect) {
        write_length(sink, dialect, None);
    }
}
