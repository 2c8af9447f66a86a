//! The command line.

/// Runs the command line.
pub fn main() {}
