//! A payload: its records come back from what is written of them, and every effect of theirs fits the index.
#![no_main]

use larder::format::record::{self, PayloadWriter, Record};
use larder::format::table::{self, Effect};
use larder::vocabulary::limits::{FRAME_RECORDS, RUN_KEY_BYTES, RUN_VALUE_BYTES};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let Ok(records) = record::decode(payload) else { return };
    assert!(records.len() <= FRAME_RECORDS);
    let encoded = record::encode(&records);
    assert!(encoded.len() <= payload.len(), "nothing is written longer than it was read");
    assert_eq!(record::decode(&encoded).as_ref(), Ok(&records), "what is written is read");
    let mut longer = encoded.clone();
    longer.push(0);
    assert!(record::decode(&longer).is_err(), "a payload holds its records and nothing else");
    assert!(record::decode(&encoded[..encoded.len() - 1]).is_err(), "and all of them");
    one_by_one(&records, &encoded);
    records.iter().for_each(in_the_index);
});

/// A writer that takes record after record writes the same.
fn one_by_one(records: &[Record], encoded: &[u8]) {
    let mut writer = PayloadWriter::default();
    for (i, record) in records.iter().enumerate() {
        assert!(writer.push(record));
        assert_eq!(writer.len(), i + 1);
    }
    assert_eq!(writer.finish(), encoded);
}

/// What a record does to the index is always the same, and fits a page of a run.
fn in_the_index(record: &Record) {
    let changes = |record| {
        let mut changes: Vec<Effect> = Vec::new();
        table::effects(record, |change| changes.push(change));
        changes
    };
    let first = changes(record);
    assert_eq!(first, changes(&record.clone()));
    for (key, value) in &first {
        assert!((1..=29).contains(&key[0]), "a key begins with its table");
        assert!(key.len() <= RUN_KEY_BYTES, "a key of {} bytes does not fit a run", key.len());
        assert!(value.as_ref().is_none_or(|value| value.len() <= RUN_VALUE_BYTES));
    }
    if let Some(name) = record.touches() {
        assert!(first.iter().any(|(key, _)| key[0] == 2 && key[1..] == *name.as_bytes()));
    }
}
