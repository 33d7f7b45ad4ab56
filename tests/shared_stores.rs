//! Stores that several users share. Where the tests are not run by root nobody can be switched, and they are skipped.
#![allow(missing_docs, clippy::print_stdout)]

mod outside;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use outside::{Place, Ran, Running, files, noise, root, run, until};

/// Two users of one group, and one who is in none of theirs.
const ANNA: User = User { uid: 61_001, gid: 62_000 };
const BERT: User = User { uid: 61_002, gid: 62_000 };
const CARL: User = User { uid: 61_003, gid: 63_000 };

#[derive(Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

/// A place that belongs to Anna, with her store; `None`, and a line that says so, where nobody can be switched.
fn shared(test: &str, how: &str) -> Option<Place> {
    if !root() {
        println!("skipped: {test}: only root can be several users");
        return None;
    }
    let place = Place::new();
    let program = place.path("larder-for-all");
    // By a program of its own: what this process has open for writing, a child that another test starts may have too, and
    // then it cannot be run.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_larder")).arg(&program).status().unwrap();
    assert!(copied.success());
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    chown(place.path(""), Some(ANNA.uid), Some(ANNA.gid)).unwrap();
    ANNA.does(&place, &["init", "--shared", how]).exits(0);
    Some(place)
}

impl User {
    /// A command of this user, whose umask leaves nothing to anybody else.
    fn command(self, place: &Place, args: &[&str]) -> Command {
        let usual = place.command(args);
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "umask 077; exec \"$0\" \"$@\""]).arg(place.path("larder-for-all")).args(args);
        command.current_dir(place.path("")).env_clear();
        command.envs(usual.get_envs().filter_map(|(key, value)| Some((key, value?))));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).uid(self.uid).gid(self.gid);
        command
    }

    /// Reads a file without larder.
    fn reading(self, place: &Place, path: &str) -> Command {
        let mut command = Command::new("/bin/cat");
        command.arg(place.path(path)).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.uid(self.uid).gid(self.gid);
        command
    }

    fn does(self, place: &Place, args: &[&str]) -> Ran {
        run(self.command(place, args))
    }

    fn json(self, place: &Place, args: &[&str]) -> Ran {
        self.does(place, &[&["--json"], args].concat())
    }

    /// A file of this user.
    fn file(self, place: &Place, path: &str, bytes: &[u8], mode: u32) -> PathBuf {
        let path = place.file(path, bytes);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        chown(&path, Some(self.uid), Some(self.gid)).unwrap();
        path
    }

    /// Changes a byte of a blob, as its owner can.
    fn spoils(self, place: &Place, digest: &str) {
        let path = place.blob(digest);
        let mut bytes = fs::read(&path).unwrap();
        bytes[5] ^= 1;
        let mode = fs::metadata(&path).unwrap().permissions();
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, mode).unwrap();
    }
}

/// Whoever else uses the store must be able to read, write and remove all that is not a blob.
#[track_caller]
fn everything_is_shared(place: &Place) {
    let store = place.store();
    let sealed = ["sha256", "names", "carriers", "quarantine"].map(|name| store.join(name));
    for path in files(&store) {
        let (meta, above) = (fs::symlink_metadata(&path).unwrap(), path.parent().unwrap());
        let wanted = if sealed.iter().any(|top| path.starts_with(top)) { 0o440 } else { 0o660 };
        // What a session has staged is sealed too; nobody but its owner writes to a session's file.
        let wanted = if path.starts_with(store.join("staging")) { 0o440 } else { wanted };
        assert_eq!(meta.mode() & wanted, wanted, "{} has mode {:o}", path.display(), meta.mode());
        assert_eq!(meta.mode() & 0o7, if is_session(&path) { 4 } else { 0 }, "{}", path.display());
        assert_eq!(meta.gid(), ANNA.gid, "{}", path.display());
        assert_eq!(fs::metadata(above).unwrap().mode() & 0o7777, 0o2770, "{}", above.display());
    }
}

fn is_session(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "session")
}

#[test]
fn two_users_of_a_group_work_on_what_the_other_made() {
    let Some(place) = shared("two_users_of_a_group", "group") else { return };
    for (user, name, seed) in [(ANNA, "anna", 1), (BERT, "bert", 10)] {
        for i in 0..3 {
            user.file(&place, &format!("{name}/{i}"), &noise(seed + i, 3000), 0o644);
        }
        user.does(&place, &["add", name]).exits(0);
        everything_is_shared(&place);
    }
    for (user, other) in [(ANNA, "bert"), (BERT, "anna")] {
        assert_eq!(user.does(&place, &["cat", &format!("{other}/0")]).exits(0).out.len(), 3000);
        user.does(&place, &["verify"]).exits(0);
        user.does(&place, &["check"]).exits(0);
        user.does(&place, &["rm", &format!("{other}/1")]).exits(0);
        user.does(&place, &["gc", "--grace", "0s", "--yes-most"]).exits(0);
        user.does(&place, &["compact"]).exits(0);
        user.does(&place, &["rebuild"]).exits(0);
        user.does(&place, &["copies", "2", &format!("{other}/2")]).exits(0);
        everything_is_shared(&place);
    }
    // A damaged blob of one is mended by the other, from where it was added.
    let names = BERT.json(&place, &["ls"]).exits(0);
    let digest = |name: &str| {
        let line = names.events("name").into_iter().find(|line| line["name"] == name).unwrap();
        line["digest"].as_str().unwrap().to_owned()
    };
    for (owner, mender, name) in [(ANNA, BERT, "anna/0"), (BERT, ANNA, "bert/0")] {
        owner.spoils(&place, &digest(name));
        mender.does(&place, &["verify", "--quarantine"]).exits(3);
        mender.does(&place, &["repair", "--all"]).exits(0);
        for user in [owner, mender] {
            user.does(&place, &["verify"]).exits(0);
            user.does(&place, &["check"]).exits(0);
        }
        everything_is_shared(&place);
    }
}

#[test]
fn a_name_for_anothers_blob_is_kept_whether_or_not_it_can_be_linked() {
    let Some(place) = shared("a_name_for_anothers_blob", "group") else { return };
    ANNA.file(&place, "a", &noise(1, 3000), 0o644);
    BERT.file(&place, "b", &noise(1, 3000), 0o644);
    ANNA.does(&place, &["add", "a"]).exits(0);
    let added = BERT.json(&place, &["add", "b"]).exits(0);
    assert_eq!(added.event("summary")["failed"], 0);
    BERT.does(&place, &["link", "a", "c"]).exits(0);
    for name in ["a", "b", "c"] {
        assert_eq!(BERT.does(&place, &["cat", name]).exits(0).out, noise(1, 3000));
    }
    // `fs.protected_hardlinks` lets only the owner make them.
    let checked = BERT.json(&place, &["check"]);
    assert!(checked.events("finding").iter().all(|line| line["code"] == "name-unapplied"), "{}", checked.text());
    ANNA.does(&place, &["check", "--repair"]).exits(0);
    BERT.does(&place, &["check"]).exits(0);
    BERT.does(&place, &["verify"]).exits(0);
}

#[test]
fn what_a_killed_user_left_is_cleared_away_by_another() {
    let Some(place) = shared("what_a_killed_user_left", "group") else { return };
    // A hole is copied fast, and is large enough to be gone on with.
    let large = ANNA.file(&place, "large", b"", 0o644);
    fs::File::options().write(true).open(&large).unwrap().set_len(2 << 30).unwrap();
    let running = Running::start(ANNA.command(&place, &["add", "large"]));
    let resumable = || place.staged().iter().any(|path| path.extension().is_some_and(|e| e == "resume"));
    until("the large file has a checkpoint", resumable);
    running.signal(libc::SIGKILL);
    drop(running);
    assert!(resumable(), "it was over before it could be killed");
    everything_is_shared(&place);
    let listed = BERT.json(&place, &["ingest", "ls"]).exits(0);
    assert_eq!(listed.events("ingest").len(), 1, "{}", listed.text());
    // It is not Bert's to go on with, and no reason not to begin one of his own.
    BERT.does(&place, &["add", "large"]).exits(0);
    BERT.does(&place, &["gc", "--grace", "0s"]).exits(0);
    assert!(resumable(), "what can go on stays");
    let id = listed.events("ingest")[0]["id"].as_str().unwrap().to_owned();
    BERT.does(&place, &["ingest", "rm", &id]).exits(0);
    BERT.does(&place, &["gc", "--grace", "0s"]).exits(0);
    assert_eq!(place.staged(), Vec::<PathBuf>::new());
    // Work that cannot go on is cleared away at once.
    let mut waiting = BERT.command(&place, &["add", "-", "--name", "piped"]);
    waiting.stdin(Stdio::piped());
    let running = Running::start(waiting);
    // A file is its maker's alone until it has its mode.
    let is_begun =
        |path: &PathBuf| is_session(path) && fs::metadata(path).is_ok_and(|meta| meta.mode() & 0o444 == 0o444);
    until("it has a session", || place.staged().iter().any(is_begun));
    running.signal(libc::SIGKILL);
    drop(running);
    ANNA.does(&place, &["gc", "--grace", "0s"]).exits(0);
    assert_eq!(place.staged(), Vec::<PathBuf>::new());
    ANNA.does(&place, &["check"]).exits(0);
}

#[test]
fn who_is_not_in_the_group_reads_nothing() {
    let Some(place) = shared("who_is_not_in_the_group", "group") else { return };
    ANNA.file(&place, "a", &noise(1, 3000), 0o644);
    ANNA.does(&place, &["add", "a"]).exits(0);
    for command in [&["ls"][..], &["cat", "a"], &["verify"], &["check"], &["add", "a", "--name", "b"]] {
        let ran = CARL.does(&place, command).exits(1);
        assert!(ran.err.contains("Permission denied"), "{command:?}: {}", ran.err);
    }
}

/// A blob is never readable to more people than its source was.
#[test]
fn a_private_source_stays_private_in_a_group_store() {
    let Some(place) = shared("a_private_source", "group") else { return };
    ANNA.file(&place, "secret", &noise(1, 3000), 0o600);
    ANNA.does(&place, &["add", "secret"]).exits(0);
    let digest = outside::digest(&noise(1, 3000));
    assert_eq!(fs::metadata(place.blob(&digest)).unwrap().mode() & 0o7777, 0o400);
    let refused = BERT.does(&place, &["cat", "secret"]).exits(1);
    assert!(refused.err.contains("Permission denied"), "{}", refused.err);
    let verified = BERT.json(&place, &["verify", "--quarantine"]).exits(3);
    let line = verified.event("verified");
    assert_eq!(line["status"], "unreadable");
    assert!(line["detail"].as_str().unwrap().contains("ermission"), "{line}");
    let summary = verified.event("summary");
    assert_eq!((&summary["corrupt"], &summary["quarantined"]), (&0.into(), &0.into()));
    BERT.does(&place, &["check"]).exits(0);
    // Having the same bytes is no trouble for either of them, and Anna's are still good.
    BERT.file(&place, "same", &noise(1, 3000), 0o600);
    BERT.does(&place, &["add", "same"]).exits(0);
    ANNA.does(&place, &["verify", "same"]).exits(3);
    assert_eq!(BERT.does(&place, &["cat", "same"]).exits(0).out, noise(1, 3000));
    assert_eq!(ANNA.does(&place, &["cat", "same"]).exits(0).out, noise(1, 3000));
    assert_eq!(fs::metadata(place.blob(&digest)).unwrap().mode() & 0o7777, 0o400);
}

/// Somebody who adds the same bytes from a file that more people may read gives them to these people, by a file of his
/// own; whoever had them for himself has them for himself.
#[test]
fn the_same_bytes_are_kept_once_more_for_all_who_may_read_them() {
    let Some(place) = shared("the_same_bytes_are_kept_once_more", "group") else { return };
    let bytes = noise(1, 3000);
    ANNA.file(&place, "secret", &bytes, 0o600);
    ANNA.does(&place, &["add", "secret"]).exits(0);
    let digest = outside::digest(&bytes);
    BERT.file(&place, "open", &bytes, 0o644);
    let added = BERT.does(&place, &["add", "open"]).exits(0);
    assert!(format!("{}{}", added.err, String::from_utf8_lossy(&added.out)).contains("once more"), "{}", added.err);
    let hex = digest.trim_start_matches("sha256:");
    let carrier = place.store().join("carriers").join(&hex[..2]).join(format!("{}.1", &hex[2..]));
    let (carrier, blob) = (fs::metadata(carrier).unwrap(), fs::metadata(place.blob(&digest)).unwrap());
    assert_eq!((carrier.mode() & 0o7777, carrier.uid()), (0o440, BERT.uid));
    assert_eq!((blob.mode() & 0o7777, blob.uid()), (0o400, ANNA.uid));
    let name = |name: &str| fs::metadata(place.store().join("names").join(name)).unwrap().ino();
    assert_eq!((name("open"), name("secret")), (carrier.ino(), blob.ino()));
    fs::create_dir(place.path("out")).unwrap();
    chown(place.path("out"), Some(BERT.uid), Some(BERT.gid)).unwrap();
    for user in [ANNA, BERT] {
        for name in ["open", "secret"] {
            assert_eq!(user.does(&place, &["cat", name]).exits(0).out, bytes);
        }
        user.does(&place, &["check"]).exits(0);
    }
    for mode in ["copy", "hardlink", "symlink"] {
        let out = format!("out/{mode}");
        BERT.does(&place, &["get", "secret", &out, "--mode", mode]).exits(0);
        let read = run(BERT.reading(&place, &out));
        assert_eq!(read.exits(0).out, bytes, "{mode}");
    }
    // Once is enough, whoever comes next; and a private file of Bert's needs none more.
    BERT.file(&place, "more/again", &bytes, 0o644);
    BERT.file(&place, "more/mine", &bytes, 0o600);
    BERT.does(&place, &["add", "more"]).exits(0);
    ANNA.does(&place, &["verify"]).exits(0);
    let verified = ANNA.json(&place, &["verify"]).exits(0);
    assert_eq!(verified.event("verified")["carriers"].as_array().unwrap().len(), 1);
    ANNA.does(&place, &["check"]).exits(0);
    // Without the journal the two come back, for whom they were.
    fs::remove_dir_all(place.store().join("index")).unwrap();
    fs::remove_dir_all(place.store().join("journal")).unwrap();
    ANNA.does(&place, &["rebuild", "--from-disk"]);
    assert_eq!(BERT.does(&place, &["cat", "open"]).exits(0).out, bytes);
    assert_eq!(fs::metadata(place.blob(&digest)).unwrap().mode() & 0o7777, 0o400);
}

/// Where the private blob is not as it was recorded, only who may read it can tell whether it is good.
#[test]
fn nobody_adds_to_a_private_blob_that_he_cannot_judge() {
    let Some(place) = shared("nobody_adds_to_a_private_blob", "group") else { return };
    let bytes = noise(1, 3000);
    ANNA.file(&place, "secret", &bytes, 0o600);
    ANNA.does(&place, &["add", "secret"]).exits(0);
    let blob = place.blob(&outside::digest(&bytes));
    fs::File::open(&blob).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    BERT.file(&place, "open", &bytes, 0o644);
    let refused = BERT.does(&place, &["add", "open"]).exits(3);
    assert!(refused.err.contains("ermission denied") && !refused.err.contains("went away"), "{}", refused.err);
    // Once it was judged, they are kept for all.
    ANNA.does(&place, &["add", "secret", "--verify-existing"]).exits(0);
    BERT.does(&place, &["add", "open"]).exits(0);
    assert_eq!(BERT.does(&place, &["cat", "secret"]).exits(0).out, bytes);
    assert_eq!(fs::metadata(blob).unwrap().mode() & 0o7777, 0o400);
}

#[test]
fn everybody_reads_a_world_store_and_its_owner_alone_writes() {
    let Some(place) = shared("everybody_reads_a_world_store", "world") else { return };
    ANNA.file(&place, "a", &noise(1, 3000), 0o644);
    ANNA.does(&place, &["add", "a"]).exits(0);
    fs::create_dir(place.path("out")).unwrap();
    chown(place.path("out"), Some(CARL.uid), Some(CARL.gid)).unwrap();
    for command in [&["ls"][..], &["cat", "a"], &["get", "a", "out/a"], &["verify"], &["check"], &["doctor"]] {
        CARL.does(&place, command).exits(0);
    }
    assert_eq!(fs::read(place.path("out/a")).unwrap(), noise(1, 3000));
    CARL.file(&place, "c", &noise(2, 3000), 0o644);
    let before = place.names();
    let writes: [&[&str]; 8] = [
        &["add", "c"],
        &["rm", "a"],
        &["link", "a", "b"],
        &["gc", "--grace", "0s"],
        &["compact"],
        &["check", "--repair"],
        &["verify", "--quarantine"],
        &["repair", "--all"],
    ];
    for command in writes {
        let error = CARL.json(&place, command).exits(1).event("error");
        assert_eq!(error["kind"], "permission", "{command:?}: {error}");
        assert!(error["message"].as_str().unwrap().contains("this user may not write to"), "{command:?}: {error}");
    }
    assert_eq!(place.names(), before);
    ANNA.does(&place, &["verify"]).exits(0);
    ANNA.does(&place, &["check"]).exits(0);
}
