//! The first, simple generator: `produce`, `fetch` and `watch`.

mod admin;
pub mod fetch;
mod frame;
mod poll;
pub mod process;
pub mod produce;
mod report;
