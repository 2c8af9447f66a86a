//! How a command ends.

use crate::client::ClientError;
use std::fmt;
use std::process::ExitCode;

/// Why a command failed, and the next step.
#[derive(Debug)]
pub struct Failure {
    problem: String,
    next: Option<String>,
    code: u8,
}

impl Failure {
    /// A refusal: exit code 1.
    pub fn new(problem: impl Into<String>) -> Failure {
        Failure {
            problem: problem.into(),
            next: None,
            code: 1,
        }
    }

    /// What to type or change next.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Failure {
        self.next = Some(next.into());
        self
    }

    /// Another exit code.
    #[must_use]
    pub fn code(mut self, code: u8) -> Failure {
        self.code = code;
        self
    }

    /// The exit code.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        Failure::new(error.to_string()).next(error.remedy())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "millstream: {}", self.problem)?;
        match &self.next {
            Some(next) => write!(f, "\n  {next}"),
            None => Ok(()),
        }
    }
}

/// What every command gives.
pub type Outcome = Result<(), Failure>;
