//! Tests of the codec.

mod bytes;
mod frames;
mod hostile;
mod oracle;
pub mod sample;
mod table;
