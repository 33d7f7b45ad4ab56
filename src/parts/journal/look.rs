//! Looking at the files of the journal without following it: for whoever checks them, or mends them.

use super::chain::base_end;
use super::segment::Found;
use super::{Cursor, Journal};
use crate::format::frame::Frame;
use crate::format::header::HEADER_BYTES;
use crate::machine::Open;
use crate::vocabulary::{Error, ErrorKind, Result};

impl Journal {
    /// The last frame before `cursor`; `None` if there is none in its segment, or it is not there any more.
    pub fn frame_before(&self, cursor: &Cursor) -> Result<Option<Frame>> {
        let Some(start) = cursor.last else { return Ok(None) };
        let listing = self.listing()?;
        let name = listing.later.iter().find(|(number, name)| {
            *number == cursor.segment.number && super::file_name_has_salt(name, &cursor.segment.salt)
        });
        let Some((_, name)) = name else { return Ok(None) };
        let segment = match self.open_segment(name, Open::Read) {
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Damaged) => return Ok(None),
            other => other?,
        };
        match segment.frames(start).take()? {
            Found::Frame { frame, .. } => Ok(Some(frame)),
            _ => Ok(None),
        }
    }

    /// Whether there is any later segment. `init` makes one, so a store without any has lost it.
    pub fn has_segments(&self) -> Result<bool> {
        Ok(!self.listing()?.later.is_empty())
    }

    /// The sequence that the newest base reaches, by its name; zero without one.
    pub fn newest_base(&self) -> Result<u64> {
        Ok(self.listing()?.bases.last().map_or(0, |(number, _)| *number))
    }

    /// The bases that cannot be relied on, each with the reason. One that goes meanwhile is none of them.
    pub fn bad_bases(&self) -> Result<Vec<(String, String)>> {
        let mut bad = Vec::new();
        for (_, name) in self.listing()?.bases {
            let why = match self.open_segment(&name, Open::Read) {
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                Err(e) if e.kind() == ErrorKind::Damaged => e.to_string(),
                other => match base_end(&other?)? {
                    Some((_, true)) => continue,
                    Some((_, false)) => "frames in it are bad or missing".to_owned(),
                    None => "it does not end with its closing frame".to_owned(),
                },
            };
            bad.push((name, why));
        }
        Ok(bad)
    }

    /// The segments and bases in which something cannot be read.
    pub fn damaged_files(&self) -> Result<Vec<String>> {
        let listing = self.listing()?;
        let mut damaged = Vec::new();
        for (_, name) in listing.bases.into_iter().chain(listing.later) {
            let bad = match self.open_segment(&name, Open::Read) {
                Err(e) if e.kind() == ErrorKind::NotFound => false,
                Err(e) if e.kind() == ErrorKind::Damaged => true,
                other => {
                    let segment = other?;
                    let mut frames = segment.frames(HEADER_BYTES as u64);
                    loop {
                        match frames.take()? {
                            Found::Frame { .. } => {}
                            Found::End { .. } => break false,
                            Found::Bad { .. } => break true,
                        }
                    }
                }
            };
            if bad {
                damaged.push(name);
            }
        }
        Ok(damaged)
    }

    /// Removes a base that cannot be relied on, where a later one stands for it.
    pub fn remove_bad_base(&self, name: &str) -> Result<()> {
        let newest = self.listing()?.bases.pop();
        if newest.is_none_or(|(_, newest)| newest == name) {
            return Ok(());
        }
        let path = self.directory.join(name);
        match self.machine.unlink(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", &path, e)),
            _ => Ok(()),
        }
    }

    /// The files whose writers have not given them their names yet, or died before it.
    pub fn unfinished(&self) -> Result<Vec<String>> {
        let entries = self.machine.list(&self.directory).map_err(|e| Error::io("list", &self.directory, e))?;
        let names = entries.iter().filter_map(|entry| entry.name.to_str()).filter(|name| name.ends_with(".new"));
        Ok(names.map(str::to_owned).collect())
    }
}
