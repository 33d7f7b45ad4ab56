//! Files that each get a name of their own.

use std::path::PathBuf;

use super::{AddOptions, AddReport, Adding, CHUNK_FILES, Walk};
use crate::vocabulary::{Name, Observer, Result};
use crate::work::Context;

/// Adds files as [`super::add`] does, each under its own name; `options` has none.
pub fn add_named(
    ctx: &Context<'_>,
    files: &[(PathBuf, Name)],
    options: &AddOptions,
    observer: &dyn Observer,
) -> Result<AddReport> {
    let mut adding = Adding::begin(ctx, options, observer, None)?;
    let mut walk = Walk::new(ctx.ledger.machine.as_ref(), ctx.ledger.layout.root(), observer)?;
    for chunk in files.chunks(CHUNK_FILES) {
        if observer.cancelled() {
            adding.report.interrupted = true;
            break;
        }
        let mut items = Vec::new();
        for (path, name) in chunk {
            match walk.begin(path, &AddOptions { name: Some(name.clone()), ..options.clone() }) {
                Ok(()) => items.extend(std::iter::from_fn(|| walk.next())),
                Err(e) => adding.failed(path, &e),
            }
        }
        observer.expect(items.len() as u64, items.iter().map(|item| item.size_bytes).sum());
        adding.stage_chunk(items)?;
    }
    adding.flush()?;
    adding.report.skipped += walk.skipped;
    adding.report.failed += walk.failed;
    Ok(adding.finish())
}
