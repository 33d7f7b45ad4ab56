//! What was counted in a store since it was made (format.md, "Totals"): numbers for people, on which nothing rests.
//!
//! There are two slots, and the one with the higher generation holds. A slot that is torn, or was never written, says nothing.

use super::Malformed;
use super::fields::Fields;
use super::header::array;
use crate::vocabulary::limits::{TOTALS_LABEL_BYTES, TOTALS_SLOT_BYTES};
use crate::vocabulary::recorder::{Counts, Instrument};

const MAGIC: [u8; 4] = *b"LTO\x01";
/// Magic, checksum, generation, moment, length of what follows.
const HEAD: usize = 4 + 16 + 8 + 8 + 4;
/// Where what the checksum covers begins.
const COVERED: usize = 4 + 16;

/// What one slot says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How often they were written.
    pub generation: u64,
    /// Since when it is counted, in wall-clock nanoseconds since the epoch.
    pub since_ns: u64,
    /// The counters.
    pub counts: Counts,
}

/// The number of an instrument in the bytes.
fn number(instrument: Instrument) -> u8 {
    match instrument {
        Instrument::Verifications => 1,
        Instrument::Models => 2,
        Instrument::Operations => 3,
        Instrument::Evictions => 4,
        Instrument::DedupHits => 5,
        Instrument::GcRemoved => 6,
        Instrument::VerifyFailures => 7,
    }
}

/// The bytes of a slot. What does not fit is left out; [`Counts`] has no more labels than do.
pub fn encode(totals: &Totals) -> Vec<u8> {
    let mut rows = Vec::new();
    for instrument in Instrument::ALL.into_iter().filter(|instrument| !instrument.is_gauge()) {
        for (label, value) in totals.counts.of(instrument) {
            if label.len() <= TOTALS_LABEL_BYTES && HEAD + rows.len() + 10 + label.len() <= TOTALS_SLOT_BYTES {
                rows.extend_from_slice(&[number(instrument), u8::try_from(label.len()).expect("it is bounded")]);
                rows.extend_from_slice(label.as_bytes());
                rows.extend_from_slice(&value.to_le_bytes());
            }
        }
    }
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&[0; 16]);
    bytes.extend_from_slice(&totals.generation.to_le_bytes());
    bytes.extend_from_slice(&totals.since_ns.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(rows.len()).expect("it is bounded").to_le_bytes());
    bytes.extend_from_slice(&rows);
    let sum = blake3::hash(&bytes[COVERED..]);
    bytes[4..COVERED].copy_from_slice(&sum.as_bytes()[..16]);
    bytes
}

/// Reads a slot, behind which anything may stand.
pub fn decode(bytes: &[u8]) -> Result<Totals, Malformed> {
    let head = bytes.get(..HEAD).ok_or(Malformed::Short)?;
    if head[..4] != MAGIC {
        return Err(Malformed::Magic);
    }
    let length = u32::from_le_bytes(array(head, HEAD - 4)) as usize;
    if length > TOTALS_SLOT_BYTES - HEAD {
        return Err(Malformed::Length);
    }
    let rows = bytes.get(HEAD..HEAD + length).ok_or(Malformed::Short)?;
    if blake3::hash(&bytes[COVERED..HEAD + length]).as_bytes()[..16] != head[4..COVERED] {
        return Err(Malformed::Checksum);
    }
    let (generation, since_ns) = (u64::from_le_bytes(array(head, 20)), u64::from_le_bytes(array(head, 28)));
    let mut counts = Counts::default();
    let mut fields = Fields::of(rows);
    while !fields.is_empty() {
        let (instrument, label, value) = row(&mut fields).ok_or(Malformed::Fields)?;
        // What a later program counts besides is left out.
        if let Some(instrument) = Instrument::ALL.into_iter().find(|known| number(*known) == instrument) {
            counts.add(instrument, &label, value);
        }
    }
    Ok(Totals { generation, since_ns, counts })
}

fn row(fields: &mut Fields<'_>) -> Option<(u8, String, u64)> {
    let (instrument, length) = (fields.u8()?, fields.u8()?);
    let label: Vec<u8> = (0..length).map(|_| fields.u8()).collect::<Option<_>>()?;
    Some((instrument, String::from_utf8(label).ok()?, fields.u64()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Totals {
        let mut counts = Counts::default();
        counts.add(Instrument::Operations, "add", 258);
        counts.add(Instrument::Evictions, "", 3);
        counts.add(Instrument::DedupHits, "résolveur", u64::MAX);
        Totals { generation: 7, since_ns: 9, counts }
    }

    #[test]
    fn totals_are_these_bytes() {
        let bytes = encode(&some());
        assert_eq!(&bytes[..4], b"LTO\x01");
        assert_eq!(bytes[4..20], blake3::hash(&bytes[20..]).as_bytes()[..16]);
        assert_eq!(bytes[20..36], [7, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[40..53], [3, 3, b'a', b'd', b'd', 2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(decode(&bytes), Ok(some()));
        assert_eq!(decode(&[&bytes[..], &[0xff; 40]].concat()), Ok(some()));
    }

    #[test]
    fn what_is_torn_or_changed_says_nothing() {
        let bytes = encode(&some());
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            assert!(decode(&bad).is_err(), "byte {at}");
            assert!(decode(&bytes[..at]).is_err(), "cut at {at}");
        }
        assert_eq!(decode(&[0; TOTALS_SLOT_BYTES]), Err(Malformed::Magic));
    }

    #[test]
    fn more_labels_than_are_kept_apart_still_fit() {
        let mut counts = Counts::default();
        for instrument in Instrument::ALL.into_iter().filter(|instrument| !instrument.is_gauge()) {
            for number in 0..1000 {
                counts.add(instrument, &format!("{number:0>300}"), 1);
            }
        }
        let totals = Totals { generation: 1, since_ns: 1, counts };
        let bytes = encode(&totals);
        assert!(bytes.len() <= TOTALS_SLOT_BYTES, "{}", bytes.len());
        assert_eq!(decode(&bytes), Ok(totals));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = decode(&bytes);
            let _ = decode(&[&MAGIC[..], &bytes[..]].concat());
        }
    }
}
