//! Tests of the client.

mod real_broker;
