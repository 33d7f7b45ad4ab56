//! Eight processes at a time work on one store and are killed at random: afterwards everything that was acknowledged is
//! there with its bytes, and nothing else is.
//!
//! `LARDER_KILLS=5000` goes on until so many processes were killed; `LARDER_SEED=7` takes other turns. What is done, and
//! after how many lines of output or microseconds a process dies, follows from the seed; how the eight interleave is
//! the system's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::outside::{Place, digest, files, line, noise};
use serde_json::Value;

const WORKERS: u64 = 8;
/// Files that everybody adds: their blobs are shared, condemned and added again all the time.
const POOL: u64 = 40;
/// What each worker does before all of it is looked at.
const TURNS: usize = 8;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// Small, and the same everywhere.
struct Rng(u64);

impl Rng {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let end = from.len() as u64;
        if end == 0 { None } else { from.get(self.below(end) as usize) }
    }
}

/// What a name may mean: a digest, or nothing.
type Meaning = Option<String>;

/// One of the eight: it has names of its own, and knows what each may mean.
struct Worker {
    id: u64,
    rng: Rng,
    round: u64,
    names: BTreeMap<String, BTreeSet<Meaning>>,
    killed: u64,
    ran: u64,
    acknowledged: u64,
}

/// How one process ended: its code, or nothing where it was killed; and its whole lines.
struct Ended {
    code: Option<i32>,
    lines: Vec<Value>,
}

impl Worker {
    fn new(seed: u64, id: u64) -> Self {
        let rng = Rng((seed * 1000 + id + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        Worker { id, rng, round: 0, names: BTreeMap::new(), killed: 0, ran: 0, acknowledged: 0 }
    }

    /// Names of which it is known what they mean.
    fn sure(&self) -> Vec<(String, String)> {
        let one = |(name, may): (&String, &BTreeSet<Meaning>)| match (may.len(), may.first()) {
            (1, Some(Some(digest))) => Some((name.clone(), digest.clone())),
            _ => None,
        };
        self.names.iter().filter_map(one).collect()
    }

    fn may(&mut self, name: &str, meaning: Meaning) {
        self.names.entry(name.to_owned()).or_insert_with(|| BTreeSet::from([None])).insert(meaning);
    }

    fn means(&mut self, name: &str, meaning: Meaning) {
        self.acknowledged += 1;
        self.names.insert(name.to_owned(), BTreeSet::from([meaning]));
    }

    /// Runs a command that intends what is said; most are killed after some lines or some time.
    fn run(&mut self, place: &Place, words: &[&str], intends: &[(String, Meaning)]) -> Ended {
        for (name, meaning) in intends {
            self.may(name, meaning.clone());
        }
        let words = [&["--json", "--lock-timeout", "100s"], words].concat();
        let child = place.command(&words).stderr(Stdio::null()).spawn().expect("the program starts");
        let ended = match self.rng.below(10) {
            0..3 => watch(child, usize::MAX, Duration::from_secs(110)),
            3..6 => watch(child, self.rng.below(6) as usize, Duration::from_secs(110)),
            _ => watch(child, usize::MAX, Duration::from_micros(self.rng.below(40_000))),
        };
        self.ran += 1;
        self.killed += u64::from(ended.code.is_none());
        for line in &ended.lines {
            self.note(line, intends);
        }
        match ended.code {
            Some(0) => intends.iter().for_each(|(name, meaning)| self.means(name, meaning.clone())),
            None => {}
            Some(code) => panic!("worker {}: {words:?} ends with {code}: {:?}", self.id, ended.lines),
        }
        ended
    }

    fn note(&mut self, line: &Value, intends: &[(String, Meaning)]) {
        let text = |key: &str| line[key].as_str().unwrap().to_owned();
        let intended = |name: &str| intends.iter().find(|(of, _)| of == name).expect("it was asked for").1.clone();
        match line["event"].as_str().unwrap() {
            "added" => self.means(&text("name"), Some(text("digest"))),
            // A collection says the same of blobs.
            "removed" | "unlinked" if line.get("name").is_some() => self.means(&text("name"), None),
            "linked" => self.means(&text("name"), intended(&text("name"))),
            "renamed" => {
                self.means(&text("from"), None);
                self.means(&text("name"), intended(&text("name")));
            }
            "failed" => panic!("worker {}: {line}", self.id),
            _ => {}
        }
    }

    fn turn(&mut self, place: &Place) {
        self.round += 1;
        match self.rng.below(20) {
            0..6 => self.add(place),
            6..8 => self.take_in(place),
            8..10 => self.link_or_rename(place),
            10..12 => self.remove(place),
            12..14 => self.get(place),
            14 => drop(self.run(place, &["verify"], &[])),
            15..17 => drop(self.run(place, &["gc", "--grace", "0s", "--yes-most"], &[])),
            17 => drop(self.run(place, &["compact"], &[])),
            18 => drop(self.run(place, &["rebuild"], &[])),
            _ => drop(self.run(place, &["ls", "-l"], &[])),
        }
    }

    fn add(&mut self, place: &Place) {
        let prefix = format!("w{}/{}", self.id, self.round);
        let chosen: BTreeSet<u64> = (0..1 + self.rng.below(12)).map(|_| self.rng.below(POOL)).collect();
        let paths: Vec<String> = chosen.iter().map(|i| format!("pool/{i}")).collect();
        let intends: Vec<_> = chosen.iter().map(|i| (format!("{prefix}/{i}"), Some(digest(&pool(*i))))).collect();
        let mut words = vec!["add", "--prefix", &prefix];
        words.extend(paths.iter().map(String::as_str));
        self.run(place, &words, &intends);
    }

    /// By move or by link; what was moved is there, under its old name or its new one.
    fn take_in(&mut self, place: &Place) {
        let how = if self.rng.below(3) == 0 { "--link" } else { "--move" };
        let base = format!("in-{}-{}", self.id, self.round);
        let mut sources = Vec::new();
        for i in 0..1 + self.rng.below(5) {
            let bytes = noise(self.id * 1_000_000 + self.round * 100 + i, 3000 + 500 * i as usize);
            let path = place.file(format!("{base}/{i}"), &bytes);
            sources.push((path, format!("w{}/{base}/{i}", self.id), digest(&bytes)));
        }
        let intends: Vec<_> = sources.iter().map(|(_, name, digest)| (name.clone(), Some(digest.clone()))).collect();
        self.run(place, &["add", how, &base, "--prefix", &format!("w{}", self.id)], &intends);
        let gone: Vec<_> = sources.iter().filter(|(path, ..)| !path.exists()).collect();
        if !gone.is_empty() {
            assert_eq!(how, "--move");
            let names = place.names();
            for (path, name, digest) in gone {
                assert_eq!(names.get(name), Some(digest), "{} was moved away and is not kept", path.display());
                self.means(name, Some(digest.clone()));
            }
        }
        for (path, _, expected) in sources.iter().filter(|(path, ..)| path.exists()) {
            assert_eq!(&digest(&fs::read(path).unwrap()), expected, "{}", path.display());
        }
        fs::remove_dir_all(place.path(&base)).unwrap();
    }

    fn link_or_rename(&mut self, place: &Place) {
        let Some((name, digest)) = self.rng.pick(&self.sure()).cloned() else { return self.add(place) };
        let new = format!("w{}/{}/new", self.id, self.round);
        if self.rng.below(2) == 0 {
            self.run(place, &["link", &name, &new], &[(new.clone(), Some(digest))]);
        } else {
            self.run(place, &["mv", &name, &new], &[(name.clone(), None), (new.clone(), Some(digest))]);
        }
    }

    fn remove(&mut self, place: &Place) {
        let sure = self.sure();
        let chosen: BTreeSet<String> =
            (0..3).filter_map(|_| self.rng.pick(&sure)).map(|(name, _)| name.clone()).collect();
        if chosen.is_empty() {
            return self.add(place);
        }
        let intends: Vec<_> = chosen.iter().map(|name| (name.clone(), None)).collect();
        let words: Vec<&str> = std::iter::once("rm").chain(chosen.iter().map(String::as_str)).collect();
        self.run(place, &words, &intends);
    }

    /// What is made is whole, or not there.
    fn get(&mut self, place: &Place) {
        let sure = self.sure();
        let Some((name, _)) = self.rng.pick(&sure).cloned() else { return self.add(place) };
        let out = format!("out-{}-{}", self.id, self.round);
        let prefix = format!("w{}", self.id);
        match self.rng.below(3) {
            0 => self.run(place, &["get", &name, &out], &[]),
            1 => self.run(place, &["checkout", &prefix, &out], &[]),
            _ => self.run(place, &["checkout", &prefix, &out, "--mode", "copy"], &[]),
        };
        let path = place.path(&out);
        if path.is_file() {
            self.is_whole(&name, &fs::read(&path).unwrap());
            return fs::remove_file(path).unwrap();
        }
        for file in files(&path) {
            // What a kill leaves behind besides has a name of its own.
            if !file.file_name().unwrap().to_str().unwrap().starts_with(".larder-") {
                let name = format!("{prefix}/{}", file.strip_prefix(&path).unwrap().to_str().unwrap());
                self.is_whole(&name, &fs::read(&file).unwrap());
            }
        }
        let _absent = fs::remove_dir_all(path);
    }

    fn is_whole(&self, name: &str, bytes: &[u8]) {
        let may = self.names.get(name).unwrap_or_else(|| panic!("{name} came from nowhere"));
        assert!(may.contains(&Some(digest(bytes))), "{name} was made with other bytes");
    }

    /// Holds what it knows against what is there, and knows it from then on.
    fn settle(&mut self, there: &BTreeMap<String, String>) -> usize {
        let mut found = 0;
        for (name, may) in &mut self.names {
            let now = there.get(name).cloned();
            found += usize::from(now.is_some());
            assert!(may.contains(&now), "{name} means {now:?} and may mean {may:?}");
            *may = BTreeSet::from([now]);
        }
        self.names.retain(|_, may| may.first() != Some(&None));
        found
    }
}

fn pool(i: u64) -> Vec<u8> {
    noise(i, if i.is_multiple_of(10) { 400_000 } else { 200 + 900 * i as usize })
}

/// Reads a process's lines and kills it after some of them, or after some time.
fn watch(mut child: Child, lines: usize, time: Duration) -> Ended {
    let out = BufReader::new(child.stdout.take().unwrap());
    let (send, receive) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        // What the kill cut off is no line.
        for text in out.split(b'\n').map_while(Result::ok) {
            if serde_json::from_slice::<Value>(&text).is_err() || send.send(text).is_err() {
                return;
            }
        }
    });
    let deadline = Instant::now() + time;
    let mut seen = Vec::new();
    while seen.len() < lines {
        match receive.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(text) => seen.push(text),
            Err(_) => break,
        }
    }
    // One that has ended already is waited for; another one has had its time.
    let ended = child.try_wait().unwrap().is_some();
    if !ended && (seen.len() == lines || Instant::now() >= deadline) {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    seen.extend(receive.iter());
    reader.join().unwrap();
    let lines = seen.iter().map(|text| line(std::str::from_utf8(text).unwrap())).collect();
    Ended { code: status.code(), lines }
}

#[test]
fn whoever_is_killed_everything_acknowledged_is_there() {
    let (kills, seed) = (number("LARDER_KILLS", 60), number("LARDER_SEED", 1));
    let place = Place::with_store();
    for i in 0..POOL {
        place.file(format!("pool/{i}"), pool(i));
    }
    let mut workers: Vec<Worker> = (0..WORKERS).map(|id| Worker::new(seed, id)).collect();
    let (mut killed, mut looks) = (0, 0);
    while killed < kills {
        std::thread::scope(|scope| {
            for worker in &mut workers {
                scope.spawn(|| (0..TURNS).for_each(|_| worker.turn(&place)));
            }
        });
        killed = workers.iter().map(|worker| worker.killed).sum();
        looks += 1;
        look(&place, &mut workers, looks);
        if looks.is_multiple_of(20) {
            tell(seed, &workers, looks);
        }
    }
    tell(seed, &workers, looks);
}

/// Not by a macro, whose output is only shown of tests that fail.
fn tell(seed: u64, workers: &[Worker], looks: u64) {
    let of = |what: fn(&Worker) -> u64| workers.iter().map(what).sum::<u64>();
    let (ran, killed, acknowledged) = (of(|w| w.ran), of(|w| w.killed), of(|w| w.acknowledged));
    let text = format!(
        "kills: seed {seed}: {ran} processes, {killed} killed, {acknowledged} acknowledgements, {looks} looks at all\n"
    );
    std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()).unwrap();
}

/// Nobody is at work: what is there is what was acknowledged, it is good, and nothing is left over.
fn look(place: &Place, workers: &mut [Worker], looks: u64) {
    let there = place.names();
    let found: usize = workers.iter_mut().map(|worker| worker.settle(&there)).sum();
    assert_eq!(found, there.len(), "names that nobody gave: {there:?}");
    for (name, digest) in &there {
        let inode = |path| fs::metadata(path).map(|stat| stat.ino()).ok();
        let (at, blob) = (inode(place.store().join("names").join(name)), inode(place.blob(digest)));
        assert!(at.is_some() && at == blob, "names/{name} is not the blob's file");
    }
    place.sound();
    let stats = place.json(&["stats"]).exits(0).event("stats");
    assert_eq!((&stats["findings"], &stats["fenced"]), (&0.into(), &false.into()), "{stats}");
    let kept: BTreeSet<&String> = there.values().collect();
    assert_eq!(files(&place.store().join("sha256")).len(), kept.len(), "orphans are left after gc");
    // The store does not grow without end.
    if looks.is_multiple_of(4) {
        let names: Vec<String> = (0..WORKERS / 2).map(|id| format!("w{id}")).collect();
        for (worker, name) in workers.iter_mut().zip(&names).filter(|(worker, _)| !worker.names.is_empty()) {
            place.json(&["rm", name]).exits(0);
            worker.names.clear();
        }
    }
}
