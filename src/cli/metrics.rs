//! `--metrics-file`: what the program counts, as Prometheus text. Counters go on from what the file says, so that one file
//! tells of all the commands that were given it.

use std::io::ErrorKind as Trouble;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use larder::machine::{File, Lock, Machine, Open};
use larder::{Counts, Error, ErrorKind, Instrument, Recorder, Result};

/// Longest file of metrics that is read.
const FILE_BYTES: usize = 4 << 20;

/// What one command counts.
#[derive(Clone, Default)]
pub(crate) struct Tally(Arc<Mutex<Counts>>);

impl Tally {
    /// What was counted.
    pub(crate) fn counts(&self) -> Counts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Recorder for Tally {
    fn count(&self, instrument: Instrument, label: &str, by: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(instrument, label, by);
    }

    fn gauge(&self, instrument: Instrument, label: &str, value: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).set(instrument, label, value);
    }
}

/// Reads the namespace of metrics.
pub(crate) fn namespace(text: &str) -> std::result::Result<String, String> {
    let first = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if first && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Ok(text.to_owned());
    }
    Err("a namespace is letters, digits and `_`, and begins with no digit".to_owned())
}

/// Puts what was counted into the file, with what it said before. Whoever reads it finds the old or the new one, whole.
/// Another process that writes it is waited for, so long. Refuses a file that is something else.
pub(crate) fn write(machine: &dyn Machine, path: &Path, namespace: &str, tally: &Tally, wait: Duration) -> Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = machine.open(parent, Open::Directory).map_err(|e| Error::io("open", parent, e))?;
    lock(machine, directory.as_ref(), parent, wait)?;
    let mut counts = match read(machine, path)? {
        Some(text) => parse(&text, namespace).ok_or_else(|| {
            let reason = format!("it is something else than metrics of the namespace {namespace}");
            Error::new(ErrorKind::Refused, format!("write metrics to {}", path.display()), reason)
        })?,
        None => Counts::default(),
    };
    let now = tally.counts();
    for instrument in Instrument::ALL {
        for (label, value) in now.of(instrument) {
            if instrument.is_gauge() {
                counts.set(instrument, label, value);
            } else {
                counts.add(instrument, label, value);
            }
        }
    }
    replace(machine, path, render(&counts, namespace).as_bytes())
}

fn lock(machine: &dyn Machine, directory: &dyn File, path: &Path, wait: Duration) -> Result<()> {
    let began = machine.monotonic_ns();
    loop {
        match directory.try_lock(Lock::Exclusive) {
            // Where directories cannot be locked, the last one who writes is right.
            Ok(true) | Err(_) => return Ok(()),
            Ok(false) if u128::from(machine.monotonic_ns() - began) > wait.as_nanos() => {
                let reason = "another process holds it";
                return Err(Error::new(ErrorKind::Busy, format!("lock {}", path.display()), reason));
            }
            Ok(false) => machine.pause(Duration::from_millis(1)),
        }
    }
}

fn read(machine: &dyn Machine, path: &Path) -> Result<Option<String>> {
    let file = match machine.open(path, Open::Read) {
        Err(e) if e.kind() == Trouble::NotFound => return Ok(None),
        file => file.map_err(|e| Error::io("open", path, e))?,
    };
    let mut bytes = vec![0; FILE_BYTES];
    let length = file.read_at(&mut bytes, 0).map_err(|e| Error::io("read", path, e))?;
    bytes.truncate(length);
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

fn replace(machine: &dyn Machine, path: &Path, bytes: &[u8]) -> Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    match machine.unlink(&new) {
        Err(e) if e.kind() != Trouble::NotFound => return Err(Error::io("remove", &new, e)),
        _ => {}
    }
    let mode = 0o666 & !machine.umask();
    let file = machine.open(&new, Open::CreateNew { mode }).map_err(|e| Error::io("create", &new, e))?;
    file.write_at(bytes, 0).map_err(|e| Error::io("write", &new, e))?;
    machine.rename(&new, path).map_err(|e| Error::io("replace", path, e))
}

fn render(counts: &Counts, namespace: &str) -> String {
    let mut text = String::new();
    for instrument in Instrument::ALL {
        let name = format!("{namespace}_{}", instrument.name());
        // A gauge that is called a total, as its dashboards want it, is no gauge to Prometheus.
        let kind = if instrument.is_gauge() { "untyped" } else { "counter" };
        text.push_str(&format!("# HELP {name} {}\n# TYPE {name} {kind}\n", instrument.help()));
        match instrument.label() {
            None => text.push_str(&format!("{name} {}\n", counts.get(instrument, ""))),
            Some(label) => {
                for (value, count) in counts.of(instrument) {
                    text.push_str(&format!("{name}{{{label}=\"{}\"}} {count}\n", escaped(value)));
                }
            }
        }
    }
    text
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// What a text of [`render`] says; `None` for any other.
fn parse(text: &str, namespace: &str) -> Option<Counts> {
    let mut counts = Counts::default();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let rest = line.strip_prefix(namespace)?.strip_prefix('_')?;
        let instrument = Instrument::ALL
            .into_iter()
            .find(|instrument| rest.strip_prefix(instrument.name()).is_some_and(|rest| rest.starts_with(['{', ' '])))?;
        let rest = &rest[instrument.name().len()..];
        let (label, value) = match instrument.label() {
            None => (String::new(), rest.strip_prefix(' ')?),
            Some(label) => {
                let (value, count) =
                    rest.strip_prefix('{')?.strip_prefix(label)?.strip_prefix("=\"")?.rsplit_once("\"} ")?;
                (unescaped(value)?, count)
            }
        };
        counts.add(instrument, &label, value.parse().ok()?);
    }
    Some(counts)
}

fn unescaped(value: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next()? {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                _ => return None,
            },
            '"' => return None,
            c => c,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_anything_else_is_not() {
        let mut counts = Counts::default();
        counts.add(Instrument::DedupHits, "a\\b\"c\nd} 7", 2);
        counts.add(Instrument::Evictions, "", 3);
        counts.set(Instrument::Models, "active", 5);
        let text = render(&counts, "ns");
        assert!(text.contains("# TYPE ns_evictions_total counter\nns_evictions_total 3\n"), "{text}");
        let read = parse(&text, "ns").unwrap();
        for instrument in Instrument::ALL {
            assert!(counts.of(instrument).all(|(label, value)| read.get(instrument, label) == value));
        }
        assert_eq!(render(&read, "ns"), text);
        assert!(parse(&text, "other").is_none());
        for other in ["x", "ns_evictions_total", "ns_evictions_total x", "ns_more_total 1", "ns_models_total 1"] {
            assert!(parse(other, "ns").is_none(), "{other}");
        }
        assert!(namespace("content_download2").is_ok() && namespace("2x").is_err() && namespace("a-b").is_err());
    }
}
