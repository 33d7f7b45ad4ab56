//! `larder export-manifest`: the catalog as lines of JSON.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use larder::machine::{File, FileKind, Machine, Open};
use larder::work::export::ExportReport;
use larder::{Error, ErrorKind};

use crate::cli::context::{Access, Context, absolute};
use crate::cli::entries::Filter;
use crate::cli::exit::Exit;
use crate::cli::json::Line;
use crate::cli::text;
use crate::cli::watch::Watch;

/// The arguments of `larder export-manifest`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every entry becomes one line with everything that is on record of it, which `larder import-manifest` takes as it is. The \
entries are those of one moment. Bytes are not exported, and what is in the trash is left out.

Example:
  larder export-manifest -o catalog.jsonl
  larder export-manifest --kind model --state active | larder --store /other import-manifest -")]
pub(crate) struct Args {
    /// Write to this file, which appears once it is whole, in the place of what is there [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    filter: Filter,
}

/// Exports.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let store = context.open(Access::Read)?;
    let query = args.filter.query(&[], context.machine.now_ns());
    let watch = Watch::new(context).stopping_when_closed();
    let written = match &args.output {
        None => {
            let mut out = BufWriter::with_capacity(BUFFER_BYTES, context.out.bytes());
            let exported = store.export(&query, &mut out, &watch);
            exported.and_then(|report| out.flush().map(|()| report).map_err(|e| Error::system("write it", e)))
        }
        Some(path) => {
            let path = absolute(path)?;
            check(&*context.machine, &path, store.directory())?;
            to_file(&*context.machine, &path, |out| store.export(&query, out, &watch))
        }
    };
    watch.finish();
    let report = written?;
    if args.output.is_some() && context.out.json() {
        let line = Line::event("summary").with("entries", report.entries).with("bytes", report.bytes);
        context.out.object(line.with("interrupted", report.interrupted))?;
    } else if args.output.is_some() {
        let entries = if report.entries == 1 { "1 entry".to_owned() } else { format!("{} entries", report.entries) };
        context.out.summary(&format!("Exported {entries}, {}", text::size(report.bytes, context.out.verbose())));
    }
    let stopped_by_the_user = report.interrupted && !context.out.closed();
    Ok(Exit::of_work(0, stopped_by_the_user))
}

/// How much is written at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// Refuses a place that is not for a file of the user's: within the store, or where something other than a file is.
fn check(machine: &dyn Machine, path: &Path, store: &Path) -> larder::Result<()> {
    let refused = |reason| Err(Error::new(ErrorKind::Refused, format!("write {}", path.display()), reason));
    match machine.lstat(path) {
        Err(_) => {}
        Ok(meta) if meta.kind == FileKind::File => {}
        Ok(meta) if meta.kind == FileKind::Symlink => {
            return refused("it is a symbolic link: name the file that it leads to");
        }
        Ok(_) => return refused("it is no file: without --output, lines go to standard output"),
    }
    let parent = path.parent().unwrap_or(Path::new("/"));
    let real = |path: &Path| machine.canonical(path).map_err(|e| Error::io("find", path, e));
    match real(parent)?.starts_with(real(store)?) {
        true => refused("it is inside the store directory, where only the store's own files belong"),
        false => Ok(()),
    }
}

/// Writes a file under another name, and gives it its own once it is whole and synced.
fn to_file(
    machine: &dyn Machine,
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> larder::Result<ExportReport>,
) -> larder::Result<ExportReport> {
    let mut random = [0; 8];
    machine.random(&mut random).map_err(|e| Error::system("make a name for a file", e))?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{:016x}.tmp", u64::from_ne_bytes(random)));
    let beside = PathBuf::from(beside);
    let file = machine.open(&beside, Open::CreateNew { mode: 0o666 & !machine.umask() });
    let file = file.map_err(|e| Error::io("write", path, e))?;
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, AtEnd { file: file.as_ref(), offset: 0 });
    let written = write(&mut out).and_then(|report| {
        let failed = |e| Error::io("write", path, e);
        out.flush().and_then(|()| file.sync()).map_err(failed)?;
        if !report.interrupted {
            let directory = path.parent().unwrap_or(Path::new("/"));
            let directory = machine.open(directory, Open::Directory).map_err(failed)?;
            machine.rename(&beside, path).and_then(|()| directory.sync()).map_err(failed)?;
        }
        Ok(report)
    });
    if !matches!(&written, Ok(report) if !report.interrupted) {
        let _already_told = machine.unlink(&beside);
    }
    written
}

/// Writes to the end of a file.
struct AtEnd<'a> {
    file: &'a dyn File,
    offset: u64,
}

impl Write for AtEnd<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(bytes, self.offset)?;
        self.offset += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use larder::machine::simulated::{Enumeration, Simulated, World};

    use super::*;

    fn written(machine: &dyn Machine, interrupted: bool) -> larder::Result<ExportReport> {
        to_file(machine, Path::new("/out/m"), |out| {
            (0..3).for_each(|_| out.write_all(b"new line\n").unwrap());
            Ok(ExportReport { entries: 3, bytes: 27, interrupted })
        })
    }

    #[test]
    fn a_crash_leaves_the_old_file_or_the_new_one() {
        let world = World::new(1);
        world.put_dir("/out");
        world.put("/out/m", b"old");
        let coverage = Enumeration::new(1, &world).power_cuts(
            |machine: &Arc<Simulated>| {
                written(machine.as_ref(), false).unwrap();
                machine.note("written");
            },
            |_, world, log| {
                let there = world.read("/out/m").expect("there is a file");
                let new = there == b"new line\nnew line\nnew line\n";
                assert!(new || (there == b"old" && !log.noted("written")), "{:?}", String::from_utf8_lossy(&there));
            },
        );
        assert!(coverage.distinct > 3, "{coverage:?}");
    }

    #[test]
    fn what_is_stopped_leaves_what_was_there_and_nothing_beside_it() {
        let world = World::new(1);
        world.put_dir("/out");
        world.put("/out/m", b"old");
        written(world.process("stopped").as_ref(), true).unwrap();
        assert_eq!(world.files("/out").len(), 1);
        assert_eq!(world.read("/out/m").unwrap(), b"old");
    }
}
