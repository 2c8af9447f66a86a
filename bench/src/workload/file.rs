//! Reading a workload's file.

use super::{Fault, Settings};
use std::path::Path;

/// What a file says.
#[derive(Clone, Debug, Default)]
pub struct WorkloadFile {
    /// The file's name without its ending.
    pub name: String,
    pub settings: Settings,
    pub faults: Vec<Fault>,
}

/// Reads the file.
pub fn read(path: &Path) -> Result<WorkloadFile, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("the workload {shown} cannot be read: {error}"))?;
    let name = path
        .file_stem()
        .map_or("workload".into(), |stem| stem.to_string_lossy());
    parse(&name, &text).map_err(|problem| format!("{shown}{problem}"))
}

/// Reads the text of a file; a problem begins with `:LINE: `.
pub(super) fn parse(name: &str, text: &str) -> Result<WorkloadFile, String> {
    let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = text[..at.min(text.len())].matches('\n').count() + 1;
        format!(":{line}: {}", error.message())
    })?;
    let faults = match table.remove("faults") {
        None => Vec::new(),
        Some(faults) => {
            // One of them is usually written as a table, several as a list of tables.
            let list = match faults {
                one @ toml::Value::Table(_) => toml::Value::Array(vec![one]),
                list => list,
            };
            list.try_into().map_err(|error: toml::de::Error| {
                format!(
                    ":{}: `faults` is {{ at = SECONDS, run = \"COMMAND\" }} or a list of these: {}",
                    line_of(text, "faults"),
                    error.message()
                )
            })?
        }
    };
    let mut settings = Settings::default();
    for (key, value) in table {
        let line = line_of(text, &key);
        let keys = Settings::keys();
        if !keys.contains(&key) {
            let near = keys.iter().map(|known| (distance(known, &key), known));
            // A third of its letters may be wrong: what is further away was not meant.
            let nearest = near
                .filter(|(letters, known)| letters * 3 <= known.len())
                .min();
            let hint = match nearest {
                Some((_, known)) => format!("the nearest is `{known}`"),
                None => "`millstream-bench run --help` lists them all".to_owned(),
            };
            return Err(format!(":{line}: there is no key `{key}`; {hint}"));
        }
        let one: toml::Table = [(key.clone(), value)].into_iter().collect();
        let one: Settings = one
            .try_into()
            .map_err(|error: toml::de::Error| format!(":{line}: `{key}`: {}", error.message()))?;
        settings = one.over(settings);
    }
    Ok(WorkloadFile {
        name: name.to_owned(),
        settings,
        faults,
    })
}

/// The line on which a key stands.
fn line_of(text: &str, key: &str) -> usize {
    let begins = |line: &str| {
        line.trim_start_matches([' ', '\t', '[', '"', '\''])
            .strip_prefix(key)
            .is_some_and(|rest| rest.trim_start().starts_with(['=', ']', '.', '"', '\'']))
    };
    text.lines().position(begins).map_or(1, |index| index + 1)
}

/// How many letters have to be changed (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, letter) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (at, other) in right.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[at + 1];
            row[at + 1] = changed.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[right.len()]
}
