//! Signals: the first asks running work to stop, the second ends the program at once.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::exit::Exit;

/// Whether the user asked to stop.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Whether the user asked to stop.
    pub(crate) fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Listens to SIGINT, SIGTERM and SIGHUP from now on. A command that does not listen ends at a signal as any
    /// program does; what is in the store stands that at every point.
    pub(crate) fn listen(&self) {
        let asked = self.0.clone();
        let installed = ctrlc::set_handler(move || {
            if asked.swap(true, Ordering::Relaxed) {
                std::process::exit(Exit::Failed as i32);
            }
            let text = "larder: stopping after the running batch; what is done is kept (again to stop at once)";
            let _nowhere_else_to_say_it = writeln!(std::io::stderr(), "{text}");
        });
        // Without a handler a signal ends the program at once, which is safe.
        let _safe_without = installed;
    }
}
