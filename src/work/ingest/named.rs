//! Files that each get a name of their own.

use std::path::PathBuf;

use super::{AddOptions, AddReport, Adding, Walk};
use crate::vocabulary::{Name, Observer, Result};
use crate::work::Context;

/// Adds files as [`super::add`] does, each under its own name; `options` has none.
pub fn add_named(
    ctx: &Context<'_>,
    files: &[(PathBuf, Name)],
    options: &AddOptions,
    observer: &dyn Observer,
) -> Result<AddReport> {
    let adding = Adding::begin(ctx, options, observer, None)?;
    let walk = Walk::new(ctx.ledger.machine.as_ref(), ctx.ledger.layout.root(), observer)?;
    let mut files = files.iter();
    adding.take(walk, &mut |walk| {
        let Some((path, name)) = files.next() else { return false };
        if let Err(e) = walk.begin(path, &AddOptions { name: Some(name.clone()), ..options.clone() }) {
            adding.failed(path, &e);
        }
        true
    })?;
    Ok(adding.finish())
}
