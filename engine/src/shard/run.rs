//! One shard's thread: a pinned glommio executor whose one long task drives the shard's ring.
//!
//! Lives on one shard's core. Always: (1) executors are made once per process (each leaks an eventfd when it ends); (2)
//! after `ROUNDS` turns the other tasks of the executor get their time; (3) a shard without work sleeps: first a moment in
//! its own ring, in the enter that submits what is queued, where a completion wakes it soonest; then in glommio's, on the
//! eventfd of the ring.
//! Leaves to others: what a turn does (`shell`).

use super::event::{FatalReason, ShardCore};
use super::mail::Mail;
use super::ring::Ring;
use super::rings::{Mailbox, Waker};
use super::shell::{Disk, Found, Shell};
use glommio::io::BufferedFile;
use glommio::timer::Timer;
use glommio::{LocalExecutorBuilder, Placement};
use millstream_net::conn::{ListenerIndex, Transport};
use millstream_net::io::{SocketLimits, Sockets};
use millstream_storage::ids::ShardIndex;
use std::future::Future;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{self, Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

/// Turns between two offers of time to the executor's other tasks.
const ROUNDS: u32 = 32;
/// The wait in the shard's own ring before it sleeps in glommio's: sleeping there costs some 40 us more per wake. BOUND:
/// the executor's other tasks wait so long at the most.
const LINGER: Duration = Duration::from_millis(1);
/// Memory an executor's own rings may lock; it counts three times, against a limit per user.
const EXECUTOR_MEMORY_BYTES: usize = 64 * 1024;
/// Depth of the executor's own rings: they carry timers and the ring's eventfd.
const EXECUTOR_RING_DEPTH: usize = 32;

/// What a shard's thread is made of.
pub struct ShardSeed {
    /// Its number.
    pub index: ShardIndex,
    /// The core it is pinned to, if any.
    pub cpu: Option<usize>,
    /// The cores its kernel workers run on; anywhere if there are none.
    pub worker_cpus: Vec<usize>,
    /// Listening sockets, its own of each listener.
    pub listeners: Vec<(ListenerIndex, OwnedFd)>,
    /// Bounds of connections.
    pub sockets: SocketLimits,
    /// What it may hold in received requests.
    pub transport_bytes: usize,
    /// The descriptor of the data directory's lock: the ring keeps it open until its last request has ended.
    pub lock: Option<RawFd>,
    /// Its end of the mail.
    pub mailbox: Mailbox<Mail>,
}

/// A running shard.
pub struct ShardThread {
    thread: JoinHandle<Result<(), FatalReason>>,
}

impl ShardThread {
    /// Waits until the shard has stopped.
    pub fn join(self) -> Result<(), FatalReason> {
        match self.thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// Starts a shard's thread. `make` builds core and disk there, `up` is called there when nothing of the start can fail any
/// more. A dead end is given to `fatal` on that thread at once, which is expected to end the process.
pub fn start<C, D, M, U, F>(seed: ShardSeed, make: M, up: U, fatal: F) -> io::Result<ShardThread>
where
    C: ShardCore + 'static,
    D: Disk + 'static,
    M: FnOnce() -> (C, D) + Send + 'static,
    U: FnOnce() + Send + 'static,
    F: FnOnce(&FatalReason) + Send + 'static,
{
    let name = format!("shard-{}", seed.index);
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        let result = host(seed, make, up);
        if let Err(reason) = &result {
            fatal(reason);
        }
        result
    })?;
    Ok(ShardThread { thread })
}

/// Runs the executor on this thread.
fn host<C, D, M, U>(seed: ShardSeed, make: M, up: U) -> Result<(), FatalReason>
where
    C: ShardCore + 'static,
    D: Disk + 'static,
    M: FnOnce() -> (C, D),
    U: FnOnce(),
{
    let placement = seed.cpu.map_or(Placement::Unbound, Placement::Fixed);
    let build = || {
        LocalExecutorBuilder::new(placement.clone())
            .io_memory(EXECUTOR_MEMORY_BYTES)
            .ring_depth(EXECUTOR_RING_DEPTH)
            .make()
    };
    // Locked memory of processes that ended a moment ago is given back late: one more try.
    let executor = build()
        .or_else(|_| {
            std::thread::sleep(Duration::from_millis(100));
            build()
        })
        .map_err(|error| {
            FatalReason::Runtime(format!(
                "no executor for the shard: {error}; raise the limit of locked memory (ulimit -l)"
            ))
        })?;
    executor.run(async move {
        let ring = Ring::new(seed.lock.as_slice(), &seed.worker_cpus)
            .map_err(|error| FatalReason::Runtime(format!("no io_uring: {error}")))?;
        let sockets = Sockets::new(
            &ring.submitter(),
            seed.sockets,
            Transport::new(seed.transport_bytes),
            seed.listeners,
        )
        .map_err(|error| FatalReason::Runtime(format!("no receive buffers: {error}")))?;
        let (core, disk) = make();
        let waker = seed.mailbox.waker().clone();
        let shell = Shell::new(ring, sockets, disk, core, seed.mailbox);
        drive(shell, &waker, up).await
    })
}

/// Turns until the shard has stopped.
async fn drive<C: ShardCore, D: Disk>(
    mut shell: Shell<C, D>,
    waker: &Waker,
    up: impl FnOnce(),
) -> Result<(), FatalReason> {
    let mut signal = Signal::new(&mut shell, waker)
        .map_err(|error| FatalReason::Runtime(format!("no eventfd: {error}")))?;
    up();
    let result = turns(&mut shell, &mut signal).await;
    if result.is_err() || !shell.is_quiet() {
        // The kernel may still write to its buffers.
        std::mem::forget(shell);
    }
    result
}

async fn turns<C: ShardCore, D: Disk>(
    shell: &mut Shell<C, D>,
    signal: &mut Signal,
) -> Result<(), FatalReason> {
    let mut rounds = 0;
    loop {
        let patience = if shell.prepare_sleep() {
            shell
                .sleep_max()
                .map_or(LINGER, |at_most| at_most.min(LINGER))
        } else {
            Duration::ZERO
        };
        let found = shell.turn(patience)?;
        rounds += 1;
        if rounds % ROUNDS == 0 {
            glommio::executor().yield_now().await;
        }
        match found {
            Found::End => return Ok(()),
            Found::Nothing if patience == LINGER => sleep(shell, signal).await?,
            Found::Nothing | Found::Work => {}
        }
    }
}

/// Sleeps in glommio's ring until the shard's own has a completion, or a deadline comes.
async fn sleep<C: ShardCore, D: Disk>(
    shell: &mut Shell<C, D>,
    signal: &mut Signal,
) -> Result<(), FatalReason> {
    shell.ring().arm();
    // ORDER: armed before the last look; what completes from here on signals. A completion found now is handled by the
    // next turn, and the signal it leaves behind costs one idle turn.
    shell
        .ring()
        .enter()
        .map_err(|error| FatalReason::Runtime(format!("io_uring_enter: {error}")))?;
    if !shell.ring().has_completions() && shell.prepare_sleep() {
        signal.wait(shell.sleep_max()).await;
    }
    shell.ring().disarm();
    Ok(())
}

type Read = Pin<Box<dyn Future<Output = ()>>>;

/// An eventfd as glommio sees it. One read stays in flight between sleeps.
///
/// It is polled once, and again when it has woken somebody: glommio keeps another reference to the task for every poll of a read, and
/// ends the process when a task has 32,767 of them.
struct Source {
    file: Rc<BufferedFile>,
    read: Option<Read>,
    woken: Arc<Woken>,
}

/// Whom a read wakes, and whether it has.
struct Woken {
    raised: AtomicBool,
    sleeper: Mutex<Option<task::Waker>>,
}

impl Woken {
    fn sleeper(&self) -> MutexGuard<'_, Option<task::Waker>> {
        // Nothing panics while it is held.
        self.sleeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes this task from now on.
    fn wakes(&self, waker: &task::Waker) {
        let mut sleeper = self.sleeper();
        if !sleeper.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *sleeper = Some(waker.clone());
        }
    }
}

impl task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.raised.store(true, Ordering::Release);
        if let Some(sleeper) = self.sleeper().as_ref() {
            sleeper.wake_by_ref();
        }
    }
}

impl Source {
    fn new(descriptor: BorrowedFd<'_>) -> io::Result<Source> {
        let own = descriptor.try_clone_to_owned()?;
        // SAFETY: a descriptor of our own, given away.
        let file = unsafe { BufferedFile::from_raw_fd(own.into_raw_fd()) };
        Ok(Source {
            file: Rc::new(file),
            read: None,
            woken: Arc::new(Woken {
                raised: AtomicBool::new(false),
                sleeper: Mutex::new(None),
            }),
        })
    }

    fn is_signalled(&mut self, context: &mut Context<'_>) -> bool {
        self.woken.wakes(context.waker());
        let woken = self.woken.raised.swap(false, Ordering::Acquire);
        if self.read.is_some() && !woken {
            return false;
        }
        let file = &self.file;
        let read = self.read.get_or_insert_with(|| {
            let file = file.clone();
            Box::pin(async move {
                // A read of an eventfd fails only when it is closed.
                let _ = file.read_at(0, 8).await;
            })
        });
        let waker = task::Waker::from(Arc::clone(&self.woken));
        let mut context = Context::from_waker(&waker);
        let signalled = read.as_mut().poll(&mut context).is_ready();
        if signalled {
            self.read = None;
        }
        signalled
    }
}

/// What ends a sleep in glommio's ring: the eventfd of the shard's ring, and the shard's waker itself. The waker wakes the
/// shard's ring too, but that ring's own signal may then be lost: a kernel defers an eventfd that is signalled from within
/// another one's write, and some forget it.
struct Signal {
    sources: [Source; 2],
}

impl Signal {
    fn new<C: ShardCore, D: Disk>(shell: &mut Shell<C, D>, waker: &Waker) -> io::Result<Signal> {
        let ring = Source::new(shell.ring().signal())?;
        let waker = Source::new(waker.descriptor())?;
        Ok(Signal {
            sources: [ring, waker],
        })
    }

    async fn wait(&mut self, at_most: Option<Duration>) {
        let sources = &mut self.sources;
        let mut timer = at_most.map(Timer::new);
        std::future::poll_fn(|context| {
            // All of them: each keeps the context that wakes it.
            let mut signalled = false;
            for source in sources.iter_mut() {
                signalled |= source.is_signalled(context);
            }
            let due = timer
                .as_mut()
                .map(|timer| Pin::new(timer).poll(context).is_ready());
            match signalled || due == Some(true) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsFd, AsRawFd};

    #[test]
    fn a_signal_that_does_not_come_is_waited_for_any_number_of_times() {
        // SAFETY: a plain system call; the descriptor is ours alone.
        let descriptor = unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, libc::EFD_CLOEXEC)) };
        let waiting = async move {
            let mut source = Source::new(descriptor.as_fd()).expect("a descriptor more");
            for _ in 0..100_000 {
                let asked =
                    std::future::poll_fn(|context| Poll::Ready(source.is_signalled(context)));
                assert!(!asked.await);
            }
            let one = 1_u64.to_ne_bytes();
            // SAFETY: eight bytes of our own, written to our own descriptor.
            let written = unsafe { libc::write(descriptor.as_raw_fd(), one.as_ptr().cast(), 8) };
            assert_eq!(written, 8);
            std::future::poll_fn(|context| match source.is_signalled(context) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            })
            .await;
        };
        let executor = LocalExecutorBuilder::new(Placement::Unbound)
            .io_memory(EXECUTOR_MEMORY_BYTES)
            .ring_depth(EXECUTOR_RING_DEPTH)
            .make();
        executor.expect("an executor").run(waiting);
    }
}
