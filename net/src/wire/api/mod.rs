//! One file per API: its fields and their versions.
//!
//! A field's doc says what the name does not. `-1` is "none" or "not known" wherever a number has it as its default.

mod api_versions;
mod create_topics;
mod delete_topics;
mod fetch;
mod init_producer_id;
mod list_offsets;
mod metadata;
mod produce;
mod shared;

pub use api_versions::*;
pub use create_topics::*;
pub use delete_topics::*;
pub use fetch::*;
pub use init_producer_id::*;
pub use list_offsets::*;
pub use metadata::*;
pub use produce::*;
pub use shared::*;
