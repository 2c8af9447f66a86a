//! Tests of the client: its pure parts, alone and against a broker in memory that fails at random. The whole against a broker that
//! runs is in `tests/own_client.rs`.

mod consumer;
mod fake;
mod links;
mod membership;
mod parts;
mod producer;
