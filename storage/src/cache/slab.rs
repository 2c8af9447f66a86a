//! Aligned memory that goes round: windows, reads and chunks take it from a pool and give it back when the last reader ends.
//!
//! Always: (1) memory of a slab is initialised from its birth, so handing it out as bytes is sound; (2) a slab has one
//! owner that may write, or readers only; (3) the pool keeps at most its limit of free bytes, and none after `trim`.
//! A pool belongs to one shard; only the return of memory may come from another thread.

use crate::disk::BLOCK_BYTES;
use bytes::Bytes;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// Above this, capacities are multiples of [`LARGE_STEP_BYTES`]; below it, powers of two.
const LARGE_BYTES: usize = 1 << 20;
const LARGE_STEP_BYTES: usize = 256 << 10;
/// A large page of the processor (x86-64, and arm64 with pages of 4 KiB): it is copied to, pinned for the disk and handed to it in one piece
/// instead of in 512 pages that lie anywhere.
pub(super) const HUGE_BYTES: usize = 2 << 20;
/// From here on memory comes from the system by itself, page by page as it is first touched: an allocator would write zeros over all of an
/// aligned piece at once, which holds up whoever takes it by milliseconds.
const MAPPED_BYTES: usize = 256 << 10;

/// So many huge pieces are made when none is ready.
const HUGE_READY: usize = 16;
/// How often who makes them looks whether its pool is still there.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// A pool of aligned memory. Cloning gives another handle of the same pool.
#[derive(Clone, Debug)]
pub struct SlabPool {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    shelf: Mutex<Shelf>,
    /// Huge memory is wanted.
    wanted: Condvar,
}

#[derive(Debug, Default)]
struct Shelf {
    free: BTreeMap<usize, Vec<Memory>>,
    free_bytes: usize,
    free_bytes_max: usize,
    /// Huge pieces that are to be made beside the shard.
    huge_due: usize,
}

impl SlabPool {
    /// A pool that keeps at most `free_bytes_max` bytes for the next taker.
    pub fn new(free_bytes_max: usize) -> SlabPool {
        let shelf = Shelf {
            free_bytes_max,
            ..Shelf::default()
        };
        SlabPool {
            shared: Arc::new(Shared {
                shelf: Mutex::new(shelf),
                wanted: Condvar::new(),
            }),
        }
    }

    /// What makes huge memory ready while it is asked for, for a thread of its own; without it there is none. It ends with the pool.
    pub fn huge_maker(&self) -> impl FnOnce() + Send + 'static {
        let pool = Arc::downgrade(&self.shared);
        move || make_huge(&pool)
    }

    /// Whether a huge piece is ready. Where none is, and free memory leaves room, some are made by and by: whoever asks takes smaller ones
    /// meanwhile, and waits for no page.
    pub(super) fn has_huge(&self) -> bool {
        let mut shelf = self.lock();
        if shelf
            .free
            .get(&HUGE_BYTES)
            .is_some_and(|free| !free.is_empty())
        {
            return true;
        }
        let room = shelf.free_bytes_max.saturating_sub(shelf.free_bytes);
        if shelf.huge_due == 0 && room >= HUGE_READY * HUGE_BYTES {
            shelf.huge_due = HUGE_READY;
            self.shared.wanted.notify_one();
        }
        false
    }

    /// A buffer of `bytes` bytes, block-aligned in address and with a block-aligned capacity. Its content is arbitrary but
    /// initialised (what an earlier owner left, or zeros).
    pub fn take(&self, bytes: usize) -> AlignedBuffer {
        AlignedBuffer {
            slab: self.slab(bytes),
            bytes,
        }
    }

    /// Gives all free memory back to the system.
    pub fn trim(&self) {
        let free = {
            let mut shelf = self.lock();
            shelf.free_bytes = 0;
            shelf.huge_due = 0;
            std::mem::take(&mut shelf.free)
        };
        drop(free);
    }

    /// Free bytes that wait for a taker.
    pub fn free_bytes(&self) -> usize {
        self.lock().free_bytes
    }

    pub(super) fn slab(&self, bytes: usize) -> Slab {
        let capacity = capacity_for(bytes);
        let reused = {
            let mut shelf = self.lock();
            let found = shelf.free.get_mut(&capacity).and_then(Vec::pop);
            if found.is_some() {
                shelf.free_bytes -= capacity;
            }
            found
        };
        Slab {
            memory: Some(reused.unwrap_or_else(|| Memory::new(capacity))),
            pool: self.clone(),
        }
    }

    fn put(&self, memory: Memory) {
        let mut shelf = self.lock();
        if shelf.free_bytes + memory.capacity <= shelf.free_bytes_max {
            shelf.free_bytes += memory.capacity;
            shelf.free.entry(memory.capacity).or_default().push(memory);
        } else {
            drop(shelf);
            drop(memory);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shared.lock()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Shelf> {
        // No code under this lock panics halfway through a change, so a poisoned one still holds a good shelf.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes huge pieces while they are wanted, as long as the pool lives. Their pages are touched here: the system clears one as a whole, which
/// takes up to milliseconds where it has to find it first.
fn make_huge(pool: &Weak<Shared>) {
    while let Some(shared) = pool.upgrade() {
        let mut shelf = shared.lock();
        if shelf.huge_due == 0 {
            let waited = shared.wanted.wait_timeout(shelf, LOOK_AGAIN);
            drop(waited);
            continue;
        }
        shelf.huge_due -= 1;
        drop(shelf);
        match Memory::huge() {
            Some(memory) => SlabPool { shared }.put(memory),
            // Nobody needs it: whoever asks next has it tried again.
            None => shared.lock().huge_due = 0,
        }
    }
}

/// The capacity that a request for `bytes` bytes gets.
pub(super) fn capacity_for(bytes: usize) -> usize {
    if bytes <= LARGE_BYTES {
        bytes.next_power_of_two().max(BLOCK_BYTES)
    } else {
        bytes.next_multiple_of(LARGE_STEP_BYTES)
    }
}

/// One piece of aligned memory on its way from the pool and back.
#[derive(Debug)]
pub(super) struct Slab {
    memory: Option<Memory>,
    pool: SlabPool,
}

impl Slab {
    pub(super) fn capacity(&self) -> usize {
        self.memory().capacity
    }

    pub(super) fn start(&self) -> NonNull<u8> {
        self.memory().start
    }

    fn memory(&self) -> &Memory {
        self.memory
            .as_ref()
            .expect("memory leaves a slab only when it is dropped")
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            self.pool.put(memory);
        }
    }
}

#[derive(Debug)]
struct Memory {
    start: NonNull<u8>,
    capacity: usize,
}

// SAFETY: plain memory without an owner thread; who may read or write it is ruled by the types around it.
unsafe impl Send for Memory {}
// SAFETY: as above; a shared reference alone gives access to nothing but the address.
unsafe impl Sync for Memory {}

impl Memory {
    fn new(capacity: usize) -> Memory {
        let layout = layout(capacity);
        let start = match capacity >= MAPPED_BYTES {
            true => mapped(capacity),
            // SAFETY: the layout has a size above zero. Zeroed memory is initialised.
            false => NonNull::new(unsafe { alloc_zeroed(layout) }),
        };
        match start {
            Some(start) => Memory { start, capacity },
            None => handle_alloc_error(layout),
        }
    }
}

impl Memory {
    /// A large page, touched; `None` where the system has no room. Where it gives none of these, the pages are small.
    fn huge() -> Option<Memory> {
        // What lies beside it goes back.
        let start = mapped(2 * HUGE_BYTES)?;
        let before = start.align_offset(HUGE_BYTES);
        // SAFETY: parts of the mapping just made, by whole pages; nobody uses them yet. The advice (madvise(2), transparent huge pages) changes
        // no content.
        let start = unsafe {
            let page = start.add(before);
            if before > 0 {
                libc::munmap(start.as_ptr().cast(), before);
            }
            libc::munmap(page.add(HUGE_BYTES).as_ptr().cast(), HUGE_BYTES - before);
            libc::madvise(page.as_ptr().cast(), HUGE_BYTES, libc::MADV_HUGEPAGE);
            page.as_ptr().write_bytes(0, HUGE_BYTES);
            page
        };
        Some(Memory {
            start,
            capacity: HUGE_BYTES,
        })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let start = self.start.as_ptr();
        match self.capacity >= MAPPED_BYTES {
            // SAFETY: mapped in `new` with the same length, and given back once. It cannot fail for a whole mapping.
            true => _ = unsafe { libc::munmap(start.cast(), self.capacity) },
            // SAFETY: allocated in `new` with the same layout, and released once.
            false => unsafe { dealloc(start, layout(self.capacity)) },
        }
    }
}

/// Private zero pages of the system (mmap(2)); `None` where it has none.
fn mapped(bytes: usize) -> Option<NonNull<u8>> {
    let (access, kind) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    // SAFETY: a new mapping where the system likes, which touches nobody's memory.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, kind, -1, 0) };
    NonNull::new(start.cast()).filter(|_| start != libc::MAP_FAILED)
}

fn layout(capacity: usize) -> Layout {
    assert!(capacity > 0, "aligned memory has a size");
    Layout::from_size_align(capacity, BLOCK_BYTES)
        .expect("capacities are far below the address space")
}

/// Aligned bytes with one owner; they go back to their pool when dropped.
#[derive(Debug)]
pub struct AlignedBuffer {
    slab: Slab,
    bytes: usize,
}

impl AlignedBuffer {
    /// How many bytes it can hold; a multiple of the block size.
    pub fn capacity(&self) -> usize {
        self.slab.capacity()
    }

    /// Makes it `bytes` bytes long. What is above the former length is arbitrary.
    pub fn set_len(&mut self, bytes: usize) {
        assert!(
            bytes <= self.capacity(),
            "a buffer does not grow beyond its capacity"
        );
        self.bytes = bytes;
    }

    /// The same memory, now shared and read-only; it returns to the pool with the last handle.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the slab is initialised, at least `bytes` long, and only written through `&mut self`.
        unsafe { std::slice::from_raw_parts(self.slab.start().as_ptr(), self.bytes) }
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` is the only access.
        unsafe { std::slice::from_raw_parts_mut(self.slab.start().as_ptr(), self.bytes) }
    }
}
