//! Making load: requests that are built before the clock runs, sent by threads that share nothing, checked record by record.
//!
//! Always: (1) in an open loop latency counts from the moment a request was due; (2) every record has a sequence number, and
//! what is lost, doubled or out of order is counted exactly.

mod answer;
mod clock;
mod core;
mod crew;
mod faults;
mod group;
mod keyring;
mod ledger;
mod link;
mod part;
mod plan;
mod pool;
mod producer;
mod random;
mod reader;
mod run;
mod schedule;
mod scout;
mod shared;
mod stamp;
mod stored;
mod template;
#[cfg(test)]
mod tests;
mod transaction;
mod verdict;

pub use crew::Watch;
pub use faults::shell;
pub use random::Random;
pub use run::{run, run_tagged};
pub use template::sample_batch;
pub use verdict::{Ceiling, set_ceiling};
