//! The known name nearest to one that is not known, for messages.

/// BOUND: longer names (a client may send 32 KiB) are compared with nothing.
const NAME_BYTES_MAX: usize = 128;

/// The nearest name, unless it has little in common.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    known
        .map(|other| (edit_distance(name, other), other))
        .min()
        .filter(|(distance, other)| *distance <= other.len().max(name.len()) / 2)
        .map(|(_, other)| other)
}

/// Insertions, deletions and replacements of bytes from one to the other.
fn edit_distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (at_left, from) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = at_left + 1;
        for (at_right, to) in right.bytes().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[at_right + 1];
            row[at_right + 1] = replaced.min(diagonal + 1).min(row[at_right] + 1);
        }
    }
    row[right.len()]
}
