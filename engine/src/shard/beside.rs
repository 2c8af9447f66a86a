//! Threads of the node beside the shards: for what takes long, so that no shard waits for it.

use std::io;
use std::thread::Builder;

/// How much they stand behind the shards, where they want the same core.
const NICENESS: i32 = 10;

/// Starts one, which runs wherever there is time, also where the one that starts it is pinned.
pub fn start(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = Builder::new().name(name.into());
    let run = move || {
        yield_to_shards();
        work();
    };
    thread.spawn(run).map(drop)
}

/// Where a call is refused, the thread is as important as the shards, or stays on the processor of the one that started it.
fn yield_to_shards() {
    // SAFETY: plain system calls; 0 is this thread, a set of no processors is one of zeros, and one of all is lawful.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS);
        let mut everywhere: libc::cpu_set_t = std::mem::zeroed();
        (0..libc::CPU_SETSIZE as usize).for_each(|cpu| libc::CPU_SET(cpu, &mut everywhere));
        libc::sched_setaffinity(0, size_of_val(&everywhere), &everywhere);
    }
}
