//! The Kafka wire protocol as plain data: every API's fields, their versions, and frames in both directions.
//!
//! Always:
//! 1. Fields and versions are stated once, in `api/`; which APIs exist, are served and are advertised is stated once, in
//!    `table.rs`. Dispatch, the ApiVersions answer and the round-trip tests derive from these.
//! 2. Decoding never panics, never allocates by a number it has not checked, and shares strings and payload with the frame.
//! 3. Null and empty are different values.
//!
//! What a request means, and the order of answers, is left to others.

#[macro_use]
mod message;

pub mod api;
pub mod consumer_protocol;
mod elements;
mod error_code;
mod field;
mod frame;
pub mod offsets_topic;
mod read;
mod table;
mod text;
mod write;

#[cfg(test)]
mod tests;

pub use elements::{Elements, Encoded};
pub use error_code::{ErrorCode, Remedy};
pub use field::{Field, Nullable, Records, Uuid};
pub use frame::{
    Refused, RequestHeader, decode_request, decode_response, encode_request, encode_response,
    encode_unsupported_api_versions,
};
pub use message::Dialect;
pub use read::{Limits, Malformed, Reader};
pub use table::{API_TABLE, Api, ApiKey, Call, Request, Response, Versions, advertised};
pub use text::Str;
pub use write::{Count, Encoder, SHARED_BYTES_MIN, Sink};
