//! The declaration of a message: fields with their versions, from which reading, writing and sizes derive.
//!
//! A field is `name: Type = default => versions, tag N, nullable versions;`. Without `= default` it is the type's own; the
//! default is what a message has in a version without the field, and what a tagged field is left out for. `tag` makes it a
//! tagged field (in rising order within a struct). A type `Option` may be null in every version, or only in those of `nullable`.

/// How a message is spoken: its version, and whether that version is flexible (compact lengths, tagged fields).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// The API's version.
    pub version: i16,
    /// Whether lengths are compact and structs end in tagged fields.
    pub flexible: bool,
}

macro_rules! message {
    ($(
        $(#[$doc:meta])*
        pub struct $name:ident {$(
            $(#[$field_doc:meta])*
            $field:ident: $type:ty $(= $default:expr)? => $versions:expr
                $(, tag $tag:literal)? $(, nullable $nullable:expr)?;
        )*}
    )+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {$(
            $(#[$field_doc])*
            pub $field: $type,
        )*}

        impl Default for $name {
            fn default() -> Self {
                Self {$($field: message!(@default $($default)?),)*}
            }
        }

        impl $crate::wire::Field for $name {
            fn bytes_min(dialect: $crate::wire::Dialect) -> usize {
                let mut bytes = usize::from(dialect.flexible);
                $(message!(@bytes_min bytes, $type, dialect, $versions $(, tag $tag)?);)*
                bytes
            }

            fn read(
                reader: &mut $crate::wire::Reader<'_>,
                dialect: $crate::wire::Dialect,
            ) -> Result<Self, $crate::wire::Malformed> {
                let mut message = Self::default();
                $(message!(@read message, $field, reader, dialect, $versions
                    $(, tag $tag)? $(, nullable $nullable)?);)*
                if dialect.flexible {
                    reader.tagged(|_reader, _tag| {
                        $(message!(@read_tagged message, $field, _reader, _tag, dialect, $versions $(, tag $tag)?);)*
                        Ok(false)
                    })?;
                }
                Ok(message)
            }

            fn write<S: $crate::wire::Sink>(&self, sink: &mut S, dialect: $crate::wire::Dialect) {
                $(message!(@write self, $field, $type, sink, dialect, $versions
                    $(, tag $tag)? $(, nullable $nullable)?);)*
                if dialect.flexible {
                    let mut _count = 0u32;
                    let _default = Self::default();
                    $(message!(@count_tagged self, $field, _default, _count, dialect, $versions $(, tag $tag)?);)*
                    sink.unsigned_varint(_count);
                    $(message!(@write_tagged self, $field, _default, sink, dialect, $versions $(, tag $tag)?);)*
                }
            }
        }

        /// As a struct that may be null: a byte before it says whether it is there.
        impl $crate::wire::Nullable for $name {
            fn nullable_bytes_min(_: $crate::wire::Dialect) -> usize {
                1
            }

            fn read_nullable(
                reader: &mut $crate::wire::Reader<'_>,
                dialect: $crate::wire::Dialect,
            ) -> Result<Option<Self>, $crate::wire::Malformed> {
                if <i8 as $crate::wire::Field>::read(reader, dialect)? < 0 {
                    return Ok(None);
                }
                <Self as $crate::wire::Field>::read(reader, dialect).map(Some)
            }

            fn write_present<S: $crate::wire::Sink>(&self, sink: &mut S, dialect: $crate::wire::Dialect) {
                sink.put(&[1]);
                $crate::wire::Field::write(self, sink, dialect);
            }

            fn write_null<S: $crate::wire::Sink>(sink: &mut S, _: $crate::wire::Dialect) {
                sink.put(&[0xff]);
            }

            /// Among the tagged fields that byte is unsigned: 0 for null.
            fn read_tagged_nullable(
                reader: &mut $crate::wire::Reader<'_>,
                dialect: $crate::wire::Dialect,
            ) -> Result<Option<Self>, $crate::wire::Malformed> {
                if <i8 as $crate::wire::Field>::read(reader, dialect)? <= 0 {
                    return Ok(None);
                }
                <Self as $crate::wire::Field>::read(reader, dialect).map(Some)
            }

            fn write_tagged_null<S: $crate::wire::Sink>(sink: &mut S, _: $crate::wire::Dialect) {
                sink.put(&[0]);
            }
        }

        #[cfg(test)]
        impl $crate::wire::tests::sample::Sample for $name {
            fn sample(
                random: &mut $crate::wire::tests::sample::Random,
                dialect: $crate::wire::Dialect,
            ) -> Self {
                let mut message = Self::default();
                $(message!(@sample message, $field, random, dialect, $versions $(, nullable $nullable)?
                    $(, tag $tag)?);)*
                let _ = (random, dialect);
                message
            }
        }
    )+};

    (@default) => { Default::default() };
    (@default $default:expr) => { $default };

    (@bytes_min $bytes:ident, $type:ty, $dialect:ident, $versions:expr) => {
        if $versions.contains(&$dialect.version) {
            $bytes += <$type as $crate::wire::Field>::bytes_min($dialect);
        }
    };
    (@bytes_min $bytes:ident, $type:ty, $dialect:ident, $versions:expr, tag $tag:literal) => {};

    (@read $message:ident, $field:ident, $reader:ident, $dialect:ident, $versions:expr) => {
        if $versions.contains(&$dialect.version) {
            $message.$field = $crate::wire::Field::read($reader, $dialect)?;
        }
    };
    (@read $message:ident, $field:ident, $reader:ident, $dialect:ident, $versions:expr, nullable $nullable:expr) => {
        if $versions.contains(&$dialect.version) {
            $message.$field = $crate::wire::Field::read($reader, $dialect)?;
            if $message.$field.is_none() && !$nullable.contains(&$dialect.version) {
                return Err($reader.malformed("null where the field has none in this version"));
            }
        }
    };
    (@read $message:ident, $field:ident, $reader:ident, $dialect:ident, $versions:expr, tag $tag:literal) => {};

    (@read_tagged $message:ident, $field:ident, $reader:ident, $tagged:ident, $dialect:ident, $versions:expr) => {};
    (@read_tagged $message:ident, $field:ident, $reader:ident, $tagged:ident, $dialect:ident, $versions:expr,
        tag $tag:literal) => {
        if $tagged == $tag && $versions.contains(&$dialect.version) {
            $message.$field = $crate::wire::Field::read_tagged($reader, $dialect)?;
            return Ok(true);
        }
    };

    (@write $self:ident, $field:ident, $type:ty, $sink:ident, $dialect:ident, $versions:expr) => {
        if $versions.contains(&$dialect.version) {
            $crate::wire::Field::write(&$self.$field, $sink, $dialect);
        }
    };
    (@write $self:ident, $field:ident, $type:ty, $sink:ident, $dialect:ident, $versions:expr,
        nullable $nullable:expr) => {
        if $versions.contains(&$dialect.version) {
            if $self.$field.is_none() && !$nullable.contains(&$dialect.version) {
                let empty: $type = Some(Default::default());
                $crate::wire::Field::write(&empty, $sink, $dialect);
            } else {
                $crate::wire::Field::write(&$self.$field, $sink, $dialect);
            }
        }
    };
    (@write $self:ident, $field:ident, $type:ty, $sink:ident, $dialect:ident, $versions:expr, tag $tag:literal) => {};

    (@count_tagged $self:ident, $field:ident, $default:ident, $count:ident, $dialect:ident, $versions:expr) => {};
    (@count_tagged $self:ident, $field:ident, $default:ident, $count:ident, $dialect:ident, $versions:expr,
        tag $tag:literal) => {
        $count += u32::from($versions.contains(&$dialect.version) && $self.$field != $default.$field);
    };

    (@write_tagged $self:ident, $field:ident, $default:ident, $sink:ident, $dialect:ident, $versions:expr) => {};
    (@write_tagged $self:ident, $field:ident, $default:ident, $sink:ident, $dialect:ident, $versions:expr,
        tag $tag:literal) => {
        if $versions.contains(&$dialect.version) && $self.$field != $default.$field {
            let mut size = $crate::wire::Count::default();
            $crate::wire::Field::write_tagged(&$self.$field, &mut size, $dialect);
            $sink.unsigned_varint($tag);
            $sink.unsigned_varint(size.total_bytes() as u32);
            $crate::wire::Field::write_tagged(&$self.$field, $sink, $dialect);
        }
    };

    (@sample $message:ident, $field:ident, $random:ident, $dialect:ident, $versions:expr $(, tag $tag:literal)?) => {
        if $versions.contains(&$dialect.version) {
            $message.$field = $crate::wire::tests::sample::Sample::sample($random, $dialect);
        }
    };
    (@sample $message:ident, $field:ident, $random:ident, $dialect:ident, $versions:expr, nullable $nullable:expr
        $(, tag $tag:literal)?) => {
        if $versions.contains(&$dialect.version) {
            $message.$field = $crate::wire::tests::sample::Sample::sample($random, $dialect);
            if $message.$field.is_none() && !$nullable.contains(&$dialect.version) {
                $message.$field = Some(Default::default());
            }
        }
    };
}
