//! The ring of shared receive buffers of one shard (IORING_REGISTER_PBUF_RING).
//!
//! Always: (1) a buffer is either the kernel's (in the ring) or ours (between its completion and `give_back`); (2) the
//! memory outlives the ring it is registered with: whoever drops the pool has closed that ring.
//! The pool is small on purpose: it fits a core's cache, and what arrives in it is copied out at once.

use io_uring::Submitter;
use io_uring::types::BufRingEntry;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

/// Bytes of one buffer.
pub(super) const BUFFER_BYTES: usize = 8 * 1024;
/// Buffers of a pool. BOUND: a power of two, as the kernel wants it.
pub(super) const BUFFER_COUNT: u16 = 64;
/// The number of the pool within its ring.
pub(super) const GROUP: u16 = 1;
const PAGE_BYTES: usize = 4096;

/// The shared receive buffers.
pub(super) struct Pool {
    memory: *mut u8,
    tail: u16,
}

impl Pool {
    /// Allocates the buffers and registers them with a ring.
    pub(super) fn new(submitter: &Submitter<'_>) -> io::Result<Pool> {
        // SAFETY: the layout has a size above zero.
        let memory = unsafe { alloc_zeroed(layout()) };
        if memory.is_null() {
            handle_alloc_error(layout());
        }
        let mut pool = Pool { memory, tail: 0 };
        // SAFETY: the address is page-aligned and has room for the entries; it stays valid as `Pool` promises (2).
        unsafe {
            submitter.register_buf_ring_with_flags(memory as u64, BUFFER_COUNT, GROUP, 0)?;
        }
        for buffer in 0..BUFFER_COUNT {
            pool.give_back(buffer);
        }
        Ok(pool)
    }

    /// The first `count` bytes of a buffer that a completion named.
    pub(super) fn bytes(&self, buffer: u16, count: usize) -> &[u8] {
        assert!(buffer < BUFFER_COUNT && count <= BUFFER_BYTES);
        // SAFETY: within the allocation by the assertion; initialised (zeroed at first); the kernel does not write to it
        // until it is given back, which needs `&mut self`.
        unsafe { std::slice::from_raw_parts(self.address(buffer), count) }
    }

    /// Hands a buffer to the kernel again.
    pub(super) fn give_back(&mut self, buffer: u16) {
        assert!(buffer < BUFFER_COUNT);
        let address = self.address(buffer) as u64;
        let entries = self.memory.cast::<BufRingEntry>();
        let index = usize::from(self.tail & (BUFFER_COUNT - 1));
        // SAFETY: the index is within the ring, and the kernel does not read the entry before the tail covers it.
        let entry = unsafe { &mut *entries.add(index) };
        entry.set_addr(address);
        entry.set_len(BUFFER_BYTES as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies in the first entry, which is valid and aligned; we are its only writer.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(entries).cast_mut()) };
        // ORDER: the entry is written before the tail shows it; swapped, the kernel could receive to a stale address.
        tail.store(self.tail, Ordering::Release);
    }

    fn address(&self, buffer: u16) -> *mut u8 {
        // SAFETY: callers have checked the number; the buffers lie behind the first page of entries.
        unsafe {
            self.memory
                .add(PAGE_BYTES + usize::from(buffer) * BUFFER_BYTES)
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: allocated with the same layout; the ring is closed (2).
        unsafe { dealloc(self.memory, layout()) }
    }
}

fn layout() -> Layout {
    const { assert!(BUFFER_COUNT as usize * size_of::<BufRingEntry>() <= PAGE_BYTES) };
    Layout::from_size_align(
        PAGE_BYTES + usize::from(BUFFER_COUNT) * BUFFER_BYTES,
        PAGE_BYTES,
    )
    .expect("a page is a power of two")
}
