//! Pinning threads to processors.

use std::io;

/// Pins this thread to a processor.
pub fn pin(cpu: usize) -> io::Result<()> {
    // SAFETY: all-zero bytes are an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    if cpu >= 8 * size_of::<libc::cpu_set_t>() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: the set is ours and has room for this processor.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the set lives through the call.
    let done = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Lets short waits of this thread end on time.
pub fn wake_on_time() {
    // SAFETY: a plain system call; where it is refused waits are a little longer.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_000) };
}
