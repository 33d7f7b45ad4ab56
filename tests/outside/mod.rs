//! What the tests of the program share: they drive it from outside, as any other program would.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Longest that any one command may take before it counts as hanging.
const LIMIT: Duration = Duration::from_secs(120);

/// The user that a test becomes when it must not be root.
pub const NOBODY: u32 = 65534;

/// A temporary directory with room for a store and for sources.
pub struct Place {
    root: TempDir,
}

/// What a command left behind.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: Vec<u8>,
    pub err: String,
}

impl Ran {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// Standard output as JSON: every line one object with `schema` 1 first and `event` second.
    pub fn lines(&self) -> Vec<Value> {
        let text = std::str::from_utf8(&self.out).expect("JSON is UTF-8");
        assert!(text.is_empty() || text.ends_with('\n'), "the last line is whole: {text}");
        text.lines().map(line).collect()
    }

    /// The lines of one event.
    pub fn events(&self, event: &str) -> Vec<Value> {
        self.lines().into_iter().filter(|line| line["event"] == event).collect()
    }

    /// The one line of an event.
    pub fn event(&self, event: &str) -> Value {
        let events = self.events(event);
        assert_eq!(events.len(), 1, "one {event} line in {}", self.text());
        events.into_iter().next().unwrap()
    }

    /// The field `name` of the lines of one event.
    pub fn names(&self, event: &str) -> Vec<String> {
        self.events(event).iter().map(|line| line["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Asserts the exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "exit code; output: {}; errors: {}", self.text(), self.err);
        self
    }
}

/// Reads one line of JSON output, as strictly as it is promised.
pub fn line(text: &str) -> Value {
    assert!(text.starts_with("{\"schema\":1,\"event\":\""), "schema and event come first: {text}");
    let value: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    assert_eq!(value["schema"], 1);
    value
}

impl Place {
    pub fn new() -> Place {
        let root = tempfile::tempdir().expect("a temporary directory");
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Place { root }
    }

    /// A place in a directory of one's choice, which may be on a filesystem of its own.
    pub fn inside(directory: &Path) -> Place {
        Place { root: tempfile::tempdir_in(directory).expect("a temporary directory") }
    }

    /// A place whose store is made already.
    pub fn with_store() -> Place {
        let place = Place::new();
        place.larder(&["init"]).exits(0);
        place
    }

    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(path)
    }

    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// Writes a file, with its directories.
    pub fn file(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A command that is not started yet, in this place and with nothing from outside.
    pub fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command
            .current_dir(self.root.path())
            .env_clear()
            .env("HOME", self.path("home"))
            .env("PATH", "/usr/bin:/bin")
            .env("LARDER_STORE", self.store())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .args(args);
        // Where coverage is measured, what the program covers counts.
        if let Some(profile) = std::env::var_os("LLVM_PROFILE_FILE") {
            command.env("LLVM_PROFILE_FILE", profile);
        }
        command
    }

    /// Runs a command to its end.
    pub fn larder<S: AsRef<OsStr>>(&self, args: &[S]) -> Ran {
        run(self.command(args))
    }

    /// Runs a command with `--json`; its output is JSON, line by line.
    pub fn json<S: AsRef<OsStr>>(&self, args: &[S]) -> Ran {
        let mut all: Vec<&OsStr> = args.iter().map(AsRef::as_ref).collect();
        all.insert(0, OsStr::new("--json"));
        let ran = run(self.command(&all));
        ran.lines();
        ran
    }

    /// Runs a command with something on its standard input.
    pub fn fed<S: AsRef<OsStr>>(&self, args: &[S], input: &[u8]) -> Ran {
        let mut command = self.command(args);
        command.stdin(Stdio::piped());
        run_with(command, Some(input.to_vec()))
    }

    /// Runs a command as somebody who is not root and owns nothing here.
    pub fn as_nobody<S: AsRef<OsStr>>(&self, args: &[S]) -> Ran {
        run(self.nobody(args))
    }

    /// A command of somebody who is not root and owns nothing here; where the tests are not run by root, of whoever
    /// runs them.
    pub fn nobody<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = self.command(args);
        if root() {
            // Where the program was built need not be open to others.
            let program = self.path("larder-for-others");
            if !program.exists() {
                // Copied by a process of its own: a file that this one has open for writing, which another thread's child
                // inherits for a moment, cannot be executed (ETXTBSY).
                let from = Path::new(env!("CARGO_BIN_EXE_larder"));
                let copied = Command::new("cp").arg(from).arg(&program).status().unwrap();
                assert!(copied.success(), "cp copies the program");
                fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
            }
            let mut other = Command::new(program);
            other.args(command.get_args()).current_dir(self.root.path()).env_clear();
            other.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
            other.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).uid(NOBODY).gid(NOBODY);
            command = other;
        }
        command
    }

    /// Every name with its digest, by `ls --json`.
    pub fn names(&self) -> BTreeMap<String, String> {
        let ran = self.json(&["ls"]).exits(0);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        ran.events("name").iter().map(|line| (text(&line["name"]), text(&line["digest"]))).collect()
    }

    /// The bytes of a name.
    pub fn cat(&self, name: &str) -> Vec<u8> {
        self.larder(&["cat", name]).exits(0).out
    }

    /// The file of a blob.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").expect("a digest");
        self.store().join("sha256").join(&hex[..2]).join(&hex[2..])
    }

    /// Everything below `staging/`.
    pub fn staged(&self) -> Vec<PathBuf> {
        files(&self.store().join("staging"))
    }

    /// Everything is good, and nothing is left of work that is over.
    #[track_caller]
    pub fn sound(&self) {
        self.json(&["verify"]).exits(0);
        self.json(&["gc", "--grace", "0s", "--yes-most"]).exits(0);
        self.json(&["verify"]).exits(0);
        assert_eq!(self.staged(), Vec::<PathBuf>::new(), "staging is empty after gc");
    }
}

/// The digest of bytes.
pub fn digest(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    let hash = sha2::Sha256::digest(bytes);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Bytes that look random and are the same every time.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Every file below `dir`, nothing followed.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(dir) else { return found };
    for entry in entries {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// Bytes on the disk of everything below `dir`, each inode once.
pub fn allocated(dir: &Path) -> u64 {
    let inodes: BTreeMap<u64, u64> = files(dir)
        .iter()
        .map(|path| fs::symlink_metadata(path).unwrap())
        .map(|stat| (stat.ino(), stat.blocks() * 512))
        .collect();
    inodes.values().sum()
}

pub fn root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Runs a command to its end, or kills it and fails when it hangs.
pub fn run(command: Command) -> Ran {
    run_with(command, None)
}

fn run_with(mut command: Command, input: Option<Vec<u8>>) -> Ran {
    let words = format!("{:?}", command.get_args().collect::<Vec<_>>());
    let mut child = command.spawn().expect("the program starts");
    if let Some(input) = input {
        let mut stdin = child.stdin.take().unwrap();
        std::thread::spawn(move || {
            // A program that does not read to the end is its own business.
            let _closed = stdin.write_all(&input);
        });
    }
    finish(child, &words)
}

/// Waits for a command's end.
pub fn finish(child: Child, words: &str) -> Ran {
    let id = child.id();
    let (send, receive) = mpsc::channel();
    let waiter = std::thread::spawn(move || {
        let output = child.wait_with_output();
        // Nobody listens when the limit is over.
        let _late = send.send(());
        output
    });
    if receive.recv_timeout(LIMIT).is_err() {
        signal(id, libc::SIGKILL);
        panic!("it hangs: larder {words}");
    }
    let output = waiter.join().unwrap().unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    let code = output.status.code().unwrap_or(-1);
    assert!(!err.contains("panicked") && code != 101, "a panic reached the user of {words}: {err}");
    assert!(code <= 5, "an exit code that is not documented: {code} of {words}: {err}");
    Ran { code, out: output.stdout, err }
}

/// A command that runs while the test looks at its output.
pub struct Running {
    child: Option<Child>,
    pub out: BufReader<ChildStdout>,
}

impl Running {
    pub fn start(mut command: Command) -> Running {
        let mut child = command.stderr(Stdio::null()).spawn().expect("the program starts");
        let out = BufReader::new(child.stdout.take().unwrap());
        Running { child: Some(child), out }
    }

    /// The next line of JSON, or the end.
    pub fn next(&mut self) -> Option<Value> {
        let mut text = String::new();
        self.out.read_line(&mut text).unwrap();
        // A line that a kill cut off is no line.
        text.strip_suffix('\n').map(line)
    }

    pub fn signal(&self, signal: i32) {
        self::signal(self.child.as_ref().unwrap().id(), signal);
    }

    /// Its end, with what it still says.
    pub fn end(mut self) -> (Ran, Vec<Value>) {
        let mut rest = Vec::new();
        while let Some(line) = self.next() {
            rest.push(line);
        }
        (finish(self.child.take().unwrap(), "a running command"), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _over = child.kill();
            let _over = child.wait();
        }
    }
}

pub fn signal(id: u32, signal: i32) {
    // SAFETY: `kill` takes numbers only; the process is a child that was not waited for yet.
    unsafe { libc::kill(i32::try_from(id).unwrap(), signal) };
}

/// Waits until something is so; fails when it never is.
#[track_caller]
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !so() {
        assert!(started.elapsed() < LIMIT, "it never happens: {what}");
        std::thread::yield_now();
    }
}

/// Reads a whole file of any size in pieces and compares it with another.
pub fn same_bytes(left: &Path, right: &Path) -> bool {
    let (mut left, mut right) = (fs::File::open(left).unwrap(), fs::File::open(right).unwrap());
    if left.metadata().unwrap().len() != right.metadata().unwrap().len() {
        return false;
    }
    let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let n = left.read(&mut a).unwrap();
        if n == 0 {
            return true;
        }
        right.read_exact(&mut b[..n]).unwrap();
        if a[..n] != b[..n] {
            return false;
        }
    }
}

/// Bytes as an argument.
pub fn os(bytes: &[u8]) -> OsString {
    OsStr::from_bytes(bytes).to_owned()
}
