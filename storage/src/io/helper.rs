//! A thread for the few calls that the ring does not offer: syncfs, and setting lengths on older kernels.
//!
//! Always: (1) jobs run one after the other, in order; (2) each outcome raises the eventfd by one, after it can be received.
//! The thread is started by the first job, so that a shard that needs none has none.

use super::system;
use crate::disk::{DiskError, DiskResult, OpId};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// What the thread does.
pub(super) enum Job {
    /// syncfs of the file system that `root` is on, then fdatasync of `file`.
    SyncFs {
        root: Arc<OwnedFd>,
        file: Arc<OwnedFd>,
    },
    /// ftruncate.
    SetLength { file: Arc<OwnedFd>, bytes: u64 },
    /// ftruncate, where the file is shorter.
    Extend { file: Arc<OwnedFd>, bytes: u64 },
}

pub(super) struct Helper {
    event: Arc<OwnedFd>,
    running: Option<Running>,
}

struct Running {
    jobs: Sender<(OpId, Job)>,
    outcomes: Receiver<(OpId, DiskResult)>,
    thread: JoinHandle<()>,
}

impl Helper {
    pub(super) fn new() -> io::Result<Helper> {
        // SAFETY: a plain system call.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_SEMAPHORE) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Helper {
            // SAFETY: just made, owned by nobody else.
            event: Arc::new(unsafe { OwnedFd::from_raw_fd(fd) }),
            running: None,
        })
    }

    /// Reading 8 bytes from it ends once for each outcome.
    pub(super) fn event(&self) -> RawFd {
        self.event.as_raw_fd()
    }

    pub(super) fn start(&mut self, op: OpId, job: Job) {
        let running = self
            .running
            .get_or_insert_with(|| Running::new(Arc::clone(&self.event)));
        running
            .jobs
            .send((op, job))
            .expect("the helper thread lives as long as its sender");
    }

    /// The outcome that the eventfd announced.
    pub(super) fn outcome(&mut self) -> (OpId, DiskResult) {
        let running = self.running.as_ref().expect("an outcome follows a job");
        running
            .outcomes
            .recv()
            .expect("the helper thread lives as long as its sender")
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        if let Some(Running {
            jobs,
            outcomes,
            thread,
        }) = self.running.take()
        {
            drop((jobs, outcomes));
            // It ends after the job at hand; how it ended does not matter any more.
            let _ = thread.join();
        }
    }
}

impl Running {
    fn new(event: Arc<OwnedFd>) -> Running {
        let (jobs, from_owner) = channel::<(OpId, Job)>();
        let (to_owner, outcomes) = channel();
        let work = move || {
            for (op, job) in from_owner {
                let result = match run(&job) {
                    Ok(()) => DiskResult::Done,
                    Err(error) => DiskResult::Failed(DiskError {
                        // What never reached the system was refused for its arguments.
                        errno: error.raw_os_error().unwrap_or(libc::EINVAL),
                    }),
                };
                if to_owner.send((op, result)).is_err() {
                    return;
                }
                raise(&event);
            }
        };
        let thread = std::thread::Builder::new()
            .name("disk-helper".into())
            .spawn(work);
        Running {
            jobs,
            outcomes,
            thread: thread.expect("a process that runs shards may start one thread more"),
        }
    }
}

fn run(job: &Job) -> io::Result<()> {
    match job {
        Job::SyncFs { root, file } => {
            // ORDER: syncfs writes everything out -> fdatasync flushes the device, which some file systems do only then. The other
            // way round, bytes would sit in the device's cache when this completes.
            system::sync_fs(root.as_raw_fd())?;
            system::result(
                // SAFETY: the descriptor is open as long as its `Arc` is held.
                unsafe { libc::fdatasync(file.as_raw_fd()) },
            )
        }
        Job::SetLength { file, bytes } => set_length(file, *bytes),
        Job::Extend { file, bytes } => {
            let length = std::fs::File::from(file.try_clone()?).metadata()?.len();
            if length < *bytes {
                set_length(file, *bytes)
            } else {
                Ok(())
            }
        }
    }
}

fn set_length(file: &OwnedFd, bytes: u64) -> io::Result<()> {
    std::fs::File::from(file.try_clone()?).set_len(bytes)
}

fn raise(event: &OwnedFd) {
    let one = 1u64.to_ne_bytes();
    // SAFETY: 8 bytes of this frame. An eventfd counts to 2^64 - 2 before a write could wait.
    let written = unsafe { libc::write(event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    assert_eq!(written, 8, "an eventfd takes a count");
}
