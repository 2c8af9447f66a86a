//! Mail between shards: one single-producer single-consumer ring per ordered pair, and the waker of each shard.
//!
//! Always: (1) letters of a pair arrive in the order in which they were sent; (2) the letters of one turn go over as one
//! bundle, and wake the receiver at most once, and only if it sleeps; (3) a full ring keeps the letters at the sender, who
//! tries again the next turn; (4) nobody waits for anybody.
//! A node has shards * (shards - 1) rings of `BUNDLES` bundles; a bundle's memory is used again.

use super::ring::eventfd;
use millstream_storage::ids::ShardIndex;
use std::cell::UnsafeCell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

/// Bundles a ring holds. BOUND: a power of two.
const BUNDLES: usize = 64;

/// Wakes a shard that sleeps, from any thread; also carries the wish that it stops.
#[derive(Debug)]
pub struct Waker {
    sleeping: AtomicBool,
    stopping: AtomicBool,
    signal: OwnedFd,
}

impl Waker {
    fn new() -> io::Result<Waker> {
        Ok(Waker {
            sleeping: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            signal: eventfd()?,
        })
    }

    /// Asks the shard to stop in order.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.signal();
    }

    /// Wakes the shard if it sleeps. What it is to find was stored before.
    pub fn wake(&self) {
        // ORDER: the letter is stored before the flag is read, and a sleeper sets the flag before it looks for letters;
        // without the fence both could miss each other.
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::SeqCst) {
            self.signal();
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Says that the shard sleeps from now on. It looks for letters once more before it does.
    pub(super) fn sleeps(&self) {
        self.sleeping.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    pub(super) fn is_awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// Waits until it is woken; on a thread that has nothing else to wait for.
    pub(super) fn wait(&self) {
        let mut count = 0u64;
        // SAFETY: eight bytes of an integer. Where it fails, the caller looks for letters once more.
        let _ = unsafe {
            let room = std::ptr::from_mut(&mut count).cast();
            libc::read(self.signal.as_raw_fd(), room, 8)
        };
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.signal.as_fd()
    }

    fn signal(&self) {
        let one = 1u64;
        // SAFETY: eight bytes of an integer. It fails only when the counter is full, and then the signal is there already.
        let _ = unsafe { libc::write(self.signal.as_raw_fd(), std::ptr::from_ref(&one).cast(), 8) };
    }
}

/// A cache line of its own (two, for the prefetcher that takes pairs).
#[repr(align(128))]
struct Apart<T>(T);

/// One direction of one pair.
struct Lane<T> {
    bundles: Box<[UnsafeCell<Vec<T>>]>,
    /// Bundles ever written; only the sender stores it.
    written: Apart<AtomicUsize>,
    /// Bundles ever read; only the receiver stores it.
    read: Apart<AtomicUsize>,
}

// SAFETY: a bundle is touched by the sender alone while it is not written, by the receiver alone while it is; the
// counters hand it over with release and acquire. There is one `Outbox` and one `Inbox` per lane, neither is Clone.
unsafe impl<T: Send> Sync for Lane<T> {}

struct Outbox<T> {
    lane: Arc<Lane<T>>,
    receiver: Arc<Waker>,
    letters: Vec<T>,
}

struct Inbox<T> {
    lane: Arc<Lane<T>>,
    from: ShardIndex,
}

/// One shard's end of the mail.
pub struct Mailbox<T> {
    waker: Arc<Waker>,
    /// By the receiver's index; none for the shard itself.
    out: Vec<Option<Outbox<T>>>,
    inboxes: Vec<Inbox<T>>,
    /// Receivers with letters that are not delivered.
    dirty: Vec<usize>,
}

/// The mailboxes of a node's shards, connected with each other.
pub fn mailboxes<T: Send>(shards: usize) -> io::Result<Vec<Mailbox<T>>> {
    let wakers = (0..shards)
        .map(|_| Waker::new().map(Arc::new))
        .collect::<io::Result<Vec<_>>>()?;
    let mut boxes: Vec<Mailbox<T>> = wakers
        .iter()
        .map(|waker| Mailbox {
            waker: waker.clone(),
            out: Vec::new(),
            inboxes: Vec::new(),
            dirty: Vec::new(),
        })
        .collect();
    for from in 0..shards {
        for (to, waker) in wakers.iter().enumerate() {
            if from == to {
                boxes[from].out.push(None);
                continue;
            }
            let lane = Arc::new(Lane::new());
            boxes[from].out.push(Some(Outbox {
                lane: lane.clone(),
                receiver: waker.clone(),
                letters: Vec::new(),
            }));
            boxes[to].inboxes.push(Inbox {
                lane,
                from: ShardIndex(from as u16),
            });
        }
    }
    Ok(boxes)
}

impl<T> Mailbox<T> {
    /// Wakes and stops this shard.
    pub fn waker(&self) -> &Arc<Waker> {
        &self.waker
    }

    /// Puts a letter into this turn's bundle.
    pub fn send(&mut self, to: ShardIndex, letter: T) {
        let at = usize::from(to.0);
        let outbox = self.out[at]
            .as_mut()
            .expect("a shard sends no mail to itself");
        if outbox.letters.is_empty() {
            self.dirty.push(at);
        }
        outbox.letters.push(letter);
    }

    /// Hands the bundles over and wakes the receivers that sleep.
    pub fn deliver(&mut self) {
        let out = &mut self.out;
        self.dirty.retain(|&at| {
            let outbox = out[at].as_mut().expect("only other shards get letters");
            let delivered = outbox.lane.write(&mut outbox.letters);
            if delivered {
                outbox.receiver.wake();
            }
            !delivered
        });
    }

    /// Whether letters wait at this end because a ring is full.
    pub fn is_blocked(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Whether there are letters for this shard.
    pub fn has_mail(&self) -> bool {
        self.inboxes.iter().any(|inbox| !inbox.lane.is_empty())
    }

    /// Takes all letters there are; those that arrive meanwhile wait for the next call.
    pub fn receive(&mut self, mut take: impl FnMut(ShardIndex, T)) {
        for inbox in &self.inboxes {
            inbox.lane.read(|letter| take(inbox.from, letter));
        }
    }
}

impl<T> Lane<T> {
    fn new() -> Lane<T> {
        Lane {
            bundles: (0..BUNDLES).map(|_| UnsafeCell::default()).collect(),
            written: Apart(AtomicUsize::new(0)),
            read: Apart(AtomicUsize::new(0)),
        }
    }

    /// Sender: hands over the letters, and leaves an empty vector in their place; false if there is no room.
    fn write(&self, letters: &mut Vec<T>) -> bool {
        let written = self.written.0.load(Ordering::Relaxed);
        // Acquire: the receiver is done with the bundle before we see it as read.
        if written.wrapping_sub(self.read.0.load(Ordering::Acquire)) == BUNDLES {
            return false;
        }
        // SAFETY: not yet written, hence the sender's alone.
        let bundle = unsafe { &mut *self.bundles[written % BUNDLES].get() };
        std::mem::swap(bundle, letters);
        // ORDER: the bundle is whole before it counts as written.
        self.written
            .0
            .store(written.wrapping_add(1), Ordering::Release);
        true
    }

    /// Receiver: takes the letters of all bundles written by now.
    fn read(&self, mut take: impl FnMut(T)) {
        let written = self.written.0.load(Ordering::Acquire);
        let mut read = self.read.0.load(Ordering::Relaxed);
        while read != written {
            // SAFETY: written and not yet read, hence the receiver's alone.
            let bundle = unsafe { &mut *self.bundles[read % BUNDLES].get() };
            bundle.drain(..).for_each(&mut take);
            read = read.wrapping_add(1);
            // ORDER: the bundle is empty before it counts as read.
            self.read.0.store(read, Ordering::Release);
        }
    }

    fn is_empty(&self) -> bool {
        self.written.0.load(Ordering::Acquire) == self.read.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_a_pair_arrive_in_order_under_load() {
        const LETTERS: u64 = 200_000;
        let mut boxes = mailboxes::<u64>(2).expect("eventfds");
        let mut right = boxes.pop().expect("two");
        let mut left = boxes.pop().expect("two");
        let sender = std::thread::spawn(move || {
            let mut next = 0;
            while next < LETTERS || left.is_blocked() {
                for _ in 0..(next % 7 + 1) {
                    if next < LETTERS {
                        left.send(ShardIndex(1), next);
                        next += 1;
                    }
                }
                left.deliver();
                std::thread::yield_now();
            }
        });
        let mut expected = 0;
        while expected < LETTERS {
            right.receive(|from, letter| {
                assert_eq!((from, letter), (ShardIndex(0), expected));
                expected += 1;
            });
            // On a busy machine the sender needs this core to send more.
            std::thread::yield_now();
        }
        sender.join().expect("no panic");
        assert!(!right.has_mail());
    }

    #[test]
    fn a_full_ring_keeps_letters_at_the_sender() {
        let mut boxes = mailboxes::<usize>(2).expect("eventfds");
        for letter in 0..BUNDLES + 10 {
            boxes[0].send(ShardIndex(1), letter);
            boxes[0].deliver();
        }
        assert!(boxes[0].is_blocked());
        let mut got = Vec::new();
        boxes[1].receive(|_, letter| got.push(letter));
        assert_eq!(got.len(), BUNDLES);
        boxes[0].deliver();
        assert!(!boxes[0].is_blocked());
        boxes[1].receive(|_, letter| got.push(letter));
        assert!(got.into_iter().eq(0..BUNDLES + 10));
    }

    #[test]
    fn a_sleeper_is_signalled_once() {
        let mut boxes = mailboxes::<u8>(2).expect("eventfds");
        boxes[1].waker().sleeps();
        for _ in 0..3 {
            boxes[0].send(ShardIndex(1), 0);
            boxes[0].deliver();
        }
        let mut count = 0u64;
        // SAFETY: eight bytes into an integer.
        let read = unsafe {
            libc::read(
                boxes[1].waker().descriptor().as_raw_fd(),
                std::ptr::from_mut(&mut count).cast(),
                8,
            )
        };
        assert_eq!((read, count), (8, 1));
    }
}
