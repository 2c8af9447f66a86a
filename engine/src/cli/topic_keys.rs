//! The reference of topic keys, made from their table.

use crate::machine::topic_config::{KEYS, Key, Standing};
use std::fmt::Write;

/// The page as Markdown that reads as plain text too; `engine/topic-keys.md` is a copy.
pub fn reference() -> String {
    let mut page = String::from(
        "# Topic keys\n\n\
         What a topic can be told when it is created and at any time later, with Kafka's names. A topic that says nothing of a \
         key has what the\nbroker key says, and that has the default. `millstream topic config --help-keys` prints this page.\n",
    );
    for (title, standing) in [
        ("These act", Standing::Acts),
        (
            "These are checked and nothing follows from them",
            Standing::Inert,
        ),
        ("These take their default only", Standing::Fixed),
    ] {
        let _ = write!(page, "\n## {title}\n\n");
        for key in KEYS.iter().filter(|key| key.standing == standing) {
            write_key(&mut page, key);
        }
    }
    page
}

fn write_key(page: &mut String, key: &Key) {
    let default = match key.default {
        "" => "empty".to_owned(),
        default => format!("`{default}`"),
    };
    let (name, doc, range) = (key.name, key.doc, key.kind.range());
    let _ = write!(
        page,
        "- `{name}`: {doc}\n  Takes {range}; default {default}"
    );
    let broker_keys: Vec<String> = key
        .broker_keys
        .iter()
        .map(|one| format!("`{}`", one.name))
        .collect();
    let _ = match broker_keys.is_empty() {
        true => writeln!(page, "."),
        false => writeln!(page, "; broker key {}.", broker_keys.join(", else ")),
    };
}

#[cfg(test)]
mod tests {
    use super::reference;

    #[test]
    fn the_committed_page_is_what_the_table_says() {
        let committed = include_str!("../../topic-keys.md");
        assert!(
            committed == reference(),
            "make it anew: cargo run -p millstream-engine -- topic config --help-keys > engine/topic-keys.md"
        );
    }
}
