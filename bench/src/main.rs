//! The load generator `millstream-bench`.
fn main() {}
