//! Names that the journal took away and whose files stayed: its last word is carried out after all.

use std::path::Path;

use super::Mender;
use super::blobs::{CHANGES, Done, Hashed};
use super::former::keep;
use crate::format::record::{Record, Replaced, UnaliasRecord};
use crate::ledger::{Tables, Tx};
use crate::machine::Meta;
use crate::vocabulary::{Digest, Error, FindingCode, Name, Result};

/// What took a name away that no record remembers: its row was dropped with time.
const RULE: &str = "check --repair";

impl Mender<'_> {
    pub(super) fn departed(&mut self) -> Result<()> {
        for finding in self.of(&[FindingCode::NameDeparted]) {
            if !self.goes_on() {
                return Ok(());
            }
            let (Some(name), Some(digest)) = (finding.names.first(), finding.digest) else { continue };
            let path = self.ctx.ledger.layout.name(name);
            let done = self.take_away(name, &digest, &path);
            self.told(finding, done)?;
        }
        Ok(())
    }

    /// The name that a file was set aside for, if it was taken away and is on record as not applied, and what it meant.
    pub(super) fn set_aside_for(&self, aside: &Path) -> Result<Option<(Name, Vec<Digest>)>> {
        let ledger = self.ctx.ledger;
        let snapshot = ledger.snapshot()?;
        for row in snapshot.all_name_findings() {
            let (name, _) = row?;
            if ledger.names.aside(&name) == aside && snapshot.alias(&name)?.is_none() {
                let meant = snapshot.meant(&name)?;
                return Ok(Some((name, meant)));
            }
        }
        Ok(None)
    }

    /// Takes the file away that a name left at `path`, by the removal once more: set aside, looked at, unlinked. What it
    /// alone holds becomes a blob first, whose grace begins.
    pub(super) fn take_away(&self, name: &Name, digest: &Digest, path: &Path) -> Done {
        let ledger = self.ctx.ledger;
        let meta = ledger.machine.lstat(path).map_err(|e| Error::io("look at", path, e))?;
        let alone = match self.is_link(digest, &meta)? {
            true => None,
            false => match self.hashed_as(digest, path, &meta)? {
                Ok(hashed) => Some(hashed),
                Err(reason) => return Ok(Err(reason)),
            },
        };
        let (name, digest, path) = (name.clone(), *digest, path.to_owned());
        let of = name.clone();
        let done = ledger.transact(move |tx| again_unnamed(tx, &of, &digest, &path, &meta, alone.as_ref()))?;
        let refused = ledger.snapshot()?.name_finding(&name)?;
        Ok(done.and(refused.map_or(Ok(()), |refused| Err(refused.reason))))
    }
}

/// The removal of a name once more: its file follows from it.
fn again_unnamed(
    tx: &mut Tx<'_>,
    name: &Name,
    digest: &Digest,
    path: &Path,
    meta: &Meta,
    alone: Option<&Hashed>,
) -> Result<Result<(), String>> {
    let now = tx.ledger().machine.lstat(path).map_err(|e| Error::io("look at", path, e))?;
    if (now.device, now.inode) != (meta.device, meta.inode) || tx.alias(name)?.is_some() {
        return Ok(Err(CHANGES.to_owned()));
    }
    if let Some(alone) = alone
        && let Err(reason) = keep(tx, digest, path, alone)?
    {
        return Ok(Err(reason));
    }
    let row = tx.departed(digest)?.into_iter().find(|(of, _)| of == name).map(|(_, row)| row);
    let (rule, when) = row.map_or_else(|| (RULE.to_owned(), tx.moment()), |row| (row.rule, row.when));
    let was = Replaced { digest: *digest, hardlinked: true, inode: now.inode };
    tx.push(Record::Unalias(UnaliasRecord { name: name.clone(), was, rule, when }));
    Ok(Ok(()))
}
