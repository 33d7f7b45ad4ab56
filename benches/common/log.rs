//! A log that threads share the syncs of.

use std::fs::File;
use std::io::Write;
use std::sync::{Condvar, Mutex};

/// The best that can be done for threads that wait: one of them writes and syncs what all have queued.
pub struct SharedLog {
    file: File,
    queue: Mutex<Queue>,
    synced: Condvar,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    queued: u64,
    synced: u64,
    busy: bool,
}

impl SharedLog {
    pub fn new(file: File) -> Self {
        SharedLog { file, queue: Mutex::default(), synced: Condvar::new() }
    }

    pub fn append(&self, record: &[u8]) {
        let mut queue = self.queue.lock().expect("no thread panics");
        queue.bytes.extend_from_slice(record);
        queue.queued += 1;
        let mine = queue.queued;
        while queue.synced < mine {
            if queue.busy {
                queue = self.synced.wait(queue).expect("no thread panics");
                continue;
            }
            queue.busy = true;
            let (bytes, through) = (std::mem::take(&mut queue.bytes), queue.queued);
            drop(queue);
            (&self.file).write_all(&bytes).expect("room for it");
            self.file.sync_data().expect("it can be synced");
            queue = self.queue.lock().expect("no thread panics");
            (queue.synced, queue.busy) = (through, false);
            self.synced.notify_all();
        }
    }
}
