//! Transport memory: the buffers requests are received into, and the budget of a shard for them.
//!
//! Always: (1) a buffer is charged with its capacity from its making until the last handle on it is dropped, on whatever
//! thread that happens; (2) the budget refuses nothing by itself: whoever receives asks `is_full` before it takes more.
//! Leaves to others: when to stop receiving (`io`).

use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a shard may hold in received requests.
#[derive(Clone, Debug)]
pub struct Transport {
    inner: Arc<Budget>,
}

#[derive(Debug)]
struct Budget {
    used_bytes: AtomicUsize,
    limit_bytes: usize,
}

impl Transport {
    /// A budget of that many bytes.
    pub fn new(limit_bytes: usize) -> Transport {
        Transport {
            inner: Arc::new(Budget {
                used_bytes: AtomicUsize::new(0),
                limit_bytes,
            }),
        }
    }

    /// An empty buffer with room for that many bytes.
    pub fn room(&self, capacity_bytes: usize) -> Room {
        let bytes = Vec::with_capacity(capacity_bytes);
        self.charge(bytes.capacity());
        Room {
            bytes,
            transport: self.clone(),
        }
    }

    /// A buffer that holds a copy.
    pub fn copy(&self, from: &[u8]) -> Bytes {
        let mut room = self.room(from.len());
        room.extend(from);
        room.freeze()
    }

    /// Bytes held.
    pub fn used_bytes(&self) -> usize {
        self.inner.used_bytes.load(Ordering::Relaxed)
    }

    /// Whether receiving must wait until something is given back.
    pub fn is_full(&self) -> bool {
        self.used_bytes() >= self.inner.limit_bytes
    }

    /// Whether enough was given back to receive again after it was full: an eighth is free.
    pub fn is_roomy(&self) -> bool {
        self.used_bytes() < self.inner.limit_bytes - self.inner.limit_bytes / 8
    }

    fn charge(&self, bytes: usize) {
        self.inner.used_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn refund(&self, bytes: usize) {
        self.inner.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A buffer being filled.
#[derive(Debug)]
pub struct Room {
    bytes: Vec<u8>,
    transport: Transport,
}

impl Room {
    /// Bytes in it.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing is in it yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that fit behind those in it.
    pub fn spare_bytes(&self) -> usize {
        self.bytes.capacity() - self.bytes.len()
    }

    /// Makes it hold at least that many bytes in all.
    pub fn grow_to(&mut self, capacity_bytes: usize) {
        let before = self.bytes.capacity();
        if capacity_bytes > before {
            self.bytes.reserve_exact(capacity_bytes - self.bytes.len());
            self.transport.charge(self.bytes.capacity() - before);
        }
    }

    /// Appends a copy. The room must be there.
    pub fn extend(&mut self, from: &[u8]) {
        assert!(
            from.len() <= self.spare_bytes(),
            "a room does not grow by itself"
        );
        self.bytes.extend_from_slice(from);
    }

    /// Where the next byte goes.
    pub fn spare_start(&mut self) -> *mut u8 {
        self.bytes.spare_capacity_mut().as_mut_ptr().cast()
    }

    /// Takes note of bytes that were written from `spare_start` on.
    ///
    /// # Safety
    /// That many bytes from `spare_start` on have been initialised, and they are within `spare_bytes`.
    pub unsafe fn filled(&mut self, count: usize) {
        assert!(
            count <= self.spare_bytes(),
            "more bytes arrived than there was room for"
        );
        // SAFETY: within the capacity by the assertion, initialised by the caller's promise.
        unsafe { self.bytes.set_len(self.bytes.len() + count) }
    }

    /// Ends the filling.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Room {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.transport.refund(self.bytes.capacity());
    }
}
