//! Changing the options of a store's own file.

use std::path::PathBuf;

use super::Context;
use crate::format::layout::Layout;
use crate::format::options::OptionKey;
use crate::format::settings::Settings;
use crate::machine::{Machine, Open};
use crate::vocabulary::limits::SETTINGS_BYTES;
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Error, ErrorKind, Result};

/// Sets an option in `larder.toml`, or (`None`) takes it away; `false`: it was so already. Durable when it returns, whatever
/// the durability of the store: without its settings it is none. Comments of the file are not kept.
///
/// [`ErrorKind::Refused`] for what was settled when the store was made, [`ErrorKind::Invalid`] for what the option may not
/// be.
pub fn configure(ctx: &Context<'_>, key: OptionKey, value: Option<&str>) -> Result<bool> {
    let attempt = format!("change {}", key.name());
    if !key.is_in_file() {
        let reason = "the file of settings is in that directory, and cannot say where it is";
        return Err(Error::new(ErrorKind::Refused, attempt, reason));
    }
    if key.is_fixed() {
        return Err(Error::new(ErrorKind::Refused, attempt, "it was settled when the store was made"));
    }
    put(ctx, key, value, &attempt)
}

/// Sets an option that was settled when the store was made, for a verb that makes the store what it says.
pub(super) fn switch(ctx: &Context<'_>, key: OptionKey, value: &str) -> Result<()> {
    put(ctx, key, Some(value), &format!("change {}", key.name())).map(drop)
}

fn put(ctx: &Context<'_>, key: OptionKey, value: Option<&str>, attempt: &str) -> Result<bool> {
    let ledger = ctx.ledger;
    ledger.hold(|_| {
        let mut settings = read(ledger.machine.as_ref(), &ledger.layout)?;
        let before = settings.options.clone();
        match value {
            None => _ = settings.options.unset(key),
            Some(text) => {
                let set = settings.options.set(key, text);
                set.map_err(|why| Error::new(ErrorKind::Invalid, attempt, why.to_string()))?;
            }
        }
        if settings.options == before {
            return Ok(false);
        }
        write(ledger.machine.as_ref(), &ledger.layout, &settings)?;
        Ok(true)
    })
}

/// The settings as they are now.
fn read(machine: &dyn Machine, layout: &Layout) -> Result<Settings> {
    let path = layout.settings();
    let file = machine.open(&path, Open::Read).map_err(|e| Error::io("open", &path, e))?;
    let mut bytes = vec![0; SETTINGS_BYTES as usize];
    let read = file.read_at(&mut bytes, 0).map_err(|e| Error::io("read", &path, e))?;
    let text = String::from_utf8_lossy(&bytes[..read]);
    Settings::from_toml(&text).map_err(|why| Error::new(ErrorKind::Damaged, format!("read {}", path.display()), why))
}

/// Puts other settings in the place of those that are there: whoever reads them finds the old or the new ones, whole.
fn write(machine: &dyn Machine, layout: &Layout, settings: &Settings) -> Result<()> {
    let path = layout.settings();
    let temporary = PathBuf::from(format!("{}.new", path.display()));
    let root = machine.open(layout.root(), Open::Directory).map_err(|e| Error::io("open", layout.root(), e))?;
    let mode = machine.lstat(&path).map_err(|e| Error::io("look at", &path, e))?.mode & 0o777;
    match machine.unlink(&temporary) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("remove", &temporary, e)),
        _ => {}
    }
    let file = machine.open(&temporary, Open::CreateNew { mode }).map_err(|e| Error::io("create", &temporary, e))?;
    file.write_at(settings.to_toml().as_bytes(), 0).map_err(|e| Error::io("write", &temporary, e))?;
    if !planted(Bug::SettingsSync) {
        file.sync().map_err(|e| Error::io("sync", &temporary, e))?;
    }
    machine.rename(&temporary, &path).map_err(|e| Error::io("replace", &path, e))?;
    root.sync().map_err(|e| Error::io("sync", layout.root(), e))
}
