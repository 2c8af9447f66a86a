//! What a connection is for.

use super::super::link::Link;
use super::super::plan::StreamPlan;
use super::super::producer::Producer;
use super::super::reader::Reader;

/// Its part in the load.
pub(super) enum Role {
    Produces {
        producer: Producer,
        streams: Vec<StreamPlan>,
        /// Cumulated weights.
        weights: Vec<f64>,
        turn: usize,
        identity: Option<(i64, i16)>,
    },
    Reads {
        reader: Reader,
        of: usize,
        timed: bool,
        request: Vec<u8>,
    },
}

/// A link and its part.
pub(super) struct Connection {
    pub link: Link,
    pub role: Role,
}
