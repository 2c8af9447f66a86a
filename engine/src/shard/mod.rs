//! One shard: the pure core that decides for one core of the machine, and the shell around it.
//!
//! `event` is the border between the two. The shell (`run`, `ring`, `rings`) owns the ring, the sockets, the mail rings
//! and the clock, and decides nothing; the core owns everything else and touches nothing.

pub mod beside;
pub mod core;
pub mod event;
mod files;
pub mod mail;
mod ring;
pub mod rings;
pub mod run;
pub mod shell;
#[cfg(test)]
mod tests;
pub mod workshop;
