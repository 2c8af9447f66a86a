//! How results look: the line while a run goes on, the table at its end, and files.

mod files;
mod live;
mod table;

pub use files::{Paths, write};
pub use live::Live;
pub use table::{number, table, time};
