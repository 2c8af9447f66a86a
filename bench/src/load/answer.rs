//! Reading answers in place: every step is checked against the bytes that are there.

/// A place in some bytes.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: bytes }
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*first)
    }

    #[inline]
    pub fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    #[inline]
    pub fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    #[inline]
    pub fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    #[inline]
    pub fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(first)
    }

    #[inline]
    pub fn skip(&mut self, bytes: usize) -> Option<()> {
        self.take(bytes).map(|_| ())
    }

    /// A string with a length of two bytes.
    pub fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.i16()?).ok()?;
        self.take(length)
    }
}

/// What a fetch answer has of one partition.
#[derive(Clone, Copy, Debug)]
pub struct FetchedPartition<'a> {
    pub topic: &'a [u8],
    pub partition: i32,
    pub code: i16,
    pub log_start: i64,
    /// Record batches, the last one possibly cut.
    pub batches: &'a [u8],
}

/// Reads an answer to Fetch in version 11, a frame without its length prefix: the code of the whole, and each partition. `None`
/// where the bytes are not such an answer.
pub fn read_fetch<'a>(
    frame: &'a [u8],
    correlation_id: i32,
    mut each: impl FnMut(FetchedPartition<'a>),
) -> Option<i16> {
    let mut cursor = Cursor::new(frame);
    if cursor.i32()? != correlation_id {
        return None;
    }
    cursor.i32()?;
    let code = cursor.i16()?;
    cursor.i32()?;
    for _ in 0..cursor.i32()?.max(0) {
        let topic = cursor.text()?;
        for _ in 0..cursor.i32()?.max(0) {
            let partition = cursor.i32()?;
            let code = cursor.i16()?;
            cursor.i64()?;
            cursor.i64()?;
            let log_start = cursor.i64()?;
            let aborted = cursor.i32()?.max(0) as usize;
            cursor.skip(aborted.checked_mul(16)?)?;
            cursor.i32()?;
            let length = cursor.i32()?.max(0) as usize;
            each(FetchedPartition {
                topic,
                partition,
                code,
                log_start,
                batches: cursor.take(length)?,
            });
        }
    }
    Some(code)
}
