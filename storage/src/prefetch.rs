//! Hints to the processor: what is touched soon is brought near while something else is done.
//!
//! A shard with ten thousand partitions finds little of the next one in its caches, and waits for one line after the other. Where a turn
//! has many of them, the lines of all are asked for first. A hint changes nothing but time; where the processor has none it is nothing.

/// A cache line, in bytes.
const LINE_BYTES: usize = 64;

/// Asks for a value, without what it points to.
#[inline]
pub fn value<T>(value: &T) {
    lines(std::ptr::from_ref(value).cast(), size_of::<T>());
}

/// Asks for the end of some bytes, and as much behind them as will be written next.
#[inline]
pub fn end_of(bytes: &[u8], behind: usize) {
    lines(bytes.as_ptr_range().end.wrapping_sub(1), behind + 1);
}

#[inline]
fn lines(from: *const u8, bytes: usize) {
    let mut at = 0;
    while at < bytes {
        line(from.wrapping_add(at));
        at += LINE_BYTES;
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn line(at: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch reads nothing that the program sees and faults at no address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn line(_: *const u8) {}
