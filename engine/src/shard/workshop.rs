//! The workshop: a thread of the node that prepares batches which take long, so that no shard waits for a codec.
//!
//! Lives on no core of its own and yields to the shards; its view is the batch. Always: (1) of every request under way one batch is
//! prepared in turn, so a large one does not hold up the others; (2) every batch is answered once, to the shard it came from.
//! Leaves to others: the order in which batches are appended (the shards' cores).

use super::mail::{Mail, PrepareMail, PreparedMail};
use super::rings::Mailbox;
use millstream_storage::ids::ShardIndex;
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

/// How much the thread stands behind the shards, where they want the same core.
const NICENESS: i32 = 10;
/// How long it waits where a shard's ring is full.
const BLOCKED: Duration = Duration::from_millis(1);

/// The address of the workshop: it comes behind the shards.
pub fn address(shard_count: u16) -> ShardIndex {
    ShardIndex(shard_count)
}

/// Prepares the next batch of a request: gives the letter about it, and the rest of the request.
pub fn work(mut request: PrepareMail) -> Option<(PreparedMail, PrepareMail)> {
    let (part, batch) = request.batches.pop_front()?;
    let prepared = PreparedMail {
        request: request.request,
        part,
        result: batch.prepare(&mut request.budget),
    };
    Some((prepared, request))
}

/// Starts the thread. It lives as long as the process.
pub fn start(mailbox: Mailbox<Mail>) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("workshop".into());
    thread.spawn(move || run(mailbox)).map(drop)
}

fn run(mut mailbox: Mailbox<Mail>) {
    // SAFETY: a plain system call; 0 is this thread. Where it is refused, the thread is as important as the shards.
    let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
    let mut waiting = VecDeque::new();
    loop {
        mailbox.receive(|from, mail| {
            if let Mail::Prepare(request) = mail {
                waiting.push_back((from, *request));
            }
        });
        if let Some((from, request)) = waiting.pop_front()
            && let Some((prepared, rest)) = work(request)
        {
            mailbox.send(from, Mail::Prepared(Box::new(prepared)));
            waiting.push_back((from, rest));
        }
        mailbox.deliver();
        if !waiting.is_empty() {
            continue;
        }
        if mailbox.is_blocked() {
            std::thread::sleep(BLOCKED);
            continue;
        }
        mailbox.waker().sleeps();
        if mailbox.has_mail() {
            mailbox.waker().is_awake();
        } else {
            mailbox.waker().wait();
        }
    }
}
