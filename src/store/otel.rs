//! What a store counts, told to OpenTelemetry (R152): the host brings the meter, and whatever sends it on.

use std::collections::BTreeMap;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Meter};

use crate::vocabulary::recorder::{Instrument, Recorder};

/// A recorder that tells a meter. Give it to `Store::recording_to`.
pub struct OtelRecorder {
    counters: BTreeMap<Instrument, Counter<u64>>,
    gauges: BTreeMap<Instrument, Gauge<u64>>,
}

impl OtelRecorder {
    /// The instruments of a store in `meter`, with `namespace` and `_` before their names: `larder`, or what the dashboards
    /// of the host want.
    pub fn new(meter: &Meter, namespace: &str) -> Self {
        let (mut counters, mut gauges) = (BTreeMap::new(), BTreeMap::new());
        for instrument in Instrument::ALL {
            let name = format!("{namespace}_{}", instrument.name());
            if instrument.is_gauge() {
                gauges.insert(instrument, meter.u64_gauge(name).with_description(instrument.help()).build());
            } else {
                counters.insert(instrument, meter.u64_counter(name).with_description(instrument.help()).build());
            }
        }
        OtelRecorder { counters, gauges }
    }
}

/// The label of an instrument as an attribute.
fn attributes(instrument: Instrument, label: &str) -> Vec<KeyValue> {
    instrument.label().map(|key| KeyValue::new(key, label.to_owned())).into_iter().collect()
}

impl Recorder for OtelRecorder {
    fn count(&self, instrument: Instrument, label: &str, by: u64) {
        if let Some(counter) = self.counters.get(&instrument) {
            counter.add(by, &attributes(instrument, label));
        }
    }

    fn gauge(&self, instrument: Instrument, label: &str, value: u64) {
        if let Some(gauge) = self.gauges.get(&instrument) {
            gauge.record(value, &attributes(instrument, label));
        }
    }
}
