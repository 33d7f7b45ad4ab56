//! Standard input that an interruption can end while it waits for more.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::signal::Interrupt;

/// How much is read at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// How often a wait for input looks whether the user wants to stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A reader of another one, read by a thread of its own.
pub(crate) struct Interruptible {
    chunks: Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    taken: usize,
    ended: bool,
    interrupt: Interrupt,
    stop_is_end: bool,
}

impl Interruptible {
    /// Reads `input` until its end, or until the user wants to stop.
    pub(crate) fn new(input: impl Read + Send + 'static, interrupt: Interrupt) -> Self {
        let (to, chunks) = sync_channel(2);
        let instead = to.clone();
        if let Err(error) = thread::Builder::new().spawn(move || pump(input, &to)) {
            // Whoever reads is told; there is room for it.
            let _told = instead.send(Err(error));
        }
        Interruptible { chunks, chunk: Vec::new(), taken: 0, ended: false, interrupt, stop_is_end: false }
    }

    /// The same, but what the user stops has come to its end: for what can be gone on with later.
    #[must_use]
    pub(crate) fn ending_when_stopped(mut self) -> Self {
        self.stop_is_end = true;
        self
    }

    /// Waits for the next chunk; an empty one is the end.
    fn next(&self) -> io::Result<Vec<u8>> {
        loop {
            if self.interrupt.asked() && self.stop_is_end {
                return Ok(Vec::new());
            }
            if self.interrupt.asked() {
                return Err(io::Error::other("interrupted"));
            }
            match self.chunks.recv_timeout(LOOK_EVERY) {
                Ok(chunk) => return chunk,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(io::Error::other("the thread that read it is gone"));
                }
            }
        }
    }
}

impl Read for Interruptible {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.chunk.len() && !self.ended {
            self.chunk = self.next()?;
            self.taken = 0;
            self.ended = self.chunk.is_empty();
        }
        let rest = &self.chunk[self.taken..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        Ok(count)
    }
}

/// Sends `input` chunk by chunk, and an empty chunk when it ends.
fn pump(mut input: impl Read, to: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut chunk = vec![0; CHUNK_BYTES];
        let read = loop {
            match input.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        let last = !matches!(read, Ok(1..));
        let sent = to.send(read.map(|length| {
            chunk.truncate(length);
            chunk
        }));
        if last || sent.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_the_input_arrives_and_then_its_end() {
        let bytes: Vec<u8> = (0..3 * CHUNK_BYTES + 7).map(|i| (i % 251) as u8).collect();
        let mut reader = Interruptible::new(io::Cursor::new(bytes.clone()), Interrupt::default());
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert!(read == bytes);
        assert_eq!(reader.read(&mut [0; 8]).unwrap(), 0);
    }

    #[test]
    fn an_error_of_the_input_is_handed_on() {
        struct Bad;
        impl Read for Bad {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::PermissionDenied.into())
            }
        }
        let mut reader = Interruptible::new(Bad, Interrupt::default());
        assert_eq!(reader.read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
}
