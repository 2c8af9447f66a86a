//! Simulator, models, checkers and the integration tests of the workspace.
