//! How results look: the line while a run goes on, the table at its end, and files.

mod charts;
mod compared;
mod files;
mod html;
mod live;
mod svg;
mod table;
#[cfg(test)]
mod tests;

pub use compared::{compared, median};
pub use files::{Paths, percentiles, writable, write};
pub use html::page;
pub use live::Live;
pub use table::{number, table, time};
