//! SIGTERM and SIGINT: the first asks the node to stop in order, a second one that is meant ends it at once.
//!
//! Always: the signals are blocked before the first thread starts, so that only the thread that waits for them gets them.

use std::io;
use std::time::{Duration, Instant};

/// Exit code of a process that was interrupted while it stopped.
const INTERRUPTED: i32 = 130;
/// A second signal that comes sooner is the first one again: supervisors send it to the process and to its group.
const ECHO: Duration = Duration::from_secs(1);

/// The blocked signals.
pub struct Signals {
    set: libc::sigset_t,
}

impl Signals {
    /// Blocks them for this thread and all it starts from now on.
    pub fn block() -> io::Result<Signals> {
        // SAFETY: all-zero bytes are valid for the type, and sigemptyset makes it an empty set.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: the set is ours.
        let blocked = unsafe {
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, libc::SIGTERM);
            libc::sigaddset(&mut set, libc::SIGINT);
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut())
        };
        match blocked {
            0 => Ok(Signals { set }),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    /// Calls `stop` at the first signal, on a thread of its own; a later one ends the process.
    pub fn on_first(self, stop: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let wait = move || {
            if self.wait().is_ok() {
                stop();
            }
            let first = Instant::now();
            while self.wait().is_ok() {
                if first.elapsed() >= ECHO {
                    eprintln!("millstream: ended without waiting; nothing acknowledged is lost");
                    std::process::exit(INTERRUPTED);
                }
            }
        };
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(wait)
            .map(drop)
    }

    fn wait(&self) -> io::Result<()> {
        let mut signal = 0;
        // SAFETY: set and number live through the call.
        match unsafe { libc::sigwait(&self.set, &mut signal) } {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}
