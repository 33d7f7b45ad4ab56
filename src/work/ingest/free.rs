//! Which names are free, asked for many names that are close to each other: a stretch of names without any alias is
//! found by one look, and serves all names in it.

use std::collections::{BTreeSet, HashSet};
use std::ops::Bound;

use crate::format::table::{AliasRow, Table};
use crate::ledger::{Tables, Tx};
use crate::vocabulary::{Name, Result};

/// What is known of the names of one transaction.
#[derive(Default)]
pub(super) struct FreeNames {
    /// No alias was on record from the first of these keys up to, but not including, the second (`None`: the end).
    gap: Option<(Vec<u8>, Option<Vec<u8>>)>,
    /// Names that this transaction has given since.
    given: BTreeSet<Vec<u8>>,
    /// Directories of names that were granted: none of them is a name.
    directories: HashSet<Name>,
    /// Whether any name has an upper-case letter; `None`: nobody has asked.
    folds: Option<bool>,
}

impl FreeNames {
    /// As [`Tables::alias`].
    pub(super) fn alias(&mut self, tx: &Tx<'_>, name: &Name) -> Result<Option<AliasRow>> {
        if self.is_in_gap(name) && !self.given.contains(name.as_bytes()) { Ok(None) } else { tx.alias(name) }
    }

    /// As [`Tables::clash`], for a name that means nothing.
    pub(super) fn clash(&mut self, tx: &Tx<'_>, name: &Name) -> Result<Option<Name>> {
        for above in name.ancestors() {
            if !self.directories.contains(&above) && self.alias(tx, &above)?.is_some() {
                return Ok(Some(above));
            }
        }
        if !self.is_in_gap(name) {
            self.look(tx, name)?;
        }
        if !self.is_in_gap(name) {
            return tx.clash(name);
        }
        let mut below = name.as_bytes().to_vec();
        below.push(b'/');
        let next = self.given.range((Bound::Included(below.clone()), Bound::Unbounded)).next();
        next.filter(|next| next.starts_with(&below)).map(|next| Name::new(&next[..])).transpose()
    }

    /// As [`Tables::same_but_for_case`].
    pub(super) fn same_but_for_case(&mut self, tx: &Tx<'_>, name: &Name) -> Result<Vec<Name>> {
        let any = match self.folds {
            Some(any) => any,
            None => tx.view().prefix(&Table::Fold.key(&[])).next().transpose()?.is_some(),
        };
        self.folds = Some(any);
        let is_lower = name.folded().is_none_or(|folded| folded.as_bytes() == name.as_bytes());
        if !any && is_lower { Ok(Vec::new()) } else { tx.same_but_for_case(name) }
    }

    /// Notes that the transaction has given a name.
    pub(super) fn gave(&mut self, name: &Name) {
        self.given.insert(name.as_bytes().to_vec());
        self.directories.extend(name.ancestors());
        if name.folded().is_some_and(|folded| folded.as_bytes() != name.as_bytes()) {
            self.folds = Some(true);
        }
    }

    /// Whether neither `name` nor anything below it was on record.
    fn is_in_gap(&self, name: &Name) -> bool {
        // A zero sorts right behind the slash.
        let behind = [name.as_bytes(), b"0"].concat();
        self.gap
            .as_ref()
            .is_some_and(|(from, to)| from.as_slice() <= name.as_bytes() && to.as_ref().is_none_or(|to| behind <= *to))
    }

    /// Looks for the next alias from `name` on.
    fn look(&mut self, tx: &Tx<'_>, name: &Name) -> Result<()> {
        let end = [Table::Alias as u8 + 1];
        let next = tx.view().range(&Table::Alias.key(name.as_bytes()), Some(&end)).next().transpose()?;
        self.gap = Some((name.as_bytes().to_vec(), next.map(|(key, _)| key[1..].to_vec())));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::testing::Fixture;
    use proptest::prelude::*;

    /// Names that are in each other's way in every way there is.
    fn names() -> impl Strategy<Value = Vec<Name>> {
        let component = prop_oneof![Just("a"), Just("A"), Just("a-b"), Just("a0"), Just("b"), Just("é"), Just("É")];
        let name = proptest::collection::vec(component, 1..4).prop_map(|parts| Name::new(parts.join("/")).unwrap());
        proptest::collection::vec(name, 0..40)
    }

    proptest! {
        #[test]
        fn it_answers_as_the_tables_do(before in names(), now in names()) {
            let world = crate::machine::simulated::World::new(1);
            let fixture = Fixture::simulated(&world);
            let give = |names: Vec<Name>| {
                fixture.ledger.transact(move |tx| {
                    let mut free = FreeNames::default();
                    for name in names {
                        let alias = tx.alias(&name)?;
                        assert_eq!(free.alias(tx, &name)?, alias);
                        if alias.is_some() {
                            continue;
                        }
                        let clash = tx.clash(&name)?;
                        assert_eq!(free.clash(tx, &name)?.is_some(), clash.is_some(), "{name:?}");
                        assert_eq!(free.same_but_for_case(tx, &name)?, tx.same_but_for_case(&name)?);
                        if clash.is_none() {
                            tx.push(crate::work::testing::counted(&name, tx.moment()));
                            free.gave(&name);
                        }
                    }
                    Ok(())
                })
            };
            give(before).unwrap();
            give(now).unwrap();
        }
    }
}
