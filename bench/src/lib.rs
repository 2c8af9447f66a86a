//! What the generator is made of. Modules import only to the left: result < workload < probe, cluster < load < sink < ceiling <
//! report < bootstrap < cli.

mod bootstrap;
pub mod ceiling;
pub mod cli;
mod cluster;
pub mod load;
pub mod probe;
mod processor;
pub mod report;
pub mod result;
pub mod sink;
pub mod workload;
