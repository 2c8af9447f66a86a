//! Simulator, models, checkers and the integration tests of the workspace.

pub mod sim;
pub mod wire;
