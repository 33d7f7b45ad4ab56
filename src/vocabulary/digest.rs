//! The names of bytes: SHA-256 is the address of a blob, BLAKE3 the fast second fingerprint.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::{Error, ErrorKind};

/// The SHA-256 of a blob (FIPS 180-4), which is its address in the store.
///
/// It parses from, and prints as, `sha256:` and 64 lower-case hexadecimal digits. Nothing else is accepted where
/// a digest is wanted, so that no text from outside can become a path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of the empty blob.
    pub const EMPTY: Digest = Digest([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae,
        0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
    ]);

    /// Takes the 32 bytes of a SHA-256 as a digest.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Digest(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 lower-case hexadecimal digits, without `sha256:`.
    pub fn to_hex(&self) -> String {
        hex(&self.0)
    }

    /// Parses 64 lower-case hexadecimal digits; anything else is `None`.
    pub fn from_hex(text: &str) -> Option<Self> {
        unhex(text.as_bytes()).map(Digest)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = Error;

    /// Parses `sha256:<64 lower-case hex>`; refuses every other spelling with [`ErrorKind::Invalid`].
    fn from_str(text: &str) -> Result<Self, Error> {
        text.strip_prefix("sha256:").and_then(Digest::from_hex).ok_or_else(|| {
            Error::new(
                ErrorKind::Invalid,
                format!("read {text:?} as a digest"),
                "a digest is written sha256: and 64 lower-case hexadecimal digits",
            )
        })
    }
}

/// The BLAKE3 of a blob: a fingerprint that is fast to compute, never an address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Blake3([u8; 32]);

impl Blake3 {
    /// What stands for one that is not known: the blob was taken from the disk, and nobody has hashed it yet.
    pub const UNKNOWN: Blake3 = Blake3([0; 32]);

    /// Takes the 32 bytes of a BLAKE3 hash.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Blake3(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Blake3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blake3:{}", hex(&self.0))
    }
}

impl fmt::Debug for Blake3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The beginning of a digest, as a person types it: 4 to 64 lower-case hexadecimal digits, with or without `sha256:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestPrefix(String);

impl DigestPrefix {
    /// Whether `digest` begins with this.
    pub fn matches(&self, digest: &Digest) -> bool {
        digest.to_hex().starts_with(&self.0)
    }

    /// The smallest digest that begins with this, from which a sorted search starts.
    pub fn first(&self) -> Digest {
        let mut text = self.0.clone();
        text.extend(std::iter::repeat_n('0', 64 - self.0.len()));
        Digest::from_hex(&text).expect("a prefix holds only lower-case hexadecimal digits")
    }
}

impl FromStr for DigestPrefix {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if (4..=64).contains(&hex.len()) && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            Ok(DigestPrefix(hex.to_owned()))
        } else {
            Err(Error::new(
                ErrorKind::Invalid,
                format!("read {text:?} as the beginning of a digest"),
                "it takes 4 to 64 lower-case hexadecimal digits",
            ))
        }
    }
}

impl fmt::Display for DigestPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

fn hex(bytes: &[u8; 32]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(64);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)] as char);
        text.push(DIGITS[usize::from(byte & 15)] as char);
    }
    text
}

fn unhex(text: &[u8]) -> Option<[u8; 32]> {
    let nibble = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    if text.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lower_case_hex_with_its_prefix_is_a_digest() {
        let text = format!("sha256:{}", Digest::EMPTY.to_hex());
        assert_eq!(text.parse::<Digest>().unwrap(), Digest::EMPTY);
        for bad in [
            Digest::EMPTY.to_hex(),
            text.to_uppercase(),
            text[..70].to_owned(),
            format!("{text}0"),
            "sha256:../../../../etc/passwd".to_owned(),
            text.replace('e', "é"),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_prefix_finds_its_digests_and_no_others() {
        let prefix: DigestPrefix = "e3b0".parse().unwrap();
        assert!(prefix.matches(&Digest::EMPTY));
        assert!(prefix.first() <= Digest::EMPTY);
        assert!(!prefix.matches(&Digest::from_bytes([0; 32])));
        assert!("e3b".parse::<DigestPrefix>().is_err());
        assert!("E3B0".parse::<DigestPrefix>().is_err());
    }
}
