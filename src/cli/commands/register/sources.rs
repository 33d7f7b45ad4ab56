//! What `larder register` is given: files to be taken in, and what the store has.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use larder::machine::FileKind;
use larder::store::Store;
use larder::vocabulary::Digest;
use larder::work::catalog::names::name_for;
use larder::work::catalog::register::NewVariant;
use larder::work::ingest::{AddOptions, Source, TakeIn};
use larder::work::names::Target;
use larder::{Error, ErrorKind, Event, Key, Name, Observer, Prefix};

use super::Args;
use crate::cli::system;
use crate::cli::watch::Watch;
use crate::cli::words::Scope;

/// Every variant of the entry, with what it is in the store, or is going to be.
pub(super) struct Sources {
    variants: Vec<(String, Target)>,
    /// What is to be taken in first: a file or directory, under this name, and what the variants below it begin with.
    files: Vec<(PathBuf, Name, String)>,
    options: AddOptions,
}

impl Sources {
    pub(super) fn of(args: &Args, store: &Store, key: &Key) -> Result<Self> {
        let options = AddOptions {
            take_in: match (args.take, args.link) {
                (true, _) => TakeIn::Move,
                (_, true) => TakeIn::Link,
                _ => TakeIn::Copy,
            },
            alias: args.alias.map(Into::into),
            ..AddOptions::default()
        };
        let mut sources = Sources { variants: Vec::new(), files: Vec::new(), options };
        for path in &args.paths {
            sources.file(args, key, path)?;
        }
        for scope in &args.blob {
            sources.stored(args, store, scope)?;
        }
        Ok(sources)
    }

    fn file(&mut self, args: &Args, key: &Key, path: &Path) -> Result<()> {
        let machine = system::machine();
        let real = machine.canonical(path).map_err(|e| Error::io("find", path, e))?;
        let meta = machine.stat(&real).map_err(|e| Error::io("look at", path, e))?;
        let own = real.file_name().unwrap_or(OsStr::new("model")).as_bytes();
        let below = |file: &[u8]| -> larder::Result<Name> {
            match &args.prefix {
                Some(Prefix::Below(prefix)) => Name::new([prefix.as_bytes(), b"/", file].concat()),
                Some(Prefix::Everything) => Name::new(file),
                None => Ok(name_for(key, file)),
            }
        };
        let several = args.paths.len() > 1;
        if meta.kind == FileKind::Directory {
            let name = match &args.name {
                Some(name) => name.clone(),
                // What is below it gets names below that of the entry.
                None if several => below(own)?,
                None => match &args.prefix {
                    Some(Prefix::Below(prefix)) => prefix.clone(),
                    Some(Prefix::Everything) => below(own)?,
                    None => directory_of(&name_for(key, b"x"))?,
                },
            };
            let first = if several { format!("{}/", String::from_utf8_lossy(own)) } else { String::new() };
            self.files.push((real, name, first));
            return Ok(());
        }
        let has_url = key.source_url().is_some_and(|url| !url.is_empty());
        let name = match (&args.name, several) {
            (Some(name), _) => name.clone(),
            (None, false) if has_url && args.variant.is_none() && args.prefix.is_none() => name_for(key, b""),
            (None, _) => below(own)?,
        };
        let variant = match (&args.variant, several) {
            (Some(variant), _) => variant.clone(),
            (None, true) => text(own)?,
            (None, false) => String::new(),
        };
        self.variants.push((variant, Target::Name(name.clone())));
        self.files.push((real, name, String::new()));
        Ok(())
    }

    fn stored(&mut self, args: &Args, store: &Store, scope: &Scope) -> Result<()> {
        let several = args.blob.len() > 1;
        let prefix = match scope {
            Scope::Digest(digest) => {
                let name = args.variant.clone().unwrap_or_else(|| match several {
                    true => digest.to_hex()[..12].to_owned(),
                    false => String::new(),
                });
                self.variants.push((name, Target::Digest(*digest)));
                return Ok(());
            }
            Scope::Names(prefix) => prefix,
        };
        let mut names = Vec::new();
        store.list(prefix, &mut |alias| {
            names.push(alias.name);
            Ok(())
        })?;
        if names.is_empty() {
            let attempt = format!("register what is below {:?}", prefix.to_string());
            return Err(Error::new(ErrorKind::NotFound, attempt, "there is no such name, and none below it").into());
        }
        let single = matches!(prefix, Prefix::Below(name) if names == [name.clone()]);
        for name in names {
            let variant = match (&args.variant, single, several) {
                (Some(variant), true, false) => variant.clone(),
                (None, true, false) => String::new(),
                (_, true, true) => text(name.base())?,
                _ => text(prefix.relative(&name).as_os_str().as_bytes())?,
            };
            self.variants.push((variant, Target::Name(name)));
        }
        Ok(())
    }

    /// Each variant, and what it is or would be in the store; of directories, what is known before they are read.
    pub(super) fn shown(&self) -> impl Iterator<Item = (&str, &Target)> {
        self.variants.iter().map(|(name, target)| (name.as_str(), target))
    }

    /// Takes the files in; `None` where not all of them could be.
    pub(super) fn take_in(self, store: &Store, watch: &Watch<'_>) -> larder::Result<Option<Vec<NewVariant>>> {
        let mut variants = self.variants;
        for (path, name, first) in self.files {
            let heard = Heard { watch, added: Mutex::default() };
            let options = AddOptions { name: Some(name.clone()), ..self.options.clone() };
            let report = store.add(&[Source { path }], &options, &heard)?;
            if report.failed > 0 || report.interrupted {
                return Ok(None);
            }
            let added = heard.added.into_inner().unwrap_or_else(PoisonError::into_inner);
            let below = [name.as_bytes(), b"/"].concat();
            for (name, _) in added {
                if let Some(rest) = name.as_bytes().strip_prefix(&below[..]) {
                    variants.push((format!("{first}{}", text(rest)?), Target::Name(name)));
                }
            }
        }
        let of = |(name, target)| NewVariant { name, target: Some(target), ..NewVariant::default() };
        Ok(Some(variants.into_iter().map(of).collect()))
    }
}

/// The name of the directory that a name is in.
fn directory_of(name: &Name) -> larder::Result<Name> {
    let bytes = name.as_bytes();
    let end = bytes.len() - name.base().len();
    Name::new(&bytes[..end.saturating_sub(1)])
}

fn text(bytes: &[u8]) -> larder::Result<String> {
    let text = std::str::from_utf8(bytes).map(str::to_owned);
    text.map_err(|_| {
        let attempt = format!("use {:?} as the name of a variant", String::from_utf8_lossy(bytes));
        Error::new(ErrorKind::Invalid, attempt, "it is not UTF-8; --variant gives another")
    })
}

/// Hears under which names files were taken in, and hands everything on.
struct Heard<'a, 'b> {
    watch: &'a Watch<'b>,
    added: Mutex<BTreeMap<Name, Digest>>,
}

impl Observer for Heard<'_, '_> {
    fn event(&self, event: &Event) {
        if let Event::Added { name, digest, .. } = event {
            self.added.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), *digest);
        }
        self.watch.event(event);
    }

    fn expect(&self, files: u64, bytes: u64) {
        self.watch.expect(files, bytes);
    }

    fn progress(&self, files: u64, bytes: u64) {
        self.watch.progress(files, bytes);
    }

    fn cancelled(&self) -> bool {
        self.watch.cancelled()
    }
}
