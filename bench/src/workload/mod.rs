//! What a run does: settings from a TOML file and from the command line, and the workload they give.
//!
//! Always: (1) every setting is a key of the file and a flag, both named the same; the command line wins; (2) a key that does
//! not exist, or a value that cannot be, is refused with file, line and what would do.

mod file;
mod kinds;
mod settings;
#[cfg(test)]
mod tests;

pub use file::{WorkloadFile, read};
pub use kinds::{Acks, Codec, Fault, Isolation, Keys, List, Position, Rate};
pub use settings::{Settings, Workload};
