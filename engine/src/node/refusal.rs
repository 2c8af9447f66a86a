//! Why a node does not start, or ends: what is wrong, what to do, and the exit code that names the reason.

use std::fmt;

/// A start that is refused, or a node that came to a dead end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong, in one sentence.
    pub problem: String,
    /// What to do.
    pub remedy: Option<String>,
    /// The exit code.
    pub code: u8,
}

/// Exit codes of a node, in the spirit of sysexits.h.
pub mod code {
    pub use crate::shard::event::code::{DISK, SYSTEM};

    /// Something the operator can mend: an address in use, a directory in use, a limit.
    pub const REFUSED: u8 = 1;
    /// Data that cannot be understood, or a format of another version.
    pub const DATA: u8 = 65;
    /// The node was asked to stop and did not come to its end.
    pub const STUCK: u8 = 76;
}

/// What to do with a directory that another version of the program wrote.
pub const NEWER_REMEDY: &str = "start the version that wrote it; nothing was changed";

impl Refusal {
    /// A refusal that the operator can mend.
    pub fn new(problem: impl Into<String>) -> Refusal {
        Refusal {
            problem: problem.into(),
            remedy: None,
            code: code::REFUSED,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Refusal {
        self.remedy = Some(remedy.into());
        self
    }

    /// What to do where the disk has no room.
    #[must_use]
    pub fn disk_full(self) -> Refusal {
        self.remedy("the disk is full: make room").code(code::DISK)
    }

    /// Another exit code.
    #[must_use]
    pub fn code(mut self, code: u8) -> Refusal {
        self.code = code;
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for Refusal {}
