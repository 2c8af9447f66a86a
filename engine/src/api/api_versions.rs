//! ApiVersions: what this broker speaks.

use millstream_net::wire::api::{
    ApiVersionsRequest, ApiVersionsResponse, FinalizedFeature, SupportedFeature,
};
use millstream_net::wire::{ErrorCode, Str, advertised};
use millstream_storage::ids::MetadataIndex;

/// The features that are in force, with their level. Kafka has more: what is not here (transactions) is thereby told to
/// be off (rules A5, A6). The level of `metadata.version` is that of the Kafka release whose ranges of
/// versions are ours (rule A9): 29 is 4.2.
const FEATURES: [(&str, i16); 2] = [("metadata.version", 29), ("group.version", 1)];

/// Answers a request, by the metadata of `index`. A version above ours never comes here (rule C2).
pub fn answer(
    version: i16,
    request: &ApiVersionsRequest,
    index: MetadataIndex,
) -> ApiVersionsResponse {
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
        supported_features: FEATURES.map(supported).into(),
        finalized_features_epoch: i64::try_from(index.0).unwrap_or(i64::MAX),
        finalized_features: FEATURES.map(finalized).into(),
        ..ApiVersionsResponse::default()
    }
}

fn supported((name, level): (&'static str, i16)) -> SupportedFeature {
    SupportedFeature {
        name: Str::from_static(name),
        min_version: level,
        max_version: level,
    }
}

fn finalized((name, level): (&'static str, i16)) -> FinalizedFeature {
    FinalizedFeature {
        name: Str::from_static(name),
        min_version_level: level,
        max_version_level: level,
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
