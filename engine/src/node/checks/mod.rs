//! What the machine offers, measured: the findings of `millstream doctor` and the refusals of a start.
//!
//! Always: every finding that is not good names its remedy; a check leaves nothing behind on the disk.
//! Leaves to others: what to do about it.

mod clock;
pub mod disk;
mod kernel;
mod logs;
#[cfg(test)]
mod tests;

pub use kernel::FILES_REMEDY;
use serde::Serialize;
use std::path::Path;

/// How a finding is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// As it should be.
    Good,
    /// It works, less well or less safely than it could.
    Warning,
    /// A node does not start like this.
    Failure,
}

/// One thing looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How it is.
    pub grade: Grade,
    /// What was found.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    fn good(check: &'static str, found: impl Into<String>) -> Finding {
        Finding {
            check,
            grade: Grade::Good,
            found: found.into(),
            remedy: None,
        }
    }

    fn warning(
        check: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Finding {
        Finding {
            check,
            grade: Grade::Warning,
            found: found.into(),
            remedy: Some(remedy.into()),
        }
    }

    fn failure(
        check: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Finding {
        Finding {
            check,
            grade: Grade::Failure,
            found: found.into(),
            remedy: Some(remedy.into()),
        }
    }
}

/// Whether the log is to bypass the page cache (`storage.direct-io`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectIo {
    /// A node does not start where it is not offered.
    Needed,
    /// It does without.
    Off,
}

/// Looks at everything; `data` is the data directory, which need not exist yet. Takes about a second, most of it for the
/// disk.
pub fn examine(data: &Path, direct_io: DirectIo) -> Vec<Finding> {
    let mut findings = kernel::examine();
    findings.extend(disk::examine(data, direct_io));
    findings.extend(logs::examine(data));
    findings.extend(clock::examine());
    findings
}

/// The checks of the kernel that a start depends on; quick.
pub fn examine_kernel() -> Vec<Finding> {
    kernel::examine()
}

/// Has the process use large pages of memory only where it asks for them: the first touch of one takes long.
pub fn use_large_pages_by_request() {
    kernel::use_large_pages_by_request();
}

/// Raises the limits of descriptors and of locked memory as far as the process may; the limit of descriptors afterwards.
pub fn raise_limits() -> u64 {
    kernel::raise_limits()
}
