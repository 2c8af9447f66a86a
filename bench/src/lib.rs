//! What the generator is made of. Modules import only to the left: result < report.

pub mod result;
