//! The logs of a data directory, as far as its newest checkpoints know of damage.

use super::Finding;
use millstream_storage::format::log_dir;
use millstream_storage::io::SystemDisk;
use millstream_storage::recovery::{self, Doubt};
use std::path::Path;

/// BOUND: logs that are named one by one.
const NAMED_MAX: usize = 10;

/// Nothing is found where no node has started.
pub(super) fn examine(data: &Path) -> Option<Finding> {
    let doubts = match recovery::doubts(&SystemDisk::new(data)) {
        Ok(doubts) => doubts?,
        Err(error) => {
            return Some(Finding::warning(
                "logs",
                format!("cannot be told: {error}"),
                "stop the broker and run `millstream log verify DIR`",
            ));
        }
    };
    Some(judged(doubts.logs, &doubts.found))
}

pub(super) fn judged(logs: u64, found: &[Doubt]) -> Finding {
    if found.is_empty() {
        let found = format!("{logs}, none known to be damaged or suspect at the last checkpoint");
        return Finding::good("logs", found);
    }
    let mut told: Vec<String> = found.iter().take(NAMED_MAX).map(line).collect();
    if found.len() > NAMED_MAX {
        told.push(format!("and {} more", found.len() - NAMED_MAX));
    }
    Finding::warning(
        "logs",
        format!(
            "{} of {logs} are not whole: {}",
            found.len(),
            told.join("; ")
        ),
        "`millstream log verify DIR` of the stopped broker names file and byte: bring the files back from a copy, or move the log start behind the damage (`millstream topic delete-records`)",
    )
}

fn line(doubt: &Doubt) -> String {
    let mut words: Vec<String> = doubt
        .damage
        .iter()
        .map(|range| {
            format!(
                "offsets {} to {} cannot be read",
                range.from.offset, range.to.offset
            )
        })
        .collect();
    if doubt.suspect {
        words.push("its end is in doubt".into());
    }
    format!("{}: {}", log_dir(&doubt.path).display(), words.join(", "))
}
