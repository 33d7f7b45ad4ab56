//! Tells each change of a large piece of work as it is made, and hands everything on to whoever watches.

use super::Store;
use crate::vocabulary::recorder::Level;
use crate::vocabulary::{Event, Observer};

/// Hears what one call does.
pub(super) struct Telling<'a> {
    store: &'a Store,
    operation: &'static str,
    observer: &'a dyn Observer,
    /// Whether anybody listens: nobody else pays for the words.
    heard: bool,
}

impl<'a> Telling<'a> {
    pub(super) fn of(store: &'a Store, operation: &'static str, observer: &'a dyn Observer) -> Self {
        Telling { store, operation, observer, heard: store.is_heard() }
    }

    fn tell(&self, event: &Event) {
        let (store, operation) = (self.store, self.operation);
        match event {
            Event::Added { name, status, .. } => store.tell(Level::Info, operation, name, &status.word()),
            Event::Removed { digest, .. } => store.tell(Level::Info, operation, digest, &"removed"),
            Event::Imported { key, status: "kept", .. } => store.tell(Level::Debug, operation, key, &"kept"),
            Event::Imported { key, status, .. } => store.tell(Level::Info, operation, key, status),
            Event::Failed { path, reason } => store.tell(Level::Warn, operation, &path.display(), reason),
            Event::BadLine { line, reason, .. } => {
                store.tell(Level::Warn, operation, &format_args!("line {line}"), reason);
            }
            _ => {}
        }
    }
}

impl Observer for Telling<'_> {
    fn event(&self, event: &Event) {
        if self.heard {
            self.tell(event);
        }
        self.observer.event(event);
    }

    fn expect(&self, files: u64, bytes: u64) {
        self.observer.expect(files, bytes);
    }

    fn progress(&self, files: u64, bytes: u64) {
        self.observer.progress(files, bytes);
    }

    fn hears_of_good(&self) -> bool {
        self.observer.hears_of_good()
    }

    fn cancelled(&self) -> bool {
        self.observer.cancelled()
    }
}
