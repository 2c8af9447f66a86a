//! The workshop: a thread of the node that takes batches which take long - to prepare, or to look through for a time -, and snapshots of the
//! metadata, so that no shard waits for a codec.
//!
//! Lives on no core of its own and yields to the shards; its view is the batch. Always: (1) of every request under way one batch is
//! taken in turn, so a large one does not hold up the others; (2) every batch is answered once, to the shard it came from.
//! Leaves to others: the order in which batches are appended (the shards' cores).

use super::beside;
use super::mail::{LookMail, LookedMail, Mail, PrepareMail, PreparedMail};
use super::rings::Mailbox;
use crate::machine::image::Image;
use crate::machine::quorum::EncodedSnapshot;
use millstream_storage::ids::ShardIndex;
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

/// How long it waits where a shard's ring is full.
const BLOCKED: Duration = Duration::from_millis(1);

/// The address of the workshop: it comes behind the shards.
pub fn address(shard_count: u16) -> ShardIndex {
    ShardIndex(shard_count)
}

/// What is done here.
#[derive(Debug)]
pub enum Work {
    /// Batches of one request to prepare.
    Prepare(Box<PrepareMail>),
    /// A batch to look through.
    Look(Box<LookMail>),
    /// Metadata to encode as a snapshot.
    Snapshot(Box<Image>),
}

impl Work {
    /// What a letter asks for, if it is for the workshop; other letters come back.
    pub fn of(mail: Mail) -> Result<Work, Mail> {
        match mail {
            Mail::Prepare(request) => Ok(Work::Prepare(request)),
            Mail::Look(request) => Ok(Work::Look(request)),
            Mail::Snapshot(image) => Ok(Work::Snapshot(image)),
            other => Err(other),
        }
    }

    /// Takes the next batch: gives the letter about it, and what is left.
    pub fn take(self) -> Option<(Mail, Option<Work>)> {
        match self {
            Work::Prepare(mut request) => {
                let (part, batch) = request.batches.pop_front()?;
                let prepared = PreparedMail {
                    request: request.request,
                    part,
                    result: batch.prepare(&mut request.budget),
                };
                let left = (!request.batches.is_empty()).then_some(Work::Prepare(request));
                Some((Mail::Prepared(Box::new(prepared)), left))
            }
            Work::Look(request) => {
                let looked = LookedMail {
                    ticket: request.ticket,
                    looked: request.look.look(),
                };
                Some((Mail::Looked(Box::new(looked)), None))
            }
            Work::Snapshot(image) => {
                let snapshot = Box::new(EncodedSnapshot::of(&image));
                Some((Mail::Snapshotted(snapshot), None))
            }
        }
    }
}

impl From<Work> for Mail {
    fn from(work: Work) -> Mail {
        match work {
            Work::Prepare(request) => Mail::Prepare(request),
            Work::Look(request) => Mail::Look(request),
            Work::Snapshot(image) => Mail::Snapshot(image),
        }
    }
}

/// Starts the thread. It lives as long as the process.
pub fn start(mailbox: Mailbox<Mail>) -> io::Result<()> {
    beside::start("workshop", move || run(mailbox))
}

fn run(mut mailbox: Mailbox<Mail>) {
    let mut waiting = VecDeque::new();
    loop {
        mailbox.receive(|from, mail| {
            if let Ok(work) = Work::of(mail) {
                waiting.push_back((from, work));
            }
        });
        if let Some((from, work)) = waiting.pop_front()
            && let Some((answer, left)) = work.take()
        {
            mailbox.send(from, answer);
            waiting.extend(left.map(|left| (from, left)));
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
