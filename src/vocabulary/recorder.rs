//! What is counted, and who is told: the host of the library, in whatever it keeps metrics and logs (R145 to R154).

use std::collections::BTreeMap;

use super::limits::{TOTALS_LABEL_BYTES, TOTALS_LABELS};

/// One thing that is counted or measured. Its name is put behind a namespace that the host chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Instrument {
    /// Blobs and entries that were verified, by what was found.
    Verifications,
    /// Entries of the catalog, by state: a gauge.
    Models,
    /// Operations that were done, by which.
    Operations,
    /// Entries that were evicted.
    Evictions,
    /// Finished files whose bytes were there already, by the resolver that found them.
    DedupHits,
    /// Blobs that collection removed.
    GcRemoved,
    /// Verifications that found something wrong.
    VerifyFailures,
}

impl Instrument {
    /// All of them.
    pub const ALL: [Instrument; 7] = [
        Instrument::Verifications,
        Instrument::Models,
        Instrument::Operations,
        Instrument::Evictions,
        Instrument::DedupHits,
        Instrument::GcRemoved,
        Instrument::VerifyFailures,
    ];

    /// What it is called, without the namespace.
    pub fn name(self) -> &'static str {
        match self {
            Instrument::Verifications => "verifications_total",
            Instrument::Models => "models_total",
            Instrument::Operations => "operations_total",
            Instrument::Evictions => "evictions_total",
            Instrument::DedupHits => "dedup_hits_total",
            Instrument::GcRemoved => "gc_removed_total",
            Instrument::VerifyFailures => "verify_failures_total",
        }
    }

    /// What its label is called, if it has one.
    pub fn label(self) -> Option<&'static str> {
        match self {
            Instrument::Verifications => Some("result"),
            Instrument::Models => Some("state"),
            Instrument::Operations => Some("operation"),
            Instrument::DedupHits => Some("resolver"),
            Instrument::Evictions | Instrument::GcRemoved | Instrument::VerifyFailures => None,
        }
    }

    /// Whether it goes down as well: its value is what was measured last.
    pub fn is_gauge(self) -> bool {
        self == Instrument::Models
    }

    /// What it says, in one sentence.
    pub fn help(self) -> &'static str {
        match self {
            Instrument::Verifications => "Blobs and entries that were verified, by what was found.",
            Instrument::Models => "Entries of the catalog, by state.",
            Instrument::Operations => "Operations that were done, by which.",
            Instrument::Evictions => "Entries that were evicted.",
            Instrument::DedupHits => "Finished files whose bytes were there already, by resolver.",
            Instrument::GcRemoved => "Blobs that collection removed.",
            Instrument::VerifyFailures => "Verifications that found something wrong.",
        }
    }
}

/// How much something matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// For those who look for something.
    Debug,
    /// Something was done.
    Info,
    /// Something was found wrong, or refused.
    Warn,
    /// Something failed.
    Error,
}

/// Something that was done, or could not be: without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// How much it matters.
    pub level: Level,
    /// What was to be done: `register`, `set-state`, `verify`, …
    pub operation: &'static str,
    /// On what: a key, a name, a path; empty for the whole store.
    pub subject: String,
    /// What came of it, in words; empty where that it was done says all.
    pub outcome: String,
}

/// Is told what an open store counts. Called from several threads at once, after what it tells is true; it should come back
/// soon.
pub trait Recorder: Send + Sync {
    /// So many more. `label` is empty for an instrument without one.
    fn count(&self, instrument: Instrument, label: &str, by: u64);

    /// So many now.
    fn gauge(&self, instrument: Instrument, label: &str, value: u64);

    /// Something was done, or could not be.
    fn event(&self, occurrence: &Occurrence) {
        let _ = occurrence;
    }
}

/// What is counted under this label has another one that is too many to be kept apart.
const OTHER: &str = "other";

/// What was counted and measured, by instrument and label. An instrument has at most [`TOTALS_LABELS`] labels, and `other` for
/// the rest; one that is longer than [`TOTALS_LABEL_BYTES`] is cut there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<(Instrument, String), u64>);

impl Counts {
    /// So many more.
    pub fn add(&mut self, instrument: Instrument, label: &str, by: u64) {
        let mut key = (instrument, bounded(label).to_owned());
        if !self.0.contains_key(&key) && self.of(instrument).count() >= TOTALS_LABELS {
            key.1 = OTHER.to_owned();
        }
        let value = self.0.entry(key).or_default();
        *value = value.saturating_add(by);
    }

    /// As many more as `others` say, of what is counted: gauges stay as they are.
    pub fn add_all(&mut self, others: &Counts) {
        for ((instrument, label), value) in &others.0 {
            if !instrument.is_gauge() {
                self.add(*instrument, label, *value);
            }
        }
    }

    /// Whether nothing was counted or measured.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// So many now.
    pub fn set(&mut self, instrument: Instrument, label: &str, value: u64) {
        self.0.insert((instrument, bounded(label).to_owned()), value);
    }

    /// What an instrument says for a label: zero for what was never counted.
    pub fn get(&self, instrument: Instrument, label: &str) -> u64 {
        self.0.get(&(instrument, bounded(label).to_owned())).copied().unwrap_or(0)
    }

    /// What an instrument says for each label.
    pub fn of(&self, instrument: Instrument) -> impl Iterator<Item = (&str, u64)> {
        let of = self.0.iter().filter(move |((of, _), _)| *of == instrument);
        of.map(|((_, label), value)| (label.as_str(), *value))
    }
}

fn bounded(label: &str) -> &str {
    &label[..label.floor_char_boundary(TOTALS_LABEL_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_bounded_in_number_and_length() {
        let mut counts = Counts::default();
        for number in 0..TOTALS_LABELS + 3 {
            counts.add(Instrument::DedupHits, &format!("r{number}"), 2);
        }
        assert_eq!(counts.of(Instrument::DedupHits).count(), TOTALS_LABELS + 1);
        assert_eq!((counts.get(Instrument::DedupHits, "r0"), counts.get(Instrument::DedupHits, "other")), (2, 6));
        let long = "é".repeat(TOTALS_LABEL_BYTES);
        counts.add(Instrument::Operations, &long, 1);
        let (label, value) = counts.of(Instrument::Operations).next().unwrap();
        assert_eq!((label.len(), value, counts.get(Instrument::Operations, &long)), (TOTALS_LABEL_BYTES, 1, 1));
        let mut twice = counts.clone();
        twice.set(Instrument::Models, "active", 3);
        counts.set(Instrument::Models, "active", 2);
        twice.add_all(&counts);
        assert_eq!((twice.get(Instrument::DedupHits, "other"), twice.get(Instrument::Models, "active")), (12, 3));
    }

    #[test]
    fn counts_are_kept_apart_by_instrument_and_label() {
        let mut counts = Counts::default();
        counts.add(Instrument::Operations, "add", 2);
        counts.add(Instrument::Operations, "add", u64::MAX);
        counts.add(Instrument::Operations, "verify", 1);
        counts.set(Instrument::Models, "active", 4);
        counts.set(Instrument::Models, "active", 3);
        assert_eq!(counts.get(Instrument::Operations, "add"), u64::MAX);
        assert_eq!(counts.of(Instrument::Operations).collect::<Vec<_>>(), [("add", u64::MAX), ("verify", 1)]);
        assert_eq!((counts.get(Instrument::Models, "active"), counts.get(Instrument::Models, "failed")), (3, 0));
    }
}
