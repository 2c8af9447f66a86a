//! The loop around one shard's core: completions become events, effects become submissions.
//!
//! Lives on one shard's core; its view is the shard. Always: (1) a turn enters the kernel once, gives the core all events
//! there are, calls `turn`, and runs its effects in order; (2) it decides nothing about connections or logs; (3) nothing
//! the kernel still holds is freed: a shell that cannot drain is leaked.
//! Leaves to others: when to sleep (`run`), sockets (`millstream_net::io`), files (`Disk`).

use super::event::{FatalReason, ShardCore, ShardEffect, ShardEvent};
use super::mail::Mail;
use super::ring::Ring;
use super::rings::Mailbox;
use io_uring::{cqueue, opcode, squeue, types};
use millstream_net::io::{SocketEvent, Sockets};
use millstream_storage::disk::{DiskDone, DiskOp, OpId};
use millstream_storage::ids::{Now, Tick, WallMs};
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// The top byte of the shell's own `user_data`.
const CLASS_SHELL: u8 = 0;
/// The read of the waker's eventfd.
const WAKE: u64 = 1;
/// The shortest sleep.
const NAP: Duration = Duration::from_micros(20);
/// How long the ends of connections and of the last operations are waited for when the shard stops.
const DRAIN: Duration = Duration::from_millis(1_000);

/// How often it is told that connections are refused.
const REFUSALS_MS: u64 = 10_000;

/// Connections that were refused, told in a line now and then.
#[derive(Default)]
struct Refusals {
    count: u64,
    /// No line before this.
    quiet_until: Tick,
}

impl Refusals {
    fn tell(&mut self, now: Tick, open: usize) {
        self.count += 1;
        if now < self.quiet_until {
            return;
        }
        self.quiet_until = now.after_ms(REFUSALS_MS);
        eprintln!(
            "millstream: {open} connections are open, as many as this shard may have (`max.connections`, or the limit of open files): {} more were closed at once",
            self.count
        );
        self.count = 0;
    }
}

/// Executes operations on files.
pub trait Disk {
    /// Starts an operation.
    fn submit(&mut self, op: OpId, disk: DiskOp, push: &mut dyn FnMut(&squeue::Entry));
    /// Takes a completion of the ring that is not the sockets'; `None` while the operation goes on.
    fn complete(
        &mut self,
        user_data: u64,
        result: i32,
        push: &mut dyn FnMut(&squeue::Entry),
    ) -> Option<DiskDone>;
    /// Whether nothing is in flight.
    fn is_quiet(&self) -> bool;
}

/// Where the shard is between running and gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Running,
    /// The core was told to stop.
    Stopping,
    /// The core has stopped; connections and operations end until then.
    Draining {
        until: Tick,
    },
}

/// What a turn found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// Something happened.
    Work,
    /// Nothing: sleeping is in order.
    Nothing,
    /// The shard has stopped.
    End,
}

/// The loop's state. Fields are dropped in order: the ring closes before what it points to goes.
pub(super) struct Shell<C, D> {
    ring: Ring,
    sockets: Sockets,
    disk: D,
    core: C,
    mailbox: Mailbox<Mail>,
    phase: Phase,
    /// Where the kernel stores the waker's count; never freed, because this read outlives the ring by a moment.
    wake_count: &'static mut u64,
    wake_armed: bool,
    completions: Vec<cqueue::Entry>,
    socket_events: Vec<SocketEvent>,
    effects: Vec<ShardEffect>,
    refusals: Refusals,
    now: Now,
}

impl<C: ShardCore, D: Disk> Shell<C, D> {
    pub(super) fn new(
        ring: Ring,
        sockets: Sockets,
        disk: D,
        core: C,
        mailbox: Mailbox<Mail>,
    ) -> Shell<C, D> {
        Shell {
            ring,
            sockets,
            disk,
            core,
            mailbox,
            phase: Phase::Running,
            wake_count: Box::leak(Box::new(0)),
            wake_armed: false,
            completions: Vec::new(),
            socket_events: Vec::new(),
            effects: Vec::new(),
            refusals: Refusals::default(),
            now: read_clocks(),
        }
    }

    /// One turn. `patience` is how long the kernel may wait for something to happen; zero if it must not.
    pub(super) fn turn(&mut self, patience: Duration) -> Result<Found, FatalReason> {
        self.arm_wake();
        let entered = if patience.is_zero() {
            self.ring.enter()
        } else {
            self.ring.enter_and_wait(patience)
        };
        entered.map_err(broken)?;
        self.mailbox.waker().is_awake();
        self.ring.reap(&mut self.completions);
        self.now = read_clocks();
        let completed = !self.completions.is_empty();
        let mut worked = completed | self.dispatch();
        worked |= self.take_mail();
        if worked || self.is_due() {
            self.core.turn(self.now, &mut self.effects);
            worked = true;
        }
        self.run_effects()?;
        self.flush_sockets()?;
        self.mailbox.deliver();
        self.follow_stop()?;
        if self.has_ended() {
            return Ok(Found::End);
        }
        Ok(if worked { Found::Work } else { Found::Nothing })
    }

    /// Says to the other shards that this one sleeps unless woken. False if something came up meanwhile.
    pub(super) fn prepare_sleep(&mut self) -> bool {
        let waker = self.mailbox.waker();
        waker.sleeps();
        let quiet = !self.mailbox.has_mail() && !self.mailbox.is_blocked();
        if !quiet {
            waker.is_awake();
        }
        quiet
    }

    /// How long it may sleep, from the last turn on; `None` for ever.
    pub(super) fn sleep_max(&self) -> Option<Duration> {
        let sockets = self.sockets.deadline_ms(ms(self.now.tick));
        let draining = match self.phase {
            Phase::Draining { until } => Some(until),
            _ => None,
        };
        let sockets = sockets.map(|at_ms| Tick(at_ms.saturating_mul(1_000_000)));
        let at = [self.core.deadline(), sockets, draining]
            .into_iter()
            .flatten()
            .min()?;
        // What is overdue behind a turn waits for a completion: looking again at once would only burn the core.
        Some(Duration::from_nanos(at.0.saturating_sub(self.now.tick.0)).max(NAP))
    }

    pub(super) fn ring(&mut self) -> &mut Ring {
        &mut self.ring
    }

    /// Whether the kernel holds nothing of it, so that it can be dropped.
    pub(super) fn is_quiet(&self) -> bool {
        self.sockets.is_quiet() && self.disk.is_quiet()
    }

    /// Keeps a read of the waker's eventfd in flight, so that a wake is a completion like any other.
    fn arm_wake(&mut self) {
        if self.wake_armed {
            return;
        }
        self.wake_armed = true;
        let target = std::ptr::from_mut(self.wake_count).cast();
        let read = opcode::Read::new(
            types::Fd(self.mailbox.waker().descriptor().as_raw_fd()),
            target,
            8,
        )
        .build()
        .user_data(WAKE);
        // SAFETY: the target is never freed.
        unsafe { self.ring.push(&read) }
    }

    /// Gives the core what completed.
    fn dispatch(&mut self) -> bool {
        let now_ms = ms(self.now.tick);
        let ring = &mut self.ring;
        for entry in self.completions.drain(..) {
            match (entry.user_data() >> 56) as u8 {
                millstream_net::io::CLASS => {
                    self.sockets
                        .complete(now_ms, &entry, &mut self.socket_events);
                }
                CLASS_SHELL => self.wake_armed = false,
                _ => {
                    // SAFETY: the disk keeps what its entries point to until their completion.
                    let mut push = |entry: &squeue::Entry| unsafe { ring.push(entry) };
                    let done = self
                        .disk
                        .complete(entry.user_data(), entry.result(), &mut push);
                    if let Some(done) = done {
                        self.core
                            .step(self.now, ShardEvent::Disk(done), &mut self.effects);
                    }
                }
            }
        }
        self.take_socket_events()
    }

    fn take_socket_events(&mut self) -> bool {
        let worked = !self.socket_events.is_empty();
        for event in self.socket_events.drain(..) {
            let event = match event {
                SocketEvent::Opened {
                    conn,
                    listener,
                    peer,
                } => ShardEvent::Opened {
                    conn,
                    listener,
                    peer,
                },
                SocketEvent::Frame { conn, bytes } => ShardEvent::Frame { conn, bytes },
                SocketEvent::Sent { conn, bytes } => ShardEvent::Sent { conn, bytes },
                SocketEvent::Closed { conn, reason } => ShardEvent::Closed { conn, reason },
                SocketEvent::Refused => {
                    self.refusals.tell(self.now.tick, self.sockets.count());
                    continue;
                }
            };
            self.core.step(self.now, event, &mut self.effects);
        }
        worked
    }

    fn take_mail(&mut self) -> bool {
        let mut worked = false;
        self.mailbox.receive(|from, mail| {
            worked = true;
            let event = ShardEvent::Mail { from, mail };
            self.core.step(self.now, event, &mut self.effects);
        });
        worked
    }

    fn is_due(&self) -> bool {
        self.core.deadline().is_some_and(|at| at <= self.now.tick)
    }

    fn run_effects(&mut self) -> Result<(), FatalReason> {
        let now_ms = ms(self.now.tick);
        let ring = &mut self.ring;
        for effect in self.effects.drain(..) {
            match effect {
                ShardEffect::Send { conn, parts } => self.sockets.send(conn, parts),
                ShardEffect::Close { conn } => self.sockets.close(now_ms, conn),
                ShardEffect::Pause { conn } => self.sockets.pause(conn),
                ShardEffect::Resume { conn } => self.sockets.resume(now_ms, conn),
                ShardEffect::Mail { to, mail } => self.mailbox.send(to, mail),
                ShardEffect::Disk { op, disk } => {
                    // SAFETY: the disk keeps what its entries point to until their completion.
                    let mut push = |entry: &squeue::Entry| unsafe { ring.push(entry) };
                    self.disk.submit(op, disk, &mut push);
                }
                ShardEffect::Note(text) => eprintln!("millstream: {text}"),
                ShardEffect::Fatal { reason } => return Err(reason),
                ShardEffect::Stopped => {
                    self.sockets.close_all(now_ms);
                    let until = Tick(self.now.tick.0 + DRAIN.as_nanos() as u64);
                    self.phase = Phase::Draining { until };
                }
            }
        }
        Ok(())
    }

    /// Lets the sockets submit; what ends on the way is told to the core, whose effects may need the sockets again.
    fn flush_sockets(&mut self) -> Result<(), FatalReason> {
        loop {
            let ring = &mut self.ring;
            self.sockets
                .flush(ms(self.now.tick), &mut self.socket_events, |entry| {
                    // SAFETY: the sockets keep what the entry points to until its completion.
                    unsafe { ring.push(entry) }
                });
            if !self.take_socket_events() {
                return Ok(());
            }
            self.core.turn(self.now, &mut self.effects);
            self.run_effects()?;
        }
    }

    fn follow_stop(&mut self) -> Result<(), FatalReason> {
        if self.phase == Phase::Running && self.mailbox.waker().is_stopping() {
            self.phase = Phase::Stopping;
            self.sockets.stop_listening();
            self.core
                .step(self.now, ShardEvent::Stop, &mut self.effects);
            self.core.turn(self.now, &mut self.effects);
            self.run_effects()?;
            self.flush_sockets()?;
            self.mailbox.deliver();
        }
        Ok(())
    }

    fn has_ended(&self) -> bool {
        match self.phase {
            Phase::Draining { until } => self.is_quiet() || self.now.tick >= until,
            _ => false,
        }
    }
}

fn broken(error: io::Error) -> FatalReason {
    FatalReason::Runtime(format!("io_uring_enter: {error}"))
}

/// Milliseconds of the clock of timers.
fn ms(tick: Tick) -> u64 {
    tick.0 / 1_000_000
}

/// Both clocks. The clock of timers is the machine's monotonic one, the same for all shards.
pub(crate) fn read_clocks() -> Now {
    let read = |clock| {
        let mut at = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the struct is ours; both clocks exist on Linux.
        unsafe { libc::clock_gettime(clock, &mut at) };
        at
    };
    let tick = read(libc::CLOCK_MONOTONIC);
    let wall = read(libc::CLOCK_REALTIME);
    Now {
        tick: Tick(tick.tv_sec as u64 * 1_000_000_000 + tick.tv_nsec as u64),
        wall: WallMs(wall.tv_sec * 1_000 + wall.tv_nsec / 1_000_000),
    }
}
