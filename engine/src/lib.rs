//! The engine of a Millstream node.

pub mod shard;
pub mod cli {
    //! The command line.
    /// Runs the command line.
    pub fn main() {}
}
