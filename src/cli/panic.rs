//! A bug in larder is told in one line, and never as a page of Rust.

use std::any::Any;
use std::io::Write;
use std::panic::{self, AssertUnwindSafe};

use larder::vocabulary::url::redacted;

use super::text;

/// From now on a panic of any thread prints one line that asks to report it.
pub(crate) fn install() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(|l| format!(" at {}:{}", l.file(), l.line())).unwrap_or_default();
        let what = text::message(payload(info.payload()));
        let what = redacted(&what);
        let _nowhere_else_to_say_it = writeln!(
            std::io::stderr(),
            "larder: this is a bug in larder{place}: {what}; please report it with the command that led here"
        );
    }));
}

/// Runs `work`; `None` if it panicked.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    panic::catch_unwind(AssertUnwindSafe(work)).ok()
}

fn payload(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
