//! Patterns of topics (rule K1): regular expressions that the broker resolves, in time linear in the names.

use super::ConsumerGroup;
use crate::machine::group::desk::Desk;
use crate::machine::image::Image;
use millstream_net::wire::offsets_topic::{
    GroupRecord, RegularExpressionKey, RegularExpressionValue,
};
use millstream_net::wire::{ErrorCode, Str};
use regex::{Regex, RegexBuilder};
use std::collections::BTreeSet;

/// BOUND: memory of one compiled pattern.
const PROGRAM_BYTES_MAX: usize = 1 << 20;
/// BOUND: the longest pattern.
const PATTERN_BYTES_MAX: usize = 4_096;

/// A pattern and the topics that match it.
#[derive(Debug, Default)]
pub(in super::super) struct Pattern {
    /// Compiled when it is first needed.
    regex: Option<Regex>,
    pub(super) topics: BTreeSet<Str>,
}

impl Pattern {
    /// Compiles a pattern, which must match a name as a whole.
    pub(super) fn parse(pattern: &str) -> Result<Pattern, (ErrorCode, String)> {
        let refused = |reason: String| {
            let text = format!(
                "SubscribedTopicRegex `{pattern}` is not a valid regular expression: {reason}."
            );
            (ErrorCode::InvalidRegularExpression, text)
        };
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err((
                ErrorCode::InvalidRegularExpression,
                format!("SubscribedTopicRegex is longer than {PATTERN_BYTES_MAX} bytes."),
            ));
        }
        let compiled = |text: &str| {
            RegexBuilder::new(text)
                .size_limit(PROGRAM_BYTES_MAX)
                .dfa_size_limit(PROGRAM_BYTES_MAX)
                .build()
                .map_err(|error| refused(error.to_string().replace('\n', " ")))
        };
        let text = without_quotes(pattern);
        // By itself first: what closes the parenthesis around it would else take it out of the anchors.
        compiled(&text)?;
        let regex = compiled(&format!("^(?:{text})$"))?;
        Ok(Pattern {
            regex: Some(regex),
            topics: BTreeSet::new(),
        })
    }

    /// A pattern of a record, with the topics it matched.
    pub(super) fn replayed(value: &RegularExpressionValue) -> Pattern {
        Pattern {
            regex: None,
            topics: value.topics.iter().map(Str::own).collect(),
        }
    }

    /// The topics that match now. Those the broker itself lives on are nobody's to subscribe to by pattern.
    fn matching(&mut self, pattern: &str, image: &Image) -> BTreeSet<Str> {
        if self.regex.is_none() {
            self.regex = Pattern::parse(pattern).ok().and_then(|parsed| parsed.regex);
        }
        let Some(regex) = &self.regex else {
            return BTreeSet::new();
        };
        let topics = image.topics().filter(|topic| !topic.is_internal());
        let topics = topics.filter(|topic| regex.is_match(&topic.name));
        topics.map(|topic| Str::from(&*topic.name)).collect()
    }
}

/// The pattern with what stands between `\Q` and `\E` (or the end) escaped, as clients of other engines quote names.
fn without_quotes(pattern: &str) -> String {
    let mut text = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let escape = &rest[at..];
        if let Some(quoted) = escape.strip_prefix("\\Q") {
            let (quoted, after) = quoted.split_once("\\E").unwrap_or((quoted, ""));
            text.push_str(&regex::escape(quoted));
            rest = after;
        } else {
            // What is escaped is passed over with its backslash, so that the second of two begins nothing.
            let length = escape.chars().take(2).map(char::len_utf8).sum();
            text.push_str(&escape[..length]);
            rest = &escape[length..];
        }
    }
    text + rest
}

impl ConsumerGroup {
    /// Looks up the patterns of members in the image, and writes down what has changed.
    pub(super) fn resolve_patterns(&mut self, desk: &mut Desk) {
        let image = desk.image.clone();
        let mut changed = Vec::new();
        for (text, pattern) in &mut self.patterns {
            let topics = pattern.matching(text, &image);
            if topics != pattern.topics {
                pattern.topics = topics;
                changed.push(text.clone());
            }
        }
        for text in changed {
            let value = RegularExpressionValue {
                topics: self.patterns[&text].topics.iter().cloned().collect(),
                version: image.index().0 as i64,
                timestamp: desk.now.wall.0,
            };
            desk.append(self.pattern_record(&text, Some(value)));
        }
    }

    /// Forgets patterns that no member has.
    pub(super) fn forget_unused_patterns(&mut self, desk: &mut Desk) {
        let used = self
            .members
            .values()
            .filter_map(|member| member.pattern.as_ref());
        let used: BTreeSet<&Str> = used.collect();
        let unused = self
            .patterns
            .keys()
            .filter(|pattern| !used.contains(pattern));
        for pattern in unused.cloned().collect::<Vec<_>>() {
            self.patterns.remove(&pattern);
            desk.append(self.pattern_record(&pattern, None));
        }
    }

    pub(super) fn pattern_record(
        &self,
        pattern: &Str,
        value: Option<RegularExpressionValue>,
    ) -> GroupRecord {
        let key = RegularExpressionKey {
            group: self.id.clone(),
            regular_expression: pattern.clone(),
        };
        GroupRecord::RegularExpression(key, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        let parsed = Pattern::parse(pattern).expect("a pattern");
        parsed.regex.expect("it is compiled").is_match(name)
    }

    #[test]
    fn a_pattern_does_not_leave_its_anchors() {
        for bad in ["a)|(?:b", "(", "[", "a{2,1}"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
        assert!(matches("a|b", "a") && matches("a|b", "b"));
        assert!(!matches("a|b", "ax") && !matches("a|b", "xb"));
    }

    #[test]
    fn what_is_quoted_stands_for_itself() {
        assert!(matches(r"\Qa.b\E.*", "a.bc"));
        assert!(!matches(r"\Qa.b\E.*", "axbc"));
        assert!(matches(r"\Qa.b", "a.b") && !matches(r"\Qa.b", "axb"));
        assert!(
            matches(r"x\\Q.", r"x\Qy"),
            "an escaped backslash quotes nothing"
        );
    }
}
