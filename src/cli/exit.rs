//! Exit codes: how the program ends, by class.

use std::process::ExitCode;

use larder::ErrorKind;

/// How the program ends. The numbers are a promise (`docs/cli.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// What was asked for is done.
    Done = 0,
    /// It failed, or was interrupted.
    Failed = 1,
    /// The command line is off.
    Usage = 2,
    /// It came to its end, and something is wrong: corrupt, missing, unreadable, partly added, partly made.
    Findings = 3,
    /// Somebody else holds what is needed.
    Busy = 4,
    /// Refused, because it would endanger what is kept.
    Refused = 5,
}

impl Exit {
    /// How a piece of work over many files ended.
    pub(crate) fn of_work(findings: u64, interrupted: bool) -> Exit {
        match (interrupted, findings) {
            (true, _) => Exit::Failed,
            (false, 0) => Exit::Done,
            (false, _) => Exit::Findings,
        }
    }

    /// How the program ends with an error of `kind`, in `command`.
    pub(crate) fn of_kind(kind: ErrorKind, command: &str) -> Exit {
        match kind {
            ErrorKind::Invalid => Exit::Usage,
            ErrorKind::Damaged => Exit::Findings,
            ErrorKind::Taken if matches!(command, "add" | "link" | "mv") => Exit::Findings,
            ErrorKind::Busy => Exit::Busy,
            ErrorKind::Refused | ErrorKind::Untrusted | ErrorKind::Pinned | ErrorKind::IllegalTransition => {
                Exit::Refused
            }
            _ => Exit::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_of_error_has_its_exit_code() {
        let code = |kind, command| Exit::of_kind(kind, command) as u8;
        assert_eq!(code(ErrorKind::NotFound, "show"), 1);
        assert_eq!(code(ErrorKind::Mismatch, "add"), 1);
        assert_eq!(code(ErrorKind::NoSpace, "add"), 1);
        assert_eq!(code(ErrorKind::Interrupted, "verify"), 1);
        assert_eq!(code(ErrorKind::Invalid, "add"), 2);
        assert_eq!(code(ErrorKind::Damaged, "get"), 3);
        assert_eq!(code(ErrorKind::Taken, "add"), 3);
        assert_eq!(code(ErrorKind::Taken, "link"), 3);
        assert_eq!(code(ErrorKind::Taken, "mv"), 3);
        assert_eq!(code(ErrorKind::Taken, "get"), 1);
        assert_eq!(code(ErrorKind::Busy, "gc"), 4);
        assert_eq!(code(ErrorKind::Refused, "unlink"), 5);
        assert_eq!(code(ErrorKind::Untrusted, "ls"), 5);
        assert_eq!(code(ErrorKind::Pinned, "evict"), 5);
        assert_eq!(code(ErrorKind::IllegalTransition, "set-state"), 5);
    }

    #[test]
    fn an_interruption_is_a_failure_and_a_finding_is_told() {
        assert_eq!(Exit::of_work(0, false), Exit::Done);
        assert_eq!(Exit::of_work(2, false), Exit::Findings);
        assert_eq!(Exit::of_work(2, true), Exit::Failed);
    }
}
