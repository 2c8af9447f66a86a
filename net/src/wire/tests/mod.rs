//! Tests of the codec.

mod oracle;
pub mod sample;
