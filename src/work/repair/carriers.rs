//! Carriers that are wrong are made anew from the blob's own file, which by then is good.

use std::path::PathBuf;
use std::sync::Arc;

use super::{RepairScope, Repairing};
use crate::format::record::Record;
use crate::format::record::copies::{CarrierRecord, CarrierRow};
use crate::format::settings::Durability;
use crate::ledger::{Ledger, Snapshot, Tables};
use crate::machine::{Meta, Open};
use crate::parts::blobs::stamp;
use crate::parts::carriers::CarrierDirs;
use crate::parts::sessions::Session;
use crate::vocabulary::events::{Origin, Repair, RepairStatus, VerifyStatus};
use crate::vocabulary::{Digest, Error, ErrorKind, Name, Result, Stamp};
use crate::work::blob::{Meter, in_full, usable};
use crate::work::carrier::{record, stage_copy, sync};
use crate::work::seen::mended;
use crate::work::spill::{NAMES_AT_ONCE, apply_again, say_again};
use crate::work::verify::examine::Look;
use crate::work::verify::select::Selection;

/// Carriers that are looked at in one go.
const CHUNK: usize = 1024;

/// One carrier on record.
#[derive(Clone, Copy)]
struct Carrier {
    digest: Digest,
    number: u32,
    row: CarrierRow,
}

impl Repairing<'_> {
    /// Looks at the carriers of what was to be repaired, and makes those anew that are wrong.
    pub(super) fn mend_carriers(&mut self, scope: &RepairScope) -> Result<()> {
        self.snapshot = self.ctx.ledger.snapshot()?;
        let snapshot = Arc::clone(&self.snapshot);
        match scope {
            RepairScope::Named { targets, prefixes } => {
                let selection = Selection::new(&snapshot, targets, prefixes)?;
                let mut last = None;
                loop {
                    let batch = selection.after(last.as_ref())?;
                    let Some((digest, _)) = batch.last().filter(|_| !self.report.interrupted) else { return Ok(()) };
                    last = Some(*digest);
                    let mut carriers = Vec::new();
                    for (digest, _) in batch {
                        let of_one = snapshot.carriers(&digest)?.into_iter();
                        carriers.extend(of_one.map(|(number, row)| Carrier { digest, number, row }));
                    }
                    self.mend_some(carriers, false)?;
                }
            }
            RepairScope::Known | RepairScope::All => {
                let mut rows = snapshot.all_carriers();
                loop {
                    let chunk = rows.by_ref().take(CHUNK).collect::<Result<Vec<_>>>()?;
                    if chunk.is_empty() || self.report.interrupted {
                        return Ok(());
                    }
                    let carrier = |((digest, number), row)| Carrier { digest, number, row };
                    self.mend_some(chunk.into_iter().map(carrier).collect(), *scope == RepairScope::Known)?;
                }
            }
        }
    }

    fn mend_some(&mut self, mut carriers: Vec<Carrier>, known_only: bool) -> Result<()> {
        if known_only {
            carriers.retain(|carrier| !is_as_recorded(self.ctx.ledger, carrier) || self.has_finding(carrier));
        }
        let snapshot = Arc::clone(&self.snapshot);
        let (ledger, examiner) = (self.ctx.ledger, self.examiner(&snapshot));
        let looks = self.ctx.workers.map(carriers, |carrier| {
            let size_bytes = carrier.row.stamp.size_bytes;
            let meter = Meter::new(self.observer, 0);
            let mut look = examiner.look_at_carrier(&carrier.digest, carrier.number, size_bytes, &meter);
            if let Some(look) = &mut look {
                let (path, blob) =
                    (ledger.carriers.path(&carrier.digest, carrier.number), snapshot.blob(&carrier.digest)?);
                examiner.locate_damage(&carrier.digest, blob.as_ref(), &path, look);
            }
            Ok::<_, Error>((carrier, look))
        });
        for looked in looks {
            let (carrier, look) = looked?;
            match look {
                None => self.report.interrupted = true,
                Some(Look { status: VerifyStatus::Ok, file, .. }) => {
                    let other = file.filter(|file| !carrier.row.stamp.agrees(&stamp(file)));
                    if let Some(file) = other.filter(|_| !self.dry_run) {
                        confirm(self.ctx.ledger, carrier, file)?;
                    }
                    if !self.dry_run && self.has_finding(&carrier) {
                        self.ctx.ledger.transact(move |tx| mended(tx, &carrier.digest, carrier.number))?;
                    }
                }
                Some(look) => self.mend_carrier(carrier, &look)?,
            }
        }
        Ok(())
    }

    /// Whether it is on record that it is wrong. What cannot be read says nothing.
    fn has_finding(&self, carrier: &Carrier) -> bool {
        matches!(self.snapshot.finding(&carrier.digest, carrier.number), Ok(Some(_)))
    }

    fn mend_carrier(&mut self, carrier: Carrier, look: &Look) -> Result<()> {
        let own = self.ctx.ledger.blobs.path(&carrier.digest);
        let mut told = self.carrier_told(&carrier, look)?;
        let hopeless = look.status == VerifyStatus::Unreadable && !look.by_disk;
        let made = if hopeless { Ok(false) } else { self.make_anew(&carrier, look) };
        match made {
            Err(e) if e.kind() == ErrorKind::Interrupted => self.report.interrupted = true,
            Err(e) if matches!(e.kind(), ErrorKind::Damaged | ErrorKind::TooLarge) => {
                told.tried.push((own, in_full(&e)));
                self.unrepaired(told);
            }
            Err(e) => return Err(e),
            Ok(false) => self.unrepaired(told),
            Ok(true) => {
                told.status = if self.dry_run { RepairStatus::WouldRepair } else { RepairStatus::Repaired };
                told.from = Some((Origin::Blob, own));
                told.evidence = super::candidates::evidence(self.ctx.ledger, &carrier.digest);
                self.report.carriers += 1;
                self.report.repaired_bytes += told.size_bytes;
                self.tell(told);
            }
        }
        Ok(())
    }

    fn carrier_told(&self, carrier: &Carrier, look: &Look) -> Result<Repair> {
        Ok(Repair {
            digest: carrier.digest,
            carrier: Some(carrier.number),
            names: self.snapshot.names_of(&carrier.digest)?,
            size_bytes: carrier.row.stamp.size_bytes,
            status: RepairStatus::Unrepaired,
            found: look.detail.clone(),
            damage: look.damage.clone(),
            from: None,
            taken: Vec::new(),
            tried: Vec::new(),
            outside_links: 0,
            outside: Vec::new(),
            evidence: Vec::new(),
        })
    }

    /// Puts a good copy in the place of a bad carrier. `false`: it was changed or removed meanwhile.
    fn make_anew(&mut self, carrier: &Carrier, look: &Look) -> Result<bool> {
        let ledger = self.ctx.ledger;
        usable(self.snapshot.as_ref(), &carrier.digest)?;
        if self.dry_run {
            return Ok(true);
        }
        let session = self.session()?;
        let bad = look.file.filter(|file| file.links > 1).map(|file| file.inode);
        let mut names = names_on(ledger, self.snapshot.as_ref(), &carrier.digest, bad)?;
        let staged =
            stage_copy(ledger, &session, &carrier.digest, &carrier.row.stamp, false, &|| !self.observer.cancelled())?;
        let path = staged.0.clone();
        let rest = names.split_off(names.len().min(NAMES_AT_ONCE));
        let replaced = replace(ledger, &session, *carrier, staged, look.detail.clone(), names);
        let _ = ledger.machine.unlink(&path);
        if replaced? {
            apply_again(ledger, &carrier.digest, rest, bad.unwrap_or(0))?;
            return Ok(true);
        }
        Ok(false)
    }
}

/// Quarantines what stands in a carrier's place, puts the staged copy there and records it.
fn replace(
    ledger: &Ledger,
    session: &Arc<Session>,
    carrier: Carrier,
    staged: (PathBuf, Stamp),
    reason: String,
    names: Vec<Name>,
) -> Result<bool> {
    let held = Arc::clone(session);
    ledger.transact(move |tx| {
        let Carrier { digest, number, row } = carrier;
        if !tx.carriers(&digest)?.contains(&(number, row)) || tx.blob(&digest)?.is_none() {
            return Ok(false);
        }
        let mut dirs = CarrierDirs::default();
        tx.ledger().carriers.watch(&digest, &mut dirs)?;
        if tx.ledger().carriers.meta(&digest, number)?.is_some() {
            let (sequence, path) = (tx.moment().sequence, tx.ledger().carriers.path(&digest, number));
            let reason = format!("carrier {number}: {reason}");
            tx.ledger().keep_evidence(&path, &digest, sequence, &reason)?;
        }
        record(tx, &held, &digest, number, &staged, &mut dirs)?;
        sync(tx, &dirs)?;
        let bad = row.stamp.inode;
        names.into_iter().try_for_each(|name| say_again(tx, &digest, name, bad))?;
        held.restamp(tx.moment().sequence - 1)?;
        Ok(true)
    })
}

/// The names of a blob that are links to this inode.
fn names_on(ledger: &Ledger, snapshot: &Snapshot, digest: &Digest, inode: Option<u64>) -> Result<Vec<Name>> {
    let Some(inode) = inode else { return Ok(Vec::new()) };
    let mut names = snapshot.names_of(digest)?;
    names.retain(|name| ledger.machine.lstat(&ledger.layout.name(name)).is_ok_and(|meta| meta.inode == inode));
    Ok(names)
}

/// Puts on record that the file in a carrier's place is good, and another one than was recorded: whoever put it there
/// died before it was on record, or never synced it.
fn confirm(ledger: &Ledger, carrier: Carrier, file: Meta) -> Result<()> {
    let Carrier { digest, number, row } = carrier;
    let mut dirs = CarrierDirs::default();
    ledger.carriers.watch(&digest, &mut dirs)?;
    if ledger.policy.durability != Durability::None {
        let path = ledger.carriers.path(&digest, number);
        let opened = ledger.machine.open(&path, Open::Read).map_err(|e| Error::io("open", &path, e))?;
        opened.sync().map_err(|e| Error::io("sync", &path, e))?;
    }
    ledger.transact(move |tx| {
        let there = tx.ledger().carriers.meta(&digest, number)?;
        let same = there.is_some_and(|there| stamp(&there).agrees(&stamp(&file)));
        if same && tx.carriers(&digest)?.contains(&(number, row)) {
            sync(tx, &dirs)?;
            let record = CarrierRecord { digest, number, stamp: stamp(&file), since: row.since };
            tx.push(Record::Carrier(record));
        }
        Ok(())
    })
}

fn is_as_recorded(ledger: &Ledger, carrier: &Carrier) -> bool {
    let there = ledger.carriers.meta(&carrier.digest, carrier.number).ok().flatten();
    there.is_some_and(|meta| carrier.row.stamp.agrees(&stamp(&meta)))
}
