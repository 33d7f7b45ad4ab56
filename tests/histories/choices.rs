//! Where a history gets its choices from.

use super::super::kit::Chance;

/// Numbers by a seed, or read from bytes; where the bytes end, all further choices are the first one.
#[derive(Clone)]
pub enum Choices {
    Seeded(Chance),
    Bytes { bytes: Vec<u8>, at: usize },
}

impl Choices {
    pub fn of_seed(seed: u64) -> Self {
        Choices::Seeded(Chance::new(seed))
    }

    pub fn of_bytes(bytes: &[u8]) -> Self {
        Choices::Bytes { bytes: bytes.to_vec(), at: 0 }
    }

    /// A number below `end`, which is at most 65536.
    pub fn below(&mut self, end: u64) -> u64 {
        match self {
            Choices::Seeded(chance) => chance.below(end),
            Choices::Bytes { bytes, at } => {
                let mut next = || {
                    let byte = bytes.get(*at).copied().unwrap_or(0);
                    *at += 1;
                    u64::from(byte)
                };
                let number = if end > 256 { next() << 8 | next() } else { next() };
                number % end.max(1)
            }
        }
    }

    /// One of these.
    pub fn of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}
