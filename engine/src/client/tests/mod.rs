//! Tests of the client: its pure parts, alone and against a broker in memory that fails at random, and the whole against a
//! broker that runs.

mod consumer;
mod fake;
mod links;
mod membership;
mod parts;
mod producer;
mod real_broker;
