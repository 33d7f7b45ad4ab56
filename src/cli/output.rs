//! The one way out: everything that the program prints goes through here.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::ProgressBar;
use larder::vocabulary::url::redacted;

use super::json::Line;

/// How much is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    /// Results and trouble alone.
    Quiet,
    /// What a person wants to know.
    #[default]
    Normal,
    /// Every file, every byte.
    Verbose,
}

/// Where the program's words go.
pub(crate) struct Output {
    json: bool,
    verbosity: Verbosity,
    /// Standard output carries the bytes of a blob: JSON goes to standard error.
    raw: bool,
    flush_lines: bool,
    out: Mutex<Sink>,
    err: Mutex<Box<dyn Write + Send>>,
    bar: Mutex<Option<ProgressBar>>,
}

/// Standard output, and what went wrong with it first.
struct Sink {
    writer: Box<dyn Write + Send>,
    trouble: Option<io::Error>,
}

impl Output {
    /// The output of this process.
    pub(crate) fn of_process(json: bool, verbosity: Verbosity, raw: bool) -> Output {
        let writer = BufWriter::with_capacity(64 << 10, io::stdout());
        let flush_lines = json || io::stdout().is_terminal();
        Output { flush_lines, ..Output::to(Box::new(writer), Box::new(io::stderr()), json, verbosity, raw) }
    }

    fn to(
        out: Box<dyn Write + Send>,
        err: Box<dyn Write + Send>,
        json: bool,
        verbosity: Verbosity,
        raw: bool,
    ) -> Output {
        let out = Mutex::new(Sink { writer: out, trouble: None });
        Output { json, verbosity, raw, flush_lines: true, out, err: Mutex::new(err), bar: Mutex::new(None) }
    }

    /// Whether JSON is wanted.
    pub(crate) fn json(&self) -> bool {
        self.json
    }

    /// Whether every file and byte is wanted.
    pub(crate) fn verbose(&self) -> bool {
        self.verbosity == Verbosity::Verbose
    }

    /// Whether nothing but results and trouble is wanted.
    pub(crate) fn quiet(&self) -> bool {
        self.verbosity == Verbosity::Quiet
    }

    /// Whether progress may be drawn: for a person, at a terminal, who wants it.
    pub(crate) fn may_draw(&self) -> bool {
        !self.json && !self.quiet() && !self.raw && io::stderr().is_terminal()
    }

    /// Keeps lines and the progress bar out of each other's way.
    pub(crate) fn attach(&self, bar: Option<ProgressBar>) {
        *unpoisoned(&self.bar) = bar;
    }

    /// A result for people: one line, or several.
    pub(crate) fn line(&self, text: &str) -> io::Result<()> {
        self.suspended(|| unpoisoned(&self.out).write(text, self.flush_lines))
    }

    /// What was done, for people; `-q` leaves it out. It cannot fail, since the work is done: trouble is kept for
    /// [`Output::finish`].
    pub(crate) fn summary(&self, text: &str) {
        if !self.quiet() {
            self.say(text);
        }
    }

    /// One JSON object, flushed.
    pub(crate) fn object(&self, line: Line) -> io::Result<()> {
        let text = line.close();
        if self.raw {
            self.complain(&text);
            return Ok(());
        }
        unpoisoned(&self.out).write(&text, true)
    }

    /// A JSON object from a place that cannot fail: the trouble is kept for [`Output::finish`].
    pub(crate) fn tell(&self, line: Line) {
        let _kept = self.object(line);
    }

    /// A line for people from a place that cannot fail: the trouble is kept for [`Output::finish`].
    pub(crate) fn say(&self, text: &str) {
        let _kept = self.line(text);
    }

    /// A remark on standard error that `-q` leaves out.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet() {
            self.warn(text);
        }
    }

    /// Trouble, on standard error: without the secrets of URLs, which somebody may have typed and a log would keep.
    pub(crate) fn warn(&self, text: &str) {
        self.complain(&redacted(text));
    }

    fn complain(&self, text: &str) {
        self.suspended(|| {
            let _kept = unpoisoned(&self.out).attempt(|writer| writer.flush());
            let _nowhere_else_to_say_it = writeln!(unpoisoned(&self.err), "{text}");
        });
    }

    /// Standard output as plain bytes.
    pub(crate) fn bytes(&self) -> impl Write + '_ {
        Bytes(self)
    }

    /// Whether whoever read the output has gone.
    pub(crate) fn closed(&self) -> bool {
        unpoisoned(&self.out).trouble.as_ref().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Writes out what is left, and tells the first trouble there was. A closed pipe is none.
    pub(crate) fn finish(&self) -> io::Result<()> {
        let mut sink = unpoisoned(&self.out);
        let _kept = sink.attempt(|writer| writer.flush());
        match sink.trouble.take() {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }

    fn suspended<R>(&self, write: impl FnOnce() -> R) -> R {
        let bar = unpoisoned(&self.bar).clone();
        match bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

impl Sink {
    fn write(&mut self, text: &str, flush: bool) -> io::Result<()> {
        self.attempt(|writer| {
            writeln!(writer, "{text}")?;
            if flush { writer.flush() } else { Ok(()) }
        })
    }

    /// Does `what` unless something went wrong before, and remembers the first trouble.
    fn attempt<T>(&mut self, what: impl FnOnce(&mut dyn Write) -> io::Result<T>) -> io::Result<T> {
        if self.trouble.is_none() {
            match what(&mut *self.writer) {
                Ok(done) => return Ok(done),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
                Err(error) => self.trouble = Some(error),
            }
        }
        let kind = self.trouble.as_ref().map_or(io::ErrorKind::Other, io::Error::kind);
        Err(io::Error::new(kind, Unwritten))
    }
}

/// What the program's own output could not take; why is told by [`Output::finish`].
#[derive(Debug)]
struct Unwritten;

impl fmt::Display for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the output takes no more")
    }
}

impl std::error::Error for Unwritten {}

/// Whether `error` comes from the program's own output, through whatever layers.
pub(crate) fn is_unwritten(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| cause.get_ref().is_some_and(|inner| inner.is::<Unwritten>()))
}

/// Standard output as a writer of plain bytes.
struct Bytes<'a>(&'a Output);

impl Write for Bytes<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        unpoisoned(&self.0.out).attempt(|writer| writer.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        unpoisoned(&self.0.out).attempt(|writer| writer.flush())
    }
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use super::*;

    /// A writer whose bytes a test can look at.
    #[derive(Clone, Default)]
    pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Captured {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(unpoisoned(&self.0).clone()).unwrap()
        }
    }

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            unpoisoned(&self.0).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    /// An output into memory, and its two ends.
    pub(crate) fn captured(json: bool, verbosity: Verbosity) -> (Output, Captured, Captured) {
        let (out, err) = (Captured::default(), Captured::default());
        (Output::to(Box::new(out.clone()), Box::new(err.clone()), json, verbosity, false), out, err)
    }

    fn broken(kind: io::ErrorKind) -> Output {
        Output::to(Box::new(Broken(kind)), Box::new(io::sink()), false, Verbosity::Normal, false)
    }

    #[test]
    fn a_closed_pipe_ends_quietly_and_a_full_disk_does_not() {
        let closed = broken(io::ErrorKind::BrokenPipe);
        assert_eq!(closed.line("x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(closed.line("y").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert!(closed.closed());
        assert!(closed.finish().is_ok());

        let silent = broken(io::ErrorKind::StorageFull);
        silent.warn("trouble with the flush alone is kept as well");
        assert_eq!(silent.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);

        let full = broken(io::ErrorKind::StorageFull);
        full.say("x");
        full.warn("the two streams do not wait for each other");
        assert!(!full.closed());
        assert_eq!(full.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn an_error_of_the_output_is_known_from_all_others() {
        let unwritten = broken(io::ErrorKind::StorageFull).line("x").unwrap_err();
        let through = larder::Error::system("list the names", unwritten);
        assert_eq!(through.kind(), larder::ErrorKind::NoSpace);
        assert!(is_unwritten(&through.into()));
        let other = larder::Error::system("stage a file", io::ErrorKind::StorageFull.into());
        assert!(!is_unwritten(&other.into()));
    }

    #[test]
    fn quiet_leaves_out_summaries_and_remarks_but_no_results_and_no_trouble() {
        let (output, out, err) = captured(false, Verbosity::Quiet);
        output.summary("summary");
        output.note("remark");
        output.line("result").unwrap();
        output.warn("trouble");
        assert_eq!((out.text().as_str(), err.text().as_str()), ("result\n", "trouble\n"));
    }
}
