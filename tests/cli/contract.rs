//! What the command line promises to other programs: exit codes, JSON, pipes, the environment, stores that cannot be
//! written to, and locks that somebody else holds.

use std::fs;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::outside::{self, Place, Running, digest, files, finish, noise, os, root, run};

/// Every command, with arguments that fit a store with `d/a` (`1`), `d/b` (`2`) and `d/c` (`1`).
fn commands() -> Vec<Vec<String>> {
    let one = digest(b"1");
    let short = &one["sha256:".len()..][..8];
    let words = [
        "init",
        "add d",
        "add - --name in",
        "ls",
        "ls d",
        "ls -l",
        "ls --sort size --reverse",
        "ls --min-size 1 --older 0s",
        "show d/a",
        "show @",
        "where #",
        "why d/a",
        "why @ --grace 0s",
        "stats",
        "get d/a got",
        "get @ got2",
        "checkout . all",
        "checkout d some --mode copy",
        "path d/a",
        "link d/a x/a",
        "link @ x/b",
        "mv x/b x/c",
        "unlink x/a",
        "pin d/a --note why",
        "unpin d/a",
        "pin @",
        "unpin @",
        "rm x --dry-run",
        "rm x",
        "verify",
        "verify d",
        "verify @",
        "scrub",
        "scrub --status",
        "scrub --pause",
        "scrub --resume",
        "scrub --stop",
        "status --hints",
        "gc --dry-run",
        "gc --grace 0s",
        "register model:hf/x d/a --tag t",
        "register document:y --url https://example.org/y --if-registered merge",
        "search",
        "search x --ids --limit 1",
        "show model:hf/x",
        "tag model:hf/x a --remove b",
        "note model:hf/x text",
        "meta model:hf/x a=b",
        "touch model:hf/x",
        "verify model:hf/x",
        "set-state model:hf/x retired",
        "catalog stats",
        "import-manifest m.jsonl",
        "export-manifest -o out.jsonl",
        "forget document:y --dry-run",
        "delete model:hf/x --now --dry-run",
        "delete model:hf/x document:y",
        "compact",
        "rebuild",
        "debug frames",
        "debug runs",
        "ingest ls",
        "ingest rm --all --dry-run",
        "ingest rm --all",
        "trash ls",
        "trash empty --dry-run",
        "trash empty",
        "evict --free 0",
        "evict --max-size 1GB",
        "retention --keep-last 9",
        "dedup-report",
        "evict --free 0",
        "evict --max-size 1GB",
    ];
    let fill = |word: &str| word.replace('@', &one).replace('#', short);
    words.iter().map(|line| line.split(' ').map(fill).collect()).collect()
}

fn place() -> Place {
    let place = Place::new();
    for (name, bytes) in [("d/a", "1"), ("d/b", "2"), ("d/c", "1")] {
        place.file(name, bytes);
    }
    place.file("m.jsonl", "{\"artifact_id\":\"z\"}");
    place.json(&["add", "d"]).exits(0);
    place
}

#[test]
fn every_command_speaks_json_line_by_line() {
    let place = place();
    for command in commands() {
        let ran = place.json(&command).exits(0);
        assert!(!ran.lines().is_empty(), "{command:?} says something");
        assert!(ran.err.is_empty(), "{command:?} leaves standard error alone: {}", ran.err);
    }
    // The option stands anywhere.
    for line in [&["--json", "ls"][..], &["ls", "--json"], &["ls", "d", "--json"]] {
        assert!(place.larder(line).exits(0).events("name").len() >= 3);
    }
    let cat = place.larder(&["--json", "cat", "d/a"]).exits(0);
    assert_eq!(cat.out, b"1");
    let cat = place.larder(&["--json", "cat", "nothing"]).exits(1);
    assert_eq!((cat.out.len(), cat.err.contains("{\"schema\":1,\"event\":\"error\"")), (0, true));
}

#[test]
fn every_command_has_words_for_people_and_quiet_ones() {
    let place = place();
    for command in commands() {
        let ran = place.larder(&command).exits(0);
        assert!(!ran.text().starts_with('{'), "{command:?}");
        assert!(!ran.out.contains(&0x1b) && !ran.err.contains('\x1b'), "{command:?} has no colours in a pipe");
    }
    for command in commands() {
        for flag in ["-q", "-v"] {
            let mut words = command.clone();
            words.push(flag.to_owned());
            let ran = place.larder(&words);
            // The second time some things are done already.
            assert!([0, 1, 3].contains(&ran.code), "{words:?}: {}", ran.err);
        }
    }
}

#[test]
fn a_store_is_found_by_option_by_environment_and_by_default() {
    let place = place();
    let other = place.path("other");
    let words = other.to_str().unwrap();
    place.larder(&["--store", words, "init"]).exits(0);
    for line in [["--store", words, "add", "d/a"], ["add", "--store", words, "d/a"], ["add", "d/a", "--store", words]] {
        place.larder(&line).exits(0);
    }
    place.larder(&["add", "d/a", &format!("--store={words}")]).exits(0);
    let listed = place.json(&["ls", "--store", words]).exits(0);
    assert_eq!(listed.names("name"), ["a"]);
    // The option goes before the environment.
    assert_eq!(place.names().len(), 3);

    let mut command = place.command(&["add", "d/b", "--json"]);
    command.env_remove("LARDER_STORE").env("XDG_DATA_HOME", place.path("xdg"));
    let made = run(command).exits(0);
    assert!(made.event("summary")["store"].as_str().unwrap().ends_with("xdg/larder"));
    let mut command = place.command(&["add", "d/b", "--json"]);
    command.env_remove("LARDER_STORE");
    assert!(run(command).exits(0).event("summary")["store"].as_str().unwrap().ends_with("home/.local/share/larder"));
    // An empty variable is as none.
    let mut command = place.command(&["ls", "--json"]);
    command.env("LARDER_STORE", "");
    assert_eq!(run(command).exits(0).names("name"), ["b"]);
}

/// Commands that make a store where there is none: what they take in has nowhere else to go.
const MAKING: [&str; 5] = ["init", "add", "register", "import-manifest", "finalise"];

#[test]
fn without_a_store_every_other_command_refuses_and_makes_nothing() {
    let place = Place::new();
    place.file("d/a", "1");
    place.file("d/b", "2");
    for command in commands().into_iter().filter(|words| !MAKING.contains(&words[0].as_str())) {
        let ran = place.json(&command).exits(1);
        assert_eq!(ran.event("error")["kind"], "not_found", "{command:?}");
        assert!(ran.err.contains("no store"), "{command:?}: {}", ran.err);
        assert!(!place.store().exists(), "{command:?} made something");
    }
    // A directory that is something else is left alone by everybody.
    let mut all = commands();
    all.push(vec!["cat".into(), "d/a".into()]);
    for mut command in all {
        command.extend(["--store".into(), "d".into()]);
        let ran = place.fed(&command, b"");
        assert_eq!(ran.code, 1, "{command:?}: {}", ran.err);
    }
    assert_eq!(files(&place.path("d")).len(), 2);
}

#[test]
fn wrong_usage_is_exit_two_in_json_too() {
    let place = place();
    let wrong = [
        "",
        "frob",
        "ls --frob",
        "ls --sort colour",
        "add",
        "add --name a/../b d/a",
        "add --move --link d",
        "get d/a",
        "show",
        "show sha256:12",
        "show sha256:XYZ",
        "where 12",
        "where zz",
        "link d/a",
        "mv d/a",
        "mv d/a /abs",
        "rm",
        "gc --grace soon",
        "gc --grace -1s",
        "gc --plan",
        "ls --min-size much",
        "--jobs x ls",
        "--jobs -1 ls",
        "--lock-timeout never ls",
        "checkout .",
        "debug",
        "debug frob",
        "pin",
        "get d/a out --mode teleport",
        "link d/a a//b",
        "unlink ../x",
        "cat /etc/passwd",
        "add - d",
        "add d/a d/b --name x",
        "add d --expect sha256:1",
        "ls ../..",
        "rm /",
        "checkout ../x out",
    ];
    for line in wrong {
        let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
        let ran = place.json(&words).exits(2);
        assert_eq!(ran.event("error")["kind"], "usage", "{line}: {}", ran.text());
        assert!(!ran.err.is_empty());
        let plain = place.larder(&words).exits(2);
        assert!(plain.out.is_empty() && !plain.err.is_empty(), "{line}");
    }
    for line in ["--help", "--version", "help", "add --help", "help gc", "-h", "-V"] {
        let words: Vec<&str> = line.split(' ').collect();
        let ran = place.larder(&words).exits(0);
        assert!(!ran.out.is_empty(), "{line}");
    }
    place.sound();
}

#[test]
fn unknown_names_are_exit_one() {
    let place = place();
    let unknown = digest(b"unknown");
    for line in [
        "ls no",
        "show no",
        "why no",
        "get no out",
        "cat no",
        "path no",
        "checkout no out",
        "link no new",
        "mv no new",
        "unlink no",
        "rm no",
        "rm d/a no",
        "pin no",
        "unpin no",
        "verify no",
        "show @",
        "cat @",
        "get @ out",
        "link @ new",
        "pin @",
        "where @",
        "why @",
        "path @",
        "verify @",
        "unlink d",
        "cat d",
        "get d out",
        "gc --plan no",
    ] {
        let line = line.replace('@', &unknown);
        let words: Vec<&str> = line.split(' ').collect();
        let ran = place.json(&words).exits(1);
        let told = if words[0] == "cat" { ran.err.clone() } else { ran.text() };
        assert!(told.contains("\"event\":\"error\""), "{line}: {told}");
    }
    assert_eq!(place.names().len(), 3, "rm with one unknown name takes nothing away");
    place.sound();
}

#[test]
fn a_closed_pipe_is_no_error() {
    let place = Place::with_store();
    for i in 0..400 {
        place.file(format!("d/{i}-{}", "x".repeat(200)), noise(i, 10));
    }
    let closed = |words: &[&str]| {
        let mut command = place.command(words);
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        finish(child, &words.join(" "))
    };
    closed(&["--json", "add", "d"]).exits(0);
    assert_eq!(place.names().len(), 400, "it finishes its work");
    for words in
        [&["ls"][..], &["--json", "ls"], &["stats"], &["--json", "verify"], &["-v", "verify"], &["debug", "frames"]]
    {
        let ran = closed(words).exits(0);
        assert_eq!(ran.err.matches("larder:").count(), 0, "{words:?}: {}", ran.err);
    }
    closed(&["--json", "rm", "d", "--dry-run"]).exits(0);
    closed(&["-v", "checkout", ".", "out"]).exits(0);
    assert_eq!(files(&place.path("out")).len(), 400);
    closed(&["--json", "rm", "d"]).exits(0);
    assert_eq!(place.names().len(), 0);
    closed(&["--json", "gc", "--grace", "0s", "--yes-most"]).exits(0);
    assert_eq!(place.json(&["stats"]).event("stats")["blobs"], 0);

    // A reader that takes one line and goes.
    place.json(&["add", "d"]).exits(0);
    let mut child = place.command(&["--json", "ls"]).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut [0; 1]).unwrap();
    drop(out);
    finish(child, "ls").exits(0);
    // Nobody reads what is said in trouble, either.
    let mut child = place.command(&["cat", "nothing"]).spawn().unwrap();
    drop(child.stderr.take());
    finish(child, "cat").exits(1);
    // cat into a closed pipe, larger than any pipe.
    place.file("big", noise(1, 1 << 20));
    place.json(&["add", "big"]).exits(0);
    let mut child = place.command(&["cat", "big"]).spawn().unwrap();
    drop(child.stdout.take());
    finish(child, "cat").exits(0);
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let place = place();
    let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") else { return };
    for words in [&["ls"][..], &["--json", "ls"], &["cat", "d/a"], &["--json", "stats"], &["path", "d/a"]] {
        let mut command = place.command(words);
        command.stdout(full.try_clone().unwrap());
        let ran = run(command).exits(1);
        assert!(ran.err.contains("space"), "{words:?}: {}", ran.err);
    }
    // What was asked for is done all the same.
    place.file("e", "5");
    let mut command = place.command(&["--json", "add", "e"]);
    command.stdout(full.try_clone().unwrap());
    run(command).exits(1);
    assert!(place.names().contains_key("e"));
    // Closed from the start.
    for words in [&["ls"][..], &["add", "d"]] {
        let mut command = place.command(words);
        // SAFETY: `close` is safe between fork and exec, and nothing else of the child uses these descriptors.
        unsafe {
            command.pre_exec(|| {
                for descriptor in 0..3 {
                    libc::close(descriptor);
                }
                Ok(())
            });
        }
        let ran = run(command);
        assert!([0, 1].contains(&ran.code), "{words:?}: {}", ran.code);
    }
    place.sound();
}

#[test]
fn no_colour_where_nobody_wants_it() {
    let place = place();
    for (key, value) in [("NO_COLOR", "1"), ("TERM", "dumb"), ("CLICOLOR_FORCE", "0")] {
        for words in [&["ls", "-l"][..], &["--help"], &["frob"], &["verify"]] {
            let mut command = place.command(words);
            command.env(key, value);
            let ran = run(command);
            assert!(!ran.out.contains(&0x1b) && !ran.err.contains('\x1b'), "{words:?} with {key}");
        }
    }
}

/// Everything that only reads works, and changes nothing; everything that writes says why it cannot.
fn only_reads(place: &Place, mut larder: impl FnMut(&[&str]) -> outside::Ran) {
    let state = |place: &Place| -> Vec<_> {
        let stat = |path: &std::path::PathBuf| fs::symlink_metadata(path).unwrap().modified().unwrap();
        files(&place.store()).into_iter().map(|path| (stat(&path), path)).collect()
    };
    let before = state(place);
    for line in [
        "ls",
        "ls -l",
        "show d/a",
        "why d/a",
        "stats",
        "cat d/a",
        "path d/a",
        "verify",
        "verify d/a",
        "gc --dry-run",
        "rm d --dry-run",
        "search",
        "catalog stats",
        "export-manifest",
        "debug frames",
        "debug runs",
        "ingest ls",
        "ingest rm --all --dry-run",
        "get d/a /dev/null/no",
        "where @",
    ] {
        let line = line.replace('@', &digest(b"1")["sha256:".len()..]);
        let words: Vec<&str> = line.split(' ').collect();
        let ran = larder(&words);
        let code = i32::from(line.starts_with("get"));
        assert_eq!(ran.code, code, "{line}: {} {}", ran.text(), ran.err);
    }
    let ran = larder(&["cat", "d/a"]);
    assert_eq!(ran.out, b"1");
    for line in [
        "add d/b --name new",
        "register model:hf/x d/b",
        "import-manifest m.jsonl",
        "link d/a new",
        "mv d/a new",
        "unlink d/a",
        "rm d",
        "pin d/a",
        "gc --grace 0s",
        "compact",
        "ingest rm --all",
        "add - --name in",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let ran = larder(&words);
        assert!([1, 3].contains(&ran.code), "{line}: {} {}", ran.code, ran.err);
        assert!(
            ["read-only", "permission", "Permission", "cannot write", "not be written", "may not write"]
                .iter()
                .any(|word| ran.err.contains(word)),
            "{line}: {}",
            ran.err
        );
    }
    assert_eq!(state(place), before, "nothing was changed");
}

#[test]
fn a_store_of_somebody_else_can_be_read() {
    let place = place();
    place.json(&["rebuild"]).exits(0);
    if !root() {
        for path in files(&place.store()) {
            fs::set_permissions(path, fs::Permissions::from_mode(0o444)).unwrap();
        }
        let mut close = Command::new("find");
        close.arg(place.store()).args(["-type", "d", "-exec", "chmod", "555", "{}", "+"]);
        assert!(close.status().unwrap().success());
    }
    only_reads(&place, |words| place.as_nobody(words));
    // Without its index as well, which cannot be made anew here.
    if root() {
        fs::remove_dir_all(place.store().join("index")).unwrap();
        only_reads(&place, |words| place.as_nobody(words));
    } else {
        let mut open = Command::new("chmod");
        open.args(["-R", "u+w"]).arg(place.store());
        assert!(open.status().unwrap().success());
    }
}

/// A command that sees the store under a read-only mount that nobody else sees.
fn mounted_read_only(place: &Place, words: &[&str]) -> Command {
    let mut command = place.command(words);
    let store = std::ffi::CString::new(place.store().to_str().unwrap()).unwrap();
    // SAFETY: between fork and exec only system calls are made, with pointers to memory that the closure owns.
    unsafe {
        command.pre_exec(move || {
            let none = std::ptr::null();
            let check = |result: i32| if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) };
            check(libc::unshare(libc::CLONE_NEWNS))?;
            check(libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()))?;
            check(libc::mount(store.as_ptr(), store.as_ptr(), none, libc::MS_BIND, none.cast()))?;
            let flags = libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY;
            check(libc::mount(none, store.as_ptr(), none, flags, none.cast()))
        });
    }
    command
}

#[test]
fn a_read_only_mount_can_be_read() {
    let place = place();
    if mounted_read_only(&place, &["--version"]).stdout(Stdio::null()).status().is_err() {
        return; // only root may mount
    }
    only_reads(&place, |words| run(mounted_read_only(&place, words)));
    fs::remove_dir_all(place.store().join("index")).unwrap();
    only_reads(&place, |words| run(mounted_read_only(&place, words)));
    // What is damaged there is found, and left as it is.
    let blob = place.blob(&digest(b"2"));
    fs::set_permissions(&blob, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&blob, "3").unwrap();
    let ran = run(mounted_read_only(&place, &["--json", "verify"])).exits(3);
    assert!(ran.text().contains("\"status\":\"corrupt\""));
    let ran = run(mounted_read_only(&place, &["--json", "verify", "--quarantine"]));
    assert!([1, 3].contains(&ran.code), "{}", ran.err);
    assert!(blob.exists());
}

#[test]
fn a_lock_that_is_held_is_exit_four_and_readers_do_not_mind() {
    let place = place();
    let lock = fs::File::open(place.store().join("lock")).unwrap();
    // SAFETY: the descriptor is open as long as `lock` lives.
    assert_eq!(unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX) }, 0);
    place.file("new", "new");
    for line in ["add new", "link d/a x", "mv d/a x", "rm d/a", "unlink d/a", "pin d/a", "gc --grace 0s", "compact"] {
        let mut words: Vec<&str> = line.split(' ').collect();
        words.extend(["--lock-timeout", "50ms"]);
        let ran = place.json(&words).exits(4);
        assert_eq!(ran.event("error")["kind"], "busy", "{line}");
        let words: Vec<&str> = words.iter().map(|word| if *word == "50ms" { "0s" } else { word }).collect();
        place.json(&words).exits(4);
    }
    for line in
        ["ls", "show d/a", "why d/a", "stats", "cat d/a", "verify", "gc --dry-run", "get d/a out", "checkout d all"]
    {
        let words: Vec<&str> = line.split(' ').collect();
        place.larder(&words).exits(0);
    }
    drop(lock);
    assert_eq!(place.names().len(), 3);
    // Who waits gets it.
    let lock = fs::File::open(place.store().join("lock")).unwrap();
    // SAFETY: the descriptor is open as long as `lock` lives.
    assert_eq!(unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX) }, 0);
    let running = Running::start(place.command(&["--json", "add", "new"]));
    drop(lock);
    running.end().0.exits(0);
    place.sound();
}

#[test]
fn names_are_escaped_on_standard_error_and_whole_in_a_pipe() {
    let place = Place::with_store();
    let name = os(b"d/\xc3\xa9\xff\xe2\x80\xae");
    place.file(Path::new(&name), "1");
    place.json(&["add", "d"]).exits(0);
    let listed = place.larder(&["ls", "-q"]).exits(0);
    assert!(!listed.out.is_empty());
    let shown = place.larder(&[&os(b"show"), &os(b"d/no\x80such")]);
    assert_eq!(shown.code, 1);
    assert!(!shown.err.is_empty());
}

#[test]
fn hostile_stores_are_refused_in_words() {
    let settings = |place: &Place| place.store().join("larder.toml");
    let text = |place: &Place| fs::read_to_string(settings(place)).unwrap();
    type Spoil = fn(&str) -> Vec<u8>;
    let spoils: [Spoil; 8] = [
        |_| Vec::new(),
        |_| b"\xff\xfe\x00".to_vec(),
        |_| vec![b'x'; 1 << 22],
        |text| text.replace("format = 1", "format = 99").into_bytes(),
        |text| text.replace("incompatible = []", "incompatible = [\"from-the-future\"]").into_bytes(),
        |text| text.replace("blob_mode = \"0444\"", "blob_mode = \"7777\"").into_bytes(),
        |text| text.replace("store_id = \"", "store_id = \"zz").into_bytes(),
        |text| text.replace("durability = \"batch\"", "durability = \"sometimes\"").into_bytes(),
    ];
    for (number, spoil) in spoils.into_iter().enumerate() {
        let place = place();
        let bad = spoil(&text(&place));
        assert!(settings(&place).exists());
        fs::write(settings(&place), bad).unwrap();
        for words in [&["ls"][..], &["add", "d"], &["verify"], &["init"], &["gc"]] {
            let ran = place.json(words);
            assert!([1, 3].contains(&ran.code), "{number} {words:?}: {}", ran.err);
            assert!(ran.err.contains("larder.toml") || ran.err.contains("store"), "{number} {words:?}: {}", ran.err);
        }
    }
    // Links in the place of directories lead nowhere.
    for part in ["journal", "sha256", "names", "staging", "index"] {
        let place = place();
        let away = place.path("away");
        let inside = place.store().join(part);
        if !inside.exists() {
            fs::create_dir(&inside).unwrap();
        }
        fs::rename(&inside, &away).unwrap();
        std::os::unix::fs::symlink(&away, &inside).unwrap();
        let before = files(&away);
        for words in [&["ls"][..], &["verify"], &["add", "d", "--prefix", "p"], &["gc", "--grace", "0s"]] {
            let ran = place.json(words);
            assert!([0, 1, 3].contains(&ran.code), "{part} {words:?}: {}", ran.err);
        }
        assert!(files(&away).len() >= before.len(), "nothing outside was taken away through {part}");
    }
}

#[test]
fn a_store_directory_that_everybody_may_write_to_is_refused_unless_told() {
    let place = Place::with_store();
    place.file("a", "bytes");
    place.json(&["add", "a"]).exits(0);
    fs::set_permissions(place.store(), fs::Permissions::from_mode(0o777)).unwrap();
    for words in [&["ls"][..], &["add", "a", "--name", "b"], &["gc"], &["verify"], &["init"]] {
        let ran = place.larder(words).exits(5);
        assert!(ran.err.contains("everybody may write") && ran.err.contains("chmod o-w"), "{words:?}: {}", ran.err);
    }
    place.json(&["ls", "--trust-directory"]).exits(0);
    place.json(&["add", "a", "--name", "b", "--trust-directory"]).exits(0);
    fs::set_permissions(place.store(), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(place.names().len(), 2);

    let empty = place.path("empty");
    fs::create_dir(&empty).unwrap();
    fs::set_permissions(&empty, fs::Permissions::from_mode(0o777)).unwrap();
    place.json(&["--store", "empty", "add", "a"]).exits(5);
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0, "nothing is made there");
}
