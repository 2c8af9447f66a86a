//! Tests of the producer state.
