//! What decides about the shard's commit log: windows, the journal ring, marks, checkpoints, and which logs are flushed when.
//!
//! Pure: events in (`append`, `window_done`, ...), effects out. It knows logs, places, links and byte counts, nothing of
//! batches, files or Kafka.
//!
//! Always: (1) `Durable` follows only bytes in an unbroken chain of synced windows and extents; (2) a window's effects follow its
//! sequence; (3) a journal file is recycled only behind a synced checkpoint that needs nothing in it; (4) the orders of
//! FORMAT.md that recovery relies on.
//! Leaves to others: building windows, files, memory (`store`), reading it all back (`recovery`).

mod flush;
mod gather;
mod image;
mod log;
mod machine;
mod pace;
mod parts;
mod ring;
#[cfg(test)]
mod tests;
mod types;

pub use machine::Commit;
pub use types::{
    BlockImage, CommitConfig, Effect, FirstBlock, JournalSeed, LogSeed, LogSlot, LogView, Planned,
    Run, WindowPlan,
};
