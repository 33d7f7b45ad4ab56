//! The file that says what a session is (format.md, "Session file").
//!
//! It matters only while the process that wrote it lives, and changes only under `lock`.

use super::Malformed;
use super::header::array;
use crate::vocabulary::Digest;

const MAGIC: &[u8; 8] = b"LARDERS\x01";
const FIXED: usize = 8 + 1 + 8 + 4;
/// Most digests that a session can list.
const MOST_HELD: usize = 16 << 20;

/// What kind of work a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionKind {
    /// Adds blobs; what it may rest on is everything that its stamp has seen.
    Ingest,
    /// Reads what it lists.
    Reader,
    /// Removes; it protects nothing.
    Collect,
    /// Keeps what it lists for a command that runs.
    Lease,
}

impl SessionKind {
    /// The word for it in reports.
    pub fn word(self) -> &'static str {
        match self {
            SessionKind::Ingest => "ingest",
            SessionKind::Reader => "reader",
            SessionKind::Collect => "collect",
            SessionKind::Lease => "lease",
        }
    }
}

/// What a session's file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFile {
    /// What kind of work it is.
    pub kind: SessionKind,
    /// The sequence that it has seen: nothing condemned after it may go while an ingest lives.
    pub stamp: u64,
    /// Blobs that it holds.
    pub held: Vec<Digest>,
}

impl SessionFile {
    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIXED + 32 * self.held.len() + 16);
        bytes.extend_from_slice(MAGIC);
        bytes.push(match self.kind {
            SessionKind::Ingest => 1,
            SessionKind::Reader => 2,
            SessionKind::Collect => 3,
            SessionKind::Lease => 4,
        });
        bytes.extend_from_slice(&self.stamp.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(self.held.len()).expect("bounded by MOST_HELD").to_le_bytes());
        for digest in &self.held {
            bytes.extend_from_slice(digest.as_bytes());
        }
        let sum = blake3::hash(&bytes);
        bytes.extend_from_slice(&sum.as_bytes()[..16]);
        bytes
    }

    /// Reads the file.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() < FIXED + 16 {
            return Err(Malformed::Short);
        }
        if &bytes[..8] != MAGIC {
            return Err(Malformed::Magic);
        }
        let count = u32::from_le_bytes(array(bytes, 17)) as usize;
        if count > MOST_HELD || bytes.len() < FIXED + 32 * count + 16 {
            return Err(Malformed::Length);
        }
        let end = FIXED + 32 * count;
        if blake3::hash(&bytes[..end]).as_bytes()[..16] != bytes[end..end + 16] {
            return Err(Malformed::Checksum);
        }
        let kind = match bytes[8] {
            1 => SessionKind::Ingest,
            2 => SessionKind::Reader,
            3 => SessionKind::Collect,
            4 => SessionKind::Lease,
            _ => return Err(Malformed::Fields),
        };
        let held = bytes[FIXED..end].chunks_exact(32).map(|d| Digest::from_bytes(array(d, 0))).collect();
        Ok(SessionFile { kind, stamp: u64::from_le_bytes(array(bytes, 9)), held })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_file_reads_back_and_its_damage_is_noticed() {
        let file = SessionFile { kind: SessionKind::Reader, stamp: 9, held: vec![Digest::EMPTY; 3] };
        let good = file.encode();
        assert_eq!(SessionFile::decode(&good), Ok(file));
        for byte in 0..good.len() {
            let mut bad = good.clone();
            bad[byte] ^= 0x10;
            assert!(SessionFile::decode(&bad).is_err(), "byte {byte}");
        }
    }
}
