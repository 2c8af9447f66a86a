//! Frames: length, header, body, in both directions.
//!
//! Always: the version of a header follows the flexibility of its API's version, but an ApiVersions answer has the shorter
//! header in every version, so that a client that does not know the broker yet can read it.

use bytes::Bytes;

use super::api::{ApiVersionRange, ApiVersionsResponse};
use super::error_code::ErrorCode;
use super::field::Field;
use super::message::Dialect;
use super::read::{Limits, Malformed, Reader};
use super::table::{ApiKey, Request, Response};
use super::text::Str;
use super::write::{Count, Encoder, Sink, frame_number};

/// The header of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// The key as it came; it is one of the table if the request was decoded.
    pub api_key: i16,
    /// The version of the API.
    pub api_version: i16,
    /// Chosen by the client, returned with the answer.
    pub correlation_id: i32,
    /// The client's name for itself, for logs and quotas.
    pub client_id: Option<Str>,
}

/// Why a frame is no request that can be handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// ApiVersions in a version above ours: to be answered with `encode_unsupported_api_versions`.
    UnsupportedApiVersions {
        /// Goes into the answer.
        correlation_id: i32,
    },
    /// An API or version that is not served: the connection is to be closed.
    Unserved {
        /// The key in the header.
        api_key: i16,
        /// The version in the header.
        api_version: i16,
    },
    /// Bytes that are no request: the connection is to be closed.
    Malformed(Malformed),
}

impl From<Malformed> for Refused {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// Everything before the body has plain lengths, in flexible versions too.
const PLAIN: Dialect = Dialect {
    version: 0,
    flexible: false,
};

/// Reads the request in `frame`, which has no length prefix. Strings and payload share its memory.
///
/// Bytes after the body are ignored, as Kafka does.
pub fn decode_request(frame: &Bytes) -> Result<(RequestHeader, Request), Refused> {
    let reader = &mut Reader::new(frame, Limits::for_request(frame.len()));
    let api_key = i16::read(reader, PLAIN)?;
    let api_version = i16::read(reader, PLAIN)?;
    let correlation_id = i32::read(reader, PLAIN)?;
    let unserved = Refused::Unserved {
        api_key,
        api_version,
    };
    let key = ApiKey::from_code(api_key).ok_or(unserved)?;
    let api = key.api();
    if key == ApiKey::ApiVersions && api_version > api.served.max {
        return Err(Refused::UnsupportedApiVersions { correlation_id });
    }
    if !api.served.contains(api_version) {
        return Err(unserved);
    }
    let dialect = api.dialect(api_version);
    let client_id = read_client_id(reader)?;
    if dialect.flexible {
        reader.tagged(|_, _| Ok(false))?;
    }
    let header = RequestHeader {
        api_key,
        api_version,
        correlation_id,
        client_id,
    };
    Ok((header, Request::read(key, reader, dialect)?))
}

/// A name in a foreign encoding is no reason to refuse a client.
fn read_client_id(reader: &mut Reader<'_>) -> Result<Option<Str>, Malformed> {
    match i16::read(reader, PLAIN)? {
        -1 => Ok(None),
        length => match usize::try_from(length) {
            Ok(length) => Ok(Some(Str::from_utf8_lossy(reader.share(length)?))),
            Err(_) => Err(reader.malformed("a length is negative")),
        },
    }
}

/// Writes the frame of an answer, length prefix included: headers and, between them, the payload it was given, not copied.
pub fn encode_response(version: i16, correlation_id: i32, response: &Response) -> Vec<Bytes> {
    let dialect = response.key().api().dialect(version);
    let tags = dialect.flexible && response.key() != ApiKey::ApiVersions;
    let frame = ResponseFrame {
        correlation_id,
        tags,
        response,
        dialect,
    };
    encode_frame(&frame)
}

/// Writes the frame that answers an ApiVersions request of a version above ours: the form of version 0, with the one range
/// the client needs to ask again (KIP-511).
pub fn encode_unsupported_api_versions(correlation_id: i32) -> Vec<Bytes> {
    let range = ApiKey::ApiVersions.api().advertised;
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion,
        api_keys: vec![ApiVersionRange {
            api_key: ApiKey::ApiVersions.code(),
            min_version: range.min,
            max_version: range.max,
        }],
        ..ApiVersionsResponse::default()
    };
    encode_response(0, correlation_id, &response.into())
}

/// Writes the frame of a request, length prefix included.
pub fn encode_request(
    version: i16,
    correlation_id: i32,
    client_id: Option<&Str>,
    request: &Request,
) -> Vec<Bytes> {
    let dialect = request.key().api().dialect(version);
    encode_frame(&RequestFrame {
        correlation_id,
        client_id,
        request,
        dialect,
    })
}

/// Something that a frame is made of.
trait Content {
    fn write<S: Sink>(&self, sink: &mut S);
}

struct ResponseFrame<'a> {
    correlation_id: i32,
    tags: bool,
    response: &'a Response,
    dialect: Dialect,
}

impl Content for ResponseFrame<'_> {
    fn write<S: Sink>(&self, sink: &mut S) {
        self.correlation_id.write(sink, PLAIN);
        if self.tags {
            sink.unsigned_varint(0);
        }
        self.response.write(sink, self.dialect);
    }
}

struct RequestFrame<'a> {
    correlation_id: i32,
    client_id: Option<&'a Str>,
    request: &'a Request,
    dialect: Dialect,
}

impl Content for RequestFrame<'_> {
    fn write<S: Sink>(&self, sink: &mut S) {
        self.request.key().code().write(sink, PLAIN);
        self.dialect.version.write(sink, PLAIN);
        self.correlation_id.write(sink, PLAIN);
        self.client_id.cloned().write(sink, PLAIN);
        if self.dialect.flexible {
            sink.unsigned_varint(0);
        }
        self.request.write(sink, self.dialect);
    }
}

fn encode_frame(content: &impl Content) -> Vec<Bytes> {
    let mut size = Count::default();
    content.write(&mut size);
    let mut encoder = Encoder::with_room(4 + size.copied_bytes);
    frame_number(size.total_bytes()).write(&mut encoder, PLAIN);
    content.write(&mut encoder);
    encoder.into_parts()
}

/// Reads the answer to a request of `key` and `version` in `frame`, which has no length prefix: the correlation id and the
/// body.
///
/// A broker that does not know our version of ApiVersions answers in the form of version 0; it is read as such.
pub fn decode_response(
    key: ApiKey,
    version: i16,
    frame: &Bytes,
) -> Result<(i32, Response), Malformed> {
    let reader = &mut Reader::new(frame, Limits::for_response(frame.len()));
    let correlation_id = i32::read(reader, PLAIN)?;
    let unsupported = ErrorCode::UnsupportedVersion.code().to_be_bytes();
    let dialect = match key {
        ApiKey::ApiVersions if frame[4..].starts_with(&unsupported) => PLAIN,
        _ => key.api().dialect(version),
    };
    if dialect.flexible && key != ApiKey::ApiVersions {
        reader.tagged(|_, _| Ok(false))?;
    }
    let response = Response::read(key, reader, dialect)?;
    if reader.remaining() > 0 {
        return Err(reader.malformed("bytes follow the answer"));
    }
    Ok((correlation_id, response))
}
