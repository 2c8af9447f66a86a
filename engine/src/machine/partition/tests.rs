//! The partition machine: rules by example, and random events against a naive reference.

mod model;
mod rules;
