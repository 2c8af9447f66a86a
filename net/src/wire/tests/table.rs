//! The table agrees with itself.

use crate::wire::{API_TABLE, ApiKey, Versions, advertised};

/// Versions advertised though not served, because some clients take their presence for a sign of something else (A1).
const ADVERTISED_ONLY: [(ApiKey, Versions); 1] = [(ApiKey::Produce, Versions { min: 0, max: 2 })];

#[test]
fn keys_rise_and_are_found_by_their_code() {
    assert!(API_TABLE.windows(2).all(|pair| pair[0].key < pair[1].key));
    for api in API_TABLE {
        assert_eq!(ApiKey::from_code(api.key.code()), Some(api.key));
        assert_eq!(api.key.api(), api);
    }
}

#[test]
fn what_is_served_has_a_schema() {
    for api in API_TABLE.iter().filter(|api| !api.served.is_empty()) {
        assert_eq!(
            api.served.intersection(api.schema),
            api.served,
            "{}",
            api.name
        );
    }
}

#[test]
fn what_is_advertised_is_served_or_listed_as_an_exception() {
    for api in API_TABLE {
        for version in api.advertised.min..=api.advertised.max {
            let excepted = ADVERTISED_ONLY
                .iter()
                .any(|(key, versions)| *key == api.key && versions.contains(version));
            assert_ne!(
                api.served.contains(version),
                excepted,
                "{} version {version}",
                api.name
            );
        }
    }
}

#[test]
fn the_answer_lists_what_the_table_advertises() {
    let listed = advertised();
    let produce = listed.iter().find(|range| range.api_key == 0).unwrap();
    assert_eq!(
        (produce.min_version, produce.max_version),
        (0, ApiKey::Produce.api().served.max)
    );
    let expected = API_TABLE
        .iter()
        .filter(|api| !api.advertised.is_empty())
        .count();
    assert_eq!(listed.len(), expected);
}
