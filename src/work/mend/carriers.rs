//! Carriers: hashed where their record does not fit.

use super::Mender;
use super::blobs::Hashed;
use crate::format::layout::Layout;
use crate::format::record::Record;
use crate::format::record::copies::{CarrierRecord, CarrierRemovedRecord};
use crate::ledger::Tables;
use crate::parts::blobs::stamp;
use crate::vocabulary::{Digest, Finding, FindingCode, Result};

impl Mender<'_> {
    pub(super) fn carriers(&mut self) -> Result<()> {
        let codes = [FindingCode::CarrierMissing, FindingCode::CarrierStamp, FindingCode::CarrierOrphan];
        for finding in self.of(&codes) {
            if !self.goes_on() {
                return Ok(());
            }
            let Some((digest, number)) = carrier_of(finding) else { continue };
            let done = match finding.code {
                FindingCode::CarrierMissing => self.forget_carrier(digest, number),
                _ => self.carrier(digest, number),
            };
            self.told(finding, done)?;
        }
        Ok(())
    }

    /// A record without a file goes.
    fn forget_carrier(&self, digest: Digest, number: u32) -> Result<Result<(), String>> {
        self.ctx.ledger.transact(move |tx| {
            let on_record = tx.carriers(&digest)?.iter().any(|(of, _)| *of == number);
            if on_record && tx.ledger().carriers.meta(&digest, number)?.is_none() {
                tx.push(Record::CarrierRemoved(CarrierRemovedRecord { digest, number }));
            }
            Ok(Ok(()))
        })
    }

    /// A file that is not as recorded, or not recorded: a carrier, if its bytes are the blob's. One that no record knows
    /// and that is none is what the next collection removes.
    fn carrier(&self, digest: Digest, number: u32) -> Result<Result<(), String>> {
        let path = self.ctx.ledger.carriers.path(&digest, number);
        let Some(Hashed { digests, stamp: seen }) = self.hash(&path)? else {
            return Ok(Err("it changes while it is looked at".to_owned()));
        };
        if digests.digest != digest {
            return Ok(Err(format!("its bytes are {}: `larder copies` makes another", digests.digest)));
        }
        self.ctx.ledger.transact(move |tx| {
            let there = tx.ledger().carriers.meta(&digest, number)?;
            if !there.is_some_and(|meta| stamp(&meta).agrees(&seen)) {
                return Ok(Err("it changes while it is looked at".to_owned()));
            }
            if tx.blob(&digest)?.is_none() {
                return Ok(Err("there is no record of the blob; the next gc removes it".to_owned()));
            }
            let mut dirs = crate::parts::carriers::CarrierDirs::default();
            tx.ledger().carriers.watch(&digest, &mut dirs)?;
            tx.ledger().carriers.sync(&dirs)?;
            let since = tx.moment();
            tx.push(Record::Carrier(CarrierRecord { digest, number, stamp: seen, since }));
            Ok(Ok(()))
        })
    }
}

/// Which carrier a finding is about, by its path.
fn carrier_of(finding: &Finding) -> Option<(Digest, u32)> {
    let first = finding.digest?.as_bytes()[0];
    Layout::carrier_of(first, finding.path.file_name()?.to_str()?)
}
