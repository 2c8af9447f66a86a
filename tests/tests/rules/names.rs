//! The rules of `net/PROTOCOL.md` and the tests that are named after them: none without the other.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Rules that no test of raw frames is named after, and why.
const WITHOUT_TEST: [(&str, &str); 4] = [
    ("R10", "control batches come with transactions"),
    ("R11", "nothing is compacted yet"),
    ("F15", "there are no quotas yet"),
    ("M7", "one node has no clients to send elsewhere"),
];

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("a package of the workspace").into()
}

/// The Rust sources below a directory.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("a directory of the checkout") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn is_name(word: &str) -> bool {
    let letter = word
        .chars()
        .next()
        .is_some_and(|c| "ACRPFOMGKD".contains(c));
    let number = word.get(1..).unwrap_or_default();
    letter && (1..=2).contains(&number.len()) && number.chars().all(|c| c.is_ascii_digit())
}

fn told() -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("net/PROTOCOL.md")).expect("the document");
    let names = text
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(' ').next());
    names
        .filter(|name| is_name(name))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_rule_that_sources_name_is_in_the_document() {
    let told = told();
    let mut files = Vec::new();
    for package in ["engine", "net", "storage", "tests"] {
        sources(&root().join(package), &mut files);
    }
    let words = |text: &str| -> Vec<String> {
        let cited = text
            .split("rule ")
            .skip(1)
            .chain(text.split("rules ").skip(1));
        let first =
            cited.filter_map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric()).next());
        first
            .filter(|word| is_name(word))
            .map(str::to_owned)
            .collect()
    };
    let mut seen = 0;
    for file in files {
        for word in words(&std::fs::read_to_string(&file).expect("readable")) {
            seen += 1;
            assert!(
                told.contains(&word),
                "{}: rule {word} is not in net/PROTOCOL.md",
                file.display()
            );
        }
    }
    assert!(seen > 50, "{seen} citations were found");
}

#[test]
fn every_rule_of_the_document_has_a_test_that_is_named_after_it() {
    let mut files = Vec::new();
    sources(&root().join("tests/tests/rules"), &mut files);
    let mut tested = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("readable");
        for name in text.lines().filter_map(|line| line.strip_prefix("fn ")) {
            let name = name.split('(').next().unwrap_or_default().to_uppercase();
            tested.extend(
                name.split('_')
                    .take_while(|word| is_name(word))
                    .map(str::to_owned),
            );
        }
    }
    for rule in told() {
        let reason = WITHOUT_TEST.iter().find(|(name, _)| *name == rule);
        assert!(
            tested.contains(&rule) != reason.is_some(),
            "{rule}: there must be either a test that is named after it or the reason why there is none"
        );
    }
}
