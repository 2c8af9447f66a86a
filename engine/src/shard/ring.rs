//! The io_uring of one shard: made once on the shard's thread, entered once per turn.
//!
//! Lives on one shard's core. Always: (1) one `io_uring_enter` per turn submits and reaps together; (2) an entry that
//! finds the submission queue full waits in user space, in order, for the next enter; (3) IOSQE_IO_DRAIN is never used (it
//! hangs under DEFER_TASKRUN): whoever needs an order waits for a completion; (4) the eventfd of the ring is signalled
//! only between `arm` and `disarm`.
//! Leaves to others: what is submitted and what completions mean.

use io_uring::{IoUring, Submitter, cqueue, squeue, types};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Submissions between two enters; more wait in user space.
const SUBMISSIONS: u32 = 512;
/// Completions that wait for us. BOUND: beyond it the kernel keeps them in its own memory, none is lost.
const COMPLETIONS: u32 = 8 * SUBMISSIONS;
/// Kernel workers of a ring: for syncs and for IO that would block.
const WORKERS_BOUNDED: u32 = 16;
/// Kernel workers for what may wait for ever; nothing of ours does.
const WORKERS_UNBOUNDED: u32 = 4;

/// IORING_ENTER_GETEVENTS.
const ENTER_GETEVENTS: u32 = 1;
/// IORING_ENTER_EXT_ARG.
const ENTER_EXT_ARG: u32 = 8;

/// The ring.
pub(super) struct Ring {
    ring: IoUring,
    overflow: VecDeque<squeue::Entry>,
    signal: OwnedFd,
}

impl Ring {
    /// Makes the ring. `fixed` descriptors stay open until the kernel's last request on the ring has ended, even when the
    /// process is killed; its workers run on `worker_cpus`, or anywhere if there are none.
    pub(super) fn new(fixed: &[RawFd], worker_cpus: &[usize]) -> io::Result<Ring> {
        let ring = build()?;
        let submitter = ring.submitter();
        if !fixed.is_empty() {
            submitter.register_files(fixed)?;
        }
        let signal = eventfd()?;
        submitter.register_eventfd(signal.as_raw_fd())?;
        submitter.register_iowq_max_workers(&mut [WORKERS_BOUNDED, WORKERS_UNBOUNDED])?;
        if let Some(cpus) = cpu_set(worker_cpus) {
            submitter.register_iowq_aff(&cpus)?;
        }
        let mut ring = Ring {
            ring,
            overflow: VecDeque::new(),
            signal,
        };
        ring.disarm();
        Ok(ring)
    }

    /// For registering buffers.
    pub(super) fn submitter(&self) -> Submitter<'_> {
        self.ring.submitter()
    }

    /// Queues a submission for the next turn.
    ///
    /// # Safety
    /// What the entry points to stays valid until its completion.
    pub(super) unsafe fn push(&mut self, entry: &squeue::Entry) {
        if !self.overflow.is_empty() {
            self.overflow.push_back(entry.clone());
            return;
        }
        // SAFETY: the caller's promise.
        if unsafe { self.ring.submission().push(entry) }.is_err() {
            self.overflow.push_back(entry.clone());
        }
    }

    /// Submits what is queued and runs what the kernel has ready; does not wait.
    pub(super) fn enter(&mut self) -> io::Result<()> {
        let count = self.queued();
        // SAFETY: no argument is passed.
        unsafe { self.raw_enter::<libc::sigset_t>(count, 0, ENTER_GETEVENTS, None)? };
        self.refill()
    }

    /// Like `enter`, and waits for a completion, at the most for so long.
    pub(super) fn enter_and_wait(&mut self, patience: Duration) -> io::Result<()> {
        let count = self.queued();
        let patience = types::Timespec::from(patience);
        let arguments = types::SubmitArgs::new().timespec(&patience);
        let flags = ENTER_GETEVENTS | ENTER_EXT_ARG;
        // SAFETY: the argument is the struct that EXT_ARG stands for, alive through the call.
        unsafe { self.raw_enter(count, 1, flags, Some(&arguments))? };
        self.refill()
    }

    /// Moves completions out.
    pub(super) fn reap(&mut self, into: &mut Vec<cqueue::Entry>) {
        into.extend(self.ring.completion());
    }

    /// From now on a completion signals the eventfd. The caller enters once more before it sleeps.
    pub(super) fn arm(&mut self) {
        self.ring.completion().enable_eventfd();
    }

    /// Completions do not signal any more.
    pub(super) fn disarm(&mut self) {
        self.ring.completion().disable_eventfd();
    }

    /// The eventfd that `arm` speaks of.
    pub(super) fn signal(&self) -> BorrowedFd<'_> {
        self.signal.as_fd()
    }

    /// Whether completions wait to be reaped.
    pub(super) fn has_completions(&mut self) -> bool {
        !self.ring.completion().is_empty()
    }

    fn queued(&mut self) -> u32 {
        self.ring.submission().len() as u32
    }

    /// Fills the submission queue from what waits in user space, and submits that, until nothing waits.
    fn refill(&mut self) -> io::Result<()> {
        while !self.overflow.is_empty() {
            let mut queue = self.ring.submission();
            while let Some(entry) = self.overflow.front() {
                // SAFETY: `push` was promised that the entry stays valid.
                if unsafe { queue.push(entry) }.is_err() {
                    break;
                }
                self.overflow.pop_front();
            }
            drop(queue);
            if self.overflow.is_empty() {
                break;
            }
            let count = self.queued();
            // SAFETY: no argument is passed.
            unsafe { self.raw_enter::<libc::sigset_t>(count, 0, ENTER_GETEVENTS, None)? };
        }
        Ok(())
    }

    /// # Safety
    /// The argument is what the flags say.
    unsafe fn raw_enter<T>(
        &self,
        submit: u32,
        wait: u32,
        flags: u32,
        argument: Option<&T>,
    ) -> io::Result<()> {
        // SAFETY: the caller's promise.
        let result = unsafe { self.ring.submitter().enter(submit, wait, flags, argument) };
        match result {
            Ok(_) => Ok(()),
            // Interrupted, timed out, or the completion queue must be emptied first: the next turn goes on.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EINTR | libc::ETIME | libc::EBUSY | libc::EAGAIN)
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// An eventfd that closes on exec.
pub(super) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: a plain system call.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Memory of rings that ended a moment ago is given back late: one more try.
fn build() -> io::Result<IoUring> {
    let build = || {
        IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)
    };
    match build() {
        Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => {
            std::thread::sleep(Duration::from_millis(100));
            build()
        }
        result => result,
    }
}

fn cpu_set(cpus: &[usize]) -> Option<libc::cpu_set_t> {
    if cpus.is_empty() {
        return None;
    }
    // SAFETY: all zero is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &cpu in cpus {
        assert!(
            cpu < libc::CPU_SETSIZE as usize,
            "a set of cpus ends at {}",
            libc::CPU_SETSIZE
        );
        // SAFETY: within the set by the assertion.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    Some(set)
}
