//! Remedies: what to do about an error, by its kind and the command. They live here alone, not in the library.

use larder::{Error, ErrorKind};

/// `EMFILE` and `ENFILE`, the same numbers on every Unix: the process, or the machine, has as many open files as it may.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

/// `EROFS`, the same on every Unix: the filesystem takes no more writes.
const EROFS: i32 = 30;
/// `EDQUOT`: the user's quota is used up. `ENOLCK`: there are no locks to be had.
const EDQUOT: i32 = if cfg!(target_os = "linux") { 122 } else { 69 };
const ENOLCK: i32 = if cfg!(target_os = "linux") { 37 } else { 77 };

/// The remedy for an error in `command`, if there is one. What ran out says more than when it did.
pub(crate) fn of_error(error: &Error, command: &str) -> Option<String> {
    let by_number = match error.os_error() {
        Some(EMFILE) => "allow more open files (ulimit -n 4096), then run the same command again",
        Some(ENFILE) => "the machine has too many open files (sysctl fs.file-max): close something, and run it again",
        Some(EDQUOT) => {
            "your disk quota is used up, whatever is free (quota -s): free something of yours there, or have it raised; \
             `larder rm` and then `larder gc --grace 0s` free what the store takes of it"
        }
        Some(EROFS) => {
            "its filesystem is read-only: mounted so, or since an error of the disk (dmesg); mount it writable once it is \
             sound, and run the same command again; reading works"
        }
        Some(ENOLCK) => {
            "the filesystem has no lock to give: its lock service does not run, or has too many; put the store on a local \
             filesystem (`larder doctor` says which it is on)"
        }
        _ => return by_words(error).unwrap_or_else(|| of(error.kind(), command)),
    };
    Some(by_number.to_owned())
}

/// What the kind alone would get wrong, by what the error says.
fn by_words(error: &Error) -> Option<Option<String>> {
    let says = error.to_string();
    Some(match error.kind() {
        ErrorKind::Invalid if says.contains("several entries are called so") => {
            Some("say which: entry: and the beginning of one of these".to_owned())
        }
        ErrorKind::Invalid if !says.contains("digest") && !says.contains("name") => None,
        ErrorKind::Unsupported if says.contains("is not built into this program") => Some(
            "`larder config show --origin` says where that comes from; fs and embedded are always built in".to_owned(),
        ),
        _ => return None,
    })
}

/// The remedy for an error of `kind` in `command`, if there is one.
pub(crate) fn of(kind: ErrorKind, command: &str) -> Option<String> {
    special(kind, command).or_else(|| general(kind)).map(str::to_owned)
}

fn special(kind: ErrorKind, command: &str) -> Option<&'static str> {
    Some(match (kind, command) {
        (
            ErrorKind::NotFound,
            "set-state" | "tag" | "note" | "meta" | "touch" | "forget" | "delete" | "search" | "register",
        ) => "`larder search` finds entries, `larder ls` shows the names",
        (ErrorKind::IllegalTransition, "set-state") => {
            "`larder verify ENTRY` hashes its bytes, which makes it active or failed; anything can be retired"
        }
        (ErrorKind::Pinned, "delete") => "`larder unpin` lets go of it; `larder forget` takes the record away alone",
        (ErrorKind::Unsupported, "import-manifest") => {
            "build larder with `--features sqlite`, or export the tables as lines of JSON"
        }
        (ErrorKind::NotFound, "man" | "export-manifest" | "import-manifest") => "check the path",
        (ErrorKind::NotFound, "add") => "check the path; `-` with --name adds standard input",
        (ErrorKind::Taken, "add") => "--replace gives the name these bytes; --name or --prefix choose another name",
        (ErrorKind::Taken, "link" | "mv") => "--replace gives the name these bytes; or choose another name",
        (ErrorKind::Taken, "get" | "checkout") => "--replace replaces what is there",
        (ErrorKind::Mismatch, "add") => {
            "these are not the bytes that --expect names, and nothing is kept: fetch them again"
        }
        (ErrorKind::Refused, "gc") => {
            "`larder gc --dry-run` shows what would go; --yes-most removes more than half of a store; \
             a plan that the store has outgrown is made again"
        }
        (ErrorKind::Refused, "unlink") => {
            "`larder rm` takes the last name away too; `larder pin` keeps a blob without a name"
        }
        (ErrorKind::NoSpace | ErrorKind::TooLarge, "get" | "checkout") => {
            "free space where it is to be made, or make it as a link, which takes none: --mode hardlink, --mode symlink"
        }
        (ErrorKind::NoSpace | ErrorKind::TooLarge, "unlock") => "free space where the file is: its copy takes as much",
        (ErrorKind::Unsupported, "get" | "checkout") => "another --mode may work here: copy works everywhere",
        (ErrorKind::Unsupported, "init") => {
            "put the store on a local filesystem; --alias counted does without hardlinks"
        }
        _ => return None,
    })
}

fn general(kind: ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::NotFound => {
            "`larder ls` shows the names, `larder where` finds a blob by the beginning of its digest"
        }
        ErrorKind::Invalid => {
            "a digest is sha256: and 64 lower-case hexadecimal digits; a name is relative, without . or .. or control characters"
        }
        ErrorKind::SourceChanged => "try again when nobody writes to it",
        ErrorKind::Busy => {
            "another larder is at work on this store: wait for it, or wait longer with --lock-timeout 5m"
        }
        ErrorKind::Damaged => {
            "`larder verify` names everything that is damaged; `larder repair` mends it, from copies that larder knows or with --from PATH"
        }
        ErrorKind::NoSpace | ErrorKind::TooLarge => {
            "`larder rm` and then `larder gc --grace 0s` free space; `larder stats` shows how much"
        }
        ErrorKind::ReadOnly => "reading works here, writing does not: mount it writable, or use another store",
        ErrorKind::Untrusted => {
            "take that right away (chmod o-w), after a look at who used it; --trust-directory uses it as it is"
        }
        ErrorKind::Permission => "use larder as the owner of the files and of the store",
        ErrorKind::NotKept => {
            "nothing of it is kept: look at the disk and the system's log, then run the same command again"
        }
        ErrorKind::OutcomeUnknown => {
            "look at the disk and the system's log, then run the same command again: what is kept already is not kept twice"
        }
        ErrorKind::Interrupted => "what was done is kept; the same command goes on from there",
        ErrorKind::Io => "the system's log (dmesg) may say more about the disk",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_has_its_own_remedy_before_the_general_one() {
        assert!(of(ErrorKind::Taken, "get").unwrap().contains("--replace"));
        assert!(of(ErrorKind::NotFound, "show").unwrap().contains("larder ls"));
        assert_eq!(of(ErrorKind::Taken, "pin"), None);
    }

    #[test]
    fn too_many_open_files_have_a_remedy_of_their_own_whenever_it_strikes() {
        let failed = |number| Error::system("open it", std::io::Error::from_raw_os_error(number));
        for command in ["mv", "unlink", "rm", "add"] {
            for kind in [ErrorKind::Io, ErrorKind::NotKept, ErrorKind::OutcomeUnknown] {
                assert!(of_error(&failed(EMFILE).as_kind(kind), command).unwrap().contains("ulimit -n"));
            }
        }
        assert!(of_error(&failed(ENFILE), "mv").unwrap().contains("file-max"));
        assert!(of_error(&failed(5), "mv").unwrap().contains("dmesg"));
    }

    #[test]
    fn what_is_no_matter_of_free_space_or_permission_has_a_remedy_of_its_own() {
        let failed = |number| Error::system("open it", std::io::Error::from_raw_os_error(number));
        for command in ["add", "get", "gc"] {
            for kind in [ErrorKind::NoSpace, ErrorKind::NotKept, ErrorKind::OutcomeUnknown] {
                let hint = |number| of_error(&failed(number).as_kind(kind), command).unwrap();
                assert!(hint(EDQUOT).contains("quota -s"));
                assert!(hint(EROFS).contains("read-only"));
                assert!(hint(ENOLCK).contains("larder doctor"));
            }
        }
        assert_eq!(failed(EDQUOT).kind(), ErrorKind::NoSpace, "it is classed as a full disk");
        assert!(of_error(&failed(28), "get").unwrap().contains("--mode hardlink"));
    }
}
