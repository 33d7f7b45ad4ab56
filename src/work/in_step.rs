//! Rows in the order of digests, read in step with others in that order: a look-up for each would cost many times as much.

use crate::vocabulary::{Digest, Result};

type Rows<'a, T> = Box<dyn Iterator<Item = Result<(Digest, T)>> + 'a>;

pub(in crate::work) struct InStep<'a, T> {
    rows: Rows<'a, T>,
    next: Option<(Digest, T)>,
    begun: bool,
    /// Rows that may still be read.
    left: usize,
    /// The greatest digest that was asked for.
    asked: Option<Digest>,
}

impl<'a, T> InStep<'a, T> {
    /// All of the rows, if need be.
    pub(in crate::work) fn new(rows: Rows<'a, T>) -> Self {
        Self::bounded(rows, usize::MAX)
    }

    /// At most so many of them.
    pub(in crate::work) fn bounded(rows: Rows<'a, T>, most: usize) -> Self {
        InStep { rows, next: None, begun: false, left: most, asked: None }
    }

    /// The first row of this digest, which is asked for once, after all smaller ones.
    pub(in crate::work) fn at(&mut self, digest: &Digest) -> Result<Option<T>> {
        self.asked = Some(*digest);
        if !self.begun {
            self.begun = true;
            self.advance()?;
        }
        while self.next.as_ref().is_some_and(|(next, _)| next < digest) {
            self.advance()?;
        }
        match self.next.take() {
            Some((next, row)) if next == *digest => {
                self.advance()?;
                Ok(Some(row))
            }
            other => {
                self.next = other;
                Ok(None)
            }
        }
    }

    /// As [`InStep::at`], of any digest: what is out of order, or further on than may be read, is looked up.
    pub(in crate::work) fn at_or(
        &mut self,
        digest: &Digest,
        look_up: impl FnOnce() -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        if self.asked.is_some_and(|asked| asked >= *digest) {
            return look_up();
        }
        match self.at(digest)? {
            None if self.left == 0 => look_up(),
            found => Ok(found),
        }
    }

    fn advance(&mut self) -> Result<()> {
        self.next = None;
        if self.left > 0 {
            self.left -= 1;
            self.next = self.rows.next().transpose()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(i: u8) -> Digest {
        Digest::from_bytes([i; 32])
    }

    #[test]
    fn however_it_is_asked_it_answers_as_looking_up_does() {
        let has = |i: u8| i.is_multiple_of(3);
        let rows = || Box::new((0..60).filter(|i| has(*i)).map(|i| Ok((digest(i), i)))) as Rows<'_, u8>;
        let look_up = |i: u8| Ok(has(i).then_some(i));
        for most in [0, 1, 5, 19, 20, 100] {
            for asked in [(0..60).collect(), vec![3, 3, 4, 9, 6, 59, 0, 57, 57], vec![58, 1]] {
                let mut in_step = InStep::bounded(rows(), most);
                for i in asked {
                    assert_eq!(in_step.at_or(&digest(i), || look_up(i)).unwrap(), look_up(i).unwrap(), "{i} of {most}");
                }
            }
        }
        let mut all = InStep::new(rows());
        for i in 0..60 {
            assert_eq!(all.at(&digest(i)).unwrap(), look_up(i).unwrap());
        }
    }
}
