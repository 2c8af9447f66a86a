//! ApiVersions: what this broker speaks.

use millstream_net::wire::api::{ApiVersionsRequest, ApiVersionsResponse};
use millstream_net::wire::{ErrorCode, advertised};

/// Answers a request. A version above ours never comes here (rule C2).
pub fn answer(version: i16, request: &ApiVersionsRequest) -> ApiVersionsResponse {
    let named = version < 3
        || (is_software_name(&request.client_software_name)
            && is_software_name(&request.client_software_version));
    if !named {
        return ApiVersionsResponse {
            error_code: ErrorCode::InvalidRequest,
            ..ApiVersionsResponse::default()
        };
    }
    ApiVersionsResponse {
        api_keys: advertised(),
        ..ApiVersionsResponse::default()
    }
}

/// Rule C4: letters, digits, `-` and `.`, alphanumeric at both ends.
fn is_software_name(name: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(|byte| inside(*byte))
}

#[cfg(test)]
mod tests {
    use super::is_software_name;

    #[test]
    fn software_names_are_letters_digits_dashes_and_dots() {
        // Rule C4.
        for name in ["librdkafka", "apache-kafka-java", "3.7.0", "a"] {
            assert!(is_software_name(name), "{name}");
        }
        for name in ["", "-a", "a.", "a b", "a_b", "ä"] {
            assert!(!is_software_name(name), "{name}");
        }
    }
}
